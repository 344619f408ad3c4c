package session

import (
	"math"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/stream"
	"github.com/edge-proxy/edge/message"
)

// h1Server is one HTTP/1 connection of a client, and the Stream of the request that is in progress on it.
// Owned by its reactor.
//
//	receiver   tunnel       flags                        the connection
//	nil        NoTunnel     none, headBegun, backlog     is idle, reads a head, or makes the client take its answers
//	nil        NoTunnel     discarding                   has sent an answer early and reads the rest of its request
//	set        not open     none                         has an exchange whose request is still coming
//	set        not open     requestDone                  has an exchange whose request came whole
//	set        TunnelOpen   none, requestDone            is a tunnel until both ends have ended; then it closes
//
//	receiver is set from Accept to the end of both messages, or OnReset
//	requestDone: what follows is the next request, which is not looked at before the answer was sent
//	owed > 0 => reading is paused; with discarding owed counts what was thrown away
type h1Server struct {
	server   *Server
	conn     *engine.Conn
	receiver Receiver
	dec      h1.Decoder
	body     bodyWriter
	owed     int32
	requests uint32
	verb     message.Verb
	proto    message.Proto
	tunnel   stream.TunnelState

	requestDone     bool // the request was delivered whole
	discarding      bool // the answer was sent; the rest of its request is read and thrown away
	headBegun       bool // bytes of a head have come: its deadline runs
	backlog         bool // the next request waits until the client has taken the answers that are queued
	awaits100       bool // the client sends the body after it got 100
	earlyBytes      bool // bytes followed the part of the request that is dispatched
	closeAfter      bool // the connection closes after this answer
	clientWillClose bool // RFC 9112 §9.6: the client said close, and MUST NOT send further requests
	peerFIN         bool // the client sent FIN
	inCallback      bool // a callback of the receiver runs: the next request is looked at after it

	bodyPace   stream.Pace // of the request's body
	answerPace stream.Pace // of the answer, once the client did not take it at once
	splice     *splice     // of request bodies; nil until there was one
}

// Idle reports whether the connection is between two requests.
func (s *h1Server) Idle() bool { return s.receiver == nil && s.dec.Idle() }

// IdleSince returns when the last answer had been sent, or when the connection opened. It is computed from the
// deadline.
func (s *h1Server) IdleSince(c *engine.Conn) int64 {
	if s.requests == 0 {
		return c.Deadline() - int64(s.server.opts.HeaderTimeout)
	}
	return c.Deadline() - int64(s.server.opts.IdleTimeout)
}

// finish ends the exchange once the answer was sent whole. The next request or the end of the connection follows.
func (s *h1Server) finish() {
	if s.receiver == nil && !s.conn.Open() {
		return
	}
	if s.tunnel == stream.TunnelOpen {
		s.tunnelOver()
		return
	}
	s.receiver = nil
	s.body = bodyWriter{}
	switch {
	case !s.requestDone && !s.closeAfter && !s.discarding && s.discardable():
		s.discarding, s.owed = true, 0
		s.conn.SetTimeout(s.server.opts.BodyTimeout)
		s.conn.ResumeRead()
		return
	case !s.requestDone:
		s.server.local[s.conn.Reactor().Index()].stats.Unread++
		s.conn.Close(nil)
		return
	case s.clientWillClose && !s.conn.Unread():
		s.conn.Finish()
		return
	case s.closeAfter || s.peerFIN && !s.conn.Unread():
		s.conn.Close(nil)
		return
	}
	s.requestDone, s.discarding = false, false
	s.owed = 0
	s.conn.SetTimeout(s.server.opts.IdleTimeout)
	s.conn.ResumeRead()
}

// discardMax is how many bytes of a request that was answered early are read and thrown away, so that the
// connection persists.
const discardMax = 64 << 10

// discardable reports whether the rest of the request is short enough to be thrown away. A client that waits for
// 100 may never send it.
func (s *h1Server) discardable() bool { return !s.awaits100 && s.dec.Remaining() <= discardMax }

// discard throws n bytes away. After the last byte of the request the next one begins.
func (s *h1Server) discard(n int) {
	if !s.discarding {
		return
	}
	if s.owed += int32(n); s.requestDone || s.owed > discardMax {
		s.finish()
	}
}

// setDeadline sets the deadline for what the client has to do: take its answer, or send its body. While bytes of its
// body are owed it has to do nothing.
func (s *h1Server) setDeadline() {
	switch {
	case s.tunnel == stream.TunnelOpen:
	case s.conn.Congested():
		s.awaitTaken()
	case !s.requestDone && s.owed <= 0:
		s.awaitBody()
	case s.peerFIN && s.body.framing == stream.NoHead: // HalfCloseWait runs
	default:
		s.conn.SetTimeout(0)
	}
}

// owesBody reports whether the exchange waits for the client's body.
func (s *h1Server) owesBody() bool {
	return s.tunnel != stream.TunnelOpen && !s.requestDone && s.owed <= 0 && !s.conn.Congested()
}

