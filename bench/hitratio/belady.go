package hitratio

import "math/bits"

// Optimum is the number of hits of the best possible cache of capacity entries over keys: Belady's MIN with bypass. The
// key whose next use is the farthest is dropped, the one that just came included, so it bounds every policy, those
// that refuse keys included.
func Optimum(keys []uint64, capacity int) int {
	next := nextUses(keys)
	held := newUseSet(len(keys))
	hits := 0
	for i := range keys {
		// A held key stands in the set by the time of its next use, which is now.
		if held.remove(i) {
			hits++
		}
		if next[i] == len(keys) {
			continue
		}
		held.add(next[i])
		if held.count > capacity {
			held.removeLast()
		}
	}
	return hits
}

// nextUses says for each access when its key comes again, len(keys) for never.
func nextUses(keys []uint64) []int {
	next := make([]int, len(keys))
	last := make(map[uint64]int)
	for i := len(keys) - 1; i >= 0; i-- {
		next[i] = len(keys)
		if at, ok := last[keys[i]]; ok {
			next[i] = at
		}
		last[keys[i]] = i
	}
	return next
}

// useSet is a set of times: a tree of bits, 64 to a word, with O(log) for the last one.
type useSet struct {
	levels [][]uint64 // levels[0] has a bit for each time, each next one a bit for each word below
	count  int
}

func newUseSet(times int) *useSet {
	s := &useSet{}
	for n := max(times, 1); ; n = (n + 63) / 64 {
		s.levels = append(s.levels, make([]uint64, (n+63)/64))
		if n <= 64 {
			return s
		}
	}
}

func (s *useSet) add(at int) {
	for _, level := range s.levels {
		level[at>>6] |= 1 << (at & 63)
		at >>= 6
	}
	s.count++
}

func (s *useSet) remove(at int) bool {
	if s.levels[0][at>>6]>>(at&63)&1 == 0 {
		return false
	}
	for _, level := range s.levels {
		level[at>>6] &^= 1 << (at & 63)
		if level[at>>6] != 0 {
			break
		}
		at >>= 6
	}
	s.count--
	return true
}

func (s *useSet) removeLast() {
	at := 0
	for i := len(s.levels) - 1; i >= 0; i-- {
		at = at<<6 + bits.Len64(s.levels[i][at]) - 1
	}
	s.remove(at)
}
