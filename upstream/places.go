package upstream

import "sync/atomic"

// places are what Options.Idle allows, dealt out to the reactors as they need them: load that is spread unevenly must
// not close connections on one reactor while another has room.
//
//	spare + every local's capacity == idle
//
// A reactor always keeps floor places, so that one that was busy first does not leave the others without.
type places struct {
	spare atomic.Int64
	floor int
	chunk int
}

// init shares idle places out among so many reactors.
func (p *places) init(idle, reactors int) {
	p.floor = idle
	if reactors > 1 {
		p.floor = idle / (8 * reactors)
	}
	p.chunk = max(1, p.floor)
	p.spare.Store(int64(idle - p.floor*reactors))
}

// borrow returns how many places a reactor gets that has none left; 0 when there are none.
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

// ensureCapacity lets l park one more, if any place is left.
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

// returnCapacity gives places back that l does not use, when a connection has gone.
func (l *local) returnCapacity() {
	p := &l.upstream.places
	if l.capacity-l.shard.Len() > 2*p.chunk && l.capacity-p.chunk >= p.floor {
		l.capacity -= p.chunk
		l.shard.SetCapacity(l.capacity)
		p.spare.Add(int64(p.chunk))
	}
}
