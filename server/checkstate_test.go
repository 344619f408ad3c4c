package server

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/certs"
)

// What a start would say of folders for secrets is known before, and looking for it makes nothing.
func TestCheckState_saysWhatAStartWould(t *testing.T) {
	const (
		base     = quiet + "[https]\nlisten = \"127.0.0.1:0\"\n" + all200
		internal = base + "[[certificates]]\ncert = \"internal\"\nhosts = [\"a.example.org\"]\n"
		ordered  = base + "[acme]\nemail = \"a@example.org\"\nca = \"https://127.0.0.1:1/\"\n" +
			"[[certificates]]\ncert = \"acme\"\nhosts = [\"a.example.org\"]\n"
	)
	authority := func(names ...string) func(dir string) error {
		return func(dir string) error {
			_, err := certs.OpenAuthority(filepath.Join(dir, AuthorityFolder), -1, -1, names...)
			return err
		}
	}
	for name, c := range map[string]struct {
		text string
		make func(dir string) error // before
		want string                 // "": it starts
	}{
		"no authority":           {internal, func(string) error { return nil }, ""},
		"authority for the host": {internal, authority("a.example.org"), ""},
		"authority for others": {internal, authority("b.example.org"),
			"it was made before \"a.example.org\" was among"},
		"authority is damaged": {internal, func(dir string) error {
			in := filepath.Join(dir, AuthorityFolder)
			return errors.Join(os.Mkdir(in, 0o700),
				os.WriteFile(filepath.Join(in, "authority.pem"), []byte("x"), 0o600))
		}, "internal authority: "},
		"state is a file": {internal, func(dir string) error {
			return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600))
		}, "internal authority: "},
		"authority of all": {internal, func(dir string) error {
			in := filepath.Join(dir, AuthorityFolder)
			return errors.Join(os.Mkdir(in, 0o700), os.Chmod(in, 0o777))
		}, "can be written by others"},
		"certificates of all": {ordered, func(dir string) error {
			in := filepath.Join(dir, "acme")
			return errors.Join(os.Mkdir(in, 0o700), os.Chmod(in, 0o777))
		}, "can be written by others"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			try(t, c.make(dir))
			cfg, before := parse(t, c.text), listed(dir)
			found := CheckState(cfg, dir)
			if c.want == "" && len(found) > 0 ||
				c.want != "" && (len(found) != 1 || !strings.Contains(found[0].Message, c.want)) {
				t.Errorf("%q, want %q", found, c.want)
			}
			if after := listed(dir); !slices.Equal(before, after) {
				t.Errorf("it has made %q of %q", after, before)
			}
			s, err := New(cfg, Options{StateDir: dir})
			if err == nil {
				_ = s.Stop()
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("a start: %v, want %q", err, c.want)
			}
		})
	}
}

// listed returns all files below dir.
func listed(dir string) (all []string) {
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
		all = append(all, path)
		return nil
	})
	return all
}
