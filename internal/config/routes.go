package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/internal/base/yield"
	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/exchange/location"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/lang"
)

// resolveRoutes adds the routes to the Config, in the order of the file.
func (r *resolver) resolveRoutes() {
	inOrder(r.doc.routes)
	names, made := make(map[string]syntax.Span), make(map[string]int)
	r.c.Routes = slices.Grow(r.c.Routes, len(r.doc.routes)) // a Route is large, and there may be thousands
	for i := range yield.Over(len(r.doc.routes)) {
		e := r.doc.routes[i]
		r.file.Fill(e)
		e.Entry, e.Pos = i, e.Node().Head.Pos()
		if e.Has("websocket") {
			e.WebSocket = switchOf(e.WebSocketKey)
		}
		if e.Has("grpc") {
			e.GRPC = switchOf(e.GRPCKey)
		}
		if e.Has("when") && !e.Failed("when") {
			e.When = r.c.Language.Condition(r.rep, e.KeyNode("when"), lang.Request)
		}
		resolveLogging(r, &e.Given, "access_log.", &e.AccessLog.Logging)
		e.Features = r.features(e)
		e.Rules = rulesOf(r, schema.Inside(e), e.phase())
		e.ErrorPages = e.Errors.pages
		warnPointlessIntercept(r, e)
		right := !e.HasUnknown() && (e.When != nil || !e.Has("when"))
		e.Off = e.Has("weight") && !e.Failed("weight") && e.Weight == 0
		e.on = r.listenersOf(e)
		checkRouteFilters(r, e)
		r.resolveDest(e)
		r.checkRewrite(e)
		compileFields(r, e, "headers.request", e.RequestHeaders, e.phase())
		compileFields(r, e, "headers.response", e.ResponseHeaders, lang.Answer)
		r.warnPointlessKeys(e)
		warnPointlessAllow(r, e)
		warnPointlessPriority(r, e)
		r.warnDroppedFields(e)
		if e.Has("load_balancing") && e.Dest.Kind != DestUpstream {
			r.rep.Errorf(e.Head("load_balancing"), "", "load_balancing is for what goes to a backend")
		}
		if e.Dest.Kind == DestUpstream && len(r.c.Upstreams) > 0 {
			of := r.c.Upstreams[e.Dest.Upstream].LoadBalancing
			checkBalancing(r, &e.Given, cmp.Or(e.LoadBalancing, of), e.HashKey, e.phase())
		}
		patterns, ok := r.patternsOf(e)
		if e.Has("name") {
			r.requireUniqueName(names, e.Name, e.At("name"), "route")
		}
		for _, p := range patterns {
			one := e.Route
			if right && ok && !e.Off {
				one.Shadowed = r.warnShadowed(e, p)
			}
			one.Host, one.Path = p.Host, p.Path
			if p.Exact {
				one.PathKind = PathExact
			}
			if one.Name == "" {
				one.Name = cmp.Or(e.Pattern, value.PatternText(p))
				id := one.Name + " " + one.Host
				if made[id]++; made[id] > 1 {
					one.Name += " #" + strconv.Itoa(made[id])
				}
			}
			r.c.Routes = append(r.c.Routes, one)
		}
	}
}

// patternsOf returns what the route matches, one pattern for each of its hosts.
func (r *resolver) patternsOf(e *routeEntry) (all []route.Pattern, ok bool) {
	switch {
	case e.Failed("pattern") || e.Failed("host") || e.Failed("path"):
		return nil, false
	case e.Has("pattern"):
		for _, other := range []string{"host", "path"} {
			if e.Has(other) {
				at, first := e.At(other), e.At("pattern")
				r.rep.Conflictf(at, first, "leave one of them out", "%q and the pattern at %s exclude each other",
					other,
					first.RelativeTo(at))
				return nil, false
			}
		}
		p, wrong, hint := value.ParsePattern(e.Pattern)
		if wrong != "" {
			r.rep.Errorf(e.At("pattern"), hint, "%s", wrong)
		} else {
			value.WarnPatternVariables(r.rep, p.Path, e.At("pattern"))
		}
		return []route.Pattern{p}, wrong == ""
	case !e.Has("host") && !e.Has("path"):
		some, right := false, true
		for _, k := range []string{"listener", "client_cert", "methods", "header", "query", "when"} {
			some, right = some || e.Has(k), right && !e.Failed(k)
		}
		if some {
			return []route.Pattern{{Path: "/"}}, right
		}
		if !e.HasUnknown() {
			r.rep.Errorf(e.Node().Head, `add pattern = "/*" for everything`, "this route has no pattern")
		}
		return nil, false
	}
	return r.hostsAndPath(e)
}

