package filters

import (
	"strings"
	"testing"
)

func TestOrder(t *testing.T) {
	for _, c := range []struct{ listener, all, route, want string }{
		{"", "", "", ""},
		{"l", "a b", "r", "l a b r"},
		{"l !a", "a b", "", "l b"},
		{"", "a b", "!a", "b"},
		{"", "a b", "!a a", "b a"},       // moved to the end
		{"a", "a b", "b c", "a b c"},     // each runs once, at its first place
		{"l", "a", "!l !a r", "r"},       // out of both lists before
		{"", "a", "!l", "a"},             // of another listener
		{"!a", "a", "a", "a"},            // taken out by the listener, and added by the route
		{"b !a", "a b", "!b", ""},        //
		{"x y", "y x z", "!y", "x z"},    //
		{"", "a b c", "c !b d", "a c d"}, //
	} {
		got := strings.Join(Order(strings.Fields(c.listener), strings.Fields(c.all), strings.Fields(c.route)), " ")
		if got != c.want {
			t.Errorf("listener %q, defaults %q, route %q: got %q, want %q", c.listener, c.all, c.route, got, c.want)
		}
	}
}

// Order is what a server composes: the filters before a route without those that it takes out, then its own.
func TestOf(t *testing.T) {
	add, without := Of(strings.Fields("!a b c !x"), strings.Fields("a b"))
	if a, w := strings.Join(add, " "), strings.Join(without, " "); a != "c" || w != "a" {
		t.Errorf("got %q and %q, want c and a", a, w)
	}
}
