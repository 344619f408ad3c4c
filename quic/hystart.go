package quic

// HyStart++'s constants (RFC 9406 §4.3).
const (
	hystartSamples   = 8
	hystartRTTLeast  = int64(4e6)
	hystartRTTMost   = int64(16e6)
	hystartCSSShare  = 4
	hystartCSSRounds = 5
)

// hystart ends the first slow start of a path before packets are lost: when the round trip has grown from one round to
// the next (RFC 9406). Pacing spreads what slow start sends, so that L has no bound. The zero value begins.
//
//	            least RTT of a round grew          5 rounds
//	slow start ───────────────────────────► CSS ─────────────► congestion avoidance
//	    ▲          the RTT fell again        │
//	    └────────────────────────────────────┘
type hystart struct {
	end      int64 // the next round begins when this number is acknowledged, or a higher one
	samples  int   // of the round trip, in this round
	least    int64 // of these
	before   int64 // least of the round before, 0: there was none
	baseline int64 // least when CSS began
	css      int   // rounds that conservative slow start has with the present one, 0: it is slow start
}

// growth returns by how much the window grows when n bytes were acknowledged.
func (h *hystart) growth(n int) int {
	if h.css > 0 {
		return n / hystartCSSShare
	}
	return n
}

// sample takes a round trip, measured by an acknowledgement of number while next is the number of the next packet. It
// reports whether slow start is over.
func (h *hystart) sample(number, next, trip int64) (over bool) {
	if number >= h.end {
		h.end, h.before, h.samples = next, h.least, 0
		if h.css == 1 {
			return true
		}
		h.css = max(h.css-1, 0)
	}
	if h.samples == 0 || trip < h.least {
		h.least = trip
	}
	if h.samples++; h.samples < hystartSamples {
		return false
	}
	threshold := min(max(h.before/8, hystartRTTLeast), hystartRTTMost)
	switch {
	case h.css > 0 && h.least < h.baseline:
		h.css = 0
	case h.css == 0 && h.before > 0 && h.least >= h.before+threshold:
		h.css, h.baseline = hystartCSSRounds, h.least
	}
	return false
}
