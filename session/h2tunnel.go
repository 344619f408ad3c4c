package session

import (
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/message"
)

// A tunnel over HTTP/2 is one stream: CONNECT, or extended CONNECT (RFC 8441), which the codec shows as a request with
// Upgrade. To a receiver both look as over HTTP/1: the request ends with its head, and the tunnel begins with an answer
// whose head has Tunnel. On the wire the stream stays open both ways, and END_STREAM is the half close.

// answer sends the head of an answer, or an interim one. RFC 9110 §6.4.1 says which have no content.
func (s *h2Stream) answer(h *message.Head, end bool) error {
	h.Chunked = false
	switch {
	case h.Tunnel:
		return s.openTunnel(h)
	case h.Status < 200:
		s.expects = s.expects && h.Status != 100
		if err := s.queueHead(h, false); err != nil && err != ErrHeadSize {
			return err
		}
		if !s.calling {
			s.link.end.await(s)
		}
		return nil
	}
	bare := end
	switch {
	case s.verb == message.VerbHead || h.Status == 204 || h.Status == 304:
		s.framing, bare = noBody, true
	case end:
		h.Length, s.framing = 0, noBody
	case h.Length >= 0:
		s.framing, s.left = counted, h.Length
	default:
		s.framing = untilClose
	}
	if err := s.queueHead(h, bare); err != nil {
		s.framing = noHead
		return err
	}
	if end {
		s.sent(true, 0)
		return nil
	}
	s.answerMoves()
	return nil
}

// openTunnel sends the head of an answer that makes a tunnel of the stream.
func (s *h2Stream) openTunnel(h *message.Head) error {
	if !s.asked {
		return ErrOrder
	}
	if err := s.queueHead(h, false); err != nil {
		return err
	}
	s.tunnel, s.received, s.framing, s.owed = true, false, untilClose, 0
	s.until(0)
	s.link.end.tunnelled()
	if len(s.early) > 0 || s.peerDone {
		s.later(belated)
	}
	return nil
}

// deliverEarly gives the receiver what came before the tunnel stood.
func (s *h2Stream) deliverEarly() {
	early := s.early
	s.early = nil
	s.link.conn.Reactor().Hold(-len(early))
	s.deliver(early, s.peerDone)
}

// part lets the receiver of a tunnel say its last words, and ends it.
func (s *h2Stream) part() {
	if p, ok := s.receiver.(Parting); ok {
		s.enter()
		p.OnParting(s)
		s.leave()
	}
	if s.receiver != nil {
		s.fail(Cancelled, nil)
	}
}

// request sends the head of a request.
func (s *h2Stream) request(h *message.Head, end bool) error {
	h.Chunked, h.Close = false, false // what the head said of the connection it came by
	// An extended CONNECT has no content, and says no other method.
	h.Upgrade = h.Upgrade && end && h.Verb == message.VerbGet
	s.asked = h.Upgrade || h.Verb == message.VerbConnect
	s.verb = h.Verb
	switch {
	case end:
		h.Length, s.framing = 0, ended
	case h.Length >= 0:
		s.framing, s.left = counted, h.Length
	default:
		s.framing = untilClose
	}
	s.expects = h.Continue && !end
	if h.Upgrade && !s.link.codec.ExtendedConnect() && !s.link.end.settled() {
		s.hold(h)
		return nil
	}
	s.send(h, end)
	return nil
}

// hold keeps the head of a request until SETTINGS come.
func (s *h2Stream) hold(h *message.Head) {
	s.pending = copyHead(h)
	s.link.end.await(s)
}

// send queues the head of a request. What fails is told by OnReset.
func (s *h2Stream) send(h *message.Head, end bool) {
	if s.todo == doomed {
		return
	}
	switch err := s.queueHead(h, end && !s.asked); err {
	case nil:
		if !s.calling {
			s.link.end.await(s)
		}
	case h2.ErrUnsettled:
		s.hold(h)
	case ErrHeadSize:
		s.doom(HeadSize, err)
	case h2.ErrNoExtendedConnect:
		s.doom(NoUpgrade, err)
	case h2.ErrGoingAway, h2.ErrNoRoom:
		s.doom(Refused, err)
	default:
		s.doom(ConnectionLost, err)
	}
}

// sendPending sends a head that waited for SETTINGS, and has what comes after it sent.
func (s *h2Stream) sendPending() {
	h := s.pending
	s.pending = nil
	if s.send(h, s.framing == ended); s.todo == nothing && s.framing != ended {
		s.unblock()
	}
}

// copyHead returns a copy of h that shares nothing with it.
func copyHead(h *message.Head) *message.Head {
	c := *h
	c.Base = append([]byte(nil), h.Base...)
	c.Fields = append([]message.Field(nil), h.Fields...)
	return &c
}

// tunnelHead delivers the answer that makes a tunnel of a client's stream.
func (s *h2Stream) tunnelHead(h *message.Head, end bool) {
	if s.framing != ended || !s.asked {
		s.fail(Malformed, h1.ErrSwitchedProtocols)
		return
	}
	s.peerEnded(end)
	s.tunnel, s.final, s.framing = true, true, untilClose
	s.enter()
	s.receiver.OnHead(s, h, false)
	alive := s.receiver != nil
	s.leave()
	if end && alive {
		s.deliver(nil, true)
	}
}
