package lang

import (
	"bytes"
	"crypto/subtle"
	"net/netip"
	"slices"

	"github.com/edge-proxy/edge/message"
)

// The six kinds of functions that a text becomes: for true or false, numbers, texts, lists of texts, addresses and
// prefixes. Each is made once of the functions under it; evaluation looks at no tree.
type (
	boolFunc   = func(*X) bool
	numberFunc = func(*X) (int64, bool)
	addrFunc   = func(*X) netip.Addr
	prefixFunc = func(*X) netip.Prefix
)

type compiler struct {
	scope   *Scope
	capture bool // match.N is asked: "~" notes its groups
}

// boolean compiles n, whose kind is Bool. What was computed for it is given up when it is known: ComputedMax is for one
// comparison, or a client fills it by the texts that the first ones ask about, and the last ones see none.
func (c *compiler) boolean(n *node) boolFunc {
	f := c.plainly(n)
	if n.op != opCompare && n.op != opCall || !n.computes() || n.op == opCompare && fused(n) != nil {
		return f
	}
	return func(x *X) bool {
		mark := len(x.State.computed)
		held := f(x)
		x.State.computed = x.State.computed[:mark]
		return held
	}
}

// computes reports whether n may need room for computed texts.
func (n *node) computes() bool {
	switch n.op {
	case opCall, opAdd:
		return true
	case opName, opIndex:
		if v := n.variable; v != nil && (v.Kind == Text || v.Kind == Texts) && !slices.Contains(borrowed, v) {
			return true
		}
	}
	return slices.ContainsFunc(n.args, (*node).computes)
}

// borrowed are built-in texts that are never computed.
var borrowed = []*Variable{methodVariable, pathVariable, builtinNamed("target"), builtinNamed("header"),
	builtinNamed("cookie"), builtinNamed("answer.header"), builtinNamed("scheme"), builtinNamed("proto")}

func (c *compiler) plainly(n *node) boolFunc {
	switch n.op {
	case opTrue:
		return func(*X) bool { return true }
	case opFalse:
		return func(*X) bool { return false }
	case opName:
		return n.variable.Bool
	case opNot:
		f := c.boolean(n.args[0])
		return func(x *X) bool { return !f(x) }
	case opAnd:
		return allOf(listOf(n.args, c.boolean))
	case opOr:
		return anyOf(listOf(n.args, c.boolean))
	case opCond:
		cond, yes, no := c.boolean(n.args[0]), c.boolean(n.args[1]), c.boolean(n.args[2])
		return chosen(cond, yes, no)
	case opCall:
		return c.booleanCall(n)
	}
	return c.comparison(n)
}

func listOf[T any](nodes []*node, of func(*node) T) []T {
	list := make([]T, len(nodes))
	for i, n := range nodes {
		list[i] = of(n)
	}
	return list
}

func allOf(list []boolFunc) boolFunc {
	a, b := list[0], list[1]
	switch len(list) {
	case 2:
		return func(x *X) bool { return a(x) && b(x) }
	case 3:
		d := list[2]
		return func(x *X) bool { return a(x) && b(x) && d(x) }
	}
	return func(x *X) bool {
		for _, f := range list {
			if !f(x) {
				return false
			}
		}
		return true
	}
}

func anyOf(list []boolFunc) boolFunc {
	a, b := list[0], list[1]
	if len(list) == 2 {
		return func(x *X) bool { return a(x) || b(x) }
	}
	return func(x *X) bool {
		for _, f := range list {
			if f(x) {
				return true
			}
		}
		return false
	}
}

// booleanCall compiles has, any, all, percent and json.valid.
func (c *compiler) booleanCall(n *node) boolFunc {
	of := n.args[0]
	switch n.text {
	case "any", "all":
		return c.boolean(of)
	case "percent":
		share, hash := n.args[1].number, c.hash(of)
		return func(x *X) bool { return hash(x)%100 < share }
	case jsonValid:
		list, body := c.texts(of), of.names(ofBody)
		invalid := func(x *X, text []byte) bool { return !x.validJSON(text, body) }
		return func(x *X) bool {
			s, mark := x.State, len(x.State.list)
			s.list = list(x, s.list)
			held := anyText(x, s.list[mark:], invalid)
			s.list = s.list[:mark]
			return !held
		}
	}
	switch { // has
	case of.each != nil:
		each := of.each
		return func(x *X) bool {
			found, _ := each(x, always)
			return found
		}
	case of.many:
		list := c.texts(of)
		return func(x *X) bool { return x.State.count(list(x, x.State.list)) > 0 }
	case of.kind == Text:
		f := c.scalar(of)
		return func(x *X) bool { return f(x) != nil }
	case of.kind == IP:
		f := c.addr(of)
		return func(x *X) bool { return f(x).IsValid() }
	case of.kind == Prefix:
		f := c.prefix(of)
		return func(x *X) bool { return f(x).IsValid() }
	}
	f := c.number(of)
	return func(x *X) bool {
		_, ok := f(x)
		return ok
	}
}

