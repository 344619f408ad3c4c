package limits

import (
	"sync/atomic"
	"time"
)

// LocalGCRA limits the rate of one thing by the generic cell rate algorithm (ITU-T I.371, annex A, virtual
// scheduling): in any time t it admits at most burst + t·rate events. Owned by one goroutine.
//
// The whole state is one time, the theoretical arrival time of the next event if events came evenly (TAT):
//
//	 now              TAT                now + burst · interval
//	──┼────────────────┼───────────────────┼──► time
//	  │◄─ to be repaid ►◄──── remaining ───►│
//
// An event moves the TAT by one interval, from now on when it has passed. It is refused if the TAT would then lie
// after now + burst · interval.
type LocalGCRA struct {
	tat int64
	pace
}

// NewLocalGCRA returns a cell with the whole burst. It panics when q is not valid.
func NewLocalGCRA(q Quota) *LocalGCRA { return &LocalGCRA{pace: newPace(q)} }

// Take admits n events at the time now, in nanoseconds of any clock that does not run below 0, or none of them. When
// it refuses, retryAfter is the time after which they would be admitted if nothing else came; Never when n is
// negative or more than the burst.
func (g *LocalGCRA) Take(now, n int64) (ok bool, retryAfter time.Duration) {
	if uint64(n-1) >= uint64(g.burst) {
		return n == 0, never(n)
	}
	d := g.ahead(g.tat, now) + n*g.interval
	if d > g.span {
		return false, time.Duration(d - g.span)
	}
	g.tat = now + d
	return true, 0
}

// State returns what is left at the time now.
func (g *LocalGCRA) State(now int64) State { return g.state(g.tat, now) }

// SharedGCRA is LocalGCRA for many goroutines. Safe for any goroutine. An event that is admitted costs one
// compare-and-swap of a word, a refused one writes nothing.
type SharedGCRA struct {
	tat atomic.Int64
	pace
	_ [24]byte // a cache line of its own: what lies next to it is not slowed down by the TAT
}

// NewSharedGCRA returns a cell with the whole burst. It panics when q is not valid.
func NewSharedGCRA(q Quota) *SharedGCRA { return &SharedGCRA{pace: newPace(q)} }

// Take is Take of LocalGCRA. Goroutines may pass times that differ by up to a second: then the bound holds for the
// latest of them.
func (g *SharedGCRA) Take(now, n int64) (ok bool, retryAfter time.Duration) {
	if uint64(n-1) >= uint64(g.burst) {
		return n == 0, never(n)
	}
	for {
		tat := g.tat.Load()
		d := g.ahead(tat, now) + n*g.interval
		if d > g.span {
			return false, time.Duration(d - g.span)
		}
		if g.tat.CompareAndSwap(tat, now+d) {
			return true, 0
		}
	}
}

// TakeUpTo admits as many of n events as there is room for, at the time now. When that is none, retryAfter is the
// time after which one would be admitted.
func (g *SharedGCRA) TakeUpTo(now, n int64) (taken int64, retryAfter time.Duration) {
	if n <= 0 {
		return 0, 0
	}
	for {
		tat := g.tat.Load()
		d := g.ahead(tat, now)
		taken = min(n, (g.span-d)/g.interval)
		if taken <= 0 {
			return 0, time.Duration(d + g.interval - g.span)
		}
		if g.tat.CompareAndSwap(tat, now+d+taken*g.interval) {
			return taken, 0
		}
	}
}

// State returns what is left at the time now. Other goroutines may take it at the same moment.
func (g *SharedGCRA) State(now int64) State { return g.state(g.tat.Load(), now) }

// Lease is events of a SharedGCRA taken in advance, for one goroutine, so that several of them do not write the same
// word for each event. Together with its leases a cell admits, in any time t, at most
//
//	burst + t·rate + what the leases held when t began
//
// and a lease holds no more than its size. Burst / (4 · goroutines) is a good size. What a lease holds stays with it,
// so a lease of a goroutine that ends, or of a goroutine that sees no events, keeps at most its size from the others,
// once. Owned by one goroutine.
//
//	0 <= held <= size
type Lease struct {
	from         *SharedGCRA
	size         int64
	held         int64
	refusedUntil int64 // the cell has nothing before this time
}

// NewLease returns an empty lease of up to size events, 1 at least, of g.
func NewLease(g *SharedGCRA, size int64) *Lease {
	return &Lease{from: g, size: min(max(size, 1), g.burst)}
}

// Take admits one event at the time now: from what the lease holds, or else from what it takes of the cell then.
// After a refusal it does not ask the cell again before retryAfter is over, as nothing can be there earlier.
func (l *Lease) Take(now int64) (ok bool, retryAfter time.Duration) {
	if l.held > 0 {
		l.held--
		return true, 0
	}
	return l.renew(now)
}

func (l *Lease) renew(now int64) (ok bool, retryAfter time.Duration) {
	if wait := l.refusedUntil - now; wait > 0 && uint64(wait) <= l.from.future {
		return false, time.Duration(wait)
	}
	taken, retryAfter := l.from.TakeUpTo(now, l.size)
	if taken == 0 {
		l.refusedUntil = now + int64(retryAfter)
		return false, retryAfter
	}
	l.held = taken - 1
	l.check()
	return true, 0
}

// Held returns the number of events that the lease admits without the cell.
func (l *Lease) Held() int64 { return l.held }
