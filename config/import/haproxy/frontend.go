package haproxy

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// front is a frontend or listen section. Owned by one goroutine.
type front struct {
	im     *importer
	s      *section
	acls   map[string][]test
	from   map[string][]plan.Place
	rules  []rule
	plain  string   // names of its listeners
	secure []string // likewise, those with TLS

	// Of a frontend whose lines become rules.
	when     string       // what each of them asks for
	many     bool         // requests are told apart by their backends
	refusing bool         // a backend refuses requests
	skip     []*condition // requests for which a rule before has let the others of its kind out
	changed  []string     // parts of a request that a rule has changed
}

// rule is an answer for requests for which a test holds.
type rule struct {
	test
	keys    []plan.Field // names and values of TOML
	from    []plan.Place
	backend string // where it leads, if to a backend
}

// frontend translates a frontend or a listen section.
func (im *importer) frontend(s *section) {
	s.head.used = true
	f := &front{im: im, s: s, acls: map[string][]test{}, from: map[string][]plan.Place{}}
	mode := s.find("mode")
	if mode != nil {
		mode.used = false // it is among the findings
	}
	if mode != nil && mode.word(1) != "http" {
		for _, l := range s.lines {
			l.used = true
			im.Lose(l.at, l.text(), "only HTTP is served in this version")
		}
		im.Lose(s.head.at, s.head.text(), "only HTTP is served in this version")
		return
	}
	f.listeners()
	if f.inSequence() {
		f.sequence()
		return
	}
	f.loseACLs(f.readACLs(s))
	f.requestRules(s)
	for _, l := range s.all("use_backend") {
		f.useBackend(l)
	}
	name, at := s.name, s.head.at
	if l := s.find("default_backend"); l != nil {
		name, at = l.word(1), l.at
	}
	last := rule{from: []plan.Place{at}}
	if im.upstream(name) {
		last.backend = name
		last.keys = []plan.Field{{Name: "dest", Value: plan.String(im.upstreamName(name))}}
	} else {
		last.keys = []plan.Field{{Name: "dest", Value: `"status:503"`}}
	}
	f.rules = append(f.rules, last)
	f.write()
}

// binds are the addresses of one listener.
type binds struct {
	addresses []string
	places    []plan.Place
	line      *line // the first one
}

func (b *binds) add(address string, at plan.Place) {
	b.addresses, b.places = append(b.addresses, address), append(b.places, at)
}

// listeners writes the listeners of a frontend: one for plain addresses, and one for each set of options of TLS.
func (f *front) listeners() {
	name := plan.Name(f.s.name)
	if name == "" {
		name = "web"
	}
	name = plan.Unused(name, f.im.listeners)
	var open binds
	var secure []*binds
	for _, l := range f.s.all("bind") {
		l.used = true
		for _, text := range strings.Split(l.word(1), ",") {
			address, ok := parseBind(text, l.has("v4v6"))
			switch {
			case !ok:
				f.im.Lose(l.at, l.text(), "edge does not know this address")
			case l.has("ssl"):
				i := slices.IndexFunc(secure, func(b *binds) bool { return sameTLS(b.line, l) })
				if i < 0 {
					i, secure = len(secure), append(secure, &binds{line: l})
				}
				secure[i].add(address, l.at)
			default:
				open.add(address, l.at)
			}
		}
		if l.has("crl-file") {
			f.im.Lose(l.at, "bind … crl-file", "edge reads no lists of certificates that were revoked")
		}
		if l.has("accept-proxy") {
			f.im.Lose(l.at, "bind … accept-proxy", "the PROXY protocol is not available in this version")
		}
	}
	if len(open.addresses) > 0 {
		f.plain = name
		f.listener(name, &open, false)
	}
	for _, of := range secure {
		name := plan.Unused(name+"-tls", f.im.listeners)
		f.secure = append(f.secure, name)
		f.listener(name, of, true)
	}
}

// listener writes one listener.
func (f *front) listener(name string, of *binds, secure bool) {
	b := f.im.Add("[[listeners]]", append(of.places, f.s.head.at)...)
	b.Set("name", plan.String(name), plan.Place{})
	b.Set("listen", plan.Strings(of.addresses...), plan.Place{})
	if secure {
		f.secured(b, of.line)
	}
	f.limits(b)
}

// tlsOptions are the options of bind that say how TLS is spoken, each with a word after it.
var tlsOptions = []string{"crt", "ssl-min-ver", "ca-file", "verify"}

func sameTLS(a, b *line) bool {
	return !slices.ContainsFunc(tlsOptions, func(o string) bool { return a.after(o) != b.after(o) })
}

