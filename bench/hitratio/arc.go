package hitratio

// arc balances recency and frequency by the hits of two lists of ghosts.
// Megiddo and Modha, "ARC: A self-tuning, low overhead replacement cache", FAST 2003.
type arc struct {
	capacity, target int // target is the size of recent that it strives for
	index            index
	links            *links
	keys             []uint64
	place            []uint8
}

const (
	arcRecent = iota
	arcFrequent
	arcRecentGhost
	arcFrequentGhost
	arcLists
)

func newARC(capacity int) Policy {
	slots := 2*capacity + arcLists + 1
	return &arc{capacity: capacity, links: newLinks(arcLists, 2*capacity+1), keys: make([]uint64, slots),
		place: make([]uint8, slots)}
}

func (c *arc) Access(key uint64) bool {
	n := c.links.count
	slot, ok := c.index.slot(key)
	if !ok {
		c.makeRoom()
		slot = c.links.take()
		c.keys[slot] = key
		c.index.put(key, slot)
		c.put(arcRecent, slot)
		return false
	}
	list := c.place[slot]
	switch list {
	case arcRecentGhost:
		c.target = min(c.capacity, c.target+max(1, n[arcFrequentGhost]/n[arcRecentGhost]))
		c.replace(false)
	case arcFrequentGhost:
		c.target = max(0, c.target-max(1, n[arcRecentGhost]/n[arcFrequentGhost]))
		c.replace(true)
	}
	c.links.remove(int32(list), slot)
	c.put(arcFrequent, slot)
	return list < arcRecentGhost
}

func (c *arc) put(list, slot int32) {
	c.place[slot] = uint8(list)
	c.links.pushBack(list, slot)
}

func (c *arc) drop(list int32) {
	slot := c.links.front(list)
	c.links.remove(list, slot)
	c.links.park(slot)
	c.index.remove(c.keys[slot])
}

// makeRoom is case IV of the paper: a key that is in no list.
func (c *arc) makeRoom() {
	n := c.links.count
	total := n[arcRecent] + n[arcFrequent] + n[arcRecentGhost] + n[arcFrequentGhost]
	switch {
	case n[arcRecent]+n[arcRecentGhost] == c.capacity:
		if n[arcRecent] == c.capacity {
			c.drop(arcRecent)
			return
		}
		c.drop(arcRecentGhost)
		c.replace(false)
	case total >= c.capacity:
		if total == 2*c.capacity {
			c.drop(arcFrequentGhost)
		}
		c.replace(false)
	}
}

func (c *arc) replace(inFrequentGhost bool) {
	n := c.links.count
	if n[arcRecent]+n[arcFrequent] < c.capacity {
		return
	}
	list := int32(arcFrequent)
	if n[arcRecent] > 0 && (n[arcRecent] > c.target || inFrequentGhost && n[arcRecent] == c.target) ||
		n[arcFrequent] == 0 {
		list = arcRecent
	}
	slot := c.links.front(list)
	c.links.remove(list, slot)
	c.put(list+arcRecentGhost, slot)
}
