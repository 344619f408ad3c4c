package proxy

import "github.com/edge-proxy/edge/message"

// emittedKept is the capacity that the buffers of Emit keep.
const emittedKept = 256 << 10

// Emit passes p on in place of what the present body filter was given. Only inside RequestBody and ResponseBody.
// p is borrowed until return.
func (x *Exchange) Emit(p []byte) { x.local.emitted = append(x.local.emitted, p...) }

// transform runs the body filters over p. The result is borrowed until the next call.
func (x *Exchange) transform(list []onBody, p []byte, end bool) ([]byte, Verdict) {
	l := x.local
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

// filterUp passes a piece of the request's body through the filters and on. in is how many bytes it stands for that are
// not in the account yet.
func (x *Exchange) filterUp(p []byte, in int, end bool) {
	p, v := x.transform(x.route.chain.requestBody, p, end)
	switch v.kind {
	case next:
		x.pushUp(p, in, end)
	case respond:
		x.toUp.owed += in
		x.respond(v.status, v.body)
	default: // a body has nowhere to wait
		x.toUp.owed += in
		x.fail(faultFilter)
	}
}

// bodyWaited goes on with the part of the request's body that came before it could be filtered, and reports whether
// the exchange goes on.
func (x *Exchange) bodyWaited() bool {
	gen := x.gen.Load()
	p := x.toUp.filterable()
	if m := x.listener.BodyMax; m > 0 && x.bodyIn > m {
		x.fail(faultTooLarge)
		return false
	}
	x.filterUp(p, 0, x.toUp.ended)
	return x.gen.Load() == gen && !x.own
}

// filterDown passes a piece of the answer's body through the filters and on, or lets it wait for its head.
func (x *Exchange) filterDown(p []byte, in int, end bool) {
	if !x.answering {
		x.toDown.wait(p, end)
		if end {
			x.requestSent()
		}
		return
	}
	p, v := x.transform(x.route.chain.responseBody, p, end)
	if v.kind != next {
		x.cut(faultFilter)
		return
	}
	x.pushDown(p, in, end)
}

// unmeasured takes the length away from an answer whose body filters may change; one that knows it sets it again.
func (x *Exchange) unmeasured(end bool) {
	if len(x.route.chain.responseBody) == 0 {
		return
	}
	x.Response.Drop(message.ContentLength)
	if !end {
		x.Response.Length = message.LengthUnknown
	}
}

// discardBody lets what is left of the request's body come and throws it away.
func (x *Exchange) discardBody() {
	x.own = true
	if n := x.toUp.owed; n > 0 {
		x.toUp.owed = 0
		x.down.Release(n)
	}
}
