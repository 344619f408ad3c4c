package lang

import (
	"math"
	"math/rand/v2"
	"net/netip"
)

// numberComparison compiles a comparison of numbers, which is false where one of them is missing.
func (c *compiler) numberComparison(n *node) boolFunc {
	of := c.number(n.args[0])
	if n.cmp == cmpIn {
		return c.numberIn(n, of)
	}
	by := n.cmp
	if right := n.args[1]; right.op == opNumber {
		if f := constantNumber(by, n.negate, of, right.number); f != nil {
			return f
		}
	}
	other, negate := c.number(n.args[1]), n.negate
	return func(x *X) bool {
		a, here := of(x)
		b, there := other(x)
		return here && there && ordered(by, a, b) != negate
	}
}

func ordered(by cmp, a, b int64) bool {
	switch by {
	case cmpLess:
		return a < b
	case cmpLessEqual:
		return a <= b
	case cmpGreater:
		return a > b
	case cmpGreaterEqual:
		return a >= b
	}
	return a == b
}

// constantNumber compiles a comparison with a number that is written out: it asks whether the other one is in a range.
func constantNumber(by cmp, negate bool, of numberFunc, with int64) boolFunc {
	least, most := int64(math.MinInt64), int64(math.MaxInt64)
	switch {
	case by == cmpEqual && negate:
		return func(x *X) bool {
			a, ok := of(x)
			return ok && a != with
		}
	case by == cmpEqual:
		least, most = with, with
	case by == cmpLess && with > least:
		most = with - 1
	case by == cmpLessEqual:
		most = with
	case by == cmpGreater && with < most:
		least = with + 1
	case by == cmpGreaterEqual:
		least = with
	default:
		return nil
	}
	return func(x *X) bool {
		a, ok := of(x)
		return ok && a >= least && a <= most
	}
}

// numberIn compiles n in {1 2 3}. Missing is in no set, and so is not in it.
func (c *compiler) numberIn(n *node, of numberFunc) boolFunc {
	list := listOf(n.args[1].args, func(a *node) int64 { return a.number })
	negate := n.negate
	return func(x *X) bool {
		a, ok := of(x)
		if !ok {
			return false
		}
		for _, b := range list {
			if a == b {
				return !negate
			}
		}
		return negate
	}
}

// number compiles n, whose kind is Int, Duration or Size.
func (c *compiler) number(n *node) numberFunc {
	switch n.op {
	case opNumber:
		number := n.number
		return func(*X) (int64, bool) { return number, true }
	case opName:
		return n.variable.Int
	case opCall:
		return c.numberCall(n)
	case opCond:
		cond, yes, no := c.boolean(n.args[0]), c.number(n.args[1]), c.number(n.args[2])
		return func(x *X) (int64, bool) {
			if cond(x) {
				return yes(x)
			}
			return no(x)
		}
	}
	list := listOf(n.args, c.number)
	if n.op == opElse {
		return func(x *X) (int64, bool) {
			for _, f := range list {
				if a, ok := f(x); ok {
					return a, true
				}
			}
			return 0, false
		}
	}
	operate := map[op]func(a, b int64) (int64, bool){opAdd: plus, opSub: minus, opMod: modulo}[n.op]
	return func(x *X) (int64, bool) {
		sum, ok := list[0](x)
		for _, f := range list[1:] {
			b, there := f(x)
			if !ok || !there {
				return 0, false
			}
			sum, ok = operate(sum, b)
		}
		return sum, ok
	}
}

// plus, minus and modulo are missing where the result has no room, or where there is none.
func plus(a, b int64) (int64, bool) {
	sum := a + b
	return sum, (sum > a) == (b > 0)
}

func minus(a, b int64) (int64, bool) {
	difference := a - b
	return difference, (difference < a) == (b > 0)
}

func modulo(a, b int64) (int64, bool) {
	if b == 0 || b == -1 {
		return 0, b != 0
	}
	return a % b, true
}

// numberCall compiles len, int, hash and random.
func (c *compiler) numberCall(n *node) numberFunc {
	of := n.args[0]
	switch n.text {
	case "hash":
		hash := c.hash(of)
		return func(x *X) (int64, bool) { return hash(x), true }
	case "random":
		below := of.number
		return func(x *X) (int64, bool) { return rand.Int64N(below), true }
	case "len":
		if of.kind == Texts {
			list := c.texts(of)
			return func(x *X) (int64, bool) { return x.State.count(list(x, x.State.list)), true }
		}
		f := c.scalar(of)
		return func(x *X) (int64, bool) { return int64(len(f(x))), true }
	}
	var f numberFunc // int
	if of.kind == Size {
		f = c.number(of)
	} else {
		text := c.scalar(of)
		f = func(x *X) (int64, bool) { return integer(text(x)) }
	}
	if len(n.args) == 1 {
		return f
	}
	otherwise := c.number(n.args[1])
	return func(x *X) (int64, bool) {
		if a, ok := f(x); ok {
			return a, true
		}
		return otherwise(x)
	}
}

// hash compiles the number that hash and percent make of a value.
func (c *compiler) hash(n *node) func(x *X) int64 {
	switch {
	case n.kind == Text:
		f := c.scalar(n)
		return func(x *X) int64 { return hashOf(f(x)) }
	case n.kind == IP:
		f := c.addr(n)
		return func(x *X) int64 {
			var room [64]byte
			return hashOf(appendAddr(room[:0], f(x)))
		}
	case n.kind == Prefix:
		f := c.prefix(n)
		return func(x *X) int64 {
			var room [64]byte
			return hashOf(appendPrefix(room[:0], f(x)))
		}
	}
	f, kind := c.number(n), n.kind
	return func(x *X) int64 {
		var room [32]byte
		return hashOf(appendNumber(room[:0], kind, f, x))
	}
}

// addr compiles n, whose kind is IP.
func (c *compiler) addr(n *node) addrFunc {
	switch n.op {
	case opAddress:
		a := n.addr()
		return func(*X) netip.Addr { return a }
	case opName:
		f := n.variable.IP
		return func(x *X) netip.Addr { return unmapped(f(x)) }
	case opCond:
		cond, yes, no := c.boolean(n.args[0]), c.addr(n.args[1]), c.addr(n.args[2])
		return chosen(cond, yes, no)
	}
	return firstValid(listOf(n.args, c.addr))
}

// prefix compiles n, whose kind is Prefix.
func (c *compiler) prefix(n *node) prefixFunc {
	switch n.op {
	case opPrefix:
		p := n.prefix
		return func(*X) netip.Prefix { return p }
	case opCall:
		of, four, six := c.addr(n.args[0]), int(n.args[1].number), int(n.args[2].number)
		return func(x *X) netip.Prefix { return masked(of(x), four, six) }
	case opCond:
		cond, yes, no := c.boolean(n.args[0]), c.prefix(n.args[1]), c.prefix(n.args[2])
		return chosen(cond, yes, no)
	}
	return firstValid(listOf(n.args, c.prefix))
}

// chosen returns what yes does where cond holds, else what no does.
func chosen[T any](cond boolFunc, yes, no func(*X) T) func(*X) T {
	return func(x *X) T {
		if cond(x) {
			return yes(x)
		}
		return no(x)
	}
}

// firstValid returns the first value of list that is not missing.
func firstValid[T interface{ IsValid() bool }](list []func(*X) T) func(*X) T {
	return func(x *X) (v T) {
		for _, f := range list {
			if v = f(x); v.IsValid() {
				break
			}
		}
		return v
	}
}
