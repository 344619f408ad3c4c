package ketama

import (
	"hash/crc32"
	"sync"
	"sync/atomic"
	"testing"
)

// A key on the stack of a goroutine is hashed right while that stack moves: it is at its smallest when the hash begins.
func TestHash_ofAKeyOnAStackThatGrows(t *testing.T) {
	r := ring(t, fleet(3), Options{})
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() {
			var key [1500]byte
			key[i] = byte(i)
			if got, want := r.Hash(key[:]), uint64(crc32.ChecksumIEEE(key[:])); got != want {
				t.Errorf("%08x, want %08x", got, want)
			}
			deeper(t, r, 40)
		})
	}
	wg.Wait()
}

func deeper(t *testing.T, r *Ring, depth int) {
	var key [200]byte
	key[depth] = 1
	h := r.Hash(key[:])
	if depth > 0 {
		deeper(t, r, depth-1)
	}
	if got := r.Hash(key[:]); got != h {
		t.Errorf("depth %d: %08x, and %08x before", depth, got, h)
	}
}

// One goroutine swaps rings, others pick: each look-up is that of one ring.
func TestRing_isSafeForAnyGoroutine(t *testing.T) {
	servers := fleet(12)
	var current atomic.Pointer[Ring]
	current.Store(ring(t, servers[:6], Options{}))
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for h := uint64(0); !done.Load(); h += 0x9e3779b1 {
				now := current.Load()
				i := now.Failover(h, func(int) bool { return true })
				for first := range now.Walk(h) {
					if first != i || i >= now.Len() {
						t.Errorf("server %d and %d of %d", first, i, now.Len())
						return
					}
					break
				}
			}
		})
	}
	for k := range 60 {
		s := servers[6+k%6]
		more, err := current.Load().With(s)
		if err != nil {
			t.Error(err)
			break
		}
		current.Store(more)
		current.Store(more.Without(s.Name))
	}
	done.Store(true)
	wg.Wait()
}
