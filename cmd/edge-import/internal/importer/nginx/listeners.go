package nginx

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// listener is an address, or two of them that are the two halves of one.
type listener struct {
	addresses []string
	port      string
	name      string
	tls       bool
	tcp       bool       // a line is not of QUIC alone
	quic      *directive // a line of listen by which there is HTTP/3, or nil
	announced bool       // each connection begins with a header of the PROXY protocol
	servers   []*server
	first     *server // that takes requests for unknown hosts
	at        []plan.Place
}

func (l *listener) scheme() string {
	if l.tls {
		return "https"
	}
	return "http"
}

func (im *importer) listen() {
	byAddress := map[string]*listener{}
	for _, s := range im.servers {
		list := s.scope.all("listen")
		if list == nil {
			list = []*directive{{name: "listen", args: []string{"80"}, at: s.d.at, used: true}}
		}
		for _, d := range list {
			im.addListen(byAddress, s, d)
		}
	}
	for _, l := range im.listeners {
		l.tls = l.tls || !l.tcp // QUIC is never without
	}
	// 0.0.0.0:80 and [::]:80 of the same servers are one.
	im.listeners = slices.DeleteFunc(im.listeners, func(six *listener) bool {
		four := byAddress["0.0.0.0:"+six.port]
		if six.addresses[0] != "[::]:"+six.port || four == nil || four.tls != six.tls || four.first != six.first ||
			four.announced != six.announced || (four.quic == nil) != (six.quic == nil) ||
			!slices.Equal(four.servers, six.servers) {
			return false
		}
		four.addresses, four.at = []string{":" + four.port}, append(four.at, six.at...)
		return true
	})
	names := map[string]bool{}
	for _, l := range im.listeners {
		l.name = plan.Unused(l.scheme()+"-"+plan.Name(l.port), names)
		for _, s := range l.servers {
			s.listens = append(s.listens, l)
		}
	}
}

func (im *importer) addListen(byAddress map[string]*listener, s *server, d *directive) {
	address, port, ok := parseListen(d.arg(0))
	if udp := slices.Contains(d.args, "udp"); !ok || udp {
		im.Lose(d.at, d.text(), "edge does not know this address"+map[bool]string{true: ": it is one of UDP"}[udp])
		return
	}
	l := byAddress[address]
	if l == nil {
		l = &listener{addresses: []string{address}, port: port, first: s}
		byAddress[address] = l
		im.listeners = append(im.listeners, l)
	}
	if n := len(l.servers); n == 0 || l.servers[n-1] != s {
		l.servers = append(l.servers, s)
	}
	l.at = append(l.at, d.at)
	quic := slices.Contains(d.args, "quic") || slices.Contains(d.args, "http3")
	if l.tcp = l.tcp || !quic; quic && !s.scope.says("http3", "off") {
		l.quic = d
	}
	for _, option := range d.args[1:] {
		switch name, _, _ := strings.Cut(option, "="); name {
		case "default_server", "default":
			l.first = s
		case "ssl":
			l.tls = true
		case "http2", "quic", "http3":
		default:
			l.announced = l.announced || name == "proxy_protocol"
			im.tell("listen."+name, d.at, "listen … "+option)
		}
	}
	l.tls = l.tls || s.scope.block.child("ssl") != nil && s.scope.says("ssl", "on")
}

// parseListen reads an address of listen, and returns it as edge has it and its port.
func parseListen(s string) (address, port string, ok bool) {
	if path, unix := strings.CutPrefix(s, "unix:"); unix {
		return "unix:" + path, "unix", path != ""
	}
	if _, err := strconv.ParseUint(s, 10, 16); err == nil {
		s = "*:" + s
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), "80"
	}
	host = cmp.Or(lookup("*=0.0.0.0; localhost=127.0.0.1", host), host)
	n, err := strconv.ParseUint(port, 10, 16)
	return net.JoinHostPort(host, port), port, err == nil && n > 0 && net.ParseIP(host) != nil
}

// addListener writes a listener, with what the server says that takes requests for unknown hosts.
func (im *importer) addListener(l *listener) {
	b := im.Add("[[listeners]]", l.at...)
	s := l.first.scope
	b.Set("name", plan.String(l.name), plan.Place{})
	b.Set("listen", plan.Strings(l.addresses...), plan.Place{})
	if l.tls {
		im.secure(b, l)
	} else if l.quic != nil {
		im.Lose(l.quic.at, l.quic.text(), "HTTP/3 needs TLS, and over TCP this address is without")
	}
	im.bodySize(b, l)
	im.carry(b, s, "keepalive_timeout", "client_header_timeout", "keepalive_requests")
	if d := s.get("large_client_header_buffers"); d != nil {
		number, err := strconv.ParseInt(d.arg(0), 10, 10)
		if size, ok := plan.ParseSize(d.arg(1), 1<<10); err == nil && ok && number > 0 {
			b.Set("limits.header_size", plan.HeadSize(number*size), d.at)
			b.Set("limits.target_size", plan.HeadSize(size), d.at)
			b.Set("limits.field_size", plan.HeadSize(size), d.at)
		}
	}
	im.believe(b, l)
	if s.says("underscores_in_headers", "on") {
		b.Set("underscores", `"pass"`, s.find("underscores_in_headers").at)
	}
	if d := s.own("access_log"); d != nil && !hasVariables(d.arg(0)) {
		b.Set("access_log", logTarget(d), d.at)
	}
}

