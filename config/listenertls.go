package config

import (
	"crypto/tls"
	"slices"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
)

// resolveTLS decides whether a listener takes TLS, plain HTTP or both, and checks its keys about TLS.
func (r *resolver) resolveTLS(e *listenerEntry) {
	e.own.Pos = e.Pos
	if e.Has("cert") && !e.Failed("cert") {
		e.Certificate, e.own.Pos = &e.own, e.Head("cert").Pos()
		r.checkInternalCert(&e.Given, &e.own)
	} else if e.Lacks("cert") {
		for _, other := range []string{"key", "ocsp"} {
			if e.Has(other) && !e.Failed(other) {
				r.rep.Errorf(e.Head(other), "add cert", "there is no certificate for this %s", fileNoun(other))
				return
			}
		}
	}
	r.resolveTLSMode(e)
	if e.TLS == TLSOff {
		r.refuseTLSKeys(e)
		return
	}
	if e.Certificate == nil && len(r.doc.certificates) == 0 && e.Lacks("cert") {
		hint := `add cert and key, or [[certificates]]; cert = "internal" makes one for development`
		r.rep.Errorf(e.Node().Head, hint, "this listener has no certificate")
	}
	if e.RedirectToHTTPS && e.TLS == TLSOn {
		r.rep.Errorf(e.Head("redirect_to_https"), `it is for plain listeners, and for tls = "auto"`,
			"this listener takes no plain requests")
	}
	r.resolveClientAuth(e)
	r.checkHSTS(e)
	r.resolvePlainRequests(e)
	r.warnWeakTLS(&e.Given, &e.TLSOptions)
}

// resolveTLSMode decides whether a listener takes TLS, by its key tls, the table that makes it, and its certificate.
func (r *resolver) resolveTLSMode(e *listenerEntry) {
	written := e.Node().Key
	if e.Has("tls") {
		if written == aliasHTTPS && e.TLS == TLSOff && !e.Failed("tls") {
			r.rep.Errorf(e.At("tls"), "write [http]", "[https] is for TLS")
		}
		if written == aliasHTTP && e.TLS != TLSOff {
			r.rep.Errorf(e.At("tls"), "write [https] or [network]", "[http] is for plain HTTP")
		}
		return
	}
	switch {
	case written == aliasHTTPS:
		e.TLS = TLSOn
	case !e.Has("cert"):
	case written == aliasHTTP:
		r.rep.Errorf(e.Head("cert"), "write it in [https]", "[http] is for plain HTTP")
	case written == aliasNetwork:
		e.TLS = TLSAuto
	default:
		e.TLS = TLSOn
	}
}

// refuseTLSKeys reports the first key about TLS of a listener that takes none.
func (r *resolver) refuseTLSKeys(e *listenerEntry) {
	if e.Failed("tls") || e.Node().Key == aliasHTTP && e.Has("cert") {
		return
	}
	for _, k := range append(pairKeys(), tlsKeys()...) {
		if e.Has(k.Path) {
			r.rep.Errorf(e.Head(k.Path), "add tls = true", "this listener takes no TLS")
			return
		}
	}
}

// resolveClientAuth decides whether clients show a certificate.
func (r *resolver) resolveClientAuth(e *listenerEntry) {
	o, shared := &e.TLSOptions, r.doc.tls
	switch {
	case o.ClientAuth == "" && o.ClientCA != "":
		o.ClientAuth = ClientAuthRequire
	case o.ClientAuth == "":
		o.ClientAuth = ClientAuthNone
	case o.ClientAuth == ClientAuthRequire && o.ClientCA == "":
		g := &e.Given
		if !g.Has("client_auth") {
			g = &shared.Given
		}
		if !e.Failed("client_ca") && !shared.Failed("client_ca") {
			r.rep.Errorf(g.At("client_auth"), `add client_ca = "clients.pem"`,
				"nothing says which client certificates are good")
		}
	}
}

