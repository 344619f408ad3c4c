package bytelog

import (
	"math/bits"
	"sync/atomic"
)

const usesMax = 3 // the hits that a location counts

// A location is one word of an index: where the entry of a hash is, and how often it was hit since the log came
// to it.
//
//	63…48 tag of the hash │ 47…46 uses │ 45…32 lap │ 31…0 position in the memory of the shard / 8
//
// The lap says how often the log had come round when the record was written, from 1 on: what a reader has found
// unchanged was not written anew meanwhile, unless it read while a log came round 16383 times.
type location uint64

const (
	tagShift  = 48
	usesShift = 46
	lapShift  = 32
	lapMax    = 1<<(usesShift-lapShift) - 1
	placeMask = 1<<usesShift - 1
	oneUse    = 1 << usesShift
)

// locationOf is the location of a hash whose entry is at a place, without uses. A place of 0 says that the entry is
// being moved.
func locationOf(hash uint64, place location) location {
	return location(hash)>>tagShift<<tagShift | place
}

func (l location) uses() int        { return int(l >> usesShift & usesMax) }
func (l location) place() location  { return l & placeMask }
func (l location) position() uint64 { return uint64(uint32(l)) << 3 }

// line is a cache line of an index: one word of tags and seven locations.
//
//	word 0: 63…56 how many entries of this line are in the other one │ 55…48 tag of word 7 │ … │ 7…0 tag of word 1
//
// A tag tells which locations to look at, in a few steps for all seven; it may be wrong, the location is not. An empty
// location is 0. Written under the shard's mutex, but for the uses; read by any goroutine.
type line [8]atomic.Uint64

const (
	elsewhereShift = 56
	lowBits        = 0x0001_0101_0101_0101
	highBits       = 0x0080_8080_8080_8080
)

// candidates returns the highest bit of each byte whose tag may be the tag of the hash.
func candidates(tags, hash uint64) uint64 {
	x := tags ^ hash>>40&0xff*lowBits
	return (x - lowBits) &^ x & highBits
}

// wordOf is the number of the location of the lowest candidate. The mask is for the compiler.
func wordOf(candidates uint64) int { return (bits.TrailingZeros64(candidates)>>3 + 1) & 7 }

// slot is a place for a location. The zero value is none.
type slot struct {
	words *line
	word  int
}

func (s slot) load() location   { return location(s.words[s.word].Load()) }
func (s slot) store(l location) { s.words[s.word].Store(uint64(l)) }

// index finds locations by hash. A hash has a pair of lines, and goes into its own first.
type index struct{ lines []line }

// indexLoad is how many of the 14 locations of a pair are in use on average when the index grows, in tenths. One entry
// in 180 finds its pair full then.
const indexLoad = 84

func newIndex(entries int) *index {
	return &index{lines: make([]line, 2*max(1, (entries*10+indexLoad-1)/indexLoad))}
}

// room is how many entries fit until the index should grow.
func (x *index) room() int { return len(x.lines) / 2 * indexLoad / 10 }

// home is the line of a hash; the other one of the pair is home^1.
func (x *index) home(hash uint64) uint64 { return uint64(uint32(hash)) * uint64(len(x.lines)) >> 32 }

// find is the slot of a hash with a location for which is says yes. The caller holds the mutex, as for all that
// follows.
func (x *index) find(hash uint64, is func(location) bool) slot {
	home := x.home(hash)
	for other := range uint64(2) {
		words := &x.lines[home^other]
		for m := candidates(words[0].Load(), hash); m != 0; m &= m - 1 {
			at := slot{words, wordOf(m)}
			if l := at.load(); l != 0 && (uint64(l)^hash)>>tagShift == 0 && is(l) {
				return at
			}
		}
	}
	return slot{}
}

// free is a slot for another location of a hash: an empty one, or the one with the fewest uses.
func (x *index) free(hash uint64) (worst slot) {
	home, least := x.home(hash), usesMax+1
	for other := range uint64(2) {
		words := &x.lines[home^other]
		for word := 1; word < len(words); word++ {
			l := location(words[word].Load())
			if l == 0 {
				return slot{words, word}
			}
			if uses := l.uses(); uses < least {
				least, worst = uses, slot{words, word}
			}
		}
	}
	return worst
}

// add puts a location of a hash into an empty slot. The location is the last thing that is written, as it is the first
// that remove takes away: what one reader has found is found by all that begin later.
func (x *index) add(at slot, hash uint64, l location) {
	if own := &x.lines[x.home(hash)]; own != at.words {
		own[0].Add(1 << elsewhereShift)
	}
	shift := uint(at.word-1) * 8
	tags := at.words[0].Load()
	at.words[0].Store(tags&^(0xff<<shift) | hash>>40&0xff<<shift)
	at.store(l)
}

// remove empties a slot with a location of a hash.
func (x *index) remove(at slot, hash uint64) {
	at.words[at.word].Swap(0)
	fence()
	if own := &x.lines[x.home(hash)]; own != at.words {
		own[0].Add(^uint64(1<<elsewhereShift - 1))
	}
}
