package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Files that another user has put into the folder are neither followed nor waited for.
func TestOpen_followsNothingInTheFolder(t *testing.T) {
	for name, put := range map[string]func(path, secret string) error{
		"link":      func(path, secret string) error { return os.Symlink(secret, path) },
		"hard link": func(path, secret string) error { return os.Link(secret, path) },
		"pipe":      func(path, _ string) error { return unix.Mkfifo(path, 0o600) },
	} {
		for _, file := range []string{"lock", "journal", "journal.new", "00000001.seg", "00000001.idx"} {
			t.Run(name+" "+file, func(t *testing.T) {
				top := t.TempDir()
				secret, dir := filepath.Join(top, "secret"), filepath.Join(top, "dir")
				err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(secret, []byte("of another service"), 0o600))
				if err = errors.Join(err, put(filepath.Join(dir, file), secret)); err != nil {
					t.Fatal(err)
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					o := Options{Path: dir, Size: sizeMin, Memory: 1 << 20, Seed: SeedOf(dir) | 1,
						Replay: func([]Purged, uint64) {}}
					if s, err := Open(o); err == nil {
						s.Close()
					}
				}()
				select {
				case <-ended:
				case <-time.After(testutil.Patience):
					t.Fatal("the start hangs")
				}
				if text, err := os.ReadFile(secret); err != nil || string(text) != "of another service" {
					t.Errorf("the file that the name led to has %q, %v", text, err)
				}
			})
		}
	}
}

func TestOpen_refusesAFolderOfOthers(t *testing.T) {
	for name, c := range map[string]struct {
		mode os.FileMode
		uid  int
		want string
	}{
		"of all":     {0o777, -1, "or make a folder below it"},
		"of a group": {0o770, -1, "chmod go-w"},
		"of a user":  {0o700, 65534, "belongs to the user 65534"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := errors.Join(os.Chown(dir, c.uid, -1), os.Chmod(dir, c.mode)); err != nil {
				t.Skip(err)
			}
			s, err := Open(Options{Path: dir, Size: sizeMin, Memory: 1 << 20, Replay: func([]Purged, uint64) {}})
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
