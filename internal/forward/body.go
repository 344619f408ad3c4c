package forward

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// Body passes the body of one message from one stream to another and keeps the account of the bytes that are owed.
// The body of a request may be sent again, to another backend, as long as all of it is kept.
// Owned by the exchange of its message.
//
//	Held    bytes that were delivered and that the other stream has not taken, oldest first
//	Raw     bytes that were delivered and wait for the filters of the body, or that these have passed and that wait
//	        to be encoded, oldest first
//	Owed    bytes of the source that are not released: it is paused for them
//	Passed  bytes the other stream took in all
//	Kept    those bytes, where they may have to be sent again
//
//	Keep > 0 => len(Kept) == Passed <= Keep
//	Keep == 0 => Kept is empty
//	EndSent => Held is empty
type Body struct {
	account
	waits   *Waits        // whose reactor's budget for buffers counts the bytes that are kept here
	counted engine.Charge // how many it does
	beside  uint32        // of them, bytes of arrays that others still look at, and that no field has any more

	Held []byte
	base []byte // where Held began: the bytes that were taken of it leave room in front
	Raw  []byte
	Kept []byte

	Trailers *message.Head // the end of the source, until it was passed on; nil: nothing
	spare    *message.Head // where trailers are, kept from one exchange to the next; nil until there were some
}

// account is all that there is to know of a body that never had to wait.
type account struct {
	Keep    int
	Owed    int
	Passed  int64
	Staged  bool // something looks at the bytes before they go on
	Encoded bool // after that they become other bytes
	Lent    bool // what Raw has, or had until it was passed on, is looked at: it is not written over
	Waiting bool // Raw, or the end after it, is to be filtered or encoded
	Late    bool // trailers came while a worker owned the head of their message: they have not met it
	Partly  bool // the other stream was given a part of what the source has in a file
	Ended   bool // the source has ended
	EndSent bool // and the other stream knows
}

// Init prepares b for messages on the reactor of w.
func (b *Body) Init(w *Waits) { b.waits = w }

// Reset forgets the message, and keeps some of the memory for the next one.
func (b *Body) Reset() {
	b.account = account{}
	if b.counted > 0 || b.spare != nil {
		b.empty()
	}
}

func (b *Body) empty() {
	b.counted.Set(0, b.waits.Reactor)
	held, raw, kept := b.base[:0], b.Raw[:0], b.Kept[:0]
	if cap(held) > heldKept {
		b.waits.put(held)
		held = nil
	}
	if cap(raw) > heldKept {
		raw = nil
	}
	if cap(kept) > heldKept {
		kept = nil
	}
	spare := b.spare
	if spare != nil && cap(spare.Base) > heldKept {
		spare = nil
	}
	*b = Body{waits: b.waits, Held: held, base: held, Raw: raw, Kept: kept, spare: spare}
}

// Check panics when an invariant of b does not hold.
func (b *Body) Check() {
	passed, kept := b.Passed, int64(len(b.Kept))
	invariant.That(b.Keep > 0 || kept == 0, "%d bytes are kept for nothing", kept)
	invariant.That(b.Keep == 0 || kept == passed && passed <= int64(b.Keep), "%d bytes were passed, %d of %d are kept",
		passed, kept, b.Keep)
	invariant.That(!b.EndSent || len(b.Held) == 0, "the end was sent before %d bytes", len(b.Held))
	invariant.That(b.Owed >= 0, "%d bytes are owed", b.Owed)
}

// count counts the bytes that are kept. The memory of a free Body is not.
func (b *Body) count() {
	b.counted.Set(cap(b.base)+cap(b.Raw)+cap(b.Kept)+int(b.beside), b.waits.Reactor)
}

// Push sends p on, or holds what to does not take; to may be nil. in is how many bytes of the source p stands for:
// they are released when to has taken everything and is not congested.
func (b *Body) Push(from, to session.Stream, p []byte, in int, end bool) error {
	b.Ended = b.Ended || end
	b.Owed += in
	if to == nil || len(b.Held) > 0 || !b.Begun() && to.Congested() {
		b.Hold(p)
		return nil
	}
	n, err := to.SendData(p, end && b.Trailers == nil)
	if err != nil {
		b.Hold(p) // what to had before may be sent again: then p comes after it
		return err
	}
	b.pass(p[:n])
	if n < len(p) {
		b.Hold(p[n:])
		return nil
	}
	if end && b.Trailers != nil {
		return b.sendTrailers(to)
	}
	if b.EndSent = end; !end { // the source of a body that is through has nothing to be released for
		b.settle(from, to)
	}
	return nil
}

// Hold keeps p, after the pieces that are held already.
func (b *Body) Hold(p []byte) {
	if len(b.Held) == 0 {
		b.Held = b.base[:0]
	}
	if n := len(b.Held) + len(p); n > cap(b.Held) {
		b.Held = append(b.waits.take(n), b.Held...)
		b.base = b.Held
	}
	b.Held = append(b.Held, p...)
	b.count()
}

// HoldRaw moves what waits for the filters to what is held, as it is, where there are none: a large body is in memory
// once.
func (b *Body) HoldRaw() {
	if n := len(b.Raw); len(b.Held) == 0 {
		b.Held, b.Raw, b.Lent, b.Waiting = b.Raw[:n:n], b.Raw[:0], true, false
	}
}

