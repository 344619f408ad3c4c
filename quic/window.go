package quic

import "math"

// window says how many bytes may be on their way: NewReno (RFC 9002 §7). Packets that ask for an acknowledgement count,
// whole. A path has one.
//
//	                 loss                          loss of a packet that was
//	slow start ───────────────► recovery ◄──────── sent after recovery began ───┐
//	    ▲                           │ a packet that was sent                    │
//	    │ persistent congestion     ▼ after it began is acknowledged            │
//	    └──────────────────── congestion avoidance ─────────────────────────────┘
type window struct {
	size      int   // congestion window
	threshold int   // slow start ends there
	flight    int   // bytes on their way
	datagram  int   // what a full one has
	grown     int   // bytes acknowledged in congestion avoidance for which size has not grown yet
	recovery  int64 // when the last recovery began: packets sent until then are of the time before it
	filled    bool  // what was sent last used size up: only then it may grow (§7.8)
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

// room returns how many bytes may be sent.
func (w *window) room() int { return max(w.size-w.flight, 0) }

// fits reports whether a full datagram may be sent (§7): a smaller one waits as well, since its size is not known.
func (w *window) fits() bool { return w.room() >= w.datagram }

// sent says that a packet of n bytes left.
func (w *window) sent(n int) {
	w.flight += n
	// In slow start a window that is half used grows as well: a burst is acknowledged while the next one is written.
	w.filled = w.flight+w.datagram > w.size || w.size < w.threshold && w.flight > w.size/2
}

// acked says that a packet of n bytes, sent at sentAt, has arrived.
func (w *window) acked(n int, sentAt int64) {
	w.flight -= n
	switch {
	case !w.filled || sentAt <= w.recovery:
	case w.size < w.threshold:
		w.size += n
	default:
		if w.grown += n; w.grown >= w.size { // one datagram for each window of data
			w.grown -= w.size
			w.size += w.datagram
		}
	}
}

// lost says that a packet of n bytes, sent at sentAt, is lost. All losses of one round trip are one event.
func (w *window) lost(n int, sentAt, now int64) {
	w.flight -= n
	if sentAt <= w.recovery {
		return
	}
	w.recovery, w.grown = now, 0
	w.threshold = max(w.size/2, w.least())
	w.size = w.threshold
}

// dropped says that nothing will be known of a packet of n bytes: its keys are gone, or its path (§6.4).
func (w *window) dropped(n int) { w.flight -= n }

// collapse begins with the least window again: congestion is persistent (§7.6.2).
func (w *window) collapse() { w.size, w.grown, w.recovery = w.least(), 0, -1 }

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
