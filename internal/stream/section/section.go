package section

import (
	"bytes"

	"github.com/edge-proxy/edge/message"
)

// Kind says which section of a message it is.
type Kind uint8

// The kinds of sections.
const (
	Request Kind = iota
	Response
	Trailers
)

// Limits bound a section. Immutable.
type Limits struct {
	HeadBytes         int  // of the head as lines of HTTP/1
	RequestLine       int  // of a request, as HTTP/1 has it
	FieldCount        int  // lines of fields
	FieldBytes        int  // one line
	NoExtendedConnect bool // :protocol is refused: RFC 8441 and RFC 9220 were not offered
}

// Section gathers the fields of one section, and then gives the head its meaning. It lies on the stack of its caller,
// beside the head that it fills: Begin, Add for each field, then Request or Response.
//
// Fields are rendered in the layout of HTTP/1, so that an encoder of that copies them in runs:
//
//	Base  GET/pathhttpsexample.orgaccept: */*\r\ncookie: a=1; b=2\r\n…
//	      pseudo-fields           └──────────── lines ───────────┘
//
// The first fault stays; fields after it are not kept.
type Section struct {
	pseudo   [PseudoUnknown]message.Span
	length   int64 // value of Content-Length, -1 without one
	host     message.Span
	priority int   // index of Priority, -1 without one
	cookie   int   // index of Cookie, -1 without one
	seen     uint8 // a bit for each Pseudo
	kind     Kind
	fault    Fault
	regular  bool // a field that is no pseudo-field came
	te       bool
	expect   bool // 100-continue
	unmet    bool // an expectation other than 100-continue came
	hasHost  bool
}

// Begin begins a section of that kind.
func (s *Section) Begin(kind Kind) {
	*s = Section{length: message.LengthUnknown, priority: -1, cookie: -1, kind: kind}
}

// Fault is the first fault, NoFault without one.
func (s *Section) Fault() Fault { return s.fault }

// Priority is the index in Head.Fields of the field Priority (RFC 9218), below 0 without one.
func (s *Section) Priority() int { return s.priority }

func (s *Section) has(p Pseudo) bool { return s.seen>>p&1 != 0 }

// Refuse notes a fault of the section, unless there was one before.
func (s *Section) Refuse(f Fault) {
	if s.fault == NoFault {
		s.fault = f
	}
}

// Add takes one field into h. f is borrowed.
func (s *Section) Add(h *message.Head, f *Field, l *Limits) {
	switch {
	case s.fault != NoFault:
	case f.Bad != 0:
		s.fault = badField(f)
	case f.Pseudo != Regular:
		s.pseudoField(h, f)
	default:
		h.Private = h.Private || f.Never
		s.field(h, f, l)
	}
}

func badField(f *Field) Fault {
	if f.Bad&BadName == 0 {
		return FaultFieldValue
	}
	if hasUpper(f.Name()) {
		return FaultUppercase // RFC 9113 §8.2: field names MUST be converted to lowercase
	}
	return FaultFieldName
}

// pseudoFields is which of them each kind of block may have.
var pseudoFields = [...]uint16{
	Request:  1<<Method | 1<<Scheme | 1<<Authority | 1<<Path | 1<<Protocol,
	Response: 1 << Status,
	Trailers: 0, // §8.1: trailer fields MUST NOT contain pseudo-header fields
}

func (s *Section) pseudoField(h *message.Head, f *Field) {
	switch {
	case s.regular:
		// §8.3: all pseudo-header fields MUST appear in a field block before all regular field lines.
		s.Refuse(FaultPseudoOrder)
	case pseudoFields[s.kind]>>f.Pseudo&1 == 0:
		s.Refuse(FaultPseudoUnknown)
	case s.has(f.Pseudo):
		s.Refuse(FaultPseudoTwice)
	default:
		s.seen |= 1 << f.Pseudo
		s.pseudo[f.Pseudo] = put(h, f.Value())
	}
}

func put[T string | []byte](h *message.Head, v T) message.Span {
	at := uint32(len(h.Base))
	h.Base = append(h.Base, v...)
	return message.Span{At: at, Len: uint32(len(v))}
}

