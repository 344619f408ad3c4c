package traefik

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// entry is an entry point. Its listener is written when it is known whether it has TLS.
type entry struct {
	name     string
	node     *node // nil: no file has it
	at       plan.Place
	address  string // as edge has it
	port     string
	listener string // the name of its listener
	block    *plan.Block
	routers  []*router
	chain         // middlewares of all of its routers
	secure   bool // the listener has TLS
}

// defaults returns the ports of entry points that routers name and no file defines.
func defaults() map[string]string {
	return map[string]string{"web": "80", "http": "80", "websecure": "443", "https": "443", "web-secure": "443"}
}

// global translates what the static configuration says about the process.
func (im *importer) global() {
	if n := im.static("log", "level"); n != nil {
		level := map[string]string{"trace": "debug", "debug": "debug", "info": "info", "warn": "warn",
			"warning": "warn", "error": "error", "fatal": "error", "panic": "error"}[strings.ToLower(n.text)]
		if level != "" {
			im.Block("[global]").Set("log_level", plan.String(level), n.at)
		} else {
			n.used = false
		}
	}
	if n := im.static("log", "filepath"); n != nil {
		im.Block("[global]").Set("error_log", plan.String(n.text), n.at)
	}
	log := im.static("accesslog")
	if log == nil {
		at := plan.Place{}
		if len(im.statics) > 0 && im.static("entrypoints") != nil {
			im.Block("[log]").Set("output", "[]", at)
		}
		return
	}
	b := im.Block("[log]")
	b.From(log.at)
	format, path := "common", log.get("filepath")
	if n := log.get("format"); n != nil {
		b.From(n.at)
		if strings.EqualFold(n.text, "json") {
			format = "json"
			im.Note(n.at, n.words(), "the members of the lines have other names")
		}
	}
	b.Set("format", plan.String(format), plan.Place{})
	if path != nil && path.text != "" {
		b.Set("output", plan.List(path.text), path.at)
	}
}

// listeners reads the entry points, and adds those that routers name and no file defines.
func (im *importer) listeners() {
	for _, s := range im.statics {
		for _, n := range s.members("entrypoints") {
			im.entry(n)
		}
	}
	for _, r := range im.all("routers") {
		for _, name := range r.texts("entrypoints") {
			if port := defaults()[name]; port != "" && im.entryOf(name) == nil && !im.hasEntries() {
				im.assume(name, port, r.where("entrypoints"))
			}
		}
	}
	if len(im.entries) == 0 {
		im.assume("web", "80", plan.Place{File: im.File, Line: 1})
	}
	slices.SortStableFunc(im.entries, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(len(a.port), len(b.port)), strings.Compare(a.port, b.port))
	})
}

// hasEntries reports whether a file has entry points.
func (im *importer) hasEntries() bool {
	return slices.ContainsFunc(im.statics, func(s *node) bool { return s.has("entrypoints") })
}

// assume adds an entry point that no file has.
func (im *importer) assume(name, port string, at plan.Place) {
	im.Note(at, "entry point "+name, "no file that is imported has it: port "+port+". Name the static configuration "+
		"too: edge import traefik traefik.yml dynamic.yml")
	im.entries = append(im.entries, &entry{name: name, at: at, address: ":" + port, port: port})
}

func (im *importer) entryOf(name string) *entry {
	for _, e := range im.entries {
		if strings.EqualFold(e.name, name) {
			return e
		}
	}
	return nil
}

// entry reads an entry point.
func (im *importer) entry(n *node) {
	if im.entryOf(n.name) != nil {
		return
	}
	at := n.get("address")
	if at == nil {
		im.lose(n, "it has no address")
		return
	}
	address, protocol, _ := strings.Cut(at.text, "/")
	host, port, err := net.SplitHostPort(address)
	if number, wrong := strconv.ParseUint(port, 10, 16); err != nil || wrong != nil || number == 0 ||
		host != "" && net.ParseIP(host) == nil {
		im.lose(n, "edge does not know this address")
		return
	}
	if strings.EqualFold(protocol, "udp") {
		im.lose(n, noStreams)
		return
	}
	if address = ":" + port; host != "" {
		address = net.JoinHostPort(net.ParseIP(host).String(), port)
	}
	if slices.ContainsFunc(im.entries, func(e *entry) bool { return e.address == address }) {
		im.lose(n, "another entry point has this address")
		return
	}
	e := &entry{name: n.name, node: n, at: at.at, address: address, port: port}
	for _, m := range n.elements("http", "middlewares") {
		e.add(im, m, &doc{provider: "file"}, 0)
	}
	im.entries = append(im.entries, e)
}

