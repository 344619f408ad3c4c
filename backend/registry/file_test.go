package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/base/safeopen"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// open opens the registry of a text.
func open(t *testing.T, text string) Registry {
	t.Helper()
	g, err := Open(text, Opening{})
	testutil.Must(t, err)
	return g
}

// put puts an entry.
func put(t *testing.T, g Registry, e Entry) string {
	t.Helper()
	e = e.filled()
	at, err := g.Put(t.Context(), &e)
	testutil.Must(t, err)
	return at
}

func withdraw(t *testing.T, g Registry) {
	t.Helper()
	testutil.Must(t, g.Withdraw(t.Context()))
}

// Found returns what package discovery finds where a text says. A test from outside has it, since discovery imports
// this package.
var Found func(t *testing.T, text string) []string

// lines returns the lines of a file, with "OWNER" and "TIME" for what is another one each time.
func lines(t *testing.T, path string) []string {
	t.Helper()
	text := testutil.ReadFile(t, path)
	s := regexp.MustCompile(`by [0-9a-f]{16} until \S+`).ReplaceAllString(string(text), "by OWNER until TIME")
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

func TestFile_linesOfOthersStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	text := "file://" + path
	testutil.Must(t, os.WriteFile(path, []byte("# ours\n10.0.0.9:80 # by hand\n"), 0o640))
	want := func(all ...string) {
		t.Helper()
		all = append([]string{"# ours", "10.0.0.9:80 # by hand"}, all...)
		if got := lines(t, path); !slices.Equal(got, all) {
			t.Errorf("%q, want %q", got, all)
		}
	}
	one, two, next := open(t, text), open(t, text), open(t, text)
	if at := put(t, one, Entry{Address: ":8080", Weight: 3, Zone: "b"}); at != "127.0.0.1:8080" {
		t.Errorf("registered at %s", at)
	}
	put(t, two, Entry{Name: "two", Address: "unix:/run/two"})
	const first = "127.0.0.1:8080 weight=3 zone=b # registered 127.0.0.1:8080 by OWNER until TIME"
	const second = "unix:/run/two # registered two by OWNER until TIME"
	want(first, second)
	if got := Found(t, text); !slices.Equal(got, []string{"10.0.0.9:80 0", "127.0.0.1:8080 3 b", "unix:/run/two 0"}) {
		t.Errorf("found %q", got)
	}
	put(t, next, Entry{Address: "127.0.0.1:8080"}) // another process at the same address
	const third = "127.0.0.1:8080 # registered 127.0.0.1:8080 by OWNER until TIME"
	want(third, second)
	withdraw(t, one)
	want(third, second)
	withdraw(t, next)
	withdraw(t, two)
	want()
	withdraw(t, open(t, text)) // which has put nothing
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Error(info.Mode(), err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Error(files, err)
	}
}

// A process that takes the name of another one keeps it while that one still runs, as when one restarts. When the later
// one has died the name is free again.
func TestFile_laterProcessHasTheName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	testutil.Bubble(t, func(t *testing.T) {
		before, after := open(t, "file://"+path), open(t, "file://"+path)
		want := func(address string) {
			t.Helper()
			if got := lines(t, path); !slices.Equal(got, []string{address + " # registered a by OWNER until TIME"}) {
				t.Errorf("%q, want %s", got, address)
			}
		}
		old, next := Entry{Name: "a", Address: "10.0.0.1:1"}, Entry{Name: "a", Address: "10.0.0.1:2"}
		put(t, before, old)
		put(t, after, next)
		put(t, before, old) // it renews
		want("10.0.0.1:2")
		put(t, after, next)
		withdraw(t, before)
		want("10.0.0.1:2")
		time.Sleep(TTL + time.Second)
		put(t, before, old)
		want("10.0.0.1:1")
		put(t, after, next) // it comes back late: the name is taken
		want("10.0.0.1:1")
		time.Sleep(TTL + time.Second)
		put(t, after, next)
		want("10.0.0.1:2")
	})
}

