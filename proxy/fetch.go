package proxy

import (
	"slices"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// Fetch begins a request that comes from code and not from a connection. It goes to d, by no route and no filter, and a
// failure is OnReset with the *Error as its cause. Where d is nil, it goes through routes and filters of the present
// Snapshot as a request of a client of s does, also with its failures. Either is logged as s says. Fetch returns the
// stream that takes the request: SendHead comes first. The answer goes to to, later in the tick, and never inside a
// method of the stream; it owns the heads and the bytes that it is given. A request that asks for a tunnel goes on
// without it; CONNECT is refused. On r only, and so are the methods of the stream.
func (s *Service) Fetch(r *engine.Reactor, d Destination, to session.Receiver) session.Stream {
	x := s.proxy.local[r.Index()].take()
	f := &fetch{x: x, to: to, reactor: r, straight: d != nil}
	f.task.Run = f.deliver
	if d != nil {
		x.route, x.chosen, x.step = noRoute, leadTo(d), stepBuffer
	}
	x.down, x.listener = (*answering)(f), s.present()
	return (*asking)(f)
}

// fetch joins an exchange to the code that asked for it.
//
//	code ── SendHead, SendData ──► asking ─────► downSide ─► the exchange
//	     ◄── OnHead, OnData ────── deliver ◄──── answering ◄─ SendHead, SendData
//
// The request goes straight through. The answer waits for deliver, a task, so that the code is not called from inside
// its own call. Owned by its reactor.
//
//	x is nil after the end of the answer, and after a reset from either side
//	to is nil after a reset by the code
//	queued + owed <= fetchMax, asked <= fetchMax, and none of them is below 0
//	queued == the bytes in answer
type fetch struct {
	x       *Exchange
	to      session.Receiver
	reactor *engine.Reactor
	task    engine.Task
	posted  bool // the task is on its way

	straight bool // to a destination that the code has named

	begun bool // the head of the request was sent
	ended bool // and its end
	head  bool // the request is HEAD: what the exchange sends for a body is dropped
	asked int  // bytes of the request that the exchange has not released
	full  bool // the code waits for OnSendable

	answer  []answered
	queued  int  // bytes in answer
	owed    int  // bytes that the code was given and has not released
	blocked bool // the exchange waits for OnSendable
	cut     bool // the exchange ended the answer early
	code    session.Code
	cause   error // of cut
}

// answered is a part of an answer.
type answered struct {
	head     *message.Head
	data     []byte
	trailers *message.Head
	end      bool
}

// Bounds of what lies between an exchange and its code, in bytes, each way.
const (
	fetchMax = 64 << 10
	fetchLow = 32 << 10 // more is congestion
)

// put delivers a part of the answer. Nothing of x may be used once the end is there.
func (f *fetch) put(a answered) {
	if invariant.On {
		defer f.check()
	}
	f.answer = append(f.answer, a)
	f.queued += len(a.data)
	f.reactor.Account(len(a.data))
	if a.end {
		f.x = nil
	}
	f.wake()
}

func (f *fetch) wake() {
	if !f.posted {
		f.posted = true
		f.reactor.Defer(&f.task)
	}
}

// deliver gives the code what has come, and either side the news that it may go on.
func (f *fetch) deliver(*engine.Reactor) {
	if invariant.On {
		defer f.check()
	}
	f.posted = false
	s := (*asking)(f)
	for len(f.answer) > 0 && f.to != nil {
		a := f.answer[0]
		f.answer = f.answer[1:]
		f.reactor.Account(-len(a.data))
		f.queued, f.owed = f.queued-len(a.data), f.owed+len(a.data)
		switch {
		case a.head != nil:
			f.to.OnHead(s, a.head, a.end)
		case a.trailers != nil:
			f.to.OnTrailers(s, a.trailers)
		default:
			f.to.OnData(s, a.data, a.end)
		}
	}
	if f.cut && f.to != nil {
		to := f.to
		f.to = nil
		to.OnReset(s, f.code, f.cause)
	}
	if f.full && f.to != nil && f.x != nil && f.asked <= fetchLow {
		f.full = false
		f.to.OnSendable(s)
	}
	if f.blocked && f.x != nil && f.queued+f.owed <= fetchLow {
		f.blocked = false
		defer f.x.rescue()
		(*downSide)(f.x).OnSendable((*answering)(f))
	}
}

// check panics when an invariant of fetch does not hold.
func (f *fetch) check() {
	bytes := 0
	for i, a := range f.answer {
		bytes += len(a.data)
		invariant.That(!a.end || f.x == nil && i == len(f.answer)-1, "something follows the end of an answer")
	}
	invariant.That(bytes == f.queued, "%d bytes are queued, %d are counted", bytes, f.queued)
	invariant.That(f.owed >= 0 && f.queued+f.owed <= fetchMax, "%d bytes are queued, %d are owed", f.queued, f.owed)
	invariant.That(f.asked >= 0 && f.asked <= fetchMax, "%d bytes of a request are not released", f.asked)
	invariant.That(f.to != nil || len(f.answer) == 0, "an answer waits for nobody")
	invariant.That(!f.cut || f.x == nil, "an answer that was cut off has an exchange")
}

// drop forgets the pieces that wait for the code.
func (f *fetch) drop() {
	f.reactor.Account(-f.queued)
	f.answer, f.queued = nil, 0
}

// cloneOf copies a head that is borrowed.
func cloneOf(h *message.Head) *message.Head {
	c := new(message.Head)
	c.Become(h)
	return c
}

// asking is a fetch as the code sees it: the stream that takes the request.
type asking fetch

func (a *asking) SendHead(h *message.Head, end bool) error {
	switch {
	case a.x == nil:
		return session.ErrDead
	case a.begun, h.Verb == message.VerbConnect:
		return session.ErrOrder
	}
	a.begun, a.ended, a.head = true, end, h.Verb == message.VerbHead
	c := cloneOf(h)
	c.Upgrade = false
	if a.straight { // what code says of a client is so
		a.x.routed, a.x.asked, a.x.trusted = c.Target, c.Authority, true
	}
	a.x.local.keepLent() // the code may be a filter of the answer
	defer a.x.rescue()
	(*downSide)(a.x).OnHead((*answering)(a), c, end)
	return nil
}

func (a *asking) SendData(p []byte, end bool) (int, error) {
	switch {
	case a.x == nil:
		return 0, session.ErrDead
	case !a.begun || a.ended:
		return 0, session.ErrOrder
	}
	n := min(len(p), fetchMax-a.asked)
	a.full = n < len(p)
	a.ended = end && !a.full
	a.asked += n
	if invariant.On {
		defer (*fetch)(a).check()
	}
	defer a.x.rescue()
	(*downSide)(a.x).OnData((*answering)(a), p[:n], a.ended)
	return n, nil
}

func (a *asking) SendTrailers(h *message.Head) error {
	switch {
	case a.x == nil:
		return session.ErrDead
	case !a.begun || a.ended:
		return session.ErrOrder
	}
	a.ended = true
	defer a.x.rescue()
	(*downSide)(a.x).OnTrailers((*answering)(a), cloneOf(h))
	return nil
}

func (a *asking) Congested() bool {
	a.full = a.full || a.asked > fetchLow
	return a.full
}

func (a *asking) Queued() int { return a.asked }

func (a *asking) Release(n int) {
	a.owed -= n
	if invariant.On {
		(*fetch)(a).check()
	}
	if a.blocked {
		(*fetch)(a).wake()
	}
}

func (a *asking) Reset(code session.Code) {
	if invariant.On {
		defer (*fetch)(a).check()
	}
	a.to = nil
	(*fetch)(a).drop()
	if x := a.x; x != nil {
		a.x = nil
		defer x.rescue()
		(*downSide)(x).OnReset((*answering)(a), code, nil)
	}
}

func (a *asking) Peer() poller.Addr    { return fetchAddr }
func (a *asking) Local() poller.Addr   { return fetchAddr }
func (a *asking) TLS() *tlsconn.Digest { return nil }

// answering is a fetch as its exchange sees it: the stream that takes the answer.
type answering fetch

func (a *answering) SendHead(h *message.Head, end bool) error {
	if f := a.x.fault; a.straight && f != nil { // the answer is a page about it
		a.cause = f
		_, _ = a.SendData(nil, end)
		return nil
	}
	(*fetch)(a).put(answered{head: cloneOf(h), end: end})
	return nil
}

func (a *answering) SendData(p []byte, end bool) (int, error) {
	if a.cause != nil {
		if end {
			a.Reset(session.Aborted)
		}
		return len(p), nil
	}
	if a.head {
		if end {
			(*fetch)(a).put(answered{end: true})
		}
		return len(p), nil
	}
	n := min(len(p), fetchMax-a.queued-a.owed)
	a.blocked = n < len(p)
	if n > 0 || end && !a.blocked {
		(*fetch)(a).put(answered{data: slices.Clone(p[:n]), end: end && !a.blocked})
	}
	return n, nil
}

func (a *answering) SendTrailers(h *message.Head) error {
	(*fetch)(a).put(answered{trailers: cloneOf(h), end: true})
	return nil
}

func (a *answering) Congested() bool {
	a.blocked = a.blocked || a.queued+a.owed > fetchLow
	return a.blocked
}

func (a *answering) Queued() int { return a.queued + a.owed }

func (a *answering) Release(n int) {
	a.asked -= n
	if invariant.On {
		(*fetch)(a).check()
	}
	if a.full {
		(*fetch)(a).wake()
	}
}

func (a *answering) Reset(code session.Code) {
	if invariant.On {
		defer (*fetch)(a).check()
	}
	if f := a.x.fault; f != nil {
		a.cause = f
	}
	a.x = nil
	a.cut, a.code = true, code
	(*fetch)(a).drop()
	(*fetch)(a).wake()
}

func (a *answering) Peer() poller.Addr    { return fetchAddr }
func (a *answering) Local() poller.Addr   { return fetchAddr }
func (a *answering) TLS() *tlsconn.Digest { return nil }

// fetchAddr is what a fetch has for the address of a client: none, as on a Unix socket.
var fetchAddr = poller.Addr{Path: "@"}
