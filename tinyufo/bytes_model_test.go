package tinyufo

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// modelledBytes is a Bytes beside a map. The cache may forget an entry at any time, and never finds it again.
type modelledBytes struct {
	*testing.T
	c     *Bytes
	now   int64
	timed bool
	n     uint64 // operations
	model map[uint64]modelledValue
}

type modelledValue struct {
	value    []byte
	deadline int64 // it has to be absent three steps later; 0: never
}

func newModelledBytes(t *testing.T, kind byte) *modelledBytes {
	m := &modelledBytes{T: t, now: 1 << 40, timed: kind&1 != 0, model: make(map[uint64]modelledValue)}
	o := BytesOptions{Size: 64 << 10, Shards: 1 << (kind >> 1 & 1)}
	if m.timed {
		o.TTL, o.Clock = Forever, func() int64 { return m.now }
	}
	m.c = newBytes(t, o)
	return m
}

// keyOfModel has a length that depends on the key: shorter than 8 bytes, up to 16, and longer.
func keyOfModel(k uint64) []byte { return append(make([]byte, 3+k%20), byte(k), byte(k>>8)) }

func (m *modelledBytes) do(op byte, k uint64, size int) {
	m.n++
	switch {
	case op < 9:
		m.get(k)
	case op < 14:
		m.set(k, stamped(k, m.n, size), 0)
	case op == 14:
		if _, ok := m.c.Get(nil, keyOfModel(k)); m.c.Delete(keyOfModel(k)) && !ok && !m.timed {
			m.Fatalf("%d was deleted, and was not there", k)
		}
		delete(m.model, k)
	case m.timed && size%2 == 0:
		m.set(k, stamped(k, m.n, size), time.Duration(size)*100*time.Millisecond+1)
	case m.timed:
		m.now += int64(size) * int64(10*time.Millisecond)
	default:
		m.set(k, stamped(k, m.n, 50*size), 0)
	}
}

func (m *modelledBytes) set(k uint64, value []byte, ttl time.Duration) {
	taken, want := false, modelledValue{value: value}
	if ttl > 0 {
		want.deadline = m.now + int64(ttl)
		taken = m.c.SetTTL(keyOfModel(k), value, ttl)
	} else {
		taken = m.c.Set(keyOfModel(k), value)
	}
	if taken {
		m.model[k] = want
		m.get(k)
		return
	}
	if len(value) < 700 {
		m.Fatalf("a value of %d bytes was not taken in", len(value))
	}
	delete(m.model, k)
}

func (m *modelledBytes) get(k uint64) {
	v, ok := m.c.Get([]byte("pre"), keyOfModel(k))
	want, present := m.model[k]
	late := want.deadline > 0 && m.now >= want.deadline+3<<granule
	switch {
	case ok && (!present || late || string(v) != "pre"+string(want.value)):
		m.Fatalf("%d: %x for %d, not %x (present %v, late %v)", m.n, v, k, want.value, present, late)
	case !ok && string(v) != "pre":
		m.Fatalf("a miss appends %q", v)
	case !ok:
		delete(m.model, k)
	}
}

// checkAll compares what the cache says of all its entries.
func (m *modelledBytes) checkAll() {
	seen := make(map[string]bool)
	for k, v := range m.c.All() {
		seen[string(k)] = true
		if got, ok := m.c.Get(nil, k); !ok || !bytes.Equal(got, v) {
			m.Fatalf("All: %q is %x, Get says %x", k, v, got)
		}
	}
	if len(seen) > m.c.Len() || !m.timed && len(seen) != m.c.Len() {
		m.Errorf("All: %d entries of %d", len(seen), m.c.Len())
	}
	s := m.c.Stats()
	if got := int(s.Insertions - s.Evictions - s.Deletions); got != m.c.Len() {
		m.Errorf("%+v: %d entries", s, m.c.Len())
	}
}

// TestBytes_isAMapThatForgets compares with a map: Get returns the value that was set last or none, and none for a
// deleted key.
func TestBytes_isAMapThatForgets(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 2))
		m := newModelledBytes(t, byte(seed))
		for range testutil.Rounds(40_000) {
			k := rng.Uint64N(500)
			if rng.IntN(3) > 0 {
				k = rng.Uint64N(50)
			}
			m.do(byte(rng.IntN(16)), k, rng.IntN(300))
		}
		if m.c.Stats().Evictions == 0 {
			t.Error("nothing was evicted")
		}
		m.checkAll()
	}
}

