package l4

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
)

// peek looks at the first bytes of the client, and leaves them unread, but for an ask for TLS.
func (p *pair) peek(c *engine.Conn, in []byte) (used int) {
	if p.record.Service.Postgres && !p.asks {
		var more bool
		if used, p.asks, more = asked(c, in, &p.refused); more {
			return used
		}
		in = in[used:]
	}
	hello := tlsconn.BorrowHello()
	defer hello.GiveBack()
	switch v := tlsconn.Peek(in, hello); {
	case v == tlsconn.HelloPartial:
		return used
	case v == tlsconn.HelloBroken, v == tlsconn.NotTLS && p.asks:
		p.peeks = false
		p.fail(ByClient, ErrHello)
		return used
	case v == tlsconn.HelloWhole:
		p.lead(hello)
	default:
		p.lead(nil)
	}
	p.peeks = false
	p.begin(c)
	return used
}

// lead chooses where the connection leads. hello is what its client asks for, nil where that was not read.
func (p *pair) lead(hello *tlsconn.Hello) {
	s := p.record.Service
	if hello != nil && message.ValidHostName(string(hello.ServerName)) { // else up to 16 KiB of anything
		p.record.Asked = string(hello.ServerName)
	}
	p.record.To = s.To
	if s.Choose != nil {
		p.record.To = s.Choose(p.record.Client, hello)
	}
}

// begin begins to connect.
func (p *pair) begin(c *engine.Conn) {
	p.led = c.Reactor().Now()
	c.PauseRead()
	if p.record.To == nil {
		p.fail(ByEdge, ErrNoRoute)
		return
	}
	c.SetTimeout(0)
	if p.drains {
		c.SetTimeout(drainQuiet)
	}
	p.key()
	p.connect(nil)
}
