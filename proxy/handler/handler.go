package handler

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// FromHTTP leads to h, which runs on a goroutine of its own for each request, as with net/http. As many run at one time
// as engine.OffloadOptions.Lasting says; beyond it the answer is 503. The request's body and the answer stream, both
// with back-pressure; Flush, 1xx answers, trailers, read and write deadlines work as with net/http, and the request's
// context ends when the client goes. A panic is answered with 500, or cuts off an answer that has begun;
// http.ErrAbortHandler cuts it off quietly, and a *proxy.Error is the failure of the exchange, whose page the client
// gets where nothing was written. With proxy.ErrAgain, Open of a destination that leads to h is called once more.
//
// Hijack takes over a request that asks for an upgrade which its route allows (proxy.Tunnels), or CONNECT, over HTTP/1.
// Elsewhere an http.ResponseController says http.ErrNotSupported.
func FromHTTP(h http.Handler) proxy.Destination { return &toHandler{h} }

// Upgrades makes d an Upgrader: a handler may hijack.
func (d *toHandler) Upgrades() {}

// toHandler leads to an http.Handler.
// Immutable.
type toHandler struct{ handler http.Handler }

var errNoHandler = errors.New("the handler of FromHTTP is nil")

// Check refuses FromHTTP without a handler.
func (d *toHandler) Check() error {
	if d.handler == nil {
		return errNoHandler
	}
	return nil
}

// Open returns the stream that takes the request; the handler runs once it has the head.
func (d *toHandler) Open(x *proxy.Exchange, to session.Receiver) proxy.Opening {
	return proxy.Opening{Stream: newServed(d.handler, x, to)}
}

// errAborted is what a handler makes of an exchange by http.ErrAbortHandler.
var errAborted = proxy.NewError(proxy.Error{
	Kind: "aborted", From: proxy.SideBackend, Status: 502, Token: "http_response_incomplete",
	Text: "The handler gave up.", Silent: true,
})

// Bounds of the bytes that wait between a handler and its client.
const (
	bodyMax       = 64 << 10 // bytes of a request's body that came and that the handler has not asked for
	bodyLow       = 32 << 10 // of which so many pause the client
	answerWhole   = 4 << 10  // an answer up to this size gets a Content-Length
	answerPiece   = 32 << 10 // bytes given to the reactor in one piece
	answerOnOrder = 64 << 10 // bytes given to the reactor that the client has not taken: then Write waits

	jobSize = 8 << 10 // roughly the memory of a handler that has written nothing: mostly the stack of its goroutine
)

// served is an http.Handler at work on one exchange: to the exchange it is the stream that takes the request.
//
//	reactor                              the handler's goroutine
//	SendData ─► in ─► bodies (cap 1) ──► requestBody.Read
//	            ◄───── more (task) ─────
//	to.On… ◄────────── part (task) ───── answerWriter: Write, Flush, WriteHeader, the end
//	Release ─────────► released, wake ─► waits above answerOnOrder
//
// Owned by its reactor, but for what the drawing shows in the middle.
//
//	x != nil until both messages are through or the exchange dropped it
//	bodies is empty while wanted
type served struct {
	handler http.Handler
	x       *proxy.Exchange
	to      session.Receiver // of the answer
	reactor *engine.Reactor
	job     engine.Job

	in       []byte // of the request's body, not yet given to the handler
	inEnded  bool   // and nothing follows
	trailer  http.Header
	wanted   bool // the handler takes the next piece
	unwanted bool // the handler has returned: further pieces are discarded
	answered bool // the answer's end was delivered
	expects  bool // the client waits for 100 before it sends
	hijacked *hijacked

	runs    bool          // the handler has not returned
	charged engine.Charge // bytes on the reactor's account
	head    int           // bytes of the request's head, of which the handler has a copy
	given   int           // bytes of the piece of the body that the handler was given last
	largest int           // bytes of the largest piece that the handler has written

	bodies   chan bodyPart
	more     engine.Task // posted by the handler's side when it wants what comes next
	released atomic.Int64
	wake     chan struct{}
	last     part

	peer, local poller.Addr // immutable
	verb        message.Verb
	switches    bool // the request may become a tunnel. immutable once the handler runs
	asksFirst   bool // the handler's first Read asks, since a 100 answer is to follow. immutable
}

// bodyPart is a piece of a request's body. Its receiver owns it.
type bodyPart struct {
	p       []byte
	end     bool
	trailer http.Header // with the end
}

