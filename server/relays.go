package server

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/balance"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/l4"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/plugin"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/recent"
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
	passed    passedServices // guarded by shared.mu
	// log has the lines of connections, by Reactor.Index. They may outlive many reloads, and outputs.
	log      atomic.Pointer[[]proxy.AccessLog]
	nextLogs map[string]*[]proxy.AccessLog // by service; "": log
}

// passedServices are the services of connections that rules on handshakes lead elsewhere, by their listener and the
// number of the rule; nil: it does not.
type passedServices map[*config.Listener][]*l4.Service

// relay is one service. It lasts as long as configurations have one of its name.
type relay struct {
	tag observe.Tag                       // of its name
	now atomic.Pointer[l4.Service]        // for new connections
	log atomic.Pointer[[]proxy.AccessLog] // as its access_log says, for connections that end; nil: relays.log
}

// relayOf returns what is kept of a name.
func (p *relays) relayOf(name string) *relay {
	r := p.all[name]
	if r == nil {
		r = &relay{}
		p.all[name] = r
		p.reload.onFailure(func() { delete(p.all, name) })
	}
	return r
}

// service returns the service of that name as listeners have it. Its connections may begin once all parts are prepared.
func (p *relays) service(name string) *plugin.Service {
	r := p.relayOf(name)
	return &plugin.Service{
		Accept:      func(c *engine.Conn) engine.Handler { return r.now.Load().Accept(c) },
		ClientFirst: p.reload.config.Relays[name].Peek,
	}
}

func (p *relays) prepare() error {
	p.next, p.nextLogs = make(map[string]*l4.Service), make(map[string]*[]proxy.AccessLog)
	p.reload.onFailure(func() { p.next, p.nextLogs = nil, nil })
	c := p.reload.config
	if err := p.prepareLog("", c.Log.OfConnections()); err != nil {
		return err
	}
	if p.log.Load() == nil {
		p.log.Store(p.nextLogs[""])
	}
	for _, l := range c.Listening() {
		if err := p.prepareOne(l); err != nil {
			return fmt.Errorf("%s: %w", l.Name, err)
		}
	}
	return nil
}

