package hitratio

import (
	"math/bits"
	"math/rand/v2"
)

// wTinyLFU has a window, and a main space of a protected and a probation list that only what came more
// often than main's victim enters; a hill climber moves the bound between them by the hit rate. Einziger, Friedman and
// Manes, "TinyLFU", 2017, and "Adaptive software cache management", 2018, with the constants of Caffeine and otter.
type wTinyLFU struct {
	capacity     int
	windowMax    int
	protectedMax int
	index        index
	links        *links
	keys         []uint64
	place        []uint8
	sketch       sketch
	added        int // to the sketch since it was halved, the half of what was there included
	rng          *rand.Rand

	hits, misses int
	lastRate     float64
	step         float64
}

const (
	lfuWindow = iota
	lfuProbation
	lfuProtected
	lfuLists
)

const (
	climbStep    = 0.0625 // of the capacity
	climbDecay   = 0.98
	climbRestart = 0.05 // change of the hit rate that starts the climb again
	sampleFactor = 10   // times the capacity: requests between two steps, increments between two halvings
)

func newWTinyLFU(capacity int) Policy {
	window := max(1, capacity/100)
	slots := capacity + lfuLists + 2
	return &wTinyLFU{
		capacity: capacity, windowMax: window, protectedMax: (capacity - window) * 8 / 10,
		links: newLinks(lfuLists, capacity+1), keys: make([]uint64, slots), place: make([]uint8, slots),
		sketch: newSketch(1 << bits.Len(uint(max(capacity, 8)-1))), rng: rand.New(rand.NewPCG(1, 1)),
		step: -climbStep * float64(capacity),
	}
}

func (c *wTinyLFU) Access(key uint64) bool {
	c.count(key)
	slot, ok := c.index.slot(key)
	if ok {
		c.hits++
		list := c.place[slot]
		if list == lfuProbation {
			c.move(lfuProbation, lfuProtected, slot)
			if c.links.count[lfuProtected] > c.protectedMax {
				c.move(lfuProtected, lfuProbation, c.links.front(lfuProtected))
			}
		} else {
			c.links.moveToBack(int32(list), slot)
		}
	} else {
		c.misses++
		slot = c.links.take()
		c.keys[slot], c.place[slot] = key, lfuWindow
		c.index.put(key, slot)
		c.links.pushBack(lfuWindow, slot)
		c.evict()
	}
	if c.hits+c.misses >= sampleFactor*c.capacity {
		c.climb()
	}
	return ok
}

func (c *wTinyLFU) count(key uint64) {
	if c.sketch.incrementAll(key) {
		c.added++
	}
	if c.added == sampleFactor*c.capacity {
		c.sketch.halve(0, len(c.sketch.words))
		c.added /= 2
	}
}

func (c *wTinyLFU) move(from, to, slot int32) {
	c.links.remove(from, slot)
	c.place[slot] = uint8(to)
	c.links.pushBack(to, slot)
}

func (c *wTinyLFU) drop(slot int32) {
	c.links.remove(int32(c.place[slot]), slot)
	c.links.park(slot)
	c.index.remove(c.keys[slot])
}

func (c *wTinyLFU) evict() {
	candidate := int32(-1)
	for c.links.count[lfuWindow] > c.windowMax {
		candidate = c.links.front(lfuWindow)
		c.move(lfuWindow, lfuProbation, candidate)
	}
	n := c.links.count
	if n[lfuWindow]+n[lfuProbation]+n[lfuProtected] <= c.capacity {
		return
	}
	victim := c.links.front(lfuProbation)
	switch {
	case n[lfuProbation] == 0 && n[lfuProtected] > 0:
		c.drop(c.links.front(lfuProtected))
	case n[lfuProbation] == 0:
		c.drop(c.links.front(lfuWindow))
	case candidate < 0 || candidate == victim || c.admits(c.keys[candidate], c.keys[victim]):
		c.drop(victim)
	default:
		c.drop(candidate)
	}
}

// admits has the defence against floods of keys that all collide with victims of the attacker's choice.
func (c *wTinyLFU) admits(candidate, victim uint64) bool {
	f := c.sketch.frequency(candidate)
	return f > c.sketch.frequency(victim) || f >= 6 && c.rng.Uint32()&127 == 0
}

func (c *wTinyLFU) climb() {
	rate := float64(c.hits) / float64(c.hits+c.misses)
	change := rate - c.lastRate
	amount := c.step
	if change < 0 {
		amount = -amount
	}
	c.step = climbDecay * amount
	if change >= climbRestart || change <= -climbRestart {
		c.step = climbStep * float64(c.capacity)
		if amount < 0 {
			c.step = -c.step
		}
	}
	c.lastRate, c.hits, c.misses = rate, 0, 0
	if delta := int(amount); delta > 0 {
		c.growWindow(min(delta, c.protectedMax))
	} else {
		c.shrinkWindow(min(-delta, c.windowMax-1))
	}
}

func (c *wTinyLFU) growWindow(by int) {
	c.windowMax += by
	c.protectedMax -= by
	for c.links.count[lfuProtected] > c.protectedMax {
		c.move(lfuProtected, lfuProbation, c.links.front(lfuProtected))
	}
	for range by {
		if c.links.count[lfuProbation] > 0 {
			c.move(lfuProbation, lfuWindow, c.links.front(lfuProbation))
		}
	}
}

func (c *wTinyLFU) shrinkWindow(by int) {
	c.windowMax -= by
	c.protectedMax += by
	for range by {
		if c.links.count[lfuWindow] > 0 {
			c.move(lfuWindow, lfuProbation, c.links.front(lfuWindow))
		}
	}
}
