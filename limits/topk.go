package limits

import (
	"cmp"
	"math"
	"slices"
)

// Item is a key of a list of the most frequent ones, with what is known of its events.
type Item[K any] struct {
	Key   K
	Count uint64 // estimate of its events
	Over  uint64 // the estimate is too high by this at most; 0 from a TopK
}

// TopKOptions are the options of a TopK. The zero value is good.
type TopKOptions[K any] struct {
	Keys int // how many the list has at most; 0: 100

	// Cells is how many keys are counted at once, rounded up to a power of two; 0: 64 for each key of the list. A
	// cell has 8 bytes and the size of a K.
	Cells int

	// KeepFrom is the count from which the key itself is kept, so that it is listed: 0 or 1 is at once.
	KeepFrom uint64

	// Clone makes the copy of a key that is kept; nil: the key itself. For keys that are borrowed by Add: with
	// KeepFrom, only a few of the keys that come once are ever copied.
	Clone func(K) K

	Seed uint64 // of the random decisions: the same events with the same seed give the same list
}

// TopK finds the keys with the most events in a stream of any number of keys, such as the clients that send the most
// requests: HeavyKeeper (Gong et al. 2018), with the cells of a key in one bucket of 64 bytes as in HeavyGuardian
// (Yang et al. 2018). A key that comes often holds a cell and counts in it. A key without a cell makes the least
// count of its bucket smaller, with a probability that falls exponentially with that count; at 0 it takes the cell.
// So rare keys replace each other, and hardly touch the frequent ones.
//
// A count is never too high, but for two keys of a bucket with the same fingerprint of 24 bits; it may be too low.
// There is no bound for how much: where one is needed, use SpaceSaving. Owned by one goroutine.
//
//	63             40 39  38                     0
//	┌────────────────┬───┬────────────────────────┐
//	│ fingerprint    │ K │ count                  │   K: the key itself is kept
//	└────────────────┴───┴────────────────────────┘
type TopK[K any] struct {
	buckets  [][bucketCells]uint64
	keys     [][bucketCells]K
	keepFrom uint64
	clone    func(K) K
	random   uint64
	most     int
}

const (
	heavyBits     = 24
	heavyMask     = 1<<heavyBits - 1
	heavyShift    = 64 - heavyBits
	heavyBucket   = heavyBits + 3 // the hash above the fingerprint and the cell where the search begins
	keptBit       = 1 << (heavyShift - 1)
	heavyCountMax = keptBit - 1

	decayBase  = 1.08 // of the paper
	decaySteps = 256  // 1.08^-256 is 3 in a billion
)

// decays is the probability, times 2^64, that a count of its index becomes less by one event of another key.
var decays = func() (t [decaySteps]uint64) {
	for c := range t {
		t[c] = uint64(math.Pow(decayBase, -float64(c)) * (1 << 63) * 2 * (1 - 1e-16))
	}
	t[0] = math.MaxUint64
	return t
}()

// NewTopK returns a list without keys.
func NewTopK[K any](o TopKOptions[K]) *TopK[K] {
	if o.Keys <= 0 {
		o.Keys = 100
	}
	if o.Cells <= 0 {
		o.Cells = 64 * o.Keys
	}
	n := ceilPow2((min(o.Cells, bucketsMax*bucketCells)-1)/bucketCells + 1)
	return &TopK[K]{
		buckets: make([][bucketCells]uint64, n), keys: make([][bucketCells]K, n),
		keepFrom: max(o.KeepFrom, 1), clone: o.Clone, random: o.Seed, most: o.Keys,
	}
}

// Add counts n events of key, whose hash this is.
func (t *TopK[K]) Add(hash uint64, key K, n uint64) {
	print := max(hash&heavyMask, 1) << heavyShift
	at := hash >> heavyBucket & uint64(len(t.buckets)-1)
	b := &t.buckets[at]
	first := hash >> heavyBits % bucketCells
	if w := b[first]; w^print < keptBit<<1 && w&keptBit != 0 && n < 1<<32 {
		b[first] = w&^heavyCountMax | min(w&heavyCountMax+n, heavyCountMax)
		return
	}
	t.add(at, first, print, key, n)
}

func (t *TopK[K]) add(at, first, print uint64, key K, n uint64) {
	b := &t.buckets[at]
	weakest, least := first, uint64(math.MaxUint64)
	for i := range uint64(bucketCells) {
		cell := (first + i) % bucketCells
		w := b[cell]
		if w>>heavyShift == print>>heavyShift && w != 0 {
			t.set(at, cell, w, w&heavyCountMax, n, key)
			return
		}
		if c := w & heavyCountMax; c < least {
			weakest, least = cell, c
		}
	}
	if n = t.decay(&least, n); least == 0 && n > 0 {
		t.set(at, weakest, print, 0, n, key)
		return
	}
	b[weakest] = b[weakest]&^heavyCountMax | least
}

