//go:build invariants

package tinyufo

import (
	"strconv"
	"strings"
	"testing"
)

// flatValue has its number in all its words: those that are read in one piece differ when they are of two values.
type flatValue [3]uint64

// flatPlay is a Flat in which actors act.
type flatPlay struct {
	history
	*testing.T
	c *Flat[uint64, flatValue]
}

// number is the number of a value that was found, 0 when none was.
func (p *flatPlay) number(key uint64, v flatValue, ok bool) uint64 {
	if !ok {
		v = flatValue{}
	}
	if v[0] != v[1] || v[1] != v[2] || ok && v[0]%100 != key {
		p.Errorf("%v for %d", v, key)
	}
	return v[0]
}

// do runs one operation, a word like "get 1", and adds it to the history.
func (p *flatPlay) do(line string) {
	name, arg, _ := strings.Cut(line, " ")
	key, err := strconv.ParseUint(arg, 10, 64)
	if err != nil {
		panic(line)
	}
	p.serial++
	n := p.serial*100 + key
	v := flatValue{n, n, n}
	e := event{key: key, name: name, began: p.tick()}
	switch name {
	case "get":
		got, ok := p.c.Get(key)
		e.got = p.number(key, got, ok)
	case "all":
		for k, v := range p.c.All() {
			p.number(k, v, true)
		}
		return
	case "purge":
		p.c.Purge()
		return
	case "delete":
		p.c.Delete(key)
	case "set":
		e.set = n
		p.c.Set(key, v)
	case "getOrSet":
		e.set = n
		if got, present := p.c.GetOrSet(key, v); present {
			e.got = p.number(key, got, true)
		}
	case "compute", "computeAway":
		op := Remove
		if name == "compute" {
			e.set, op = n, Store
		}
		p.c.Compute(key, func(old flatValue, ok bool) (flatValue, Op) { e.got = p.number(key, old, ok); return v, op })
	default:
		panic(line)
	}
	e.ended = p.tick()
	p.events = append(p.events, e)
}

// flatScenarios are the meetings of a reader with each writer, and of writers with each other.
var flatScenarios = map[string]struct {
	entries int
	before  string
	actors  []string
}{
	"a reader, where a key goes and another comes": {2, "set 1", []string{
		"get 1, get 2, get 1", "delete 1, set 2, set 1", "set 3, get 2"}},
	"a reader, where a value changes": {2, "set 1", []string{
		"get 1, get 1, get 1", "set 1, set 1", "compute 1, get 1"}},
	"a key that goes and comes back to its slot": {8, "set 1", []string{
		"delete 1, set 1, delete 1, set 1", "get 1, get 1, get 1, get 1", "get 1, get 1, get 1"}},
	"two slots change places": {8, "set 1, set 2", []string{
		"delete 1, delete 2, set 1, set 2", "get 1, get 2, get 1, get 2", "get 2, get 1, all 0"}},
	"two add one key":     {8, "", []string{"set 1, get 1", "getOrSet 1, get 1", "getOrSet 1, compute 1, get 1"}},
	"compute and compute": {8, "set 1", []string{"compute 1, computeAway 1", "compute 1, compute 1", "set 1, get 1"}},
	"hits against the hand": {2, "set 1, set 2", []string{
		"get 1, get 2, get 1", "get 1, get 2", "set 3, set 4, set 5"}},
	"purge against all": {8, "set 1, set 2, set 3", []string{
		"purge 0, set 4", "get 1, set 1, get 2", "all 0, get 3, delete 4"}},
}

func TestFlat_orders(t *testing.T) {
	for name, s := range flatScenarios {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(orders()) {
				p := &flatPlay{T: t, c: NewFlat[uint64, flatValue](FlatOptions{Entries: s.entries, Shards: 1})}
				p.c.hasher.seeds[0] = seed
				p.c.shards[0].random = seed | 1
				perform(seed, s.before, s.actors, p.do)
				p.checkOrder(t)
				p.c.audit(t)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// stepping calls during once, before step at of what f does with shared words, and reports whether f took so many.
func stepping(at int, f, during func()) (met bool) {
	n := 0
	step := func() {
		if n++; n == at {
			met = true
			beforeStep.Store(nil)
			during()
		}
	}
	beforeStep.Store(&step)
	f()
	beforeStep.Store(nil)
	return met
}

// crowded is a cache in which every bucket of newcomer is full, and the keys that are cached. The first of them
// moves to its other line when newcomer is set; before that, nothing has been placed after its bucket.
func crowded(t *testing.T) (c *Flat[uint64, flatValue], keys []uint64, newcomer uint64) {
	t.Helper()
	c = NewFlat[uint64, flatValue](FlatOptions{Entries: 400, Shards: 1})
	x := &c.index
	bucketOf := func(key uint64, depth int) *flatBucket { return x.after(uint32(c.hasher.of(key)), depth) }
	for bucketOf(newcomer, 0) == bucketOf(newcomer, 2) || bucketOf(newcomer, 1) == bucketOf(newcomer, 2) {
		newcomer++
	}
	full := make(map[*flatBucket]bool)
	for depth := range depthMax {
		full[bucketOf(newcomer, depth)] = true
	}
	for depth := range depthMax {
		for k, n := newcomer+1, 0; n < slotCount; k++ {
			if bucketOf(k, 0) != bucketOf(newcomer, depth) || full[bucketOf(k, 2)] {
				continue
			}
			c.Set(k, flatValue{k, k, k})
			keys = append(keys, k)
			n++
		}
	}
	if word := bucketOf(keys[0], 0).word.Load(); word>>passedShift != 0 || c.Len() != len(keys) {
		t.Fatalf("%d entries, the first bucket is %x", c.Len(), word)
	}
	return c, keys, newcomer
}

// An entry that moves while a reader looks for it is found, at whichever of its steps the reader is overtaken.
func TestFlat_findsWhatMovesMeanwhile(t *testing.T) {
	for name, get := range map[string]func(c *Flat[uint64, flatValue], key uint64) (flatValue, bool){
		"Get":  (*Flat[uint64, flatValue]).Get,
		"Peek": (*Flat[uint64, flatValue]).Peek,
	} {
		for at, met := 1, true; met; at++ {
			c, keys, newcomer := crowded(t)
			key := keys[0]
			before := c.shards[0].at[nodeOf(c, key)].depth()
			met = stepping(at, func() {
				if v, ok := get(c, key); !ok || v[0] != key {
					t.Errorf("%s, overtaken at step %d: %v %v", name, at, v, ok)
				}
			}, func() { c.Set(newcomer, flatValue{newcomer}) })
			if met && c.shards[0].at[nodeOf(c, key)].depth() == before {
				t.Fatal("the entry has not moved")
			}
			c.audit(t)
		}
	}
}

// Readers find all entries at each step of a writer that moves one of them, or wait for the writer.
func TestFlat_findsWhatIsBeingMoved(t *testing.T) {
	for at, met := 1, true; met; at++ {
		c, keys, newcomer := crowded(t)
		met = stepping(at, func() { c.Set(newcomer, flatValue{newcomer}) }, func() {
			for _, key := range keys {
				var v flatValue
				if saw := c.look(&v, c.hasher.of(key), key, 0, false); saw != sawValue || v[0] != key {
					t.Errorf("step %d: %v for %d, saw %d", at, v, key, saw)
				}
			}
		})
		c.audit(t)
	}
}

// nodeOf is the node of a key that is cached.
func nodeOf(c *Flat[uint64, flatValue], key uint64) uint32 {
	i, _ := c.shards[0].locate(c.hasher.of(key), key)
	return i
}
