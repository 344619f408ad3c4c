package hitratio

import "container/list"

// lirs keeps what was used twice within a short time: the stack orders entries by their last use, and an entry that is
// used while it is on the stack gets one of the 99 % of places that are not evicted from.
// Jiang and Zhang, "LIRS", SIGMETRICS 2002. At most twice the capacity of evicted keys stay on the stack.
type lirs struct {
	capacity, lowMax, ghostMax int
	byKey                      map[uint64]*lirsEntry
	stack                      list.List // the oldest in front, as in the others
	queue                      list.List // resident and not low
	ghosts                     list.List
	low                        int
}

type lirsEntry struct {
	key     uint64
	state   uint8
	stacked *list.Element // nil: not on the stack
	queued  *list.Element // in queue or ghosts
}

const (
	lirsLow   = iota // resident, and not evicted from
	lirsHigh         // resident, in the queue
	lirsGhost        // evicted, on the stack
)

func newLIRS(capacity int) Policy {
	high := max(1, capacity/100)
	return &lirs{capacity: capacity, lowMax: max(1, capacity-high), ghostMax: 2 * capacity,
		byKey: make(map[uint64]*lirsEntry)}
}

func (c *lirs) Access(key uint64) bool {
	e := c.byKey[key]
	switch {
	case e == nil:
		c.makeRoom()
		e = &lirsEntry{key: key}
		c.byKey[key] = e
		if c.low < c.lowMax {
			c.low++
		} else {
			e.state, e.queued = lirsHigh, c.queue.PushBack(e)
		}
		c.touch(e)
		return false
	case e.state == lirsLow:
		c.touch(e)
		c.prune()
		return true
	case e.state == lirsHigh && e.stacked != nil:
		c.queue.Remove(e.queued)
		c.promote(e)
		return true
	case e.state == lirsHigh:
		c.queue.MoveToBack(e.queued)
		c.touch(e)
		return true
	}
	c.ghosts.Remove(e.queued)
	e.state = lirsHigh // so that makeRoom and prune let it be
	c.makeRoom()
	c.promote(e)
	return false
}

func (c *lirs) touch(e *lirsEntry) {
	if e.stacked == nil {
		e.stacked = c.stack.PushBack(e)
	}
	c.stack.MoveToBack(e.stacked)
}

func (c *lirs) unstack(e *lirsEntry) {
	c.stack.Remove(e.stacked)
	e.stacked = nil
}

// promote makes an entry of the stack low, and the oldest low one high.
func (c *lirs) promote(e *lirsEntry) {
	e.state = lirsLow
	c.low++
	c.touch(e)
	c.prune()
	if c.low > c.lowMax {
		oldest := c.stack.Front().Value.(*lirsEntry)
		c.unstack(oldest)
		oldest.state, oldest.queued = lirsHigh, c.queue.PushBack(oldest)
		c.low--
		c.prune()
	}
}

// prune takes off the stack what is older than the oldest low entry.
func (c *lirs) prune() {
	for c.stack.Len() > 0 {
		oldest := c.stack.Front().Value.(*lirsEntry)
		if oldest.state == lirsLow {
			return
		}
		c.unstack(oldest)
		if oldest.state == lirsGhost {
			c.ghosts.Remove(oldest.queued)
			delete(c.byKey, oldest.key)
		}
	}
}

// makeRoom evicts the oldest of the queue when the cache is full.
func (c *lirs) makeRoom() {
	if c.low+c.queue.Len() < c.capacity || c.queue.Len() == 0 {
		return
	}
	e := c.queue.Remove(c.queue.Front()).(*lirsEntry)
	if e.stacked == nil {
		delete(c.byKey, e.key)
		return
	}
	e.state, e.queued = lirsGhost, c.ghosts.PushBack(e)
	if c.ghosts.Len() > c.ghostMax {
		ghost := c.ghosts.Remove(c.ghosts.Front()).(*lirsEntry)
		c.unstack(ghost)
		delete(c.byKey, ghost.key)
	}
}
