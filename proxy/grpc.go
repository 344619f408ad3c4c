package proxy

import (
	"bytes"
	"strconv"
	"time"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// call is what an Exchange knows of a gRPC call: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. On a
// route with GRPC a request of one of its types is a call:
//
//	grpc       passes as it is; what the proxy has to say, it says as grpc-status
//	web        binary gRPC-Web: the trailers of the answer become its last frame, see grpcweb.go
//	webText    the same in base64, both ways
//
// Owned by its exchange. The zero value is no call.
type call struct {
	form     form
	answered bool // the answer is one of gRPC
	known    bool // status came, or was made here
	status   int
	deadline int64   // of the client's, where it is nearer than that of the route; reactor time, 0: none
	quartet  quartet // what of webText was not decoded yet
}

// form is how a client speaks gRPC.
type form uint8

const (
	noCall form = iota
	grpc
	web
	webText
)

// The statuses of gRPC that a proxy has a use for.
const (
	grpcCancelled       = 1
	grpcUnknown         = 2
	grpcDeadline        = 4
	grpcDenied          = 7
	grpcExhausted       = 8
	grpcUnimplemented   = 12
	grpcInternal        = 13
	grpcUnavailable     = 14
	grpcUnauthenticated = 16
)

const (
	typeGRPC    = "application/grpc"
	suffixWeb   = "-web"
	suffixText  = "-text"
	statusField = "grpc-status"
	textField   = "grpc-message"
)

// formOf returns the form of a content type.
func formOf(contentType []byte) form {
	n := len(typeGRPC)
	if len(contentType) < n || !message.EqualFold(contentType[:n], typeGRPC) {
		return noCall
	}
	f, rest := grpc, contentType[n:]
	if w := len(suffixWeb); len(rest) >= w && message.EqualFold(rest[:w], suffixWeb) {
		f, rest = web, rest[w:]
		if t := len(suffixText); len(rest) >= t && message.EqualFold(rest[:t], suffixText) {
			f, rest = webText, rest[t:]
		}
	}
	if len(rest) > 0 && rest[0] != '+' && rest[0] != ';' && rest[0] != ' ' {
		return noCall
	}
	return f
}

// beginCall looks whether the request is a call, and makes gRPC of gRPC-Web.
func (x *Exchange) beginCall() {
	h := &x.Request
	at := h.Find("Content-Type")
	if at < 0 {
		return
	}
	if x.call.form = formOf(h.Value(at)); x.call.form == noCall {
		return
	}
	x.callType = message.Span{At: h.Fields[at].ValueAt, Len: h.Fields[at].ValueLen}
	h.Trailers = true // its answers end with trailers, whatever was said to a proxy before this one
	if s, ok := x.down.(session.Unhurried); ok {
		s.Unhurry() // its messages come when there is something to say
	}
	if x.call.form != grpc {
		x.unwebRequest()
	}
}

// timeout returns the time that the client gives the call, 0 when it gives none: eight digits at the most and a unit.
func (x *Exchange) callTimeout() time.Duration {
	i := x.Request.Find("grpc-timeout")
	if i < 0 {
		return 0
	}
	v := x.Request.Value(i)
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
	unit := unitOf(v[len(v)-1])
	switch {
	case unit == 0:
		return 0
	case n > int64(callTimeoutMax/unit):
		return callTimeoutMax
	}
	return max(time.Duration(n)*unit, 1)
}

// unitOf returns what a letter of grpc-timeout stands for, 0 for none.
func unitOf(letter byte) time.Duration {
	switch letter {
	case 'H':
		return time.Hour
	case 'M':
		return time.Minute
	case 'S':
		return time.Second
	case 'm':
		return time.Millisecond
	case 'u':
		return time.Microsecond
	case 'n':
		return time.Nanosecond
	}
	return 0
}

// callTimeoutMax is more than anybody waits. What a client may write, 99999999H, does not fit a Duration.
const callTimeoutMax = 1000 * time.Hour

// noteStatus keeps the status of the call, which is in the head of an answer that is nothing else, or in its trailers.
func (x *Exchange) noteStatus(h *message.Head) {
	if i := h.Find(statusField); i >= 0 {
		n, err := strconv.Atoi(string(h.Value(i)))
		x.call.status, x.call.known = n, err == nil && n >= 0
	}
}

// answerCall takes the head of an answer to a call.
func (x *Exchange) answerCall() {
	h := &x.Response
	x.noteStatus(h)
	x.call.answered = formOf(h.Peek(message.ContentType)) == grpc
	if x.call.answered && x.call.form != grpc {
		x.webResponse()
	}
}

// callStatus returns the status of gRPC for one of HTTP: https://grpc.io/docs/guides/status-codes, and
// doc/http-grpc-status-mapping.md there, but for what the proxy knows better.
func callStatus(status int) int {
	switch status {
	case 400, 500, 508:
		return grpcInternal
	case 401:
		return grpcUnauthenticated
	case 403:
		return grpcDenied
	case 404, 405, 501:
		return grpcUnimplemented
	case 408, 504:
		return grpcDeadline
	case 413, 431:
		return grpcExhausted
	case 429, 502, 503:
		return grpcUnavailable
	case 499:
		return grpcCancelled
	}
	return grpcUnknown
}

// failsCall makes h the answer to a call that fails with a status of HTTP, and reports whether the request is one: 200
// with grpc-status in a head that ends the stream. A client that speaks gRPC hears of the failure in its own language
// also where no route was found.
func (x *Exchange) failsCall(h *message.Head, status int, text string) bool {
	contentType := x.Request.Peek(message.ContentType)
	if x.call.form != noCall { // the field may be gone, or what was made of the client's
		contentType = x.Request.Bytes(x.callType)
	}
	if formOf(contentType) == noCall || status < 300 {
		return false
	}
	h.Status = 200
	h.AddID(message.ContentType, "Content-Type", string(contentType))
	x.addStatus(h, x.fault, status, text)
	x.call.answered = false
	return true
}

// addStatus adds what became of the call: f, or a status of HTTP where f is nil.
func (x *Exchange) addStatus(h *message.Head, f *Fault, status int, text string) {
	x.call.status, x.call.known = callStatus(status), true
	if f != nil && f.call != 0 {
		x.call.status = f.call
	}
	h.Add(statusField, strconv.Itoa(x.call.status))
	if text = string(appendCallText(nil, text)); text != "" {
		h.Add(textField, text)
	}
}

// callTextMax bounds what of a text goes into grpc-message.
const callTextMax = 256

// appendCallText appends text as grpc-message wants it: percent-encoded.
func appendCallText(dst []byte, text string) []byte {
	const digits = "0123456789ABCDEF"
	text = string(bytes.TrimSpace([]byte(text)))
	if len(text) > callTextMax {
		text = text[:callTextMax]
	}
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '%' {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// deadlineSlack is how much earlier than here a deadline may come for the origin, which has a clock of its own.
const deadlineSlack = 5 * int64(time.Millisecond)

// cancelled returns why an origin took its answer to a call back: it does so at the deadline, as the client would.
func (x *Exchange) cancelled(f *Fault) *Fault {
	if d := x.call.deadline; f == faultCancelled && d > 0 && x.local.reactor.Now()+deadlineSlack >= d {
		return faultDeadline
	}
	return f
}

// endCall ends an answer that has begun and cannot be completed by saying why, where there is room for that: a reset
// says less. It reports whether it did.
func (x *Exchange) endCall(f *Fault) bool {
	l := &x.toDown
	if !x.call.answered || !x.answering || l.endSent || len(l.held) > 0 || l.waiting || x.down.Congested() {
		return false
	}
	var h message.Head
	x.addStatus(&h, f, f.Status, f.Text)
	if x.call.form == grpc {
		return x.down.SendTrailers(&h) == nil
	}
	last := x.encodeWeb(nil, &h)
	n, err := x.down.SendData(last, true)
	return err == nil && n == len(last) // nobody is left who would send the rest
}
