package caddy

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// pool is what a reverse_proxy says about its backends.
type pool struct {
	*flow
	addresses []string
	weights   []string
	tiers     bool           // a backend is for requests that those before it cannot take
	secure    bool           // by TLS
	ownHost   bool           // Host is a field that is set
	keys      []plan.Setting // of the upstream
	route     []plan.Setting
	from      []plan.Place
	broken    string // why it cannot be asked
}

// set adds a key of the upstream, or of the route.
func (p *pool) set(name, value string, at plan.Place) {
	list := &p.keys
	if name == "buffer_request" || name == "timeouts.idle" {
		list = &p.route
	}
	*list = slices.DeleteFunc(*list, func(s plan.Setting) bool { return s.Name == name })
	*list = append(*list, plan.Setting{Name: name, Value: value, At: at})
}

// usual adds a key with what Caddy does where no line says it.
func (p *pool) usual(name, value string, at plan.Place) {
	if !p.has(name) {
		p.set(name, value, at)
	}
}

// has reports whether there is a key with such a beginning.
func (p *pool) has(name string) bool {
	return slices.ContainsFunc(p.keys, func(s plan.Setting) bool { return strings.HasPrefix(s.Name, name) })
}

// proxy is reverse_proxy.
func (f *flow) proxy(d *directive, c *plan.Cond) bool {
	own := *f
	own.open = false
	p := &pool{flow: &own, from: []plan.Place{d.at}}
	for _, l := range append([]*directive{{name: "to", args: d.args}}, d.lines()...) {
		p.line(d, l)
	}
	if len(p.addresses) == 0 {
		p.broken = cmp.Or(p.broken, "it names no backend")
	}
	if p.broken != "" {
		f.Lose(d.at, d.text, p.broken+"; such requests are answered 503")
		return f.ends(d, c, plan.Fail(503))
	}
	f.open = false
	return own.ends(d, c, plan.Dest(p.upstream()), append(p.route, f.site.failing...)...)
}

// line reads a line of the reverse_proxy d, or of its transport.
func (p *pool) line(d, l *directive) {
	p.from = append(p.from, l.at)
	p.secure = p.secure || strings.HasPrefix(l.name, "tls")
	switch l.name {
	case "to":
		for _, a := range l.args {
			p.addTarget(a)
		}
	case "lb_policy":
		p.balance(l)
	case "transport":
		if l.arg(0) != "http" {
			p.broken = "backends speak HTTP"
		}
		for _, c := range l.lines() {
			p.line(d, c)
		}
	case "header_up":
		name := strings.ToLower(strings.TrimSuffix(l.arg(0), ":"))
		value := strings.ToLower(strings.Replace(l.arg(1), "{http.request.", "{", 1))
		p.ownHost = p.ownHost || name == "host"
		if _, own := words().Find("header_up." + name + "." + value); own && len(l.args) == 2 {
			p.word("header_up", &directive{name: name, args: []string{value}, text: l.text, at: l.at}, p.set)
			return
		}
		p.fields(d, plan.Always, l, plan.RequestFields)
	case "header_down":
		p.fields(d, plan.Always, l, plan.ResponseFields)
	case "health_status":
		status := l.arg(0)
		if class, whole := strings.CutSuffix(status, "xx"); whole {
			status = class + "00-" + class + "99"
		}
		p.set("health_check.expected_status", plan.String(status), l.at)
	case "tls":
	default:
		p.word("proxy", l, p.set)
	}
}

// addTarget adds a backend as reverse_proxy names it.
func (p *pool) addTarget(text string) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "http", text
	}
	p.secure = p.secure || scheme == "https"
	if scheme == "h2c" || strings.HasPrefix(rest, "unix+h2c/") {
		p.set("protocol", `"h2"`, plan.Place{})
	}
	if _, socket, unix := strings.Cut(rest, "/"); unix && strings.HasPrefix(rest, "unix") {
		p.addresses = append(p.addresses, "unix:"+socket)
		return
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		host, port = strings.Trim(rest, "[]"), map[string]string{"http": "80", "h2c": "80", "https": "443"}[scheme]
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil || strings.ContainsAny(rest, "{/?#") {
		p.broken = "edge does not know the address " + text
	}
	p.addresses = append(p.addresses, net.JoinHostPort(cmp.Or(host, "localhost"), port))
}

// balance reads lb_policy.
func (p *pool) balance(d *directive) {
	switch d.arg(0) {
	case "header", "query":
		p.set("hash_key", plan.String(d.arg(0)+":"+d.arg(1)), d.at)
	case "uri_hash":
		p.set("hash_key", `"uri"`, d.at)
	case "cookie":
		p.set("sticky.cookie", plan.String(cmp.Or(d.arg(1), "lb")), d.at)
	case "weighted_round_robin":
		p.weights = d.args[1:]
	case "first":
		p.tiers = true
		return
	}
	p.word("proxy", d, p.set)
}

// upstream returns the dest for a pool, and writes its [upstreams.NAME] where it needs one.
func (p *pool) upstream() string {
	none := plan.Place{}
	for _, k := range slices.Clone(p.keys) {
		switch k.Name {
		case "health_check.path":
			p.usual("health_check.interval", `"30s"`, k.At)
			p.usual("health_check.timeout", `"5s"`, k.At)
			p.usual("health_check.rise", "1", k.At)
			p.usual("health_check.fall", "1", k.At)
		case "outlier.eject":
			p.usual("outlier.errors", "2", k.At)
		}
	}
	if p.secure && !p.ownHost {
		p.usual("host", `"backend"`, none)
	}
	if p.secure && !p.has("tls") {
		p.set("tls", "true", none)
	}
	if len(p.keys) == 0 && len(p.addresses) == 1 {
		if strings.HasPrefix(p.addresses[0], "unix:") {
			return p.addresses[0]
		}
		return "http://" + p.addresses[0]
	}
	var backends []string
	for i, address := range p.addresses {
		text := "{ address = " + plan.String(address)
		switch {
		case i < len(p.weights):
			text += ", weight = " + p.weights[i]
		case p.tiers && i > 0:
			text += ", tier = " + strconv.Itoa(min(i, 7))
		}
		backends = append(backends, text+" }")
	}
	p.keys = slices.Insert(p.keys, 0, plan.Setting{Name: "backends", Value: plan.Lines(backends)})
	if len(p.addresses) > 1 && !p.tiers {
		p.usual("load_balancing", `"random"`, none)
	}
	return p.Named("upstreams", cmp.Or(plan.Name(p.addresses[0]), "upstream"), p.keys, p.from...)
}
