package quic

import "math"

// CUBIC's constants (RFC 9438 §4.6, §5, §4.3).
const (
	cubicBeta  = 0.7                                   // a loss leaves this share of the window
	cubicC     = 0.4                                   // datagrams a cubed second: how steep the curve is
	renoFactor = 3 * (1 - cubicBeta) / (1 + cubicBeta) // Reno's growth that has the same mean as CUBIC's
)

// cubic grows a window in congestion avoidance (RFC 9438): fast up to the size at which the last loss came, slowly
// around that size, then ever faster. Sizes are in bytes, as float64: the growth for one acknowledgement may be less
// than a byte. The zero value knows of no loss.
//
//	size
//	 max ┤          ____/      after the epoch began, t s:
//	     │       /             C (t - k)³ + max
//	 0.7 ┤─────/
//	     └─────┬────────┬──► t
//	         epoch    epoch + k
type cubic struct {
	begun    bool
	epoch    int64   // when growth began, later by times that do not count
	last     int64   // when the last acknowledgement came for which the window grew
	max      float64 // W_max: where the curve is flat
	k        float64 // seconds from epoch to max
	prior    float64 // cwnd_prior: the window before the last loss
	friendly float64 // W_est: the window that Reno would have
	fraction float64 // of a byte, that the window has beyond its size
}

// lost returns the window after a loss at size. A flow that lost before it was back at max leaves room to others: fast
// convergence (§4.7).
func (c *cubic) lost(size int) int {
	before := float64(size)
	top := before
	if before < c.max {
		top *= (1 + cubicBeta) / 2
	}
	*c = cubic{max: top, prior: before}
	return int(math.Round(before * cubicBeta))
}

// grow returns the window after n bytes of a window of size were acknowledged.
func (c *cubic) grow(size, n, datagram int, now, trip int64) int {
	curve := cubicC * float64(datagram)
	if !c.begun {
		c.begin(float64(size), curve, now)
	}
	// §5.8: a full window has an acknowledgement each round trip. A longer time is the application's, not the path's.
	c.epoch += max(now-c.last-trip, 0)
	c.last = now
	window := float64(size) + c.fraction
	share := float64(n) / window
	factor := renoFactor
	if c.friendly >= c.prior {
		factor = 1
	}
	c.friendly += factor * share * float64(datagram)
	t := float64(now-c.epoch) / 1e9
	if c.at(t, curve) < c.friendly { // §4.3
		window = max(window, c.friendly)
	} else {
		target := min(max(c.at(t+float64(trip)/1e9, curve), window), 1.5*window) // §4.2
		window += (target - window) * share
	}
	size = int(window)
	c.fraction = window - float64(size)
	return size
}

// begin begins an epoch with a window of size. Without a loss at a larger one it is the flat place (§4.8, §4.10).
func (c *cubic) begin(size, curve float64, now int64) {
	c.begun, c.epoch, c.last, c.friendly = true, now, now, size
	c.max = max(c.max, size)
	c.k = math.Cbrt((c.max - size) / curve)
}

// at returns W_cubic, t seconds after the epoch began (§4.2).
func (c *cubic) at(t, curve float64) float64 {
	d := t - c.k
	return curve*d*d*d + c.max
}
