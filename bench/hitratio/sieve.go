package hitratio

// sieve is one queue with a hand that spares each visited entry once, where it stands.
// Zhang et al., "SIEVE is simpler than LRU", NSDI 2024.
type sieve struct {
	capacity int
	index    index
	links    *links
	keys     []uint64
	visited  []bool
	hand     int32 // 0, the list itself, when it starts again at the oldest
}

func newSIEVE(capacity int) Policy {
	return &sieve{capacity: capacity, links: newLinks(1, capacity), keys: make([]uint64, capacity+1),
		visited: make([]bool, capacity+1)}
}

func (c *sieve) Access(key uint64) bool {
	if slot, ok := c.index.slot(key); ok {
		c.visited[slot] = true
		return true
	}
	if c.links.count[0] == c.capacity {
		c.evict()
	}
	slot := c.links.take()
	c.keys[slot], c.visited[slot] = key, false
	c.index.put(key, slot)
	c.links.pushBack(0, slot)
	return false
}

func (c *sieve) evict() {
	slot := c.hand
	for slot == 0 || c.visited[slot] {
		c.visited[slot] = false
		slot = c.links.next[slot]
	}
	c.hand = c.links.next[slot]
	c.index.remove(c.keys[slot])
	c.links.remove(0, slot)
	c.links.park(slot)
}