// secured writes the options of TLS.
func (f *front) secured(b *plan.Block, l *line) {
	b.Set("tls", "true", plan.Place{})
	b.SetOr("cert", plan.String(l.after("crt")), `"internal"`, l.at)
	if l.after("crt") == "" || strings.HasSuffix(l.after("crt"), "/") {
		b.Set("cert", `"internal"`, l.at)
		f.im.Lose(l.at, l.text(), "name each file in [[certificates]]; an internal certificate stands in")
	}
	if v := strings.TrimPrefix(l.after("ssl-min-ver"), "TLSv"); v != "" {
		b.Set("min_version", plan.String(v), l.at)
	}
	if ca := l.after("ca-file"); ca != "" {
		b.Set("client_ca", plan.String(ca), l.at)
	}
}

// limits writes the times of a listener.
func (f *front) limits(b *plan.Block) {
	for _, row := range []struct{ word, key string }{
		{"http-request", "limits.header_timeout"}, {"http-keep-alive", "limits.idle_timeout"},
	} {
		if l := f.s.find("timeout", row.word); l != nil {
			if d, ok := parseTime(l.word(2)); ok {
				b.Set(row.key, plan.Duration(d), l.at)
			}
		}
	}
	if l := f.s.find("timeout", "client"); l != nil {
		f.im.Note(l.at, l.text(), "see limits.min_rate, limits.idle_timeout and user_timeout of listeners")
	}
}

// parseBind reads an address of bind.
func parseBind(s string, both bool) (address string, ok bool) {
	if path, unix := strings.CutPrefix(s, "unix@"); unix || strings.HasPrefix(s, "/") {
		return "unix:" + path, true
	}
	s = strings.NewReplacer("ipv4@", "", "ipv6@", "").Replace(s)
	at := strings.LastIndexByte(s, ':')
	if at < 0 {
		return "", false
	}
	host, port := strings.Trim(s[:at], "[]"), s[at+1:]
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", false
	}
	switch {
	case host == "" || host == "*":
		host = "0.0.0.0"
	case host == "::" && both:
		return ":" + port, true
	}
	return net.JoinHostPort(host, port), net.ParseIP(host) != nil
}

// useBackend adds the rule of a use_backend line.
func (f *front) useBackend(l *line) {
	l.used = true
	if len(l.words) == 2 {
		l.words = append(l.words, "if")
	}
	if l.word(2) != "if" || strings.Contains(l.word(1), "%[") {
		if f.im.missed[l.word(1)] = true; strings.Contains(l.word(1), "%[") {
			f.im.missed[""] = true
		}
		f.im.Lose(l.at, l.text(), "edge does not know this form; its requests go on to the rules after it")
		return
	}
	tests, ok := f.condition(l.rest(3))
	if !ok || !f.im.upstream(l.word(1)) {
		f.im.missed[l.word(1)] = true
		f.im.Lose(l.at, l.text(), "edge does not know the condition, or there is no such backend; its requests go on "+
			"to the rules after it")
		return
	}
	for _, t := range tests {
		f.add(l, t, l.word(1), plan.Field{Name: "dest", Value: plan.String(f.im.upstreamName(l.word(1)))})
	}
}

// add adds a rule, with what is not the same about its paths.
func (f *front) add(l *line, t test, backend string, keys ...plan.Field) {
	for _, p := range t.below {
		f.im.Lose(l.at, "paths such as "+p+"x of "+l.text(), "edge compares whole segments")
	}
	f.rules = append(f.rules, rule{test: t, keys: keys, backend: backend,
		from: append([]plan.Place{l.at}, f.fromACLs(l.words)...)})
}

// write writes the rules of a frontend as routes. Where edge would choose a later rule since it is more specific, a
// route for what both ask has the answer of the first.
func (f *front) write() {
	rules := f.withShort()
	var all []rule
	for i, r := range rules {
		for _, later := range rules[i+1:] {
			if both, ok := r.overlap(later.test); ok {
				all = append(all, rule{both, r.keys, r.from, r.backend})
			}
		}
		all = append(all, r)
	}
	seen := map[string]bool{}
	for _, r := range all {
		paths := r.paths
		if len(paths) == 0 {
			paths = []string{"/*"}
		}
		for _, path := range paths {
			one := r.test
			one.paths = []string{path}
			if id := fmt.Sprint(one.hosts, path, one.methods, one.header, one.query, one.secure); !seen[id] {
				seen[id] = true
				f.route(r, path)
			}
		}
	}
}

