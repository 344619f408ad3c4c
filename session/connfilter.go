package session

import (
	"slices"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
)

// ConnFilter decides over connections. A function that is nil lets all pass.
//
// It knows no request, no route and no configuration: package proxy has filters of requests. It does not look at bytes
// that have come, and delays no connection.
//
//	accepted ─► Accept of each ─► handshake ─► Secure of each ─► session
//	               │ false                        │ false
//	               └──────────► closed ◄──────────┘
//
// With a ProxyProtocol before them, Accept is asked once the header has told the addresses. A connection without TLS is
// asked about once, by Accept. A ConnFilter is immutable, and its functions are asked by all reactors at once, each on
// the reactor of the connection. They must return at once. A panic closes that connection, and is logged by the engine.
type ConnFilter struct {
	// Accept reports whether a connection that was accepted goes on. Nothing of it was read, but for its header of the
	// PROXY protocol, and over QUIC for what proves its address: a token, or the whole handshake.
	Accept func(c ConnInfo) bool
	// Secure reports whether a connection goes on whose handshake is done: c.TLS has what was agreed upon.
	Secure func(c ConnInfo) bool
}

// ConnInfo is what a ConnFilter knows of a connection. Its TLS is immutable and may be kept.
type ConnInfo struct {
	Listener    string // its name
	Peer, Local poller.Addr
	Reactor     int     // the index of the reactor, on which the function runs
	TLS         *Digest // nil in Accept
}

// FilterAccepted makes handlers by accept for the connections that Accept of all filters lets through. listener is the
// name of their listener. Without a filter that has Accept it returns accept, so that a listener without filters costs
// nothing.
func FilterAccepted(
	listener string, filters []*ConnFilter, accept func(*engine.Conn) engine.Handler,
) func(*engine.Conn) engine.Handler {
	list := filterFunctions(filters, func(f *ConnFilter) func(ConnInfo) bool { return f.Accept })
	if len(list) == 0 {
		return accept
	}
	return func(c *engine.Conn) engine.Handler {
		if !passFilters(list, listener, c, nil) {
			return nil
		}
		return accept(c)
	}
}

// FilterSecured is FilterAccepted with Secure, for the handlers of connections whose handshake is done. A connection
// without TLS passes.
func FilterSecured(
	listener string, filters []*ConnFilter, accept func(*engine.Conn) engine.Handler,
) func(*engine.Conn) engine.Handler {
	list := filterFunctions(filters, func(f *ConnFilter) func(ConnInfo) bool { return f.Secure })
	if len(list) == 0 {
		return accept
	}
	return func(c *engine.Conn) engine.Handler {
		if d := tlsconn.DigestOf(c); d != nil && !passFilters(list, listener, c, d) {
			return nil
		}
		return accept(c)
	}
}

// filterFunctions returns one function of each filter that has it.
func filterFunctions(filters []*ConnFilter, of func(f *ConnFilter) func(ConnInfo) bool) (list []func(ConnInfo) bool) {
	for _, f := range filters {
		if ask := of(f); ask != nil {
			list = append(list, ask)
		}
	}
	return slices.Clip(list)
}

// passFilters asks all, until one does not let c through.
func passFilters(list []func(ConnInfo) bool, listener string, c *engine.Conn, d *tlsconn.Digest) bool {
	of := ConnInfo{listener, c.Peer(), c.Local(), c.Reactor().Index(), d}
	for _, ask := range list {
		if !ask(of) {
			return false
		}
	}
	return true
}
