package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	yamlAliasedMax = 10_000  // nodes that aliases may stand for: a billion laughs need a few lines
	yamlPlaceMax   = 1 << 10 // bytes that the place of a value is looked for in
	yamlSearchMax  = 1 << 20 // bytes of a file in which the line of a syntax error is looked for
)

// parseYAML builds the tree of src, which holds one document: a mapping, or nothing. whole is false when something was
// left out.
func parseYAML(src *Source, rep *Report) (root *Node, whole bool) {
	b := &yamlBuilder{builder: builder{src: src, rep: rep}}
	root = newTable(OriginHeader)
	doc, next, err := yamlDocuments(src.Text)
	b.lines = yamlLines(src.Text)
	switch {
	case err != nil:
		b.syntaxError(err)
		return root, false
	case next != nil:
		b.rep.Errorf(b.line(next.Line), "one file holds one document; include joins files", "a second document")
		return root, false
	case doc == nil || b.null(doc):
		return root, true
	case doc.Kind != yaml.MappingNode:
		b.rep.Errorf(b.token(doc), "write key: value", "the file is not a mapping of keys to values")
		return root, false
	}
	b.mapping(root, doc, 0)
	return root, !b.broken
}

// yamlBuilder turns the nodes of the YAML parser into ours.
type yamlBuilder struct {
	builder
	lines   []int        // offsets of the lines as YAML counts them
	open    []*yaml.Node // the anchors being expanded
	aliases int          // those being expanded now
	outer   Span         // the outermost of them
	aliased int          // nodes made for them so far
}

// yamlDocuments returns the content of the first document, nil without one, and the second document if there is one.
// A panic of the parser is an error too: a file that is read again must not end a process that serves.
func yamlDocuments(text []byte) (doc, next *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("yaml: the parser gave up: %v", p)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	if err := decoder.Decode(&first); errors.Is(err, io.EOF) {
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	if err := decoder.Decode(&second); err == nil {
		next = &second
	} else if !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	if len(first.Content) == 0 {
		return nil, next, nil
	}
	return first.Content[0], next, nil
}

// yamlLines returns where lines begin: YAML also ends them at CR, NEL, LS and PS.
func yamlLines(text []byte) []int {
	lines := []int{0}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		i += n
		switch r {
		case '\r':
			if i < len(text) && text[i] == '\n' {
				i++
			}
			lines = append(lines, i)
		case '\n', '\u0085', '\u2028', '\u2029':
			lines = append(lines, i)
		}
	}
	return lines
}

// yamlBracket is a list that something follows: an IPv6 address.
var yamlBracket = compiled(`(?:: +|- +)\[[0-9a-fA-F:.]*\]:`)

var yamlErrorLine = compiled(`^(?:yaml: )?(?:line (\d+): )?`)

// syntaxError reports err. The parser tells the line where the broken construct begins, which can be far away; the
// first line with which the same error occurs is where it shows.
func (b *yamlBuilder) syntaxError(err error) {
	b.broken = true
	match := yamlErrorLine().FindStringSubmatch(err.Error())
	message := err.Error()[len(match[0]):]
	number, _ := strconv.Atoi(match[1])
	if len(b.src.Text) <= yamlSearchMax {
		number = b.firstLineWith(message)
	}
	at := b.line(number)
	b.rep.Errorf(at, b.hint(at, message), "%s", message)
}

// yamlSign is a value that begins with a character that means something else to YAML.
var yamlSign = compiled(`(?:: +|- +)[*&%@!|>` + "`" + `]`)

// hint says what a line that the parser refused with message is likely to mean.
func (b *yamlBuilder) hint(at Span, message string) string {
	line := b.src.Text[at.From:at.To]
	switch {
	case yamlBracket().Match(line):
		return "an address that begins with a bracket needs quotes"
	case bytes.HasPrefix(bytes.TrimLeft(b.src.Text[at.From-b.indent(at.From):at.To], " "), []byte("\t")):
		return "indent with blanks, not with tabs"
	case strings.HasPrefix(message, "found unexpected end of stream"):
		return "a quotation mark is missing here or above"
	case yamlSign().Match(line):
		return "a value that begins so needs quotes"
	case strings.HasPrefix(message, "mapping values are not allowed"):
		return "a value with a colon needs quotes; or the line does not stand below its neighbours"
	case strings.HasPrefix(message, "did not find expected key"):
		return "it does not stand below its neighbours"
	case unquoted().Match(line) || bytes.Contains(line, []byte(" = ")):
		return "this looks like TOML: YAML is written key: value"
	}
	return ""
}

// indent returns how many blanks and tabs stand between the line's begin and at.
func (b *yamlBuilder) indent(at int) int {
	n := 0
	for at > n && (b.src.Text[at-n-1] == ' ' || b.src.Text[at-n-1] == '\t') {
		n++
	}
	return n
}

