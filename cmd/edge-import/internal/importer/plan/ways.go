package plan

import (
	"cmp"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// way is one manner to meet a condition, as routes ask it.
type way struct {
	hosts []string // nil: any
	path  string   // a pattern
	rest  *Cond    // what else has to hold
	vague bool     // a route takes other requests than the condition
	fewer bool     // it takes less of them, and no others
	loss  string   // what it does not take
	below *Cond    // rest, where a branch before takes the path that the pattern is below; nil: that one is for w
}

// waysMax is how many routes one branch has.
const waysMax = 16

// waysOf returns the ways to meet c, of requests for some hosts; nil: routes do not ask so.
func waysOf(c *Cond, of []string) (list []way) {
	if c.kind == any {
		for _, k := range c.kids {
			ways := waysOf(k, of)
			if list = append(list, ways...); ways == nil || len(list) > waysMax {
				return nil
			}
		}
		return list
	}
	one := way{hosts: of, path: "/*", rest: Always}
	list = []way{one}
	kids := []*Cond{c}
	if c.kind == all {
		kids = c.kids
	}
	hosted, pathed := of != nil, false
	for _, k := range kids {
		paths := []*Cond{k}
		if k.kind == any {
			paths = k.kids
		}
		switch {
		case k.kind == hosts && (!hosted || within(k.names, of)):
			hosted, of = true, nil // another condition names other hosts
			near, _ := among("host", k.names)
			for i := range list {
				list[i].hosts, list[i].vague = k.names, list[i].vague || near != k.exact
			}
		case !pathed && !slices.ContainsFunc(paths, func(p *Cond) bool { return p.kind != path }) && len(paths) > 0:
			pathed = true
			from := list
			list = nil
			for _, p := range paths {
				for _, w := range from {
					list = append(list, w.on(p))
				}
			}
		case k.holdsFor(list):
		default:
			text, _ := k.text(usual)
			same, _ := k.text(exact)
			for i := range list {
				list[i].rest, list[i].vague = All(list[i].rest, k), list[i].vague || text != same
				if list[i].below != nil {
					list[i].below = All(list[i].below, k)
				}
			}
		}
	}
	if len(list) > waysMax {
		return nil
	}
	return list
}

// holdsFor reports whether all requests for some ways meet c, which asks for hosts or a path.
func (c *Cond) holdsFor(list []way) bool {
	w := way{path: "/*", rest: Always}
	switch near, _ := among("host", c.names); {
	case c.kind == hosts && near == c.exact:
		w.hosts = c.names
	case c.kind == path:
		w = w.on(c)
	default:
		return false
	}
	return !w.vague && w.loss == "" && !slices.ContainsFunc(list, func(o way) bool { return !w.hides(&o) })
}

// on returns w for the path that c asks for.
func (w way) on(c *Cond) way {
	p := c.of
	above, slash := strings.CutSuffix(p.Pattern, "/")
	other := p.text() != c.exact
	w.path, w.loss, w.vague, w.fewer = p.Pattern, p.Loss, w.vague || other && !p.Within, other && p.Within
	switch {
	case slash && above != "": // of routes "/api/" is a prefix
		w.path, w.rest = p.Pattern+"*", All(w.rest, Test(p.text()))
	case p.Below:
		w.rest, w.below = All(w.rest, Test(p.text())), w.rest
	}
	return w
}

// within reports whether all requests for some hosts are for others.
func within(names, of []string) bool {
	return of != nil && !slices.ContainsFunc(names, func(name string) bool {
		return !slices.ContainsFunc(of, func(o string) bool { return hostBelow(name, o) })
	})
}

// hostBelow reports whether a name of hosts is another one, or below it. "": any host.
func hostBelow(name, of string) bool {
	return name == of || of == "" || strings.HasPrefix(of, "*") && strings.HasSuffix(name, of[1:])
}

// pathBelow is hostBelow for patterns of paths.
func pathBelow(pattern, of string) bool {
	above, prefix := strings.CutSuffix(of, "/*")
	path := strings.TrimSuffix(pattern, "/*")
	return pattern == of || prefix && (path == above || strings.HasPrefix(path, above+"/"))
}

// rank says which of two names or patterns goes first, -1 for a; meet says that a request may be for both.
func rank(a, b string, below func(a, b string) bool) (first int, meet bool) {
	switch {
	case a == b:
		return 0, true
	case below(a, b):
		return -1, true
	case below(b, a):
		return 1, true
	}
	return 0, false
}

// anyHost is what a way without hosts has.
var anyHost = []string{""}

func (w *way) names() []string {
	if w.hosts == nil {
		return anyHost
	}
	return w.hosts
}

// meets reports whether a request may be for both ways, and wins whether edge takes w for all that are.
func (w *way) meets(o *way) (meets, wins bool) {
	wins = true
	first, meet := rank(w.path, o.path, pathBelow)
	if !meet {
		return false, true
	}
	first = cmp.Or(first, cmp.Compare(weight(o.rest), weight(w.rest)))
	for _, a := range w.names() {
		for _, b := range o.names() {
			host, both := rank(a, b, hostBelow)
			meets = meets || both
			wins = wins && (!both || cmp.Or(host, first) < 0)
		}
	}
	return meets, wins
}

// weight is what the condition of a route counts for.
func weight(c *Cond) int {
	if len(c.kids) == 0 && c.kind == all {
		return 0
	}
	return 1
}

// hides reports whether all requests for o are for w.
func (w *way) hides(o *way) bool {
	return pathBelow(o.path, w.path) && weight(w.rest) == 0 && within(o.names(), w.names())
}

// mayMeet reports whether a request for w may meet c.
func (w *way) mayMeet(c *Cond) bool {
	switch c.kind {
	case all:
		return !slices.ContainsFunc(c.kids, func(k *Cond) bool { return !w.mayMeet(k) })
	case any:
		return slices.ContainsFunc(c.kids, w.mayMeet)
	case hosts:
		meets, _ := w.meets(&way{hosts: c.names, path: w.path, rest: Always})
		return meets
	case path:
		_, meet := rank(w.path, c.of.Pattern, pathBelow)
		more := c.of.Loss != "" || c.of.Within || w.loss != ""
		return meet || more && w.begins(strings.TrimSuffix(c.of.Pattern, "/*"))
	case not:
		return c.kids[0].kind != path || !w.within(c.kids[0].of)
	case test:
		return c.expr == nil || strings.HasSuffix(w.path, "/*") && w.begins(beginning(c.expr)) ||
			strings.Contains(w.path, "%") || c.expr.MatchString(w.path)
	}
	return true
}

// within reports whether all paths for w meet p.
func (w *way) within(p *Path) bool {
	return pathBelow(w.path, p.Pattern) && w.loss == "" && (!p.Below || w.path != p.Pattern || w.below != nil) &&
		w.path != strings.TrimSuffix(p.Pattern, "/*")
}

// begins reports whether a path for w may begin with a text, in any case.
func (w *way) begins(text string) bool {
	below, prefix := strings.CutSuffix(strings.ToLower(w.path), "/*")
	text = strings.ToLower(text)
	return strings.HasPrefix(below, text) || prefix && strings.HasPrefix(text, below)
}

// beginning returns what all texts begin with that re matches.
func beginning(re *regexp.Regexp) string {
	tree, err := syntax.Parse(re.String(), syntax.Perl)
	if err == nil && tree.Op == syntax.OpConcat && tree.Sub[0].Op == syntax.OpBeginText &&
		tree.Sub[1].Op == syntax.OpLiteral {
		return string(tree.Sub[1].Rune)
	}
	return ""
}
