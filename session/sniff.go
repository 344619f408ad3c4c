package session

import "github.com/edge-proxy/edge/engine"

// preface is what a client of HTTP/2 with prior knowledge sends first (RFC 9113 §3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// sniffer is an h1Server before its first bytes, which decide the version. It is no object of its own, so that
// HTTP/1 pays for a comparison only.
type sniffer h1Server

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
