package nginx

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// addListener writes a listener, with what the server says that takes requests for unknown hosts.
func (im *importer) addListener(l *listener) {
	b := im.Add("[[listeners]]", l.at...)
	s := l.first.scope
	b.Set("name", plan.String(l.name), plan.Place{})
	b.Set("listen", plan.Strings(l.addresses...), plan.Place{})
	if l.tls {
		im.secure(b, l)
	}
	im.limits(b, l)
	var trusted []string
	for _, d := range s.all("set_real_ip_from") {
		trusted = append(trusted, strings.Replace(d.arg(0), "unix:", "unix", 1))
		b.Set("trusted_proxies", plan.List(trusted...), d.at)
	}
	if field, at, ok := s.value("real_ip_header"); ok {
		b.From(at)
		if !strings.EqualFold(field, "X-Forwarded-For") {
			im.Lose(at, "real_ip_header "+field, "clients are known by X-Forwarded-For and Forwarded")
		}
	}
	if d := s.get("real_ip_recursive"); d != nil {
		im.Note(d.at, d.text(), "edge looks for the first address that is not trusted, as with on")
	}
	if d := s.get("underscores_in_headers"); d != nil && d.arg(0) == "on" {
		b.Set("underscores", `"pass"`, d.at)
	}
	if d := s.own("access_log"); d != nil && !hasVariables(d.arg(0)) {
		b.Set("access_log", logTarget(d), d.at)
	}
}

// logTarget returns the path of access_log, or false.
func logTarget(d *directive) string {
	if d.arg(0) == "off" {
		return "false"
	}
	return plan.String(d.arg(0))
}

// limits writes the limits of a listener.
func (im *importer) limits(b *plan.Block, l *listener) {
	s := l.first.scope
	im.bodySize(b, l)
	if t, at, ok := s.value("keepalive_timeout"); ok {
		if d, valid := parseTime(t); valid && d > 0 {
			b.Set("limits.idle_timeout", plan.Duration(d), at)
		} else {
			im.Lose(at, "keepalive_timeout "+t, "connections are kept")
		}
	}
	if t, at, ok := s.value("client_header_timeout"); ok {
		if d, valid := parseTime(t); valid {
			b.Set("limits.header_timeout", plan.Duration(d), at)
		}
	}
	if n, at, ok := s.value("keepalive_requests"); ok {
		b.Set("limits.keepalive_requests", n, at)
	}
	if d := s.get("large_client_header_buffers"); d != nil {
		number, okay := parseSize(d.arg(0))
		size, valid := parseSize(d.arg(1))
		if okay && valid && number > 0 && number < 1024 {
			b.Set("limits.header_size", plan.Size(number*size), d.at)
		}
	}
}

// bodySizeDefault is client_max_body_size where no file says it.
const bodySizeDefault = 1 << 20

// bodySize writes the largest client_max_body_size of what a listener serves: edge has one for each listener.
func (im *importer) bodySize(b *plan.Block, l *listener) {
	type limit struct {
		n  int64
		at plan.Place
		d  *directive
	}
	var found []limit
	for _, s := range l.servers {
		own := limit{n: bodySizeDefault, at: s.d.at}
		if d := s.scope.get("client_max_body_size"); d != nil {
			own.n, _ = parseSize(d.arg(0))
			own.at, own.d = d.at, d
		}
		found = append(found, own)
		eachLocation(s.d, func(loc *directive) {
			if d := loc.child("client_max_body_size"); d != nil {
				d.used = true
				n, _ := parseSize(d.arg(0))
				found = append(found, limit{n, d.at, d})
			}
		})
	}
	largest := found[0]
	for _, f := range found {
		if largest.n != 0 && (f.n == 0 || f.n > largest.n) {
			largest = f
		}
	}
	for _, f := range found {
		if f.n != largest.n && f.d != nil {
			im.Lose(f.at, f.d.text(), "a listener has one limit; it has the largest, that of line "+
				largest.at.String())
		} else if f.n != largest.n {
			im.Note(f.at, "client_max_body_size of 1m, the default of nginx",
				"a listener has one limit; it has the largest, that of "+largest.at.String())
		}
	}
	if largest.n > 0 {
		b.Set("limits.body_size", plan.Size(largest.n), largest.at)
	} else if largest.d != nil {
		im.Note(largest.at, largest.d.text(), "nothing to write: edge has no limit without limits.body_size")
	}
}

// eachLocation calls f for the locations inside a block, at any depth.
func eachLocation(block *directive, f func(*directive)) {
	for _, d := range block.block {
		if d.name == "location" && d.open {
			f(d)
			eachLocation(d, f)
		}
	}
}

// secure writes the TLS of a listener.
func (im *importer) secure(b *plan.Block, l *listener) {
	b.Set("tls", "true", plan.Place{})
	first := l.first.scope
	cert := im.pair(b, first)
	if cert == "" {
		b.Set("cert", `"internal"`, plan.Place{})
		im.Note(l.at[0], "listen … ssl without ssl_certificate", "an internal certificate stands in")
	}
	for _, s := range l.servers {
		if file, at, ok := s.scope.value("ssl_certificate"); ok && file == cert {
			b.From(at)
			if _, at, ok := s.scope.value("ssl_certificate_key"); ok {
				b.From(at)
			}
		} else if ok && len(s.hosts) > 0 &&
			im.made["cert "+file+" "+s.first] == "" {
			im.made["cert "+file+" "+s.first] = file
			own := im.Add("[[certificates]]", at)
			own.Set("hosts", plan.Strings(s.hosts...), at)
			im.pair(own, s.scope)
		}
	}
	im.versions(b, first)
	if file, at, ok := first.value("ssl_client_certificate"); ok {
		b.Set("client_ca", plan.String(file), at)
	}
	if v, at, ok := first.value("ssl_verify_client"); ok {
		if word := clientAuths()[v]; word != "" {
			b.Set("client_auth", plan.String(word), at)
		}
	}
	for _, s := range l.servers {
		otherClients(im.Plan, s, l)
	}
	if v, at, ok := first.value("ssl_session_tickets"); ok && v == "off" {
		b.Set("session_tickets", "false", at)
	}
}