// hostsAndPath returns what a route with host and path in place of a pattern matches.
func (r *resolver) hostsAndPath(e *routeEntry) (all []route.Pattern, ok bool) {
	base := route.Pattern{Path: "/"}
	ok = true
	if e.Has("path") {
		p, wrong, hint := value.ParsePath(e.PathText)
		if wrong != "" {
			r.rep.Errorf(e.At("path"), hint, "%s", wrong)
			ok = false
		} else {
			value.WarnPatternVariables(r.rep, p.Path, e.At("path"))
		}
		base = p
	}
	if !e.Has("host") {
		return []route.Pattern{base}, ok
	}
	if len(e.Hosts) == 0 {
		r.rep.Errorf(e.At("host"), "leave it out for any host", "\"host\" must not be empty")
		return nil, false
	}
	for _, h := range e.Hosts {
		host, wrong, hint := value.ParseHost(h, "")
		base.Host = host
		if wrong != "" {
			r.rep.Errorf(e.At("host"), hint, "%s", wrong)
			ok = false
		} else if slices.Contains(all, base) {
			r.rep.Errorf(e.At("host"), "leave one of them out", "host %q is there twice", h)
			ok = false
		}
		all = append(all, base)
	}
	return all, ok
}

// hostSpan returns where the host of the route stands.
func (e *routeEntry) hostSpan() syntax.Span {
	if e.Has("host") {
		return e.At("host")
	}
	return e.At("pattern")
}

// patternTaken is the first route with a pattern and conditions.
type patternTaken struct {
	at     syntax.Span
	weight bool // it has a weight, so that others share its requests
}

// warnShadowed reports whether an earlier route, equal in pattern and conditions, takes every request of this one, and
// warns of that.
func (r *resolver) warnShadowed(e *routeEntry, p route.Pattern) bool {
	rule := route.Rule{
		Host: p.Host, Path: p.Path, Exact: p.Exact, Methods: e.Methods, Header: e.Header, Query: e.Query,
		Listeners: e.Listeners, ClientCert: e.ClientCert, When: e.When,
	}
	conditions := rule.Conditions()
	key := rule.Pattern() + " " + conditions
	old, found := r.patterns[key]
	if !found {
		r.patterns[key] = patternTaken{e.Node().Head, e.Weight > 0}
		return false
	}
	if old.weight && e.Weight > 0 {
		return false
	}
	what, why := "this route can never match", "the same pattern"
	if len(e.Hosts) > 1 {
		what += " for " + p.Host
	}
	if conditions != "" {
		why += " and conditions"
	}
	switch {
	case old.weight:
		why += ", and this one has no weight"
	case e.Weight > 0:
		why += " and no weight"
	}
	r.rep.WarnConflictf(codeShadowedRoute, e.Node().Head, old.at, "%s: %s at %s has %s",
		what, value.PatternText(p), old.at.RelativeTo(e.Node().Head), why)
	return true
}

// resolveDest decides where the requests of a route go, by its dest or its redirect.
func (r *resolver) resolveDest(e *routeEntry) {
	switch {
	case e.Has("redirect.to") && e.Has("dest"):
		at, first := e.At("redirect.to"), e.At("dest")
		r.rep.Conflictf(at, first, "leave one of them out", "a redirect and the dest at %s exclude each other",
			first.RelativeTo(at))
	case e.Has("redirect.to"):
		if !e.Failed("redirect.to") && !e.Failed("redirect.status") {
			e.Dest = redirectTo(r, e.KeyNode("redirect.to"), 0, e.RedirectStatus, e.phase())
		}
		if s := e.RedirectStatus; !slices.Contains(redirectStatuses, s) && !e.Failed("redirect.status") {
			r.rep.Errorf(e.At("redirect.status"), "the default is 308",
				"the status of a redirect is 301, 302, 303, 307 or 308")
		}
	case e.Has("redirect.status"):
		if e.Failed("redirect.status") {
			return
		}
		r.rep.Errorf(e.At("redirect.status"), `add to = "https://example.com{path}"`, "this redirect leads nowhere")
	case e.Lacks("dest"):
		r.rep.Errorf(e.Node().Head, `add dest = "host:port", or the name of an upstream`, "this route has no dest")
	case e.Has("dest") && !e.Failed("dest") && namesItself(e.DestText):
		e.Dest = namedByRequests(r, e)
		return
	case strings.HasPrefix(e.DestText, redirectPrefix) && !e.Failed("dest"):
		status := edge().Section("routes").Default("redirect.status").(int)
		e.Dest = redirectTo(r, e.KeyNode("dest"), len(redirectPrefix), status, e.phase())
	case e.Has("dest") && !e.Failed("dest"):
		e.Dest = r.parseDest(e.DestText, e.At("dest"))
	}
}

// forBackends are the keys that mean nothing when a route does not lead to a backend.
var forBackends = []string{
	"rewrite_location", "buffer_request", "websocket", "grpc", "upgrades", "headers.request",
	"timeouts.first_byte", "timeouts.read", "timeouts.idle", "intercept_errors",
}

// warnPointlessKeys warns of such keys. They are no error: a dest may become a status for a while.
func (r *resolver) warnPointlessKeys(e *routeEntry) {
	if e.Dest.sends() {
		return
	}
	for _, path := range forBackends {
		if e.Has(path) {
			r.rep.Warnf(schema.CodeNoEffect, e.Head(path), "", "%q is for what goes to a backend", path)
		}
	}
}

