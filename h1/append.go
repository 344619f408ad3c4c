package h1

import (
	"strconv"

	"github.com/edge-proxy/edge/message"
)

// ResponseOptions are the facts that AppendResponse needs beside the head. The zero value is an answer on a connection
// of HTTP/1.1 that persists.
type ResponseOptions struct {
	ToHTTP10    bool // the client speaks HTTP/1.0: no chunks, and "keep-alive" where the connection persists
	Close       bool // this is the last answer on the connection
	HeadRequest bool // the answer to HEAD: no body, whatever Length says
}

// AppendRequest appends the head of a request to dst: Host from Authority, the fields as they are, then the framing
// that Length, Chunked and Close say. A body of unknown length is sent in chunks, since a request cannot end with the
// connection. Upgrade asks for Protocol, Trailers says TE: trailers. The version is always HTTP/1.1.
func AppendRequest(dst []byte, h *message.Head) []byte {
	start := requestStart(h)
	if start == 0 {
		dst = append(dst, h.MethodBytes()...)
		dst = append(dst, ' ')
		dst = append(dst, h.Bytes(h.Target)...)
		dst = append(dst, lineAndHost...)
		dst = append(dst, h.Bytes(h.Authority)...)
		dst = append(dst, '\r', '\n')
	}
	dst = appendFields(dst, h, start)
	switch {
	case h.Chunked || h.Length < 0:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case h.Length > 0 || h.Verb == message.VerbPost || h.Verb == message.VerbPut || h.Verb == message.VerbPatch:
		// RFC 9110 §8.6: SHOULD send Content-Length when the method defines a meaning for content, even if 0.
		dst = appendLength(dst, h.Length)
	}
	if h.Close || h.Trailers || h.Upgrade {
		dst = appendConnection(dst, h)
	}
	return append(dst, '\r', '\n')
}

// lineAndHost stands between the target and the authority.
const lineAndHost = " HTTP/1.1\r\nHost: "

// requestStart returns how many bytes of Base are the request line and Host just as they would be written, 0 where they
// are not: Host comes first in most requests.
func requestStart(h *message.Head) int {
	target, host := h.Target.At+h.Target.Len, h.Authority.At
	if h.Method.At != 0 || h.Target.At != h.Method.Len+1 || host != target+uint32(len(lineAndHost)) {
		return 0
	}
	b, end := h.Base, host+h.Authority.Len
	if uint64(len(b)) < uint64(end)+2 || octet(b, int(h.Method.Len)) != ' ' || half(b, int(end)) != crlf ||
		string(b[target:host-1]) != " HTTP/1.1\r\nHost:" || octet(b, int(host-1)) != ' ' {
		return 0
	}
	return int(end) + 2
}

// appendConnection appends what a request asks of its connection. RFC 9110 §10.1.4, §7.8: TE and Upgrade have to be
// named by Connection.
func appendConnection(dst []byte, h *message.Head) []byte {
	upgrade := h.Upgrade && h.Protocol.Len > 0
	sep := "Connection: "
	for _, o := range [...]struct {
		on   bool
		name string
	}{{h.Close, "close"}, {h.Trailers, "TE"}, {upgrade, "Upgrade"}} {
		if o.on {
			dst = append(append(dst, sep...), o.name...)
			sep = ", "
		}
	}
	if sep == ", " {
		dst = append(dst, '\r', '\n')
	}
	if h.Trailers {
		dst = append(dst, "TE: trailers\r\n"...)
	}
	if upgrade {
		dst = appendUpgrade(dst, h)
	}
	return dst
}

func appendUpgrade(dst []byte, h *message.Head) []byte {
	dst = append(dst, "Upgrade: "...)
	dst = append(dst, h.Bytes(h.Protocol)...)
	return append(dst, '\r', '\n')
}

