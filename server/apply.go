package server

import (
	"errors"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/changes"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/proxy/dynamic"
)

// Diff is what a reload changes.
type Diff = changes.Diff

// Apply makes cfg the present configuration. What is equal in both goes on undisturbed: listening sockets, connections
// to backends, log files. Requests in progress end with the routes that they began with. After an error nothing has
// changed. Drain and Stop cut short an Apply that waits until others have heard of a registration that cfg does not
// have.
func (s *Server) Apply(cfg *config.Config) (Diff, error) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isEnding() {
		return Diff{}, errEnding
	}
	if s.handover.suspended {
		return Diff{}, errSuspended
	}
	diff := s.diff(cfg)
	err := s.replace(cfg, s.state != made)
	s.counters.CountReload(err == nil)
	if err != nil {
		return Diff{}, err
	}
	return diff, nil
}

// Plan returns what Apply of cfg would change, and how many connections are open that it touches. Nothing is opened:
// Apply may fail nevertheless, because of an address or a file.
func (s *Server) Plan(cfg *config.Config) Diff {
	s.mu.Lock()
	defer s.mu.Unlock()
	diff := s.diff(cfg)
	touches := func(e changes.Entry) bool { return e.Touches != nil }
	if s.state != serving || !slices.ContainsFunc(diff.Entries, touches) {
		return diff
	}
	pools := connsOfPools(s)
	for i := range diff.Entries {
		e := &diff.Entries[i]
		for j := range e.Touches {
			t, n := &e.Touches[j], 0
			switch {
			case t.Connections == changes.OfClients:
				n = connsOfClients(s, e)
			case e.Kind != "upstream":
				continue // all pools, or one that several routes have in common
			case t.Connections == changes.IdleBackends:
				n = pools[e.Name].idle
			default:
				n = pools[e.Name].busy
			}
			t.Open = &n
		}
	}
	return diff
}

// diff compares the present configuration with cfg. s.mu is held.
func (s *Server) diff(cfg *config.Config) Diff {
	diff := changes.Of(s.present.config, cfg)
	diff.Restart = slices.DeleteFunc(diff.Restart, func(key string) bool { return s.inForce(key, cfg) })
	return diff
}

// connsOfClients returns how many connections the addresses have that close with e. s.mu is held.
func connsOfClients(s *Server, e *changes.Entry) (n int) {
	for i := range s.present.config.Listeners {
		c := &s.present.config.Listeners[i]
		for j := range c.Addresses {
			if c.Name != e.Name || !slices.Contains(e.Details, "- "+c.Addresses[j].Text) {
				continue
			}
			for _, l := range s.present.listeners {
				if l.title == nameAt(c, &c.Addresses[j]) && strings.HasPrefix(l.key, keyOf(&c.Addresses[j])+"#") {
					n += l.open.Conns()
				}
			}
		}
	}
	return n
}

// poolConns counts connections to backends.
type poolConns struct{ idle, busy int }

// connsOfPools returns the connections to backends by the name of the upstream. s.mu is held.
func connsOfPools(s *Server) map[string]poolConns {
	all := make(map[string]poolConns)
	s.onReactors(func(r *engine.Reactor) {
		for _, u := range s.present.upstreams {
			st, of := u.Stats(r), all[u.Name()]
			of.idle += int(st.Idle)
			of.busy += int(st.Connections - st.Idle)
			all[u.Name()] = of
		}
	})
	return all
}

// isEnding reports whether Drain or Stop was called.
func (s *Server) isEnding() bool {
	select {
	case <-s.ending:
		return true
	default:
		return false
	}
}

// inForce reports whether a key that waits for a restart has in cfg the value that New was given: then it was changed
// back and waits no more.
func (s *Server) inForce(key string, cfg *config.Config) bool {
	return !changes.OfSockets(key) && !slices.Contains(config.RestartKeys(s.begun, cfg), key)
}

// replace makes the generation of cfg, with its listeners or without, and puts it in the place of the present one.
// s.applying and s.mu are held; s.mu is released while others hear of what is withdrawn.
func (s *Server) replace(cfg *config.Config, listen bool) error { return s.build(cfg).replace(listen) }

// replace is that of Server.
func (b *build) replace(listen bool) error {
	s := b.server
	err := errors.Join(b.openLogs(), b.prepare(), b.openCertificates(), b.makeRoutes())
	if err == nil && listen {
		if err = b.openListeners(); err == nil {
			err = b.makeRegistrations()
		}
	}
	if err == nil {
		err = s.withdrawOthers(b)
	}
	if err != nil {
		b.undo()
		return err
	}
	s.commit(b)
	return nil
}

// commit puts b in the place of the present generation and closes what only that one used. Nothing can fail here.
func (s *Server) commit(b *build) {
	old := s.present
	for _, update := range b.updates {
		update()
	}
	s.own.use(b.listeners) // before a request can ask for them
	b.config.Language.Commit()
	s.proxy.Swap(b.snapshot)
	b.claims.TakeEffect()
	s.tickets.Use(b.ticketing)
	s.tickets.Every(b.config.TLS.TicketRotation)
	for _, set := range b.settings {
		set.listener.apply(&set)
	}
	s.present = &b.generation
	if old.certs != nil {
		old.certs.Stop()
	}
	b.certs.Watch(watchEvery, s.tellCertificate)
	s.trust.Use(b.trust)
	s.tables.Use(b.config.Language)
	if b.prepared != nil {
		b.prepared()
	}
	s.follow(&b.generation)
	s.traffic.Use(b.config)
	if s.state == serving {
		s.announce()
	}
	s.retire(old)
}

// retire closes what of old the present generation does not use.
func (s *Server) retire(old *generation) {
	var listeners []*listener
	for _, l := range old.listeners {
		if !s.present.listens(l) {
			listeners = append(listeners, l)
		}
	}
	s.forgetClosed()
	for _, l := range listeners {
		if next := s.present.named(l.name); next != nil {
			l.service.Follow(next.service) // routes and logs know listeners by name: next's guards hold for l too
		}
		s.closeListener(l)
	}
	for key, u := range old.upstreams {
		if s.present.upstreams[key] == nil {
			u.Close()
		}
	}
	for key, d := range old.destinations {
		if s.present.destinations[key] == nil {
			d.Retire()
			s.looking = append(slices.DeleteFunc(s.looking, (*dynamic.Destinations).Quiet), d)
		}
	}
	for name, of := range old.services {
		if s.present.services[name] == nil {
			s.retiredService(name, of)
			of.stop()
		}
	}
	for path, k := range old.sinks {
		if s.present.sinks[path] != k {
			s.linger(k)
		}
	}
}
