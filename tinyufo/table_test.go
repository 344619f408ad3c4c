package tinyufo

import (
	"math/rand/v2"
	"testing"
)

// A use that is counted after its entry was removed stands in a lane without a tag.
func TestTable_movesAChainWithALateUse(t *testing.T) {
	c := New(Options[int, int]{Entries: 8, Shards: 1})
	c.Set(1, 1)
	b, lane, _ := c.table.Load().lookup(uint32(c.hasher.of(1)), 1)
	c.Delete(1)
	b.use(b.word.Load(), lane)
	c.Resize(1000)
	c.Set(1, 2)
	if v, _ := c.Get(1); v != 2 {
		t.Errorf("%d", v)
	}
	c.audit(t)
}

// keysOf returns n keys whose hashes suit.
func keysOf(c *Cache[int, int], n int, suits func(hash uint32) bool) (keys []int) {
	for k := 0; len(keys) < n; k++ {
		if suits(uint32(c.hasher.of(k))) {
			keys = append(keys, k)
		}
	}
	return keys
}

// Tags of 0 do not exist: the first and the last one are shared, or not, with others.
func TestTable_tagsAtTheEnds(t *testing.T) {
	for _, bits := range []uint32{0, 1, 2, 254, 255} {
		c := New(Options[int, int]{Entries: 100, Shards: 1})
		keys := keysOf(c, 20, func(hash uint32) bool { return hash&255 == bits })
		for i, k := range keys {
			c.Set(k, i)
			if v, ok := c.Get(k); v != i || !ok {
				t.Errorf("%d with tag bits %d: %d %v", k, bits, v, ok)
			}
		}
		c.audit(t)
		for _, k := range keys {
			if !c.Delete(k) {
				t.Errorf("%d with tag bits %d was lost", k, bits)
			}
		}
		c.audit(t)
	}
}

// What match finds is all that is there, and its lowest lane is right, whatever the word has above its lanes.
func TestMatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		word, tag := rng.Uint64(), rng.Uint64N(256)
		for lane := uint(0); lane < 8*slotCount; lane += 8 {
			if rng.Uint64N(3) == 0 { // the tag, or what is next to it
				word = word&^(0xff<<lane) | ((tag+rng.Uint64N(3)-1)&0xff)<<lane
			}
		}
		found := match(word, tag*lanes)
		first := true
		for lane := uint(0); lane < 8*slotCount; lane += 8 {
			is, was := word>>lane&0xff == tag, found>>(lane+7)&1 != 0
			if is && !was || first && is != was {
				t.Fatalf("tag %x in %x: found %x", tag, word, found)
			}
			first = first && !is
		}
		if found&^tagFound != 0 {
			t.Fatalf("tag %x in %x: found %x beside the lanes", tag, word, found)
		}
	}
}

// The table takes 24 entries of one chain. What is more is evicted at once, and said to be.
func TestTable_aChainThatIsFull(t *testing.T) {
	evicted := make(map[int]Cause)
	c := New(Options[int, int]{Entries: 100, Shards: 1, OnEvict: func(k, _ int, cause Cause) { evicted[k] = cause }})
	table := c.table.Load()
	keys := keysOf(c, 30, func(hash uint32) bool { return table.home(hash) == table.bucket(0) })
	for i, k := range keys {
		c.Set(k, i)
	}
	for i, k := range keys {
		v, ok := c.Get(k)
		if inTable := i < depthMax*slotCount; ok != inTable || ok && v != i || (evicted[k] == Evicted) == inTable {
			t.Errorf("key %d of the chain: %d %v %v", i, v, ok, evicted[k])
		}
	}
	c.audit(t)
	c.Delete(keys[3])
	c.Set(keys[29], 29)
	c.Resize(400) // moves the chain
	for i, k := range keys[:24] {
		if v, ok := c.Get(k); ok != (i != 3) || ok && v != i {
			t.Errorf("after growth, key %d of the chain: %d %v", i, v, ok)
		}
	}
	if v, ok := c.Get(keys[29]); v != 29 || !ok {
		t.Error("the place of a deleted key was not used")
	}
	c.audit(t)
	if s := c.Stats(); s.Insertions != 31 || s.Evictions != 6 {
		t.Errorf("%+v", s)
	}
}

func TestTable_ofOneBucket(t *testing.T) {
	for entries := range 6 {
		c := New(Options[int, int]{Entries: entries + 1, Shards: 1})
		for i := range 100 {
			c.Set(i, i)
			if v, ok := c.Get(i); ok && v != i {
				t.Errorf("%d for %d", v, i)
			}
		}
		c.audit(t)
	}
}
