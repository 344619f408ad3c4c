package balance

import "math/bits"

// cacheLine is what two cores must not write at the same time.
const cacheLine = 64

// Picker is a method of balancing: it chooses the backend that a request goes to. Each reactor has a Picker of its own
// for each set of turns, so that a Picker needs no lock and may keep what it likes. Owned by one goroutine.
type Picker interface {
	// Pick returns the index of a backend that is open in v and not in tried, or -1 when there is none. tried may be
	// nil. Requests of one key belong together; methods that do not hash ignore it. Pick allocates only after weights
	// have changed, or backends have come or gone.
	Pick(v *View, key uint64, tried *Tried) int
}

// RoundRobin takes turns among the backends of a View, each as often as its weight says. Owned by one goroutine.
//
//	equal weights:  cursor is where the next pick starts to look
//	otherwise:      current[i] is what backend i has saved up; a pick leaves their sum as it was
type RoundRobin struct {
	layout  *layout // that cursor and current are for
	current []int
	cursor  int
	offset  int
	_       [cacheLine - 48]byte // pickers of two reactors lie side by side: 9 ns a pick without this, 2.5 with
}

// NewRoundRobin makes a Picker that starts offset turns ahead, zero or more. Give each reactor its index, so that their
// first requests do not all meet the same backend.
func NewRoundRobin(offset int) *RoundRobin { return &RoundRobin{layout: &layout{}, offset: offset} }

// Pick implements Picker. When all backends that are open have been tried, whether to go to one of them again is the
// caller's choice: without tried, Pick finds it.
func (r *RoundRobin) Pick(v *View, _ uint64, tried *Tried) int {
	if r.layout != v.layout {
		r.follow(v)
	}
	if v.equal {
		return r.rotate(v.open, tried)
	}
	return r.smooth(v.open, tried)
}

// follow goes over to the weights of v: turns go on where they were. Savings keep their share of a cycle.
func (r *RoundRobin) follow(v *View) {
	old, l := r.layout, v.layout
	r.layout = l
	n := len(l.weights)
	if len(old.weights) == 0 {
		r.cursor = r.offset
	}
	r.cursor %= max(n, 1)
	savings := r.current
	if r.current = nil; l.equal {
		return
	}
	const perLine = cacheLine / 8
	r.current = make([]int, n, (n+perLine-1)/perLine*perLine)
	if savings == nil {
		for range r.offset {
			if r.smooth(v.open, nil) < 0 {
				r.smooth(l.eligible, nil)
			}
		}
		return
	}
	for i := range min(n, len(savings)) {
		if l.weights[i] > 0 {
			r.current[i] = savings[i] * l.total / old.total
		}
	}
}

// rotate picks the first backend of open from cursor on, around the end if need be.
func (r *RoundRobin) rotate(open []uint64, tried *Tried) int {
	words := len(open)
	if words == 0 {
		return -1
	}
	word := r.cursor / 64
	left := (open[word] &^ tried.word(word)) >> (r.cursor % 64) << (r.cursor % 64)
	for range words {
		if left != 0 {
			return r.take(word, left)
		}
		if word++; word == words {
			word = 0
		}
		left = open[word] &^ tried.word(word)
	}
	// Back where it started: left holds the bits below cursor too now.
	if left != 0 {
		return r.take(word, left)
	}
	return -1
}

// take picks the lowest bit of left and moves cursor past it.
func (r *RoundRobin) take(word int, left uint64) int {
	i := word*64 + bits.TrailingZeros64(left)
	if r.cursor = i + 1; r.cursor == len(r.layout.weights) {
		r.cursor = 0
	}
	return i
}

// smooth lets every backend of open save its weight, picks the richest and takes from it what all of them saved.
// Over a cycle each pays as often as its weight, as evenly spread as can be. A closed backend keeps its savings.
func (r *RoundRobin) smooth(open []uint64, tried *Tried) int {
	best, total := -1, 0
	for word := range open {
		for left := open[word] &^ tried.word(word); left != 0; left &= left - 1 {
			i := word*64 + bits.TrailingZeros64(left)
			weight := r.layout.weights[i]
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
