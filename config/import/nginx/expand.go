package nginx

import (
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// nginx runs the tests of if one after the other: the first one that holds answers. edge takes the route with the most
// conditions. Both choose alike when each set of tests that may hold together has a route of its own:
//
//	if A → 405;  if B → 403;  else → backend
//
//	A and B → 405    A → 405    B → 403    neither → backend
//
// A request for which A and B hold meets all four routes, and the one with both has the most conditions. Routes whose
// answer is that of all sets with one test less are left out. Methods are cut into classes in place of sets, since a
// route has one list of them.

// testsMax is how many fields and parameters the tests of one location may look at.
const testsMax = 5

// expander makes the routes of one decision. The lists have one entry for each test of a field or a parameter.
type expander struct {
	route   *route
	tests   []test
	classes [][]string // methods about which all tests say the same; the last one, nil, is of all others
}

// test is a test of a field.
type test struct{ plan.Field }

// routesOf returns the routes that r comes to with the tests in front of its own answer.
func routesOf(im *plan.Plan, r *route) (routes []*route) {
	if len(r.tests) == 0 {
		return []*route{r}
	}
	if slices.ContainsFunc(r.tests, func(c condition) bool { return c.when != "" }) {
		return r.decisions()
	}
	e := &expander{route: r}
	e.collect()
	chosen := map[string]*route{}
	id := func(set uint, class int) string { return fmt.Sprint(set, "/", class) }
	sets := uint(1) << len(e.tests)
	for set := range sets {
		for class := range e.classes {
			chosen[id(set, class)] = e.decide(set, e.classes[class])
		}
	}
	others := len(e.classes) - 1
	asked := map[*route]bool{}
	for back := range sets {
		set := sets - 1 - back
		if !e.possible(set) {
			continue
		}
		for class := range e.classes {
			answer := chosen[id(set, class)]
			same := set != 0 || class != others
			for i := range e.tests {
				if set&(1<<i) != 0 {
					same = same && chosen[id(set&^(1<<i), class)] == answer
				}
			}
			if class != others {
				same = same && chosen[id(set, others)] == answer
			}
			if asked[answer] = true; !same {
				routes = append(routes, e.write(answer, set, e.classes[class]))
			}
		}
	}
	for _, c := range r.tests {
		if !asked[c.answer] {
			for _, at := range c.answer.from {
				im.Note(at, c.d.text(), "no request comes to its answer for "+r.path+": another one goes before it")
			}
		}
	}
	return routes
}

// collect finds the fields and parameters that are looked at, and the classes of methods.
func (e *expander) collect() {
	var methods []string
	for _, c := range e.route.tests {
		for _, m := range c.methods {
			if !slices.Contains(methods, m) {
				methods = append(methods, m)
			}
		}
		for _, t := range c.fields() {
			if !slices.Contains(e.tests, t) && len(e.tests) < testsMax {
				e.tests = append(e.tests, t)
			}
		}
	}
	byTests := map[string]int{}
	for _, m := range methods {
		var in strings.Builder
		for _, c := range e.route.tests {
			fmt.Fprint(&in, slices.Contains(c.methods, m), " ")
		}
		at, found := byTests[in.String()]
		if !found {
			at = len(e.classes)
			byTests[in.String()] = at
			e.classes = append(e.classes, nil)
		}
		e.classes[at] = append(e.classes[at], m)
	}
	e.classes = append(e.classes, nil)
}

// possible reports whether a route can have all conditions of a set: one for each name.
func (e *expander) possible(set uint) bool {
	for i := range e.tests {
		for j := range i {
			if set&(1<<i) != 0 && set&(1<<j) != 0 && e.tests[i].near(e.tests[j]) {
				return false
			}
		}
	}
	return true
}

// near reports whether two tests look at the same field.
func (t test) near(o test) bool { return strings.EqualFold(t.Name, o.Name) }

// takes reports whether a test holds for a value.
func (t test) takes(value string) bool {
	expr, found := strings.CutPrefix(t.Value, "~")
	if !found {
		return t.Value == "" || t.Value == value
	}
	re, err := regexp.Compile(expr)
	return err == nil && re.MatchString(value)
}

// decide returns the answer to requests with one of these methods for which exactly the tests of set hold. A test that
// refuses and that may hold or not keeps them from all answers but those that refuse.
func (e *expander) decide(set uint, methods []string) *route {
	var refused *route
	chosen := func(r *route) *route {
		if refused != nil && !r.refuses() {
			return refused
		}
		return r
	}
	for _, c := range e.route.tests {
		holds, known := true, true
		if len(c.methods) > 0 {
			holds = len(methods) > 0 && slices.Contains(c.methods, methods[0])
		}
		for _, t := range c.fields() {
			h, k := e.holds(t, set)
			holds, known = holds && h, known && k
		}
		switch {
		case known && holds != c.negative:
			return chosen(c.answer)
		case !known && c.answer.refuses() && refused == nil:
			refused = c.answer
		}
	}
	return chosen(e.route)
}

// holds reports whether a test holds where those of set do; known is false where that may be or not: another test of
// the same field holds, or there were too many tests.
func (e *expander) holds(t test, set uint) (holds, known bool) {
	at := slices.Index(e.tests, t)
	if at < 0 {
		return false, false
	}
	if set&(1<<at) != 0 {
		return true, true
	}
	for left := set; left != 0; left &= left - 1 {
		other := e.tests[bits.TrailingZeros(left)]
		switch {
		case !other.near(t):
		case other.Value != "" && other.Value[0] != '~':
			return t.takes(other.Value), true
		default:
			return false, false
		}
	}
	return false, true
}

// write returns the route for a set and a class.
func (e *expander) write(answer *route, set uint, methods []string) *route {
	r := answer.on(e.route.path)
	r.tests, r.methods, r.header = nil, methods, nil
	r.when = e.route.when
	for i, t := range e.tests {
		if set&(1<<i) != 0 {
			r.header = append(r.header, t.Field)
		}
	}
	return r
}
