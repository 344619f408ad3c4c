package caching

import (
	"net/netip"
	"os"
	"slices"

	"github.com/edge-proxy/edge/internal/base/safeopen"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/plugin/tags"
	"github.com/edge-proxy/edge/lang"
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

// resolveRule notes which keys of cache a rule names: its values for the others count for nothing.
func resolveRule(doc *schema.Document, t schema.Target) {
	e := t.(*entry)
	e.resolveQuery(doc.Report)
	for _, k := range schema.SectionOf(e).Keys {
		if e.Has(k.Path) {
			e.named = append(e.named, k.Path)
		}
	}
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
	k.checkDisk()
	k.warnPurge()
	all := schema.Only[*entry](c.Features)
	k.complete(all, nil)
	some := func(path string) bool { return len(doc.Entries(path)) > 0 }
	if !all.Enabled && !some(routesPath) && !slices.ContainsFunc(rulePaths, some) {
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
		for _, e := range k.rules(r.Rules, []*config.Route{r}) {
			k.checkDest(r, e, routes[r.Pos])
		}
		if k.rep.OK() {
			k.warnSticky(r, own, routes[r.Pos])
		}
	}
	k.rulesBefore()
}

// rulesBefore completes and checks the entries of rules that run before a route is chosen.
func (k *checker) rulesBefore() {
	rest, needed := k.c.Rest()
	var routes []*config.Route
	for i := range k.c.Routes {
		routes = append(routes, &k.c.Routes[i])
	}
	if needed {
		routes = append(routes, &rest)
	}
	lists := [][]config.Rule{k.c.Rules}
	for i := range k.c.Listeners {
		lists = append(lists, k.c.Listeners[i].Rules)
	}
	leads := func(r *config.Route) bool { return leadsToBackends(k.c, r) }
	for _, list := range lists {
		for _, e := range k.rules(list, routes) {
			if e.Enabled && !slices.ContainsFunc(routes, leads) {
				k.warnNoBackend(e)
			}
		}
	}
}

// rules completes the entries of a list of rules, which requests of routes may meet, and returns them.
func (k *checker) rules(list []config.Rule, routes []*config.Route) (all []*entry) {
	for i := range list {
		e := ofRule(&list[i])
		if e == nil {
			continue
		}
		all = append(all, e)
		k.compileKey(e)
		timed := func(r *config.Route) bool { return entryOf(k.c, r).TTL != nil }
		k.warn(e, slices.ContainsFunc(routes, timed))
		if e.Enabled && list[i].Dest != "" {
			k.rep.Warnf(schema.CodeNoEffect, e.Node().Head, "write a route with that dest",
				"a request that a rule leads to another dest has no cache")
		}
	}
	return all
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

// checkDisk notes where the folder of the disk is named, and tries it: the next start would refuse it.
func (k *checker) checkDisk() {
	const path, size = "disk.path", "disk.size"
	of := Of(k.c)
	if of.Has(path) {
		of.diskAt = of.At(path).Pos()
		uid, folder := os.Geteuid(), k.c.Global.FromWorkingDirectory(of.DiskPath)
		if id, err := k.c.Global.Identity(); err == nil && id != nil && id.UID >= 0 {
			uid = id.UID
		} else if uid == 0 {
			uid = -1 // root may look for the service of another user
		}
		if err := safeopen.CheckFolder(folder, uid); k.doc.Looks && Any(k.c) && err != nil {
			k.rep.Errorf(of.At(path), "", "the disk of the cache: %v", err)
		}
	} else if of.Has(size) {
		k.rep.Warnf(schema.CodeNoEffect, of.Head(size), `add path = "/var/cache/edge"`,
			"the disk of [cache] has no path")
	}
}

// DiskPos returns where the file names the folder of the disk.
func (c *Cache) DiskPos() config.Pos { return c.diskAt }

// warnPurge warns of a cache that any client may purge.
func (k *checker) warnPurge() {
	of := Of(k.c)
	if slices.ContainsFunc(of.PurgeFrom, func(p netip.Prefix) bool { return p.Bits() == 0 }) {
		k.rep.Warnf(codePurge, of.Head("purge.allow"), `write the addresses of those who publish, such as "127.0.0.1"`,
			"any client may end what is stored, by the method PURGE")
	}
}

// complete compiles the key of e, or takes it over from [defaults], and warns of values that the file gives e. defaults
// is nil where e is the entry of [defaults].
func (k *checker) complete(e, defaults *entry) {
	if k.compileKey(e); !e.Has("key") && defaults != nil {
		e.Key = defaults.Key
	}
	k.warn(e, false)
}

// compileKey compiles the key that the file gives e.
func (k *checker) compileKey(e *entry) {
	n := e.KeyNode("key")
	if n == nil || e.Failed("key") {
		return
	}
	nodes := n.Children
	if n.Kind == syntax.KindString {
		nodes = []*syntax.Node{n}
	}
	for _, one := range nodes {
		k.compile(e, one)
	}
}

// warn warns of values that the file gives e. timed says that it may have a ttl from elsewhere.
func (k *checker) warn(e *entry, timed bool) {
	if e.Enabled && e.Has("cookies") && e.Cookies == "ignore" {
		k.rep.Warnf(codeCookies, e.Head("cookies"), "",
			`cookies = "ignore": an answer to one visitor's cookies is given to all`)
	}
	if e.Has("obey") && e.Obey == "ttl" && e.TTL == nil && !e.Failed("ttl") && !timed {
		k.rep.Warnf(schema.CodeNoEffect, e.Head("obey"), `add ttl = "5m"`, "there is no ttl that could count first")
	}
}

// compile adds a template to the key of e.
func (k *checker) compile(e *entry, n *syntax.Node) {
	t := k.c.Language.Template(k.rep, n, lang.Request)
	switch {
	case t == nil:
		return
	case t.NamesMatch(): // the key is made when the request is about to be sent
		k.rep.Errorf(n.Value, `set a text in a rule, set = { id = "{match.1}" }, and write "{local.id}"`,
			"the key of an answer does not know the groups of a condition")
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
		k.warnNoBackend(own)
	case dest != nil && r.Dest.Upstream < len(k.c.Upstreams) && k.c.Upstreams[r.Dest.Upstream].Template == dest.Text:
		k.rep.Errorf(own.Node().Head, "write a route for each of the destinations",
			"a dest with variables cannot be cached: its answers would meet under one key")
	}
}

func (k *checker) warnNoBackend(e *entry) {
	k.rep.Warnf(schema.CodeNoEffect, e.Node().Head, "", "%q is for what goes to a backend", "cache")
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