// tellsClients is why clients of a listener have other addresses here than there.
const tellsClients = "the PROXY protocol tells them: in nginx with set_real_ip_from alone, and over HTTP with " +
	"real_ip_header proxy_protocol"

// believe writes which peers a listener believes about its clients, by the PROXY protocol or by a field.
func (im *importer) believe(b *plan.Block, l *listener) {
	field, at, named := l.first.scope.value("real_ip_header")
	told, senders := strings.EqualFold(field, "proxy_protocol"), plan.AnySender
	told = told || l.first.scope.outer.block.name == "stream"
	var from []string
	for _, d := range l.first.scope.all("set_real_ip_from") {
		from = append(from, strings.Replace(d.arg(0), "unix:", "unix", 1))
		senders = plan.List(from...)
		if b.From(d.at); !told {
			b.Set("trusted_proxies", senders, d.at)
		}
	}
	if b.From(at); named && !told && !strings.EqualFold(field, "X-Forwarded-For") {
		im.Lose(at, "real_ip_header "+field, "clients are known by X-Forwarded-For and Forwarded")
	}
	if !l.announced {
		return
	}
	b.Set("proxy_protocol.from", senders, plan.Place{})
	b.Set("proxy_protocol.required", "true", plan.Place{})
	if senders == plan.AnySender {
		im.Note(l.at[0], "listen … proxy_protocol without set_real_ip_from", plan.NameSenders)
	}
	if from == nil || !told {
		im.Lose(l.at[0], "the addresses of clients", tellsClients)
	}
}

// logTarget returns the path of access_log, or false.
func logTarget(d *directive) string {
	if d.arg(0) == "off" {
		return "false"
	}
	return plan.String(d.arg(0))
}

// bodySize writes the largest client_max_body_size of what a listener serves: edge has one for each listener.
func (im *importer) bodySize(b *plan.Block, l *listener) {
	var found []*directive
	add := func(d *directive) {
		if d.name == "client_max_body_size" && !slices.Contains(found, d) {
			d.used, found = true, append(found, d)
		}
	}
	for _, s := range l.servers {
		add(cmp.Or(s.scope.find("client_max_body_size"), s.d))
		s.d.each(add)
	}
	if found == nil {
		b.Set("limits.body_size", `"1m"`, l.first.d.at)
		return
	}
	size := func(d *directive) uint64 { // less one: 0 stands for none
		n, _ := plan.ParseSize(d.arg(0), 1<<10)
		return uint64(n - 1)
	}
	largest := slices.MaxFunc(found, func(a, b *directive) int { return cmp.Compare(size(a), size(b)) })
	for _, d := range found {
		if size(d) != size(largest) {
			im.Lose(d.at, d.text(), "a listener has one limit; it has the largest, that of line "+largest.at.String())
		}
	}
	if n := size(largest) + 1; n > 0 {
		b.Set("limits.body_size", plan.Size(int64(n)), largest.at)
	} else {
		im.Note(largest.at, largest.text(), "nothing to write: edge has no limit without limits.body_size")
	}
}

func (im *importer) secure(b *plan.Block, l *listener) {
	b.Set("tls", "true", plan.Place{})
	first := l.first.scope
	if l.quic != nil {
		b.Set("protocols", plan.List("h1", "h2", "h3"), l.quic.at)
		im.carry(b, first, "http3_max_concurrent_streams")
		if first.says("quic_retry", "on") {
			b.Set("h3.retry", `"always"`, first.find("quic_retry").at)
		}
	}
	cert := im.pair(b, first)
	if cert == "" {
		b.Set("cert", `"internal"`, plan.Place{})
		im.Note(l.at[0], "listen … ssl without ssl_certificate", "an internal certificate stands in")
	}
	for _, s := range l.servers {
		file, at, ok := s.scope.value("ssl_certificate")
		hosts := s.hosts
		if file == orderedCert {
			hosts = im.identifiers(s)
		}
		if ok && file == cert && file != orderedCert {
			_, key, _ := s.scope.value("ssl_certificate_key")
			b.From(at, key)
		} else if id := file + " " + s.first; ok && len(hosts) > 0 && !im.certificates[id] {
			im.certificates[id] = true
			own := im.Add("[[certificates]]", at)
			own.Set("hosts", plan.Strings(hosts...), at)
			im.pair(own, s.scope)
		}
		if d := s.otherClients(l); d != nil {
			im.Lose(d.at, d.text(), "a listener asks all clients for the certificates that its first server asks "+
				"for; a server that has to have others is closed: 403")
		}
	}
	if d := first.get("ssl_protocols"); d != nil && len(d.args) > 0 {
		least := lookup("SSLv2=1.0; SSLv3=1.0; TLSv1=1.0; TLSv1.1=1.1; TLSv1.2=1.2; TLSv1.3=1.3", slices.Min(d.args))
		b.Set("min_version", plan.String(cmp.Or(least, "1.2")), d.at)
	}
	if d := first.find("ssl_ciphers"); d != nil {
		known := strings.Split(d.arg(0), ":")
		known = slices.DeleteFunc(known, func(name string) bool { return !cipherName().MatchString(name) })
		if d.used = len(known) > 0; d.used {
			b.Set("ciphers", plan.List(known...), d.at)
		}
	}
	im.carry(b, first, "ssl_client_certificate", "ssl_session_tickets")
	if v, at, ok := first.value("ssl_verify_client"); ok {
		if word := lookup("on=require; optional=request; optional_no_ca=request; off=none", v); word != "" {
			b.Set("client_auth", plan.String(word), at)
		}
	}
}

