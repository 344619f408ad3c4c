package proxy

import (
	"math"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/exchange/forwarding"
	"github.com/edge-proxy/edge/internal/exchange/grpc"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// emittedKept is the capacity that the buffers of Emit keep.
const emittedKept = 256 << 10

// transform runs the body filters over p. The result is borrowed until the next call.
func (l *local) transform(x *Exchange, list []named[onBody], p []byte, end bool) (out []byte, v Verdict) {
	i := 0
	defer func() {
		if p := recover(); p != nil {
			x.caught(&x.Request, p, list[i].name)
			out, v = nil, broken
		}
	}()
	if cap(l.emitted)+cap(l.input) > 2*emittedKept {
		l.emitted, l.input = nil, nil
	}
	for ; i < len(list); i++ {
		l.emitted, l.input = l.input[:0], l.emitted
		if v := list[i].run(x, p, end); v.kind != next {
			return nil, v
		}
		p = l.emitted
	}
	return p, Next
}

// stageUp returns what a piece of the request's body becomes before it goes on: gRPC-Web is decoded first, so that the
// filters of the route see messages. It reports false where the exchange was answered instead.
func stageUp(x *Exchange, p []byte, in int, end bool) (out []byte, ok bool) {
	if x.call.form == grpc.WebText {
		var err error
		if p, err = x.call.decode(x.local, p, end); err != nil {
			x.up.Body.Owed += in
			x.fail(badBase64)
			return nil, false
		}
	}
	if list := x.route.chain.requestBody; len(list) > 0 {
		var v Verdict
		if p, v = x.local.transform(x, list, p, end); v.kind != next {
			x.up.Body.Owed += in
			if v.kind == park { // a body has nowhere to wait
				x.fail(filterFailed)
			} else {
				x.judge(v)
			}
			return nil, false
		}
	}
	return p, true
}

// LimitBody bounds the body of x's request to n bytes. A larger body is answered 413, or cut off where the answer has
// begun: at once where its length is told, else when it has come. It replaces no lower bound, of the listener or of an
// earlier call. For filters before the request is sent on: it costs nothing while the body passes. It returns what the
// filter does next. Runs on x's reactor.
func LimitBody(x *Exchange, n int64) Verdict {
	n = max(n, 0)
	if x.Request.Length > n || x.bodyIn > n {
		return Fail(BodyTooLarge)
	}
	if n < bodyMaxOf(x) {
		*bodyBound.Of(x), x.bodyBound = n, true
	}
	return Next
}

// bodyBound is what LimitBody has set.
var bodyBound = NewLocal[int64]()

func bodyMaxOf(x *Exchange) int64 {
	if x.bodyBound {
		return *bodyBound.Of(x)
	}
	return x.listener.bodyMax
}

// bodyWaited goes on with the part of the request's body that came before it could be filtered, and reports whether
// the exchange goes on.
func bodyWaited(x *Exchange) bool {
	gen := x.gen
	if !x.up.Body.Staged && x.up.Stream == nil {
		x.up.Body.HoldRaw()
	}
	p := x.up.Body.Filterable()
	if x.bodyIn > bodyMaxOf(x) {
		x.fail(BodyTooLarge)
		return false
	}
	x.pushUp(p, 0, x.up.Body.Ended)
	return x.gen == gen && !x.own
}

// stageAnswer decides, when the head of the answer has come, whether something looks at its body.
func stageAnswer(x *Exchange) {
	if x.tunnel { // filters of bodies do not see it
		x.toDown.Staged = x.socket.asked
		return
	}
	x.toDown.Staged = x.route.chain.filtersAnswer(x) || x.call.web()
}

// stageStored decides whether something looks at the body of a stored answer; end: it has none.
func stageStored(x *Exchange, end bool) {
	if x.route.chain.filtersAnswer(x) {
		unmeasured(&x.Response, end)
	}
	stageAnswer(x)
}

// stageDown returns what a piece of the answer's body becomes before it goes on. It reports false where it waits for
// its head, or the exchange is over.
func stageDown(x *Exchange, p []byte, end bool) (out []byte, ok bool) {
	if x.tunnel {
		x.socket.sent.Pass(p)
		return p, true
	}
	if list := x.route.chain.responseBody; len(list) > 0 {
		if !x.answering {
			x.toDown.Wait(p, end)
			if end {
				x.requestSent()
			}
			return nil, false
		}
		var v Verdict
		if p, v = x.local.transform(x, list, p, end); v.kind == panicked {
			x.cut(Internal)
			return nil, false
		} else if v.kind != next {
			x.cut(filterFailed)
			return nil, false
		}
	}
	if x.call.web() {
		var trailers *message.Head
		if end { // trailers of gRPC end here
			trailers, x.toDown.Trailers = x.toDown.Trailers, nil
		}
		p = x.call.encode(x.local, p, trailers)
	}
	return p, true
}

// unmeasured takes the length away from an answer whose body filters may change; a filter that knows it sets it again.
func unmeasured(h *message.Head, end bool) {
	h.DelID(message.ContentLength)
	if !end {
		h.Length = message.LengthUnknown
	}
}

// pushUp passes a piece of the request's body on. in is how many bytes it stands for that are not in the account yet.
func (x *Exchange) pushUp(p []byte, in int, end bool) {
	if x.up.Body.Staged {
		var ok bool
		if p, ok = stageUp(x, p, in, end); !ok {
			return
		}
	}
	if h := x.up.Body.Trailers; h != nil {
		x.listener.siftTrailers(h, &x.Request, x.route.chain.owned)
	}
	if err := x.up.Body.Push(x.down, x.up.Stream, p, in, end); err != nil {
		upError(x, err)
		return
	}
	if !end {
		spliceUp(x)
	}
	x.requestSent()
	if x.tunnel {
		x.answerSent()
	}
}

// downError acts on an error of the client's stream. A stream that is dead says so by OnReset. A head, or trailers, may
// be larger than the client takes. All others are ours: the body did not fit its head.
func downError(x *Exchange, err error) {
	switch err {
	case session.ErrDead:
		x.dropUp()
	case session.ErrHeadSize:
		x.cut(answerHeadTooLarge)
	default:
		x.cut(bodyLengthMismatch)
	}
}

func (x *Exchange) resumeUp() {
	if h := x.up.Body.Trailers; h != nil {
		x.listener.siftTrailers(h, &x.Request, x.route.chain.owned)
	}
	if err := x.up.Body.Resume(x.down, x.up.Stream); err != nil {
		upError(x, err)
		return
	}
	spliceUp(x)
	x.requestSent()
	if x.tunnel {
		x.answerSent()
	}
}

// upError acts on an error of the destination's stream. A stream that is dead says so by OnReset.
func upError(x *Exchange, err error) {
	switch err := err.(type) {
	case *Error:
		x.up.Through()
		x.fail(err)
	default:
		if err != session.ErrDead {
			x.fail(bodyLengthMismatch)
		}
	}
}

// pushDown passes a piece of the answer's body on. in is how many bytes it stands for that are not in the account yet.
func (x *Exchange) pushDown(p []byte, in int, end bool) {
	if x.toDown.Staged {
		var ok bool
		if p, ok = stageDown(x, p, end); !ok {
			return
		}
	}
	from, to := x.up.Stream, x.down
	if !x.answering {
		to = nil
	}
	if end {
		x.toDown.Ended = true
		x.requestSent()
	}
	if x.toDown.Encoded {
		var ok bool
		if p, end, ok = (*encodedSide)(x).part(p, end); !ok {
			return
		}
	}
	if err := x.toDown.Push(from, to, p, in, end); err != nil {
		downError(x, err)
		return
	}
	if !end {
		spliceDown(x)
	}
	x.answerSent()
}

// encodedSide is an Exchange whose answer is encoded.
type encodedSide Exchange

// begin asks the filters of list for an Encoder. It reports false where one of them panicked. end: there is no body.
func (s *encodedSide) begin(list []named[onEncode], end bool) (ok bool) {
	x := (*Exchange)(s)
	var with Encoder
	ok = tell(x, list, func(f onEncode) {
		if with == nil {
			with = f(x, end)
		}
	})
	if ok && with != nil {
		unmeasured(&s.Response, end)
		s.toDown.Encoded = true
		encodingOf.Of(x).start(s, s.local.encodings(), with)
	}
	return ok
}

// undo forgets the Encoder, since another answer takes the place of the encoded answer.
func (s *encodedSide) undo() {
	c := encodingOf.Of((*Exchange)(s))
	c.stop()
	*c, s.toDown.Encoded = encoding{}, false
}

// part encodes what there is room for in this tick of a piece of the answer, and keeps the rest, or all of it where
// something waits already. last reports whether the end of the body is among out. It reports false where the exchange
// is over.
func (s *encodedSide) part(p []byte, end bool) (out []byte, last, ok bool) {
	c, b, n := encodingOf.Of((*Exchange)(s)), &s.toDown, 0
	if !b.Waiting {
		n = c.of.share(len(p))
		last = end && n == len(p)
	}
	if n > 0 || last {
		if out, ok = s.encode(c, p[:n], afterPiece(last)); !ok {
			return nil, false, false
		}
	}
	if b.Waiting || n < len(p) {
		b.Delay(p[n:])
		c.awaitTurn()
	}
	return out, last, true
}

func afterPiece(last bool) Encode {
	if last {
		return EncodeEnd
	}
	return EncodeMore
}

// OnTurn encodes up to n bytes that wait, and the end after the last one.
func (s *encodedSide) OnTurn(n int) {
	c, b := encodingOf.Of((*Exchange)(s)), &s.toDown
	p, last := b.TakeRaw(c.taken, n)
	c.of.left += n - len(p)
	if c.taken += len(p); last {
		c.taken = 0
	} else {
		c.awaitTurn()
	}
	if last = last && b.Ended; last || len(p) > 0 {
		s.send(c, p, afterPiece(last))
	}
}

// OnPause sends all that the Encoder keeps, unless the client has not taken what it was sent before: then it is asked
// again.
func (s *encodedSide) OnPause() {
	c := encodingOf.Of((*Exchange)(s))
	if len(s.toDown.Held) > 0 {
		c.isLate()
		return
	}
	s.send(c, nil, EncodeFlush)
}

// send sends what the Encoder makes of p.
func (s *encodedSide) send(c *encoding, p []byte, how Encode) {
	x := (*Exchange)(s)
	if invariant.On {
		defer checkExchange(x)
	}
	defer x.rescue()
	out, ok := s.encode(c, p, how)
	if !ok {
		return
	}
	if err := x.toDown.Push(x.up.Stream, x.down, out, 0, how == EncodeEnd); err != nil {
		downError(x, err)
		return
	}
	x.answerSent()
}

// encode returns what the Encoder makes of p. A panic of it ends the exchange: then it reports false.
func (s *encodedSide) encode(c *encoding, p []byte, how Encode) (out []byte, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			x := (*Exchange)(s)
			x.caught(&x.Request, p, c.coding)
			x.cut(Internal)
			ok = false
		}
	}()
	return c.encode(p, how), true
}

