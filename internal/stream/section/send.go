package section

import (
	"strconv"

	"github.com/edge-proxy/edge/message"
)

// Carried reports whether f goes into a section: it is neither deleted, nor of framing, nor of a WebSocket's handshake
// in HTTP/1.
func Carried(f *message.Field) bool {
	return !f.Dropped() && !f.ID.Framing() &&
		f.ID != message.SecWebSocketKey && f.ID != message.SecWebSocketAccept // RFC 8441 §5.1: not used
}

// RequestLength returns what content-length of a request says, -1 where there is none.
func RequestLength(h *message.Head) int64 {
	needs := h.Verb == message.VerbPost || h.Verb == message.VerbPut || h.Verb == message.VerbPatch
	if AskedBy(h).Tunnel() || h.Chunked || h.Length == 0 && !needs {
		return -1
	}
	return h.Length
}

// AnswerLength returns what content-length of an answer says: a number, the field that came, or -1 and nil where there
// is none.
func AnswerLength(h *message.Head, asked Asked) (n int64, v []byte) {
	switch {
	case h.Status < 200, h.Status == 204, h.Tunnel: // RFC 9110 §8.6
	case h.Status == 304, asked == ForHead:
		if v = h.Peek(message.ContentLength); v == nil && h.Length > 0 && h.Status != 304 {
			return h.Length, nil
		}
	case !h.Chunked:
		return h.Length, nil
	}
	return -1, v
}

const (
	fieldOverhead = 32  // RFC 9113 §6.5.2, RFC 9114 §4.2.2
	ownFields     = 512 // above the size of pseudo-fields and of fields that are not in the head
)

// Fits reports whether the section that is made of h has at most most bytes, as RFC 9113 §6.5.2 counts them. asked is
// the request that an answer is for; scheme is written with a request.
func Fits(h *message.Head, kind Kind, asked Asked, scheme []byte, most uint64) bool {
	// Names and values lie in Base, each in a place of its own.
	return uint64(len(h.Base)+fieldOverhead*len(h.Fields)+ownFields) <= most ||
		uint64(Size(h, kind, asked, scheme)) <= most
}

// Size is the size of the section that is made of h, in bytes: the length of names and values, uncompressed, with an
// overhead of 32 for each field. The arguments are the same as in Fits.
func Size(h *message.Head, kind Kind, asked Asked, scheme []byte) (n int) {
	for i := range h.Fields {
		if f := &h.Fields[i]; Carried(f) {
			n += fieldOverhead + int(f.NameLen) + int(f.ValueLen)
		}
	}
	add := func(name string, value int) { n += fieldOverhead + len(name) + value }
	length := int64(-1)
	switch kind {
	case Request:
		asked = AskedBy(h)
		if length = RequestLength(h); asked == ForUpgrade {
			add(":method", len("CONNECT"))
			add(":protocol", int(h.Protocol.Len))
		} else {
			add(":method", int(h.Method.Len))
		}
		if asked != ForTunnel {
			add(":scheme", len(scheme))
			add(":path", int(h.Target.Len))
		}
		if add(":authority", int(h.Authority.Len)); h.Trailers {
			add("te", len("trailers"))
		}
	case Response:
		add(":status", len("200"))
		var v []byte
		if length, v = AnswerLength(h, asked); v != nil {
			add("content-length", len(v))
		}
	}
	if length >= 0 {
		var b [20]byte
		add("content-length", len(strconv.AppendInt(b[:0], length, 10)))
	}
	return n
}
