package server

import (
	"net/http"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tally"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/proxy/dynamic"
	"github.com/edge-proxy/edge/server/metrics"
	"github.com/edge-proxy/edge/tlsconn"
	"github.com/edge-proxy/edge/upstream"
)

// Registry returns the counters as they are now. Its values change with the next call. It may be given more series.
func (s *Server) Registry() *observe.Registry {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.collect()
	return &s.counters.Registry
}

// Metrics returns the counters as a handler of HTTP: pages that Prometheus reads. It answers any path. Safe for any
// goroutine, also when the Server has ended.
func (s *Server) Metrics() http.Handler { return s.pages }

// CountFailedReload counts a reload whose configuration never came to Apply.
func (s *Server) CountFailedReload() { s.counters.CountReload(false) }

// follow registers what g has and no generation before it had. s.mu is held.
func (s *Server) follow(g *generation) {
	for _, k := range g.sinks {
		s.counters.RegisterOutput(k.path, k.sink)
	}
	for _, l := range g.listeners {
		s.counters.RegisterListener(l.name)
	}
	for name, of := range g.services {
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
	for key := range g.destinations {
		s.counters.RegisterDynamic(key.name)
	}
	for _, u := range g.upstreams {
		s.counters.RegisterUpstream(u.Name(), u.Options().Protocol != upstream.H1)
	}
}

// collect copies out what every reactor has counted, while reactors run. s.mu is held.
func (s *Server) collect() {
	if s.state != serving && s.state != draining {
		return
	}
	s.forgetClosed()
	now, g := metrics.NewSample(), s.present
	s.onReactors(func(r *engine.Reactor) {
		of := s.proxy.Stats(r)
		tally.Add(&now.Proxy, &of)
		tally.Add(&now.Handshakes, &s.handshakes[r.Index()].Handshakes)
		addListeners(now, r, g.listeners)
		addListeners(now, r, s.closing)
		for _, u := range g.upstreams {
			addUpstream(now, r, u)
		}
		for key, d := range g.destinations {
			addDestinations(now, r, key.name, d)
		}
		addLimits(now, r, g.services)
	})
	for _, c := range g.certs.Certificates() {
		now.Certificates++
		if at := c.Leaf.NotAfter.Unix(); now.FirstExpiry == 0 || at < now.FirstExpiry {
			now.FirstExpiry = at
		}
	}
	addServices(now, g.services)
	for name, of := range g.services {
		for _, m := range of.set.Members() {
			now.AddBackend(name, m.Address(), m.Reasons() == 0, float64(m.Weight())*m.Part())
		}
	}
	s.addRegistrations(&now.Registrations)
	now.Engine, now.TLS = s.engine.Stats(), s.secure.Stats()
	for _, l := range g.listeners {
		now.Listener(l.name).Conns += l.open.Conns()
	}
	s.counters.Show(now)
}

// retired remembers what listeners and upstreams, which a reload takes away, have counted so far: a counter never
// falls. What their last connections count afterwards is lost: of a listener those that are open when its sockets have
// closed. s.mu is held.
func (s *Server) retired(listeners []*listener, upstreams []*upstream.Upstream) {
	if s.state != serving {
		return
	}
	gone := metrics.NewSample()
	s.onReactors(func(r *engine.Reactor) {
		addListeners(gone, r, listeners)
		for _, u := range upstreams {
			addUpstream(gone, r, u)
		}
	})
	s.counters.Retire(gone)
}

// retiredDestinations is retired for those of a dest with variables.
func (s *Server) retiredDestinations(name string, d *dynamic.Destinations) {
	if s.state != serving {
		return
	}
	gone := metrics.NewSample()
	s.onReactors(func(r *engine.Reactor) { addDestinations(gone, r, name, d) })
	s.counters.Retire(gone)
}

// retiredService is retired for the checks and ejections of a service.
func (s *Server) retiredService(name string, of *members) {
	gone := metrics.NewSample()
	one := map[string]*members{name: of}
	addServices(gone, one)
	if of.limits != nil && s.state == serving {
		s.onReactors(func(r *engine.Reactor) { addLimits(gone, r, one) })
	}
	s.counters.Retire(gone)
}

// addLimits adds what the limits of services have counted on r to sum.
func addLimits(sum *metrics.Sample, r *engine.Reactor, services map[string]*members) {
	for name, of := range services {
		if of.limits != nil {
			st := of.limits.Stats(r)
			tally.Add(sum.Limits(name), &st)
		}
	}
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

// addListeners adds what listeners have counted on r to sum.
func addListeners(sum *metrics.Sample, r *engine.Reactor, listeners []*listener) {
	for _, l := range listeners {
		to := sum.Listener(l.name)
		for _, one := range l.sessions {
			st, codec := one.Stats(r), one.H2Stats(r)
			tally.Add(&to.ServerStats, &st)
			tally.Add(&to.Codec, &codec)
		}
	}
}

// addUpstream adds what u has counted on r to sum.
func addUpstream(sum *metrics.Sample, r *engine.Reactor, u *upstream.Upstream) {
	st := u.Stats(r)
	tally.Add(sum.Upstream(u.Name()), &st)
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
