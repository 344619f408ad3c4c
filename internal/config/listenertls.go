package config

import (
	"cmp"
	"crypto/tls"
	"slices"
	"strings"
	"sync"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/lang"
)

// resolveTLS decides whether a listener takes TLS, plain HTTP or both, and checks its keys about TLS.
func (r *resolver) resolveTLS(e *listenerEntry) {
	e.own = Certificate{Pair: e.Pair, Pos: e.Pos}
	if e.Has("cert") && !e.Failed("cert") {
		e.Certificate, e.own.Pos = &e.own, e.Head("cert").Pos()
		if r.checkMadeCert(&e.Given, &e.own); e.own.Cert == ACMECert {
			e.Certificate = nil // hosts of routes have one each
			ordersOf(r.c).Start()
		}
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
	if e.Certificate == nil && len(r.doc.certificates) == 0 && e.Lacks("cert") && !ordersOf(r.c).Any() {
		hint := `add cert and key, or [[certificates]]; cert = "acme" orders one, "internal" is for development`
		r.rep.Errorf(e.Node().Head, hint, "this %s has no certificate", e.noun())
	}
	if e.RedirectToHTTPS && e.TLS == TLSOn {
		r.rep.Errorf(e.Head("redirect_to_https"), `it is for plain listeners, and for tls = "auto"`,
			"this listener takes no plain requests")
	}
	r.resolveClientAuth(e)
	e.TLSRules = tlsRulesOf(r, schema.Inside(e))
	checkRuledAuth(r, e)
	r.checkHSTS(e)
	r.resolvePlainRequests(e)
	r.warnWeakTLS(&e.Given, &e.TLSOptions)
}

// resolveTLSMode decides whether a listener takes TLS, by its key tls, the table that makes it, and its certificate.
func (r *resolver) resolveTLSMode(e *listenerEntry) {
	written := e.alias()
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
	if e.Failed("tls") || e.alias() == aliasHTTP && e.Has("cert") {
		return
	}
	for _, k := range securedKeys() {
		if e.Has(k.Path) {
			r.rep.Errorf(e.Head(k.Path), "add tls = true", "this %s takes no TLS", e.noun())
			return
		}
	}
	if rules := schema.All[*tlsRuleEntry](schema.Inside(e)); len(rules) > 0 {
		r.rep.Errorf(rules[0].Node().Head, "add tls = true to the listener", "this %s takes no TLS", e.noun())
	}
}

// securedKeys are the keys of a listener that takes TLS.
var securedKeys = sync.OnceValue(func() []*schema.Key {
	return slices.Concat(schema.Of[Pair](tags()), schema.Of[TLSOptions](tags()))
})

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
	for _, one := range tlsRulesAt(r, e) {
		if one.guards() {
			return "a rule on handshakes", one.Node().Head
		}
	}
	return "", syntax.Span{}
}

// resolveProtocols fills in the versions of HTTP that e serves, and reports what keeps it from HTTP/3, and keys about
// that without effect.
func (e *listenerEntry) resolveProtocols(c *Config, rep *Report) {
	unix := slices.IndexFunc(e.Addresses, func(a Address) bool { return a.Network == "unix" })
	internal := e.isInternal(c.Certificates)
	v := &e.Versions
	v.OptionalH3 = !e.Has("protocols") && e.TLS != TLSOff && unix < 0 && !c.Global.FIPS &&
		!e.Believed.ProxyProtocol.Required && !internal
	if v.OptionalH3 {
		v.Protocols = []string{"h1", "h2", "h3"}
	}
	protocols := v.Protocols
	at := slices.Index(protocols, "h3")
	switch {
	case v.OptionalH3:
		return
	case e.Failed("protocols"):
		return
	case at < 0:
		e.warnUnusedH3(rep)
		return
	}
	word := e.ElementAt("protocols", at, len(protocols))
	switch {
	case e.TLS == TLSOff && !e.Failed("tls"):
		rep.Errorf(word, "write tls = true, or [https]", "h3 needs TLS")
	case unix >= 0:
		rep.Conflictf(e.addressAt(unix), word, "leave one of them out", "h3 is not served on a Unix socket")
	case c.Global.FIPS:
		rep.Errorf(word, "leave it out", "h3 is not available with fips = true in this version")
	case len(protocols) == 1: // the socket for TCP would accept connections, and serve none
		rep.Errorf(e.At("protocols"), `write ["h1", "h2", "h3"]`,
			"h3 needs h1 or h2 beside it, by which clients learn of it")
	case e.Believed.ProxyProtocol.Required:
		rep.Conflictf(word, e.Head("proxy_protocol.required"), "leave one of them out",
			"a connection of h3 never begins with a header, as proxy_protocol.required asks")
	case internal:
		rep.Notef(codeH3Untrusted, word,
			"browsers take no certificate of \"internal\" over QUIC; they stay with HTTP/2")
	}
}

