package h1

import (
	"bytes"

	"github.com/edge-proxy/edge/message"
)

// marks holds the positions of the fields that a codec has to understand: those up to lastMarked.
type marks struct {
	seen, twice uint32 // a bit for each Name
	at          [lastMarked + 1]uint16
}

const lastMarked = message.ProxyAuthorization

func (m *marks) note(id message.Name, i int) {
	m.twice |= m.seen & (1 << id)
	m.seen |= 1 << id
	m.at[id] = uint16(i)
}

func (m *marks) has(id message.Name) bool { return m.seen>>id&1 != 0 }

// section is a section of fields that is parsed. Made of nothing, and begun.
type section struct {
	in    []byte
	table []message.Field // the first count of them are the fields
	count int
	marks
	countMax, lineMax int
	tooMany           *Error // when there are more than countMax
	underscores       bool   // in a name
}

// begin prepares to parse in. The fields will take the place of those that lie in table. One store for each member: a
// literal would be copied before it is stored.
func (s *section) begin(in []byte, table []message.Field, countMax, lineMax int, tooMany *Error) {
	s.in, s.table = in, table[:cap(table)]
	s.countMax, s.lineMax, s.tooMany = countMax, lineMax, tooMany
}

// parse parses the field lines of in[i:] and returns the index after the empty line that ends them; 0 when
// in ends before that. A name that has a number needs no check of its characters, so the search for the line end starts
// after it; any other line is searched from its start, and its name checked when it is whole.
//
// A name is looked up unless it equals the name that the previous head had at this place: clients and origins keep
// the order of their fields. The guess is checked byte by byte.
//
// The search stands here, not in a function of its own: a call for each line costs a tenth of the time. What a line
// needs only once is reached through s, since there are too few registers.
func (s *section) parse(i int) (int, *Error) {
	b, last := s.in, len(s.in)-16
	for {
		if s.count >= len(s.table) {
			s.grow()
		}
		f := &s.table[s.count]
		id := f.ID
		name := message.SpellingOf(id)
		size := name.Size
		if i > last || !name.Begins(word(b, i)) || size >= 8 && (i+size > last+15 ||
			!name.Last.Is(word(b, i+size-7)) || size >= 16 && !name.HasInner(s.in[i:])) {
			if len(s.in)-i >= 2 && half(b, i) == crlf { // the empty line, which no name is looked for in
				return i + 2, nil
			}
			id, size = message.LeadingName(s.in, i)
		}
		end := i + size
		for ; end <= last; end += 16 {
			if x, y := odd(word(b, end)), odd(word(b, end+8)); (x|y)&highs != 0 {
				if x &= highs; x == 0 {
					x, end = y&highs, end+8
				}
				end += first(x)
				break
			}
		}
		if end-last > 14 || half(b, end) != crlf { // HTAB, what is not ASCII, a fault, or the end of b is near
			if end = controlFrom(s.in, end); end-last > 14 || half(b, end) != crlf {
				return 0, s.badLine(i, end)
			}
		}
		if id == message.Other {
			if end == i {
				return end + 2, nil
			}
			var e *Error
			if id, size, e = s.parseName(s.in[i:end]); e != nil {
				return 0, e
			}
		}
		if end+2-i > s.lineMax {
			return 0, ErrFieldTooLarge
		}
		if s.count >= s.countMax {
			return 0, s.tooMany
		}
		if id-1 < lastMarked {
			s.note(id, s.count)
		}
		s.count++
		// One store for each member: a literal is put together on the stack and read back before those stores are
		// done, which took a quarter of the time here.
		f.NameAt, f.NameLen, f.ID, f.Flags = uint32(i), uint16(size), id, 0
		at := i + size + 1 // after the colon, which stands before end
		f.ValueAt, f.ValueLen = uint32(at)+1, uint32(end-at)-1
		if end-at < 2 || octet(b, at) != ' ' || octet(b, at+1) <= ' ' || octet(b, end-1) <= ' ' { // rare
			f.ValueAt, f.ValueLen = trim(s.in, at, end)
			f.Flags = message.Loose
		}
		i = end + 2
	}
}

// grow makes room in the table.
func (s *section) grow() {
	t := append(s.table, message.Field{})
	s.table = t[:cap(t)]
}

// trim returns where b[at:end] lies without the white space around it, and its length.
func trim(b []byte, at, end int) (uint32, uint32) {
	for at < end && isBlank(b[at]) {
		at++
	}
	for end > at && isBlank(b[end-1]) {
		end--
	}
	return uint32(at), uint32(end - at)
}

// badLine returns the fault of a line that starts at in[i] and stops at in[end] without CRLF, nil when in ends too
// early.
func (s *section) badLine(i, end int) *Error {
	b := s.in
	if end == len(b) {
		return nil
	}
	if e := lineEnd(b, end); e != errFieldValue {
		return e
	}
	if _, _, e := s.parseName(b[i:end]); e != nil {
		return errFieldName // the control character stands in it
	}
	return errFieldValue
}

// parseName returns the name that a line begins with, up to its colon, and its length.
func (s *section) parseName(line []byte) (message.Name, int, *Error) {
	size := colonFrom(line, 0)
	if size < 0 {
		size = len(line)
	}
	id := message.LookupBytes(line[:size])
	if id == message.Other {
		if e := badName(line[:size]); e != nil {
			return 0, 0, e
		}
		s.underscores = s.underscores || bytes.IndexByte(line[:size], '_') >= 0
	}
	if size == len(line) {
		return 0, 0, errFieldName
	}
	return id, size, nil
}

// badName returns the fault of a name that has no number, nil when it is a token.
func badName(name []byte) *Error {
	switch {
	case message.ValidName(name):
		return nil
	case len(name) >= 1<<16:
		return ErrFieldTooLarge
	case len(name) == 0:
		return errFieldName
	case name[0] == ' ' || name[0] == '\t':
		// RFC 9112 §5.2: a server that receives an obs-fold MUST either reject the message or replace it.
		return errFold
	case message.ValidName(trimRight(name)):
		// RFC 9112 §5.1: No whitespace is allowed between the field name and colon. In the past, differences in the
		// handling of such whitespace have led to security vulnerabilities in request routing.
		return errSpaceBeforeColon
	}
	return errFieldName
}

func trimRight(b []byte) []byte {
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// isBlank tells white space (RFC 9110 §5.6.3). One comparison sends most other characters away.
func isBlank(c byte) bool { return c <= ' ' && (c == ' ' || c == '\t') }
