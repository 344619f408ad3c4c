package caddy

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/value"
)

// site is a block of directives with the addresses before it.
type site struct {
	*directive
	program []*directive
	keys    settings     // of its routes: where they log
	pages   []string     // for failures, as error_pages has them
	failing settings     // of routes whose failures Caddy handles: routes to backends, and routes of error
	from    []plan.Place // the lines of both
	guard   *directive   // its requests have to pass this, and edge does not have it
	tls     secure
}

// listener is where some sites are served.
type listener struct {
	name, listen, port string
	tls                bool
	hosts              []string // of its sites, in the order of the file; "" is any other
	sites              map[string]*site
	wild               bool // one of them stands for several
	at                 []plan.Place
	ca                 string // client_ca
	forward            bool   // every request is redirected to https
}

func (im *importer) addSite(d *directive) {
	d.used = true
	s := &site{directive: d}
	bind, served := im.options["default_bind"], false
	var rest []*directive
	for _, c := range d.block {
		c.used = true
		switch c.name {
		case "bind":
			bind, s.from = c.args, append(s.from, c.at)
		case "tls":
			im.readTLS(s, c)
		case "log":
			s.from = append(s.from, c.at)
			for _, l := range c.lines() {
				im.word("log", l, func(name, value string, at plan.Place) {
					s.keys.set(name, value, at)
					s.from, im.logs[value] = append(s.from, at), true
				})
			}
		case "handle_errors":
			im.readErrors(s, c)
		default:
			c.used = false
			rest = append(rest, c)
		}
	}
	for _, text := range d.args {
		if why := im.serve(s, text, bind); why != "" {
			im.Lose(d.at, text, why)
		} else {
			served = true
		}
	}
	if !served {
		im.lose(d, "edge does not serve it")
		return
	}
	s.program = im.compile(rest, map[string]*matcher{}, true)
}

// serve adds an address of a site to the listeners for it. why says what is wrong with the address.
func (im *importer) serve(s *site, text string, binds []string) (why string) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "", text
	}
	at, path, _ := strings.Cut(rest, "/")
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		host = at
	}
	if host = strings.ToLower(strings.Trim(host, "[]")); host != "" {
		if host, why, _ = value.ParseHost(host, ""); why != "" {
			return "no host of edge: " + why
		}
	}
	_, err = strconv.ParseUint(cmp.Or(port, "1"), 10, 16)
	if err != nil || !slices.Contains([]string{"", "http", "https"}, scheme) {
		return "edge does not know this address"
	}
	if path != "" { // deprecated in Caddy
		im.Lose(s.at, text, "addresses have no paths, write handle: the host is closed")
		s.guard = s.directive
	}
	plain, usual := im.option("http_port", "80"), im.option("https_port", "443")
	tls := scheme == "https" || scheme == "" && port != plain && (host != "" || port == usual || s.tls.at != nil)
	if !tls {
		usual = plain
	}
	port = cmp.Or(port, usual)
	if binds == nil {
		binds = []string{""}
	}
	for _, bind := range binds {
		bind = strings.Trim(strings.Replace(bind, "localhost", "127.0.0.1", 1), "[]")
		if _, err := netip.ParseAddr(bind); err != nil && bind != "" {
			return "listeners have addresses of this machine"
		}
		l := im.listenerAt(net.JoinHostPort(strings.TrimPrefix(bind, "::"), port), port, tls)
		other := l.sites[host]
		switch {
		case l.tls != tls:
			return "another site has its port with TLS, or without: not served"
		case other != nil && other != s:
			other.guard = s.directive
			return "another site has the same address: it is closed"
		case other == nil:
			l.hosts, l.sites[host] = append(l.hosts, host), s
			l.wild = l.wild || host == "" || host[0] == '*'
		}
		l.at = append(l.at, s.at)
		if host != "" && im.serving[host] == nil {
			im.hosts = append(im.hosts, host)
		}
		im.serving[host] = append(im.serving[host], l)
	}
	return ""
}

// listenerAt returns the listener at an address, made where there is none.
func (im *importer) listenerAt(listen, port string, tls bool) *listener {
	l := im.at[listen]
	if l == nil {
		scheme := map[bool]string{true: "https-", false: "http-"}[tls]
		l = &listener{name: plan.Unused(scheme+port, im.known), listen: listen, port: port, tls: tls,
			sites: map[string]*site{}}
		im.at[listen], im.listeners = l, append(im.listeners, l)
	}
	return l
}