// verifies returns the directive by which a server refuses clients without a certificate of these authorities, or nil.
func verifies(s *scope) (d *directive, authorities string) {
	d = s.get("ssl_verify_client")
	if d == nil || d.arg(0) != "on" {
		return nil, ""
	}
	authorities, _, _ = s.value("ssl_client_certificate")
	return d, authorities
}

// refusesClients returns the directive because of which a server of l has to stay closed, or nil: it asks clients for
// certificates that the listener does not ask for. One address has one set of authorities, that of its first server.
func (s *server) refusesClients(l *listener) *directive {
	if !l.tls {
		return nil
	}
	d, authorities := verifies(s.scope)
	if d == nil {
		return nil
	}
	if crl := s.scope.get("ssl_crl"); crl != nil {
		return crl
	}
	if asked, own := verifies(l.first.scope); asked != nil && own == authorities {
		return nil
	}
	return d
}

// otherClients adds the findings about what a server asks of clients where that is not what the listener asks.
func otherClients(im *plan.Plan, s *server, l *listener) {
	if d := s.refusesClients(l); d != nil {
		im.Lose(d.at, d.text(), "a listener asks all clients for the same certificates; this server is closed: 403")
	}
	d, asked := s.scope.get("ssl_verify_client"), l.first.scope.get("ssl_verify_client")
	switch {
	case s == l.first || d == asked:
	case asked != nil && asked.arg(0) == "on" && (d == nil || d.arg(0) != "on"):
		im.Lose(asked.at, asked.text(), "a listener asks all clients for certificates, also those of the server at "+
			s.d.at.String())
	case d != nil && s.refusesClients(l) == nil:
		im.Note(d.at, d.text(), "a listener asks all clients for the same: it does what its first server says")
	}
	if file := s.scope.get("ssl_client_certificate"); file != nil && s != l.first &&
		file != l.first.scope.get("ssl_client_certificate") {
		im.Note(file.at, file.text(), "a listener has the authorities of its first server")
	}
}

// clientAuths returns the values of ssl_verify_client.
func clientAuths() map[string]string {
	return map[string]string{
		"on": "require", "optional": "request", "optional_no_ca": "request", "off": "none",
	}
}

// pair writes the certificate of a scope and returns its file.
func (im *importer) pair(b *plan.Block, s *scope) string {
	list := s.all("ssl_certificate")
	keys := s.all("ssl_certificate_key")
	if len(list) == 0 {
		return ""
	}
	cert := list[0].arg(0)
	if hasVariables(cert) || strings.HasPrefix(cert, "data:") {
		im.Lose(list[0].at, list[0].text(), "certificates come from files with names that stand there")
		return ""
	}
	b.SetOr("cert", plan.String(cert), `"internal"`, list[0].at)
	if len(keys) > 0 {
		b.Set("key", plan.String(keys[0].arg(0)), keys[0].at)
	}
	for _, d := range list[1:] {
		im.Lose(d.at, d.text(), "one certificate for each name; add a [[certificates]] for this one")
	}
	return cert
}

// versions writes the versions and ciphers of TLS.
func (im *importer) versions(b *plan.Block, s *scope) {
	if d := s.get("ssl_protocols"); d != nil {
		oldest := ""
		for _, v := range []string{"TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1"} {
			if slices.Contains(d.args, v) {
				oldest = strings.TrimPrefix(v, "TLSv")
			}
		}
		if oldest == "1" {
			oldest = "1.0"
		}
		if oldest != "" {
			b.Set("min_version", plan.String(oldest), d.at)
		}
	}
	d := s.get("ssl_ciphers")
	if d == nil {
		return
	}
	var known []string
	for _, name := range strings.Split(d.arg(0), ":") {
		if cipherNames()[name] {
			known = append(known, name)
		}
	}
	switch lost := len(strings.Split(d.arg(0), ":")) - len(known); {
	case len(known) == 0:
		im.Note(d.at, d.text(), "the default of edge, which is a safe choice, stands in")
		return
	case lost > 0:
		im.Note(d.at, "ssl_ciphers …", "suites that edge does not have are left out")
	}
	b.Set("ciphers", plan.List(known...), d.at)
}

// cipherNames returns the suites of TLS 1.2 that edge has and that are no weak ones, as OpenSSL calls them.
func cipherNames() map[string]bool {
	return map[string]bool{
		"ECDHE-ECDSA-AES128-GCM-SHA256": true, "ECDHE-RSA-AES128-GCM-SHA256": true,
		"ECDHE-ECDSA-AES256-GCM-SHA384": true, "ECDHE-RSA-AES256-GCM-SHA384": true,
		"ECDHE-ECDSA-CHACHA20-POLY1305": true, "ECDHE-RSA-CHACHA20-POLY1305": true,
	}
}
