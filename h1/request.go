package h1

import (
	"encoding/binary"

	"github.com/edge-proxy/edge/message"
)

const (
	http11 = 'H' | 'T'<<8 | 'T'<<16 | 'P'<<24 | '/'<<32 | '1'<<40 | '.'<<48 | '1'<<56
	getSP  = 'G' | 'E'<<8 | 'T'<<16 | ' '<<24
)

// parseRequest parses the head of a request from the start of b and returns its length; 0 when b ends before it does.
func parseRequest(b []byte, h *message.Head, l *Limits) (int, *Error) {
	reset(h)
	i, e := parseRequestLine(b, h)
	if i == 0 || e != nil {
		return 0, e
	}
	if i > l.requestLine() {
		return 0, ErrURITooLong
	}
	var s section
	s.begin(b, h.Fields, l.fieldCount(), l.fieldBytes(), ErrTooManyFields)
	n, e := s.parse(i)
	h.Fields = s.table[:s.count]
	if n == 0 || e != nil {
		return 0, e
	}
	h.Underscores = s.underscores
	// Without the empty line, and no room after them: a field that is added must not write into the input.
	h.Base = b[: n-2 : n-2]
	if e := resolve(h, &s.marks); e != nil {
		return 0, e
	}
	return n, frameRequest(h, &s.marks)
}

// parseRequestLine parses method SP request-target SP HTTP-version CRLF (RFC 9112 §3) and returns its length, 0 when
// b is too short.
func parseRequestLine(b []byte, h *message.Head) (int, *Error) {
	i := 4
	if len(b) >= 4 && binary.LittleEndian.Uint32(b) == getSP {
		h.Method, h.Verb = message.Span{Len: 3}, message.VerbGet
	} else {
		n, e := methodEnd(b)
		if n < 0 || e != nil {
			return 0, e
		}
		h.Method, h.Verb = message.Span{Len: uint32(n)}, message.LookupVerbBytes(b[:n])
		i = n + 1
	}
	end := targetEnd(b, i)
	if end == len(b) {
		return 0, nil
	}
	if b[end] != ' ' || end == i {
		return 0, badTarget(b, i, end)
	}
	h.Target = message.Span{At: uint32(i), Len: uint32(end - i)}
	rest := b[end+1:]
	if len(rest) >= 10 && binary.LittleEndian.Uint64(rest) == http11 && rest[8] == '\r' && rest[9] == '\n' {
		h.Proto = message.HTTP11
		return end + 1 + 10, nil
	}
	n, e := parseVersion(rest, &h.Proto, errRequestLine)
	if n == 0 || e != nil || n == len(rest) {
		return 0, e
	}
	if rest[n] != '\r' {
		if rest[n] == '\n' {
			return 0, errBareLF
		}
		return 0, errRequestLine
	}
	if n+1 == len(rest) {
		return 0, nil
	}
	return end + 1 + n + 2, lineEnd(rest, n)
}

// methodEnd returns the length of the method at the start of b, -1 when b is too short.
func methodEnd(b []byte) (int, *Error) {
	for i, c := range b {
		if c != ' ' {
			continue
		}
		if !message.ValidName(b[:i]) { // RFC 9110 §9.1: method = token
			return 0, notMethod(b)
		}
		return i, nil
	}
	if len(b) < 1<<16 && !message.ValidName(b) {
		return 0, notMethod(b)
	}
	return -1, nil
}

// notMethod tells clients that speak TLS from the others: RFC 8446 §5.1, their first record is a handshake message of
// version 3.
func notMethod(b []byte) *Error {
	if len(b) >= 2 && b[0] == 22 && b[1] == 3 {
		return ErrTLS
	}
	return errMethod
}

// badTarget names the fault of a target that starts at b[i] and stops at b[end].
func badTarget(b []byte, i, end int) *Error {
	switch {
	case b[end] == '\n':
		return errBareLF
	case b[end] == ' ': // RFC 9112 §3: single spaces; the leniency of §3 for other white space is not taken
		return errRequestLine
	case b[end] == '\r' && end > i: // HTTP/0.9: "GET /"
		return errVersion
	}
	return errTarget
}

// parseVersion parses HTTP-version at the start of b; 0 when b is too short. RFC 9112 §2.3: it is case-sensitive.
func parseVersion(b []byte, p *message.Proto, malformed *Error) (int, *Error) {
	const shape = "HTTP/d.d"
	for i := range min(len(b), len(shape)) {
		if c := shape[i]; b[i] != c && (c != 'd' || b[i] < '0' || b[i] > '9') {
			return 0, malformed
		}
	}
	if len(b) < len(shape) {
		return 0, nil
	}
	switch string(b[5:8]) {
	case "1.1":
		*p = message.HTTP11
	case "1.0":
		*p = message.HTTP10
	default:
		return 0, errVersion
	}
	return len(shape), nil
}

func reset(h *message.Head) { *h = message.Head{Fields: h.Fields[:0]} }
