package lang

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// checker gives the nodes of a tree their kinds, and refuses what has none.
type checker struct {
	scope  *Scope
	phases Phases // in which the text is evaluated
	src    string

	match        bool     // match.N is named
	json         []*node  // calls of json
	valid        []string // what json.valid is asked of
	instructions int      // of all regular expressions
	load         int      // likewise
}

func at(n *node, format string, args ...any) *Error {
	return problem(int(n.at), int(n.end), format, args...)
}

// source returns what n was written as.
func (c *checker) source(n *node) string { return c.src[n.at:n.end] }

// condition checks a tree that is to be true or false.
func (c *checker) condition(n *node) *Error {
	if err := c.check(n); err != nil {
		return err
	}
	if n.kind == Bool {
		return nil
	}
	err := at(n, "%s is %v, and a condition is true or false", c.source(n), n.kind)
	switch {
	case n.kind == Text && n.op == opName:
		return err.hint(`has(%s), %s == "…"`, c.source(n), c.source(n))
	case n.kind.number() && n.op != opNumber:
		return err.hint("compare it: %s > 0", c.source(n))
	case n.kind == IP:
		return err.hint("%s in {…}", c.source(n))
	}
	return err
}

func (c *checker) check(n *node) *Error {
	switch n.op {
	case opText:
		n.kind = Text
	case opNumber:
		return c.number(n, Invalid)
	case opAddress, opPrefix:
		c.address(n)
	case opTrue, opFalse:
		n.kind = Bool
	case opName:
		return c.name(n)
	case opIndex:
		return c.index(n)
	case opCall:
		return c.call(n)
	case opCond:
		return c.choice(n)
	case opOr, opAnd, opNot:
		n.kind = Bool
		for _, a := range n.args {
			if err := c.condition(a); err != nil {
				return err
			}
		}
	case opCompare:
		return c.compare(n)
	case opElse:
		return c.alternative(n)
	case opAdd, opSub, opMod:
		return c.sum(n)
	case opTemplate:
		n.kind = Text
		for _, a := range n.args {
			if err := c.check(a); err != nil {
				return err
			}
			if a.kind == Texts {
				return at(a, "%s is a list", c.source(a)).hint(`join(%s, ", ")`, c.source(a))
			}
		}
	default:
		return at(n, "a set stands after in")
	}
	return nil
}

// number gives a literal number its value. want is the kind of what it stands beside, Invalid where that is not known.
func (c *checker) number(n *node, want Kind) *Error {
	digits := strings.TrimRight(n.text, "kmghs")
	unit := units[n.text[len(digits):]]
	factor := unit.size
	n.kind = Size
	switch {
	case n.text == digits:
		if n.kind = Int; want == Size {
			n.kind = Size
		} else if want == Duration {
			if strings.Trim(digits, "0") != "" {
				return at(n, "%s has no unit", n.text).hint("%ss, %sms, %sm", n.text, n.text, n.text)
			}
			n.kind = Duration
		}
	case want == Duration && unit.duration > 0 || unit.size == 0:
		n.kind, factor = Duration, unit.duration
	case want == Int:
		n.kind = Int
	}
	number, err := strconv.ParseInt(digits, 10, 64)
	if n.kind == Int && unit.duration > 0 {
		return at(n, "%s stands beside a number, and is minutes or a size", n.text).
			hint("a number of seconds is written without a unit, %d; %dk is a size", number*60, number*1024)
	}
	if n.number = number * factor; err != nil || n.number/factor != number {
		return at(n, "%s is too large", n.text)
	}
	return nil
}

// address gives a literal address or prefix its value.
func (c *checker) address(n *node) {
	if n.op == opAddress {
		n.kind = IP
		a := netip.MustParseAddr(n.text).Unmap()
		n.prefix = netip.PrefixFrom(a, a.BitLen())
		return
	}
	n.kind = Prefix
	n.prefix = unmappedPrefix(netip.MustParsePrefix(n.text))
}

func unmappedPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// alike makes two nodes values of one kind: a literal number takes the unit of the other one.
func (c *checker) alike(a, b *node) *Error {
	for _, pair := range [2][2]*node{{a, b}, {b, a}} {
		if literal, other := pair[0], pair[1]; literal.op == opNumber && other.op != opNumber && other.kind.number() {
			if err := c.number(literal, other.kind); err != nil {
				return err
			}
		}
	}
	if a.op == opNumber && b.op == opNumber && a.kind != b.kind {
		if err := c.number(a, b.kind); err != nil {
			return err
		}
		if err := c.number(b, a.kind); err != nil {
			return err
		}
	}
	switch {
	case a.kind == b.kind, a.kind == Texts && b.kind == Text, a.kind == Text && b.kind == Texts:
		return nil
	case a.kind == Size && b.kind == Int, a.kind == Int && b.kind == Size:
		return nil
	}
	err := problem(int(min(a.at, b.at)), int(max(a.end, b.end)),
		"%s is %v, and %s is %v",
		c.source(a), a.kind, c.source(b), b.kind)
	text, other := a, b
	if b.op == opText || a.kind != Text {
		text, other = b, a
	}
	switch {
	case text.op == opText && other.kind == IP:
		return err.hint("an address has no quotes")
	case text.op == opText && other.kind == Bool:
		return err.hint("true and false have no quotes")
	case text.op == opText && other.kind.number():
		return err.hint("a number has no quotes")
	case a.kind == Int && b.op == opNumber || b.kind == Int && a.op == opNumber: // a duration
		return err.hint("a number of seconds is written without a unit")
	case text.kind == Text && other.kind == Int:
		return err.hint("int(%s, 0) is the number in a text", c.source(text))
	case a.kind == IP && b.kind == Prefix:
		return err.hint("%s in {%s}", c.source(a), c.source(b))
	}
	return err
}

// choice checks a ? b : c.
func (c *checker) choice(n *node) *Error {
	if err := c.condition(n.args[0]); err != nil {
		return err
	}
	for _, a := range n.args[1:] {
		if err := c.check(a); err != nil {
			return err
		}
	}
	return c.oneOf(n, n.args[1:])
}

// missable reports whether the value of n may be missing. + takes what is missing as an empty text.
func (n *node) missable() bool {
	switch n.op {
	case opCall:
		switch n.text {
		case "len", "hash", "random", "hmac":
			return false
		case "default":
			return n.args[1].missable()
		case "text", "int":
			return n.args[len(n.args)-1].missable() || n.text == "int" && len(n.args) == 1
		}
	case opAdd:
		return n.kind != Text
	case opCond:
		return n.args[1].missable() || n.args[2].missable()
	case opElse:
		return n.args[len(n.args)-1].missable()
	}
	return !n.literal() && n.kind != Bool
}

// alternative checks a ?? b.
func (c *checker) alternative(n *node) *Error {
	for i, a := range n.args {
		if err := c.check(a); err != nil {
			return err
		}
		if i < len(n.args)-1 && !a.missable() {
			err := at(a, "%s is never missing", c.source(a))
			if a.op == opAdd {
				return err.hint("+ takes what is missing as an empty text; write a + (b ?? c)")
			}
			return err
		}
	}
	return c.oneOf(n, n.args)
}

// oneOf makes n a value that is one of several.
func (c *checker) oneOf(n *node, values []*node) *Error {
	first := values[0]
	for _, a := range values[1:] {
		if first.op == opNumber {
			first = a
		}
	}
	n.kind = first.kind
	for _, a := range values {
		if a != first {
			if err := c.alike(first, a); err != nil {
				return err
			}
		}
		if n.many = n.many || a.many; a.kind == Texts {
			n.kind = Texts
		}
		n.secret = n.secret || a.secret
	}
	return nil
}

// sum checks a + b, a - b and a % b.
func (c *checker) sum(n *node) *Error {
	for _, a := range n.args {
		if err := c.check(a); err != nil {
			return err
		}
	}
	first := n.args[0]
	for _, a := range n.args[1:] {
		if err := c.alike(first, a); err != nil {
			if first.kind == Text || a.kind == Text {
				err.Hint = "text(x) is any value as a text, and a template has no need of it"
			}
			return err
		}
		n.secret = n.secret || a.secret
	}
	n.kind = first.kind
	for _, a := range n.args {
		switch {
		case a.kind.number() && (n.op != opMod || a.kind != Duration):
			if a.kind == Size {
				n.kind = Size
			}
		case n.op == opAdd && a.kind == Text:
		default:
			sign := map[op]string{opAdd: "+", opSub: "-", opMod: "%"}[n.op]
			return at(a, "%s is %v, which %s does not take", c.source(a), a.kind, sign)
		}
	}
	return nil
}