// forwardPlain redirects plain requests for hosts with TLS to https, as Caddy does by itself.
func (im *importer) forwardPlain() {
	port, usual, auto := im.option("http_port", "80"), im.option("https_port", "443"), im.option("auto_https", "")
	secure := slices.DeleteFunc(slices.Clone(im.listeners), func(l *listener) bool {
		return !l.tls || l.port != usual && slices.Equal(l.hosts, []string{""}) ||
			auto == "off" || auto == "disable_redirects"
	})
	for _, l := range secure {
		bind, _, _ := net.SplitHostPort(l.listen)
		plain := im.listenerAt(net.JoinHostPort(bind, port), port, false)
		plain.forward, plain.at = plain.hosts == nil, append(plain.at, l.at...)
	}
	forwards := map[string]*site{} // by the port that they lead to
	forward := func(l *listener, host, port string) {
		if forwards[port] == nil {
			to := "https://{host}" + strings.TrimSuffix(":"+port, ":443") + "{uri}"
			d := &directive{name: "redir", args: []string{to, "308"}, text: "redirects to https", at: l.at[0]}
			forwards[port] = &site{directive: d, from: l.at, program: im.compile([]*directive{d}, nil, false)}
		}
		l.sites[host], im.serving[host] = forwards[port], append(im.serving[host], l)
	}
	for _, l := range im.listeners {
		if len(secure) == 0 || l.tls || l.port != port {
			continue
		}
		for _, host := range im.hosts {
			for _, o := range im.serving[host] {
				if o.tls && l.sites[host] == nil && (o.port != usual || l.wild) { // else as any other host
					forward(l, host, o.port)
				}
			}
		}
		if l.sites[""] == nil {
			forward(l, "", usual)
		}
	}
}

// writeSites makes sites of the plan: one for the hosts that have the same sites at the same listeners.
func (im *importer) writeSites() {
	var sites []*plan.Site
	made := map[string][]*plan.Site{}
	open := slices.DeleteFunc(slices.Clone(im.listeners), func(l *listener) bool { return l.forward })
	for _, host := range append(im.hosts, "") {
		var list []*site
		at, id := map[*site][]*listener{}, fmt.Sprintln(host == "")
		for _, l := range im.serving[host] {
			s := l.sites[host]
			if l.forward || slices.Contains(at[s], l) {
				continue
			} else if at[s] == nil {
				list = append(list, s)
			}
			at[s], id = append(at[s], l), id+fmt.Sprintf("%p %p\n", l, s)
		}
		if made[id] == nil {
			for _, s := range list {
				made[id] = append(made[id], im.writeSite(s, at[s], len(open)))
			}
			sites = append(sites, made[id]...)
		}
		for _, out := range made[id] {
			out.Hosts = append(out.Hosts, strings.Fields(host)...)
		}
	}
	im.Odd(sites, `split(target, "?")[0] ~ "(?i)/(?:\.|%2e){1,2}$`+im.odd+`"`, "Caddy takes /a/. for /a, edge for /a/")
	im.Write(sites)
}

// writeSite makes the site of the plan for a site that is at some of all listeners.
func (im *importer) writeSite(s *site, at []*listener, all int) *plan.Site {
	out := &plan.Site{At: at[0].at[0]}
	var names, secure []string
	for _, l := range at {
		if names = append(names, l.name); l.tls {
			secure = append(secure, l.name)
		}
	}
	if len(names) < all {
		out.Listeners = names
	}
	f := flow{importer: im, site: s, out: out, made: map[string]*plan.Target{}, again: new(int), when: plan.Always,
		path: "path", template: "{path}", secure: plan.CameBy(secure...), open: true, from: append(s.from, s.at),
		passed: map[*group]*plan.Cond{}, held: map[*directive]*plan.Cond{}}
	switch len(secure) {
	case 0:
		f.secure = plan.Never
	case len(names):
		f.secure = plan.Always
	}
	if s.guard != nil {
		f.from = append(f.from, s.places()...)
		f.ends(s.guard, plan.Always, plan.Deny(403))
		return out
	} else if s.tls.required && secure != nil {
		f.ends(s.directive, plan.All(f.secure, plan.Test("not cert.verified")), plan.Deny(403))
	}
	f.run(s.program)
	return out
}

// secure is what a site says about TLS.
type secure struct {
	internal  bool // its certificate is one of Caddy's own authority
	onDemand  bool // its certificates are ordered in handshakes
	cert, key string
	keys      settings // of its listener
	acme      settings // of [acme]
	at        []plan.Place
	ca        settings // client_ca
	required  bool     // clients have to show a certificate
}

