package lang

import "strings"

// sum parses product { ("+" | "-") product }. Neighbouring additions are one node.
func (p *parser) sum() (*node, *Error) {
	at := p.at
	left, err := p.product()
	open := false // left is an addition of this sum, not one in parentheses
	for err == nil && (p.is("+") || p.is("-")) {
		o := opAdd
		if p.is("-") {
			o = opSub
		}
		if err := p.next(); err != nil {
			return nil, err
		}
		right, wrong := p.product()
		if wrong != nil {
			return nil, wrong
		}
		if o == opAdd && open {
			left.args, left.end = append(left.args, right), int32(p.last)
			continue
		}
		left, err = p.node(o, at, left, right)
		open = o == opAdd
	}
	return left, err
}

// product parses post { "%" post }.
func (p *parser) product() (*node, *Error) {
	at := p.at
	left, err := p.post()
	for err == nil && p.is("%") {
		if err := p.next(); err != nil {
			return nil, err
		}
		right, wrong := p.post()
		if wrong != nil {
			return nil, wrong
		}
		left, err = p.node(opMod, at, left, right)
	}
	return left, err
}

// post parses value { "." name "(" args ")" | "[" expression "]" }.
func (p *parser) post() (*node, *Error) {
	start := p.at
	n, err := p.value()
	for err == nil {
		switch {
		case p.is("."):
			if !p.lexer.name() {
				return nil, problem(p.at, p.end, "a name is missing after the dot")
			}
			at, name, end := start, p.text, p.end
			if err := p.next(); err != nil {
				return nil, err
			}
			if !p.is("(") {
				return nil, problem(at, end, "%s has no parts", p.src[at:end]).
					hint("a function is called with ( ): .%s()", name)
			}
			n, err = p.call(at, name, n)
		case p.is("["):
			if err := p.next(); err != nil {
				return nil, err
			}
			by, wrong := p.expression()
			if wrong != nil {
				return nil, wrong
			}
			end := p.end
			if err := p.expect("]", "what is between the brackets"); err != nil {
				return nil, err
			}
			if n, err = p.node(opIndex, start, n, by); err == nil {
				n.end = int32(end)
			}
		default:
			return n, nil
		}
	}
	return nil, err
}

// value parses a literal, a name, a call, or what is in parentheses.
func (p *parser) value() (*node, *Error) {
	at := p.at
	switch p.tok {
	case tokText:
		return p.leaf(opText)
	case tokNumber:
		return p.leaf(opNumber)
	case tokAddress:
		return p.leaf(opAddress)
	case tokPrefix:
		return p.leaf(opPrefix)
	case tokName:
		return p.name()
	case tokEnd:
		return nil, problem(at, at, "a value is missing at the end")
	}
	switch p.text {
	case "(":
		if err := p.next(); err != nil {
			return nil, err
		}
		n, err := p.expression()
		if err != nil {
			return nil, err
		}
		if p.tok == tokEnd {
			return nil, problem(at, at+1, "the parenthesis that begins here has no end")
		}
		return n, p.expect(")", "what is in parentheses")
	case "-":
		if err := p.next(); err != nil {
			return nil, err
		}
		if p.tok != tokNumber || p.at != at+1 {
			return nil, problem(at, p.end, "a value is missing before -").
				hint("a name is subtracted from a number: 0 - x")
		}
		n, err := p.leaf(opNumber)
		if err != nil {
			return nil, err
		}
		n.at, n.text = int32(at), "-"+n.text
		return n, nil
	case "{":
		return nil, foreignPlaceholder(p.src, at, problem(at, at+1, "a set stands after in").hint("x in {…}"))
	case "%":
		return nil, foreignPercent(p.src, at)
	}
	return nil, problem(at, p.end, "a value is missing before %s", p.src[at:p.end])
}

func (p *parser) leaf(o op) (*node, *Error) {
	n, err := p.node(o, p.at)
	if err != nil {
		return nil, err
	}
	n.text = p.text
	if o == opText {
		n.quote = p.quote
	}
	return n, p.next()
}

// words that are no names.
var reserved = map[string]bool{
	"and": true, "or": true, "not": true, "in": true, "eq": true, "ne": true, "lt": true, "le": true, "gt": true,
	"ge": true, "matches": true, "contains": true, "starts_with": true, "ends_with": true, "like": true,
}

// name parses a name with its dots, and the call that it may be.
func (p *parser) name() (*node, *Error) {
	at, name := p.at, p.text
	if reserved[name] {
		begin := p.run(p.pos, func(c byte) bool { return c == ' ' })
		if len(name) > 3 && begin < len(p.src) && p.src[begin] == '(' {
			return nil, problem(at, p.end, "%s is an operator", name).hint("x %s y", name)
		}
		return nil, problem(at, p.end, "a value is missing before %s", name)
	}
	if name == "true" || name == "false" {
		return p.leaf(map[string]op{"true": opTrue, "false": opFalse}[name])
	}
	end := p.end
	if err := p.next(); err != nil {
		return nil, err
	}
	if p.is("(") && p.at == end {
		return p.call(at, name, nil)
	}
	for p.is(".") && p.at == end {
		before := end
		if !p.lexer.name() {
			return nil, problem(at, p.end, "a name is missing after the dot")
		}
		part := p.text
		end = p.end
		if err := p.next(); err != nil {
			return nil, err
		}
		if p.is("(") && p.at == end {
			if p.src[at:end] == jsonValid {
				return p.call(at, jsonValid, nil)
			}
			receiver, err := p.named(at, before)
			if err != nil {
				return nil, err
			}
			return p.call(at, part, receiver)
		}
	}
	return p.named(at, end)
}

func (p *parser) named(at, end int) (*node, *Error) {
	n, err := p.node(opName, at)
	if err != nil {
		return nil, err
	}
	n.text, n.end = p.src[at:end], int32(end)
	return n, nil
}

// call parses the arguments of a function. receiver, if any, is the first of them.
func (p *parser) call(at int, name string, receiver *node) (*node, *Error) {
	open := p.at
	if err := p.next(); err != nil {
		return nil, err
	}
	var args []*node
	if receiver != nil {
		args = append(args, receiver)
	}
	for first := true; !p.is(")"); first = false {
		if !first {
			if err := p.expect(",", "an argument"); err != nil {
				return nil, err
			}
		}
		if p.tok == tokEnd {
			return nil, problem(open, open+1, "the parenthesis that begins here has no end")
		}
		n, err := p.expression()
		if err != nil {
			return nil, err
		}
		args = append(args, n)
	}
	end := p.end
	n, err := p.node(opCall, at, args...)
	if err != nil {
		return nil, err
	}
	n.text, n.method, n.end = name, receiver != nil, int32(end)
	if strings.Contains(name, "-") {
		return nil, problem(at, end, "%s is no function", name)
	}
	return n, p.next()
}
