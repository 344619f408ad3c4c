package h1

import "github.com/edge-proxy/edge/message"

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
		if f := &h.Fields[i]; f.ID-1 < lastMarked && !f.Dropped() {
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
// when b ends before that. A name that has a number needs no check of its characters, so the search for the line end
// starts behind it; any other line is searched from its start, and its name checked when it is whole.
//
// The search stands here, not in a function of its own: a call for each line costs a tenth of the time.
func parseFields(b []byte, i int, fs []message.Field, m *marks, limit fieldBounds) ([]message.Field, int, *Error) {
	last := len(b) - 16
	for {
		id, size := message.LeadingName(b, i)
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
		if len(b)-end < 2 || half(b, end) != crlf { // HTAB, what is not ASCII, a fault, or the end of b is near
			if end = controlFrom(b, end); len(b)-end < 2 || half(b, end) != crlf {
				return fs, 0, badLine(b, i, end)
			}
		}
		if id == message.Other {
			if end == i {
				return fs, end + 2, nil
			}
			var e *Error
			if id, size, e = parseName(b[i:end]); e != nil {
				return fs, 0, e
			}
		}
		if end+2-i > limit.line {
			return fs, 0, ErrFieldTooLarge
		}
		n := len(fs)
		if n >= limit.count {
			return fs, 0, limit.tooMany
		}
		if id-1 < lastMarked {
			m.note(id, n)
		}
		if n == cap(fs) {
			fs = append(fs, message.Field{})[:n]
		}
		fs = fs[:n+1]
		// One store for each member: a literal is put together on the stack and read back before those stores are
		// done, which took a quarter of the time here.
		f := &fs[n]
		f.NameAt, f.NameLen, f.ID, f.Flags = uint32(i), uint16(size), id, 0
		at := i + size + 1 // behind the colon, which stands before end
		f.ValueAt, f.ValueLen = uint32(at)+1, uint32(end-at)-1
		if end-at < 2 || octet(b, at) != ' ' || octet(b, at+1) <= ' ' || octet(b, end-1) <= ' ' { // unlike nearly all
			f.ValueAt, f.ValueLen = trim(b, at, end)
			f.Flags = message.Loose
		}
		i = end + 2
	}
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

// badLine returns the fault of a line that starts at b[i] and stops at b[end] without CRLF, nil when b ends too early.
func badLine(b []byte, i, end int) *Error {
	if end == len(b) {
		return nil
	}
	if e := lineEnd(b, end); e != ErrFieldValue {
		return e
	}
	if _, _, e := parseName(b[i:end]); e != nil {
		return ErrFieldName // the control character stands in it
	}
	return ErrFieldValue
}

// parseName returns the name that a line begins with, up to its colon, and its length.
func parseName(line []byte) (message.Name, int, *Error) {
	size := colonFrom(line, 0)
	if size < 0 {
		size = len(line)
	}
	id := message.LookupBytes(line[:size])
	if id == message.Other {
		if e := badName(line[:size]); e != nil {
			return 0, 0, e
		}
	}
	if size == len(line) {
		return 0, 0, ErrFieldName
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

func trimRight(b []byte) []byte {
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// isBlank tells white space (RFC 9110 §5.6.3). One comparison sends most other characters away.
func isBlank(c byte) bool { return c <= ' ' && (c == ' ' || c == '\t') }
