package server

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/ejection"
	"github.com/edge-proxy/edge/backend/health"
	"github.com/edge-proxy/edge/certs"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/proxy/retry"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

// firstLookup is how long a start or a reload waits for the names of new backends. A backend whose name takes longer
// is down until it is resolved.
const firstLookup = time.Second

// members is the backends of an upstream of the configuration, and what resolves their names. It lives as long as some
// generation has an upstream of that name; the pools of connections to them come and go with their options.
type members struct {
	set     *backend.Set
	names   *backend.Resolver // nil before the first commit
	watch   *health.Watch     // nil: they are not checked
	stopLog func()            // ends that changes are logged
	counted health.Stats      // of checks that a reload turned off

	retry retry.Policy // of the upstream as the last build had it; its budget lives on while its size stays the same
	ratio int          // of that budget; 0: there was no build yet

	outlier  config.Outlier    // that outliers were made with
	outliers *backend.Outliers // of the last build; nil: no backend is ejected
	watching *backend.Outliers // of the last commit
}

// setOutliers has the backends ejected as u says.
func (m *members) setOutliers(u *config.Upstream, reactors int) {
	if m.outlier == u.Outlier {
		return
	}
	m.outlier, m.outliers = u.Outlier, nil
	if o := u.Outlier; o.On {
		m.outliers = backend.NewOutliers(u.Name, m.set, reactors, ejection.Options{
			Errors: o.Errors, Window: o.Window, Eject: o.Eject, MaxEjected: o.MaxEjected,
		})
	}
}

// commitOutliers ends the ejections of the outliers that were replaced.
func (m *members) commitOutliers() {
	if old := m.watching; old != m.outliers {
		m.watching = m.outliers
		if old != nil {
			old.Stop()
		}
	}
}

// setRetry makes the policy for u, whose backends are m.
func (m *members) setRetry(u *config.Upstream, reactors int) error {
	p := retry.Policy{On: retry.Default(), PerTry: u.Retry.PerTry, Budget: m.retry.Budget}
	if p.PerTry > 0 {
		p.On = p.On.With(retry.Timeout)
	}
	if u.Retry.On != nil {
		var err error
		if p.On, err = retry.Parse(u.Retry.On...); err != nil {
			return fmt.Errorf("upstream %s: retry.on: %w", u.Name, err)
		}
	}
	if ratio := cmp.Or(u.Retry.Budget, retry.RatioDefault); m.ratio != ratio {
		if m.ratio, p.Budget = ratio, nil; ratio > 0 {
			p.Budget = retry.NewBudget(reactors, ratio)
		}
	}
	m.retry = p
	return nil
}

// members returns the backends of u, which become those that u names with the commit of b: those of the running
// generation, if it has an upstream of that name.
func (b *build) members(u *config.Upstream) *members {
	s := b.services[u.Name]
	if s != nil {
		return s
	}
	if s = b.server.present.services[u.Name]; s == nil {
		s = &members{set: backend.NewSet()}
		s.stopLog = backend.LogChanges(u.Name, s.set)
	}
	b.services[u.Name] = s
	list := make([]backend.Spec, len(u.Backends))
	for i, one := range u.Backends {
		list[i] = backend.Spec{Address: one.String(), Weight: one.Weight}
		if one.Backup {
			list[i].Tier = 1
		}
	}
	for _, one := range s.set.Unresolved(list) {
		b.lookups.Go(func() { b.lookUp(one) })
	}
	b.updates = append(b.updates, func() {
		s.update(b.server.monitor, list, b.checks[u.Name])
		s.commitOutliers()
		if s.names == nil {
			s.names = backend.Resolve(u.Name, s.set, b.server.opts.Lookup)
		}
	})
	return s
}

// lookUp resolves the name of a backend that is new: a reload must not swap in backends that are all down for a moment.
func (b *build) lookUp(one *backend.Spec) {
	ctx, cancel := context.WithTimeout(context.Background(), firstLookup)
	defer cancel()
	one.Addrs, _ = backend.Lookup(b.server.opts.Lookup).Resolve(ctx, one.Address) // the Resolver tells of an error
}

// upstream returns the upstream for u as c uses it: the running one with equal options, if there is one. A route that
// waits longer or shorter than others for the same backends has a pool of its own, since the timeouts are part of the
// options.
func (b *build) upstream(u *config.Upstream, c *config.Route, protocol string) (*upstream.Upstream, error) {
	o, err := b.upstreamOptions(u)
	if err != nil {
		return nil, err
	}
	m := b.members(u)
	if err := m.setRetry(u, len(b.server.engine.Reactors())); err != nil {
		return nil, err
	}
	m.setOutliers(u, len(b.server.engine.Reactors()))
	o.Backends = m.set
	b.check(u, &o, protocols[protocol])
	o.Protocol, o.Client.TunnelIdle = protocols[protocol], c.TunnelIdle
	if c.FirstByte > 0 {
		o.Client.FirstByte = c.FirstByte
	}
	if c.Read > 0 {
		o.Client.BetweenBytes = c.Read
	}
	key := o.Key()
	p := b.upstreams[key]
	if p == nil {
		p = b.server.present.upstreams[key]
	}
	if p == nil {
		p = upstream.New(b.server.engine, o)
		b.fresh = append(b.fresh, p.Close)
	}
	b.upstreams[key] = p
	return p, nil
}

var protocols = map[string]upstream.Protocol{"h1": upstream.H1, "h2": upstream.H2, "auto": upstream.Auto}

func (b *build) upstreamOptions(u *config.Upstream) (upstream.Options, error) {
	o := upstream.Options{
		Name: u.Name, Idle: orNone(u.Pool.Idle), IdleTimeout: u.Pool.IdleTimeout, Connect: u.Timeouts.Connect,
		Client:   session.ClientOptions{FirstByte: u.Timeouts.FirstByte, BetweenBytes: u.Timeouts.Read},
		Lifetime: u.Pool.MaxLifetime, Requests: u.Pool.MaxRequests,
		PerBackend: u.Pool.MaxPerBackend, Queue: orNone(u.Pool.Queue), QueueTimeout: u.Pool.QueueTimeout,
		Retries: orNone(u.Retry.Attempts), RetryBuffer: orNone(int(u.Retry.Buffer)),
		UserTimeout: u.UserTimeout, FastOpen: u.FastOpen,
	}
	if d := u.Retry.PerTry; d > 0 {
		o.Connect = min(o.Connect, d)
	}
	if !u.TLS.On {
		return o, nil
	}
	var err error
	o.Handshaker = b.server.secure
	o.TLS, err = b.upstreamTLS(&u.TLS)
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

// upstreamTLS reads the files of authorities and certificates for an upstream. In upstream.TLS an empty text
// stands for the system's authorities, or for no certificate, so an empty file must be an error.
func (b *build) upstreamTLS(c *config.UpstreamTLS) (t upstream.TLS, err error) {
	t = upstream.TLS{On: true, ServerName: c.SNI, Insecure: !c.Verify}
	ca := c.CA
	if ca == "" {
		ca = b.config.Global.CAFile
	}
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

// orNone translates none, which is 0 in a configuration and -1 in options.
func orNone[N int | int64](n N) N {
	if n == 0 {
		return -1
	}
	return n
}
