package session

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/stream/shared"
	"github.com/edge-proxy/edge/message"
)

// linkEnd is what the two ends of an HTTP/2 connection do differently.
type linkEnd interface {
	shared.End
	// newStream makes the stream of a request that came, nil when it was refused. Only a server is asked.
	newStream(cs *h2.Stream, end bool) *shared.Stream
	// onConnEvent is told of SETTINGS, GOAWAY and malformed requests.
	onConnEvent(ev h2.Event)
	// settingsKnown reports whether SETTINGS of the peer have come, or are not needed.
	settingsKnown() bool
	// runDue does, at the end of each batch, what has become due for the connection itself. It returns when to ask
	// again, 0 for never.
	runDue(now int64) int64
}

// link drives the codec of one HTTP/2 connection, of either end: it is the shared.Wire of its streams. The ends embed
// it.
// Owned by its reactor.
//
//	engine ──OnData──► link ──Next──► codec        events go to the streams, one after another
//	       ◄─Commit─── link ◄─Append─ codec        heads and data at once, control frames at the end of the batch
type link struct {
	shared.Link
	codec       h2.Conn
	end         linkEnd
	head        *message.Head // the reactor's, lent to the codec
	cause       error         // why the connection closes, where the codec knows
	goAwayError bool          // the peer said GOAWAY with an error
}

// start prepares l for conn.
func (l *link) start(conn *engine.Conn, role h2.Role, o *h2.Options, pool *shared.Pool) {
	l.Start(conn, l, l.end, pool, role == h2.Server)
	l.codec.Init(role, o, conn.Reactor().Now())
}

// open makes the stream of a request that is to be sent; cs is nil where the codec opened none.
func (l *link) open(cs *h2.Stream, r Receiver) *shared.Stream {
	if cs == nil {
		return l.Open(nil, r)
	}
	s := l.Open(cs, r)
	cs.Owner = s
	return s
}

// control queues the frames that the codec has to send by itself.
func (l *link) control() {
	if l.codec.Pending() {
		c := l.Conn()
		c.Commit(l.codec.AppendControl(c.Reserve(controlRoom)))
	}
}

// controlRoom is more than the control frames of most batches take.
const controlRoom = 512

// Sizes of what is queued in one piece.
const (
	quantum   = 16<<10 - frameHead // bytes of data in a turn: with its frame head it fills a quarter of a large Buf
	frameRoom = 64                 // more than the heads of two frames
)

// SendHead encodes h into the connection's queue.
func (l *link) SendHead(s *shared.Stream, h *message.Head, end bool) error {
	c := l.Conn()
	b, err := l.codec.AppendHead(c.Reserve(len(h.Base)+headRoom), s.Handle().(*h2.Stream), h, end)
	c.Commit(b)
	return sendError(err)
}

// sendError is an error of the codec as streams know it.
func sendError(err error) error {
	switch err {
	case h2.ErrListSize:
		return ErrHeadSize
	case h2.ErrUnsettled:
		return shared.ErrUnsettled
	}
	return err
}

// CodeOf says what an error of SendHead means to a request.
func (l *link) CodeOf(err error) Code {
	switch err {
	case h2.ErrNoExtendedConnect:
		return NoUpgrade
	case h2.ErrGoingAway, h2.ErrNoRoom:
		return Refused
	}
	return ConnectionLost
}

// SendData queues p in DATA frames.
func (l *link) SendData(s *shared.Stream, p []byte, end bool) (n int, why shared.Blocking, err error) {
	c, cs := l.Conn(), s.Handle().(*h2.Stream)
	l.codec.Tick(c.Reactor().Now())
	for len(p) > 0 || end {
		room := c.Room() - frameRoom
		if len(p) > 0 && (room <= 0 || c.Congested() || !l.HasTurn(n > 0)) {
			return n, shared.ByQueue, nil
		}
		piece := p[:min(len(p), quantum, max(room, 0))]
		last := end && len(piece) == len(p)
		b, k, err := l.codec.AppendData(c.Reserve(len(piece)+frameRoom), cs, piece, last)
		c.Commit(b)
		if err != nil {
			l.FlushSoon(l.codec.Pending()) // a fault that AppendData found is told by the task
			return n, shared.Unblocked, err
		}
		n, p = n+k, p[k:]
		if k < len(piece) {
			return n, shared.ByWindow, nil
		}
		if last {
			break
		}
	}
	return n, shared.Unblocked, nil
}

// SendTrailers ends the message with h.
func (l *link) SendTrailers(s *shared.Stream, h *message.Head) error {
	c := l.Conn()
	b, err := l.codec.AppendTrailers(c.Reserve(len(h.Base)+headRoom), s.Handle().(*h2.Stream), h)
	c.Commit(b)
	return sendError(err)
}

// Release opens the window of s.
func (l *link) Release(s *shared.Stream, n int) {
	l.codec.Tick(l.Conn().Reactor().Now())
	l.codec.Release(s.Handle().(*h2.Stream), n)
	l.FlushSoon(l.codec.Pending())
}

// Reset sends RST_STREAM.
func (l *link) Reset(s *shared.Stream, why shared.Reason) {
	l.codec.Reset(s.Handle().(*h2.Stream), reasonCode[why])
	l.FlushSoon(l.codec.Pending())
}

// Discard lets the codec throw away the rest of a request.
func (l *link) Discard(s *shared.Stream) {
	l.codec.Tick(l.Conn().Reactor().Now())
	l.codec.Linger(s.Handle().(*h2.Stream))
	l.ArmTimer(l.codec.Deadline())
	l.FlushSoon(l.codec.Pending())
}

// Await puts s in the codec's order of streams that wait for room in the queue.
func (l *link) Await(s *shared.Stream) { l.codec.Block(s.Handle().(*h2.Stream)) }

// NextSendable returns the next stream in the codec's order, while there is room in the queue.
func (l *link) NextSendable() (*shared.Stream, bool) {
	if c := l.Conn(); c.Congested() || c.Room() <= frameRoom { // no room: it takes nothing any more
		return nil, false
	}
	cs := l.codec.NextSendable()
	if cs == nil {
		return nil, false
	}
	s, _ := cs.Owner.(*shared.Stream)
	return s, true
}

// Congested reports whether the queue is full.
func (l *link) Congested() bool { return l.Conn().Congested() }

// Settled reports whether SETTINGS have come, or the peer takes an extended CONNECT.
func (l *link) Settled() bool { return l.codec.ExtendedConnect() || l.end.settingsKnown() }
