package session

import (
	"time"

	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/tlsconn"
)

// h2Stream is one exchange on an HTTP/2 connection, of either end.
// Owned by its reactor, which uses it again.
//
//	receiver != nil     from its start to the end of both messages, or OnReset; then it is in link.live
//	codec == nil        once both directions are closed on the wire, or none was opened
//	received, framing == ended     what the receiver was told, and what the sender said
//	peerDone, weDone               what END_STREAM said
//	queued => blocked
//	pending != nil      the head waits for SETTINGS, and what comes after it has to wait as well
type h2Stream struct {
	link     *link
	codec    *h2.Stream
	receiver Receiver
	next     *h2Stream // in a streamPool
	early    []byte    // a server's: what came before the answer that opens the tunnel
	pending  *message.Head
	cause    error // of todo == doomed
	deadline int64 // time of the reactor, 0: none
	stopped  int64 // while blocked: since when
	pace     pace  // a server's: of the request's body
	taking   pace  // a server's: of the answer, once the client did not take it at once
	left     int64 // framing == counted: bytes to come
	owed     int
	at       int32 // in link.live
	framing  framing
	verb     message.Verb
	todo     todo
	code     Code // of todo == doomed

	received bool // the receiver was given the end
	peerDone bool
	weDone   bool
	final    bool // a client's: a final head was delivered
	bare     bool // a client's: and it is the whole answer, which has no content
	expects  bool // the body waits for 100
	asked    bool // the request asked for a tunnel
	tunnel   bool // and got it
	parting  bool // its process drains, deadline is its end
	blocked  bool // OnSendable will come
	queued   bool // and counts in link.waiting
	calling  bool // inside a callback of the receiver
}

// todo is what the link's task has to tell a stream: its methods call nobody.
type todo uint8

const (
	nothing todo = iota
	doomed       // it failed inside a method
	belated      // bytes that came before the tunnel
	held         // the head waited for SETTINGS
)

// Sizes of what is queued in one piece.
const (
	quantum   = 16<<10 - frameHead // of data in a turn: with its frame head it fills a quarter of a large Buf
	frameHead = 9
	frameRoom = 64 // more than the heads of the frames and an end
)

// enter and leave stand around each callback.
func (s *h2Stream) enter() {
	s.calling = true
	s.link.inside = s
}

func (s *h2Stream) leave() {
	s.calling = false
	s.link.inside = nil
	switch {
	case s.receiver == nil:
		s.link.pool.park(s)
	case !s.finish():
		s.link.end.await(s)
	}
}

func (s *h2Stream) gotHead(h *message.Head, end bool) {
	if h.Tunnel {
		s.tunnelHead(h, end)
		return
	}
	s.peerEnded(end)
	s.received = end || s.asked && h.Status == 0
	if h.Status >= 200 {
		s.final = true
		s.bare = s.verb == message.VerbHead || h.Status == 204 || h.Status == 304
	}
	if h.Status >= 101 || h.Status == 100 {
		s.expects = false
	}
	s.enter()
	s.receiver.OnHead(s, h, s.received)
	s.leave()
}

func (s *h2Stream) gotData(p []byte, end bool) {
	s.peerEnded(end)
	if s.asked && !s.tunnel && s.link.server {
		s.early = append(s.early, p...)
		s.link.conn.Reactor().Account(len(p))
		return
	}
	s.deliver(p, end)
}

func (s *h2Stream) deliver(p []byte, end bool) {
	if len(p) == 0 && !end {
		return
	}
	s.received = end
	s.owed += len(p)
	s.expects = s.expects && !s.link.server
	s.link.end.paid(s, len(p))
	s.enter()
	s.receiver.OnData(s, p, end)
	s.leave()
}

func (s *h2Stream) gotTrailers(h *message.Head) {
	s.peerEnded(true)
	if s.asked && !s.tunnel && s.link.server {
		return
	}
	s.received = true
	s.enter()
	s.receiver.OnTrailers(s, h)
	s.leave()
}

func (s *h2Stream) peerEnded(end bool) {
	if end {
		s.peerDone = true
		s.through()
	}
}

// through forgets the codec's stream when that has died.
func (s *h2Stream) through() {
	if s.peerDone && s.weDone {
		s.codec = nil
	}
}

