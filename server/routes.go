package server

import (
	_ "embed" // the hello page
	"fmt"
	"slices"
	"sync"

	"github.com/edge-proxy/edge/backend/admission"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/metering"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/yield"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/variables"
)

//go:embed hello.html
var helloPage string

const htmlType = "text/html; charset=utf-8"

// makeRoutes makes the upstreams and the routes of the configuration. It waits a moment for names of new upstreams.
func (b *build) makeRoutes() error {
	list := served(b.config)
	routes := make([]proxy.Route, 0, len(list)) // a Route is large, and there may be thousands
	b.untimed = metering.Untimed(len(list), metering.SectionOf(b.config).SeriesMax)
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
	filters, err := b.filters(b.config.Filters)
	if err != nil {
		return err
	}
	if b.snapshot, err = proxy.NewSnapshot(routes, filters); err != nil {
		return err
	}
	for name, d := range named {
		b.snapshot.Name(name, d)
	}
	return nil
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

// namedUpstreams returns the destinations that filters of the program may choose by name: the upstreams.
func (b *build) namedUpstreams() (map[string]proxy.Destination, error) {
	if len(b.server.opts.Filters) == 0 {
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
	return named, nil
}

// filters returns the filters of these names.
func (b *build) filters(names []string) (list []*proxy.Filter, err error) {
	for _, name := range names {
		f := b.server.opts.Filters[name]
		if f == nil { // the configuration was not parsed with the names that there are
			return nil, fmt.Errorf("no filter is called %q", name)
		}
		list = append(list, f)
	}
	return list, nil
}

// route makes one route.
func (b *build) route(c *config.Route) (r proxy.Route, err error) {
	if r, err = baseRoute(c); err != nil {
		return r, err
	}
	if c.Dest.Kind == config.DestUpstream {
		if err := b.toUpstream(&r, c); err != nil {
			return r, err
		}
	}
	named, err := b.filters(c.Filters)
	if err != nil {
		return r, fmt.Errorf("route %s: %w", c.Name, err)
	}
	r.Filters = append(named, r.Filters...)
	if r.Log, err = b.logsOfRoute(c); err != nil {
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
		r.Rewrite = &proxy.Rewrite{StripPrefix: c.Rewrite.StripPrefix, AddPrefix: c.Rewrite.AddPrefix}
		if c.Rewrite.Path != "" {
			if r.Rewrite.Path, err = textScope().Template(c.Rewrite.Path, lang.Request); err != nil {
				return r, fmt.Errorf("route %s: rewrite: %w", c.Name, err)
			}
		}
	}
	switch c.Dest.Kind {
	case config.DestRedirect:
		to, err := textScope().Template(c.Dest.Location, lang.Request)
		if err == nil {
			r.To, err = proxy.Redirect(to, c.Dest.Status)
		}
		if err != nil {
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
		request, err := fields(c.RequestHeaders, lang.Request)
		if err != nil {
			return r, fmt.Errorf("route %s: %w", c.Name, err)
		}
		response, err := fields(c.ResponseHeaders, lang.Answer)
		if err != nil {
			return r, fmt.Errorf("route %s: %w", c.Name, err)
		}
		r.Filters = append(r.Filters, proxy.SetFields(request, response))
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
	if r.Timeout == 0 {
		r.Timeout = u.Timeouts.Total
	}
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

// textScope is what texts of a configuration may name.
var textScope = sync.OnceValue(func() *lang.Scope {
	s, err := variables.Scope(lang.Names{})
	if err != nil {
		panic(err)
	}
	return s
})

// fields compiles the values of fields. Braces in them that begin no value stand for themselves.
func fields(list []config.Header, in lang.Phases) (map[string]*lang.Template, error) {
	m := make(map[string]*lang.Template, len(list))
	for _, f := range list {
		t, err := textScope().LooseTemplate(f.Value, in)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", f.Name, err)
		}
		m[f.Name] = t
	}
	return m, nil
}
