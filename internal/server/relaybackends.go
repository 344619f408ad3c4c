package server

import (
	"cmp"
	"sync"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/l4"
	"github.com/edge-proxy/edge/internal/server/tlsrules"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/poller"
)

// relayTo returns the backends u for a service.
func (p *upstreams) relayTo(u *config.Upstream, service string) (*l4.Backends, error) {
	of, o, err := p.backends(u)
	if err != nil {
		return nil, err
	}
	of.check(u, &o, upstream.H1, p.instance)
	method, err := p.method(u.LoadBalancing)
	if err != nil {
		return nil, err
	}
	id := choosing{route: "service " + service, host: u.Name, method: method}
	v := cmp.Or(p.next.views[id], p.now.views[id])
	if v == nil {
		v = of.set.View(p.Reactors(), method)
	}
	p.next.views[id] = v
	to := &l4.Backends{
		Name: u.Name, View: v, Connect: o.Connect, Outliers: of.outliers, Limits: of.limiter(),
		Socket: poller.ConnectOptions{UserTimeout: o.UserTimeout, FastOpen: o.FastOpen},
	}
	if method.Hash != nil {
		to.Key = func(c *engine.Conn, asked string) (uint64, bool) {
			d := tlsconn.DigestOf(c)
			if d == nil {
				d = &tlsconn.Digest{Peer: c.Peer(), ServerName: asked}
				if u.ConnectionKey != nil {
					d.Local = c.Local() // which takes system calls
				}
			}
			return connectionKey(method, u.ConnectionKey, d, service)
		}
	}
	if version := u.ProxyProtocol; version != "" {
		headers := make([][]byte, p.Reactors())
		to.Preamble = func(c *engine.Conn, asked string) []byte {
			b := &headers[c.Reactor().Index()]
			*b = appendHeader((*b)[:0], version, c, asked)
			return *b
		}
	}
	if o.TLS.On {
		to.Secure = (&securing{tls: o.TLS, by: p.secure, of: make(map[string]*tlsconn.ClientOptions)}).dial
	}
	if other := p.reload.config.Upstream(u.Failover); other != nil { // config has seen to it that they make no circle
		to.Failover, err = p.relayTo(other, service)
	}
	return to, err
}

// connectionKey returns the key by which method balances a connection of a client of d: by a text on handshakes, or by
// the client's address; none: the text is empty, or the client is at a Unix socket.
func connectionKey(method *balance.Method, text *lang.Template, d *tlsconn.Digest, listener string) (uint64, bool) {
	if text != nil {
		b := tlsrules.AppendFor(nil, text, d, listener)
		return method.Hash(b), len(b) > 0
	}
	ip := d.Peer.IP.Addr()
	if !ip.IsValid() {
		return 0, false
	}
	b := ip.As16()
	return method.Hash(b[:]), true
}

// securing dials connections of a service to backends by TLS. Safe for all reactors.
type securing struct {
	tls upstream.TLS
	by  *tlsconn.Handshaker

	mu    sync.Mutex
	of    map[string]*tlsconn.ClientOptions // by the host of the backend; guarded by mu, as first
	first *tlsconn.ClientOptions            // has what was read of certificates, for the others too
}

func (s *securing) dial(m *backend.Member, r *engine.Reactor, to poller.Addr, h engine.Handler, o *engine.DialOptions) (
	*engine.Conn, error,
) {
	s.mu.Lock()
	with, err := s.of[m.Host()], error(nil)
	if with == nil {
		if with, err = s.tls.ClientOptions(m.Host(), s.first); err == nil {
			s.of[m.Host()], s.first = with, cmp.Or(s.first, with)
		}
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.by.Dial(r, to, h, o, with)
}
