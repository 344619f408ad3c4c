package disk

import (
	"sync"
	"sync/atomic"
)

// place says where a record is: 28 bits for the number of its segment, 34 for its offset in units, 2 for how often it
// was asked for. 0: nowhere.
type place uint64

const (
	unit     = 64 // bytes: records begin at multiples of it
	usesMax  = 3
	usesBits = 2
	atBits   = 34
)

func placeOf(segment uint32, at int64) place {
	return place(segment)<<(atBits+usesBits) | place(at/unit)<<usesBits
}

func (p place) segment() uint32 { return uint32(p >> (atBits + usesBits)) }
func (p place) at() int64       { return int64(p>>usesBits) & (1<<atBits - 1) * unit }
func (p place) uses() int       { return int(p & usesMax) }

// same reports whether p and o are one place.
func (p place) same(o place) bool { return p>>usesBits == o>>usesBits }

const (
	indexShards = 256
	// A shard is at most 17/20 full, and grows by a quarter: it takes 24 bytes for a record at the most.
	fullNumerator, fullDenominator = 17, 20
	entryMax                       = 24
)

// index knows where the record under a hash is. Safe for any goroutine: each shard has a mutex, which is held for a few
// slots, or while the shard grows, for each of 256 apart.
type index struct {
	shards  [indexShards]indexShard
	entries atomic.Int64
}

// indexShard is a table with linear probing.
//
//	a slot is free ⇔ its place is 0; one at least is
type indexShard struct {
	mu    sync.Mutex
	used  int
	slots []slot

	_ [24]byte // the next shard's mutex is in another cache line
}

type slot struct {
	hash uint64
	at   place
}

// home is where the slot of a hash is, or the run of slots begins in which it is.
func (s *indexShard) home(hash uint64) int {
	return int(uint64(uint32(hash)) * uint64(len(s.slots)) >> 32)
}

func (s *indexShard) after(i int) int {
	if i++; i == len(s.slots) {
		return 0
	}
	return i
}

// find returns the slot of a hash, or the free one where it would be; nil: there are none.
func (s *indexShard) find(hash uint64) (i int, one *slot) {
	if len(s.slots) == 0 {
		return 0, nil
	}
	for i = s.home(hash); s.slots[i].at != 0 && s.slots[i].hash != hash; i = s.after(i) {
	}
	return i, &s.slots[i]
}

func (x *index) shard(hash uint64) *indexShard { return &x.shards[hash>>56] }

// get returns where the record under a hash is, and counts that it was asked for.
func (x *index) get(hash uint64) (place, bool) {
	s := x.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, one := s.find(hash)
	if one == nil || one.at == 0 {
		return 0, false
	}
	if one.at.uses() < usesMax {
		one.at++
	}
	return one.at, true
}

// put says where the record under a hash is. With older set, an entry that is there is newer.
func (x *index) put(hash uint64, at place, older bool) {
	s := x.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, one := s.find(hash)
	switch {
	case one != nil && one.at != 0:
		if !older {
			one.at = at
		}
		return
	case (s.used+1)*fullDenominator > len(s.slots)*fullNumerator:
		s.grow()
		_, one = s.find(hash)
	}
	*one = slot{hash, at}
	s.used++
	x.entries.Add(1)
}

func (s *indexShard) grow() {
	before := s.slots
	s.slots = make([]slot, max(len(before)/4*5, len(before)+16))
	for i := range before {
		if before[i].at != 0 {
			_, one := s.find(before[i].hash)
			*one = before[i]
		}
	}
}

// remove forgets the record under a hash where it is at a place; 0: wherever it is. It returns how often it was asked
// for, -1 where it was not there.
func (x *index) remove(hash uint64, at place) (uses int) {
	s := x.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	free, one := s.find(hash)
	if one == nil || one.at == 0 || at != 0 && !one.at.same(at) {
		return -1
	}
	uses = one.at.uses()
	for i := s.after(free); s.slots[i].at != 0; i = s.after(i) { // what a free slot would hide moves there
		n, home := len(s.slots), s.home(s.slots[i].hash)
		if (i-home+n)%n >= (i-free+n)%n {
			s.slots[free] = s.slots[i]
			free = i
		}
	}
	s.slots[free] = slot{}
	s.used--
	x.entries.Add(-1)
	return uses
}