// awaitBody sets the deadline of a client that has to send its body: for the next read, or by the least rate.
func (s *h1Server) awaitBody() {
	if s.awaits100 { // it sends nothing yet: it waits for 100
		s.conn.SetTimeout(0)
		return
	}
	d := s.server.opts.BodyTimeout
	if s.server.terms.PerByte > 0 {
		d = min(d, s.bodyPace.Shrink(s.conn.Reactor().Now()))
	}
	s.conn.SetTimeout(d)
}

// noteBodyReceived notes that n bytes of the body have come.
func (s *h1Server) noteBodyReceived(n int) {
	if b := s.server.terms.PerByte; b > 0 {
		s.bodyPace.Earn(n, b, int64(max(stream.BodyGrace, s.server.opts.BodyTimeout)), s.conn.Reactor().Now())
	}
}

// awaitTaken sets the deadline of a client that has to take its answer.
func (s *h1Server) awaitTaken() {
	s.conn.SetTimeout(s.timeToTake())
}

// timeToTake returns how long the client may still take to take more of its answer.
func (s *h1Server) timeToTake() time.Duration {
	return s.answerPace.TimeToTake(s.server.opts.SendTimeout, s.conn.Reactor().Now())
}

// noteAnswerTaken notes that n bytes of the answer were queued or sent.
func (s *h1Server) noteAnswerTaken(n int) {
	if s.answerPace.Started() && n > 0 {
		s.answerPace.AddTaken(n, s.server.terms.PerByte, s.server.opts.SendTimeout, s.conn.Reactor().Now())
	}
}

// answerMoves notes that a part of the answer was sent, and renews the credit of the body. A client may be busy
// with the answer, or have seen that its body is not wanted (RFC 9112 §9.5): an early answer is delivered whole.
func (s *h1Server) answerMoves() {
	if s.requestDone || s.tunnel == stream.TunnelOpen {
		return
	}
	s.bodyPace.Renew(s.conn.Reactor().Now())
	if !s.inCallback {
		s.setDeadline()
	}
}

func (s *h1Server) fail(code Code, cause error) {
	if r := s.receiver; r != nil {
		s.receiver = nil
		r.OnReset(s, code, cause)
	}
}

// cutOff closes the connection amid an exchange. Where the end of the connection would mean the end of the answer,
// it is reset instead; in a tunnel it would not.
func (s *h1Server) cutOff(cause error) {
	if s.body.framing == stream.UntilClose && s.tunnel != stream.TunnelOpen {
		s.conn.Reset(cause)
		return
	}
	s.conn.Close(cause)
}

// tunnelEOF passes the client's FIN on.
func (s *h1Server) tunnelEOF() {
	if s.receiver == nil || s.requestDone {
		return
	}
	s.requestDone = true
	s.inCallback = true
	s.receiver.OnData(s, nil, true)
	s.inCallback = false
	s.tunnelOver()
}

// tunnelOver ends the exchange when both sides have ended.
func (s *h1Server) tunnelOver() {
	if s.receiver != nil && s.requestDone && s.body.framing == stream.Ended {
		s.receiver = nil
		s.conn.Close(nil)
	}
}

func (s *h1Server) toReceive() int64 {
	switch {
	case s.receiver == nil || s.requestDone || s.owed > 0 || s.peerFIN:
		return 0
	case s.tunnel == stream.TunnelOpen:
		return math.MaxInt64
	}
	return s.dec.Counted()
}

func (s *h1Server) toSend() int64 { return s.body.toSplice(s.tunnel == stream.TunnelOpen) }

func (s *h1Server) splicedIn(n int, waits bool) {
	if s.tunnel == stream.TunnelOpen {
		return
	}
	s.dec.Skip(n)
	s.awaits100 = false
	s.noteBodyReceived(n)
	if waits && !s.conn.Congested() { // it owes nothing
		s.conn.SetTimeout(0)
	} else {
		s.setDeadline()
	}
}

func (s *h1Server) splicedOut(n int, waits bool) {
	s.body.spliced(n)
	s.noteAnswerTaken(n)
	if n > 0 {
		s.answerMoves()
	}
	switch {
	case s.tunnel == stream.TunnelOpen && waits:
		s.timeToTake()
	case waits:
		s.awaitTaken()
	default:
		s.answerPace.Pause(s.conn.Reactor().Now())
		if s.tunnel != stream.TunnelOpen {
			s.setDeadline()
		}
	}
}

func (s *h1Server) spliceFrom() (*engine.Conn, *splice) {
	if s.splice == nil && s.spliceReceiver() != nil {
		s.splice = &splice{from: s}
	}
	return s.conn, s.splice
}

func (s *h1Server) spliceReceiver() SpliceReceiver {
	r, _ := s.receiver.(SpliceReceiver)
	return r
}
