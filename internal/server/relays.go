package server

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/l4"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/server/tlsrules"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
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
	p.prepareLog("", c.Log.OfConnections())
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
		p.prepareLog(l.Name, c.LogOf(l, nil).OfConnections())
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

// ended counts a connection, remembers it for edge why, and logs it. On its reactor.
func (p *relays) ended(of *relay, n *relayCount, r *l4.Record) {
	on, why := r.Client.Reactor(), reasonOf(r)
	n.add(r, why.Word != "")
	id := p.proxy.NewID(on)
	if k := p.proxy.Rings(on); k != nil {
		remember(k, &of.tag, r, id, why)
	}
	if logs := *cmp.Or(of.log.Load(), p.log.Load()); logs != nil {
		logs[on.Index()].Append(recordOf(r, id, why.Word))
	}
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
func (p *relays) prepareLog(service string, of config.Log) {
	logs := p.logs.by(&of)
	p.nextLogs[service] = &logs
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
