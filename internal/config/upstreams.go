package config

import (
	"strings"

	"github.com/edge-proxy/edge/internal/base/yield"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/lang"
)

func (r *resolver) resolveUpstreams() {
	for i := range yield.Over(len(r.doc.upstreams)) {
		e := r.doc.upstreams[i]
		if !validUpstreamName(e.Name) {
			r.rep.Errorf(e.Node().Name, "", "the name of an upstream has letters, digits, \"_\", \"-\" and \".\" alone")
		}
		r.file.Fill(e)
		r.resolveProtocol(e)
		checkHeadSize(r.rep, &e.Given, "limits.field_size", e.Limits.FieldSize, e.Limits.HeaderSize)
		checkBalancing(r, &e.Given, e.LoadBalancing, e.HashKey, lang.Content)
		if e.Has("slow_start") || e.Has("load_balancing") {
			checkSlowStart(r, e)
			checkHedge(r, e)
		}
		checkSticky(r, e)
		e.Outlier.On = e.HasAny("outlier.") || r.doc.defaults.HasAny("outlier.")
		for i, text := range e.Discovery.Sources {
			checkSource(r, text, e.ElementAt("discover", i, len(e.Discovery.Sources)))
		}
		e.Features = r.features(e)
		u := r.namedUpstream(e.Name, e.Node().Head)
		pos := u.Pos
		*u = e.Upstream
		u.Pos = pos
		for _, b := range e.backends {
			r.file.Fill(b)
			r.requireAddress(b)
			checkTier(r, b)
			r.requireServerName(b, u)
			u.add(b)
		}
	}
}

// resolveMembers adds the [[load_balancing.backends]] to the upstreams that they name.
func (r *resolver) resolveMembers() {
	for _, e := range r.doc.members {
		r.file.Fill(e)
		r.requireAddress(&e.backendEntry)
		checkTier(r, &e.backendEntry)
		names := []string{e.Name, e.Upstream}
		if !e.Has("upstream") {
			names[1] = defaultUpstream
		}
		for i, name := range names {
			if name == "" || i > 0 && name == names[0] {
				continue
			}
			if !validUpstreamName(name) {
				r.rep.Errorf(e.At([]string{"name", "upstream"}[i]), "",
					"the name of an upstream has letters, digits, \"_\", \"-\" and \".\" alone")
				continue
			}
			u := r.namedUpstream(name, e.Node().Head)
			r.requireServerName(&e.backendEntry, u)
			u.add(&e.backendEntry)
		}
	}
}

// namedUpstream returns the upstream with that name, made from the defaults when it is new. Borrowed until the next one
// is made.
func (r *resolver) namedUpstream(name string, at syntax.Span) *Upstream {
	i, found := r.names[name]
	if !found {
		i = r.newUpstream(name, at)
		r.names[name], r.named[name] = i, at
	}
	return &r.c.Upstreams[i]
}

// newUpstream adds an upstream with the defaults to the Config and returns its index.
func (r *resolver) newUpstream(name string, at syntax.Span) int {
	u := r.doc.defaults.Upstream
	u.Name, u.Pos = name, at.Pos()
	u.Outlier.On = r.doc.defaults.HasAny("outlier.")
	r.c.Upstreams = append(r.c.Upstreams, u)
	return len(r.c.Upstreams) - 1
}

// add adds a backend. One of weight 0 is left out, since it takes no request. An upstream without backends answers 503.
func (u *Upstream) add(e *backendEntry) {
	if e.Weight == 0 && !e.Failed("weight") {
		return
	}
	b := Backend{Host: e.Address.Host, Port: e.Address.Port, Unix: e.Address.Unix, Weight: e.Weight, Backup: e.Backup,
		Tier: e.Tier, Zone: e.Zone, Pos: e.Node().Head.Pos()}
	if b.Backup && b.Tier == 0 {
		b.Tier = backupTier
	}
	u.Backends = append(u.Backends, b)
}

func (r *resolver) requireAddress(e *backendEntry) {
	if e.Lacks("address") {
		r.rep.Errorf(e.Node().Head, `add address = "host:port"`, "this backend has no address")
	}
}

// requireServerName reports a backend whose certificate is to be verified and for which there is no name.
func (r *resolver) requireServerName(e *backendEntry, u *Upstream) {
	if e.Address.Unix != "" && u.TLS.On && u.TLS.Verify && u.TLS.SNI == "" {
		r.rep.Errorf(e.At("address"), "add sni = \"host\" to its tls",
			"the certificate of %s has to have a name, and a path is none", syntax.Quote(e.Address.String()))
	}
}

// requireBackends reports upstreams that no table gives a backend.
func (r *resolver) requireBackends() {
	for _, e := range r.doc.upstreams {
		list := e.Node().Child("backends")
		// What is wrong with the list was reported.
		wrong := e.HasUnknown() || list != nil && (list.Kind != syntax.KindList || len(list.Children) > 0)
		if len(r.c.Upstreams[r.names[e.Name]].Backends) == 0 && !e.Has("discover") && !wrong {
			r.rep.Errorf(e.Node().Head, `add backends = [{ address = "host:port" }]`,
				"upstream %q has no backends", e.Name)
		}
	}
}

// resolveProtocol decides the version of HTTP, and whether there is TLS, of an upstream or of the defaults.
func (r *resolver) resolveProtocol(e *upstreamEntry) {
	if e.Has("tls.alpn") && !e.Failed("tls.alpn") {
		protocol := "auto"
		if len(e.ALPN) == 1 {
			protocol = map[string]string{"h2": "h2", "http/1.1": "h1"}[e.ALPN[0]]
		}
		if e.Has("protocol") && e.Protocol != protocol && !e.Failed("protocol") {
			at, first := e.At("tls.alpn"), e.At("protocol")
			r.rep.Conflictf(at, first, "", "alpn and the protocol at %s do not go together", first.RelativeTo(at))
		}
		e.Protocol = protocol
	}
	if e.Has("tls.key") && e.Lacks("tls.cert") {
		r.rep.Errorf(e.Head("tls.key"), "add cert", "there is no certificate for this key")
	}
	if e.Has("tls.cert") && !e.Has("tls.key") {
		e.TLS.Key = "" // it is in the file of this certificate; the key of the defaults belongs to another one
	}
	if e.Has("tls.verify") && !e.TLS.Verify && !e.Failed("tls.verify") {
		r.rep.Warnf(codeWeakTLS, e.At("tls.verify"), "", "the certificates of these backends are not verified")
	}
	if e != r.doc.defaults && !e.Has("tls") {
		e.TLS.On = e.TLS.On || e.HasAny("tls.")
	}
}

// validUpstreamName reports whether s may name an upstream. No name is an address, so that a dest has one meaning.
func validUpstreamName(s string) bool {
	return len(s) <= 128 && syntax.IsBareKey(strings.ReplaceAll(s, ".", "_"))
}

// warnUnusedUpstreams warns of [upstreams.NAME] that no route leads to: a dest may misspell the name. Upstreams of
// [[load_balancing.backends]] are left out: they have names whether a dest needs them or not. A filter of the program
// or of a module may choose any.
func (r *resolver) warnUnusedUpstreams() {
	if !r.rep.OK() || r.choosing {
		return
	}
	http, relays := r.c.usedUpstreams(r.leads)
	for _, e := range r.doc.upstreams {
		if !http[e.Name] && !relays[e.Name] {
			r.rep.Warnf(codeUnusedUpstream, e.Node().Head, "", "no route goes to upstream %q", e.Name)
		}
	}
}
