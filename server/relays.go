package server

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/l4"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/plugin"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/server/tlsrules"
	"github.com/edge-proxy/edge/tlsconn"
	"github.com/edge-proxy/edge/upstream"
)

// relays are the services of the type tcp. Listeners hand their connections to them.
type relays struct {
	nothing
	*shared
	logs      *accessLogs
	upstreams *upstreams
	counts    relayCounts
	all       map[string]*relay // by name; guarded by shared.mu
	next      map[string]*l4.Service
	// passed are the services of connections that rules on handshakes lead elsewhere, by the name of their listener and
	// the number of the rule; nil: it does not.
	passed map[string][]*l4.Service
	// log has the lines of connections, by Reactor.Index. They may outlive many reloads, and outputs.
	log     atomic.Pointer[[]proxy.AccessLog]
	nextLog []proxy.AccessLog
}

// relay is one service. It lasts as long as configurations have one of its name.
type relay struct {
	name string
	now  atomic.Pointer[l4.Service] // for new connections
}

// service returns the service of that name as listeners have it. Its connections may begin once all parts are prepared.
func (p *relays) service(name string) *plugin.Service {
	r := p.all[name]
	if r == nil {
		r = &relay{name: name}
		p.all[name] = r
	}
	return &plugin.Service{
		Accept:      func(c *engine.Conn) engine.Handler { return r.now.Load().Accept(c) },
		ClientFirst: p.reload.config.Relays[name].Peek,
	}
}

func (p *relays) prepare() error {
	p.next = make(map[string]*l4.Service)
	p.reload.onFailure(func() { p.next = nil })
	c, before := p.reload.config, p.passed
	if err := p.prepareLog(c.Log); err != nil {
		return err
	}
	p.passed = make(map[string][]*l4.Service)
	p.reload.onFailure(func() { p.passed = before })
	for _, l := range c.Listening() {
		if err := p.preparePassed(l); err != nil {
			return fmt.Errorf("rule on handshakes of listener %s: %w", l.Name, err)
		}
	}
	for i := range c.Services {
		l := &c.Services[i]
		if _, ok := c.Relays[l.Name]; !ok {
			continue
		}
		s, err := p.made(l)
		if err != nil {
			return fmt.Errorf("service %s: %w", l.Name, err)
		}
		p.next[l.Name] = s
		p.service(l.Name)
		if one := p.all[l.Name]; one.now.Load() == nil {
			one.now.Store(s)
			p.reload.onFailure(func() { delete(p.all, l.Name) })
		}
	}
	return nil
}

// made makes the service l.
func (p *relays) made(l *config.Listener) (*l4.Service, error) {
	of := p.reload.config.Relays[l.Name]
	to, err := p.to(l.Name, of.Upstream)
	if err != nil {
		return nil, err
	}
	s := p.telling(l.Name, to, of.Idle)
	s.Peek, s.Postgres = of.Peek, of.Postgres
	if len(l.Routes) == 0 {
		return s, nil
	}
	tos := make([]*l4.Backends, len(l.Routes))
	for i := range tos {
		if tos[i], err = p.to(l.Name, l.Routes[i].Upstream); err != nil {
			return nil, err
		}
	}
	s.Choose = func(c *engine.Conn, hello *tlsconn.Hello) *l4.Backends {
		for i := range l.Routes {
			if when := l.Routes[i].When; when == nil || tlsrules.HoldsFirst(when, c, hello, l.Name) {
				return tos[i]
			}
		}
		return to
	}
	return s, nil
}

// to returns the backends of an upstream for what has that name; nil: the upstream is below 0.
func (p *relays) to(name string, upstream int) (*l4.Backends, error) {
	if upstream < 0 {
		return nil, nil
	}
	return p.upstreams.relayTo(&p.reload.config.Upstreams[upstream], name)
}