func always(*X, []byte) bool { return true }

// comparison compiles a comparison, by the kind of its left side.
func (c *compiler) comparison(n *node) boolFunc {
	left, right := n.args[0], n.args[1]
	var f boolFunc
	switch {
	case left.kind == Text || left.kind == Texts:
		return c.textComparison(n)
	case left.kind.number():
		return c.numberComparison(n)
	case n.cmp == cmpIn:
		f = c.addrIn(n)
	case left.kind == IP:
		a, b := c.addr(left), c.addr(right)
		f = func(x *X) bool {
			p := a(x)
			return p.IsValid() && p == b(x)
		}
	case left.kind == Prefix:
		a, b := c.prefix(left), c.prefix(right)
		f = func(x *X) bool {
			p := a(x)
			return p.IsValid() && p == b(x)
		}
	default:
		a, b := c.boolean(left), c.boolean(right)
		f = func(x *X) bool { return a(x) == b(x) }
	}
	if n.negate {
		return func(x *X) bool { return !f(x) }
	}
	return f
}

// addrIn compiles ip in {…} and ip in list.NAME.
func (c *compiler) addrIn(n *node) boolFunc {
	of := c.addr(n.args[0])
	if n.list != nil {
		has := n.list.HasAddr
		return func(x *X) bool {
			a := of(x)
			return a.IsValid() && has(a)
		}
	}
	set := newAddressSet(prefixesOf(n.args[1]))
	if set.few == nil {
		return func(x *X) bool { return set.has(of(x)) }
	}
	prefixes := set.few
	return func(x *X) bool {
		a := of(x)
		for i := range prefixes {
			if prefixes[i].Contains(a) {
				return true
			}
		}
		return false
	}
}

func prefixesOf(set *node) []netip.Prefix {
	return listOf(set.args, func(a *node) netip.Prefix { return a.prefix })
}

// textComparison compiles a comparison of texts. A side that may have several values asks for a value that it holds
// for; where there is none, a missing thing is one empty text. Each side is evaluated once.
func (c *compiler) textComparison(n *node) boolFunc {
	left := n.args[0]
	if f := fused(n); f != nil {
		return f
	}
	holds := c.test(n)
	if holds == nil {
		holds = rightTest(n)
	}
	if n.inner {
		positive := holds
		holds = func(x *X, text []byte) bool { return !positive(x, text) }
	}
	f := c.asked(n, holds)
	if left.secret || n.args[1].secret {
		whole := f
		f = func(x *X) bool {
			cut := x.State.cut
			held := whole(x)
			if x.State.cut != cut { // a part is easily guessed: nothing equals it
				return n.inner
			}
			return held
		}
	}
	if n.outer {
		return func(x *X) bool { return !f(x) }
	}
	return f
}

// asked compiles the question whether a test holds for one value of the left side.
func (c *compiler) asked(n *node, holds test) boolFunc {
	left := n.args[0]
	list := c.right(n)
	if each, made := c.walk(left); each != nil && (list != nil || left.computes()) {
		return oneByOne(n, each, made, holds, list)
	}
	switch {
	case left.each != nil:
		each := left.each
		return func(x *X) bool {
			found, held := each(x, holds)
			return held || !found && holds(x, empty)
		}
	case list == nil && (left.many || left.kind == Texts):
		all := c.texts(left)
		return func(x *X) bool {
			s, mark := x.State, len(x.State.list)
			s.list = all(x, s.list)
			held := anyText(x, s.list[mark:], holds)
			s.list = s.list[:mark]
			return held
		}
	case list == nil:
		of := c.scalar(left)
		return func(x *X) bool { return holds(x, of(x)) }
	}
	all := c.texts(left)
	return func(x *X) bool {
		s, mark, outer := x.State, len(x.State.list), x.State.right
		s.list = all(x, s.list)
		end := len(s.list)
		s.list = list(x, s.list)
		s.setRight(n, end)
		held := anyText(x, s.list[mark:end], holds)
		s.list, s.right = s.list[:mark], outer
		return held
	}
}