// isInternal reports whether the authority on this machine makes all certificates of e, of which shared are for all
// listeners.
func (e *listenerEntry) isInternal(shared []Certificate) bool {
	if e.own.Cert != "" {
		return e.own.Cert == InternalCert
	}
	other := func(c Certificate) bool { return c.Cert != InternalCert }
	return len(shared) > 0 && !slices.ContainsFunc(shared, other)
}

// warnUnusedH3 warns of keys about HTTP/3 in a listener without it.
func (e *listenerEntry) warnUnusedH3(rep *Report) {
	for _, k := range schema.Of[H3Options](tags()) {
		if path := "h3." + k.Path; e.Has(path) {
			rep.Warnf(schema.CodeNoEffect, e.Head(path), `add "h3" to protocols`, "this listener serves no HTTP/3")
			return
		}
	}
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
	check(&r.doc.tls.Given, &r.doc.tls.Shared)
	rules := schema.All[*tlsRuleEntry](r.file.Entries(tlsRulesPath))
	for _, e := range slices.Concat(r.doc.listeners, r.doc.services) {
		check(&e.Given, &e.TLSOptions)
		rules = append(rules, schema.All[*tlsRuleEntry](schema.Inside(e))...)
	}
	for _, e := range rules {
		check(&e.Given, &TLSOptions{MinVersion: e.MinVersion})
	}
}

// warnUnusedTLS warns of certificates and keys about TLS when no listener takes TLS.
func (r *resolver) warnUnusedTLS() {
	for i, e := range slices.Concat(r.doc.listeners, r.doc.services) {
		if r.c.Listening()[i].TLS != TLSOff || e.Failed("tls") {
			return
		}
	}
	for _, e := range r.doc.certificates {
		r.rep.Warnf(schema.CodeNoEffect, e.Node().Head, "", "no listener takes TLS, so this certificate is not used")
	}
	for _, e := range schema.All[*tlsRuleEntry](r.file.Entries(tlsRulesPath)) {
		r.rep.Warnf(schema.CodeNoEffect, e.Node().Head, "", "no listener takes TLS, so this rule is not asked")
	}
	if g := &r.doc.tls.Given; g.Node() != nil && g.HasAny("") {
		r.rep.Warnf(schema.CodeNoEffect, g.Node().ConflictSpan(), "", "no listener takes TLS, so [tls] means nothing")
	}
}

