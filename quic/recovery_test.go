package quic

import (
	"math"
	"testing"
)

const ms = int64(1e6)

func TestRTT_ofRFC9002(t *testing.T) {
	var r rtt
	r.reset()
	if got := r.probeAfter(0); got != 999*ms {
		t.Errorf("PTO before a sample: %d", got)
	}
	for i, c := range []struct{ latest, delay, smoothed, variance, least float64 }{
		{100, 50, 100, 50, 100},                    // the first has no delay
		{180, 0, 110, 57.5, 100},                   // (7×100+180)/8, (3×50+80)/4
		{180, 80, 108.75, 45.625, 100},             // adjusted to 100
		{150, 80, 113.90625, 44.53125, 100},        // adjusted it would be below the least one: it stays
		{20, 0, 102.167968, 56.875, 20},            // a better path
		{102.167968, 0, 102.167968, 42.656250, 20}, // as expected
	} {
		ns := func(f float64) int64 { return int64(math.Round(f * 1e6)) }
		r.sample(ns(c.latest), ns(c.delay))
		if r.smoothed != ns(c.smoothed) || r.least != ns(c.least) || r.variance != ns(c.variance) {
			t.Errorf("sample %d: %+v", i, r)
		}
	}
	r.forgetLeast()
	if r.sample(200*ms, 0); r.least != 200*ms {
		t.Errorf("least %d", r.least)
	}
}

func TestRTT_times(t *testing.T) {
	var r rtt
	r.reset()
	r.sample(80*ms, 0)
	if r.probeAfter(25*ms) != 80*ms+160*ms+25*ms || r.outageAfter(25*ms) != 3*265*ms || r.lostAfter() != 90*ms {
		t.Errorf("%d, %d, %d", r.probeAfter(25*ms), r.outageAfter(25*ms), r.lostAfter())
	}
	for range 100 {
		r.sample(1000, 0)
	}
	if r.lostAfter() != granularity || r.probeAfter(0) < granularity {
		t.Errorf("below the granularity: %d, %d", r.lostAfter(), r.probeAfter(0))
	}
}

// fill sends full datagrams until the window is full, and returns how many.
func fill(w *window) (n int) {
	for w.room() >= w.datagram {
		w.sent(w.datagram, 0, 0)
		n++
	}
	return n
}

func TestWindow_slowStartAndRecovery(t *testing.T) {
	var w window
	w.reset(1200)
	if n := fill(&w); n != 10 || w.room() != 0 {
		t.Fatalf("%d datagrams at first", n)
	}
	for range 10 {
		w.acked(1200, 5, 6, 0)
	}
	if w.size != 24000 || w.flight != 0 {
		t.Fatalf("after a round trip: %+v", w)
	}
	fill(&w)
	w.lost(1200, 10, 20)
	if w.size != 16800 || w.threshold != 16800 || w.recovery != 20 {
		t.Fatalf("after a loss: %+v", w)
	}
	for range 5 {
		w.lost(1200, 11, 21) // of the same round trip
		w.acked(1200, 12, 22, 0)
	}
	if w.size != 16800 || w.flight != 24000-11*1200 || w.cubic.begun {
		t.Fatalf("in recovery: %+v", w)
	}
	for range 9 {
		w.acked(1200, 13, 23, 0)
	}
	fill(&w)
	for range 14 {
		w.acked(1200, 30, 100*ms, 0)
	}
	if !w.cubic.begun || w.cubic.epoch != 100*ms || w.size <= 16800 || w.size > 16800+1200 {
		t.Errorf("in congestion avoidance: %+v", w)
	}
	was := w.size
	w.lost(1200, 110*ms, 120*ms)
	if w.size != int(math.Round(0.7*float64(was))) || w.cubic.begun {
		t.Errorf("after another loss: %+v", w)
	}
}

func TestWindow_leastAndPersistentCongestion(t *testing.T) {
	var w window
	w.reset(1200)
	for i := range int64(10) {
		w.sent(1200, 0, 0)
		w.lost(1200, 10*i+1, 10*i+2)
	}
	if w.size != 2400 || w.threshold != 2400 || w.flight != 0 {
		t.Fatalf("%+v", w)
	}
	w.setDatagram(1452)
	if w.size != 2904 {
		t.Errorf("after a larger datagram: %d", w.size)
	}
	w.size, w.threshold = 50_000, 40_000
	w.collapse()
	fill(&w)
	w.acked(1452, 0, 1, 0)
	if w.size != 3*1452 || w.threshold != 40_000 || w.cubic != (cubic{}) {
		t.Errorf("slow start begins again: %+v", w)
	}
	w.dropped(1452)
	if w.flight != 0 {
		t.Errorf("%+v", w)
	}
}

// RFC 9002 §7.8: an application that sends little proves nothing about the path.
func TestWindow_ofLittleDataDoesNotGrow(t *testing.T) {
	for threshold, packets := range map[int]int{math.MaxInt: 4, 6000: 8} {
		var w window
		w.reset(1200)
		w.threshold = threshold
		for trip := range int64(100) {
			for range packets {
				w.sent(1200, trip, 0)
			}
			for range packets {
				w.acked(1200, trip+1, trip+2, 0)
			}
			w.sampled(trip, trip+1, trip*ms)
		}
		if w.size != 12000 || w.threshold != threshold || w.cubic.begun {
			t.Errorf("a window of %d, %+v", w.size, w)
		}
	}
}

// RFC 9002 §7.6: an acknowledgement of a packet in between ends the row; a number that was skipped, or a packet that
// asks for no acknowledgement, does not.
func TestOutage_length(t *testing.T) {
	var o outage
	for i, c := range []struct {
		number, sentAt int64
		acked          bool
		want           int64
	}{
		{number: 6, sentAt: 200}, {number: 8, sentAt: 450, want: 250}, {number: 20, sentAt: 900, want: 700},
		{number: 7, acked: true}, {number: 21, sentAt: 950, want: 750}, // 7 was seen before 8 was lost
		{number: 22, acked: true}, {number: 23, sentAt: 1000}, {number: 24, sentAt: 1070, want: 70},
	} {
		if c.acked {
			o.acked(c.number)
		} else if got := o.lost(c.number, c.sentAt); got != c.want {
			t.Errorf("case %d: %d, want %d", i, got, c.want)
		}
	}
}
