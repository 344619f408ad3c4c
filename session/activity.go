package session

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/stream"
)

// Kind is what a connection of a client is at the moment.
type Kind uint8

// The kinds of connections of clients.
const (
	KindOther Kind = iota // no session has it yet: a TLS handshake
	KindNew               // it has sent nothing that tells the version of HTTP
	KindH1
	KindH2
	KindH3
)

// Activity is what a connection of a client does at a moment.
type Activity struct {
	Kind     Kind
	Requests int  // begun so far
	Streams  int  // of HTTP/2 and HTTP/3, open
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
		tunnel := h.tunnel == stream.TunnelOpen
		if h.receiver != nil && f != nil {
			f(h.receiver, tunnel)
		}
		return Activity{Kind: KindH1, Requests: int(h.requests), Idle: h.Idle(), Tunnel: tunnel}
	case interface { // a connection that exchanges share, of any version
		Activity(f func(r Receiver, tunnel bool)) Activity
	}:
		return h.Activity(f)
	}
	return Activity{}
}

// Activity is what the connection does at the moment: see ActivityOf.
func (h *h2Server) Activity(f func(r Receiver, tunnel bool)) Activity {
	if f != nil {
		h.Each(f)
	}
	return Activity{Kind: KindH2, Requests: h2.Opened(&h.codec), Streams: h.Streams(), Idle: h.Idle()}
}
