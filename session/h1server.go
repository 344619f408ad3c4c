package session

import (
	"bytes"
	"errors"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/tlsconn"
)

// h1Server is one HTTP/1 connection of a client, and the Stream of the request that is in progress on it.
// Owned by its reactor.
//
//	receiver   tunnel       flags                        the connection
//	nil        noTunnel     none, headBegun, backlog     is idle, reads a head, or makes the client take its answers
//	nil        noTunnel     discarding                   has sent an answer early and reads the rest of its request
//	set        not open     none                         has an exchange whose request is still coming
//	set        not open     requestDone                  has an exchange whose request came whole
//	set        tunnelOpen   none, requestDone            is a tunnel until both ends have ended; then it closes
//
//	receiver is set from Accept to the end of both messages, or OnReset
//	requestDone: what follows is the next request, which is not looked at before the answer was sent
//	owed > 0 => reading is paused; with discarding owed counts what was thrown away
type h1Server struct {
	server     *Server
	conn       *engine.Conn
	receiver   Receiver
	dec        h1.Decoder
	body       bodyWriter
	bodyPace   pace    // of the request's body
	answerPace pace    // of the answer, once the client did not take it at once
	splice     *splice // of request bodies; nil until there was one
	owed       int32
	requests   uint32
	verb       message.Verb
	proto      message.Proto
	tunnel     tunnelState

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
}

