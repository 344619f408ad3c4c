package lang

import (
	"net/netip"
	"slices"
	"time"
)

// op says what a node is.
type op uint8

const (
	opText op = iota + 1
	opNumber
	opAddress
	opPrefix
	opTrue
	opFalse
	opName  // text: the name with its dots
	opCall  // text: the function
	opIndex // args: what, by what
	opCond  // args: condition, then, else
	opOr    // args: two or more
	opAnd
	opNot
	opCompare // cmp, negate; args: left, right
	opSet     // args: literals. Only on the right of "in"
	opElse    // args: two or more, "??"
	opAdd     // args: two or more
	opSub
	opMod
	opTemplate // args: texts and expressions
)

type cmp uint8

const (
	cmpEqual cmp = iota + 1
	cmpLess
	cmpLessEqual
	cmpGreater
	cmpGreaterEqual
	cmpMatches
	cmpContains
	cmpStarts
	cmpEnds
	cmpLike
	cmpIn
)

var cmpNames = [...]string{
	cmpEqual: "==", cmpLess: "<", cmpLessEqual: "<=", cmpGreater: ">", cmpGreaterEqual: ">=", cmpMatches: "~",
	cmpContains: "contains", cmpStarts: "starts_with", cmpEnds: "ends_with", cmpLike: "like", cmpIn: "in",
}

func (c cmp) ordered() bool { return c >= cmpLess && c <= cmpGreaterEqual }

// comparisons are the operators of a comparison; != and !~ negate.
var comparisons = map[string]cmp{
	"==": cmpEqual, "eq": cmpEqual, "!=": cmpEqual, "ne": cmpEqual,
	"<": cmpLess, "lt": cmpLess, "<=": cmpLessEqual, "le": cmpLessEqual,
	">": cmpGreater, "gt": cmpGreater, ">=": cmpGreaterEqual, "ge": cmpGreaterEqual,
	"~": cmpMatches, "!~": cmpMatches, "matches": cmpMatches,
	"contains": cmpContains, "starts_with": cmpStarts, "ends_with": cmpEnds, "like": cmpLike, "in": cmpIn,
}

// units are what may stand after the digits of a number. An m is of a size or of a duration: what it is compared with
// decides.
var units = map[string]struct{ size, duration int64 }{
	"": {1, 0}, "k": {1 << 10, 0}, "m": {1 << 20, int64(time.Minute)}, "g": {1 << 30, 0},
	"ms": {0, int64(time.Millisecond)}, "s": {0, int64(time.Second)}, "h": {0, int64(time.Hour)},
}

// node is a part of a parsed text. The parser makes it, the checker adds the second half, nothing changes it then.
//
// There is one type for all of them: printer, checker, model and compiler are a switch each.
type node struct {
	op      op
	cmp     cmp
	negate  bool // a comparison that holds where its positive form does not
	method  bool // a call that was written after its first argument
	quote   byte // of a text; 0 for a template
	at, end int32
	text    string // content of a text; digits, address, name as written
	args    []*node

	kind     Kind
	many     bool // a text that may have several values, as a field of a head has
	inner    bool // a comparison: its result for one value is negated
	outer    bool // a comparison: whether one value answers yes is negated
	secret   bool // compared in constant time, never shown
	variable *Variable
	function *function
	list     *List
	table    *Map
	number   int64 // of a literal
	prefix   netip.Prefix
	pattern  *pattern
	with     *replacement
	key      string    // a name in a map of names, a secret, the value of a variable of the environment
	value    TextFunc  // of a name in a map of names
	values   TextsFunc // likewise
	each     eachFunc  // likewise, for the built-in ones
}

// names reports whether n looks at one of some variables.
func (n *node) names(some func(*Variable) bool) bool {
	return n.variable != nil && some(n.variable) ||
		slices.ContainsFunc(n.args, func(a *node) bool { return a.names(some) })
}

// ofPath reports whether v is the path as routing saw it, or a group, which may be of it.
func ofPath(v *Variable) bool { return v.Name == "path" || v.Name == "rest" || v.Name == "match" }

// ofBody reports whether v is a part of the body of a request.
func ofBody(v *Variable) bool { return v.Phases&(Request|Content) == Content }

// literal reports whether n is written out.
func (n *node) literal() bool { return n.op >= opText && n.op <= opFalse }

// addr returns the address of a literal one.
func (n *node) addr() netip.Addr { return n.prefix.Addr() }

// constant returns the text of a literal one.
func (n *node) constant() (string, bool) { return n.text, n.op == opText }

// height is how deep the tree under n is.
func (n *node) height() int {
	deepest := 0
	for _, a := range n.args {
		deepest = max(deepest, a.height())
	}
	return deepest + 1
}

func (n *node) operator() string {
	switch {
	case !n.negate:
		return cmpNames[n.cmp]
	case n.cmp == cmpEqual:
		return "!="
	case n.cmp == cmpMatches:
		return "!~"
	}
	return "not " + cmpNames[n.cmp]
}
