package hitratio

// s3FIFO has a small queue of 10 %, a main queue with second chances, and a queue of as many ghosts as main
// has entries. Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023.
type s3FIFO struct {
	queues
	capacity, smallMax, ghostMax int
}

const (
	s3Small = iota
	s3Main
	s3Ghost
	s3Queues
)

func newS3FIFO(capacity int) Policy {
	small := max(1, capacity/10)
	return &s3FIFO{newQueues(s3Queues), capacity, small, max(1, capacity-small)}
}

func (c *s3FIFO) Access(key uint64) bool {
	e := c.byKey[key]
	if e != nil && e.place != s3Ghost {
		e.uses = min(3, e.uses+1)
		return true
	}
	into := s3Small
	if e != nil {
		into = s3Main
		c.drop(e)
	}
	for c.count(s3Small)+c.count(s3Main) >= c.capacity {
		if c.count(s3Small) >= c.smallMax || c.count(s3Main) == 0 {
			c.evictSmall()
		} else {
			c.evictMain()
		}
	}
	c.add(key, into)
	return false
}

func (c *s3FIFO) evictSmall() {
	for c.count(s3Small) > 0 {
		e := c.front(s3Small)
		if e.uses <= 1 {
			c.move(e, s3Ghost)
			if c.count(s3Ghost) > c.ghostMax {
				c.drop(c.front(s3Ghost))
			}
			return
		}
		e.uses = 0
		c.move(e, s3Main)
		if c.count(s3Main) > c.capacity-c.smallMax {
			c.evictMain()
			return
		}
	}
}

func (c *s3FIFO) evictMain() {
	for c.count(s3Main) > 0 {
		e := c.front(s3Main)
		if e.uses == 0 {
			c.drop(e)
			return
		}
		e.uses--
		c.move(e, s3Main)
	}
}
