package compress

import (
	"sync"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/base/list"
	"github.com/edge-proxy/edge/proxy"
)

// streamsMax bounds the streams of a Lender, free ones among them. One is always left for bodies that are whole.
const streamsMax = 16

// idleMax is how long a stream is kept that is not in use.
const idleMax = int64(10 * time.Second)

// Lender has encoders for the answers of a reactor, and counts their memory. Owned by that.
type Lender struct {
	reactor *engine.Reactor
	free    list.List[stream] // used last first
	held    int               // streams in use by bodies whose end is not here
	to      sink              // of bodies without a stream
	spare   *encoder          // whose body is over, a list by next
	spares  int
	timer   engine.Timer
	armed   bool

	looked int64  // reactor time of the last look at how busy the reactor is
	busy   uint64 // its Stats.Busy then
	hurry  bool
}

// NewLender makes the Lender of r.
func NewLender(r *engine.Reactor) *Lender {
	l := &Lender{reactor: r}
	l.timer.Run = l.drop
	return l
}

// Lend returns an encoder for a body of length bytes; below 0: that is not known. Where it is nil, another coding may
// do. comesSlowly: see ComesSlowly.
func (l *Lender) Lend(c Coding, level Level, length int64, comesSlowly bool) proxy.Encoder {
	k := kind{c, l.hurried(level)}
	most := int64(collectedMax)
	if k.level == Best {
		most = collectedOfBest
	}
	small := 0 <= length && length <= most && l.reactor.Pressure() < engine.PressureCache && !comesSlowly
	var held *stream
	if c != Gzip && !small {
		if comesSlowly {
			return nil
		}
		if held = l.hold(k); held == nil {
			return nil
		}
	}
	e := l.spare
	if e == nil {
		e = &encoder{of: l}
	} else {
		l.spare, e.next = e.next, nil
		l.spares--
	}
	e.kind, e.collects, e.held = k, small, held
	if comesSlowly {
		e.goWithout(historyOfEvents)
	}
	return e
}

// hold returns a stream for many ticks, nil where there are as many as there may be.
func (l *Lender) hold(k kind) *stream {
	if l.held == streamsMax-1 || l.reactor.Pressure() >= engine.PressureCache {
		return nil
	}
	return l.borrow(k)
}

// borrow returns a stream.
func (l *Lender) borrow(k kind) *stream {
	l.held++
	for s := l.free.First(); s != nil; s = s.place.Next() {
		if s.kind == k {
			s.place.Remove()
			l.reactor.Keep(-k.size())
			s.with.Reset(&s.to)
			return s
		}
	}
	if l.held+l.free.Len() > streamsMax {
		l.forget(l.free.Last())
	}
	s := &stream{kind: k, with: k.open()}
	l.reactor.Account(k.size())
	s.with.Reset(&s.to)
	return s
}

// takeBack keeps s for the next body, where there is memory for that.
func (l *Lender) takeBack(s *stream) {
	l.held--
	if s.broken {
		l.reactor.Account(-s.size())
		return
	}
	if !l.reactor.Keep(s.size()) {
		return
	}
	s.since = l.reactor.Now()
	l.free.PushFront(&s.place, s)
	l.await()
}

// forget gives the memory of s back, which is free.
func (l *Lender) forget(s *stream) {
	s.place.Remove()
	l.reactor.Keep(-s.size())
	l.reactor.Account(-s.size())
}

// await sets the timer for when the first stream was idle for long enough.
func (l *Lender) await() {
	if s := l.free.Last(); s != nil && !l.armed {
		l.armed = true
		l.reactor.Arm(&l.timer, s.since+idleMax)
	}
}

// drop gives the memory of streams back that were idle for long enough.
func (l *Lender) drop(r *engine.Reactor) {
	l.armed = false
	for s := l.free.Last(); s != nil && s.since+idleMax <= r.Now(); s = l.free.Last() {
		l.forget(s)
	}
	l.await()
}

