package bytelog

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/edge-proxy/edge/tinyufo/internal/sketch"
)

// The logs of a shard, and the parts that they have of its bytes.
const (
	inSmallLog = 0
	inMainLog  = 1

	smallLogShare = 10 // one part in so many

	ageCounts  = 10  // counts of the sketch for each entry, until all are halved
	warmEnough = 6   // estimate from which an entry may come in although it lost
	mercy      = 127 // one of 128 such entries does: nobody can keep main as it is by keeping it warm
)

// Shard is the part of a cache for some of the hashes. Init makes it ready. Safe for any goroutine.
type Shard struct {
	mu     sync.Mutex
	index  atomic.Pointer[index] // read by anyone; replaced under mu
	logs   [2]ring
	memory Memory // of both logs

	// Guarded by mu.
	sketch sketch.Sketch
	random uint64
	moving []byte
	counts Counts

	_ [64]byte
}

// KeyMax is the size of the largest key, in bytes.
const KeyMax = 1<<16 - 1

// Counts are the entries that a shard has, and how they came and went since Init.
type Counts struct {
	Live                             int
	Insertions, Evictions, Deletions uint64
}

// indexFirst is how many entries an index has room for in the beginning.
const indexFirst = 256

// Init maps size bytes for the logs. The error is the kernel's. Nobody uses the shard yet.
func (s *Shard) Init(size int64) error {
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

// Memory is what Init has mapped. The shard is not used any more when that is unmapped.
func (s *Shard) Memory() Memory { return s.memory }

// Counts returns the counts.
func (s *Shard) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

func (s *Shard) useIndex(x *index) {
	s.index.Store(x)
	s.sketch.Extend(x.room() / 2) // half of what Cache has costs 0.2 points of hit ratio, and saves 5 bytes an entry
	s.sketch.Period = ageCounts * x.room()
}

// Get appends the value of key to dst. It takes no lock, unless the entry is moved while it is copied. The expiry
// is the one that Set was given: it is for the caller to look at.
func (s *Shard) Get(dst []byte, hash uint64, key []byte) (value []byte, expiry uint32, ok bool) {
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

// look is Get without a lock. An entry that was changed while it was read is reported as such.
func (s *Shard) look(dst []byte, hash uint64, key []byte) (value []byte, expiry uint32, found int) {
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
func (s *Shard) locate(hash uint64, key []byte) *atomic.Uint64 {
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

// Set makes value the value of key. A present key stays in its log and keeps its uses. Set reports whether the
// shard has taken the entry: it does not when the key is longer than KeyMax or the record larger than a quarter of
// the small log; then key has no value.
func (s *Shard) Set(hash uint64, key, value []byte, expiry uint32) bool {
	log, n := inSmallLog, recordSize(len(key), len(value))
	if len(key) > KeyMax || n > s.logs[inSmallLog].size/4 {
		s.Delete(hash, key)
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if word := s.locate(hash, key); word != nil {
		log = location(word.Load()).log()
	} else {
		s.sketch.Add(uint32(hash), 1)
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
	return true
}

// insert is the word for a key that is absent.
func (s *Shard) insert(hash uint64) *atomic.Uint64 {
	s.counts.Insertions++
	if s.counts.Live >= s.index.Load().room() {
		s.grow()
	}
	word := s.index.Load().free(hash)
	if word.Load() != 0 {
		s.counts.Evictions++
		s.counts.Live--
	}
	s.counts.Live++
	return word
}

// Delete removes key, and reports whether it was there.
func (s *Shard) Delete(hash uint64, key []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	word := s.locate(hash, key)
	if word == nil {
		return false
	}
	word.Store(0)
	s.counts.Live--
	s.counts.Deletions++
	return true
}

// makeRoom makes room for a record of n bytes in a log.
func (s *Shard) makeRoom(log int, n uint64) {
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
func (s *Shard) promote() {
	small, main := &s.logs[inSmallLog], &s.logs[inMainLog]
	offset, rec, _ := small.first()
	hash, n := rec.hash(), uint64(len(rec))
	word := s.index.Load().find(hash, locationOf(hash, 0, inSmallLog, offset))
	if word == nil { // deleted or replaced
		small.drop(rec)
		return
	}
	if !main.fits(n) {
		s.sketch.Add(uint32(hash), location(word.Load()).uses())
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

func (s *Shard) beats(hash, other uint32) bool {
	seen := s.sketch.Estimate(hash)
	if seen > s.sketch.Estimate(other) {
		return true
	}
	s.random ^= s.random << 13
	s.random ^= s.random >> 7
	s.random ^= s.random << 17
	return seen >= warmEnough && s.random&mercy == 0
}

// victim is the oldest entry of main that was not hit since it was copied, with its word. Those before it that
// were are copied to the beginning. It is nil when there is room for n bytes before there is one.
func (s *Shard) victim(n uint64) (offset uint64, rec record, word *atomic.Uint64) {
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
			s.sketch.Add(uint32(hash), 1)
			s.again(rec, word)
		}
	}
	return 0, nil, nil
}

// again copies the oldest record of main to main's beginning. Its own bytes are room enough, unless it does not fit
// before the end of the ring: then the next ones are dropped.
func (s *Shard) again(rec record, word *atomic.Uint64) {
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
func (s *Shard) evict(log int, rec record, word *atomic.Uint64) {
	word.Store(0)
	s.counts.Live--
	s.counts.Evictions++
	s.logs[log].drop(rec)
}

// grow gives the shard an index of twice the size. Readers go on with the old one, which is complete; hits that
// they count there are lost.
func (s *Shard) grow() {
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
				s.counts.Live--
				s.counts.Evictions++
			}
			word.Store(uint64(l))
		}
	}
	s.useIndex(x)
}

// eachStep is how many bytes of a log are copied under one hold of the mutex.
const eachStep = 32 << 10

// Each yields copies of the entries that have no expiry or a later one than now, a few under one hold of the
// mutex. It returns false when yield has.
func (s *Shard) Each(now uint32, yield func(k, v []byte) bool) bool {
	for log := range s.logs {
		if !s.eachOf(log, now, yield) {
			return false
		}
	}
	return true
}

// eachOf is Each for one log.
func (s *Shard) eachOf(log int, now uint32, yield func(k, v []byte) bool) bool {
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
