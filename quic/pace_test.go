package quic

import (
	mathrand "math/rand/v2"
	"testing"
)

// leave sends full datagrams as long as the pacer lets them, and returns how many bytes left.
func leave(w *window, now, trip int64) (n int) {
	for w.pacer.ready(now) {
		w.sent(w.datagram, now, trip)
		n += w.datagram
	}
	return n
}

// paced is a window in congestion avoidance, or slow start.
func paced(size, threshold int) (w window) {
	w.reset(1200)
	w.size, w.threshold = size, threshold
	return w
}

// The rate is 1.25 windows a round trip, 2 in slow start; what leaves at once is 2 ms of it, 10 datagrams at least.
func TestPacer_rateAndBurst(t *testing.T) {
	for _, c := range []struct {
		size, threshold int
		trip            int64
		rate, burst     float64 // bytes a second, bytes
	}{
		{100_000, 50_000, 100 * ms, 1.25e6, 12_000},
		{100_000, 200_000, 100 * ms, 2e6, 12_000},
		{1_000_000, 500_000, 20 * ms, 62.5e6, 125_000},
		{12_000, 50_000, 1000 * ms, 24_000, 12_000},
	} {
		w := paced(c.size, c.threshold)
		now := int64(1e9)
		burst := leave(&w, now, c.trip)
		if float64(burst) < c.burst-1200 || float64(burst) > c.burst {
			t.Errorf("%+v: %d bytes at once", c, burst)
		}
		sent := 0
		for end := now + 10*c.trip; w.pacer.next < end; {
			if w.pacer.ready(w.pacer.next - 1) {
				t.Fatal("a datagram leaves early")
			}
			now = w.pacer.next
			sent += leave(&w, now, c.trip)
		}
		if got := float64(sent) / float64(10*c.trip) * 1e9; got < 0.98*c.rate || got > 1.02*c.rate {
			t.Errorf("%+v: %.0f bytes a second", c, got)
		}
	}
}

// However late the timers come, and whatever leaves unasked, in 10 ms no more leaves than the rate and one burst.
func TestPacer_anyTenMilliseconds(t *testing.T) {
	for seed := range uint64(200) {
		rnd := mathrand.New(mathrand.NewPCG(seed, 11))
		w := paced(12_000+rnd.IntN(2_000_000), 5000)
		trip := 1e5 + rnd.Int64N(200e6)
		rate := 1.25 * float64(w.size) / float64(trip) // bytes a ns
		burst := max(rate*2e6, 12_000)
		type departure struct {
			at int64
			n  int
		}
		var all []departure
		for now := int64(1e9); now < 1e9+100e6; now += 1 + rnd.Int64N(1+rnd.Int64N(3e6)) {
			if n := leave(&w, now, trip); n > 0 {
				all = append(all, departure{now, n})
			}
		}
		for i := range all {
			sum := 0.0
			for _, d := range all[i:] {
				if d.at >= all[i].at+10e6 {
					break
				}
				sum += float64(d.n)
			}
			if most := rate*10e6 + burst; sum > most+1200 {
				t.Fatalf("seed %d: %.0f bytes in 10 ms, want %.0f at most", seed, sum, most)
			}
		}
	}
}

func TestPacer_noRateWithoutASample(t *testing.T) {
	w := paced(1_000_000, 500_000)
	for range 500 {
		w.sent(1200, 1e9, 0)
	}
	if !w.fits(1e9) {
		t.Error("paced")
	}
}

// Acknowledgements take tokens, and leave no debt.
func TestPacer_acknowledgementsDoNotKeepDataBack(t *testing.T) {
	w := paced(100_000, 50_000)
	for range 10_000 {
		w.sentAck(50, 1e9, 100*ms)
	}
	if !w.pacer.ready(1e9) {
		t.Fatal("acknowledgements keep data back")
	}
	if n := leave(&w, 1e9, 100*ms); n != 1200 {
		t.Errorf("acknowledgements took no tokens: %d bytes leave", n)
	}
	debt := w.pacer.next
	if w.sentAck(50, 1e9, 100*ms); w.pacer.next != debt {
		t.Error("an acknowledgement prolongs the wait of data")
	}
}

// wide gives a conn a window of 100 kB in congestion avoidance and a round trip of 100 ms: 1.25 MB leave in a second.
func (r *rig) wide() *Stream {
	r.t.Helper()
	s := r.calm()
	r.conn.length.tries = triesMax // no longer datagram is tried
	r.conn.sent.window.size, r.conn.sent.window.threshold = 100_000, 50_000
	return s
}

// What a burst leaves over leaves datagram by datagram, by the timer; nothing is pending meanwhile.
func TestPacing_ofData(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		s := r.wide()
		r.conn.Send(s, pattern(s.out.size, s.out.size+30_000), false)
		r.sizes = nil
		r.out()
		if n := len(r.sizes); n != 10 || r.conn.Pending() {
			t.Fatalf("%d datagrams at once, pending %v", n, r.conn.Pending())
		}
		for n := range 10 {
			at := r.conn.Deadline()
			if at <= r.now || at > r.now+ms { // 1200 bytes of 1.25 MB a second
				t.Fatalf("datagram %d: the timer is %d ns away", n, at-r.now)
			}
			r.now = at
			r.conn.Expire(at)
			if !r.conn.Pending() {
				t.Fatalf("datagram %d: nothing is pending at its time", n)
			}
			r.sizes = nil
			if r.out(); len(r.sizes) != 1 {
				t.Fatalf("datagram %d: %d leave", n, len(r.sizes))
			}
		}
		r.in(OneRTT, ping)
		r.in(OneRTT, ping)
		if n, _ := count(r.out(), frameAck); n != 1 {
			t.Error("an acknowledgement waits for the pacer")
		}
	})
}

// A window that is full waits for acknowledgements, and data that is sent whole for nothing: neither needs the timer.
func TestPacing_timerOnlyForWhatWaits(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		s := r.wide()
		r.conn.Send(s, pattern(s.out.size, s.out.size+11_000), false)
		r.out()
		if at := r.conn.Deadline(); at < r.now+100*ms {
			t.Errorf("a timer in %d ns when all has left", at-r.now)
		}
		r.conn.sent.window.size = r.conn.sent.window.flight + 1000
		r.conn.Send(s, pattern(s.out.size, s.out.size+10_000), false)
		r.out()
		if at := r.conn.Deadline(); at < r.now+100*ms {
			t.Errorf("a timer in %d ns when the window is full", at-r.now)
		}
	})
}

// Probes leave whatever the pacer says.
func TestPacing_notOfProbes(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		s := r.wide()
		r.talk(s)
		r.conn.sent.window.pacer.next = r.now + 60e9
		r.sizes = nil
		if r.pass(1e9); len(r.sizes) == 0 {
			t.Error("no probe")
		}
	})
}
