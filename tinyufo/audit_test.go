package tinyufo

import (
	"math/bits"
	"sync"
	"testing"
)

// audit fails when a cache that nobody uses is not what its parts say of each other.
func (c *Cache[K, V]) audit(t *testing.T) {
	t.Helper()
	entries := 0
	for e := range c.entries() {
		entries++
		if _, _, found := c.table.Load().lookup(uint32(c.hasher.of(e.key)), e.key); found != e {
			t.Errorf("the table has %v, and finds %v", e, found)
		}
	}
	live, weight := 0, int64(0)
	for i := range c.shards {
		s := &c.shards[i]
		if d := c.shards[0].capacity - s.capacity; d < 0 || d > 1 {
			t.Errorf("shards of %d and %d", c.shards[0].capacity, s.capacity)
		}
		live += s.live
		weight += s.audit(t)
	}
	if live != entries || c.Len() != entries {
		t.Errorf("%d entries in the table, %d in the queues, Len is %d", entries, live, c.Len())
	}
	if w := c.Weight(); w != weight {
		t.Errorf("the entries weigh %d, Weight is %d", weight, w)
	}
}

// audit returns the weight of the entries that the shard has in its queues.
func (s *shard[K, V]) audit(t *testing.T) (weight int64) {
	t.Helper()
	if s.pending.Load() != 0 {
		t.Errorf("cells %b are still pending", s.pending.Load())
	}
	live, pinned := 0, 0
	for i := uint32(nodeMin); i < uint32(len(s.at)); i++ {
		at := s.at[i]
		if at == removed || at.queue() == inNone {
			continue
		}
		live++
		e := s.entryOf(i)
		if e == nil || e.node != i {
			t.Errorf("node %d at %x is of another entry: %v", i, at, e)
			continue
		}
		if s.weights != nil && heavyOf(e).weight != s.weights[i] {
			t.Errorf("node %d weighs %d, its entry %d", i, s.weights[i], heavyOf(e).weight)
		}
		if at.queue() == inPinned {
			pinned++
		} else {
			weight += s.weight(i)
		}
	}
	if weight != s.small+s.main || weight > s.capacity {
		t.Errorf("weight %d, small %d, main %d, capacity %d", weight, s.small, s.main, s.capacity)
	}
	free := 0
	for i := s.free; i != 0; i = s.nodes[i].next {
		free++
	}
	queued := 0
	for _, end := range []uint32{smallEnd, mainEnd} {
		for i := s.nodes[end].next; i != end; i = s.nodes[i].next {
			queued++
		}
	}
	spare := bits.OnesCount64(s.spare.Load())
	if queued+pinned != live || live != s.live || nodeMin+live+free+spare != len(s.nodes) {
		t.Errorf("nodes: %d in queues, %d pinned, %d live (%d), %d free, %d in cells, %d in all",
			queued, pinned, live, s.live, free, spare, len(s.nodes))
	}
	return weight
}

// ledger knows what became of each value: one that a cache has taken leaves it once, by OnEvict or by OnReplace.
// Guarded by mu.
type ledger struct {
	mu    sync.Mutex
	clock func() int64     // 0 when there is none
	taken map[uint64]int64 // when
	left  map[uint64]int
}

// follow makes the callbacks of o report to a new ledger. The values are their own identities.
func follow[K comparable](o *Options[K, uint64]) *ledger {
	l := &ledger{clock: func() int64 { return 0 }, taken: make(map[uint64]int64), left: make(map[uint64]int)}
	o.OnEvict = func(_ K, v uint64, _ Cause) { l.leave(v) }
	o.OnReplace = func(_ K, v uint64) { l.leave(v) }
	return l
}

func (l *ledger) take(v uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken[v] = l.clock()
}

func (l *ledger) leave(v uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left[v]++
}

// check fails when a value has left more than once, or never and c does not have it.
func (l *ledger) check(t *testing.T, cached func(yield func(uint64) bool)) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for v := range cached {
		l.left[v]++
	}
	for v, n := range l.left {
		if _, taken := l.taken[v]; n != 1 || !taken {
			t.Errorf("value %d was taken: %v, and has left or is cached %d times", v, taken, n)
		}
	}
	for v := range l.taken {
		if l.left[v] == 0 {
			t.Errorf("value %d was taken, and has neither left nor is cached", v)
		}
	}
}

// values goes over the values of c, expired ones included.
func (c *Cache[K, V]) values(yield func(V) bool) {
	for e := range c.entries() {
		if !c.negative(e) && !yield(e.value) {
			return
		}
	}
}