// firstLineWith returns the smallest number of lines that has the same error as all of them.
func (b *yamlBuilder) firstLineWith(message string) int {
	low, high := 0, len(b.lines)
	for low+1 < high {
		middle := (low + high) / 2
		_, _, err := yamlDocuments(b.src.Text[:b.lines[middle]])
		if err != nil && yamlErrorLine().ReplaceAllString(err.Error(), "") == message {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}

// offset returns the byte at which the parser saw a line and column, both from 1.
func (b *yamlBuilder) offset(line, column int) int {
	if line < 1 || line > len(b.lines) {
		return max(0, len(b.src.Text)-1)
	}
	at := b.lines[line-1]
	for ; column > 1 && at < len(b.src.Text); column-- {
		_, n := utf8.DecodeRune(b.src.Text[at:])
		at += n
	}
	return at
}

// line returns the place of the text in a line, without the blanks around it.
func (b *yamlBuilder) line(number int) Span {
	number = max(1, min(number, len(b.lines)))
	from := b.lines[number-1]
	for from < len(b.src.Text) && (b.src.Text[from] == ' ' || b.src.Text[from] == '\t') {
		from++
	}
	return b.span(from, b.lineEnd(from))
}

// lineEnd returns the offset after the text in the line of at, without the blanks that end it. It looks at a bounded
// part: a file may be one long line, and each of its values asks for this.
func (b *yamlBuilder) lineEnd(at int) int {
	rest := b.src.Text[min(at, len(b.src.Text)):min(at+yamlPlaceMax, len(b.src.Text))]
	if end := bytes.IndexAny(rest, "\r\n"); end >= 0 {
		rest = rest[:end]
	}
	return at + len(bytes.TrimRight(rest, " \t"))
}

// token returns the place of a node without children, or where a block begins.
func (b *yamlBuilder) token(n *yaml.Node) Span {
	from := b.offset(n.Line, n.Column)
	for from < len(b.src.Text) && (b.src.Text[from] == '&' || b.src.Text[from] == '!') {
		for from < len(b.src.Text) && strings.IndexByte(" \t\r\n", b.src.Text[from]) < 0 {
			from++
		}
		for from < len(b.src.Text) && strings.IndexByte(" \t\r\n", b.src.Text[from]) >= 0 {
			from++
		}
	}
	rest := string(b.src.Text[from:b.lineEnd(from)])
	switch {
	case n.Kind == yaml.AliasNode:
		rest = rest[:min(len(rest), len(n.Value)+1)]
	case n.Kind != yaml.ScalarNode:
	case n.Style&yaml.DoubleQuotedStyle != 0:
		rest = quotedToken(rest, '"')
	case n.Style&yaml.SingleQuotedStyle != 0:
		rest = quotedToken(rest, '\'')
	case strings.HasPrefix(rest, n.Value):
		rest = n.Value
	}
	return b.span(from, from+len(rest))
}

// quotedToken cuts line after the quote that ends the string it begins with.
func quotedToken(line string, mark byte) string {
	for i := 1; i < len(line); i++ {
		switch {
		case mark == '"' && line[i] == '\\':
			i++
		case line[i] != mark:
		case mark == '\'' && i+1 < len(line) && line[i+1] == mark:
			i++
		default:
			return line[:i+1]
		}
	}
	return line
}

func (b *yamlBuilder) null(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func (b *yamlBuilder) mapping(table *Node, n *yaml.Node, depth int) {
	leave := b.enter(n)
	defer leave()
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content) && !b.stopped(); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := b.token(name)
		if name.Kind == yaml.AliasNode {
			name = name.Alias
		}
		switch {
		case name.Kind != yaml.ScalarNode || b.null(name):
			b.fault(at, "", "a key is a word, not %s", yamlNoun(name))
			continue
		case name.Style&yaml.TaggedStyle != 0:
			b.fault(at, "", "the tag %s is not supported", Quote(name.Tag))
			continue
		case name.Tag == "!!merge":
			merged = append(merged, value)
			continue
		}
		if old := table.Child(name.Value); old != nil {
			b.rep.Conflictf(at, old.Head, "first at "+old.Head.RelativeTo(at), "%q is set twice", name.Value)
			continue
		}
		if c := b.value(value, at, depth+1); c != nil {
			c.Key, c.Head, c.Name = name.Value, at, at
			table.Add(c)
		}
	}
	for _, m := range merged {
		b.merge(table, m, depth+1)
	}
}

// merge adds what "<<" brings: members that the table does not have itself. n is a mapping, an alias of one, or a list
// of such.
func (b *yamlBuilder) merge(table *Node, n *yaml.Node, depth int) {
	at := b.token(n)
	if n.Kind == yaml.AliasNode {
		if !b.mayExpand(n, at) {
			return
		}
		defer b.expand(at)()
		n = n.Alias
	}
	if n.Kind == yaml.SequenceNode && depth <= nestingMax {
		leave := b.enter(n)
		defer leave()
		for _, c := range n.Content {
			b.merge(table, c, depth+1)
		}
		return
	}
	if n.Kind != yaml.MappingNode || !b.count(at, depth) {
		b.fault(at, "", "\"<<\" takes a mapping or a list of them")
		return
	}
	more := newTable(OriginValue)
	b.mapping(more, n, depth)
	for _, c := range more.Children {
		if table.Child(c.Key) == nil {
			table.Add(c)
		}
	}
}

// value builds the node of n, whose key is at head; elements of lists have none. It returns nil after a fault.
func (b *yamlBuilder) value(n *yaml.Node, head Span, depth int) *Node {
	at := b.token(n)
	if n.Kind == yaml.AliasNode {
		if !b.mayExpand(n, at) {
			return nil
		}
		defer b.expand(at)()
		n = n.Alias
		at = b.token(n)
	}
	if !b.count(at, depth) {
		return nil
	}
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!str" {
		b.fault(at, "", "the tag %s is not supported", Quote(n.Tag))
		return nil
	}
	v := &Node{Origin: OriginValue, Value: at}
	switch n.Kind {
	case yaml.MappingNode:
		v.Kind = KindTable
		b.mapping(v, n, depth)
		v.Value = b.collection(n, at, head, v.Children)
	case yaml.SequenceNode:
		v.Kind = KindList
		b.sequence(v, n, depth)
		v.Value = b.collection(n, at, head, v.Children)
	default:
		if !b.scalar(v, n) {
			return nil
		}
	}
	return v
}

