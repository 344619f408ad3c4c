package proxy

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/exchange/content"
	"github.com/edge-proxy/edge/internal/exchange/forwarding"
	"github.com/edge-proxy/edge/internal/exchange/grpc"
	"github.com/edge-proxy/edge/internal/exchange/page"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
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
	x.local.takeRoom(x)
	h.MoveTo(&x.Response)
	if !u.received(end) {
		return
	}
	if f := x.fork; f != nil {
		answerFork(f)
		return
	}
	if x.onward && !(*guardedSide)(x).passed() {
		return
	}
	u.pass()
}

// received acts on the head of the answer of the destination, which is in x.Response. end: there is no body. It reports
// false where the exchange is over.
func (u *upSide) received(end bool) (ok bool) {
	x := (*Exchange)(u)
	x.answered = x.Response.Status
	x.charge()
	x.up.Answered(x.answered)
	if x.toDown.Ended = end; end {
		x.requestSent()
	}
	if x.fork == nil {
		if x.route.chain.filtersAnswer(x) {
			unmeasured(&x.Response, end)
		}
		if x.call.form != grpc.None {
			x.call.answer(&x.Response, end)
		}
		stageAnswer(x)
	}
	if x.forwards {
		forwarding.Response(&x.Response, x.local.proxy.name, x.listener.NoVia)
	}
	if x.up.NewCookie && x.fork == nil {
		x.local.setCookie(&x.Response, &x.up, x.Scheme() == "https")
	}
	if list := x.route.chain.upstreamResponse; len(list) > 0 && !tell(x, list, func(f onExchange) { f(x) }) {
		x.fail(Internal)
		return false
	}
	return true
}

// pass sends the answer whose head is in x.Response through the filters, and to the client.
func (u *upSide) pass() {
	u.judgeAnswer()
	(*Exchange)(u).run()
}

// judgeAnswer makes the filters of the answer the next step of run.
func (u *upSide) judgeAnswer() {
	x := (*Exchange)(u)
	if x.route.Intercept && x.Response.Status >= 400 {
		intercept(x)
	}
	x.step, x.at = stepResponse, 0
}

