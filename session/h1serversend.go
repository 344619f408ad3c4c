package session

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/stream"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
)

// SendHead sends the head of the answer, or an interim one.
func (s *h1Server) SendHead(h *message.Head, end bool) error {
	s.mustOwn()
	if s.receiver == nil {
		return ErrDead
	}
	if s.body.framing != stream.NoHead {
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
		s.tunnel != stream.NoTunnel && mustCloseAfterRefusal(s)
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
	s.body.framing = stream.Ended
	if !s.inCallback {
		s.finish()
	}
	return nil
}

// closesEarly reports whether the connection will close after an answer that is sent before the request has ended.
// RFC 9112 §9.6 wants the last answer to say so. An answer of 4xx or 5xx is taken to end before much more of the
// body has come.
func (s *h1Server) closesEarly(h *message.Head, end bool) bool {
	return s.awaits100 || (end || h.Status >= 400) && !s.discardable()
}

// mustCloseAfterRefusal reports whether the connection has to end after an answer that refuses a tunnel: bytes that the
// client sent for the tunnel must not be taken for a request.
func mustCloseAfterRefusal(s *h1Server) bool {
	return s.verb == message.VerbConnect || s.earlyBytes || s.conn.Unread()
}

// frame decides how the body will be delimited. RFC 9112 §6.3.
func (s *h1Server) frame(h *message.Head, end bool) {
	h.Chunked = false
	switch {
	case s.verb == message.VerbHead || h.Status == 204 || h.Status == 304:
		s.body.begin(stream.NoBody, 0)
	case end:
		h.Length = 0
		s.body.begin(stream.NoBody, 0)
	case h.Length >= 0:
		s.body.begin(stream.Counted, h.Length)
	case s.proto >= message.HTTP11:
		h.Chunked = true
		s.body.begin(stream.Chunked, 0)
	default:
		s.closeAfter = true
		s.body.begin(stream.UntilClose, 0)
		h.DelID(message.Trailer) // none can follow
	}
}

// openTunnel sends the head of an answer that makes a tunnel of the connection.
func (s *h1Server) openTunnel(h *message.Head) error {
	if s.tunnel == stream.NoTunnel || !s.requestDone {
		return ErrOrder
	}
	s.conn.Commit(h1.AppendResponse(s.conn.Reserve(len(h.Base)+headRoom), h, h1.ResponseOptions{Close: true}))
	s.tunnel, s.closeAfter, s.requestDone = stream.TunnelOpen, true, false
	s.body.begin(stream.UntilClose, 0)
	s.owed = 0
	s.conn.SetTimeout(0)
	s.server.local[s.conn.Reactor().Index()].stats.Tunnels++
	s.conn.ResumeRead() // bytes that came early are offered now
	if s.peerFIN && !s.conn.Unread() {
		s.conn.Reactor().Defer(&engine.Task{Run: func(*engine.Reactor) { s.tunnelEOF() }})
	}
	return nil
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
	case s.tunnel == stream.TunnelOpen:
		s.tunnelSent()
	case s.body.framing == stream.Ended:
		if !s.inCallback {
			s.finish()
		}
	case s.conn.Congested():
		s.awaitTaken()
	default:
		s.answerMoves()
	}
}

// tunnelSent follows up on bytes for the client: their end is a FIN.
func (s *h1Server) tunnelSent() {
	switch {
	case s.body.framing == stream.Ended:
		s.conn.CloseWrite()
		if !s.inCallback {
			s.tunnelOver()
		}
	case s.conn.Congested():
		s.timeToTake() // it sets no deadline, but Relieve asks for it
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
	unfinished := (f == stream.Counted || f == stream.Chunked) && s.conn.Queued() > 0
	if unfinished || s.tunnel == stream.TunnelOpen && f == stream.Ended {
		s.conn.Close(nil)
		return
	}
	s.cutOff(engine.ErrClosed)
}

// Peer is the address of the client.
func (s *h1Server) Peer() poller.Addr { return s.conn.Peer() }

// Local is the address that the client connected to.
func (s *h1Server) Local() poller.Addr { return s.conn.Local() }

// TLS is what is known of a secured connection.
func (s *h1Server) TLS() *tlsconn.Digest { return tlsconn.DigestOf(s.conn) }
