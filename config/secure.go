package config

import (
	"crypto/tls"
	"slices"
	"time"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
)

// The other places for a listener, which say what it takes.
const (
	aliasHTTP    = "http"
	aliasHTTPS   = "https"
	aliasNetwork = "network"
)

// certificates takes over the [[certificates]].
func (r *resolver) certificates() {
	for _, e := range r.doc.certificates {
		r.file.Fill(e)
		e.Pos = e.Node().Head.Pos()
		if e.Lacks("cert") {
			r.rep.Errorf(e.Node().Head, `add cert = "example.pem"`, "this certificate has no file")
		}
		r.internal(&e.Given, &e.Certificate)
		for _, host := range e.Hosts {
			if h, wrong, hint := parseRouteHost(host); wrong != "" || h == "" {
				r.rep.Errorf(e.At("hosts"), hint, "%s is not a host", syntax.Quote(host))
			}
		}
		r.c.Certificates = append(r.c.Certificates, e.Certificate)
	}
}

// internal checks that a certificate of the internal authority names no files.
func (r *resolver) internal(g *schema.Given, c *Certificate) {
	if c.Cert != InternalCert {
		return
	}
	for _, other := range []string{"key", "ocsp"} {
		if g.Has(other) {
			r.rep.Errorf(g.Head(other), "leave it out", "cert = %q makes its own key", InternalCert)
		}
	}
}

// secure decides what a listener takes, and checks what it says about TLS.
func (r *resolver) secure(e *listenerEntry) {
	if !e.Has("websocket") {
		e.WebSocket = r.doc.top.webSocket
	}
	if !e.Has("grpc") {
		e.GRPC = r.doc.top.grpc
	}
	e.own.Pos = e.Pos
	if e.Has("cert") && !e.Failed("cert") {
		e.Certificate, e.own.Pos = &e.own, e.Head("cert").Pos()
		r.internal(&e.Given, &e.own)
	} else if e.Lacks("cert") {
		for _, other := range []string{"key", "ocsp"} {
			if e.Has(other) && !e.Failed(other) {
				r.rep.Errorf(e.Head(other), "add cert", "there is no certificate for this %s", noun(other))
				return
			}
		}
	}
	r.mode(e)
	if e.TLS == TLSOff {
		r.plain(e)
		return
	}
	if e.Certificate == nil && len(r.doc.certificates) == 0 && e.Lacks("cert") {
		r.rep.Errorf(e.Node().Head, "add cert and key, or [[certificates]]", "this listener has no certificate")
	}
	if e.RedirectToHTTPS && e.TLS == TLSOn {
		r.rep.Errorf(e.Head("redirect_to_https"), `it is for plain listeners, and for tls = "auto"`,
			"this listener takes no plain requests")
	}
	r.clients(e)
	r.aged(e)
	r.plainRequests(e)
	r.weak(&e.Given, &e.TLSOptions)
}

// aged reports what is said about Strict-Transport-Security where nothing says how long it holds: there would be none.
func (r *resolver) aged(e *listenerEntry) {
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

func noun(key string) string {
	if key == "ocsp" {
		return "OCSP response"
	}
	return key
}

// mode decides whether a listener takes TLS.
func (r *resolver) mode(e *listenerEntry) {
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

// plain refuses what means nothing without TLS.
func (r *resolver) plain(e *listenerEntry) {
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

// clients decides whether clients show a certificate.
func (r *resolver) clients(e *listenerEntry) {
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
				"nobody says which client certificates are good")
		}
	}
}

// weak warns of what is known to be weak, where it is written.
func (r *resolver) weak(g *schema.Given, o *TLSOptions) {
	if g.Has("min_version") && !g.Failed("min_version") && o.MinVersion < tls.VersionTLS12 {
		r.rep.Warnf(codeWeakTLS, g.At("min_version"), "", "%s is obsolete (RFC 8996)", versionName(o.MinVersion))
	}
	if !g.Has("ciphers") || g.Failed("ciphers") {
		return
	}
	if len(o.Ciphers) > 0 && o.MinVersion >= tls.VersionTLS13 {
		r.rep.Warnf(schema.CodeNoEffect, g.Head("ciphers"), "", "ciphers are for TLS 1.2, which is not spoken here")
	}
	for _, id := range o.Ciphers {
		if name, weak := insecureSuite(id); weak {
			r.rep.Warnf(codeWeakTLS, g.At("ciphers"), "", "%s is weak", name)
		}
	}
}

// spoken decides how an upstream, or what stands for all of them, is spoken to.
func (r *resolver) spoken(e *upstreamEntry) {
	if e.Has("tls.alpn") && !e.Failed("tls.alpn") {
		protocol := "auto"
		if len(e.alpn) == 1 {
			protocol = map[string]string{"h2": "h2", "http/1.1": "h1"}[e.alpn[0]]
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
		e.TLS.Key = "" // in the file of this certificate, whatever the defaults say of theirs
	}
	if e.Has("tls.verify") && !e.TLS.Verify && !e.Failed("tls.verify") {
		r.rep.Warnf(codeWeakTLS, e.At("tls.verify"), "", "the certificates of these backends are not verified")
	}
	if e != r.doc.defaults && !e.Has("tls") {
		e.TLS.On = e.TLS.On || e.HasAny("tls.")
	}
}

// unsecured warns of what is said about TLS where no listener takes it: somebody may think that it is there.
func (r *resolver) unsecured() {
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

// httpsPorts decides where plain requests are sent that are to come by https: where a listener takes both, to itself,
// else to any other. 443 goes before other ports.
func (r *resolver) httpsPorts() {
	var all []int
	for i := range r.c.Listeners {
		if l := &r.c.Listeners[i]; l.TLS != TLSOff {
			all = append(all, l.ports()...)
		}
	}
	for i := range r.c.Listeners {
		l := &r.c.Listeners[i]
		if !l.RedirectToHTTPS {
			continue
		}
		ports := all
		if own := l.ports(); l.TLS == TLSAuto && len(own) > 0 {
			ports = own
		}
		if l.HTTPSPort = 443; len(ports) > 0 && !slices.Contains(ports, 443) {
			l.HTTPSPort = ports[0]
		}
	}
}

// ports returns those that are known: 0 stands for any.
func (l *Listener) ports() (all []int) {
	for _, a := range l.Addresses {
		if a.Network != "unix" && a.Port != 0 {
			all = append(all, a.Port)
		}
	}
	return all
}

// approved reports what FIPS 140-3 does not approve.
func (r *resolver) approved() {
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

// certificates returns the part of the summary about certificates.
func (c *Config) certificates(now time.Time) string {
	seen := make(map[string]bool)
	var first time.Time
	count := func(p *Certificate) {
		id := p.Cert + "\x00" + p.Key
		if seen[id] {
			return
		}
		seen[id] = true
		if !p.NotAfter.IsZero() && (first.IsZero() || p.NotAfter.Before(first)) {
			first = p.NotAfter
		}
	}
	for i := range c.Certificates {
		count(&c.Certificates[i])
	}
	for i := range c.Listeners {
		if p := c.Listeners[i].Certificate; p != nil {
			count(p)
		}
	}
	if len(seen) == 0 {
		return ""
	}
	text := ", " + syntax.Plural(len(seen), "certificate")
	left := days(first.Sub(now))
	switch {
	case first.IsZero():
	case now.After(first):
		text += " (first expired " + syntax.Plural(-left, "day") + " ago)"
	default:
		text += " (first expires in " + syntax.Plural(left, "day") + ")"
	}
	return text
}
