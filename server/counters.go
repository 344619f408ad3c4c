package server

import (
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/edge-proxy/edge/backend/admission"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/dynamic"
	"github.com/edge-proxy/edge/server/metrics"
	"github.com/edge-proxy/edge/tlsconn"
	"github.com/edge-proxy/edge/upstream"
)

// Registry returns the counters as they are now. Its values change with the next call. It may be given more series.
// A reload that is under way delays it no longer than a moment, and a reactor that is stuck not above 100 ms.
func (s *Server) Registry() *observe.Registry {
	s.gather(false)
	return &s.counters.Registry
}

// Metrics returns the counters as a handler of HTTP: pages that Prometheus reads. It answers any path. Safe for any
// goroutine, also when the Server has ended.
func (s *Server) Metrics() http.Handler { return s.pages }

// Outcomes returns what became of the requests so far, by the name of the route: "" is what no route took.
func (s *Server) Outcomes() map[string]metrics.Outcomes {
	s.gather(false)
	return s.traffic.Outcomes()
}

// CountFailedReload counts a reload whose configuration never came to Apply.
func (s *Server) CountFailedReload() { s.counters.CountReload(false) }

// ledger is what has counters, in this generation and in those before.
// Safe for any goroutine.
type ledger struct {
	round    sync.Mutex        // held while reactors are asked
	gatherer *metrics.Gatherer // guarded by round
	loops    []metrics.Loop    // by Reactor.Index; guarded by round

	mu      sync.Mutex
	open    bool              // reactors answer; guarded by mu, as all below
	rounds  int               // that have begun
	entries map[any]*counting // by what counts
	ports   map[string][]port // by the name of the listener
	static  *metrics.Sample   // what no reactor counts, as it was when a reload last let it be looked at
	waiting bool              // a timer will gather, to be rid of entries that are over
}

func (l *ledger) init(reactors []*engine.Reactor, t *metrics.Traffic) {
	l.gatherer, l.loops = metrics.NewGatherer(reactors, t.Meters()), make([]metrics.Loop, len(reactors))
	l.entries, l.static = make(map[any]*counting), metrics.NewSample()
}

// port is a listener for the number of its connections.
type port interface {
	Conns() int
	Closed() bool
}

// counting is one thing that counts on each reactor. Guarded by ledger.mu.
type counting struct {
	metrics.Part
	over func(counted *metrics.Sample) bool // nothing uses it any more; nil: it is as soon as it is not in use
	used bool                               // by the present generation
	left int                                // the round after which it was not
}

// overEvery is how often it is looked whether what a reload took away is over.
const overEvery = time.Minute

// follow has the ledger follow what g has, and registers what no generation before it had. s.mu is held.
func (s *Server) follow(g *generation) {
	l := &s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	s.register(g)
	for _, e := range l.entries {
		if e.used {
			e.used, e.left = false, l.rounds
		}
	}
	l.use(s.proxy, func() metrics.Part {
		return metrics.NewPart(s.Reactors(), s.proxy.Stats, func(n *metrics.Sample) *proxy.Stats { return &n.Proxy })
	}, nil)
	l.use(s.engine, func() metrics.Part {
		return metrics.NewPart(s.Reactors(), (*engine.Reactor).Stats,
			func(n *metrics.Sample) *engine.Stats { return &n.Engine })
	}, nil)
	l.use(s.secure, func() metrics.Part {
		return metrics.NewPart(s.Reactors(),
			func(r *engine.Reactor) metrics.Handshakes { return s.handshakes[r.Index()].Handshakes },
			func(n *metrics.Sample) *metrics.Handshakes { return &n.Handshakes })
	}, nil)
	l.followPorts(g)
	for _, one := range g.listeners {
		l.followListener(one)
	}
	for _, u := range g.upstreams {
		l.followUpstream(u)
	}
	for key, d := range g.destinations {
		l.followDestinations(key.name, d)
	}
	for name, of := range g.services {
		if of.limits != nil {
			l.followLimits(name, of.limits)
		}
	}
	l.endSoon(s)
}

// use has l follow what counts, under a key of its own. l.mu is held.
func (l *ledger) use(key any, part func() metrics.Part, over func(*metrics.Sample) bool) {
	e := l.entries[key]
	if e == nil {
		e = &counting{Part: part(), over: over}
		l.entries[key] = e
	}
	e.used = true
}

