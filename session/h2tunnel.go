package session

import (
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/message"
)

// A tunnel over HTTP/2 is one stream: CONNECT, or extended CONNECT (RFC 8441), which the codec shows as a request with
// Upgrade. To a receiver both look as over HTTP/1: the request ends with its head, and the tunnel begins with an answer
// whose head has Tunnel. On the wire the stream stays open both ways, and END_STREAM is the half close.

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
	s.link.conn.Reactor().Account(-len(early))
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
