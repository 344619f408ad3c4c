package haproxy

import (
	"fmt"
	"net"
	"slices"
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
	b := im.Add("[upstreams."+plan.Key(im.upstreamName(name))+"]", s.head.at)
	var servers []string
	secure, verify := false, true
	defaults := s.serverDefaults()
	for _, l := range s.all("server") {
		options := ownAndDefault(l, defaults)
		if text := im.server(s, l, options); text != "" {
			servers = append(servers, text)
			b.From(l.at)
		}
		secure = secure || options.has("ssl") && !options.has("no-ssl")
		verify = verify && options.after("verify") != "none"
	}
	for _, o := range defaults {
		b.From(o.at)
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

// upstreamName returns the name of the upstream of a backend, which no other one has.
func (im *importer) upstreamName(name string) string {
	n, known := im.names[name]
	if !known {
		if n = plan.Name(name); n == "" {
			n = "backend"
		}
		n = plan.Unused(n, im.used)
		im.names[name] = n
	}
	return n
}

// option is an option of a server, and the word after it, if it has one.
type option struct {
	name, value string
	at          plan.Place
}

type options []option

func (all options) has(name string) bool {
	return slices.ContainsFunc(all, func(o option) bool { return o.name == name })
}

func (all options) after(name string) string {
	for _, o := range all {
		if o.name == name {
			return o.value
		}
	}
	return ""
}

// valued are the options of servers that have a word after them.
var valued = strings.Fields("weight inter rise fall fastinter downinter port verify sni alpn ca-file maxconn cookie " +
	"maxqueue minconn slowstart on-marked-down on-error error-limit observe resolvers resolve-prefer resolve-opts " +
	"init-addr id source crt addr check-sni crl-file ciphers ciphersuites ssl-min-ver ssl-max-ver proto check-proto " +
	"pool-max-conn pool-purge-delay max-reuse namespace redir agent-addr agent-port agent-inter agent-send " +
	"check-alpn verifyhost usesrc interface log-proto tcp-ut track ws on-marked-up npn resolve-net")

// optionsOf cuts words into options.
func optionsOf(words []string, at plan.Place) (all options) {
	for i := 0; i < len(words); i++ {
		o := option{name: words[i], at: at}
		if slices.Contains(valued, o.name) && i+1 < len(words) {
			i++
			o.value = words[i]
		}
		all = append(all, o)
	}
	return all
}

// serverDefaults returns the options of default-server lines, those of the section before those of its defaults.
func (s *section) serverDefaults() (all options) {
	for at := s; at != nil; at = at.base {
		for _, l := range slices.Backward(at.all("default-server")) {
			l.used = true
			all = append(all, optionsOf(l.rest(1), l.at)...)
		}
	}
	return all
}

// ownAndDefault returns the options of a server line, with the default ones that it does not have.
func ownAndDefault(l *line, defaults options) options {
	all := optionsOf(l.rest(3), l.at)
	for _, o := range defaults {
		if !all.has(o.name) && !all.has("no-"+o.name) {
			all = append(all, o)
		}
	}
	return all
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
func (im *importer) server(s *section, l *line, all options) string {
	l.used = true
	address := l.word(2)
	if strings.HasPrefix(address, "/") {
		address = "unix:" + address
	} else if _, _, err := net.SplitHostPort(address); err != nil && !strings.HasPrefix(address, "unix") {
		im.Lose(l.at, l.text(), "a backend has an address and a port")
		return ""
	}
	fields := []string{"address = " + plan.String(strings.Replace(address, "unix@", "unix:", 1))}
	for _, o := range all {
		switch o.name {
		case "weight":
			fields = append(fields, "weight = "+number(o.value))
		case "backup":
			fields = append(fields, "backup = true")
		case "disabled":
			fields = append(fields, "weight = 0")
		case "check", "ssl", "no-check", "no-ssl", "verify":
		case "inter", "rise", "fall", "fastinter", "downinter", "port": // see checks
		default:
			im.lost(s, l, o)
		}
	}
	return "{ " + strings.Join(fields, ", ") + " }"
}

// lost tells of an option that is not carried: one of default-server once.
func (im *importer) lost(s *section, l *line, o option) {
	what := "server … " + o.name
	if o.at != l.at {
		what = "default-server … " + o.name
		id := fmt.Sprint(o.at, o.name)
		if im.told[id] {
			return
		}
		im.told[id] = true
	}
	switch o.name {
	case "sni", "alpn", "ca-file":
		im.Note(o.at, what, "see tls of [upstreams."+s.name+"]")
	case "maxconn", "cookie", "maxqueue", "minconn", "slowstart", "on-marked-down", "on-error", "error-limit",
		"observe", "resolvers", "resolve-prefer", "init-addr", "id", "source", "crt", "addr", "check-sni":
		im.Lose(o.at, what+" "+o.value, "see slow_start, breaker and sticky of upstreams")
	default:
		im.Lose(o.at, what, "edge does not know this option")
	}
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
	var checked options
	defaults := s.serverDefaults()
	for _, l := range s.all("server") {
		if all := ownAndDefault(l, defaults); checked == nil && all.has("check") && !all.has("no-check") {
			checked = all
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
		switch d, ok := parseTime(text); {
		case text == "":
		case word == "inter" && ok:
			fields = append(fields, "interval = "+plan.Duration(d))
		case word != "inter":
			fields = append(fields, word+" = "+number(text))
		}
	}
	is := func(o option) bool { return o.name == "check" }
	b.Set("health_check", "{ "+strings.Join(fields, ", ")+" }", checked[slices.IndexFunc(checked, is)].at)
}
