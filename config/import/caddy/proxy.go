package caddy

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// pool is what a reverse_proxy says about its backends.
type pool struct {
	im        *importer
	addresses []string
	weights   []int
	secure    bool // by TLS
	h2        bool // without TLS
	policy    string
	keys      []setting
	asks      []field
	replies   []field
	from      []plan.Place
	broken    string // why it cannot be asked
	ownHost   bool   // Host is set
	fails     int    // max_fails
	extra     []setting
}

// set adds a key of the upstream.
func (p *pool) set(name, value string, at plan.Place) {
	p.keys = slices.DeleteFunc(p.keys, func(s setting) bool { return s.name == name })
	p.keys = append(p.keys, setting{name, value, at})
}

// proxy is reverse_proxy.
func proxy(im *importer, _ *scope, d *directive) func(*walk) bool {
	p := &pool{im: im, from: []plan.Place{d.at}, fails: 1}
	for _, a := range d.args {
		p.addTarget(a)
	}
	for _, c := range d.block {
		c.used = true
		p.proxyOption(c)
	}
	if len(p.addresses) == 0 && p.broken == "" {
		p.broken = "it names no backend"
	}
	dest := ""
	return func(w *walk) bool {
		if p.broken != "" {
			im.Lose(d.at, d.text(), p.broken+"; such requests are answered 503")
			return w.answer(503)
		}
		if dest == "" {
			dest = im.upstream(p)
		}
		w.out.dest = dest
		w.out.from = append(w.out.from, p.from...)
		for _, f := range p.asks {
			w.asks = setField(w.asks, f)
		}
		for _, f := range p.replies {
			w.replies = setField(w.replies, f)
		}
		w.out.settings = append(w.out.settings, p.extra...)
		return true
	}
}

// addTarget adds a backend as reverse_proxy names it.
func (p *pool) addTarget(text string) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "", text
	}
	if strings.Contains(text, "{") {
		p.broken = "the backend is not known from the file"
		return
	}
	port := "80"
	switch scheme {
	case "https":
		p.secure, port = true, "443"
	case "h2c":
		p.h2 = true
	case "http", "":
	default:
		p.broken = "edge does not know " + scheme + "://"
		return
	}
	if path, unix := strings.CutPrefix(rest, "unix/"); unix {
		p.addresses = append(p.addresses, "unix:"+path)
		return
	}
	if path, unix := strings.CutPrefix(rest, "unix+h2c/"); unix {
		p.h2 = true
		p.addresses = append(p.addresses, "unix:"+path)
		return
	}
	host, range_, err := net.SplitHostPort(rest)
	if err != nil {
		host, range_ = strings.Trim(rest, "[]"), port
	}
	if host == "" {
		host = "localhost"
	}
	first, last, several := strings.Cut(range_, "-")
	from, wrong := strconv.Atoi(first)
	to := from
	if several {
		to, _ = strconv.Atoi(last)
	}
	if wrong != nil || from < 1 || to > 65535 || to < from || to-from > 1000 || strings.ContainsAny(host, "/?#") {
		p.broken = "edge does not know the address " + text
		return
	}
	for n := from; n <= to; n++ {
		p.addresses = append(p.addresses, net.JoinHostPort(host, strconv.Itoa(n)))
	}
}

// proxyOption reads a line of reverse_proxy.
func (p *pool) proxyOption(d *directive) {
	p.from = append(p.from, d.at)
	switch {
	case d.name == "to":
		for _, a := range d.args {
			p.addTarget(a)
		}
	case strings.HasPrefix(d.name, "health_"):
		p.healthOption(d)
	case strings.HasPrefix(d.name, "lb_"):
		p.balanceOption(d)
	case d.name == "transport":
		p.transport(d)
	case d.name == "header_up":
		p.headerUp(d)
	case d.name == "header_down":
		name := strings.TrimSuffix(d.arg(0), ":")
		if f, ok := p.im.fieldOperation(d, name, d.arg(1), len(d.args)-2, false); ok {
			p.replies = setField(p.replies, f)
		}
	default:
		p.otherOption(d)
	}
}

// otherOption reads the lines of reverse_proxy that stand alone.
func (p *pool) otherOption(d *directive) {
	switch d.name {
	case "fail_duration":
		if t, ok := parseTime(d.arg(0)); ok && t > 0 {
			p.set("outlier.eject", plan.Duration(t), d.at)
			if p.fails < 2 {
				p.im.Note(d.at, d.text(), "a backend is ejected after some failures: outlier.errors; here after 2")
				p.set("outlier.errors", "2", d.at)
			}
		}
	case "max_fails":
		if n, err := strconv.Atoi(d.arg(0)); err == nil && n > 0 {
			p.fails = n
			p.set("outlier.errors", strconv.Itoa(max(n, 2)), d.at)
			if n < 2 {
				p.im.Note(d.at, d.text(), "a backend is ejected after 2 failures at least")
			}
		}
	case "unhealthy_request_count":
		if n, err := strconv.Atoi(d.arg(0)); err == nil && n > 0 {
			p.set("breaker.max_requests", strconv.Itoa(n), d.at)
		}
	case "flush_interval", "buffer_requests", "buffer_responses", "response_buffers", "stream_buffer_size",
		"stream_close_delay", "verbose_logs":
		p.im.note(d, "nothing to write: bodies go on as they come")
	case "request_buffers":
		if n, ok := parseSize(d.arg(0)); ok && n > 0 {
			p.extra = append(p.extra, setting{"buffer_request", plan.Size(n), d.at})
		}
	case "stream_timeout":
		if t, ok := parseTime(d.arg(0)); ok && t > 0 {
			p.im.Note(d.at, d.text(), "how long a tunnel may be without a byte, not how long it may last")
			p.extra = append(p.extra, setting{"timeouts.idle", plan.Duration(t), d.at})
		}
	case "trusted_proxies":
		for _, n := range networks(d.args) {
			if !slices.Contains(p.im.options.trusted, n) {
				p.im.options.trusted = append(p.im.options.trusted, n)
			}
		}
		p.im.options.trustedAt = d.at
		p.im.Note(d.at, d.text(), "trusted_proxies of the listeners, for all routes")
	case "dynamic":
		p.dynamic(d)
	case "method", "rewrite", "handle_response", "replace_status", "unhealthy_status", "unhealthy_latency":
		p.im.lose(d, "edge has nothing like it")
	default:
		p.im.lose(d, "edge does not know it")
	}
}