// FuzzBytes runs operations on a cache: four bytes each, what, which key, and how much.
func FuzzBytes(f *testing.F) {
	f.Add([]byte("\x00\x0aa\x00b"))
	for kind := range byte(4) {
		ops := []byte{kind}
		for i := range 700 {
			ops = append(ops, byte(i*7), byte(i*13), byte(i%2), byte(i*11))
		}
		f.Add(ops)
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) == 0 || len(ops) > 8000 {
			return
		}
		m := newModelledBytes(t, ops[0])
		for ops = ops[1:]; len(ops) >= 4; ops = ops[4:] {
			m.do(ops[0]%16, uint64(ops[1])|uint64(ops[2]%4)<<8, int(ops[3]))
		}
		m.checkAll()
	})
}

// watchedKey is what is known of a key with one writer. Versions grow.
type watchedKey struct {
	begun   atomic.Uint64 // the version that is being set, or was set last
	done    atomic.Uint64 // the one whose Set has returned
	deleted atomic.Uint64 // versions up to this one must not be seen any more: somebody has missed them
}

// forget notes that versions up to v were absent.
func (w *watchedKey) forget(v uint64) {
	for old := w.deleted.Load(); old < v && !w.deleted.CompareAndSwap(old, v); old = w.deleted.Load() {
	}
}

// get checks one look-up: what was set before it began is not older than what it returns, what somebody has missed
// before is not returned, and all bytes are of one value.
func (w *watchedKey) get(t *testing.T, c *Bytes, k uint64, buf []byte) []byte {
	done, deleted := w.done.Load(), w.deleted.Load()
	v, ok := c.Get(buf[:0], keyOf(k))
	if !ok {
		w.forget(done)
		return buf
	}
	if got, err := version(k, v); err != nil || got < done || got <= deleted || got > w.begun.Load() {
		t.Errorf("%d: %v; version %d, where %d was set, and up to %d missed", k, err, got, done, deleted)
	}
	return v
}

func TestBytes_forgetsAndNeverFindsAgain(t *testing.T) {
	rounds := uint64(testutil.RaceRounds(40_000))
	for _, size := range []int64{16 << 10, 32 << 10} {
		c := newBytes(t, BytesOptions{Size: size, Shards: 1})
		keys := make([]watchedKey, 400)
		var wg sync.WaitGroup
		for g := range uint64(4) {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(g, 3))
				var buf []byte
				for n := uint64(1); n < rounds && !t.Failed(); n++ {
					k := rng.Uint64N(uint64(len(keys)))
					if g == 0 || rng.IntN(3) > 0 {
						k &= 15
					}
					if op := rng.IntN(20); op < 14 {
						buf = keys[k].get(t, c, k, buf)
						continue
					} else if k = k&^3 | g; op < 19 {
						keys[k].begun.Store(n)
						c.Set(keyOf(k), stamped(k, n, int(rng.Uint64N(200))))
						keys[k].done.Store(n)
						continue
					}
					c.Delete(keyOf(k))
					keys[k].forget(keys[k].done.Load())
				}
			})
		}
		wg.Wait()
		if c.Stats().Evictions == 0 {
			t.Error("nothing was evicted")
		}
	}
}

// Of values that replace only what is older, the newest one stays, whatever the order in which they are set.
func TestBytes_SetIf(t *testing.T) {
	c := newBytes(t, BytesOptions{Size: 64 << 10, Shards: 1})
	isNewer := func(value, old []byte) bool {
		return binary.LittleEndian.Uint64(value) > binary.LittleEndian.Uint64(old)
	}
	key, rounds := []byte("key"), uint64(testutil.Rounds(20_000))
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(g, 5))
			var buf []byte
			for last := uint64(0); last < rounds; {
				n := last + rng.Uint64N(9)
				taken := c.SetIf(key, binary.LittleEndian.AppendUint64(nil, n), isNewer)
				buf, _ = c.Get(buf[:0], key)
				got := binary.LittleEndian.Uint64(buf)
				if got < last || taken && got < n || !taken && n > got {
					t.Errorf("%d after %d was set (%v), and %d seen", got, n, taken, last)
					return
				}
				last = got
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Refusals == 0 || s.Insertions != 1 {
		t.Errorf("%+v", s)
	}
	c.Delete(key)
	if !c.SetIf(key, binary.LittleEndian.AppendUint64(nil, 0), isNewer) {
		t.Error("nothing was there, and it was refused")
	}
}
