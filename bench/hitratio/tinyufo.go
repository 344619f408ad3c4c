package hitratio

import "math"

// cloudflareUFO is the TinyUFO of Cloudflare's Pingora: S3-FIFO's two queues, and a newcomer is let in only
// if the sketch, which counts what was put and not what was read, has it as often as what it would evict.
type cloudflareUFO struct {
	capacity, smallMax int
	index              index
	links              *links
	keys               []uint64
	uses               []uint8
	place              []uint8
	sketch             *wideSketch
}

const (
	cfSmall = iota
	cfMain
	cfLists
)

func newCloudflareUFO(capacity int) Policy {
	slots := capacity + cfLists + 1
	return &cloudflareUFO{capacity: capacity, smallMax: capacity/10 + 1, links: newLinks(cfLists, capacity),
		keys: make([]uint64, slots), uses: make([]uint8, slots), place: make([]uint8, slots),
		sketch: newWideSketch(capacity)}
}

func (c *cloudflareUFO) Access(key uint64) bool {
	if slot, ok := c.index.slot(key); ok {
		c.uses[slot] = min(3, c.uses[slot]+1)
		return true
	}
	count := c.sketch.increment(key)
	if c.links.count[cfSmall]+c.links.count[cfMain] == c.capacity {
		// What loses against the victim is not taken in: the victim starts again in small.
		if victim := c.evict(); c.sketch.frequency(victim) > count {
			key = victim
		}
	}
	slot := c.links.take()
	c.keys[slot], c.uses[slot], c.place[slot] = key, 0, cfSmall
	c.index.put(key, slot)
	c.links.pushBack(cfSmall, slot)
	return false
}

func (c *cloudflareUFO) drop(slot int32) uint64 {
	c.links.remove(int32(c.place[slot]), slot)
	c.links.park(slot)
	c.index.remove(c.keys[slot])
	return c.keys[slot]
}

func (c *cloudflareUFO) evict() uint64 {
	if c.links.count[cfSmall] >= c.smallMax {
		for c.links.count[cfSmall] > 0 {
			slot := c.links.front(cfSmall)
			if c.uses[slot] <= 1 {
				return c.drop(slot)
			}
			c.links.remove(cfSmall, slot)
			c.place[slot] = cfMain
			c.links.pushBack(cfMain, slot)
		}
	}
	for {
		if c.links.count[cfMain] == 0 {
			return c.drop(c.links.front(cfSmall))
		}
		slot := c.links.front(cfMain)
		if c.uses[slot] == 0 {
			return c.drop(slot)
		}
		c.uses[slot]--
		c.links.moveToBack(cfMain, slot)
	}
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
	low := uint8(math.MaxUint8)
	h, stride := mix(key), mix(^key)|1
	for _, row := range s.rows {
		counter := &row[h%uint64(len(row))]
		if *counter < math.MaxUint8 {
			*counter++
		}
		low = min(low, *counter)
		h += stride
	}
	return low
}

func (s *wideSketch) frequency(key uint64) uint8 {
	low := uint8(math.MaxUint8)
	h, stride := mix(key), mix(^key)|1
	for _, row := range s.rows {
		low = min(low, row[h%uint64(len(row))])
		h += stride
	}
	return low
}
