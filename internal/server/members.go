package server

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/internal/base/tally"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/discovery/dns"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/forward/ejection"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/forward/sticky"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/server/metrics"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/internal/upstream/health"
)

// firstLookup is how long a start or a reload waits for the names of new backends, and for sources that are new. A
// backend whose name takes longer is down until it is resolved; a backend that is found later joins later.
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
	defined  map[string]*config.Definition // the sources in [discoverers]

	asked          checking // by the last reload
	checks, agents watched
	stopLog        func() // ends that changes are logged

	resilience
	watching  *backend.Outliers // of the last commit
	ejections ejection.Counts   // of those before

	sticking
	current *sticky.Cookie // of the last commit

	takeOver func() // makes what the last reload made serve requests
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

// service returns the backends of u, which become those that u names with the reload: the upstream of that
// name in the present configuration, if there is any.
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
		s.resilience, s.sticking, s.takeOver = before, cookie, nil
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
// makes the set follow them, and no others. Sources that are still named run on, unless a key about all of them
// changes.
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

// resilience is what an upstream has for failures, as the last reload made it. A reload that fails puts back the one
// before. Guarded by shared.mu.
type resilience struct {
	retry retry.Policy // its budget lives on while its size stays the same
	ratio int          // of that budget; 0: there was no reload yet
	hedge *retry.Hedge // that was last used: what it knows lives on

	outlier  config.Outlier    // that outliers were made with
	outliers *backend.Outliers // nil: no backend is ejected

	limits  *admission.Limiter // nil: there never were any; it lives as long as the upstream
	limited bool               // it has limits
	bounds  admission.Options  // of limits
}

// setLimits bounds what is under way at the backends as u says, with the reload.
func (m *members) setLimits(u *config.Upstream, reactors int) {
	m.bounds = admission.Options{
		Requests: u.Breaker.MaxRequests, Retries: u.Breaker.MaxRetries,
		Pending: orNone(u.Pool.Queue), Wait: u.Pool.QueueTimeout, Adaptive: u.Breaker.Adaptive,
	}
	if m.limited = u.Breaker != (config.Breaker{}); m.limited && m.limits == nil {
		m.limits = admission.New(reactors, m.bounds)
	}
}

// limiter returns what bounds requests to the backends; nil: nothing does.
func (m *members) limiter() *admission.Limiter {
	if !m.limited {
		return nil
	}
	return m.limits
}

func (m *members) addEjections(sum *ejection.Counts) {
	tally.AddCounters(sum, &m.ejections)
	if m.watching != nil {
		n := m.watching.Ejections()
		tally.AddCounters(sum, &n)
	}
}

// setOutliers sets how backends are ejected, as u says.
func (m *members) setOutliers(u *config.Upstream, reactors int) {
	if m.outlier == u.Outlier {
		return
	}
	m.outlier, m.outliers = u.Outlier, nil
	if o := u.Outlier; o.On {
		m.outliers = backend.NewOutliers(m.set, reactors, ejection.Options{
			Errors: o.Errors, Window: o.Window, Eject: o.Eject, MaxEjected: o.MaxEjected,
		})
	}
}

// commitOutliers ends the ejections of the outliers that were replaced.
func (m *members) commitOutliers() {
	if old := m.watching; old != m.outliers {
		m.watching = m.outliers
		if old != nil {
			old.Stop()
			n := old.Ejections()
			tally.AddCounters(&m.ejections, &n)
		}
	}
}

// setRetry makes the policy for u, whose backends are m.
func (m *members) setRetry(u *config.Upstream, reactors int) error {
	on, err := retry.Parse(u.Retry.Conditions()...)
	if err != nil {
		return fmt.Errorf("upstream %s: retry.on: %w", u.Name, err)
	}
	p := retry.Policy{On: on, PerTry: u.Retry.PerTry, Budget: m.retry.Budget}
	if ratio := cmp.Or(u.Retry.Budget, retry.RatioDefault); m.ratio != ratio {
		if m.ratio, p.Budget = ratio, nil; ratio > 0 {
			p.Budget = retry.NewBudget(reactors, ratio)
		}
	}
	p.Hedge = m.hedging(u.Retry.Hedge, reactors)
	m.retry = p
	return nil
}

// hedging returns how requests are hedged that wait for so long; nil: they are not. The budget, and what is known of
// the answers, are as before.
func (m *members) hedging(after time.Duration, reactors int) *retry.Hedge {
	switch {
	case after == 0:
		return nil
	case m.hedge == nil:
		m.hedge = retry.NewHedge(reactors, after)
	case m.hedge.After != after:
		h := *m.hedge
		h.After = after
		m.hedge = &h
	}
	return m.hedge
}

