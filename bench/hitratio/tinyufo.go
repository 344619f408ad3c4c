package hitratio

import (
	"iter"
	"math"
)

// cloudflareUFO is the TinyUFO of Cloudflare's Pingora: S3-FIFO's two queues, and a newcomer is let in only
// if the sketch, which counts what was put and not what was read, has it as often as what it would evict.
type cloudflareUFO struct {
	queues
	capacity, smallMax int
	sketch             *wideSketch
}

const (
	cfSmall = iota
	cfMain
	cfQueues
)

func newCloudflareUFO(capacity int) Policy {
	return &cloudflareUFO{newQueues(cfQueues), capacity, capacity/10 + 1, newWideSketch(capacity)}
}

func (c *cloudflareUFO) Access(key uint64) bool {
	if e := c.byKey[key]; e != nil {
		e.uses = min(3, e.uses+1)
		return true
	}
	count := c.sketch.increment(key)
	if len(c.byKey) == c.capacity {
		// What loses against the victim is not taken in: the victim starts again in small.
		victim := c.victim()
		c.drop(victim)
		if c.sketch.frequency(victim.key) > count {
			key = victim.key
		}
	}
	c.add(key, cfSmall)
	return false
}

func (c *cloudflareUFO) victim() *entry {
	if c.count(cfSmall) >= c.smallMax {
		for c.count(cfSmall) > 0 {
			e := c.front(cfSmall)
			if e.uses <= 1 {
				return e
			}
			c.move(e, cfMain)
		}
	}
	for c.count(cfMain) > 0 {
		e := c.front(cfMain)
		if e.uses == 0 {
			return e
		}
		e.uses--
		c.move(e, cfMain)
	}
	return c.front(cfSmall)
}

// wideSketch has log2 n rows of e·n counters of 8 bits, halved every 8·n increments.
type wideSketch struct {
	rows  [][]uint8
	count int
	limit int
}

func newWideSketch(items int) *wideSketch {
	width := max(16, int(math.Ceil(math.E*float64(items))))
	depth := max(2, int(math.Ceil(math.Log2(float64(items)))))
	s := &wideSketch{limit: 8 * items}
	for range depth {
		s.rows = append(s.rows, make([]uint8, width))
	}
	return s
}

func (s *wideSketch) increment(key uint64) uint8 {
	if s.count++; s.count > s.limit {
		s.count = 1
		for _, row := range s.rows {
			for i := range row {
				row[i] >>= 1
			}
		}
	}
	for counter := range s.counters(key) {
		if *counter < math.MaxUint8 {
			*counter++
		}
	}
	return s.frequency(key)
}

func (s *wideSketch) frequency(key uint64) uint8 {
	low := uint8(math.MaxUint8)
	for counter := range s.counters(key) {
		low = min(low, *counter)
	}
	return low
}

// counters returns the counters of key, one in each row.
func (s *wideSketch) counters(key uint64) iter.Seq[*uint8] {
	return func(yield func(*uint8) bool) {
		h, stride := mix(key), mix(^key)|1
		for _, row := range s.rows {
			yield(&row[h%uint64(len(row))])
			h += stride
		}
	}
}
