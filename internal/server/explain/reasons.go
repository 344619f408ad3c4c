package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/lang"
)

// otherRoutes returns why each route that does not take the request does not, the nearest one first.
func otherRoutes(cfg *config.Config, q *asked, l *config.Listener, run *server.DryResult) []Other {
	all := []Other{}
	for i := range run.Routes {
		e := &run.Routes[i]
		if e.Why == route.Takes {
			continue
		}
		o := otherOf(e.Value)
		o.Why, o.Text, o.near = e.Why.String(), sentence(e, run.Route, q, l, run.Path), nearness(e, q, run.Path)
		o.When = clausesOf(cfg, e.Value.When, e.Clauses)
		all = append(all, o)
	}
	for i := range cfg.Routes {
		o := otherOf(&cfg.Routes[i])
		switch {
		case cfg.Routes[i].Off:
			o.Why, o.Text = "off", "its weight is 0"
		case cfg.Routes[i].Shadowed:
			o.Why, o.Text = "shadowed", "another route with the same pattern and conditions comes first"
		default:
			continue
		}
		o.near = -1
		all = append(all, o)
	}
	slices.SortStableFunc(all, func(a, b Other) int { return cmp.Compare(b.near, a.near) })
	return all
}

// nearness grows with the parts of a route that fit: first by the part that does not, then by how much of the host or
// the path is the same.
func nearness(e *route.Explained[*config.Route], q *asked, path string) int {
	const parts = 1 << 16 // more than a path or a host has bytes
	same := 0
	switch r := e.Value; e.Why {
	case route.OtherHost:
		for same < min(len(r.Host), len(q.hostOnly)) &&
			r.Host[len(r.Host)-1-same] == q.hostOnly[len(q.hostOnly)-1-same] {
			same++
		}
	case route.OtherPath:
		for same < min(len(r.Path), len(path)) && r.Path[same] == path[same] {
			same++
		}
	}
	return int(e.Why)*parts + same
}

func otherOf(r *config.Route) Other {
	return Other{Name: r.Name, At: r.Pos.FileLine(), Pattern: patternOf(r)}
}

func patternOf(r *config.Route) string {
	return route.Pattern{Host: r.Host, Path: r.Path, Exact: r.PathKind == config.PathExact}.String()
}

// sentence says why a route does not take the request, without its name.
func sentence(e *route.Explained[*config.Route], taken *config.Route, q *asked, l *config.Listener,
	path string) string {
	r := e.Value
	switch e.Why {
	case route.OtherHost:
		if below, wild := strings.CutPrefix(r.Host, "*."); wild {
			return fmt.Sprintf("it is for hosts below %s, not for %s", below, q.Host)
		}
		return fmt.Sprintf("it is for the host %s, not for %s", r.Host, q.Host)
	case route.OtherPath:
		if r.PathKind == config.PathExact {
			return fmt.Sprintf("it is for the path %s alone, not for %s", r.Path, path)
		}
		return fmt.Sprintf("it is for %s and paths below it, not for %s", r.Path, path)
	case route.OtherListener:
		return fmt.Sprintf("it is for the listener %s, and this is %s", strings.Join(r.Listeners, " or "), l.Name)
	case route.OtherCert:
		return "it asks for a certificate of the client, and none is given here"
	case route.OtherMethod:
		if len(r.Methods) == 0 {
			return fmt.Sprintf("it does not name %s in methods, which has to be named", q.Method)
		}
		return fmt.Sprintf("it is for the method %s, not for %s", strings.Join(r.Methods, " or "), q.Method)
	case route.OtherField:
		return "it asks for the field " + condition(e.Condition)
	case route.OtherQuery:
		return "it asks for the parameter " + condition(e.Condition) + " in the query"
	case route.OtherWhen:
		return "its condition does not hold"
	case route.Shares:
		return fmt.Sprintf("it is equal to route %s and takes %d of %d of these requests, by its weight", taken.Name,
			e.Weight, e.All)
	}
	return "it would take it, but is less specific than route " + taken.Name + ": " + lesser(e, taken)
}

// clausesOf returns the parts of a condition that was asked.
func clausesOf(cfg *config.Config, when *lang.Condition, all []lang.Clause) []Clause {
	list := Clauses(all)
	for i, c := range all {
		if p, known := cfg.Language.Place(when, c.Offset, c.End); known {
			list[i].At = p.String()
		}
	}
	return list
}

// Clauses returns the parts of a condition that Explain of the language has told.
func Clauses(all []lang.Clause) (list []Clause) {
	for _, c := range all {
		list = append(list, Clause{Text: c.Text, Holds: c.Holds, Asked: c.Asked, Value: c.Value, Missing: c.Missing,
			NS: c.Took.Nanoseconds()})
	}
	return list
}

// unmet says which clauses of a condition did not hold; "" where each of them did, under a not.
func unmet(all []Clause) string {
	var list []string
	for _, c := range all {
		if c.Asked && !c.Holds {
			list = append(list, strings.TrimSuffix(c.Text+", and "+c.value(), ", and "))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return ": " + strings.Join(list, "; ")
}

// value says what the left side of c was; "" where nothing is known.
func (c *Clause) value() string {
	switch {
	case !c.Asked || c.Value == "" && !c.Missing:
		return ""
	case c.Missing:
		return "it is missing"
	}
	return "it is " + c.Value
}

func condition(c route.Condition) string {
	expr, isExpr := strings.CutPrefix(c.Value, "~")
	switch {
	case c.Value == "":
		return c.Name
	case isExpr:
		return fmt.Sprintf("%s with %q in its value", c.Name, expr)
	}
	return fmt.Sprintf("%s with the value %q", c.Name, c.Value)
}

// lesser says in what a route is less specific than the route that takes the request.
func lesser(e *route.Explained[*config.Route], taken *config.Route) string {
	switch e.Below {
	case route.ByHost:
		return "that one names " + hostOf(taken) + ", this one " + hostOf(e.Value)
	case route.ByPath:
		if taken.PathKind == config.PathExact {
			return "that one names the whole path"
		}
		return "that one names more of the path"
	}
	if own, more := conditionsOf(e.Value), conditionsOf(taken); own < more {
		return fmt.Sprintf("that one has more conditions, %d and not %d", more, own)
	}
	return "both have as many conditions, and the conditions of that one count for more"
}

// conditionsOf counts the conditions of a route, as package route does.
func conditionsOf(r *config.Route) int {
	n := min(len(r.Listeners), 1) + min(len(r.Methods), 1) + len(r.Header) + len(r.Query)
	if r.When != nil {
		n++
	}
	if c := r.ClientCert; c != nil {
		n++
		for _, part := range []string{c.Subject, c.Issuer, c.SAN} {
			n += min(len(part), 1)
		}
	}
	return n
}

func hostOf(r *config.Route) string { return cmp.Or(r.Host, "any host") }