// OnOpen starts the deadline of the first head.
func (s *h1Server) OnOpen(c *engine.Conn) {
	s.headBegun = true
	c.SetTimeout(s.server.opts.HeaderTimeout)
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

// OnYield ends an idle connection.
func (s *h1Server) OnYield(c *engine.Conn) { c.Finish() }

// OnPart ends an idle connection of a process that drains. A request that is on the way is thrown away: its client sees
// the end of the connection and no answer, so it asks again.
func (s *h1Server) OnPart(c *engine.Conn) {
	s.server.local[c.Reactor().Index()].stats.DrainedIdle++
	c.Close(nil)
}

// OnData decodes what came: heads, body bytes and trailers. Bytes of a request that must wait stay unread.
func (s *h1Server) OnData(c *engine.Conn, in []byte) (used int) {
	if invariant.On {
		defer s.check()
	}
	local := &s.server.local[c.Reactor().Index()]
	for events := 0; used < len(in); events++ {
		switch {
		case s.tunnel == tunnelOpen:
			return used + s.tunnelData(c, in[used:])
		case s.requestDone || !c.Open():
			c.PauseRead()
			return used
		case s.receiver == nil && !s.discarding && c.Congested():
			// The client takes the answers of pipelined requests too slowly: the next request waits.
			s.backlog = true
			c.PauseRead()
			c.SetTimeout(s.server.opts.SendTimeout)
			return used
		case events == eventsPerBatch:
			c.OfferLater()
			return used
		}
		n, ev, body, err := s.dec.Next(in[used:], &local.head)
		used += n
		if err != nil {
			local.stats.Malformed++
			s.refuse(err, s.isHead(in[used-n:]))
			return used
		}
		if ev == h1.NeedMore {
			s.awaitMore(c)
			return used
		}
		s.earlyBytes = used < len(in)
		s.dispatch(local, ev, body)
	}
	switch {
	case s.discarding:
	case s.owed > 0:
		c.PauseRead()
		s.setDeadline()
	case s.peerFIN && s.receiver == nil:
		c.Close(nil)
	}
	return used
}

// eventsPerBatch is how many events of a connection are worked on before other connections have a turn. Bytes are
// no measure for it: 256 KiB may be 16 pieces of a body or 20 000 requests that are answered here.
const eventsPerBatch = 128

// awaitMore follows up on input that ended amid a head, or amid the framing of a body. It starts the deadline of a
// head; while body bytes are owed nothing more is read.
func (s *h1Server) awaitMore(c *engine.Conn) {
	switch {
	case s.discarding:
	case s.owed > 0:
		c.PauseRead()
	case s.receiver == nil && !s.headBegun && !s.dec.Idle():
		s.headBegun = true
		c.SetTimeout(s.server.opts.HeaderTimeout)
	}
}

func (s *h1Server) dispatch(local *serverLocal, ev h1.Event, body []byte) {
	end := ev&h1.End != 0
	if ev&h1.HeadDone != 0 {
		local.stats.Requests++
		s.begin(&local.head, end)
	}
	s.requestDone = end
	r := s.receiver
	if r == nil { // we reset or answered the request before its body ended
		s.discard(len(body))
		return
	}
	s.inCallback = true
	switch {
	case ev&h1.HeadDone != 0:
		r.OnHead(s, &local.head, end)
	case ev&h1.Trailers != 0:
		r.OnTrailers(s, &local.head)
		s.setDeadline()
	default:
		s.owed += int32(len(body))
		s.awaits100 = false
		s.noteBodyReceived(len(body))
		r.OnData(s, body, end)
		s.setDeadline()
	}
	s.inCallback = false
	if s.body.framing == ended {
		s.finish()
	}
}

// begin prepares for the exchange of a request whose head is h.
func (s *h1Server) begin(h *message.Head, end bool) {
	s.verb, s.proto = h.Verb, h.Proto
	s.requests++
	s.clientWillClose, s.awaits100 = h.Close, h.Continue
	s.closeAfter = h.Close || s.server.opts.RequestsMax > 0 && int(s.requests) >= s.server.opts.RequestsMax
	s.body = bodyWriter{}
	s.answerPace = pace{}
	s.owed = 0
	s.headBegun = false
	s.tunnel = asksForTunnel(h)
	switch {
	case !end:
		s.bodyPace.reset()
		s.awaitBody()
	case s.peerFIN:
		s.conn.SetTimeout(s.server.opts.HalfCloseWait)
	default:
		s.conn.SetTimeout(0)
	}
	s.receiver = s.server.service.Accept(s.conn.Reactor(), s)
}

// finish ends the exchange once the answer was sent whole. The next request or the end of the connection follows.
func (s *h1Server) finish() {
	if s.receiver == nil && !s.conn.Open() {
		return
	}
	if s.tunnel == tunnelOpen {
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

// closesEarly reports whether the connection will close after an answer that is sent before the request has ended.
// RFC 9112 §9.6 wants the last answer to say so. An answer of 4xx or 5xx is taken to end before much more of the
// body has come.
func (s *h1Server) closesEarly(h *message.Head, end bool) bool {
	return s.awaits100 || (end || h.Status >= 400) && !s.discardable()
}

// discard throws n bytes away. After the last byte of the request the next one begins.
func (s *h1Server) discard(n int) {
	if !s.discarding {
		return
	}
	if s.owed += int32(n); s.requestDone || s.owed > discardMax {
		s.finish()
	}
}

// isHead reports whether the method is HEAD: of the request in progress, else of the one at the front of in.
func (s *h1Server) isHead(in []byte) bool {
	if s.receiver != nil {
		return s.verb == message.VerbHead
	}
	return bytes.HasPrefix(bytes.TrimPrefix(in, []byte("\r\n")), []byte("HEAD "))
}

// refuse answers a request that cannot be decoded and closes, since it is unknown where the next one begins. The
// answer to HEAD has no content: RFC 9110 §9.3.2.
func (s *h1Server) refuse(err error, head bool) {
	told := s.receiver != nil
	if told {
		s.fail(Malformed, err)
		if s.body.framing != noHead {
			s.cutOff(err)
			return
		}
	}
	if s.discarding { // that request has its answer
		s.conn.Close(nil)
		return
	}
	status := 400
	if e, ok := err.(*h1.Error); ok {
		status = e.Status
	}
	s.answer(status, err, head)
	if !told {
		s.server.service.Refused(s.conn.Reactor(), s.conn.Peer(), status, err)
	}
}

// answer sends a short answer that the session makes itself, and closes.
func (s *h1Server) answer(status int, cause error, head bool) {
	c := s.conn
	c.Commit(AppendRefusal(c.Reserve(refusalRoom), s.server.refuser, c.Reactor(), status, cause, head))
	c.Close(nil)
}

// errSlowHead is why a request is refused whose head does not come in time.
var errSlowHead = errors.New("the request head took too long")

// slowHead answers a client whose head is late.
func (s *h1Server) slowHead() {
	s.server.local[s.conn.Reactor().Index()].stats.Timeouts++
	s.answer(408, errSlowHead, false)
	s.server.service.Refused(s.conn.Reactor(), s.conn.Peer(), 408, errSlowHead)
}

// OnSendable tells the receiver.
func (s *h1Server) OnSendable(*engine.Conn) {
	if invariant.On {
		defer s.check()
	}
	if s.backlog {
		s.backlog = false
		s.conn.SetTimeout(s.server.opts.IdleTimeout)
		s.conn.ResumeRead()
	}
	if s.receiver == nil {
		return
	}
	s.answerPace.pause(s.conn.Reactor().Now())
	s.setDeadline()
	s.receiver.OnSendable(s)
}

// setDeadline sets the deadline for what the client has to do: take its answer, or send its body. While bytes of its
// body are owed it has to do nothing.
func (s *h1Server) setDeadline() {
	switch {
	case s.tunnel == tunnelOpen:
	case s.conn.Congested():
		s.awaitTaken()
	case !s.requestDone && s.owed <= 0:
		s.awaitBody()
	case s.peerFIN && s.body.framing == noHead: // HalfCloseWait runs
	default:
		s.conn.SetTimeout(0)
	}
}

// OnTimeout closes an idle connection, answers a slow head with 408, and resets a slow exchange.
func (s *h1Server) OnTimeout(c *engine.Conn) {
	if invariant.On {
		defer s.check()
	}
	stats := &s.server.local[c.Reactor().Index()].stats
	switch {
	case s.tunnel == tunnelOpen: // see OnDrain
		stats.DrainedTunnels++
		closeTunnel(s)
		s.fail(Cancelled, nil)
		c.Close(nil)
	case s.receiver != nil && s.owesBody():
		stats.Timeouts++
		s.slowBody()
	case s.receiver != nil && s.halfClosed():
		s.giveUpHalfClosed()
	case s.receiver != nil:
		stats.Timeouts++
		s.fail(Timeout, engine.ErrTimeout)
		s.cutOff(engine.ErrTimeout)
	case s.backlog: // the client does not take the answers
		stats.Timeouts++
		c.Close(engine.ErrTimeout)
	case s.headBegun && !s.dec.Idle():
		s.slowHead()
	default:
		c.Close(nil)
	}
}

// OnEOF ends an idle connection. A client that sends FIN after a whole request may have half closed: it still gets
// its answer if that begins soon. An answer that has begun is delivered whole.
func (s *h1Server) OnEOF(c *engine.Conn) {
	if invariant.On {
		defer s.check()
	}
	s.peerFIN = true
	switch {
	case s.tunnel == tunnelOpen:
		s.tunnelEOF()
	case s.receiver == nil:
		c.Close(nil)
	case !s.requestDone:
		s.fail(Truncated, nil)
		s.cutOff(engine.ErrClosed)
	case !s.halfClosed():
	case s.server.opts.HalfCloseWait == HalfCloseLeaves:
		s.giveUpHalfClosed()
	default:
		c.SetTimeout(s.server.opts.HalfCloseWait)
	}
}

// halfClosed reports whether the client sent FIN after its request, and the answer has not begun.
func (s *h1Server) halfClosed() bool { return s.peerFIN && s.requestDone && s.body.framing == noHead }

// giveUpHalfClosed gives up a client that sent FIN.
func (s *h1Server) giveUpHalfClosed() {
	s.server.local[s.conn.Reactor().Index()].stats.HalfClosed++
	s.fail(Cancelled, nil)
	s.conn.Close(engine.ErrClosed)
}

// OnClose resets the exchange that was in progress.
func (s *h1Server) OnClose(_ *engine.Conn, cause error) { s.fail(ConnectionLost, cause) }

func (s *h1Server) fail(code Code, cause error) {
	if r := s.receiver; r != nil {
		s.receiver = nil
		r.OnReset(s, code, cause)
	}
}

// SendHead sends the head of the answer, or an interim one.
func (s *h1Server) SendHead(h *message.Head, end bool) error {
	s.mustOwn()
	if s.receiver == nil {
		return ErrDead
	}
	if s.body.framing != noHead {
		return ErrOrder
	}
	if h.Tunnel {
		return s.openTunnel(h)
	}
	if h.Status < 200 {
		if s.awaits100 && h.Status == 100 {
			s.awaits100 = false
			s.setDeadline()
		}
		if s.proto >= message.HTTP11 { // RFC 9110 §15.2: never to an HTTP/1.0 client
			s.conn.Commit(h1.AppendResponse(s.conn.Reserve(len(h.Base)+headRoom), h, h1.ResponseOptions{}))
		}
		return nil
	}
	s.frame(h, end)
	s.closeAfter = s.closeAfter || h.Close ||
		s.conn.Reactor().Engine().Draining() && !engine.Gives(s.conn) || !s.requestDone && s.closesEarly(h, end) ||
		s.tunnel != noTunnel && mustCloseAfterRefusal(s)
	if s.peerFIN {
		s.conn.SetTimeout(0)
	}
	o := h1.ResponseOptions{
		ToHTTP10: s.proto < message.HTTP11, Close: s.closeAfter, HeadRequest: s.verb == message.VerbHead,
	}
	s.conn.Commit(h1.AppendResponse(s.conn.Reserve(len(h.Base)+headRoom), h, o))
	if !end {
		s.answerMoves()
		return nil
	}
	s.body.framing = ended
	if !s.inCallback {
		s.finish()
	}
	return nil
}

// mustCloseAfterRefusal reports whether the connection has to end after an answer that refuses a tunnel: bytes that the
// client sent for the tunnel must not be taken for a request.
func mustCloseAfterRefusal(s *h1Server) bool {
	return s.verb == message.VerbConnect || s.earlyBytes || s.conn.Unread()
}

// headRoom is what a session adds to a head: the status line and the framing fields.
const headRoom = 256

// frame decides how the body will be delimited. RFC 9112 §6.3.
func (s *h1Server) frame(h *message.Head, end bool) {
	h.Chunked = false
	switch {
	case s.verb == message.VerbHead || h.Status == 204 || h.Status == 304:
		s.body.begin(noBody, 0)
	case end:
		h.Length = 0
		s.body.begin(noBody, 0)
	case h.Length >= 0:
		s.body.begin(counted, h.Length)
	case s.proto >= message.HTTP11:
		h.Chunked = true
		s.body.begin(chunked, 0)
	default:
		s.closeAfter = true
		s.body.begin(untilClose, 0)
		h.DelID(message.Trailer) // none can follow
	}
}

// SendData sends body bytes.
func (s *h1Server) SendData(p []byte, end bool) (int, error) {
	s.mustOwn()
	if s.receiver == nil {
		return 0, ErrDead
	}
	n, err := s.body.data(s.conn, p, end)
	s.noteAnswerTaken(n)
	if n < len(p) && err == nil && !s.conn.Congested() {
		// The connection takes nothing any more, and no read tells, since reading is paused after a whole request.
		s.conn.Close(engine.ErrClosed)
		return n, ErrDead
	}
	s.sent()
	return n, err
}

// SendTrailers ends the answer with h.
func (s *h1Server) SendTrailers(h *message.Head) error {
	s.mustOwn()
	if s.receiver == nil {
		return ErrDead
	}
	err := s.body.trailers(s.conn, h)
	s.sent()
	return err
}

// sent follows up on body bytes: it ends the exchange, or sets the deadline of a client that takes nothing.
func (s *h1Server) sent() {
	switch {
	case s.tunnel == tunnelOpen:
		s.tunnelSent()
	case s.body.framing == ended:
		if !s.inCallback {
			s.finish()
		}
	case s.conn.Congested():
		s.awaitTaken()
	default:
		s.answerMoves()
	}
}

// Congested reports whether the connection's queue is above its low mark.
func (s *h1Server) Congested() bool { return s.conn.Congested() }

// Queued returns the bytes that have not left.
func (s *h1Server) Queued() int { return s.conn.Queued() }

// Release resumes reading when nothing is owed any more.
func (s *h1Server) Release(n int) {
	s.mustOwn()
	if s.owed -= int32(min(n, int(s.owed))); s.owed <= 0 && !s.requestDone && s.receiver != nil {
		s.owed = 0
		s.conn.ResumeRead()
		if !s.inCallback {
			s.setDeadline()
		}
	}
}

// Reset ends the exchange. An answer that has begun is cut off. Where its framing shows that it is incomplete, what
// is queued still leaves: a client that sees only the end of the connection would take it for an idle one and send
// the request again (RFC 9112 §9.3.1).
func (s *h1Server) Reset(Code) {
	s.mustOwn()
	if s.receiver == nil {
		return
	}
	s.receiver = nil
	f := s.body.framing
	if (f == counted || f == chunked) && s.conn.Queued() > 0 || s.tunnel == tunnelOpen && f == ended {
		s.conn.Close(nil)
		return
	}
	s.cutOff(engine.ErrClosed)
}

// cutOff closes the connection amid an exchange. Where the end of the connection would mean the end of the answer,
// it is reset instead; in a tunnel it would not.
func (s *h1Server) cutOff(cause error) {
	if s.body.framing == untilClose && s.tunnel != tunnelOpen {
		s.conn.Reset(cause)
		return
	}
	s.conn.Close(cause)
}

// Peer is the address of the client.
func (s *h1Server) Peer() poller.Addr { return s.conn.Peer() }

// Local is the address that the client connected to.
func (s *h1Server) Local() poller.Addr { return s.conn.Local() }

// TLS is what is known of a secured connection.
func (s *h1Server) TLS() *tlsconn.Digest { return tlsconn.DigestOf(s.conn) }
