package bytelog

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/edge-proxy/edge/tinyufo/internal/sketch"
)

const (
	inSmallLog = 0
	inMainLog  = 1

	smallLogShare = 10 // one part in so many of a shard's bytes
	smallLogLeast = 4  // so many records fit into the small log at least; larger ones go to main or nowhere
	mainLogLeast  = 8  // the same of main

	ageCounts  = 10  // counts of the sketch for each entry, until all are halved
	warmEnough = 6   // estimate from which an entry may come in although it lost
	mercy      = 127 // one of 128 such entries does: no user can keep main as it is by keeping it warm
)

// shard is the part of a cache for some of the hashes. init makes it ready.
type shard struct {
	// Read by any goroutine, and written by init but for the index.
	index  atomic.Pointer[index] // replaced under mu
	base   unsafe.Pointer        // of memory. SAFETY: it refers to what memory refers to
	size   uint64                // of memory
	memory []byte                // of both logs
	hasher *hasher

	_ [8]byte // what writers write is in other cache lines

	mu sync.Mutex
	// Guarded by mu.
	logs   [2]ring
	sketch sketch.Sketch
	random uint64
	moving []byte // a copy of the record that again moves
	counts Counts

	_ [64]byte
}

const (
	// KeyMax is the size of the largest key, in bytes.
	KeyMax = 1<<16 - 1

	// ShardMax is the size of the largest shard: positions have 32 bits, in steps of 8 bytes.
	ShardMax = 1 << 35
)

// indexFirst is how many entries an index has room for in the beginning.
const indexFirst = 256

// init gives the shard memory for its logs, a multiple of 8 bytes.
func (s *shard) init(memory []byte, hasher *hasher) {
	// SAFETY: Shards.Get goes to positions below size only.
	s.base, s.size = unsafe.Pointer(unsafe.SliceData(memory)), uint64(len(memory))
	s.memory, s.hasher, s.random = memory, hasher, rand.Uint64()|1
	size := uint64(len(memory))
	small := size / smallLogShare &^ 7
	s.logs[inSmallLog].init(memory, 0, small)
	s.logs[inMainLog].init(memory, small, size)
	s.useIndex(newIndex(indexFirst))
}

func (s *shard) useIndex(x *index) {
	s.index.Store(x)
	s.sketch.Extend(x.room() / 3) // a third of what Cache has: 3 to 7 bytes for each entry
	s.sketch.Period = ageCounts * x.room()
}

// all are the counts and the memory.
func (s *shard) all() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	c.Bytes = int64(len(s.memory)) + 64*int64(len(s.index.Load().lines)) + s.sketch.Bytes() + int64(cap(s.moving))
	return c
}

// at is the record at a location. The caller holds mu, as for all that follows.
func (s *shard) at(l location) record {
	rec := record(s.memory[l.position():])
	return rec[:rec.header().size()]
}

func (s *shard) logOf(l location) int {
	if l.position() < s.logs[inMainLog].start {
		return inSmallLog
	}
	return inMainLog
}

// locate is the slot of key, or none.
func (s *shard) locate(hash uint64, key []byte) slot {
	return s.index.Load().find(hash, func(l location) bool { return string(s.at(l).key()) == string(key) })
}

// slotOf is the slot of the record of a hash at a place, or none when the record was replaced or deleted.
func (s *shard) slotOf(hash uint64, place location) slot {
	return s.index.Load().find(hash, func(l location) bool { return l.place() == place })
}

func (s *shard) set(
	hash uint64, key, value []byte, expiry uint32, replaces func(value, old []byte) bool,
) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.check()
	at := slot{}
	if len(key) <= KeyMax {
		at = s.locate(hash, key)
	}
	if at.words != nil && replaces != nil && !replaces(value, s.at(at.load()).value()) {
		s.counts.Refusals++
		return false
	}
	log := inSmallLog
	if at.words != nil {
		log = s.logOf(at.load())
	}
	main := &s.logs[inMainLog]
	if len(key) > KeyMax || uint64(len(value)) > main.size {
		return s.refuse(at, hash)
	}
	h := headerOf(len(key), len(value), expiry)
	n := h.size()
	if n > main.size/mainLogLeast {
		return s.refuse(at, hash)
	}
	if at.words == nil || log == inSmallLog && n > s.logs[inSmallLog].size/smallLogLeast {
		s.sketch.Add(uint32(hash), 1)
	}
	switch {
	case log == inMainLog || n <= s.logs[inSmallLog].size/smallLogLeast:
		s.makeRoom(log, n)
	case s.winRoom(uint32(hash), n):
		log = inMainLog
	default:
		return s.refuse(s.locate(hash, key), hash)
	}
	place, rec := s.logs[log].extend(n)
	rec.put(h, key, value, expiry)
	s.point(hash, key, place)
	return true
}

