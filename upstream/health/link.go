package health

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/tlsconn"
	"github.com/edge-proxy/edge/upstream"
)

// spare is by how much the times of a session are longer than the time of a check, which ends first.
const spare = time.Second

// dial opens a connection for p, in a place that it has.
func (o *plan) dial(p *probe, to poller.Addr) (link, error) {
	d := engine.DialOptions{Timeout: o.Timeout + spare, Preamble: []byte(o.Preamble)}
	var co *tlsconn.ClientOptions
	if o.TLS.On {
		var err error
		if co, err = o.secure(p.member.Host()); err != nil {
			return nil, err
		}
	}
	switch {
	case o.Kind == TCP || o.Kind == Agent:
		return o.dialRaw(p, to, &d, co)
	case o.Protocol == upstream.H2:
		return o.dialH2(p, to, &d, co)
	case o.Protocol == upstream.Auto:
		return o.dialAuto(p, to, &d, co)
	}
	return o.dialH1(p, to, &d, co)
}

// h1Link is a connection of HTTP/1.1.
type h1Link struct {
	exchange
	p      *probe
	peer   poller.Addr
	client session.Client
	opts   session.ClientOptions
	gone   bool
}

func (o *plan) newH1(p *probe, to poller.Addr) *h1Link {
	l := &h1Link{p: p, peer: to}
	l.opts = session.ClientOptions{Limits: o.Limits, FirstByte: o.Timeout + spare, BetweenBytes: o.Timeout + spare}
	l.client.Init(l, &p.local.answer, &l.opts)
	return l
}

func (o *plan) dialH1(p *probe, to poller.Addr, d *engine.DialOptions, co *tlsconn.ClientOptions) (link, error) {
	l := o.newH1(p, to)
	l.place.local = p.local
	if co == nil {
		return l, l.client.Dial(p.local.reactor, to, d)
	}
	return l, l.client.DialTLS(p.local.reactor, to, d, o.Handshaker, co)
}

func (l *h1Link) ask()            { l.begin(l.p, l.client.Open(&l.exchange)) }
func (l *h1Link) usable() bool    { return !l.gone && l.stream == nil && l.client.Usable() }
func (l *h1Link) to() poller.Addr { return l.peer }
func (l *h1Link) phase() word     { return l.asks }

func (l *h1Link) close() {
	l.probe = nil
	l.place.leave()
	if !l.gone {
		l.client.Close()
	}
}

// OnIdle keeps the connection for the next check, unless the member closes it before.
func (l *h1Link) OnIdle(c *session.Client) {
	c.SetIdleTimeout(0)
	if d := c.KeepAlive(); d > 0 && d-spare < l.p.plan.Rules.Interval {
		l.gone = true
		c.Close()
	}
}

// OnGone notes that the connection is closed.
func (l *h1Link) OnGone(*session.Client, error) {
	l.gone = true
	l.place.leave()
}

// h2Link is a connection of HTTP/2.
type h2Link struct {
	exchange
	p    *probe
	peer poller.Addr
	mux  session.Mux
	opts session.MuxOptions
	gone bool
}

func (o *plan) newH2(p *probe, to poller.Addr) *h2Link {
	l := &h2Link{p: p, peer: to, opts: session.MuxOptions{
		Limits: o.Limits, FirstByte: o.Timeout + spare, BetweenBytes: o.Timeout + spare,
		StreamsMax: 1, StreamWindow: bodyMax, PingAfter: -1,
	}}
	l.mux.Init(l, &p.local.answer, &l.opts)
	return l
}

func (o *plan) dialH2(p *probe, to poller.Addr, d *engine.DialOptions, co *tlsconn.ClientOptions) (link, error) {
	l := o.newH2(p, to)
	l.place.local = p.local
	if co == nil {
		return l, l.mux.Dial(p.local.reactor, to, d)
	}
	return l, l.mux.DialTLS(p.local.reactor, to, d, o.Handshaker, co)
}

func (l *h2Link) ask()            { l.begin(l.p, l.mux.Open(&l.exchange)) }
func (l *h2Link) usable() bool    { return !l.gone && l.stream == nil && l.mux.Usable() }
func (l *h2Link) to() poller.Addr { return l.peer }

func (l *h2Link) phase() word {
	if l.asks == connectTimeout && l.mux.Connected() {
		return headTimeout
	}
	return l.asks
}

func (l *h2Link) close() {
	l.probe = nil
	l.place.leave()
	if !l.gone {
		l.mux.Close()
	}
}

// OnRoom says among other things that the connection is established.
func (l *h2Link) OnRoom(*session.Mux) { l.place.leave() }

// OnDraining does nothing: the connection is not usable any more.
func (l *h2Link) OnDraining(*session.Mux) {}

// OnGone notes that the connection is closed.
func (l *h2Link) OnGone(*session.Mux, error) {
	l.gone = true
	l.place.leave()
}

// autoLink is a connection whose handshake tells whether it is HTTP/2 or HTTP/1.1.
type autoLink struct {
	place place
	p     *probe // nil: it was given up
	peer  poller.Addr
	probe session.Probe
}

func (o *plan) dialAuto(p *probe, to poller.Addr, d *engine.DialOptions, co *tlsconn.ClientOptions) (link, error) {
	l := &autoLink{p: p, peer: to, place: place{p.local}}
	l.probe.Init(l)
	return l, l.probe.Dial(p.local.reactor, to, d, o.Handshaker, co)
}

func (l *autoLink) ask()            {}
func (l *autoLink) usable() bool    { return false }
func (l *autoLink) to() poller.Addr { return l.peer }
func (l *autoLink) phase() word     { return connectTimeout }

func (l *autoLink) close() {
	l.p = nil
	l.place.leave()
	l.probe.Close()
}

// OnAgreed puts a link of what was agreed upon in the place of this one, and asks.
func (l *autoLink) OnAgreed(c *session.Probe, isH2 bool) {
	p := l.p
	l.p = nil
	l.place.leave()
	if isH2 {
		next := p.plan.newH2(p, l.peer)
		p.link = next
		next.mux.Attach(c)
	} else {
		next := p.plan.newH1(p, l.peer)
		p.link = next
		next.client.Attach(c)
	}
	p.link.ask()
}

// OnFailed tells why there is no connection.
func (l *autoLink) OnFailed(_ *session.Probe, cause error) {
	l.place.leave()
	if p := l.p; p != nil {
		l.p = nil
		p.fail(findingOf(cause))
	}
}
