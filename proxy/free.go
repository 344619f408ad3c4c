package proxy

import (
	"slices"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/message"
)

// freeList has the free exchanges of a reactor. The last of them is taken first: the caches of the processor may still
// have it. It is a slice, since the next link of a list would be read from memory that they do not have.
// Owned by its reactor.
//
//	len(kept) > exchangesKept => trimming, which says that trim is armed
//	least <= len(kept), while trimming
type freeList struct {
	kept  []*Exchange
	least int          // the least of len(kept) since trim ran
	rooms []room       // of exchanges that wait for their answers: no more than there are exchanges
	trim  engine.Timer // gives back the memory of a moment with many exchanges

	trimming bool
}

// room is where the head of an answer is put.
type room struct {
	base   []byte
	fields []message.Field
}

// exchangesKept is how many free exchanges a reactor keeps, however long they are not needed. Of the others half of the
// exchanges that were not needed go each trimEvery.
const (
	exchangesKept = 256
	trimEvery     = int64(time.Second)
)

// Capacities that a free exchange keeps. Memory beyond them, which a large message needed, is given back.
const (
	headCapacity     = 2 << 10
	headCapacityKept = 16 << 10
)

// take returns an exchange for a request.
func (l *local) take() (x *Exchange) {
	if len(l.free.kept) > 0 {
		x = l.unkeep()
	} else {
		x = &Exchange{index: l.slab.Take(), record: record{local: l}}
		x.up.Init(&l.attempts, (*upSide)(x), &x.Request)
		x.toDown.Init(&l.attempts.Waits)
		x.Request.Base = make([]byte, 0, headCapacity)
		x.charge()
	}
	if l.takeRoom(x); x.Response.Base == nil {
		x.Response.Base = make([]byte, 0, headCapacity)
	}
	if invariant.On {
		checkFree(x)
	}
	x.gen++
	l.active++
	return x
}

// recycle makes x free. Only a Ref may still refer to it.
func (l *local) recycle(x *Exchange) {
	if invariant.On {
		invariant.That(x.gen&1 == 1, "an exchange ends twice")
		invariant.That(l.lent.to != x, "an exchange ends, and a body is lent to it")
		checkExchange(x)
	}
	x.gen++
	l.active--
	if x.ctx != nil {
		x.ctx.cancel()
	}
	if x.used != 0 {
		l.slab.Clear(x.index, x.used)
		x.used = 0
	}
	clear(x.noted)
	if cap(x.Request.Base) > headCapacityKept || cap(x.Response.Base) > headCapacityKept {
		x.up.Body.Reset()
		x.toDown.Reset()
		l.drop(x)
		return
	}
	x.reset()
	l.keep(x)
}

// keep puts x on the free list. Where memory is short it does not, and takes another one off.
func (l *local) keep(x *Exchange) {
	f := &l.free
	if l.reactor.Keep(int(x.charged)) {
		f.kept = append(f.kept, x)
		if len(f.kept) > exchangesKept && !f.trimming {
			f.least, f.trimming = len(f.kept), true
			l.reactor.Arm(&f.trim, l.reactor.Now()+trimEvery)
		}
		if invariant.On {
			f.check()
		}
		return
	}
	l.forget(x) // Keep has taken its memory out of the account
	if len(f.kept) > 0 {
		l.drop(l.unkeep())
	}
}

// drop gives the memory of x back, which is free.
func (l *local) drop(x *Exchange) {
	x.charged.Set(0, l.reactor)
	l.forget(x)
}

// forget gives the number of x back, and a room for an answer where there are more of them than exchanges now.
func (l *local) forget(x *Exchange) {
	l.slab.Return(x.index)
	f := &l.free
	if n := l.active + len(f.kept); len(f.rooms) > n {
		f.rooms = slices.Delete(f.rooms, n, len(f.rooms))
	}
}

// unkeep takes the last one off the free list: it is held again.
func (l *local) unkeep() *Exchange {
	f := &l.free
	n := len(f.kept) - 1
	x := f.kept[n]
	f.kept[n], f.kept = nil, f.kept[:n]
	if f.least > n {
		f.least = n
	}
	l.reactor.Keep(-int(x.charged))
	return x
}

// trimFree gives back half of the free exchanges that have not been needed since it ran last.
func (l *local) trimFree() {
	f := &l.free
	for n := (f.least - exchangesKept + 1) / 2; n > 0; n-- {
		l.drop(l.unkeep())
	}
	f.least, f.trimming = len(f.kept), len(f.kept) > exchangesKept
	if f.trimming {
		l.reactor.Arm(&f.trim, l.reactor.Now()+trimEvery)
	}
}

// check panics when an invariant of f does not hold.
func (f *freeList) check() {
	invariant.That(f.trimming || len(f.kept) <= exchangesKept, "%d exchanges are kept for good", len(f.kept))
	invariant.That(!f.trimming || f.least <= len(f.kept), "the least of %d kept was %d", len(f.kept), f.least)
}

// leaveRoom takes the room for its answer from x, which waits for that. The next exchange that is answered has it,
// while the caches of the processor do.
func (l *local) leaveRoom(x *Exchange) {
	h := &x.Response
	if cap(h.Base) >= headCapacity && cap(h.Base) <= headCapacityKept && len(h.Base)+len(h.Fields) == 0 {
		l.free.rooms = append(l.free.rooms, room{h.Base, h.Fields})
		h.Base, h.Fields = nil, nil
	}
}

// takeRoom gives x room for the head of an answer, where it left its own and there is one.
func (l *local) takeRoom(x *Exchange) {
	f := &l.free
	if n := len(f.rooms) - 1; n >= 0 && x.Response.Base == nil {
		x.Response.Base, x.Response.Fields = f.rooms[n].base, f.rooms[n].fields
		f.rooms[n] = room{}
		f.rooms = f.rooms[:n]
	}
}
