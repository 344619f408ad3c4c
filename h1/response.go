package h1

import "github.com/edge-proxy/edge/message"

// parseResponse parses the head of an answer to a request of method v, which asked for a tunnel or not, from the start
// of b and returns its length; 0 when b ends before it does.
func parseResponse(b []byte, h *message.Head, l *Limits, v message.Verb, tunnel bool) (int, *Error) {
	reset(h)
	i, e := parseStatusLine(b, h)
	if i == 0 || e != nil {
		return 0, e
	}
	if i > l.fieldBytes() {
		return 0, ErrFieldTooLarge
	}
	var s section
	s.begin(b, h.Fields, l.fieldCount(), l.fieldBytes(), ErrTooManyFields)
	n, e := s.parse(i)
	h.Fields = s.table[:s.count]
	if n == 0 || e != nil {
		return 0, e
	}
	h.Base = b[: n-2 : n-2]
	return n, frameResponse(h, &s.marks, v, tunnel)
}

// okLine is how nearly every answer begins, and okReason where its reason lies.
const okLine = "HTTP/1.1 200 OK\r\n"

var okReason = message.Span{At: uint32(len("HTTP/1.1 200 ")), Len: 2}

// beginsOK reports whether b begins with okLine. Sixteen bytes are compared without a call.
func beginsOK(b []byte) bool {
	return len(b) >= len(okLine) && string(b[:16]) == "HTTP/1.1 200 OK\r" && b[16] == '\n'
}

// parseStatusLine parses HTTP-version SP status-code SP [ reason-phrase ] CRLF (RFC 9112 §4) and returns its length, 0
// when b is too short. The second space may be missing when there is no reason, as some origins have it.
func parseStatusLine(b []byte, h *message.Head) (int, *Error) {
	if beginsOK(b) {
		h.Proto, h.Status, h.Reason = message.HTTP11, 200, okReason
		return len(okLine), nil
	}
	n, e := parseVersion(b, &h.Proto, errStatusLine)
	if n == 0 || e != nil {
		return 0, e
	}
	const shape = " ddd"
	for i := 0; i < len(shape) && n+i < len(b); i++ {
		switch c := b[n+i]; {
		case i == 0 && c != ' ', i > 0 && (c < '0' || c > '9'):
			return 0, errStatusLine
		case i > 0:
			h.Status = h.Status*10 + uint16(c-'0')
		}
	}
	at := n + len(shape)
	if at >= len(b) {
		return 0, nil
	}
	// RFC 9110 §15: values outside the range 100..599 are invalid.
	if h.Status < 100 || h.Status > 599 {
		return 0, errStatusLine
	}
	switch b[at] {
	case ' ':
		at++
	case '\r', '\n':
	default:
		return 0, errStatusLine
	}
	end := controlFrom(b, at)
	if end == len(b) {
		return 0, nil
	}
	if e := lineEnd(b, end); e != nil {
		return 0, e
	}
	if end+1 == len(b) {
		return 0, nil
	}
	h.Reason = message.Span{At: uint32(at), Len: uint32(end - at)}
	return end + 2, nil
}
