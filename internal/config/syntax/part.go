package syntax

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Part returns the place of the bytes from offset from up to offset to of the text of the string n: inside its quotes,
// whatever they are. Where a byte was written as an escape, the place has all of the escape. At the end of the text it
// is what ends the string. Where the file does not have the text as it is, because of ${…}, it is the whole string.
//
// The string is read once more for that: a tree keeps no table of the places of its characters.
func (n *Node) Part(from, to int) Span {
	if n.Kind != KindString || n.Value.Source == nil || from < 0 || to > len(n.Text) {
		return n.Value
	}
	r := rereader{src: n.Value.Source.Text, want: n.Text, from: from, to: max(from, to)}
	indents := 1
	if n.Value.Source.Colon && isBlock(r.src, n.Value.From) {
		indents = r.blockIndent(n.Value.From)
	}
	least := max(0, indents-indentsMax)
	for ; indents > least; indents-- { // but for blocks of YAML that say how far they are indented, the first is right
		if r.read(n.Value, indents) {
			return r.span(n.Value.Source)
		}
	}
	return n.Value
}

// indentsMax is how many blanks a block of YAML may begin with, beyond its indentation, for its parts to be found.
const indentsMax = 64

// rereader reads a string a second time and notes where a part of its text stands. It knows the text, so that it can
// tell when it has gone astray: it accepts a little more than the parsers do.
// Owned by its goroutine.
type rereader struct {
	src        []byte
	at         int // the next byte of src
	want       string
	done       int  // bytes of want that were found
	from, to   int  // the part of want
	begin, end int  // where it stands in src; below 0: that was not reached yet
	astray     bool // what stands there is not want
}

// read reads the string that stands at a place, and reports whether its text is want.
func (r *rereader) read(value Span, indent int) bool {
	r.at, r.done, r.begin, r.end, r.astray = value.From, 0, -1, -1, false
	rest := string(r.src[r.at:min(r.at+3, len(r.src))])
	switch colon := value.Source.Colon; {
	case colon && isBlock(r.src, r.at):
		r.block(indent)
	case !colon && (rest == `"""` || rest == "'''"):
		r.at += 3
		r.lineEnd()
		r.toml(rest[0] == '"')
	case !colon && (strings.HasPrefix(rest, `"`) || strings.HasPrefix(rest, "'")):
		r.at++
		r.toml(rest[0] == '"')
	case !colon: // of a command line, which needs no quotes
		r.toml(false)
	case strings.HasPrefix(rest, `"`):
		r.at++
		r.flow('"')
	case strings.HasPrefix(rest, "'"):
		r.at++
		r.flow('\'')
	default:
		r.flow(0)
	}
	return !r.astray && r.done == len(r.want)
}

// span returns the place that read has found.
func (r *rereader) span(src *Source) Span {
	if r.begin < 0 { // the end of the text
		r.begin = min(r.at, len(r.src)-1)
	}
	if r.end <= r.begin {
		_, size := utf8.DecodeRune(r.src[r.begin:])
		r.end = r.begin + size
	}
	return Span{src, r.begin, min(r.end, len(r.src))}
}

func (r *rereader) more() bool { return !r.astray && r.done < len(r.want) && r.at < len(r.src) }

// found notes that the next bytes of the text, text, stand at r.at and take so many bytes there.
func (r *rereader) found(text string, raw int) {
	if !strings.HasPrefix(r.want[r.done:], text) {
		r.astray = true
		return
	}
	next := r.done + len(text)
	verbatim := len(text) == raw
	if r.begin < 0 && r.from < next {
		r.begin = r.at
		if verbatim {
			r.begin += r.from - r.done
		}
	}
	if r.end < 0 && r.to > r.done && r.to <= next {
		r.end = r.at + raw
		if verbatim {
			r.end -= next - r.to
		}
	}
	r.done = next
	r.at += raw
}

// verbatim finds one byte that stands for itself.
func (r *rereader) verbatim() { r.found(string(r.src[r.at:r.at+1]), 1) }

// lineEnd skips the end of a line, and reports whether there was one.
func (r *rereader) lineEnd() bool {
	switch {
	case r.at < len(r.src) && r.src[r.at] == '\n':
		r.at++
	case r.at+1 < len(r.src) && r.src[r.at] == '\r' && r.src[r.at+1] == '\n':
		r.at += 2
	default:
		return false
	}
	return true
}

func (r *rereader) blanks() {
	for r.at < len(r.src) && (r.src[r.at] == ' ' || r.src[r.at] == '\t') {
		r.at++
	}
}

// toml reads a string of TOML after its quotes.
func (r *rereader) toml(escapes bool) {
	for r.more() {
		if !escapes || r.src[r.at] != '\\' {
			r.verbatim()
			continue
		}
		begin := r.at
		r.at++
		r.blanks()
		if !r.lineEnd() {
			r.at = begin
			r.escape()
			continue
		}
		for r.blanks(); r.lineEnd(); r.blanks() {
		}
	}
}

