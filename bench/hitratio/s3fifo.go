package hitratio

// s3FIFO has a small queue of 10 %, a main queue with second chances, and a queue of as many ghosts as main
// has entries. Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023.
type s3FIFO struct {
	capacity, smallMax, ghostMax int
	index                        index
	links                        *links
	keys                         []uint64
	uses                         []uint8
	place                        []uint8 // the list of a slot
}

const (
	s3Small = iota
	s3Main
	s3Ghost
	s3Lists
)

func newS3FIFO(capacity int) Policy {
	small := max(1, capacity/10)
	slots := 2*capacity + s3Lists
	return &s3FIFO{
		capacity: capacity, smallMax: small, ghostMax: max(1, capacity-small), links: newLinks(s3Lists, 2*capacity),
		keys: make([]uint64, slots+1), uses: make([]uint8, slots+1), place: make([]uint8, slots+1),
	}
}

func (c *s3FIFO) Access(key uint64) bool {
	slot, ok := c.index.slot(key)
	if ok && c.place[slot] != s3Ghost {
		c.uses[slot] = min(3, c.uses[slot]+1)
		return true
	}
	into := int32(s3Small)
	if ok {
		into = s3Main
		c.drop(slot)
	}
	for c.links.count[s3Small]+c.links.count[s3Main] >= c.capacity {
		c.evict()
	}
	slot = c.links.take()
	c.keys[slot], c.uses[slot] = key, 0
	c.index.put(key, slot)
	c.put(into, slot)
	return false
}

func (c *s3FIFO) put(list, slot int32) {
	c.place[slot] = uint8(list)
	c.links.pushBack(list, slot)
}

func (c *s3FIFO) drop(slot int32) {
	c.links.remove(int32(c.place[slot]), slot)
	c.links.park(slot)
	c.index.remove(c.keys[slot])
}

func (c *s3FIFO) evict() {
	if c.links.count[s3Small] >= c.smallMax || c.links.count[s3Main] == 0 {
		c.evictSmall()
	} else {
		c.evictMain()
	}
}

func (c *s3FIFO) evictSmall() {
	for c.links.count[s3Small] > 0 {
		slot := c.links.front(s3Small)
		c.links.remove(s3Small, slot)
		if c.uses[slot] > 1 {
			c.uses[slot] = 0
			c.put(s3Main, slot)
			if c.links.count[s3Main] > c.capacity-c.smallMax {
				c.evictMain()
				return
			}
			continue
		}
		c.put(s3Ghost, slot)
		if c.links.count[s3Ghost] > c.ghostMax {
			c.drop(c.links.front(s3Ghost))
		}
		return
	}
}

func (c *s3FIFO) evictMain() {
	for c.links.count[s3Main] > 0 {
		slot := c.links.front(s3Main)
		if c.uses[slot] == 0 {
			c.drop(slot)
			return
		}
		c.uses[slot]--
		c.links.moveToBack(s3Main, slot)
	}
}