func (im *importer) readTLS(s *site, d *directive) {
	t := &s.tls
	t.at, im.said = append(t.at, d.at), &t.acme
	switch {
	case d.arg(0) == "internal":
		t.internal = true
	case len(d.args) == 2:
		t.cert, t.key = d.args[0], d.args[1]
		im.load(t)
	case strings.Contains(d.arg(0), "@"):
		im.word("tls", d.as([]string{"email", d.arg(0)}), t.keys.set)
	}
	for _, o := range d.lines() {
		t.internal, t.onDemand = t.internal || o.text == "issuer internal", t.onDemand || o.name == "on_demand"
		t.internal = t.internal || o.name == "load" || o.name == "get_certificate"
		if o.name == "client_auth" {
			im.clientAuth(s, o)
		} else if im.word("tls", o, t.keys.set); o.arg(1) == "tls1.2" {
			im.Lose(o.at, o.text, "edge has an oldest version of TLS, no newest")
		}
	}
}

// clientAuth reads client_auth. Listeners ask for certificates, and routes demand a verified one.
func (im *importer) clientAuth(s *site, d *directive) {
	s.tls.required = true
	for _, c := range d.lines() {
		if s.tls.at = append(s.tls.at, c.at); c.name == "mode" {
			s.tls.required = strings.HasPrefix(c.arg(0), "require")
			continue
		}
		im.word("client_auth", c, s.tls.ca.set)
	}
	var text []byte // empty where the file cannot be read
	if len(s.tls.ca) == 1 {
		text, _ = im.read.Read(strings.Trim(s.tls.ca[0].Value, `"`))
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		// Without its authorities edge would take any certificate.
		im.Lose(d.at, d.text, "the authorities are not in one file that can be read: the site is closed")
		s.guard, s.tls.ca = d, nil
	}
}

func (im *importer) writeListeners() {
	secure := slices.DeleteFunc(slices.Clone(im.listeners), func(l *listener) bool { return !l.tls })
	for _, l := range im.listeners {
		b := im.Add("[[listeners]]", l.at...)
		b.Set("name", plan.String(l.name), plan.Place{})
		b.Set("listen", plan.String(l.listen), plan.Place{})
		if l.forward = l.forward && len(secure) == 1; l.forward { // there is one port that clients can be sent to
			b.Set("redirect_to_https", "true", plan.Place{})
		}
		if l.tls {
			im.secure(b, l)
		}
		for _, s := range im.servers {
			if s.Name == "protocols" {
				s.Value = protocolsOf(s.Value, l.tls)
			}
			b.Set(s.Name, s.Value, s.At)
		}
		if l.sites[""] == nil {
			im.Note(l.at[0], "hosts that no site of "+l.listen+" has",
				"Caddy answers an empty 200, or refuses the handshake; edge answers 404")
		}
	}
	im.writeACME()
}