// simpleEscapes are the escapes of all formats; where two of them have one letter, it stands for the same.
var simpleEscapes = map[byte]string{
	'b': "\b", 't': "\t", 'n': "\n", 'f': "\f", 'r': "\r", 'e': "\x1b", '"': `"`, '\\': `\`, '/': "/", '0': "\x00",
	'a': "\a", 'v': "\v", ' ': " ", '\t': "\t", 'N': "\u0085", '_': "\u00a0", 'L': "\u2028", 'P': "\u2029",
}

// escape reads a backslash and what comes after it.
func (r *rereader) escape() {
	if r.at+1 >= len(r.src) {
		r.astray = true
		return
	}
	letter := r.src[r.at+1]
	if text := simpleEscapes[letter]; text != "" {
		r.found(text, 2)
		return
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[letter]
	first, ok := r.hex(r.at+2, digits)
	size := 2 + digits
	if utf16.IsSurrogate(first) && r.at+size+1 < len(r.src) && r.src[r.at+size+1] == 'u' { // of JSON
		second, _ := r.hex(r.at+size+2, 4)
		if first = utf16.DecodeRune(first, second); first != utf8.RuneError {
			size += 6
		}
	}
	r.astray = r.astray || !ok
	r.found(string(first), size)
}

// hex reads digits of base 16.
func (r *rereader) hex(at, digits int) (value rune, ok bool) {
	if digits == 0 || at+digits > len(r.src) {
		return utf8.RuneError, false
	}
	for _, c := range r.src[at : at+digits] {
		i := strings.IndexByte("0123456789abcdef", c|0x20)
		if i < 0 {
			return utf8.RuneError, false
		}
		value = value<<4 | rune(i)
	}
	return value, true
}

// flow reads a string of YAML or JSON after its quote, or a plain one of YAML: lines are folded.
func (r *rereader) flow(quote byte) {
	for r.more() {
		begin, c := r.at, r.src[r.at]
		switch {
		case quote == '"' && c == '\\':
			if r.at++; r.lineEnd() {
				r.fold(begin, true)
				continue
			}
			r.at = begin
			r.escape()
		case quote == '\'' && c == '\'':
			r.found("'", 2)
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			if r.blanks(); r.lineEnd() {
				r.fold(begin, false)
				continue
			}
			text := string(r.src[begin:max(begin+1, r.at)])
			r.at = begin
			r.found(text, len(text))
		default:
			r.verbatim()
		}
	}
}

// fold finds what the ends of lines from begin on become, of which the first one was read: a blank, or the ends of the
// empty lines. The end of a line that is escaped becomes nothing.
func (r *rereader) fold(begin int, escaped bool) {
	text := ""
	for r.blanks(); r.lineEnd(); r.blanks() {
		text += "\n"
	}
	if text == "" && !escaped {
		text = " "
	}
	if text != "" {
		size := r.at - begin
		r.at = begin
		r.found(text, size)
	}
}

// isBlock reports whether a block scalar of YAML begins at an offset.
func isBlock(src []byte, at int) bool { return at < len(src) && (src[at] == '|' || src[at] == '>') }

// blockIndent returns how far the first line of the block that begins at an offset is indented.
func (r *rereader) blockIndent(from int) int {
	r.at = from
	r.skipLine()
	for begin := r.at; ; begin = r.at {
		r.blanks()
		if indent := r.at - begin; !r.lineEnd() {
			return max(1, indent)
		}
	}
}

func (r *rereader) skipLine() {
	for r.at < len(r.src) && !r.lineEnd() {
		r.at++
	}
}

// block reads a block scalar of YAML, whose lines are indented so far.
func (r *rereader) block(indent int) {
	folded := r.src[r.at] == '>'
	r.skipLine()
	begin := r.at // of what separates two lines of text
	breaks, wasBlank := r.indented(indent), false
	first := true
	for r.more() {
		blank := r.src[r.at] == ' ' || r.src[r.at] == '\t'
		text := strings.Repeat("\n", breaks)
		switch {
		case first:
		case !folded || blank || wasBlank:
			text += "\n"
		case breaks == 0:
			text = " "
		}
		if size := r.at - begin; text != "" {
			r.at = begin
			r.found(text, size)
		}
		for r.more() && r.src[r.at] != '\n' && r.src[r.at] != '\r' {
			r.verbatim()
		}
		begin, first, wasBlank = r.at, false, blank
		if !r.lineEnd() {
			break
		}
		breaks = r.indented(indent)
		if tail := strings.Repeat("\n", breaks+1); r.want[min(r.done, len(r.want)):] != "" &&
			strings.Trim(r.want[r.done:], "\n") == "" && len(r.want)-r.done <= len(tail) {
			rest := len(r.want) - r.done // how the block ends: with all of them, with one, or with none
			size := r.at - begin
			r.at = begin
			r.found(tail[:rest], size)
		}
	}
}

// indented skips empty lines, and the indentation of the next line. It returns how many there were.
func (r *rereader) indented(indent int) (empty int) {
	for {
		begin := r.at
		for r.at < len(r.src) && r.at-begin < indent && r.src[r.at] == ' ' {
			r.at++
		}
		if !r.lineEnd() {
			return empty
		}
		empty++
	}
}
