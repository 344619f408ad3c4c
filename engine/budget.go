package engine

import (
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"

	"github.com/edge-proxy/edge/internal/cgroup"
	"github.com/edge-proxy/edge/internal/invariant"
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

// budget is Options.Memory, lent to the reactors as they need it: with uneven load one reactor must not refuse its
// clients while the others have room.
//
//	spare + every reactor's share == as many even shares as there are reactors
//	floor <= every reactor's share
//
// An even share is Options.Memory divided by the reactors, but shareLeast at least. The floor is a quarter of it, so
// that reactors that were busy first leave something to the others.
type budget struct {
	spare atomic.Int64
	floor int64
	chunk int64 // what a reactor borrows at once
}

// shareLeast is the smallest even share of a reactor: below it a few connections would be too many.
const shareLeast = 1 << 20

// init shares memory out among so many reactors.
func (b *budget) init(memory int64, reactors int) {
	even := evenShare(memory, reactors)
	b.floor = even
	if reactors > 1 {
		b.floor = even / 4
	}
	b.chunk = even / 8
	b.spare.Store((even - b.floor) * int64(reactors))
}

func evenShare(memory int64, reactors int) int64 { return max(memory/int64(reactors), shareLeast) }

// borrow returns a chunk, or what is left of the spare memory.
func (b *budget) borrow() int64 {
	for {
		n := b.spare.Load()
		k := min(n, b.chunk)
		if k <= 0 {
			return 0
		}
		if b.spare.CompareAndSwap(n, n-k) {
			return k
		}
	}
}

// acceptShare bounds the connections of one tick: their first bytes may take a sixteenth of the reactor's share.
// The pressure must not rise from none to the last step between two looks at it.
const acceptShare = 16

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
	return r.pressing == PressureShed && r.pressureAboveShare() == PressureShed
}

// tendBudget gives back the part of the share that r does not need. Under pressure it frees memory.
func (r *Reactor) tendBudget() {
	for b := &r.engine.budget; r.bufs.total < r.slack; {
		n := min(b.chunk, r.share-b.floor)
		r.setShare(r.share - n)
		b.spare.Add(n)
	}
	p := r.Pressure()
	switch {
	case p >= PressureAccept:
		r.flushAll() // else a peer would be blamed for not taking bytes that we have not sent yet
		r.bufs.shrink(0)
		r.relieve()
	case p == PressureCache && r.now >= r.shrunk+shrinkEvery:
		r.shrunk = r.now
		r.bufs.shrink(2)
	}
}

// shrinkEvery is how often free buffers are halved at PressureCache, in ns.
const shrinkEvery = int64(1e9)

// Account counts n bytes that a handler keeps for its connections as if they were in buffers. When it no longer keeps
// them it accounts for them again, with a negative n. On r only.
func (r *Reactor) Account(n int) {
	r.MustOwn()
	r.bufs.total += int64(n)
	if r.bufs.accounted += int64(n); r.bufs.accounted < 0 {
		r.repairAccount()
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

// pauseReading pauses reading of a connection that holds more than its share, until the retry timer fires. It reports
// whether it did.
func (r *Reactor) pauseReading(c *Conn) bool {
	share := r.share / max(r.load.Load(), 1)
	if int64(c.in.w-c.in.r+c.queued) <= share {
		return false
	}
	r.stats.ReadPaused++
	c.flags |= late
	r.late = append(r.late, c)
	r.retrySoon()
	return true
}

// memoryLimit is the smallest of what GOMEMLIMIT, the cgroup and the machine allow.
func memoryLimit() int64 {
	limit := debug.SetMemoryLimit(-1)
	if n := cgroup.Memory(); n > 0 {
		limit = min(limit, n)
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int64
		if _, err := fmt.Sscanf(string(b), "MemTotal: %d kB", &kib); err == nil && kib > 0 {
			limit = min(limit, kib<<10)
		}
	}
	return limit
}
