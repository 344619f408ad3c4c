package traefik

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// stepsMax is how many middlewares a router may have, with those of chains.
const stepsMax = 100

// chain is the middlewares that requests pass. Owned by one goroutine.
type chain struct {
	steps   []*resource
	guarded bool // a middleware that it names does not exist
	from    []plan.Place
}

// add adds the middleware that n names, those of a chain one by one.
func (c *chain) add(im *importer, n *node, from *doc, depth int) {
	c.from = append(c.from, n.at)
	m := im.find("middlewares", n.text, from)
	switch {
	case m == nil:
		im.Lose(n.at, n.words(), "there is no such middleware: what it stands before answers 403")
		c.guarded = true
	case depth > 8 || len(c.steps) >= stepsMax:
		im.Lose(n.at, n.words(), "too many middlewares, or a chain in itself: what it stands before answers 403")
		c.guarded = true
	case m.has("chain"):
		c.from = append(c.from, m.at)
		for _, o := range m.elements("chain", "middlewares") {
			c.add(im, o, m.doc, depth+1)
		}
	case !slices.ContainsFunc(c.steps, func(o *resource) bool { return o.node == m.node }):
		c.steps = append(c.steps, m)
	}
}

// guards are middlewares that keep requests away. Where edge has none of the kind, the route is closed.
var guards = []string{"basicauth", "digestauth", "forwardauth", "ipallowlist", "ipwhitelist", "plugin"}

// guards reports whether something guards requests that edge does not have.
func (c *chain) guards(im *importer) bool {
	return c.guarded || slices.ContainsFunc(c.steps, func(m *resource) bool {
		return slices.ContainsFunc(m.list, func(n *node) bool {
			return slices.Contains(guards, strings.ToLower(n.name)) && !everybody(n) && im.filters.unfit(n) != ""
		})
	})
}

// everybody reports whether a list of addresses has all of them.
func everybody(n *node) bool {
	list := n.texts("sourcerange")
	return slices.Contains(list, "0.0.0.0/0") && slices.Contains(list, "::/0")
}

// reply is what a route does with a request on its way to the service. Owned by one goroutine.
type reply struct {
	im       *importer
	e        *entry
	r        *router
	cell     test
	base     string // what the path that the backend sees begins with, by segments, as far as it is known
	exact    bool   // it is the whole path
	strip    string
	add      string
	full     string // the path that replaces all of it; "": none
	moved    bool   // the path is not that of the client
	request  []plan.Field
	response []plan.Field
	keys     []plan.Field
	from     []plan.Place
	answered []plan.Field // the request goes no further
	filters  []*filter    // that it passes before
}

// reply returns the route for the requests of a cell, which a router takes.
func (im *importer) reply(e *entry, r *router, t test) *written {
	_, exact := t.exact()
	a := &reply{im: im, e: e, r: r, cell: t, base: t.base(), exact: exact}
	w := &written{test: t, entries: []*entry{e}, from: slices.Clone(r.from)}
	if r.closed || r.guards(im) || e.guards(im) {
		a.answered = []plan.Field{{Name: "dest", Value: `"status:403"`}}
	}
	if r.redirect != nil {
		a.toScheme(r.redirect)
	}
	for _, m := range slices.Concat(e.steps, r.steps) {
		a.step(m)
	}
	w.from = slices.Concat(w.from, r.chain.from, e.chain.from, a.from)
	w.dests = []dest{{keys: a.answered}}
	if a.answered == nil {
		w.dests = im.pools.dests(r, a)
	}
	if a.answered == nil && !strings.HasPrefix(w.dests[0].keys[0].Value, `"status:`) {
		a.finish()
	} else {
		a.keys = nil // they say how a backend is asked
	}
	if len(a.response) > 0 {
		a.keys = append(a.keys, plan.Field{Name: "headers.response", Value: plan.Table(a.response)})
	}
	w.keys, w.filters = a.keys, a.filters
	if len(w.filters) > 0 {
		w.keys = append(w.keys, plan.Field{Name: "filters", Value: filtersKey(w.filters)})
	}
	return w.finish()
}

