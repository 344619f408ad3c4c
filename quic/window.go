package quic

import "math"

// window says how many bytes may be on their way, and when they leave: CUBIC in the states of RFC 9002 §7. Packets that
// ask for an acknowledgement count, whole. A path has one.
//
//	                 loss                          loss of a packet that was
//	slow start ───────────────► recovery ◄──────── sent after recovery began ───┐
//	    ▲  │                        │ a packet that was sent                    │
//	    │  │ hystart                ▼ after it began is acknowledged            │
//	    │  └──────────────► congestion avoidance ───────────────────────────────┘
//	    └────────────────────────── persistent congestion, in any state
type window struct {
	size      int   // congestion window
	threshold int   // slow start ends there
	flight    int   // bytes on their way
	datagram  int   // what a full one has
	recovery  int64 // when the last recovery began: packets sent until then are of the time before it
	filled    bool  // what was sent last used size up: only then it may grow (§7.8)
	start     hystart
	cubic     cubic
	pacer     pacer
}

const datagramsStart, datagramsLeast = 10, 2 // RFC 9002 §7.2

// reset begins anew on a path that takes datagrams of n bytes. What is on its way stays so.
func (w *window) reset(n int) {
	*w = window{size: datagramsStart * n, threshold: math.MaxInt, flight: w.flight, datagram: n, recovery: -1}
}

// setDatagram says that datagrams may have n bytes.
func (w *window) setDatagram(n int) {
	w.datagram = n
	w.size = max(w.size, w.least())
}

func (w *window) least() int { return datagramsLeast * w.datagram }

func (w *window) slowStart() bool { return w.size < w.threshold }

// room returns how many bytes may be sent.
func (w *window) room() int { return max(w.size-w.flight, 0) }

// opens returns from when on a full datagram may be sent (§7): a smaller one waits as well, since its size is not
// known. ok is false when an acknowledgement has to come first.
func (w *window) opens() (at int64, ok bool) { return w.pacer.next, w.room() >= w.datagram }

// fits reports whether a full datagram may be sent now.
func (w *window) fits(now int64) bool { return w.room() >= w.datagram && w.pacer.ready(now) }

// sent says that a packet of n bytes left that asks for an acknowledgement. trip is the round trip, 0 without a sample.
func (w *window) sent(n int, now, trip int64) {
	w.pace(n, now, trip)
	w.flight += n
	// In slow start a window that is half used grows as well: a burst is acknowledged while the next one is written.
	w.filled = w.flight+w.datagram > w.size || w.slowStart() && w.flight > w.size/2
}

// sentAck says that a packet of n bytes left that has nothing but acknowledgements. It takes tokens of the pacer, and
// leaves no debt: a stream of acknowledgements cannot keep data from leaving.
func (w *window) sentAck(n int, now, trip int64) {
	before := w.pacer.next
	w.pace(n, now, trip)
	w.pacer.next = min(w.pacer.next, max(before, now))
}

// pace takes tokens for n bytes. There is no rate before the first sample of the round trip.
func (w *window) pace(n int, now, trip int64) {
	if trip > 0 {
		slow := w.slowStart()
		w.pacer.spend(paceCost(n, w.size, slow, trip), paceCost(w.datagram, w.size, slow, trip), now)
	}
}

// acked says that a packet of n bytes, sent at sentAt, has arrived.
func (w *window) acked(n int, sentAt, now, trip int64) {
	w.flight -= n
	switch {
	case !w.filled || sentAt <= w.recovery:
	case w.slowStart():
		w.size += w.start.growth(n)
	default:
		w.size = w.cubic.grow(w.size, n, w.datagram, now, trip)
	}
}

// sampled takes a sample of the round trip, by the acknowledgement of number while next is the next one. RFC 9406
// §4.3: only the first slow start is watched. A window that is not filled makes no queue.
func (w *window) sampled(number, next, latest int64) {
	if w.filled && w.threshold == math.MaxInt && w.start.sample(number, next, latest) {
		w.threshold = w.size
	}
}

// lost says that a packet of n bytes, sent at sentAt, is lost. All losses of one round trip are one event.
func (w *window) lost(n int, sentAt, now int64) {
	w.flight -= n
	if sentAt <= w.recovery {
		return
	}
	w.recovery = now
	w.threshold = max(w.cubic.lost(w.size), w.least())
	w.size = w.threshold
}

// dropped says that nothing will be known of a packet of n bytes: its keys are gone, or its path (§6.4).
func (w *window) dropped(n int) { w.flight -= n }

// collapse begins with the least window again: congestion is persistent (§7.6.2).
func (w *window) collapse() { w.size, w.cubic, w.recovery = w.least(), cubic{}, -1 }

// outage finds persistent congestion in one space: packets that are lost, without one between them that was
// acknowledged (RFC 9002 §7.6). Numbers that were skipped, and packets that ask for no acknowledgement, are no proof of
// either. The zero value has no row.
type outage struct {
	begun bool
	since int64 // when the first packet of the row was sent
	last  int64 // number of the last one
}

// acked ends the row at a number that was acknowledged. Numbers below the last lost one were seen before it.
func (o *outage) acked(number int64) {
	if number > o.last {
		o.begun = false
	}
}

// lost adds a number that is lost, in rising order, and returns how long the row is. Packets sent before the first
// sample of the round trip are not to be added (§7.6.2).
func (o *outage) lost(number, sentAt int64) (length int64) {
	if !o.begun {
		o.begun, o.since = true, sentAt
	}
	o.last = number
	return sentAt - o.since
}
