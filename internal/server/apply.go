package server

import (
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/caching"
	"github.com/edge-proxy/edge/internal/config/changes"
)

// Diff is what a reload changes.
type Diff = changes.Diff

// Apply makes cfg the present configuration. What is equal in both goes on undisturbed: listening sockets, connections
// to backends, log files. Requests in progress end with the routes that they began with. After an error nothing has
// changed. Drain and Stop cut short an Apply that waits until others have heard of a registration that cfg does not
// have.
func (s *Server) Apply(cfg *config.Config) (Diff, error) {
	defer s.lock()()
	if s.ending.Err() != nil {
		return Diff{}, errEnding
	}
	if s.suspended {
		return Diff{}, errSuspended
	}
	diff := s.diff(cfg)
	var err error
	if slices.ContainsFunc(diff.Restart, func(key string) bool { return strings.HasPrefix(key, "cache.disk.") }) {
		err = atDisk(caching.Of(cfg).DiskPos(), checkDisk(cfg)) // the restart would refuse it
	}
	if err == nil {
		err = s.replace(&reload{config: cfg, listen: s.state != made})
	}
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
	pools := s.upstreams.conns()
	for i := range diff.Entries {
		e := &diff.Entries[i]
		for j := range e.Touches {
			t, n := &e.Touches[j], 0
			switch {
			case t.Connections == changes.OfClients:
				for _, l := range s.present.Listening() {
					n += s.listeners.conns(l, e)
				}
			case e.Kind != "upstream":
				continue // all pools, or a pool that several routes share
			case t.Connections == changes.IdleBackends:
				n = int(pools.Upstream(e.Name).Idle)
			default:
				of := pools.Upstream(e.Name)
				n = int(of.Connections - of.Idle)
			}
			t.Open = &n
		}
	}
	return diff
}

// diff compares the present configuration with cfg. s.mu is held.
func (s *Server) diff(cfg *config.Config) Diff {
	diff := changes.Of(s.present, cfg)
	diff.Restart = slices.DeleteFunc(diff.Restart, func(key string) bool {
		// It waits for a restart no more where it was changed back to what New was given.
		return !changes.OfSockets(key) && !slices.Contains(config.RestartKeys(s.begun, cfg), key)
	})
	return diff
}

// replace puts a configuration in the place of the present one, or leaves that as it is. s.applying and s.mu are held;
// s.mu is released while registries are told of withdrawals.
func (s *Server) replace(r *reload) error {
	s.reload = r
	defer func() { s.reload = nil }()
	for _, p := range s.parts {
		r.failed = errors.Join(r.failed, p.prepare())
	}
	for _, p := range s.parts {
		if r.failed == nil {
			r.failed = p.commit()
		}
	}
	if r.failed != nil {
		r.undo()
		return r.failed
	}
	for _, p := range s.parts {
		p.retire()
	}
	s.present = r.config
	return nil
}

// trustChanged applies the present configuration again after files of authorities have changed. What does not depend on
// them goes on. It reports whether they could be read; until then what was before stays. It is for certs.Follow.
func (s *Server) trustChanged(paths []string, again bool) bool {
	defer s.lock()()
	if s.state != serving || s.suspended {
		return s.state > serving // false: it is called again
	}
	err := s.replace(&reload{config: s.present, listen: true})
	switch {
	case err == nil:
		s.counters.CountCertificate(true)
		slog.Info("authorities or certificates for backends changed", "files", paths)
	case !again:
		s.counters.CountCertificate(false)
		slog.Error("files of authorities or of certificates for backends are wrong, what was before stays",
			"files", paths, "error", err)
	}
	return err == nil
}
