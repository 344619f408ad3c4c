package content

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// fileReceiver is a proxy.FileReceiver.
type fileReceiver interface {
	OnFile(from poller.File, at int64, n int) (taken int, ok bool)
}

// Source is what the streams of one reactor share. Owned by its reactor.
type Source struct {
	loads *Loads
	piece []byte  // of a file
	spare *stream // that are over
}

// NewSource makes the Source of a reactor, whose bodies are loaded by l.
func NewSource(l *Loads) *Source { return &Source{loads: l} }

// Next has to take the bytes of b from *sent up to end as a part of a file, where it can, and returns none: if some are
// left, Release says when to go on. Else it returns the next piece, which is borrowed until the next call. It reports
// false where b cannot be read.
func (l *Source) Next(to session.Receiver, b Body, sent *int, end int) (piece []byte, ok bool) {
	file, at := b.File()
	if to, can := to.(fileReceiver); can {
		n, ok := to.OnFile(file, at+int64(*sent), end-*sent)
		if *sent += n; ok || *sent == end {
			return nil, true
		}
	}
	if l.piece == nil {
		l.piece = make([]byte, pieceMax)
	}
	n, err := file.ReadAt(l.piece[:min(pieceMax, end-*sent)], at+int64(*sent))
	*sent += max(n, 0)
	return l.piece[:max(n, 0)], err == nil && n > 0
}

// Load reads b from a byte on, on another goroutine, and tells w the outcome before t runs on r. It reports false
// where b is gone.
func (l *Source) Load(r *engine.Reactor, b Body, sent int, w *Warmth, t *engine.Task) bool {
	if !b.Take() {
		return false
	}
	l.loads.Do(func() {
		to, err := b.Load(int64(sent))
		w.until, w.failed = int(to), err != nil || to <= int64(sent)
		b.Release()
		r.Post(t)
	})
	return true
}

// stream gives a body to an exchange.
// Owned by the reactor of the exchange.
type stream struct {
	session.NopStream
	l       *Source
	next    *stream // of Source.spare
	reactor *engine.Reactor
	to      session.Receiver
	of      Body
	task    engine.Task
	warm    Warmth

	sent, until int
	owed        int  // bytes that were given and not released
	posted      bool // the task is on its way
	giving      bool // goOn runs
	over        bool // nothing of the exchange is used any more
}

// Read returns a stream that gives n bytes of b, from at on, to an exchange on reactor. It begins at the end of this
// tick. It takes over a reference.
func (l *Source) Read(reactor *engine.Reactor, to session.Receiver, b Body, at, n int64) session.Stream {
	r := l.spare
	if r == nil {
		r = &stream{l: l}
		r.task.Run = r.goOn
	} else {
		l.spare = r.next
	}
	r.reactor, r.to, r.of, r.sent, r.until, r.owed, r.over = reactor, to, b, int(at), int(at+n), 0, false
	r.warm = Warmth{}
	r.Release(0)
	return r
}

// Release notes that n bytes are no longer owed, or that the kernel can be given more.
func (r *stream) Release(n int) {
	if r.owed -= n; r.owed == 0 && !r.over && !r.posted {
		r.posted = true
		r.reactor.Defer(&r.task)
	}
}

// goOn gives the exchange more.
func (r *stream) goOn(*engine.Reactor) {
	r.posted = false
	if r.over {
		r.keep()
		return
	}
	end, ok := r.warm.UpTo(r.of, r.sent, r.until)
	if ok && end == r.sent {
		if r.posted = r.l.Load(r.reactor, r.of, r.sent, &r.warm, &r.task); r.posted {
			return
		}
		ok = false
	}
	var p []byte
	if r.giving = true; ok {
		p, ok = r.l.Next(r.to, r.of, &r.sent, end)
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
	case r.sent == end: // no call says that the rest may follow
		r.Release(0)
	}
	if r.giving = false; r.over {
		r.keep()
	}
}

// Reset is the end of the exchange, or its last piece is about to be given to it.
func (r *stream) Reset(session.Code) {
	if r.over {
		return
	}
	r.over = true
	r.of.Release()
	r.keep()
}

// keep keeps r, which is over, for another exchange, once nothing of it is on its way.
func (r *stream) keep() {
	if !r.posted && !r.giving {
		r.reactor, r.to, r.of = nil, nil, nil
		r.next, r.l.spare = r.l.spare, r
	}
}
