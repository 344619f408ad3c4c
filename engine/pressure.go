package engine

import (
	"fmt"
	"math"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// Pressure says how much of its share of the memory budget a reactor holds in buffers.
type Pressure uint8

// The steps of pressure, and what gives way at each.
const (
	PressureNone   Pressure = iota
	PressureCache           // 75 %: free buffers are given back
	PressureAccept          // 80 %: accepting pauses, reads are small, peers that keep us waiting are cut off
	PressureRead            // 90 %: connections that hold more than their share are not read
	PressureShed            // 95 %: new exchanges are refused if relief does not help: see Overloaded
)

// Pressure returns the present step. On r only.
func (r *Reactor) Pressure() Pressure {
	r.MustOwn()
	if r.bufs.total < r.bufs.ease {
		return PressureNone
	}
	return r.pressureAboveShare()
}

// pressureAboveShare is Pressure for a reactor above three quarters of its share: it borrows first.
func (r *Reactor) pressureAboveShare() Pressure {
	used := r.bufs.total
	for used >= r.bufs.ease {
		n := r.engine.budget.borrow()
		if n == 0 {
			break
		}
		r.setShare(r.share + n)
	}
	switch {
	case used < r.bufs.ease:
		return PressureNone
	case used < r.share/5*4:
		return PressureCache
	case used < r.share/10*9:
		return PressureAccept
	case used < r.share/20*19:
		return PressureRead
	}
	return PressureShed
}

// Overloaded reports whether new work has to be refused: the pressure is at its last step, and was when the turns of
// this tick began, although the relief of the tick before ended all that can give way. On r only.
func (r *Reactor) Overloaded() bool {
	return r.shedding && r.pressureAboveShare() == PressureShed
}

// Bounds of the connections of one tick: their first bytes may take a sixteenth of the reactor's share.
// The pressure must not rise from none to the last step between two looks at it.
const (
	acceptShare    = 16
	acceptsPerTick = 64 // at most
)

// setShare makes n the memory that r may use.
//
//	total < ease           nothing gives way
//	total < slack          a chunk of the share can be given back, with another one to go before it is missed
func (r *Reactor) setShare(n int64) {
	r.share = n
	r.accepts = int(min(max(n/(bufLarge*acceptShare), 1), acceptsPerTick))
	r.bufs.ease = n / 4 * 3
	r.slack = -1
	if n > r.engine.budget.floor {
		r.slack = max(n-2*r.engine.budget.chunk, r.engine.budget.floor) / 4 * 3
	}
}

// Account counts n bytes that a handler keeps for its connections as if they were in buffers. When it no longer keeps
// them it accounts for them again, with a negative n. On r only.
func (r *Reactor) Account(n int) {
	r.MustOwn()
	r.bufs.total += int64(n)
	if r.bufs.accounted += int64(n); r.bufs.accounted < 0 {
		r.repairAccount()
	}
}

// Charge is how many bytes the account of a reactor counts for memory of one connection or exchange that grows and
// shrinks. The zero value is none. Owned by that reactor.
type Charge int32

// Set makes c n, in r's account as well: 2 GiB at most, since c has a place in each exchange.
func (c *Charge) Set(n int, r *Reactor) {
	if n = min(n, math.MaxInt32); n != int(*c) {
		r.Account(n - int(*c))
		*c = Charge(n)
	}
}

// Keep counts n bytes, which are accounted for, as kept for later use, and reports whether the handler may keep them.
// Under pressure it may not, and they are no longer accounted for. A negative n is for kept bytes that are in use
// again. On r only.
func (r *Reactor) Keep(n int) bool {
	r.MustOwn()
	b := &r.bufs
	if b.accounted -= int64(n); b.accounted < 0 {
		r.repairAccount()
	}
	if b.total >= b.ease && n > 0 && r.pressureAboveShare() >= PressureCache {
		b.total -= int64(n)
		return false
	}
	b.kept += int64(n)
	return true
}

// repairAccount sets right an account from which a handler took back more than it had put in, which is a fault of that
// handler. Left as it is, the sum would fall below 0, where giving back memory has no end.
func (r *Reactor) repairAccount() {
	b := &r.bufs
	n := -b.accounted
	b.total += n
	b.accounted = 0
	if invariant.On {
		culprit := "a task"
		if r.current != nil {
			culprit = fmt.Sprintf("%T", r.current.handler)
		}
		invariant.That(false, "%s accounted back %d bytes more than it took", culprit, n)
	}
}
