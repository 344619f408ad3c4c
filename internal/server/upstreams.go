package server

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/base/tally"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/server/metrics"
	"github.com/edge-proxy/edge/internal/tls/certs"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/internal/upstream/health"
	"github.com/edge-proxy/edge/session"
)

// upstreams are the backends of the upstreams of a configuration, by service, and the pools of connections to them.
// Routes ask for those that they lead to.
type upstreams struct {
	*shared
	definitions *definitions
	ledger      *ledger
	monitor     *health.Monitor
	instance    uint64 // spreads the checks of several instances
	drawn       string // the secret of sticky cookies for which the configuration has none
	now, next   pools  // now is guarded by shared.mu
	lookups     sync.WaitGroup
}

// pools is what a configuration has of upstreams.
type pools struct {
	services  map[string]*members // by the name of the upstream
	upstreams map[upstream.Key]*upstream.Upstream
	views     map[choosing]*backend.View
}

func (p *upstreams) prepare() error {
	p.next = pools{make(map[string]*members), make(map[upstream.Key]*upstream.Upstream),
		make(map[choosing]*backend.View)}
	p.reload.onFailure(func() { p.next = pools{} })
	return nil
}

// commit gives new services their members. Requests find the members of the others as they were, until takeOver.
func (p *upstreams) commit() error {
	for name, of := range p.next.services {
		if p.now.services[name] == nil {
			p.reload.onFailure(of.stop)
			of.takeOver()
		}
	}
	return nil
}

// takeOver gives the services that both configurations have their next members. It cannot be undone, so the commit of
// the routes calls it.
func (p *upstreams) takeOver() {
	for name, of := range p.next.services {
		if p.now.services[name] != nil {
			of.takeOver()
		}
	}
}

func (p *upstreams) retire() {
	before := p.now
	p.now, p.next = p.next, pools{}
	for key, u := range before.upstreams {
		if p.now.upstreams[key] == nil {
			u.Close()
		}
	}
	for name, of := range before.services {
		if p.now.services[name] == nil {
			gone := metrics.NewSample()
			of.count(name, gone)
			p.ledger.forget(name, gone)
			of.stop()
		}
	}
}

func (p *upstreams) describe(l *ledger) {
	c := p.counters
	l.look(p.count)
	for _, name := range slices.Sorted(maps.Keys(p.now.services)) {
		of := p.now.services[name]
		limits := of.limits
		c.RegisterService(name, of.checks.watch != nil, of.agents.watch != nil, of.watching != nil, limits != nil)
		if limits != nil {
			follow(l, limits, limits.Stats, func(n *metrics.Sample) *admission.Stats { return n.Limits(name) },
				func(n *metrics.Sample) bool { return n.Limits(name).Total == 0 && n.Limits(name).Waiting == 0 })
		}
	}
	h2 := make(map[string]bool) // whether one of the name may speak it, by name
	for _, u := range p.now.upstreams {
		h2[u.Name()] = h2[u.Name()] || u.Options().Protocol != upstream.H1
		follow(l, u, u.Stats, func(n *metrics.Sample) *upstream.Stats { return n.Upstream(u.Name()) },
			func(n *metrics.Sample) bool { return idle(n.Upstream(u.Name())) })
	}
	for _, name := range slices.Sorted(maps.Keys(h2)) {
		c.RegisterUpstream(name, h2[name])
	}
}

func idle(u *upstream.Stats) bool { return u.Connections == 0 && u.Waiting == 0 }

// count adds what no reactor counts of the services to a sample. shared.mu is held.
func (p *upstreams) count(now *metrics.Sample) {
	for name, of := range p.now.services {
		of.count(name, now)
		for _, m := range of.set.Members() {
			now.AddBackend(name, m.Address(), m.Reasons() == 0, float64(m.Weight())*m.Part())
		}
	}
}

func (p *upstreams) stop() error {
	for _, of := range p.now.services {
		of.stop()
	}
	return nil
}

// conns returns what the pools have of connections to backends, by the name of the upstream. shared.mu is held.
func (p *upstreams) conns() *metrics.Sample {
	sum := metrics.NewSample()
	p.onReactors(func(r *engine.Reactor) {
		for _, u := range p.now.upstreams {
			st := u.Stats(r)
			tally.Add(sum.Upstream(u.Name()), &st)
		}
	})
	return sum
}