// walk compiles n, where it is made of the values of one name, to the walk over these and what is made of each; else
// both are nil.
func (c *compiler) walk(n *node) (each eachFunc, made func(x *X, text []byte) []byte) {
	if n.each != nil {
		return n.each, func(_ *X, text []byte) []byte { return text }
	}
	asks := func(a *node) bool { return a.op != opText }
	if n.op != opCall || n.function.text == nil && n.text != "re_replace" || slices.ContainsFunc(n.args[1:], asks) {
		return nil, nil
	}
	each, inner := c.walk(n.args[0])
	f, rest := mapped(n), c.rest(n)
	return each, func(x *X, text []byte) []byte {
		if text = inner(x, text); text != nil {
			a, b := rest(x)
			text = f(x, text, a, b)
		}
		return text
	}
}

// oneByOne is asked for a left side that is computed, or held against several values: the room for computed texts is
// given back when the test of a value is done, so that the number of values does not count.
func oneByOne(n *node, each eachFunc, made func(x *X, text []byte) []byte, holds test, right TextsFunc) boolFunc {
	one := func(x *X, text []byte) bool {
		text = made(x, text)
		held := text != nil && holds(x, text)
		s := x.State
		s.any, s.computed = s.any || text != nil, s.computed[:s.taken]
		return held
	}
	return func(x *X) bool {
		s, mark, outer := x.State, len(x.State.list), x.State.right
		if right != nil {
			s.list = right(x, s.list)
			s.setRight(n, mark)
		}
		s.any, s.taken = false, len(s.computed)
		_, held := each(x, one)
		held = held || !s.any && holds(x, empty)
		s.list, s.right = s.list[:mark], outer
		return held
	}
}

// right compiles the right side of n to a list, where that is evaluated: nil for what is written out.
func (c *compiler) right(n *node) TextsFunc {
	if _, constant := n.args[1].constant(); n.list != nil || n.cmp == cmpIn || n.cmp == cmpMatches ||
		constant && !n.args[0].secret {
		return nil
	}
	return c.texts(n.args[1])
}

// manyRight is from how many values of the right side on they are searched in order. One client sends both sides of
// cookie.a == query.a, and 8 KiB of them are 4 million pairs. pairBytes is how many bytes may be looked at to find one
// of many texts in others before all are looked for at once: some 0.1 ms.
const (
	manyRight = 16
	pairBytes = 256 << 10
)

// searched reports whether many values of the right side are searched.
func searched(n *node) bool { return n.cmp == cmpEqual && !n.args[0].secret && !n.args[1].secret }

// setRight makes what the list has from begin on the right side of n.
func (s *State) setRight(n *node, begin int) {
	s.right = rightSide{begin: begin, end: len(s.list)}
	if all := s.list[begin:]; len(all) > manyRight && searched(n) {
		slices.SortFunc(all, bytes.Compare)
	}
}

// rightTest compares a text with the values of the right side, which stand in the list of the state.
func rightTest(n *node) test {
	if n.cmp == cmpContains || n.cmp == cmpStarts || n.cmp == cmpEnds {
		return partTest(n)
	}
	same, search := sameFunc(n), searched(n)
	return func(x *X, text []byte) bool {
		all := x.State.list[x.State.right.begin:x.State.right.end]
		if search && len(all) > manyRight {
			_, found := slices.BinarySearchFunc(all, text, bytes.Compare)
			return found
		}
		for _, other := range all {
			if same(text, other) {
				return true
			}
		}
		return len(all) == 0 && same(text, empty)
	}
}

// partTest is rightTest for contains, starts_with and ends_with.
func partTest(n *node) test {
	has, by := sameFunc(n), n.cmp
	return func(x *X, text []byte) bool {
		right := &x.State.right
		all := x.State.list[right.begin:right.end]
		if right.needles == nil && len(all) > manyRight {
			if right.work += len(all) * (manyRight + len(text)); right.work > pairBytes {
				right.needles = newNeedles(all, by)
			}
		}
		if right.needles != nil {
			return right.needles.in(text)
		}
		for _, other := range all {
			if has(text, other) {
				return true
			}
		}
		return len(all) == 0 // an empty text is a part of any
	}
}

