package config

import (
	"slices"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
)

// plainRequests decides what plain requests get on a port that takes TLS too: the service, but not where the listener
// asks for what TLS alone can show, or promises that clients use nothing but https.
func (r *resolver) plainRequests(e *listenerEntry) {
	if e.TLS != TLSAuto || e.Failed("tls") {
		return
	}
	what, at := r.guard(e)
	mode := e.KeyNode("tls")
	if mode == nil {
		mode = e.KeyNode("cert") // of [network]
	}
	switch redirects := e.Has("redirect_to_https"); {
	case e.RedirectToHTTPS || e.Failed("redirect_to_https"):
	case what == hstsKey && redirects:
		r.rep.Conflictf(e.At("redirect_to_https"), at, "leave it out: plain requests are redirected", "%s at %s "+
			"tells clients that there is nothing but https", what, at.RelativeTo(e.At("redirect_to_https")))
	case what == hstsKey: // RFC 6797 §7.2: a host that promises it answers plain requests with a redirect
		e.RedirectToHTTPS = true
		r.rep.Notef(codeTLSAuto, mode.Head,
			"this listener takes TLS, and redirects plain requests because of %s", what)
	case what != "" && e.Has("tls"):
		r.rep.Conflictf(e.At("tls"), at, "write tls = true, or add redirect_to_https = true",
			"it takes plain requests too, which cannot meet %s at %s", what, at.RelativeTo(e.At("tls")))
	case what != "":
		r.rep.Notef(codeTLSAuto, mode.Head,
			"this listener takes TLS, and answers plain requests 421 because of %s", what)
	case !e.Has("tls"):
		r.rep.Notef(codeTLSAuto, mode.Head, "this listener takes TLS and plain HTTP on one port")
	}
}

const hstsKey = "hsts.max_age"

// guard returns the key by which plain requests are not to be served, and where it stands; "" when they are.
func (r *resolver) guard(e *listenerEntry) (key string, at syntax.Span) {
	o := &e.TLSOptions
	for _, k := range []struct {
		key   string
		holds bool
	}{
		{hstsKey, o.HSTS.MaxAge > 0},
		{"client_auth", o.ClientAuth == ClientAuthRequire},
		{"client_ca", o.ClientAuth == ClientAuthRequire},
		{"strict_sni", o.StrictSNI},
	} {
		for _, g := range []*schema.Given{&e.Given, &r.doc.tls.Given} {
			if k.holds && g.Has(k.key) {
				return k.key, g.Head(k.key)
			}
		}
	}
	return "", syntax.Span{}
}

// listenersOf checks the names of listeners that a route is for, and returns these listeners: all where it names none.
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
	elements := e.KeyNode("listener").Children
	for i, name := range e.Listeners {
		at := e.At("listener")
		if len(elements) > 0 {
			at = elements[i].Value
		}
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

// asksAll reports whether no client without a certificate is served on the listener.
func (e *listenerEntry) asksAll() bool {
	return e.TLS != TLSOff && e.TLSOptions.ClientAuth == ClientAuthRequire
}

// verifies reports whether certificates of clients are held against authorities on the listener.
func (e *listenerEntry) verifies() bool {
	return e.TLS != TLSOff && e.TLSOptions.ClientCA != "" && e.TLSOptions.ClientAuth != ClientAuthNone
}

// serves reports whether the listener does anything but redirect. What a trusted proxy was asked by https is served.
func (e *listenerEntry) serves() bool {
	return e.TLS != TLSOff || !e.RedirectToHTTPS || len(e.Trusted.Networks) > 0 || e.Trusted.Unix
}

// mixed returns a listener of list that serves nobody without a certificate, and one that does, where there are both.
func mixed(list []*listenerEntry) (asking, open *listenerEntry) {
	for _, l := range list {
		switch {
		case l.asksAll() && asking == nil:
			asking = l
		case l.asksAll():
		case l.serves() && open == nil:
			open = l
		}
	}
	if asking == nil || open == nil {
		return nil, nil
	}
	return asking, open
}

// unguarded warns of routes to backends that a listener leads to which asks for certificates, and another one which
// does not: somebody may think that they are guarded. It warns of certificates that no route can be shown, too.
func (r *resolver) unguarded() {
	if !r.rep.OK() {
		return
	}
	const what = "clients without a certificate reach %s by listener %q, though %q asks for one"
	for _, e := range r.doc.routes {
		list := r.listenersOf(e)
		asking, open := mixed(list)
		switch {
		case e.Off:
		case e.ClientCert != nil && !slices.ContainsFunc(list, (*listenerEntry).verifies):
			r.rep.Warnf(schema.CodeNoEffect, e.Head("client_cert"), "add client_ca to the listener",
				"no listener of this route verifies certificates of clients, so it takes no request")
		case e.ClientCert == nil && asking != nil && e.Dest.Kind == DestUpstream:
			r.rep.Warnf(codeUnguardedRoute, e.Node().Head, "add client_cert = true, or listener = "+
				syntax.Quote(asking.Name), what, "this route", open.Name, asking.Name)
		}
	}
	asking, open := mixed(r.doc.listeners)
	if r.c.Fallback.Kind == DestUpstream && asking != nil && !slices.ContainsFunc(r.c.Routes, Route.TakesAll) {
		r.rep.Warnf(codeUnguardedRoute, r.named[defaultUpstream],
			`add [[routes]] with pattern = "/*" and client_cert = true`, what,
			"upstream "+syntax.Quote(defaultUpstream), open.Name, asking.Name)
	}
}
