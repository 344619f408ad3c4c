package proxy

import (
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/edge-proxy/edge/message"
)

// gRPC-Web is gRPC for browsers, whose scripts see no trailers (doc/PROTOCOL-WEB.md in the repository of gRPC). The
// messages are the same; the trailers follow them as one more frame, whose first byte has the highest bit set. As text
// all of it is base64, in pieces of which each may end with padding.

// trailerFrame marks a frame of trailers, uncompressed.
const trailerFrame = 0x80

// errBase64 refuses a body that is no base64.
var errBase64 = errors.New("not base64")

// unwebRequest makes the head of a gRPC request of one of gRPC-Web.
func (x *Exchange) unwebRequest() {
	h := &x.Request
	prefix := len(typeGRPC + suffixWeb)
	if x.call.form == webText {
		prefix += len(suffixText)
		if h.Length > 0 {
			h.Length = message.LengthUnknown
		}
	}
	h.Set("Content-Type", typeGRPC+string(h.Peek(message.ContentType)[prefix:]))
}

// webResponse makes the head of a gRPC-Web answer of one of gRPC. One that ends with its head keeps grpc-status there.
func (x *Exchange) webResponse() {
	h := &x.Response
	to := typeGRPC + suffixWeb
	if x.call.form == webText {
		to += suffixText
	}
	h.Set("Content-Type", to+string(h.Peek(message.ContentType)[len(typeGRPC):]))
	if !x.toDown.ended {
		h.Drop(message.ContentLength)
		h.Drop(message.Trailer)
		h.Length = message.LengthUnknown
	}
}

// decodeWeb returns what a piece of a body in base64 stands for, borrowed until the next call. An end that cuts a
// group of four is an error.
func (x *Exchange) decodeWeb(p []byte, end bool) ([]byte, error) {
	q, l := &x.call.quartet, x.local
	out, err := q.decode(l.coded[:0], p)
	l.coded = out[:0]
	if err == nil && end && q.n > 0 {
		err = errBase64
	}
	return out, err
}

// pieceForWeb returns what a piece of the answer becomes. The trailers of gRPC end here.
func (x *Exchange) pieceForWeb(p []byte, end bool) []byte {
	var trailers *message.Head
	if end {
		trailers, x.toDown.trailers = x.toDown.trailers, nil
	}
	return x.encodeWeb(p, trailers)
}

// encodeWeb returns a piece of the answer, and the trailers behind it unless they are nil, as the client wants it.
// Borrowed until the next call.
func (x *Exchange) encodeWeb(p []byte, trailers *message.Head) []byte {
	l := x.local
	at := 0
	out := l.coded[:0]
	if trailers != nil || x.call.form == webText {
		out = append(out, p...)
		if trailers != nil {
			out = appendTrailerFrame(out, trailers)
		}
		p = out
	}
	if x.call.form == webText && len(out) > 0 {
		at = len(out)
		out = base64.StdEncoding.AppendEncode(out, out[:at])
		p = out[at:]
	}
	if l.coded = out[:0]; cap(l.coded) > emittedKept {
		l.coded = nil
	}
	return p
}

// appendTrailerFrame appends the frame of trailers: lines as in HTTP/1, in lower case.
func appendTrailerFrame(dst []byte, h *message.Head) []byte {
	at := len(dst)
	dst = append(dst, trailerFrame, 0, 0, 0, 0)
	for i := range h.Fields {
		if h.Fields[i].Dropped() {
			continue
		}
		for _, c := range h.Name(i) {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
		}
		dst = append(dst, ": "...)
		dst = append(dst, h.Value(i)...)
		dst = append(dst, "\r\n"...)
	}
	binary.BigEndian.PutUint32(dst[at+1:], uint32(len(dst)-at-5))
	return dst
}

// quartet decodes base64 that comes in pieces.
type quartet struct {
	in [4]byte
	n  uint8
}

// decode appends what p stands for, as far as its groups of four are whole. Padding may end any of them.
func (q *quartet) decode(dst, p []byte) ([]byte, error) {
	for _, c := range p {
		if c == '\r' || c == '\n' {
			continue
		}
		q.in[q.n] = c
		if q.n++; q.n < 4 {
			continue
		}
		q.n = 0
		var group [3]byte
		n, err := base64.StdEncoding.Decode(group[:], q.in[:])
		if err != nil {
			return dst, errBase64
		}
		dst = append(dst, group[:n]...)
	}
	return dst, nil
}
