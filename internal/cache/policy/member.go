package policy

import (
	"bytes"

	"github.com/edge-proxy/edge/message"
)

// member is one member of Cache-Control: name [ "=" ( token / quoted-string ) ], RFC 9111 §5.2; or of a dictionary. It
// aliases its line.
type member struct {
	name, argument []byte // the argument without its quotation marks, otherwise as it came
	bare           bool   // it has no argument
	number, text   bool   // the argument may be seconds, or names of fields
	malformed      bool   // it is no directive, or there are quotation marks where none belong
}

// namesFields reports whether the argument is the names of one or more fields. A "'" in a name is not valid here,
// although it may stand in a token: a backend that writes it takes it for a quotation mark.
func (m *member) namesFields() (ok bool) {
	for list, more := m.argument, m.text; more; {
		var name []byte
		if name, list, more = message.CutElement(list); len(name) == 0 {
			continue
		}
		if !message.ValidName(name) || bytes.IndexByte(name, '\'') >= 0 {
			return false
		}
		ok = true
	}
	return ok
}

// cutMember cuts the first member off line. RFC 9110 §5.6.1.2: a list may have empty elements; they have no name.
func cutMember(line []byte) (m member, rest []byte) {
	end, quotes, open, last := 0, 0, 0, 0
	for ; end < len(line) && (quotes&1 == 1 || line[end] != ','); end++ {
		if line[end] == '"' {
			if quotes++; quotes == 1 {
				open = end
			}
			last = end
		} else if quotes&1 == 1 && line[end] == '\\' { // RFC 9110 §5.6.4: a quoted-pair
			end++
		}
	}
	end = min(end, len(line))
	name, argument, argued := bytes.Cut(bytes.Trim(line[:end], blanks), []byte{'='})
	m.name, m.argument, m.bare = bytes.TrimRight(name, blanks), bytes.TrimLeft(argument, blanks), !argued
	m.number = argued && len(m.name)+len(m.argument) == len(name)+len(argument) // there are no blanks around "="
	// `public max-age=0`: a comma is missing, or something else is wrong.
	m.malformed = (argued || len(m.name) > 0) && !message.ValidName(m.name) ||
		quotes > 0 && (quotes != 2 || m.argument[0] != '"')
	if quotes == 2 {
		m.number = m.number && bytes.HasSuffix(argument, []byte{'"'}) // else something follows the string
		m.argument = line[open+1 : last]
	}
	m.text = m.number
	return m, line[min(end+1, len(line)):]
}

// scanner walks a dictionary of structured fields, RFC 9651 §4.2.2, in the grammar of RFC 8941 that RFC 9213 names: it
// has no Dates and no Display Strings. Once bad, nothing counts that was read.
type scanner struct {
	rest []byte
	bad  bool
}

// The bytes of the grammar.
const (
	blanks      = " \t"
	digits      = "0123456789"
	lowers      = "abcdefghijklmnopqrstuvwxyz"
	letters     = lowers + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	keyBytes    = lowers + digits + "_-.*"
	tokenBytes  = letters + digits + "!#$%&'*+-.^_`|~:/"
	base64Bytes = letters + digits + "+/="
	stringBytes = letters + digits + " !#$%&'()*+,-./:;<=>?@[]^_`{|}~"
)

// cutKeyed cuts the first member off line, which is not empty where the dictionary is valid.
func cutKeyed(line []byte) (m member, rest []byte) {
	s := scanner{rest: line}
	s.key()
	m.name, m.bare = line[:len(line)-len(s.rest)], true
	if s.take('=') {
		value := s.rest
		s.value(&m)
		m.argument = value[:len(value)-len(s.rest)]
		if m.text {
			m.argument = bytes.Trim(m.argument, `"`)
		}
	}
	s.parameters() // RFC 9213 §2.1: they are ignored
	if s.run(blanks); len(s.rest) > 0 {
		s.expect(s.take(','))
		s.run(blanks)
		s.expect(len(s.rest) > 0)
	}
	m.malformed = s.bad
	return m, s.rest
}

// value takes the value of m: an item or an inner list.
func (s *scanner) value(m *member) {
	if m.bare = false; !s.take('(') {
		s.item(m)
		return
	}
	for s.run(" "); !s.bad && !s.take(')'); {
		s.item(&member{})
		s.parameters()
		s.expect(s.run(" ") || len(s.rest) > 0 && s.rest[0] == ')')
	}
}

// parameters takes the parameters of an item, or of a list.
func (s *scanner) parameters() {
	for !s.bad && s.take(';') {
		s.run(" ")
		if s.key(); s.take('=') {
			s.item(&member{})
		}
	}
}

func (s *scanner) key() {
	s.expect(s.run(lowers + "*"))
	s.run(keyBytes)
}

// item takes a bare item, RFC 9651 §4.2.3.1, as the value of m.
func (s *scanner) item(m *member) {
	switch {
	case s.take('"'):
		m.text = true
		for s.run(stringBytes); s.take('\\'); s.run(stringBytes) {
			s.expect(s.take('"') || s.take('\\'))
		}
		s.expect(s.take('"'))
	case s.take(':'):
		s.run(base64Bytes)
		s.expect(s.take(':'))
	case s.take('?'):
		m.bare = s.take('1')
		s.expect(m.bare || s.take('0'))
	case s.run(letters + "*"):
		s.run(tokenBytes)
	default:
		s.take('-')
		whole := len(s.rest)
		s.expect(s.run(digits))
		whole -= len(s.rest)
		if m.number = !s.take('.'); m.number {
			s.expect(whole <= 15)
			return
		}
		fraction := len(s.rest)
		s.expect(s.run(digits) && whole <= 12 && fraction-len(s.rest) <= 3)
	}
}

// take takes the next byte, where it is c.
func (s *scanner) take(c byte) bool {
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// run takes all bytes that come of a set, and reports whether there are any.
func (s *scanner) run(set string) bool {
	n := len(s.rest)
	s.rest = bytes.TrimLeft(s.rest, set)
	return len(s.rest) < n
}

// expect notes an error unless ok.
func (s *scanner) expect(ok bool) { s.bad = s.bad || !ok }
