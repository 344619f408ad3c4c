package session

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/message"
)

// Refuser is a Service that makes the answers to requests which the session itself refuses. The answers of a Service
// that is none have a status and no content, and so have answers of HTTP/2, whose stream does not exist yet.
type Refuser interface {
	// Refusal makes the answer to a request that could not be decoded or did not come in time: it adds fields to h,
	// which has the status, and VerbHead for a HEAD, whose answer goes without the content, and returns the content.
	// Framing and Connection are not its business. cause may be an *h1.Error. On r.
	Refusal(r *engine.Reactor, h *message.Head, cause error) []byte
}

// refusalRoom is more than most refusals take.
const refusalRoom = 512

// AppendRefusal appends the whole answer, of HTTP/1, to a request that never reaches a Receiver. by makes it; where by
// is nil it is a status alone. It says that the connection closes. The answer to HEAD has no content: RFC 9110 §9.3.2.
// On r.
func AppendRefusal(dst []byte, by Refuser, r *engine.Reactor, status int, cause error, head bool) []byte {
	h := message.Head{Status: uint16(status), Proto: message.HTTP11}
	if head {
		h.Verb = message.VerbHead
	}
	var content []byte
	if by != nil {
		content = by.Refusal(r, &h, cause)
	}
	h.Length = int64(len(content))
	dst = h1.AppendResponse(dst, &h, h1.ResponseOptions{Close: true, HeadRequest: head})
	if head {
		return dst
	}
	return append(dst, content...)
}