func newServed(h http.Handler, x *proxy.Exchange, to session.Receiver) *served {
	s := &served{
		handler: h, x: x, to: to, reactor: x.Reactor(),
		bodies: make(chan bodyPart, 1), wake: make(chan struct{}, 1),
		expects: x.Request.Continue, peer: x.Client().Peer(), local: x.Client().Local(),
	}
	s.wanted, s.asksFirst = !s.expects, s.expects
	s.more.Run = s.onMore
	return s
}

// SendHead starts the handler.
func (s *served) SendHead(h *message.Head, end bool) error {
	r, err := newRequest(s, h, end)
	if err != nil {
		return proxy.BadTarget
	}
	s.inEnded = end
	s.verb = h.Verb
	s.switches = end && !h.Proto.Shared() && (h.Upgrade || h.Verb == message.VerbConnect)
	s.wanted = s.wanted && !s.switches // a connection that is taken over asks
	s.job.Lasts = true
	s.job.Do = func(ctx context.Context) { s.serve(ctx, s.handler, r) }
	s.job.Done.Run = func(*engine.Reactor) {
		s.runs = false
		s.arrive(&s.last)
		s.charge()
	}
	if err := s.reactor.Offload(&s.job); err != nil {
		return proxy.Overload
	}
	s.runs, s.head = true, cap(h.Base)
	s.charge()
	s.give()
	return nil
}

// charge adds what the handler holds for the exchange to the reactor's account, until it has returned, or for as long
// as the connection is there that it took over: its goroutine, the request, the body as far as it has come, and a piece
// of the answer twice, since io.Copy has a buffer, too. Bytes that were given to the reactor are counted where they
// wait for the client. A handler that runs on after its client has left keeps its goroutine alone.
func (s *served) charge() {
	n := 0
	if s.x != nil && (s.runs || s.hijacked != nil) {
		n = jobSize + 2*s.head + cap(s.in) + s.given + 2*s.largest
	}
	s.charged.Set(n, s.reactor)
}

// serve runs the handler. On its goroutine.
func (s *served) serve(ctx context.Context, h http.Handler, r *http.Request) {
	body := newRequestBody(ctx, s)
	if r.Body == nil {
		r.Body = body
	}
	r = r.WithContext(context.WithValue(ctx, http.LocalAddrContextKey, s.local.Net()))
	body.request = r
	w := newAnswerWriter(ctx, s, r, body)
	defer func() {
		body.Close()
		p := recover()
		if c := w.hijacked; p != nil && c != nil {
			c.Close() //nolint:errcheck // it is the first call, or a call that does nothing
		}
		err, _ := p.(error)
		var why *proxy.Error
		switch {
		case p == nil:
		case errors.Is(err, http.ErrAbortHandler):
			s.last = part{failed: true, why: errAborted}
		case err == proxy.ErrAgain:
			s.last = part{failed: true, why: err}
		case errors.As(err, &why):
			s.last = part{failed: true, why: why}
		default:
			s.last = part{failed: true, panicked: &panicked{p, r, debug.Stack()}}
		}
	}()
	if ctx.Err() != nil {
		return
	}
	if s.switches {
		h.ServeHTTP(switchWriter{w}, r)
	} else {
		h.ServeHTTP(w, r)
	}
	s.last = w.end()
}

// part is what a handler gives to the reactor at once: a head, bytes, an end.
// Owned by the reactor once it was posted.
type part struct {
	task     engine.Task
	head     *message.Head
	data     []byte
	trailers *message.Head
	end      bool
	failed   bool  // the answer cannot be completed: the handler panicked
	why      error // that it failed, a *proxy.Error or proxy.ErrAgain; nil: a panic
	left     bool  // with the end of a tunnel: what the client says is not read any more
	panicked *panicked
}

// panicked is a panic of a handler, on its way to the log.
type panicked struct {
	value   any
	request *http.Request
	stack   []byte
}

// quotedMax bounds what a line of the log repeats of a request.
const quotedMax = 256

// log writes which request it was; id is "" where the client has gone.
func (p *panicked) log(id string) {
	bounded := func(s string) string { return s[:min(len(s), quotedMax)] }
	r := p.request
	slog.Error("a handler panicked", "panic", p.value, "request", id, "method", bounded(r.Method),
		"host", bounded(r.Host), "path", bounded(r.URL.EscapedPath()), "stack", string(p.stack))
}

