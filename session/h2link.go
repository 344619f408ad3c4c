package session

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/message"
)

// linkEnd is what the two ends of an HTTP/2 connection do differently.
type linkEnd interface {
	// newStream makes the stream of a request that came, nil when it was refused. Only a server is asked.
	newStream(cs *h2.Stream, end bool) *h2Stream
	// setDeadline sets the deadline that fits what s waits for.
	setDeadline(s *h2Stream)
	// onDeadline acts on the deadline of s.
	onDeadline(s *h2Stream)
	// streamEnded is told that a stream ended, which is not in live any more.
	streamEnded(s *h2Stream)
	// onConnEvent is told of SETTINGS, GOAWAY and malformed requests.
	onConnEvent(ev h2.Event)
	// onBodyReceived is told of n bytes of data that came for s.
	onBodyReceived(s *h2Stream, n int)
	// onBodySent is told of n bytes of data that were sent on s after it was blocked.
	onBodySent(s *h2Stream, n int)
	// onTunnel is told that an exchange became a tunnel.
	onTunnel()
	// settingsKnown reports whether SETTINGS of the peer have come, or are not needed.
	settingsKnown() bool
	// runDue does, at the end of each batch, what has become due for the connection itself. It returns when to ask
	// again, 0 for never.
	runDue(now int64) int64
}

// link drives the codec of one HTTP/2 connection, of either end. The ends embed it.
// Owned by its reactor.
//
//	engine ──OnData──► link ──Next──► codec        events go to the streams, one after another
//	       ◄─Commit─── link ◄─Append─ codec        heads and data at once, control frames at the end of the batch
//
// RST_STREAM and WINDOW_UPDATE that a stream's method asks for outside a batch leave by a task of the same tick: all
// that a tick produces, for any number of streams, is one write.
//
//	armed != 0         the connection's timer fires then or earlier: it is moved only for what is due before
//	inTurn => inBatch; inCallback => the callback of that stream runs
type link struct {
	codec        h2.Conn
	conn         *engine.Conn
	end          linkEnd
	head         *message.Head // the reactor's, lent to the codec
	pool         *streamPool
	live         []*h2Stream // in no order
	task         engine.Task
	inCallback   *h2Stream // the stream whose callback runs
	cause        error     // why the connection closes, where the codec knows
	armed        int64
	queueBlocked int // streams that are blocked by the send queue
	todos        int // streams with something that the task has to tell them

	server      bool // this end is the server's
	connected   bool // the connection was established
	inBatch     bool // events are being worked on: endBatch comes
	inTurn      bool // a stream was unblocked and sends
	posted      bool // the task was deferred and has not begun
	goAwayError bool // the peer said GOAWAY with an error
}

// streamPool is the free streams of one reactor, which owns it.
type streamPool struct {
	free *h2Stream
	kept int
}

// streamsKept bounds the free streams of a pool.
const streamsKept = 1024

func (p *streamPool) take() *h2Stream {
	s := p.free
	if s == nil {
		return &h2Stream{}
	}
	p.free, s.next = s.next, nil
	p.kept--
	return s
}

func (p *streamPool) park(s *h2Stream) {
	if n := len(s.earlyBytes); n > 0 {
		s.link.conn.Reactor().Account(-n)
	}
	early := s.earlyBytes[:0]
	if cap(early) > earlyKept {
		early = nil
	}
	*s = h2Stream{link: s.link, earlyBytes: early} // a method that is called too late finds no receiver
	if p.kept < streamsKept {
		s.next, p.free = p.free, s
		p.kept++
	}
}

// earlyKept is the capacity for early bytes that a free stream keeps.
const earlyKept = 4 << 10

// start prepares l for conn.
func (l *link) start(conn *engine.Conn, role h2.Role, o *h2.Options) {
	l.conn = conn
	l.task.Run = l.run
	l.codec.Init(role, o, conn.Reactor().Now())
}

// add makes a stream of cs.
func (l *link) add(cs *h2.Stream) *h2Stream {
	s := l.pool.take()
	s.link, s.codec = l, cs
	s.index = int32(len(l.live))
	l.live = append(l.live, s)
	if cs != nil {
		cs.Owner = s
	}
	return s
}

// remove takes s out of live.
func (l *link) remove(s *h2Stream) {
	last := len(l.live) - 1
	moved := l.live[last]
	l.live[s.index], moved.index = moved, s.index
	l.live[last] = nil
	l.live = l.live[:last]
	s.clearBlock()
	if s.todo != nothing {
		s.todo = nothing
		l.todos--
	}
	s.deadline = 0
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

// control queues the frames that the codec has to send by itself.
func (l *link) control() {
	if l.codec.Pending() {
		l.conn.Commit(l.codec.AppendControl(l.conn.Reserve(controlRoom)))
	}
}

// controlRoom is more than the control frames of most batches take.
const controlRoom = 512

// sendControlSoon makes sure that control frames leave in this tick.
func (l *link) sendControlSoon() {
	if !l.inBatch && (l.todos > 0 || l.codec.Pending() && l.conn.Open()) {
		l.post()
	}
}

// post makes the task run in this tick.
func (l *link) post() {
	if !l.posted {
		l.posted = true
		l.conn.Reactor().Defer(&l.task)
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

// armTimer makes the connection's timer fire at the time at or before; 0 is never.
func (l *link) armTimer(at int64) {
	if at == 0 || l.armed != 0 && l.armed <= at || !l.connected {
		return
	}
	l.armed = at
	l.conn.SetTimeout(time.Duration(max(at-l.conn.Reactor().Now(), 1)))
}

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