// followPorts follows the listeners of g, and those that a reload has taken away, while they have connections. l.mu is
// held.
func (l *ledger) followPorts(g *generation) {
	before := l.ports
	l.ports = make(map[string][]port)
	present := make(map[port]bool)
	for _, one := range g.listeners {
		l.ports[one.name] = append(l.ports[one.name], one.open)
		present[one.open] = true
	}
	for name, all := range before {
		for _, one := range all {
			if !present[one] { // it may have another name now
				l.ports[name] = append(l.ports[name], one)
			}
		}
	}
}

// countPorts adds the connections of listeners to a sample, and follows those no more that are over. l.mu is held.
func (l *ledger) countPorts(now *metrics.Sample) {
	for name, all := range l.ports {
		l.ports[name] = slices.DeleteFunc(all, func(one port) bool {
			closed := one.Closed() // before its connections are counted: no more come then
			n := one.Conns()
			now.Listener(name).Conns += n
			return closed && n == 0
		})
		if len(l.ports[name]) == 0 {
			delete(l.ports, name)
		}
	}
}

// followListener follows the sessions of a listener. l.mu is held.
func (l *ledger) followListener(one *listener) {
	name, open := one.name, one.open
	over := func(*metrics.Sample) bool { return open.Closed() && open.Conns() == 0 }
	for _, sessions := range one.sessions {
		l.use(sessions, func() metrics.Part {
			return metrics.NewPart(len(l.loops), func(r *engine.Reactor) metrics.Sessions {
				return metrics.Sessions{ServerStats: sessions.Stats(r), Codec: sessions.H2Stats(r)}
			}, func(n *metrics.Sample) *metrics.Sessions { return &n.Listener(name).Sessions })
		}, over)
	}
}

// followUpstream follows an upstream until its connections have ended. l.mu is held.
func (l *ledger) followUpstream(u *upstream.Upstream) {
	l.use(u, func() metrics.Part {
		return metrics.NewPart(len(l.loops), u.Stats,
			func(n *metrics.Sample) *upstream.Stats { return n.Upstream(u.Name()) })
	}, func(n *metrics.Sample) bool { return idle(n.Upstream(u.Name())) })
}

func idle(u *upstream.Stats) bool { return u.Connections == 0 && u.Waiting == 0 }

// followDestinations follows the destinations of a dest with variables. l.mu is held.
func (l *ledger) followDestinations(name string, d *dynamic.Destinations) {
	l.use(d, func() metrics.Part {
		return metrics.NewPart(len(l.loops), d.Stats,
			func(n *metrics.Sample) *dynamic.Stats { return n.Dynamic(name) })
	}, func(n *metrics.Sample) bool { return d.Quiet() && idle(&n.Dynamic(name).Upstream) })
}

// followLimits follows the limits of a service. l.mu is held.
func (l *ledger) followLimits(name string, of *admission.Limiter) {
	l.use(of, func() metrics.Part {
		return metrics.NewPart(len(l.loops), of.Stats,
			func(n *metrics.Sample) *admission.Stats { return n.Limits(name) })
	}, func(n *metrics.Sample) bool { return n.Limits(name).Total == 0 && n.Limits(name).Waiting == 0 })
}

// register registers what g has and no generation before it had, by name: when there is no room for all, the same ones
// have series of their own after each start. ledger.mu is held.
func (s *Server) register(g *generation) {
	s.counters.Begin(g.config.Metrics().SeriesMax)
	for _, k := range g.sinks {
		s.counters.RegisterOutput(k.path, k.sink)
	}
	for _, l := range g.listeners {
		s.counters.RegisterListener(l.name)
	}
	for _, name := range slices.Sorted(maps.Keys(g.services)) {
		of := g.services[name]
		if of.checks.watch != nil {
			s.counters.RegisterChecks(name)
		}
		if of.agents.watch != nil {
			s.counters.RegisterAgents(name)
		}
		if of.watching != nil {
			s.counters.RegisterEjections(name)
		}
		if of.limits != nil {
			s.counters.RegisterLimits(name)
		}
		s.counters.RegisterMembers(name)
	}
	h2 := make(map[string]bool) // whether one of the name may speak it, by name
	for _, u := range g.upstreams {
		h2[u.Name()] = h2[u.Name()] || u.Options().Protocol != upstream.H1
	}
	for _, name := range slices.Sorted(maps.Keys(h2)) {
		s.counters.RegisterUpstream(name, h2[name])
	}
	for key := range g.destinations {
		s.counters.RegisterDynamic(key.name)
	}
}