// hurried returns the level of a body that begins now.
func (l *Lender) hurried(level Level) Level {
	if level != Auto {
		return level
	}
	if now := l.reactor.Now(); now-l.looked >= int64(time.Second) {
		busy := l.reactor.Stats().Busy
		share := float64(busy-l.busy) / float64(now-l.looked)
		l.hurry = share > 0.9 || l.hurry && share > 0.8
		l.looked, l.busy = now, busy
	}
	if l.hurry {
		return Fast
	}
	return Auto
}

// encoder encodes a body: a proxy.Encoder. A body that is known to be small is collected, and encoded when all of it is
// here, by a stream that the next body gets then: its memory is in the caches of the CPU, and few streams serve many
// bodies. Any other one has a stream to its end, or none at all. Owned by the exchange.
//
//	held == nil || plain == nil
//
// While both are nil, collected has all bytes that came.
type encoder struct {
	kind
	of        *Lender
	collects  bool
	held      *stream
	plain     *stateless
	collected *[]byte  // from collections; nil: nothing
	next      *encoder // in Lender.spare
}

// sparesMax bounds the encoders that a Lender keeps, of 100 bytes each.
const sparesMax = 256

// A body is collected up to this size: a block of zstd and two of gzip, which take 1 ms. At level Best that much would
// take 5 ms at a time.
const (
	collectedMax    = window
	collectedOfBest = 16 << 10
)

var collections = sync.Pool{New: func() any { b := make([]byte, 0, collectedMax); return &b }}

func (e *encoder) Coding() string { return e.coding.String() }

// checkEncoder panics when the invariant of e does not hold.
func checkEncoder(e *encoder) {
	invariant.That(e.held == nil || e.plain == nil, "an encoder has a stream, and does without one")
}

func (e *encoder) Append(dst, p []byte, how proxy.Encode) (out []byte, late bool) {
	if invariant.On {
		defer checkEncoder(e)
	}
	switch {
	case e.held != nil:
		return e.held.append(dst, p, how), how == proxy.EncodeMore
	case e.plain != nil:
		return e.plain.append(dst, p, how), false
	case how == proxy.EncodeEnd:
		s := e.of.borrow(e.kind)
		defer e.of.takeBack(s)
		if e.collected != nil {
			dst = s.append(dst, *e.collected, proxy.EncodeMore)
			e.discard()
		}
		return s.append(dst, p, how), false
	case how == proxy.EncodeMore && e.collects:
		e.collect(p)
		return dst, true
	}
	if e.held = e.of.hold(e.kind); e.held == nil && e.coding == Gzip {
		e.goWithout(historyOfPieces)
	} else if e.held == nil {
		e.collect(p) // it is small
		return dst, true
	}
	if e.collected != nil {
		dst, _ = e.Append(dst, *e.collected, proxy.EncodeMore)
		e.discard()
	}
	return e.Append(dst, p, how)
}

// goWithout makes e encode without a stream.
func (e *encoder) goWithout(history int) {
	e.plain = &stateless{to: &e.of.to, account: e.of.reactor.Account, most: history}
}

func (e *encoder) collect(p []byte) {
	if e.collected == nil {
		e.collected = collections.Get().(*[]byte)
		e.of.reactor.Account(collectedMax)
	}
	*e.collected = append(*e.collected, p...)
}

func (e *encoder) discard() {
	if b := e.collected; b != nil {
		if e.collected = nil; cap(*b) == collectedMax {
			*b = (*b)[:0]
			collections.Put(b)
		}
		e.of.reactor.Account(-collectedMax)
	}
}

func (e *encoder) Close() {
	e.discard()
	if e.held != nil {
		e.of.takeBack(e.held)
	}
	if e.plain != nil {
		e.plain.close()
	}
	e.held, e.plain = nil, nil
	if l := e.of; l.spares < sparesMax {
		e.next, l.spare = l.spare, e
		l.spares++
	}
}