// set makes count + n the count of the cell, which was w, and keeps the key when it is time.
func (t *TopK[K]) set(at, cell, w, count, n uint64, key K) {
	if n = min(n, heavyCountMax-count); count+n >= t.keepFrom && w&keptBit == 0 {
		if t.clone != nil {
			key = t.clone(key)
		}
		t.keys[at][cell] = key
		w |= keptBit
	}
	t.buckets[at][cell] = w&^heavyCountMax | (count + n)
}

// decay lets n events of another key come to a cell with this count, which becomes less by it. It returns how many of
// them are left when the count is 0. One event has one chance; many make as many steps as are to be expected of them.
func (t *TopK[K]) decay(count *uint64, n uint64) (left uint64) {
	for ; *count > 0; *count-- {
		if *count >= decaySteps {
			return 0
		}
		p := decays[*count]
		need := math.MaxUint64/p + 1
		if n >= need {
			n -= need
			continue
		}
		t.random += mixA
		if fold(t.random, t.random^mixB) >= n*p {
			return 0
		}
		n = 1
	}
	return n
}

// Top appends the keys with the most events to items, the most frequent first, and returns them. It walks the table.
func (t *TopK[K]) Top(items []Item[K]) []Item[K] {
	from := len(items)
	for i := range t.buckets {
		for j, w := range t.buckets[i] {
			if w&keptBit != 0 && w&heavyCountMax != 0 {
				items = append(items, Item[K]{Key: t.keys[i][j], Count: w & heavyCountMax})
			}
		}
	}
	return highest(items, from, t.most)
}

// highest sorts items after from by their counts, and leaves most of them.
func highest[K any](items []Item[K], from, most int) []Item[K] {
	slices.SortStableFunc(items[from:], func(a, b Item[K]) int { return cmp.Compare(b.Count, a.Count) })
	if len(items)-from <= most {
		return items
	}
	clear(items[from+most:]) // keys that are not returned are not kept alive
	return items[:from+most]
}

// Halve halves all counts, so that what happened long ago loses its weight: called once a minute, a key that no
// longer comes leaves the list within some minutes. It walks the table.
func (t *TopK[K]) Halve() {
	for i := range t.buckets {
		for j, w := range t.buckets[i] {
			t.buckets[i][j] = w&^heavyCountMax | w&heavyCountMax/2
		}
	}
}

// Reset forgets all keys.
func (t *TopK[K]) Reset() {
	clear(t.buckets)
	clear(t.keys)
}

// Snapshot copies t into s, which is made when it is nil or has another size, and returns it: see
// LocalEstimator.Snapshot. Keys are copied by assignment.
func (t *TopK[K]) Snapshot(s *TopK[K]) *TopK[K] {
	if s == nil || len(s.buckets) != len(t.buckets) {
		s = &TopK[K]{
			buckets: make([][bucketCells]uint64, len(t.buckets)), keys: make([][bucketCells]K, len(t.buckets)),
		}
	}
	copy(s.buckets, t.buckets)
	copy(s.keys, t.keys)
	s.keepFrom, s.clone, s.random, s.most = t.keepFrom, t.clone, t.random, t.most
	return s
}

// Merge adds the counts of from, whose hashes are of the same Hasher. Of the keys of a bucket, those with the highest
// sums stay. It panics when the numbers of cells differ.
func (t *TopK[K]) Merge(from *TopK[K]) {
	if len(t.buckets) != len(from.buckets) {
		panic(errMerge)
	}
	for i := range from.buckets {
		var added [bucketCells]bool
		for j, w := range from.buckets[i] {
			added[j] = w&heavyCountMax == 0 || t.mergeSame(i, w, from.keys[i][j])
		}
		for j, w := range from.buckets[i] {
			if !added[j] {
				t.mergeOther(i, w, from.keys[i][j])
			}
		}
	}
}

// mergeSame adds the count of theirs to the count of the same key in bucket i, if there is one.
func (t *TopK[K]) mergeSame(i int, theirs uint64, key K) bool {
	for j, ours := range t.buckets[i] {
		if ours>>heavyShift != theirs>>heavyShift || ours&heavyCountMax == 0 {
			continue
		}
		if ours&keptBit == 0 && theirs&keptBit != 0 {
			t.keys[i][j] = key
		}
		count := min(ours&heavyCountMax+theirs&heavyCountMax, heavyCountMax)
		t.buckets[i][j] = (ours|theirs)&^heavyCountMax | count
		return true
	}
	return false
}

// mergeOther puts theirs in the place of the least count of bucket i, unless its own is less.
func (t *TopK[K]) mergeOther(i int, theirs uint64, key K) {
	weakest := 0
	for j, ours := range t.buckets[i] {
		if ours&heavyCountMax < t.buckets[i][weakest]&heavyCountMax {
			weakest = j
		}
	}
	if t.buckets[i][weakest]&heavyCountMax < theirs&heavyCountMax {
		t.buckets[i][weakest], t.keys[i][weakest] = theirs, key
	}
}