// gather brings the counters up to date, while reactors run. held says that s.mu is held by the caller. Else a reload
// may hold it for as long as names are looked up: then what s.mu guards is shown as it was.
func (s *Server) gather(held bool) {
	l := &s.ledger
	l.round.Lock()
	defer l.round.Unlock()
	l.mu.Lock()
	if !l.open {
		l.mu.Unlock()
		return
	}
	parts := make([]metrics.Part, 0, len(l.entries))
	for _, e := range l.entries {
		parts = append(parts, e.Part)
	}
	l.rounds++
	l.mu.Unlock()
	l.gatherer.Gather(parts, s.traffic.Add, l.loops)
	s.traffic.Settle()

	looked := (*metrics.Sample)(nil)
	if held || s.mu.TryLock() {
		looked = s.look()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if looked != nil {
		l.static = looked
		if !held {
			s.mu.Unlock() // not before: what a reload takes away then must not be shown from looked
		}
	}
	s.show()
}

// show shows what was gathered. ledger.mu and round are held.
func (s *Server) show() {
	l := &s.ledger
	l.end(s.counters)
	now := l.static.Clone()
	for _, e := range l.entries {
		e.AddTo(now)
	}
	l.countPorts(now)
	now.Engine.OffloadRefused, now.Engine.OffloadPanics = s.engine.OffloadStats()
	now.AddLanguage(s.proxy.WorkerLanguage())
	now.TLS = s.secure.Stats()
	now.Loops = append([]metrics.Loop(nil), l.loops...)
	s.counters.Show(now)
}

// look returns what no reactor counts. s.mu is held.
func (s *Server) look() *metrics.Sample {
	now, g := metrics.NewSample(), s.present
	for _, c := range g.certs.Certificates() {
		now.AddCertificate(c.Subject(), c.Leaf.NotAfter.Unix())
	}
	addServices(now, g.services)
	for name, of := range g.services {
		for _, m := range of.set.Members() {
			now.AddBackend(name, m.Address(), m.Reasons() == 0, float64(m.Weight())*m.Part())
		}
	}
	s.addRegistrations(&now.Registrations)
	return now
}

// end remembers what things that are over have counted, and follows them no more. ledger.mu and round are held.
func (l *ledger) end(c *metrics.Counters) {
	for _, loop := range l.loops {
		if loop.Stale {
			return // what it has counted is not known
		}
	}
	for key, e := range l.entries {
		if e.used || e.left >= l.rounds { // it was in use when this round began
			continue
		}
		counted := metrics.NewSample()
		e.AddTo(counted)
		if e.over == nil || e.over(counted) {
			c.Retire(counted)
			delete(l.entries, key)
		}
	}
}

// endSoon looks again, some time later, whether what is not in use any more is over, and whether its series are to be
// removed: a process may have no Prometheus that asks. ledger.mu is held.
func (l *ledger) endSoon(s *Server) {
	leaving := s.counters.Leaving()
	for _, e := range l.entries {
		leaving = leaving || !e.used
	}
	if l.waiting || !leaving {
		return
	}
	l.waiting = true
	time.AfterFunc(overEvery, func() {
		s.gather(false)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.waiting = false; l.open {
			l.endSoon(s)
		}
	})
}

// onReactors calls f on each reactor, one after the other, and waits.
func (s *Server) onReactors(f func(r *engine.Reactor)) {
	for _, r := range s.engine.Reactors() {
		done := make(chan struct{})
		r.Post(&engine.Task{Run: func(r *engine.Reactor) {
			defer close(done)
			f(r)
		}})
		<-done
	}
}

// answers says whether reactors answer.
func (l *ledger) answers(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = yes
}

// retiredService remembers what the checks and ejections of a service have counted, which a reload takes away: a
// counter never falls. s.mu is held.
func (s *Server) retiredService(name string, of *members) {
	l := &s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := metrics.NewSample()
	addServices(gone, map[string]*members{name: of})
	s.counters.Retire(gone)
	l.static.Forget(name)
}

// handshakes is what one reactor has counted of them. Owned by its reactor.
type handshakes struct {
	metrics.Handshakes
	_ [64]byte // reactors count at the same time: keep them off each other's cache line
}

// counted makes accept count the handshakes of clients.
func (s *Server) counted(accept func(c *engine.Conn) engine.Handler) func(c *engine.Conn) engine.Handler {
	return func(c *engine.Conn) engine.Handler {
		if d := tlsconn.DigestOf(c); d != nil {
			s.handshakes[c.Reactor().Index()].Count(d)
		}
		return accept(c)
	}
}
