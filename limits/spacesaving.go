package limits

import "fmt"

// SpaceSaving finds the keys with the most events, with a guarantee (Metwally, Agrawal & El Abbadi 2005): of n events
// counted in m counters,
//
//   - a key has had between Count - Over and Count events, and Over is n/m at most;
//   - a key that is not listed has had no more than Least, which is n/m at most.
//
// So each key with more than n/m events is in the list. It takes more time than TopK, and what a rare key passes for
// is n/m. Owned by one goroutine.
//
// Counters are in a heap with the least on top, which the next key without a counter takes over.
//
//	heap[c.place].counter is c, for each counter c
//	the count of a place <= the counts of its children
type SpaceSaving[K any] struct {
	heap     []place
	counters []counter
	keys     []K
	index    []uint32 // by hash, with linear probing: the number of a counter plus one
	events   uint64
	clone    func(K) K
}

type place struct {
	count   uint64
	counter uint32
}

type counter struct {
	hash  uint64
	over  uint64
	place uint32
}

// NewSpaceSaving returns a list of m counters, 2^24 at most, without keys. clone makes the copy of a key that is
// kept, where Add borrows it; nil keeps the key itself.
func NewSpaceSaving[K any](m int, clone func(K) K) *SpaceSaving[K] {
	if m < 1 || m > 1<<24 {
		panic(fmt.Sprintf("limits: %d counters", m))
	}
	return &SpaceSaving[K]{
		heap: make([]place, 0, m), counters: make([]counter, 0, m), keys: make([]K, 0, m),
		index: make([]uint32, 2*ceilPow2(m)), clone: clone,
	}
}

// Add counts n events of key, whose hash this is. Keys with the same 64-bit hash are taken for the same.
func (s *SpaceSaving[K]) Add(hash uint64, key K, n uint64) {
	s.events += n
	at := s.find(hash)
	if i := s.index[at]; i != 0 {
		p := s.counters[i-1].place
		s.heap[p].count += n
		s.sink(p)
		return
	}
	if s.clone != nil {
		key = s.clone(key)
	}
	if i := len(s.heap); i < cap(s.heap) {
		s.insert(at, hash, key, n, 0)
		return
	}
	top := &s.heap[0]
	c := &s.counters[top.counter]
	s.unindex(c.hash)
	c.hash, c.over = hash, top.count
	s.keys[top.counter] = key
	s.index[s.find(hash)] = top.counter + 1
	top.count += n
	s.sink(0)
	s.check()
}

// insert adds a counter, whose slot in the index is at.
func (s *SpaceSaving[K]) insert(at, hash uint64, key K, count, over uint64) {
	i := uint32(len(s.heap))
	s.heap = append(s.heap, place{})
	s.counters = append(s.counters, counter{hash: hash, over: over})
	s.keys = append(s.keys, key)
	s.index[at] = i + 1
	s.rise(i, place{count: count, counter: i})
	s.check()
}

// find returns where hash is in the index, or where it belongs.
func (s *SpaceSaving[K]) find(hash uint64) uint64 {
	mask := uint64(len(s.index) - 1)
	at := hash & mask
	for s.index[at] != 0 && s.counters[s.index[at]-1].hash != hash {
		at = (at + 1) & mask
	}
	return at
}

// unindex takes hash out of the index, and closes the gap: an entry after it that would be looked for at or before
// the gap moves into it.
func (s *SpaceSaving[K]) unindex(hash uint64) {
	mask := uint64(len(s.index) - 1)
	gap := s.find(hash)
	for at := (gap + 1) & mask; s.index[at] != 0; at = (at + 1) & mask {
		home := s.counters[s.index[at]-1].hash & mask
		if (at-home)&mask >= (at-gap)&mask {
			s.index[gap] = s.index[at]
			gap = at
		}
	}
	s.index[gap] = 0
}

// rise puts p where it belongs, from index i upwards.
func (s *SpaceSaving[K]) rise(i uint32, p place) {
	for i > 0 && s.heap[(i-1)/2].count > p.count {
		s.heap[i] = s.heap[(i-1)/2]
		s.counters[s.heap[i].counter].place = i
		i = (i - 1) / 2
	}
	s.heap[i] = p
	s.counters[p.counter].place = i
}

