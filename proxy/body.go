package proxy

import (
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy/grpc"
)

// emittedKept is the capacity that the buffers of Emit keep.
const emittedKept = 256 << 10

// transform runs the body filters over p. The result is borrowed until the next call.
func (l *local) transform(x *Exchange, list []onBody, p []byte, end bool) ([]byte, Verdict) {
	if cap(l.emitted)+cap(l.input) > 2*emittedKept {
		l.emitted, l.input = nil, nil
	}
	for _, f := range list {
		l.emitted, l.input = l.input[:0], l.emitted
		if v := f(x, p, end); v.kind != next {
			return nil, v
		}
		p = l.emitted
	}
	return p, Next
}

// stageUp returns what a piece of the request's body becomes before it goes on: the filters of the route come first,
// then gRPC-Web. It reports false where the exchange was answered instead.
func stageUp(x *Exchange, p []byte, in int, end bool) (out []byte, ok bool) {
	if list := x.route.chain.requestBody; len(list) > 0 {
		var v Verdict
		if p, v = x.local.transform(x, list, p, end); v.kind != next {
			x.toUp.owed += in
			if v.kind == respond {
				x.respond(v)
			} else { // a body has nowhere to wait
				x.fail(faultFilter)
			}
			return nil, false
		}
	}
	if x.call.form == grpc.WebText {
		var err error
		if p, err = x.call.decode(x.local, p, end); err != nil {
			x.toUp.owed += in
			x.fail(faultBase64)
			return nil, false
		}
	}
	return p, true
}

// bodyWaited goes on with the part of the request's body that came before it could be filtered, and reports whether
// the exchange goes on.
func bodyWaited(x *Exchange) bool {
	gen := x.gen.Load()
	p := x.toUp.filterable()
	if x.bodyIn > x.listener.bodyMax {
		x.fail(faultTooLarge)
		return false
	}
	x.pushUp(p, 0, x.toUp.ended)
	return x.gen.Load() == gen && !x.own
}

// stageAnswer decides, when the head of the answer has come, whether something looks at its body.
func stageAnswer(x *Exchange) {
	if x.tunnel { // filters of bodies do not see it
		x.toDown.staged = x.socket.asked
		return
	}
	x.toDown.staged = len(x.route.chain.responseBody) > 0 || x.call.web()
}

// stageDown returns what a piece of the answer's body becomes before it goes on. It reports false where it waits for
// its head, or the exchange is over.
func stageDown(x *Exchange, p []byte, in int, end bool) (out []byte, ok bool) {
	if x.tunnel {
		x.socket.sent.Pass(p)
		return p, true
	}
	if list := x.route.chain.responseBody; len(list) > 0 {
		if !x.answering {
			x.toDown.wait(p, end)
			if end {
				x.requestSent()
			}
			return nil, false
		}
		var v Verdict
		if p, v = x.local.transform(x, list, p, end); v.kind != next {
			x.cut(faultFilter)
			return nil, false
		}
	}
	if x.call.web() {
		var trailers *message.Head
		if end { // those of gRPC end here
			trailers, x.toDown.trailers = x.toDown.trailers, nil
		}
		p = x.call.encode(x.local, p, trailers)
	}
	return p, true
}

// unmeasured takes the length away from an answer whose body filters may change; one that knows it sets it again.
func unmeasured(x *Exchange, end bool) {
	x.Response.Drop(message.ContentLength)
	if !end {
		x.Response.Length = message.LengthUnknown
	}
}
