package haproxy

import (
	"cmp"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// front is a frontend, backend or listen section, whose lines are read as part of one frontend. Owned by one goroutine.
type front struct {
	im       *importer
	s        *section
	lines    []*line                     // of the section and its defaults
	acls     map[string][]*line          // of these, by their names
	targets  map[string]*plan.Target     // by names of backends
	apart    func(acl string) *plan.Cond // what stands for some acls; nil: nothing does
	from     []plan.Place                // of the condition that was read last: its line, and the lines of its acls
	loose    bool                        // that condition asks for a path that a line has changed
	nameless bool                        // it asks whether a connection begins with TLS
	list     []plan.Step
	skip     []*plan.Cond // requests that a line before has let pass the others of its kind
	passed   []plan.Place // of these lines
	changed  []string     // parts of a request that a line has changed
	told     bool         // load balancers tell who the clients are, by the PROXY protocol
	led      []*section   // backends that connections are led to
	early    bool         // src is the load balancer, which has told nothing yet
}

// newFront returns the reader of a section for requests of which a part was changed.
func (im *importer) newFront(s *section, changed []string) *front {
	f := &front{im: im, s: s, acls: map[string][]*line{}, targets: map[string]*plan.Target{}, lines: s.lines}
	if s.base != nil {
		f.lines = slices.Concat(s.base.lines, s.lines)
	}
	f.changed = slices.Clone(changed)
	for _, l := range f.lines {
		if l.words[0] == "acl" {
			f.acls[l.word(1)] = append(f.acls[l.word(1)], l)
		}
	}
	return f
}

// frontend translates a frontend or a listen section of the mode http.
func (im *importer) frontend(s *section) {
	s.head.used = true
	f := im.newFront(s, nil)
	listeners := f.listeners()
	if listeners == nil {
		im.Lose(s.head.at, s.head.text(), "edge has none of its addresses: it is not served")
		return
	}
	im.sites = append(im.sites, f.site(listeners))
}

// site returns what becomes of the requests of a section, or of its connections.
func (f *front) site(listeners []string) *plan.Site {
	s := f.s
	site := &plan.Site{Listeners: listeners, At: s.head.at, Steps: f.steps()}
	name, at := s.name, s.head
	if s.kind == "frontend" { // a backend may have its name
		name = ""
	}
	if l := s.find("default_backend"); l != nil {
		name, at = l.word(1), l
	}
	for _, l := range s.all("use_backend") {
		site.Branches = append(site.Branches, f.useBackend(l, name)...)
	}
	site.Branches = append(site.Branches, plan.Branch{When: plan.Always, To: f.target(name), What: at.text(),
		From: []plan.Place{at.at}})
	return site
}

var (
	// decides matches lines that lead connections elsewhere than services can, or make a backend refuse some.
	decides = plan.Expr(`^(?:use-server|tcp-re(?:quest|sponse) (?:connection|session|content) ` +
		`(?:close|lua\.|use-service|switch-mode|set-dst)|tcp-response .* reject)\b`)
	refuses = plan.Expr(`^tcp-request (?:connection|session|content) (?:reject|silent-drop)\b`)
	leads   = plan.Expr(`^(?:use_backend|tcp-request (?:connection|session|content) accept)\b`)
	peeks   = plan.Expr(`\breq[._]ssl_`)
)

// relay translates a section that is not about HTTP: its addresses are services that lead to upstreams.
func (im *importer) relay(s *section) {
	f, ended := im.newFront(s, nil), false
	f.led = f.backends()
	for _, l := range s.all("bind") {
		ended = ended || l.has("ssl")
		f.told = f.told || l.has("accept-proxy")
	}
	why := f.unlike(ended)
	if why == "" {
		site := sync.OnceValue(func() *plan.Site { return f.site(nil) })
		if len(f.bind(func(name string) *plan.Block { return f.service(name, site()) })) > 0 {
			return
		}
		why = "edge has none of its addresses: it is not served"
	}
	for _, l := range append(slices.Clone(s.lines), s.head) {
		l.used = true
		im.Lose(l.at, l.text(), why)
	}
}

// backends returns the sections that a section may lead to; one is nil where there is none of a name.
func (f *front) backends() (list []*section) {
	known, computed := map[*section]bool{}, false
	add := func(s *section) {
		if !known[s] {
			known[s], list = true, append(list, s)
		}
	}
	if l := f.s.find("default_backend"); l != nil {
		add(f.im.backends[l.word(1)])
	} else if f.s.kind == "listen" {
		add(f.s)
	}
	for _, l := range f.s.all("use_backend") {
		if strings.Contains(l.word(1), "%") {
			computed = true
		} else {
			add(f.im.backends[l.word(1)])
		}
	}
	for _, s := range f.im.sections {
		if computed && s.kind == "backend" {
			add(s)
		}
	}
	return list
}

// unlike says why services do not do what a section about connections says; "": they do. ended says that it ends TLS.
func (f *front) unlike(ended bool) (why string) {
	matches := func(lines []*line, re *regexp.Regexp) bool {
		return slices.ContainsFunc(lines, func(l *line) bool { return re.MatchString(l.text()) })
	}
	if f.s.mode() != "tcp" {
		return "edge import carries HTTP and TCP alone"
	}
	other := matches(f.lines, decides())
	for _, s := range f.led {
		if s == nil || len(s.all("server")) == 0 || s.mode() != "tcp" {
			return "it leads to no backend of the mode tcp with servers"
		}
		own := f.im.newFront(s, nil).lines
		if other = other || matches(own, decides()); s != f.s && matches(own, refuses()) {
			return "a backend does not refuse connections by conditions"
		}
	}
	refused := matches(f.lines, refuses())
	switch {
	case f.led == nil:
		return "it leads to no backend of the mode tcp with servers"
	case other:
		return "a service leads connections by their handshakes and addresses alone"
	case ended && matches(f.lines, peeks()):
		return "a service reads the names of handshakes that it does not end"
	}
	for _, l := range f.lines {
		refuses, leads := refuses().MatchString(l.text()), leads().MatchString(l.text())
		if !refuses && !leads {
			continue
		}
		if !f.asked(l).Known() {
			return "a service does not know the condition of " + l.text()
		}
		if f.nameless && (refused || l.words[0] == "use_backend") {
			f.im.Lose(l.at, l.text(), "edge knows TLS by the name that clients ask for: without one it counts as none")
		}
	}
	return ""
}

// service adds a service that leads connections as a section does, and has the longest of the times that HAProxy has
// for idle connections.
func (f *front) service(name string, site *plan.Site) *plan.Block {
	b := f.im.Add("[services."+plan.Key(name)+"]", f.s.head.at)
	b.Set("listen", "", plan.Place{})
	for _, l := range f.lines {
		if peeks().MatchString(l.text()) {
			b.Set("peek", "true", l.at)
		} else if leads().MatchString(l.text()) && l.words[0] != "use_backend" {
			b.From(l.at)
		}
	}
	f.im.Lead(b, site)
	var longest time.Duration
	times := []*line{f.s.find("timeout", "client")}
	for _, to := range f.led {
		times = append(times, to.find("timeout", "server"), to.find("timeout", "tunnel"))
	}
	for _, l := range times {
		d, ok := plan.ParseTime(l.word(2), time.Millisecond)
		if ok {
			b.From(l.at)
		}
		if ok && d >= longest {
			longest = d
			b.Set("timeouts.idle", plan.Duration(d), l.at)
		}
	}
	return b
}

// target returns where a backend section leads.
func (f *front) target(name string) *plan.Target {
	if t := f.targets[name]; t != nil {
		return t
	}
	t, s := &plan.Target{Name: name, End: plan.Fail(503)}, f.im.backends[name]
	f.targets[name] = t
	if s != nil && len(s.all("server")) > 0 {
		t.End = plan.Dest(f.im.upstream(s))
	}
	if s != nil && s != f.s {
		s.head.used = true
		t.Steps, t.From = f.im.newFront(s, f.changed).steps(), []plan.Place{s.head.at}
		if l := s.find("compression", "algo"); slices.Contains(s.lines, l) { // a line of defaults is one of frontends
			if name := f.im.compress(s, l); name != "" {
				t.Steps = append(t.Steps, plan.Step{Do: []plan.Action{plan.Encode(name)}, What: l.text(),
					From: []plan.Place{l.at}})
			}
		}
	}
	return t
}

// computed matches a name of a backend that ends with a part of the request, or with what a file has for that.
var computed = plan.Expr(`^([^%]*)%\[(.+?)(?:,map(?:_(str|beg))?\(([^,()]+)(?:,([^,()]+))?\))?\]$`)

// useBackend reads a use_backend line. A line with a computed name leads to each backend that it may name, or to other.
// Where edge does not know the name, it may be any.
//
//	use_backend %[req.hdr(host),lower,map(hosts.map,app)]
func (f *front) useBackend(l *line, other string) (list []plan.Branch) {
	l.used = true
	asked := f.asked(l)
	lead := func(when *plan.Cond, name string) {
		if f.im.backends[name] == nil {
			name = other
		}
		when = plan.All(asked, when)
		list = append(list, plan.Branch{When: when, To: f.target(name), What: l.text(), From: f.from})
	}
	if !strings.Contains(l.word(1), "%") {
		lead(plan.Always, l.word(1))
		return list
	}
	m := append(computed().FindStringSubmatch(l.word(1)), make([]string, 6)...) // empty where the name is not known
	s, _, known := f.sample(m[2])
	lines, ok := f.im.entries(m[4])
	if known = known && s.kind != "list" && (ok || m[4] == ""); !known || m[4] == "" {
		for _, s := range f.im.sections {
			if end, ok := strings.CutPrefix(s.name, m[1]); ok && end != "" && s.kind == "backend" {
				lines = append(lines, end)
			}
		}
	}
	key := func(line string) string { return strings.Fields(line)[0] }
	name := func(line string) string { return m[1] + line[strings.LastIndexAny(line, " \t")+1:] }
	slices.SortStableFunc(lines, func(a, b string) int {
		if m[3] == "beg" { // the longest one decides
			return len(key(b)) - len(key(a))
		}
		return strings.Compare(name(a), name(b))
	})
	for i := 0; i < len(lines); {
		words, to, when := []string{m[2], "-m", cmp.Or(m[3], "str"), "--"}, name(lines[i]), plan.Unknown
		for ; i < len(lines) && name(lines[i]) == to; i++ {
			words = append(words, key(lines[i]))
		}
		if known {
			when = f.leaf(words)
		}
		lead(when, to)
	}
	if known {
		lead(plan.Always, m[1]+m[5])
	}
	return list
}

// listeners writes the listeners of a frontend, and returns their names.
func (f *front) listeners() (names []string) {
	blocks := f.bind(func(name string) *plan.Block {
		b := f.im.Add("[[listeners]]", f.s.head.at)
		b.Set("name", plan.String(name), plan.Place{})
		names = append(names, name)
		return b
	})
	for _, b := range blocks {
		f.im.keys(b, f.s, "timeout.http-request", "timeout.http-keep-alive")
		f.im.headSizes(b, f.im.global, "limits.header_size", "limits.target_size", "limits.field_size")
		f.im.errorPages(f.s, b)
		if l := f.s.find("compression", "algo"); l != nil {
			if name := f.im.compress(f.s, l); name != "" {
				b.Set("filters", plan.Strings(name), l.at)
			}
		}
	}
	return names
}

// bind writes the addresses of a frontend into blocks that add adds by their names, one for plain addresses and one for
// each set of options of TLS or the PROXY protocol.
func (f *front) bind(add func(name string) *plan.Block) (blocks map[string]*plan.Block) {
	name := plan.Unused(cmp.Or(plan.Name(f.s.name), "web"), f.im.listeners)
	blocks, addresses := map[string]*plan.Block{}, map[string][]string{}
	for _, l := range f.s.all("bind") {
		all, id, as := l.options(nil, 2), "", name
		secure, told := all["ssl"].what != "", all["accept-proxy"].what != ""
		if secure || told {
			id = strings.Join(l.rest(2), " ")
			as += map[bool]string{true: "-tls", false: "-proxied"}[secure]
		}
		for _, text := range strings.Split(l.word(1), ",") {
			address, ok := parseBind(text, all["v4v6"].what != "")
			if !ok {
				f.im.Lose(l.at, l.text(), "edge does not know this address")
				continue
			}
			if blocks[id] == nil {
				if id != "" {
					as = plan.Unused(as, f.im.listeners)
				}
				blocks[id] = add(as)
			}
			addresses[id] = append(addresses[id], address)
			blocks[id].Set("listen", plan.Strings(addresses[id]...), l.at)
			f.bindOptions(blocks[id], l, all, secure)
			f.believe(blocks[id], l, told)
		}
	}
	return blocks
}

// compress returns the filter for the line of a section that says how answers are compressed; "": edge cannot.
func (im *importer) compress(s *section, l *line) string {
	if !l.has("gzip") {
		im.Lose(l.at, l.text(), "edge compresses with gzip and zstd")
		return ""
	}
	keys, from := []plan.Setting{{Name: "encodings", Value: `["gzip"]`, At: l.at}}, []plan.Place{l.at}
	if t := s.find("compression", "type"); t != nil {
		keys = append(keys, plan.Setting{Name: "types", Value: plan.Strings(t.rest(2)...), At: t.at})
		from = append(from, t.at)
	}
	return im.Compress(keys, from...)
}

func (f *front) bindOptions(b *plan.Block, l *line, all map[string]option, secure bool) {
	if crt := all["crt"].value; secure {
		b.Set("tls", "true", l.at)
		if b.SetOr("cert", plan.String(crt), `"internal"`, l.at); crt == "" || strings.HasSuffix(crt, "/") {
			b.Set("cert", `"internal"`, l.at)
			f.im.Lose(l.at, l.text(), "name each file in [[certificates]]; an internal certificate stands in")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		value := strings.TrimPrefix(all[name].value, "TLSv")
		if w, _ := words().Find("bind." + name); w.Says == "key" && secure {
			f.im.Put(b, w, cmp.Or(lookup("optional: request\nrequired: require", value), value), l.at, all[name].what)
		} else if w.Says != "unread" {
			f.im.Tell(w, l.at, all[name].what)
		}
	}
}

// sources matches the condition that a connection is from some networks.
var sources = plan.Expr(`^(?:client\.ip in \{[^{}]+\}(?: or |$))+$`)

// believe writes by which peers the listener of a bind line is told of clients: all, or some by expect-proxy.
func (f *front) believe(b *plan.Block, bind *line, all bool) {
	var from []*plan.Cond
	for _, l := range f.lines {
		if strings.HasPrefix(l.text(), "tcp-request connection expect-proxy layer4") {
			from, l.used, bind = append(from, f.asked(l)), true, l
			b.From(f.from...)
		}
	}
	when := plan.Any(from...)
	switch text := when.String(); {
	case all || when == plan.Always:
		b.Set("proxy_protocol.from", plan.AnySender, bind.at)
		b.Set("proxy_protocol.required", "true", bind.at)
		f.im.Note(bind.at, bind.text(), plan.NameSenders)
	case when.Known() && sources().MatchString(text):
		text = strings.NewReplacer("client.ip in {", "", "}", "", " or ", " ").Replace(text)
		b.Set("proxy_protocol.from", plan.List(strings.Fields(text)...), bind.at)
	case from != nil:
		f.im.Lose(bind.at, bind.text(), "edge knows the senders of the PROXY protocol by their networks alone")
	}
	f.told = f.told || b.Has("proxy_protocol.from")
}

func parseBind(s string, both bool) (address string, ok bool) {
	if path, unix := strings.CutPrefix(s, "unix@"); unix || strings.HasPrefix(s, "/") {
		return "unix:" + path, true
	}
	s = strings.NewReplacer("ipv4@", "", "ipv6@", "").Replace(s)
	at := max(0, strings.LastIndexByte(s, ':'))
	host, port := strings.Trim(s[:at], "[]"), strings.TrimPrefix(s[at:], ":")
	switch _, err := strconv.ParseUint(port, 10, 16); {
	case err != nil:
		return "", false
	case host == "" || host == "*":
		host = "0.0.0.0"
	case host == "::" && both:
		return ":" + port, true
	}
	return net.JoinHostPort(host, port), net.ParseIP(host) != nil
}
