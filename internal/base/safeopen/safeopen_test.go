package safeopen

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const other = 65534 // a user who is not root

// lent is a folder of a user with the name "log" made by prepare, which is given a file of root's beside it.
func lent(t *testing.T, uid int, mode os.FileMode, prepare func(secret, log string) error) (log, secret string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root is led elsewhere by a link")
	}
	top := t.TempDir()
	dir := filepath.Join(top, "dir")
	log, secret = filepath.Join(dir, "log"), filepath.Join(top, "secret")
	testutil.Must(t, os.Mkdir(dir, 0o755))
	testutil.Must(t, os.WriteFile(secret, []byte("root's"), 0o600))
	if err := prepare(secret, log); err != nil {
		t.Skip(err)
	}
	if err := errors.Join(os.Chmod(dir, mode), os.Chown(dir, uid, other)); err != nil {
		t.Skip(err)
	}
	return log, secret
}

func unchanged(t *testing.T, secret string) {
	t.Helper()
	if text, err := os.ReadFile(secret); err != nil || string(text) != "root's" {
		t.Errorf("the file of root's is %q, %v", text, err)
	}
}

func TestOpen_followsNoLinkOfOthers(t *testing.T) {
	for name, prepare := range map[string]func(secret, log string) error{
		"link":      os.Symlink,
		"hard link": os.Link,
		"relative":  func(secret, log string) error { return os.Symlink("../secret", log) },
		"dangling":  func(secret, log string) error { return os.Symlink(secret+".new", log) },
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, other, 0o755, prepare)
			refused(t, 0, 0o775, prepare)
			refused(t, 0, 0o777|os.ModeSticky, prepare)
		})
	}
}

func refused(t *testing.T, uid int, mode os.FileMode, prepare func(secret, log string) error) {
	t.Helper()
	log, secret := lent(t, uid, mode, prepare)
	for _, flag := range []int{os.O_APPEND, os.O_TRUNC} {
		f, err := Open(log, os.O_WRONLY|os.O_CREATE|flag, 0o600)
		if err == nil {
			_ = f.Close()
		}
		if !errors.Is(err, ErrLink) {
			t.Errorf("a folder of %d, %v, opened: %v", uid, mode, err)
		}
	}
	unchanged(t, secret)
	if _, err := os.Lstat(secret + ".new"); err == nil {
		t.Error("a file was made where the link leads")
	}
}

// What is in such a folder by itself is opened as ever: of root's, of the user's, with two names or one, or not yet.
func TestOpen_filesInAFolderOfOthers(t *testing.T) {
	write := func(_, log string) error { return os.WriteFile(log, []byte("long before"), 0o600) }
	for name, prepare := range map[string]func(secret, log string) error{
		"none":   func(_, _ string) error { return nil },
		"root's": write,
		"the user's, with two names": func(secret, log string) error {
			return errors.Join(write(secret, log), os.Chown(log, other, other), os.Link(log, log+".1"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			log, secret := lent(t, other, 0o755, prepare)
			f, err := Open(log, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
			testutil.Must(t, err)
			defer f.Close()
			if _, err := f.WriteString("now"); err != nil {
				t.Fatal(err)
			}
			if text, _ := os.ReadFile(log); string(text) != "now" {
				t.Errorf("it holds %q", text)
			}
			unchanged(t, secret)
		})
	}
}

// Where nobody else may write, a link is what its owner wants.
func TestOpen_followsLinksOfItsOwn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	testutil.Must(t, os.Mkdir(dir, 0o755))
	to := filepath.Join(t.TempDir(), "elsewhere")
	testutil.Must(t, os.Symlink(to, filepath.Join(dir, "log")))
	f, err := Open(filepath.Join(dir, "log"), os.O_WRONLY|os.O_CREATE, 0o600)
	testutil.Must(t, err)
	_ = f.Close()
	if _, err := os.Stat(to); err != nil {
		t.Error(err)
	}
	if _, err := Open(filepath.Join(dir, "none", "log"), os.O_WRONLY|os.O_CREATE, 0o600); !os.IsNotExist(err) {
		t.Errorf("no folder: %v", err)
	}
}
