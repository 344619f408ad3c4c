package limits

import (
	"cmp"
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"
)

// RateOptions are the options of a Rate.
type RateOptions struct {
	// Window is the time over which events are counted: at least 1 µs.
	Window time.Duration

	// Slots is 2, 4 or 8; 0: 2. The window is cut into Slots - 1 parts. Of the part that the window has left in part a
	// share is counted, as if its events had come evenly: an estimate is wrong by as many events as that part has. With
	// 2 slots these may be all of one window, with 8 they are the events of a seventh of it.
	Slots int

	// Width is the number of counters in a row of the sketch: see EstimatorOptions. 0: 1024.
	Width int
}

// A word of a Rate is
//
//	63             40 39                         0
//	┌────────────────┬────────────────────────────┐
//	│ part, modulo   │ events in that part        │
//	│ 2^24           │                            │
//	└────────────────┴────────────────────────────┘
//
// where part is the number of the part of the time in which the events came. A word of a part that has left the
// window counts for nothing, and becomes one of the present part with the next event: no goroutine sweeps a table when
// a window ends.
const (
	partBits   = 24
	partMask   = 1<<partBits - 1
	partShift  = 64 - partBits
	eventsMask = 1<<partShift - 1

	// eventsMax is where a counter stays. Half of what the word has room for: many goroutines may add to it at once
	// without a carry into the part.
	eventsMax = 1 << (partShift - 1)
	addMax    = 1 << 30
)

// windows tells parts of a window from times. Immutable.
//
// A part is 2^64/perNano nanoseconds, which differs from the length asked for by one part in 10^9 for a
// window of a second. So one product
// gives the number of the part, and how much of it has passed.
type windows struct {
	slots   uint64
	width   uint64
	perNano uint64 // parts in a nanosecond, times 2^64, rounded up: so a part begins at its multiple, not after it
	length  time.Duration
}

func newWindows(o RateOptions) windows {
	o.Slots = cmp.Or(o.Slots, 2)
	if o.Slots != 2 && o.Slots != 4 && o.Slots != 8 {
		panic(fmt.Sprintf("limits: %d slots of a window", o.Slots))
	}
	if o.Window < time.Microsecond {
		panic(fmt.Sprintf("limits: a window of %v", o.Window))
	}
	perNano, _ := bits.Div64(uint64(o.Slots-1), 0, uint64(o.Window))
	return windows{
		slots: uint64(o.Slots), width: uint64(widthOf(o.Width)), perNano: perNano + 1, length: o.Window,
	}
}

// part returns the part of the time that now is in, and how much of it is still to come, times 2^64.
func (w *windows) part(now int64) (part, left uint64) {
	part, passed := bits.Mul64(uint64(now), w.perNano)
	return part & partMask, ^passed
}

// rows returns where the words of a key begin when there are more slots than two: slots of them in each row.
func (w *windows) rows(hash uint64) [sketchRows]uint64 {
	r0, r1, r2, r3 := rowHashes(hash)
	m, s := w.width-1, w.slots
	return [...]uint64{r0 & m * s, (w.width + r1&m) * s, (2*w.width + r2&m) * s, (3*w.width + r3&m) * s}
}

// counted returns how many events of a word lie in the window that ends in part.
func (w *windows) counted(word, part, left uint64) uint64 {
	events := word & eventsMask
	switch age := (part - word>>partShift) & partMask; {
	case age < w.slots-1:
		return events
	case age == w.slots-1:
		n, half := bits.Mul64(events, left)
		return n + half>>63
	case age >= partMask+1-w.slots:
		return events // the caller's clock is older than another clock which has counted here
	}
	return 0
}

// least is what a key has in the window by its words of one slot.
func (w *windows) least(w0, w1, w2, w3, part, left uint64) uint64 {
	if (w0^w1)|(w0^w2)|(w0^w3) <= eventsMask { // all are of the same part
		return w.counted(min(w0, w1, w2, w3), part, left)
	}
	return min(
		w.counted(w0, part, left), w.counted(w1, part, left),
		w.counted(w2, part, left), w.counted(w3, part, left))
}

