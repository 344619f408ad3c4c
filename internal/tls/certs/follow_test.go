package certs

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// told are the calls of a Follower.
type told struct {
	mu    sync.Mutex
	calls []bool // whether again
	paths []string
	right bool
	reads int // calls that could read them
	use   func()
}

func (c *told) changed(paths []string, again bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls, c.paths = append(c.calls, again), paths
	if c.right {
		c.reads++
		c.use()
	}
	return c.right
}

// became sets what the next calls report, and waits. What c holds may be read without its lock only after Stop.
func (c *told) became(t *testing.T, right bool, cond func(calls []bool) bool) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.right = right
		return cond(c.calls)
	})
}

func TestFollower(t *testing.T) {
	dir := t.TempDir()
	one, other := filepath.Join(dir, "one"), filepath.Join(dir, "other")
	put := func(path, text string) { // in one step: half of a file may be taken for the whole
		testutil.Must(t, os.WriteFile(path+".next", []byte(text), 0o600))
		rename(t, path+".next", path)
	}
	put(one, "1")
	put(other, "1")
	c := &told{}
	f := Follow(time.Millisecond, c.changed)
	defer f.Stop()
	c.use = func() { f.Use(StampsOf([]string{one, other})) }
	c.use()
	put(one, "22")
	c.became(t, false, func(calls []bool) bool { return len(calls) > 1 && !calls[0] && calls[1] })
	c.became(t, true, func([]bool) bool { return c.reads > 0 })
	f.Stop()
	if !slices.Equal(c.paths, []string{one}) || c.reads != 1 {
		t.Errorf("%q changed, read %d times", c.paths, c.reads)
	}
	n := len(c.calls)
	f = Follow(time.Millisecond, c.changed)
	c.use()
	testutil.Must(t, os.Remove(other))
	c.became(t, true, func(calls []bool) bool { return len(calls) == n+1 && !calls[n] })
	f.Stop()
	f.Stop()
	if len(c.calls) != n+1 || !slices.Equal(c.paths, []string{other}) {
		t.Errorf("%v %q", c.calls, c.paths)
	}
}
