package server

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/route/target"
	"github.com/edge-proxy/edge/internal/server/dynamic"
	"github.com/edge-proxy/edge/internal/server/metrics"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// dynamicKey identifies the destinations of a dest with variables: a reload keeps destinations of equal key.
type dynamicKey struct {
	name            string // of the upstream
	upstream        upstream.Key
	template, allow string
	servers         string // that names are asked of
	own             string // where listeners listen: what was judged before one came may lead to it
	host            string
	noVia, grpc     bool
	retry           retry.Policy
	language        string // what the text of the template is bound to
}

// idleShare is how many destinations share the idle connections that an upstream may keep.
const idleShare = 64

// destinations are those that requests name: one for each dest with variables.
// Guarded by shared.mu.
type destinations struct {
	nothing
	*shared
	listeners *listeners
	upstreams *upstreams
	now, next map[dynamicKey]*dynamic.Destinations
	looking   []*dynamic.Destinations // that a reload took away, which may still look names up
}

func (p *destinations) prepare() error {
	p.next = make(map[dynamicKey]*dynamic.Destinations)
	p.reload.onFailure(func() { p.next = nil })
	return nil
}

func (p *destinations) retire() {
	for key, d := range p.now {
		if p.next[key] == nil {
			d.Retire()
			p.looking = append(slices.DeleteFunc(p.looking, (*dynamic.Destinations).Quiet), d)
		}
	}
	p.now, p.next = p.next, nil
}

func (p *destinations) describe(l *ledger) {
	for key, d := range p.now {
		p.counters.RegisterDynamic(key.name)
		follow(l, d, d.Stats, func(n *metrics.Sample) *dynamic.Stats { return n.Dynamic(key.name) },
			func(n *metrics.Sample) bool { return d.Quiet() && idle(&n.Dynamic(key.name).Upstream) })
	}
}

func (p *destinations) stop() error {
	for _, d := range slices.AppendSeq(p.looking, maps.Values(p.now)) {
		d.Close()
	}
	return nil
}

// lead leads r where each request says, as u allows.
func (p *destinations) lead(r *proxy.Route, c *config.Route, u *config.Upstream) error {
	o, err := p.upstreams.options(u)
	if err != nil {
		return err
	}
	of, err := p.upstreams.service(u) // without members: it has the policy of retries
	if err != nil {
		return err
	}
	o.Protocol = constant[upstream.Protocol](u, &u.Protocol)
	if c.GRPC == config.On {
		o.Protocol = upstream.H2
	}
	setTimeouts(&o, c)
	if o.Idle > 0 {
		o.Idle = max(1, o.Idle/idleShare)
	}
	o.Handshaker = p.secure
	r.GRPC = proxy.Switch(c.GRPC)
	key := dynamicKey{
		name: u.Name, upstream: o.Key(), template: u.Template, allow: strings.Join(u.Allow, "\n"), host: hostOf(u),
		noVia:   !u.Via,
		servers: fmt.Sprint(u.Discovery.Resolver), retry: of.retry,
		own:  addressesOf(p.reload.config),
		grpc: r.GRPC == proxy.On || r.GRPC == proxy.ByListener && anyGRPC(p.reload.config),
	}
	if u.Named.NeedsView() {
		key.language = p.reload.config.Language.Identity()
	}
	d := cmp.Or(p.next[key], p.now[key])
	if d == nil {
		if d, err = p.open(u, o, &key); err != nil {
			return err
		}
		p.reload.onFailure(d.Close)
	}
	p.next[key] = d
	r.Timeout = cmp.Or(r.Timeout, u.Timeouts.Total)
	d.Lead(r)
	return nil
}

// open makes the destinations of a key.
func (p *destinations) open(u *config.Upstream, o upstream.Options, key *dynamicKey) (*dynamic.Destinations, error) {
	allowed, err := allowedBy(u)
	if err != nil {
		return nil, err
	}
	policy := key.retry
	return dynamic.New(p.engine, dynamic.Options{
		Template: u.Named, Allow: allowed, Upstream: o, GRPC: key.grpc, Names: p.namesBy(u.Discovery.Resolver),
		To: proxy.ToOptions{Host: key.host, NoVia: key.noVia, Retry: &policy,
			Meter: p.traffic.Upstream(u.Name)},
		Own: p.listeners.own.listensAt,
	}), nil
}

// addressesOf returns the addresses of listeners as c has them: none is open yet.
func addressesOf(c *config.Config) string {
	var all []string
	for _, l := range c.Listening() {
		for _, a := range l.Addresses {
			all = append(all, keyOf(&a))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// allowedBy returns where requests to u may lead.
func allowedBy(u *config.Upstream) (*target.List, error) {
	l, err := target.ParseList(u.Allow...)
	if err != nil {
		return nil, fmt.Errorf("allow_dest: %w", err)
	}
	return l, nil
}

// ownAddresses are the addresses at which the listeners of a Server listen, and others of its process.
// Safe for any goroutine.
type ownAddresses struct {
	listening atomic.Pointer[[]netip.AddrPort]
	others    func() []netip.AddrPort // nil: there are none

	mu     sync.Mutex
	looked time.Time    // guarded by mu
	host   []netip.Addr // the addresses of the machine; guarded by mu
}

// hostEvery is how often the addresses of the machine are looked at.
const hostEvery = 5 * time.Second

// use makes the addresses of these listeners the ones.
func (o *ownAddresses) use(listeners []*listener) {
	var all []netip.AddrPort
	for _, l := range listeners {
		if at := l.open.Addr(); !at.IsUnix() {
			all = append(all, netip.AddrPortFrom(at.IP.Addr().Unmap().WithZone(""), at.IP.Port()))
		}
	}
	o.listening.Store(&all)
}

// listensAt reports whether what is sent to an address comes to a listener. One for all addresses has each of the
// machine's, of either version of IP. It may block for as long as the kernel takes to name them.
func (o *ownAddresses) listensAt(at netip.AddrPort) bool {
	var all []netip.AddrPort
	if listening := o.listening.Load(); listening != nil {
		all = *listening
	}
	if o.others != nil {
		all = slices.Concat(all, o.others())
	}
	ip := at.Addr().Unmap().WithZone("")
	here := ip.IsUnspecified() // connect(2) takes it for an address of this machine
	return slices.ContainsFunc(all, func(own netip.AddrPort) bool {
		return own.Port() == at.Port() && (here || own.Addr() == ip || own.Addr().IsUnspecified() && o.isHost(ip))
	})
}

// isHost reports whether ip is an address of this machine. Where they cannot be found out, any may be.
func (o *ownAddresses) isHost(ip netip.Addr) bool {
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := time.Now(); o.looked.IsZero() || now.Sub(o.looked) >= hostEvery {
		list, err := net.InterfaceAddrs()
		if err != nil {
			return true
		}
		o.looked, o.host = now, o.host[:0]
		for _, one := range list {
			if p, err := netip.ParsePrefix(one.String()); err == nil {
				o.host = append(o.host, p.Addr().Unmap().WithZone(""))
			}
		}
	}
	return slices.Contains(o.host, ip)
}
