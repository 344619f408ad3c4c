package bytelog

import (
	"math/rand/v2"
	"testing"
)

// An index with room for few is filled, emptied and filled again at random: what was added is found until it is
// removed.
func TestIndex_findsWhatWasAdded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	x := newIndex(100)
	there := make(map[uint64]location)
	for n := location(1); n < 20_000; n++ {
		hash := rng.Uint64N(400) * 0x9e37_79b9_7f4a_7c15
		here := func(l location) bool { return l.place() == there[hash].place() }
		at := x.find(hash, here)
		if _, ok := there[hash]; ok != (at.words != nil) {
			t.Fatalf("%x: added %v, found %v", hash, ok, at.words != nil)
		}
		if at.words != nil {
			x.remove(at, hash)
			delete(there, hash)
			continue
		}
		if at = x.free(hash); at.load() != 0 {
			for other, l := range there {
				if l == at.load() {
					x.remove(at, other)
					delete(there, other)
					break
				}
			}
		}
		there[hash] = locationOf(hash, n)
		x.add(at, hash, there[hash])
	}
	elsewhere := 0
	for i := range x.lines {
		elsewhere += int(x.lines[i][0].Load() >> elsewhereShift)
	}
	for hash, l := range there {
		at := x.find(hash, func(found location) bool { return found == l })
		if at.words == nil {
			t.Fatalf("%x is not found", hash)
		}
		if at.words != &x.lines[x.home(hash)] {
			elsewhere--
		}
		x.remove(at, hash)
	}
	if elsewhere != 0 {
		t.Errorf("%d entries too many are said to be in another line", elsewhere)
	}
}

// When a pair of lines is full, the location with the fewest uses gives way.
func TestIndex_freeTakesTheLeastUsed(t *testing.T) {
	x := newIndex(1)
	for n := range location(14) {
		uses := location(2)
		if n == 9 {
			uses = 1
		}
		hash := uint64(n) << tagShift
		x.add(x.free(hash), hash, locationOf(hash, n+1)|uses<<usesShift)
	}
	if l := x.free(0).load(); l.place() != 10 {
		t.Errorf("location %d gives way", l.place())
	}
}

// Keys that differ in little, or in their length alone, are spread over lines, tags and shards.
func TestHasher_spreads(t *testing.T) {
	h := newHasher()
	lines, tags, shards := make([]int, 256), make([]int, 256), make([]int, 256)
	const keys = 256 * 100
	for i := range keys {
		key := order.AppendUint64(make([]byte, 0, 17), uint64(i))
		hash := h.of(append(key, make([]byte, i%10)...))
		lines[uint32(hash)>>24]++
		tags[hash>>tagShift&0xff]++
		shards[hash>>32&0xff]++
	}
	for name, counts := range map[string][]int{"lines": lines, "tags": tags, "shards": shards} {
		square := 0.0
		for _, n := range counts {
			square += float64(n-100) * float64(n-100) / 100
		}
		if square > 255+8*22.6 { // eight standard deviations of chi-square with 255 degrees of freedom
			t.Errorf("%s: chi-square %.0f", name, square)
		}
	}
	seen := make(map[uint64]int)
	for n := range 40 {
		hash := h.of(make([]byte, n))
		if other, ok := seen[hash]; ok {
			t.Errorf("keys of %d and %d zeros have one hash", other, n)
		}
		seen[hash] = n
	}
}

// A location tells the lap, so that a record at the place of an old one is not taken for it.
func TestRing_placesOfTwoLapsDiffer(t *testing.T) {
	var r ring
	r.init(make([]byte, 1024), 128, 1024)
	seen := make(map[location]uint64)
	for offset := uint64(0); offset < 100*r.size; offset += 8 {
		place := r.place(offset)
		if place.position() != 128+offset%r.size || place != place.place() {
			t.Fatalf("%x for %d", place, offset)
		}
		if other, ok := seen[place]; ok {
			t.Fatalf("%d and %d are at one place", other, offset)
		}
		seen[place] = offset
	}
}

// What a shard lets in by chance is not the same in each process.
func TestShard_drawsAreItsOwn(t *testing.T) {
	var a, b shard
	h := newHasher()
	a.init(make([]byte, 1<<12), &h)
	b.init(make([]byte, 1<<12), &h)
	if a.random == b.random {
		t.Errorf("two shards begin with %d", a.random)
	}
}