// TLSRule decides about the handshakes that its condition holds for. What it leaves at the zero value it does not
// decide.
type TLSRule struct {
	// Name in metrics and `edge explain`.
	Name string `edge:"name" kind:"name" example:"partners" json:",omitempty"`
	// Condition of [the language](DSL.md) on handshakes that the rule is for; it knows `tls.sni`, `tls.alpn`, the
	// addresses and the listener. Without it, all handshakes.
	// Example: 'tls.sni == "api.example.org"'
	When *lang.Condition `edge:"when" json:",omitempty"`
	// Demand for certificates of clients, as `client_auth` of the listener.
	ClientAuth ClientAuth `edge:"client_auth" enum:"none request require" example:"require" json:",omitempty"`
	// File of authorities of client certificates, in place of the listener's. Without `client_auth` such a certificate
	// is required.
	ClientCA string `edge:"client_ca" example:"/etc/edge/tls/partners.pem" file:"read" json:",omitempty"`
	// Oldest version of TLS that is accepted, in place of the listener's.
	MinVersion uint16 `edge:"min_version" kind:"version" example:"1.3" json:",omitempty"`
	// Name of a `[[certificates]]` that the client gets, whatever name it asks for and whatever its `when`.
	Certificate string `edge:"certificate" kind:"name" example:"internal" json:",omitempty"`
	// Refuse the handshake: with the alert `unrecognized_name`, or `access_denied` where the client asks for no name.
	// No later rule is asked.
	Deny bool `edge:"deny" example:"true" json:",omitempty"`
	// Backends that get the connection as it came, ClientHello and all: an upstream or addresses. No later rule is
	// asked. See [TCP services](tcp.md#beside-terminated-names).
	Dest string `edge:"dest" example:"db" json:",omitempty"`

	Upstream int `json:"-"` // the index in Upstreams that Dest names, where it is right
	Pos      Pos
}

// guards reports whether requests may have to be refused because of the rule.
func (t *TLSRule) guards() bool { return t.Deny || t.ClientAuth != "" || t.MinVersion != 0 }

// Decides says what the rule decides, in the words of a file.
func (t *TLSRule) Decides() (list []string) {
	add := func(on bool, text string) {
		if on {
			list = append(list, text)
		}
	}
	add(t.Deny, "deny")
	add(t.Dest != "", "dest "+t.Dest)
	add(t.ClientAuth != "", "client_auth "+string(t.ClientAuth))
	add(t.ClientCA != "", "client_ca "+t.ClientCA)
	add(t.MinVersion != 0, "min_version "+versionName(t.MinVersion))
	add(t.Certificate != "", "certificate "+t.Certificate)
	return list
}

// HandshakeRules returns the rules of a listener: its own, then the rules of all.
func (c *Config) HandshakeRules(l *Listener) []TLSRule { return slices.Concat(l.TLSRules, c.TLS.Rules) }

// Paths of the sections of rules on handshakes.
const (
	tlsRulesPath      = "tls.rules"
	listenerRulesPath = "listeners.tls_rules"
)

func tlsRulesOf(r *resolver, entries []schema.Target) (list []TLSRule) {
	ruled := make(map[string]*tlsRuleEntry) // keys that a rule for all handshakes decides
	for _, e := range schema.All[*tlsRuleEntry](entries) {
		r.file.Fill(e)
		e.Pos = e.Node().Head.Pos()
		if e.Has("when") && !e.Failed("when") {
			e.When = r.c.Language.Condition(r.rep, e.KeyNode("when"), lang.Handshake)
		}
		if e.ClientCA != "" && !e.Has("client_auth") {
			e.ClientAuth = ClientAuthRequire
		}
		checkTLSRule(r, e)
		warnShadowedTLSRule(r, e, ruled)
		r.warnWeakTLS(&e.Given, &TLSOptions{MinVersion: e.MinVersion})
		list = append(list, e.TLSRule)
	}
	return list
}

// deciding are the keys by which a rule decides something.
var deciding = []string{"client_auth", "client_ca", "min_version", "certificate", "deny", "dest"}

// decides returns the keys by which e decides something.
func (e *tlsRuleEntry) decides() (keys []string) {
	for _, key := range deciding {
		if e.Has(key) && (key != "deny" || e.Deny || e.Failed(key)) {
			keys = append(keys, key)
		}
	}
	return keys
}

