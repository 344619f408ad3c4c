package session

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
)

// SpliceReceiver is a Receiver that need not see all bytes of a body.
type SpliceReceiver interface {
	// OnSpliced says that in more bytes of the body have come and that out were given to the stream that Splice was
	// called with. OnData does not come for them, and they are not owed.
	OnSpliced(s Stream, in, out int)
}

// Splice lets up to limit bytes of the body that from delivers go to to inside the kernel, after what was sent there.
// It reports whether it does: both have to be HTTP/1 without TLS, and either the body's length is known and much of it
// is to come, or both are a tunnel. engine.Conn.Splice has more conditions.
//
// The receiver of from has to be a SpliceReceiver and to owe nothing. It receives OnData again whenever that is better,
// so Splice is worth another call after each OnData. Nothing may be sent on to while bytes go there by themselves. The
// deadlines and the end of either side stay as they are.
func Splice(from, to Stream, limit int64) bool {
	f, ok := from.(spliceEnd)
	if !ok {
		return false
	}
	t, ok := to.(spliceEnd)
	if !ok {
		return false
	}
	n := min(limit, f.toReceive(), t.toSend())
	if n <= 0 {
		return false
	}
	c, s := f.spliceFrom()
	if c.Unread() || s == nil {
		return false
	}
	d, _ := t.spliceFrom()
	s.to = t
	return c.Splice(&s.splice, d, n, s)
}

// SendFile sends up to n bytes of the body of a message, which the file from has at an offset, as engine.SendFile does.
// It reports false, and has sent nothing, where SendData has to send them: to is no connection of HTTP/1 without TLS,
// or its body is of no known length. Where it sends less than n, OnSendable follows. The end is SendData's.
func SendFile(to Stream, from poller.File, at int64, n int) (sent int, ok bool) {
	t, ok := to.(spliceEnd)
	if !ok || int64(n) > t.toSend() {
		return 0, false
	}
	c, _ := t.spliceFrom()
	if sent, ok = engine.SendFile(c, from, at, n); ok {
		t.splicedOut(sent, sent < n)
	}
	return sent, ok
}

// spliceEnd is a connection of HTTP/1 as one end of a splice.
type spliceEnd interface {
	Stream
	// toReceive is how many bytes of the body that it receives may be passed on as they come.
	toReceive() int64
	// toSend is how many bytes of the body that it sends may be given to its socket as they are.
	toSend() int64
	// splicedIn notes that n bytes were taken from its socket. waits: the other connection takes no more for now.
	splicedIn(n int, waits bool)
	// splicedOut notes that n bytes were given to its socket. waits: the socket takes no more for now.
	splicedOut(n int, waits bool)
	// spliceFrom returns the connection and the splice from it, nil if its receiver is no SpliceReceiver.
	spliceFrom() (*engine.Conn, *splice)
	spliceReceiver() SpliceReceiver
}

// splice moves a body from one connection to another. Owned by the connection that it takes from.
type splice struct {
	splice engine.Splice
	from   spliceEnd
	to     spliceEnd
}

// OnSpliced keeps the account of both ends.
func (l *splice) OnSpliced(in, out int, waits bool) {
	l.from.splicedIn(in, waits)
	l.to.splicedOut(out, waits)
	if r := l.from.spliceReceiver(); r != nil {
		r.OnSpliced(l.from, in, out)
	}
}
