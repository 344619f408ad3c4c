package nginx

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// target is the URL of proxy_pass.
type target struct {
	scheme, authority, uri string
	hasURI                 bool
}

var passURL = plan.Expr(`^(https?|grpcs?)://(unix:[^:]+|[^/?#]+)(?::(/.*)|([/?].*))?$`)

// parseTarget reads the URL of proxy_pass, in which nothing is variable but the URI at its end.
func parseTarget(s string) (t target, ok bool) {
	s = strings.TrimSuffix(s, "$request_uri")
	if !strings.Contains(s, "://") {
		s = "grpc://" + s
	}
	m := passURL().FindStringSubmatch(s)
	if m == nil || hasVariables(s) {
		return t, false
	}
	t = target{scheme: m[1], authority: m[2], uri: m[3] + m[4]}
	t.hasURI = t.uri != ""
	return t, !strings.Contains(t.uri, "?")
}

// proxy returns the route of a location that is proxied.
func (im *importer) proxy(s *server, l *location, d *directive, inner []rewriting) *route {
	url := expand(d.arg(0), l.scope.constants)
	t, ok := parseTarget(url)
	if !ok {
		im.Lose(d.at, d.text(), "the backend is not known from the file; such requests are answered 503")
		closed := answer("503", d.at)
		closed.proxied = true
		return closed
	}
	r := &route{path: "/*", from: []plan.Place{d.at}, proxied: true}
	r.set("dest", plan.String(im.upstream(t, l.scope, d)), d.at)
	if strings.HasPrefix(t.scheme, "grpc") {
		r.set("grpc", "true", d.at)
	}
	im.paths(l, t, d, inner, r)
	if v, at, found := l.scope.value("proxy_redirect"); found && v != "default" {
		if v != "off" {
			im.Note(at, "proxy_redirect "+v, "rewrite_location leads redirects of backends back here")
			r.set("rewrite_location", "true", at)
		}
	} else if d.name == "proxy_pass" && !hasVariables(d.arg(0)) && sendsOwnHost(l) {
		// Only redirects that name the backend as proxy_pass does are rewritten there.
		r.set("rewrite_location", "true", plan.Place{})
		if t.hasURI && t.uri != "/" {
			im.Note(d.at, d.text(), "redirects of the backend that do not lead below "+t.uri+" lead back here too")
		}
	}
	im.requestFields(s, l, t, d, r)
	im.timeouts(l.scope, r)
	im.errorPages(s, l, r)
	return r
}

// sendsOwnHost reports whether backends get the Host that proxy_pass names.
func sendsOwnHost(l *location) bool {
	for _, h := range l.scope.all("proxy_set_header") {
		if strings.EqualFold(h.arg(0), "Host") && h.arg(1) != "$proxy_host" {
			return false
		}
	}
	return true
}

// paths writes what backends see of the path.
func (im *importer) paths(l *location, t target, d *directive, inner []rewriting, r *route) {
	if len(inner) > 0 {
		last := inner[len(inner)-1]
		for _, one := range inner[:len(inner)-1] {
			im.Lose(one.at, "rewrite", "a location has one; the last one counts")
		}
		switch {
		case last.whole != "":
			r.set("rewrite.path", plan.String(templateText(sent(last.whole))), last.at)
		default:
			moved(r, last.prefix, last.to, last.at)
			im.Note(last.at, "rewrite", "redirects of the backend lead back below "+last.prefix+" here")
			if strings.TrimSuffix(l.path, "/") != last.prefix {
				im.Lose(last.at, "rewrite for paths that do not begin with "+last.prefix+"/",
					"edge adds the new beginning to those too")
			}
		}
		return
	}
	if !t.hasURI {
		return
	}
	if l.exact {
		r.set("rewrite.path", plan.String(templateText(t.uri)), d.at)
		return
	}
	switch slash, to := strings.HasSuffix(l.path, "/"), strings.HasSuffix(t.uri, "/"); {
	case slash && to:
	case slash:
		im.Lose(d.at, d.text()+" for paths below "+l.path,
			"without a / at its end it takes them to "+t.uri+"x; edge to "+t.uri+"/x")
	case to && l.path != "/":
		im.Lose(d.at, d.text()+" for paths below "+l.path,
			"with a / at its end it takes them to "+t.uri+"/x; edge to "+t.uri+"x")
	}
	moved(r, strings.TrimSuffix(l.path, "/"), strings.TrimSuffix(t.uri, "/"), d.at)
}

// moved writes that one beginning of the path takes the place of another.
func moved(r *route, from, to string, at plan.Place) {
	if from == to {
		return
	}
	if from != "" {
		r.set("rewrite.strip_prefix", plan.String(sent(from)), at)
	}
	if to != "" {
		r.set("rewrite.add_prefix", plan.String(sent(to)), at)
	}
}

// factNames returns variables that fields may have.
func factNames() map[string]string {
	return map[string]string{
		"remote_addr": "{client_ip}", "realip_remote_addr": "{client_ip}", "request_id": "{request_id}",
		"ssl_protocol": "{tls_version}", "ssl_cipher": "{tls_cipher}", "ssl_server_name": "{sni}",
		"ssl_client_s_dn": "{client_cert_subject}", "ssl_client_i_dn": "{client_cert_issuer}",
		"ssl_client_serial": "{client_cert_serial}",
	}
}

