package session

import (
	"net/netip"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/stream/shared"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// Accept makes the handler of a connection: it is the function that Engine.Listen or a Handshaker is given.
// ALPN decides the version; without TLS the first bytes do, if H2C allows HTTP/2.
func (s *Server) Accept(c *engine.Conn) engine.Handler {
	d := tlsconn.DigestOf(c)
	if s.opts.NoH1 || d != nil && d.ALPN == "h2" {
		return s.newH2(c)
	}
	h := &h1Server{server: s, conn: c}
	h.dec.InitRequests(&s.opts.Limits)
	if s.opts.H2C && d == nil {
		return (*sniffer)(h)
	}
	return h
}

// Receive makes the handler of a connection of HTTP/1 without TLS that another process gave away between two requests:
// see engine.Listener.Receive. It goes on with what is left of the idle timeout and of RequestsMax.
func (s *Server) Receive(c *engine.Conn, p engine.Progress) engine.Handler {
	if p.Requests == 0 { // the first bytes decide the version
		h := s.Accept(c)
		h.OnOpen(c)
		return h
	}
	h := &h1Server{server: s, conn: c, requests: p.Requests}
	h.dec.InitRequests(&s.opts.Limits)
	c.SetTimeout(max(s.opts.IdleTimeout-p.Idle, time.Millisecond))
	return h
}

// sniffer is an h1Server before its first bytes, which decide the version. It is no object of its own, so that
// HTTP/1 pays for a comparison only.
type sniffer h1Server

// preface is what a client of HTTP/2 with prior knowledge sends first (RFC 9113 §3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// OnOpen starts the deadline of the first head, or of the preface.
func (s *sniffer) OnOpen(c *engine.Conn) { (*h1Server)(s).OnOpen(c) }

// OnData hands the connection to the handler of its version. A preface may come byte by byte.
func (s *sniffer) OnData(c *engine.Conn, in []byte) (used int) {
	n := min(len(in), len(preface))
	switch {
	case string(in[:n]) != preface[:n]:
		h := (*h1Server)(s)
		c.SetHandler(h)
		return h.OnData(c, in)
	case n < len(preface):
		return 0
	}
	h := s.server.newH2(c)
	c.SetHandler(h)
	h.OnOpen(c)
	return h.OnData(c, in)
}

// OnSendable does nothing: nothing was sent.
func (s *sniffer) OnSendable(*engine.Conn) {}

// OnTimeout ends a connection that sent nothing, or too little: a part of a preface may be the start of a POST.
func (s *sniffer) OnTimeout(c *engine.Conn) {
	if c.Unread() {
		(*h1Server)(s).slowHead()
		return
	}
	c.Close(nil)
}

// OnEOF ends a connection that sent nothing, or too little.
func (s *sniffer) OnEOF(c *engine.Conn) { c.Close(nil) }

// OnClose does nothing: nothing had begun.
func (s *sniffer) OnClose(*engine.Conn, error) {}

// Idle reports that nothing has begun.
func (s *sniffer) Idle() bool { return true }

// IdleSince returns when the connection opened.
func (s *sniffer) IdleSince(c *engine.Conn) int64 { return (*h1Server)(s).IdleSince(c) }

// OnYield ends a connection that has sent nothing.
func (s *sniffer) OnYield(c *engine.Conn) { c.Finish() }

// OnPart ends a connection that has sent nothing.
func (s *sniffer) OnPart(c *engine.Conn) { (*h1Server)(s).OnPart(c) }

// OnRelease lets a connection go that has sent nothing.
func (s *sniffer) OnRelease(c *engine.Conn) (p engine.Progress, ok bool) {
	return (*h1Server)(s).OnRelease(c)
}

// PeerIP returns the IP of s.Peer, in fewer instructions; invalid on a Unix socket.
func PeerIP(s Stream) netip.AddrPort {
	if c, ok := s.(*h1Server); ok {
		return engine.PeerIP(c.conn)
	}
	return peerIP(s)
}

// peerIP is PeerIP of all streams but streams of HTTP/1. It is apart so that PeerIP needs little stack.
func peerIP(s Stream) netip.AddrPort {
	if c, ok := s.(*shared.Stream); ok {
		return c.PeerIP()
	}
	return s.Peer().IP
}

// SocketIP returns the IP of the other end of the socket that s came by, whatever the connection was told; invalid on a
// Unix socket.
func SocketIP(s Stream) netip.Addr {
	switch s := s.(type) {
	case *h1Server:
		return s.conn.Socket().IP.Addr()
	case interface{ SocketIP() netip.Addr }:
		return s.SocketIP()
	}
	return s.Peer().IP.Addr()
}

var (
	_ engine.Reliever = (*h1Server)(nil)
	_ engine.Reliever = (*h2Server)(nil)
	_ engine.Yielder  = (*h1Server)(nil)
	_ engine.Yielder  = (*h2Server)(nil)
	_ engine.Yielder  = (*sniffer)(nil)
)