// answerFork gives the final head of the answer to what takes it.
func answerFork(f *Forked) {
	x := f.x
	h := &x.Response
	x.step, x.status, x.answering = stepDone, h.Status, true
	if !h.Has(message.Date) {
		x.local.addDate(h)
	}
	bodyless := x.toDown.Ended
	if err := f.SendHead(h, bodyless); err != nil {
		downError(x, err)
		return
	}
	x.toDown.EndSent = bodyless
	x.answerSent()
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
	x.local.unlend(x)
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
		most-- // a slot is kept for the answer that the client waits for
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
		x.upFailed(drained)
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
// a filter that panics: the panic ends the exchange. Answers of a Front are ready to be passed on.
type guardedSide Exchange

// fronted reports whether the answer comes from the Front that x leads to, or from the proxy itself.
func (g *guardedSide) fronted() bool { return g.ours || (*Exchange)(g).lead().onward != nil }

// OnHead takes the head of the answer, or passes an interim one on.
func (g *guardedSide) OnHead(s session.Stream, h *message.Head, end bool) {
	x := (*Exchange)(g)
	defer x.rescue()
	if !g.fronted() {
		(*upSide)(g).OnHead(s, h, end)
		return
	}
	if invariant.On {
		defer checkExchange(x)
	}
	if h.Status < 200 {
		passInterim(x, h)
		return
	}
	x.local.takeRoom(x)
	h.MoveTo(&x.Response)
	x.answered = x.Response.Status
	x.charge()
	x.toDown.Ended = end
	if end {
		x.requestSent()
	}
	stageStored(x, end)
	(*upSide)(g).pass()
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

// OnReset asks the destination once more where the cause is ErrAgain; else it is the failure of the destination.
func (g *guardedSide) OnReset(s session.Stream, code session.Code, cause error) {
	x, fronted := (*Exchange)(g), g.fronted()
	again := cause == ErrAgain && x.step == stepForward
	if !again && !fronted {
		(*upSide)(g).OnReset(s, code, cause)
		return
	}
	if invariant.On {
		defer checkExchange(x)
	}
	defer x.rescue()
	x.up.Ended()
	if again {
		if !fronted {
			x.up.Attempts-- // the next Open goes on with this attempt
		}
		x.run()
		return
	}
	f := errorOfReset(code, cause)
	x.up.Fault, x.up.Cause = f, cause
	x.upFailed(f)
}

// OnFile passes bytes of the body on that are in a file.
func (g *guardedSide) OnFile(from poller.File, at int64, n int) (taken int, ok bool) {
	b := &g.toDown
	if !g.answering || b.Encoded || b.Staged || b.Ended || b.Waiting || b.Owed > 0 || len(b.Held) > 0 {
		return 0, false
	}
	if taken, ok = session.SendFile(g.down, from, at, n); !ok && !g.down.Congested() {
		return 0, false
	}
	b.Passed += int64(taken)
	b.Partly = taken < n
	return taken, true
}

// OnSpliced keeps the account of an answer that went by itself.
func (g *guardedSide) OnSpliced(s session.Stream, in, out int) { (*upSide)(g).OnSpliced(s, in, out) }

// take makes the answer that is here ready for run. It reports false where x was answered otherwise, or is a fork,
// which has the answer. The rest of the request is not sent.
func (g *guardedSide) take(stored *Stored, fronted bool) (here bool) {
	x, f, body := (*Exchange)(g), stored.File, stored.Body
	if f != nil && x.local.proxy.loads.Full() && f.Ready(stored.At) <= stored.At {
		f.Release() // it would wait for a disk, with more bodies than may
		x.fail(Overload)
		return false
	}
	discardBody(x)
	if x.Response.Length = max(int64(len(body)), stored.Length); x.Request.Verb == message.VerbHead {
		body = nil
	}
	if f != nil {
		g.read(f, stored.At, stored.Length)
	}
	none := len(body) == 0 && f == nil
	switch {
	case fronted:
		stageStored(x, none)
	case !(*upSide)(g).received(none), x.onward && !g.passed():
		return false
	case x.fork != nil:
		gen := x.gen
		if answerFork(x.fork); x.gen == gen && len(body) > 0 {
			x.pushDown(body, 0, true)
		}
		return false
	}
	x.toDown.Ended = f == nil
	switch {
	case x.toDown.Staged && len(body) > 0:
		x.toDown.Wait(body, true)
	case len(body) > 0:
		x.local.lent = lent{x, body}
	}
	x.charge()
	(*upSide)(g).judgeAnswer()
	return true
}

// read begins to read n bytes of f, from at on, with its reference.
func (g *guardedSide) read(f content.Body, at, n int64) {
	x := (*Exchange)(g)
	x.up.Started(x.local.sources().Read(x.local.reactor, g, f, at, n))
	x.up.Body.Held, x.up.Body.EndSent = x.up.Body.Held[:0], true
}

// passed tells the front that x leads to of the head of the answer. It reports false where the exchange is over.
func (g *guardedSide) passed() (ok bool) {
	x := (*Exchange)(g)
	defer func() {
		if p := recover(); p != nil {
			x.caught(&x.Request, p, "Front.OnPassed")
			x.fail(Internal)
			ok = false
		}
	}()
	l := &x.route.lead
	if x.chosen.to != nil {
		l = &x.chosen
	}
	l.to.(Front).OnPassed(x)
	return true
}

// OnSpliced keeps the account of an answer that went by itself.
func (u *upSide) OnSpliced(_ session.Stream, in, out int) {
	u.toDown.Passed += int64(out)
	if u.tunnel && u.socket.asked {
		u.socket.sent.Skip(in)
	}
}
