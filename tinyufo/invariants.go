//go:build invariants

package tinyufo

import "fmt"

// checkedMax bounds the shards that check themselves, one time in checkedEach that their mutex is let go: the walk is
// linear.
const (
	checkedMax  = 512
	checkedEach = 64
)

// check panics when the invariants of policy do not hold, or those of shard. The caller holds mu.
func (s *shard[K, V]) check() {
	if len(s.nodes) > checkedMax || s.roll()%checkedEach != 0 {
		return
	}
	var small, main int64
	live := 0
	for i := range s.at {
		at := s.at[i]
		if i < nodeMin || at.queue() == inNone {
			continue
		}
		live++
		switch at.queue() {
		case inSmall:
			small += s.weight(uint32(i))
		case inMain:
			main += s.weight(uint32(i))
		}
		if e := s.entryOf(uint32(i)); e == nil || e.node != uint32(i) {
			panic(fmt.Sprintf("tinyufo: node %d at %x is of another entry: %v", i, at, e))
		}
	}
	if small != s.small || main != s.main || live != s.live || small+main > s.capacity {
		panic(fmt.Sprintf("tinyufo: small %d is %d, main %d is %d, live %d is %d, capacity %d",
			s.small, small, s.main, main, s.live, live, s.capacity))
	}
	s.checkQueue(smallEnd, inSmall)
	s.checkQueue(mainEnd, inMain)
}

// checkQueue walks one queue both ways.
func (s *shard[K, V]) checkQueue(end uint32, queue place) {
	var weight int64
	for i := s.nodes[end].next; i != end; i = s.nodes[i].next {
		weight += s.weight(i)
		if s.at[i].queue() != queue || s.nodes[s.nodes[i].next].prev != i {
			panic(fmt.Sprintf("tinyufo: node %d at %x is linked into queue %x", i, s.at[i], queue))
		}
	}
	if want := map[place]int64{inSmall: s.small, inMain: s.main}[queue]; weight != want {
		panic(fmt.Sprintf("tinyufo: queue %x weighs %d, not %d", queue, weight, want))
	}
}

// check panics when the invariants of bytesShard do not hold, or those of its rings. The caller holds mu.
func (s *bytesShard) check() {
	x := s.index.Load()
	if s.random++; len(x.lines) > checkedMax || s.random%checkedEach != 0 {
		return
	}
	for i := range s.logs {
		s.logs[i].check()
	}
	live := 0
	for i := range x.lines {
		for j := range x.lines[i] {
			l := location(x.lines[i][j].Load())
			if l == 0 {
				continue
			}
			live++
			log := &s.logs[l.log()]
			at := log.full(l.offset())
			if at < log.tail.Load() || at >= log.head || log.at(at).hash()>>48 != uint64(l)>>48 {
				panic(fmt.Sprintf("tinyufo: location %x is not in log %d", l, l.log()))
			}
		}
	}
	if live != s.live {
		panic(fmt.Sprintf("tinyufo: %d entries are in the index, not %d", live, s.live))
	}
}

// check panics when the invariants of ring do not hold.
func (r *ring) check() {
	at, ok := r.tail.Load(), true
	if at > r.head || r.head-at > r.size {
		panic(fmt.Sprintf("tinyufo: tail %d, head %d of a ring of %d", at, r.head, r.size))
	}
	for at, _, ok = r.first(); ok && at < r.head; {
		at = r.after(at)
	}
	if ok && at != r.head {
		panic(fmt.Sprintf("tinyufo: the last record ends at %d, not at %d", at, r.head))
	}
}
