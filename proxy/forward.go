package proxy

import (
	"bytes"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy/forwarding"
)

// DefaultName is how a Proxy names itself in Via and Proxy-Status unless SetName says otherwise.
const DefaultName = "edge"

// forward makes the request of x one that is sent on: RFC 9110 §7.6.
func forward(x *Exchange, noVia bool) {
	x.forwards = true
	ok := forwarding.Request(&x.Request, x.proxy.name, x.down.Peer().IP.Addr(), forwarding.Facts{
		Secured: x.digest != nil, Trusted: x.trusted, Forwarded: x.listener.Forwarded,
		NoVia: noVia,
	})
	if !ok {
		x.refusal = faultLoop
	}
}

// believe reads the forwarding fields of a request that comes from a trusted proxy. asked says that the target is
// "https://…": RFC 9110 §7.4.
func believe(x *Exchange, asked bool) {
	t, h := x.listener.Trusted, &x.Request
	if !t.Peer(x.down.Peer()) {
		return
	}
	x.trusted = true
	switch by := h.Peek(message.XForwardedProto); {
	case by != nil:
		h.HTTPS = message.EqualFold(by, "https")
	case asked:
		h.HTTPS = true
	}
	x.client = t.Client(h)
}

// Underscores is what a listener does with fields of requests whose names have an underscore. CGI and its kin (WSGI,
// Rack, PHP) tell an application of X_Client and of X-Client by one variable: a client that may send the one says what
// a proxy says by the other.
type Underscores uint8

// The ways to take such fields. Of trailers they are dropped, or pass.
const (
	UnderscoresDrop   Underscores = iota // nobody hears of them
	UnderscoresPass                      // lenient: they are fields like others
	UnderscoresRefuse                    // 400
)

func dropUnderscores(h *message.Head) {
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID == message.Other && bytes.IndexByte(h.Name(i), '_') >= 0 {
			f.Flags |= message.Dropped
		}
	}
	h.Underscores = false
}

// siftTrailers drops the trailer fields of the request that do not pass: what Connection names, what only a proxy has
// to say, and what the route sets. Some origins make one of a head and its trailers. It is called before they are sent
// on, perhaps more than once.
func siftTrailers(x *Exchange) {
	h := x.toUp.trailers
	forwarding.DropNamed(&x.Request, h)
	if h.Underscores && x.listener.Underscores != UnderscoresPass {
		dropUnderscores(h)
	}
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID == message.Other && forwarding.Claims(h, i) {
			f.Flags |= message.Dropped
		}
	}
	if r := x.listener.RequestID; r != nil {
		h.Del(r.field())
	}
	for _, name := range x.route.chain.owned {
		h.Del(name)
	}
}
