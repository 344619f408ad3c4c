package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/textproto"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// Transport is an http.RoundTripper that sends requests to a destination of a proxy, such as an upstream: with its
// connections, its balancing and health, its retries and limits, and its times beside the context's. Bodies stream both
// ways, and wait for the slower side above 64 KiB.
//
// All requests go to that destination, whatever the host of their URL is. What it cannot do: tunnels, trailers of
// requests, compression that is undone on the way, httptrace. Where there is no answer the error is a *proxy.Error, or
// the cause of the context. Safe for any goroutine but a reactor's.
type Transport struct {
	service  *proxy.Service
	to       proxy.Destination
	reactors []*engine.Reactor
	made     atomic.Uint32
	senders  sync.Pool // of *sender
}

// sender makes the heads of requests for a reactor. A processor keeps one, and so meets the connections that it knows.
type sender struct {
	head    message.Head
	reactor *engine.Reactor
}

// NewTransport makes a Transport to a destination. Requests belong to s, a service of a proxy on e, and have its
// access log. They meet no route and no filter.
func NewTransport(e *engine.Engine, s *proxy.Service, to proxy.Destination) *Transport {
	t := &Transport{service: s, to: to, reactors: e.Reactors()}
	t.senders.New = func() any { return &sender{reactor: t.reactors[int(t.made.Add(1))%len(t.reactors)]} }
	return t
}

// Bounds of a call, in bytes.
const (
	callPiece = 32 << 10 // of a request that are read at once; a body in memory up to that is sent with its head
	callLow   = 32 << 10 // of an answer that are read before they are released
	senderMax = 16 << 10 // of heads that a sender keeps
)

// call is a request on its way, and the body of its answer.
//
//	goroutines                               reactor
//	RoundTrip ── begin: head, body ────────► Fetch, SendHead, SendData
//	pump ─────── piece ────────────────────► SendData, until all of it is taken
//	     ◄────── taken (cap 1) ─────────────
//	RoundTrip, Read ◄── news (cap 1) ─────── OnHead, OnData, OnTrailers, OnReset: answer
//	Read ─────── freed ────────────────────► Release
//	Close, the context ── stop ────────────► Reset
//
// Owned by its reactor, but for answer, and for what goroutines say of it: made, rest, unwatch.
type call struct {
	request *http.Request
	reactor *engine.Reactor
	service *proxy.Service
	to      proxy.Destination
	stream  session.Stream

	head    *message.Head // of the request, until begin has run
	body    []byte        // of the request, the piece that is sent
	last    bool          // nothing follows it
	taken   chan bool     // whether more of the request is wanted; nil: it is in memory
	source  io.ReadCloser // the body that pump reads: the caller may have changed the request meanwhile
	closing sync.Once     // of source
	telling bool          // tell is on its way

	begin, piece, tell, freed, stop engine.Task

	news    chan struct{}
	answer  answer
	made    *http.Response // by RoundTrip, for its trailers
	rest    [][]byte       // of the answer, that Read has taken
	unwatch func() bool    // ends what waits for the context
}

// answer is what has come for a call.
type answer struct {
	mu       sync.Mutex
	head     *message.Head
	pieces   [][]byte
	trailers http.Header
	ended    bool  // nothing follows
	err      error // why, where it is not the end
	read     int   // bytes that were read and not released
	freeing  bool  // freed is on its way
	stopped  bool  // stop is, or was
}

var (
	errCall   = errors.New("edge: a request needs a URL, and no trailers")
	errCut    = errors.New("edge: the answer was cut off")
	errClosed = errors.New("edge: read on a closed body")
	errLength = errors.New("edge: the body of the request has another length than ContentLength")
	errPanic  = errors.New("edge: the body of the request panicked")
)

// RoundTrip sends a request and returns when the head of its answer has come.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	from := t.senders.Get().(*sender)
	c := &call{request: r, reactor: from.reactor, service: t.service, to: t.to, head: &from.head,
		news: make(chan struct{}, 1)}
	err := fill(c.head, r)
	switch {
	case err != nil:
	case c.head.Length == 0:
		c.last = true
	case r.GetBody != nil && 0 < r.ContentLength && r.ContentLength <= callPiece:
		c.body, err = readWhole(r)
		c.last = true
	default:
		c.taken, c.source = make(chan bool, 1), r.Body
	}
	if c.taken == nil && r.Body != nil {
		err = cmp.Or(err, r.Body.Close())
	}
	if err != nil {
		return nil, err
	}
	c.begin.Run, c.tell.Run = c.onBegin, c.onTell
	c.reactor.Post(&c.begin)
	if c.taken != nil {
		go c.pump(r.ContentLength)
	}
	for {
		select {
		case <-c.news:
		case <-c.reactor.Ended():
			return nil, engine.ErrStopped
		case <-r.Context().Done():
			err := context.Cause(r.Context())
			c.cancel(err)
			return nil, err
		}
		a := &c.answer
		a.mu.Lock()
		head, err := a.head, a.err
		whole := a.ended && err == nil && len(a.pieces) == 0 && a.trailers == nil
		a.mu.Unlock()
		if head == nil && err == nil {
			continue
		}
		if cap(from.head.Base) <= senderMax { // the reactor is through with it
			t.senders.Put(from)
		}
		if head == nil {
			return nil, err
		}
		return c.respond(head, whole), nil
	}
}

