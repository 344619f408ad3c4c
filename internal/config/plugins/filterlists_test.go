package plugins

import (
	"slices"
	"strings"
	"testing"
)

// order shows the filters of a request: "b R a+" stands for b, the rules of the route, and a, if a rule adds it. One
// that a rule names has "?" after it.
func order(l FilterLists) string {
	var out []string
	before := l.Before()
	own, without := l.OfRoute(before)
	add := func(m FilterMember) {
		text := m.Name
		if !m.Stands {
			text += "+"
		} else if m.Ruled {
			text += "?"
		}
		out = append(out, text)
	}
	for _, m := range before {
		if !slices.Contains(without, m.Name) {
			add(m)
		}
	}
	if len(l.RouteRules) > 0 {
		out = append(out, "R")
	}
	for _, m := range own {
		add(m)
	}
	return strings.Join(out, " ")
}

func TestFilterLists(t *testing.T) {
	for _, c := range []struct{ listener, all, route, rules, ofRoute, want string }{
		{"", "", "", "", "", ""},
		{"l", "a b", "r", "", "", "l a b r"},
		{"l !a", "a b", "", "", "", "l b"},
		{"", "a b", "!a", "", "", "b"},
		{"", "a b", "!a a", "", "", "b a"},       // moved to the end
		{"a", "a b", "b c", "", "", "a b c"},     // each runs once, at its first place
		{"l", "a", "!l !a r", "", "", "r"},       // out of both lists before
		{"", "a", "!l", "", "", "a"},             // of another listener
		{"!a", "a", "a", "", "", "a"},            // taken out by the listener, and added by the route
		{"b !a", "a b", "!b", "", "", ""},        //
		{"x y", "y x z", "!y", "", "", "x z"},    //
		{"", "a b c", "c !b d", "", "", "a c d"}, //

		{"", "a", "r", "b", "", "a b+ r"},
		{"", "a", "r", "!a b !b a", "", "a? b+ r"},
		{"", "a", "b", "b", "", "a b?"},             // the route has it itself, at its place
		{"", "a", "r", "!r", "", "a r?"},            // one of a route
		{"", "a", "!b", "b", "", "a"},               // the route has nothing of it
		{"", "a b c", "r", "", "x", "a b c R r x+"}, // after those of the route
		{"", "a b c", "r", "", "!b", "a R b? c r"},  // the rules of the route go before what they take out
		{"", "a b c", "r", "x", "!c x", "a b R c? x+ r"},
		{"", "a b", "r", "", "!r", "a b R r?"},
		{"", "a b", "!a", "", "a", "b R a+"},
		{"", "a b", "!b", "", "!a", "R a?"},
	} {
		f := strings.Fields
		got := order(FilterLists{f(c.listener), f(c.all), f(c.route), f(c.rules), f(c.ofRoute)})
		if got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}
