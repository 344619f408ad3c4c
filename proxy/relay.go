package proxy

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// relay passes the body of one message from one stream to another and keeps the account of what is owed.
// Owned by its exchange.
//
//	held    bytes that were delivered and that the other stream has not taken, oldest first
//	raw     bytes that were delivered and that wait for the filters of the body, oldest first
//	owed    bytes of the source that are not released: it is paused for them
//	passed  bytes the other stream took in all
//	kept    those bytes, where they may have to be sent again
//
//	keep > 0 => len(kept) == passed <= keep
//	keep == 0 => kept is empty
//	endSent => held is empty
type relay struct {
	account
	reactor *engine.Reactor // its budget for buffers counts what is kept here
	counted int             // how much it does

	held []byte
	base []byte // where held began: what was taken of it leaves room in front
	raw  []byte
	kept []byte

	trailers *message.Head // what the source ended with, until it was passed on; nil: nothing
	spare    *message.Head // where trailers are, kept from one exchange to the next; nil until there were some
}

// account is what a relay knows of the body: all that there is of one that never had to wait.
type account struct {
	keep    int
	owed    int
	passed  int64
	staged  bool // something looks at the bytes before they go on
	waiting bool // raw, or the end after it, is to be filtered
	late    bool // trailers came while a worker owned the head of their message: they have not met it
	ended   bool // the source has ended
	endSent bool // and the other stream knows
}

// heldKept is the capacity that a free relay keeps.
const heldKept = 4 << 10

func (l *relay) reset() {
	l.account = account{}
	if l.held != nil || l.raw != nil || l.kept != nil || l.spare != nil {
		l.empty()
	}
}

func (l *relay) empty() {
	held, kept := l.base[:0], l.kept[:0]
	if held == nil {
		held = l.held[:0]
	}
	if cap(held) > heldKept {
		held = nil
	}
	if cap(kept) > heldKept {
		kept = nil
	}
	spare := l.spare
	if spare != nil && cap(spare.Base) > heldKept {
		spare = nil
	}
	l.reactor.Account(-l.counted)
	*l = relay{reactor: l.reactor, held: held, base: held, kept: kept, spare: spare}
}

// check panics when an invariant of relay does not hold.
func (l *relay) check() {
	passed, kept := l.passed, int64(len(l.kept))
	invariant.That(l.keep > 0 || kept == 0, "%d bytes are kept for nothing", kept)
	invariant.That(l.keep == 0 || kept == passed && passed <= int64(l.keep), "%d bytes were passed, %d of %d are kept",
		passed, kept, l.keep)
	invariant.That(!l.endSent || len(l.held) == 0, "the end was sent before %d bytes", len(l.held))
	invariant.That(l.owed >= 0, "%d bytes are owed", l.owed)
}

// count has what is kept counted. What a free relay keeps is not.
func (l *relay) count() {
	if n := cap(l.base) + cap(l.raw) + cap(l.kept); n != l.counted {
		l.reactor.Account(n - l.counted)
		l.counted = n
	}
}

// push sends p on, or holds what to does not take; to may be nil. in is how many bytes of the source p stands for:
// they are released when to has taken everything and is not congested.
func (l *relay) push(from, to session.Stream, p []byte, in int, end bool) error {
	l.ended = l.ended || end
	l.owed += in
	if to == nil || len(l.held) > 0 || !l.begun() && to.Congested() {
		l.hold(p)
		return nil
	}
	n, err := to.SendData(p, end && l.trailers == nil)
	if err != nil {
		l.hold(p) // what to had before may be sent again: then p comes after it
		return err
	}
	l.pass(p[:n])
	if n < len(p) {
		l.hold(p[n:])
		return nil
	}
	if end && l.trailers != nil {
		return l.sendTrailers(to)
	}
	if l.endSent = end; !end { // the source of a body that is through has nothing to be released for
		l.settle(from, to)
	}
	return nil
}

