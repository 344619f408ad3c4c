package h2

import (
	"bytes"

	"github.com/edge-proxy/edge/h2/hpack"
	"github.com/edge-proxy/edge/message"
)

// part says which header block is decoded.
type part uint8

const (
	request part = iota
	response
	trailers
)

// marks are the facts about a header block that its meaning depends on.
type marks struct {
	fault    *Error // the first fault; the block is decoded to its end all the same
	pseudo   [hpack.PseudoUnknown]message.Span
	seen     uint8 // a bit for each hpack.Pseudo
	regular  bool  // a field that is no pseudo-field came
	te       bool
	expect   bool // 100-continue
	unmet    bool // an expectation other than 100-continue came
	hops     bool
	host     message.Span
	hasHost  bool
	length   int64 // value of Content-Length, -1 without one
	priority int   // index of Priority, -1 without one
	cookie   int   // index of Cookie, -1 without one
	count    int   // number of fields, also those above the limit
}

func (m *marks) has(p hpack.Pseudo) bool { return m.seen>>p&1 != 0 }

func (m *marks) refuse(e *Error) {
	if m.fault == nil {
		m.fault = e
	}
}

// decode renders a header block into h, in the layout of HTTP/1, so that an encoder of that copies it in runs:
//
//	Base  GET/pathhttpsexample.orgaccept: */*\r\ncookie: a=1; b=2\r\n…
//	      pseudo-fields           └──────────── lines ───────────┘
//
// err ends the connection, m.fault only the stream.
func (c *Conn) decode(block []byte, h *message.Head, kind part) (m marks, err *Error) {
	c.arena.borrow(h)
	h.Proto = message.HTTP20
	m.length, m.priority, m.cookie = message.LengthUnknown, -1, -1
	c.dec.Begin()
	for len(block) > 0 {
		n, f, e := c.dec.Next(block)
		block = block[n:]
		if m.count++; m.count > headerBomb*c.o.fieldCount() {
			// Many tiny references: each takes a byte and makes a field.
			c.arena.Stats.HeaderBomb++
			return m, ErrHeaderBomb
		}
		switch {
		case e == hpack.ErrListSize:
			m.refuse(ErrHeadTooLarge)
		case e != nil:
			return m, ErrCompression
		case f.Line == nil || m.fault != nil:
		case f.Bad != 0:
			m.refuse(badField(&f))
		case f.Pseudo != hpack.Regular:
			m.pseudoField(h, &f, kind)
		default:
			h.Private = h.Private || f.Never
			m.field(h, &f, kind, c.o)
		}
	}
	c.arena.render = h.Base[:0]
	h.Hops = m.hops
	return m, nil
}

// headerBomb times FieldCount is how many fields a block may have before the connection ends.
const headerBomb = 10

func badField(f *hpack.Field) *Error {
	if f.Bad&hpack.BadName == 0 {
		return ErrFieldValue
	}
	for _, c := range f.Name() {
		if c >= 'A' && c <= 'Z' {
			return ErrUppercase // RFC 9113 §8.2: field names MUST be converted to lowercase
		}
	}
	return ErrFieldName
}

// pseudoFields is which of them each kind of block may have.
var pseudoFields = [...]uint16{
	request:  1<<hpack.Method | 1<<hpack.Scheme | 1<<hpack.Authority | 1<<hpack.Path | 1<<hpack.Protocol,
	response: 1 << hpack.Status,
	trailers: 0, // §8.1: trailer fields MUST NOT contain pseudo-header fields
}

func (m *marks) pseudoField(h *message.Head, f *hpack.Field, kind part) {
	switch {
	case m.regular:
		// §8.3: all pseudo-header fields MUST appear in a field block before all regular field lines.
		m.refuse(ErrPseudoOrder)
	case pseudoFields[kind]>>f.Pseudo&1 == 0:
		m.refuse(ErrPseudoUnknown)
	case m.has(f.Pseudo):
		m.refuse(ErrPseudoTwice)
	default:
		m.seen |= 1 << f.Pseudo
		m.pseudo[f.Pseudo] = put(h, f.Value())
	}
}

func put[T string | []byte](h *message.Head, v T) message.Span {
	at := uint32(len(h.Base))
	h.Base = append(h.Base, v...)
	return message.Span{At: at, Len: uint32(len(v))}
}

