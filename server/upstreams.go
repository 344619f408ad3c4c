package server

import (
	"cmp"
	"fmt"

	"github.com/edge-proxy/edge/certs"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

// upstream returns the upstream for u as c uses it: the running one with equal options, if there is one. A route that
// waits longer or shorter than others for the same backends has a pool of its own, since the timeouts are part of the
// options.
func (b *build) upstream(u *config.Upstream, c *config.Route, protocol upstream.Protocol) (*upstream.Upstream, error) {
	o, err := b.upstreamOptions(u)
	if err != nil {
		return nil, err
	}
	of, err := b.members(u)
	if err != nil {
		return nil, err
	}
	if err := of.setRetry(u, len(b.server.engine.Reactors())); err != nil {
		return nil, err
	}
	of.setOutliers(u, len(b.server.engine.Reactors()))
	b.setLimits(of, u)
	o.Backends = of.set
	b.check(u, &o, protocol)
	o.Protocol, o.Client.TunnelIdle = protocol, c.TunnelIdle
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
	ca := cmp.Or(c.CA, b.config.Global.CAFile)
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
