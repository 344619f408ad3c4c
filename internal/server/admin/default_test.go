package admin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Another user could make the folder below /tmp, and answer there in place of edge: the process makes no socket in such
// a folder, and commands do not ask there.
func TestDefaultSockets_folderBelowTmp(t *testing.T) {
	for name, c := range map[string]struct {
		make func(dir string) error
		want string // of the error; "": there is a socket
	}{
		"not there": {func(string) error { return nil }, ""},
		"own":       {func(dir string) error { return os.Mkdir(dir, 0o700) }, ""},
		"a link":    {func(dir string) error { return os.Symlink(t.TempDir(), dir) }, "is no folder"},
		"a file":    {func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "there is neither"},
		"writable":  {func(dir string) error { return mkdirWith(dir, 0o720) }, "can be written by others"},
		"readable":  {func(dir string) error { return mkdirWith(dir, 0o755) }, "is open to other users"},
		"of another": {func(dir string) error {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a folder away")
			}
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			return os.Chown(dir, 12345, -1)
		}, "belongs to the user 12345"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("RUNTIME_DIRECTORY", "/nonexistent")
			t.Setenv("XDG_RUNTIME_DIR", "")
			tmp := filepath.Dir(testutil.SocketPath(t))
			t.Setenv("TMPDIR", tmp)
			g := &config.Global{}
			dir := temporaryFolder()
			testutil.Must(t, c.make(dir))
			s := New(&fake{}, Options{})
			defer s.Stop()
			b := building{all: s, policies: make(map[*surface]*policy)}
			err := b.addDefault(g, &policy{})
			for _, f := range b.fresh {
				defer f.closeSocket()
			}
			if c.want == "" {
				at, statErr := os.Lstat(dir)
				if err != nil || statErr != nil || at.Mode().Perm() != 0o700 || len(DefaultSockets(g)) != 1 {
					t.Errorf("%v, %v, %v, %v", err, statErr, at, DefaultSockets(g))
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || len(DefaultSockets(g)) != 0 {
				t.Errorf("%v, commands ask %v", err, DefaultSockets(g))
			}
		})
	}
}

func mkdirWith(dir string, mode os.FileMode) error {
	if err := os.Mkdir(dir, mode); err != nil {
		return err
	}
	return os.Chmod(dir, mode) // past the umask
}
