package lang

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// model evaluates a checked tree by walking it, in the plainest way. Compiled texts are tested against it, and Explain
// asks it for what they do not tell: the value of each part.
type model struct {
	x       *X
	scope   *Scope
	capture bool
}

// value is what a node evaluates to. For a text it is a list of at most one, or of several where the node says so.
type value struct {
	yes    bool
	number int64
	there  bool // of a number
	texts  [][]byte
	addr   netip.Addr
	prefix netip.Prefix
}

// one returns the value of a text, which is missing where it is nil.
func one(text []byte) value {
	if text == nil {
		return value{}
	}
	return value{texts: [][]byte{text}}
}

// joined returns the one text that a value is, nil where it is missing.
func (v value) joined() []byte {
	if v.texts == nil {
		return nil
	}
	return present(bytes.Join(v.texts, comma))
}

// missing reports whether there is nothing.
func (v value) missing(kind Kind) bool {
	switch {
	case kind.number():
		return !v.there
	case kind == IP:
		return !v.addr.IsValid()
	case kind == Prefix:
		return !v.prefix.IsValid()
	}
	return v.texts == nil
}

func (m *model) eval(n *node) (v value) {
	if n.kind == Bool {
		defer func(mark int) { m.x.State.computed = m.x.State.computed[:mark] }(len(m.x.State.computed))
	}
	switch n.op {
	case opText:
		return one([]byte(n.text))
	case opNumber:
		return value{number: n.number, there: true}
	case opAddress:
		return value{addr: n.addr()}
	case opPrefix:
		return value{prefix: n.prefix}
	case opTrue:
		return value{yes: true}
	case opName:
		return m.name(n)
	case opIndex:
		return m.index(n)
	case opCall:
		return m.call(n)
	case opCond:
		if m.eval(n.args[0]).yes {
			return m.eval(n.args[1])
		}
		return m.eval(n.args[2])
	case opNot:
		v.yes = !m.eval(n.args[0]).yes
	case opAnd, opOr:
		for _, a := range n.args {
			if v.yes = m.eval(a).yes; v.yes == (n.op == opOr) {
				break
			}
		}
	case opElse:
		for _, a := range n.args {
			if v = m.eval(a); !v.missing(a.kind) {
				break
			}
		}
	case opCompare:
		v.yes = m.compare(n)
	case opAdd, opSub, opMod:
		return m.sum(n)
	}
	return v
}

func (m *model) name(n *node) (v value) {
	switch f := n.variable; {
	case n.values != nil:
		v.texts = n.values(m.x, nil)
	case n.value != nil:
		return one(n.value(m.x))
	case n.secret:
		return one(present(m.scope.secrets[n.key]))
	case f == nil:
		return one([]byte(n.key))
	case f.Text != nil:
		return one(f.Text(m.x))
	case f.Texts != nil:
		v.texts = f.Texts(m.x, nil)
	case f.Int != nil:
		v.number, v.there = f.Int(m.x)
	case f.Bool != nil:
		v.yes = f.Bool(m.x)
	case f.IP != nil:
		v.addr = unmapped(f.IP(m.x))
	}
	return v
}

func (m *model) index(n *node) (v value) {
	if n.table == nil && n.args[0].kind == Invalid {
		return m.name(n)
	}
	if n.table == nil {
		list, at := m.eval(n.args[0]).texts, m.eval(n.args[1])
		if at.number < 0 {
			at.number += int64(len(list))
		}
		if at.there && at.number >= 0 && at.number < int64(len(list)) {
			return one(list[at.number])
		}
		return v
	}
	key := m.eval(n.args[1])
	if n.table.Key == IP {
		if key.addr.IsValid() {
			return one(got(n.table.Addr(key.addr)))
		}
		return v
	}
	if !n.many && key.texts == nil {
		key.texts = [][]byte{nil}
	}
	for _, text := range key.texts {
		if found := got(n.table.Text(text)); found != nil {
			v.texts = append(v.texts, found)
		}
	}
	return v
}

func (m *model) sum(n *node) value {
	v := m.eval(n.args[0])
	if n.kind == Text {
		all := present(v.joined())
		for _, a := range n.args[1:] {
			all = slices.Concat(all, m.eval(a).joined())
		}
		return one(all[:min(len(all), ComputedMax)])
	}
	for _, a := range n.args[1:] {
		w := m.eval(a)
		if v.there = v.there && w.there; !v.there {
			break
		}
		switch n.op {
		case opAdd:
			v.number, v.there = plus(v.number, w.number)
		case opSub:
			v.number, v.there = minus(v.number, w.number)
		default:
			v.number, v.there = modulo(v.number, w.number)
		}
	}
	return v
}

// compare asks of each value on the left whether it is what the right says.
func (m *model) compare(n *node) bool {
	left, right := n.args[0], n.args[1]
	cut := m.x.State.cut
	v := m.eval(left)
	if left.kind.number() {
		return v.there && m.numbers(n, v.number)
	}
	if left.kind != Text && left.kind != Texts {
		return m.same(n, v) != n.negate
	}
	if len(v.texts) == 0 {
		v.texts = [][]byte{empty}
	}
	var others [][]byte
	if n.list == nil && n.cmp != cmpIn && n.cmp != cmpMatches {
		if others = m.eval(right).texts; len(others) == 0 {
			others = [][]byte{empty}
		}
	}
	found := false
	for _, text := range v.texts {
		if found = m.texts(n, text, others) != n.inner; found {
			break
		}
	}
	if (left.secret || right.secret) && m.x.State.cut != cut {
		found = n.inner
	}
	return found != n.outer
}

