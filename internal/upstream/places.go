package upstream

import "sync/atomic"

// places is how many more connections Options.Idle allows to be parked, beside those that the reactors may park. A
// reactor takes places when it needs them: load that is spread unevenly must not close connections on one reactor
// while another one has room.
//
//	spare + every local's capacity == idle
//
// A reactor always keeps floor places, so that a reactor that was busy first leaves some to the others.
type places struct {
	spare atomic.Int64
	floor int
	chunk int
}

// init deals idle places out to so many reactors.
func (p *places) init(idle, reactors int) {
	p.floor = idle
	if reactors > 1 {
		p.floor = idle / (8 * reactors)
	}
	p.chunk = max(1, p.floor)
	p.spare.Store(int64(idle - p.floor*reactors))
}

// borrow takes a chunk of the spare places, or what is left of them, and returns how many it took.
func (p *places) borrow() int {
	for {
		n := p.spare.Load()
		k := min(n, int64(p.chunk))
		if k <= 0 {
			return 0
		}
		if p.spare.CompareAndSwap(n, n-k) {
			return int(k)
		}
	}
}

// ensureCapacity takes places when l has none for one more connection, and reports whether l has one.
func (l *local) ensureCapacity() bool {
	if l.shard.Len() < l.capacity {
		return true
	}
	n := l.upstream.places.borrow()
	if n == 0 {
		return false
	}
	l.capacity += n
	l.shard.SetCapacity(l.capacity)
	return true
}

// returnCapacity gives places back that l does not use. After a connection has gone.
func (l *local) returnCapacity() {
	p := &l.upstream.places
	if l.capacity-l.shard.Len() > 2*p.chunk && l.capacity-p.chunk >= p.floor {
		l.capacity -= p.chunk
		l.shard.SetCapacity(l.capacity)
		p.spare.Add(int64(p.chunk))
	}
}
