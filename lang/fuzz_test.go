package lang

import (
	"reflect"
	"strings"
	"testing"
)

// seeds are texts of every kind, right and wrong.
func seeds(f *testing.F) {
	for _, c := range holding {
		f.Add(c.text)
	}
	for _, c := range wrong {
		f.Add(c.text)
	}
	for _, c := range rendered {
		f.Add(c.text)
	}
}

// stripped takes the places away from a tree: the printer moves them.
func stripped(n *node) *node {
	n.at, n.end = 0, 0
	for _, a := range n.args {
		stripped(a)
	}
	return n
}

// checkPlaces fails where a part does not lie within what it is a part of.
func checkPlaces(t *testing.T, n *node, text string) {
	if n.at < 0 || n.at > n.end || int(n.end) > len(text) {
		t.Fatalf("%d to %d of %d bytes", n.at, n.end, len(text))
	}
	for _, a := range n.args {
		if checkPlaces(t, a, text); a.at < n.at || a.end > n.end {
			t.Fatalf("%q is not in %q", text[a.at:a.end], text[n.at:n.end])
		}
	}
}

func checkError(t *testing.T, err *Error, text string) {
	if err.Offset < 0 || err.Offset > err.End || err.End > len(text) || err.Message == "" {
		t.Fatalf("%+v of %d bytes", err, len(text))
	}
	_ = err.Caret(text)
}

// FuzzParse: any bytes are a tree or an error, with places that are in the text.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (*node, *Error){parseCondition, parseStrict} {
			if n, err := parse(text); err != nil {
				checkError(t, err, text)
			} else {
				checkPlaces(t, n, text)
			}
		}
	})
}

// parseStrict parses a template in which every brace begins a value.
func parseStrict(text string) (*node, *Error) { return parseTemplate(text, nil) }

// FuzzPrint: what is printed is parsed to the same tree, and is printed as itself.
func FuzzPrint(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (*node, *Error){parseCondition, parseStrict} {
			n, err := parse(text)
			if err != nil {
				continue
			}
			form := printed(n)
			if len(form) > SourceMax {
				continue
			}
			again, err := parse(form)
			if err != nil {
				t.Fatalf("%q is printed as %q: %v", text, form, err)
			}
			if !reflect.DeepEqual(stripped(n), stripped(again)) {
				t.Fatalf("%q is printed as %q, which is another tree", text, form)
			}
			if twice := printed(again); twice != form {
				t.Fatalf("%q is printed as %q", form, twice)
			}
		}
	})
}

// FuzzCompiled: compiled texts do what the model does.
func FuzzCompiled(f *testing.F) {
	for _, c := range holding {
		f.Add(c.text, "a", "b,c", "/api/v1/x")
	}
	for _, c := range rendered {
		f.Add(c.text, "10", "", "/")
	}
	names := scope(f)
	f.Fuzz(func(t *testing.T, text, one, two, path string) {
		if strings.Contains(text, "random") || len(one)+len(two)+len(path) > 2000 {
			return
		}
		x := browser("X-A: "+one, "X-A: "+two, "X-B: "+one, "Cookie: c="+one+"; c="+two)
		x.Request.SetTarget("/" + path + "?a=" + one + "&a=" + two)
		x.Path = []byte(path)
		x.State.Now = 1_800_000_000 * second
		checkModel(t, names, x, text)
	})
}

// checkModel compares what a text evaluates to with what the model says.
func checkModel(t *testing.T, names *Scope, x *X, text string) {
	t.Helper()
	if n, match, err := names.checkedCondition(text, Log); err == nil {
		compiled := condition(t, names, text, Log)
		for _, capture := range []bool{match, true} {
			if capture {
				var err error
				if compiled, err = compiled.Capturing(); err != nil {
					t.Fatal(err)
				}
			}
			x.State.matched = false
			m := model{x: x, scope: names, capture: capture}
			x.State.begin()
			want := m.eval(n).yes
			groups := string(x.State.group(0)) + "," + string(x.State.group(1))
			cut := x.State.Cut()
			x.State.matched = false
			got := compiled.Holds(x)
			if x.State.Cut() != 0 || cut != 0 {
				return // the model keeps more
			}
			if got != want {
				t.Fatalf("%q: %v, the model says %v", text, got, want)
			}
			if now := string(x.State.group(0)) + "," + string(x.State.group(1)); now != groups {
				t.Fatalf("%q: matched %q, the model %q", text, now, groups)
			}
			if len(x.State.list) != 0 {
				t.Fatalf("%q: %d texts are left on the list", text, len(x.State.list))
			}
			if c := clausesHold(compiled, x, n); c != want {
				t.Fatalf("%q: explained as %v", text, c)
			}
		}
	} else {
		checkError(t, err, text)
	}
	if root, match, err := names.checkedTemplate(text, Log, nil); err == nil {
		compiled := template(t, names, text, Log)
		m := model{x: x, scope: names, capture: match}
		x.State.begin()
		x.State.matched = false
		want := string(m.template(root))
		x.State.matched = false
		got := string(compiled.Append(nil, x))
		if x.State.Cut() == 0 && got != want {
			t.Fatalf("%q: %q, the model says %q", text, got, want)
		}
		x.State.matched = false
		if alone, ok := compiled.Single(x); ok && x.State.Cut() == 0 && string(alone) != want {
			t.Fatalf("%q: Single is %q, the model says %q", text, alone, want)
		}
	} else {
		checkError(t, err, text)
	}
}

// clausesHold puts the clauses of an explanation together.
func clausesHold(c *Condition, x *X, n *node) bool {
	clauses := c.Explain(x)
	var walk func(n *node) bool
	walk = func(n *node) bool {
		switch {
		case n.op == opNot:
			return !walk(n.args[0])
		case n.op == opCond && n.kind == Bool:
			cond, yes, no := walk(n.args[0]), walk(n.args[1]), walk(n.args[2])
			return cond && yes || !cond && no
		case n.op == opAnd || n.op == opOr:
			holds := n.op == opAnd
			for _, a := range n.args {
				if yes := walk(a); n.op == opAnd {
					holds = holds && yes
				} else {
					holds = holds || yes
				}
			}
			return holds
		}
		first := clauses[0]
		clauses = clauses[1:]
		return first.Holds
	}
	return walk(n)
}

// template evaluates a template.
func (m *model) template(root *node) []byte {
	var dst []byte
	for _, n := range root.args {
		m.x.State.begin()
		dst = append(dst, m.text(n, m.eval(n))...)
	}
	return dst[:min(len(dst), ComputedMax)]
}
