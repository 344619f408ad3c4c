package server

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/forward/sticky"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// choosing says what chooses among the backends of an upstream. Routes that say nothing of their own share it.
type choosing struct {
	upstream    *upstream.Upstream
	route, host string // of a route that has turns of its own
	method      *balance.Method
}

// leadTo leads to u as c uses it, by the method of u or of c, or to its failover, which has a method and keys of its
// own. Calls of gRPC go to both over HTTP/2. A reload that has the same method goes on with the turns where they were.
func (p *upstreams) leadTo(u *config.Upstream, c *config.Route, grpc bool) (proxy.Destination, error) {
	protocol := constant[upstream.Protocol](u, &u.Protocol)
	if grpc {
		protocol = upstream.H2
	}
	up, err := p.upstream(u, c, protocol)
	if err != nil {
		return nil, err
	}
	var failover proxy.Destination
	if other := p.reload.config.Upstream(u.Failover); other != nil { // config has seen to it that they make no circle
		as := *c
		as.LoadBalancing, as.HashKey = "", value.HashKey{}
		if failover, err = p.leadTo(other, &as, grpc); err != nil {
			return nil, err
		}
	}
	method, err := p.method(cmp.Or(c.LoadBalancing, u.LoadBalancing))
	if err != nil {
		return nil, err
	}
	id := choosing{upstream: up, method: method}
	if c.LoadBalancing != "" {
		id.route, id.host = c.Name, c.Host
	}
	v := cmp.Or(p.next.views[id], p.now.views[id])
	if v == nil {
		v = up.Options().Backends.View(p.Reactors(), method)
	}
	p.next.views[id] = v
	m := p.next.services[u.Name]
	policy := m.retry
	o := &proxy.ToOptions{
		View: v, Host: hostOf(u), Total: u.Timeouts.Total, NoVia: !u.Via, Retry: &policy, Outliers: m.outliers,
		Sticky: m.cookie, Failover: failover, Limits: m.limiter(), Meter: p.traffic.Upstream(u.Name),
	}
	if method.Hash != nil {
		o.Key = newKeys(p.Reactors(), method, cmp.Or(c.HashKey, u.HashKey), p.reload.config.Language.Scope()).of
	}
	return proxy.To(up, o), nil
}

// method returns the method of balancing with that name. One of [balance_methods] goes on over a reload where its keys
// are the same, with its turns.
func (p *upstreams) method(name string) (*balance.Method, error) {
	if m := balance.ByName(name); m != nil {
		return m, nil
	}
	finish := func(m *balance.Method, h *keeper) (*balance.Method, error) {
		if m.New == nil {
			return nil, errors.New("its Method has no New")
		}
		named := *m
		named.Name = name
		return balance.Guarded(&named, h.failed), nil
	}
	return lasting(p.definitions, plugin.BalanceMethods, name, finish)
}

// sticking is the cookie that keeps clients at the backends of an upstream, as the last reload made it. A reload that
// fails puts back the one before. Guarded by shared.mu.
type sticking struct {
	of     config.Sticky  // that cookie was made by
	cookie *sticky.Cookie // nil: no client is kept
}

// setCookie sets how clients are kept at the backends m of u, as u says.
func (m *members) setCookie(u *config.Upstream, drawn string) (err error) {
	was, c := m.sticking.of, u.Sticky
	if was.Cookie == c.Cookie && (c.Cookie == "" || was.TTL == c.TTL && slices.Equal(was.Secrets, c.Secrets)) {
		return nil
	}
	m.sticking = sticking{of: c}
	if c.Cookie == "" {
		return nil
	}
	o := sticky.Options{Service: u.Name, Name: c.Cookie, TTL: c.TTL, Secrets: c.Secrets}
	if len(o.Secrets) == 0 {
		o.Secrets = []string{drawn}
	}
	if m.cookie, err = sticky.New(m.set, o); err != nil {
		return fmt.Errorf("upstream %s: %w", u.Name, err)
	}
	return nil
}