// warnDroppedFields warns of conditions on fields that every listener drops.
func (r *resolver) warnDroppedFields(e *routeEntry) {
	passes := func(l Listener) bool { return l.Underscores == "pass" }
	if slices.ContainsFunc(r.c.Listeners, passes) {
		return
	}
	for _, c := range e.Header {
		if strings.Contains(c.Name, "_") {
			r.rep.Warnf(schema.CodeNoEffect, e.At("header"), `a listener with underscores = "pass" lets it pass`,
				"this condition never holds: no listener lets the field %s pass", syntax.Quote(c.Name))
		}
	}
}

func readsBody(e *routeEntry) bool { return e.ReadBody > 0 }

// warnUnread warns of filters and keys that look at the body of requests whose route does not read it: of each once.
func (doc *document) warnUnread(rep *syntax.Report, c *Config) {
	told := make(map[string]bool)
	for _, e := range doc.routes {
		if readsBody(e) {
			continue
		}
		warn := func(what string) {
			if !told[what] {
				const hint = `add read_body = "64k" to this route, or leave it out here`
				rep.Warnf(schema.CodeNoEffect, e.Node().Head, hint,
					"%s looks at the body, which this route does not read", what)
			}
			told[what] = true
		}
		names := plugins.FiltersBefore(nil, c.Filters)
		for _, l := range e.on {
			names = slices.Concat(names, l.Filters)
		}
		own, off := plugins.SplitFilters(e.Filters)
		for _, name := range slices.Concat(names, own) {
			if d := c.Find(plugin.Filters, name); d != nil && d.Body && !slices.Contains(off, name) {
				warn("the filter " + syntax.Quote(name))
			}
		}
		if e.Dest.Kind == DestUpstream && len(c.Upstreams) > 0 {
			u := &c.Upstreams[e.Dest.Upstream]
			key, err := c.Language.Scope().Template(cmp.Or(e.HashKey, u.HashKey).Text(), lang.Content)
			if err == nil && key.NamesBody() {
				warn("hash_key of the upstream " + syntax.Quote(u.Name))
			}
		}
	}
}

var redirectStatuses = []int{301, 302, 303, 307, 308}

func (r *resolver) checkRewrite(e *routeEntry) {
	for _, name := range []string{"strip_prefix", "add_prefix", "path"} {
		path := "rewrite." + name
		if !e.Has(path) || e.Failed(path) {
			continue
		}
		at, text := e.At(path), e.Value(path).(string)
		value.WarnForeignVariables(r.rep, e.KeyNode(path), value.TemplateVariables())
		if name == "path" {
			rewriteTo(r, e)
		}
		switch {
		case name == "path" && (e.Has("rewrite.strip_prefix") || e.Has("rewrite.add_prefix")):
			r.rep.Errorf(at, "leave one of them out", "a rewrite has either a path or prefixes")
		case name != "path" && !strings.HasPrefix(text, "/"):
			r.rep.Errorf(at, "did you mean "+syntax.Quote("/"+text)+"?", "a prefix begins with \"/\"")
		case name != "path" && (!location.ValidPrefix(text) || strings.ContainsAny(text, "{}?*")):
			r.rep.Errorf(at, "", "a prefix stands as it is sent: no variables, no \"?\", the rest percent-encoded")
		case name == "strip_prefix" && route.NormalPath(text) != text:
			r.rep.Warnf(schema.CodeNoEffect, at, "did you mean "+syntax.Quote(route.NormalPath(text))+"?",
				"routes see a path in its normal form, where no prefix is %s", syntax.Quote(text))
		}
	}
	if e.Rewrite != (Rewrite{}) && !e.Dest.sends() {
		for _, name := range []string{"rewrite.strip_prefix", "rewrite.add_prefix", "rewrite.path"} {
			if e.Has(name) {
				r.rep.Errorf(e.Head(name), "leave it out", "a rewrite is for what goes to a backend")
				break
			}
		}
	}
}

// rewriteTo compiles the path that backends see.
func rewriteTo(r *resolver, e *routeEntry) {
	e.Rewrite.Path = r.c.Language.Template(r.rep, e.KeyNode("rewrite.path"), e.phase())
	if e.Rewrite.Path == nil {
		return
	}
	if _, err := location.Path(e.Rewrite.Path); err != nil {
		r.rep.Errorf(e.At("rewrite.path"), "", "rewrite to %s: %v", syntax.Quote(e.Rewrite.Path.String()), err)
	}
}

func compileFields(r *resolver, e *routeEntry, key string, list []Header, in lang.Phases) {
	if !e.Has(key) {
		return
	}
	made := make(map[string]*lang.Template)
	for _, n := range e.KeyNode(key).Children { // also of a table that has something else that is wrong
		if n.Kind == syntax.KindString && n.Text != "" {
			made[n.Key] = r.c.Language.Field(r.rep, n, in)
		}
	}
	for i := range list {
		list[i].Template = made[list[i].Name]
	}
}

func switchOf(on bool) Switch {
	if on {
		return On
	}
	return Off
}