func (c *checker) compare(n *node) *Error {
	left, right := n.args[0], n.args[1]
	if err := c.operand(left, n); err != nil {
		return err
	}
	n.kind, n.outer = Bool, n.negate
	if left.secret && n.cmp != cmpEqual {
		return at(n, "a secret is compared by == alone")
	}
	if err := c.hostCase(n); err != nil {
		return err
	}
	if n.cmp == cmpIn {
		return c.in(n)
	}
	if err := c.operand(right, n); err != nil {
		return err
	}
	if err := c.alike(left, right); err != nil {
		return err
	}
	if right.secret && n.cmp != cmpEqual {
		return at(n, "a secret is compared by == alone")
	}
	texts := left.kind == Text || left.kind == Texts
	switch {
	case n.cmp == cmpEqual:
	case n.cmp.ordered():
		if !left.kind.number() {
			err := at(n, "%s compares numbers, durations and sizes", cmpNames[n.cmp])
			if left.kind == Text {
				return err.hint("int(%s, 0) is the number in a text", c.source(left))
			}
			return err
		}
	case !texts:
		return at(n, "%s compares texts, and %s is %v", n.operator(), c.source(left), left.kind)
	case n.cmp == cmpMatches:
		return c.pattern(n, right)
	case n.cmp == cmpLike && right.op != opText:
		return at(right, "a glob is written out")
	}
	return nil
}

// hostCase refuses a comparison of the host, which is in lower case, with a text that has an upper case: that is never
// what was meant, and a rule that is to refuse a host would refuse none.
func (c *checker) hostCase(n *node) *Error {
	left, right := n.args[0], n.args[1]
	if left.op != opName || left.variable != hostVariable || n.cmp == cmpMatches {
		return nil
	}
	texts := []*node{right}
	if right.op == opSet {
		texts = right.args
	}
	for _, a := range texts {
		if a.op == opText && upperCase(a.text) {
			return at(a, "host is in lower case").hint("write %q", strings.ToLower(a.text))
		}
	}
	return nil
}

// pattern compiles the regular expression that n uses.
func (c *checker) pattern(n, text *node) *Error {
	if text.op != opText {
		return at(text, "a regular expression is written out").
			hint("what a request says is compared by ==, contains, starts_with")
	}
	p, err := newPattern(text.text)
	if err != nil {
		return c.within(text, err)
	}
	n.pattern = p
	c.instructions += p.Instructions()
	c.load += p.Load()
	switch {
	case c.instructions > TextInstructionsMax:
		err = at(text, "all regular expressions up to this one have more than %d instructions", TextInstructionsMax)
	case c.load > LoadMax:
		err = at(text, "a request can be made for which all regular expressions up to this one take too long")
	default:
		return nil
	}
	return err.hint("repeat less in them, or write several rules")
}

// within makes an error about the content of a literal text one about the source.
func (c *checker) within(text *node, err *Error) *Error {
	if err == nil {
		return nil
	}
	e := at(text, "the regular expression cannot be used: %s", err.Message)
	e.Hint = err.Hint
	if content := c.src[text.at+1 : text.end-1]; content == text.text { // nothing in it is escaped
		e.Offset, e.End = int(text.at)+1+err.Offset, int(text.at)+1+err.End
	}
	return e
}

// operand checks a side of a comparison, which may be a secret.
func (c *checker) operand(n, comparison *node) *Error {
	if n.op == opName && strings.HasPrefix(n.text, secretPrefix) {
		if comparison.cmp != cmpEqual {
			return at(n, "a secret is compared by == alone")
		}
		return c.secret(n)
	}
	return c.check(n)
}

const secretPrefix, listPrefix, tablePrefix, envPrefix = "secret.", "list.", "map.", "env."

func (c *checker) secret(n *node) *Error {
	name := strings.TrimPrefix(n.text, secretPrefix)
	if _, ok := c.scope.secrets[name]; !ok {
		return at(n, "there is no secret %s", name).hint("%s", meant(name, maps.Keys(c.scope.secrets), "[secrets] has"))
	}
	n.kind, n.secret, n.key = Text, true, name
	return nil
}

// meant returns a hint: the nearest of some names, or all of them where they are few.
func meant(name string, names iter.Seq[string], all string) string {
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	var list []string
	for other := range names {
		list = append(list, other)
	}
	if len(list) == 0 {
		return all + " none"
	}
	if len(list) > 5 {
		return ""
	}
	slices.Sort(list)
	return all + " " + strings.Join(list, ", ")
}
