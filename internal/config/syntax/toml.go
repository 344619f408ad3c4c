package syntax

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/edge-proxy/edge/internal/base/yield"
)

const nestingMax = 64 // files that people write stay far below; it bounds the recursion of all that walks a tree

// parsers are reused: each has kilobytes for its nodes, and a schema parses hundreds of short texts.
var parsers = sync.Pool{New: func() any { return new(unstable.Parser) }}

// ParseTOML is ParseTree for TOML. After a syntax error it goes on at the next line that looks like a beginning, so
// that one slip does not hide others.
func ParseTOML(src *Source, rep *Report) (root *Node, whole bool) {
	b := &tomlBuilder{builder: builder{src: src, rep: rep}, root: newTable(OriginHeader)}
	b.parser = parsers.Get().(*unstable.Parser)
	defer parsers.Put(b.parser)
	b.current = b.root
	var pace yield.Pace
	for b.base < len(src.Text) && !rep.Full() {
		b.parser.Reset(src.Text[b.base:])
		for b.parser.NextExpression() {
			pace.Step()
			b.expression(b.parser.Expression())
		}
		err := b.parser.Error()
		if err == nil {
			break
		}
		b.base = b.recover(b.syntaxError(err))
	}
	return b.root, !b.broken
}

// tomlBuilder turns expressions into nodes and keeps TOML's rules about defining things twice.
type tomlBuilder struct {
	builder
	parser  *unstable.Parser
	base    int // offset of the text the parser was last given
	root    *Node
	current *Node // the table that key-values go to
}

func (b *tomlBuilder) offset(r unstable.Range) (from, to int) {
	from = b.base + int(r.Offset)
	return from, from + int(r.Length)
}

// syntaxError reports err and returns the offset it points at.
func (b *tomlBuilder) syntaxError(err error) int {
	b.broken = true
	from, to := len(b.src.Text), len(b.src.Text)
	var perr *unstable.ParserError
	if errors.As(err, &perr) {
		from, to = b.offset(b.parser.Range(perr.Highlight))
	}
	// An error at the very end points at the last character, which has a line to show.
	if from >= len(b.src.Text) {
		from, to = len(b.src.Text)-1, len(b.src.Text)
	}
	if word := b.bareWord(from); word.IsValid() {
		text := string(b.src.Text[word.From:word.To])
		if hint := TruthHint(text); hint != "" {
			b.rep.Errorf(word, hint, "%s is not a value of TOML", text)
		} else {
			b.rep.Errorf(word, "write "+Quote(text), "a string needs quotes")
		}
		return from
	}
	if word := b.truthAt(from); word.IsValid() {
		text := string(b.src.Text[word.From:word.To])
		b.rep.Errorf(word, TruthHint(text), "%s is not a value of TOML", text)
		return from
	}
	at := b.span(from, max(to, from+1))
	message := strings.TrimPrefix(err.Error(), "toml: ")
	r, size := utf8.DecodeRune(b.src.Text[from:])
	if strings.ContainsRune("“”„‟‘’«»", r) {
		at.To, message = from+size, "a quotation mark of printed text"
	}
	b.rep.Errorf(at, tomlHint(r, message), "%s", message)
	return from
}

// tomlHint says what r is likely to mean where the parser refused it with message.
func tomlHint(r rune, message string) string {
	switch {
	case message == "a quotation mark of printed text":
		return "write \" before and after a string"
	case strings.HasSuffix(message, "strings cannot have new lines"):
		return "the quotation mark at the end is missing"
	case r == ';' || r == ',' && strings.HasPrefix(message, "expected newline"):
		return "nothing stands at the end of a line"
	case (r == '\n' || r == '\r') && strings.HasSuffix(message, "at start of value"):
		return "the value is missing; a list has brackets"
	case strings.HasPrefix(message, "invalid escape"):
		return BackslashHint
	case r == '/' && strings.HasPrefix(message, "invalid character at start of key"):
		return "a comment begins with #"
	case strings.HasPrefix(message, "expected ']' to close table name"):
		return "write ] after the name of a section"
	case strings.HasPrefix(message, "expected '=' after key"):
		return "write key = value"
	}
	return ""
}

// BackslashHint is the hint for a string with a backslash that meant itself.
const BackslashHint = "a backslash is written twice, or the string stands in single quotes"

// truthAt returns the word at an offset when other formats take it for true or false.
func (b *tomlBuilder) truthAt(from int) Span {
	to := from
	for to < len(b.src.Text) && IsLetterOrDigit(b.src.Text[to]) {
		to++
	}
	if TruthHint(string(b.src.Text[from:to])) == "" {
		return Span{}
	}
	return b.span(from, to)
}

// unquoted is a line whose value is a single word that is not a number.
var unquoted = Expr(`^[ \t]*[\w.-]+[ \t]*=[ \t]*` +
	`([A-Za-z/:][^\s#"',]*|[0-9]+[.:/][^\s#"',]*[.:/][^\s#"',]*)[ \t]*(#.*)?$`)

