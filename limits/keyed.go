package limits

import (
	"sync"
	"sync/atomic"
	"time"
)

// LocalGCRATable limits the rate of each of many keys: a LocalGCRA for each, in 8 bytes. A key without events has no
// cell; a cell frees itself when its key has its whole burst again. When all 8 cells of a bucket are live, a new key
// takes over the cell that frees first: the former key has its burst again, early. Takeovers counts these; more than a
// few mean that the table is too small for its keys. Owned by one goroutine.
//
//	in a bucket no fingerprint is twice
type LocalGCRATable struct {
	buckets   [][bucketCells]uint64
	takeovers uint64
	tickPace
}

// NewLocalGCRATable returns a table for keys that are live at once: that have had an event within the time that their
// burst takes to fill. It has 16 to 32 bytes for each. It panics when q is not valid.
func NewLocalGCRATable(q Quota, keys int) *LocalGCRATable {
	return &LocalGCRATable{buckets: make([][bucketCells]uint64, bucketCount(keys)), tickPace: newTickPace(q)}
}

// Take admits n events of the key with this hash at the time now, or none: see LocalGCRA.Take. An event may be
// admitted 1/65536 of an interval early, and an interval is longer by as much at most, if the burst is no more than
// 32 million.
func (t *LocalGCRATable) Take(hash uint64, now, n int64) (ok bool, retryAfter time.Duration) {
	if uint64(n-1) >= t.burst {
		return n == 0, never(n)
	}
	print, ticks := fingerprint(hash), t.ticks(now)
	b := t.bucket(hash)
	cell := &b[hash>>firstShift%bucketCells]
	if *cell>>printShift != print {
		cell = t.find(b, hash, print, ticks)
	}
	d := t.ahead(*cell, ticks) + uint64(n)*t.interval
	if d > t.span {
		return false, t.wait(d)
	}
	*cell = t.after(print, ticks, d)
	return true, 0
}

// State returns what is left of the key's quota at the time now.
func (t *LocalGCRATable) State(hash uint64, now int64) State {
	print, ticks := fingerprint(hash), t.ticks(now)
	for _, w := range t.bucket(hash) {
		if w>>printShift == print {
			return t.state(w, ticks)
		}
	}
	return t.state(ticks, ticks)
}

// Takeovers returns how many live cells were given to other keys.
func (t *LocalGCRATable) Takeovers() uint64 { return t.takeovers }

// Live counts the keys that do not have their whole burst at the time now. It walks the table.
func (t *LocalGCRATable) Live(now int64) (keys int) {
	ticks := t.ticks(now)
	for i := range t.buckets {
		for _, w := range t.buckets[i] {
			if t.ahead(w, ticks) != 0 {
				keys++
			}
		}
	}
	return keys
}

func (t *LocalGCRATable) bucket(hash uint64) *[bucketCells]uint64 {
	return &t.buckets[hash>>bucketShift&uint64(len(t.buckets)-1)]
}

// find returns the cell of print, or a cell that becomes its: with the TAT ticks.
func (t *LocalGCRATable) find(b *[bucketCells]uint64, hash, print, ticks uint64) *uint64 {
	best, least := 0, ^uint64(0)
	for i := range uint64(bucketCells) {
		at := (hash>>firstShift + i) % bucketCells
		if b[at]>>printShift == print {
			return &b[at]
		}
		if d := t.ahead(b[at], ticks); d < least {
			best, least = int(at), d
		}
	}
	if least > 0 {
		t.takeovers++
	}
	b[best] = t.after(print, ticks, 0)
	t.check(b)
	return &b[best]
}

// SharedGCRATable is LocalGCRATable for many goroutines. Safe for any goroutine. An event of a key that has a cell
// costs one compare-and-swap, a refused one writes nothing; a key that comes new takes a lock of its part of the table.
//
// A cell changes by compare-and-swap of the whole word only, fingerprint and TAT at once, so a taker never moves the
// TAT of a key that has meanwhile taken the cell over. A fingerprint enters a bucket under the bucket's lock and
// after a search under it, so no key has two cells, and with them twice the rate.
type SharedGCRATable struct {
	buckets   []sharedBucket
	mu        []stripe
	takeovers atomic.Uint64
	tickPace
}

type sharedBucket [bucketCells]atomic.Uint64

// stripe is a lock on a cache line of its own.
type stripe struct {
	sync.Mutex
	_ [56]byte
}

// NewSharedGCRATable is NewLocalGCRATable for many goroutines.
func NewSharedGCRATable(q Quota, keys int) *SharedGCRATable {
	return &SharedGCRATable{
		buckets: make([]sharedBucket, bucketCount(keys)), mu: make([]stripe, stripes), tickPace: newTickPace(q),
	}
}

