package quic

import "math"

const (
	granularity = int64(1e6)   // RFC 9002 §6.1.2: the timers of the caller are no finer
	rttStart    = int64(333e6) // RFC 9002 §6.2.2: before the first sample
)

// rtt estimates the round trip of a path, in ns (RFC 9002 §5).
type rtt struct {
	sampled                           bool
	latest, smoothed, variance, least int64
}

// reset begins anew, as for a path of which nothing is known.
func (r *rtt) reset() { *r = rtt{smoothed: rttStart, variance: rttStart / 2, least: math.MaxInt64} }

// sample takes a round trip of an acknowledgement that the peer has delayed by delay. The caller bounds delay by the
// peer's max_ack_delay once the handshake is confirmed, and has 0 for Initial packets (§5.3).
func (r *rtt) sample(latest, delay int64) {
	r.latest, r.least = latest, min(r.least, latest)
	if !r.sampled {
		r.sampled, r.smoothed, r.variance = true, latest, latest/2
		return
	}
	if latest >= r.least+delay { // else the delay is a lie, or of another clock
		latest -= delay
	}
	r.variance = (3*r.variance + max(r.smoothed-latest, latest-r.smoothed)) / 4
	r.smoothed = (7*r.smoothed + latest) / 8
}

// estimate returns the smoothed round trip, 0 before the first sample.
func (r *rtt) estimate() int64 {
	if r.sampled {
		return r.smoothed
	}
	return 0
}

// forgetLeast makes the next sample the least one: the path may be another after persistent congestion (§5.2).
func (r *rtt) forgetLeast() { r.least = math.MaxInt64 }

// probeAfter returns the PTO without backoff (§6.2.1). ackDelay is the peer's max_ack_delay, 0 before 1-RTT packets.
func (r *rtt) probeAfter(ackDelay int64) int64 {
	return r.smoothed + max(4*r.variance, granularity) + ackDelay
}

// lostAfter returns how much later than an acknowledged packet another may come before it is lost (§6.1.2).
func (r *rtt) lostAfter() int64 { return max(max(r.smoothed, r.latest)*9/8, granularity) }

// idleLeast returns the shortest idle time (RFC 9000 §10.1).
func (r *rtt) idleLeast() int64 { return min(idleLeastPTO*r.probeAfter(ackDelay), idleLeastMax) }

// closingTime returns how long a connection is closing or draining (RFC 9000 §10.2), and how long the keys of the
// phase before are kept (RFC 9001 §6.5).
func (r *rtt) closingTime() int64 { return min(closingPTOs*r.probeAfter(ackDelay), closingMax) }

// outageAfter returns how long nothing comes through until congestion is persistent (§7.6.1).
func (r *rtt) outageAfter(ackDelay int64) int64 { return 3 * r.probeAfter(ackDelay) }