// pass notes that the other stream took p.
func (b *Body) pass(p []byte) {
	b.Passed += int64(len(p))
	if b.Keep == 0 {
		return
	}
	if b.Passed > int64(b.Keep) {
		b.Forget()
		return
	}
	b.Kept = append(b.Kept, p...)
	b.count()
}

// KeepUpTo begins to keep what is passed, unless the whole is known to be more than limit.
func (b *Body) KeepUpTo(limit int, length int64) {
	if length <= int64(limit) && b.Passed == 0 {
		b.Keep = limit
	}
}

// Forget keeps nothing any more.
func (b *Body) Forget() {
	b.Keep, b.Kept = 0, b.Kept[:0]
	if cap(b.Kept) > heldKept {
		b.Kept = nil
	}
	b.count()
}

// rewind makes what was passed wait to be passed once more.
func (b *Body) rewind() {
	if len(b.Kept) > 0 {
		b.Held = append(b.Kept, b.Held...)
		b.base = b.Held
		b.Kept = nil
	}
	b.Passed, b.Keep, b.EndSent = 0, 0, false
	b.count()
}

// takeBack makes what was passed after the first n bytes, all of which were kept, wait to be passed once more.
func (b *Body) takeBack(n int) {
	if b.Begun() {
		b.Hold(b.Kept[n:])
		b.Kept, b.Passed, b.EndSent = b.Kept[:n], int64(n), false
	}
}

// sendTrailers ends the message with what the source ended it with. They wait for room: see Congested.
func (b *Body) sendTrailers(to session.Stream) error {
	if to.Congested() {
		return nil
	}
	err := to.SendTrailers(b.Trailers)
	b.EndSent = err == nil
	return err
}

// EndWith keeps the trailers that end the message. It empties h.
func (b *Body) EndWith(h *message.Head) {
	if b.spare == nil {
		b.spare = &message.Head{}
	}
	b.Trailers = b.spare
	h.MoveTo(b.Trailers)
}

// Begun reports whether a byte was passed. Before that, a congested stream is still connecting: what is
// held then can still go elsewhere.
func (b *Body) Begun() bool { return b.Passed > 0 }

// Bodyless reports whether the message is a head alone. Before anything of its body was passed.
func (b *Body) Bodyless() bool {
	return b.Ended && len(b.Held) == 0 && !b.Begun() && b.Trailers == nil
}

// Resume goes on when to can take more.
func (b *Body) Resume(from, to session.Stream) error {
	over := b.Ended && !b.Waiting
	if len(b.Held) > 0 || over && !b.EndSent {
		n, err := to.SendData(b.Held, over && b.Trailers == nil)
		if err != nil {
			return err
		}
		b.pass(b.Held[:n])
		if n < len(b.Held) {
			b.Held = b.Held[n:]
			return nil
		}
		b.Held = b.Held[:0]
		if over && b.Trailers != nil {
			return b.sendTrailers(to)
		}
		b.EndSent = over
	}
	b.settle(from, to)
	return nil
}

// Wait keeps p for the filters of the body, which cannot run yet.
func (b *Body) Wait(p []byte, end bool) {
	b.Delay(p)
	b.Owed += len(p)
	b.Ended = b.Ended || end
}

// Filterable returns what waits for the filters. Borrowed until the next call of wait.
func (b *Body) Filterable() []byte {
	p := b.Raw
	b.Raw, b.Waiting = b.Raw[:0], false
	return p
}

// TakeRaw returns up to n bytes that wait, after the first at, which were taken before, and reports whether they are
// the last ones: then none waits any more. Borrowed until the next call that makes bytes wait.
func (b *Body) TakeRaw(at, n int) (p []byte, last bool) {
	p = b.Raw[at:min(at+n, len(b.Raw))]
	if last = at+len(p) == len(b.Raw); last {
		b.Raw, b.Waiting = b.Raw[:0], false
	}
	return p, last
}

// Delay appends p, whose source is paused for what it stands for, to what waits.
func (b *Body) Delay(p []byte) {
	if b.Lent && len(b.Raw) == 0 {
		b.beside += uint32(cap(b.Raw))
		b.Raw, b.Lent = nil, false
	}
	b.Raw = append(b.Raw, p...)
	b.Waiting = true
	b.count()
}

// Copy returns a copy of p that is counted until b is reset.
func (b *Body) Copy(p []byte) []byte {
	b.beside += uint32(len(p))
	b.count()
	return append(make([]byte, 0, len(p)), p...)
}

// Recall makes what is held wait, before anything was passed, and p after it.
func (b *Body) Recall(p []byte) {
	b.Raw, b.Held = append(append(b.Raw, b.Held...), p...), b.Held[:0]
	b.Waiting = b.Ended || len(b.Raw) > 0
	b.count()
}

// settle releases what is owed once all of it has left; from is nil when the source is over.
func (b *Body) settle(from, to session.Stream) {
	if b.Owed > 0 && !b.Waiting && !to.Congested() {
		n := b.Owed
		b.Owed = 0
		if from != nil {
			from.Release(n)
		}
	}
}

// Passable reports whether all that came has been passed on, and more will come.
func (b *Body) Passable() bool {
	return !b.Ended && b.Owed == 0 && len(b.Held) == 0 && !b.Waiting && b.Begun()
}
