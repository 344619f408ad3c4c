package proxy

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

type visit struct {
	name  string
	count int
}

var (
	visits  = NewLocal[visit]()
	numbers = NewLocal[int]()
	large   = NewLocal[*[1 << 20]byte]()
	turns   = func() (all [20]Local[int]) {
		for i := range all {
			all[i] = NewLocal[int]()
		}
		return all
	}()
	many = func() (all []Local[string]) {
		for range 100 {
			all = append(all, NewLocal[string]())
		}
		return all
	}()
)

// holder is what a test knows of a number.
type holder struct {
	number uint32
	used   slabUsed
	texts  map[int]string // by index in many
	count  int
}

// A slab agrees with maps, whatever is taken, used, cleared and returned.
func TestSlab_agreesWithAModel(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var s slab
		var held []*holder
		for range 5000 {
			if len(held) == 0 || rng.IntN(20) == 0 {
				held = append(held, &holder{number: s.Take(), texts: map[int]string{}})
				continue
			}
			at := rng.IntN(len(held))
			h := held[at]
			switch rng.IntN(10) {
			case 0:
				s.Clear(h.number, h.used)
				h.used, h.count = 0, 0
				clear(h.texts)
				if rng.IntN(2) == 0 {
					s.Return(h.number)
					held = slices.Delete(held, at, at+1)
				}
			case 1, 2, 3:
				v := numbers.of(&s, h.number, &h.used)
				if *v != h.count {
					t.Fatalf("seed %d: number %d has %d, want %d", seed, h.number, *v, h.count)
				}
				*v++
				h.count++
			default:
				i := rng.IntN(len(many))
				v := many[i].of(&s, h.number, &h.used)
				if *v != h.texts[i] {
					t.Fatalf("seed %d: number %d has %q, want %q", seed, h.number, *v, h.texts[i])
				}
				*v = fmt.Sprint(rng.Uint32())
				h.texts[i] = *v
			}
		}
		for _, h := range held {
			s.Clear(h.number, h.used)
			s.Return(h.number)
		}
		if n := s.Bytes(); n != 0 {
			t.Fatalf("seed %d: %d bytes are left of nothing", seed, n)
		}
	}
}

// Numbers are the least that are free, so that those of a crowd that has left lie together.
func TestSlab_Take(t *testing.T) {
	var s slab
	for want := range uint32(200) {
		if n := s.Take(); n != want {
			t.Fatalf("%d is taken, want %d", n, want)
		}
	}
	for _, n := range []uint32{150, 64, 3, 63} {
		s.Return(n)
	}
	for _, want := range []uint32{3, 63, 64, 150, 200} {
		if n := s.Take(); n != want {
			t.Fatalf("%d is taken, want %d", n, want)
		}
	}
}

// What a crowd needed is given back, but for those that stay.
func TestSlab_givesMemoryBack(t *testing.T) {
	var s slab
	used := make([]slabUsed, 10_000)
	for n := range used {
		visits.of(&s, s.Take(), &used[n]).count = 1
	}
	const chunk = int64(chunkSize * unsafe.Sizeof(entry[visit]{}))
	if n := s.Bytes(); n != (10_000+63)/64*chunk {
		t.Fatalf("%d bytes for 10000", n)
	}
	for n := range uint32(10_000) {
		if n != 5 && n != 9_000 {
			s.Clear(n, used[n])
			s.Return(n)
		}
	}
	if n := s.Bytes(); n != 2*chunk {
		t.Fatalf("%d bytes for two", n)
	}
	if visits.of(&s, 9_000, &used[9_000]).count != 1 {
		t.Fatal("one that stays has lost its value")
	}
}

// What a value refers to is garbage once it was cleared.
func TestSlab_Clear_letsGo(t *testing.T) {
	var s slab
	var used slabUsed
	gone := make(chan struct{})
	func() {
		v := new([1 << 20]byte)
		runtime.AddCleanup(v, func(int) { close(gone) }, 0)
		*large.of(&s, s.Take(), &used) = v
	}()
	s.Clear(0, used)
	testutil.Eventually(t, testutil.Patience, func() bool {
		runtime.GC()
		select {
		case <-gone:
			return true
		default:
			return false
		}
	}, "the value is held")
	runtime.KeepAlive(&s)
}

// Goroutines that each own a holder meet while the slab grows and shrinks.
func TestLocal_of_whileTheSlabGrows(t *testing.T) {
	var s slab
	var wg sync.WaitGroup
	for range 300 {
		n := s.Take()
		wg.Go(func() { // as a worker that owns an exchange
			var used slabUsed
			for i := range 1000 {
				k := turns[(int(n)+i)%len(turns)]
				v := k.of(&s, n, &used)
				if *v != i/len(turns) {
					t.Errorf("number %d has %d in turn %d", n, *v, i)
					return
				}
				*v++
			}
		})
		own := s.Take()
		var used slabUsed
		*turns[int(own)%len(turns)].of(&s, own, &used) = 7
		s.Clear(own, used)
		s.Return(own)
	}
	wg.Wait()
}

// A value costs no allocation but for the first of 64 holders.
func TestLocal_of_allocatesNothing(t *testing.T) {
	var s slab
	n := s.Take()
	allocs := testutil.Allocs(1000, func() {
		var used slabUsed
		visits.of(&s, n, &used).name = "a"
		many[99].of(&s, n, &used)
		s.Clear(n, used)
	})
	if allocs != 0 {
		t.Fatalf("%v allocations", allocs)
	}
}

func BenchmarkLocal_of(b *testing.B) {
	var s slab
	n := s.Take()
	for b.Loop() {
		var used slabUsed
		visits.of(&s, n, &used).count++
		s.Clear(n, used)
	}
}
