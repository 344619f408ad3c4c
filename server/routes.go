package server

import (
	_ "embed" // the hello page
	"fmt"
	"strings"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/upstream"
)

//go:embed hello.html
var helloPage string

const htmlType = "text/html; charset=utf-8"

// makeRoutes makes the upstreams and the routes of the configuration, and waits a moment for names that are new.
func (b *build) makeRoutes() error {
	var routes []proxy.Route
	taken := make(map[string]bool)
	add := func(r proxy.Route) {
		// Of two routes with one pattern the first wins; the check has warned of the other.
		id := fmt.Sprintf("%t %s %s", r.Exact, r.Host, strings.TrimSuffix(r.Path, "/"))
		if !taken[id] {
			taken[id] = true
			routes = append(routes, r)
		}
	}
	for i := range b.config.Routes {
		r, err := b.route(&b.config.Routes[i])
		if err != nil {
			return err
		}
		add(r)
	}
	if f := b.config.Fallback; f.Kind != config.DestStatus || f.Status != 404 {
		r, err := b.route(&config.Route{Name: "default", Path: "/", Dest: f})
		if err != nil {
			return err
		}
		add(r)
	}
	b.resolve()
	var err error
	b.snapshot, err = proxy.NewSnapshot(routes, nil)
	return err
}

func (b *build) route(c *config.Route) (proxy.Route, error) {
	r := proxy.Route{Name: c.Name, Host: c.Host, Path: c.Path, Exact: c.PathKind == config.PathExact}
	switch c.Dest.Kind {
	case config.DestUpstream:
		r.To = proxy.To(b.upstream(&b.config.Upstreams[c.Dest.Upstream], c.FirstByte, c.Read).Upstream)
	case config.DestStatus:
		r.To = proxy.Answer(c.Dest.Status, "text/plain; charset=utf-8", statusText(c.Dest.Status))
	case config.DestHello:
		r.To = proxy.Answer(200, htmlType, helloPage)
		r.Filters = append(r.Filters, proxy.SetFields(nil, map[string]string{"Content-Type": htmlType}))
	}
	if len(c.RequestHeaders) > 0 || len(c.ResponseHeaders) > 0 {
		r.Filters = append(r.Filters, proxy.SetFields(fields(c.RequestHeaders), fields(c.ResponseHeaders)))
	}
	var err error
	r.Log, err = b.logsOfRoute(c)
	return r, err
}

// statusText is the text of an answer that is nothing but a status. RFC 9110 §6.4.1: 204 and 304 have none.
func statusText(status int) string {
	if status == 204 || status == 304 {
		return ""
	}
	return fmt.Sprintf("%d %s\n", status, h1.Reason(status))
}

func fields(list []config.Header) map[string]string {
	m := make(map[string]string, len(list))
	for _, f := range list {
		m[f.Name] = f.Value
	}
	return m
}

// resolve waits for the first look-ups of the names that are new and lets their resolvers take over.
func (b *build) resolve() {
	b.lookups.Wait()
	for _, p := range b.unresolved {
		p.names = upstream.Resolve(p.Upstream, b.server.opts.Lookup)
	}
	b.unresolved = nil
}
