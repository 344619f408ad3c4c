package config

import (
	"cmp"
	"slices"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
)

// listenersOf checks the names of listeners in a route and returns these listeners: all of them when it names none.
func (r *resolver) listenersOf(e *routeEntry) []*listenerEntry {
	if !e.Has("listener") {
		return r.doc.listeners
	}
	if e.Failed("listener") {
		return nil
	}
	if len(e.Listeners) == 0 {
		r.rep.Errorf(e.At("listener"), "leave it out for all of them", "\"listener\" must not be empty")
	}
	var all []*listenerEntry
	for i, name := range e.Listeners {
		at := e.ElementAt("listener", i, len(e.Listeners))
		var found []*listenerEntry
		var names []string
		unsure := false
		for _, l := range r.doc.listeners {
			names = append(names, l.Name)
			unsure = unsure || l.Failed("name") || l.Name == ""
			if l.Name == name {
				found = append(found, l)
			}
		}
		switch {
		case slices.Contains(e.Listeners[:i], name):
			r.rep.Errorf(at, "", "listener %q is there twice", name)
		case len(found) > 1:
			other := found[1].Node().Head
			r.rep.Conflictf(at, other, "give each a name of its own",
				"several listeners are called %s, one of them at %s", syntax.Quote(name), other.RelativeTo(at))
		case len(found) == 0 && !unsure:
			r.rep.Errorf(at, syntax.DidYouMean(name, names), "there is no listener %s", syntax.Quote(name))
		}
		all = append(all, found...)
	}
	return all
}

// demandsCert reports whether the listener serves no client without a certificate.
func (e *listenerEntry) demandsCert() bool {
	return e.TLS != TLSOff && e.TLSOptions.ClientAuth == ClientAuthRequire && !e.relaxed
}

// verifiesCerts reports whether the listener checks certificates of clients against authorities.
func (e *listenerEntry) verifiesCerts() bool {
	return e.TLS != TLSOff && (e.ruled || e.TLSOptions.ClientCA != "" && e.TLSOptions.ClientAuth != ClientAuthNone)
}

// servesRequests reports whether the listener does anything but redirect. It serves what a trusted proxy was asked by
// https.
func (e *listenerEntry) servesRequests() bool {
	return e.TLS != TLSOff || !e.RedirectToHTTPS || len(e.Believed.Trusted.Networks) > 0 || e.Believed.Trusted.Unix
}

// demandingAndOpen returns a listener of list that demands a certificate and a listener that serves without, or nil for
// both when list has not one of each.
func demandingAndOpen(list []*listenerEntry) (demanding, open *listenerEntry) {
	for _, l := range list {
		switch {
		case l.demandsCert() && demanding == nil:
			demanding = l
		case l.demandsCert():
		case l.servesRequests() && open == nil:
			open = l
		}
	}
	if demanding == nil || open == nil {
		return nil, nil
	}
	return demanding, open
}

// warnUnguardedRoutes warns of routes to backends that are reached by a listener that demands certificates and by
// another one without that demand: they look guarded and are not. It also warns of routes that demand a certificate
// where no listener checks any.
func (r *resolver) warnUnguardedRoutes() {
	if !r.rep.OK() {
		return
	}
	const what = "clients without a certificate reach %s by listener %q, though %q asks for one"
	for _, e := range r.doc.routes {
		demanding, open := demandingAndOpen(e.on)
		switch {
		case e.Off:
		case e.ClientCert != nil && !slices.ContainsFunc(e.on, (*listenerEntry).verifiesCerts):
			r.rep.Warnf(schema.CodeNoEffect, e.Head("client_cert"), "add client_ca to the listener",
				"no listener of this route verifies certificates of clients, so it takes no request")
		case e.ClientCert == nil && demanding != nil && e.Dest.sends():
			r.rep.Warnf(codeUnguardedRoute, e.Node().Head, "add client_cert = true, or listener = "+
				syntax.Quote(demanding.Name), what, "this route", open.Name, demanding.Name)
		}
	}
	demanding, open := demandingAndOpen(r.doc.listeners)
	if r.c.Fallback.sends() && demanding != nil && !slices.ContainsFunc(r.c.Routes, Route.TakesAll) {
		r.rep.Warnf(codeUnguardedRoute, cmp.Or(r.named[defaultUpstream], r.defined[defaultUpstream]),
			`add [[routes]] with pattern = "/*" and client_cert = true`, what,
			r.c.Fallback.Kind.String()+" "+syntax.Quote(defaultUpstream), open.Name, demanding.Name)
	}
}