// current reports whether events of part are counted in a word as it is. This is so too for a word of the next lap of
// its slot: then the caller's clock is older than another one, by less than a window and a part. A word further ahead
// was left by a clock that went back: it starts afresh.
func (w *windows) current(word, part uint64) bool {
	ahead := (word>>partShift - part) & partMask
	return ahead == 0 || ahead == w.slots
}

// later returns how many events the words have that came after part: then the clock of the caller is older than the
// clock of others.
func later(w0, w1, w2, w3, part uint64) uint64 {
	tag := (part + 1) << partShift
	if x0, x1, x2, x3 := w0^tag, w1^tag, w2^tag, w3^tag; x0|x1|x2|x3 <= eventsMask {
		return min(x0, x1, x2, x3)
	}
	return 0
}

// LocalRate counts the events of each key within the last Window, in a fixed amount of memory: a count-min sketch as
// LocalEstimator, with a sliding window in each counter. Owned by one goroutine.
//
//	              │◄──────────── Window ────────────►│
//	──┬───────────┼─────┬───────────┬───────────┬────┼──► time      Slots = 4
//	  │ oldest    │     │ full      │ full      │ present
//	              now - Window                       now
//
//	count = present + full parts + oldest · (share of the oldest part that lies in the window)
//
// where each part has an estimate of its own, the least of four counters.
//
// Let n be the events of all keys in the window and the oldest part. The count is wrong in two ways:
//   - by other keys: too high by more than e/Width · n with a probability of e^-4, as for a LocalEstimator;
//   - by the oldest part: too high or too low by less than its events, when they did not come evenly. With s of its
//     length left in the window and m events in it, the count is at most s·m too high and (1-s)·m too low.
//
// Times may go back. By up to a window, events count in the present part of the latest time, so that nothing is
// missed; by more than that, a counter starts afresh.
type LocalRate struct {
	pairs []pairColumn // with 2 slots: a column has a counter of each row
	words []uint64     // with more: rows of counters
	windows
}

type pairColumn [sketchRows][2]uint64

// NewLocalRate returns a rate without events. It panics when an option is out of its range.
func NewLocalRate(o RateOptions) *LocalRate { return newLocalRate(newWindows(o)) }

func newLocalRate(w windows) *LocalRate {
	if w.slots == 2 {
		return &LocalRate{windows: w, pairs: make([]pairColumn, w.width)}
	}
	return &LocalRate{windows: w, words: make([]uint64, sketchRows*w.width*w.slots)}
}

// Add counts n events of the key with this hash at the time now, in nanoseconds from 0, and returns the count of its
// events within the window, these included. More than 2^30 events count as 2^30, and a counter stays at 2^39.
func (r *LocalRate) Add(hash uint64, now int64, n uint64) uint64 {
	part, left := r.part(now)
	if r.slots != 2 {
		return r.addRows(hash, part, left, n)
	}
	r0, r1, r2, r3 := rowHashes(hash)
	m, pairs, slot := uint64(len(r.pairs)-1), r.pairs, part&1
	c0, c1, c2, c3 := &pairs[r0&m][0], &pairs[r1&m][1], &pairs[r2&m][2], &pairs[r3&m][3]
	tag := part << partShift
	w0, w1, w2, w3 := c0[slot]^tag, c1[slot]^tag, c2[slot]^tag, c3[slot]^tag
	if w0|w1|w2|w3 >= eventsMax || n > addMax { // a counter of another part, or full
		return r.addPairs([...]*[2]uint64{c0, c1, c2, c3}, part, left, n)
	}
	w0, w1, w2, w3 = w0+n, w1+n, w2+n, w3+n
	c0[slot], c1[slot], c2[slot], c3[slot] = w0|tag, w1|tag, w2|tag, w3|tag
	present := min(w0, w1, w2, w3)

	slot, tag = slot^1, (part-1)<<partShift
	w0, w1, w2, w3 = c0[slot]^tag, c1[slot]^tag, c2[slot]^tag, c3[slot]^tag
	if w0|w1|w2|w3 > eventsMask { // the key had nothing in the oldest part
		return present + later(w0^tag, w1^tag, w2^tag, w3^tag, part)
	}
	oldest, half := bits.Mul64(min(w0, w1, w2, w3), left)
	return present + oldest + half>>63
}