// bareWord returns the value of the line that holds at, when an error there means that its quotes are missing.
func (b *tomlBuilder) bareWord(at int) Span {
	number := b.src.lineAt(at)
	match := unquoted().FindSubmatchIndex(b.src.line(number))
	if match == nil {
		return Span{}
	}
	start := b.src.lines[number-1]
	return b.span(start+match[2], start+match[3])
}

// recover returns the offset of the line after at where parsing can go on: the next header when a header is broken,
// since its keys would land in the wrong table, else the next line that starts a header or a key.
func (b *tomlBuilder) recover(at int) int {
	number := b.src.lineAt(at)
	header := bytes.HasPrefix(bytes.TrimLeft(b.src.line(number), " \t"), []byte("["))
	for number++; number <= len(b.src.lines); number++ {
		line := bytes.TrimLeft(b.src.line(number), " \t")
		if bytes.HasPrefix(line, []byte("[")) || !header && startsKey(line) {
			return b.src.lines[number-1]
		}
	}
	return len(b.src.Text)
}

func startsKey(line []byte) bool {
	key, _, found := bytes.Cut(line, []byte("="))
	key = bytes.TrimRight(key, " \t")
	return found && IsBareKey(strings.ReplaceAll(string(key), ".", "_"))
}

func (b *tomlBuilder) expression(n *unstable.Node) {
	switch n.Kind {
	case unstable.Table:
		b.header(b.keyParts(n), false)
	case unstable.ArrayTable:
		b.header(b.keyParts(n), true)
	case unstable.KeyValue:
		b.keyValue(b.current, n, 0)
	}
}

// part is one step of a dotted key.
type part struct {
	key string
	at  Span
}

func (b *tomlBuilder) keyParts(n *unstable.Node) []part {
	var parts []part
	for it := n.Key(); it.Next(); {
		from, to := b.offset(it.Node().Raw)
		parts = append(parts, part{string(it.Node().Data), b.span(from, to)})
	}
	return parts
}

// header enters [a.b] or, as a list, [[a.b]].
func (b *tomlBuilder) header(parts []part, list bool) {
	head := b.headerSpan(parts)
	at := b.root
	for _, p := range parts[:len(parts)-1] {
		next := at.Child(p.key)
		if next == nil {
			next = newTable(OriginImplicit)
			next.Key, next.Name, next.Head, next.Value = p.key, p.at, head, head
			at.Add(next)
		}
		if next.Origin == OriginList {
			next = next.Children[len(next.Children)-1]
		}
		if next.Kind != KindTable || next.Origin == OriginValue {
			b.leaveOut(head, next, "%q is already a value", p.key)
			return
		}
		at = next
	}
	path := ""
	for _, p := range parts {
		path = JoinKey(path, p.key)
	}
	if list {
		b.listHeader(at, parts[len(parts)-1], head, path)
	} else {
		b.tableHeader(at, parts[len(parts)-1], head, path)
	}
}

func (b *tomlBuilder) tableHeader(at *Node, last part, head Span, path string) {
	n := at.Child(last.key)
	switch {
	case n == nil:
		n = newTable(OriginHeader)
		n.Key = last.key
		at.Add(n)
	case n.Origin == OriginImplicit:
		n.Origin = OriginHeader
	case n.Origin == OriginHeader:
		// Its keys still go there, so that they are checked as well.
		b.conflict(head, n, "[%s] is there twice", path)
		b.current = n
		return
	case n.Origin == OriginList:
		b.leaveOut(head, n, "[%s] is already a list", path)
		return
	default:
		b.leaveOut(head, n, "%q is already a value", path)
		return
	}
	n.Name, n.Head, n.Value = last.at, head, head
	b.current = n
}

func (b *tomlBuilder) listHeader(at *Node, last part, head Span, path string) {
	list := at.Child(last.key)
	if list == nil {
		list = &Node{Kind: KindList, Key: last.key, Origin: OriginList, Name: last.at, Head: head, Value: head}
		at.Add(list)
	}
	if list.Origin != OriginList {
		b.leaveOut(head, list, "[[%s]] is already something else", path)
		return
	}
	n := newTable(OriginHeader)
	n.Name, n.Head, n.Value = last.at, head, head
	list.Children = append(list.Children, n)
	b.current = n
}

// headerSpan widens the span of a header's key to its brackets.
func (b *tomlBuilder) headerSpan(parts []part) Span {
	from, to := parts[0].at.From, parts[len(parts)-1].at.To
	for from > 0 && strings.IndexByte(" \t[", b.src.Text[from-1]) >= 0 {
		from--
		if from == 0 || b.src.Text[from-1] == '\n' {
			break
		}
	}
	for from < to && b.src.Text[from] != '[' {
		from++
	}
	for to < len(b.src.Text) && strings.IndexByte(" \t]", b.src.Text[to]) >= 0 {
		to++
	}
	for b.src.Text[to-1] != ']' && to > from+1 {
		to--
	}
	return b.span(from, to)
}

