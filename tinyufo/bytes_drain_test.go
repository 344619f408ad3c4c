package tinyufo

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Drain yields all that is there, once, with its uses, and leaves nothing.
func TestBytes_Drain(t *testing.T) {
	testutil.OnlyPlain(t)
	for _, shards := range []int{1, 4} {
		now := int64(1 << 40)
		c := newBytes(t, BytesOptions{Size: 4 << 20, Shards: shards, TTL: Forever, Clock: func() int64 { return now }})
		for k := range uint64(30_000) { // several laps of the logs
			c.Set(keyOf(k), stamped(k, 1, int(k%500)))
			if k%7 == 0 {
				c.Delete(keyOf(k - 7))
			}
		}
		c.SetTTL([]byte("ends"), []byte("v"), time.Second)
		now += int64(time.Minute)
		c.Set([]byte("hot"), []byte("v"))
		for range 5 {
			c.Get(nil, []byte("hot"))
		}
		want := make(map[string]string)
		for k, v := range c.All() {
			want[string(k)] = string(v)
		}
		n, hot := 0, 0
		c.Drain(func(k, v []byte, uses int) bool {
			if string(v) != want[string(k)] {
				t.Fatalf("%q is %q", k, v)
			}
			if delete(want, string(k)); string(k) == "hot" {
				hot = uses
			}
			n++
			return true
		})
		if len(want) > 0 || n == 0 || hot != 3 {
			t.Errorf("%d entries came, %d did not; hot had %d uses", n, len(want), hot)
		}
		if s := c.Stats(); c.Len() != 0 || s.Insertions != s.Evictions+s.Deletions {
			t.Errorf("%d entries are left: %+v", c.Len(), s)
		}
		for k := range uint64(30_000) { // it goes on as a new one
			c.Set(keyOf(k), stamped(k, 2, 50))
		}
		if v, ok := c.Get(nil, keyOf(29_999)); !ok {
			t.Error("nothing can be set any more")
		} else if n, err := version(29_999, v); err != nil || n != 2 {
			t.Errorf("version %d: %v", n, err)
		}
	}
}

// Where the function has enough, the others stay, but for those that were taken out with the last one.
func TestBytes_DrainEnds(t *testing.T) {
	c := newBytes(t, BytesOptions{Size: 8 << 20, Shards: 2})
	for k := range uint64(5000) {
		c.Set(keyOf(k), stamped(k, 1, 1000))
	}
	before := c.Len()
	c.Drain(func(_, _ []byte, _ int) bool { return false })
	if n := c.Len(); n == 0 || n == before || n < before/2 {
		t.Errorf("%d of %d are left", n, before)
	}
}

// What was taken out takes no memory any more.
func TestBytes_DrainGivesMemoryBack(t *testing.T) {
	c := newBytes(t, BytesOptions{Size: 256 << 20, Shards: 8})
	value := make([]byte, 10_000)
	for k := range uint64(30_000) {
		c.Set(keyOf(k), value)
	}
	before, most := resident(t), int64(0)
	taken := 0
	c.Drain(func(_, v []byte, _ int) bool {
		if taken += len(v); taken%(1000*len(value)) == 0 {
			most = max(most, resident(t)+int64(taken))
		}
		return true
	})
	after := resident(t)
	if before-after < 200<<20 || taken < 200<<20 {
		t.Errorf("%d MiB, and %d after %d were taken out", before>>20, after>>20, taken>>20)
	}
	if most > before+32<<20 {
		t.Errorf("%d MiB together with what was taken out, of %d", most>>20, before>>20)
	}
}

// resident is how many bytes of memory the process has.
func resident(t *testing.T) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	testutil.Must(t, err)
	return pages * int64(os.Getpagesize())
}

// A cache that is used while it is drained never returns a wrong value.
func TestBytes_DrainWhileOthersSet(t *testing.T) {
	c := newBytes(t, BytesOptions{Size: 1 << 20, Shards: 1})
	var others sync.WaitGroup
	end := make(chan struct{})
	for g := range uint64(2) {
		others.Go(func() {
			rng := rand.New(rand.NewPCG(g, 7))
			var buf []byte
			for n := uint64(1); ; n++ {
				select {
				case <-end:
					return
				default:
				}
				k := rng.Uint64N(2000)
				if v, ok := c.Get(buf[:0], keyOf(k)); ok {
					if _, err := version(k, v); err != nil {
						t.Error(err)
						return
					}
					buf = v
				}
				c.Set(keyOf(k), stamped(k, n, int(rng.Uint64N(1000))))
			}
		})
	}
	for range testutil.Rounds(40) {
		n := 0
		c.Drain(func(k, v []byte, _ int) bool {
			id, _ := strconv.ParseUint(strings.TrimPrefix(string(k), "key-"), 10, 64)
			if _, err := version(id, v); err != nil {
				t.Error(err)
			}
			n++
			return n < 20_000 && !t.Failed() // others may set as fast as it takes out
		})
	}
	close(end)
	others.Wait()
}
