package session

import (
	"bytes"
	"errors"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
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
	r *engine.Reactor, to poller.Addr, o *engine.DialOptions, hs *Handshaker, co *TLSClient,
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

// handshakeTime returns how long the TLS handshake of c took; 0 without TLS, and before its end.
func handshakeTime(c *engine.Conn) int64 {
	if c == nil {
		return 0
	}
	d := tlsconn.DigestOf(c)
	if d == nil || d.Secured == 0 {
		return 0
	}
	return d.Secured - d.Accepted
}

// What an origin speaks that does not speak what it was asked in: causes of OnReset with the code Malformed.
var (
	ErrSpeaksTLS = errors.New("the origin speaks TLS there")
	ErrSpeaksH1  = errors.New("the origin speaks HTTP/1 there")
	ErrSpeaksH2  = errors.New("the origin speaks HTTP/2 there")
)

// wrongProtocol returns what the first bytes of an origin tell of the protocol that it speaks; err where they tell
// nothing, or speak the protocol that it was asked in: asked is the error that names this one.
func wrongProtocol(in []byte, asked, err error) error {
	if is := protocolOf(in); is != nil && is != asked {
		return is
	}
	return err
}

// protocolOf returns the error that names the protocol of the first bytes of an origin, nil where they are of none.
func protocolOf(in []byte) error {
	const (
		settings    = 4  // the type of the frame that a server of HTTP/2 begins with: RFC 9113 §3.4
		settingSize = 6  // RFC 9113 §6.5.1
		alert       = 21 // the type of the record by which TLS refuses: RFC 8446 §5.1
	)
	switch {
	case bytes.HasPrefix(in, []byte("HTTP/1.")):
		return ErrSpeaksH1
	case len(in) >= 3 && in[0] == alert && in[1] == 3 && in[2] <= 4:
		return ErrSpeaksTLS
	case len(in) >= frameHead && in[0] == 0 && in[3] == settings && string(in[4:frameHead]) == "\x00\x00\x00\x00\x00" &&
		(int(in[1])<<8|int(in[2]))%settingSize == 0:
		return ErrSpeaksH2
	}
	return nil
}
