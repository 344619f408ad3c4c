package session

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/tlsconn"
)

// ProbeOwner is told what a Probe found out. Its methods run on the Probe's reactor; one of them is called, once.
type ProbeOwner interface {
	// OnAgreed says that the connection is established, and for which version. It has to be given to a Mux or a
	// Client, by Attach, before this returns, or it is closed.
	OnAgreed(p *Probe, isH2 bool)
	// OnFailed says that there is no connection.
	OnFailed(p *Probe, cause error)
}

// Probe is a connection to an origin while it is not known yet which version of HTTP it is for.
// Owned by its reactor.
//
//	Dial ─► TLS, ALPN ─► OnAgreed ─► Mux.Attach | Client.Attach
//	                └──► OnFailed
type Probe struct {
	engine.NopHandler
	conn  *engine.Conn
	owner ProbeOwner
	taken bool
}

// Init prepares p, which is a part of its owner.
func (p *Probe) Init(owner ProbeOwner) { *p = Probe{owner: owner} }

// Dial connects. co offers both versions by ALPN; an origin that does not choose is taken to speak HTTP/1.1.
func (p *Probe) Dial(
	r *engine.Reactor, to poller.Addr, o *engine.DialOptions, hs *tlsconn.Handshaker, co *tlsconn.ClientOptions,
) error {
	conn, err := hs.Dial(r, to, p, o, co)
	p.conn = conn
	return err
}

// Close gives up. The owner is not told.
func (p *Probe) Close() {
	p.owner = nil
	if !p.taken {
		p.conn.Close(engine.ErrClosed)
	}
}

// OnOpen tells the owner what was agreed upon.
func (p *Probe) OnOpen(c *engine.Conn) {
	if p.owner == nil {
		return
	}
	d := tlsconn.DigestOf(c)
	p.owner.OnAgreed(p, d != nil && d.ALPN == "h2")
	if !p.taken {
		p.owner = nil
		c.Close(engine.ErrClosed)
	}
}

// OnData leaves early bytes for the handler that takes the connection.
func (p *Probe) OnData(*engine.Conn, []byte) int { return 0 }

// OnClose tells the owner that there is no connection.
func (p *Probe) OnClose(_ *engine.Conn, cause error) {
	if p.owner != nil {
		p.owner.OnFailed(p, cause)
	}
}

// take gives the connection of p to h.
func (p *Probe) take(h engine.Handler) *engine.Conn {
	p.taken = true
	p.conn.SetHandler(h)
	return p.conn
}

// Attach makes the connection of p the connection of c, which was not dialled.
func (c *Client) Attach(p *Probe) { c.conn, c.connected = p.take(c), true }
