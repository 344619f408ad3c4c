package quic

import (
	"math/rand/v2"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// checkSpans compares s with a set of numbers below len(model).
func checkSpans(t *testing.T, s spans, model []bool) {
	t.Helper()
	for i, e := range s {
		if e.from >= e.to || i > 0 && s[i-1].to >= e.from {
			t.Fatalf("out of order: %v", s)
		}
	}
	for n, want := range model {
		if s.has(int64(n)) != want {
			t.Fatalf("%d: %v, want %v: %v", n, !want, want, s)
		}
	}
}

func TestSpans_areASet(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var s spans
		model := make([]bool, 60)
		for range 60 {
			from := r.Int64N(60)
			to := min(from+r.Int64N(10), 60)
			in := r.IntN(3) > 0
			before := len(s)
			if in {
				s.add(from, to)
			} else {
				s.remove(from, to)
			}
			if len(s) > before+1 {
				t.Fatalf("%d spans became %d", before, len(s))
			}
			for n := from; n < to; n++ {
				model[n] = in
			}
			checkSpans(t, s, model)
		}
	}
}

func TestRanges_areASetThatForgets(t *testing.T) {
	for seed := range uint64(testutil.RaceRounds(100)) {
		r := rand.New(rand.NewPCG(seed, 2))
		var got ranges
		var arena Arena
		model := make([]bool, 1000) // what must not be taken again
		taken := make([]bool, 1000)
		top := int64(0)
		for range 600 {
			n := min(max(top+r.Int64N(9)-5, 0), 999)
			if r.IntN(50) == 0 && top > 20 {
				n = top - r.Int64N(20)
				got.forget(&arena, n)
				for i := range n + 1 {
					model[i], taken[i] = true, false
				}
				continue
			}
			if got.has(n) {
				if n >= got.below && !model[n] {
					t.Fatalf("%d is new", n)
				}
				continue
			}
			if model[n] {
				t.Fatalf("%d came before", n)
			}
			got.add(&arena, n)
			model[n], taken[n], top = true, true, max(top, n)
			if got.highest() != top || got.count > rangesMax {
				t.Fatalf("highest %d, want %d, %d ranges", got.highest(), top, got.count)
			}
			checkAck(t, &got, taken)
		}
	}
}

// checkAck checks that the ACK of r has numbers that were taken, of which none is missing above r.below.
func checkAck(t *testing.T, r *ranges, taken []bool) {
	t.Helper()
	b := r.appendAck(nil, 3, 1000)
	var f frame
	if n, err := f.parse(b); n != len(b) || err != nil || f.delay != 3 {
		t.Fatalf("%x: %v", b, err)
	}
	n := int64(len(taken))
	w := f.ranges()
	for first, last, ok := w.next(); ok; first, last, ok = w.next() {
		for n--; n > last; n-- {
			if taken[n] {
				t.Fatalf("%d is missing", n)
			}
		}
		for ; n >= first; n-- {
			if !taken[n] {
				t.Fatalf("%d did not come", n)
			}
		}
		n++
	}
	for n--; n >= r.below; n-- {
		if taken[n] {
			t.Fatalf("%d is missing at the end, below %d", n, r.below)
		}
	}
}

func TestRanges_remembersTheNewest(t *testing.T) {
	var r ranges
	var arena Arena
	for n := int64(0); n < 1000; n += 2 {
		r.add(&arena, n)
	}
	if r.count != rangesMax || r.highest() != 998 || !r.has(1) || !r.has(998-2*rangesMax) || r.has(997) ||
		r.has(1001-2*rangesMax) {
		t.Errorf("%d ranges, below %d", r.count, r.below)
	}
	r.add(&arena, 999-2*rangesMax+2) // a late packet joins two of them
	if r.count != rangesMax-1 {
		t.Errorf("%d ranges", r.count)
	}
}

func TestRanges_ackFitsTheRoom(t *testing.T) {
	var r ranges
	var arena Arena
	if len(r.appendAck(nil, 0, 100)) != 0 || r.highest() != none {
		t.Error("nothing came")
	}
	for n := int64(0); n < 100_000; n += 999 {
		r.add(&arena, n)
	}
	last := 0
	for room := range 400 {
		b := r.appendAck(nil, 70, room)
		if len(b) > room || len(b) < last {
			t.Fatalf("%d octets into %d", len(b), room)
		}
		last = len(b)
		var f frame
		if len(b) == 0 {
			continue
		}
		if n, err := f.parse(b); n != len(b) || err != nil || f.value != 99900 || f.delay != 70 {
			t.Fatalf("%x: %v", b, err)
		}
	}
	var f frame
	if _, err := f.parse(r.appendAck(nil, 70, 400)); err != nil || f.count != rangesMax-1 {
		t.Errorf("%v, %d ranges more", err, f.count)
	}
}

func TestRanges_allocateNothing(t *testing.T) {
	var r ranges
	var arena Arena
	n, out := int64(0), make([]byte, 0, 1500)
	if n := testutil.Allocs(1000, func() {
		if n += 1 + n%2; !r.has(n) {
			r.add(&arena, n)
		}
		out = r.appendAck(out[:0], 1, 1000)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
