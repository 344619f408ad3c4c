package session

import (
	"time"

	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/tlsconn"
)

// h2Stream is one exchange on an HTTP/2 connection, of either end.
// Owned by its reactor, which uses it again for another exchange.
//
//	receiver is set      from its start to the end of both messages, or OnReset; then it is in link.live
//	codec == nil         once both directions are closed on the wire, or none was opened
//	endReceived          END_STREAM came; endDelivered: the receiver was told
//	endSent              END_STREAM left; framing == ended: our side said so
//	endDelivered => endReceived, but for a request that asks for a tunnel: to the receiver it ends with its head
//	blocked == byQueue   it counts in link.queueBlocked
//	pendingHead != nil   the head waits for the connection or for SETTINGS, and so does what comes after it
type h2Stream struct {
	link        *link
	codec       *h2.Stream
	receiver    Receiver
	next        *h2Stream     // in a streamPool
	earlyBytes  []byte        // of a server: arrived before the tunnel opened
	pendingHead *message.Head // of a client: waits for the connection, or for SETTINGS
	cause       error         // for todo == toFail
	deadline    int64         // time of the reactor, 0: none
	blockedAt   int64         // when it was blocked last
	bodyPace    pace          // of a server: for the request's body
	answerPace  pace          // of a server: for the answer, once the client did not take it at once
	patience                  // of a client
	left        int64         // for framing == counted: bytes to come
	owed        int
	index       int32 // in link.live
	framing     framing
	verb        message.Verb
	tunnel      tunnelState
	blocked     blocking
	todo        todo
	code        Code // for todo == toFail

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

// Sizes of what is queued in one piece.
const (
	quantum   = 16<<10 - frameHead // bytes of data in a turn: with its frame head it fills a quarter of a large Buf
	frameHead = 9
	frameRoom = 64 // more than the heads of two frames
)

// enter and leave are called around each callback.
func (s *h2Stream) enter() {
	s.inCallback = true
	s.link.inCallback = s
}

func (s *h2Stream) leave() {
	s.inCallback = false
	s.link.inCallback = nil
	switch {
	case s.receiver == nil:
		s.link.pool.park(s)
	case !s.finish():
		s.link.end.setDeadline(s)
	}
}

func (s *h2Stream) gotHead(h *message.Head, end bool) {
	if h.Tunnel {
		s.tunnelHead(h, end)
		return
	}
	s.gotEnd(end)
	s.endDelivered = end || s.tunnel != noTunnel && h.Status == 0
	if h.Status >= 200 {
		s.finalHead = true
		s.noContent = s.verb == message.VerbHead || h.Status == 204 || h.Status == 304
	}
	if h.Status >= 101 || h.Status == 100 {
		s.awaits100 = false
	}
	s.enter()
	s.receiver.OnHead(s, h, s.endDelivered)
	s.leave()
}

func (s *h2Stream) gotData(p []byte, end bool) {
	s.gotEnd(end)
	if s.tunnel == tunnelAsked && s.link.server {
		s.earlyBytes = append(s.earlyBytes, p...)
		s.link.conn.Reactor().Account(len(p))
		return
	}
	s.deliver(p, end)
}

func (s *h2Stream) deliver(p []byte, end bool) {
	if len(p) == 0 && !end {
		return
	}
	s.endDelivered = end
	s.owed += len(p)
	s.awaits100 = s.awaits100 && !s.link.server
	s.link.end.onBodyReceived(s, len(p))
	s.enter()
	s.receiver.OnData(s, p, end)
	s.leave()
}

func (s *h2Stream) gotTrailers(h *message.Head) {
	s.gotEnd(true)
	if s.tunnel == tunnelAsked && s.link.server {
		return
	}
	s.endDelivered = true
	s.enter()
	s.receiver.OnTrailers(s, h)
	s.leave()
}

func (s *h2Stream) gotEnd(end bool) {
	if end {
		s.endReceived = true
		s.forgetCodec()
	}
}

// forgetCodec forgets the codec's stream once both directions are closed.
func (s *h2Stream) forgetCodec() {
	if s.endReceived && s.endSent {
		s.codec = nil
	}
}

// finish ends the exchange when both messages are complete, and reports whether they are: s must not be used then.
// On a server the end of the answer is enough: the rest of the request is thrown away.
func (s *h2Stream) finish() bool {
	if s.inCallback || s.framing != ended || !s.endDelivered && (!s.link.server || s.tunnel == tunnelOpen) {
		return false
	}
	s.linger()
	s.resetAndFree(h2.Cancel)
	return true
}

// resetAndFree resets s on the wire and frees it. It may be another exchange's afterwards.
func (s *h2Stream) resetAndFree(code h2.Code) {
	l := s.link
	s.receiver = nil
	s.resetWire(code)
	l.remove(s)
	l.end.streamEnded(s)
	if !s.inCallback {
		l.pool.park(s)
	}
}

func (s *h2Stream) resetWire(code h2.Code) {
	if cs := s.codec; cs != nil {
		s.codec = nil
		s.link.codec.Reset(cs, code)
		s.link.sendControlSoon()
	}
}

// linger lets the codec throw away the rest of a request whose answer was sent whole. The rest of a refused tunnel
// may have no end: it is reset.
func (s *h2Stream) linger() {
	l, cs := s.link, s.codec
	switch {
	case cs == nil || !l.server || !s.endSent || s.tunnel == tunnelOpen:
		return
	case s.tunnel != noTunnel:
		s.resetWire(h2.NoError)
		return
	}
	s.codec = nil
	l.codec.Tick(l.conn.Reactor().Now())
	l.codec.Linger(cs)
	l.armTimer(l.codec.Deadline())
	l.sendControlSoon()
}

// fail resets the exchange. Not inside a callback of s.
func (s *h2Stream) fail(code Code, cause error) {
	if s.noContent && !s.endDelivered && s.endWithHead(code) {
		return
	}
	l, r := s.link, s.receiver
	s.receiver = nil
	s.linger()
	s.resetWire(s.lastCode(code))
	l.remove(s)
	s.inCallback = true
	s.callOnReset(r, code, cause)
	l.end.streamEnded(s)
	l.pool.park(s)
}

// endWithHead gives the receiver the end of an answer that ends with its head (RFC 9110 §6.4.1): what the origin
// did after the head is no part of the answer. It reports whether the exchange is over; the request may still be on
// its way.
func (s *h2Stream) endWithHead(code Code) bool {
	s.endDelivered, s.endReceived = true, true
	s.resetWire(resetCode(code, true))
	s.inCallback = true
	told := s.deliverEnd()
	s.inCallback = false
	if s.receiver == nil {
		s.link.pool.park(s)
		return true
	}
	return told && s.finish()
}

// deliverEnd gives the receiver the end of the answer and reports whether it returned without a panic.
func (s *h2Stream) deliverEnd() (told bool) {
	defer func() {
		if p := recover(); p != nil {
			s.link.conn.Reactor().Panicked(p)
		}
	}()
	s.receiver.OnData(s, nil, true)
	return true
}

// callOnReset calls OnReset and recovers a panic of it: the other exchanges have to be told as well.
func (s *h2Stream) callOnReset(r Receiver, code Code, cause error) {
	defer func() {
		if p := recover(); p != nil {
			s.link.conn.Reactor().Panicked(p)
		}
	}()
	r.OnReset(s, code, cause)
}

// failLater makes the task fail s: methods make no callbacks.
func (s *h2Stream) failLater(code Code, cause error) {
	s.code, s.cause = code, cause
	s.postpone(toFail)
}

func (s *h2Stream) postpone(t todo) {
	if s.todo == nothing {
		s.link.todos++
	}
	s.todo = t
	s.link.sendControlSoon()
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

// unblock gives s its turn to send.
func (s *h2Stream) unblock() {
	s.clearBlock()
	s.answerPace.pause(s.link.conn.Reactor().Now())
	s.enter()
	s.receiver.OnSendable(s)
	s.leave()
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

// SendData sends body bytes: as many as the windows, the queue and the turns of other streams allow.
func (s *h2Stream) SendData(p []byte, end bool) (n int, err error) {
	s.mustOwn()
	if s.receiver == nil {
		return 0, ErrDead
	}
	switch s.framing {
	case noHead, ended:
		return 0, ErrOrder
	case noBody: // to HEAD, or with a status that forbids a body: body bytes are not sent
		n = len(p)
	case counted:
		if int64(len(p)) > s.left {
			return 0, ErrTooMuch
		}
		if end && int64(len(p)) < s.left {
			return 0, ErrTooLittle
		}
		fallthrough
	default:
		n, err = s.write(p, end)
		s.left -= int64(n)
	}
	s.sent(n == len(p) && end && err == nil, n)
	return n, err
}

// write queues p in DATA frames.
func (s *h2Stream) write(p []byte, end bool) (n int, err error) {
	l := s.link
	if s.codec == nil {
		return 0, nil // OnReset comes
	}
	if s.pendingHead != nil || s.blocked != unblocked && len(p) > 0 {
		return 0, nil // only an end without data leaves with the head
	}
	l.codec.Tick(l.conn.Reactor().Now())
	for len(p) > 0 || end {
		room := l.conn.Room() - frameRoom
		if len(p) > 0 && (room <= 0 || l.conn.Congested() || l.queueBlocked > 0 && (n > 0 || !l.inTurn)) {
			s.blockByQueue()
			break
		}
		piece := p[:min(len(p), quantum, max(room, 0))]
		last := end && len(piece) == len(p)
		b, k, err := l.codec.AppendData(l.conn.Reserve(len(piece)+frameRoom), s.codec, piece, last)
		l.conn.Commit(b)
		if err != nil {
			l.sendControlSoon() // a fault that AppendData found is told by the task
			return n, ErrDead
		}
		n, p = n+k, p[k:]
		if k < len(piece) {
			s.block(byWindow)
			break
		}
		if last {
			s.endSent = true
			s.forgetCodec()
			break
		}
	}
	return n, nil
}

// sent follows up on n bytes of data, and on the end. s may be another exchange's after it.
func (s *h2Stream) sent(end bool, n int) {
	if end {
		s.framing = ended
		s.clearBlock()
		if s.finish() {
			return
		}
	}
	if n > 0 && !s.link.server {
		s.awaits100 = false
	}
	if n > 0 {
		if s.answerPace.started() {
			s.link.end.onBodySent(s, n)
		}
		s.answerMoves()
	}
	if !s.inCallback && (end || s.blocked != unblocked || s.tunnel == tunnelOpen || s.unhurried) {
		s.link.end.setDeadline(s)
	}
}

// SendTrailers ends the message with h.
func (s *h2Stream) SendTrailers(h *message.Head) error {
	s.mustOwn()
	switch {
	case s.receiver == nil:
		return ErrDead
	case s.framing == noHead, s.framing == ended:
		return ErrOrder
	case s.framing == counted && s.left > 0:
		return ErrTooLittle
	case s.framing != noBody && s.codec != nil:
		l := s.link
		b, err := l.codec.AppendTrailers(l.conn.Reserve(len(h.Base)+headRoom), s.codec, h)
		l.conn.Commit(b)
		switch {
		case err == h2.ErrListSize && l.server:
			return ErrHeadSize
		case err == h2.ErrListSize:
			s.failLater(HeadSize, err)
			return ErrDead
		case err != nil:
			return ErrDead
		}
		s.endSent = true
		s.forgetCodec()
	}
	s.sent(true, 0)
	return nil
}

// Congested reports whether a window or the connection's queue is full, the connection is not established yet, or
// the head waits. Where the queue is full it blocks s, so that OnSendable comes.
func (s *h2Stream) Congested() bool {
	s.mustOwn()
	switch {
	case s.receiver == nil || s.framing == ended:
		return false
	case s.blocked != unblocked, s.pendingHead != nil:
		return true
	case s.codec == nil || s.link.connected && !s.link.conn.Congested():
		return false
	}
	s.blockByQueue()
	return true
}

// Queued returns the bytes of the connection that have not left.
func (s *h2Stream) Queued() int { return s.link.conn.Queued() }

// Release opens the window by n bytes.
func (s *h2Stream) Release(n int) {
	s.mustOwn()
	if s.receiver == nil {
		return
	}
	s.owed = max(s.owed-n, 0)
	if s.codec != nil {
		l := s.link
		l.codec.Tick(l.conn.Reactor().Now())
		l.codec.Release(s.codec, n)
		l.sendControlSoon()
	}
	if s.owed == 0 && !s.inCallback {
		s.link.end.setDeadline(s)
	}
}

// Reset ends the exchange. The others on the connection go on.
func (s *h2Stream) Reset(code Code) {
	s.mustOwn()
	if s.receiver != nil {
		s.resetAndFree(s.lastCode(code))
	}
}

// Peer is the address of the other end of the connection.
func (s *h2Stream) Peer() poller.Addr { return s.link.conn.Peer() }

// Local is the address of our end.
func (s *h2Stream) Local() poller.Addr { return s.link.conn.Local() }

// setDeadlineIn sets the deadline of s to d from now; 0 for none. The connection's timer is touched only when it would
// fire later.
func (s *h2Stream) setDeadlineIn(d time.Duration) {
	if d <= 0 {
		s.deadline = 0
		return
	}
	s.setDeadlineAt(s.link.conn.Reactor().Now() + int64(d))
}

// setDeadlineAt sets the deadline of s.
func (s *h2Stream) setDeadlineAt(at int64) {
	s.deadline = at
	s.link.armTimer(at)
}

// TLS is what is known of a TLS connection.
func (s *h2Stream) TLS() *tlsconn.Digest { return tlsconn.DigestOf(s.link.conn) }
