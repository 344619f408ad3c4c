package proxy

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy/forwarding"
	"github.com/edge-proxy/edge/proxy/grpc"
	"github.com/edge-proxy/edge/proxy/page"
	"github.com/edge-proxy/edge/session"
)

// interimsMax bounds the 1xx heads that are passed on in one exchange.
const interimsMax = 8

// OnHead takes the answer's head, or passes an interim one on.
func (u *upSide) OnHead(s session.Stream, h *message.Head, end bool) {
	x := (*Exchange)(u)
	if invariant.On {
		defer checkExchange(x)
	}
	if x.up.Judge(s, h, end) {
		return
	}
	switch {
	case h.Tunnel:
		if !openTunnel(x, h) {
			return
		}
	case h.Status < 200:
		passInterim(x, h)
		return
	}
	h.MoveTo(&x.Response)
	x.answered = x.Response.Status
	x.charge()
	x.up.Answered(x.answered)
	x.toDown.Ended = end
	if end {
		x.requestSent()
	}
	if x.route.chain.filtersAnswer(x) {
		unmeasured(&x.Response, end)
	}
	if x.call.form != grpc.None {
		x.call.answer(&x.Response, end)
	}
	stageAnswer(x)
	if x.forwards {
		forwarding.Response(&x.Response, x.local.proxy.name, x.listener.NoVia)
	}
	if x.up.NewCookie {
		x.local.setCookie(&x.Response, &x.up, x.Scheme() == "https")
	}
	if list := x.route.chain.upstreamResponse; len(list) > 0 && !tell(x, list, func(f onExchange) { f(x) }) {
		x.fail(Internal)
		return
	}
	if x.route.Intercept && x.Response.Status >= 400 {
		intercept(x)
	}
	x.step, x.at = stepResponse, 0
	x.run()
}

// intercept puts a page in place of the body that comes with an answer, where there is a page that the client takes.
// What the head says of that body goes with it; all else of the head stays.
func intercept(x *Exchange) {
	h := &x.Response
	if x.route.Pages == nil && x.listener.Pages == nil {
		return
	}
	if x.call.form != grpc.None || grpc.FormOf(h.Peek(message.ContentType)) != grpc.None {
		return
	}
	f := page.Facts{Status: int(h.Status), ID: x.ID(), Host: x.hostAsked(&x.Request)}
	contentType, body := page.AppendOwn(x.local.page[:0], &f, &x.Request, x.route.Pages, x.listener.Pages)
	if contentType == "" {
		return
	}
	x.dropUp()
	discardBody(x)
	for _, name := range ofBody {
		h.Del(name)
	}
	h.AddID(message.ContentType, "Content-Type", contentType)
	h.AddID(message.Vary, "Vary", "Accept")
	h.Length = int64(len(body))
	x.toDown.Reset()
	x.toDown.Hold(body)
	x.local.keepPage(body)
	x.toDown.Ended = true
	x.charge()
}

// ofBody are the fields of an answer that describe its body: RFC 9110 §8, RFC 9530. Content-Range is none of them where
// the status is an error.
var ofBody = []string{
	"Content-Type", "Content-Encoding", "Content-Language", "Content-Location", "Content-Length", "Content-Disposition",
	"Content-MD5", "Content-Digest", "Repr-Digest", "Digest", "ETag", "Last-Modified", "Accept-Ranges", "Trailer",
}

func passInterim(x *Exchange, h *message.Head) {
	most := uint8(interimsMax)
	if h.Status == 100 {
		x.continued = true
	} else if x.Request.Continue && !x.continued {
		most-- // a place is kept for the answer that the client waits for
	}
	switch {
	case x.answering: // a handler may ask for the body after its answer
		return
	case x.up.Interims >= most:
		x.local.stats.InterimsLost++
		return
	}
	x.up.Interims++
	forwarding.DropHopByHop(h)
	if err := x.down.SendHead(h, false); err != nil {
		downError(x, err)
	}
}

// OnData passes a piece of the answer's body on.
func (u *upSide) OnData(_ session.Stream, p []byte, end bool) {
	x := (*Exchange)(u)
	if invariant.On {
		defer checkExchange(x)
	}
	x.pushDown(p, len(p), end)
}

// OnTrailers ends the answer with trailer fields.
func (u *upSide) OnTrailers(_ session.Stream, h *message.Head) {
	x := (*Exchange)(u)
	if invariant.On {
		defer checkExchange(x)
	}
	if x.toDown.EndWith(h); x.working {
		x.toDown.Late, x.toDown.Ended = true, true
		x.requestSent()
		return
	}
	x.endAnswer()
}

// OnSendable goes on with the request's body.
func (u *upSide) OnSendable(session.Stream) {
	x := (*Exchange)(u)
	if invariant.On {
		defer checkExchange(x)
	}
	if x.up.Stream != nil && !x.working && !(x.up.Body.EndSent && x.up.Body.Owed == 0) {
		x.resumeUp()
	}
}

// OnReset is the failure of the backend: another attempt, an answer of our own, or the end of a cut-off answer.
func (u *upSide) OnReset(_ session.Stream, code session.Code, cause error) {
	x := (*Exchange)(u)
	if invariant.On {
		defer checkExchange(x)
	}
	defer x.rescue()
	x.up.Ended()
	if cause == engine.ErrStopped { // it is not the backend that ended it
		x.upFailed(Drained)
		return
	}
	if cause == error(Internal) {
		x.local.stats.Panics++
	}
	f := errorOfReset(code, cause)
	once := x.step != stepForward || f.Retry == RetryNever
	if x.up.Failed(f, code, cause, x.tunnel || x.toDown.Ended, once) {
		return
	}
	f = x.call.cancelled(f, x.local.reactor.Now())
	x.up.Fault, x.up.Cause = f, cause
	x.upFailed(f)
}

// guardedSide is an upSide for the streams of other packages, which may call it where no connection could be closed for
// a filter that panics: the panic ends the exchange.
type guardedSide Exchange

// OnHead is a method of upSide, and so are the others.
func (g *guardedSide) OnHead(s session.Stream, h *message.Head, end bool) {
	defer (*Exchange)(g).rescue()
	(*upSide)(g).OnHead(s, h, end)
}

// OnData passes a piece of the answer's body on.
func (g *guardedSide) OnData(s session.Stream, p []byte, end bool) {
	defer (*Exchange)(g).rescue()
	(*upSide)(g).OnData(s, p, end)
}

// OnTrailers ends the answer with trailer fields.
func (g *guardedSide) OnTrailers(s session.Stream, h *message.Head) {
	defer (*Exchange)(g).rescue()
	(*upSide)(g).OnTrailers(s, h)
}

// OnSendable goes on with the request's body.
func (g *guardedSide) OnSendable(s session.Stream) {
	defer (*Exchange)(g).rescue()
	(*upSide)(g).OnSendable(s)
}

// OnReset is the failure of the destination.
func (g *guardedSide) OnReset(s session.Stream, code session.Code, cause error) {
	(*upSide)(g).OnReset(s, code, cause)
}

// OnSpliced keeps the account of an answer that went by itself.
func (g *guardedSide) OnSpliced(s session.Stream, in, out int) { (*upSide)(g).OnSpliced(s, in, out) }

// OnSpliced keeps the account of an answer that went by itself.
func (u *upSide) OnSpliced(_ session.Stream, in, out int) {
	u.toDown.Passed += int64(out)
	if u.tunnel && u.socket.asked {
		u.socket.sent.Skip(in)
	}
}
