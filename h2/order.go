package h2

// order holds the streams that may send as soon as there is room: a queue for each urgency. Allocated when a stream is
// blocked for the first time.
//
//	queue  serial, by their numbers ─► the others, in turns      RFC 9218 §10
type order struct {
	queues [8]streamList
	count  int
	full   int // of count: queueFull
	picks  uint8
}

func (o *order) push(s *Stream) {
	if q := &o.queues[s.urgency&7]; s.serial {
		q.insert(s, q.behindSerial(s))
	} else {
		q.push(s)
	}
	o.count++
	if s.queued == queueFull {
		o.full++
	}
}

func (o *order) remove(s *Stream) {
	o.queues[s.urgency&7].remove(s)
	o.count--
	if s.queued == queueFull {
		o.full--
	}
}

// leastTurn is how often the least urgent stream, or a stream that waits for serial ones, has its turn, so that none
// starves.
const leastTurn = 16

// pick returns the first stream that may send: of all, or of those alone that waited for the caller's queue.
func (o *order) pick(any bool) *Stream {
	o.picks++
	least := o.picks%leastTurn == 0
	for i := range o.queues {
		if least {
			i = len(o.queues) - 1 - i
		}
		q := &o.queues[i]
		if least && q.first != nil && q.first.serial && (any || q.last.queued == queueFull) {
			return q.last
		}
		for s := q.first; s != nil; s = s.links[bySending].next {
			if any || s.queued == queueFull {
				return s
			}
		}
	}
	return nil
}

// Block says that the caller's own send queue had no room for more of s: it comes again from NextSendable, in its
// order.
func (c *Conn) Block(s *Stream) {
	if s.flag&dead == 0 && s.queued == unqueued {
		c.enqueue(s, queueFull)
	}
}

func (c *Conn) enqueue(s *Stream, why queueState) {
	s.queued = why
	if why == waitStream {
		s.blockedAt = c.now
		c.starved.push(s)
		return
	}
	if c.order == nil {
		c.order = new(order)
	}
	if c.sendWindow <= 0 && (c.dryAt == 0 || c.order.count == 0) {
		c.dryAt = c.now
	}
	c.order.push(s)
}

// dequeue takes s out of the order, or of those that wait for window.
func (c *Conn) dequeue(s *Stream) {
	switch s.queued {
	case queueFull, waitConn:
		c.order.remove(s)
	case waitStream:
		c.starved.remove(s)
	}
	s.queued = unqueued
}

// unblock puts s into the order when it waited for its window and has some.
func (c *Conn) unblock(s *Stream) {
	if s.queued == waitStream && s.sendWindow > 0 {
		c.dequeue(s)
		c.enqueue(s, waitConn)
		if c.sendWindow > 0 {
			c.flag |= woke
		}
	}
}

// NextSendable takes the next stream off the order of those that were blocked and may send: by urgency (RFC 9218),
// streams of equal urgency in turns, unless they asked to be sent one after another. nil when there is none. When not
// all of its data can be sent, AppendData or Block puts it into the order again.
func (c *Conn) NextSendable() *Stream {
	o := c.order
	if o == nil || o.count == 0 || c.sendWindow <= 0 && o.full == 0 {
		return nil
	}
	s := o.pick(c.sendWindow > 0)
	if s != nil {
		c.dequeue(s)
	}
	return s
}
