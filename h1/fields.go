package h1

import (
	"encoding/binary"

	"github.com/edge-proxy/edge/message"
)

// marks remembers where the fields stand that a codec has to understand: those up to lastMarked.
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

// mark finds the marks of a head whose decoder is not at hand.
func mark(h *message.Head) (m marks) {
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID-1 < lastMarked && !f.Dropped {
			m.note(f.ID, i)
		}
	}
	return m
}

// fieldBounds are the limits of one section of fields.
type fieldBounds struct {
	count, line int
	tooMany     *Error
}

// parseFields appends the field lines of b[i:] to fs and returns the index behind the empty line that ends them; 0
// when b ends before that.
func parseFields(b []byte, i int, fs []message.Field, m *marks, limit fieldBounds) ([]message.Field, int, *Error) {
	for i < len(b) {
		if b[i] == '\r' {
			if i+1 == len(b) {
				return fs, 0, nil
			}
			return fs, i + 2, lineEnd(b, i)
		}
		id, size := message.LeadingName(b, i)
		if id == message.Other {
			var e *Error
			if id, size, e = parseName(b[i:]); size == 0 {
				return fs, 0, e
			}
		}
		colon := i + size
		at := colon + 1
		if at < len(b) && b[at] == ' ' {
			at++
		}
		for at < len(b) && isBlank(b[at]) {
			at++
		}
		end := controlFrom(b, at)
		if len(b)-end < 2 || binary.LittleEndian.Uint16(b[end:]) != crlf {
			if end < len(b) {
				return fs, 0, lineEnd(b, end)
			}
			return fs, 0, nil
		}
		if end+2-i > limit.line {
			return fs, 0, ErrFieldTooLarge
		}
		if len(fs) >= limit.count {
			return fs, 0, limit.tooMany
		}
		if id-1 < lastMarked {
			m.note(id, len(fs))
		}
		next := end + 2
		for end > at && isBlank(b[end-1]) {
			end--
		}
		if len(fs) == cap(fs) {
			fs = append(fs, message.Field{})[:len(fs)]
		}
		fs = fs[:len(fs)+1]
		// One store for each member: a literal is put together on the stack and read back before those stores are
		// done, which took a quarter of the time here.
		f := &fs[len(fs)-1]
		f.NameAt, f.NameLen, f.ID = uint32(i), uint16(colon-i), id
		f.ValueAt, f.ValueLen, f.Dropped = uint32(at), uint32(end-at), false
		i = next
	}
	return fs, 0, nil
}

// parseName returns the name that b begins with and its length; 0 when it is not one or b ends before the colon.
func parseName(b []byte) (message.Name, int, *Error) {
	size := colonFrom(b, 0)
	if size < 0 {
		return 0, 0, badNameStart(b)
	}
	id := message.LookupBytes(b[:size])
	if id == message.Other {
		if e := badName(b[:size]); e != nil {
			return 0, 0, e
		}
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
		return ErrFieldName
	case name[0] == ' ' || name[0] == '\t':
		// RFC 9112 §5.2: a server that receives an obs-fold MUST either reject the message or replace it.
		return ErrFold
	case message.ValidName(trimRight(name)):
		// RFC 9112 §5.1: No whitespace is allowed between the field name and colon. In the past, differences in the
		// handling of such whitespace have led to security vulnerabilities in request routing.
		return ErrSpaceBeforeColon
	}
	return ErrFieldName
}

// badNameStart returns the fault of a line that has no colon yet, nil when one may come.
func badNameStart(line []byte) *Error {
	if line[0] != ' ' && line[0] != '\t' && message.ValidName(trimRight(line)) {
		return nil
	}
	if len(line) >= 1<<16 {
		return ErrFieldTooLarge
	}
	return badName(line)
}

func trimRight(b []byte) []byte {
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// isBlank tells white space (RFC 9110 §5.6.3). One comparison sends most other characters away.
func isBlank(c byte) bool { return c <= ' ' && (c == ' ' || c == '\t') }
