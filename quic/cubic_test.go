package quic

import (
	"math"
	"testing"
)

// trips grows a window for a time, with one acknowledgement of each datagram a round trip, and returns it in datagrams.
func trips(c *cubic, size *int, from, until, trip int64) float64 {
	for now := from; now < until; now += trip {
		for n := *size / 1200; n > 0; n-- {
			*size = c.grow(*size, 1200, 1200, now, trip)
		}
	}
	return float64(*size) / 1200
}

// RFC 9438 §4.2: W_cubic(t) = 0.4 (t - K)³ + W_max; with W_max = 1000 K is ∛(0.3 × 1000 / 0.4) = 9.0856 s.
func TestCubic_curve(t *testing.T) {
	const trip = 50 * ms
	var c cubic
	size := c.lost(1000 * 1200)
	if size != 700*1200 {
		t.Fatalf("after the loss: %d", size)
	}
	at := int64(1e9)
	for _, row := range []struct{ seconds, want float64 }{
		{1, 788.5}, {3, 909.8}, {5, 972.7}, {7, 996.4}, {9.0856, 1000}, {12, 1009.9}, {15, 1082.8}, {17, 1198.3},
	} {
		until := int64(1e9 + row.seconds*1e9)
		got := trips(&c, &size, at, until, trip)
		at += (until - at + trip - 1) / trip * trip
		if math.Abs(got-row.want) > row.want/100 {
			t.Errorf("%v s: %.1f datagrams, want %v", row.seconds, got, row.want)
		}
	}
	if math.Abs(c.k-9.0856) > 1e-4 || c.epoch != 1e9 {
		t.Errorf("K %v, epoch %d", c.k, c.epoch)
	}
}

// RFC 9438 §4.2: the target is W_cubic one round trip ahead, no less than the window and no more than 1.5 of it; an
// acknowledgement brings its share of the way.
func TestCubic_target(t *testing.T) {
	for _, row := range []struct {
		size, max float64 // datagrams
		trip      int64
		want      float64 // target, datagrams
	}{
		{700, 1000, 100 * ms, 0.4*math.Pow(0.1-math.Cbrt(750), 3) + 1000},
		{700, 1000, 20e9, 1050},
		{50, 50, 2e9, 50 + 0.4*8},
	} {
		c := cubic{max: row.max * 1200, prior: row.max * 1200, friendly: -1e9}
		c.begin(row.size*1200, 0.4*1200, 5)
		c.friendly = -1e9 // out of the region of Reno
		got := c.grow(int(row.size)*1200, 12_000, 1200, 5, row.trip)
		want := (row.size + (row.want-row.size)*10/row.size) * 1200
		if math.Abs(float64(got)-want) > 1 {
			t.Errorf("%+v: %d, want %.0f", row, got, want)
		}
	}
}

// RFC 9438 §4.3: on a short path Reno is faster. Its estimate grows by 3 × 0.3 / 1.7 = 0.529 datagrams a round trip up
// to the window before the loss, then by a whole one.
func TestCubic_renoFriendly(t *testing.T) {
	const trip = 10 * ms
	var c cubic
	size := c.lost(20 * 1200)
	at := int64(1e9)
	for _, row := range []struct {
		trips int64
		want  float64
	}{{5, 14 + 5*0.529}, {10, 14 + 10*0.529}, {12, 20.3}, {22, 30.3}, {32, 40.3}} {
		until := 1e9 + row.trips*trip
		got := trips(&c, &size, at, until, trip)
		at = until
		if math.Abs(got-row.want) > 1 {
			t.Errorf("%d round trips: %.2f datagrams, want %.2f", row.trips, got, row.want)
		}
	}
}

// RFC 9438 §4.6, §4.7.
func TestCubic_losses(t *testing.T) {
	var c cubic
	for i, row := range []struct {
		size, want int
		max        float64
	}{
		{100_000, 70_000, 100_000},
		{80_000, 56_000, 68_000}, // fast convergence: × 0.85
		{90_000, 63_000, 90_000},
		{90_000, 63_000, 90_000},
	} {
		if got := c.lost(row.size); got != row.want || math.Abs(c.max-row.max) > 1e-6 || c.prior != float64(row.size) {
			t.Errorf("loss %d: %d, %+v", i, got, c)
		}
	}
}

// RFC 9438 §4.8, §4.10: without a loss at a larger window the curve begins where it is flat.
func TestCubic_afterSlowStart(t *testing.T) {
	var c cubic
	c.grow(500*1200, 1200, 1200, 1e9, 100*ms)
	if c.k != 0 || c.max != 500*1200 {
		t.Errorf("%+v", c)
	}
}

// RFC 9438 §5.8: a time in which the application did not fill the window moves the epoch.
func TestCubic_timeOfTheApplicationDoesNotCount(t *testing.T) {
	const trip = 50 * ms
	var busy, paused cubic
	one, other := busy.lost(1000*1200), paused.lost(1000*1200)
	want := trips(&busy, &one, 1e9, 4e9, trip)
	trips(&paused, &other, 1e9, 2e9, trip)
	got := trips(&paused, &other, 62e9, 64e9, trip)
	if math.Abs(got-want) > 0.1 || paused.epoch < 61e9 {
		t.Errorf("%.2f datagrams with a pause, %.2f without one", got, want)
	}
}

func BenchmarkWindow_warm(b *testing.B) {
	var w window
	w.reset(1200)
	now := int64(1e9)
	for b.Loop() {
		now += 1e6
		w.sent(300, now, 20*ms)
		if !w.fits(now) {
			b.Fatal("paced")
		}
		w.acked(300, now, now, 20*ms)
	}
}