// finish ends the exchange when it is over, and reports whether it is: s must not be touched then. A server's is over
// with its answer: what is left of the request is thrown away.
func (s *h2Stream) finish() bool {
	if s.calling || s.framing != ended || !s.received && (!s.link.server || s.tunnel) {
		return false
	}
	s.linger()
	s.detach(h2.Cancel)
	return true
}

// detach takes s out of everything. It may be another exchange's afterwards.
func (s *h2Stream) detach(code h2.Code) {
	l := s.link
	s.receiver = nil
	s.resetWire(code)
	l.remove(s)
	l.end.over(s)
	if !s.calling {
		l.pool.park(s)
	}
}

func (s *h2Stream) resetWire(code h2.Code) {
	if cs := s.codec; cs != nil {
		s.codec = nil
		s.link.codec.Reset(cs, code)
		s.link.kick()
	}
}

// linger leaves to the codec what is to come of a request whose answer was sent whole. A tunnel that was refused has no
// rest that would come to an end.
func (s *h2Stream) linger() {
	l, cs := s.link, s.codec
	switch {
	case cs == nil || !l.server || !s.weDone || s.tunnel:
		return
	case s.asked:
		s.resetWire(h2.NoError)
		return
	}
	s.codec = nil
	l.codec.Tick(l.conn.Reactor().Now())
	l.codec.Linger(cs)
	l.arm(l.codec.Deadline())
	l.kick()
}

// fail resets the exchange. Not inside a callback of s.
func (s *h2Stream) fail(code Code, cause error) {
	if s.bare && !s.received && s.concluded(code) {
		return
	}
	l, r := s.link, s.receiver
	s.receiver = nil
	s.linger()
	s.resetWire(s.lastCode(code))
	l.remove(s)
	s.calling = true
	s.tellReset(r, code, cause)
	l.end.over(s)
	l.pool.park(s)
}

// concluded gives the receiver the end of an answer that RFC 9110 §6.4.1 says ends with its head: whatever the origin
// did behind that, it is no part of it. It reports whether the exchange is over so; a request may still be on its way.
func (s *h2Stream) concluded(code Code) bool {
	s.received, s.peerDone = true, true
	s.resetWire(resetCode(code, true))
	s.calling = true
	told := s.tellEnd()
	s.calling = false
	if s.receiver == nil {
		s.link.pool.park(s)
		return true
	}
	return told && s.finish()
}

// tellEnd survives what it calls, as tellReset does, and reports whether that returned.
func (s *h2Stream) tellEnd() (told bool) {
	defer func() {
		if p := recover(); p != nil {
			s.link.conn.Reactor().Panicked(p)
		}
	}()
	s.receiver.OnData(s, nil, true)
	return true
}

// tellReset survives what it calls: the other exchanges have to be told as well.
func (s *h2Stream) tellReset(r Receiver, code Code, cause error) {
	defer func() {
		if p := recover(); p != nil {
			s.link.conn.Reactor().Panicked(p)
		}
	}()
	r.OnReset(s, code, cause)
}

// doom makes the task fail s: methods call nobody.
func (s *h2Stream) doom(code Code, cause error) {
	s.code, s.cause = code, cause
	s.later(doomed)
}

func (s *h2Stream) later(t todo) {
	if s.todo == nothing {
		s.link.todo++
	}
	s.todo = t
	s.link.kick()
}

// follow does what was left to do.
func (s *h2Stream) follow() {
	t := s.todo
	s.todo = nothing
	s.link.todo--
	switch t {
	case doomed:
		s.fail(s.code, s.cause)
	case belated:
		s.deliverEarly()
	case held:
		s.sendPending()
	}
}

// unblock gives s its turn.
func (s *h2Stream) unblock() {
	s.unqueue()
	s.taking.rest(s.link.conn.Reactor().Now())
	s.enter()
	s.receiver.OnSendable(s)
	s.leave()
}

func (s *h2Stream) unqueue() {
	s.blocked = false
	if s.queued {
		s.queued = false
		s.link.waiting--
	}
}

// stop notes that the peer has to take something before s can go on.
func (s *h2Stream) stop() {
	s.blocked = true
	s.stopped = s.link.conn.Reactor().Now()
}

// block puts s in the order of those that wait for room in the queue.
func (s *h2Stream) block() {
	if !s.blocked {
		s.stop()
		s.queued = true
		s.link.waiting++
		s.link.codec.Block(s.codec)
	}
}

