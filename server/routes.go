package server

import (
	"cmp"
	_ "embed" // the hello page
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/backend/admission"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/plugins"
	"github.com/edge-proxy/edge/filter"
	"github.com/edge-proxy/edge/filter/rules"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/yield"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/plugin"
	"github.com/edge-proxy/edge/proxy"
)

//go:embed hello.html
var helloPage string

const htmlType = "text/html; charset=utf-8"

// makeRoutes makes the upstreams and the routes of the configuration. It waits a moment for names of new upstreams.
func (b *build) makeRoutes() error {
	list := served(b.config)
	routes := make([]proxy.Route, 0, len(list)) // a Route is large, and there may be thousands
	b.untimed = b.config.Metrics().Untimed(len(list))
	var pace yield.Pace
	for _, c := range list {
		pace.Step()
		r, err := b.route(c)
		if err != nil {
			return err
		}
		routes = append(routes, r)
	}
	named, err := b.namedUpstreams()
	if err != nil {
		return err
	}
	b.lookups.Wait()
	if b.snapshot, err = b.snapshotFor(list, routes, nil, named); err != nil {
		return err
	}
	b.snapshot.Hold(tenureOf(b.claims))
	made := make(map[string]*proxy.Snapshot) // by the filters of listeners, and those with rules
	for i := range b.config.Listeners {
		l := &b.config.Listeners[i]
		key := strings.Join(l.Filters, "\n")
		if len(l.Rules) > 0 {
			key += "\n\n" + l.Name // no other listener has its rules
		}
		if made[key] == nil && key != "" {
			if made[key], err = b.snapshotFor(list, routes, l, named); err != nil {
				return fmt.Errorf("listener %s: %w", l.Name, err)
			}
		}
		if key != "" {
			b.snapshot.For(l.Name, made[key])
		}
	}
	return nil
}

// snapshotFor makes the routes for requests that come by l, which has filters or rules of its own; nil: by any other
// listener. The routes do not have their filters and rules of the configuration yet.
func (b *build) snapshotFor(list []*config.Route, routes []proxy.Route, l *config.Listener,
	named map[string]proxy.Destination) (*proxy.Snapshot, error) {
	if l == nil {
		l = &config.Listener{}
	}
	ruled := &rules.Maker{
		Dest:    func(upstream string) proxy.Destination { return named[upstream] },
		Build:   func(name string) *filter.Build { return b.of(plugin.Filters, name, rules.Type) },
		Filters: b.config.RuledFilters(),
	}
	first, err := rulesBefore(ruled, b.config, l)
	if err != nil {
		return nil, err
	}
	lists := b.config.FilterLists(l, nil)
	before := lists.Before()
	all, err := b.placed(before, ruled)
	if err != nil {
		return nil, err
	}
	routes = slices.Clone(routes)
	for i, c := range list {
		if len(c.Filters)+len(c.Rules) == 0 {
			continue
		}
		r := &routes[i]
		lists := b.config.FilterLists(l, c)
		own, without := lists.OfRoute(before)
		added, err := b.placed(own, ruled)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", c.Name, err)
		}
		r.Filters, r.Without = append(added, r.Filters...), without
		if r.Filters, err = ruled.Around(r.Filters, c.Rules, "route "+c.Name); err != nil {
			return nil, err
		}
	}
	s, err := proxy.NewSnapshot(routes, append(first, all...))
	if err != nil {
		return nil, err
	}
	for name, d := range named {
		s.Name(name, d)
	}
	return s, nil
}

// rulesBefore returns the filters of the rules that run before a route is chosen, for requests that come by l.
func rulesBefore(m *rules.Maker, c *config.Config, l *config.Listener) (all []*proxy.Filter, err error) {
	for _, of := range []struct {
		list  []config.Rule
		whose string
	}{{l.Rules, "listener " + l.Name}, {c.Rules, "defaults"}} {
		f, err := m.BeforeRoute(of.list, of.whose)
		if err != nil {
			return nil, err
		}
		if f != nil {
			all = append(all, f)
		}
	}
	return all, nil
}

// anyRuleLeads reports whether a rule of c chooses where requests go.
func anyRuleLeads(c *config.Config) (leads bool) {
	c.EachRule(func(r *config.Rule) { leads = leads || r.Dest != "" })
	return leads
}

// served returns the routes of c that take requests: what no other one takes has one, too.
func served(c *config.Config) (list []*config.Route) {
	for i := range c.Routes {
		if r := &c.Routes[i]; !r.Off && !r.Shadowed { // config has warned of a shadowed one
			list = append(list, r)
		}
	}
	if rest, needed := c.Rest(); needed {
		list = append(list, &rest)
	}
	return list
}

