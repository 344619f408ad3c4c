package session

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/l4/proxyproto"
	"github.com/edge-proxy/edge/poller"
)

// headerTimeout is how long a sender has for its header of the PROXY protocol. It sends it at once: this is two lost
// segments.
const headerTimeout = 5 * time.Second

// expectTime is how long a connection without a header is expected: see ProxyProtocol.Expect.
const expectTime = 10 * time.Millisecond

// The reasons for which ProxyProtocol closes a connection, beside the errors of proxyproto.Parse.
var (
	ErrUntrusted    = errors.New("the connection is not from an address whose PROXY protocol is believed")
	ErrHeaderSlow   = errors.New("the header of the PROXY protocol did not come in time")
	ErrHeaderBroken = errors.New("the connection ended within the header of the PROXY protocol")
)

// ProxyProtocol reads the headers of the PROXY protocol that load balancers send before all else on a connection, and
// gives the connection the addresses that they tell (engine.Conn.Told). Immutable after the first Accept.
//
//	from another address ─► Required? ─ no ─► accept, nothing is read
//	trusted ─► header ─► told ─► accept
//	             ├─ none, and not Required ─► accept, with all bytes
//	             └─ wrong, none, late ─► closed
type ProxyProtocol struct {
	From     []netip.Prefix // whose headers are read
	Unix     bool           // headers of peers on Unix sockets are read too
	Required bool           // a connection without a header is closed
	// Read, if set, hears how each connection began, on its reactor: with a header, or the reason for which there is
	// none. Where that is proxyproto.ErrNone and no header is required the connection goes on; with any other error it
	// is closed.
	Read func(c *engine.Conn, h proxyproto.Header, err error)
	// Expect, if set, hears on its reactor of a connection that awaits its header, by 1, and by -1 when accept is about
	// to be called, or when that does not come soon. It is for what bounds the connections that accept gets, such as
	// Handshaker.Expect: they were accepted, so that they cannot wait in the backlog any more.
	Expect func(r *engine.Reactor, n int)
}

// Accept wraps accept for engine.Listen: it is called once the addresses of the connection are known.
func (p *ProxyProtocol) Accept(accept func(c *engine.Conn) engine.Handler) func(c *engine.Conn) engine.Handler {
	return func(c *engine.Conn) engine.Handler {
		switch {
		case p.trusts(c.Peer()):
			h := &preamble{rules: p, accept: accept}
			if p.Expect != nil {
				h.expected = true
				p.Expect(c.Reactor(), 1)
			}
			return h
		case p.Required:
			p.report(c, proxyproto.Header{}, ErrUntrusted)
			return nil
		}
		p.report(c, proxyproto.Header{}, proxyproto.ErrNone)
		return accept(c)
	}
}

func (p *ProxyProtocol) trusts(a poller.Addr) bool {
	if a.IsUnix() || !a.IP.IsValid() {
		return p.Unix
	}
	ip := a.IP.Addr().Unmap().WithZone("") // no network contains an address with a zone
	return slices.ContainsFunc(p.From, func(n netip.Prefix) bool { return n.Contains(ip) })
}

func (p *ProxyProtocol) report(c *engine.Conn, h proxyproto.Header, err error) {
	if p.Read != nil {
		p.Read(c, h, err)
	}
}

// preamble is a connection whose header has not come yet. Owned by its reactor.
type preamble struct {
	engine.NopHandler
	rules    *ProxyProtocol
	accept   func(c *engine.Conn) engine.Handler
	opened   int64
	expected bool // rules.Expect counts it
}

// OnOpen starts the deadline of the header.
func (p *preamble) OnOpen(c *engine.Conn) {
	p.opened = c.Reactor().Now()
	if p.expected {
		c.SetTimeout(expectTime)
		return
	}
	c.SetTimeout(headerTimeout)
}

// settle ends that the connection is expected.
func (p *preamble) settle(c *engine.Conn) {
	if p.expected {
		p.expected = false
		p.rules.Expect(c.Reactor(), -1)
	}
}

// OnData takes the header. What follows it is for the handler of the connection.
func (p *preamble) OnData(c *engine.Conn, in []byte) int {
	h, n, err := proxyproto.Parse(in)
	switch {
	case err != nil && (err != proxyproto.ErrNone || p.rules.Required):
		p.refuse(c, err)
		return 0
	case err == nil && n == 0:
		return 0
	}
	if h.Told() {
		c.Wire().Told(poller.Addr{IP: h.Source}, poller.Addr{IP: h.Destination})
	}
	p.rules.report(c, h, err)
	p.settle(c)
	if next := p.accept(c); next != nil {
		c.Begin(next)
	} else {
		c.Close(engine.ErrClosed)
	}
	return n
}

// OnTimeout ends a connection whose header did not come in time.
func (p *preamble) OnTimeout(c *engine.Conn) {
	if p.expected {
		p.settle(c)
		c.SetTimeout(headerTimeout - expectTime)
		return
	}
	p.refuse(c, ErrHeaderSlow)
}

// OnClose ends that the connection is expected.
func (p *preamble) OnClose(c *engine.Conn, _ error) { p.settle(c) }

// OnEOF ends a connection. A peer that sent nothing has looked whether the port is open: no failure.
func (p *preamble) OnEOF(c *engine.Conn) {
	if c.Unread() {
		p.refuse(c, ErrHeaderBroken)
		return
	}
	c.Close(nil)
}

// Idle reports that nothing is lost if the connection closes: the engine asks only while no byte of it has come.
func (p *preamble) Idle() bool { return true }

// IdleSince returns when the connection opened.
func (p *preamble) IdleSince(*engine.Conn) int64 { return p.opened }

// OnYield ends a connection that has sent nothing.
func (p *preamble) OnYield(c *engine.Conn) { c.Finish() }

func (p *preamble) refuse(c *engine.Conn, err error) {
	p.rules.report(c, proxyproto.Header{}, err)
	c.Close(err)
}

var _ engine.Yielder = (*preamble)(nil)
