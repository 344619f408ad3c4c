package proxy

import (
	"encoding/base64"
	"time"

	"github.com/edge-proxy/edge/internal/exchange/grpc"
	"github.com/edge-proxy/edge/message"
)

// call is the state of a gRPC call of an Exchange. On a route with GRPC a request of one of its types is a call.
// Owned by its exchange. The zero value is no call.
type call struct {
	form        grpc.Form
	answered    bool         // the answer is one of gRPC
	known       bool         // status came, or was made here
	contentType message.Span // of the request, as the client gave it
	status      int
	deadline    int64        // of the client's, where it is nearer than the route's; reactor time, 0: none
	quartet     grpc.Quartet // bytes of WebText that were not decoded yet
}

// begin looks whether the request h is a call, and makes gRPC of gRPC-Web.
func (c *call) begin(h *message.Head) {
	at := h.Find("Content-Type")
	if at < 0 {
		return
	}
	if c.form = grpc.FormOf(h.Value(at)); c.form == grpc.None {
		return
	}
	c.contentType = message.Span{At: h.Fields[at].ValueAt, Len: h.Fields[at].ValueLen}
	h.Trailers = true // its answers end with trailers, whatever was said to a proxy before this one
	if c.form != grpc.Native {
		grpc.RequestHead(h, c.form)
	}
}

// note keeps the status of the call.
func (c *call) note(h *message.Head) {
	if status, ok := grpc.Status(h); ok {
		c.status, c.known = status, status >= 0
	}
}

// web reports whether the body of the answer has to be made one of gRPC-Web.
func (c *call) web() bool { return c.form > grpc.Native && c.answered }

// answer takes the head of an answer to a call. end says that it is nothing else.
func (c *call) answer(h *message.Head, end bool) {
	c.note(h)
	c.answered = grpc.FormOf(h.Peek(message.ContentType)) == grpc.Native
	if c.web() {
		grpc.ResponseHead(h, c.form, end)
	}
}

// fails makes h the answer to a call that fails with f, or with a status of HTTP where f is nil, and reports whether
// request is one: 200 with grpc-status in a head that ends the stream. A client that speaks gRPC hears of the failure
// in its own language also where no route was found.
func (c *call) fails(h, request *message.Head, f *Error, status int, text string) bool {
	contentType := request.Peek(message.ContentType)
	if c.form != grpc.None { // the field may be gone, or what was made of the client's
		contentType = request.Bytes(c.contentType)
	}
	if status < 300 || grpc.FormOf(contentType) == grpc.None {
		return false
	}
	h.Status = 200
	h.AddID(message.ContentType, "Content-Type", string(contentType))
	c.addStatus(h, f, status, text)
	c.answered = false
	return true
}

// addStatus adds what became of the call: f, or a status of HTTP where f is nil.
func (c *call) addStatus(h *message.Head, f *Error, status int, text string) {
	c.status, c.known = grpc.StatusOf(status), true
	if f != nil && f.call != 0 {
		c.status = f.call
	}
	grpc.AddStatus(h, c.status, text)
}

// deadlineSlack is how much earlier than here a deadline may come for the origin, which has a clock of its own.
const deadlineSlack = 5 * int64(time.Millisecond)

// cancelled returns why an origin took its answer to a call back: it does so at the deadline, as the client would.
func (c *call) cancelled(f *Error, now int64) *Error {
	if c.deadline > 0 && f == backendCancelled && now+deadlineSlack >= c.deadline {
		return deadlinePassed
	}
	return f
}

// decode returns what a piece of a body in base64 stands for, borrowed until the next call. An end that cuts a group of
// four is an error.
func (c *call) decode(l *local, p []byte, end bool) ([]byte, error) {
	out, err := c.quartet.Decode(l.coded[:0], p)
	l.coded = out[:0]
	if err == nil && end && !c.quartet.Whole() {
		err = grpc.ErrBase64
	}
	return out, err
}

// encode returns a piece of the answer, and the trailers after it unless they are nil, as the client wants it. Borrowed
// until the next call.
func (c *call) encode(l *local, p []byte, trailers *message.Head) []byte {
	at := 0
	out := l.coded[:0]
	if trailers != nil || c.form == grpc.WebText {
		out = append(out, p...)
		if trailers != nil {
			out = grpc.AppendTrailers(out, trailers)
		}
		p = out
	}
	if c.form == grpc.WebText && len(out) > 0 {
		at = len(out)
		out = base64.StdEncoding.AppendEncode(out, out[:at])
		p = out[at:]
	}
	if l.coded = out[:0]; cap(l.coded) > emittedKept {
		l.coded = nil
	}
	return p
}
