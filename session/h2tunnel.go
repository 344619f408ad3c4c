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
	if s.tunnel == noTunnel {
		return ErrOrder
	}
	if err := s.queueHead(h, false); err != nil {
		return err
	}
	s.tunnel, s.endDelivered, s.framing, s.owed = tunnelOpen, false, untilClose, 0
	s.setDeadlineIn(0)
	s.link.end.onTunnel()
	if len(s.earlyBytes) > 0 || s.endReceived {
		s.postpone(toDeliver)
	}
	return nil
}

// deliverEarly gives the receiver the bytes that came before the tunnel opened.
func (s *h2Stream) deliverEarly() {
	early := s.earlyBytes
	s.earlyBytes = nil
	s.link.conn.Reactor().Account(-len(early))
	s.deliver(early, s.endReceived)
}

// drainTunnel lets the receiver of a tunnel send what it sends last, and ends it.
func (s *h2Stream) drainTunnel() {
	if p, ok := s.receiver.(TunnelDrainer); ok {
		s.enter()
		p.OnTunnelDrain(s)
		s.leave()
	}
	if s.receiver != nil {
		s.fail(Cancelled, nil)
	}
}

// tunnelHead delivers the answer that makes a tunnel of a client's stream.
func (s *h2Stream) tunnelHead(h *message.Head, end bool) {
	if s.framing != ended || s.tunnel == noTunnel {
		s.fail(Malformed, h1.ErrSwitchedProtocols)
		return
	}
	s.gotEnd(end)
	s.tunnel, s.finalHead, s.framing = tunnelOpen, true, untilClose
	s.enter()
	s.receiver.OnHead(s, h, false)
	alive := s.receiver != nil
	s.leave()
	if end && alive {
		s.deliver(nil, true)
	}
}