// field takes a field that is no pseudo-field.
func (s *Section) field(h *message.Head, f *Field, l *Limits) {
	s.regular = true
	if f.ID-1 < message.Trailer || f.ID == message.Priority || f.ID == message.Cookie || s.kind == Trailers ||
		message.HopByHop(f.ID) {
		if !s.special(h, f, l) {
			return
		}
	}
	switch {
	case len(h.Fields) >= l.FieldCount:
		s.Refuse(FaultTooManyFields)
	case len(f.Line) > l.FieldBytes, len(h.Base)+len(f.Line) > l.HeadBytes:
		s.Refuse(FaultHeadTooLarge)
	default:
		if f.ID == message.Other && bytes.IndexByte(f.Name(), '_') >= 0 {
			h.Underscores = true
		}
		at := uint32(len(h.Base))
		h.Base = append(h.Base, f.Line...)
		h.AddLine(f.ID, at, int(f.NameLen), len(f.Line)-int(f.NameLen)-4)
	}
}

// special looks at a field that means something here, and reports whether it is to be kept.
func (s *Section) special(h *message.Head, f *Field, l *Limits) bool {
	switch f.ID {
	case message.Connection, message.KeepAlive, message.ProxyConnection, message.TransferEncoding, message.Upgrade,
		message.HTTP2Settings:
		// §8.2.2: an endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields; a
		// message that does is malformed. RFC 9114 §4.2 says the same.
		s.Refuse(FaultConnectionField)
		return false
	case message.TE:
		// §8.2.2: it MUST NOT contain any value other than "trailers".
		if s.kind == Response || !message.EqualFold(f.Value(), "trailers") {
			s.Refuse(FaultTE)
			return false
		}
		s.te = true
	}
	if s.kind == Trailers {
		return f.ID.InTrailers()
	}
	h.Hops = h.Hops || message.HopByHop(f.ID)
	switch f.ID {
	case message.Host:
		if s.hasHost && s.kind == Request {
			s.Refuse(FaultAuthority)
			return false
		}
		s.hasHost = true
		s.host = message.Span{At: uint32(len(h.Base)) + f.NameLen + 2, Len: uint32(len(f.Value()))}
	case message.ContentLength:
		n, ok := message.ParseLength(f.Value())
		if !ok || s.length >= 0 {
			s.Refuse(FaultContentLength)
			return false
		}
		s.length = n
	case message.Expect:
		s.expectation(f.Value())
	case message.Priority:
		s.priority = len(h.Fields)
	case message.Cookie:
		return s.kind != Request || !s.joinCookie(h, f, l)
	}
	return true
}

// expectation looks at the members of one Expect field.
func (s *Section) expectation(v []byte) {
	for more := true; more; {
		var member []byte
		member, v, more = bytes.Cut(v, comma)
		switch member = bytes.Trim(member, " \t"); {
		case message.EqualFold(member, "100-continue"):
			s.expect = true
		case len(member) > 0:
			s.unmet = true
		}
	}
}

var comma = []byte(",")

// joinCookie appends a crumb to the cookie that was there before and reports whether there was one. RFC 9113 §8.2.3 and
// RFC 9114 §4.2.1: they MUST be concatenated with "; " before they are passed into a context of another version. An
// empty one adds nothing: a value that ends with a space is none.
func (s *Section) joinCookie(h *message.Head, f *Field, l *Limits) bool {
	switch {
	case s.cookie < 0:
		s.cookie = len(h.Fields)
		return false
	case len(f.Value()) == 0:
		return true
	}
	last := len(h.Fields) - 1
	if s.cookie != last { // others lie between: the line moves to the end
		old := h.Fields[s.cookie]
		at := uint32(len(h.Base))
		h.Base = append(h.Base, h.Base[old.NameAt:old.ValueAt+old.ValueLen+2]...)
		copy(h.Fields[s.cookie:], h.Fields[s.cookie+1:])
		if s.priority > s.cookie {
			s.priority--
		}
		old.NameAt, old.ValueAt = at, at+old.ValueAt-old.NameAt
		h.Fields[last], s.cookie = old, last
	}
	h.Base = append(append(append(h.Base[:len(h.Base)-2], "; "...), f.Value()...), "\r\n"...)
	h.Fields[last].ValueLen += uint32(2 + len(f.Value()))
	if int(h.Fields[last].ValueLen) > l.FieldBytes || len(h.Base) > l.HeadBytes {
		s.Refuse(FaultHeadTooLarge)
	}
	return true
}
