package haproxy

import (
	"net"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// methods returns the values of balance.
func methods() map[string]string {
	return map[string]string{"roundrobin": "round_robin", "static-rr": "round_robin", "leastconn": "least_conn",
		"random": "p2c", "source": "ketama", "uri": "ketama", "first": "", "url_param": "ketama"}
}

// upstream writes the upstream of a backend and reports whether there is one.
func (im *importer) upstream(name string) bool {
	s := im.backends[name]
	if s == nil || len(s.all("server")) == 0 {
		return false
	}
	if im.made[name] {
		return true
	}
	im.made[name] = true
	s.head.used = true
	b := im.Add("[upstreams."+plan.Key(upstreamName(name))+"]", s.head.at)
	var servers []string
	secure, verify := false, true
	for _, l := range s.all("server") {
		if text := im.server(s, l); text != "" {
			servers = append(servers, text)
			b.From(l.at)
		}
		secure = secure || l.has("ssl")
		verify = verify && l.after("verify") != "none"
	}
	b.Set("backends", plan.Lines(servers), plan.Place{})
	b.Set("load_balancing", `"round_robin"`, plan.Place{})
	if l := s.find("balance"); l != nil {
		im.balance(b, l)
	}
	if secure {
		b.Set("tls.verify", strconv.FormatBool(verify), plan.Place{})
	}
	im.times(s, b)
	im.checks(s, b)
	return true
}

func upstreamName(name string) string {
	if n := plan.Name(name); n != "" {
		return n
	}
	return "backend"
}

// balance writes how a backend is chosen.
func (im *importer) balance(b *plan.Block, l *line) {
	word, _, _ := strings.Cut(l.word(1), "(")
	method := methods()[word]
	if word == "hdr" {
		method = "ketama"
	}
	if method == "" {
		im.Lose(l.at, l.text(), "edge does not choose like this: in turns")
		return
	}
	b.Set("load_balancing", plan.String(method), l.at)
	key := map[string]string{"source": "client_ip", "uri": "path", "url_param": "query:" + l.word(2),
		"hdr": "header:" + inner(l.word(1))}[word]
	if key != "" {
		b.Set("hash_key", plan.String(key), l.at)
		im.Note(l.at, l.text(), "keys go to other servers than they did: edge hashes them as nginx does")
	}
}

// inner returns what stands in parentheses: "hdr(X)" is "X".
func inner(s string) string {
	_, rest, _ := strings.Cut(s, "(")
	name, _, _ := strings.Cut(strings.TrimSuffix(rest, ")"), ",")
	return name
}

// server returns a server line as a backend, "" where it is none.
func (im *importer) server(s *section, l *line) string {
	l.used = true
	address := l.word(2)
	if strings.HasPrefix(address, "/") {
		address = "unix:" + address
	} else if _, _, err := net.SplitHostPort(address); err != nil && !strings.HasPrefix(address, "unix") {
		im.Lose(l.at, l.text(), "a backend has an address and a port")
		return ""
	}
	fields := []string{"address = " + plan.String(strings.Replace(address, "unix@", "unix:", 1))}
	for i := 3; i < len(l.words); i++ {
		switch word := l.words[i]; word {
		case "weight":
			i++
			fields = append(fields, "weight = "+number(l.word(i)))
		case "backup":
			fields = append(fields, "backup = true")
		case "disabled":
			fields = append(fields, "weight = 0")
		case "check", "ssl":
		case "inter", "rise", "fall", "fastinter", "downinter", "port":
			i++ // see checks
		case "verify", "sni", "alpn", "ca-file":
			i++
			if word == "ca-file" || word == "sni" || word == "alpn" {
				im.Note(l.at, "server … "+word, "see tls of [upstreams."+s.name+"]")
			}
		case "maxconn", "cookie", "maxqueue", "minconn", "slowstart", "on-marked-down", "on-error", "error-limit",
			"observe", "resolvers", "resolve-prefer", "init-addr", "id", "source", "crt", "addr", "check-sni":
			i++
			im.Lose(l.at, "server … "+word+" "+l.word(i), "see slow_start, breaker and sticky of upstreams")
		default:
			im.Lose(l.at, "server … "+word, "edge does not know this option")
		}
	}
	return "{ " + strings.Join(fields, ", ") + " }"
}

func number(s string) string {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return strconv.FormatUint(n, 10)
	}
	return "1"
}

// times writes the times of a backend.
func (im *importer) times(s *section, b *plan.Block) {
	for _, row := range []struct{ word, key string }{
		{"connect", "timeouts.connect"}, {"server", "timeouts.first_byte"}, {"server", "timeouts.read"},
		{"queue", "pool.queue_timeout"},
	} {
		if l := s.find("timeout", row.word); l != nil {
			if d, ok := parseTime(l.word(2)); ok && d > 0 {
				b.Set(row.key, plan.Duration(d), l.at)
			}
		}
	}
	if l := s.find("retries"); l != nil {
		b.Set("retry.attempts", number(l.word(1)), l.at)
	}
	if l := s.find("http-reuse"); l != nil && l.word(1) == "never" {
		b.Set("pool.idle", "0", l.at)
	}
}

// checks writes the health checks of a backend.
func (im *importer) checks(s *section, b *plan.Block) {
	var checked *line
	for _, l := range append(s.all("server"), s.all("default-server")...) {
		if l.words[0] == "default-server" {
			l.used = true
		}
		if l.has("check") && checked == nil {
			checked = l
		}
	}
	if checked == nil {
		return
	}
	fields := []string{`type = "tcp"`}
	if l := s.find("option", "httpchk"); l != nil {
		path, method := "/", "OPTIONS"
		switch len(l.words) {
		case 2:
		case 3:
			path = l.word(2)
		default:
			method, path = l.word(2), l.word(3)
		}
		fields = []string{"path = " + plan.String(path), "method = " + plan.String(method),
			`expected_status = "200-399"`}
		b.From(l.at)
	}
	if l := s.find("http-check", "expect", "status"); l != nil && len(fields) == 3 {
		if n, err := strconv.ParseUint(l.word(3), 10, 16); err == nil {
			fields[2] = "expected_status = " + strconv.FormatUint(n, 10)
			b.From(l.at)
		}
	}
	if l := s.find("http-check", "send", "meth"); l != nil && len(fields) == 3 {
		fields[0], fields[1] = "path = "+plan.String(l.after("uri")), "method = "+plan.String(l.after("meth"))
		b.From(l.at)
	}
	for _, word := range []string{"inter", "rise", "fall"} {
		text := checked.after(word)
		if d := s.find("default-server"); text == "" && d != nil {
			text = d.after(word)
		}
		switch d, ok := parseTime(text); {
		case text == "":
		case word == "inter" && ok:
			fields = append(fields, "interval = "+plan.Duration(d))
		case word != "inter":
			fields = append(fields, word+" = "+number(text))
		}
	}
	b.Set("health_check", "{ "+strings.Join(fields, ", ")+" }", checked.at)
}
