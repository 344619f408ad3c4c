package caddy

import (
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// certificate is where the certificate of a site comes from.
type certificate struct {
	asked     bool // the site has a directive tls
	internal  bool
	cert, key string
	minimum   string // the oldest version of TLS
	ciphers   []string
	at        []plan.Place
	cipherAt  plan.Place
}

// clients is what a site asks of clients with TLS.
type clients struct {
	auth, ca string
	at       []plan.Place
}

// readTLS reads tls of a site.
func (im *importer) readTLS(s *site) {
	c := &s.certificate
	c.internal = im.options.local
	for _, d := range named(s.d.block, "tls") {
		d.used, c.asked = true, true
		c.at = append(c.at, d.at)
		switch {
		case d.arg(0) == "internal":
			c.internal = true
		case len(d.args) == 2:
			c.cert, c.key = d.arg(0), d.arg(1)
		case len(d.args) == 1 && d.arg(0) != "force_automate":
			im.Note(d.at, d.text(), acmeOnly)
		}
		for _, o := range d.block {
			o.used = true
			im.optionTLS(s, o)
		}
	}
}

// optionTLS reads a line of tls.
func (im *importer) optionTLS(s *site, d *directive) {
	switch d.name {
	case "protocols":
		if v := strings.TrimPrefix(d.arg(0), "tls"); v == "1.2" || v == "1.3" {
			s.certificate.minimum = v
			s.certificate.at = append(s.certificate.at, d.at)
		}
		if d.arg(1) == "tls1.2" {
			im.Lose(d.at, d.text(), "edge has an oldest version of TLS, no newest")
		}
	case "ciphers":
		s.certificate.ciphers, s.certificate.cipherAt = d.args, d.at
	case "client_auth":
		im.clientAuth(s, d)
	case "issuer":
		if d.arg(0) == "internal" {
			s.certificate.internal = true
			s.certificate.at = append(s.certificate.at, d.at)
			for _, c := range d.block {
				im.lose(c, "edge makes its own certificates as it does")
			}
			return
		}
		im.note(d, acmeOnly)
	case "ca", "ca_root", "dns", "resolvers", "eab", "key_type", "on_demand", "propagation_delay", "dns_ttl",
		"propagation_timeout", "dns_challenge_override_domain", "renewal_window_ratio", "reuse_private_keys":
		im.note(d, acmeOnly)
	case "alpn":
		im.lose(d, "see protocols of listeners")
	default:
		im.lose(d, "edge does not know it")
	}
}

// clientAuths returns the modes of client_auth.
func clientAuths() map[string]string {
	return map[string]string{
		"request": "request", "verify_if_given": "request", "require": "require", "require_and_verify": "require",
	}
}

// clientAuth reads client_auth.
func (im *importer) clientAuth(s *site, d *directive) {
	s.clients.at = append(s.clients.at, d.at)
	for _, c := range d.block {
		c.used = true
		switch {
		case c.name == "mode" && clientAuths()[c.arg(0)] != "":
			s.clients.auth = clientAuths()[c.arg(0)]
		case c.name == "trusted_ca_cert_file" && len(c.args) == 1:
			s.clients.ca = c.arg(0)
		case c.name == "trust_pool" && c.arg(0) == "file" && len(c.args) == 2:
			s.clients.ca = c.arg(1)
		case c.name == "trust_pool" && c.arg(0) == "file" && len(c.block) == 1 && len(c.block[0].args) == 1:
			s.clients.ca = c.block[0].arg(0)
			c.block[0].used = true
			s.clients.at = append(s.clients.at, c.block[0].at)
		default:
			im.lose(c, "authorities of clients come from one file")
			s.clients.ca = ""
			continue
		}
		s.clients.at = append(s.clients.at, c.at)
	}
	if s.clients.auth == "" {
		s.clients.auth = "require"
	}
	mode := d.child("mode")
	if verified := mode == nil || mode.arg(0) != "require" && mode.arg(0) != "request"; !verified {
		return
	}
	if text, err := im.read.Read(s.clients.ca); err != nil || !x509.NewCertPool().AppendCertsFromPEM(text) {
		// Without its authorities edge would take any certificate.
		im.Lose(d.at, d.text(), "the authorities are not in one file that can be read: the site is closed")
		s.guard = d
	}
}

// readLogs reads log of a site.
func (im *importer) readLogs(s *site) {
	for _, d := range named(s.d.block, "log") {
		d.used = true
		s.logAt = append(s.logAt, d.at)
		for _, c := range d.block {
			c.used = true
			switch {
			case c.name == "output" && c.arg(0) == "file" && len(c.args) > 1:
				s.log = plan.String(c.arg(1))
				s.logAt = append(s.logAt, c.at)
				for _, roll := range c.block {
					im.lose(roll, "all logs are rotated alike: see [log] rotate")
				}
			case c.name == "output" && c.arg(0) == "discard":
				s.log = "false"
				s.logAt = append(s.logAt, c.at)
			case c.name == "output" && c.arg(0) == "stdout",
				c.name == "format" && c.arg(0) == "json" && len(c.block) == 0:
				im.note(c, "nothing to write: the default of edge")
			case c.name == "output" && c.arg(0) == "stderr":
				im.Block("[log]").Set("output", `["stderr"]`, c.at)
			case c.name == "level":
				im.note(c, "nothing to write: the access log has no levels")
			default:
				im.lose(c, "the access log is JSON, common or combined: [log] format")
			}
		}
	}
}

// addListener writes a listener.
func (im *importer) addListener(l *listener) {
	b := im.Add("[[listeners]]", l.at...)
	none := plan.Place{}
	b.Set("name", plan.String(l.name), none)
	b.Set("listen", plan.String(l.listen), none)
	if l.forward && im.onlySecure(l) {
		b.Set("redirect_to_https", "true", none)
	} else {
		l.forward = false
	}
	if l.tls {
		im.secure(b, l)
	}
	if len(im.options.trusted) > 0 {
		b.Set("trusted_proxies", plan.List(im.options.trusted...), im.options.trustedAt)
	}
	im.bodySize(b, l)
	for _, d := range im.options.servers {
		for _, c := range d.block {
			im.serverOption(b, c)
		}
	}
	open := slices.ContainsFunc(l.places, func(p place) bool { return p.host == "" })
	if !open && im.redirectTarget(l, "") == nil && !l.forward {
		im.Note(l.at[0], "hosts that no site of "+l.listen+" has",
			"Caddy answers an empty 200, or refuses the handshake; edge answers 404")
	}
}

// onlySecure reports whether exactly one listener has TLS, and l has no site of its own. Then redirect_to_https sends
// clients where Caddy sends them.
func (im *importer) onlySecure(l *listener) bool {
	secure := 0
	for _, o := range im.listeners {
		if o.tls {
			secure++
		}
	}
	return secure == 1 && len(l.places) == 0
}

// bodySize writes the limit of request bodies where all sites of a listener have one: the largest.
func (im *importer) bodySize(b *plan.Block, l *listener) {
	var largest *site
	for _, p := range l.places {
		if p.site.bodySize == 0 {
			for _, o := range l.places {
				if o.site.bodySize > 0 {
					im.Lose(o.site.bodySizeAt, "max_size",
						"a listener has one limit, and another of its sites has none")
				}
			}
			return
		}
		if largest == nil || p.site.bodySize > largest.bodySize {
			largest = p.site
		}
	}
	if largest == nil {
		return
	}
	b.Set("limits.body_size", plan.Size(largest.bodySize), largest.bodySizeAt)
	for _, p := range l.places {
		if p.site.bodySize != largest.bodySize {
			im.Lose(p.site.bodySizeAt, "max_size", "a listener has one limit; it has the largest, that of "+
				largest.bodySizeAt.String())
		}
	}
}

// serverOption reads an option of servers that listeners have.
func (im *importer) serverOption(b *plan.Block, d *directive) {
	switch d.name {
	case "max_header_size":
		if n, ok := parseSize(d.arg(0)); ok {
			b.Set("limits.header_size", plan.Size(n), d.at)
		}
	case "protocols":
		var list []string
		for _, v := range d.args {
			switch v {
			case "h1", "h2":
				list = append(list, v)
			case "h3":
				im.Lose(d.at, d.text(), "HTTP/3 is not available in this version")
			default:
				im.Note(d.at, d.text(), "nothing to write: HTTP/2 without TLS is a part of h2")
			}
		}
		if len(list) > 0 {
			b.Set("protocols", plan.List(list...), d.at)
		}
	case "timeouts":
		for _, c := range d.block {
			c.used = true
			t, ok := parseTime(c.arg(0))
			switch {
			case ok && t > 0 && c.name == "read_header":
				b.Set("limits.header_timeout", plan.Duration(t), c.at)
			case ok && t > 0 && c.name == "idle":
				b.Set("limits.idle_timeout", plan.Duration(t), c.at)
			default:
				im.lose(c, "bodies and answers have a rate, not a time: limits.min_rate")
			}
		}
	}
}

// secure writes the TLS of a listener.
func (im *importer) secure(b *plan.Block, l *listener) {
	none := plan.Place{}
	b.Set("tls", "true", none)
	im.Note(l.at[0], "HTTP/3 on "+l.listen, "not available in this version: clients use HTTP/2 and HTTP/1.1")
	files := false
	for _, p := range l.places {
		c := &p.site.certificate
		files = files || c.cert != ""
		if p.host == "" && c.cert != "" {
			b.SetOr("cert", plan.String(c.cert), `"internal"`, c.at[0])
			b.Set("key", plan.String(c.key), c.at[0])
			b.From(c.at...)
		}
		if c.cert == "" && !c.internal && !internalName(p.host) {
			im.Lose(p.site.d.at, "the certificate of "+p.host,
				"this version has no ACME: an internal one stands in; name files in [[certificates]]")
		}
		if c.minimum != "" && !b.Has("min_version") {
			b.Set("min_version", plan.String(c.minimum), c.at[len(c.at)-1])
		}
		if len(c.ciphers) > 0 {
			b.Set("ciphers", plan.List(c.ciphers...), c.cipherAt)
		}
		b.From(c.at...)
	}
	if !files {
		b.Set("cert", `"internal"`, none)
	}
	im.clientsOf(b, l)
}

// clientsOf writes what clients have to show. Where not all sites of a listener ask for a certificate, routes do.
func (im *importer) clientsOf(b *plan.Block, l *listener) {
	var first *site
	for _, p := range l.places {
		c := &p.site.clients
		switch {
		case c.auth == "" || p.site.guard != nil:
			l.mixed = true
		case first == nil:
			first = p.site
		case c.ca != first.clients.ca:
			im.Lose(c.at[0], "client_auth", "a listener has the authorities of one site: this one is closed")
			p.site.guard = &directive{name: "client_auth", at: c.at[0]}
		default:
			l.mixed = l.mixed || c.auth != first.clients.auth
		}
		if p.site.guard == nil {
			b.From(c.at...)
		}
	}
	if first == nil {
		return
	}
	auth := first.clients.auth
	if l.mixed {
		auth = "request"
	}
	if l.mixed && first.clients.ca == "" {
		im.Lose(first.clients.at[0], "client_auth", "routes ask for certificates that are verified: the site is closed")
		first.guard = &directive{name: "client_auth", at: first.clients.at[0]}
	}
	if l.mixed {
		im.Note(first.clients.at[0], "client_auth",
			"Caddy refuses a handshake without a certificate, edge the request: 403")
	}
	b.Set("strict_sni", "true", plan.Place{}) // as in Caddy, where a site asks for certificates
	b.Set("client_auth", plan.String(auth), first.clients.at[0])
	if first.clients.ca != "" {
		b.Set("client_ca", plan.String(first.clients.ca), first.clients.at[0])
	}
}

// internalName reports whether Caddy itself would make the certificate for a host.
func internalName(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || host != "" && !strings.Contains(host, ".") {
		return true
	}
	for _, end := range []string{".localhost", ".local", ".internal", ".home.arpa"} {
		if strings.HasSuffix(host, end) {
			return true
		}
	}
	return false
}

// writeCertificates writes the certificates of the sites of each listener where a site names files.
func (im *importer) writeCertificates() {
	var done []string
	for _, l := range im.listeners {
		files := slices.ContainsFunc(l.places, func(p place) bool { return p.site.certificate.cert != "" })
		if !l.tls || !files {
			continue
		}
		for _, p := range l.places {
			c := &p.site.certificate
			id := p.host + " " + c.cert
			if p.host == "" || slices.Contains(done, id) {
				continue
			}
			done = append(done, id)
			b := im.Add("[[certificates]]", p.site.d.at)
			b.Set("hosts", plan.String(p.host), plan.Place{})
			if c.cert == "" {
				b.Set("cert", `"internal"`, plan.Place{})
				continue
			}
			b.SetOr("cert", plan.String(c.cert), `"internal"`, c.at[0])
			b.Set("key", plan.String(c.key), c.at[0])
		}
	}
}
