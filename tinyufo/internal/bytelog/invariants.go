//go:build invariants

package bytelog

import "fmt"

// linesMax bounds the shards that check themselves, one time in checkedEach that a Set ends: the walk is linear.
const (
	linesMax    = 512
	checkedEach = 64
)

// check panics when the invariants of Shard do not hold, or those of its rings. The caller holds mu.
func (s *Shard) check() {
	x := s.index.Load()
	if s.random++; len(x.lines) > linesMax || s.random%checkedEach != 0 {
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
	if live != s.counts.Live {
		panic(fmt.Sprintf("tinyufo: %d entries are in the index, not %d", live, s.counts.Live))
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
