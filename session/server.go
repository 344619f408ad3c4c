package session

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/tlsconn"
)

// Server speaks HTTP/1 and HTTP/2 with the clients of a listener.
// Immutable after NewServer, but for local.
type Server struct {
	opts    ServerOptions
	service Service
	refuser Refuser       // service, if it is one
	perByte int64         // time that a byte of a body is worth, ns; 0: no least rate
	local   []serverLocal // by Reactor.Index
}

// serverLocal is what the connections of one reactor share.
// Owned by its reactor.
type serverLocal struct {
	head    message.Head // lent to the decoder
	stats   ServerStats
	streams streamPool
	arena   h2.Arena
	codec   h2.Options
	scarce  h2.Options // for connections that come while memory is short
	_       [64]byte   // reactors count at the same time: each needs cache lines of its own
}

// NewServer makes a Server for the connections of e. service is asked for a Receiver for each request.
func NewServer(e *engine.Engine, service Service, o ServerOptions) *Server {
	o.setDefaults()
	s := &Server{opts: o, service: service, perByte: o.perByte(), local: make([]serverLocal, len(e.Reactors()))}
	s.refuser, _ = service.(Refuser)
	for i := range s.local {
		l := &s.local[i]
		l.codec = o.codec(&l.arena)
		l.scarce = l.codec
		l.scarce.MaxStreams = streamsScarce
		if n := l.codec.MaxStreams; n > 0 {
			l.scarce.MaxStreams = min(n, streamsScarce)
		}
	}
	return s
}

// Accept makes the handler of a connection: it is the function that Engine.Listen or a tlsconn.Handshaker is given.
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

// OnRelease lets the connection go to another process between two requests.
func (s *h1Server) OnRelease(c *engine.Conn) (p engine.Progress, ok bool) {
	if !s.Idle() || s.discarding || s.backlog || s.peerFIN {
		return p, false
	}
	return engine.Progress{Requests: s.requests, Idle: time.Duration(c.Reactor().Now() - s.IdleSince(c))}, true
}

// OnRelease lets a connection go that has sent nothing.
func (s *sniffer) OnRelease(c *engine.Conn) (p engine.Progress, ok bool) {
	return (*h1Server)(s).OnRelease(c)
}

// Stats returns the counters on r. On r only.
func (s *Server) Stats(r *engine.Reactor) ServerStats { return s.local[r.Index()].stats }

// H2Stats returns the counters of the codec of HTTP/2 on r, abuse among them. On r only.
func (s *Server) H2Stats(r *engine.Reactor) h2.Stats { return s.local[r.Index()].arena.Stats }

// Kind is what a connection of a client is at the moment.
type Kind uint8

// The kinds of connections of clients.
const (
	KindOther Kind = iota // no session has it yet: a TLS handshake
	KindNew               // it has sent nothing that tells the version of HTTP
	KindH1
	KindH2
)

// Activity is what a connection of a client does at a moment.
type Activity struct {
	Kind     Kind
	Requests int  // begun so far
	Streams  int  // of HTTP/2, open
	Idle     bool // it is between two requests
	Tunnel   bool // of HTTP/1: it has become one
}

// ActivityOf returns what the accepted connection with the handler h does. It calls f for each exchange that is under
// way there, unless f is nil. On the reactor of the connection.
func ActivityOf(h engine.Handler, f func(r Receiver, tunnel bool)) Activity {
	switch h := h.(type) {
	case *sniffer:
		return Activity{Kind: KindNew, Idle: true}
	case *h1Server:
		tunnel := h.tunnel == tunnelOpen
		if h.receiver != nil && f != nil {
			f(h.receiver, tunnel)
		}
		return Activity{Kind: KindH1, Requests: int(h.requests), Idle: h.Idle(), Tunnel: tunnel}
	case *h2Server:
		for _, s := range h.live {
			if s.receiver != nil && f != nil {
				f(s.receiver, s.tunnel == tunnelOpen)
			}
		}
		return Activity{Kind: KindH2, Requests: h2.Opened(&h.codec), Streams: len(h.live), Idle: h.Idle()}
	}
	return Activity{}
}
