package traefik

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// stepsMax is how many middlewares a router may have, with the middlewares of chains.
const stepsMax = 100

// chain returns steps and the middlewares that nodes name, each chain before its own. A missing one is nil.
func (im *importer) chain(steps, list []*node, depth int) []*node {
	for _, n := range list {
		m := im.find("middlewares", n)
		if m == nil || depth > 8 || len(steps) >= stepsMax {
			im.Lose(n.at, n.words(), "there is none such, or it is in itself: a rule with deny = 403 closes "+
				"what it stands before")
			if steps = append(steps, nil); m == nil && len(steps) < stepsMax {
				continue
			}
			return steps
		}
		steps = im.chain(append(steps, m), m.elements("chain", "middlewares"), depth+1)
	}
	return steps
}

// reply is what becomes of the requests of a router. Owned by one goroutine.
type reply struct {
	im       *importer
	e        *entry
	r        *router
	m        *node          // the middleware that is read
	path     string         // what the backend sees, in the language
	rewrite  []plan.Setting // what makes it of the path of a request
	asks     []plan.Step    // about what the backend is asked
	response []plan.Field   // that the answer has
	filters  []string
	encoder  string         // the filter that compresses; "": none does
	keys     []plan.Setting // how a backend is asked
	retries  string
	from     []plan.Place
	forks    []plan.Branch
	end      *plan.Action // the request goes no further
	shut     []plan.Step  // that refuses all requests, since a guard is not carried; nil: there is none
}

// target returns what a router leads to, from an entry point. The requests for forks end before.
func (im *importer) target(e *entry, r *router) (t *plan.Target, forks []plan.Branch) {
	a := &reply{im: im, e: e, r: r, m: r.node, path: "path",
		from: e.node.get("http", "middlewares").places()}
	if r.closed {
		a.close("a guard of the router")
	}
	for _, m := range slices.Concat(e.steps, r.steps) {
		if a.end == nil {
			a.step(m)
		}
	}
	t = &plan.Target{Name: r.name, From: a.from, Steps: a.passed()}
	if a.end != nil {
		t.End = *a.end
	} else if more := im.lead(a, t); t.End.Name == "dest" {
		t.Steps, t.Keys = slices.Concat(t.Steps, a.asks, more), slices.Concat(a.keys, a.rewrite)
	}
	return t, a.forks
}

// passed returns the steps before a request ends.
func (a *reply) passed() (steps []plan.Step) {
	if steps = slices.Clip(a.shut); len(a.filters) > 0 {
		steps = append(steps, a.toStep(nil, plan.Use(a.filters...)))
	}
	if a.encoder != "" {
		steps = append(steps, a.toStep(nil, plan.Encode(a.encoder)))
	}
	if len(a.response) > 0 {
		steps = append(steps, a.toStep(nil, plan.ResponseFields(a.response...)))
	}
	return steps
}

// same returns the target that is there already and does the same as t, else t.
func (im *importer) same(t *plan.Target) *plan.Target {
	id := fmt.Sprint(t.End, t.Keys)
	for _, s := range t.Steps {
		id += fmt.Sprint(s.Do, s.When)
	}
	if im.targets[id] == nil {
		im.targets[id] = t
	}
	return im.targets[id]
}

// finish ends the way of a request, unless something does already.
func (a *reply) finish(end plan.Action) { a.end = cmp.Or(a.end, &end) }

// close refuses all requests by one rule, which an operator deletes.
func (a *reply) close(guard string) {
	if a.shut == nil {
		a.shut = []plan.Step{a.toStep(nil, plan.Close(guard+" is not carried"))}
	}
}

// toStep returns a step that comes from the middleware that is read.
func (a *reply) toStep(when *plan.Cond, do plan.Action) plan.Step {
	return plan.Step{When: when, Do: []plan.Action{do}, What: a.m.path, From: []plan.Place{a.m.at}}
}

// step translates a middleware. A guard that edge does not have closes the route.
func (a *reply) step(m *node) {
	if m == nil {
		a.close("a middleware")
		return
	}
	a.m, m.used = m, true
	a.from = append(a.from, m.places()...)
	for _, n := range m.list {
		translate := map[string]func(*node) string{
			"stripprefix": a.stripPrefix, "stripprefixregex": a.stripPrefix, "addprefix": a.addPrefix,
			"replacepath": a.replacePath, "replacepathregex": a.replacePath,
			"redirectscheme": a.redirectScheme, "redirectregex": a.redirectExpression,
			"headers": a.headers, "retry": a.retry, "ratelimit": a.rate,
			"compress": a.compress, "ipallowlist": a.addresses, "ipwhitelist": a.addresses, "basicauth": a.password,
		}[strings.ToLower(n.name)]
		_, known := a.im.word(n)
		why := ""
		if known = known || translate != nil; translate != nil {
			why = translate(n)
		} else if a.keys = append(a.keys, a.im.settings(n)...); !known {
			why = "not available in this version"
		}
		if why != "" && (!known || slices.Contains(guards, strings.ToLower(n.name))) {
			a.close(n.name)
			why += ": a rule with deny = 403 closes what it guards until you guard it otherwise"
		}
		if why != "" {
			a.im.lose(n, why)
		}
	}
}

