package server

import (
	"errors"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/proxy/dynamic"
	"github.com/edge-proxy/edge/upstream"
)

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
	diff := diffOf(s.present.config, cfg)
	diff.Restart = slices.DeleteFunc(diff.Restart, func(key string) bool { return s.inForce(key, cfg) })
	err := s.replace(cfg, s.state != made)
	s.counters.CountReload(err == nil)
	if err != nil {
		return Diff{}, err
	}
	return diff, nil
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
	return !strings.HasPrefix(key, socketPrefix) && !slices.Contains(config.RestartKeys(s.begun, cfg), key)
}

// replace makes the generation of cfg, with its listeners or without, and puts it in the place of the present one.
// s.applying and s.mu are held; s.mu is released while others hear of what is withdrawn.
func (s *Server) replace(cfg *config.Config, listen bool) error {
	b := s.build(cfg)
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
	s.proxy.Swap(b.snapshot)
	s.tickets.Use(b.tlsConfigs)
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
	if b.prepared != nil {
		b.prepared()
	}
	s.follow(&b.generation)
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
	var upstreams []*upstream.Upstream
	for key, u := range old.upstreams {
		if s.present.upstreams[key] == nil {
			upstreams = append(upstreams, u)
		}
	}
	s.forgetClosed()
	if len(upstreams) > 0 {
		s.retired(nil, upstreams)
	}
	for _, l := range listeners {
		if next := s.present.named(l.name); next != nil {
			l.service.Follow(next.service) // routes and logs know listeners by name: next's guards hold for l too
		}
		s.closeListener(l)
	}
	for _, u := range upstreams {
		u.Close()
	}
	for key, d := range old.destinations {
		if s.present.destinations[key] == nil {
			s.retiredDestinations(key.name, d)
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
		if s.present.sinks[path] == nil {
			s.linger(k)
		}
	}
}
