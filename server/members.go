package server

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/backend/discovery/dns"
	"github.com/edge-proxy/edge/backend/ejection"
	"github.com/edge-proxy/edge/backend/sticky"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/plugin"
)

// firstLookup is how long a start or a reload waits for the names of new backends, and for sources that are new. A
// backend whose name takes longer is down until it is resolved; one that is found later joins later.
const firstLookup = time.Second

// members is the backends of an upstream of the configuration, what resolves their names, and what finds further ones.
// It lives as long as each configuration has an upstream of that name; the pools of connections to them come and go
// with their options.
// Guarded by shared.mu.
type members struct {
	set      *backend.Set
	servers  string                        // that names asks, as text
	names    *discovery.Resolver           // nil before the first commit
	discover config.Discovery              // that runners were made by
	runners  map[string]*discovery.Runner  // by the text of the source
	defined  map[string]*config.Definition // those of them that are in [discoverers]

	asked          checking // by the last reload
	checks, agents watched
	stopLog        func() // ends that changes are logged

	resilience
	watching  *backend.Outliers // of the last commit
	ejections ejection.Counts   // of those before

	sticking
	current *sticky.Cookie // of the last commit

	takeOver func() // has what the last reload made serve requests
}

// stop ends what looks for backends and what watches over them: no configuration has them any more.
func (m *members) stop() {
	m.names.Stop()
	for _, r := range m.runners {
		r.Stop()
	}
	m.stopLog()
	m.checks.stop()
	m.agents.stop()
	if m.watching != nil {
		m.watching.Stop()
	}
	if m.current != nil {
		m.current.Stop()
	}
}

// service returns the backends of u, which become those that u names with the reload: those of the present
// configuration, if it has an upstream of that name.
func (p *upstreams) service(u *config.Upstream) (*members, error) {
	if s := p.next.services[u.Name]; s != nil {
		return s, s.setRetry(u, p.Reactors())
	}
	s := p.now.services[u.Name]
	if s == nil {
		s = &members{set: backend.NewSet()}
		s.stopLog = backend.LogChanges(u.Name, s.set)
	}
	names := p.namesBy(u.Discovery.Resolver)
	follow, err := p.discover(u, s, names)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
	}
	p.next.services[u.Name] = s
	before, cookie := s.resilience, s.sticking
	p.reload.onFailure(func() {
		if s.cookie != nil && s.cookie != cookie.cookie {
			s.cookie.Stop()
		}
		s.resilience, s.sticking = before, cookie
	})
	if err := s.setCookie(u, p.drawn); err != nil {
		return nil, err
	}
	s.asked = checking{}
	list := specsOf(u)
	for _, one := range s.set.Unresolved(list) {
		p.lookups.Go(func() { lookUp(names, one) })
	}
	policy := policyOf(u, p.reload.config.Global.Zone, p.instance)
	s.takeOver = func() {
		s.set.SetPolicy(policy)
		s.update(p.monitor, list)
		if s.limits != nil {
			s.limits.Change(s.bounds)
		}
		s.commitOutliers()
		s.commitCookie()
		servers := fmt.Sprint(u.Discovery.Resolver)
		if s.names != nil && s.servers != servers {
			s.names.Stop()
			s.names = nil
		}
		if s.names == nil {
			s.names, s.servers = discovery.ResolveNames(u.Name, s.set, names), servers
		}
		follow()
	}
	return s, s.setRetry(u, p.Reactors())
}

// specsOf returns the backends of u.
func specsOf(u *config.Upstream) []backend.Spec {
	list := make([]backend.Spec, len(u.Backends))
	for i, one := range u.Backends {
		list[i] = backend.Spec{Address: one.String(), Weight: one.Weight, Tier: one.Tier, Zone: one.Zone}
	}
	return list
}

// namesBy returns what looks names up by these servers; by none, as Options.Lookup or the machine does.
func (s *shared) namesBy(servers []netip.AddrPort) discovery.Names {
	if len(servers) == 0 {
		return discovery.NamesBy(s.opts.Lookup)
	}
	return dns.New(dns.Options{Servers: servers})
}

// lookUp resolves the name of a backend that is new: a reload must not swap in backends that are all down for a moment.
func lookUp(names discovery.Names, one *backend.Spec) {
	ctx, cancel := context.WithTimeout(context.Background(), firstLookup)
	defer cancel()
	one.Addrs, _ = discovery.Resolve(ctx, names, one.Address) // the Resolver tells of an error
}

// discover starts the sources of u that s does not run, and waits with the look-ups for their first answers. follow
// has the set follow them, and no others. Sources that are still named run on, unless a key about all of them changes.
func (p *upstreams) discover(u *config.Upstream, s *members, names discovery.Names) (follow func(), err error) {
	before := s.discover
	before.Sources = u.Discovery.Sources
	runOn := s.runners != nil && before.Equal(&u.Discovery)
	runners := make(map[string]*discovery.Runner, len(u.Discovery.Sources))
	defined := make(map[string]*config.Definition)
	for _, text := range u.Discovery.Sources {
		d := p.reload.config.Find(plugin.Discoverers, text)
		if d != nil {
			defined[text] = d
		}
		if old := s.defined[text]; runOn && s.runners[text] != nil && (d == nil) == (old == nil) &&
			(d == nil || d.Like(*old)) {
			runners[text] = s.runners[text]
			continue
		}
		source, err := p.source(text, d, names)
		if err != nil {
			return nil, err
		}
		o := discovery.Options{
			Upstream: u.Name, Name: text, Source: source,
			StaleOK: u.Discovery.StaleOK, EmptyAfter: u.Discovery.EmptyAfter,
		}
		if before := s.runners[text]; before != nil {
			o.Known = before.Found()
		}
		r := discovery.Start(o)
		runners[text] = r
		p.reload.onFailure(r.Stop)
		p.lookups.Go(func() {
			select {
			case <-r.Ready():
			case <-time.After(firstLookup):
			}
		})
	}
	return func() {
		for text, r := range s.runners {
			if runners[text] != r {
				r.Stop()
			}
		}
		for text, r := range runners {
			if s.runners[text] != r {
				r.Join(s.set) // before others go: what both have found stays
			}
		}
		for text := range s.runners {
			if runners[text] == nil {
				s.set.Apply(text, nil)
			}
		}
		s.runners, s.defined, s.discover = runners, defined, u.Discovery
	}, nil
}

// source makes the source that a text names: d of [discoverers], unless that is nil. Each upstream has its own.
func (p *upstreams) source(text string, d *config.Definition, names discovery.Names) (discovery.Source, error) {
	if d == nil {
		return discovery.Open(text, discovery.Opening{Names: names, Makers: p.opts.Sources})
	}
	of := p.definitions.of(d.Kind, d.Name, d.Type)
	of.Kept = p.kept.ClaimLasting()
	hold := tenureOf(of.Kept)
	made, err := makeDefined[discovery.Source](d, of)
	return &heldSource{made, hold}, err
}

// heldSource is a source of a module: what that keeps is released when nothing has the source any more.
type heldSource struct {
	discovery.Source
	hold *tenure
}