func (b *yamlBuilder) sequence(list *Node, n *yaml.Node, depth int) {
	leave := b.enter(n)
	defer leave()
	for _, element := range n.Content {
		if b.stopped() {
			return
		}
		if c := b.value(element, Span{}, depth+1); c != nil {
			c.Head, c.Name = c.Value, c.Value
			list.Children = append(list.Children, c)
		}
	}
}

// collection returns the place of a mapping or list: all of it when it has brackets, else its key or its first member.
func (b *yamlBuilder) collection(n *yaml.Node, at, head Span, children []*Node) Span {
	if n.Style&yaml.FlowStyle == 0 {
		if head.IsValid() {
			return head
		}
		if len(children) > 0 {
			return children[0].Head
		}
		return at
	}
	from, to := at.From, at.From+1
	for _, c := range children {
		to = max(to, c.Value.To) // an alias stands elsewhere, maybe below; then the place ends with the line
	}
	closing := byte(']')
	if n.Kind == yaml.MappingNode {
		closing = '}'
	}
	if end := bytes.IndexByte(b.src.Text[to:max(to, b.lineEnd(to))], closing); end >= 0 {
		return b.span(from, to+end+1)
	}
	return b.span(from, b.lineEnd(from))
}

// enter notes that n is being walked through and returns how to leave it.
func (b *yamlBuilder) enter(n *yaml.Node) (leave func()) {
	b.open = append(b.open, n)
	return func() { b.open = b.open[:len(b.open)-1] }
}

// mayExpand reports whether the value of the alias n may be put in its place.
func (b *yamlBuilder) mayExpand(n *yaml.Node, at Span) bool {
	if slices.Contains(b.open, n.Alias) {
		b.fault(at, "", "the anchor %s contains itself", Quote(n.Value))
		return false
	}
	return !b.stopped()
}

// expand notes that the alias at at is being expanded and returns how to end that.
func (b *yamlBuilder) expand(at Span) (end func()) {
	if b.aliases == 0 {
		b.outer = at
	}
	b.aliases++
	return func() { b.aliases-- }
}

// count counts a node that an alias brings, and refuses what is too much or too deep.
func (b *yamlBuilder) count(at Span, depth int) bool {
	if b.stopped() {
		return false
	}
	if depth > nestingMax {
		b.fault(at, "", "nested more than %d levels deep", nestingMax)
		return false
	}
	if b.aliases == 0 {
		return true
	}
	b.aliased++
	if b.aliased == yamlAliasedMax {
		b.fault(b.outer, "", "aliases stand for more than %d values", yamlAliasedMax)
	}
	return !b.stopped()
}

// stopped reports whether it is pointless to go on.
func (b *yamlBuilder) stopped() bool { return b.aliased >= yamlAliasedMax || b.rep.Full() }

func (b *yamlBuilder) scalar(v *Node, n *yaml.Node) bool {
	v.Text = n.Value
	var err error
	switch n.Tag {
	case "!!null":
		v.Kind = KindNull
	case "!!bool":
		v.Kind = KindBool
		err = n.Decode(&v.Truth)
	case "!!int":
		v.Kind = KindInt
		v.Integer, err = ParseInteger(n.Value)
	case "!!float":
		v.Kind = KindFloat
		// Whole numbers beyond 64 bits are fractions to the parser.
		if _, wrong := strconv.ParseInt(n.Value, 10, 64); errors.Is(wrong, strconv.ErrRange) {
			err = wrong
		} else if err = n.Decode(&v.Fraction); err == nil && math.IsNaN(v.Fraction) {
			err = strconv.ErrSyntax
		}
	case "!!timestamp":
		v.Kind = KindDatetime
	default:
		v.Kind = KindString
	}
	if err == nil {
		return true
	}
	if errors.Is(err, strconv.ErrRange) {
		b.fault(v.Value, "", "the number is too large")
	} else {
		b.fault(v.Value, "a string of digits needs quotes", "not a number")
	}
	return false
}

func yamlNoun(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	}
	return "nothing"
}
