package bytelog

import (
	"fmt"
	"hash/maphash"
	"runtime"
	"unsafe"
)

// Shards are a cache in parts. Open makes them ready. Its memory is given back when nothing refers to it any more.
// Safe for any goroutine.
type Shards struct {
	hasher hasher
	mask   uint64
	each   []shard
}

// Open gets memory for n shards of size bytes together. n is a power of two.
func (s *Shards) Open(size int64, n int) error {
	each := int(size/int64(n)) &^ 7
	memory, err := mapMemory(n * each)
	if err != nil {
		return fmt.Errorf("%d bytes of memory for a cache of bytes: %w", n*each, err)
	}
	s.hasher, s.mask, s.each = newHasher(), uint64(n-1), make([]shard, n)
	hasher := s.hasher // a copy: if shards, and their indexes, referred to s, it would never be cleaned up
	for i := range s.each {
		s.each[i].init(memory[i*each:][:each:each], &hasher)
	}
	runtime.AddCleanup(s, unmapMemory, memory)
	return nil
}

func (s *Shards) of(hash uint64) *shard { return &s.each[hash>>32&s.mask] }

// Get appends the value of key to dst. It takes no lock, unless the entry is moved while it is copied. The expiry is
// the expiry that Set was given: it is for the caller to look at.
//
// The steps that make it right, with the steps of a writer:
//
//	reader                              writer, under the mutex
//	1 loads the location                a changes the location
//	2 copies bytes of the record        b writes over its bytes
//	3 loads the location once more
//
// A copy with bytes of b was made after b, so 3 comes after a and finds another location: one with another position or
// lap, 0, or a location that is being moved. When the index has grown meanwhile, its old words do not change any more:
// so the index has to be the same, too. A copy of which that is not certain is thrown away.
//
// Get itself is the way of nearly all hits, for the first candidate of the hash's own line; look is the way of all
// calls. The fewer instructions the way has, the more look-ups a processor begins while it waits for the memory of one.
func (s *Shards) Get(dst, key []byte) (value []byte, expiry uint32, ok bool) {
	var hash uint64
	if n := uint64(len(key)); n-shortMin <= shortMax-shortMin {
		// SAFETY: key has n bytes.
		first, last := twoWords(unsafe.Pointer(unsafe.SliceData(key)), n)
		hash = s.hasher.short(first, last, n)
	} else {
		hash = maphash.Bytes(s.hasher.seed, key)
	}
	p := s.of(hash)
	x := p.index.Load()
	words := &x.lines[x.home(hash)]
	word := &words[wordOf(candidates(words[0].Load(), hash))]
	l := location(word.Load())
	if raceDetector || (uint64(l)^hash)>>tagShift != 0 {
		value, expiry, ok = p.look(dst, hash, key)
		runtime.KeepAlive(s)
		return value, expiry, ok
	}
	// SAFETY: positions are of records in the memory, of which at least 8 bytes are before its end.
	rec := unsafe.Add(p.base, l.position())
	h := header(*(*uint64)(rec))
	valueAt, size := h.valueAt(), h.valueSize()
	if l.position()+valueAt+size > p.size || !sameKey(unsafe.Add(rec, h.keyAt()), h.keySize(), key) {
		value, expiry, ok = p.look(dst, hash, key)
		runtime.KeepAlive(s)
		return value, expiry, ok
	}
	// SAFETY: the condition above has the bytes of key and value inside the memory, whatever a writer does.
	value = append(dst, unsafe.Slice((*byte)(unsafe.Add(rec, valueAt)), size)...)
	if h.keyAt() != headerSize {
		expiry = *(*uint32)(unsafe.Add(rec, headerSize))
	}
	fence()
	now := location(word.Load())
	if (now^l).place() != 0 || l.place() == 0 || p.index.Load() != x {
		value, expiry, ok = p.look(dst, hash, key)
		runtime.KeepAlive(s)
		return value, expiry, ok
	}
	if now.uses() < usesMax {
		word.CompareAndSwap(uint64(now), uint64(now)+oneUse)
	}
	runtime.KeepAlive(s) // the mapping lives as long as s
	return value, expiry, true
}

// sameKey reports whether the n bytes at a pointer are key. They are inside the memory of the shard.
func sameKey(at unsafe.Pointer, n uint64, key []byte) bool {
	if n != uint64(len(key)) {
		return false
	}
	if n-shortMin <= shortMax-shortMin {
		first, last := twoWords(at, n)
		wantFirst, wantLast := twoWords(unsafe.Pointer(unsafe.SliceData(key)), n)
		return first == wantFirst && last == wantLast
	}
	// SAFETY: see above.
	return unsafe.String((*byte)(at), n) == string(key)
}

// Set makes value the value of key. A present key stays in its log and keeps its uses. Set reports whether the
// shard has taken the entry; if not, key has no value. It refuses keys longer than KeyMax and records larger than an
// eighth of main. One larger than a quarter of the small log, and not in main yet, contests for main at once and is
// refused when it loses.
//
// Where key has a value, and replaces is not nil and reports false of it, nothing is changed.
func (s *Shards) Set(key, value []byte, expiry uint32, replaces func(value, old []byte) bool) bool {
	hash := s.hasher.of(key)
	taken := s.of(hash).set(hash, key, value, expiry, replaces)
	runtime.KeepAlive(s)
	return taken
}

// Delete removes key, and reports whether it was there and with which expiry.
func (s *Shards) Delete(key []byte) (expiry uint32, ok bool) {
	hash := s.hasher.of(key)
	expiry, ok = s.of(hash).delete(hash, key)
	runtime.KeepAlive(s)
	return expiry, ok
}

// Each yields copies of the entries that have no expiry or a later one than now says, a few under one hold of a mutex.
func (s *Shards) Each(now func() uint32, yield func(k, v []byte) bool) {
	for i := range s.each {
		if !s.each[i].yield(now, yield) {
			return
		}
	}
	runtime.KeepAlive(s)
}

// Drain is Each for entries that are taken out, with the hits that they count, 0 to usesMax. The copies are borrowed
// until yield returns. The memory in which the entries were is the kernel's again.
func (s *Shards) Drain(now func() uint32, yield func(k, v []byte, uses int) bool) {
	var d drained
	for i := range s.each {
		for log := inMainLog; log >= inSmallLog; log-- {
			if !s.each[i].drain(log, &d, now, yield) {
				return
			}
		}
	}
	runtime.KeepAlive(s)
}

// Counts are the entries of a cache, and how they came and went since Open.
type Counts struct {
	Live                                       int
	Insertions, Evictions, Deletions, Refusals uint64
	Bytes                                      int64 // of the logs, the indexes and the sketches
}

// Counts adds up the counts of all shards.
func (s *Shards) Counts() (sum Counts) {
	for i := range s.each {
		c := s.each[i].all()
		sum.Live += c.Live
		sum.Insertions += c.Insertions
		sum.Evictions += c.Evictions
		sum.Deletions += c.Deletions
		sum.Refusals += c.Refusals
		sum.Bytes += c.Bytes
	}
	return sum
}