// telling makes a service whose connections are counted and logged by a name.
func (p *relays) telling(name string, to *l4.Backends, idle time.Duration) *l4.Service {
	n := p.counts.of(name)
	return &l4.Service{Name: name, To: to, Idle: idle, Ended: func(r *l4.Record) {
		reason := n.add(r)
		if logs := *p.log.Load(); logs != nil {
			logs[r.Client.Reactor().Index()].Append(recordOf(r, reason))
		}
	}}
}

// preparePassed makes the services of connections of l that rules on handshakes lead elsewhere.
func (p *relays) preparePassed(l *config.Listener) error {
	if l.TLS == config.TLSOff {
		return nil
	}
	rules := p.reload.config.HandshakeRules(l)
	for i := range rules {
		if rules[i].Dest == "" {
			continue
		}
		to, err := p.to(l.Name, rules[i].Upstream)
		if err != nil {
			return err
		}
		if p.passed[l.Name] == nil {
			p.passed[l.Name] = make([]*l4.Service, len(rules))
		}
		p.passed[l.Name][i] = p.telling(l.Name, to, config.IdleDefault)
	}
	return nil
}

// passing returns what takes the connections of a listener that rules on its handshakes lead elsewhere; nil: none does.
func (p *relays) passing(
	listener string, rules *tlsrules.Rules,
) func(c *engine.Conn, hello *tlsconn.Hello) engine.Handler {
	by := p.passed[listener]
	if by == nil {
		return nil
	}
	return func(c *engine.Conn, hello *tlsconn.Hello) engine.Handler {
		if i := rules.Passes(c, hello); i >= 0 {
			return by[i].AcceptHello(c, hello)
		}
		return nil
	}
}

func (p *relays) prepareLog(of config.Log) (err error) {
	of.When, of.Sample, of.Always, of.Line, of.Fields = nil, nil, nil, nil, nil // those are of requests
	if p.nextLog, err = p.logs.by(&of); err == nil && p.log.Load() == nil {
		log := p.nextLog
		p.log.Store(&log)
	}
	return err
}

