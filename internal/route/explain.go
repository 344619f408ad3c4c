package route

import (
	"fmt"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
)

// Why says why a rule takes a request or does not.
type Why uint8

// What becomes of a rule, from the farthest off to the nearest.
const (
	OtherHost     Why = iota // the request is for another host
	OtherPath                // the host fits, the path does not
	OtherListener            // host and path fit; the first condition that does not hold is this one
	OtherCert                // …
	OtherMethod              // …
	OtherField               // …: Explained.Condition is which one
	OtherQuery               // …: likewise
	OtherWhen                // …: Rule.When; Explained.Clauses says which part of it
	LessSpecific             // all of it fits, and another rule is more specific: Explained.Below
	Shares                   // it takes such requests by its weight, and another rule has the turn
	Takes                    // it takes the request
)

// String returns a word for w, as JSON has it: "host", "less_specific".
func (w Why) String() string {
	return [...]string{
		"host", "path", "listener", "client_cert", "method", "header", "query", "when", "less_specific", "weight",
		"takes",
	}[w]
}

// Below says in what a rule is less specific than the rule that takes the request.
type Below uint8

// The parts in which rules are compared, in this order.
const (
	ByHost       Below = iota + 1 // the other one names the host more exactly
	ByPath                        // the hosts are the same, the other one names more of the path
	ByConditions                  // host and path are the same, the other one has more conditions, or stronger ones
)

// String returns a word for b, as JSON has it: "host", "path", "conditions".
func (b Below) String() string { return [...]string{"", "host", "path", "conditions"}[b] }

// Explained is what became of one rule in a search.
type Explained[T any] struct {
	Rule      Rule
	Value     T
	Why       Why
	Below     Below         // for LessSpecific
	Condition Condition     // for OtherField and OtherQuery: the condition that does not hold
	Clauses   []lang.Clause // of Rule.When where it was asked, and the caller of Explain fills it in
	Weight    int           // for Takes and Shares: its share of all that the equal rules have together
	All       int           // what these weights add up to; 0 for a rule that shares with none
}

// Explain returns what became of each rule in a search for h, in the order in which they were added, and the path that
// they saw. It searches as Find does, and asks the same search about each rule alone, so it takes the time of as many
// searches: it is for people. The error is Find's. Of equal rules the one takes it that has the first turn.
func (t *Table[T]) Explain(h *message.Head, from Arrival, how Reading) (all []Explained[T], path string, err error) {
	var l Local
	raw, plain := pathOf(h.Bytes(h.Target))
	var e *equals
	if plain || raw[0] != '/' {
		e = t.rules.find(raw, h, from)
	} else if e, err = t.rules.read(raw, h, from, how, &l); err != nil {
		return nil, "", err
	} else if l.read != nil {
		raw = l.read
	}
	won := -1
	if e != nil {
		won = l.pick(e, &t.rules)
	}
	for i := range t.rules.given {
		one := Explained[T]{Rule: t.rules.given[i], Value: t.values[i]}
		one.Why = one.Rule.explain(raw, h, from, &one.Condition)
		if one.Why == Takes && i != won {
			one.Why, one.Below = LessSpecific, one.Rule.below(&t.rules.given[won])
		}
		if e != nil && slices.Contains(e.places, i) {
			one.share(e, i, i == won)
		}
		all = append(all, one)
	}
	return all, string(raw), nil
}

// share says what rule i of e has of the requests that e takes, and whether it has the turn.
func (x *Explained[T]) share(e *equals, i int, turn bool) {
	if x.Below = 0; !turn {
		x.Why = Shares
	}
	if e.shares == nil {
		return
	}
	x.Weight = e.weights[slices.Index(e.places, i)]
	for _, w := range e.weights {
		x.All += w
	}
}

// explain returns Takes where r takes h, whatever other rules there are, else the first thing about it that does not
// fit. Parts of r, each with one thing more than the one before, are searched as tables of one rule: what is said of a
// rule comes from the search itself.
func (r *Rule) explain(path []byte, h *message.Head, from Arrival, which *Condition) Why {
	usual := *h
	usual.Verb = message.VerbGet // which every rule without methods takes
	h, asked := &usual, h
	part := Rule{Host: r.Host}
	fits := func() bool {
		var alone rules
		if err := alone.add(&part); err != nil {
			panic(fmt.Sprintf("route: a part of a rule is wrong: %v", err)) // the whole rule was added
		}
		return alone.find(path, h, from) != nil
	}
	if !fits() {
		return OtherHost
	}
	if part.Path, part.Exact = r.Path, r.Exact; !fits() {
		return OtherPath
	}
	if part.Listeners = r.Listeners; !fits() {
		return OtherListener
	}
	if part.ClientCert = r.ClientCert; !fits() {
		return OtherCert
	}
	if h, part.Methods = asked, r.Methods; !fits() {
		return OtherMethod
	}
	for _, c := range r.Header {
		if part.Header = append(part.Header, c); !fits() {
			*which = c
			return OtherField
		}
	}
	for _, c := range r.Query {
		if part.Query = append(part.Query, c); !fits() {
			*which = c
			return OtherQuery
		}
	}
	if part.When = r.When; !fits() {
		return OtherWhen
	}
	return Takes
}

// below says in what r is less specific than winner, where a request fits both.
func (r *Rule) below(winner *Rule) Below {
	switch {
	case !strings.EqualFold(r.Host, winner.Host):
		return ByHost
	case r.Pattern() != winner.Pattern():
		return ByPath
	}
	return ByConditions
}
