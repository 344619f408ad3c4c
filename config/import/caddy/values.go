package caddy

import (
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/config/import/plan"
)

// parseTime reads a time as Caddy has it: "10s", "1d12h".
func parseTime(s string) (time.Duration, bool) {
	if d, err := time.ParseDuration(s); err == nil {
		return d, d >= 0
	}
	days, rest, found := strings.Cut(s, "d")
	n, err := strconv.Atoi(days)
	if !found || err != nil || n < 0 || n > 36500 {
		return 0, false
	}
	d := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return d, true
	}
	more, err := time.ParseDuration(rest)
	return d + more, err == nil && more >= 0
}

var sizeText = plan.Expr(`^(\d{1,12})\s*([a-zA-Z]*)$`)

// sizeUnits returns the units of sizes. Those without an i are powers of 1000.
func sizeUnits() map[string]int64 {
	return map[string]int64{
		"": 1, "b": 1, "k": 1000, "kb": 1000, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9,
		"kib": 1 << 10, "ki": 1 << 10, "mib": 1 << 20, "mi": 1 << 20, "gib": 1 << 30, "gi": 1 << 30,
	}
}

// parseSize reads a size as Caddy has it: "10MB", "1GiB".
func parseSize(s string) (int64, bool) {
	m := sizeText().FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	unit, known := sizeUnits()[strings.ToLower(m[2])]
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n * unit, known && err == nil && n < 1<<30
}

var placeholder = plan.Expr(`\{[A-Za-z%?][\w.%?:*\[\]-]*\}`)

// longNames returns the names of placeholders, by their short forms.
func longNames() map[string]string {
	return map[string]string{
		"http.request.host": "host", "http.request.hostport": "hostport", "http.request.port": "port",
		"http.request.method": "method", "http.request.uri": "uri", "http.request.uri.path": "path",
		"http.request.uri.query": "query", "http.request.uri.prefixed_query": "?query",
		"http.request.orig_uri": "orig_uri", "http.request.orig_uri.path": "orig_path",
		"http.request.remote.host": "remote_host", "http.request.remote": "remote", "http.request.scheme": "scheme",
		"http.request.uuid": "uuid", "http.vars.client_ip": "client_ip",
		"http.request.tls.client.fingerprint":  "tls_client_fingerprint",
		"http.request.tls.client.issuer":       "tls_client_issuer",
		"http.request.tls.client.subject":      "tls_client_subject",
		"http.reverse_proxy.upstream.hostport": "upstream_hostport", "http.error.status_code": "err.status_code",
		"http.error.status_text": "err.status_text",
	}
}

// translate replaces the placeholders of s by what known has for them, and returns the first one that it has not.
func translate(s string, known map[string]string) (text, unknown string) {
	text = placeholder().ReplaceAllStringFunc(s, func(all string) string {
		name := strings.Trim(all, "{}")
		if short := longNames()[name]; short != "" {
			name = short
		}
		as, ok := known[name]
		if !ok && unknown == "" {
			unknown = all
		}
		return as
	})
	return text, unknown
}

// factNames returns the variables of fields, by the placeholders of Caddy.
func factNames() map[string]string {
	return map[string]string{
		"remote_host": "{client_ip}", "client_ip": "{client_ip}", "uuid": "{request_id}",
		"tls_client_subject": "{client_cert_subject}", "tls_client_issuer": "{client_cert_issuer}",
		"tls_client_fingerprint": "{client_cert_sha256}", "scheme": schemeMark, "host": hostMark,
	}
}

// Marks in the value of a field stand for what is known of a route: its scheme, and its host where that is one.
const (
	schemeMark = "\x01"
	hostMark   = "\x02"
)

// withRoute returns the value of a field for the requests that w stands for.
func (w *walk) withRoute(f field) (string, bool) {
	scheme := "http"
	if w.on.tls {
		scheme = "https"
	}
	if strings.Contains(f.value, hostMark) && (w.host == "" || strings.Contains(w.host, "*")) {
		w.im.Lose(f.at, f.name, "fields have no {host} where a route is for several")
		return "", false
	}
	return strings.NewReplacer(schemeMark, scheme, hostMark, w.host).Replace(f.value), true
}

// pageNames returns the variables of error pages, by the placeholders of Caddy.
func pageNames() map[string]string {
	return map[string]string{
		"err.status_code": "{status}", "err.status_text": "{reason}", "uuid": "{request_id}", "host": "{host}",
	}
}
