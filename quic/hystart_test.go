package quic

import (
	"math"
	"testing"
)

// watched is a hystart with rounds of packets.
type watched struct {
	hystart
	next int64
}

// round acknowledges a round of n packets with a round trip each, and reports whether slow start is over.
func (h *watched) round(trips ...int64) (over bool) {
	first := h.next
	h.next += int64(len(trips))
	after := h.next
	for i, trip := range trips {
		over = h.sample(first+int64(i), after, trip) || over
	}
	return over
}

func same(n int, trip int64) (all []int64) {
	for range n {
		all = append(all, trip)
	}
	return all
}

// RFC 9406 §4.2: CSS begins when the least of 8 samples is an eighth above the least of the round before, but 4 ms at
// least and 16 ms at most.
func TestHystart_threshold(t *testing.T) {
	for _, c := range []struct {
		before, now int64
		samples     int
		css         bool
	}{
		{10 * ms, 14*ms - 1, 20, false}, {10 * ms, 14 * ms, 20, true}, {10 * ms, 14 * ms, 7, false},
		{80 * ms, 90*ms - 1, 20, false}, {80 * ms, 90 * ms, 20, true},
		{800 * ms, 816*ms - 1, 20, false}, {800 * ms, 816 * ms, 20, true},
	} {
		var h watched
		h.round(same(1, c.before)...)
		h.round(same(10, c.before)...)
		h.round(same(c.samples, c.now)...)
		if (h.css > 0) != c.css {
			t.Errorf("%+v: %d rounds of CSS", c, h.css)
		}
		if got := h.growth(1200) == 300; got != c.css {
			t.Errorf("%+v: 1200 bytes bring %d", c, h.growth(1200))
		}
	}
}

// The least sample counts: one fast packet shows that there is no queue.
func TestHystart_leastSample(t *testing.T) {
	var h watched
	h.round(same(10, 50*ms)...)
	h.round(same(10, 50*ms)...)
	if h.round(append([]int64{50 * ms}, same(20, 90*ms)...)...); h.css != 0 {
		t.Errorf("%+v", h)
	}
}

// Five rounds of CSS, the one in which it began included, end slow start.
func TestHystart_rounds(t *testing.T) {
	var h watched
	h.round(same(1, 50*ms)...)
	h.round(same(10, 50*ms)...)
	for n := range hystartCSSRounds + 1 {
		if over := h.round(same(10, 70*ms)...); over != (n == hystartCSSRounds) {
			t.Fatalf("over with the first packet after %d rounds: %v", n, over)
		}
	}
}

// When the round trip falls below that at which CSS began, the queue was of others: slow start goes on.
func TestHystart_fallsBack(t *testing.T) {
	var h watched
	h.round(same(1, 50*ms)...)
	h.round(same(10, 50*ms)...)
	h.round(same(10, 70*ms)...)
	h.round(same(10, 70*ms)...)
	if h.css == 0 {
		t.Fatal("no CSS")
	}
	if h.round(same(10, 69*ms)...) || h.css != 0 || h.growth(1200) != 1200 {
		t.Errorf("%+v", h)
	}
	for range 10 {
		if h.round(same(10, 69*ms)...) {
			t.Fatal("slow start is over")
		}
	}
}

// RFC 9406 §4.3: the window says how slow start ended, and later slow starts are not watched.
func TestWindow_hystart(t *testing.T) {
	var w window
	w.reset(1200)
	number := int64(0)
	for range 10 {
		trip := 50 * ms
		if number > 10 {
			trip = 70 * ms
		}
		first, n := number, int64(fill(&w))
		number += n
		for i := range n {
			w.acked(1200, 5, 6, 0)
			w.sampled(first+i, number, trip)
		}
	}
	if w.threshold == math.MaxInt || w.size < w.threshold || w.slowStart() {
		t.Fatalf("%+v", w)
	}
	w.threshold, w.size, w.start = 50_000, 20_000, hystart{}
	w.sampled(number, number+1, 70*ms)
	if w.start != (hystart{}) {
		t.Error("a later slow start is watched")
	}
}