// point makes the index say that key is at a place. Its slot may have been emptied while room was made.
func (s *shard) point(hash uint64, key []byte, place location) {
	if at := s.locate(hash, key); at.words != nil {
		at.store(locationOf(hash, place) | at.load()&(usesMax<<usesShift))
		return
	}
	s.counts.Insertions++
	if s.counts.Live >= s.index.Load().room() {
		s.grow()
	}
	s.counts.Live++
	s.place(s.index.Load(), hash, locationOf(hash, place))
}

// place puts a location into an index. When the pair of lines is full, the entry with the fewest uses is forgotten.
func (s *shard) place(x *index, hash uint64, l location) {
	at := x.free(hash)
	if other := at.load(); other != 0 {
		x.remove(at, s.hasher.of(s.at(other).key()))
		s.counts.Evictions++
		s.counts.Live--
	}
	x.add(at, hash, l)
}

// refuse is set for what is not taken in.
func (s *shard) refuse(at slot, hash uint64) bool {
	s.counts.Refusals++
	if at.words != nil {
		s.forget(at, hash)
		s.counts.Deletions++
	}
	return false
}

// forget makes an entry absent. Its record is dropped when the log comes to it.
func (s *shard) forget(at slot, hash uint64) {
	s.index.Load().remove(at, hash)
	s.counts.Live--
}

func (s *shard) delete(hash uint64, key []byte) (expiry uint32, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.locate(hash, key)
	if at.words == nil {
		return 0, false
	}
	expiry = s.at(at.load()).expiry()
	s.forget(at, hash)
	s.counts.Deletions++
	return expiry, true
}

func (s *shard) makeRoom(log int, n uint64) {
	for !s.logs[log].fits(n) {
		if log == inSmallLog {
			s.promote()
		} else if v := s.victim(n); v.at.words != nil {
			s.evict(v)
		}
	}
}

// promote copies the oldest of the small log to main if there is room, or if it is worth more than each entry
// that it displaces, and drops it from the small log.
func (s *shard) promote() {
	v := s.oldest(inSmallLog)
	if v.at.words == nil {
		s.logs[inSmallLog].drop(v.rec)
		return
	}
	main, n := &s.logs[inMainLog], uint64(len(v.rec))
	if !main.fits(n) {
		s.sketch.Add(uint32(v.hash), v.at.load().uses())
		if !s.winRoom(uint32(v.hash), n) {
			s.evict(v)
			return
		}
	}
	place, copied := main.extend(n)
	copy(copied, v.rec)
	v.at.words[v.at.word].Swap(uint64(locationOf(v.hash, place)))
	fence()
	s.logs[inSmallLog].drop(v.rec)
}

// winRoom makes room for a record of n bytes in main as long as its hash was seen more often than what it displaces.
func (s *shard) winRoom(hash uint32, n uint64) bool {
	for !s.logs[inMainLog].fits(n) {
		v := s.victim(n)
		if v.at.words == nil {
			continue
		}
		if !s.beats(hash, uint32(v.hash)) {
			return false
		}
		s.evict(v)
	}
	return true
}

func (s *shard) beats(hash, other uint32) bool {
	seen := s.sketch.Estimate(hash)
	if seen > s.sketch.Estimate(other) {
		return true
	}
	s.random ^= s.random << 13
	s.random ^= s.random >> 7
	s.random ^= s.random << 17
	return seen >= warmEnough && s.random&mercy == 0
}

// aged is the oldest record of a log.
type aged struct {
	log  int
	rec  record
	hash uint64
	at   slot // none: deleted or replaced
}

