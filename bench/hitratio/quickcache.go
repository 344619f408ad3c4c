package hitratio

// quickCache is the CLOCK-Pro of the Rust crate quick_cache: a hot ring of up to 97 %, a cold queue, and half as
// many ghosts as entries, which come back hot.
type quickCache struct {
	capacity, hotMax, ghostMax int
	index                      index
	links                      *links
	keys                       []uint64
	uses                       []uint8 // at most 2
	place                      []uint8
}

const (
	qcCold = iota
	qcHot
	qcGhost
	qcLists
)

func newQuickCache(capacity int) Policy {
	slots := 2*capacity + qcLists + 2
	return &quickCache{
		capacity: capacity, hotMax: max(1, capacity*97/100), ghostMax: capacity / 2,
		links: newLinks(qcLists, 2*capacity), keys: make([]uint64, slots),
		uses: make([]uint8, slots), place: make([]uint8, slots),
	}
}

func (c *quickCache) Access(key uint64) bool {
	slot, ok := c.index.slot(key)
	if ok && c.place[slot] != qcGhost {
		c.uses[slot] = min(2, c.uses[slot]+1)
		return true
	}
	into := int32(qcCold)
	if ok {
		into = qcHot
		c.drop(slot)
	} else if c.links.count[qcHot] < c.hotMax && c.links.count[qcHot]+c.links.count[qcCold] < c.capacity {
		into = qcHot
	}
	for c.links.count[qcHot]+c.links.count[qcCold] >= c.capacity {
		c.advanceCold()
	}
	slot = c.links.take()
	c.keys[slot], c.uses[slot] = key, 0
	c.index.put(key, slot)
	c.put(into, slot)
	for c.links.count[qcHot] > c.hotMax {
		c.advanceHot()
	}
	return false
}

func (c *quickCache) put(list, slot int32) {
	c.place[slot] = uint8(list)
	c.links.pushBack(list, slot)
}

func (c *quickCache) drop(slot int32) {
	c.links.remove(int32(c.place[slot]), slot)
	c.links.park(slot)
	c.index.remove(c.keys[slot])
}

func (c *quickCache) advanceCold() {
	if c.links.count[qcCold] == 0 {
		c.advanceHot()
		return
	}
	slot := c.links.front(qcCold)
	c.links.remove(qcCold, slot)
	if c.uses[slot] > 0 {
		c.uses[slot]--
		c.put(qcHot, slot)
		for c.links.count[qcHot] > c.hotMax {
			c.advanceHot()
		}
		return
	}
	c.put(qcGhost, slot)
	if c.links.count[qcGhost] > c.ghostMax {
		c.drop(c.links.front(qcGhost))
	}
}

func (c *quickCache) advanceHot() {
	for {
		slot := c.links.front(qcHot)
		if c.uses[slot] == 0 {
			c.drop(slot)
			return
		}
		c.uses[slot]--
		c.links.moveToBack(qcHot, slot)
	}
}