// withShort returns the rules with others before them, for the paths that the pattern of an earlier rule takes here
// and its test does not: "/api" of path_beg /api/. Each rule that takes such a path has one.
func (f *front) withShort() (list []rule) {
	var short []string
	for _, r := range f.rules {
		for _, path := range short {
			if len(r.paths) == 0 || slices.ContainsFunc(r.paths, func(p string) bool { return r.takes("="+path, p) }) {
				exact := r
				exact.paths, exact.short = []string{"=" + path}, nil
				list = append(list, exact)
			}
		}
		list = append(list, r)
		for _, path := range r.short {
			if !slices.Contains(short, path) && len(short) < shortMax {
				short = append(short, path)
			}
		}
	}
	return list
}

// shortMax is how many of these paths one section has.
const shortMax = 100

// takes reports whether all requests for the pattern a are taken by the pattern b of t, as the file means it.
func (t test) takes(a, b string) bool {
	exact, found := strings.CutPrefix(a, "=")
	return within(a, b) && !(found && slices.Contains(t.short, exact))
}

// within reports whether all requests for the pattern a are for b too.
func within(a, b string) bool {
	prefix, open := strings.CutSuffix(b, "/*")
	path := strings.TrimPrefix(strings.TrimSuffix(a, "/*"), "=")
	return a == b || open && (path == prefix || strings.HasPrefix(path, prefix+"/"))
}

// overlap returns the test that both ask, where edge would not choose t for it by itself.
func (t test) overlap(later test) (both test, ok bool) {
	both = t
	if t.secure*later.secure < 0 || len(t.methods) > 0 && len(later.methods) > 0 {
		return both, false
	}
	if len(t.methods) == 0 {
		both.methods = later.methods
	}
	var fits, fitsToo bool
	both.header, fits = bothFields(t.header, later.header)
	both.query, fitsToo = bothFields(t.query, later.query)
	if !fits || !fitsToo {
		return both, false
	}
	switch {
	case len(t.hosts) == 0:
		both.hosts = later.hosts
	case len(later.hosts) > 0 && !slices.Equal(t.hosts, later.hosts):
		both.hosts = nil
		for _, h := range later.hosts {
			if slices.Contains(t.hosts, h) {
				both.hosts = append(both.hosts, h)
			}
		}
		if both.hosts == nil {
			return both, false
		}
	}
	both.paths = nil
	mine, others := t.paths, later.paths
	if len(mine) == 0 {
		mine = []string{"/*"}
	}
	if len(others) == 0 {
		others = []string{"/*"}
	}
	for _, a := range mine {
		for _, b := range others {
			if later.takes(a, b) {
				both.paths = append(both.paths, a)
			} else if t.takes(b, a) {
				both.paths = append(both.paths, b)
			}
		}
	}
	asks := len(later.hosts) + len(later.paths) + len(later.methods) + len(later.header) + len(later.query)
	return both, len(both.paths) > 0 && asks > 0
}

// route writes one route.
func (f *front) route(r rule, path string) {
	listener := ""
	switch {
	case r.secure < 0 && f.plain == "" || r.secure > 0 && len(f.secure) == 0:
		return
	case r.secure < 0:
		listener = plan.String(f.plain)
	case r.secure > 0:
		listener = plan.Strings(f.secure...)
	case f.im.alone:
	default:
		names := f.secure
		if f.plain != "" {
			names = append([]string{f.plain}, names...)
		}
		if len(names) == 0 {
			return
		}
		listener = plan.Strings(names...)
	}
	b := f.im.Add("[[routes]]", r.from...)
	none := plan.Place{}
	if len(r.hosts) > 0 {
		b.Set("host", plan.Strings(r.hosts...), none)
	}
	if exact, found := strings.CutPrefix(path, "="); found && !strings.HasSuffix(exact, "/") {
		path = exact
	}
	b.Set("path", plan.String(path), none)
	if listener != "" {
		b.Set("listener", listener, none)
	}
	if len(r.methods) > 0 {
		b.Set("methods", plan.List(r.methods...), none)
	}
	if len(r.header) > 0 {
		b.Set("header", conditions(r.header), none)
	}
	if len(r.query) > 0 {
		b.Set("query", conditions(r.query), none)
	}
	for _, k := range r.keys {
		b.Set(k.Name, k.Value, none)
	}
	f.fields(b, r)
}

// conditions returns conditions on fields or parameters.
func conditions(list []plan.Field) string {
	if len(list) == 1 && list[0].Value == "" {
		return plan.String(list[0].Name)
	}
	return plan.Table(list)
}