// prepareOne makes the service l, and services for connections that rules on handshakes of l lead elsewhere.
func (p *relays) prepareOne(l *config.Listener) error {
	c := p.reload.config
	_, relays := c.Relays[l.Name]
	passed := p.passedOf(l)
	if !relays && passed == nil {
		return nil
	}
	if l.Service == nil || !l.AccessLog.IsZero() {
		of := c.LogOf(l, nil).OfConnections()
		if err := p.prepareLog(l.Name, of); err != nil {
			return err
		}
	}
	one := p.relayOf(l.Name)
	if one.log.Load() == nil {
		one.log.Store(p.nextLogs[l.Name])
	}
	for i := range passed {
		rule := &c.HandshakeRules(l)[i]
		if rule.Dest == "" {
			continue
		}
		to, err := p.to(l.Name, rule.Upstream)
		if err != nil {
			return err
		}
		passed[i] = p.telling(l.Name, to, config.IdleDefault)
	}
	if !relays {
		return nil
	}
	s, err := p.made(l)
	if err == nil && one.now.Load() == nil {
		one.now.Store(s)
	}
	p.next[l.Name] = s
	return err
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
	when := func(i int) *lang.Condition { return l.Routes[i].When }
	s.Choose = func(c *engine.Conn, hello *tlsconn.Hello) *l4.Backends {
		switch i, cut := tlsrules.First(len(tos), when, c, hello, l.Name); {
		case cut:
			return nil // a client could make it so
		case i >= 0:
			return tos[i]
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
	one, n := p.relayOf(name), p.counts.of(name)
	return &l4.Service{Name: name, To: to, Idle: idle, Ended: func(r *l4.Record) { p.ended(one, n, r) }}
}

// passedOf returns the services of connections that rules on handshakes of l lead elsewhere, which are made when this
// part is prepared; nil: no rule does.
func (p *relays) passedOf(l *config.Listener) []*l4.Service {
	if l.TLS == config.TLSOff {
		return nil
	}
	rules := p.reload.config.HandshakeRules(l)
	if !slices.ContainsFunc(rules, func(r config.TLSRule) bool { return r.Dest != "" }) {
		return nil
	}
	if p.passed[l] == nil {
		p.passed[l] = make([]*l4.Service, len(rules))
	}
	return p.passed[l]
}

// passing returns what takes the connections of l that rules on its handshakes lead elsewhere; nil: no rule does. They
// may begin once all parts are prepared.
func (p *relays) passing(
	l *config.Listener, rules *tlsrules.Rules,
) func(c *engine.Conn, hello *tlsconn.Hello) engine.Handler {
	by := p.passedOf(l)
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

// prepareLog makes the next logs of a service, or of all without a key of their own.
func (p *relays) prepareLog(service string, of config.Log) error {
	logs, err := p.logs.by(&of)
	p.nextLogs[service] = &logs
	return err
}

func (p *relays) retire() {
	p.log.Store(p.nextLogs[""])
	for name, r := range p.all {
		s := p.next[name]
		if s == nil && p.nextLogs[name] == nil {
			delete(p.all, name) // connections find it by their listener, or have it
			continue
		}
		r.log.Store(p.nextLogs[name])
		if s != nil {
			r.now.Store(s)
		}
	}
	p.next, p.nextLogs = nil, nil
	all := p.reload.config.Listening()
	maps.DeleteFunc(p.passed, func(l *config.Listener, _ []*l4.Service) bool { return !slices.Contains(all, l) })
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

// ended counts a connection, remembers it for edge why, and logs it. On its reactor.
func (p *relays) ended(of *relay, n *relayCount, r *l4.Record) {
	on, why := r.Client.Reactor(), reasonOf(r)
	n.add(r, why.Word != "")
	id := p.proxy.NewID(on)
	if k := p.proxy.Rings(on); k != nil {
		remember(k, of, r, id, why)
	}
	if logs := *cmp.Or(of.log.Load(), p.log.Load()); logs != nil {
		logs[on.Index()].Append(recordOf(r, id, why.Word))
	}
}

// reasonOf returns why a connection has ended, by the words of the access log; zero for an ordinary end.
func reasonOf(r *l4.Record) recent.Reason {
	word := "closed"
	switch {
	case r.Why == nil:
		return recent.Reason{}
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
		return recent.Reason{Word: "edge:drain", Text: "The process was ending."}
	case r.By == l4.ByBackend && r.Connect == 0:
		return proxy.ConnectError(r.Why).Remembered()
	case errors.Is(r.Why, syscall.ECONNRESET):
		word = "reset"
	case errors.Is(r.Why, syscall.ETIMEDOUT), errors.Is(r.Why, engine.ErrTimeout):
		word = "timeout"
	}
	word = r.By.String() + ":" + word
	if i := slices.IndexFunc(relayReasons, func(o recent.Reason) bool { return o.Word == word }); i >= 0 {
		return relayReasons[i]
	}
	return recent.Reason{Word: word, Text: "It failed: " + word + "."}
}

// relayReasons are reasons of connections that ended in no ordinary way.
var relayReasons = []recent.Reason{
	{Word: "client:gone", Text: "The client left before a backend was connected to.",
		Try: "can the backend be reached? timeouts.connect of the upstream says how long it has"},
	{Word: "client:reset", Text: "The client reset the connection."},
	{Word: "client:timeout", Text: "The client has vanished, or took nothing of the backend's bytes for too long."},
	{Word: "client:truncated", Text: "The client ended TLS without close_notify: bytes may be missing."},
	{Word: "client:closed", Text: "The connection of the client failed."},
	{Word: "backend:reset", Text: "The backend reset the connection.", Try: "the log of the backend"},
	{Word: "backend:timeout", Text: "The backend has vanished, or took nothing of the client's bytes for too long.",
		Try: "does its host run?"},
	{Word: "backend:truncated", Text: "The backend ended TLS without close_notify: bytes may be missing.",
		Try: "the log of the backend"},
	{Word: "backend:closed", Text: "The connection of the backend failed."},
	{Word: "client:hello", Text: "The ClientHello is wrong, too large, or none where the client had asked for TLS."},
	{Word: "client:hello_timeout", Text: "The ClientHello of the client did not come in time."},
	{Word: "backend:no_tls", Text: "The backend was asked for TLS, and refused.", Try: "ssl of its PostgreSQL"},
	{Word: "edge:no_route", Text: "No route takes the connection.", Try: "edge explain tcp://HOST:PORT"},
	{Word: "edge:idle", Text: "No byte came from either side for too long.", Try: "timeouts.idle of the service"},
	{Word: "edge:no_backend", Text: "No backend of the upstream serves.", Try: "edge upstreams: which are up?"},
	{Word: "edge:max_requests", Text: "Each backend has as many connections as it may.",
		Try: "breaker.max_requests of the upstream (edge upstreams)"},
	{Word: "edge:closed", Text: "edge had to end the connection.", Try: "the error log"},
}

// relayStatus is how r ended, in the statuses of HTTP and nginx: 200 where there was a connection, 502 where none could
// be made, 503 where there was nowhere to make one, 404 where it leads nowhere, 499 where the client left before, 400
// and 408 where its first bytes were wrong, or late.
func relayStatus(r *l4.Record) int {
	switch {
	case r.Connect > 0:
		return 200
	case r.Why == l4.ErrHello:
		return 400
	case r.Why == l4.ErrHelloSlow:
		return 408
	case r.Why == l4.ErrNoRoute:
		return 404
	case r.By == l4.ByClient:
		return 499
	case r.By == l4.ByEdge:
		return 503
	}
	return 502
}

// remember adds r to k. Among the bad ones is each connection that has a reason, or was tried again.
func remember(k *recent.Rings, of *relay, r *l4.Record, id [16]byte, why recent.Reason) {
	o, peer := k.Next(), r.Client.Peer().IP
	*o = recent.Record{
		ID: binary.BigEndian.Uint64(id[8:]), Began: r.Began, Connect: recent.Bounded(r.Connect),
		BytesIn: uint64(r.In), BytesOut: uint64(r.Out), Listener: of.tag.Of(r.Service.Name),
		Status: uint16(relayStatus(r)), Attempts: uint8(min(r.Tries, 255)),
		Proto: observe.ProtoTCP,
	}
	if r.To != nil {
		o.Upstream = r.To.Tag.Of(r.To.Name)
	}
	o.SetTook(r.Ended - r.Began)
	o.SetClient(peer.Addr(), peer.Port())
	if tlsconn.DigestOf(r.Client) != nil {
		o.Flags |= recent.Secured
	}
	if why.Word != "" {
		o.Reason = recent.NumberOf(why)
	}
	if m := r.Backend; m != nil {
		o.Tries[1].Backend = backend.TagOf(m).Of(m.Address())
	}
	if f := &r.First; f.Backend != nil && r.Tries > 1 {
		outcome := recent.NumberOf(proxy.ConnectError(f.Why).Remembered())
		o.Tries[0] = recent.MakeTry(backend.TagOf(f.Backend).Of(f.Backend.Address()), outcome,
			time.Duration(f.At-r.Began))
	}
	k.Put(why.Word != "" || r.Tries > 1)
}

// recordOf is r as access logs have it.
func recordOf(r *l4.Record, id [16]byte, reason string) *observe.Record {
	peer, took := r.Client.Peer().IP, r.Ended-r.Began
	o := &observe.Record{
		Time: time.Now().UnixNano() - took, ID: id, Listener: r.Service.Name, ClientIP: peer.Addr(),
		ClientPort: peer.Port(), Proto: observe.ProtoTCP, Status: relayStatus(r), Reason: reason,
		BytesIn: r.In, BytesOut: r.Out, Dur: took, T: observe.Timings{Connect: r.Connect}, Attempts: r.Tries,
		SNI: r.Asked,
	}
	if r.To != nil {
		o.Upstream = r.To.Name
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

func (n *relayCount) add(r *l4.Record, failed bool) {
	if failed {
		n.ends[r.By].Add(1)
	} else {
		n.closed.Add(1)
	}
	n.in.Add(uint64(r.In))
	n.out.Add(uint64(r.Out))
	n.time.Add(r.Ended - r.Began)
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
