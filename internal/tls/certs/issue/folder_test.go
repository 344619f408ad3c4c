package issue

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func newFolder(t testing.TB, dir string) *Folder {
	t.Helper()
	f, err := NewFolder(dir, -1, -1)
	testutil.Must(t, err)
	return f
}

// TestMain is the other process of TestFolder_lockOfDeadProcess: it takes a lock and ends with its input.
func TestMain(m *testing.M) {
	dir := os.Getenv("LOCK_OF_TEST")
	if dir == "" {
		os.Exit(m.Run())
	}
	f, err := NewFolder(dir, -1, -1)
	if err == nil {
		err = f.Lock(context.Background(), "a")
	}
	fmt.Println("locked", err)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// Each value is kept in a file with the name of its key.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	f, ctx := newFolder(t, dir), t.Context()
	for _, key := range []string{"a/b/c", "a/b/d", "a/e", "f"} {
		testutil.Must(t, f.Store(ctx, key, []byte(key)))
	}
	if text, err := os.ReadFile(filepath.Join(dir, "a/b/c")); string(text) != "a/b/c" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	for _, c := range []struct {
		at        string
		recursive bool
		want      string
	}{
		{"a", false, "a/b a/e"}, {"a", true, "a/b a/b/c a/b/d a/e"}, {"a/b", false, "a/b/c a/b/d"}, {"x/y", true, ""},
	} {
		keys, err := f.List(ctx, c.at, c.recursive)
		slices.Sort(keys)
		if strings.Join(keys, " ") != c.want || err != nil {
			t.Errorf("%s: %v, %v, want %s", c.at, keys, err, c.want)
		}
	}
	if err := errors.Join(f.Delete(ctx, "a/b"), f.Delete(ctx, "a/b")); err != nil {
		t.Error(err)
	}
	if _, err := f.Load(ctx, "a/b/c"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if text, err := f.Load(ctx, "a/e"); string(text) != "a/e" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if err := f.Unlock(ctx, "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A folder that others may write is an error: they could know the keys.
func TestNewFolder_forOthers(t *testing.T) {
	dir := t.TempDir()
	testutil.Must(t, os.Chmod(dir, 0o770))
	if _, err := NewFolder(dir, -1, -1); err == nil || !strings.Contains(err.Error(), "chmod go-w "+dir) {
		t.Error(err)
	}
}

// One of many has the lock at a time, in one process or in several.
func TestFolder_lockExcludes(t *testing.T) {
	dir := t.TempDir()
	newFolder(t, dir)
	var holds atomic.Int32
	var work sync.WaitGroup
	for range 8 {
		f := newFolder(t, dir)
		work.Go(func() {
			for range 20 {
				if err := f.Lock(t.Context(), "*.Example.org"); err != nil {
					t.Error(err)
					return
				}
				if holds.Add(1) != 1 {
					t.Error("two have the lock")
				}
				holds.Add(-1)
				if err := f.Unlock(t.Context(), "*.Example.org"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	if left, err := os.ReadDir(filepath.Join(dir, "locks")); len(left) > 0 || err != nil {
		t.Errorf("%v are left, %v", left, err)
	}
}

// The lock of a process that lives is waited for, for as long as the context. The lock of a dead process is taken at
// once.
func TestFolder_lockOfDeadProcess(t *testing.T) {
	dir := t.TempDir()
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "LOCK_OF_TEST="+dir)
	in, _ := other.StdinPipe()
	out, _ := other.StdoutPipe()
	testutil.Must(t, other.Start())
	defer in.Close() //nolint:errcheck // of the test
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked <nil>\n" {
		t.Fatal(line, err)
	}
	f := newFolder(t, dir)
	short, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	if err := f.Lock(short, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "locks", "a.lock"))
	var by lockText
	if json.Unmarshal(text, &by) != nil || time.Since(by.Updated) > lockStale || by.Created.IsZero() {
		t.Errorf("a Caddy would take it: %q, %v", text, err)
	}
	testutil.Must(t, other.Process.Kill())
	_ = other.Wait()
	long, cancel := context.WithTimeout(t.Context(), testutil.Patience)
	defer cancel()
	begin := time.Now()
	if err := f.Lock(long, "a"); err != nil || time.Since(begin) > lockStale/2 {
		t.Errorf("it took %v: %v", time.Since(begin), err)
	}
	if err := f.Unlock(long, "a"); err != nil {
		t.Error(err)
	}
}

// A lock that a Caddy has is waited for while its text is fresh, and until its file is gone.
func TestFolder_lockOfCaddy(t *testing.T) {
	dir := t.TempDir()
	f, path := newFolder(t, dir), filepath.Join(dir, "locks", "a.lock")
	write := func(updated time.Time) {
		t.Helper()
		text, err := json.Marshal(map[string]time.Time{"created": updated, "updated": updated})
		if err == nil {
			err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, text, 0o600))
		}
		testutil.Must(t, err)
	}
	write(time.Now())
	short, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	if err := f.Lock(short, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	long, cancel := context.WithTimeout(t.Context(), testutil.Patience)
	defer cancel()
	for _, end := range []func(){func() { _ = os.Remove(path) }, func() { write(time.Now().Add(-2 * lockStale)) }} {
		end()
		if err := errors.Join(f.Lock(long, "a"), f.Unlock(long, "a")); err != nil {
			t.Error(err)
		}
		write(time.Now())
	}
}