// requestFields writes the fields that backends get.
func (im *importer) requestFields(s *server, l *location, t target, d *directive, r *route) {
	var fields []plan.Field
	host := t.authority
	if strings.HasPrefix(host, "unix:") {
		host = "localhost"
	}
	name := "proxy_set_header"
	if d.name == "grpc_pass" {
		name = "grpc_set_header"
	}
	for _, h := range l.scope.all(name) {
		field, value := h.arg(0), expand(h.arg(1), l.scope.constants)
		r.from = append(r.from, h.at)
		if strings.EqualFold(field, "Host") {
			host = im.hostField(s, l, h, value, t)
			continue
		}
		if value, ok := im.requestField(s, h, field, value); ok {
			fields = slices.DeleteFunc(fields, func(f plan.Field) bool { return strings.EqualFold(f.Name, field) })
			fields = append(fields, plan.Field{Name: field, Value: value})
		}
	}
	if host != "" {
		fields = append([]plan.Field{{Name: "Host", Value: host}}, fields...)
	}
	if len(fields) > 0 {
		r.set("headers.request", plan.Table(fields), plan.Place{})
	}
}

// hostField returns the Host for backends; "" is that of the client.
func (im *importer) hostField(s *server, _ *location, d *directive, value string, t target) string {
	usual := true // clients send no port in Host
	for _, l := range s.listens {
		usual = usual && (l.port == "80" && !l.tls || l.port == "443" && l.tls || l.port == "unix")
	}
	switch value {
	case "$http_host":
		return ""
	case "$host":
		if !usual {
			im.Lose(d.at, d.text(), "edge sends the Host as the client did, with the port that it had")
		}
		return ""
	case "$host:$server_port", "$host:$proxy_port", "$http_host:$server_port":
		if usual {
			im.Lose(d.at, d.text(), "edge sends the Host as the client did, without the port")
		}
		return ""
	case "$proxy_host":
		return t.authority
	case "$server_name":
		if len(s.hosts) > 0 && s.first == s.hosts[0] {
			return s.first
		}
	}
	if hasVariables(value) {
		im.Lose(d.at, d.text(), "the Host of the client goes on")
		return ""
	}
	return value
}

// defaultFields returns values that edge writes without being told.
func defaultFields() map[string][]string {
	return map[string][]string{
		"x-forwarded-for":   {"$proxy_add_x_forwarded_for", "$remote_addr", "$http_x_forwarded_for"},
		"x-forwarded-proto": {"$scheme", "$http_x_forwarded_proto"},
		"x-forwarded-host":  {"$host", "$http_host", "$host:$server_port", "$http_x_forwarded_host"},
	}
}

// requestField returns the value of a field for backends; ok is false where nothing is to be written.
func (im *importer) requestField(s *server, d *directive, field, value string) (here string, ok bool) {
	lower := strings.ToLower(field)
	if slices.Contains(defaultFields()[lower], value) {
		return "", false
	}
	whole := strings.TrimPrefix(value, "$")
	switch {
	case lower == "connection" || lower == "upgrade" || lower == "te" || lower == "keep-alive":
		if value != "" && value != "close" && value != "$http_upgrade" && !strings.EqualFold(value, "upgrade") &&
			!strings.EqualFold(value, "websocket") && !im.upgrade[whole] && value != "$http_connection" {
			im.Lose(d.at, d.text(), "edge writes the fields of its connections itself")
		}
		return "", false
	case whole == "http_"+strings.ReplaceAll(lower, "-", "_"):
		return "", false // as the client sent it
	case value == "$scheme":
		if here, ok = one(s, func(l *listener) string { return schemeOf(l) }); !ok {
			im.Lose(d.at, d.text(), "it differs by the listener; X-Forwarded-Proto has it")
		}
		return here, ok
	case value == "$server_port":
		if here, ok = one(s, func(l *listener) string { return l.port }); !ok {
			im.Lose(d.at, d.text(), "it differs by the listener")
		}
		return here, ok
	case value == "$server_name" && s.first != "":
		return s.first, true
	case value == "$host" || value == "$http_host":
		im.Lose(d.at, d.text(), "X-Forwarded-Host has the host that the client asked for; "+field+" is not set")
		return "", false
	case value == "$proxy_add_x_forwarded_for":
		im.Lose(d.at, d.text(), "X-Forwarded-For has the addresses; "+field+" is not set")
		return "", false
	}
	here, unknown := translate(value, factNames())
	if unknown != "" {
		im.Lose(d.at, d.text(), "fields of requests have no "+unknown)
		return "", false
	}
	return here, true
}

// one returns what is the same for all listeners of a server.
func one(s *server, of func(l *listener) string) (value string, ok bool) {
	for _, l := range s.listens {
		if l.tls != s.listens[len(s.listens)-1].tls && s.plain != nil {
			continue // its requests are redirected
		}
		if ok && of(l) != value {
			return "", false
		}
		value, ok = of(l), true
	}
	return value, ok
}

func schemeOf(l *listener) string {
	if l.tls {
		return "https"
	}
	return "http"
}

// timeouts writes the times of a proxied route.
func (im *importer) timeouts(at *scope, r *route) {
	for _, name := range []string{"proxy_read_timeout", "grpc_read_timeout"} {
		text, place, ok := at.value(name)
		if !ok {
			continue
		}
		d, valid := parseTime(text)
		if !valid || d <= 0 {
			im.Lose(place, name+" "+text, "edge does not know this time")
			continue
		}
		r.set("timeouts.first_byte", plan.Duration(d), place)
		r.set("timeouts.read", plan.Duration(d), place)
		r.set("timeouts.idle", plan.Duration(d), place)
	}
}

// withPort returns an address with a port.
func withPort(address, port string) string {
	if strings.HasPrefix(address, "unix:") {
		return address
	}
	if _, p, err := net.SplitHostPort(address); err == nil {
		if _, err := strconv.ParseUint(p, 10, 16); err == nil {
			return address
		}
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), port)
}