// guards are middlewares that keep requests away. Where edge cannot do the same the route is closed.
var guards = []string{"ipallowlist", "ipwhitelist", "basicauth"}

// move changes the path that the backend sees: a text of the language, and the keys that make it if there are shorter
// ones.
func (a *reply) move(path string, keys ...plan.Setting) {
	if keys == nil {
		keys = []plan.Setting{{Name: "rewrite.path", Value: plan.Literal("{" + path + "}")}}
	}
	a.path, a.rewrite = path, keys
}

func (a *reply) stripPrefix(n *node) (why string) {
	var list []string
	for _, p := range n.elements("regex") {
		list = append(list, "(?:"+strings.TrimSpace(p.text)+")")
	}
	for _, p := range n.elements("prefixes") {
		text := strings.TrimSpace(p.text)
		short := strings.TrimRight(text, "/")
		if a.r.rule.below(cmp.Or(short, "/")) && a.path == "path" && list == nil && short != "" {
			if !a.r.rule.below(short + "/") {
				a.im.Note(p.at, p.words(), "edge compares whole segments: not "+short+"x")
			}
			a.request(nil, "X-Forwarded-Prefix", plan.Text(text))
			a.move(`path.cut_prefix("`+short+`")`,
				plan.Setting{Name: "rewrite.strip_prefix", Value: plan.String(short)})
			return ""
		}
		list = append(list, regexp.QuoteMeta(text))
	}
	all := strings.Join(list, "|")
	quoted, ok := plan.Quote("^(" + all + ")")
	rest, fits := plan.Quote("^(?:" + all + ")/?")
	if _, err := regexp.Compile(all); err != nil || !ok || !fits {
		return "edge does not know this expression"
	}
	if list != nil {
		a.request(plan.Test(a.path+" ~ "+quoted), "X-Forwarded-Prefix", "{match.1}")
		a.move("re_replace(" + a.path + ", " + rest + `, "/")`)
	}
	return ""
}

func (a *reply) addPrefix(n *node) (why string) {
	prefix := strings.TrimRight(n.str("prefix"), "/")
	quoted, ok := plan.Quote(prefix)
	if !ok || prefix == "" || prefix[0] != '/' {
		return "edge has no such path"
	}
	add := plan.Setting{Name: "rewrite.add_prefix", Value: plan.String(prefix)}
	switch path := "(" + quoted + " + " + a.path + ")"; {
	case a.rewrite == nil || len(a.rewrite) == 1 && a.rewrite[0].Name == "rewrite.strip_prefix":
		a.move(path, append(slices.Clip(a.rewrite), add)...)
	default:
		a.move(path)
	}
	return ""
}

// braced are groups in a replacement that stand apart without braces.
var braced = plan.Expr(`\$\{(\d)\}`)

func (a *reply) replacePath(n *node) (why string) {
	text := strings.TrimSpace(n.str("path") + n.str("replacement"))
	put, ok := plan.Quote(braced().ReplaceAllString(text, "$$$1"))
	re, fits := plan.Quote(strings.TrimSpace(n.str("regex")))
	_, err := regexp.Compile(n.str("regex"))
	if err != nil || !ok || !fits || text == "" || strings.ContainsAny(text, "?{") {
		return "edge has no such path"
	}
	if n.has("regex") {
		a.request(plan.Test(a.path+" ~ "+re), "X-Replaced-Path", "{"+a.path+"}")
		a.move("re_replace(" + a.path + ", " + re + ", " + put + ")")
	} else {
		a.request(nil, "X-Replaced-Path", "{"+a.path+"}")
		a.move(put, plan.Setting{Name: "rewrite.path", Value: plan.String(plan.Text(text))})
	}
	return ""
}

func (a *reply) request(when *plan.Cond, name, value string) {
	a.asks = append(a.asks, a.toStep(when, plan.RequestFields(plan.Field{Name: name, Value: value})))
}

// answer sets a field of the answer, unless a middleware before does: the answer passes that one later.
func (a *reply) answer(name, value string) {
	same := func(f plan.Field) bool { return strings.EqualFold(f.Name, name) }
	if !slices.ContainsFunc(a.response, same) {
		a.response = append(a.response, plan.Field{Name: name, Value: value})
	}
}

// retry writes how often a request is tried.
func (a *reply) retry(n *node) (why string) {
	if number, ok := n.number("attempts"); ok {
		a.retries = strconv.FormatInt(min(max(number-1, 0), 100), 10)
	}
	return ""
}