// dynamic reads where backends are found.
func (p *pool) dynamic(d *directive) {
	name, port := d.arg(1), d.arg(2)
	for _, c := range d.block {
		c.used = true
		switch c.name {
		case "name":
			name = c.arg(0)
		case "port":
			port = c.arg(0)
		case "service", "proto":
			p.broken = "backends are found by a name alone"
		default:
			p.im.lose(c, "edge does not know it")
		}
	}
	switch {
	case strings.Contains(name+port, "{") || name == "":
		p.broken = "the backend is not known from the file"
	case d.arg(0) == "srv":
		p.set("discover", plan.String("srv+dns://"+name), d.at)
		p.addresses = append(p.addresses, "")
	case d.arg(0) == "a" && port != "":
		p.set("discover", plan.String("dns://"+net.JoinHostPort(name, port)), d.at)
		p.addresses = append(p.addresses, "")
	default:
		p.broken = "edge does not find backends by " + d.arg(0)
	}
}

// ownFields returns fields of requests that edge sends by itself, with their values as header_up writes them.
func ownFields() map[string][]string {
	return map[string][]string{
		"host": {"{host}", "{hostport}", "{http.request.host}", "{http.request.hostport}"},
		"x-forwarded-for": {"{remote_host}", "{remote}", "{http.request.remote.host}", "{client_ip}",
			"{http.request.remote}"},
		"x-forwarded-proto": {"{scheme}", "{http.request.scheme}"},
		"x-forwarded-host":  {"{host}", "{hostport}", "{http.request.host}", "{http.request.hostport}"},
		"connection": {"{>Connection}", "{header.Connection}", "{http.request.header.Connection}", "Upgrade",
			"upgrade"},
		"upgrade": {"{>Upgrade}", "{header.Upgrade}", "{http.request.header.Upgrade}", "websocket"},
	}
}

// headerUp reads header_up.
func (p *pool) headerUp(d *directive) {
	name := strings.TrimSuffix(d.arg(0), ":")
	lower := strings.ToLower(name)
	if slices.Contains(ownFields()[lower], d.arg(1)) && len(d.args) == 2 && (lower != "host" || !p.secure) {
		p.im.Note(d.at, d.text(), "nothing to write: edge sends it by itself")
		p.ownHost = p.ownHost || lower == "host"
		return
	}
	if lower == "host" && len(d.args) == 2 {
		p.ownHost = true
		switch value := d.arg(1); {
		case slices.Contains(ownFields()[lower], value):
			p.set("host", `"keep"`, d.at)
			return
		case value == "{upstream_hostport}" || strings.HasPrefix(value, "{http.reverse_proxy.upstream.hostp"):
			p.set("host", `"backend"`, d.at)
			return
		}
	}
	if f, ok := p.im.fieldOperation(d, name, d.arg(1), len(d.args)-2, true); ok {
		p.asks = setField(p.asks, f)
	}
}

// upstream returns the dest for a pool, and writes its [upstreams.NAME] where it needs one.
func (im *importer) upstream(p *pool) string {
	keys := slices.Clone(p.keys)
	if p.secure && !p.ownHost {
		keys = append(keys, setting{"host", `"backend"`, plan.Place{}})
	}
	if p.secure && !slices.ContainsFunc(keys, func(s setting) bool { return strings.HasPrefix(s.name, "tls") }) {
		keys = append(keys, setting{"tls", "true", plan.Place{}})
	}
	if p.h2 {
		keys = append(keys, setting{"protocol", `"h2"`, plan.Place{}})
	}
	if len(keys) == 0 && len(p.addresses) == 1 {
		if strings.HasPrefix(p.addresses[0], "unix:") {
			return p.addresses[0]
		}
		return "http://" + p.addresses[0]
	}
	var backends []string
	for i, address := range p.addresses {
		if address == "" {
			continue
		}
		text := "{ address = " + plan.String(address)
		switch {
		case i < len(p.weights):
			text += ", weight = " + strconv.Itoa(p.weights[i])
		case p.policy == "first" && i > 0:
			text += ", tier = " + strconv.Itoa(min(i, 7))
		}
		backends = append(backends, text+" }")
	}
	if len(backends) > 0 {
		keys = append([]setting{{"backends", plan.Lines(backends), plan.Place{}}}, keys...)
	}
	if len(p.addresses) > 1 && p.policy != "first" {
		policy := p.policy
		if policy == "" {
			policy = "random"
		}
		keys = append(keys, setting{"load_balancing", plan.String(policy), plan.Place{}})
	}
	id := ""
	for _, k := range keys {
		id += k.name + "=" + k.value + "\n"
	}
	if name := im.made[id]; name != "" {
		return name
	}
	name := plan.Unused(cmp.Or(plan.Name(p.addresses[0]), "upstream"), im.names)
	im.made[id] = name
	b := im.Add("[upstreams."+plan.Key(name)+"]", p.from...)
	for _, k := range keys {
		b.Set(k.name, k.value, k.at)
	}
	return name
}
