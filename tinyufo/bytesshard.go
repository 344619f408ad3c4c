package tinyufo

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// The logs of a shard, and the parts that they have of its bytes.
const (
	inSmallLog = 0
	inMainLog  = 1

	smallLogShare = 10 // one part in so many
)

// bytesShard is the part of a Bytes for some of the hashes.
type bytesShard struct {
	mu     sync.Mutex
	index  atomic.Pointer[index] // read by anyone; replaced under mu
	logs   [2]ring
	memory []byte // of both logs, mapped

	// Guarded by mu.
	live   int
	sketch sketch
	random uint64
	moving []byte
	counts Stats

	_ [64]byte
}

// indexFirst is how many entries an index has room for in the beginning.
const indexFirst = 256

func (s *bytesShard) init(size int64) error {
	size &^= 7
	memory, err := mapMemory(int(size))
	if err != nil {
		return fmt.Errorf("tinyufo: %d bytes of memory for a cache of bytes: %w", size, err)
	}
	s.memory = memory
	small := size / smallLogShare &^ 7
	s.logs[inSmallLog].init(memory[:small:small])
	s.logs[inMainLog].init(memory[small:])
	s.random = 1
	s.useIndex(newIndex(indexFirst))
	return nil
}

func (s *bytesShard) useIndex(x *index) {
	s.index.Store(x)
	s.sketch.extend(x.room() / 2) // half of what Cache has costs 0.2 points of hit ratio, and saves 5 bytes an entry
	s.sketch.period = ageFirst * x.room()
}