// checkHSTS reports keys about Strict-Transport-Security without hsts.max_age: the field would not be sent.
func (r *resolver) checkHSTS(e *listenerEntry) {
	shared := &r.doc.tls.Given
	if e.TLSOptions.HSTS.MaxAge >= 0 || e.Has("hsts.max_age") || shared.Has("hsts.max_age") {
		return
	}
	for _, path := range []string{"hsts.subdomains", "hsts.preload"} {
		g := &e.Given
		if !g.Has(path) {
			g = shared
		}
		if g.Value(path) == true && !r.ageless[g] {
			r.ageless[g] = true
			r.rep.Errorf(g.Head(path), `add max_age = "365d"`, "hsts has no max_age")
			return
		}
	}
}

// resolvePlainRequests decides what plain requests get on a port that takes TLS too. They are served, unless the
// listener demands what only TLS can show, or promises that clients use nothing but https.
func (r *resolver) resolvePlainRequests(e *listenerEntry) {
	if e.TLS != TLSAuto || e.Failed("tls") {
		return
	}
	what, at := r.tlsOnlyKey(e)
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

// hstsKey turns Strict-Transport-Security on.
const hstsKey = "hsts.max_age"

// tlsOnlyKey returns the key that forbids to serve plain requests, and where it stands; "" when there is none.
func (r *resolver) tlsOnlyKey(e *listenerEntry) (key string, at syntax.Span) {
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

// warnWeakTLS warns of versions and cipher suites that are known to be weak.
func (r *resolver) warnWeakTLS(g *schema.Given, o *TLSOptions) {
	if g.Has("min_version") && !g.Failed("min_version") && o.MinVersion < tls.VersionTLS12 {
		r.rep.Warnf(codeWeakTLS, g.At("min_version"), "", "%s is obsolete (RFC 8996)", versionName(o.MinVersion))
	}
	if !g.Has("ciphers") || g.Failed("ciphers") {
		return
	}
	if len(o.Ciphers) > 0 && o.MinVersion >= tls.VersionTLS13 {
		r.rep.Warnf(schema.CodeNoEffect, g.Head("ciphers"), "", "ciphers are for TLS 1.2, which is not offered here")
	}
	for _, id := range o.Ciphers {
		if name, weak := insecureSuite(id); weak {
			r.rep.Warnf(codeWeakTLS, g.At("ciphers"), "", "%s is weak", name)
		}
	}
}

// checkFIPS reports versions, key exchanges and cipher suites that FIPS 140-3 does not approve.
func (r *resolver) checkFIPS() {
	check := func(g *schema.Given, o *TLSOptions) {
		if g.Has("min_version") && !g.Failed("min_version") && o.MinVersion < tls.VersionTLS12 {
			r.rep.Errorf(g.At("min_version"), "", "%s is not allowed with fips = true", versionName(o.MinVersion))
		}
		if g.Has("curves") && !g.Failed("curves") {
			for _, c := range curves {
				if !c.fips && slices.Contains(o.Curves, c.id) {
					r.rep.Errorf(g.At("curves"), "", "%s is not allowed with fips = true", c.name)
				}
			}
		}
		if g.Has("ciphers") && !g.Failed("ciphers") {
			for _, id := range o.Ciphers {
				if !slices.Contains(fipsSuites, id) {
					r.rep.Errorf(g.At("ciphers"), "", "%s is not allowed with fips = true", tls.CipherSuiteName(id))
				}
			}
		}
	}
	check(&r.doc.tls.Given, &r.doc.tls.shared)
	for _, e := range r.doc.listeners {
		check(&e.Given, &e.TLSOptions)
	}
}

// warnUnusedTLS warns of certificates and keys about TLS when no listener takes TLS.
func (r *resolver) warnUnusedTLS() {
	for i, e := range r.doc.listeners {
		if r.c.Listeners[i].TLS != TLSOff || e.Failed("tls") {
			return
		}
	}
	for _, e := range r.doc.certificates {
		r.rep.Warnf(schema.CodeNoEffect, e.Node().Head, "", "no listener takes TLS, so this certificate is not used")
	}
	if g := &r.doc.tls.Given; g.Node() != nil && g.HasAny("") {
		r.rep.Warnf(schema.CodeNoEffect, g.Node().ConflictSpan(), "", "no listener takes TLS, so [tls] means nothing")
	}
}
