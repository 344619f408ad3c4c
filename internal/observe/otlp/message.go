package otlp

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

// frameHead is before a message of gRPC: whether it is compressed, and its length.
const frameHead = 5

// The tags of protobuf: the number of a field, and the type of its value.
const (
	tagEntry       = 2<<3 | 2 // Span or LogRecord, in its scope
	tagKey         = 1<<3 | 2 // of KeyValue
	tagValue       = 2<<3 | 2
	tagStringValue = 1<<3 | 2 // of AnyValue
	tagBoolValue   = 2<<3 | 0
	tagIntValue    = 3<<3 | 0
	tagDoubleValue = 4<<3 | 1
	tagArrayValue  = 5<<3 | 2
	tagValues      = 1<<3 | 2 // of ArrayValue
)

// message is a message of protobuf that grows at its end. Its zero value is ready. Owned by one goroutine.
//
// The length of a message within it is known when that is complete, and takes four bytes whatever it is: a varint may
// have more bytes than it needs. So nothing is moved, and nothing is measured before it is written.
type message struct {
	p       []byte
	tag     byte   // of the attributes of the message that is being written
	scratch []byte // a text that is made of others
}

// openLen is the size of the length of a message that is not complete.
const openLen = 4

// open begins a message within m, and returns where.
func (m *message) open(tag byte) (at int) {
	m.p = append(m.p, tag, 0, 0, 0, 0)
	return len(m.p)
}

// close ends the message that open began.
func (m *message) close(at int) {
	n := len(m.p) - at
	p := m.p[at-openLen : at]
	p[0], p[1], p[2], p[3] = byte(n)|0x80, byte(n>>7)|0x80, byte(n>>14)|0x80, byte(n>>21)
}

// varintLen is how many bytes v has as a varint.
func varintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// size writes tag and a length.
func (m *message) size(tag byte, n int) {
	if n < 0x80 {
		m.p = append(m.p, tag, byte(n))
		return
	}
	m.p = binary.AppendUvarint(append(m.p, tag), uint64(n))
}

func (m *message) bytes(tag byte, v []byte) {
	m.size(tag, len(v))
	m.p = append(m.p, v...)
}

func (m *message) varint(tag byte, v uint64) { m.p = binary.AppendUvarint(append(m.p, tag), v) }

func (m *message) fixed64(tag byte, v uint64) {
	m.p = binary.LittleEndian.AppendUint64(append(m.p, tag), v)
}

// text is what is written as a string of protobuf, which has to be valid UTF-8.
type text interface{ ~string | ~[]byte }

// writeText writes v after tag, with U+FFFD for each byte that is not UTF-8.
func writeText[T text](m *message, tag byte, v T) {
	at := len(m.p)
	m.size(tag, len(v))
	from := len(m.p)
	m.p = append(m.p, v...)
	if !valid(m.p[from:]) {
		m.scratch = appendValid(m.scratch[:0], m.p[from:])
		m.p = m.p[:at]
		m.bytes(tag, m.scratch)
	}
}

// valid is utf8.Valid, which looks at the last bytes of a text one by one.
func valid(p []byte) bool {
	const high = 0x8080808080808080
	if n := len(p); n >= 8 {
		found := binary.LittleEndian.Uint64(p[n-8:])
		for q := p; len(q) > 8; q = q[8:] {
			found |= binary.LittleEndian.Uint64(q)
		}
		if found&high == 0 {
			return true
		}
	}
	return utf8.Valid(p)
}

func appendValid(dst, p []byte) []byte {
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		dst, p = utf8.AppendRune(dst, r), p[n:]
	}
	return dst
}

// attribute begins an attribute whose value has n bytes. key is valid UTF-8.
func (m *message) attribute(key string, n int) {
	k := len(key)
	m.size(m.tag, 1+varintLen(uint64(k))+k+1+varintLen(uint64(n))+n)
	m.size(tagKey, k)
	m.p = append(m.p, key...)
	m.size(tagValue, n)
}

// shortMax bounds a key and its text whose lengths have one byte each.
const shortMax = 0x7f - 6

// attributeText writes an attribute, unless v is empty.
func attributeText[T text](m *message, key string, v T) {
	k, n, at := len(key), len(v), len(m.p)
	switch {
	case n == 0:
		return
	case k+n <= shortMax: // most are: with one look at the room of m.p in place of six
		m.p = slices.Grow(m.p, k+n+8)
		p := m.p[at : at+k+n+8]
		p[0], p[1], p[2], p[3] = m.tag, byte(k+n+6), tagKey, byte(k)
		copy(p[4:], key)
		p[4+k], p[5+k], p[6+k], p[7+k] = tagValue, byte(n+2), tagStringValue, byte(n)
		copy(p[8+k:], v)
		m.p = m.p[:at+k+n+8]
	default:
		m.attribute(key, 1+varintLen(uint64(n))+n)
		m.size(tagStringValue, n)
		m.p = append(m.p, v...)
	}
	if from := len(m.p) - n; !valid(m.p[from:]) {
		m.scratch = appendValid(m.scratch[:0], m.p[from:])
		m.p = m.p[:at]
		attributeText(m, key, m.scratch)
	}
}

func (m *message) attributeInt(key string, v int64) {
	m.attribute(key, 1+varintLen(uint64(v)))
	m.varint(tagIntValue, uint64(v))
}

func (m *message) attributeBool(key string, v bool) {
	m.attribute(key, 2)
	n := uint64(0)
	if v {
		n = 1
	}
	m.varint(tagBoolValue, n)
}

func (m *message) attributeDouble(key string, v float64) {
	m.attribute(key, 9)
	m.fixed64(tagDoubleValue, math.Float64bits(v))
}

// attributeSeconds writes a duration of ns, unless it is 0.
func (m *message) attributeSeconds(key string, ns int64) {
	if ns != 0 {
		m.attributeDouble(key, float64(ns)/1e9)
	}
}

// named writes an attribute whose name is not one of ours.
func named[T text](m *message, space, name string, v T) {
	if name == "" {
		return
	}
	at, value := m.openNamed(space, name)
	writeText(m, tagStringValue, v)
	m.close(value)
	m.close(at)
}

// openNamed begins an attribute whose name may be anything, and its AnyValue. It returns where they begin.
func (m *message) openNamed(space, name string) (at, value int) {
	if !utf8.ValidString(name) {
		name = strings.ToValidUTF8(name, "\uFFFD")
	}
	at = m.open(m.tag)
	m.size(tagKey, len(space)+len(name))
	m.p = append(append(m.p, space...), name...)
	return at, m.open(tagValue)
}
