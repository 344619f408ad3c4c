package health

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// spare is by how much the times of a session are longer than the time of a check, which ends first.
const spare = time.Second

// dial opens a connection for p, in a slot that it has.
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
	case o.Protocol == upstream.Auto:
		return o.dialAuto(p, to, &d, co)
	}
	l, h := o.newHTTP(p, to, o.Protocol == upstream.H2)
	h.place.local = p.local
	if co == nil {
		return l, h.session.Dial(p.local.reactor, to, &d)
	}
	return l, h.session.DialTLS(p.local.reactor, to, &d, o.Handshaker, co)
}

// httpLink is what connections of HTTP/1.1 and of HTTP/2 have in common.
type httpLink struct {
	exchange
	p       *probe
	peer    poller.Addr
	gone    bool
	session httpSession // of the link
}

// httpSession is a session.Client or a session.Mux.
type httpSession interface {
	Attach(c *session.Probe)
	Dial(r *engine.Reactor, to poller.Addr, o *engine.DialOptions) error
	DialTLS(r *engine.Reactor, to poller.Addr, o *engine.DialOptions, h *tlsconn.Handshaker,
		c *tlsconn.ClientOptions) error
	Open(r session.Receiver) session.Stream
	Usable() bool
	Close()
}

// newHTTP returns a link, and what it has in common with the other kind.
func (o *plan) newHTTP(p *probe, to poller.Addr, isH2 bool) (link, *httpLink) {
	shared := httpLink{p: p, peer: to}
	if !isH2 {
		l := &h1Link{httpLink: shared, opts: session.ClientOptions{
			Limits: o.Limits, FirstByte: o.Timeout + spare, BetweenBytes: o.Timeout + spare,
		}}
		l.session = &l.client
		l.client.Init(l, &p.local.answer, &l.opts)
		return l, &l.httpLink
	}
	l := &h2Link{httpLink: shared, opts: session.MuxOptions{
		Limits: o.Limits, FirstByte: o.Timeout + spare, BetweenBytes: o.Timeout + spare,
		StreamsMax: 1, StreamWindow: bodyMax, PingAfter: -1,
	}}
	l.session = &l.mux
	l.mux.Init(l, &p.local.answer, &l.opts)
	return l, &l.httpLink
}

func (l *httpLink) ask()            { l.begin(l.p, l.session.Open(&l.exchange)) }
func (l *httpLink) usable() bool    { return !l.gone && l.stream == nil && l.session.Usable() }
func (l *httpLink) to() poller.Addr { return l.peer }
func (l *httpLink) phase() word     { return l.asks }

func (l *httpLink) close() {
	l.probe = nil
	l.place.leave()
	if !l.gone {
		l.session.Close()
	}
}

// ended notes that the connection is closed.
func (l *httpLink) ended() {
	l.gone = true
	l.place.leave()
}

// h1Link is a connection of HTTP/1.1.
type h1Link struct {
	httpLink
	client session.Client
	opts   session.ClientOptions
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
func (l *h1Link) OnGone(*session.Client, error) { l.ended() }

// h2Link is a connection of HTTP/2.
type h2Link struct {
	httpLink
	mux  session.Mux
	opts session.MuxOptions
}

func (l *h2Link) phase() word {
	if l.asks == connectTimeout && l.mux.Connected() {
		return headTimeout
	}
	return l.asks
}

// OnRoom says among other things that the connection is established.
func (l *h2Link) OnRoom(*session.Mux) { l.place.leave() }

// OnDraining does nothing: the connection is not usable any more.
func (l *h2Link) OnDraining(*session.Mux) {}

// OnGone notes that the connection is closed.
func (l *h2Link) OnGone(*session.Mux, error) { l.ended() }

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
	next, of := p.plan.newHTTP(p, l.peer, isH2)
	p.link = next
	of.session.Attach(c)
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
