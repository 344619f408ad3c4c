//go:build invariants

package tinyufo

import "fmt"

// checkedMax bounds the shards that check themselves, one time in checkedEach that their mutex is let go: the walk is
// linear.
const (
	checkedMax  = 512
	checkedEach = 64
)

// check panics when the invariants of policy do not hold, or the invariants of shard. The caller holds mu.
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
func (s *policy) checkQueue(end uint32, queue place) {
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

// check panics when the invariants of policy do not hold, or the invariants of flatShard. The caller holds mu.
func (s *flatShard[K, V]) check() {
	if len(s.nodes) > checkedMax || s.roll()%checkedEach != 0 {
		return
	}
	live := 0
	for i := uint32(nodeMin); i < uint32(len(s.nodes)); i++ {
		isLive := s.slot(i).Load()&stateMask == slotLive
		if in := s.at[i].queue() != inNone; in != isLive {
			panic(fmt.Sprintf("tinyufo: node %d at %x, its slot is live: %v", i, s.at[i], isLive))
		}
		if !isLive {
			continue
		}
		live++
		hash, at := s.nodes[i].hash, s.at[i]
		n := s.cache.index.bucketAt(hash, at).at(at.lane()).Load() & (1<<s.cache.index.bits - 1)
		if n != s.first+i {
			panic(fmt.Sprintf("tinyufo: node %d at %x is of slot %d, the index leads to %d", i, at, s.first+i, n))
		}
	}
	if int64(live) != s.small+s.main || live != s.live || s.small+s.main > s.capacity {
		panic(fmt.Sprintf("tinyufo: %d slots are live, small %d, main %d, live %d, capacity %d",
			live, s.small, s.main, s.live, s.capacity))
	}
	s.checkQueue(smallEnd, inSmall)
	s.checkQueue(mainEnd, inMain)
}
