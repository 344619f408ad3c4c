package config

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/forward/sticky"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
)

// balancingSynonyms are other words for methods of balancing.
var balancingSynonyms = map[string]string{
	"weighted": "round_robin", "weighted_round_robin": "round_robin", "least_connections": "least_conn",
	"hash": "ketama", "consistent": "ketama",
}

// The types of the keys of sticky. The comment after each is the Go type of its values.
var (
	typeCookieName = schema.Type{Name: "name of a cookie", Parse: parseCookieName} // string
	typeSecrets    = schema.Type{Name: "secret or list of two", Parse: schema.FilledListOf("a secret", secretOf)}
)

func parseCookieName(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindString && n.Text == "" {
		return "", true // not the entry of the defaults
	}
	s, ok := d.String(n, "the name of a cookie")
	if ok && !message.ValidName(s) {
		d.Report.Errorf(n.Value, `a name has letters, digits, "_" and "-"`, "%s is not the name of a cookie",
			syntax.Quote(s))
		return nil, false
	}
	return s, ok
}

// secretOf reads a secret, and does not repeat it.
func secretOf(before []string, s string) (secret, wrong, hint string) {
	switch {
	case len(s) < sticky.SecretMin:
		return s, fmt.Sprintf("a secret has %d bytes or more, this has %d", sticky.SecretMin, len(s)),
			"make one with openssl rand -base64 32"
	case slices.Contains(before, s):
		return s, "this secret is there already", ""
	case len(before) == sticky.SecretsMax:
		return s, fmt.Sprintf("there are %d secrets at most", sticky.SecretsMax),
			"the first signs, the second is believed until its cookies have ended"
	}
	return s, "", ""
}

// checkSticky warns of keys of sticky that have no cookie.
func checkSticky(r *resolver, e *upstreamEntry) {
	if e.Sticky.Cookie != "" || e.Failed("sticky.cookie") {
		return
	}
	for _, key := range []string{"sticky.ttl", "sticky.secret"} {
		if e.Has(key) && !e.Failed(key) {
			r.rep.Warnf(schema.CodeNoEffect, e.Head(key), `add cookie = "edge_sid" to sticky`,
				"no cookie keeps the clients of upstream %q at their backends", e.Name)
			return
		}
	}
}

// warnSharedCookies warns of cookies by which a client that asks for one host is kept in two upstreams: each of them
// replaces the cookie of the other one.
func warnSharedCookies(r *resolver) {
	if !r.rep.OK() {
		return
	}
	type place struct{ host, cookie string }
	first := make(map[place]*Upstream)
	shares := func(host string, u *Upstream) bool {
		at := place{host, u.Sticky.Cookie}
		other := cmp.Or(first[at], first[place{"", at.cookie}])
		if first[at] == nil {
			first[at] = u
		}
		if at.cookie == "" || other == nil || other == u {
			return false
		}
		r.rep.Warnf(codeSharedCookie, madeAt(r, u), "give one of them another name of a cookie",
			"upstream %q and upstream %q both set the cookie %q: a client of both loses its backend each time",
			other.Name, u.Name, at.cookie)
		return true
	}
	for i := range r.c.Routes {
		one := &r.c.Routes[i]
		if one.Dest.Kind != DestUpstream || one.Off || one.Shadowed {
			continue
		}
		for u := &r.c.Upstreams[one.Dest.Upstream]; u != nil; u = r.c.Upstream(u.Failover) {
			if shares(one.Host, u) {
				return
			}
		}
	}
}

// madeAt returns where u is made.
func madeAt(r *resolver, u *Upstream) syntax.Span {
	if at, named := r.named[u.Name]; named {
		return at
	}
	return r.doc.defaults.Head("sticky.cookie") // a dest that spells an upstream out has no other cookie
}

// The tiers of backends.
const (
	backupTier = 1 // of a backup
	tierMost   = 7
)

// checkTier reports a backup that is not of the tier of backups.
func checkTier(r *resolver, e *backendEntry) {
	if e.Backup && e.Has("tier") && e.Tier != backupTier && !e.Failed("tier") {
		at, first := e.At("tier"), e.At("backup")
		r.rep.Conflictf(at, first, "keep one of them", "backup at %s is tier 1", first.RelativeTo(at))
	}
}

// checkSlowStart reports a slow start that has no effect, since the method goes by a key.
func checkSlowStart(r *resolver, e *upstreamEntry) {
	if e.SlowStart <= 0 || !Hashes(e.LoadBalancing) || e.Failed("slow_start") || e.Failed("load_balancing") {
		return
	}
	for _, path := range []string{"slow_start", "load_balancing"} {
		if e.Has(path) { // else both are in [upstream_defaults], which is checked like an upstream
			r.rep.Warnf(schema.CodeNoEffect, e.At(path), "",
				"slow_start moves no key: load_balancing = %q goes by keys alone", e.LoadBalancing)
			return
		}
	}
}