// finish adds the keys about the path and the fields of requests.
func (a *reply) finish() {
	add := func(key, value string) {
		if value != "" {
			a.keys = append(a.keys, plan.Field{Name: key, Value: plan.String(value)})
		}
	}
	add("rewrite.path", a.full)
	add("rewrite.strip_prefix", a.strip)
	add("rewrite.add_prefix", a.add)
	if len(a.request) > 0 {
		a.keys = append(a.keys, plan.Field{Name: "headers.request", Value: plan.Table(a.request)})
	}
}

// step translates a middleware. After one that answers the request, later ones are only read for findings.
func (a *reply) step(m *resource) {
	for _, n := range m.list {
		kind := strings.ToLower(n.name)
		translate := stepOf(kind)
		if translate == nil || len(m.list) > 1 {
			a.im.lose(m.node, "edge does not know this middleware")
			continue
		}
		translate(a, n)
	}
	a.from = append(a.from, m.at)
}

// stepOf returns what translates middlewares of a kind; nil: it is not known.
func stepOf(kind string) func(*reply, *node) {
	lose := func(why string) func(*reply, *node) {
		return func(a *reply, n *node) { a.im.lose(n, why) }
	}
	return map[string]func(*reply, *node){
		"stripprefix": (*reply).stripPrefix, "stripprefixregex": (*reply).stripExpression,
		"addprefix":   (*reply).addPrefix,
		"replacepath": (*reply).replacePath, "replacepathregex": (*reply).replaceExpression,
		"redirectscheme": (*reply).redirectScheme, "redirectregex": (*reply).redirectExpression,
		"headers": (*reply).headers, "retry": (*reply).retry, "buffering": (*reply).buffering,
		"ipallowlist": (*reply).addresses, "ipwhitelist": (*reply).addresses,
		"basicauth": (*reply).password, "ratelimit": (*reply).rate,
		"digestauth": lose(noGuard), "forwardauth": lose(noGuard), "plugin": lose(noGuard),
		"inflightreq":       lose("requests of one client are not counted in this version: see breaker of upstreams"),
		"compress":          lose("not available in this version: answers are not compressed"),
		"circuitbreaker":    lose("see outlier of upstreams, which ejects single backends"),
		"errors":            lose("see error_pages and intercept_errors of routes, which show files"),
		"passtlsclientcert": lose("see the variables of fields, such as {client_cert_subject}"),
		"grpcweb":           lose("see grpc of routes, which translates gRPC-Web"),
		"contenttype":       func(a *reply, n *node) { a.im.note(n, "nothing to write: edge adds no type") },
	}[kind]
}

// splits returns tests that divide what a router takes, where its middlewares do not do the same with all of it.
func (im *importer) splits(e *entry, r *router) (tests []test) {
	path := func(p string) {
		if short := strings.TrimRight(p, "/"); validPath(p) && short != "" {
			tests = append(tests, below(p))
			if short != p {
				tests = append(tests, test{path: "=" + short})
			}
		}
	}
	for _, m := range slices.Concat(e.steps, r.steps) {
		for _, p := range m.texts("stripprefix", "prefixes") {
			path(strings.TrimSpace(p))
		}
		for _, text := range m.texts("stripprefixregex", "regex") {
			for _, p := range beginnings(text) {
				path(p)
			}
		}
		if p, _, _, ok := swap(m.str("replacepathregex", "regex"), m.str("replacepathregex", "replacement")); ok {
			path(p)
		}
		if x := parseMove(m.node.get("redirectregex")); x != nil {
			if x.host != "" {
				tests = append(tests, test{host: x.host})
			}
			path(x.path)
			if x.alone && validPath(x.path) {
				tests = append(tests, test{path: "=" + x.path})
			}
		}
	}
	return tests
}

// begins reports whether all paths that a reply is for begin with a text.
func (a *reply) begins(p string) bool {
	short := strings.TrimRight(p, "/")
	if a.exact || p == short {
		return strings.HasPrefix(a.base, p) && (a.exact || len(a.base) == len(p) || a.base[len(p)] == '/')
	}
	return a.base == short || strings.HasPrefix(a.base, p)
}