// endAnswer filters the trailers of the answer and passes its end on.
func (x *Exchange) endAnswer() {
	h := x.toDown.Trailers
	forwarding.DropNamed(&x.Response, h)
	list := x.route.chain.trailers
	if len(list) > 0 && x.fork == nil && !tell(x, list, func(f onTrailers) { f(x, h) }) {
		x.fail(Internal)
		return
	}
	if x.call.answered {
		x.call.note(h)
	}
	x.pushDown(nil, 0, true)
}

// Large bodies and tunnels go from one stream to the other inside the kernel where no filter looks at them: see
// session.Splice. That begins after a piece of which nothing waits, and may end and begin again at any piece.

// spliceDown tries that for the answer's body.
func spliceDown(x *Exchange) {
	l := &x.toDown
	if !l.Passable() || x.up.Stream == nil || !x.answering || x.toDown.Encoded {
		return
	}
	limit := int64(math.MaxInt64)
	switch {
	case l.Staged && !x.tunnel:
		return
	case l.Staged: // the ends of frames have to be seen
		limit = int64(min(x.socket.sent.Left(), math.MaxInt64))
	}
	session.Splice(x.up.Stream, x.down, limit)
}

// spliceUp tries that for the request's body.
func spliceUp(x *Exchange) {
	l := &x.up.Body
	if !l.Passable() || l.Staged || l.Keep > 0 || x.up.Stream == nil || x.own {
		return
	}
	session.Splice(x.down, x.up.Stream, math.MaxInt64)
}
