package filters

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
)

// A list of names has filters to add, and such to take out: "!name".

// Split returns the names that a list adds, and those that it takes out.
func Split(list []string) (add, out []string) {
	for _, name := range list {
		if taken, found := strings.CutPrefix(name, "!"); found {
			out = append(out, taken)
		} else {
			add = append(add, name)
		}
	}
	return add, out
}

// Before returns the filters that run before those of a route, for requests that come by a listener: those of its own
// list, then those of all requests that it does not take out. Each runs once.
func Before(listener, all []string) []string {
	add, out := Split(listener)
	for _, name := range all {
		if !slices.Contains(out, name) && !slices.Contains(add, name) {
			add = append(add, name)
		}
	}
	return add
}

// Lists are the lists of a request: of its listener, of all requests and of its route, then what rules name before the
// route is chosen, and what those of the route name.
type Lists struct{ Listener, All, Route, Rules, RouteRules []string }

// Member is a filter in its place among those of a request.
type Member struct {
	Name   string
	Stands bool // a list has it: it runs unless a rule takes it out. false: it runs where a rule adds it
	Ruled  bool // a rule names it
	Moved  bool // one of those before, which runs after the rules of the route, for one of them takes it out
}

// Names reports whether other has the name of m.
func (m Member) Names(other Member) bool { return m.Name == other.Name }

// Before returns the filters that run before those of a route.
func (l *Lists) Before() (list []Member) {
	added, _ := Split(l.Rules)
	for _, name := range Before(l.Listener, l.All) {
		list = append(list, Member{Name: name, Stands: true, Ruled: l.ruled(name)})
	}
	for _, name := range added {
		if !has(list, name) {
			list = append(list, Member{Name: name, Ruled: true})
		}
	}
	return list
}

// OfRoute returns the filters that run after the rules of the route, where before run before, and those of before that
// do not run in their place.
func (l *Lists) OfRoute(before []Member) (own []Member, without []string) {
	named, out := Split(l.Route)
	var added []Member
	for _, name := range named {
		stands := slices.ContainsFunc(before, func(m Member) bool { return m.Name == name && m.Stands })
		if !stands || slices.Contains(out, name) {
			added = append(added, Member{Name: name, Stands: true, Ruled: l.ruled(name)})
		}
	}
	follows := false // a rule of the route names m, or one before it
	for _, m := range before {
		if slices.Contains(out, m.Name) || has(added, m.Name) {
			without = append(without, m.Name)
			continue
		}
		if follows = follows || names(l.RouteRules, m.Name); follows {
			without = append(without, m.Name)
			own = append(own, Member{m.Name, m.Stands, l.ruled(m.Name), true})
		}
	}
	own = append(own, added...)
	turned, _ := Split(l.RouteRules)
	for _, name := range turned {
		if !has(own, name) {
			own = append(own, Member{Name: name, Ruled: true})
		}
	}
	return own, without
}

// ruled reports whether a rule names a filter.
func (l *Lists) ruled(name string) bool { return names(l.Rules, name) || names(l.RouteRules, name) }

// names reports whether a list adds a filter or takes it out.
func names(list []string, name string) bool {
	return slices.Contains(list, name) || slices.Contains(list, "!"+name)
}

func has(list []Member, name string) bool {
	return slices.ContainsFunc(list, func(m Member) bool { return m.Name == name })
}

// List is a list of names in a file.
type List struct {
	Given  *schema.Given // with the key "filters"
	Names  []string
	First  bool     // nothing runs before them
	Once   bool     // a name is added or taken out
	Before []string // what does, and may be taken out
	// Where says whose they are, for messages: "of [defaults]".
	Where string
}

// Check reports names that there are not, and those that are taken out without being there.
func (l *List) Check(rep *syntax.Report, known []string) {
	if !l.Given.Has("filters") {
		return
	}
	for i, name := range l.Names {
		at := l.Given.ElementAt("filters", i, len(l.Names))
		taken, out := strings.CutPrefix(name, "!")
		switch {
		case !slices.Contains(known, taken):
			hint := syntax.DidYouMean(taken, known)
			if len(known) == 0 {
				hint = "write [filters." + taken + "] with a type"
				if !syntax.IsBareKey(taken) {
					hint = "write [filters.NAME] with a type"
				}
			}
			rep.Errorf(at, hint, "there is no filter %s", syntax.Quote(taken))
		case slices.Index(l.Names, name) < i:
			rep.Errorf(at, "leave one of them out", "%s stands twice in the list", syntax.Quote(name))
		case out && slices.Contains(l.Names, taken) && l.Once:
			rep.Errorf(at, "leave one of them out", "%s is added and taken out", syntax.Quote(taken))
		case out && l.First:
			rep.Errorf(at, "a listener or a route takes it out", "no filters run before those %s", l.Where)
		case out && !slices.Contains(l.Before, taken):
			rep.Errorf(at, takenHint(taken, l.Before), "%s is not among the filters %s", syntax.Quote(taken), l.Where)
		}
	}
}

// takenHint says what may be taken out.
func takenHint(name string, before []string) string {
	if hint := syntax.DidYouMean("!"+name, marked(before)); hint != "" {
		return hint
	}
	if len(before) == 0 {
		return "leave it out: there are none"
	}
	return "leave it out, or take out " + syntax.OneOf(marked(before))
}

func marked(names []string) (all []string) {
	for _, name := range names {
		all = append(all, "!"+name)
	}
	return all
}
