package bytelog

import "sync/atomic"

const usesMax = 3 // the hits that a location counts

// A location is one word of an index: where the entry of a hash is, and how often it was hit since the log came
// to it.
//
//	63…48 tag of the hash │ 47…46 uses │ 45 log │ 44…0 offset in the log / 8
//
// Offsets grow for ever and begin at 8, so that no location is 0, an empty word. 2^48 bytes last for years of
// writing 1 GB/s into one shard; after them offsets would be taken for older ones, and what is read is checked
// in any case.
type location uint64

const (
	usesShift  = 46
	logShift   = 45
	offsetMask = 1<<logShift - 1
	oneUse     = 1 << usesShift
)

func locationOf(hash uint64, uses uint64, log int, offset uint64) location {
	return location(hash&^(1<<48-1) | uses<<usesShift | uint64(log)<<logShift | offset>>3&offsetMask)
}

func (l location) uses() int      { return int(l >> usesShift & usesMax) }
func (l location) log() int       { return int(l >> logShift & 1) }
func (l location) offset() uint64 { return uint64(l&offsetMask) << 3 }

// sameTag reports whether l may be of a hash.
func (l location) sameTag(hash uint64) bool { return l != 0 && (uint64(l)^hash)>>48 == 0 }

// samePlace reports whether both are of one entry at one place, whatever its uses.
func (l location) samePlace(other location) bool { return (l^other)&^(usesMax<<usesShift) == 0 }

// index finds locations by hash: pairs of cache lines of eight words each. A hash has one pair, and goes into the
// line of its own first. Written under the shard's mutex, but for the uses; read by anyone.
type index struct {
	lines [][8]atomic.Uint64
}

// indexLoad is the part of the words that is in use when the index doubles, in sixteenths: one pair in 100 is
// full then.
const indexLoad = 9

func newIndex(entries int) *index {
	n := (entries*16/indexLoad + 15) / 16 * 2
	return &index{lines: make([][8]atomic.Uint64, max(2, n))}
}

// room is how many entries fit until the index should double.
func (x *index) room() int { return len(x.lines) * 8 * indexLoad / 16 }

// home is the line of a hash; the other one of the pair is home^1.
func (x *index) home(hash uint64) uint64 { return uint64(uint32(hash)) * uint64(len(x.lines)) >> 32 }

// place is the word that is at a location.
func (x *index) find(hash uint64, at location) *atomic.Uint64 {
	home := x.home(hash)
	for line := range uint64(2) {
		words := &x.lines[home^line]
		for i := range words {
			if location(words[i].Load()).samePlace(at) {
				return &words[i]
			}
		}
	}
	return nil
}

// free is a word for another location of a hash: an empty one, or the one with the fewest uses, whose entry is
// forgotten.
func (x *index) free(hash uint64) *atomic.Uint64 {
	home := x.home(hash)
	var worst *atomic.Uint64
	least := usesMax + 1
	for line := range uint64(2) {
		words := &x.lines[home^line]
		for i := range words {
			l := location(words[i].Load())
			if l == 0 {
				return &words[i]
			}
			if uses := l.uses(); uses < least {
				least, worst = uses, &words[i]
			}
		}
	}
	return worst
}