// checkSpread reports keys of upstreams about zones and subsets that do not go together.
func checkSpread(r *resolver) {
	for _, e := range append([]*upstreamEntry{r.doc.defaults}, r.doc.upstreams...) {
		if e.Has("zones") && e.Zones != "off" && r.c.Global.Zone == "" && !e.Failed("zones") {
			r.rep.Warnf(schema.CodeNoEffect, e.At("zones"), `add zone = "…" to [global]`,
				"where this process runs is not known, so zones mean nothing")
		} else if e.Has("zones") && e.Zones != "off" && !e.Failed("zones") && e != r.doc.defaults {
			checkZones(r, e)
		}
		if e.Has("zone_share") && e.Zones != "prefer" && !e.Failed("zones") {
			r.rep.Warnf(schema.CodeNoEffect, e.At("zone_share"), `add zones = "prefer"`, "no zone is preferred")
		}
		if e.HasAny("subset.") {
			checkSubset(r, e)
		}
	}
}

// checkZones reports an upstream that has too few backends in the zone of this process. What sources find is not known.
func checkZones(r *resolver, e *upstreamEntry) {
	near := 0
	for _, b := range e.backends {
		if b.Failed("zone") {
			return
		}
		if b.Zone == r.c.Global.Zone {
			near++
		}
	}
	zone := syntax.Quote(r.c.Global.Zone)
	switch {
	case len(e.backends) == 0 || len(e.Discovery.Sources) > 0 || e.Failed("discover") || e.Failed("backends"):
	case e.Zones == "only" && near == 0:
		r.rep.Warnf(schema.CodeNoEffect, e.At("zones"), "add zone = "+zone+" to the backends that run there",
			"no backend is in zone %s, where this process runs: requests are answered 503", zone)
	case e.Zones == "prefer" && near < zoneLeast:
		r.rep.Warnf(schema.CodeNoEffect, e.At("zones"), "add zone = "+zone+" to the backends that run there",
			"zones mean nothing where fewer than %d backends are in zone %s", zoneLeast, zone)
	}
}

// zoneLeast is how many backends of the own zone have to be up before they are preferred.
const zoneLeast = 2

// checkSubset reports what is wrong with the subset of e, whose keys may stand in [upstream_defaults] too.
func checkSubset(r *resolver, e *upstreamEntry) {
	s := &e.Subset
	at := func(path string) syntax.Span {
		switch path = "subset." + path; {
		case e.Has(path):
			return e.At(path)
		case r.doc.defaults.Has(path):
			return r.doc.defaults.At(path)
		}
		return syntax.Span{}
	}
	has := func(path string) bool { return at(path) != syntax.Span{} }
	failed := func(path string) bool { return e.Failed("subset."+path) || r.doc.defaults.Failed("subset."+path) }
	least := 200 / max(100-e.Panic, 1) // where one backend down is no panic
	switch {
	case failed("size") || failed("index") || failed("of"):
	case s.Size == 0 && !has("size") && has("index"):
		r.rep.Warnf(schema.CodeNoEffect, at("index"), "add size = 20", "a subset without a size is all backends")
	case s.Size == 0 && !has("size"):
		r.rep.Warnf(schema.CodeNoEffect, at("of"), "add size = 20", "a subset without a size is all backends")
	case s.Size == 0:
	case has("index") && s.Of == 0:
		r.rep.Errorf(at("index"), "add of", "of how many processes is this one number %d?", s.Index)
	case has("index") && s.Index >= s.Of:
		r.rep.Errorf(at("index"), fmt.Sprintf("the last one of %d is %d", s.Of, s.Of-1),
			"no process has the number %d: the first one is 0", s.Index)
	case has("of") && !has("index"):
		r.rep.Errorf(at("of"), "add index", "this process has no number")
	case s.Size < least && !e.Has("subset.size"): // [upstream_defaults] has the warning
	case s.Size < least:
		r.rep.Warnf(codeSmallSubset, at("size"), "",
			"with a subset of %d, too few are left where one is down: at least %d should be used", s.Size, least)
	case s.Of > 0 && s.Size*s.Of < len(e.backends):
		r.rep.Warnf(codeSmallSubset, at("size"), "",
			"%d subsets of %d are fewer than %d backends: some get no requests", s.Of, s.Size, len(e.backends))
	}
}

// Hashes reports whether the method of that name chooses by a key.
func Hashes(method string) bool {
	m := balance.ByName(method)
	return m != nil && m.Hash != nil
}

// checkBalancing reports a method that there is not, and a key that has no effect, since the method does not look at
// one. given is the entry of an upstream or of a route, whose key is made in a phase.
func checkBalancing(r *resolver, given *schema.Given, method string, key value.HashKey, in lang.Phases) {
	names, _ := plugins.BalanceMethods.Names(r.file)
	if given.Has("load_balancing") && !given.Failed("load_balancing") &&
		!given.CheckChoice(r.rep, "load_balancing", names) {
		return
	}
	if !given.Has("hash_key") || given.Failed("hash_key") || given.Failed("load_balancing") || key.Of == "" {
		return
	}
	if key.Text() != "" && r.c.Language.Template(r.rep, given.KeyNode("hash_key"), in) == nil {
		return
	}
	hint := "add load_balancing = \"ketama\""
	switch {
	case method == "ip_hash" && key.Of != "client_ip":
		r.rep.Errorf(given.At("hash_key"), hint, "ip_hash chooses by the address of the client alone")
	case !Hashes(method) && !slices.Contains(names, method):
		r.rep.Warnf(schema.CodeNoEffect, given.At("hash_key"), hint, "load_balancing = %q does not look at a key",
			method)
	}
}
