package format

import (
	"bytes"
	"strings"

	"github.com/edge-proxy/edge/internal/config/syntax"
)

// statement is what a file has at its top level: a header, a key with its value, or a comment on lines of its own.
// The elements of lists and inline tables are statements too; elements of a list have no key.
type statement struct {
	gap    bool     // blank lines stand before it
	joined bool     // inside brackets: it begins on the line of the one before
	header string   // the brackets of a header: "[" or "[["
	key    []string // as they are written: bare or with quotes
	value  *value   // nil: a header or a comment
	note   string   // the comment at its end, or the comment that it is
}

// value is a scalar, or a list or inline table with its elements.
type value struct {
	text     string      // of a scalar, as it is written
	open     byte        // '[', '{', or 0 for a scalar
	note     string      // the comment after the opening bracket
	elements []statement // comments are among them
	broken   bool        // its elements stand on several lines, or comments among them
}

// scanner walks over a text that package syntax has taken. Once it has failed, its statements are of no use.
type scanner struct {
	text   []byte
	at     int
	failed bool // the text is not what TOML looks like to this scanner
}

func (s *scanner) statements() (all []statement) {
	for {
		gap := s.lineEnds() > 1
		if s.at >= len(s.text) || s.failed {
			return all
		}
		st := statement{gap: gap}
		switch s.peek() {
		case '#':
			st.note = s.comment()
		case '[':
			st.header = "["
			s.at++
			if s.peek() == '[' {
				st.header = "[["
				s.at++
			}
			st.key = s.key(']')
			s.at += len(st.header)
		default:
			st.key = s.key('=')
			s.at++
			st.value = s.value()
		}
		if s.blanks(); st.note == "" && s.peek() == '#' {
			st.note = s.comment()
		}
		if c := s.peek(); c != '\n' && c != 0 {
			s.failed = true
		}
		all = append(all, st)
	}
}

// peek returns the next byte, 0 at the end. It skips a carriage return.
func (s *scanner) peek() byte {
	if s.at < len(s.text) && s.text[s.at] == '\r' {
		s.at++
	}
	if s.at >= len(s.text) {
		return 0
	}
	return s.text[s.at]
}

func (s *scanner) blanks() {
	for c := s.peek(); c == ' ' || c == '\t'; c = s.peek() {
		s.at++
	}
}

// lineEnds skips blanks and line ends, and counts the latter.
func (s *scanner) lineEnds() (n int) {
	for s.blanks(); s.peek() == '\n'; s.blanks() {
		s.at++
		n++
	}
	return n
}

// comment returns the comment that begins here, up to the end of its line.
func (s *scanner) comment() string {
	rest := s.text[s.at:]
	if end := bytes.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end]
	}
	s.at += len(rest)
	return string(bytes.TrimRight(rest, " \t\r"))
}

// key returns the parts of a key, and stops before the byte that ends it.
func (s *scanner) key(end byte) (parts []string) {
	for {
		s.blanks()
		switch c := s.peek(); {
		case c == end && len(parts) > 0:
			return parts
		case c == '.' && len(parts) > 0:
			s.at++
		case c == '"' || c == '\'':
			parts = append(parts, bare(s.quoted()))
		case syntax.IsBareKey(string(c)):
			from := s.at
			for syntax.IsBareKey(string(s.peek())) {
				s.at++
			}
			parts = append(parts, string(s.text[from:s.at]))
		default:
			s.failed = true
			return parts
		}
	}
}

// bare returns a quoted key without quotes where it needs none.
func bare(key string) string {
	if inner := key[1 : len(key)-1]; syntax.IsBareKey(inner) {
		return inner
	}
	return key
}

func (s *scanner) value() *value {
	s.blanks()
	switch c := s.peek(); c {
	case '"', '\'':
		return &value{text: s.quoted()}
	case '[':
		return s.bracketed(']')
	case '{':
		return s.bracketed('}')
	}
	from := s.at
	for c := s.peek(); c != 0 && strings.IndexByte("\n,]}#", c) < 0; c = s.peek() {
		s.at++
	}
	text := bytes.TrimRight(s.text[from:s.at], " \t\r")
	s.failed = s.failed || len(text) == 0
	return &value{text: string(text)}
}

// quoted returns the string that begins here, with its quotes.
func (s *scanner) quoted() string {
	from, quote := s.at, s.text[s.at]
	marks := bytes.Repeat([]byte{quote}, 3)
	several := bytes.HasPrefix(s.text[s.at:], marks)
	if !several {
		marks = marks[:1]
	}
	for s.at += len(marks); s.at < len(s.text); s.at++ {
		if s.text[s.at] == '\\' && quote == '"' {
			s.at++
		} else if bytes.HasPrefix(s.text[s.at:], marks) {
			s.at += len(marks)
			for several && s.at < len(s.text) && s.text[s.at] == quote { // up to two belong to the string
				s.at++
			}
			text := string(s.text[from:s.at])
			if several || quote == '"' {
				return text
			}
			return plainQuotes(text)
		}
	}
	s.at, s.failed = len(s.text), true
	return `""`
}

// plainQuotes returns a string in single quotes with double ones, where it says the same between them.
func plainQuotes(text string) string {
	inner := text[1 : len(text)-1]
	if strings.ContainsAny(inner, `"\`) {
		return text
	}
	return `"` + inner + `"`
}

// bracketed returns the list or inline table that begins here.
func (s *scanner) bracketed(end byte) *value {
	v := &value{open: s.text[s.at]}
	s.at++
	if s.blanks(); s.peek() == '#' {
		v.note = s.comment()
	}
	for {
		ends := s.lineEnds()
		v.broken = v.broken || ends > 0
		st := statement{gap: ends > 1 && len(v.elements) > 0, joined: ends == 0}
		switch c := s.peek(); {
		case s.failed || c == 0:
			s.failed = true
			return v
		case c == end:
			s.at++
			return v
		case c == ',':
			s.at++
			s.noteAfter(v)
			continue
		case c == '#':
			st.note = s.comment()
		default:
			if end == '}' {
				st.key = s.key('=')
				s.at++
			}
			st.value = s.value()
		}
		v.elements = append(v.elements, st)
		s.noteAfter(v)
	}
}

// noteAfter reads the comment at the end of the line of the last element.
func (s *scanner) noteAfter(v *value) {
	s.blanks()
	if s.peek() != '#' || len(v.elements) == 0 {
		return
	}
	last := &v.elements[len(v.elements)-1]
	if last.value == nil || last.note != "" {
		v.elements = append(v.elements, statement{note: s.comment()})
		return
	}
	last.note = s.comment()
}
