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

// Of returns what the list of a route changes, where these filters run before: the filters that follow them, and those
// of them that do not run.
func Of(route, before []string) (add, without []string) {
	named, out := Split(route)
	for _, name := range out {
		if slices.Contains(before, name) {
			without = append(without, name)
		}
	}
	for _, name := range named {
		if !slices.Contains(before, name) || slices.Contains(without, name) {
			add = append(add, name)
		}
	}
	return add, without
}

// Order returns the filters of a request in their order, by the lists of its listener, of all requests, and of its
// route.
func Order(listener, all, route []string) []string {
	before := Before(listener, all)
	add, without := Of(route, before)
	return append(slices.DeleteFunc(before, func(name string) bool { return slices.Contains(without, name) }), add...)
}

// List is a list of names in a file.
type List struct {
	Given  *schema.Given // with the key "filters"
	Names  []string
	First  bool     // nothing runs before them
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
