package session

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session/stream"
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

// h2Stream is one exchange on an HTTP/2 connection, of either end.
// Owned by its reactor, which uses it again for another exchange.
//
//	receiver is set      from its start to the end of both messages, or OnReset; then it is in link.live
//	codec == nil         once both directions are closed on the wire, or none was opened
//	endReceived          END_STREAM came; endDelivered: the receiver was told
//	endSent              END_STREAM left; framing == Ended: our side said so
//	endDelivered => endReceived, but for a request that asks for a tunnel: to the receiver it ends with its head
//	blocked == byQueue   it counts in link.queueBlocked
//	pendingHead != nil   the head waits for the connection or for SETTINGS, and so does what comes after it
type h2Stream struct {
	link            *link
	codec           *h2.Stream
	receiver        Receiver
	next            *h2Stream     // in a streamPool
	earlyBytes      []byte        // of a server: arrived before the tunnel opened
	pendingHead     *message.Head // of a client: waits for the connection, or for SETTINGS
	cause           error         // for todo == toFail
	deadline        int64         // time of the reactor, 0: none
	blockedAt       int64         // when it was blocked last
	bodyPace        stream.Pace   // of a server: for the request's body
	answerPace      stream.Pace   // of a server: for the answer, once the client did not take it at once
	stream.Patience               // of a client
	left            int64         // for framing == stream.Counted: bytes to come
	owed            int
	index           int32 // in link.live
	framing         stream.Framing
	verb            message.Verb
	tunnel          stream.TunnelState
	blocked         blocking
	todo            todo
	code            Code // for todo == toFail

	endReceived  bool // the peer ended its message
	endDelivered bool // the receiver was given the end
	endSent      bool // we ended our message
	finalHead    bool // of a client: the final head was delivered
	noContent    bool // of a client: the answer ends with its head, as that to HEAD
	awaits100    bool // the body is sent after 100
	unhurried    bool // by Unhurry
	drainEnds    bool // of a server's tunnel: the process drains, and deadline ends it
	inCallback   bool // a callback of the receiver runs
}

// blocking says why OnSendable is owed.
type blocking uint8

const (
	unblocked blocking = iota
	byWindow           // the codec knows when the peer opens it
	byQueue            // the connection's send queue was full
)

// todo is what the link's task does for a stream: its own methods make no callbacks.
type todo uint8

const (
	nothing    todo = iota
	toFail          // it failed inside a method
	toDeliver       // bytes came before the tunnel opened
	toSendHead      // the head waited
)

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

// armTimer makes the connection's timer fire at the time at or before; 0 is never.
func (l *link) armTimer(at int64) {
	if at == 0 || l.armed != 0 && l.armed <= at || !l.connected {
		return
	}
	l.armed = at
	l.conn.SetTimeout(time.Duration(max(at-l.conn.Reactor().Now(), 1)))
}

func (s *h2Stream) clearBlock() {
	if s.blocked == byQueue {
		s.link.queueBlocked--
	}
	s.blocked = unblocked
}

// block notes that s waits until the peer has taken something.
func (s *h2Stream) block(why blocking) {
	s.blocked = why
	s.blockedAt = s.link.conn.Reactor().Now()
}

// blockByQueue puts s in the codec's order of streams that wait for room in the queue.
func (s *h2Stream) blockByQueue() {
	if s.blocked == unblocked {
		s.block(byQueue)
		s.link.queueBlocked++
		s.link.codec.Block(s.codec)
	}
}
