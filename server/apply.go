package server

import (
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/edge-proxy/edge/certs"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/upstream"
)

// generation is what one configuration brought to life.
// Guarded by Server.mu.
type generation struct {
	config    *config.Config
	upstreams map[string]*pooled // by identity
	views     map[string]*upstream.View
	listeners []*listener
	sinks     map[string]*sink // by path
	certs     *certs.Set
	authority string // the file of the internal one, when a certificate is of it
}

// build is a generation in the making. What it opens is remembered, so that it can be undone.
//
//	present ──keep what is equal──► build ──commit──► present
//	                                  │ error
//	                                  └──undo: what was opened is closed, nothing has changed
type build struct {
	server *Server
	generation
	snapshot   *proxy.Snapshot
	settings   []setting
	prepared   func()   // the commit of Options.Prepare
	fresh      []func() // closes what was opened
	unresolved []*pooled
	lookups    sync.WaitGroup
	tlsConfigs []*tls.Config // of the listeners
	trust      certs.Stamps  // what the files of authorities looked like before they were read
}

// Apply makes cfg the configuration of the running process: it is built whole, then swapped. What is equal in both goes
// on undisturbed: listening sockets, the connections to backends, log files. Requests in progress end as they began.
// After an error nothing has changed.
func (s *Server) Apply(cfg *config.Config) (Diff, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == draining || s.state == stopped {
		return Diff{}, errEnding
	}
	diff := diffOf(s.present.config, cfg)
	diff.Restart = slices.DeleteFunc(diff.Restart, func(key string) bool { return s.inForce(key, cfg) })
	err := s.replace(cfg)
	s.counters.CountReload(err == nil)
	if err != nil {
		return Diff{}, err
	}
	return diff, nil
}

// inForce reports that the process began with what cfg says for a key that waits for a restart: it was changed back.
func (s *Server) inForce(key string, cfg *config.Config) bool {
	return !strings.HasPrefix(key, socketPrefix) && !slices.Contains(restartKeys(s.begun, cfg), key)
}

// replace builds cfg and puts it in the place of what there is. s.mu is held.
func (s *Server) replace(cfg *config.Config) error {
	b := s.build(cfg)
	err := errors.Join(b.openLogs(), b.prepare(), b.openCertificates(), b.makeRoutes())
	if err == nil && s.state != made {
		err = b.openListeners()
	}
	if err != nil {
		b.undo()
		return err
	}
	s.commit(b)
	return nil
}

func (s *Server) build(cfg *config.Config) *build {
	return &build{server: s, trust: certs.StampsOf(trustFiles(cfg)), generation: generation{
		config: cfg, upstreams: make(map[string]*pooled), views: make(map[string]*upstream.View),
		sinks: make(map[string]*sink),
	}}
}

// prepare builds what Options.Prepare makes of the configuration.
func (b *build) prepare() error {
	if b.server.opts.Prepare == nil {
		return nil
	}
	commit, undo, err := b.server.opts.Prepare(b.config)
	if err == nil {
		b.prepared = commit
		b.fresh = append(b.fresh, undo)
	}
	return err
}

// undo closes what b opened, the last first.
func (b *build) undo() {
	for i := len(b.fresh) - 1; i >= 0; i-- {
		b.fresh[i]()
	}
}

// commit puts b in the place of the present generation and closes what only that one used. Nothing can fail here.
func (s *Server) commit(b *build) {
	old := s.present
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
	if s.state != stopped {
		b.certs.Watch(watchEvery, s.tellCertificate)
	}
	s.trust.Use(b.trust)
	if b.prepared != nil {
		b.prepared()
	}
	s.follow(&b.generation)
	s.retire(old)
}

// retire closes what of old the present generation has no use for.
func (s *Server) retire(old *generation) {
	var listeners []*listener
	for _, l := range old.listeners {
		if !s.present.listens(l) {
			listeners = append(listeners, l)
		}
	}
	var upstreams []*pooled
	for id, u := range old.upstreams {
		if s.present.upstreams[id] == nil {
			upstreams = append(upstreams, u)
		}
	}
	s.forgetClosed()
	if len(upstreams) > 0 {
		s.retired(nil, upstreams)
	}
	for _, l := range listeners {
		if next := s.present.named(l.name); next != nil {
			l.service.Follow(next.service) // routes and logs know listeners by name, so its guards have to bind l
		}
		s.closeListener(l)
	}
	for _, u := range upstreams {
		u.names.Stop()
		u.Close(s.engine)
	}
	for path, k := range old.sinks {
		if s.present.sinks[path] == nil {
			s.linger(k)
		}
	}
}

// named returns a listener of that name, nil when there is none.
func (g *generation) named(name string) *listener {
	for _, l := range g.listeners {
		if l.name == name {
			return l
		}
	}
	return nil
}

func (g *generation) listens(l *listener) bool {
	for _, other := range g.listeners {
		if other == l {
			return true
		}
	}
	return false
}
