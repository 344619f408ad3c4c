package proxy

import (
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy/forwarding"
)

// DefaultName is how a Proxy names itself in Via and Proxy-Status unless SetName says otherwise.
const DefaultName = "edge"

// forward is the filter that every route to a Forwarder begins with: RFC 9110 §7.6.
var forward = &Filter{
	Name: "forwarding",
	UpstreamRequest: func(x *Exchange) {
		ok := forwarding.Request(&x.Request, &forwarding.Facts{
			Name: x.proxy.name, Peer: x.down.Peer(), Secured: x.digest != nil,
			Trusted: x.trusted, Forwarded: x.listener.Forwarded,
		})
		if !ok {
			x.refusal = faultLoop
		}
	},
	UpstreamResponse: func(x *Exchange) { forwarding.Response(&x.Response, x.proxy.name) },
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