// AppendResponse appends the head of a response to dst. Length and Chunked say the framing; with neither, or chunked
// to HTTP/1.0, the body ends with the connection and the head says so. Close of h is not looked at: it belongs to the
// connection that h came from. A head with Tunnel has no framing; 101 says Protocol.
func AppendResponse(dst []byte, h *message.Head, o ResponseOptions) []byte {
	start := 0
	if h.Status == 200 && h.Reason == okReason && beginsOK(h.Base) {
		start = len(okLine) // as it came
	} else {
		dst = appendStatusLine(dst, h)
	}
	if start > 0 || len(h.Fields) > 0 {
		dst = appendFields(dst, h, start)
	}
	final := h.Status >= 200
	untilClose := false
	switch {
	case !final, h.Status == 204, h.Tunnel:
		// RFC 9112 §6.1, RFC 9110 §8.6: MUST NOT send either field in a response with a status code of 1xx or 204, nor
		// in a 2xx to CONNECT.
	case h.Status == 304, o.HeadRequest:
		dst = appendForeignLength(dst, h)
	case h.Chunked && !o.ToHTTP10:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case h.Length >= 0 && !h.Chunked:
		dst = appendLength(dst, h.Length)
	default:
		untilClose = true
	}
	switch {
	case h.Tunnel:
		if !final {
			dst = appendUpgrade(append(dst, "Connection: Upgrade\r\n"...), h)
		}
	case !final:
	case o.Close || untilClose:
		dst = append(dst, "Connection: close\r\n"...)
	case o.ToHTTP10:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	return append(dst, '\r', '\n')
}

func appendStatusLine(dst []byte, h *message.Head) []byte {
	if h.Status == 200 && (h.Reason.Len == 0 || string(h.Bytes(h.Reason)) == "OK") {
		return append(dst, "HTTP/1.1 200 OK\r\n"...)
	}
	s := h.Status
	dst = append(dst, "HTTP/1.1 "...)
	dst = append(dst, byte('0'+s/100%10), byte('0'+s/10%10), byte('0'+s%10), ' ')
	if h.Reason.Len > 0 {
		dst = append(dst, h.Bytes(h.Reason)...)
	} else {
		dst = append(dst, Reason(int(s))...)
	}
	return append(dst, '\r', '\n')
}

// appendForeignLength appends the Content-Length of an answer without a body, which tells the length that another
// answer would have: as it came, or Length of a head that was made here.
func appendForeignLength(dst []byte, h *message.Head) []byte {
	if v := h.Peek(message.ContentLength); v != nil {
		dst = append(dst, "Content-Length: "...)
		dst = append(dst, v...)
		return append(dst, '\r', '\n')
	}
	if h.Length > 0 && h.Status != 304 {
		return appendLength(dst, h.Length)
	}
	return dst
}

// crlf is a line end as one load sees it.
const crlf = '\r' | '\n'<<8

// appendFields appends the first start bytes of Base and the fields that are neither dropped nor of framing. Neighbours
// that lie in Base just as they would be written are copied in one go: most heads pass with few changes.
//
//	Base  Host: a\r\nAccept: */*\r\nCookie: x=y\r\nConnection: keep-alive\r\n
//	                └──────────── run ────────────┘
func appendFields(dst []byte, h *message.Head, start int) []byte {
	from, to := uint32(0), uint32(start)
	for i := 0; ; {
		i, to = runEnd(h.Fields, i, to)
		dst = append(dst, h.Base[from:to]...)
		if i == len(h.Fields) {
			return dst
		}
		f := &h.Fields[i]
		from, to = f.NameAt, f.NameAt
		if f.Flags == message.Loose {
			dst = append(append(dst, h.Name(i)...), ": "...)
			dst = append(append(dst, h.Value(i)...), "\r\n"...)
			i++
		}
	}
}

// runEnd returns the index of the first field, from i on, that is to be written and does not continue the run that has
// come up to to. It returns where the run ends, too.
func runEnd(fields []message.Field, i int, to uint32) (int, uint32) {
	for ; i < len(fields); i++ {
		f := &fields[i]
		switch {
		case f.ID.Framing():
		case f.Flags == 0 && f.NameAt == to:
			to = f.ValueAt + f.ValueLen + 2
		case !f.Dropped():
			return i, to
		}
	}
	return i, to
}

// appendLength appends the field of a length, n >= 0, digit by digit: strconv does more than is needed.
func appendLength(dst []byte, n int64) []byte {
	const name, digits = "Content-Length: ", 19
	if n < 10 { // bytes of a known number are stored, others are copied by a call
		return append(append(dst, name...), byte('0'+n), '\r', '\n')
	}
	line := [digits + 2]byte{digits: '\r', digits + 1: '\n'}
	at := digits
	for v := uint64(n); ; v /= 10 {
		at--
		line[at] = byte('0' + v%10)
		if v < 10 {
			break
		}
	}
	return append(append(dst, name...), line[at:]...)
}

// AppendChunk appends p as a chunk. Nothing for an empty p: that would end the body.
func AppendChunk(dst, p []byte) []byte {
	if len(p) == 0 {
		return dst
	}
	dst = AppendChunkHead(dst, len(p))
	dst = append(dst, p...)
	return append(dst, '\r', '\n')
}

// AppendChunkHead appends the line before n bytes of data, n > 0. CRLF has to follow them.
func AppendChunkHead(dst []byte, n int) []byte {
	dst = strconv.AppendUint(dst, uint64(n), 16)
	return append(dst, '\r', '\n')
}

// AppendLastChunk appends the end of a chunked body, with the fields of trailers when it is not nil.
func AppendLastChunk(dst []byte, trailers *message.Head) []byte {
	dst = append(dst, '0', '\r', '\n')
	if trailers != nil {
		dst = appendFields(dst, trailers, 0)
	}
	return append(dst, '\r', '\n')
}
