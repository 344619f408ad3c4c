package shared

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/stream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
)

// Stream is one exchange on a Link: a stream.Stream.
// Owned by its reactor, which uses it again for another exchange.
//
//	receiver is set      from its start to the end of both messages, or OnReset; then it is in Link.live
//	handle == nil        once both directions are closed on the wire, or none was opened
//	endReceived          the end came; endDelivered: the receiver was told
//	endSent              the end was sent; framing == Ended: our side said so
//	endDelivered => endReceived, but for a request that asks for a tunnel: to the receiver it ends with its head
//	blocked == ByQueue   it counts in Link.queueBlocked
//	pendingHead != nil   the head waits for the connection or for settings, and so do data and end
type Stream struct {
	link            *Link
	handle          any // the stream of the codec
	receiver        stream.Receiver
	peer            *poller.Addr  // that it began with; nil: the address of the connection
	earlyBytes      []byte        // of a server: arrived before the tunnel opened
	pendingHead     *message.Head // of a client: waits for the connection, or for the settings of the peer
	cause           error         // for todo == toFail
	deadline        int64         // time of the reactor, 0: none
	blockedAt       int64         // when it was blocked last
	bodyPace        stream.Pace   // of a server: for the request's body
	answerPace      stream.Pace   // of a server: for the answer, once the client did not take it at once
	stream.Patience               // of a client
	left            int64         // for framing == Counted: bytes to come
	owed            int
	index           int32 // in Link.live
	framing         stream.Framing
	verb            message.Verb
	tunnel          stream.TunnelState
	blocked         Blocking
	todo            todo
	code            stream.Code // for todo == toFail

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

// Blocking says why OnSendable is owed.
type Blocking uint8

// The reasons for which a stream waits.
const (
	Unblocked Blocking = iota
	ByWindow           // the codec knows when the peer opens it
	ByQueue            // the connection's send queue was full
)

// todo is what the link's task does for a stream: its own methods make no callbacks.
type todo uint8

const (
	nothing    todo = iota
	toFail          // it failed inside a method
	toDeliver       // bytes came before the tunnel opened
	toSendHead      // the head waited
)

// Handle is the stream of the codec; nil once both directions are closed there, or none was opened.
func (s *Stream) Handle() any { return s.handle }

// Conn is the connection.
func (s *Stream) Conn() *engine.Conn { return s.link.conn }

// Receive sets the receiver of a request, before GotHead.
func (s *Stream) Receive(r stream.Receiver) { s.receiver = r }

func (s *Stream) clearBlock() {
	if s.blocked == ByQueue {
		s.link.queueBlocked--
	}
	s.blocked = Unblocked
}

// block notes that s waits until the peer has taken something.
func (s *Stream) block(why Blocking) {
	s.blocked = why
	s.blockedAt = s.now()
}

// blockByQueue puts s in the order of streams that wait for room in the queue.
func (s *Stream) blockByQueue() {
	if s.blocked == Unblocked {
		s.block(ByQueue)
		s.link.queueBlocked++
		s.link.wire.Await(s)
	}
}

// setDeadlineIn sets the deadline of s to d from now; 0 for none. The connection's timer is touched only when it would
// fire later.
func (s *Stream) setDeadlineIn(d time.Duration) {
	if d <= 0 {
		s.deadline = 0
		return
	}
	s.setDeadlineAt(s.now() + int64(d))
}

// setDeadlineAt sets the deadline of s.
func (s *Stream) setDeadlineAt(at int64) {
	s.deadline = at
	s.link.ArmTimer(at)
}

// now is the time of the reactor.
func (s *Stream) now() int64 { return s.link.conn.Reactor().Now() }
