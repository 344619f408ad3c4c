package l4

import "github.com/edge-proxy/edge/engine"

// What a client of PostgreSQL may ask before it says anything else: for TLS, and for encryption by GSSAPI. The answers
// are a byte. A client that begins with a ClientHello has not asked (sslnegotiation=direct), and the backend is not
// asked either.
//
//	client ── SSLRequest ──► edge          ClientHello read, backend chosen
//	       ◄────── S ───────    ── SSLRequest ──► backend
//	                            ◄────── S ───────
//	       ─────────────── all bytes of TLS ─────►
const (
	sslRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	gssRequest = "\x00\x00\x00\x08\x04\xd2\x16\x30"
)

// asked takes what a client asks for off the front of in, and answers it. secure says that it has asked for TLS, more
// that further bytes decide. refused becomes true with an ask for GSSAPI: a second one is none, as in PostgreSQL, or
// answers would queue for a client that does not read them.
func asked(c *engine.Conn, in []byte, refused *bool) (used int, secure, more bool) {
	for {
		n := min(len(in)-used, len(sslRequest))
		switch next := string(in[used : used+n]); {
		case n < len(sslRequest):
			return used, false, next == sslRequest[:n] // they differ in the last byte
		case next == gssRequest && !*refused:
			*refused = true
			c.Write([]byte("N")) //nolint:errcheck // a queue that is nearly empty takes it
		case next == sslRequest:
			c.Write([]byte("S")) //nolint:errcheck // as before
			return used + n, true, false
		default:
			return used, false, false
		}
		used += n
	}
}

// answered reads what a backend says that was asked for TLS. Nothing may follow before the client has spoken.
func (p *pair) answered(c *engine.Conn, in []byte) int {
	if string(in) != "S" {
		c.Reset(ErrNoTLS)
		return len(in)
	}
	c.SetTimeout(0)
	p.relay(c)
	return 1
}

// AfterAsking wraps accept, of a tlsconn.Handshaker, for clients that ask for TLS as clients of PostgreSQL do. It is
// for TLS that ends here: with Service.Postgres the backend is asked.
func AfterAsking(accept func(c *engine.Conn) engine.Handler) func(c *engine.Conn) engine.Handler {
	return func(*engine.Conn) engine.Handler { return &asking{accept: accept} }
}

// asking is a connection whose client has not asked yet. Owned by its reactor.
type asking struct {
	engine.NopHandler
	accept  func(c *engine.Conn) engine.Handler
	opened  int64
	refused bool // see asked
}

// OnOpen starts the deadline.
func (a *asking) OnOpen(c *engine.Conn) {
	a.opened = c.Reactor().Now()
	c.SetTimeout(helloTime)
}

// OnData answers the client, and hands the connection on.
func (a *asking) OnData(c *engine.Conn, in []byte) int {
	used, _, more := asked(c, in, &a.refused)
	if more {
		return used
	}
	if next := a.accept(c); next != nil {
		c.Begin(next)
	} else {
		c.Close(engine.ErrClosed)
	}
	return used
}

// OnTimeout gives up.
func (a *asking) OnTimeout(c *engine.Conn) { c.Close(ErrHelloSlow) }

// Idle reports that nothing is lost if the connection closes: the engine asks only while no byte of it has come.
func (a *asking) Idle() bool { return true }

// IdleSince returns when the connection opened.
func (a *asking) IdleSince(*engine.Conn) int64 { return a.opened }

// OnYield ends a connection that has sent nothing.
func (a *asking) OnYield(c *engine.Conn) { c.Finish() }

var _ engine.Yielder = (*asking)(nil)