// addPairs is Add for what is rare: for each key once in a part.
func (r *LocalRate) addPairs(c [sketchRows]*[2]uint64, part, left, n uint64) uint64 {
	for _, words := range c {
		r.add(&words[part&1], part, n)
	}
	return r.countPairs(c, part, left)
}

func (r *LocalRate) addRows(hash, part, left, n uint64) uint64 {
	slot := part & (r.slots - 1)
	rows := r.rows(hash)
	for _, from := range rows {
		r.add(&r.words[from+slot], part, n)
	}
	return r.countRows(rows, part, left)
}

func (r *LocalRate) add(word *uint64, part, n uint64) {
	if !r.current(*word, part) {
		*word = part << partShift
	}
	*word += min(n, addMax, eventsMax-min(*word&eventsMask, eventsMax))
}

// Count returns the count of a key's events within the window that ends now.
func (r *LocalRate) Count(hash uint64, now int64) uint64 {
	part, left := r.part(now)
	if r.slots != 2 {
		return r.countRows(r.rows(hash), part, left)
	}
	r0, r1, r2, r3 := rowHashes(hash)
	m, pairs := uint64(len(r.pairs)-1), r.pairs
	c := [...]*[2]uint64{&pairs[r0&m][0], &pairs[r1&m][1], &pairs[r2&m][2], &pairs[r3&m][3]}
	return r.countPairs(c, part, left)
}

func (r *LocalRate) countPairs(c [sketchRows]*[2]uint64, part, left uint64) (n uint64) {
	for slot := range c[0] {
		n += r.least(c[0][slot], c[1][slot], c[2][slot], c[3][slot], part, left)
	}
	return n
}

func (r *LocalRate) countRows(rows [sketchRows]uint64, part, left uint64) (n uint64) {
	w := r.words
	for slot := range r.slots {
		n += r.least(w[rows[0]+slot], w[rows[1]+slot], w[rows[2]+slot], w[rows[3]+slot], part, left)
	}
	return n
}

// Snapshot copies r into s, which is made when it is nil or has other options, and returns it: see
// LocalEstimator.Snapshot.
func (r *LocalRate) Snapshot(s *LocalRate) *LocalRate {
	if s == nil || s.windows != r.windows {
		s = newLocalRate(r.windows)
	}
	copy(s.pairs, r.pairs)
	copy(s.words, r.words)
	return s
}

// Merge adds the events of from, whose hashes are of the same Hasher and whose times are of the same clock. It panics
// when the options differ.
func (r *LocalRate) Merge(from *LocalRate) {
	if r.windows != from.windows {
		panic(errMerge)
	}
	for i, theirs := range from.words {
		r.words[i] = mergedWord(r.words[i], theirs)
	}
	for i := range from.pairs {
		for row, theirs := range from.pairs[i] {
			ours := &r.pairs[i][row]
			ours[0], ours[1] = mergedWord(ours[0], theirs[0]), mergedWord(ours[1], theirs[1])
		}
	}
}

// mergedWord adds up words of the same part, and keeps the one of the later part otherwise.
func mergedWord(ours, theirs uint64) uint64 {
	switch newer := (theirs>>partShift - ours>>partShift) & partMask; {
	case newer == 0:
		return ours + min(theirs&eventsMask, eventsMax-min(ours&eventsMask, eventsMax))
	case newer <= partMask/2 || ours == 0:
		return theirs
	}
	return ours
}

// SharedRate is LocalRate for many goroutines. Safe for any goroutine. An event costs four locked additions, and four
// compare-and-swaps where it is the first one of its part. None is lost: an event that meets a counter in the moment
// when that passes to a later part counts in the later part.
type SharedRate struct {
	pairs []sharedPairs
	words []atomic.Uint64
	windows
}

type sharedPairs [sketchRows][2]atomic.Uint64