func (p *relays) retire() {
	log := p.nextLog
	p.log.Store(&log)
	for name, r := range p.all {
		if s := p.next[name]; s != nil {
			r.now.Store(s)
		} else {
			delete(p.all, name) // connections that still come find it by their listener
		}
	}
	p.next = nil
}

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
		to.Key = func(c *engine.Conn) (uint64, bool) {
			ip := c.Peer().IP.Addr()
			if !ip.IsValid() {
				return 0, false // a Unix socket
			}
			b := ip.As16()
			return method.Hash(b[:]), true
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

// reasonOf returns why a connection has ended, as the access log has it: "" for an ordinary end.
func reasonOf(r *l4.Record) string {
	word := "closed"
	switch {
	case r.Why == nil:
		return ""
	case r.Why == l4.ErrIdle:
		word = "idle"
	case r.Why == l4.ErrNoBackend:
		word = "no_backend"
	case r.Why == l4.ErrMaxConns:
		word = "max_requests"
	case r.Why == l4.ErrClientLeft:
		word = "gone"
	case r.Why == l4.ErrTruncated:
		word = "truncated"
	case r.Why == l4.ErrNoRoute:
		word = "no_route"
	case r.Why == l4.ErrHello:
		word = "hello"
	case r.Why == l4.ErrHelloSlow:
		word = "hello_timeout"
	case r.Why == l4.ErrNoTLS:
		word = "no_tls"
	case errors.Is(r.Why, engine.ErrStopped):
		return "edge:drain"
	case r.By == l4.ByBackend && r.Connect == 0:
		return proxy.ConnectError(r.Why).Reason()
	case errors.Is(r.Why, syscall.ECONNRESET):
		word = "reset"
	case errors.Is(r.Why, syscall.ETIMEDOUT), errors.Is(r.Why, engine.ErrTimeout):
		word = "timeout"
	}
	return r.By.String() + ":" + word
}

// recordOf is r as access logs have it. Statuses are as in HTTP and nginx: 200 where there was a connection, 502 where
// none could be made, 503 where there was nowhere to make one, 404 where it leads nowhere, 499 where the client left
// before, 400 and 408 where its first bytes were wrong, or late.
func recordOf(r *l4.Record, reason string) *observe.Record {
	peer, took := r.Client.Peer().IP, r.Ended-r.Began
	o := &observe.Record{
		Time: time.Now().UnixNano() - took, Listener: r.Service.Name, ClientIP: peer.Addr(), ClientPort: peer.Port(),
		Proto: observe.ProtoTCP, Status: 200, Reason: reason, BytesIn: r.In, BytesOut: r.Out,
		Dur: took, T: observe.Timings{Connect: r.Connect}, Attempts: r.Tries, SNI: r.Asked,
	}
	if r.To != nil {
		o.Upstream = r.To.Name
	}
	binary.NativeEndian.PutUint64(o.ID[:], rand.Uint64())
	binary.NativeEndian.PutUint64(o.ID[8:], rand.Uint64())
	switch {
	case r.Connect > 0:
	case r.Why == l4.ErrHello:
		o.Status = 400
	case r.Why == l4.ErrHelloSlow:
		o.Status = 408
	case r.Why == l4.ErrNoRoute:
		o.Status = 404
	case r.By == l4.ByClient:
		o.Status = 499
	case r.By == l4.ByEdge:
		o.Status = 503
	default:
		o.Status = 502
	}
	if r.Backend != nil {
		o.Backend = r.Backend.Address()
	}
	if d := tlsconn.DigestOf(r.Client); d != nil {
		o.TLSVersion, o.TLSGroup, o.SNI = d.VersionName(), d.GroupName(), d.ServerName
	}
	return o
}

// relayCounts counts connections of services.
type relayCounts struct{ byName[relayCount] }

// relayCount is the count of one service.
type relayCount struct {
	ends    [3]atomic.Uint64 // by l4.Side, of failures
	closed  atomic.Uint64    // in an ordinary way
	in, out atomic.Uint64    // bytes
	time    atomic.Int64     // ns
}

func (n *relayCount) add(r *l4.Record) (reason string) {
	if reason = reasonOf(r); reason == "" {
		n.closed.Add(1)
	} else {
		n.ends[r.By].Add(1)
	}
	n.in.Add(uint64(r.In))
	n.out.Add(uint64(r.Out))
	n.time.Add(r.Ended - r.Began)
	return reason
}

// list has a registry show the counts.
func (c *relayCounts) list(r *observe.Registry) {
	label := func(name, value string) observe.Label { return observe.Label{Name: name, Value: value} }
	type show func(n *relayCount, of observe.Label, yield func(float64, ...observe.Label))
	each := func(family, help string, show show) {
		r.Counters(family, help, func(yield func(float64, ...observe.Label)) {
			c.each(func(name string, n *relayCount) { show(n, label("service", name), yield) })
		})
	}
	each("edge_service_connections_total", "Connections of services of the type tcp that have ended, by service and "+
		"result: `closed` by both sides, or failed by the `client`, the `backend` or `edge`.",
		func(n *relayCount, of observe.Label, yield func(float64, ...observe.Label)) {
			yield(float64(n.closed.Load()), of, label("result", "closed"))
			for side := range n.ends {
				yield(float64(n.ends[side].Load()), of, label("result", l4.Side(side).String()))
			}
		})
	each("edge_service_bytes_total", "Bytes that connections of services of the type tcp have moved, once they have "+
		"ended, by service and direction: `in` is from clients, `out` to clients.",
		func(n *relayCount, of observe.Label, yield func(float64, ...observe.Label)) {
			yield(float64(n.in.Load()), of, label("direction", "in"))
			yield(float64(n.out.Load()), of, label("direction", "out"))
		})
	each("edge_service_seconds_total", "How long the connections of services of the type tcp that have ended have "+
		"lasted together, by service.", func(n *relayCount, of observe.Label, yield func(float64, ...observe.Label)) {
		yield(time.Duration(n.time.Load()).Seconds(), of)
	})
}