// commitCookie ends the cookie that was replaced.
func (m *members) commitCookie() {
	if old := m.current; old != m.cookie {
		m.current = m.cookie
		if old != nil {
			old.Stop()
		}
	}
}

// policyOf says how the backends of u share the requests of this instance, which runs in zone.
func policyOf(u *config.Upstream, zone string, instance uint64) backend.Policy {
	return backend.Policy{
		SlowStart: u.SlowStart, Spill: u.Spill, Panic: float64(u.Panic) / 100,
		Zones: constant[backend.Zones](u, &u.Zones), Zone: zone, ZoneShare: float64(u.ZoneShare) / 100,
		Subset: backend.Subset{Size: u.Subset.Size, Index: u.Subset.Index, Of: u.Subset.Of, Instance: instance},
	}
}

// keys makes keys of requests for a method of balancing that hashes.
// Immutable, the scratch aside.
type keys struct {
	hash    func(key []byte) uint64
	from    func(dst []byte, x *proxy.Exchange) []byte // appends what is hashed
	scratch []scratch                                  // by Reactor.Index: each is owned by its reactor
}

// scratch is where the bytes of a key are put together. It fills a cache line.
type scratch struct {
	bytes []byte
	_     [40]byte
}

// newKeys makes keys of what key says, a text of which scope has the names.
func newKeys(reactors int, method *balance.Method, key value.HashKey, scope *lang.Scope) *keys {
	k := &keys{hash: method.Hash, scratch: make([]scratch, reactors)}
	name := key.Name
	if text := key.Text(); text != "" {
		if t, err := scope.Template(text, lang.Content); err == nil { // config has compiled it, too
			k.from = func(dst []byte, x *proxy.Exchange) []byte { return t.Append(dst, proxy.View(x)) }
			return k
		}
	}
	switch key.Of {
	case "path":
		k.from = func(dst []byte, x *proxy.Exchange) []byte { return append(dst, x.Path()...) }
	case "uri":
		k.from = func(dst []byte, x *proxy.Exchange) []byte {
			dst = append(dst, x.Path()...)
			if query := x.Request.Query(); len(query) > 0 {
				dst = append(append(dst, '?'), query...)
			}
			return dst
		}
	case "host":
		k.from = func(dst []byte, x *proxy.Exchange) []byte {
			return append(dst, x.Request.Bytes(x.Request.Authority)...)
		}
	case "header":
		k.from = func(dst []byte, x *proxy.Exchange) []byte {
			if i := x.Request.Find(name); i >= 0 {
				dst = append(dst, x.Request.Value(i)...)
			}
			return dst
		}
	case "cookie":
		k.from = func(dst []byte, x *proxy.Exchange) []byte { return append(dst, x.Request.PeekCookie(name)...) }
	case "query":
		k.from = func(dst []byte, x *proxy.Exchange) []byte { return x.Request.AppendParameter(dst, name) }
	default:
		k.from = appendClientIP
		if method == balance.IPHash {
			k.from = appendAddress
		}
	}
	return k
}

// of returns the key of x. On the reactor of x.
func (k *keys) of(x *proxy.Exchange) (key uint64, ok bool) {
	s := &k.scratch[x.Reactor().Index()]
	s.bytes = k.from(s.bytes[:0], x)
	return k.hash(s.bytes), len(s.bytes) > 0
}

// appendClientIP appends the address of the client as text: what nginx has for $remote_addr.
func appendClientIP(dst []byte, x *proxy.Exchange) []byte { return textOf(dst, x.ClientIP()) }

func textOf(dst []byte, ip netip.Addr) []byte {
	if !ip.IsValid() { // of a Unix socket
		return dst
	}
	return ip.Unmap().WithZone("").AppendTo(dst)
}

// appendAddress appends the address of the client as bytes: what nginx's ip_hash looks at.
func appendAddress(dst []byte, x *proxy.Exchange) []byte {
	switch ip := x.ClientIP().Unmap(); {
	case ip.Is4():
		four := ip.As4()
		return append(dst, four[:]...)
	case ip.Is6():
		six := ip.As16()
		return append(dst, six[:]...)
	}
	return dst
}