// protocolsOf returns the protocols of a list that a listener of edge may have: HTTP/2 without TLS is "h2" as well, and
// HTTP/3 is never without.
func protocolsOf(list string, tls bool) string {
	var kept []string
	for name := range strings.SplitSeq(strings.Trim(list, "[]"), ", ") {
		if name == `"h2c"` && !tls {
			name = `"h2"`
		}
		if name != `"h2c"` && (name != `"h3"` || tls) && !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	if kept == nil {
		return list
	}
	return "[" + strings.Join(kept, ", ") + "]"
}

func (im *importer) secure(b *plan.Block, l *listener) {
	b.Set("tls", "true", plan.Place{})
	files := slices.ContainsFunc(l.hosts, func(host string) bool { return im.tlsOf(l.sites[host], host).cert != "" })
	orders := slices.ContainsFunc(l.hosts, func(host string) bool {
		ordered, _ := im.mayOrder(host, im.tlsOf(l.sites[host], host))
		return ordered
	})
	if orders {
		b.Set("cert", `"acme"`, plan.Place{})
	} else if !files {
		b.Set("cert", `"internal"`, plan.Place{})
	}
	for _, host := range l.hosts {
		s := l.sites[host]
		t := im.tlsOf(s, host)
		ordered, why := im.mayOrder(host, t)
		if why != "" {
			im.Lose(s.at, "the certificate of "+cmp.Or(host, "any host"), why)
		}
		for _, k := range t.keys {
			if !b.Has(k.Name) {
				b.Set(k.Name, k.Value, k.At)
			}
		}
		im.clientsOf(b, l, s)
		b.From(t.at...)
		certificate := b
		lost := why != "" && host != "" && host[0] == '*' // it may be there: see plan.Present
		if ordered || !files && !orders && !lost || im.known["host "+host] || orders && why != "" && host == "" {
			continue
		} else if host != "" {
			im.known["host "+host], certificate = true, im.Add("[[certificates]]", s.at)
			certificate.Set("hosts", plan.String(host), plan.Place{})
		}
		if certificate.Set("cert", `"internal"`, plan.Place{}); t.cert != "" {
			certificate.SetOr("cert", plan.String(t.cert), `"internal"`, t.at[0])
			certificate.Set("key", plan.String(t.key), t.at[0])
		}
	}
}

// load notes the names that the files of a site are for.
func (im *importer) load(t *secure) {
	if im.loaded[t.cert] != nil || im.option("auto_https", "") == "ignore_loaded_certs" {
		return
	}
	text, _ := im.read.Read(t.cert)
	for _, name := range append(plan.NamesOf(text), t.cert) {
		im.loaded[name] = cmp.Or(im.loaded[name], t)
	}
}

// tlsOf returns what a site says about TLS, with the files of another site if these are for the host: Caddy presents
// these files, and orders nothing.
func (im *importer) tlsOf(s *site, host string) *secure {
	t := s.tls
	if f := cmp.Or(im.loaded[host], im.loaded[config.Star(host)]); f != nil && t.cert == "" {
		t.cert, t.key, t.at = f.cert, f.key, slices.Concat(f.at, t.at)
	}
	return &t
}

// mayOrder reports whether the certificate of a host is ordered by ACME. why says that it is not, although Caddy does.
func (im *importer) mayOrder(host string, t *secure) (ordered bool, why string) {
	auto, issuer := im.option("auto_https", ""), im.option("cert_issuer", "")
	internal := internalName().MatchString(host)
	private := strings.Contains(im.acme.get("ca"), "://") // an authority that may vouch for any name
	asked := slices.ContainsFunc(t.acme, func(k plan.Setting) bool { return k.Name != "key_type" })
	switch {
	case t.cert != "" || t.internal ||
		!asked && (im.options["local_certs"] != nil || issuer == "internal" || internal && issuer != "acme"):
		return false, ""
	case auto == "off" || auto == "disable_certs":
		return false, "auto_https " + auto + ": an internal one stands in"
	case !private && (internal || privateName().MatchString(host)):
		return false, "no authority on the Internet vouches for it: an internal one stands in"
	case t.onDemand && im.acme.get("on_demand.ask") != "" || host != "" && host[0] != '*':
		return true, ""
	}
	return false, "a star needs dns in [acme], any host needs on_demand.ask: no browser trusts what stands in"
}

// writeACME writes [acme], where a certificate is ordered.
func (im *importer) writeACME() {
	const why = "edge has one [acme] for all sites: what is said first counts"
	var hosts []string // hosts of routes are others: a site that answers by itself has none, one with on_demand more
	b := im.Block("[acme]")
	for _, l := range im.listeners {
		for _, host := range l.hosts {
			s := l.sites[host]
			if ordered, _ := im.mayOrder(host, im.tlsOf(s, host)); !l.tls || !ordered {
				continue
			}
			if host != "" && host[0] != '*' && !im.known["ordered "+host] {
				im.known["ordered "+host], hosts = true, append(hosts, host)
			}
			said := slices.Concat(im.acme, s.tls.acme)
			for _, k := range said {
				if (k.Name != "on_demand.ask" || s.tls.onDemand) && !b.Agree(k.Name, k.Value, k.At) {
					im.Lose(k.At, plan.Said(k.Name, k.Value), why)
				}
			}
			usual := []string{"letsencrypt", "zerossl"} // which asks for an address
			if !b.Has("email") {
				usual = usual[:1]
			}
			if said.get("ca") == "" && !b.Agree("ca", plan.Strings(usual...), plan.Place{}) {
				im.Lose(s.at, "the authority of "+s.text, why)
			}
		}
	}
	if b.Has("ca") {
		b.Set("hosts", plan.Strings(hosts...), plan.Place{})
	}
}

// clientsOf makes a listener ask for the certificates that a site wants to see.
func (im *importer) clientsOf(b *plan.Block, l *listener, s *site) {
	for _, ca := range s.tls.ca {
		if l.ca != "" && l.ca != ca.Value {
			im.Lose(ca.At, s.text, "a listener has the authorities of one site: this one is closed")
			s.guard = s.directive
			continue
		}
		l.ca = ca.Value
		im.Note(ca.At, "client_auth", "Caddy refuses a handshake without a certificate, edge the request: 403")
		b.Set("strict_sni", "true", plan.Place{}) // as in Caddy, where a site asks for certificates
		b.Set("client_auth", `"request"`, ca.At)
		b.Set("client_ca", ca.Value, ca.At)
	}
}

// internalName matches hosts for which Caddy itself makes the certificate: addresses, and names of this network.
var internalName = plan.Expr(`^[^.]+$|^[\d.]+$|\.(localhost|local|internal|home\.arpa)$`)

// privateName matches hosts that no authority on the Internet vouches for. Caddy asks one all the same, or Tailscale.
var privateName = plan.Expr(`\.(test|example|invalid|ts\.net)$`)
