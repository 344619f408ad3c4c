package server

import (
	"cmp"
	_ "embed" // the hello page
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/base/yield"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/exchange/page"
	"github.com/edge-proxy/edge/internal/filter/rules"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

//go:embed hello.html
var helloPage string

const htmlType = "text/html; charset=utf-8"

// routes are where requests lead. It is the last part of the list: nothing fails after its commit.
type routes struct {
	nothing
	*shared
	definitions *definitions
	logs        *accessLogs
	traces      *traces
	upstreams   *upstreams
	choices     *choices // of the cache
	ends        ends
	first, last []*proxy.Filter                          // of a dry run, around all others
	watch       func(of *config.Rule, asked rules.Asked) // of a dry run; nil: not called
	tables      *language.Follower                       // of the lists and maps of the configuration
	next        *proxy.Snapshot
	untimed     bool // there are too many routes to count how long the requests of each take
}

// ends make the destinations and the filters of routes. In a Server they send requests, in a dry run they tell of them.
type ends interface {
	filter(name string) (*proxy.Filter, error)
	build(rules string) *plugin.Build
	destination(name string) (proxy.Destination, error) // of [destinations]
	// leadTo leads to u as c uses it.
	leadTo(u *config.Upstream, c *config.Route, grpc bool) (proxy.Destination, error)
	// lead has r lead where each request says, as u allows.
	lead(r *proxy.Route, c *config.Route, u *config.Upstream) error
	// before returns to, where the route c leads, with the cache before it if c has one.
	before(to proxy.Destination, c *config.Route) proxy.Destination
}

// sending are the ends of a Server.
type sending struct {
	*definitions
	*upstreams
	*destinations
	*caches
}

// prepare makes the routes, and what they lead to. It waits a moment for names of new upstreams.
func (p *routes) prepare() error {
	list := served(p.reload.config)
	p.untimed = p.reload.config.Metrics().Untimed(len(list))
	routes, named, err := p.all(list, p.route)
	if err != nil {
		return err
	}
	p.upstreams.lookups.Wait()
	return p.snapshots(list, routes, named)
}

// all makes the routes of list by one, and the destinations with names.
func (p *routes) all(
	list []*config.Route, one func(c *config.Route) (proxy.Route, error),
) (routes []proxy.Route, named map[string]proxy.Destination, err error) {
	routes = make([]proxy.Route, len(list)) // a Route is large, and there may be thousands
	for i := range yield.Over(len(list)) {
		if routes[i], err = one(list[i]); err != nil {
			return nil, nil, err
		}
	}
	named, err = p.named()
	return routes, named, err
}

// commit leads requests that begin to the new routes, to the backends of the same configuration.
func (p *routes) commit() error {
	p.upstreams.takeOver()
	p.reload.config.Language.Commit()
	p.proxy.Swap(p.next)
	return nil
}

func (p *routes) retire() {
	p.tables.Use(p.reload.config.Language)
	p.next = nil
}

// tellTable logs what has become of a changed file of a list or a map.
func tellTable(c language.Change) {
	if c.Err != nil {
		slog.Error("the file of a "+c.Kind+" is wrong, what it had stays", "name", c.Name, "file", c.File,
			"error", c.Err, "more", c.More)
		return
	}
	slog.Info(c.Kind+" changed", "name", c.Name, "file", c.File, "entries", c.Entries)
}

// snapshots makes the routes for each listener that has filters or rules of its own, and for all others.
func (p *routes) snapshots(list []*config.Route, routes []proxy.Route, named map[string]proxy.Destination) error {
	next, err := p.snapshot(list, routes, &config.Listener{}, named)
	if err != nil {
		return err
	}
	p.next = next
	p.reload.onFailure(func() { p.next = nil })
	next.Hold(tenureOf(p.definitions.next.claims))
	made := make(map[string]*proxy.Snapshot) // by the filters of listeners, and those with rules
	for i := range p.reload.config.Listeners {
		l := &p.reload.config.Listeners[i]
		key := strings.Join(l.Filters, "\n")
		if len(l.Rules) > 0 {
			key += "\n\n" + l.Name // no other listener has its rules
		}
		if made[key] == nil && key != "" {
			if made[key], err = p.snapshot(list, routes, l, named); err != nil {
				return fmt.Errorf("listener %s: %w", l.Name, err)
			}
		}
		if key != "" {
			next.For(l.Name, made[key])
		}
	}
	return nil
}

// snapshot makes the routes for requests that come by l, with the filters and rules of l. The routes do not have their
// own filters and rules yet: list has them.
func (p *routes) snapshot(list []*config.Route, routes []proxy.Route, l *config.Listener,
	named map[string]proxy.Destination) (*proxy.Snapshot, error) {
	ruled := &rules.Maker{
		Dest:    func(upstream string) proxy.Destination { return named[upstream] },
		Build:   p.ends.build,
		Filters: p.reload.config.RuledFilters(),
		Cache:   p.choices.of,
		Watch:   p.watch,
	}
	first, err := rulesBefore(ruled, p.reload.config, l)
	if err != nil {
		return nil, err
	}
	lists := p.reload.config.FilterLists(l, nil)
	before := lists.Before()
	all, err := p.placed(before, ruled)
	if err != nil {
		return nil, err
	}
	routes = slices.Clone(routes)
	for i, c := range list {
		if len(c.Filters)+len(c.Rules) == 0 {
			continue
		}
		r := &routes[i]
		lists := p.reload.config.FilterLists(l, c)
		own, without := lists.OfRoute(before)
		added, err := p.placed(own, ruled)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", c.Name, err)
		}
		r.Filters, r.Without = append(added, r.Filters...), without
		if r.Filters, err = ruled.Around(r.Filters, c.Rules, "route "+c.Name); err != nil {
			return nil, err
		}
	}
	s, err := proxy.NewSnapshot(routes, slices.Concat(p.first, first, all, p.last))
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

func anyRuleLeads(c *config.Config) (leads bool) {
	c.EachRule(func(r *config.Rule) { leads = leads || r.Dest != "" })
	return leads
}

// served returns the routes of c that take requests: what no other one takes has one, too.
func served(c *config.Config) (list []*config.Route) {
	for i := range yield.Over(len(c.Routes)) {
		if r := &c.Routes[i]; !r.Off && !r.Shadowed { // config has warned of a shadowed one
			list = append(list, r)
		}
	}
	if rest, needed := c.Rest(); needed {
		list = append(list, &rest)
	}
	return list
}

// named returns the destinations that the program may choose by name: upstreams, and the entries of
// [destinations].
func (p *routes) named() (map[string]proxy.Destination, error) {
	if !p.opts.Named && len(p.opts.Filters)+len(p.reload.config.Defined) == 0 && !anyRuleLeads(p.reload.config) {
		return nil, nil
	}
	named := make(map[string]proxy.Destination)
	for i := range p.reload.config.Upstreams {
		u, err := &p.reload.config.Upstreams[i], error(nil)
		if u.Template != "" {
			continue // requests of its routes alone are asked where they lead
		}
		if named[u.Name], err = p.ends.leadTo(u, &config.Route{}, false); err != nil {
			return nil, err
		}
	}
	for i := range p.reload.config.Defined {
		if d := &p.reload.config.Defined[i]; d.Kind == plugin.Destinations {
			to, err := p.ends.destination(d.Name)
			if err != nil {
				return nil, err
			}
			named[d.Name] = to
		}
	}
	return named, nil
}

// placed returns filters in their places. Those that rules name ask what the rules said.
func (p *routes) placed(list []plugins.FilterMember, m *rules.Maker) (all []*proxy.Filter, err error) {
	for _, one := range list {
		f, err := p.ends.filter(one.Name)
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

// route makes one route, without its filters of the configuration.
func (p *routes) route(c *config.Route) (r proxy.Route, err error) {
	if r, err = p.leading(c); err != nil {
		return r, err
	}
	for _, name := range c.Dest.Files {
		files, err := p.ends.destination(name)
		if err != nil {
			return r, err
		}
		r.Filters = append(r.Filters, files.(interface{ First() *proxy.Filter }).First())
	}
	p.logs.ofRoute(&r, c)
	r.Meter, r.Tracing = p.traffic.Route(c.Name, p.untimed), p.traces.of(c)
	r.Intercept = c.InterceptErrors
	r.Pages, err = pagesOf(c.ErrorPages, nil)
	return r, err
}

// classes are the classes of requests, by the priority of their route.
var classes = [...]admission.Class{admission.First, admission.Usual, admission.Later, admission.Last}

// leading makes one route with where it leads, without its filters of the configuration, files, logs and pages.
func (p *routes) leading(c *config.Route) (r proxy.Route, err error) {
	rule := c.Rule()
	r = proxy.Route{
		Name: c.Name, Host: rule.Host, Path: rule.Path, Exact: rule.Exact, Methods: rule.Methods,
		Header: rule.Header, Query: rule.Query, Weight: rule.Weight, Class: classes[c.Priority],
		Listeners: rule.Listeners, ClientCert: rule.ClientCert, When: rule.When,
		Timeout: c.Total, BufferRequest: int(c.BufferRequest), ReadBody: int(c.ReadBody),
		Tunnels: proxy.Tunnels{
			WebSocket: proxy.Switch(c.WebSocket), Protocols: c.Upgrades,
		},
	}
	if c.Rewrite != (config.Rewrite{}) {
		w := proxy.Rewrite(c.Rewrite)
		r.Rewrite = &w
	}
	switch c.Dest.Kind {
	case config.DestUpstream:
		err = p.toUpstream(&r, c)
	case config.DestDefined:
		if r.To, err = p.ends.destination(c.Dest.Name); err == nil {
			r.To, r.GRPC = p.ends.before(r.To, c), proxy.Switch(c.GRPC)
		}
	case config.DestRedirect:
		if r.To, err = proxy.Redirect(c.Dest.Location, c.Dest.Status); err != nil {
			err = fmt.Errorf("route %s: %w", c.Name, err)
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
	return r, err
}

// toUpstream makes the upstream of c the destination of r. A route of gRPC speaks HTTP/2 to its backends. Where the
// listener decides whether there is gRPC, only requests of that type do.
func (p *routes) toUpstream(r *proxy.Route, c *config.Route) (err error) {
	u := &p.reload.config.Upstreams[c.Dest.Upstream]
	if u.Template != "" {
		return p.ends.lead(r, c, u)
	}
	if r.To, err = p.ends.leadTo(u, c, c.GRPC == config.On); err != nil {
		return err
	}
	r.To, r.Timeout = p.ends.before(r.To, c), cmp.Or(r.Timeout, u.Timeouts.Total)
	r.GRPC = proxy.Switch(c.GRPC)
	if r.GRPC == proxy.ByListener && anyGRPC(p.reload.config) && (u.Protocol != "h2" || u.Failover != "") {
		r.GRPCTo, err = p.ends.leadTo(u, c, true)
	}
	return err
}

func anyGRPC(c *config.Config) bool {
	return slices.ContainsFunc(c.Listeners, func(l config.Listener) bool { return l.GRPC })
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

// pagesOf makes the pages of a key error_pages, and of rest for what they have none for; nil where there are none.
func pagesOf(list []config.ErrorPage, rest *page.Set) (*page.Set, error) {
	if len(list) == 0 {
		return rest, nil
	}
	s := &page.Set{Else: rest}
	for i := range list {
		c := &list[i]
		body, err := c.Read()
		if err != nil {
			return nil, err
		}
		p, err := page.New(c.Type, body)
		if err != nil {
			return nil, err
		}
		if err := s.Add(c.For, p); err != nil {
			return nil, err
		}
	}
	return s, nil
}
