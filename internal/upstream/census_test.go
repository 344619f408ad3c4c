package upstream

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// In any order of writes the census finds what a walk over all numbers finds.
func TestCensus_findsAll(t *testing.T) {
	for _, reactors := range []int{1, 2, 63, 64, 65, 128, 200} {
		rng := rand.New(rand.NewPCG(1, uint64(reactors)))
		o := origin{oldest: newCensus(reactors)}
		p := peer{idle: newCensus(reactors)}
		for range 500 {
			i := rng.IntN(reactors)
			since, parked := rng.Int64N(5), rng.Int64N(3)
			o.oldest.tell(i, since)
			p.idle.mark(i, parked)
			first, some := -1, 0
			me := rng.IntN(reactors)
			most := int64(0)
			for k := range reactors {
				if v := o.oldest.cells[k].Load(); v != 0 && (first < 0 || v < o.oldest.cells[first].Load()) {
					first = k
				}
				if n := p.idle.cells[k].Load(); k != me && n > 0 {
					some++
					most = max(most, n)
				}
			}
			if got, _ := o.longestWaiting(); got != first {
				t.Fatalf("%d reactors: the longest waits on %d, want %d", reactors, got, first)
			}
			got := p.mostParked(me)
			if got == me || got < 0 != (some == 0) {
				t.Fatalf("%d reactors: mostParked is %d, %d have some", reactors, got, some)
			}
			if got < 0 {
				continue
			}
			if has := p.idle.cells[got].Load(); has == 0 || some <= ownersCompared && has != most {
				t.Fatalf("%d reactors: mostParked has %d, the most is %d", reactors, has, most)
			}
		}
	}
}

// A number that stays is found, whatever a reader cleared while it was written.
func TestCensus_noNumberIsLost(t *testing.T) {
	p := peer{idle: newCensus(2)}
	var searches atomic.Int64
	var over atomic.Bool
	var reader sync.WaitGroup
	reader.Go(func() {
		for !over.Load() {
			p.mostParked(0)
			if searches.Add(1)%64 == 0 {
				runtime.Gosched()
			}
		}
	})
	defer reader.Wait()
	defer over.Store(true)
	for range testutil.RaceRounds(60_000) {
		p.idle.mark(1, 0)
		p.idle.mark(1, 1)
		for past := searches.Load(); searches.Load() < past+2; { // the one that is going on may miss it
			runtime.Gosched()
		}
		if p.idle.next(0) != 1 {
			t.Fatal("a reactor has a connection and no bit")
		}
	}
}

// An exchange that tells that it waits and then finds no slot is found by the reactor that gives one back afterwards:
// one of the two always sees the other.
func TestCensus_waiterAndFreeSlotMeet(t *testing.T) {
	for range 4000 {
		o := origin{limit: 1, oldest: newCensus(2)}
		o.open.Store(1)
		o.oldest.tell(0, 0)
		var got, handed atomic.Bool
		var both sync.WaitGroup
		both.Go(func() {
			o.oldest.tell(1, 7)
			got.Store(o.acquire())
		})
		both.Go(func() {
			o.open.Add(-1)
			to, _ := o.longestWaiting()
			handed.Store(to == 1)
		})
		both.Wait()
		if !got.Load() && !handed.Load() {
			t.Fatal("a slot is free and an exchange waits for it")
		}
	}
}

// What every reactor writes shares no line with what each Take reads.
func TestOrigin_linesApart(t *testing.T) {
	var o origin
	open, waiting := unsafe.Offsetof(o.open), unsafe.Offsetof(o.waiting)
	if read := unsafe.Offsetof(o.peers); open-read < 128 || waiting-open < 128 || unsafe.Sizeof(o)-waiting < 128 {
		t.Errorf("peers are at %d, open at %d, waiting at %d of %d bytes", read, open, waiting, unsafe.Sizeof(o))
	}
}