// Take is Take of LocalGCRATable. Goroutines may pass times that differ by up to a second: then the bound holds for the
// latest of them.
func (t *SharedGCRATable) Take(hash uint64, now, n int64) (ok bool, retryAfter time.Duration) {
	if uint64(n-1) >= t.burst {
		return n == 0, never(n)
	}
	d, ok := t.take(hash, now, n)
	if !ok {
		return false, t.wait(d)
	}
	return true, 0
}

// Reserve is Take for events that are held back until they come evenly: an event that is admitted has to wait so long,
// for no longer than a burst less one event takes. Where it is refused, wait is retryAfter.
func (t *SharedGCRATable) Reserve(hash uint64, now, n int64) (ok bool, wait time.Duration) {
	if uint64(n-1) >= t.burst {
		return n == 0, never(n)
	}
	d, ok := t.take(hash, now, n)
	if !ok {
		return false, t.wait(d)
	}
	return true, time.Duration((d - uint64(n)*t.interval) << t.shift)
}

// take moves the TAT of the key by n events unless it would then lie after the burst. d is how far after now it lies,
// or would lie.
func (t *SharedGCRATable) take(hash uint64, now, n int64) (d uint64, ok bool) {
	print, ticks := fingerprint(hash), t.ticks(now)
	b := t.bucket(hash)
	cell := &b[hash>>firstShift%bucketCells]
	w := cell.Load()
	for {
		if w>>printShift != print {
			cell, w = t.find(b, hash, print, ticks)
		}
		d = t.ahead(w, ticks) + uint64(n)*t.interval
		if d > t.span {
			return d, false
		}
		if cell.CompareAndSwap(w, t.after(print, ticks, d)) {
			return d, true
		}
		w = cell.Load()
	}
}

// State returns what is left of the key's quota at the time now. Other goroutines may take it at the same moment.
func (t *SharedGCRATable) State(hash uint64, now int64) State {
	ticks := t.ticks(now)
	if cell, w := t.bucket(hash).search(hash, fingerprint(hash)); cell != nil {
		return t.state(w, ticks)
	}
	return t.state(ticks, ticks)
}

// Takeovers returns how many live cells were given to other keys.
func (t *SharedGCRATable) Takeovers() uint64 { return t.takeovers.Load() }

// Live counts the keys that do not have their whole burst at the time now. It walks the table.
func (t *SharedGCRATable) Live(now int64) (keys int) {
	ticks := t.ticks(now)
	for i := range t.buckets {
		for j := range t.buckets[i] {
			if t.ahead(t.buckets[i][j].Load(), ticks) != 0 {
				keys++
			}
		}
	}
	return keys
}

func (t *SharedGCRATable) bucket(hash uint64) *sharedBucket {
	return &t.buckets[hash>>bucketShift&uint64(len(t.buckets)-1)]
}

// search returns the cell of print and what it held, or nil.
func (b *sharedBucket) search(hash, print uint64) (*atomic.Uint64, uint64) {
	for i := range uint64(bucketCells) {
		cell := &b[(hash>>firstShift+i)%bucketCells]
		if w := cell.Load(); w>>printShift == print {
			return cell, w
		}
	}
	return nil, 0
}

// find returns the cell of print and what it held, or a cell that becomes its: with the TAT ticks.
func (t *SharedGCRATable) find(b *sharedBucket, hash, print, ticks uint64) (*atomic.Uint64, uint64) {
	if cell, w := b.search(hash, print); cell != nil {
		return cell, w
	}
	mu := &t.mu[hash>>bucketShift&uint64(len(t.buckets)-1)%stripes]
	mu.Lock()
	cell, w := t.claim(b, hash, print, ticks)
	mu.Unlock()
	return cell, w
}

// claim is find under the lock of the bucket.
func (t *SharedGCRATable) claim(b *sharedBucket, hash, print, ticks uint64) (*atomic.Uint64, uint64) {
	for {
		var cell *atomic.Uint64
		var was uint64
		least := ^uint64(0)
		for i := range uint64(bucketCells) {
			c := &b[(hash>>firstShift+i)%bucketCells]
			w := c.Load()
			if w>>printShift == print {
				return c, w // another goroutine was first
			}
			if d := t.ahead(w, ticks); d < least {
				cell, was, least = c, w, d
			}
		}
		becomes := t.after(print, ticks, 0)
		if !cell.CompareAndSwap(was, becomes) {
			continue // its key had an event meanwhile
		}
		if least > 0 {
			t.takeovers.Add(1)
		}
		t.check(b)
		return cell, becomes
	}
}