// oldest is the oldest record of a log that is not empty.
func (s *shard) oldest(log int) aged {
	place, rec, _ := s.logs[log].first()
	hash := s.hasher.of(rec.key())
	return aged{log, rec, hash, s.slotOf(hash, place)}
}

// victim is the oldest entry of main that was not hit since it was copied. Those before it that were are copied to the
// beginning. It has no slot when there is room for n bytes before there is one.
func (s *shard) victim(n uint64) aged {
	for !s.logs[inMainLog].fits(n) {
		switch v := s.oldest(inMainLog); {
		case v.at.words == nil:
			s.logs[inMainLog].drop(v.rec)
		case v.at.load().uses() == 0:
			return v
		default:
			s.sketch.Add(uint32(v.hash), 1)
			s.again(v)
		}
	}
	return aged{}
}

// again copies the oldest record of main to main's beginning. Its own bytes are room enough, unless it does not fit
// before the end of the ring: then the next ones are dropped. Readers of it wait for the mutex until it is copied.
func (s *shard) again(v aged) {
	main := &s.logs[inMainLog]
	uses := v.at.load().uses() - 1
	v.at.words[v.at.word].Swap(uint64(locationOf(v.hash, 0)))
	fence()
	s.moving = append(s.moving[:0], v.rec...)
	main.drop(v.rec)
	n := uint64(len(s.moving))
	for !main.fits(n) {
		if next := s.oldest(inMainLog); next.at.words != nil {
			s.evict(next)
		} else {
			main.drop(next.rec)
		}
	}
	place, copied := main.extend(n)
	copy(copied, s.moving)
	v.at.store(locationOf(v.hash, place) | location(uses)<<usesShift)
}

// evict drops the oldest record of a log, whose entry is in the index.
func (s *shard) evict(v aged) {
	s.forget(v.at, v.hash)
	s.counts.Evictions++
	s.logs[v.log].drop(v.rec)
}

// grow gives the shard a larger index: twice as large at most, and less when the logs will be full before that many
// entries are there. Readers go on with the old one, which is complete; hits that they count there are lost.
func (s *shard) grow() {
	old := s.index.Load()
	room, used := float64(old.room()), 1.0
	for i := range s.logs {
		used += float64(s.logs[i].head - s.logs[i].tail)
	}
	expected := float64(s.counts.Live) * float64(len(s.memory)) / used * 33 / 32
	x := newIndex(int(min(max(expected, room*9/8), 2*room)) + 1)
	for i := range old.lines {
		for word := 1; word < len(line{}); word++ {
			if l := (slot{&old.lines[i], word}).load(); l != 0 {
				s.place(x, s.hasher.of(s.at(l).key()), l)
			}
		}
	}
	s.useIndex(x)
}

// eachStep is how many bytes of a log are copied under one hold of the mutex. It doubles with each hold that comes
// after what was in the log first: a log that grows as fast as it is read has an end, too.
const eachStep = 32 << 10

// yield is Shards.Each. It returns false when the function has.
func (s *shard) yield(now func() uint32, yield func(k, v []byte) bool) bool {
	for log := range s.logs {
		if !s.eachOf(&s.logs[log], now, yield) {
			return false
		}
	}
	return true
}

// eachOf is yield for one log.
func (s *shard) eachOf(r *ring, now func() uint32, yield func(k, v []byte) bool) bool {
	var found []record
	s.mu.Lock()
	end := r.head
	s.mu.Unlock()
	for at, step, more := uint64(0), eachStep, true; more; {
		found = found[:0]
		time := now() // not under the mutex: the caller's clock may use the cache
		s.mu.Lock()
		_, _, ok := r.first()
		at = max(at, r.tail)
		if at >= end {
			step *= 2
		}
		for copied := 0; ok && at < r.head && copied < step; at = r.after(at) {
			rec := r.at(at)
			live := s.slotOf(s.hasher.of(rec.key()), r.place(at)).words != nil
			if live && (rec.expiry() == 0 || rec.expiry() > time) {
				found = append(found, append(record(nil), rec...))
			}
			copied += len(rec)
		}
		more = ok && at < r.head
		s.mu.Unlock()
		for _, rec := range found {
			if !yield(rec.key(), rec.value()) {
				return false
			}
		}
	}
	return true
}
