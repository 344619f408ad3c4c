package quic

// outgoing is what a stream sends: bytes are copied once, sent, sent again when they are lost, and kept until they are
// acknowledged. The zero value is a new stream. Owned by its Conn. CRYPTO is a stream without an end.
//
//	        base       acked       lost           next            size
//	acknowledged │ on its way │▒▒▒▒▒▒▒│ on its way │░░░░░░░│ on its way │ to be sent │
//
//	base <= next <= size
//	lost and acked lie between base and next, and have no byte in common
type outgoing struct {
	chunks
	next  int64 // sent once at least
	lost  spans // to be sent again
	acked spans // above base

	ended   bool // size is final
	endSent bool // and not lost since
	endDone bool // and acknowledged
}

// finish says that no more is written.
func (o *outgoing) finish() { o.ended = true }

// pick returns what is to be sent first, at most room bytes: lost bytes, else new ones below limit, up to which the
// peer allows them. ok is false when there is nothing; the end may go alone.
func (o *outgoing) pick(room int, limit int64) (from int64, n int, end, ok bool) {
	from, to := o.next, max(min(o.size, limit), o.next)
	if len(o.lost) > 0 {
		from, to = o.lost[0].from, o.lost[0].to
	}
	n = int(min(to-from, int64(room)))
	end = o.ended && !o.endSent && from+int64(n) == o.size
	return from, n, end, n > 0 || end
}

// sent says that what pick returned has left, or the first n bytes of it.
func (o *outgoing) sent(from int64, n int, end bool) {
	to := from + int64(n)
	o.next = max(o.next, to)
	o.lost.remove(from, to)
	o.endSent = o.endSent || end
	o.check()
}

// acknowledge says that a frame has arrived.
func (o *outgoing) acknowledge(a *Arena, from int64, n int, end bool) {
	to := from + int64(n)
	o.endDone = o.endDone || end
	o.endSent = o.endSent || end // it was thought lost
	if n == 0 || to <= o.base {
		return
	}
	o.lost.remove(from, to)
	if from <= o.base && len(o.acked) == 0 { // in order: a new stream has no room for spans yet, and needs none
		o.forget(a, to)
	} else if o.acked.add(max(from, o.base), to); o.acked[0].from == o.base {
		o.forget(a, o.acked[0].to)
		o.acked.remove(0, o.base)
	}
	o.check()
}

// lose says that a frame is lost.
func (o *outgoing) lose(from int64, n int, end bool) {
	if end && !o.endDone {
		o.endSent = false
	}
	to := from + int64(n)
	o.lost.add(max(from, o.base), to)
	for i := o.acked.endingAt(from); i < len(o.acked) && o.acked[i].from < to; i++ {
		o.lost.remove(o.acked[i].from, o.acked[i].to)
	}
	o.check()
}

// done reports whether all has arrived, with the end.
func (o *outgoing) done() bool { return o.endDone && o.base == o.size }

// drop gives up all bytes and the end: the stream is reset, and pick has nothing.
func (o *outgoing) drop(a *Arena) {
	o.next, o.ended = o.size, false
	o.lost, o.acked = o.lost[:0], o.acked[:0]
	o.forget(a, o.size)
}
