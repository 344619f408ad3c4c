package server

import (
	"sync"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/tally"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/tlsconn"
	"github.com/edge-proxy/edge/upstream"
)

// counters are what the parts of a Server have counted, under the names that users see. The parts count for
// themselves, each reactor for its own; collect copies all of it out at one time.
type counters struct {
	registry observe.Registry

	mu        sync.Mutex
	now       sample          // as of the last collect; guarded by mu
	past      sample          // of what a reload took away; guarded by mu
	reloads   map[bool]uint64 // by success; guarded by mu
	reloaded  time.Time       // when the last one succeeded; guarded by mu
	swaps     map[bool]uint64 // of certificates, by success; guarded by mu
	rotations uint64          // of the keys of session tickets; guarded by mu
	listeners map[string]bool // those that are registered; guarded by Server.mu
	upstreams map[string]bool // guarded by Server.mu

	h2Upstreams map[string]bool // those whose connections may be HTTP/2; guarded by Server.mu

	sinks map[*observe.Sink]bool // guarded by Server.mu
}

// sample is what was counted up to some moment.
type sample struct {
	engine     engine.Stats
	secure     tlsconn.Stats
	handshakes handshakes
	proxy      proxy.Stats
	listeners  map[string]listenerStats
	upstreams  map[string]upstream.Stats

	certificates int
	firstExpiry  int64 // Unix seconds; 0: there is no certificate
}

// listenerStats are the counters of all addresses of one listener.
type listenerStats struct {
	session.ServerStats
	h2    h2.Stats
	conns int
}

func (a *listenerStats) add(o *listenerStats) {
	a.ServerStats.Add(&o.ServerStats)
	a.h2.Add(&o.h2)
}

func newSample() sample {
	return sample{listeners: make(map[string]listenerStats), upstreams: make(map[string]upstream.Stats)}
}

// Registry returns the counters as they are now. Its values change with the next call.
func (s *Server) Registry() *observe.Registry {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.collect()
	return &s.counters.registry
}

// collect asks every reactor for its counters. Before the start there is nothing to ask, after the end nobody.
// s.mu is held.
func (s *Server) collect() {
	if s.state != serving && s.state != draining {
		return
	}
	s.forgetClosed()
	now := newSample()
	g := s.present
	for _, r := range s.engine.Reactors() {
		done := make(chan struct{})
		r.Post(&engine.Task{Run: func(r *engine.Reactor) {
			defer close(done)
			st := s.proxy.Stats(r)
			tally.Add(&now.proxy, &st)
			now.handshakes.add(&s.handshakes[r.Index()].handshakes)
			for _, l := range g.listeners {
				now.addListener(l, r)
			}
			for _, l := range s.closing {
				now.addListener(l, r)
			}
			for _, u := range g.upstreams {
				now.addUpstream(u.Name(), u.Stats(r))
			}
		}})
		<-done
	}
	for _, c := range g.certs.Certificates() {
		now.certificates++
		if at := c.Leaf.NotAfter.Unix(); now.firstExpiry == 0 || at < now.firstExpiry {
			now.firstExpiry = at
		}
	}
	now.engine, now.secure = s.engine.Stats(), s.secure.Stats()
	for _, l := range g.listeners {
		of := now.listeners[l.name]
		of.conns += l.open.Conns()
		now.listeners[l.name] = of
	}
	s.counters.mu.Lock()
	defer s.counters.mu.Unlock()
	s.counters.now = now
}

func (a *sample) addListener(l *listener, r *engine.Reactor) {
	sum := a.listeners[l.name]
	for _, one := range l.sessions {
		sum.add(&listenerStats{ServerStats: one.Stats(r), h2: one.H2Stats(r)})
	}
	a.listeners[l.name] = sum
}

func (a *sample) addUpstream(name string, st upstream.Stats) {
	sum := a.upstreams[name]
	sum.Add(&st)
	a.upstreams[name] = sum
}

// retired remembers what l and u, which a reload takes away, have counted so far: a counter never falls. What their
// last connections count afterwards is lost: of a listener those that are open when its sockets have closed. s.mu is
// held.
func (s *Server) retired(listeners []*listener, upstreams []*pooled) {
	if s.state != serving {
		return
	}
	gone := newSample()
	for _, r := range s.engine.Reactors() {
		done := make(chan struct{})
		r.Post(&engine.Task{Run: func(r *engine.Reactor) {
			defer close(done)
			for _, l := range listeners {
				gone.addListener(l, r)
			}
			for _, u := range upstreams {
				st := u.Stats(r)
				st.Idle, st.Connections, st.Waiting, st.Shared = 0, 0, 0, 0
				gone.addUpstream(u.Name(), st)
			}
		}})
		<-done
	}
	c := &s.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, st := range gone.upstreams {
		c.past.addUpstream(name, st)
	}
	for name, st := range gone.listeners {
		sum := c.past.listeners[name]
		sum.add(&st)
		c.past.listeners[name] = sum
	}
}

// certificateSeen counts the change of a certificate's files.
func (c *counters) certificateSeen(ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.swaps[ok]++
}

// ticketsRotated counts a change of the keys of session tickets.
func (c *counters) ticketsRotated() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rotations++
}

// countReload counts a reload, be it one that changed nothing because of an error.
func (s *Server) countReload(ok bool) {
	c := &s.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reloads[ok]++
	if ok {
		c.reloaded = time.Now()
	}
}
