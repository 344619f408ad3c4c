package caching

import (
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/plugin/tags"
)

// resolveDefaults completes cache of [defaults], whose entry exists without a table too.
func resolveDefaults(doc *schema.Document, t schema.Target) {
	e := t.(*entry)
	e.Enabled = e.Enabled && (e.Node() != nil || e.HasAny(""))
	e.resolveQuery(doc.Report)
}

// resolveRoute completes cache of a route. A table turns caching on there, whatever [defaults] says.
func resolveRoute(doc *schema.Document, t schema.Target) {
	e := t.(*entry)
	e.Enabled = e.Enabled || !e.Has("enabled")
	e.resolveQuery(doc.Report)
}

// resolveQuery drops the value of query.keep that comes from [defaults] where e gives query.drop, and the other way
// round.
func (e *entry) resolveQuery(rep *config.Report) {
	const drop, keep = "query.drop", "query.keep"
	switch {
	case e.Has(drop) && e.Has(keep):
		at, first := e.At(keep), e.At(drop)
		rep.Conflictf(at, first, "leave one of them out", "%q and %q at %s exclude each other", keep, drop,
			first.RelativeTo(at))
	case e.Has(drop):
		e.Keep = nil
	case e.Has(keep):
		e.Drop = nil
	}
}

// checker completes the entries of a file, and reports their mistakes.
// Owned by the goroutine that reads the file.
type checker struct {
	doc *schema.Document
	rep *config.Report
	c   *config.Config
}

// check completes and checks the entries of c.
func check(doc *schema.Document, c *config.Config) {
	k := checker{doc: doc, rep: doc.Report, c: c}
	k.checkMemory()
	all := schema.Only[*entry](c.Features)
	k.complete(all, nil)
	if !all.Enabled && len(doc.Entries(routesPath)) == 0 {
		return
	}
	routes := make(map[config.Pos]schema.Target)
	for _, t := range doc.Entries("routes") {
		routes[schema.GivenOf(t).Node().Head.Pos()] = t
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		if i > 0 && r.Entry == c.Routes[i-1].Entry {
			continue // it differs by its host alone
		}
		own := schema.Only[*entry](r.Features)
		if own != nil {
			k.complete(own, all)
			k.checkDest(r, own, routes[r.Pos])
		}
		if k.rep.OK() {
			k.warnSticky(r, own, routes[r.Pos])
		}
	}
}

// checkMemory refuses a cache that leaves the rest of the process less than half of its memory.
func (k *checker) checkMemory() {
	of, limit := Of(k.c), k.c.Global.MemoryLimit
	if limit > 0 && of.Memory > limit/2 && of.Has("memory") && !of.Failed("memory") {
		k.rep.Errorf(of.At("memory"),
			"write memory = "+syntax.Quote(tags.SizeText(limit/2>>20<<20))+", or a larger memory_limit",
			"memory of [cache] is %s, more than half of the %s that the process may use", tags.SizeText(of.Memory),
			tags.SizeText(limit))
	}
}

// complete compiles the key of e, or takes it over from [defaults], and warns of values that the file gives e. defaults
// is nil where e is the entry of [defaults].
func (k *checker) complete(e, defaults *entry) {
	if n := e.KeyNode("key"); n == nil && defaults != nil {
		e.Key = defaults.Key
	} else if n != nil && !e.Failed("key") {
		nodes := n.Children
		if n.Kind == syntax.KindString {
			nodes = []*syntax.Node{n}
		}
		for _, one := range nodes {
			k.compile(e, one)
		}
	}
	if e.Enabled && e.Has("cookies") && e.Cookies == "ignore" {
		k.rep.Warnf(codeCookies, e.Head("cookies"), "",
			`cookies = "ignore": an answer to one visitor's cookies is given to all`)
	}
	if e.Has("obey") && e.Obey == "ttl" && e.TTL == nil && !e.Failed("ttl") {
		k.rep.Warnf(schema.CodeNoEffect, e.Head("obey"), `add ttl = "5m"`, "there is no ttl that could count first")
	}
}

// compile adds a template to the key of e.
func (k *checker) compile(e *entry, n *syntax.Node) {
	t := k.c.Language.Template(k.rep, n, lang.Request)
	if t == nil {
		return
	}
	e.Key = append(e.Key, t)
	for _, source := range sources(t) {
		if of := ownOf[source]; of != "" && e.Enabled {
			k.rep.Warnf(codeKey, n.Value, "leave it out", "{%s} makes a key for every %s", source, of)
		}
	}
}

// checkDest reports a route that has a cache of its own and whose answers cannot be stored. at is the entry of r.
func (k *checker) checkDest(r *config.Route, own *entry, at schema.Target) {
	if !own.Enabled || leadsToBackends(k.c, r) {
		return
	}
	switch dest := schema.GivenOf(at).KeyNode("dest"); {
	case r.Dest.Kind != config.DestUpstream:
		k.rep.Warnf(schema.CodeNoEffect, own.Node().Head, "", "%q is for what goes to a backend", "cache")
	case dest != nil && r.Dest.Upstream < len(k.c.Upstreams) && k.c.Upstreams[r.Dest.Upstream].Template == dest.Text:
		k.rep.Errorf(own.Node().Head, "write a route for each of the destinations",
			"a dest with variables cannot be cached: its answers would meet under one key")
	}
}

// warnSticky warns of a cached route to an upstream that keeps clients at their backends by a cookie.
func (k *checker) warnSticky(r *config.Route, own *entry, at schema.Target) {
	if OfRoute(k.c, r) == nil || r.Dest.Kind != config.DestUpstream ||
		k.c.Upstreams[r.Dest.Upstream].Sticky.Cookie == "" {
		return
	}
	g := schema.GivenOf(at)
	if own != nil {
		g = &own.Given
	}
	k.rep.Warnf(codeSticky, g.Node().Head, "", "a stored answer gives no cookie of sticky")
}
