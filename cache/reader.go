package cache

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// pieceMax is how many bytes are read from a file at a time.
const pieceMax = 64 << 10

// reading is what the readers of one reactor share. Owned by its reactor.
type reading struct {
	loads *loads
	piece []byte  // of a file
	spare *reader // that are over
}

// next has to take the bytes of b from *sent up to end as a part of a file, where it can, and returns none: if some are
// left, Release says when to go on. Else it returns the next piece, which is borrowed until the next call. It reports
// false where b cannot be read.
func (l *reading) next(to session.Receiver, b *body, sent *int, end int) (piece []byte, ok bool) {
	if to, can := to.(proxy.FileReceiver); can {
		n, ok := to.OnFile(b.file, b.at+int64(*sent), end-*sent)
		if *sent += n; ok || *sent == end {
			return nil, true
		}
	}
	if l.piece == nil {
		l.piece = make([]byte, pieceMax)
	}
	n, err := b.file.ReadAt(l.piece[:min(pieceMax, end-*sent)], b.at+int64(*sent))
	*sent += max(n, 0)
	return l.piece[:max(n, 0)], err == nil && n > 0
}

// reader is an exchange that is given a stored body.
// Owned by the reactor of the exchange.
type reader struct {
	session.NopStream
	l    *reading
	next *reader // of reading.spare
	x    *proxy.Exchange
	to   session.Receiver
	of   *body
	task engine.Task
	warm warmth

	sent, until int
	owed        int  // bytes that were given and not released
	posted      bool // the task is on its way
	giving      bool // goOn runs
	over        bool // nothing of the exchange is used any more
}

// read returns a stream that gives n bytes of b, from at on, to x. It takes over a reference.
func (l *reading) read(x *proxy.Exchange, to session.Receiver, b *body, at, n int64) *reader {
	r := l.spare
	if r == nil {
		r = &reader{l: l}
		r.task.Run = r.goOn
	} else {
		l.spare = r.next
	}
	r.x, r.to, r.of, r.sent, r.until, r.owed, r.over = x, to, b, int(at), int(at+n), 0, false
	r.warm = warmth{}
	return r
}

// Release notes that n bytes are no longer owed, or that the kernel can be given more.
func (r *reader) Release(n int) {
	if r.owed -= n; r.owed == 0 && !r.over && !r.posted {
		r.posted = true
		r.x.Reactor().Defer(&r.task)
	}
}

// goOn gives the exchange more.
func (r *reader) goOn(*engine.Reactor) {
	r.posted = false
	if r.over {
		r.keep()
		return
	}
	end, ok := r.warm.upTo(r.of, r.sent, r.until)
	if ok && end == r.sent {
		if r.posted = r.l.load(r.x.Reactor(), r.of, r.sent, &r.warm, &r.task); r.posted {
			return
		}
		ok = false
	}
	var p []byte
	if r.giving = true; ok {
		p, ok = r.l.next(r.to, r.of, &r.sent, end)
	}
	last := r.sent == r.until
	if !ok || last {
		r.Reset(session.Cancelled)
	}
	switch r.owed = len(p); {
	case !ok:
		r.to.OnReset(r, session.Truncated, nil)
	case last, len(p) > 0:
		r.to.OnData(r, p, last)
	case r.sent == end: // nobody says that the rest may follow
		r.Release(0)
	}
	if r.giving = false; r.over {
		r.keep()
	}
}

// Reset is the end of the exchange, or its last piece is about to be given to it.
func (r *reader) Reset(session.Code) {
	if r.over {
		return
	}
	r.over = true
	r.of.release()
	r.keep()
}

// keep keeps r, which is over, for another exchange, once nothing of it is on its way.
func (r *reader) keep() {
	if !r.posted && !r.giving {
		r.x, r.to, r.of = nil, nil, nil
		r.next, r.l.spare = r.l.spare, r
	}
}