// hold keeps p, after the pieces that are held already.
func (l *relay) hold(p []byte) {
	if len(l.held) == 0 {
		l.held = l.base[:0]
	}
	room := cap(l.held)
	l.held = append(l.held, p...)
	if cap(l.held) != room {
		l.base = l.held
	}
	l.count()
}

// holdRaw has what waits for the filters held as it is, where there are none: a large body is in memory once.
func (l *relay) holdRaw() {
	if len(l.held) == 0 {
		l.held, l.base, l.raw = l.raw, l.raw, l.base[:0]
	}
}

// pass notes that the other stream took p.
func (l *relay) pass(p []byte) {
	l.passed += int64(len(p))
	if l.keep == 0 {
		return
	}
	if l.passed > int64(l.keep) {
		l.forget()
		return
	}
	l.kept = append(l.kept, p...)
	l.count()
}

// keepUpTo begins to keep what is passed, unless the whole is known to be more than limit.
func (l *relay) keepUpTo(limit int, length int64) {
	if length <= int64(limit) && l.passed == 0 {
		l.keep = limit
	}
}

// forget keeps nothing any more.
func (l *relay) forget() {
	l.keep, l.kept = 0, l.kept[:0]
	if cap(l.kept) > heldKept {
		l.kept = nil
	}
	l.count()
}

// rewind makes what was passed wait to be passed once more.
func (l *relay) rewind() {
	if len(l.kept) > 0 {
		l.held = append(l.kept, l.held...)
		l.base = l.held
		l.kept = nil
	}
	l.passed, l.keep, l.endSent = 0, 0, false
	l.count()
}

// takeBack makes what was passed after the first n bytes, all of which were kept, wait to be passed once more.
func (l *relay) takeBack(n int) {
	if l.begun() {
		l.hold(l.kept[n:])
		l.kept, l.passed, l.endSent = l.kept[:n], int64(n), false
	}
}

// sendTrailers ends the message with what the source ended it with. They wait for room: see Congested.
func (l *relay) sendTrailers(to session.Stream) error {
	if to.Congested() {
		return nil
	}
	err := to.SendTrailers(l.trailers)
	l.endSent = err == nil
	return err
}

// endWith keeps the trailers that end the message. It empties h.
func (l *relay) endWith(h *message.Head) {
	if l.spare == nil {
		l.spare = &message.Head{}
	}
	l.trailers = l.spare
	h.MoveTo(l.trailers)
}

// begun reports whether a byte was passed. Before that, a congested stream is one that is still connecting: what is
// held then can still go elsewhere.
func (l *relay) begun() bool { return l.passed > 0 }

// bodyless reports whether the message is a head alone. Before anything of its body was passed.
func (l *relay) bodyless() bool {
	return l.ended && len(l.held) == 0 && !l.begun() && l.trailers == nil
}

// resume goes on when to can take more.
func (l *relay) resume(from, to session.Stream) error {
	if len(l.held) > 0 || l.ended && !l.endSent {
		n, err := to.SendData(l.held, l.ended && l.trailers == nil)
		if err != nil {
			return err
		}
		l.pass(l.held[:n])
		if n < len(l.held) {
			l.held = l.held[n:]
			return nil
		}
		l.held = l.held[:0]
		if l.ended && l.trailers != nil {
			return l.sendTrailers(to)
		}
		l.endSent = l.ended
	}
	l.settle(from, to)
	return nil
}

// wait keeps p for the filters of the body, which cannot run yet.
func (l *relay) wait(p []byte, end bool) {
	l.raw = append(l.raw, p...)
	l.count()
	l.owed += len(p)
	l.waiting = true
	l.ended = l.ended || end
}

// filterable returns what waits for the filters. Borrowed until the next call of wait.
func (l *relay) filterable() []byte {
	p := l.raw
	l.raw, l.waiting = l.raw[:0], false
	return p
}

// settle releases what is owed once all of it has left; from is nil when the source is over.
func (l *relay) settle(from, to session.Stream) {
	if l.owed > 0 && !to.Congested() {
		n := l.owed
		l.owed = 0
		if from != nil {
			from.Release(n)
		}
	}
}
