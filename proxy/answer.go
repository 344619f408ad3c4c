package proxy

import (
	"cmp"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/exchange/content"
	"github.com/edge-proxy/edge/internal/exchange/page"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// fail ends an exchange that cannot go on: by an answer of the proxy's own or, when the answer has begun, by its end.
func (x *Exchange) fail(f *Error) {
	if x.answering || f.Silent {
		x.cut(f)
		return
	}
	f = answerable(f)
	x.fault = f
	switch {
	case x.fork != nil:
		failFork(x.fork, f)
		return
	case f.answer != nil: // a filter's, for a fork
		x.fault = nil
		x.ownAnswer(*f.answer)
		return
	}
	v := RespondPage(f.Status)
	if list := x.filters().onError; len(list) > 0 {
		e := x.local.withCause(f, x.up.CauseOf(f))
		own, resent := askAboutFailure(x, list, f, e)
		switch {
		case resent:
			return
		case own.final():
			v = own
		case own.kind != next:
			x.fault, x.up.Detail = filterFailed, "" // a failure of filters, so that none is asked about it
			v = RespondPage(filterFailed.Status)
		case e.Status != f.Status || e.Text != f.Text || e.Token != f.Token:
			x.fault, v = changed(f, e), RespondPage(e.Status)
		}
		*e = Error{}
	}
	x.local.countFailure(f)
	x.ownAnswer(v)
}

// failFork ends a fork, whose answer has not begun, by e.
func failFork(f *Forked, e *Error) {
	x := f.x
	x.dropUp()
	x.downGone = true
	f.OnFailed(e)
	x.finish()
}

// countFailure counts f, which is answered.
func (l *local) countFailure(f *Error) {
	switch f {
	case Overload, noDescriptors:
		l.stats.Shed++
	case maxRequests:
		l.stats.ShedRequests++
	case concurrencyLimit:
		l.stats.ShedAdaptive++
	case maxPending:
		l.stats.ShedPending++
	case BodyTooLarge:
		l.stats.TooLarge++
	case loopDetected:
		l.stats.Loops++
	}
}

// askAboutFailure gives the filters of list the failure f, as e, until one of them answers it, or asks for the request
// to be sent once more: then the exchange goes on. A Resend that cannot be is Next.
func askAboutFailure(x *Exchange, list []named[onFailure], f, e *Error) (v Verdict, resent bool) {
	for {
		if v, list = ask(x, list, e); v.kind != resend {
			return v, false
		}
		if resendAfter(x, f) {
			return v, true
		}
	}
}

// resendAfter makes another attempt after the failure f, since a filter wants one. It reports false, and leaves x to be
// answered, where the request cannot be sent once more, or may not.
func resendAfter(x *Exchange, f *Error) bool {
	switch {
	case x.step != stepForward, f.Retry == RetryNever:
		return false
	case f.Retry == RetryIdempotent && !(x.Request.Verb.Idempotent() && x.up.Body.Ended):
		return false
	}
	was := x.fault
	x.fault = nil
	if !x.up.Resend() {
		x.fault = was
		return false
	}
	return true
}

// answerable returns f, with the status of Internal where a Destination has made it with a status of success.
func answerable(f *Error) *Error {
	if f.Status >= 400 && f.Status <= 599 {
		return f
	}
	own := *f
	own.Status = Internal.Status
	return &own
}

// withCause returns f with its cause, for filters, until the next call.
func (l *local) withCause(f *Error, cause error) *Error {
	l.failing = f.of(cause)
	return &l.failing
}

// changed returns f with what a filter has made another of in e, if that can be answered.
func changed(f, e *Error) *Error {
	own := *f
	own.Text, own.Token = e.Text, e.Token
	if e.Status >= 400 && e.Status <= 599 {
		own.Status = e.Status
	}
	return &own
}

// Failure returns why the proxy answers, or ends x, of its own, with the cause; nil: it does not.
func (x *Exchange) Failure() *Error {
	f := x.fault
	if f == nil || x.up.CauseOf(f) == nil {
		return f
	}
	e := f.of(x.up.CauseOf(f))
	return &e
}

// ask gives the filters of list a failure, until one of them has another verdict than Next. rest are those after it.
func ask(x *Exchange, list []named[onFailure], e *Error) (v Verdict, rest []named[onFailure]) {
	i := 0
	defer func() {
		if p := recover(); p != nil {
			x.caught(&x.Request, p, list[i].name)
			v, rest = broken, nil
		}
	}()
	for ; i < len(list); i++ {
		if v = list[i].run(x, e); v.kind != next {
			return v, list[i+1:]
		}
	}
	return Next, nil
}

// respond answers in place of the backend: the verdict of a filter, or of a destination.
func (x *Exchange) respond(v Verdict) {
	switch {
	case x.answering:
		x.cut(filterFailed)
	case v.kind == fail:
		x.fail(v.failure)
	case !v.final():
		x.fail(filterFailed)
	case x.fork != nil:
		x.fail(answeredBy(v))
	default:
		x.ownAnswer(v)
	}
}

// answeredBy returns the failure of a fork that a filter has answered with v. Apart, so that v is in memory of its own
// here alone.
func answeredBy(v Verdict) *Error {
	own := *filterFailed
	own.answer = &v
	return &own
}

// ownAnswer makes the answer of v and sends it through the response filters, unless one of them asked for it.
func (x *Exchange) ownAnswer(v Verdict) {
	x.dropUp()
	if x.toDown.Encoded {
		(*encodedSide)(x).undo()
	}
	if v.file != nil && !v.file.Take() { // until it is read
		x.fault, v = Internal, RespondPage(Internal.Status)
	}
	x.local.stats.Own++
	x.parked, x.ours = false, true
	discardBody(x)
	again := x.step >= stepResponse
	x.local.takeRoom(x)
	h := &x.Response
	h.Reset()
	h.Status = uint16(v.status)
	h.Proto = message.HTTP11
	for i := 0; i < len(v.fields); i += 2 {
		h.Add(v.fields[i], v.fields[i+1])
	}
	var body []byte
	if v.page {
		v.body = x.fault.textFor(v.status)
	}
	if !x.call.fails(h, &x.Request, x.fault, v.status, v.body) {
		body = x.ownBody(h, &x.Request, &v)
	}
	h.Length = int64(len(body))
	if v.file != nil && h.Status == uint16(v.status) && bodied(v.status) {
		h.Length = v.file.Size()
	}
	if f := x.fault; f != nil {
		details := x.up.Detail
		if details == "" && x.up.Panics() {
			details = "panic" // RFC 9209 §2.1.5: backends that fail their checks get requests
		}
		x.local.proxy.addStatus(h, f.Token, details)
		if f.allow {
			h.AddID(message.Allow, "Allow", cmp.Or(string(x.Request.Bytes(x.allow)), allowed))
		}
		h.Close = f.last && !x.Request.Proto.Shared()
		if f.wait && !h.Has(message.RetryAfter) {
			h.AddID(message.RetryAfter, "Retry-After", f.after())
		}
	}
	x.toDown.Reset()
	x.local.unlend(x)
	x.toDown.Hold(body)
	x.toDown.Ended = true
	if v.file != nil {
		(*guardedSide)(x).readFile(v.file)
	}
	x.charge()
	if x.step, x.at = stepResponse, 0; again {
		x.step = stepDone
		x.sendResponse()
	} else {
		x.run()
	}
}

// readFile begins to read f, with its reference, where that is the body of the answer of the proxy's own in g.Response.
func (g *guardedSide) readFile(f *content.File) {
	n := g.Response.Length
	if n == 0 || n != f.Size() || g.Request.Verb == message.VerbHead {
		f.Release()
		return
	}
	g.toDown.Ended = false
	g.read(f, 0, n)
}

// sendResponse sends the head of the answer, and the part of its body that is here.
func (x *Exchange) sendResponse() {
	h := &x.Response
	if x.Request.Upgrade && !x.tunnel && unswitched(&x.Request, h) {
		x.fail(upgradeFailed)
		return
	}
	bodyless := x.toDown.Ended && !x.toDown.Waiting && x.toDown.Trailers == nil &&
		len(x.toDown.Held) == 0 && x.local.lent.to != x
	if list := x.filters().encode; len(list) > 0 && !x.tunnel && x.fault != Internal {
		if !(*encodedSide)(x).begin(list, bodyless) {
			x.fail(Internal)
			return
		}
	}
	x.status = h.Status
	if !h.Has(message.Date) { // RFC 9110 §6.6.1: a proxy that forwards a message without a Date adds one
		x.local.addDate(h)
	}
	for _, add := range x.listener.answerFields {
		add(&x.record, &x.Request, h)
	}
	x.answering = true
	body := x.local.unlend(x)
	if err := x.down.SendHead(h, bodyless); err == session.ErrHeadSize && x.fault != answerHeadTooLarge {
		x.answering = false
		x.fail(answerHeadTooLarge)
		return
	} else if err != nil {
		downError(x, err)
		return
	}
	if bodyless {
		x.toDown.EndSent = true
	} else if x.toDown.Encoded && !x.toDown.Waiting {
		if x.toDown.Recall(body); x.toDown.Waiting {
			(*encodedSide)(x).OnTurn(x.local.encoders.share(encodePiece))
		}
		return
	} else if len(body) > 0 {
		if err := x.toDown.Push(nil, x.down, body, 0, true); err != nil {
			downError(x, err)
			return
		}
	} else if len(x.toDown.Held) > 0 || x.toDown.Trailers != nil && !x.toDown.Waiting {
		if err := x.toDown.Resume(x.up.Stream, x.down); err != nil {
			downError(x, err)
			return
		}
	}
	if x.toDown.Waiting {
		x.pushDown(x.toDown.Filterable(), 0, x.toDown.Ended)
		return
	}
	x.answerSent()
}

// ownBody returns the body of an answer of the proxy's own to request, and adds the field of its type to the head h.
// Borrowed until the next call.
func (k *record) ownBody(h, request *message.Head, v *Verdict) []byte {
	if !bodied(v.status) {
		return nil
	}
	contentType, body := v.contentType, k.local.page[:0]
	if !v.page {
		body = append(body, v.body...)
	} else {
		contentType, body = k.pageFor(request, v, body)
		h.AddID(message.Vary, "Vary", "Accept") // RFC 9111 §4.2.2: caches may keep some of them
	}
	if (len(body) > 0 || contentType != "") && !h.Has(message.ContentType) {
		h.AddID(message.ContentType, "Content-Type", cmp.Or(contentType, plainText))
	}
	k.local.keepPage(body)
	return body
}

// bodied reports whether an answer of the proxy's own with a status has a body: RFC 9110 §6.4.1.
func bodied(status int) bool { return status != 204 && status != 304 }

// keepPage keeps the memory of a body for the next one.
func (l *local) keepPage(body []byte) {
	if cap(body) <= pageKept {
		l.page = body[:0]
	}
}

// pageKept is more than most pages take.
const pageKept = 16 << 10

// pageFor appends the page for request that v asks for, whose body is what the page says of a failure.
func (k *record) pageFor(request *message.Head, v *Verdict, dst []byte) (contentType string, body []byte) {
	f := page.Facts{Status: v.status, Text: v.body, ID: k.ID(), Host: k.hostAsked(request)}
	if k.fault != nil {
		f.Token = k.fault.Token
	}
	return page.Append(dst, &f, request, k.route.pages(), k.listener.Pages)
}

// hostAsked returns the host that the client asked for. The Host of the request h may be the backend's by now.
func (k *record) hostAsked(h *message.Head) []byte {
	asked := message.Head{Base: h.Base, Authority: k.authority}
	return asked.Host()
}

// textFor returns the text for the client in an answer with status, "" where that is not the status of e. e may be nil.
func (e *Error) textFor(status int) string {
	if e != nil && e.Status == status {
		return e.Text
	}
	return ""
}

// Refusal makes the answer to a request that only TLS has seen: see session.Refuser.
func (p *Proxy) Refusal(r *engine.Reactor, h *message.Head, cause error) []byte {
	return p.refusal(r, h, cause, "", nil)
}

// Refusal makes the answer to a request that the session ends: see session.Refuser. The number in it belongs to the
// exchange, which has just ended, or of the record that Refused, which comes next, writes.
func (s *Service) Refusal(r *engine.Reactor, h *message.Head, cause error) []byte {
	l := s.proxy.local[r.Index()]
	text, logged := l.answered.text, l.answered.cause == cause
	if !logged {
		l.ids[1]++
		id := l.idOf(l.ids[1])
		text = hex.EncodeToString(id[:])
		l.refused = sessionRefusal{cause: cause, id: id}
	}
	l.answered = sessionEnd{}
	body := s.proxy.refusal(r, h, cause, text, s.present().Pages)
	if !logged && h.Verb != message.VerbHead {
		l.refused.bytes = len(body)
	}
	return body
}

// refusalMax bounds a page of one's own in the answer to a request that the session refuses. It is written at once:
// where the send queue has no room for it, the answers that wait there are lost as well.
const refusalMax = 64 << 10

// refusal makes the answer to a request of which nothing is known but its fault.
func (p *Proxy) refusal(r *engine.Reactor, h *message.Head, cause error, id string, pages *page.Set) []byte {
	token, text := "http_request_error", cause.Error()
	if e := (*h1.Error)(nil); errors.As(cause, &e) {
		token = e.Code
		text = "The request is malformed: " + strings.TrimPrefix(text, "h1: ") + "."
	}
	f := page.Facts{Status: int(h.Status), Text: text, Token: token, ID: id}
	contentType, body := page.Append(nil, &f, nil, pages)
	if len(body) > refusalMax {
		contentType, body = page.Append(nil, &f, nil)
	}
	h.AddID(message.ContentType, "Content-Type", contentType)
	p.addStatus(h, token, "")
	p.local[r.Index()].addDate(h)
	return body
}

var errPlainOnTLS = errors.New("This port speaks TLS, the request came without: use https://")

// PlainOnTLS is the whole answer to a client that speaks HTTP where TLS is expected: see tlsconn.ServerOptions.Plain.
// On r.
func (p *Proxy) PlainOnTLS(r *engine.Reactor) []byte {
	return session.AppendRefusal(nil, p, r, 400, errPlainOnTLS, false)
}

// addStatus adds why the proxy answers of its own: an error of RFC 9209, and what details say about it.
func (p *Proxy) addStatus(h *message.Head, token, details string) {
	value := p.name.String() + "; error=" + token
	if details != "" {
		value += `; details="` + details + `"`
	}
	h.AddID(message.ProxyStatus, "Proxy-Status", value)
}

const plainText = "text/plain; charset=utf-8"
