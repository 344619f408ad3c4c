package connfilter

import (
	"slices"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/tlsconn"
)

// Filter decides over connections. A function that is nil lets all pass.
type Filter struct {
	// Accept reports whether a connection that was accepted goes on. Nothing of it was read.
	Accept func(c Conn) bool
	// Secure reports whether a connection goes on whose handshake is done: c.TLS has what was agreed upon.
	Secure func(c Conn) bool
}

// Conn is what a Filter knows of a connection. Its TLS is immutable and may be kept.
type Conn struct {
	Listener    string // its name
	Peer, Local poller.Addr
	Reactor     int             // the index of the reactor, on which the function runs
	TLS         *tlsconn.Digest // nil in Accept
}

// Before returns what makes handlers by accept for the connections that Accept of all filters lets through. listener is
// the name of theirs.
func Before(
	listener string, filters []*Filter, accept func(*engine.Conn) engine.Handler,
) func(*engine.Conn) engine.Handler {
	list := functions(filters, func(f *Filter) func(Conn) bool { return f.Accept })
	if len(list) == 0 {
		return accept
	}
	return func(c *engine.Conn) engine.Handler {
		if !pass(list, listener, c, nil) {
			return nil
		}
		return accept(c)
	}
}

// After is Before with Secure, for what makes the handlers of connections whose handshake is done. One without TLS
// passes.
func After(
	listener string, filters []*Filter, accept func(*engine.Conn) engine.Handler,
) func(*engine.Conn) engine.Handler {
	list := functions(filters, func(f *Filter) func(Conn) bool { return f.Secure })
	if len(list) == 0 {
		return accept
	}
	return func(c *engine.Conn) engine.Handler {
		if d := tlsconn.DigestOf(c); d != nil && !pass(list, listener, c, d) {
			return nil
		}
		return accept(c)
	}
}

// functions returns one function of each filter that has it.
func functions(filters []*Filter, of func(f *Filter) func(Conn) bool) (list []func(Conn) bool) {
	for _, f := range filters {
		if ask := of(f); ask != nil {
			list = append(list, ask)
		}
	}
	return slices.Clip(list)
}

// pass asks all, until one does not let c through.
func pass(list []func(Conn) bool, listener string, c *engine.Conn, d *tlsconn.Digest) bool {
	of := Conn{listener, c.Peer(), c.Local(), c.Reactor().Index(), d}
	for _, ask := range list {
		if !ask(of) {
			return false
		}
	}
	return true
}
