package caddy

import (
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/edge-proxy/edge/config/import/plan"
)

// token is a word of the file.
type token struct {
	text   string
	at     plan.Place
	quoted bool // it stood in quotes, or in a heredoc: a brace in it opens nothing
	first  bool // of its line
	depth  int  // how many imports are around it
}

// opens reports whether t is the brace that opens a block.
func (t token) opens() bool { return t.text == "{" && !t.quoted }

// closes reports whether t is the brace that closes a block.
func (t token) closes() bool { return t.text == "}" && !t.quoted }

// lexer cuts a text into tokens. Quotes, backticks and heredocs are one token each.
type lexer struct {
	text  string
	file  string
	at    int
	line  int
	fresh bool // no token stood on this line yet
	wrong func(at plan.Place, what, why string)
}

// all returns the tokens of the text.
func (l *lexer) all() (list []token) {
	l.line, l.fresh = 1, true
	for l.skipSpace(); l.at < len(l.text); l.skipSpace() {
		t := token{at: plan.Place{File: l.file, Line: l.line}, first: l.fresh}
		l.fresh = false
		switch c := l.text[l.at]; {
		case c == '"' || c == '`':
			t.quoted = true
			t.text = l.quotes(c)
		case strings.HasPrefix(l.text[l.at:], "<<") && heredocMarker(l.text[l.at+2:]) != "":
			t.quoted = true
			t.text = l.heredoc(t.at)
		default:
			t.text = l.word()
		}
		list = append(list, t)
	}
	return list
}

// skipSpace skips space, comments, and line ends with a backslash before them.
func (l *lexer) skipSpace() {
	for l.at < len(l.text) {
		r, size := utf8.DecodeRuneInString(l.text[l.at:])
		switch {
		case r == '\n':
			l.line++
			l.fresh = true
		case r == '#':
			size = strings.IndexByte(l.text[l.at:], '\n')
			if size < 0 {
				size = len(l.text) - l.at
			}
		case r == '\\' && continued(l.text[l.at+1:]) > 0:
			size += continued(l.text[l.at+1:])
			l.line++
		case !unicode.IsSpace(r):
			return
		}
		l.at += size
	}
}

// continued returns the length of the line end that text begins with.
func continued(text string) int {
	if strings.HasPrefix(text, "\r\n") {
		return 2
	}
	return len(text) - len(strings.TrimPrefix(text, "\n"))
}

// quotes reads a string. In "…" a backslash escapes a quotation mark. In `…` there are no escapes.
func (l *lexer) quotes(mark byte) string {
	var b strings.Builder
	for l.at++; l.at < len(l.text); l.at++ {
		c := l.text[l.at]
		switch {
		case c == mark:
			l.at++
			return b.String()
		case c == '\\' && mark == '"' && strings.HasPrefix(l.text[l.at+1:], `"`):
			l.at++
			c = '"'
		case c == '\n':
			l.line++
		}
		b.WriteByte(c)
	}
	l.wrong(plan.Place{File: l.file, Line: l.line}, "the end of the file", "a quotation mark is not closed")
	return b.String()
}

// word reads a word without quotes.
func (l *lexer) word() string {
	var b strings.Builder
	for l.at < len(l.text) {
		r, size := utf8.DecodeRuneInString(l.text[l.at:])
		if unicode.IsSpace(r) || r == '\\' && continued(l.text[l.at+1:]) > 0 {
			break
		}
		if r == '\\' && b.Len() == 0 && strings.HasPrefix(l.text[l.at+1:], "<") { // \<< is no heredoc
			l.at += size
			continue
		}
		b.WriteString(l.text[l.at : l.at+size])
		l.at += size
	}
	return b.String()
}

// heredocMarker returns the marker of a heredoc whose text after "<<" this is, or "".
func heredocMarker(text string) string {
	line, _, found := strings.Cut(text, "\n")
	line = strings.TrimRight(line, "\r")
	for _, c := range []byte(line) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return ""
		}
	}
	if !found {
		return ""
	}
	return line
}

// heredoc reads the lines up to the marker. The space before the marker is removed from each line.
func (l *lexer) heredoc(at plan.Place) string {
	rest := l.text[l.at+2:]
	marker := heredocMarker(rest)
	rest = rest[strings.IndexByte(rest, '\n')+1:]
	body, _, found := strings.Cut(rest, marker)
	if !found {
		l.wrong(at, "<<"+marker, "the file ends within it")
		l.at = len(l.text)
		return ""
	}
	l.line += 1 + strings.Count(body, "\n")
	l.at = len(l.text) - len(rest) + len(body) + len(marker)
	end := strings.LastIndexByte(body, '\n') + 1
	padding := body[end:]
	lines := strings.Split(strings.TrimSuffix(body[:end], "\n"), "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, "\r")
		if line != "" && !strings.HasPrefix(line, padding) {
			l.wrong(at, "<<"+marker, "a line of it does not begin with the space that its end begins with")
		}
		lines[i] = strings.TrimPrefix(line, padding)
	}
	return strings.Join(lines, "\n")
}

// withEnvironment replaces {$NAME} and {$NAME:default} in a text by what the environment has, and calls named for
// each.
func withEnvironment(text string, named func(line int, name, why string, lost bool)) string {
	var b strings.Builder
	line := 1
	for {
		before, after, found := strings.Cut(text, "{$")
		b.WriteString(before)
		line += strings.Count(before, "\n")
		inner, rest, closed := strings.Cut(after, "}")
		if !found || !closed {
			b.WriteString(text[len(before):])
			return b.String()
		}
		name, standIn, hasDefault := strings.Cut(inner, ":")
		value, set := os.LookupEnv(name)
		switch {
		case name == "":
			value = "{$" + inner + "}"
		case set:
			named(line, inner, "the environment has it; ${"+name+"} in edge.toml reads that of edge", false)
		case hasDefault:
			value = standIn
			named(line, inner, "its default; ${"+name+":-…} in edge.toml reads the environment of edge", false)
		default:
			named(line, inner, "the environment of the import does not have it: it is empty", true)
		}
		b.WriteString(value)
		line += strings.Count(inner, "\n")
		text = rest
	}
}