// cut takes a text from the beginning of the path.
func (a *reply) cut(n *node, p string) {
	short := strings.TrimRight(p, "/")
	rest := strings.TrimPrefix(a.base, p)
	if a.base == short {
		rest = ""
	}
	if a.exact && !strings.HasPrefix(rest, "/") {
		rest = "/" + rest
	}
	switch {
	case a.add != "" || a.full != "":
		a.im.Lose(n.at, n.words(), "edge takes a beginning away before it adds one")
		return
	case a.exact && !strings.HasPrefix(a.base+"/", short+"/"):
		a.full = rest // it ends within a segment
	default:
		a.strip += short
	}
	a.base, a.moved = rest, true
	a.setRequest("X-Forwarded-Prefix", p)
}

func (a *reply) stripPrefix(n *node) {
	if slash := n.get("forceslash"); slash != nil {
		a.im.Note(slash.at, slash.words(), "nothing to write: what is left of a path begins with a slash")
	}
	list := n.elements("prefixes")
	for _, p := range list {
		a.from = append(a.from, p.at)
	}
	for _, p := range list {
		text := strings.TrimSpace(p.text)
		if strings.Trim(text, "/") != "" && a.begins(text) {
			a.cut(p, text)
			return
		}
		if text == strings.TrimRight(text, "/") && !a.exact && pathWithin(text+"/*", a.cell.path) {
			a.im.Lose(p.at, "a part of "+p.words(), "paths such as "+text+"x are left whole: edge compares "+
				"whole segments")
		}
	}
}

// beginnings returns the texts that an expression takes from the beginning of a path.
func beginnings(text string) []string {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "^") {
		text = "^" + text
	}
	texts, whole, ok := literals(text)
	if !ok || whole || strings.HasSuffix(text, "*") || strings.HasSuffix(text, ")") && strings.Contains(text, ".*)") {
		return nil
	}
	return texts
}

func (a *reply) stripExpression(n *node) {
	for _, e := range n.elements("regex") {
		a.from = append(a.from, e.at)
		texts := beginnings(e.text)
		if len(texts) == 0 {
			a.im.Lose(e.at, e.words(), "edge takes a text from the beginning of a path, not an expression")
			continue
		}
		for _, p := range texts {
			if strings.Trim(p, "/") != "" && a.begins(p) {
				a.cut(e, p)
				return
			}
		}
	}
}

func (a *reply) addPrefix(n *node) {
	p := n.get("prefix")
	if p == nil || !strings.HasPrefix(p.text, "/") || p.text == "/" {
		return
	}
	a.from = append(a.from, p.at)
	prefix := strings.TrimRight(p.text, "/")
	if a.full != "" {
		a.full = prefix + a.full
	} else {
		a.add = prefix + a.add
	}
	a.base, a.moved = prefix+a.base, true
}

func (a *reply) replacePath(n *node) {
	p := n.get("path")
	if p == nil {
		return
	}
	a.from = append(a.from, p.at)
	a.replaced(p, p.text)
}

// replaced sets the whole path.
func (a *reply) replaced(n *node, path string) {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "{}?") {
		a.im.Lose(n.at, n.words(), "edge has variables in such a path")
		return
	}
	if before, known := a.cell.exact(); known && !a.moved {
		a.setRequest("X-Replaced-Path", before)
	} else {
		a.im.Lose(n.at, "X-Replaced-Path of "+n.path, "backends are not told the path that was replaced")
	}
	a.full, a.strip, a.add = path, "", ""
	a.base, a.exact, a.moved = path, true, true
}

var (
	swapFrom = plan.Expr(`^\^?((?:/[A-Za-z0-9_.~-]*)+?)(/?)\(\.\*\)\$?$`)
	swapTo   = plan.Expr(`^((?:/[A-Za-z0-9_.~-]+)*)(/?)\$(?:1|\{1\})$`)
)

