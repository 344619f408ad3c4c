package qpack

import (
	"github.com/edge-proxy/edge/internal/base/huffman"
	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/message"
)

// Encoder encodes field sections. It has no state, since the static table has none: safe for any goroutine. It has
// the methods of hpack.Encoder.
type Encoder struct{}

// Begin starts a section: it appends the prefix, which says that the dynamic table is not used.
func (e *Encoder) Begin(dst []byte) []byte { return append(dst, 0, 0) }

// AppendMethod appends :method.
func (e *Encoder) AppendMethod(dst, method []byte) []byte { return pseudo(dst, section.Method, method) }

// AppendScheme appends :scheme.
func (e *Encoder) AppendScheme(dst, scheme []byte) []byte { return pseudo(dst, section.Scheme, scheme) }

// AppendAuthority appends :authority.
func (e *Encoder) AppendAuthority(dst, host []byte) []byte {
	return pseudo(dst, section.Authority, host)
}

// AppendPath appends :path.
func (e *Encoder) AppendPath(dst, target []byte) []byte { return pseudo(dst, section.Path, target) }

// AppendProtocol appends :protocol (RFC 9220).
func (e *Encoder) AppendProtocol(dst, protocol []byte) []byte {
	return pseudo(dst, section.Protocol, protocol)
}

// AppendStatus appends :status. status is one of 100..999.
func (e *Encoder) AppendStatus(dst []byte, status int) []byte {
	digits := [3]byte{byte('0' + status/100), byte('0' + status/10%10), byte('0' + status%10)}
	return pseudo(dst, section.Status, digits[:])
}

func pseudo(dst []byte, p section.Pseudo, value []byte) []byte {
	return field(dst, &names[pseudoAt(p)], nil, value, false)
}

// crumbMin is the length from which a cookie is too long to be guessed one byte at a time.
const crumbMin = 20

// AppendField appends a field. id is the number of name; name, which may be in any case and is written in lower case,
// matters only when that is Other. forbid forbids all proxies on the way to index the field; for credentials the
// encoder does so of its own: the same as in HPACK (RFC 9204 §7.1.3).
func (e *Encoder) AppendField(dst []byte, id message.Name, name, value []byte, forbid bool) []byte {
	switch id {
	case message.Authorization, message.ProxyAuthorization, message.SetCookie:
		forbid = true
	case message.Cookie:
		forbid = forbid || len(value) < crumbMin
	}
	return field(dst, &names[id], name, value, forbid)
}

// field appends the field whose name is k, or name when k stands for none.
func field(dst []byte, k *known, name, value []byte, never bool) []byte {
	for i := k.static; i != noIndex && !never; i = staticNext[i] {
		if staticFields[i][1] == string(value) {
			return huffman.AppendInteger(dst, indexed|indexedFixed, 6, int(i))
		}
	}
	at := len(dst)
	switch {
	case k.static != noIndex:
		high := byte(literalIndex | fixedIndex)
		if never {
			high |= neverIndex
		}
		return huffman.AppendString(huffman.AppendInteger(dst, high, 4, int(k.static)), value, 0, 7)
	case k != &names[message.Other]:
		dst = append(dst, k.literal...)
	case len(name) <= nameRoom:
		var room [nameRoom]byte
		dst = huffman.AppendString(dst, message.AppendLower(room[:0], name), literalName, nameBits)
	default:
		dst = message.AppendLower(huffman.AppendInteger(dst, literalName, nameBits, len(name)), name)
	}
	if never {
		dst[at] |= neverName
	}
	return huffman.AppendString(dst, value, 0, 7)
}

// nameRoom is the longest name without a number that is Huffman coded.
const nameRoom = 64