// sink moves index i downwards to where it belongs.
func (s *SpaceSaving[K]) sink(i uint32) {
	h, p := s.heap, s.heap[i]
	for {
		child := 2*i + 1
		if child >= uint32(len(h)) {
			break
		}
		if r := child + 1; r < uint32(len(h)) && h[r].count < h[child].count {
			child = r
		}
		if h[child].count >= p.count {
			break
		}
		h[i] = h[child]
		s.counters[h[i].counter].place = i
		i = child
	}
	h[i] = p
	s.counters[p.counter].place = i
}

// Top appends up to k keys with the most events to items, the most frequent first, and returns them.
func (s *SpaceSaving[K]) Top(items []Item[K], k int) []Item[K] {
	from := len(items)
	for _, p := range s.heap {
		items = append(items, Item[K]{Key: s.keys[p.counter], Count: p.count, Over: s.counters[p.counter].over})
	}
	return highest(items, from, max(k, 0))
}

// Least returns what a key that has no counter has had at most.
func (s *SpaceSaving[K]) Least() uint64 {
	if len(s.heap) < cap(s.heap) {
		return 0
	}
	return s.heap[0].count
}

// Events returns the number of all events.
func (s *SpaceSaving[K]) Events() uint64 { return s.events }

// Reset forgets all keys.
func (s *SpaceSaving[K]) Reset() {
	clear(s.index)
	clear(s.keys)
	s.heap, s.counters, s.keys, s.events = s.heap[:0], s.counters[:0], s.keys[:0], 0
}

// Snapshot copies s into to, which is made when it is nil or has another size, and returns it: see
// LocalEstimator.Snapshot. Keys are copied by assignment.
func (s *SpaceSaving[K]) Snapshot(to *SpaceSaving[K]) *SpaceSaving[K] {
	if to == nil || cap(to.heap) != cap(s.heap) {
		to = NewSpaceSaving(cap(s.heap), s.clone)
	}
	to.heap = append(to.heap[:0], s.heap...)
	to.counters = append(to.counters[:0], s.counters...)
	to.keys = append(to.keys[:0], s.keys...)
	copy(to.index, s.index)
	to.events, to.clone = s.events, s.clone
	return to
}

// Merge adds the events of from, whose hashes are of the same Hasher. The guarantee holds for all events together
// (Agarwal et al. 2012): a key that only one of both has counted may have had as many as Least of the other. It
// allocates, and panics when the numbers of counters differ.
func (s *SpaceSaving[K]) Merge(from *SpaceSaving[K]) {
	if cap(s.heap) != cap(from.heap) {
		panic(errMerge)
	}
	both := NewSpaceSaving[K](min(len(s.heap)+len(from.heap), 1<<24)+1, nil)
	both.join(s, from)
	both.join(from, s)
	events := s.events + from.events
	s.Reset()
	s.events = events
	for len(both.heap) > cap(s.heap) {
		both.pop()
	}
	for _, p := range both.heap {
		c := both.counters[p.counter]
		s.insert(s.find(c.hash), c.hash, both.keys[p.counter], p.count, c.over)
	}
}

// join inserts the keys of a that s does not have yet, with what b knows of them.
func (s *SpaceSaving[K]) join(a, b *SpaceSaving[K]) {
	for _, p := range a.heap {
		c := a.counters[p.counter]
		at := s.find(c.hash)
		if s.index[at] != 0 {
			continue
		}
		count, over := p.count+b.Least(), c.over+b.Least()
		if i := b.index[b.find(c.hash)]; i != 0 {
			theirs := b.counters[i-1]
			count, over = p.count+b.heap[theirs.place].count, c.over+theirs.over
		}
		s.insert(at, c.hash, a.keys[p.counter], count, over)
	}
}

// pop drops the least counter from the heap alone.
func (s *SpaceSaving[K]) pop() {
	last := len(s.heap) - 1
	p := s.heap[last]
	s.heap = s.heap[:last]
	if last > 0 {
		s.heap[0] = p
		s.sink(0)
	}
}