// arrive delivers a part to the exchange. On the reactor.
func (s *served) arrive(p *part) {
	s.unwanted = s.unwanted || p.end || p.failed
	s.largest = max(s.largest, cap(p.data))
	s.charge()
	if p.head != nil && s.hijacked != nil && p.head.Status >= 200 && !p.head.Tunnel {
		s.inEnded = true // no tunnel: nothing follows
	}
	if p.panicked != nil {
		id := ""
		if s.x != nil {
			id = s.x.ID()
		}
		p.panicked.log(id)
	}
	if s.x == nil {
		return
	}
	if p.head != nil {
		s.expects = s.expects && p.head.Status != http.StatusContinue
		bodyless := p.end && len(p.data) == 0 && p.trailers == nil
		s.noteEnd(bodyless)
		if s.to.OnHead(s, p.head, bodyless); bodyless || s.x == nil {
			return
		}
	}
	last := p.end && p.trailers == nil
	if len(p.data) > 0 || last {
		s.noteEnd(last)
		if s.to.OnData(s, p.data, last); s.x != nil && p.left {
			s.fail(errAborted)
		}
		if last || s.x == nil {
			return
		}
	}
	switch {
	case p.failed:
		s.fail(p.why)
	case p.trailers != nil:
		s.noteEnd(true)
		s.to.OnTrailers(s, p.trailers)
	}
}

// noteEnd remembers that the answer is through; the exchange needs no stream any more once the request is too.
func (s *served) noteEnd(end bool) {
	if end {
		s.answered = true
		if s.inEnded {
			s.leave()
			if s.hijacked != nil { // a stream that is through is not reset
				s.hijacked.cancel(io.EOF)
			}
		}
	}
}

// leave notes that the exchange needs s no more.
func (s *served) leave() {
	s.x = nil
	s.charge()
}

// fail ends the exchange of a handler that failed; nil: it panicked.
func (s *served) fail(why error) {
	s.leave()
	if why == nil {
		why = proxy.Internal
	}
	s.to.OnReset(s, session.Aborted, why)
}

// onMore gives the handler what has come, or notes that it waits.
func (s *served) onMore(*engine.Reactor) {
	s.wanted, s.given = true, 0
	if s.x == nil {
		return
	}
	if s.expects {
		s.expects = false
		h := message.Head{Status: http.StatusContinue, Proto: message.HTTP11}
		s.to.OnHead(s, &h, false)
	}
	s.give()
	s.to.OnSendable(s)
}

// give hands over what has come, if the handler wants it. bodies has room then: see served.
func (s *served) give() {
	if s.wanted && (len(s.in) > 0 || s.inEnded) {
		s.wanted = false
		s.bodies <- bodyPart{s.in, s.inEnded, s.trailer}
		s.given, s.in = cap(s.in), nil
	}
	s.charge()
}

// SendData takes a piece of the request's body.
func (s *served) SendData(p []byte, end bool) (int, error) {
	if s.x == nil {
		return 0, session.ErrDead
	}
	s.expects = false // the client did not wait
	n := len(p)
	if !s.unwanted {
		n = min(n, bodyMax-len(s.in))
		s.in = append(s.in, p[:n]...)
	}
	s.inEnded = end && n == len(p)
	s.give()
	s.noteEnd(s.answered)
	return n, nil
}

// SendTrailers ends the request's body. Its fields are in the request's Trailer once the handler has read to the end.
func (s *served) SendTrailers(h *message.Head) error {
	s.trailer = httpFields(h)
	_, err := s.SendData(nil, true)
	return err
}

// Congested reports whether the handler is behind.
func (s *served) Congested() bool { return len(s.in) >= bodyLow && !s.unwanted }

// Queued returns the bytes that the handler was not given yet.
func (s *served) Queued() int { return len(s.in) }

// Release lets the handler write on.
func (s *served) Release(n int) {
	s.released.Add(int64(n))
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Reset tells the handler that its answer is no longer wanted.
func (s *served) Reset(session.Code) {
	s.leave()
	s.job.Cancel()
	if s.hijacked != nil {
		s.hijacked.cancel(errClientGone)
	}
}

// Peer is the client: a handler is the peer of no other.
func (s *served) Peer() poller.Addr { return s.peer }

// Local is the address that the client connected to.
func (s *served) Local() poller.Addr { return s.local }

// TLS is nil: there is no connection to a handler.
func (s *served) TLS() *tlsconn.Digest { return nil }