// namedUpstreams returns the destinations that filters of the program may choose by name: upstreams, and those of
// [destinations].
func (b *build) namedUpstreams() (map[string]proxy.Destination, error) {
	if len(b.server.opts.Filters)+len(b.config.Defined) == 0 && !anyRuleLeads(b.config) {
		return nil, nil
	}
	named := make(map[string]proxy.Destination)
	for i := range b.config.Upstreams {
		u, err := &b.config.Upstreams[i], error(nil)
		if u.Template != "" {
			continue // requests of its routes alone are asked where they lead
		}
		if named[u.Name], err = b.leadTo(u, &config.Route{}, false); err != nil {
			return nil, err
		}
	}
	for i := range b.config.Defined {
		if d := &b.config.Defined[i]; d.Kind == plugin.Destinations {
			to, err := b.defined(d.Name)
			if err != nil {
				return nil, err
			}
			named[d.Name] = to
		}
	}
	return named, nil
}

// defined returns the destination of [destinations] with that name. It is made once for a generation.
func (b *build) defined(name string) (proxy.Destination, error) {
	if made := b.leads[name]; made != nil {
		return made, nil
	}
	d := b.config.Find(plugin.Destinations, name)
	made, err := makeDefined[proxy.Destination](d, b.of(d.Kind, name, ""))
	if err == nil {
		b.leads[name] = made
	}
	return made, err
}

// makeDefined makes what d defines, which may use of.
func makeDefined[T any](d *config.Definition, of *plugin.Build) (made T, err error) {
	if made, err = plugin.Make[T](&d.Table, of); err != nil {
		return made, fmt.Errorf("%s: %s %q: %w", d.Pos, d.Kind.Name, d.Name, err)
	}
	return made, nil
}

// filter returns the filter of that name, which is its own from then on: routes take it out by name. It is made once
// for a generation.
func (b *build) filter(name string) (f *proxy.Filter, err error) {
	f = b.made[name]
	if own := b.server.opts.Filters[name]; f == nil && own != nil {
		named := *own
		named.Name = name
		f = &named
	} else if f == nil {
		if f, err = b.makeFilter(name); err != nil {
			return nil, err
		}
	}
	b.made[name] = f
	return f, nil
}

// placed returns filters in their places. Those that rules name ask what the rules said.
func (b *build) placed(list []plugins.FilterMember, m *rules.Maker) (all []*proxy.Filter, err error) {
	for _, one := range list {
		f, err := b.filter(one.Name)
		if err != nil {
			return nil, err
		}
		if one.Moved && f.BeforeRoute != nil { // which has run by then
			rest := *f
			rest.BeforeRoute, rest.Blocking = nil, f.Blocking&^proxy.PhaseBeforeRoute
			f = &rest
		}
		if one.Ruled {
			f = m.Gate(f, one.Stands)
		}
		all = append(all, f)
	}
	return all, nil
}

// makeFilter makes a filter of [filters].
func (b *build) makeFilter(name string) (*proxy.Filter, error) {
	c := b.config.Find(plugin.Filters, name)
	if c == nil { // the configuration was not parsed with the names that there are
		return nil, fmt.Errorf("no filter is called %q", name)
	}
	f, err := filter.Make(&c.Table, b.of(plugin.Filters, name, ""))
	if err != nil {
		return nil, fmt.Errorf("%s: filter %q: %w", c.Pos, name, err)
	}
	if c.When != nil {
		f.When, f.NamesMatch = bothHold(proxy.Holds(c.When), f.When), f.NamesMatch || c.When.NamesMatch()
	}
	return f, nil
}

// of returns what something of a kind with that name may use of the server.
func (b *build) of(kind *plugin.Kind, name, typ string) *plugin.Build {
	return &plugin.Build{Kind: kind, Name: name, Type: typ, Reactors: b.server.Reactors(), Kept: b.claims,
		Logger: slog.Default().With(kind.Name, name)}
}

// tenure is reachable as long as an exchange may use the filters of a generation.
type tenure struct{ _ *tenure }

// tenureOf returns a tenure after which claims are released.
func tenureOf(claims *filter.Claims) *tenure {
	t := &tenure{}
	runtime.AddCleanup(t, func(claims *filter.Claims) {
		for _, err := range claims.Release() {
			slog.Warn("a filter that a reload took away was not closed", "error", err)
		}
	}, claims)
	return t
}

// bothHold returns a condition that holds where a and b do; a nil b does.
func bothHold(a, b func(*proxy.Exchange) bool) func(*proxy.Exchange) bool {
	if b == nil {
		return a
	}
	return func(x *proxy.Exchange) bool { return a(x) && b(x) }
}

