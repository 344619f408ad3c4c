package grpc

import (
	"bytes"
	"strconv"
	"time"

	"github.com/edge-proxy/edge/message"
)

// Form is how a client speaks gRPC: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
type Form uint8

// The forms.
const (
	None    Form = iota // it does not
	Native              // passes as it is; what the proxy has to say, it says as grpc-status
	Web                 // binary gRPC-Web: the trailers of the answer become its last frame
	WebText             // the same in base64, both ways
)

// The statuses of gRPC that a proxy has a use for.
const (
	Cancelled       = 1
	Unknown         = 2
	Deadline        = 4
	Denied          = 7
	Exhausted       = 8
	Unimplemented   = 12
	Internal        = 13
	Unavailable     = 14
	DataLoss        = 15
	Unauthenticated = 16
)

const (
	typeGRPC    = "application/grpc"
	suffixWeb   = "-web"
	suffixText  = "-text"
	statusField = "grpc-status"
	textField   = "grpc-message"
)

// FormOf returns the form of a content type.
func FormOf(contentType []byte) Form {
	n := len(typeGRPC)
	if len(contentType) < n || !message.EqualFold(contentType[:n], typeGRPC) {
		return None
	}
	f, rest := Native, contentType[n:]
	if w := len(suffixWeb); len(rest) >= w && message.EqualFold(rest[:w], suffixWeb) {
		f, rest = Web, rest[w:]
		if t := len(suffixText); len(rest) >= t && message.EqualFold(rest[:t], suffixText) {
			f, rest = WebText, rest[t:]
		}
	}
	if len(rest) > 0 && rest[0] != '+' && rest[0] != ';' && rest[0] != ' ' {
		return None
	}
	return f
}

// Timeout returns the time that the client gives the call, 0 when it gives none: eight digits at the most and a unit.
func Timeout(h *message.Head) time.Duration {
	i := h.Find("grpc-timeout")
	if i < 0 {
		return 0
	}
	v := h.Value(i)
	if len(v) < 2 || len(v) > 9 {
		return 0
	}
	var n int64
	for _, c := range v[:len(v)-1] {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	unit := units[v[len(v)-1]]
	switch {
	case unit == 0:
		return 0
	case n > int64(timeoutMax/unit):
		return timeoutMax
	}
	return max(time.Duration(n)*unit, 1)
}

// units are the units that the letters of grpc-timeout name; 0: it names none.
var units = [256]time.Duration{
	'H': time.Hour, 'M': time.Minute, 'S': time.Second,
	'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
}

// timeoutMax is longer than any client waits. The largest value of the grammar, 99999999H, does not fit a Duration.
const timeoutMax = 1000 * time.Hour

// Status returns the status of a call, which is in the head of an answer that is nothing else, or in its trailers; -1
// where what h says is none. It reports false where h says nothing.
func Status(h *message.Head) (status int, ok bool) {
	i := h.Find(statusField)
	if i < 0 {
		return 0, false
	}
	if n, err := strconv.Atoi(string(h.Value(i))); err == nil && n >= 0 {
		return n, true
	}
	return -1, true
}

// AddStatus adds the status of the call to a head, or to trailers.
func AddStatus(h *message.Head, status int, text string) {
	h.Add(statusField, strconv.Itoa(status))
	if text = string(appendText(nil, text)); text != "" {
		h.Add(textField, text)
	}
}

// StatusOf returns the status of gRPC for one of HTTP: https://grpc.io/docs/guides/status-codes, and
// doc/http-grpc-status-mapping.md there, but for what the proxy knows better.
func StatusOf(status int) int {
	switch status {
	case 400, 500, 508:
		return Internal
	case 401:
		return Unauthenticated
	case 403:
		return Denied
	case 404, 405, 501:
		return Unimplemented
	case 408, 504:
		return Deadline
	case 413, 431:
		return Exhausted
	case 429, 502, 503:
		return Unavailable
	case 499:
		return Cancelled
	}
	return Unknown
}

// StatusOfHead returns the status of a call whose answer begins with h: 0 where it may still be a good one. end says
// that h is all of the answer.
func StatusOfHead(h *message.Head, end bool) int {
	if h.Status != 200 {
		return StatusOf(int(h.Status))
	}
	if status, ok := Status(h); ok && end {
		if status < 0 {
			return Unknown
		}
		return status
	}
	return 0
}

// Failed reports whether a status says that the server failed, rather than the call.
func Failed(status int) bool {
	switch status {
	case Unknown, Deadline, Exhausted, Internal, Unavailable, DataLoss:
		return true
	}
	return false
}

// textMax bounds the part of a text that goes into grpc-message.
const textMax = 256

// appendText appends text as grpc-message wants it: percent-encoded.
func appendText(dst []byte, text string) []byte {
	text = string(bytes.TrimSpace([]byte(text)))
	if len(text) > textMax {
		text = text[:textMax]
	}
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '%' {
			dst = message.AppendPercent(dst, c)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}
