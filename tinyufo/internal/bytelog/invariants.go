//go:build invariants

package bytelog

import "fmt"

// linesMax bounds the shards that check themselves, one time in checkedEach that a set ends: the walk is linear.
const (
	linesMax    = 512
	checkedEach = 64
)

// check panics when the invariants of shard do not hold, or the invariants of its index and rings. The caller holds mu.
func (s *shard) check() {
	x := s.index.Load()
	if s.random++; len(x.lines) > linesMax || s.random%checkedEach != 0 {
		return
	}
	for i := range s.logs {
		s.logs[i].check()
	}
	live, elsewhere := 0, make([]uint64, len(x.lines))
	for i := range x.lines {
		for word := 1; word < len(line{}); word++ {
			l := (slot{&x.lines[i], word}).load()
			if l == 0 {
				continue
			}
			live++
			hash := s.hasher.of(s.at(l).key())
			if s.slotOf(hash, l.place()) != (slot{&x.lines[i], word}) || l.place() == 0 {
				panic(fmt.Sprintf("tinyufo: location %x of hash %x is not found", l, hash))
			}
			if home := x.home(hash); home != uint64(i) {
				elsewhere[home]++
			}
		}
	}
	for i := range x.lines {
		if n := x.lines[i][0].Load() >> elsewhereShift; n != elsewhere[i] {
			panic(fmt.Sprintf("tinyufo: %d entries of line %d are elsewhere, not %d", elsewhere[i], i, n))
		}
	}
	if live != s.counts.Live {
		panic(fmt.Sprintf("tinyufo: %d entries are in the index, not %d", live, s.counts.Live))
	}
}

// check panics when the invariants of ring do not hold.
func (r *ring) check() {
	if r.tail > r.head || r.head-r.tail > r.size {
		panic(fmt.Sprintf("tinyufo: tail %d, head %d of a ring of %d", r.tail, r.head, r.size))
	}
	_, _, ok := r.first()
	at := r.tail
	for ok && at < r.head {
		at = r.after(at)
	}
	if ok && at != r.head {
		panic(fmt.Sprintf("tinyufo: the last record ends at %d, not at %d", at, r.head))
	}
}
