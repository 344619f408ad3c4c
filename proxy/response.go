package proxy

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
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
	h.MoveTo(&x.Response)
	if !u.received(end) {
		return
	}
	if f := x.fork; f != nil {
		answerFork(f)
		return
	}
	if x.onward && !(*storedSide)(x).passed() {
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

// pass has the answer whose head is in x.Response go through the filters, and to the client.
func (u *upSide) pass() {
	x := (*Exchange)(u)
	if x.route.Intercept && x.Response.Status >= 400 {
		intercept(x)
	}
	x.step, x.at = stepResponse, 0
	x.run()
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

// storedSide is an Exchange as a Front sees it: its answers are ready to be passed on.
type storedSide Exchange

// send answers with the head in d.Response and a body that is borrowed: what cannot leave at once is copied.
func (d *storedSide) send(stored *Stored) {
	x := (*Exchange)(d)
	if !d.readable(stored) {
		x.fail(Overload)
		return
	}
	body := d.length(stored)
	rest := d.readStored(stored)
	x.toDown.Ended = rest == nil
	stageStored(x, len(body) == 0 && rest == nil)
	d.passWith(body, rest)
}

// readable reports whether the body of stored can be sent, or waits for a disk together with no more than may. Else its
// file is released.
func (d *storedSide) readable(stored *Stored) bool {
	if stored.File == nil || !d.local.proxy.loads.Full() || stored.File.Ready(stored.At) > stored.At {
		return true
	}
	stored.File.Release()
	return false
}

// length notes how long the body of stored is, and returns what is sent of it. The rest of the request is not.
func (d *storedSide) length(stored *Stored) (body []byte) {
	x := (*Exchange)(d)
	discardBody(x)
	if x.Response.Length = max(int64(len(stored.Body)), stored.Length); x.Request.Verb == message.VerbHead {
		return nil
	}
	return stored.Body
}

// readStored begins to read the file of stored; nil: it has none.
func (d *storedSide) readStored(stored *Stored) session.Stream {
	x := (*Exchange)(d)
	if stored.File == nil {
		return nil
	}
	rest := x.local.sources().Read(x.local.reactor, d, stored.File, stored.At, stored.Length)
	x.up.Started(rest)
	x.up.Body.Held, x.up.Body.EndSent = x.up.Body.Held[:0], true
	return rest
}

// passWith has the answer go on, with a body that is borrowed, or with what rest gives.
func (d *storedSide) passWith(body []byte, rest session.Stream) {
	x, l := (*Exchange)(d), d.local
	switch {
	case x.toDown.Staged && len(body) > 0:
		x.toDown.Wait(body, true)
	case len(body) > 0:
		l.lent = lent{x, body}
	}
	x.charge()
	gen := x.gen.Load()
	(*upSide)(d).pass()
	if x.gen.Load() != gen {
		return
	}
	l.keepLent() // a filter of the answer has x wait
	if x.up.Stream == rest && rest != nil {
		rest.Release(0)
	}
}

// OnFile passes bytes of the body on that are in a file.
func (d *storedSide) OnFile(from poller.File, at int64, n int) (taken int, ok bool) {
	b := &d.toDown
	if !d.answering || b.Encoded || b.Staged || b.Ended || b.Waiting || b.Owed > 0 || len(b.Held) > 0 {
		return 0, false
	}
	if taken, ok = session.SendFile(d.down, from, at, n); !ok && !d.down.Congested() {
		return 0, false
	}
	b.Passed += int64(taken)
	b.Partly = taken < n
	return taken, true
}

// passed tells the front that x leads to of the head of the answer. It reports false where the exchange is over.
func (d *storedSide) passed() (ok bool) {
	x := (*Exchange)(d)
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

// OnHead takes the head of the answer, or passes an interim one on.
func (d *storedSide) OnHead(_ session.Stream, h *message.Head, end bool) {
	x := (*Exchange)(d)
	if invariant.On {
		defer checkExchange(x)
	}
	defer x.rescue()
	if h.Status < 200 {
		passInterim(x, h)
		return
	}
	h.MoveTo(&x.Response)
	x.answered = x.Response.Status
	x.charge()
	x.toDown.Ended = end
	if end {
		x.requestSent()
	}
	stageStored(x, end)
	(*upSide)(d).pass()
}

// OnData passes a piece of the body on.
func (d *storedSide) OnData(s session.Stream, p []byte, end bool) {
	(*guardedSide)(d).OnData(s, p, end)
}

// OnTrailers ends the answer with trailer fields.
func (d *storedSide) OnTrailers(s session.Stream, h *message.Head) {
	(*guardedSide)(d).OnTrailers(s, h)
}

// OnSendable has nothing to send.
func (d *storedSide) OnSendable(session.Stream) {}

// OnReset asks the front once more where the cause is ErrAgain; else it is the failure of the request.
func (d *storedSide) OnReset(_ session.Stream, code session.Code, cause error) {
	x := (*Exchange)(d)
	if invariant.On {
		defer checkExchange(x)
	}
	defer x.rescue()
	x.up.Ended()
	if cause == ErrAgain && !x.answering {
		(*upSide)(x).Reopen()
		return
	}
	f := errorOfReset(code, cause)
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

// OnReset asks the destination once more where the cause is ErrAgain; else it is the failure of the destination.
func (g *guardedSide) OnReset(s session.Stream, code session.Code, cause error) {
	if cause == ErrAgain && !g.answering {
		g.up.Attempts-- // the next Open goes on with this attempt
		(*storedSide)(g).OnReset(s, code, cause)
		return
	}
	(*upSide)(g).OnReset(s, code, cause)
}

// noFiles hides that a receiver is a FileReceiver.
type noFiles struct {
	session.Receiver
	session.SpliceReceiver
}

// send answers with the head in g.Response and a body that is borrowed, as OnHead and OnData do.
func (g *guardedSide) send(stored *Stored) {
	x, d := (*Exchange)(g), (*storedSide)(g)
	if !d.readable(stored) {
		x.fail(Overload)
		return
	}
	body := d.length(stored)
	rest := d.readStored(stored)
	if (*upSide)(g).received(len(body) == 0 && rest == nil) {
		x.toDown.Ended = rest == nil
		d.passWith(body, rest)
	}
}

// OnFile passes bytes of the body on that are in a file.
func (g *guardedSide) OnFile(from poller.File, at int64, n int) (taken int, ok bool) {
	return (*storedSide)(g).OnFile(from, at, n)
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