// listener writes the listener of an entry point.
func (im *importer) listener(e *entry) {
	e.block = im.Add("[[listeners]]", e.at)
	e.listener = plan.Name(e.name)
	taken := func(o *entry) bool { return o != e && o.listener == e.listener }
	for i := 1; e.listener == "" || slices.ContainsFunc(im.entries, taken); i++ {
		e.listener = plan.Name(e.name + "-" + strconv.Itoa(i))
	}
	e.block.Set("name", plan.String(e.listener), plan.Place{})
	e.block.Set("listen", plan.String(e.address), plan.Place{})
	n, b := e.node, e.block
	if list := n.elements("forwardedheaders", "trustedips"); len(list) > 0 {
		b.Set("trusted_proxies", plan.Strings(texts(list)...), list[0].at)
		for _, c := range list {
			b.From(c.at)
		}
	}
	if n.truth("forwardedheaders", "insecure") {
		b.Set("trusted_proxies", `["0.0.0.0/0", "::/0"]`, n.where("forwardedheaders", "insecure"))
	}
	times := []struct {
		key  string
		path []string
	}{
		{"limits.idle_timeout", []string{"transport", "respondingtimeouts", "idletimeout"}},
		{"limits.header_timeout", []string{"transport", "respondingtimeouts", "readtimeout"}},
	}
	for _, t := range times {
		if d, ok := n.duration(t.path...); ok {
			c := n.get(t.path...)
			if d > 0 {
				b.Set(t.key, plan.Duration(d), c.at)
			} else {
				im.Lose(c.at, c.words(), "edge has such a time always: see limits of listeners")
			}
			if t.key == "limits.header_timeout" && d > 0 {
				im.Note(c.at, c.words(), "for the head of a request; see limits.min_rate of listeners for its body")
			}
		}
	}
	for _, row := range []struct {
		key  string
		path []string
	}{
		{"limits.keepalive_requests", []string{"transport", "keepalivemaxrequests"}},
		{"limits.header_size", []string{"http", "maxheaderbytes"}},
		{"h2.max_streams", []string{"http2", "maxconcurrentstreams"}},
	} {
		if number, ok := n.number(row.path...); ok && number > 0 {
			value := strconv.FormatInt(number, 10)
			if row.key == "limits.header_size" {
				value = plan.Size(number)
			}
			b.Set(row.key, value, n.where(row.path...))
		}
	}
	if d, ok := n.duration("transport", "lifecycle", "gracetimeout"); ok {
		im.Block("[global]").Set("grace_period", plan.Duration(d), n.where("transport", "lifecycle", "gracetimeout"))
	}
}

func texts(list []*node) (all []string) {
	for _, n := range list {
		all = append(all, n.text)
	}
	return all
}

// redirection reads http.redirections of an entry point: as a key of its listener, or as a router before all others.
func (im *importer) redirection(e *entry) *router {
	n := e.node.get("http", "redirections", "entrypoint")
	to := n.get("to")
	if to == nil {
		return nil
	}
	from := n.places()
	n.walk(func(c *node) { c.used = true })
	scheme := cmp.Or(n.str("scheme"), "https")
	port, direct := strings.CutPrefix(to.text, ":")
	target := im.entryOf(to.text)
	if !direct && target == nil {
		im.Lose(to.at, to.words(), "there is no such entry point; the redirect is left out")
		return nil
	}
	if target != nil {
		port = target.port
	}
	permanent := n.get("permanent") == nil || n.truth("permanent")
	priority, given := n.number("priority")
	number := 0
	for _, o := range im.entries {
		if o.secure {
			number++
		}
	}
	if target != nil && target.secure && number == 1 && scheme == "https" && permanent && !given && !e.secure {
		e.block.Set("redirect_to_https", "true", to.at)
		e.block.From(from...)
		im.Note(to.at, to.words(), "the status is 308; Traefik answers GET with 301")
		return nil
	}
	r := &router{resource: &resource{n, &doc{provider: "internal"}}, priority: 1<<62 - 1, ways: []conj{{}}, from: from}
	if given {
		r.priority = priority
	}
	r.redirect = &redirection{scheme: scheme, port: port, permanent: permanent, at: to}
	return r
}
