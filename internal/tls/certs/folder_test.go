package certs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const other = 65534 // a user who is not root

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
}

func ownerAt(t *testing.T, path string) int {
	t.Helper()
	at, err := os.Lstat(path)
	testutil.Must(t, err)
	return int(at.Sys().(*syscall.Stat_t).Uid)
}

// authorityFor makes the folder of an authority with all its files.
func authorityFor(t *testing.T, uid int) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "state", "internal")
	_, err := OpenAuthority(dir, uid, uid)
	testutil.Must(t, err)
	return dir
}

// A user that could write the folder of an authority, or its files, knows the keys that others trust. The error says
// what to do.
func TestOpenAuthority_foreignFiles(t *testing.T) {
	for name, c := range map[string]struct {
		change func(dir string) error
		want   string
		root   bool
	}{
		"folder of others": {func(dir string) error { return os.Chown(dir, other, -1) },
			"belongs to the user 65534, not to 0: chown -R 0 DIR if", true},
		"key of others": {func(dir string) error { return os.Chown(filepath.Join(dir, signed), other, -1) },
			"chown -R 0 DIR if", true},
		"folder for others": {func(dir string) error { return os.Chmod(dir, 0o720) }, "chmod go-w DIR if", false},
		"key for others": {func(dir string) error { return os.Chmod(filepath.Join(dir, signed), 0o602) },
			"chmod go-w DIR/authority.pem if", false},
		"certificate for others": {func(dir string) error { return os.Chmod(filepath.Join(dir, caCert), 0o666) },
			"chmod go-w DIR/ca.pem if", false},
		"folder is a link": {func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".away"), os.Symlink(dir+".away", dir))
		}, "DIR is no folder", false},
		"folder is a file": {func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".away"), os.WriteFile(dir, nil, 0o600))
		}, "DIR is no folder", false},
		"key is a link": {func(dir string) error {
			key := filepath.Join(dir, signed)
			return errors.Join(os.Rename(key, dir+".key"), os.Symlink(dir+".key", key))
		}, "DIR/authority.pem: path escapes from parent", false},
	} {
		t.Run(name, func(t *testing.T) {
			if c.root {
				asRoot(t)
			}
			dir := authorityFor(t, -1)
			testutil.Must(t, c.change(dir))
			a, err := OpenAuthority(dir, -1, -1)
			if want := strings.ReplaceAll(c.want, "DIR", dir); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v, %v, want %s", a, err, want)
			}
		})
	}
}

// Files that root made are given to the user of the process, the folder last, and nothing else in or above it.
func TestOpenAuthority_givesItsFilesAway(t *testing.T) {
	asRoot(t)
	for _, before := range []int{-1, other} { // the user's from the first start on, or since it is told to
		dir := authorityFor(t, before)
		in := func(name string) string { return filepath.Join(dir, name) }
		testutil.Must(t, os.WriteFile(in("shadow"), nil, 0o600), os.Mkdir(in("sub"), 0o700),
			os.WriteFile(in("sub/authority.pem"), nil, 0o600), os.Symlink("/etc/passwd", in("link")))
		a, err := OpenAuthority(dir, other, other)
		if err != nil || a.Made {
			t.Fatal(a, err)
		}
		for name, want := range map[string]int{
			".": other, caCert: other, signed: other, "shadow": 0, "sub": 0, "sub/authority.pem": 0, "link": 0, "..": 0,
		} {
			if uid := ownerAt(t, in(name)); uid != want {
				t.Errorf("%s belongs to %d, want %d", name, uid, want)
			}
		}
		if at, err := os.Stat(in("..")); err != nil || at.Mode().Perm()&0o001 == 0 && before == other {
			t.Errorf("nobody else gets through the folder above: %v %v", at.Mode(), err)
		}
	}
}

// In a folder of the user a name may lead to a file of root's. It is neither given away nor read: the process would
// hold a key of root's when it is the user.
func TestOpenAuthority_takesNoFileOfRoots(t *testing.T) {
	asRoot(t)
	for kind, link := range map[string]func(string, string) error{"link": os.Symlink, "hard link": os.Link} {
		for _, name := range []string{signed, caCert} {
			dir := authorityFor(t, other)
			secret, path := filepath.Join(filepath.Dir(dir), "secret"), filepath.Join(dir, name)
			testutil.Must(t, os.Rename(path, secret), os.Chown(secret, 0, 0))
			if err := link(secret, path); err != nil {
				t.Skip(err)
			}
			key, err := os.ReadFile(secret)
			testutil.Must(t, err)
			if _, err := OpenAuthority(dir, other, other); err == nil {
				t.Errorf("%s is a %s, and is used", name, kind)
			}
			if now, err := os.ReadFile(secret); err != nil || string(now) != string(key) || ownerAt(t, secret) != 0 {
				t.Errorf("%s is a %s: the file of root's has changed, %v", name, kind, err)
			}
		}
	}
}

// Files with a second name, which is perhaps somebody else's, are not given away.
func TestOpenAuthority_keepsFilesWithTwoNames(t *testing.T) {
	asRoot(t)
	dir := authorityFor(t, -1)
	key := filepath.Join(dir, signed)
	testutil.Must(t, os.Link(key, filepath.Join(filepath.Dir(dir), "backup")))
	_, err := OpenAuthority(dir, other, other)
	if err == nil || !strings.Contains(err.Error(), "another name elsewhere") || ownerAt(t, key) != 0 {
		t.Errorf("it belongs to %d: %v", ownerAt(t, key), err)
	}
	if _, err := OpenAuthority(dir, -1, -1); err != nil {
		t.Errorf("root itself: %v", err)
	}
}
