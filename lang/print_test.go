package lang

import "strings"

// Precedences of what is printed: a part of a lower one, or of the same one, stands in parentheses.
const (
	bindCond = iota
	bindOr
	bindAnd
	bindNot
	bindCompare
	bindElse
	bindSum
	bindProduct
	bindPost
)

func (n *node) binds() int {
	switch n.op {
	case opCond:
		return bindCond
	case opOr:
		return bindOr
	case opAnd:
		return bindAnd
	case opNot:
		return bindNot
	case opCompare:
		return bindCompare
	case opElse:
		return bindElse
	case opAdd, opSub:
		return bindSum
	case opMod:
		return bindProduct
	}
	return bindPost
}

// printer writes a tree in one form for all spellings of a text: == for eq, and for &&, one space between words.
type printer struct{ strings.Builder }

// printed returns the text of a tree, which parses into the same tree.
func printed(n *node) string {
	var p printer
	p.node(n)
	return p.String()
}

// within writes n, in parentheses unless it binds at least as needed.
func (p *printer) within(n *node, needed int) {
	if n.binds() >= needed {
		p.node(n)
		return
	}
	p.WriteByte('(')
	p.node(n)
	p.WriteByte(')')
}

// joined writes operands with a word between them.
func (p *printer) joined(n *node, word string) {
	for i, a := range n.args {
		needed := n.binds() + 1
		if i > 0 {
			p.WriteString(word)
		} else if n.op == opSub || n.op == opMod || n.op == opAdd && a.op != opAdd {
			needed-- // these group to the left
		}
		p.within(a, needed)
	}
}

func (p *printer) node(n *node) {
	switch n.op {
	case opText:
		p.literal(n)
	case opNumber, opAddress, opPrefix, opName, opTrue, opFalse:
		p.WriteString(n.text)
	case opCall:
		p.call(n)
	case opIndex:
		p.receiver(n.args[0])
		p.WriteByte('[')
		p.node(n.args[1])
		p.WriteByte(']')
	case opCond:
		p.within(n.args[0], bindCond+1)
		p.WriteString(" ? ")
		p.node(n.args[1])
		p.WriteString(" : ")
		p.node(n.args[2])
	case opOr:
		p.joined(n, " or ")
	case opAnd:
		p.joined(n, " and ")
	case opNot:
		p.WriteString("not ")
		p.within(n.args[0], bindNot)
	case opCompare:
		p.within(n.args[0], bindCompare+1)
		p.WriteString(" " + n.operator() + " ")
		p.within(n.args[1], bindCompare+1)
	case opSet:
		p.WriteByte('{')
		for i, a := range n.args {
			if i > 0 {
				p.WriteByte(' ')
			}
			p.node(a)
		}
		p.WriteByte('}')
	case opElse:
		p.joined(n, " ?? ")
	case opAdd:
		p.joined(n, " + ")
	case opSub:
		p.joined(n, " - ")
	case opMod:
		p.joined(n, " % ")
	case opTemplate:
		p.template(n)
	}
}

// receiver writes what stands before a dot or a bracket.
func (p *printer) receiver(n *node) {
	switch n.op {
	case opName, opCall, opIndex, opText:
		p.node(n)
	default:
		p.WriteByte('(')
		p.node(n)
		p.WriteByte(')')
	}
}

func (p *printer) call(n *node) {
	args := n.args
	if n.method {
		p.receiver(args[0])
		p.WriteByte('.')
		args = args[1:]
	}
	p.WriteString(n.text)
	p.WriteByte('(')
	for i, a := range args {
		if i > 0 {
			p.WriteString(", ")
		}
		p.node(a)
	}
	p.WriteByte(')')
}

// literal writes a text in the quotes that it came in.
func (p *printer) literal(n *node) {
	p.WriteByte(n.quote)
	for i := 0; i < len(n.text); i++ {
		switch c := n.text[i]; {
		case n.quote == '`':
		case c == n.quote:
			p.WriteByte('\\')
		case c == '\\' && i+1 < len(n.text):
			p.WriteByte(c)
			i++
		}
		p.WriteByte(n.text[i])
	}
	p.WriteByte(n.quote)
}

// template writes texts with their braces doubled, and expressions in braces.
func (p *printer) template(n *node) {
	for _, a := range n.args {
		if a.op == opText && a.quote == 0 {
			p.WriteString(strings.NewReplacer("{", "{{", "}", "}}").Replace(a.text))
			continue
		}
		p.WriteByte('{')
		p.node(a)
		p.WriteByte('}')
	}
}