// route makes one route, without its filters of the configuration.
func (b *build) route(c *config.Route) (r proxy.Route, err error) {
	if r, err = baseRoute(c); err != nil {
		return r, err
	}
	switch c.Dest.Kind {
	case config.DestUpstream:
		if err := b.toUpstream(&r, c); err != nil {
			return r, err
		}
	case config.DestDefined:
		if r.To, err = b.defined(c.Dest.Name); err != nil {
			return r, err
		}
		r.GRPC = proxy.Switch(c.GRPC)
	}
	if err = b.logRoute(&r, c); err != nil {
		return r, err
	}
	r.Meter = b.server.traffic.Route(c.Name, b.untimed)
	r.Intercept = c.InterceptErrors
	r.Pages, err = pagesOf(c.ErrorPages, nil)
	return r, err
}

// classes are those of requests, by the priority of their route.
var classes = [...]admission.Class{admission.First, admission.Usual, admission.Later, admission.Last}

// baseRoute makes of a route what needs nothing that is open: without filters of the program, logs and pages. To is
// nil where the route leads to an upstream.
func baseRoute(c *config.Route) (r proxy.Route, err error) {
	rule := c.Rule()
	r = proxy.Route{
		Name: c.Name, Host: rule.Host, Path: rule.Path, Exact: rule.Exact, Methods: rule.Methods,
		Header: rule.Header, Query: rule.Query, Weight: rule.Weight, Class: classes[c.Priority],
		Listeners: rule.Listeners, ClientCert: rule.ClientCert, When: rule.When,
		Timeout: c.Total, BufferRequest: int(c.BufferRequest),
		Tunnels: proxy.Tunnels{
			WebSocket: proxy.Switch(c.WebSocket), Protocols: c.Upgrades,
		},
	}
	if c.Rewrite != (config.Rewrite{}) {
		w := proxy.Rewrite(c.Rewrite)
		r.Rewrite = &w
	}
	switch c.Dest.Kind {
	case config.DestRedirect:
		if r.To, err = proxy.Redirect(c.Dest.Location, c.Dest.Status); err != nil {
			return r, fmt.Errorf("route %s: %w", c.Name, err)
		}
	case config.DestStatus:
		if c.Dest.Status < 400 {
			r.To = proxy.Answer(c.Dest.Status, "", statusText(c.Dest.Status))
		} else {
			r.To = proxy.Always(proxy.RespondPage(c.Dest.Status))
		}
	case config.DestHello:
		r.To = proxy.Answer(200, htmlType, helloPage)
	}
	if c.RewriteLocation {
		r.Filters = append(r.Filters, proxy.RewriteLocation(r.Rewrite))
	}
	if len(c.RequestHeaders) > 0 || len(c.ResponseHeaders) > 0 {
		r.Filters = append(r.Filters, proxy.SetFields(fields(c.RequestHeaders), fields(c.ResponseHeaders)))
	}
	return r, nil
}

// toUpstream makes the upstream of c the destination of r. A route of gRPC speaks HTTP/2 to its backends. Where the
// listener decides whether there is gRPC, only requests of that type do.
func (b *build) toUpstream(r *proxy.Route, c *config.Route) (err error) {
	u := &b.config.Upstreams[c.Dest.Upstream]
	if u.Template != "" {
		return b.dynamic(r, c, u)
	}
	if r.To, err = b.leadTo(u, c, c.GRPC == config.On); err != nil {
		return err
	}
	r.Timeout = cmp.Or(r.Timeout, u.Timeouts.Total)
	r.GRPC = proxy.Switch(c.GRPC)
	if r.GRPC == proxy.ByListener && b.anyGRPC() && (u.Protocol != "h2" || u.Failover != "") {
		r.GRPCTo, err = b.leadTo(u, c, true)
	}
	return err
}

// anyGRPC reports whether a listener passes gRPC.
func (b *build) anyGRPC() bool {
	return slices.ContainsFunc(b.config.Listeners, func(l config.Listener) bool { return l.GRPC })
}

// hostOf returns the Host for the backends of u, as proxy.ToOptions has it.
func hostOf(u *config.Upstream) string {
	switch u.Host {
	case "keep":
		return ""
	case "backend":
		return proxy.HostOfBackend
	}
	return u.Host
}

// statusText is the content of an answer that has only a status. RFC 9110 §6.4.1: 204 and 304 have none.
func statusText(status int) string {
	if status == 204 || status == 304 {
		return ""
	}
	return fmt.Sprintf("%d %s\n", status, h1.Reason(status))
}

func fields(list []config.Header) map[string]*lang.Template {
	m := make(map[string]*lang.Template, len(list))
	for _, f := range list {
		m[f.Name] = f.Template
	}
	return m
}