// field takes a field that is no pseudo-field.
func (m *marks) field(h *message.Head, f *hpack.Field, kind part, o *Options) {
	m.regular = true
	if f.ID-1 < message.Trailer || f.ID == message.Priority || f.ID == message.Cookie || kind == trailers ||
		message.HopByHop(f.ID) {
		if !m.special(h, f, kind, o) {
			return
		}
	}
	switch {
	case len(h.Fields) >= o.fieldCount():
		m.refuse(ErrTooManyFields)
	case len(f.Line) > o.fieldBytes(), len(h.Base)+len(f.Line) > o.headBytes():
		m.refuse(ErrHeadTooLarge)
	default:
		if f.ID == message.Other && bytes.IndexByte(f.Name(), '_') >= 0 {
			h.Underscores = true
		}
		at := uint32(len(h.Base))
		h.Base = append(h.Base, f.Line...)
		h.Fields = append(h.Fields, message.Field{
			NameAt: at, NameLen: uint16(f.NameLen), ID: f.ID,
			ValueAt: at + uint32(f.NameLen) + 2, ValueLen: uint32(len(f.Line)) - f.NameLen - 4,
		})
	}
}

// special looks at a field that means something here, and reports whether it is to be kept.
func (m *marks) special(h *message.Head, f *hpack.Field, kind part, o *Options) bool {
	switch f.ID {
	case message.Connection, message.KeepAlive, message.ProxyConnection, message.TransferEncoding, message.Upgrade,
		message.HTTP2Settings:
		// §8.2.2: an endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields; a
		// message that does is malformed.
		m.refuse(ErrConnectionField)
		return false
	case message.TE:
		// §8.2.2: it MUST NOT contain any value other than "trailers".
		if kind == response || !message.EqualFold(f.Value(), "trailers") {
			m.refuse(ErrTE)
			return false
		}
		m.te = true
	}
	if kind == trailers {
		return f.ID.InTrailers()
	}
	m.hops = m.hops || message.HopByHop(f.ID)
	switch f.ID {
	case message.Host:
		if m.hasHost && kind == request {
			m.refuse(ErrAuthority)
			return false
		}
		m.hasHost = true
		m.host = message.Span{At: uint32(len(h.Base)) + f.NameLen + 2, Len: uint32(len(f.Value()))}
	case message.ContentLength:
		n, ok := message.ParseLength(f.Value())
		if !ok || m.length >= 0 {
			m.refuse(ErrContentLength)
			return false
		}
		m.length = n
	case message.Expect:
		m.expectation(f.Value())
	case message.Priority:
		m.priority = len(h.Fields)
	case message.Cookie:
		return kind != request || !m.joinCookie(h, f, o)
	}
	return true
}

// expectation looks at the members of one Expect field.
func (m *marks) expectation(v []byte) {
	for more := true; more; {
		var member []byte
		member, v, more = bytes.Cut(v, comma)
		switch member = bytes.Trim(member, " \t"); {
		case message.EqualFold(member, "100-continue"):
			m.expect = true
		case len(member) > 0:
			m.unmet = true
		}
	}
}

var comma = []byte(",")

// joinCookie appends a crumb to the cookie that was there before and reports whether there was one. RFC 9113 §8.2.3:
// they MUST be concatenated with "; " before they are passed into a context other than HTTP/2. An empty one adds
// nothing: a value that ends with a space is none.
func (m *marks) joinCookie(h *message.Head, f *hpack.Field, o *Options) bool {
	switch {
	case m.cookie < 0:
		m.cookie = len(h.Fields)
		return false
	case len(f.Value()) == 0:
		return true
	}
	last := len(h.Fields) - 1
	if m.cookie != last { // others lie between: the line moves to the end
		old := h.Fields[m.cookie]
		at := uint32(len(h.Base))
		h.Base = append(h.Base, h.Base[old.NameAt:old.ValueAt+old.ValueLen+2]...)
		copy(h.Fields[m.cookie:], h.Fields[m.cookie+1:])
		if m.priority > m.cookie {
			m.priority--
		}
		old.NameAt, old.ValueAt = at, at+old.ValueAt-old.NameAt
		h.Fields[last], m.cookie = old, last
	}
	h.Base = append(append(append(h.Base[:len(h.Base)-2], "; "...), f.Value()...), "\r\n"...)
	h.Fields[last].ValueLen += uint32(2 + len(f.Value()))
	if int(h.Fields[last].ValueLen) > o.fieldBytes() || len(h.Base) > o.headBytes() {
		m.refuse(ErrHeadTooLarge)
	}
	return true
}
