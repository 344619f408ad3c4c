package session

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
)

// start prepares l for conn.
func (l *link) start(conn *engine.Conn, role h2.Role, o *h2.Options) {
	l.conn = conn
	l.task.Run = l.run
	l.codec.Init(role, o, conn.Reactor().Now())
}

// OnData decodes frames and passes their events to the streams.
func (l *link) OnData(c *engine.Conn, in []byte) (used int) {
	now := c.Reactor().Now()
	l.inBatch = true
	defer l.failPanicked()
	for events := 0; ; events++ {
		if events == eventsPerBatch {
			c.OfferLater()
			break
		}
		n, ev := l.codec.Next(in[used:], l.head, now)
		if ev.Kind == h2.Fault && used == 0 && !l.server {
			ev.Err = wrongProtocol(in, ErrSpeaksH2, ev.Err)
		}
		used += n
		if ev.Kind == h2.NeedMore {
			break
		}
		l.dispatch(&ev)
		if !c.Open() {
			used = len(in)
			break
		}
	}
	l.endBatch()
	return used
}

func (l *link) dispatch(ev *h2.Event) {
	switch ev.Kind {
	case h2.HeadDone:
		s, _ := ev.Stream.Owner.(*h2Stream)
		if s == nil {
			if s = l.end.newStream(ev.Stream, ev.End); s == nil {
				return
			}
		}
		s.gotHead(l.head, ev.End)
	case h2.Data:
		if s, _ := ev.Stream.Owner.(*h2Stream); s != nil {
			s.gotData(ev.Body, ev.End)
		}
	case h2.Trailers:
		if s, _ := ev.Stream.Owner.(*h2Stream); s != nil {
			s.gotTrailers(l.head)
		}
	case h2.Reset:
		l.gotReset(ev)
	case h2.Fault:
		l.closeByError(ev.Err)
	case h2.Sendable: // endBatch asks the codec
	default:
		l.end.onConnEvent(*ev)
	}
}

func (l *link) gotReset(ev *h2.Event) {
	if ev.Stream == nil {
		l.end.onConnEvent(*ev)
		return
	}
	s, _ := ev.Stream.Owner.(*h2Stream)
	if s == nil {
		return
	}
	s.codec = nil
	s.fail(codeOfReset(ev, l.goAwayError), &ResetError{Code: ev.Code, Err: ev.Err})
}

// closeByError ends the connection: GOAWAY leaves with what is queued.
func (l *link) closeByError(err error) {
	l.cause = err
	code := Malformed
	switch err {
	case h2.ErrNoPong:
		code = ConnectionLost
	case h2.ErrStalledConn:
		code = Timeout
	}
	l.failAll(code, err)
	l.control()
	l.conn.Close(nil)
}

// failAll resets every exchange.
func (l *link) failAll(code Code, cause error) {
	for len(l.live) > 0 {
		l.live[len(l.live)-1].fail(code, cause)
	}
}

// run is the task: it does what stream methods postponed.
func (l *link) run(*engine.Reactor) {
	l.posted = false
	l.runEmptyBatch()
}

// runEmptyBatch is a batch without events of the codec.
func (l *link) runEmptyBatch() {
	defer l.failPanicked()
	l.inBatch = true
	l.endBatch()
}

// endBatch ends a batch: streams that may send have their turns, control frames are queued, the timer is set.
func (l *link) endBatch() {
	for i := 0; l.todos > 0 && i < len(l.live); {
		if s := l.live[i]; s.todo != nothing {
			s.doTodo()
			i = 0 // callbacks change the list
		} else {
			i++
		}
	}
	l.sendBlocked()
	l.inBatch = false
	if !l.conn.Open() {
		return
	}
	own := l.end.runDue(l.conn.Reactor().Now())
	if l.codec.Tight() && l.conn.Reactor().Pressure() < engine.PressureCache {
		l.codec.Widen()
	}
	l.control()
	if !l.conn.Open() {
		return
	}
	if l.codec.Done() && len(l.live) == 0 {
		l.conn.Close(nil)
		return
	}
	l.armTimer(own)
	l.armTimer(l.codec.Deadline())
	l.check()
}

// doTodo does what was postponed.
func (s *h2Stream) doTodo() {
	t := s.todo
	s.todo = nothing
	s.link.todos--
	switch t {
	case toFail:
		s.fail(s.code, s.cause)
	case toDeliver:
		s.deliverEarly()
	case toSendHead:
		s.sendPending()
	}
}

// sendBlocked gives blocked streams their turns to send, in the order of the codec, until the queue is full again.
func (l *link) sendBlocked() {
	if !l.connected || !l.conn.Open() {
		return
	}
	l.inTurn = true
	for !l.conn.Congested() && l.conn.Room() > frameRoom { // no room: it takes nothing any more
		cs := l.codec.NextSendable()
		if cs == nil {
			break
		}
		if s, _ := cs.Owner.(*h2Stream); s != nil {
			s.unblock()
		}
		if !l.conn.Open() {
			break
		}
	}
	l.inTurn = false
}

// OnSendable gives the streams their turns.
func (l *link) OnSendable(*engine.Conn) { l.runEmptyBatch() }

// OnTimeout acts on times that are due and arms the timer for the next one.
func (l *link) OnTimeout(c *engine.Conn) {
	now := c.Reactor().Now()
	l.armed = 0
	l.inBatch = true
	defer l.failPanicked()
	for {
		ev := l.codec.Expire(now)
		if ev.Kind == h2.NeedMore {
			break
		}
		l.dispatch(&ev)
		if !c.Open() {
			l.inBatch = false
			return
		}
	}
	var next int64
	for i := 0; i < len(l.live); {
		s := l.live[i]
		switch {
		case s.deadline == 0:
			i++
		case s.deadline <= now:
			s.deadline = 0
			l.end.onDeadline(s)
			i, next = 0, 0 // callbacks change the list
		default:
			if next == 0 || s.deadline < next {
				next = s.deadline
			}
			i++
		}
		if !c.Open() {
			l.inBatch = false
			return
		}
	}
	l.armTimer(next)
	l.endBatch()
}

// failPanicked ends the exchange whose callback panicked. It is deferred. The other exchanges of the connection go on:
// the rest of the batch is done later.
func (l *link) failPanicked() {
	s := l.inCallback
	if s == nil {
		return
	}
	p := recover()
	l.inCallback = nil
	r := l.conn.Reactor()
	r.Panicked(p)
	s.inCallback, l.inBatch, l.inTurn = false, false, false
	if s.receiver != nil {
		s.fail(ConnectionLost, engine.ErrPanic)
	} else {
		l.pool.park(s)
	}
	l.conn.PauseRead()
	l.conn.ResumeRead() // offers the bytes that the batch did not reach
	l.post()
	l.armTimer(r.Now() + 1)
}
