package lang

import (
	"time"
	"unicode/utf8"
)

// Clause is a part of a condition that and, or, not and choices join, and what became of it.
type Clause struct {
	Offset, End int    // its bytes in the text
	Text        string // these bytes
	Asked       bool   // false: the clauses before it decided
	Holds       bool
	Value       string // what its left side was, at most ValueMax bytes of it
	Missing     bool   // that was missing

	Took time.Duration // one evaluation of what it is compiled to; 0: it was not measured
}

// ValueMax is how many bytes of a value Explain shows.
const ValueMax = 200

// Stopwatch measures how long clauses take: it evaluates each some thousand times, and for half a millisecond at most.
// Owned by one goroutine.
type Stopwatch struct {
	Left time.Duration        // for all clauses together
	Now  func() time.Duration // since any moment
}

const (
	evaluationsMax = 4096
	clauseTimeMax  = 500 * time.Microsecond // of all evaluations of one clause
	roundTime      = 20 * time.Microsecond  // of those between two looks at the clock
)

// measure returns how long evaluate takes: the least of several rounds, since other work can only add to one.
func (w *Stopwatch) measure(evaluate func()) time.Duration {
	if w.Left <= 0 {
		return 0
	}
	begin := w.Now()
	evaluate()
	at := w.Now()
	least, most := max(at-begin, 1), min(w.Left, clauseTimeMax)
	for n := 1; n < evaluationsMax; {
		round := max(1, min(evaluationsMax/8, roundTime/least))
		if at-begin+round*least > most {
			break
		}
		for range round {
			evaluate()
		}
		next := w.Now()
		least = min(least, max(1, (next-at)/round))
		at, n = next, n+int(round)
	}
	w.Left -= at - begin
	return least
}

// Explain evaluates c in the plain way and returns each clause with its value, in the order in which they stand, and
// how long it takes, where x.State has a Stopwatch. The values of secrets, and what is made of them, are not shown.
func (c *Condition) Explain(x *X) []Clause {
	n, _, err := c.scope.checkedCondition(c.text, c.phases)
	if err != nil {
		return nil // of a text that has been compiled: a name of the environment went
	}
	if x.State == nil {
		x.State = NewState()
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
		if w := e.x.State.Stopwatch; w != nil {
			clause.Took = e.measure(w, n)
		}
	}
	e.clauses = append(e.clauses, clause)
	return clause.Holds
}

// measure compiles a clause by itself and measures it. The groups that it matches are those that it matched before.
func (e *explainer) measure(w *Stopwatch, n *node) time.Duration {
	c := compiler{scope: e.scope, capture: e.capture}
	holds := c.boolean(n)
	return w.measure(func() {
		e.x.State.begin()
		holds(e.x)
	})
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