func (m *model) numbers(n *node, a int64) bool {
	if n.cmp == cmpIn {
		is := func(of *node) bool { return of.number == a }
		return slices.ContainsFunc(n.args[1].args, is) != n.negate
	}
	w := m.eval(n.args[1])
	return w.there && ordered(n.cmp, a, w.number) != n.negate
}

// same compares what is neither a text nor a number.
func (m *model) same(n *node, v value) bool {
	switch {
	case n.list != nil:
		return v.addr.IsValid() && n.list.HasAddr(v.addr)
	case n.cmp == cmpIn:
		return slices.ContainsFunc(n.args[1].args, func(of *node) bool { return of.prefix.Contains(v.addr) })
	}
	w := m.eval(n.args[1])
	switch n.args[0].kind {
	case IP:
		return v.addr.IsValid() && v.addr == w.addr
	case Prefix:
		return v.prefix.IsValid() && v.prefix == w.prefix
	}
	return v.yes == w.yes
}

// texts asks about one text.
func (m *model) texts(n *node, text []byte, others [][]byte) bool {
	right := n.args[1]
	switch {
	case n.list != nil:
		return n.list.HasText(text)
	case n.cmp == cmpIn:
		return slices.Contains(constants(right), string(text))
	case n.cmp == cmpMatches:
		at := regexp.MustCompile(right.text).FindSubmatchIndex(text)
		if at != nil && m.capture {
			m.x.State.keepMatch(text, at)
		}
		return at != nil
	}
	return slices.ContainsFunc(others, func(other []byte) bool {
		switch n.cmp {
		case cmpContains:
			return bytes.Contains(text, other)
		case cmpStarts:
			return bytes.HasPrefix(text, other)
		case cmpEnds:
			return bytes.HasSuffix(text, other)
		case cmpLike:
			return like(text, other)
		}
		return string(text) == string(other)
	})
}

func (m *model) call(n *node) (v value) {
	of := n.args[0]
	if n.text == "any" || n.text == "all" {
		return m.eval(of)
	}
	if n.text == "hmac" {
		key := newSealer(m.scope.secrets[of.key])
		return one(key.seal(m.x.State, m.eval(n.args[1]).joined()))
	}
	v = m.eval(of)
	switch n.text {
	case "has":
		return value{yes: !v.missing(of.kind)}
	case jsonValid:
		invalid := func(text []byte) bool { return !m.x.validJSON(text, of.names(ofBody)) }
		return value{yes: len(v.texts) > 0 && !slices.ContainsFunc(v.texts, invalid)}
	case "percent":
		return value{yes: hashOf(m.text(of, v))%100 < n.args[1].number}
	case "hash":
		return value{number: hashOf(m.text(of, v)), there: true}
	case "random":
		return value{number: rand.Int64N(of.number), there: true}
	case "len":
		if of.kind == Texts {
			return value{number: int64(len(v.texts)), there: true}
		}
		return value{number: int64(len(v.joined())), there: true}
	case "int":
		if of.kind == Text {
			v.number, v.there = integer(v.joined())
		}
		if !v.there && len(n.args) > 1 {
			return m.eval(n.args[1])
		}
		return value{number: v.number, there: v.there}
	case "cidr":
		return value{prefix: masked(v.addr, int(n.args[1].number), int(n.args[2].number))}
	}
	return m.textCall(n, v)
}

// textCall evaluates a function whose result is a text, or texts.
func (m *model) textCall(n *node, v value) (w value) {
	of, s := n.args[0], m.x.State
	switch n.text {
	case "text":
		if of.kind == Text {
			return v
		}
		if text := m.text(of, v); len(text) > 0 {
			return one(text)
		}
		return w
	case "default":
		if len(bytes.Join(v.texts, nil)) > 0 {
			return v
		}
		return m.eval(n.args[1])
	case "split":
		separator := string(m.eval(n.args[1]).joined())
		for _, text := range v.texts {
			parts := []string{string(text)}
			if separator != "" {
				parts = strings.Split(string(text), separator)
			}
			for _, part := range parts {
				w.texts = append(w.texts, []byte(part))
			}
		}
		return w
	case "join":
		return one(s.join(v.texts, m.eval(n.args[1]).joined()))
	case "ms":
		if v.there {
			return one(appendMicros(nil, v.number, 1e3))
		}
		return w
	case "date":
		form := ""
		if len(n.args) > 1 {
			form = n.args[1].text
		}
		if v.there && v.number >= 0 && v.number <= lastSecond {
			return one(appendDate(nil, v.number, form))
		}
		return w
	}
	var args [2][]byte
	for i, a := range n.args[1:] {
		args[i] = present(m.eval(a).joined())
	}
	for _, text := range v.texts {
		var result []byte
		if n.text == "re_replace" {
			result = n.pattern.replaceAll(s, text, n.with)
		} else {
			result = n.function.text(m.x, text, args[0], args[1])
		}
		if result != nil {
			w.texts = append(w.texts, result)
		}
	}
	return w
}

// text returns any value as a text.
func (m *model) text(n *node, v value) []byte {
	switch n.kind {
	case Bool:
		return appendBool(nil, v.yes)
	case IP:
		return appendAddr(nil, v.addr)
	case Prefix:
		return appendPrefix(nil, v.prefix)
	case Text, Texts:
		return v.joined()
	}
	return appendNumber(nil, n.kind, func(*X) (int64, bool) { return v.number, v.there }, m.x)
}
