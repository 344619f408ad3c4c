package balance

import "math/bits"

// cacheLine is what two cores must not write at the same time.
const cacheLine = 64

// RoundRobin takes turns among the backends of a Set, each as often as its weight says. Owned by one goroutine.
//
//	equal weights:  cursor is where the next pick starts to look
//	otherwise:      current[i] is what backend i has saved up; the sum is 0
type RoundRobin struct {
	set     *Set
	current []int
	cursor  int
	_       [cacheLine - 40]byte // pickers of two reactors lie side by side: 9 ns a pick without this, 2.5 with
}

// NewRoundRobin makes a picker over s that starts offset turns ahead, zero or more. Give each reactor its index, so
// that their first requests do not all meet the same backend.
func NewRoundRobin(s *Set, offset int) *RoundRobin {
	r := &RoundRobin{set: s}
	if s.Len() == 0 {
		return r
	}
	if s.equal {
		r.cursor = offset % s.Len()
		return r
	}
	perLine := cacheLine / 8
	r.current = make([]int, s.Len(), (s.Len()+perLine-1)/perLine*perLine)
	for range offset {
		r.Pick(nil)
	}
	return r
}

// Pick returns a backend that is up and not in tried, or -1 when there is none. tried may be nil.
// When all that are up have been tried, whether to go to one of them again is the caller's choice: Pick(nil).
func (r *RoundRobin) Pick(tried *Tried) int {
	if r.set.equal {
		return r.rotate(tried)
	}
	return r.smooth(tried)
}

// rotate picks the first open backend from cursor on, around the end if need be.
func (r *RoundRobin) rotate(tried *Tried) int {
	words := len(r.set.down)
	if words == 0 {
		return -1
	}
	word := r.cursor / 64
	open := r.set.open(word, tried) >> (r.cursor % 64) << (r.cursor % 64)
	for range words {
		if open != 0 {
			return r.turn(word, open)
		}
		if word++; word == words {
			word = 0
		}
		open = r.set.open(word, tried)
	}
	// Back where it started: open holds the bits below cursor too now.
	if open != 0 {
		return r.turn(word, open)
	}
	return -1
}

// turn picks the lowest bit of open and moves cursor behind it.
func (r *RoundRobin) turn(word int, open uint64) int {
	i := word*64 + bits.TrailingZeros64(open)
	if r.cursor = i + 1; r.cursor == r.set.Len() {
		r.cursor = 0
	}
	return i
}

// smooth lets every open backend save its weight, picks the richest and takes from it what all of them saved.
// Over a cycle each pays as often as its weight, as evenly spread as can be. One that is closed keeps its savings.
func (r *RoundRobin) smooth(tried *Tried) int {
	best, total := -1, 0
	for word := range r.set.down {
		for open := r.set.open(word, tried); open != 0; open &= open - 1 {
			i := word*64 + bits.TrailingZeros64(open)
			weight := r.set.weights[i]
			r.current[i] += weight
			total += weight
			if best < 0 || r.current[i] > r.current[best] {
				best = i
			}
		}
	}
	if best >= 0 {
		r.current[best] -= total
	}
	return best
}
