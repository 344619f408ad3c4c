package private

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const other = 65534 // a user who is not root

// Folders above a file are made for the user of the folder, and a folder is removed with all that is in it.
func TestFolder_tree(t *testing.T) {
	uid := os.Geteuid()
	if uid == 0 {
		uid = other
	}
	dir := filepath.Join(t.TempDir(), "folder")
	d, err := New(dir, uid, uid)
	testutil.Must(t, err, d.Replace("a/b/c", []byte("1")), d.Replace("a/b/d", nil), d.Create("a/b/c", []byte("2")))
	for name, mode := range map[string]fs.FileMode{"a": 0o700, "a/b": 0o700, "a/b/c": 0o600, "a/b/d": 0o600} {
		at, err := os.Lstat(filepath.Join(dir, name))
		testutil.Must(t, err)
		if owner := int(at.Sys().(*syscall.Stat_t).Uid); owner != uid || at.Mode().Perm() != mode {
			t.Errorf("%s belongs to %d, %v", name, owner, at.Mode())
		}
	}
	if text, err := d.Read("a/b/c"); string(text) != "1" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if err := d.Replace("a/b/c/d", nil); err == nil || !strings.Contains(err.Error(), dir+"/a/b/c is no folder") {
		t.Errorf("below a file: %v", err)
	}
	testutil.Must(t, d.Remove("a/b", "x"))
	if left, err := os.ReadDir(filepath.Join(dir, "a")); len(left) > 0 || err != nil {
		t.Errorf("%v, %v", left, err)
	}
	for _, name := range []string{"../x", "/x", "a/../../x"} {
		if d.Replace(name, nil) == nil {
			t.Errorf("%s was written", name)
		}
	}
}

// Drafts of processes that were killed are removed with the next file of the same name. Others stay.
func TestFolder_draftsOfDeadProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "folder")
	d, err := New(dir, -1, -1)
	testutil.Must(t, err, d.Replace("a/key", nil))
	old, draft := time.Now().Add(-2*draftLife), "."+rand.Text()
	for name, at := range map[string]time.Time{"key" + draft: old, "key." + rand.Text(): time.Now(),
		"key.next": old, "key2" + draft: old, "key.next" + draft: old} {
		path := filepath.Join(dir, "a", name)
		testutil.Must(t, os.WriteFile(path, nil, 0o600), os.Chtimes(path, at, at))
	}
	testutil.Must(t, d.Replace("a/key", nil))
	left, err := os.ReadDir(filepath.Join(dir, "a"))
	if _, gone := os.Stat(filepath.Join(dir, "a", "key"+draft)); err != nil || len(left) != 5 || gone == nil {
		t.Errorf("%v, %v", left, err)
	}
}

// The user gets all that root made in the folder. Nothing is given away where one file of it may be another's.
func TestFolder_handsOverAll(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	for name, c := range map[string]struct {
		change func(dir string) error
		want   string
	}{
		"sound":          {func(string) error { return nil }, ""},
		"sub-folder":     {func(dir string) error { return os.Chmod(dir+"/a", 0o770) }, "/a: can be written by others"},
		"another's file": {func(dir string) error { return os.Chown(dir+"/a/b/c", 1, 1) }, "belongs to the user 1"},
		"link":           {func(dir string) error { return os.Symlink("/etc/passwd", dir+"/a/link") }, "is no regular"},
		"two names":      {func(dir string) error { return os.Link(dir+"/a/b/c", dir+".c") }, "another name"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "folder")
			d, err := New(dir, 0, 0)
			testutil.Must(t, err, d.Replace("a/b/c", nil), d.Replace("d", nil), c.change(dir))
			d, err = New(dir, other, other)
			testutil.Must(t, err)
			err = d.HandOver()
			want := other
			if c.want != "" {
				if want = 0; err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %s", err, c.want)
				}
			} else if err != nil {
				t.Error(err)
			}
			for _, name := range []string{".", "a", "a/b", "d"} {
				at, err := os.Lstat(filepath.Join(dir, name))
				testutil.Must(t, err)
				if owner := int(at.Sys().(*syscall.Stat_t).Uid); owner != want {
					t.Errorf("%s belongs to %d, want %d", name, owner, want)
				}
			}
		})
	}
}

// A folder that is exchanged for a link in the moment in which it is opened is not used.
func TestFolder_exchangedForLink(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "folder")
	d, err := New(dir, -1, -1)
	testutil.Must(t, err)
	stop, ended := make(chan struct{}), make(chan struct{})
	testutil.Must(t, os.Mkdir(dir+".other", 0o700), os.Symlink(dir+".other", dir+".link"))
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.Rename(dir, dir+".away")
				_ = os.Rename(dir+".link", dir)
				_ = os.Rename(dir, dir+".link")
				_ = os.Rename(dir+".away", dir)
			}
		}
	}()
	for range 2000 {
		if err := d.Replace("x", nil); err != nil && !errors.Is(err, errNoFolder) && !errors.Is(err, errSwapped) &&
			!errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
	}
	close(stop)
	<-ended
	if left, err := os.ReadDir(dir + ".other"); err != nil || len(left) > 0 {
		t.Errorf("where the link leads there are %v, %v", left, err)
	}
}
