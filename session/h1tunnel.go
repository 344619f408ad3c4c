package session

import (
	"math/rand/v2"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/message"
)

// A tunnel is what an exchange becomes after 101, or after 2xx to CONNECT: both messages go on as raw bytes, each
// until its sender ends it by FIN, with the same back-pressure as a body.
//
//	client ──Upgrade──► server …… Client ──► origin        requestDone: what follows the request waits
//	       ◄───101───── SendHead ◄─ OnHead ◄──              Tunnel of the head is set: both ends turn
//	       ◄══════════ SendData, OnData, Release ═════►     half close is passed on by SendData with end
//
// It is over when both sides have ended. The connection to the origin alone has a deadline, which every byte in
// either direction moves.

// openTunnel sends the head of an answer that makes a tunnel of the connection.
func (s *h1Server) openTunnel(h *message.Head) error {
	if s.tunnel == noTunnel || !s.requestDone {
		return ErrOrder
	}
	s.conn.Commit(h1.AppendResponse(s.conn.Reserve(len(h.Base)+headRoom), h, h1.ResponseOptions{Close: true}))
	s.tunnel, s.closeAfter, s.requestDone = tunnelOpen, true, false
	s.body.begin(untilClose, 0)
	s.owed = 0
	s.conn.SetTimeout(0)
	s.server.local[s.conn.Reactor().Index()].stats.Tunnels++
	s.conn.ResumeRead() // bytes that came early are offered now
	if s.peerFIN && !s.conn.Unread() {
		s.conn.Reactor().Defer(&engine.Task{Run: func(*engine.Reactor) { s.tunnelEOF() }})
	}
	return nil
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

// tunnelSent follows up on bytes for the client: their end is a FIN.
func (s *h1Server) tunnelSent() {
	switch {
	case s.body.framing == ended:
		s.conn.CloseWrite()
		if !s.inCallback {
			s.tunnelOver()
		}
	case s.conn.Congested():
		s.timeToTake() // it sets no deadline, but Relieve asks for it
	}
}

// tunnelOver ends the exchange when both sides have ended.
func (s *h1Server) tunnelOver() {
	if s.receiver != nil && s.requestDone && s.body.framing == ended {
		s.receiver = nil
		s.conn.Close(nil)
	}
}

// OnDrain gives a tunnel a random part of the time that is left: the clients of many tunnels should not all come
// back at once.
func (s *h1Server) OnDrain(c *engine.Conn, left time.Duration) {
	if s.tunnel == tunnelOpen {
		c.SetTimeout(1 + rand.N(left-left/8+1))
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

// openTunnel turns the connection into a tunnel. RFC 9110 §7.8: a server MUST NOT switch protocols before it has
// received the entire request.
func (c *Client) openTunnel() bool {
	if c.body.framing != ended {
		c.fail(Malformed, h1.ErrSwitchedProtocols)
		c.conn.Close(h1.ErrSwitchedProtocols)
		c.inCallback = false
		return false
	}
	c.tunnel, c.answer, c.closeAfter, c.head.Close = true, answerBegun, true, false
	c.body.begin(untilClose, 0)
	return true
}

// sentTunnel follows up on bytes for the origin: their end is a FIN.
func (c *Client) sentTunnel() {
	c.setDeadline()
	if c.body.framing == ended {
		c.conn.CloseWrite()
		c.finish()
	}
}

// eofTunnel passes the origin's FIN on.
func (c *Client) eofTunnel() {
	if c.receiver == nil || c.answer == answerDone {
		return
	}
	c.answer = answerDone
	c.inCallback = true
	c.receiver.OnData(c, nil, true)
	c.inCallback = false
	c.finish()
}

func (c *Client) tunnelIdle() time.Duration { return orTunnelIdle(c.opts.TunnelIdle) }

func orTunnelIdle(d time.Duration) time.Duration {
	if d == 0 {
		return time.Hour
	}
	return d
}
