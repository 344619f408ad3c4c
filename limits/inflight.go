package limits

import "sync/atomic"

// A cell of a table of counts is
//
//	63           44 43        32 31               0
//	┌──────────────┬────────────┬─────────────────┐
//	│ fingerprint  │ generation │ count           │
//	└──────────────┴────────────┴─────────────────┘
//
// A cell with the count 0 is free. The generation moves on when another key takes the cell, so that a
// compare-and-swap with what a cell held long ago fails.
const (
	countMask = 1<<32 - 1
	genOne    = 1 << 32
	genMask   = (1<<(printShift-32) - 1) << 32
)

// claimed returns the cell that was, taken by print with the count 1.
func claimed(was, print uint64) uint64 {
	return print<<printShift | (was+genOne)&genMask | 1
}

// LocalInFlight limits how many things of each key are under way at once: requests of a client, calls to a backend.
//
// Up to 8 keys of a bucket have an exact count each. While all 8 of them have something under way, further keys of
// that bucket share one count, which each of them sees: so a maximum is never exceeded, but such a key may be refused
// early. Overflows counts the entries of that kind; more than a few mean that the table is too small. Owned by one
// goroutine.
//
//	in a bucket no fingerprint is twice
//	a key has entries in the shared count  =>  it had no cell when they were made
type LocalInFlight struct {
	buckets   [][bucketCells]uint64
	shared    []uint64 // a count for each bucket
	overflows uint64
}

// LocalGuard is one thing under way. The zero LocalGuard is none. It may be copied, but only one of the copies may be
// left. Owned by the goroutine of its table.
type LocalGuard struct{ cell *uint64 }

// NewLocalInFlight returns a table for keys that have something under way at once, with 18 to 36 bytes for each.
func NewLocalInFlight(keys int) *LocalInFlight {
	n := bucketCount(keys)
	return &LocalInFlight{buckets: make([][bucketCells]uint64, n), shared: make([]uint64, n)}
}

// Enter begins something of the key with this hash, unless most of them are under way already; then it returns false.
// Leave ends it.
func (t *LocalInFlight) Enter(hash uint64, most int64) (LocalGuard, bool) {
	print := fingerprint(hash)
	at := hash >> bucketShift & uint64(len(t.buckets)-1)
	b := &t.buckets[at]
	cell := &b[hash>>firstShift%bucketCells]
	if *cell>>printShift != print {
		if cell = find(b, hash, print); cell == nil {
			return t.overflow(at, most)
		}
	}
	if int64(*cell&countMask+t.shared[at]) >= min(most, countMask) {
		return LocalGuard{}, false
	}
	if *cell>>printShift != print {
		*cell = claimed(*cell, print)
		t.check(b)
	} else {
		*cell++
	}
	return LocalGuard{cell: cell}, true
}

// find returns the cell of print, or else a free one, or nil.
func find(b *[bucketCells]uint64, hash, print uint64) (free *uint64) {
	for i := range uint64(bucketCells) {
		cell := &b[(hash>>firstShift+i)%bucketCells]
		if *cell>>printShift == print {
			return cell
		}
		if free == nil && *cell&countMask == 0 {
			free = cell
		}
	}
	return free
}

func (t *LocalInFlight) overflow(at uint64, most int64) (LocalGuard, bool) {
	shared := &t.shared[at]
	if int64(*shared) >= most {
		return LocalGuard{}, false
	}
	*shared++
	t.overflows++
	return LocalGuard{cell: shared}, true
}

// Count returns how many things of the key are under way; at least as many when the bucket is shared.
func (t *LocalInFlight) Count(hash uint64) int64 {
	at := hash >> bucketShift & uint64(len(t.buckets)-1)
	n := t.shared[at]
	if cell := find(&t.buckets[at], hash, fingerprint(hash)); cell != nil {
		n += *cell & countMask
	}
	return int64(n)
}

// Overflows returns how many entries were counted together with entries of other keys.
func (t *LocalInFlight) Overflows() uint64 { return t.overflows }

// Leave ends what g guards. A second call on the same variable does nothing; one on a copy panics, or ends something
// else of the same cell.
func (g *LocalGuard) Leave() {
	if g.cell == nil {
		return
	}
	if *g.cell&countMask == 0 {
		panic(leftTwice)
	}
	*g.cell--
	g.cell = nil
}

const leftTwice = "limits: copies of a guard were left"

