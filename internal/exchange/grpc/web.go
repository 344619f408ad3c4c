package grpc

import (
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/edge-proxy/edge/message"
)

// trailerFrame marks a frame of trailers, uncompressed.
const trailerFrame = 0x80

// ErrBase64 refuses a body that is no base64.
var ErrBase64 = errors.New("not base64")

// RequestHead makes the head of a gRPC request of one of gRPC-Web.
func RequestHead(h *message.Head, f Form) {
	prefix := len(typeGRPC + suffixWeb)
	if f == WebText {
		prefix += len(suffixText)
		if h.Length > 0 {
			h.Length = message.LengthUnknown
		}
	}
	h.Set("Content-Type", typeGRPC+string(h.Peek(message.ContentType)[prefix:]))
}

// ResponseHead makes the head of a gRPC-Web answer of one of gRPC. An answer that ends with its head keeps grpc-status
// there.
func ResponseHead(h *message.Head, f Form, end bool) {
	to := typeGRPC + suffixWeb
	if f == WebText {
		to += suffixText
	}
	h.Set("Content-Type", to+string(h.Peek(message.ContentType)[len(typeGRPC):]))
	if !end {
		h.DelID(message.ContentLength)
		h.DelID(message.Trailer)
		h.Length = message.LengthUnknown
	}
}

// AppendTrailers appends the last frame of an answer of gRPC-Web, of trailers: lines as in HTTP/1, in lower case.
func AppendTrailers(dst []byte, h *message.Head) []byte {
	at := len(dst)
	dst = append(dst, trailerFrame, 0, 0, 0, 0)
	for i := range h.Fields {
		if h.Fields[i].Dropped() {
			continue
		}
		dst = append(message.AppendLower(dst, h.Name(i)), ": "...)
		dst = append(dst, h.Value(i)...)
		dst = append(dst, "\r\n"...)
	}
	binary.BigEndian.PutUint32(dst[at+1:], uint32(len(dst)-at-5))
	return dst
}

// Quartet decodes base64 that comes in pieces.
type Quartet struct {
	in [4]byte
	n  uint8
}

// Decode appends what p stands for, as far as its groups of four are whole. Padding may end any of them.
func (q *Quartet) Decode(dst, p []byte) ([]byte, error) {
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
			return dst, ErrBase64
		}
		dst = append(dst, group[:n]...)
	}
	return dst, nil
}

// Whole reports whether no group was cut: only then a body may end.
func (q *Quartet) Whole() bool { return q.n == 0 }
