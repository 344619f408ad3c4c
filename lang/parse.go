package lang

import (
	"slices"
	"strings"
)

// Bounds of a text, so that no configuration makes a text that is slow to load or to evaluate.
const (
	SourceMax = 64 << 10 // bytes of a text
	NodesMax  = 4096     // values, operators and calls
	DepthMax  = 64       // parentheses, calls and operators in each other
)

type parser struct {
	lexer
	nodes, depth int
	last         int    // where the token before this one ends
	free         []node // the next nodes: they are made by the dozen, since they go together too

	begins func(name string) bool // of a loose template: whether a name begins a value; nil: all braces do
}

func (p *parser) next() *Error {
	p.last = p.end
	return p.lexer.next()
}

func parseCondition(text string) (*node, *Error) {
	p, err := newParser(text)
	if err != nil {
		return nil, err
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	if p.tok == tokEnd {
		return nil, problem(0, len(text), "there is no condition")
	}
	n, err := p.expression()
	if err != nil {
		return nil, err
	}
	if p.tok != tokEnd {
		return nil, p.surplus()
	}
	return n, checkHeight(n)
}

// parseTemplate parses text with expressions in braces. Braces are text unless begins holds for the name after them;
// nil: it always does.
func parseTemplate(text string, begins func(name string) bool) (*node, *Error) {
	p, err := newParser(text)
	if err != nil {
		return nil, err
	}
	p.begins = begins
	root := &node{op: opTemplate, end: int32(len(text))}
	for p.pos < len(text) {
		if err := p.plain(root); err != nil {
			return nil, err
		}
		if p.pos == len(text) {
			break
		}
		open := p.pos
		p.pos++
		if err := p.next(); err != nil {
			return nil, foreignPlaceholder(text, open, err)
		}
		if p.is("}") {
			return nil, problem(open, p.end, "there is nothing between the braces").hint(twiceHint)
		}
		part, err := p.expression()
		if err != nil {
			return nil, foreignPlaceholder(text, open, err)
		}
		if !p.is("}") {
			if p.tok == tokEnd {
				return nil, problem(open, open+1, "the brace that begins here has no end").hint(twiceHint)
			}
			return nil, foreignPlaceholder(text, open, p.surplus())
		}
		p.pos = p.end
		root.args = append(root.args, part)
	}
	return root, checkHeight(root)
}

const twiceHint = "a brace itself is written twice"

func newParser(text string) (*parser, *Error) {
	if len(text) > SourceMax {
		return nil, problem(SourceMax, len(text), "a text has at most %d bytes", SourceMax)
	}
	return &parser{lexer: lexer{src: text}}, nil
}

func checkHeight(n *node) *Error {
	if n.height() > DepthMax {
		return problem(int(n.at), int(n.end), "more than %d levels in each other", DepthMax)
	}
	return nil
}

// plain adds what stands before the next expression of a template.
func (p *parser) plain(root *node) *Error {
	begin := p.pos
	var content strings.Builder
	for p.pos < len(p.src) {
		c := p.src[p.pos]
		switch {
		case c != '{' && c != '}':
		case p.begins != nil:
			if c == '{' && p.beginsValue() {
				return p.addPlain(root, begin, content.String())
			}
		default:
			if p.pos+1 == len(p.src) || p.src[p.pos+1] != c {
				if c == '}' {
					return problem(p.pos, p.pos+1, "no brace is open here").hint(twiceHint)
				}
				return p.addPlain(root, begin, content.String())
			}
			p.pos++
		}
		content.WriteByte(c)
		p.pos++
	}
	return p.addPlain(root, begin, content.String())
}

// addPlain adds a text as it is to a template, if it has any bytes.
func (p *parser) addPlain(root *node, begin int, content string) *Error {
	if content == "" {
		return nil
	}
	n, err := p.node(opText, begin)
	if err != nil {
		return err
	}
	n.text, n.end = content, int32(p.pos)
	root.args = append(root.args, n)
	return nil
}

// beginsValue reports whether the brace at hand begins a value: a name follows that is known.
func (p *parser) beginsValue() bool {
	i := p.pos + 1
	for i < len(p.src) && (letter(p.src[i]) || i > p.pos+1 && digit(p.src[i])) {
		i++
	}
	return i > p.pos+1 && p.begins(p.src[p.pos+1:i])
}

// node makes a node that begins at a byte of the text. A leaf ends with the token, any other with the one before it.
func (p *parser) node(o op, at int, args ...*node) (*node, *Error) {
	if p.nodes++; p.nodes > NodesMax {
		return nil, problem(at, p.end, "more than %d values, operators and calls", NodesMax)
	}
	if len(p.free) == 0 {
		p.free = make([]node, 12)
	}
	n := &p.free[0]
	p.free = p.free[1:]
	n.op, n.at, n.end, n.args = o, int32(at), int32(p.end), args
	if len(args) > 0 {
		n.end = int32(p.last)
	}
	return n, nil
}

func (p *parser) is(op string) bool { return p.tok == tokOperator && p.text == op }

// word reports whether the token is this word, or this operator.
func (p *parser) word(word, op string) bool {
	return p.tok == tokName && p.text == word || p.is(op)
}

func (p *parser) expect(op, after string) *Error {
	if !p.is(op) {
		return problem(p.at, max(p.end, p.at), "%s is missing after %s", op, after)
	}
	return p.next()
}

// surplus says that an expression is over where the text is not.
func (p *parser) surplus() *Error {
	err := problem(p.at, p.end, "an operator is missing before %s", p.src[p.at:p.end])
	switch {
	case p.tok == tokName:
		switch lower := strings.ToLower(p.text); lower {
		case "and", "or", "not", "in", "matches", "contains":
			return err.hint("write %s", lower)
		case "is", "equals":
			return err.hint("== compares")
		case "wildcard", "strict":
			return err.hint("here it is called like")
		case "startswith", "endswith":
			return err.hint("write %s_with", strings.TrimSuffix(lower, "with"))
		}
		words := slices.Values([]string{"and", "contains", "ends_with", "like", "not", "starts_with"})
		if near := nearest(p.text, words); near != "" {
			return err.hint("did you mean %s?", near)
		}
		return err.hint("and, or join conditions")
	case p.is(")") || p.is("]") || p.is("}"):
		return problem(p.at, p.end, "%s closes nothing", p.text)
	case p.tok == tokOperator && comparisons[p.text] != 0:
		return problem(p.at, p.end, "%s follows a comparison", p.text).hint("join two comparisons by and")
	}
	return err
}

// expression parses or [ "?" expression ":" expression ].
func (p *parser) expression() (*node, *Error) {
	if p.depth++; p.depth > DepthMax {
		return nil, problem(p.at, p.end, "more than %d levels in each other", DepthMax)
	}
	defer func() { p.depth-- }()
	at := p.at
	cond, err := p.or()
	if err != nil || !p.is("?") {
		return cond, err
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	yes, err := p.expression()
	if err != nil {
		return nil, err
	}
	if err := p.expect(":", "the first value of a choice"); err != nil {
		return nil, err
	}
	no, err := p.expression()
	if err != nil {
		return nil, err
	}
	return p.node(opCond, at, cond, yes, no)
}

func (p *parser) or() (*node, *Error) { return p.chain(opOr, "or", "||", (*parser).and) }

func (p *parser) and() (*node, *Error) { return p.chain(opAnd, "and", "&&", (*parser).not) }

// alternative parses sum { "??" sum }.
func (p *parser) alternative() (*node, *Error) { return p.chain(opElse, "", "??", (*parser).sum) }

// chain parses operands that a word or an operator joins: one node for all of them.
func (p *parser) chain(o op, word, operator string, operand func(*parser) (*node, *Error)) (*node, *Error) {
	at := p.at
	first, err := operand(p)
	if err != nil || !p.word(word, operator) {
		return first, err
	}
	args := []*node{first}
	for p.word(word, operator) {
		if err := p.next(); err != nil {
			return nil, err
		}
		n, err := operand(p)
		if err != nil {
			return nil, err
		}
		args = append(args, n)
	}
	return p.node(o, at, args...)
}

// not parses [ "not" | "!" ] compare.
func (p *parser) not() (*node, *Error) {
	if !p.word("not", "!") {
		return p.compare()
	}
	at := p.at
	if p.depth++; p.depth > DepthMax {
		return nil, problem(p.at, p.end, "more than %d levels in each other", DepthMax)
	}
	defer func() { p.depth-- }()
	if err := p.next(); err != nil {
		return nil, err
	}
	n, err := p.not()
	if err != nil {
		return nil, err
	}
	return p.node(opNot, at, n)
}

// compare parses alternative [ operator alternative | ["not"] "in" set ].
func (p *parser) compare() (*node, *Error) {
	at := p.at
	left, err := p.alternative()
	if err != nil {
		return nil, err
	}
	negate := p.text == "!=" || p.text == "!~" || p.text == "ne"
	if p.tok == tokName && p.text == "not" {
		if err := p.next(); err != nil {
			return nil, err
		}
		switch comparisons[p.text] {
		case cmpIn, cmpContains, cmpStarts, cmpEnds, cmpLike:
		default:
			return nil, problem(p.at, p.end, "a comparison is missing after not").hint("not in, not contains, not like")
		}
		negate = true
	}
	c := comparisons[p.text]
	if c == 0 || p.tok != tokName && p.tok != tokOperator {
		return left, nil
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	operand := p.alternative
	if c == cmpIn {
		operand = p.set
	}
	right, err := operand()
	if err != nil {
		return nil, err
	}
	n, err := p.node(opCompare, at, left, right)
	if err != nil {
		return nil, err
	}
	n.cmp, n.negate = c, negate
	return n, nil
}

// set parses "{" value { [","] value } "}" or the name of a list.
func (p *parser) set() (*node, *Error) {
	if !p.is("{") {
		if p.tok == tokName {
			return p.post()
		}
		return nil, problem(p.at, p.end, "in is followed by a set or a list").
			hint("in {%s}, in list.NAME", p.src[p.at:p.end])
	}
	at := p.at
	if err := p.next(); err != nil {
		return nil, err
	}
	var args []*node
	for !p.is("}") {
		if p.tok == tokEnd {
			return nil, problem(at, at+1, "the set that begins here has no end")
		}
		if len(args) > 0 && p.is(",") {
			if err := p.next(); err != nil {
				return nil, err
			}
		}
		n, err := p.value()
		if err != nil {
			return nil, err
		}
		if !n.literal() {
			return nil, problem(int(n.at), int(n.end), "a set holds texts, numbers, addresses and prefixes").
				hint("compare with a variable by ==")
		}
		args = append(args, n)
	}
	if len(args) == 0 {
		return nil, problem(at, p.end, "the set is empty")
	}
	n, err := p.node(opSet, at, args...)
	if err != nil {
		return nil, err
	}
	n.end = int32(p.end)
	return n, p.next()
}
