package session

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/stream"
	"github.com/edge-proxy/edge/message"
)

// OnOpen starts the deadline of the first head.
func (s *h1Server) OnOpen(c *engine.Conn) {
	s.headBegun = true
	c.SetTimeout(s.server.opts.HeaderTimeout)
}

// OnYield ends an idle connection.
func (s *h1Server) OnYield(c *engine.Conn) { c.Finish() }

// OnPart ends an idle connection of a process that drains. A request that is on the way is thrown away: its client sees
// the end of the connection and no answer, so it asks again.
func (s *h1Server) OnPart(c *engine.Conn) {
	s.server.local[c.Reactor().Index()].stats.DrainedIdle++
	c.Close(nil)
}

// OnRelease lets the connection go to another process between two requests.
func (s *h1Server) OnRelease(c *engine.Conn) (p engine.Progress, ok bool) {
	if !s.Idle() || s.discarding || s.backlog || s.peerFIN {
		return p, false
	}
	return engine.Progress{Requests: s.requests, Idle: time.Duration(c.Reactor().Now() - s.IdleSince(c))}, true
}

// OnData decodes what came: heads, body bytes and trailers. Bytes of a request that must wait stay unread.
func (s *h1Server) OnData(c *engine.Conn, in []byte) (used int) {
	if invariant.On {
		defer s.check()
	}
	local := &s.server.local[c.Reactor().Index()]
	for events := 0; used < len(in); events++ {
		switch {
		case s.tunnel == stream.TunnelOpen:
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
		if n := s.dec.Recall(in[used:], &local.head, &local.repeats); n > 0 {
			used += n
			s.earlyBytes = used < len(in)
			s.dispatch(local, h1.HeadDone|h1.End, nil)
			continue
		}
		n, ev, body, err := s.dec.Next(in[used:], &local.head)
		if ev == h1.HeadDone|h1.End {
			local.repeats.Note(in[used:used+n], &local.head)
		}
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
	if s.body.framing == stream.Ended {
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
	s.answerPace = stream.Pace{}
	s.owed = 0
	s.headBegun = false
	s.tunnel = stream.AsksForTunnel(h)
	switch {
	case !end:
		s.bodyPace.Reset()
		s.awaitBody()
	case s.peerFIN:
		s.conn.SetTimeout(s.server.opts.HalfCloseWait)
	default:
		s.conn.SetTimeout(0)
	}
	s.receiver = s.server.service.Accept(s.conn.Reactor(), s)
}

// tunnelData passes raw bytes on. The client's FIN may have come before they are looked at.
func (s *h1Server) tunnelData(c *engine.Conn, in []byte) int {
	if s.receiver == nil || s.requestDone {
		return len(in)
	}
	s.owed += int32(len(in))
	s.requestDone = s.peerFIN
	s.inCallback = true
	s.receiver.OnData(s, in, s.peerFIN)
	s.inCallback = false
	s.tunnelOver()
	if s.owed > 0 {
		c.PauseRead()
	}
	return len(in)
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
		if s.body.framing != stream.NoHead {
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

// slowBody ends an exchange whose body comes too slowly: with 408 while that is still possible.
func (s *h1Server) slowBody() {
	s.server.local[s.conn.Reactor().Index()].stats.SlowBodies++
	s.fail(Timeout, ErrSlowBody)
	if s.body.framing != stream.NoHead {
		s.cutOff(ErrSlowBody)
		return
	}
	s.answer(408, ErrSlowBody, s.verb == message.VerbHead)
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
	s.answerPace.Pause(s.conn.Reactor().Now())
	s.setDeadline()
	s.receiver.OnSendable(s)
}

// OnTimeout closes an idle connection, answers a slow head with 408, and resets a slow exchange.
func (s *h1Server) OnTimeout(c *engine.Conn) {
	if invariant.On {
		defer s.check()
	}
	stats := &s.server.local[c.Reactor().Index()].stats
	switch {
	case s.tunnel == stream.TunnelOpen: // see OnDrain
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

// closeTunnel lets the receiver of a tunnel send what it sends last.
func closeTunnel(s *h1Server) {
	if p, ok := s.receiver.(TunnelDrainer); ok {
		s.inCallback = true
		p.OnTunnelDrain(s)
		s.inCallback = false
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
	case s.tunnel == stream.TunnelOpen:
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
func (s *h1Server) halfClosed() bool {
	return s.peerFIN && s.requestDone && s.body.framing == stream.NoHead
}

// giveUpHalfClosed gives up a client that sent FIN.
func (s *h1Server) giveUpHalfClosed() {
	s.server.local[s.conn.Reactor().Index()].stats.HalfClosed++
	s.fail(Cancelled, nil)
	s.conn.Close(engine.ErrClosed)
}

// OnDrain gives a tunnel a random part of the time that is left: the clients of many tunnels should not all come
// back at once.
func (s *h1Server) OnDrain(c *engine.Conn, left time.Duration) {
	if s.tunnel == stream.TunnelOpen {
		c.SetTimeout(1 + rand.N(left-left/8+1))
	}
}

// Relieve ends the exchange that the client has kept waiting for age.
func (s *h1Server) Relieve(c *engine.Conn, age time.Duration) {
	if waited, keeps := s.waited(); !keeps || waited < age {
		return
	}
	s.server.local[c.Reactor().Index()].stats.GivenUp++
	if s.tunnel == stream.TunnelOpen { // it has no deadline
		s.fail(Timeout, engine.ErrTimeout)
		s.cutOff(engine.ErrTimeout)
		return
	}
	s.OnTimeout(c)
}

// waited returns for how long the client keeps us waiting, and whether it does.
func (s *h1Server) waited() (time.Duration, bool) {
	o := &s.server.opts
	now := s.conn.Reactor().Now()
	switch {
	case s.receiver != nil && (s.conn.Congested() || s.answerPace.Running()): // nothing is queued of a splice
		return s.answerPace.WaitedFor(o.SendTimeout, now), true
	case s.receiver != nil && s.owesBody() && !s.awaits100:
		return s.bodyPace.OwedFor(o.BodyTimeout-s.timeLeft(), now), true
	case s.backlog:
		return o.SendTimeout - s.timeLeft(), true
	case s.receiver == nil && s.headBegun && !s.dec.Idle():
		return o.HeaderTimeout - s.timeLeft(), true
	}
	return 0, false
}

// timeLeft is how long it is until OnTimeout.
func (s *h1Server) timeLeft() time.Duration {
	return time.Duration(s.conn.Deadline() - s.conn.Reactor().Now())
}

// OnClose resets the exchange that was in progress.
func (s *h1Server) OnClose(_ *engine.Conn, cause error) { s.fail(ConnectionLost, cause) }
