package issue

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/base/private"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A lock whose file was removed, and that another process has by now, is not taken from it by the end of the first.
func TestFolder_unlockLeavesOthers(t *testing.T) {
	dir := t.TempDir()
	f, other, ctx := newFolder(t, dir), newFolder(t, dir), t.Context()
	path := filepath.Join(dir, "locks", "a.lock")
	testutil.Must(t, errors.Join(f.Lock(ctx, "a"), os.Remove(path), other.Lock(ctx, "a"), f.Unlock(ctx, "a")))
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	short, cancel := context.WithTimeout(ctx, lockAgain+lockAgain/2)
	defer cancel()
	if err := f.Lock(short, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("two have the lock: %v", err)
	}
	if err := other.Unlock(ctx, "a"); err != nil {
		t.Error(err)
	}
}

// The text of a Caddy is fresh by its clock, and if that is ahead by the time of the file.
func TestFree(t *testing.T) {
	now := time.Now()
	text := func(updated time.Time) string {
		text, _ := json.Marshal(lockText{Created: updated, Updated: updated})
		return string(text)
	}
	for name, c := range map[string]struct {
		text    string
		written time.Time
		want    bool
	}{
		"fresh":                   {text(now), now, false},
		"stale":                   {text(now.Add(-time.Minute)), now.Add(-time.Minute), true},
		"empty":                   {"", now, true},
		"cut":                     {text(now)[:9], now.Add(-time.Minute), true},
		"of a clock ahead":        {text(now.Add(365 * day)), now, false},
		"of a clock ahead, stale": {text(now.Add(365 * day)), now.Add(-time.Minute), true},
		"both ahead":              {text(now.Add(365 * day)), now.Add(365 * day), true},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "a.lock")
		err := errors.Join(os.WriteFile(path, []byte(c.text), 0o600), os.Chtimes(path, c.written, c.written))
		in, e := private.New(dir, -1, -1)
		if errors.Join(err, e) != nil {
			t.Fatal(err, e)
		}
		f, err := tryLock(in, "a.lock")
		if (f != nil) != c.want || err != nil {
			t.Errorf("%s: taken %t, %v", name, f != nil, err)
		}
	}
}

// A lock file that is a pipe is an error: to read it could last for ever.
func TestFolder_lockIsPipe(t *testing.T) {
	dir := t.TempDir()
	f := newFolder(t, dir)
	at := filepath.Join(dir, "locks")
	testutil.Must(t, errors.Join(os.Mkdir(at, 0o700), unix.Mkfifo(filepath.Join(at, "a.lock"), 0o600)))
	ended := make(chan error, 1)
	go func() { ended <- f.Lock(t.Context(), "a") }()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a pipe was locked")
		}
	case <-time.After(testutil.Patience):
		t.Fatal("it waits for the pipe")
	}
}

// The error of a file that is no value says which one it is.
func TestFolder_odd(t *testing.T) {
	dir := t.TempDir()
	f := newFolder(t, dir)
	err := errors.Join(os.Mkdir(filepath.Join(dir, "x"), 0o700),
		os.WriteFile(filepath.Join(dir, "large"), make([]byte, 1<<20+1), 0o600))
	testutil.Must(t, err)
	for _, key := range []string{"x", "large"} {
		if _, err := f.Load(t.Context(), key); err == nil || !strings.HasPrefix(err.Error(), key+": is ") {
			t.Errorf("%v", err)
		}
	}
}
