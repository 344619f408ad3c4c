package quic

const (
	paceSpan      = int64(2e6) // the rate of this time may leave at once: timers of the caller have a granule of 1 ms
	paceDatagrams = 10         // full datagrams that may leave at once, however low the rate is
)

// pacer spreads datagrams over the round trip (RFC 9002 §7.7). It is a token bucket that has the time in place of the
// tokens: each byte costs the time that the rate needs for it. The zero value is a full bucket.
//
//	     full                next                 now
//	──────┼───────────────────┼────────────────────┼────► time
//	      └─ tokens, spent ───┴── tokens, left ────┘       next > now: the bucket is empty until next
type pacer struct {
	next int64 // a datagram may leave from then on
}

// paceCost returns the time that n bytes cost: 1.25 windows leave in a round trip, 2 in slow start, so that the window
// is what bounds a sender.
func paceCost(n, window int, slowStart bool, trip int64) int64 {
	if slowStart {
		return int64(n) * trip / (2 * int64(window))
	}
	return int64(n) * trip * 4 / (5 * int64(window))
}

// spend says that a packet left that costs so much; full is the cost of a full datagram, which leaves by the last
// token.
func (p *pacer) spend(cost, full, now int64) {
	slack := max(paceSpan, paceDatagrams*full) - full
	p.next = max(p.next, now-slack) + cost
}

// ready reports whether a datagram may leave.
func (p *pacer) ready(now int64) bool { return p.next <= now }
