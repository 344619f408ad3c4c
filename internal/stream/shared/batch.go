package shared

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/stream"
	"github.com/edge-proxy/edge/message"
)

// Accept makes the stream of a request that came with the head h. Its receiver is set by Receive.
func (l *Link) Accept(handle any, h *message.Head, end bool) *Stream {
	s := l.add(handle)
	s.verb, s.awaits100 = h.Verb, h.Continue
	s.tunnel = stream.AsksForTunnel(h)
	if !end {
		s.bodyPace.Reset()
	}
	return s
}

// Open makes the stream of a request that is to be sent. handle is nil where none was opened; FailLater says so then.
func (l *Link) Open(handle any, r stream.Receiver) *Stream {
	s := l.add(handle)
	s.receiver = r
	return s
}

func (l *Link) add(handle any) *Stream {
	s := l.pool.take()
	s.link, s.handle = l, handle
	s.index = int32(len(l.live))
	l.live = append(l.live, s)
	return s
}

// Connected begins the work of a client whose connection is established: the deadlines of the exchanges that waited for
// it, and their heads.
func (l *Link) Connected() {
	l.connected = true
	for _, s := range l.live {
		l.end.SetDeadline(s)
	}
	l.SendHeads()
	l.RunBatch()
}

// SendHeads sends the heads that waited, at the end of the batch.
func (l *Link) SendHeads() {
	for _, s := range l.live {
		if s.pendingHead != nil && s.todo == nothing {
			s.postpone(toSendHead)
		}
	}
}

// FailAll resets every exchange.
func (l *Link) FailAll(code stream.Code, cause error) {
	for len(l.live) > 0 {
		l.live[len(l.live)-1].Fail(code, cause)
	}
}

// FailLost resets every exchange of a connection that is lost: as Truncated if its answer has begun, else by code.
func (l *Link) FailLost(code stream.Code, cause error) {
	for len(l.live) > 0 {
		if s := l.live[len(l.live)-1]; s.finalHead {
			s.Fail(stream.Truncated, cause)
		} else {
			s.Fail(code, cause)
		}
	}
}

// BeginBatch begins a batch of events. RecoverPanic is to be deferred after it, and Wire.EndBatch follows.
func (l *Link) BeginBatch() { l.inBatch = true }

// run is the task: it does what stream methods postponed.
func (l *Link) run(*engine.Reactor) {
	l.posted = false
	l.RunBatch()
}

// RunBatch is a batch without events of the codec.
func (l *Link) RunBatch() {
	defer l.RecoverPanic()
	l.inBatch = true
	l.wire.EndBatch()
}

// RunStreams is the first part of the end of a batch: streams do what was postponed, and have their turns to send. It
// reports whether the connection is still open.
func (l *Link) RunStreams() bool {
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
	return l.conn.Open()
}

// sendBlocked gives blocked streams their turns to send, in the order of the codec, until the queue is full again.
func (l *Link) sendBlocked() {
	if !l.connected || !l.conn.Open() {
		return
	}
	l.inTurn = true
	for {
		s, ok := l.wire.NextSendable()
		if !ok {
			break
		}
		if s != nil {
			s.GotRoom()
		}
		if !l.conn.Open() {
			break
		}
	}
	l.inTurn = false
}

// doTodo does what was postponed.
func (s *Stream) doTodo() {
	t := s.todo
	s.todo = nothing
	s.link.todos--
	switch t {
	case toFail:
		s.Fail(s.code, s.cause)
	case toDeliver:
		s.deliverEarly()
	case toSendHead:
		s.sendPending()
	}
}

// TimerFired notes that the timer of the connection is not armed any more.
func (l *Link) TimerFired() { l.armed = 0 }

// ExpireStreams acts on the deadlines of streams that are due and arms the timer for the next one. It reports whether
// the connection is still open, else the batch is over.
func (l *Link) ExpireStreams(now int64) bool {
	var next int64
	for i := 0; i < len(l.live); {
		s := l.live[i]
		switch {
		case s.deadline == 0:
			i++
		case s.deadline <= now:
			s.deadline = 0
			l.end.OnDeadline(s)
			i, next = 0, 0 // callbacks change the list
		default:
			if next == 0 || s.deadline < next {
				next = s.deadline
			}
			i++
		}
		if !l.conn.Open() {
			l.inBatch = false
			return false
		}
	}
	l.ArmTimer(next)
	return true
}

// RecoverPanic ends the exchange whose callback panicked. It is deferred. The other exchanges of the connection go on:
// the rest of the batch is done later.
func (l *Link) RecoverPanic() {
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
		s.Fail(stream.ConnectionLost, engine.ErrPanic)
	} else {
		l.pool.park(s)
	}
	l.conn.PauseRead()
	l.conn.ResumeRead() // offers the bytes that the batch did not reach
	l.Post()
	l.ArmTimer(r.Now() + 1)
}
