package lang

import "unicode/utf8"

// Clause is a part of a condition that and, or, not and choices join, and what became of it.
type Clause struct {
	Offset, End int    // its bytes in the text
	Text        string // these bytes
	Asked       bool   // false: the clauses before it decided
	Holds       bool
	Value       string // what its left side was, at most ValueMax bytes of it
	Missing     bool   // that was missing
}

// ValueMax is how many bytes of a value Explain shows.
const ValueMax = 200

// Explain evaluates c in the plain way and returns each clause with its value, in the order in which they stand. The
// values of secrets, and what is made of them, are not shown.
func (c *Condition) Explain(x *X) []Clause {
	n, _, err := c.scope.checkedCondition(c.text, c.phases)
	if err != nil {
		return nil // of a text that has been compiled: a name of the environment went
	}
	if x.State == nil {
		x.State = NewState(0)
	}
	x.State.begin()
	if c.capture {
		x.State.matched = false
	}
	e := explainer{model: model{x: x, scope: c.scope, capture: c.capture}, text: c.text}
	e.walk(n, true)
	return e.clauses
}

type explainer struct {
	model
	text    string
	clauses []Clause
}

// walk notes the clauses of n and returns whether it holds. asked is false where its value does not matter.
func (e *explainer) walk(n *node, asked bool) (holds bool) {
	switch {
	case n.op == opNot:
		return !e.walk(n.args[0], asked)
	case n.op == opCond && n.kind == Bool:
		cond := e.walk(n.args[0], asked)
		yes, no := e.walk(n.args[1], asked && cond), e.walk(n.args[2], asked && !cond)
		return cond && yes || !cond && no
	case n.op == opAnd || n.op == opOr:
		decided := false
		for _, a := range n.args {
			if one := e.walk(a, asked && !decided); !decided {
				holds, decided = one, one == (n.op == opOr)
			}
		}
		return holds
	}
	clause := Clause{Offset: int(n.at), End: int(n.end), Text: e.text[n.at:n.end], Asked: asked}
	if asked {
		e.x.State.begin()
		clause.Holds = e.eval(n).yes
		clause.Value, clause.Missing = e.value(n)
	}
	e.clauses = append(e.clauses, clause)
	return clause.Holds
}

// value shows what a clause is about: the left side of a comparison, the first argument of a function.
func (e *explainer) value(n *node) (text string, missing bool) {
	for len(n.args) > 0 && (n.op == opCompare || n.op == opCall && n.kind == Bool) {
		for _, a := range n.args {
			if a.secret { // a value that is equal to a secret tells it
				return "(secret)", false
			}
		}
		n = n.args[0]
	}
	if n.kind == Bool {
		return "", false
	}
	v := e.eval(n)
	shown := e.model.text(n, v)
	if len(shown) > ValueMax {
		return string(whole(shown[:ValueMax])) + "…", false
	}
	return string(shown), v.missing(n.kind)
}

// whole cuts a rune that a bound has cut in two off the end.
func whole(b []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}
