package server

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/sticky"
	"github.com/edge-proxy/edge/balance"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/value"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/plugin"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

// choosing says what chooses among the backends of an upstream. Routes that say nothing of their own share it.
type choosing struct {
	upstream    *upstream.Upstream
	route, host string // of a route that has turns of its own
	method      *balance.Method
}

// leadTo leads to u as c uses it, or to its failover, which has a method and keys of its own. Calls of gRPC go to both
// over HTTP/2.
func (b *build) leadTo(u *config.Upstream, c *config.Route, grpc bool) (proxy.Destination, error) {
	protocol := constant[upstream.Protocol](u, &u.Protocol)
	if grpc {
		protocol = upstream.H2
	}
	p, err := b.upstream(u, c, protocol)
	if err != nil {
		return nil, err
	}
	var failover proxy.Destination
	if other := b.config.Upstream(u.Failover); other != nil { // config has seen to it that they make no circle
		as := *c
		as.LoadBalancing, as.HashKey = "", value.HashKey{}
		if failover, err = b.leadTo(other, &as, grpc); err != nil {
			return nil, err
		}
	}
	return b.destination(p, u, c, failover)
}

// destination leads to p, which was made of u, by the method of u or that of c. A reload that has the same goes on with
// the turns where they were.
func (b *build) destination(
	p *upstream.Upstream, u *config.Upstream, c *config.Route, failover proxy.Destination,
) (proxy.Destination, error) {
	method, err := b.method(cmp.Or(c.LoadBalancing, u.LoadBalancing))
	if err != nil {
		return nil, err
	}
	id := choosing{upstream: p, method: method}
	if c.LoadBalancing != "" {
		id.route, id.host = c.Name, c.Host
	}
	v := b.views[id]
	if v == nil {
		v = b.server.present.views[id]
	}
	reactors := len(b.server.engine.Reactors())
	if v == nil {
		v = p.Options().Backends.View(reactors, method)
	}
	b.views[id] = v
	m := b.services[u.Name]
	policy := m.retry
	o := &proxy.ToOptions{
		View: v, Host: hostOf(u), NoVia: !u.Via, Retry: &policy, Outliers: m.outliers, Sticky: m.cookie,
		Failover: failover, Limits: m.limiter(), Meter: b.server.traffic.Upstream(u.Name),
	}
	if method.Hash != nil {
		o.Key = newKeys(reactors, method, cmp.Or(c.HashKey, u.HashKey), b.config.Language.Scope()).of
	}
	return proxy.To(p, o), nil
}

// method returns the method of balancing with that name. One of [balance_methods] goes on over a reload where its keys
// are the same, with its turns.
func (b *build) method(name string) (*balance.Method, error) {
	if m := balance.ByName(name); m != nil {
		return m, nil
	}
	return lasting(b, plugin.BalanceMethods, name, func(m *balance.Method, h *keeper) (*balance.Method, error) {
		if m.New == nil {
			return nil, errors.New("its Method has no New")
		}
		named := *m
		named.Name = name
		return balance.Guarded(&named, h.failed), nil
	})
}

// connFilters returns the filters of the connections of a listener.
func (b *build) connFilters(names []string) (all []*session.ConnFilter, err error) {
	for _, name := range names {
		f, err := lasting(b, plugin.ConnectionFilters, name,
			func(f *session.ConnFilter, h *keeper) (*session.ConnFilter, error) {
				return &session.ConnFilter{Accept: h.counted(f.Accept), Secure: h.counted(f.Secure)}, nil
			})
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// lasting returns what a configuration defines of a kind under a name. It goes on over a reload where its keys are the
// same; finish makes of it what is used. All that is used has h, so that what it keeps is released after it.
func lasting[T any](
	b *build, kind *plugin.Kind, name string, finish func(made T, h *keeper) (T, error),
) (made T, err error) {
	d, key := b.config.Find(kind, name), definedKey{kind, name}
	for _, known := range []definedValue{b.lasting[key], b.server.present.lasting[key]} {
		if known.made != nil && known.defined.Like(*d) {
			b.lasting[key] = known
			return known.made.(T), nil
		}
	}
	of := b.of(kind, name, d.Type)
	of.Kept = b.server.kept.ClaimLasting()
	h := &keeper{of: of, hold: tenureOf(of.Kept)}
	if made, err = makeDefined[T](d, of); err != nil {
		return made, err
	}
	if made, err = finish(made, h); err != nil {
		return made, fmt.Errorf("%s: %s %q: %w", d.Pos, kind.Name, name, err)
	}
	b.lasting[key] = definedValue{d, made}
	return made, nil
}

// definedKey and definedValue are something that lasting has made.
type (
	definedKey struct {
		kind *plugin.Kind
		name string
	}
	definedValue struct {
		defined *config.Definition
		made    any
	}
)

// keeper is what all that lasting makes has: as long as it can be reached, so can what a module keeps for it.
type keeper struct {
	of   *plugin.Build
	hold *tenure
}

// failed tells of a panic.
func (h *keeper) failed(p any) {
	h.of.Logger.Error("a "+h.of.Kind.Name+" has failed", "panic", p, "stack", string(debug.Stack()))
}

// counted returns ask, which may be nil, with its refusals counted.
func (h *keeper) counted(ask func(session.ConnInfo) bool) func(session.ConnInfo) bool {
	if ask == nil {
		return nil
	}
	f := &connFilter{h, ask, h.of.Counter("refused")}
	return f.pass
}

// connFilter asks a connection filter, and counts.
type connFilter struct {
	*keeper
	ask     func(session.ConnInfo) bool
	refused *plugin.Counter
}

func (f *connFilter) pass(c session.ConnInfo) bool {
	if f.ask(c) {
		return true
	}
	f.refused.IncOn(c.Reactor)
	return false
}

// sticking is the cookie that keeps clients at the backends of an upstream, as the last build had it; undo of a build
// puts back the one before.
// Guarded by Server.mu.
type sticking struct {
	of     config.Sticky  // that cookie was made by
	cookie *sticky.Cookie // nil: no client is kept
}

// setCookie has clients kept at the backends m of u as u says. undo ends what it made.
func (m *members) setCookie(u *config.Upstream, drawn string) (undo func(), err error) {
	was, c := m.sticking.of, u.Sticky
	if was.Cookie == c.Cookie && (c.Cookie == "" || was.TTL == c.TTL && slices.Equal(was.Secrets, c.Secrets)) {
		return func() {}, nil
	}
	before := m.sticking
	m.sticking = sticking{of: c}
	if c.Cookie == "" {
		return func() { m.sticking = before }, nil
	}
	o := sticky.Options{Service: u.Name, Name: c.Cookie, TTL: c.TTL, Secrets: c.Secrets}
	if len(o.Secrets) == 0 {
		o.Secrets = []string{drawn}
	}
	made, err := sticky.New(m.set, o)
	if err != nil {
		m.sticking = before
		return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
	}
	m.sticking.cookie = made
	return func() {
		m.sticking = before
		made.Stop()
	}, nil
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
		if t, err := scope.Template(text, lang.Request); err == nil { // config has compiled it, too
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