// checkTLSRule reports what the types of the keys cannot say.
func checkTLSRule(r *resolver, e *tlsRuleEntry) {
	switch keys := e.decides(); {
	case len(keys) == 0 && !e.HasUnknown():
		r.rep.Errorf(e.Node().Head, "one of "+strings.Join(deciding, ", "), "this rule decides nothing")
	case (e.Deny || e.Has("dest")) && len(keys) > 1:
		last, does := keys[len(keys)-1], "denies the handshake"
		if last == "dest" {
			does = "leads the connection elsewhere"
		}
		r.rep.Conflictf(e.Head(keys[0]), e.Head(last), "leave one of them out", "%q has no effect: the rule %s, at %s",
			keys[0], does, e.Head(last).RelativeTo(e.Head(keys[0])))
	case e.Has("client_ca") && e.ClientAuth == ClientAuthNone:
		r.rep.Conflictf(e.Head("client_ca"), e.Head("client_auth"), "leave one of them out", "%q has no effect: the "+
			"rule asks for no certificate, at %s", "client_ca", e.Head("client_auth").RelativeTo(e.Head("client_ca")))
	}
	if e.Dest != "" && e.When != nil && strings.Contains(e.When.String(), "random(") {
		r.rep.Errorf(e.At("when"), "write percent(client.ip, 10), which stays the same",
			"a rule with %q is asked more than once about a connection", "dest")
	}
	if !e.Has("certificate") || e.Failed("certificate") {
		return
	}
	var names []string
	for _, c := range r.doc.certificates {
		if c.Name == e.Certificate {
			return
		}
		names = append(names, c.Name)
	}
	hint := syntax.DidYouMean(e.Certificate, names)
	if hint == "" {
		hint = "add name = " + syntax.Quote(e.Certificate) + " to one of [[certificates]]"
	}
	r.rep.Errorf(e.At("certificate"), hint, "there is no certificate %s", syntax.Quote(e.Certificate))
}

// warnShadowedTLSRule warns of a rule that decides nothing, since rules before it decide all of that for all
// handshakes: these are in ruled, to which e is added where it is one of them.
func warnShadowedTLSRule(r *resolver, e *tlsRuleEntry, ruled map[string]*tlsRuleEntry) {
	always := !e.Has("when") && !e.HasUnknown()
	last := cmp.Or(ruled["deny"], ruled["dest"]) // after which none is asked
	by, hidden := last, true
	for _, key := range e.decides() {
		if key == "client_ca" {
			key = "client_auth" // one decision
		}
		first := ruled[key]
		hidden = hidden && first != nil
		by = cmp.Or(by, first)
		if first == nil && always {
			ruled[key] = e
		}
	}
	if by != nil && by != e && (hidden || by == last) {
		r.rep.WarnConflictf(schema.CodeNoEffect, e.Node().Head, by.Node().Head,
			"this rule decides nothing: the one at %s holds always, and goes before it",
			by.Node().Head.RelativeTo(e.Node().Head))
	}
}

// checkRuledAuth reports a rule that demands certificates of clients where nothing says which ones are good.
func checkRuledAuth(r *resolver, e *listenerEntry) {
	for _, one := range tlsRulesAt(r, e) {
		ca := e.TLSOptions.ClientCA != "" || one.ClientCA != ""
		e.relaxed = e.relaxed || one.ClientAuth == ClientAuthNone || one.ClientAuth == ClientAuthRequest
		e.ruled = e.ruled || ca && one.ClientAuth != "" && one.ClientAuth != ClientAuthNone
		unsure := e.Failed("client_ca") || one.Failed("client_ca") || r.doc.tls.Failed("client_ca")
		if one.ClientAuth == ClientAuthRequire && !ca && !unsure {
			r.rep.Errorf(one.At("client_auth"), `add client_ca = "clients.pem" to the rule or to the listener`,
				"nothing says which client certificates are good at the listener in %s",
				e.Node().Head.RelativeTo(one.At("client_auth")))
		}
	}
}

// tlsRulesAt returns the rules that are asked about the handshakes of a listener.
func tlsRulesAt(r *resolver, e *listenerEntry) []*tlsRuleEntry {
	return slices.Concat(schema.All[*tlsRuleEntry](schema.Inside(e)),
		schema.All[*tlsRuleEntry](r.file.Entries(tlsRulesPath)))
}

// openRuleAuthorities opens the authorities that the rules of entries name. A listener that takes no TLS has none in
// list.
func openRuleAuthorities(r *resolver, entries []schema.Target, list []TLSRule) {
	for i, e := range schema.All[*tlsRuleEntry](entries)[:len(list)] {
		r.openAuthorities(&e.Given, nil, "client_ca", &list[i].ClientCA)
	}
}