// readWhole reads a body that is in memory, as GetBody says.
func readWhole(r *http.Request) ([]byte, error) {
	p := make([]byte, r.ContentLength+1)
	if n, err := io.ReadFull(r.Body, p); err != io.ErrUnexpectedEOF || int64(n) != r.ContentLength {
		return nil, errLength
	}
	return p[:r.ContentLength], nil
}

// fill makes h the head of r.
func fill(h *message.Head, r *http.Request) error {
	if r.URL == nil || len(r.Trailer) > 0 {
		return errCall
	}
	h.Reset()
	h.Proto = message.HTTP11
	method, host, target := cmp.Or(r.Method, http.MethodGet), cmp.Or(r.Host, r.URL.Host), r.URL.RequestURI()
	if _, _, ok := message.SplitAuthority([]byte(host)); !ok && host != "" || !message.ValidName(method) ||
		!message.ValidTarget([]byte(target)) {
		return fmt.Errorf("edge: malformed request: %q %q %q", method, host, target)
	}
	h.SetMethod(method)
	h.SetAuthority(host)
	h.SetTarget(target)
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		h.Length = 0
	case r.ContentLength > 0:
		h.Length = r.ContentLength
	default:
		h.Length = message.LengthUnknown
	}
	for name, values := range r.Header {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer", // the request itself says it
			"Connection", "Keep-Alive", "Proxy-Connection", "Upgrade": // of a connection, which is not the caller's
			continue
		case "Te":
			h.Trailers = strings.Contains(strings.Join(values, ","), "trailers")
			continue
		}
		for _, v := range values {
			v = textproto.TrimString(v)
			if !message.ValidName(name) || !message.ValidValue(v) {
				return fmt.Errorf("edge: malformed field: %q", name)
			}
			h.Add(name, v)
		}
	}
	return nil
}

// respond makes what net/http's client would have made of the head of an answer. whole: it has no body.
func (c *call) respond(h *message.Head, whole bool) *http.Response {
	r := &http.Response{
		Status: strconv.Itoa(int(h.Status)) + " " + http.StatusText(int(h.Status)), StatusCode: int(h.Status),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: c.request,
		Header: httpFields(h), Trailer: announced(h), ContentLength: h.Length, Body: http.NoBody,
	}
	switch {
	case c.request.Method == http.MethodHead:
		r.ContentLength = -1
		if n, ok := message.ParseLength([]byte(r.Header.Get("Content-Length"))); ok {
			r.ContentLength = n
		}
	case whole:
		r.ContentLength = 0
	default:
		c.made, r.Body = r, (*answerBody)(c)
		if ctx := c.request.Context(); ctx.Done() != nil {
			c.unwatch = context.AfterFunc(ctx, func() { c.cancel(context.Cause(ctx)) })
		}
	}
	return r
}

// cancel ends a call that is not wanted any more, for why. Safe for any goroutine.
func (c *call) cancel(why error) {
	a := &c.answer
	a.mu.Lock()
	stop := !a.ended && !a.stopped
	a.stopped = true
	if a.pieces = nil; a.ended && a.err == nil { // what waits is lost, which a reader hears
		a.err = why
	}
	a.mu.Unlock()
	if stop {
		c.stop.Run = func(*engine.Reactor) {
			c.stream.Reset(session.Cancelled)
			c.end(why)
		}
		c.reactor.Post(&c.stop)
	}
}

// pump sends a body that is not in memory. On a goroutine of its own, perhaps when the request is the caller's again.
func (c *call) pump(length int64) {
	defer c.rescue(true)
	defer c.closeSource()
	buf, left := make([]byte, callPiece), length
	for more := true; more; {
		n, err := c.source.Read(buf)
		p, last := buf[:n], err == io.EOF
		if left -= int64(n); length > 0 && (left < 0 || last && left > 0) {
			err, last = errLength, false
		}
		if err != nil && !last {
			c.giveUp(err)
			return
		}
		if n == 0 && !last { // it may be that nothing is wanted any more
			select {
			case more = <-c.taken:
			case <-c.reactor.Ended():
				return
			default:
			}
			continue
		}
		c.piece.Run = func(*engine.Reactor) {
			c.body, c.last = p, last
			c.send()
		}
		c.reactor.Post(&c.piece)
		select {
		case more = <-c.taken:
		case <-c.reactor.Ended():
			return
		}
	}
}

// giveUp ends a call whose body fails, unless its answer is here already.
func (c *call) giveUp(why error) {
	c.answer.mu.Lock()
	ended := c.answer.ended
	c.answer.mu.Unlock()
	if !ended {
		c.cancel(why)
	}
}

// closeSource closes the body of the request, once.
func (c *call) closeSource() {
	c.closing.Do(func() {
		defer c.rescue(false)
		_ = c.source.Close() // as net/http does
	})
}