// NewSharedRate returns a rate without events. It panics when an option is out of its range.
func NewSharedRate(o RateOptions) *SharedRate {
	w := newWindows(o)
	if w.slots == 2 {
		return &SharedRate{windows: w, pairs: make([]sharedPairs, w.width)}
	}
	return &SharedRate{windows: w, words: make([]atomic.Uint64, sketchRows*w.width*w.slots)}
}

// Add is Add of LocalRate. What other goroutines add meanwhile may be in the count or not.
func (r *SharedRate) Add(hash uint64, now int64, n uint64) uint64 {
	part, left := r.part(now)
	n = min(n, addMax)
	if r.slots != 2 {
		return r.addRows(hash, part, left, n)
	}
	r0, r1, r2, r3 := rowHashes(hash)
	m, pairs, slot := uint64(len(r.pairs)-1), r.pairs, part&1
	c0, c1, c2, c3 := &pairs[r0&m][0], &pairs[r1&m][1], &pairs[r2&m][2], &pairs[r3&m][3]
	tag := part << partShift
	w0, w1, w2, w3 := c0[slot].Load()^tag, c1[slot].Load()^tag, c2[slot].Load()^tag, c3[slot].Load()^tag
	if w0|w1|w2|w3 >= eventsMax {
		return r.addPairs([...]*[2]atomic.Uint64{c0, c1, c2, c3}, part, left, n) // a counter of another part, or full
	}
	tag = (part - 1) << partShift
	w0, w1, w2, w3 = c0[slot^1].Load(), c1[slot^1].Load(), c2[slot^1].Load(), c3[slot^1].Load()
	present := min(c0[slot].Add(n), c1[slot].Add(n), c2[slot].Add(n), c3[slot].Add(n)) & eventsMask
	w0, w1, w2, w3 = w0^tag, w1^tag, w2^tag, w3^tag
	if w0|w1|w2|w3 > eventsMask { // the key had nothing in the oldest part
		return present + later(w0^tag, w1^tag, w2^tag, w3^tag, part)
	}
	oldest, half := bits.Mul64(min(w0, w1, w2, w3), left)
	return present + oldest + half>>63
}

func (r *SharedRate) addPairs(c [sketchRows]*[2]atomic.Uint64, part, left, n uint64) uint64 {
	for _, words := range c {
		r.add(&words[part&1], part, n)
	}
	return r.countPairs(c, part, left)
}

func (r *SharedRate) addRows(hash, part, left, n uint64) uint64 {
	slot := part & (r.slots - 1)
	rows := r.rows(hash)
	for _, from := range rows {
		r.add(&r.words[from+slot], part, n)
	}
	return r.countRows(rows, part, left)
}

func (r *SharedRate) add(word *atomic.Uint64, part, n uint64) {
	for {
		w := word.Load()
		if r.current(w, part) {
			if w&eventsMask < eventsMax {
				word.Add(n)
			}
			return
		}
		if word.CompareAndSwap(w, part<<partShift|n) {
			return
		}
	}
}

// Count returns the count of a key's events within the window that ends now.
func (r *SharedRate) Count(hash uint64, now int64) uint64 {
	part, left := r.part(now)
	if r.slots != 2 {
		return r.countRows(r.rows(hash), part, left)
	}
	r0, r1, r2, r3 := rowHashes(hash)
	m, pairs := uint64(len(r.pairs)-1), r.pairs
	c := [...]*[2]atomic.Uint64{&pairs[r0&m][0], &pairs[r1&m][1], &pairs[r2&m][2], &pairs[r3&m][3]}
	return r.countPairs(c, part, left)
}

func (r *SharedRate) countPairs(c [sketchRows]*[2]atomic.Uint64, part, left uint64) (n uint64) {
	for slot := range c[0] {
		n += r.least(c[0][slot].Load(), c[1][slot].Load(), c[2][slot].Load(), c[3][slot].Load(), part, left)
	}
	return n
}

func (r *SharedRate) countRows(rows [sketchRows]uint64, part, left uint64) (n uint64) {
	w := r.words
	for slot := range r.slots {
		n += r.least(w[rows[0]+slot].Load(), w[rows[1]+slot].Load(), w[rows[2]+slot].Load(), w[rows[3]+slot].Load(),
			part, left)
	}
	return n
}