// SharedInFlight is LocalInFlight for many goroutines. Safe for any goroutine. An entry of a key that has a cell, and
// its end, cost one locked operation each.
//
// A key that has no cell gets one, or enters the shared count, under the lock of its bucket and after a search under
// it. So it has one cell at most, and nothing of it enters the shared count while it has one. Enter reads the cell,
// then the shared count, and then swaps the cell: when that succeeds, the generation says that the cell was the key's
// all the time, so that its part of the shared count cannot have grown since it was read.
type SharedInFlight struct {
	buckets   []sharedBucket
	shared    []atomic.Uint64 // a count for each bucket
	mu        []stripe
	overflows atomic.Uint64
	sharing   atomic.Int64 // entries in shared; so long as there are none, Enter does not look there
	_         [48]byte     // sharing is read by every Enter: what lies next to the table does not slow it down
}

// Guard is one thing under way. The zero Guard is none. It may be copied and handed to another goroutine, but only
// one of the copies may be left.
type Guard struct {
	cell  *atomic.Uint64
	table *SharedInFlight // nil unless cell is a shared count
}

// NewSharedInFlight is NewLocalInFlight for many goroutines.
func NewSharedInFlight(keys int) *SharedInFlight {
	n := bucketCount(keys)
	return &SharedInFlight{
		buckets: make([]sharedBucket, n), shared: make([]atomic.Uint64, n), mu: make([]stripe, stripes),
	}
}

// Enter is Enter of LocalInFlight.
func (t *SharedInFlight) Enter(hash uint64, most int64) (Guard, bool) {
	print := fingerprint(hash)
	at := hash >> bucketShift & uint64(len(t.buckets)-1)
	b := &t.buckets[at]
	cell := &b[hash>>firstShift%bucketCells]
	w := cell.Load()
	for {
		if w>>printShift != print {
			if cell, w = b.search(hash, print); cell == nil {
				return t.enterNew(hash, at, print, most)
			}
		}
		n := w & countMask
		if t.sharing.Load() != 0 {
			n += t.shared[at].Load()
		}
		if int64(n) >= min(most, countMask) {
			return Guard{}, false
		}
		if cell.CompareAndSwap(w, w+1) {
			return Guard{cell: cell}, true
		}
		w = cell.Load()
	}
}

// enterNew is Enter for a key that had no cell a moment ago.
func (t *SharedInFlight) enterNew(hash, at, print uint64, most int64) (Guard, bool) {
	b := &t.buckets[at]
	mu := &t.mu[at%stripes]
	mu.Lock()
	defer mu.Unlock()
	for {
		cell, w := b.search(hash, print)
		if cell == nil {
			cell, w = b.searchFree(hash)
		}
		shared := int64(t.shared[at].Load())
		if cell == nil {
			return t.overflow(at, shared, most)
		}
		if shared+int64(w&countMask) >= min(most, countMask) {
			return Guard{}, false
		}
		next := w + 1
		if w>>printShift != print {
			next = claimed(w, print)
		}
		if cell.CompareAndSwap(w, next) {
			t.check(b)
			return Guard{cell: cell}, true
		}
	}
}

// searchFree returns a cell that counts nothing, and what it held, or nil.
func (b *sharedBucket) searchFree(hash uint64) (*atomic.Uint64, uint64) {
	for i := range uint64(bucketCells) {
		cell := &b[(hash>>firstShift+i)%bucketCells]
		if w := cell.Load(); w&countMask == 0 {
			return cell, w
		}
	}
	return nil, 0
}

// overflow enters the shared count of a bucket, under its lock: so it does not grow after the caller has read it.
func (t *SharedInFlight) overflow(at uint64, shared, most int64) (Guard, bool) {
	if shared >= most {
		return Guard{}, false
	}
	t.sharing.Add(1) // before the count, so that no goroutine takes the count for 0
	t.shared[at].Add(1)
	t.overflows.Add(1)
	return Guard{cell: &t.shared[at], table: t}, true
}

// Count returns how many things of the key are under way; at least as many when the bucket is shared.
func (t *SharedInFlight) Count(hash uint64) int64 {
	at := hash >> bucketShift & uint64(len(t.buckets)-1)
	n := t.shared[at].Load()
	if cell, w := t.buckets[at].search(hash, fingerprint(hash)); cell != nil {
		n += w & countMask
	}
	return int64(n)
}

// Overflows returns how many entries were counted together with entries of other keys.
func (t *SharedInFlight) Overflows() uint64 { return t.overflows.Load() }

// Leave ends what g guards. A second call on the same variable does nothing; one on a copy panics, or ends something
// else of the same cell. Callable on any goroutine, but not on two at once.
func (g *Guard) Leave() {
	if g.cell == nil {
		return
	}
	if w := g.cell.Add(^uint64(0)); w&countMask == countMask {
		panic(leftTwice)
	}
	if g.table != nil {
		g.table.sharing.Add(-1)
	}
	*g = Guard{}
}