// rescue logs a panic of the body, and gives the call up where that was not sent whole. To be deferred.
func (c *call) rescue(partly bool) {
	if p := recover(); p != nil {
		slog.Error("the body of a request panicked", "panic", p, "stack", string(debug.Stack()))
		if partly {
			c.giveUp(errPanic)
		}
	}
}

// The reactor's side of a call.

func (c *call) onBegin(r *engine.Reactor) {
	c.stream = c.service.Fetch(r, c.to, (*answerSide)(c))
	err := c.stream.SendHead(c.head, c.last && len(c.body) == 0)
	if c.head = nil; err != nil { // CONNECT
		c.stream.Reset(session.Cancelled)
		c.end(err)
	} else if len(c.body) > 0 {
		c.send()
	}
}

// send sends the rest of the piece.
func (c *call) send() {
	n, err := c.stream.SendData(c.body, c.last)
	if c.body = c.body[n:]; err != nil || len(c.body) == 0 {
		c.take(err == nil && !c.last)
	}
}

// take tells pump that the piece is through.
func (c *call) take(more bool) {
	select {
	case c.taken <- more: // of a body in memory it is nil
	default:
	}
}

// end ends the answer, for why; nil: it is whole.
func (c *call) end(why error) {
	a := &c.answer
	a.mu.Lock()
	if !a.ended {
		a.ended, a.err = true, why
	}
	a.mu.Unlock()
	if c.take(false); c.taken != nil && !c.last {
		go c.closeSource() // pump may wait in a Read that only Close ends
	}
	c.onTell(nil)
}

// onTell makes the goroutine look at the answer.
func (c *call) onTell(*engine.Reactor) {
	c.telling = false
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// onFreed releases what was read.
func (c *call) onFreed(*engine.Reactor) {
	a := &c.answer
	a.mu.Lock()
	n := a.read
	a.read, a.freeing = 0, false
	a.mu.Unlock()
	c.stream.Release(n)
}

// answerSide is a call as the receiver of its answer.
type answerSide call

func (s *answerSide) OnHead(_ session.Stream, h *message.Head, end bool) {
	if h.Status >= 200 {
		s.came(end, func(a *answer) { a.head = h })
	}
}

func (s *answerSide) OnData(_ session.Stream, p []byte, end bool) {
	s.came(end, func(a *answer) {
		if len(p) > 0 {
			a.pieces = append(a.pieces, p)
		}
	})
}

func (s *answerSide) OnTrailers(_ session.Stream, h *message.Head) {
	s.came(true, func(a *answer) { a.trailers = httpFields(h) })
}

// came adds to the answer. Unless that is its end, the goroutine hears of it later in the tick, when more may be there.
func (s *answerSide) came(end bool, add func(a *answer)) {
	s.answer.mu.Lock()
	add(&s.answer)
	s.answer.mu.Unlock()
	if end {
		(*call)(s).end(nil)
	} else if !s.telling {
		s.telling = true
		s.reactor.Defer(&s.tell)
	}
}

func (s *answerSide) OnSendable(session.Stream) {
	if len(s.body) > 0 {
		(*call)(s).send()
	}
}

func (s *answerSide) OnReset(_ session.Stream, _ session.Code, cause error) {
	(*call)(s).end(cmp.Or(cause, errCut))
}

// answerBody is a call as the body of its answer.
type answerBody call

// Read waits until something has come.
func (b *answerBody) Read(p []byte) (n int, err error) {
	for {
		if n, err = b.next(p); n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		select {
		case <-b.news:
		case <-b.reactor.Ended():
			return 0, engine.ErrStopped
		}
	}
}

// next copies what is there. It holds the lock for a moment at a time, since the reactor may wait for it.
func (b *answerBody) next(p []byte) (n int, err error) {
	a := &b.answer
	if len(b.rest) == 0 {
		a.mu.Lock()
		b.rest, a.pieces = a.pieces, nil
		if a.ended && len(b.rest) == 0 {
			err = b.over()
		}
		a.mu.Unlock()
		if err != nil {
			return 0, err
		}
	}
	for len(b.rest) > 0 && n < len(p) {
		k := copy(p[n:], b.rest[0])
		if b.rest[0] = b.rest[0][k:]; len(b.rest[0]) == 0 {
			b.rest = b.rest[1:]
		}
		n += k
	}
	a.mu.Lock()
	a.read += n
	free := a.read >= callLow && !a.ended && !a.freeing
	a.freeing = a.freeing || free
	a.mu.Unlock()
	if free {
		b.freed.Run = (*call)(b).onFreed
		b.reactor.Post(&b.freed)
	}
	return n, nil
}

// over returns how the answer has ended. answer.mu is held.
func (b *answerBody) over() error {
	if b.unwatch != nil {
		b.unwatch()
	}
	switch a := &b.answer; {
	case a.err != nil:
		return a.err
	case b.made.Trailer == nil:
		b.made.Trailer = a.trailers
	default:
		maps.Copy(b.made.Trailer, a.trailers)
	}
	return io.EOF
}

// Close ends a call whose answer was not read to the end.
func (b *answerBody) Close() error {
	if b.unwatch != nil {
		b.unwatch()
	}
	(*call)(b).cancel(errClosed)
	return nil
}