// What a process that has died has registered is taken out by the next one that writes.
func TestFile_deadLinesAreTakenOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	testutil.Bubble(t, func(t *testing.T) {
		dead, lives := open(t, "file://"+path), open(t, "file://"+path)
		put(t, dead, Entry{Name: "dead", Address: "10.0.0.1:1", TTL: 10 * time.Second})
		put(t, lives, Entry{Name: "lives", Address: "10.0.0.1:2", TTL: 10 * time.Second})
		time.Sleep(9 * time.Second)
		put(t, lives, Entry{Name: "lives", Address: "10.0.0.1:2", TTL: 10 * time.Second})
		if got := lines(t, path); len(got) != 2 {
			t.Errorf("%q", got)
		}
		time.Sleep(2 * time.Second)
		put(t, lives, Entry{Name: "lives", Address: "10.0.0.1:2", TTL: 10 * time.Second})
		if got := lines(t, path); !slices.Equal(got, []string{"10.0.0.1:2 # registered lives by OWNER until TIME"}) {
			t.Errorf("%q", got)
		}
	})
}

// Processes that write at one time do not lose lines of each other, and no reader sees half of a file.
func TestFile_manyWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	const writers, times = 8, 20
	var all sync.WaitGroup
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			text, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, os.ErrNotExist) || len(text) > 0 && text[len(text)-1] != '\n' {
				t.Errorf("%q, %v", text, err)
				return
			}
		}
	})
	for i := range writers {
		all.Go(func() {
			g := open(t, "file://"+path)
			e := Entry{Name: fmt.Sprint("n", i), Address: fmt.Sprint("10.0.0.1:", 100+i)}.filled()
			for range times {
				if _, err := g.Put(t.Context(), &e); err != nil {
					t.Error(err)
				}
			}
			if i%2 == 1 {
				if err := g.Withdraw(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	close(stop)
	reader.Wait()
	if got := lines(t, path); len(got) != writers/2 {
		t.Errorf("%q", got)
	}
}

func TestFile_cannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "list.json")
	testutil.Must(t, os.WriteFile(list, []byte(` ["10.0.0.1:1"]`), 0o600))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	folder, err := lock(t.Context(), dir)
	testutil.Must(t, err)
	e := Entry{Address: ":80"}.filled()
	if _, err := open(t, "file://"+dir+"/any").Put(ended, &e); !errors.Is(err, context.Canceled) {
		t.Errorf("while another process writes: %v", err)
	}
	_ = folder.Close()
	for path, want := range map[string]string{
		list: "JSON", dir + "/missing/users": "no such file", dir: "not a regular file",
	} {
		if _, err := open(t, "file://"+path).Put(t.Context(), &e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// The owner of the folder reads the name of the temporary file in the list, and may make a link of it to a file of
// root's.
func TestFile_followsNoLink(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root is led elsewhere by a link")
	}
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	g := open(t, "file://"+dir+"/list").(*fileRegistry)
	err := errors.Join(os.WriteFile(secret, []byte("root's"), 0o600), os.Symlink(secret, g.path+"."+g.owner),
		os.Chown(dir, 65534, 65534))
	if err != nil {
		t.Skip(err)
	}
	e := Entry{Address: ":80"}.filled()
	if _, err := g.Put(t.Context(), &e); !errors.Is(err, safeopen.ErrLink) {
		t.Error(err)
	}
	if text, err := os.ReadFile(secret); err != nil || string(text) != "root's" {
		t.Errorf("the file of root's is %q, %v", text, err)
	}
}

// FuzzMark: whatever a file has in it, lines that were not registered stay as they are.
func FuzzMark(f *testing.F) {
	f.Add("10.0.0.1:1 # registered a by b until 2026-01-31T12:00:15Z")
	f.Add("10.0.0.1:1 weight=3 # registered a by b until then\n\n# x")
	f.Fuzz(func(t *testing.T, text string) {
		before := strings.Split(text, "\n")
		after := replaced(before, "new", func(m *mark) bool { return m.name == "a" })
		kept := slices.DeleteFunc(slices.Clone(before), func(line string) bool { return markOf(line) != nil })
		of := slices.DeleteFunc(slices.Clone(after), func(line string) bool { return markOf(line) != nil })
		if i := slices.Index(of, "new"); i < 0 || len(of) != len(kept)+1 {
			t.Fatalf("%q became %q", before, after)
		}
		of = slices.DeleteFunc(of, func(line string) bool { return line == "new" })
		kept = slices.DeleteFunc(kept, func(line string) bool { return line == "new" })
		if !slices.Equal(of, kept) {
			t.Fatalf("%q became %q", before, after)
		}
	})
}
