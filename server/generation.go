package server

import (
	"slices"
	"sync"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/certs"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/filter"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/dynamic"
	"github.com/edge-proxy/edge/upstream"
	"github.com/edge-proxy/edge/upstream/health"
)

// generation is what one configuration brought to life.
// Guarded by Server.mu.
type generation struct {
	config    *config.Config
	services  map[string]*members // by the name of the upstream
	upstreams map[upstream.Key]*upstream.Upstream
	views     map[choosing]*backend.View

	destinations map[dynamicKey]*dynamic.Destinations // of each dest with variables
	listeners    []*listener
	sinks        map[string]*sink // see outputKey
	lasting      map[definedKey]definedValue
	certs        *certs.Set
	authority    string // the file of the internal authority; "": no certificate is of it

	registrations map[registered]*registration // nil before there are listeners
}

// build is a generation in the making. It keeps what it opened, so that undo can close it.
//
//	present ──keep what is equal──► build ──commit──► present
//	                                  │ error
//	                                  └──undo: what was opened is closed, nothing has changed
type build struct {
	server *Server
	generation
	snapshot  *proxy.Snapshot
	settings  []setting
	prepared  func()                     // the commit of Options.Prepare; nil: none
	fresh     []func()                   // close what b opened
	updates   []func()                   // give services their members
	checks    map[string]*health.Options // of services, by the name of the upstream
	agents    map[string]*health.Options // the same
	lookups   sync.WaitGroup
	chosen    map[string]int     // the groups of certs that rules choose, by the name of the certificate
	ticketing []certs.TicketUser // the configurations of the listeners
	untimed   bool               // there are too many routes to count how long the requests of each take
	trust     certs.Stamps       // of the files of authorities, before they were read
	partly    bool               // it goes without addresses that cannot be opened
	lost      []error            // about these

	made   map[string]*proxy.Filter     // of [filters], by name
	leads  map[string]proxy.Destination // of [destinations], by name
	claims *filter.Claims               // what they keep; released when no exchange uses them
}

// build begins the generation of cfg.
func (s *Server) build(cfg *config.Config) *build {
	claims := s.kept.Claim()
	return &build{server: s, trust: certs.StampsOf(trustFiles(cfg)), checks: make(map[string]*health.Options),
		agents: make(map[string]*health.Options), made: make(map[string]*proxy.Filter), claims: claims,
		leads: make(map[string]proxy.Destination),
		fresh: []func(){func() { claims.Release() }},
		generation: generation{
			config: cfg, services: make(map[string]*members), sinks: make(map[string]*sink),
			lasting:   make(map[definedKey]definedValue),
			upstreams: make(map[upstream.Key]*upstream.Upstream), views: make(map[choosing]*backend.View),
			destinations: make(map[dynamicKey]*dynamic.Destinations),
		}}
}

// prepare calls Options.Prepare.
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

// undo closes what b opened, the last one first.
func (b *build) undo() {
	for i := len(b.fresh) - 1; i >= 0; i-- {
		b.fresh[i]()
	}
}

// named returns a listener with that name, or nil.
func (g *generation) named(name string) *listener {
	for _, l := range g.listeners {
		if l.name == name {
			return l
		}
	}
	return nil
}

// listens reports whether l is a listener of g.
func (g *generation) listens(l *listener) bool { return slices.Contains(g.listeners, l) }

// trustFiles returns the files that c names in addition to the certificates of listeners: authorities, and the
// certificates that backends are shown.
func trustFiles(c *config.Config) (paths []string) {
	add := func(path string) {
		if path != "" {
			paths = append(paths, path)
		}
	}
	for i := range c.Listeners {
		if l := &c.Listeners[i]; l.TLS != config.TLSOff {
			add(l.TLSOptions.ClientCA)
			for _, rule := range c.HandshakeRules(l) {
				add(rule.ClientCA)
			}
		}
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i].TLS
		if !u.On {
			continue
		}
		add(u.Cert)
		add(u.Key)
		if u.CA == "" {
			add(c.Global.CAFile)
		}
		add(u.CA)
	}
	return paths
}