// swap reads the replacement of one beginning of a path by another: ^/a/(.*) and /b/$1. from is the beginning.
func swap(regex, replacement string) (from, take, put string, ok bool) {
	f, t := swapFrom().FindStringSubmatch(regex), swapTo().FindStringSubmatch(replacement)
	if f == nil || t == nil || (f[2] == "") != (t[2] == "") {
		return "", "", "", false
	}
	return f[1] + f[2], f[1], t[1], true
}

func (a *reply) replaceExpression(n *node) {
	regex, to := n.get("regex"), n.get("replacement")
	if regex == nil || to == nil {
		return
	}
	a.from = append(a.from, regex.at, to.at)
	from, take, put, ok := swap(regex.text, to.text)
	re, err := regexp.Compile(strings.TrimSpace(regex.text))
	switch {
	case a.exact && err == nil:
		if re.MatchString(a.base) {
			a.replaced(n, re.ReplaceAllString(a.base, to.text))
		}
	case !ok:
		a.im.lose(n, "edge puts one beginning of a path in place of another")
	case a.begins(from) && (a.add != "" || a.full != ""):
		a.im.lose(n, "edge takes a beginning away before it adds one")
	case a.begins(from):
		a.strip += take
		a.add = put
		a.base, a.moved = put+strings.TrimPrefix(a.base, take), true
		a.im.Lose(n.at, "X-Replaced-Path of "+n.path, "backends are not told the path that was replaced")
	}
}

// setRequest sets a field of the request. A later middleware comes after an earlier one.
func (a *reply) setRequest(name, value string) {
	a.request = slices.DeleteFunc(a.request, func(f plan.Field) bool { return strings.EqualFold(f.Name, name) })
	a.request = append(a.request, plan.Field{Name: name, Value: value})
}

// setResponse sets a field of the answer. The answer passes the last middleware first.
func (a *reply) setResponse(name, value string) {
	same := func(f plan.Field) bool { return strings.EqualFold(f.Name, name) }
	if a.answered == nil && !slices.ContainsFunc(a.response, same) {
		a.response = append(a.response, plan.Field{Name: name, Value: value})
	}
}

// buffering writes the size up to which bodies of requests are received whole.
func (a *reply) buffering(n *node) {
	if size, ok := n.number("maxrequestbodybytes"); ok && size > 0 {
		a.from = append(a.from, n.where("maxrequestbodybytes"))
		a.keys = append(a.keys, plan.Field{Name: "buffer_request",
			Value: plan.Size(min(max(size, 1<<10), 1<<30))})
		if size < 1<<10 || size > 1<<30 {
			a.im.Lose(n.where("maxrequestbodybytes"), n.get("maxrequestbodybytes").words(), "from 1k to 1g")
		}
	}
	for _, c := range n.list {
		switch strings.ToLower(c.name) {
		case "maxrequestbodybytes":
		case "memrequestbodybytes", "memresponsebodybytes", "disablerequestbuffer", "disableresponsebuffer":
			a.im.note(c, "nothing to write: bodies of requests are kept in memory, answers are not held back")
		default:
			a.im.lose(c, "answers are not held back, nor limited")
		}
	}
	n.used = true
}

// retry writes how often a request is tried.
func (a *reply) retry(n *node) {
	if number, ok := n.number("attempts"); ok {
		a.from = append(a.from, n.where("attempts"))
		a.keys = append(a.keys, plan.Field{Name: retryKey,
			Value: strconv.FormatInt(min(max(number-1, 0), 100), 10)})
	}
	for _, c := range n.list {
		switch strings.ToLower(c.name) {
		case "attempts":
		case "initialinterval":
			a.im.note(c, "nothing to write: another backend is tried at once")
		default:
			a.im.lose(c, "see retry of upstreams")
		}
	}
}

// retryKey stands for retry.attempts of the upstream that a route leads to.
const retryKey = "retry.attempts"

// takeRetry takes the number of retries out of the keys of a route.
func (a *reply) takeRetry() (value string) {
	a.keys = slices.DeleteFunc(a.keys, func(f plan.Field) bool {
		if f.Name == retryKey {
			value = cmp.Or(value, f.Value)
			return true
		}
		return false
	})
	return value
}