// upstream returns the upstream for u as c uses it: the running one with equal options, if there is one. A route that
// waits longer or shorter than others for the same backends has a pool of its own, since the timeouts are part of the
// options.
func (p *upstreams) upstream(
	u *config.Upstream, c *config.Route, protocol upstream.Protocol,
) (*upstream.Upstream, error) {
	of, o, err := p.backends(u)
	if err != nil {
		return nil, err
	}
	of.check(u, &o, protocol, p.instance)
	o.Protocol = protocol
	setTimeouts(&o, c)
	key := o.Key()
	made := cmp.Or(p.next.upstreams[key], p.now.upstreams[key])
	if made == nil {
		made = upstream.New(p.engine, o)
		p.reload.onFailure(made.Close)
	}
	p.next.upstreams[key] = made
	return made, nil
}

// backends returns the backends of u, and what connections to them have in common.
func (p *upstreams) backends(u *config.Upstream) (of *members, o upstream.Options, err error) {
	if o, err = p.options(u); err != nil {
		return nil, o, err
	}
	if of, err = p.service(u); err != nil {
		return nil, o, err
	}
	of.setOutliers(u, p.Reactors())
	of.setLimits(u, p.Reactors())
	o.Backends = of.set
	return of, o, nil
}

// setTimeouts sets the times of o to what a route says.
func setTimeouts(o *upstream.Options, c *config.Route) {
	o.Client.TunnelIdle = c.TunnelIdle
	if c.FirstByte > 0 {
		o.Client.FirstByte = c.FirstByte
	}
	if c.Read > 0 {
		o.Client.BetweenBytes = c.Read
	}
}

// options are the options of u, for routes without timeouts of their own.
func (p *upstreams) options(u *config.Upstream) (upstream.Options, error) {
	o := upstream.Options{
		Name: u.Name, Idle: orNone(u.Pool.Idle), IdleTimeout: u.Pool.IdleTimeout, Connect: u.Timeouts.Connect,
		Client:   session.ClientOptions{FirstByte: u.Timeouts.FirstByte, BetweenBytes: u.Timeouts.Read},
		Lifetime: u.Pool.MaxLifetime, Requests: u.Pool.MaxRequests,
		PerBackend: u.Pool.MaxPerBackend, Queue: orNone(u.Pool.Queue), QueueTimeout: u.Pool.QueueTimeout,
		Retries: orNone(u.Retry.Attempts), RetryBuffer: orNone(int(u.Retry.Buffer)),
		UserTimeout: u.UserTimeout, FastOpen: u.FastOpen,
	}
	l := &u.Limits
	o.Client.Limits = h1.Limits{HeadBytes: int(l.HeaderSize), FieldCount: l.HeaderCount, FieldBytes: int(l.FieldSize)}
	if d := u.Retry.PerTry; d > 0 {
		o.Connect = min(o.Connect, d)
	}
	if !u.TLS.On {
		return o, nil
	}
	var err error
	o.Handshaker = p.secure
	o.TLS, err = p.tls(&u.TLS)
	for _, one := range u.Backends {
		if err == nil {
			err = o.TLS.Check(one.String())
		}
	}
	if err != nil {
		err = fmt.Errorf("upstream %s: TLS: %w", u.Name, err)
	}
	return o, err
}

// tls reads the files of authorities and certificates for an upstream. In upstream.TLS an empty text
// stands for the system's authorities, or for no certificate, so an empty file must be an error.
func (p *upstreams) tls(c *config.UpstreamTLS) (t upstream.TLS, err error) {
	t = upstream.TLS{On: true, ServerName: c.SNI, Insecure: !c.Verify}
	ca := cmp.Or(c.CA, p.reload.config.Global.CAFile)
	if ca != "" {
		if t.CA, err = certs.AuthoritiesPEM(ca); err != nil {
			return t, err
		}
	}
	if c.Cert != "" {
		t.Certificate, t.Key, err = (&certs.Files{Cert: c.Cert, Key: c.Key}).PEM()
	}
	return t, err
}
