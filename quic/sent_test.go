package quic

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestChunks_keepBytes(t *testing.T) {
	for seed := range uint64(testutil.RaceRounds(100)) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		var a Arena
		var c chunks
		for range 200 {
			c.write(&a, pattern(c.size, c.size+rnd.Int64N(5000)))
			for range 3 {
				from := c.base + rnd.Int64N(c.size-c.base+1)
				n := rnd.Int64N(c.size - from + 1)
				if got := c.appendTo(nil, from, int(n)); !bytes.Equal(got, pattern(from, from+n)) {
					t.Fatalf("%d bytes at %d are others", n, from)
				}
			}
			c.forget(&a, c.base+rnd.Int64N(c.size-c.base+1))
			if rnd.IntN(10) == 0 {
				c.forget(&a, c.size)
			}
			if pages := a.Stats.Pages; int(pages) > c.held()/pageData+2 || (pages == 0) != (c.held() == 0) {
				t.Fatalf("%d pages for %d bytes", pages, c.held())
			}
		}
	}
}

// flying is a frame on its way.
type flying struct {
	from int64
	n    int
	end  bool
}

// All bytes arrive, in whatever order frames arrive or are lost, and nothing is kept then.
func TestOutgoing_allArrives(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		var a Arena
		var o outgoing
		size := rnd.Int64N(30_000)
		arrived, ended := make([]bool, size), false
		var way []flying
		for steps := 0; !o.done(); steps++ {
			if steps > 100_000 {
				t.Fatalf("seed %d: no end: %+v", seed, o)
			}
			if o.size < size {
				o.write(&a, pattern(o.size, min(o.size+rnd.Int64N(3000), size)))
			} else {
				o.finish()
			}
			limit := o.next + rnd.Int64N(4000)
			from, n, end, ok := o.pick(rnd.IntN(1300), limit)
			if ok {
				checkPicked(t, &o, from, n, end, limit, size)
				o.sent(from, n, end)
				way = append(way, flying{from, n, end})
			}
			for len(way) > 0 && (rnd.IntN(3) > 0 || !ok) {
				i := rnd.IntN(len(way))
				f := way[i]
				way = append(way[:i], way[i+1:]...)
				late := rnd.IntN(8) == 0 // it arrives after all, when it was thought lost
				if rnd.IntN(3) == 0 || late {
					o.lose(f.from, f.n, f.end)
				}
				if rnd.IntN(3) > 0 || late {
					o.acknowledge(&a, f.from, f.n, f.end)
					for i := range f.n {
						arrived[f.from+int64(i)] = true
					}
					ended = ended || f.end
				} else {
					o.lose(f.from, f.n, f.end)
				}
			}
			checkDisjoint(t, &o)
		}
		for i, came := range arrived {
			if !came {
				t.Fatalf("seed %d: byte %d of %d did not arrive", seed, i, size)
			}
		}
		if !ended || a.Stats.Pages != 0 || o.held() != 0 {
			t.Fatalf("%d pages are kept, %d bytes", a.Stats.Pages, o.held())
		}
	}
}

func checkPicked(t *testing.T, o *outgoing, from int64, n int, end bool, limit, size int64) {
	t.Helper()
	to := from + int64(n)
	if from < o.base || to > o.size || to > o.next && (to > limit || from != o.next) || end && to != size {
		t.Fatalf("picked %d-%d, end %v, of %d, sent %d, limit %d", from, to, end, o.size, o.next, limit)
	}
	if got := o.appendTo(nil, from, n); !bytes.Equal(got, pattern(from, to)) {
		t.Fatalf("%d bytes at %d are others", n, from)
	}
}

func checkDisjoint(t *testing.T, o *outgoing) {
	t.Helper()
	for _, l := range o.lost {
		if l.from < o.base || l.to > o.next {
			t.Fatalf("lost %v outside of %d-%d", l, o.base, o.next)
		}
		for _, k := range o.acked {
			if l.from < k.to && k.from < l.to {
				t.Fatalf("%v is lost and %v acknowledged", l, k)
			}
		}
	}
}

func TestOutgoing_endAlone(t *testing.T) {
	var a Arena
	var o outgoing
	o.write(&a, []byte("hello"))
	if from, n, end, ok := o.pick(100, 3); from != 0 || n != 3 || end || !ok {
		t.Fatalf("%d, %d, %v, %v", from, n, end, ok)
	}
	o.sent(0, 3, false)
	if _, _, _, ok := o.pick(100, 3); ok {
		t.Fatal("beyond the limit")
	}
	o.sent(3, 2, false)
	o.finish()
	from, n, end, ok := o.pick(0, 3)
	if from != 5 || n != 0 || !end || !ok {
		t.Fatalf("%d, %d, %v, %v: the end needs no window", from, n, end, ok)
	}
	o.sent(5, 0, true)
	o.acknowledge(&a, 5, 0, true)
	o.lose(3, 2, false)
	if from, n, end, ok = o.pick(100, 3); from != 3 || n != 2 || end || !ok {
		t.Fatalf("%d, %d, %v, %v", from, n, end, ok)
	}
	o.sent(3, 2, false)
	o.acknowledge(&a, 3, 2, false)
	if o.done() || o.held() != 5 {
		t.Error("three bytes are on their way")
	}
	o.acknowledge(&a, 0, 3, false)
	if !o.done() || a.Stats.Pages != 0 {
		t.Errorf("%+v", o)
	}
}

func TestOutgoing_lostEndIsSentAgain(t *testing.T) {
	var a Arena
	var o outgoing
	o.write(&a, []byte("hello"))
	o.finish()
	o.sent(0, 5, true)
	o.lose(0, 5, true)
	if from, n, end, ok := o.pick(3, 0); from != 0 || n != 3 || end || !ok {
		t.Fatalf("%d, %d, %v, %v", from, n, end, ok)
	}
	o.sent(0, 3, false)
	if from, n, end, ok := o.pick(3, 0); from != 3 || n != 2 || !end || !ok {
		t.Fatalf("%d, %d, %v, %v", from, n, end, ok)
	}
	o.drop(&a)
	if _, _, _, ok := o.pick(100, 100); ok || a.Stats.Pages != 0 || o.held() != 0 {
		t.Error("a stream that was reset sends")
	}
	o.acknowledge(&a, 0, 3, false) // it was on its way
	o.lose(3, 2, true)
	if len(o.lost) != 0 || len(o.acked) != 0 {
		t.Errorf("%+v", o)
	}
}

func TestOutgoing_allocatesNothing(t *testing.T) {
	var a Arena
	var o outgoing
	b, out := make([]byte, 1100), make([]byte, 0, 1500)
	for name, loss := range map[string]bool{"a new stream": false, "a stream with losses": true} {
		if n := testutil.Allocs(200, func() {
			if !loss {
				o = outgoing{}
			}
			o.write(&a, b)
			from, n, end, _ := o.pick(1200, 1<<40)
			out = o.appendTo(out[:0], from, n)
			o.sent(from, n, end)
			if loss {
				o.lose(from, n/2, false)
			}
			o.acknowledge(&a, from, n, end)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
