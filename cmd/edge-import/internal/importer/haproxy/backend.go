package haproxy

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// balances are the values of balance: how edge chooses, and by what key. $ is the argument.
const balances = `
roundrobin static-rr: round_robin
leastconn: least_conn
random: p2c
source: ketama client_ip
uri: ketama path
url_param: ketama query:$
hdr: ketama header:$`

// listMax is how long a list of backends in one line is.
const listMax = 100

// upstream writes the upstream of a backend and returns its name, which no other one has.
func (im *importer) upstream(s *section) string {
	if s.upstream != "" {
		return s.upstream
	}
	s.upstream = plan.Unused(cmp.Or(plan.Name(s.name), "backend"), im.upstreams)
	b := im.Add("[upstreams."+plan.Key(s.upstream)+"]", s.head.at)
	var servers []string
	var defaults map[string]option
	for _, l := range slices.Concat(cmp.Or(s.base, &section{}).all("default-server"), s.all("default-server")) {
		defaults = l.options(defaults, 1)
	}
	secure, verify := false, true
	var checked map[string]option
	shared := map[string]string{} // keys that edge has for all servers of an upstream alone
	b.Set("backends", "", plan.Place{})
	b.Set("load_balancing", `"round_robin"`, plan.Place{})
	im.balance(b, s)
	for _, l := range s.all("server") {
		all := l.options(defaults, 3)
		if checked == nil && all["check"].what != "" {
			checked = all
		}
		if text := im.server(b, l, all, shared); text != "" {
			servers = append(servers, text)
			secure, verify = secure || all["ssl"].what != "", verify && all["verify"].value != "none"
		}
	}
	if list := "[" + strings.Join(servers, ", ") + "]"; len(list) <= listMax {
		b.Set("backends", list, plan.Place{})
	} else {
		b.Set("backends", plan.Lines(servers), plan.Place{})
	}
	if secure {
		b.Set("tls.verify", strconv.FormatBool(verify), plan.Place{})
	}
	names, tcp := []string{"timeout.connect"}, s.mode() == "tcp"
	if !tcp {
		names = append(names, "timeout.server", "timeout.server.again", "timeout.queue", "retries")
	}
	im.keys(b, s, names...)
	if checked != nil {
		im.check(b, s, checked)
	}
	if l := s.find("cookie"); l != nil {
		if l.used = l.has("insert") && !tcp; l.used {
			b.Set("sticky.cookie", plan.String(l.word(1)), l.at)
			im.Note(l.at, l.text(), "the values of the cookie are edge's own: each client gets a new one")
		}
	}
	return s.upstream
}

type option struct {
	value string
	what  string // the option, for findings
	at    plan.Place
}

// flags are the options of servers and addresses that have no word after them.
var flags = plan.Expr(`^(?:no-.*|force-.*|send-proxy.*|check|ssl|backup|disabled|enabled|stick|non-stick|allow-0rtt|` +
	`tfo|v4v6|v6only|strict-sni|transparent|defer-accept|accept-proxy|check-ssl|check-send-proxy|agent-check|` +
	`generate-certificates|prefer-client-ciphers)$`)

// options adds the options of a line, which begin at a word, to others, where they replace options of the same name.
func (l *line) options(others map[string]option, from int) map[string]option {
	l.used = true
	all, list := map[string]option{}, l.rest(from)
	maps.Copy(all, others)
	for i := 0; i < len(list); i++ {
		name, o := list[i], option{what: l.words[0] + " … " + list[i], at: l.at}
		if !flags().MatchString(name) && i+1 < len(list) {
			i++
			o.value = list[i]
			o.what += " " + o.value
		}
		if strings.HasPrefix(name, "send-proxy") {
			name, o.value = "send-proxy", cmp.Or(lookup("send-proxy: v1", name), "v2")
		}
		all[name] = o
	}
	return all
}

// server returns a server line as a backend, "" where it is none.
func (im *importer) server(b *plan.Block, l *line, all map[string]option, shared map[string]string) string {
	address := strings.Replace(l.word(2), "unix@", "unix:", 1)
	if strings.HasPrefix(address, "/") {
		address = "unix:" + address
	} else if _, _, err := net.SplitHostPort(address); err != nil && !strings.HasPrefix(address, "unix:") {
		im.Lose(l.at, l.text(), "a backend has an address and a port")
		return ""
	}
	b.From(l.at)
	fields := []string{"address = " + plan.String(address)}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		w, _ := words().Find("server." + name)
		o := all[name]
		b.From(o.at)
		switch {
		case name == "disabled":
			fields = append(fields, "weight = 0")
		case name == "weight" && all["disabled"].what == "":
			n, _ := plan.Number.Value(o.value)
			fields = append(fields, "weight = "+n)
		case name == "backup":
			fields = append(fields, "backup = true")
		case w.Says == "key" && shared[w.Key] == "":
			shared[w.Key] = o.value
			im.Put(b, w, o.value, o.at, o.what)
		case w.Says == "key" && shared[w.Key] != o.value:
			im.Lose(o.at, o.what, "servers of an upstream do not differ in "+w.Key)
		case w.Says != "key" && w.Says != "unread":
			im.Tell(w, o.at, o.what)
		}
	}
	return "{ " + strings.Join(fields, ", ") + " }"
}

func (im *importer) balance(b *plan.Block, s *section) {
	l, tcp := s.find("balance"), s.mode() == "tcp"
	word, argument, _ := strings.Cut(strings.TrimSuffix(l.word(1), ")"), "(")
	method, key, _ := strings.Cut(lookup(balances, word), " ")
	switch {
	case l == nil:
		return
	case method == "", tcp && key != "" && key != "client_ip":
		im.Lose(l.at, l.text(), "edge does not choose like this: in turns")
		return
	}
	b.Set("load_balancing", plan.String(method), l.at)
	if key != "" {
		if !tcp { // a service hashes the address of the client
			b.Set("hash_key", plan.String(strings.Replace(key, "$", cmp.Or(argument, l.word(2)), 1)), l.at)
		}
		im.Note(l.at, l.text(), "keys go to other servers than they did: edge hashes them as nginx does")
	}
}

func (im *importer) check(b *plan.Block, s *section, checked map[string]option) {
	fields := []string{`type = "tcp"`}
	if l := s.find("option", "httpchk"); l != nil {
		path, method, status := cmp.Or(l.word(3), l.word(2), "/"), "OPTIONS", `"200-399"`
		if l.word(3) != "" {
			method = l.word(2)
		}
		_, host, _ := strings.Cut(l.word(4), "Host:")
		b.From(l.at)
		if l := s.find("http-check", "expect", "status"); l != nil {
			status = plan.Strings(strings.Split(l.word(3), ",")...)
			b.From(l.at)
		}
		if l := s.find("http-check", "send", "meth"); l != nil {
			method, path, host = l.after("meth"), cmp.Or(l.after("uri"), path), cmp.Or(l.after("Host"), host)
			l.used = !l.has("body") && (l.has("Host") || !l.has("hdr"))
			b.From(l.at)
		}
		fields = []string{"path = " + plan.String(path), "method = " + plan.String(method),
			"expected_status = " + status}
		if host != "" {
			fields = append(fields, "host = "+plan.String(strings.TrimSpace(host)))
		}
	}
	for _, name := range []string{"inter", "rise", "fall"} {
		w, _ := words().Find("check." + name)
		if text, ok := w.Unit.Value(checked[name].value); ok {
			fields = append(fields, w.Key+" = "+text)
		}
	}
	b.Set("health_check", "{ "+strings.Join(fields, ", ")+" }", checked["check"].at)
}