// SendData sends body bytes, as many as the windows and the queue allow and as is fair to the other streams.
func (s *h2Stream) SendData(p []byte, end bool) (n int, err error) {
	if s.receiver == nil {
		return 0, ErrDead
	}
	switch s.framing {
	case noHead, ended:
		return 0, ErrOrder
	case noBody: // to HEAD, or with a status that forbids a body: what would follow is not sent
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
		return 0, nil // OnReset is on its way
	}
	if s.pending != nil || s.blocked && len(p) > 0 {
		return 0, nil // an end that comes alone leaves with the head
	}
	l.codec.Tick(l.conn.Reactor().Now())
	for len(p) > 0 || end {
		room := l.conn.Room() - frameRoom
		if len(p) > 0 && (room <= 0 || l.conn.Congested() || l.waiting > 0 && (n > 0 || !l.turn)) {
			s.block()
			break
		}
		piece := p[:min(len(p), quantum, max(room, 0))]
		last := end && len(piece) == len(p)
		b, k, err := l.codec.AppendData(l.conn.Reserve(len(piece)+frameRoom), s.codec, piece, last)
		l.conn.Commit(b)
		if err != nil {
			l.kick() // a fault that this found is told soon
			return n, ErrDead
		}
		n, p = n+k, p[k:]
		if k < len(piece) {
			s.stop() // by a window: the codec knows
			break
		}
		if last {
			s.weDone = true
			s.through()
			break
		}
	}
	return n, nil
}

// sent follows up on n bytes of data, and on the end. s may be over behind it.
func (s *h2Stream) sent(end bool, n int) {
	if end {
		s.framing = ended
		s.unqueue()
		if s.finish() {
			return
		}
	}
	if n > 0 && !s.link.server {
		s.expects = false
	}
	if n > 0 {
		if s.taking.begun {
			s.link.end.given(s, n)
		}
		s.answerMoves()
	}
	if !s.calling && (end || s.blocked || s.tunnel || s.pace.unhurried) {
		s.link.end.await(s)
	}
}

// SendTrailers ends the message with h.
func (s *h2Stream) SendTrailers(h *message.Head) error {
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
			s.doom(HeadSize, err)
			return ErrDead
		case err != nil:
			return ErrDead
		}
		s.weDone = true
		s.through()
	}
	s.sent(true, 0)
	return nil
}

// Congested reports whether a window or the connection's queue is full, the connection does not stand yet, or the head
// waits. The promise of OnSendable is what puts s in the order of those who wait.
func (s *h2Stream) Congested() bool {
	switch {
	case s.receiver == nil || s.framing == ended:
		return false
	case s.blocked, s.pending != nil:
		return true
	case s.codec == nil || s.link.opened && !s.link.conn.Congested():
		return false
	}
	s.block()
	return true
}

// Queued returns the bytes of the connection that have not left.
func (s *h2Stream) Queued() int { return s.link.conn.Queued() }

// Release opens the window by n bytes.
func (s *h2Stream) Release(n int) {
	if s.receiver == nil {
		return
	}
	s.owed = max(s.owed-n, 0)
	if s.codec != nil {
		l := s.link
		l.codec.Tick(l.conn.Reactor().Now())
		l.codec.Release(s.codec, n)
		l.kick()
	}
	if s.owed == 0 && !s.calling {
		s.link.end.await(s)
	}
}

// Reset ends the exchange. The others on the connection do not notice.
func (s *h2Stream) Reset(code Code) {
	if s.receiver != nil {
		s.detach(s.lastCode(code))
	}
}

// Peer is the address of the other end of the connection.
func (s *h2Stream) Peer() poller.Addr { return s.link.conn.Peer() }

// Local is the address of our end.
func (s *h2Stream) Local() poller.Addr { return s.link.conn.Local() }

// until sets the deadline of s to d from now; 0 for none. The connection's timer is touched only when it would fire
// later.
func (s *h2Stream) until(d time.Duration) {
	if d <= 0 {
		s.deadline = 0
		return
	}
	s.by(s.link.conn.Reactor().Now() + int64(d))
}

// by sets the deadline of s.
func (s *h2Stream) by(at int64) {
	s.deadline = at
	s.link.arm(at)
}

// Digest is what is known of a secured connection.
func (s *h2Stream) Digest() *tlsconn.Digest { return tlsconn.DigestOf(s.link.conn) }