// get appends the value of key to dst.
func (s *bytesShard) get(dst []byte, hash uint64, key []byte) (value []byte, expiry uint32, ok bool) {
	if raceDetector {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	value, expiry, found := s.look(dst, hash, key)
	if found == readChanged {
		// The entry has left, or is on its way to another place: its writer knows.
		s.mu.Lock()
		value, expiry, found = s.look(dst, hash, key)
		s.mu.Unlock()
	}
	return value, expiry, found == readValue
}

// look is get without a lock. An entry that was changed while it was read is reported as such.
func (s *bytesShard) look(dst []byte, hash uint64, key []byte) (value []byte, expiry uint32, found int) {
	x := s.index.Load()
	home := x.home(hash)
	for line := range uint64(2) {
		words := &x.lines[home^line]
		for i := range words {
			l := location(words[i].Load())
			if !l.sameTag(hash) {
				continue
			}
			value, expiry, found = s.logs[l.log()].read(dst, l.offset(), key)
			switch found {
			case readValue:
				if l.uses() < usesMax {
					words[i].CompareAndSwap(uint64(l), uint64(l)+oneUse)
				}
				return value, expiry, found
			case readChanged:
				return dst, 0, found
			}
		}
	}
	return dst, 0, readOther
}

// locate is the word of key, or nil. The caller holds mu, as for all that follows.
func (s *bytesShard) locate(hash uint64, key []byte) *atomic.Uint64 {
	x := s.index.Load()
	home := x.home(hash)
	for line := range uint64(2) {
		words := &x.lines[home^line]
		for i := range words {
			l := location(words[i].Load())
			if l.sameTag(hash) {
				log := &s.logs[l.log()]
				if string(log.at(log.full(l.offset())).key()) == string(key) {
					return &words[i]
				}
			}
		}
	}
	return nil
}

// set makes value the value of key. A present key stays in its log and keeps its uses.
func (s *bytesShard) set(hash uint64, key, value []byte, expiry uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log, n := inSmallLog, recordSize(len(key), len(value))
	if word := s.locate(hash, key); word != nil {
		log = location(word.Load()).log()
	} else {
		s.sketch.add(uint32(hash), 1)
	}
	s.makeRoom(log, n)
	offset, rec := s.logs[log].extend(n)
	rec.put(hash, key, value, expiry)
	uses := 0
	word := s.locate(hash, key) // once more: room may have been made at its cost
	if word != nil {
		uses = location(word.Load()).uses()
	} else {
		word = s.insert(hash)
	}
	word.Store(uint64(locationOf(hash, uint64(uses), log, offset)))
	s.check()
}

// insert is the word for a key that is absent.
func (s *bytesShard) insert(hash uint64) *atomic.Uint64 {
	s.counts.Insertions++
	if s.live >= s.index.Load().room() {
		s.grow()
	}
	word := s.index.Load().free(hash)
	if word.Load() != 0 {
		s.counts.Evictions++
		s.live--
	}
	s.live++
	return word
}

func (s *bytesShard) delete(hash uint64, key []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	word := s.locate(hash, key)
	if word == nil {
		return false
	}
	word.Store(0)
	s.live--
	s.counts.Deletions++
	return true
}

// makeRoom makes room for a record of n bytes in a log.
func (s *bytesShard) makeRoom(log int, n uint64) {
	for !s.logs[log].fits(n) {
		if log == inSmallLog {
			s.promote()
		} else if _, rec, word := s.victim(n); word != nil {
			s.evict(inMainLog, rec, word)
		}
	}
}

// promote copies the oldest of the small log to main if there is room, or if it is worth more than each entry
// that it displaces, and drops it from the small log.
func (s *bytesShard) promote() {
	small, main := &s.logs[inSmallLog], &s.logs[inMainLog]
	offset, rec, _ := small.first()
	hash, n := rec.hash(), uint64(len(rec))
	word := s.index.Load().find(hash, locationOf(hash, 0, inSmallLog, offset))
	if word == nil { // deleted or replaced
		small.drop(rec)
		return
	}
	if !main.fits(n) {
		s.sketch.add(uint32(hash), location(word.Load()).uses())
		for !main.fits(n) {
			_, other, victim := s.victim(n)
			if victim == nil {
				continue
			}
			if !s.beats(uint32(hash), uint32(other.hash())) {
				s.evict(inSmallLog, rec, word)
				return
			}
			s.evict(inMainLog, other, victim)
		}
	}
	to, copied := main.extend(n)
	copy(copied, rec)
	word.Store(uint64(locationOf(hash, 0, inMainLog, to)))
	small.drop(rec)
}

func (s *bytesShard) beats(hash, other uint32) bool {
	seen := s.sketch.estimate(hash)
	if seen > s.sketch.estimate(other) {
		return true
	}
	s.random ^= s.random << 13
	s.random ^= s.random >> 7
	s.random ^= s.random << 17
	return seen >= warmEnough && s.random&mercy == 0
}

// victim is the oldest entry of main that was not hit since it was copied, with its word. Those before it that
// were are copied to the beginning. It is nil when there is room for n bytes before there is one.
func (s *bytesShard) victim(n uint64) (offset uint64, rec record, word *atomic.Uint64) {
	main := &s.logs[inMainLog]
	for !main.fits(n) {
		offset, rec, _ = main.first()
		hash := rec.hash()
		word = s.index.Load().find(hash, locationOf(hash, 0, inMainLog, offset))
		switch {
		case word == nil:
			main.drop(rec)
		case location(word.Load()).uses() == 0:
			return offset, rec, word
		default:
			s.sketch.add(uint32(hash), 1)
			s.again(rec, word)
		}
	}
	return 0, nil, nil
}

// again copies the oldest record of main to main's beginning. Its own bytes are room enough, unless it does not fit
// before the end of the ring: then the next ones are dropped.
func (s *bytesShard) again(rec record, word *atomic.Uint64) {
	main := &s.logs[inMainLog]
	s.moving = append(s.moving[:0], rec...)
	uses := location(word.Load()).uses()
	main.drop(rec)
	hash, n := record(s.moving).hash(), uint64(len(s.moving))
	for !main.fits(n) {
		offset, next, _ := main.first()
		nextHash := next.hash()
		if nextWord := s.index.Load().find(nextHash, locationOf(nextHash, 0, inMainLog, offset)); nextWord != nil {
			s.evict(inMainLog, next, nextWord)
		} else {
			main.drop(next)
		}
	}
	to, copied := main.extend(n)
	copy(copied, s.moving)
	word.Store(uint64(locationOf(hash, uint64(uses-1), inMainLog, to)))
}

// evict drops the oldest record of a log, whose entry is in the index.
func (s *bytesShard) evict(log int, rec record, word *atomic.Uint64) {
	word.Store(0)
	s.live--
	s.counts.Evictions++
	s.logs[log].drop(rec)
}

// grow gives the shard an index of twice the size. Readers go on with the old one, which is complete; hits that
// they count there are lost.
func (s *bytesShard) grow() {
	old := s.index.Load()
	x := &index{lines: make([][8]atomic.Uint64, 2*len(old.lines))}
	for i := range old.lines {
		for j := range old.lines[i] {
			l := location(old.lines[i][j].Load())
			if l == 0 {
				continue
			}
			log := &s.logs[l.log()]
			word := x.free(log.at(log.full(l.offset())).hash())
			if word.Load() != 0 {
				s.live--
				s.counts.Evictions++
			}
			word.Store(uint64(l))
		}
	}
	s.useIndex(x)
}

// eachStep is how many bytes of a log are copied under one hold of the mutex.
const eachStep = 32 << 10

// each yields copies of the entries of a log. It returns false when yield has.
func (s *bytesShard) each(log int, now uint32, yield func(k, v []byte) bool) bool {
	var found []record
	for at, more := uint64(0), true; more; {
		found = found[:0]
		s.mu.Lock()
		r := &s.logs[log]
		begin, _, ok := r.first()
		at = max(at, begin)
		for copied := 0; ok && at < r.head && copied < eachStep; at = r.after(at) {
			rec := r.at(at)
			hash := rec.hash()
			live := s.index.Load().find(hash, locationOf(hash, 0, log, at)) != nil
			if live && (rec.expiry() == 0 || rec.expiry() > now) {
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