// anyText reports whether a test holds for one of some texts, or for the empty one where there is none.
func anyText(x *X, list [][]byte, holds test) bool {
	for _, text := range list {
		if holds(x, text) {
			return true
		}
	}
	return len(list) == 0 && holds(x, empty)
}

// fused returns the comparisons that most rules consist of as one function; nil for any other. They do the same as
// what the general way makes.
func fused(n *node) boolFunc {
	left, right := n.args[0], n.args[1]
	if left.op != opName || left.variable == nil || left.secret || right.secret {
		return nil
	}
	text, constant := right.constant()
	var f boolFunc
	switch of := left.variable; {
	case of == methodVariable && constant && n.cmp == cmpEqual:
		f = methodIs([]string{text})
	case of == methodVariable && n.cmp == cmpIn && n.list == nil:
		f = methodIs(constants(right))
	case of == pathVariable && constant && n.cmp == cmpEqual:
		f = func(x *X) bool { return string(path(x)) == text }
	case of == pathVariable && constant && n.cmp == cmpStarts:
		f = func(x *X) bool {
			p := path(x)
			return len(p) >= len(text) && string(p[:len(text)]) == text
		}
	case of == hostVariable && constant && n.cmp == cmpEqual && !upperCase(text):
		f = func(x *X) bool { return x.Request != nil && message.EqualFold(hostAsIs(x.Request), text) }
	}
	if f != nil && n.outer {
		return func(x *X) bool { return !f(x) }
	}
	return f
}

var methodVariable, pathVariable, hostVariable = builtinNamed("method"), builtinNamed("path"), builtinNamed("host")

// methodIs compiles a comparison with methods: those that have a number are bits of a mask. It is nil where one has no
// number, or where the numbers cannot be told apart from what is missing.
func methodIs(names []string) boolFunc {
	mask := uint32(0)
	for _, name := range names {
		verb := message.LookupVerb(name)
		if verb == message.VerbOther {
			return nil
		}
		mask |= 1 << verb
	}
	return func(x *X) bool { return x.Request != nil && mask>>x.Request.Verb&1 != 0 }
}

func constants(set *node) []string { return listOf(set.args, func(a *node) string { return a.text }) }

// test compiles what a comparison asks about one text of its left side; nil where it asks the values of the right one.
func (c *compiler) test(n *node) test {
	right := n.args[1]
	switch {
	case n.list != nil:
		has := n.list.HasText
		return func(_ *X, text []byte) bool { return has(text) }
	case n.cmp == cmpIn:
		set := newTextSet(constants(right))
		return func(_ *X, text []byte) bool { return set.has(text) }
	case n.cmp == cmpMatches && c.capture:
		p := n.pattern
		return func(x *X, text []byte) bool { return p.capture(x.State, text) }
	case n.cmp == cmpMatches:
		p := n.pattern
		return func(x *X, text []byte) bool { return p.matches(x.State, text) }
	}
	if text, ok := right.constant(); ok && !n.args[0].secret {
		return constantTest(n.cmp, text)
	}
	return nil
}

// constantTest compiles a comparison with a text that is written out.
func constantTest(by cmp, text string) test {
	b := []byte(text)
	switch by {
	case cmpContains:
		return func(_ *X, of []byte) bool { return bytes.Contains(of, b) }
	case cmpStarts:
		return func(_ *X, of []byte) bool { return bytes.HasPrefix(of, b) }
	case cmpEnds:
		return func(_ *X, of []byte) bool { return bytes.HasSuffix(of, b) }
	case cmpLike:
		return func(_ *X, of []byte) bool { return like(of, b) }
	}
	return func(_ *X, of []byte) bool { return string(of) == text }
}

// sameFunc returns the comparison of two texts. With a secret it takes the same time for all of the same length.
func sameFunc(n *node) func(a, b []byte) bool {
	switch n.cmp {
	case cmpContains:
		return bytes.Contains
	case cmpStarts:
		return bytes.HasPrefix
	case cmpEnds:
		return bytes.HasSuffix
	}
	if n.args[0].secret || n.args[1].secret {
		return func(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
	}
	return bytes.Equal
}