// checking is how the backends of an upstream are checked; nil: they are not.
type checking struct {
	check, agent *health.Options
}

// check prepares the checks of the backends of u for the reload, over connections as o describes them.
func (s *members) check(u *config.Upstream, o *upstream.Options, protocol upstream.Protocol, instance uint64) {
	c := u.HealthCheck
	if c == nil {
		return
	}
	if c.Agent.Port > 0 {
		s.asked.agent = &health.Options{
			Name: u.Name, Instance: instance, Timeout: min(c.Timeout, c.Agent.Interval), Kind: health.Agent,
			Port: c.Agent.Port, Send: c.Agent.Send,
			Rules: health.Rules{
				Interval: c.Agent.Interval, Fast: c.Agent.Interval, Down: c.Agent.Interval, Rise: 1, Fall: 1,
			},
		}
	}
	if c.Type == "agent" {
		return
	}
	if asked := s.asked.check; asked != nil {
		switch { // routes may use it in several versions
		case asked.Protocol == protocol:
		case asked.Protocol == upstream.H1 || protocol == upstream.H1:
			asked.Protocol = upstream.H1
		default:
			asked.Protocol = upstream.Auto
		}
		return
	}
	check := &health.Options{
		Name: u.Name, Instance: instance, Timeout: c.Timeout, Kind: constant[health.Kind](c, &c.Type),
		Port: c.Port, Passive: c.PassiveCounts,
		Rules: health.Rules{
			Interval: c.Interval, Fast: c.FastInterval, Down: c.DownInterval, Rise: c.Rise, Fall: c.Fall,
			Start: constant[health.Start](c, &c.Start),
		},
		Protocol: protocol, TLS: o.TLS, Handshaker: o.Handshaker, Limits: o.Client.Limits,
		Method: c.Method, Path: c.Path, Host: c.Host, Body: c.Body,
		Send: c.Send, Expect: c.Expect, Service: c.Service,
	}
	if u.ProxyProtocol != "" {
		check.Preamble = string(appendHeader(nil, u.ProxyProtocol, nil, ""))
	}
	for _, h := range c.Headers {
		check.Fields = append(check.Fields, health.Field{Name: h.Name, Value: h.Value})
	}
	for _, st := range c.ExpectedStatus {
		check.Statuses = append(check.Statuses, health.Statuses{From: st.From, To: st.To})
	}
	s.asked.check = check
}

// update makes list the backends, and checks them as s.asked says.
func (s *members) update(m *health.Monitor, list []backend.Spec) {
	var closed backend.Reason
	c := s.asked
	if o := c.check; o != nil && o.Rules.Start != health.StartUp {
		closed = backend.Health
	}
	s.set.JoinWith(closed)
	s.checks.end(c.check)
	s.agents.end(c.agent)
	s.set.Update(list)
	s.checks.begin(m, s.set, c.check)
	s.agents.begin(m, s.set, c.agent)
}

// watched is a Watch over the backends of an upstream that a reload may end.
// Guarded by shared.mu.
type watched struct {
	watch *health.Watch // nil: there is none
	past  health.Stats  // what those that have ended have counted
}

// end ends the Watch where there is to be none.
func (w *watched) end(o *health.Options) {
	if o == nil && w.watch != nil {
		past := w.watch.Stats()
		tally.AddCounters(&w.past, &past)
		w.watch.Stop()
		w.watch = nil
	}
}

// begin begins checks as o says, or changes the present ones.
func (w *watched) begin(m *health.Monitor, set *backend.Set, o *health.Options) {
	switch {
	case o == nil:
	case w.watch == nil:
		w.watch = m.Watch(set, *o)
	default:
		w.watch.Change(*o)
	}
}

func (w *watched) stop() {
	if w.watch != nil {
		w.watch.Stop()
	}
}

func (w *watched) stats() health.Stats {
	sum := w.past
	if w.watch != nil {
		now := w.watch.Stats()
		tally.Add(&sum, &now)
	}
	return sum
}

// count adds what the checks and ejections have counted to a sample, under the name of the upstream.
func (s *members) count(name string, sum *metrics.Sample) {
	s.addEjections(&sum.Service(name).Ejections)
	sum.AddMembers(name, s.set.Stats())
	sum.AddChecks(name, s.checks.stats())
	sum.AddAgents(name, s.agents.stats())
}

// instanceOf returns the number by which the checks of several instances are spread: a number of the host, so that a
// restart changes nothing.
func instanceOf() uint64 {
	name, _ := os.Hostname() // without a name all instances are one
	h := uint64(1)
	for i := range len(name) {
		h = h*31 + uint64(name[i])
	}
	return h
}