// keyValue puts key = value into the table at and returns the offset after it.
func (b *tomlBuilder) keyValue(at *Node, n *unstable.Node, depth int) int {
	parts := b.keyParts(n)
	last := parts[len(parts)-1]
	v, end := b.value(n.Value(), b.skipTo(last.at.To, '='), depth)
	if v == nil {
		return end
	}
	for _, p := range parts[:len(parts)-1] {
		next := at.Child(p.key)
		if next == nil {
			next = newTable(OriginDotted)
			next.Key, next.Name, next.Head, next.Value = p.key, p.at, p.at, p.at
			at.Add(next)
		}
		if next.Origin != OriginDotted {
			b.conflict(p.at, next, "%q is set twice", p.key)
			return end
		}
		at = next
	}
	if old := at.Child(last.key); old != nil {
		b.conflict(last.at, old, "%q is set twice", last.key)
		return end
	}
	v.Key, v.Name, v.Head = last.key, last.at, last.at
	at.Add(v)
	return end
}

// value builds the node of a value that starts at from, and returns the offset after it. The parser gives arrays and
// inline tables no range of their own, so their ends are found by walking over what separates their children.
func (b *tomlBuilder) value(n *unstable.Node, from, depth int) (*Node, int) {
	if depth > nestingMax {
		b.fault(b.span(from, from+1), "", "nested more than %d levels deep", nestingMax)
		return nil, from + 1
	}
	v := &Node{Origin: OriginValue}
	end := from
	switch n.Kind {
	case unstable.Array:
		v.Kind = KindList
		end++
		for it := n.Children(); it.Next(); {
			var element *Node
			element, end = b.value(it.Node(), b.skip(end), depth+1)
			if element == nil {
				return nil, end
			}
			element.Head, element.Name = element.Value, element.Value
			v.Children = append(v.Children, element)
		}
		end = b.skip(end) + 1
	case unstable.InlineTable:
		v.Kind = KindTable
		end++
		for it := n.Children(); it.Next(); {
			end = b.keyValue(v, it.Node(), depth+1)
			if b.rep.Full() {
				return nil, end
			}
		}
		closeInline(v)
		end = b.skip(end) + 1
	default:
		_, end = b.offset(n.Raw)
		if !b.scalar(v, n, b.span(from, end)) {
			return nil, end
		}
	}
	end = min(end, len(b.src.Text))
	v.Value = b.span(from, end)
	return v, end
}

// closeInline marks the tables that dotted keys made inside an inline table as values: nothing may be added to them.
func closeInline(n *Node) {
	for _, c := range n.Children {
		if c.Origin == OriginDotted {
			c.Origin = OriginValue
			closeInline(c)
		}
	}
}

// scalar sets v to what n says. A number that is none is as bad as a syntax error.
func (b *tomlBuilder) scalar(v *Node, n *unstable.Node, at Span) bool {
	v.Text = string(n.Data)
	var err error
	switch n.Kind {
	case unstable.String:
		v.Kind = KindString
	case unstable.Bool:
		v.Kind, v.Truth = KindBool, v.Text == "true"
	case unstable.Integer:
		v.Kind = KindInt
		v.Integer, err = ParseInteger(v.Text)
	case unstable.Float:
		v.Kind = KindFloat
		v.Fraction, err = strconv.ParseFloat(strings.ReplaceAll(v.Text, "_", ""), 64)
	default:
		v.Kind = KindDatetime
	}
	if err == nil {
		return true
	}
	message := "not a number"
	if errors.Is(err, strconv.ErrRange) {
		message = "the number is too large"
	}
	b.fault(at, "", "%s", message)
	return false
}

// ParseInteger reads a whole number as TOML writes it: decimal, or with a prefix such as 0x.
func ParseInteger(s string) (int64, error) {
	digits := strings.TrimLeft(s, "+-")
	if len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
		return 0, strconv.ErrSyntax // strconv would take it for an octal number, TOML forbids it
	}
	return strconv.ParseInt(s, 0, 64)
}

// skip returns the offset of the first byte from at on that is not a blank, line end, comma or comment.
func (b *tomlBuilder) skip(at int) int {
	for at < len(b.src.Text) {
		switch b.src.Text[at] {
		case ' ', '\t', '\r', '\n', ',':
			at++
		case '#':
			for at < len(b.src.Text) && b.src.Text[at] != '\n' {
				at++
			}
		default:
			return at
		}
	}
	return at
}

// skipTo returns the offset of what follows the separator c and its blanks.
func (b *tomlBuilder) skipTo(at int, c byte) int {
	for at < len(b.src.Text) && b.src.Text[at] != c {
		at++
	}
	return b.skip(at + 1)
}

func (b *tomlBuilder) conflict(at Span, old *Node, format string, args ...any) {
	b.rep.Conflictf(at, old.ConflictSpan(), "first at "+old.ConflictSpan().RelativeTo(at), format, args...)
}

// leaveOut reports a header that has no place in the tree. Its keys go to a table outside the tree.
func (b *tomlBuilder) leaveOut(at Span, old *Node, format string, args ...any) {
	b.broken = true
	b.conflict(at, old, format, args...)
	b.current = newTable(OriginHeader)
}