// otherClients returns a directive because of which a server asks clients for other certificates than l does, or nil.
// One address has one set of authorities, from its first server, and no list of certificates that are lost.
func (s *server) otherClients(l *listener) *directive {
	for _, name := range []string{"ssl_verify_client", "ssl_client_certificate"} {
		own, first := s.scope.all(name), l.first.scope.all(name)
		if textOf(own) != textOf(first) {
			return slices.Concat(own, first)[0]
		}
	}
	return s.scope.get("ssl_crl")
}

// identifiers returns the hosts of the certificate that a server orders, and writes [acme], whose issuer and type of
// keys are as the first server has them.
func (im *importer) identifiers(s *server) (hosts []string) {
	d, kind, b := cmp.Or(s.scope.own("acme_certificate"), s.d), "ecdsa:256", im.Block("[acme]")
	for i, arg := range d.args {
		if key, found := strings.CutPrefix(arg, "key="); found {
			kind = key
		} else if i > 0 {
			hosts = append(hosts, arg)
		}
	}
	if !b.Has("key_type") {
		im.issuer = d.arg(0)
		im.readIssuer(b, s.scope.outer.block.block)
	}
	kind = strings.NewReplacer("ecdsa:", "p", ":", "").Replace(kind)
	if d.arg(0) != im.issuer || !b.Agree("key_type", plan.String(kind), d.at) {
		im.Lose(d.at, d.text(), "edge has one issuer and one type of keys, in [acme]: what is said first counts")
	}
	b.Set("hosts", "[]", plan.Place{}) // hosts of routes may have files of other names
	if hosts == nil {
		hosts = slices.DeleteFunc(slices.Clone(s.hosts), func(host string) bool { return host[0] == '*' })
	}
	return hosts
}

func (im *importer) readIssuer(b *plan.Block, list []*directive) {
	at := slices.IndexFunc(list, func(d *directive) bool { return d.name == "acme_issuer" && d.arg(0) == im.issuer })
	if at < 0 {
		return
	}
	list[at].used = true
	b.From(list[at].at)
	for _, d := range list[at].block {
		d.used = true
		w, _ := words().Find("acme_issuer." + d.name)
		value := strings.TrimPrefix(d.arg(0), "mailto:")
		if key, inside := strings.CutPrefix(d.arg(1), "data:"); d.name == "external_account_key" {
			if !inside {
				text, _ := im.read.Read(im.path(key)) // a key that is empty is refused
				key = strings.TrimSpace(string(text))
			}
			b.Set("eab", plan.Table([]plan.Field{{Name: "kid", Value: value}, {Name: "hmac", Value: key}}), d.at)
		} else if w.Says == "key" {
			im.Put(b, w, cmp.Or(lookup("http=http-01; tls-alpn=tls-alpn-01", value), value), d.at, d.text())
		} else {
			im.Tell(w, d.at, d.text())
		}
	}
}

// orderedCert is what ssl_certificate says of a certificate that acme_certificate orders.
const orderedCert = "$acme_certificate"

// pair writes the certificate of a scope and returns its file.
func (im *importer) pair(b *plan.Block, s *scope) string {
	cert, key := s.get("ssl_certificate"), s.get("ssl_certificate_key")
	if cert == nil {
		return ""
	}
	if b.SetOr("cert", plan.String(cert.arg(0)), `"internal"`, cert.at); cert.arg(0) == orderedCert {
		b.Set("cert", `"acme"`, cert.at)
		b.From(cmp.Or(key, cert).at)
	} else if key != nil {
		b.Set("key", plan.String(key.arg(0)), key.at)
	}
	return cert.arg(0)
}

// cipherName matches the suites of TLS 1.2 that edge has and that are no weak ones, as OpenSSL calls them.
var cipherName = plan.Expr(`^ECDHE-(ECDSA|RSA)-(AES128-GCM-SHA256|AES256-GCM-SHA384|CHACHA20-POLY1305)$`)
