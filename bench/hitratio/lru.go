package hitratio

// lru evicts what was not used for the longest time.
type lru struct {
	capacity int
	index    index
	links    *links
	keys     []uint64
}

func newLRU(capacity int) Policy {
	return &lru{capacity: capacity, links: newLinks(1, capacity), keys: make([]uint64, capacity+1)}
}

func (c *lru) Access(key uint64) bool {
	if slot, ok := c.index.slot(key); ok {
		c.links.moveToBack(0, slot)
		return true
	}
	if c.links.count[0] == c.capacity {
		oldest := c.links.front(0)
		c.index.remove(c.keys[oldest])
		c.links.remove(0, oldest)
		c.links.park(oldest)
	}
	slot := c.links.take()
	c.keys[slot] = key
	c.index.put(key, slot)
	c.links.pushBack(0, slot)
	return false
}
