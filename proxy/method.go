package proxy

import (
	"strconv"

	"github.com/edge-proxy/edge/message"
)

// allowed is what Allow says where the proxy answers for itself: RFC 9110 §10.2.1.
const allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// unusual chooses the route of a request that is CONNECT, OPTIONS or TRACE. It reports whether it answered instead.
func unusual(x *Exchange) bool {
	h := &x.Request
	// RFC 9110 §9.3.7: OPTIONS with "*" is about the server as a whole, and no route is. It serves as a ping: there is
	// no resource whose methods Allow could name.
	if h.Verb == message.VerbOptions && h.Target.Len == 1 && h.Bytes(h.Target)[0] == '*' {
		x.ownAnswer(Respond(200, ""))
		return true
	}
	if !x.findRoute() {
		return true
	}
	switch {
	case x.route == nil && h.Verb == message.VerbOptions:
		x.fail(faultNoRoute)
		return true
	case x.route == nil: // none that names the method
		x.fail(faultMethod)
		return true
	case h.Verb == message.VerbConnect:
		return false
	}
	return lastHop(x)
}

// lastHop reports whether Max-Forwards ends an OPTIONS or a TRACE here, which is answered then; else it counts down:
// RFC 9110 §7.6.2.
func lastHop(x *Exchange) bool {
	h := &x.Request
	v := h.Peek(message.MaxForwards)
	if v == nil {
		return false
	}
	n, err := strconv.ParseUint(string(v), 10, 32)
	switch {
	case err != nil:
		x.fail(faultMaxForwards)
	case n > 0:
		h.Set("Max-Forwards", strconv.FormatUint(n-1, 10))
		return false
	case h.Verb == message.VerbOptions:
		x.ownAnswer(Respond(200, "").With("Allow", allowed))
	default:
		x.fail(faultMethod)
	}
	return true
}
