package plugins

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
)

// A list of names has filters to add, and such to take out: "!name".

// SplitFilters returns the names that a list adds, and those that it takes out.
func SplitFilters(list []string) (add, out []string) {
	for _, name := range list {
		if taken, found := strings.CutPrefix(name, "!"); found {
			out = append(out, taken)
		} else {
			add = append(add, name)
		}
	}
	return add, out
}

// FiltersBefore returns the filters that run before the filters of a route, for requests that come by a listener:
// filters of its own list, then the filters of all requests that it does not take out. Each runs once.
func FiltersBefore(listener, all []string) []string {
	add, out := SplitFilters(listener)
	for _, name := range all {
		if !slices.Contains(out, name) && !slices.Contains(add, name) {
			add = append(add, name)
		}
	}
	return add
}

// FilterLists are the lists of a request: of its listener, of all requests and of its route, then what rules name
// before the route is chosen, and what rules of the route name.
//
//	filters = ["a", "!b"]     of a listener, [defaults] and a route     --> FilterLists
//
// They make no filter and read none: a name stands for one filter of the whole configuration, a table of [filters] (see
// internal/config/plugins) or a filter that the program has made itself (server.Options.Filters).
//
// Filters of the listener run first, then filters of all requests, then filters of the route: each once, at its first
// place. "!a" takes a out of the lists before. Rules add filters, and take them out, for requests that they hold for;
// what they name asks for each request: see FilterMember.
//
// All of it is pure: nothing is changed after it was read, so it is safe for any goroutine.
type FilterLists struct{ Listener, All, Route, Rules, RouteRules []string }

// FilterMember is a filter in its place among the filters of a request.
type FilterMember struct {
	Name   string
	Stands bool // a list has it: it runs unless a rule takes it out. false: it runs where a rule adds it
	Ruled  bool // a rule names it
	Moved  bool // one of those before, which runs after the rules of the route, for one of them takes it out
}

// Names reports whether other has the name of m.
func (m FilterMember) Names(other FilterMember) bool { return m.Name == other.Name }

// FiltersBefore returns the filters that run before the filters of a route.
func (l *FilterLists) Before() (list []FilterMember) {
	added, _ := SplitFilters(l.Rules)
	for _, name := range FiltersBefore(l.Listener, l.All) {
		list = append(list, FilterMember{Name: name, Stands: true, Ruled: l.ruled(name)})
	}
	for _, name := range added {
		if !hasMember(list, name) {
			list = append(list, FilterMember{Name: name, Ruled: true})
		}
	}
	return list
}

// OfRoute returns the filters that run after the rules of the route, where before run before, and filters of before
// that do not run in their place.
func (l *FilterLists) OfRoute(before []FilterMember) (own []FilterMember, without []string) {
	named, out := SplitFilters(l.Route)
	var added []FilterMember
	for _, name := range named {
		stands := slices.ContainsFunc(before, func(m FilterMember) bool { return m.Name == name && m.Stands })
		if !stands || slices.Contains(out, name) {
			added = append(added, FilterMember{Name: name, Stands: true, Ruled: l.ruled(name)})
		}
	}
	follows := false // a rule of the route names m, or one before it
	for _, m := range before {
		if slices.Contains(out, m.Name) || hasMember(added, m.Name) {
			without = append(without, m.Name)
			continue
		}
		if follows = follows || hasName(l.RouteRules, m.Name); follows {
			without = append(without, m.Name)
			own = append(own, FilterMember{m.Name, m.Stands, l.ruled(m.Name), true})
		}
	}
	own = append(own, added...)
	turned, _ := SplitFilters(l.RouteRules)
	for _, name := range turned {
		if !hasMember(own, name) {
			own = append(own, FilterMember{Name: name, Ruled: true})
		}
	}
	return own, without
}

func (l *FilterLists) ruled(name string) bool {
	return hasName(l.Rules, name) || hasName(l.RouteRules, name)
}

// hasName reports whether a list adds a filter or takes it out.
func hasName(list []string, name string) bool {
	return slices.Contains(list, name) || slices.Contains(list, "!"+name)
}

func hasMember(list []FilterMember, name string) bool {
	return slices.ContainsFunc(list, func(m FilterMember) bool { return m.Name == name })
}

// FilterList is a list of names in a file.
type FilterList struct {
	Given  *schema.Given // with the key "filters"
	Names  []string
	First  bool     // nothing runs before them
	Once   bool     // a name is added or taken out
	Before []string // what does, and may be taken out
	// Where says whose they are, for messages: "of [defaults]".
	Where string
}

// Check reports names that there are not, and those that are taken out without being there.
func (l *FilterList) Check(rep *syntax.Report, known []string) {
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
