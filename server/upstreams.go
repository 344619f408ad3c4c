package server

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/edge-proxy/edge/certs"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

// firstLookup is how long a start or a reload waits for names that were not resolved before. One that takes longer is
// down until it resolves.
const firstLookup = time.Second

// pooled is an upstream with who resolves its names. It lives as long as some generation has one with equal options.
type pooled struct {
	*upstream.Upstream
	names *upstream.Resolver
	id    string // its options
}

// upstream returns the upstream for u as c uses it: the running one with equal options, if there is one. A route that
// waits longer or shorter than others for the same backends has a pool of its own, since the timeouts are part of the
// options.
func (b *build) upstream(u *config.Upstream, c *config.Route, protocol string) (*pooled, error) {
	o, err := b.upstreamOptions(u)
	if err != nil {
		return nil, err
	}
	o.Protocol, o.Client.TunnelIdle = protocols[protocol], c.TunnelIdle
	if c.FirstByte > 0 {
		o.Client.FirstByte = c.FirstByte
	}
	if c.Read > 0 {
		o.Client.BetweenBytes = c.Read
	}
	id := fmt.Sprintf("%#v", o)
	p := b.upstreams[id]
	if p == nil {
		p = b.server.present.upstreams[id]
	}
	if p == nil {
		p = &pooled{Upstream: upstream.New(b.server.engine, o), id: id}
		b.lookUp(p, u)
		b.unresolved = append(b.unresolved, p)
		b.fresh = append(b.fresh, func() {
			p.names.Stop()
			p.Close(b.server.engine)
		})
	}
	b.upstreams[id] = p
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
	for _, backend := range u.Backends {
		o.Backends = append(o.Backends, upstream.Backend{Address: backend.String(), Weight: backend.Weight})
	}
	if !u.TLS.On {
		return o, nil
	}
	var err error
	o.Handshaker = b.server.secure
	o.TLS, err = b.upstreamTLS(&u.TLS)
	for _, backend := range o.Backends {
		if err == nil {
			err = o.TLS.Check(backend.Address)
		}
	}
	if err != nil {
		err = fmt.Errorf("upstream %s: TLS: %w", u.Name, err)
	}
	return o, err
}

// upstreamTLS reads what secures the connections of an upstream. In upstream.TLS an empty text stands for the system's
// authorities, or for no certificate: a file without content must not become one.
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

// orNone turns the 0 of a configuration, which means none, into what options mean by none.
func orNone[N int | int64](n N) N {
	if n == 0 {
		return -1
	}
	return n
}

// lookUp resolves the names among the backends of a new upstream for the first time, in the background: a reload must
// not swap in an upstream whose backends are all down for a moment.
func (b *build) lookUp(p *pooled, u *config.Upstream) {
	for i, backend := range u.Backends {
		if _, err := netip.ParseAddr(backend.Host); backend.Unix != "" || err == nil {
			continue
		}
		b.lookups.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), firstLookup)
			defer cancel()
			ips, err := b.server.lookup(ctx, backend.Host)
			if err != nil {
				return // the Resolver tries again, and says so
			}
			addrs := make([]poller.Addr, 0, len(ips))
			for _, ip := range ips {
				addrs = append(addrs, poller.Addr{IP: netip.AddrPortFrom(ip.Unmap(), uint16(backend.Port))})
			}
			slices.SortFunc(addrs, func(a, b poller.Addr) int { return a.IP.Compare(b.IP) })
			p.SetAddrs(i, slices.Compact(addrs))
		})
	}
}

func (s *Server) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if s.opts.Lookup != nil {
		return s.opts.Lookup(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
