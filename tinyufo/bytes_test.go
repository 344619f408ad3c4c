package tinyufo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
)

func newBytes(t testing.TB, o BytesOptions) *Bytes {
	t.Helper()
	c, err := NewBytes(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// stamped is a value that says of which key and which version it is, in all its bytes.
func stamped(key, version uint64, size int) []byte {
	v := binary.LittleEndian.AppendUint64(nil, key)
	v = binary.LittleEndian.AppendUint64(v, version)
	rng := rand.New(rand.NewPCG(key, version))
	for len(v) < 16+size {
		v = append(v, byte(rng.Uint32()))
	}
	return v
}

// version checks a stamped value, and returns its version.
func version(key uint64, v []byte) (uint64, error) {
	if len(v) < 16 || binary.LittleEndian.Uint64(v) != key {
		return 0, fmt.Errorf("%x is not of %d", v, key)
	}
	n := binary.LittleEndian.Uint64(v[8:])
	if !bytes.Equal(v, stamped(key, n, len(v)-16)) {
		return 0, fmt.Errorf("%d: not one value: %x", key, v)
	}
	return n, nil
}

func keyOf(k uint64) []byte { return fmt.Appendf(nil, "key-%d", k) }

// TestBytes_isAMapThatForgets compares with a map: Get returns the value that was set last or none, and none for a
// deleted key.
func TestBytes_isAMapThatForgets(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 2))
		c := newBytes(t, BytesOptions{Size: 64 << 10, Shards: 1 << (seed % 3)})
		model := make(map[uint64][]byte)
		forgotten := make(map[uint64]bool)
		for n := uint64(1); n < 60_000; n++ {
			k := rng.Uint64N(500)
			if rng.IntN(3) > 0 {
				k = rng.Uint64N(50)
			}
			switch op := rng.IntN(10); {
			case op < 5:
				v, ok := c.Get([]byte("pre"), keyOf(k))
				want, present := model[k]
				if ok && (!present || forgotten[k] || string(v) != "pre"+string(want)) {
					t.Fatalf("seed %d, %d: %x for %d, not %x (forgotten %v)", seed, n, v, k, want, forgotten[k])
				}
				if !ok && string(v) != "pre" {
					t.Fatalf("a miss appends %q", v)
				}
				forgotten[k] = forgotten[k] || !ok
			case op < 9:
				model[k] = stamped(k, n, rng.IntN(300))
				delete(forgotten, k)
				if !c.Set(keyOf(k), model[k]) {
					t.Fatal("not taken in")
				}
			default:
				c.Delete(keyOf(k))
				delete(model, k)
			}
		}
		seen := make(map[string]bool)
		for k, v := range c.All() {
			seen[string(k)] = true
			if got, ok := c.Get(nil, k); !ok || !bytes.Equal(got, v) {
				t.Fatalf("All: %q is %x, Get says %x", k, v, got)
			}
		}
		if len(seen) != c.Len() || c.Len() == 0 {
			t.Errorf("All: %d entries of %d", len(seen), c.Len())
		}
		s := c.Stats()
		if got := int(s.Insertions - s.Evictions - s.Deletions); got != c.Len() {
			t.Errorf("%+v: %d entries", s, c.Len())
		}
	}
}

// Each key has one writer; a reader never sees its version go back, nor bytes of two values.
func TestBytes_underConcurrency(t *testing.T) {
	for _, size := range []int64{16 << 10, 128 << 10} {
		c := newBytes(t, BytesOptions{Size: size, Shards: 1})
		var wg sync.WaitGroup
		for g := range uint64(4) {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(g, 3))
				seen := make(map[uint64]uint64)
				var buf []byte
				for n := uint64(1); n < 40_000; n++ {
					k := rng.Uint64N(200)
					if g == 0 || rng.IntN(3) > 0 {
						k &= 15
					}
					switch op := rng.IntN(20); {
					case op < 15:
						v, ok := c.Get(buf[:0], keyOf(k))
						if !ok {
							continue
						}
						buf = v
						got, err := version(k, v)
						if err != nil || got < seen[k] {
							t.Errorf("%v, version %d after %d", err, got, seen[k])
							return
						}
						seen[k] = got
					case op < 19:
						k = k&^3 | g
						seen[k] = n
						c.Set(keyOf(k), stamped(k, n, int(rng.Uint64N(200))))
					default:
						c.Delete(keyOf(k))
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestBytes_TTL(t *testing.T) {
	now := int64(1 << 40)
	c := newBytes(t, BytesOptions{Size: 1 << 20, TTL: 10 * time.Second, Clock: func() int64 { return now }})
	c.Set([]byte("k"), []byte("v"))
	now += int64(9 * time.Second)
	if v, ok := c.Get(nil, []byte("k")); !ok || string(v) != "v" {
		t.Errorf("after 9 s: %q %v", v, ok)
	}
	now += int64(1500 * time.Millisecond)
	if v, ok := c.Get(nil, []byte("k")); ok {
		t.Errorf("after 10.5 s: %q", v)
	}
}

func TestBytes_whatItRefuses(t *testing.T) {
	c := newBytes(t, BytesOptions{Size: 1 << 20, Shards: 1})
	c.Set([]byte("k"), []byte("old"))
	if c.Set([]byte("k"), make([]byte, 1<<20)) {
		t.Error("took in a value as large as the cache")
	}
	if v, ok := c.Get(nil, []byte("k")); ok {
		t.Errorf("a refused value leaves %q", v)
	}
	if c.Set(make([]byte, 1<<16), nil) || c.Delete(make([]byte, 1<<16)) {
		t.Error("a key of 64 KiB")
	}
	for _, k := range []string{"", "\x00"} {
		c.Set([]byte(k), nil)
		if v, ok := c.Get(nil, []byte(k)); !ok || len(v) != 0 {
			t.Errorf("%q: %q %v", k, v, ok)
		}
	}
}

func TestBytes_allocatesNothing(t *testing.T) {
	c := newBytes(t, BytesOptions{Size: 1 << 20})
	key, value, buf := []byte("key"), make([]byte, 100), make([]byte, 0, 100)
	for i := range 20_000 {
		c.Set(keyOf(uint64(i)), value)
	}
	if n := testutil.Allocs(1000, func() {
		c.Set(key, value)
		buf, _ = c.Get(buf[:0], key)
		c.Delete(key)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
