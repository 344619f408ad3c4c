package hitratio

// lirs keeps what was used twice within a short time: the stack orders entries by their last use, and an entry that is
// used while it is on the stack gets one of the 99 % of places that are not evicted from.
// Jiang and Zhang, "LIRS", SIGMETRICS 2002. At most twice the capacity of evicted keys stay on the stack.
type lirs struct {
	capacity, lowMax, ghostMax int
	index                      index
	stack                      *links // list 0: the stack, the oldest in front
	queue                      *links // list 0: resident and not low; list 1: ghosts; the oldest in front
	keys                       []uint64
	state                      []uint8
	onStack                    []bool
	low                        int
}

const (
	lirsLow   = iota // resident, and not evicted from
	lirsHigh         // resident, in the queue
	lirsGhost        // evicted, on the stack
)

// lirsLists is the same in both sets of links, so that a slot is the same number in both.
const lirsLists = 2

func newLIRS(capacity int) Policy {
	high := max(1, capacity/100)
	slots := 4*capacity + lirsLists + 2
	return &lirs{
		capacity: capacity, lowMax: max(1, capacity-high), ghostMax: 2 * capacity,
		stack: newLinks(lirsLists, slots), queue: newLinks(lirsLists, slots),
		keys: make([]uint64, slots+lirsLists), state: make([]uint8, slots+lirsLists),
		onStack: make([]bool, slots+lirsLists),
	}
}

func (c *lirs) Access(key uint64) bool {
	slot, ok := c.index.slot(key)
	switch {
	case !ok:
		c.makeRoom()
		slot = c.stack.take()
		c.keys[slot], c.onStack[slot] = key, false
		c.index.put(key, slot)
		if c.low < c.lowMax {
			c.state[slot] = lirsLow
			c.low++
		} else {
			c.state[slot] = lirsHigh
			c.queue.pushBack(0, slot)
		}
		c.touch(slot)
		return false
	case c.state[slot] == lirsLow:
		c.touch(slot)
		c.prune()
		return true
	case c.state[slot] == lirsHigh:
		if c.onStack[slot] {
			c.queue.remove(0, slot)
			c.promote(slot)
		} else {
			c.queue.moveToBack(0, slot)
			c.touch(slot)
		}
		return true
	}
	c.queue.remove(1, slot)
	c.state[slot] = lirsHigh // so that makeRoom and prune let it be
	c.makeRoom()
	c.promote(slot)
	return false
}

func (c *lirs) touch(slot int32) {
	if c.onStack[slot] {
		c.stack.remove(0, slot)
	}
	c.onStack[slot] = true
	c.stack.pushBack(0, slot)
}

// promote makes an entry of the stack low, and the oldest low one high.
func (c *lirs) promote(slot int32) {
	c.state[slot] = lirsLow
	c.low++
	c.touch(slot)
	c.prune()
	if c.low > c.lowMax {
		oldest := c.stack.front(0)
		c.stack.remove(0, oldest)
		c.onStack[oldest] = false
		c.state[oldest] = lirsHigh
		c.low--
		c.queue.pushBack(0, oldest)
		c.prune()
	}
}

// prune takes off the stack what is older than the oldest low entry.
func (c *lirs) prune() {
	for c.stack.count[0] > 0 {
		oldest := c.stack.front(0)
		if c.state[oldest] == lirsLow {
			return
		}
		c.stack.remove(0, oldest)
		c.onStack[oldest] = false
		if c.state[oldest] == lirsGhost {
			c.queue.remove(1, oldest)
			c.forget(oldest)
		}
	}
}

func (c *lirs) forget(slot int32) {
	c.index.remove(c.keys[slot])
	c.stack.park(slot)
}

// makeRoom evicts the oldest of the queue when the cache is full.
func (c *lirs) makeRoom() {
	if c.low+c.queue.count[0] < c.capacity {
		return
	}
	slot := c.queue.front(0)
	if c.queue.count[0] == 0 {
		return
	}
	c.queue.remove(0, slot)
	if !c.onStack[slot] {
		c.forget(slot)
		return
	}
	c.state[slot] = lirsGhost
	c.queue.pushBack(1, slot)
	if c.queue.count[1] > c.ghostMax {
		ghost := c.queue.front(1)
		c.queue.remove(1, ghost)
		c.stack.remove(0, ghost)
		c.onStack[ghost] = false
		c.forget(ghost)
	}
}
