package proxy

import (
	"net/netip"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// ForkSide takes the answer to a forked request: a Stream as the stream of a client is one. All methods run on the
// reactor of the fork. SendHead may change its head, and take it by MoveTo. Peer, Local and TLS are not called.
type ForkSide interface {
	session.Stream
	// OnFailed is called in place of an answer. A failure after the head of the answer, or a panic, is a Reset. Either
	// is the last call.
	OnFailed(e *Error)
}

// Forked is a request without a client: see Fork. The zero value is Over. Owned by the reactor of the exchange that it
// was made of. Its memory belongs to the caller of Fork, and may be used again once it is Over.
//
//	x is nil once the fork is over: the end of the answer was sent, it has failed, or it was cancelled
type Forked struct {
	Body  []byte          // of the request, which Fork copies; nil: it has none
	Class admission.Class // that the request is of, in place of its route's; Usual: the route's
	Apart bool            // no exchange waits, so Credit is not called: attempts have no spans of their own

	ForkSide
	x           *Exchange
	peer, local poller.Addr
	socket      netip.Addr
	digest      *tlsconn.Digest
	task        engine.Task
	posted      bool     // the task is on its way
	broken      ForkSide // has panicked, and is told of the end; nil: none
}

// Over reports whether f may be used for another request: nothing of it goes on, and no task is on its way.
func (f *Forked) Over() bool { return f.x == nil && !f.posted }

// Request returns the head that is sent on; nil once f is over. Borrowed until then.
func (f *Forked) Request() *message.Head {
	if f.x == nil {
		return nil
	}
	return &f.x.Request
}

// Peer is the address of the client of the exchange that the fork was made of.
func (f *Forked) Peer() poller.Addr { return f.peer }

// Local is the address that this client connected to.
func (f *Forked) Local() poller.Addr { return f.local }

// SocketIP is the other end of the socket that this client came by.
func (f *Forked) SocketIP() netip.Addr { return f.socket }

// TLS is what is known of the connection of this client.
func (f *Forked) TLS() *tlsconn.Digest { return f.digest }

// nobody takes the answer of a fork that was cancelled.
var nobody ForkSide = noSide{}

type noSide struct{ session.NopStream }

func (noSide) OnFailed(*Error) {}

// Fork makes f, which is Over, the request of x, sent to d once more as it stands, but with f.Body. It is an exchange
// of its own, which may outlive x: with the route, the snapshot, the client and the Locals that x has at the moment.
// The caller may change f.Request until it returns to the reactor. The answer goes to down, from the end of this tick
// on, and never inside a method of f.
//
// A fork has the time that x has, and ends a little sooner. It makes attempts as any request does: retries, hedging,
// balancing, ConnectFailed, Connected, UpstreamResponse, Via, and counters of the upstream. No other filter sees it,
// and it has no log record. The answer of a filter of ConnectFailed is a failure, with which x fails by that answer.
// On the reactor of x.
func Fork(f *Forked, x *Exchange, d Destination, down ForkSide) {
	from, y := x.Client(), x.local.take()
	f.ForkSide, f.x, f.peer, f.local, f.digest = down, y, from.Peer(), poller.Addr{}, x.digest
	f.socket = session.SocketIP(from)
	if c := x.route.chain; len(c.connectFailed)+len(c.connected)+len(c.upstreamResponse) > 0 {
		f.local = from.Local() // it takes a system call, and filters alone look at it
	}
	if f.task.Run == nil {
		f.task.Run = f.run
	}
	y.facts = x.facts
	y.number, y.bodyIn, y.fault = x.local.numberOf(&x.record), 0, nil
	y.status, y.answered, y.ours, y.cached = 0, 0, false, NoCache
	y.given = append(y.given, x.given...)
	forkPart(&y.record, &x.record, f.Apart)
	y.started, y.target, y.authority = x.started, x.target, x.authority
	y.Request.Become(&x.Request)
	y.routed, y.asked, y.timeouts, y.matched, y.variants = x.routed, x.asked, x.timeouts, x.matched, x.variants
	y.used = x.local.slab.Copy(x.index, y.index, x.used)
	y.up.PreparedAs(&x.up)
	if y.up.Body.Ended, y.Request.Length = true, int64(len(f.Body)); len(f.Body) > 0 {
		y.up.Body.Delay(f.Body)
		y.up.Body.HoldRaw()
	}
	if own := bodyOf(x); own != nil { // in the memory of x, which may be over before y
		*bodyRead.Of(y) = lang.Body{Bytes: y.up.Body.Copy(own.Bytes), Cut: own.Cut}
	}
	y.down, y.fork, y.forwards, y.step = f, f, x.forwards, stepForward
	if l := x.lead(); l.onward != nil && l.onward.to == d {
		y.chosen = *l.onward
	} else {
		y.chosen = leadTo(d)
	}
	f.wake()
}

func (f *Forked) wake() {
	if !f.posted {
		f.posted = true
		f.x.local.reactor.Defer(&f.task)
	}
}

// run begins the first attempt, or ends the fork that was cancelled.
func (f *Forked) run(*engine.Reactor) {
	x := f.x
	f.posted = false
	if side := f.broken; side != nil {
		f.broken = nil
		defer side.Reset(session.Cancelled)
	}
	if x == nil {
		return
	}
	if invariant.On {
		defer checkExchange(x)
	}
	defer x.rescue()
	x.charge()
	if f.ForkSide == nobody {
		x.downGone = true
		x.dropUp()
		x.finish()
		return
	}
	if x.route.Timeout > 0 || x.timeouts.Total > 0 {
		armTotal(x)
	}
	x.run()
}

// SendHead gives the side of f the head of the answer. A panic of the side is the end of f.
func (f *Forked) SendHead(h *message.Head, end bool) error {
	defer f.guard()
	return f.ForkSide.SendHead(h, end)
}

// SendData gives it a piece of the body.
func (f *Forked) SendData(p []byte, end bool) (int, error) {
	defer f.guard()
	return f.ForkSide.SendData(p, end)
}

// SendTrailers gives it the trailers.
func (f *Forked) SendTrailers(h *message.Head) error {
	defer f.guard()
	return f.ForkSide.SendTrailers(h)
}

// guard ends f later in this tick where its side panics: no connection would be closed for that, if the backend is
// through with its answer.
func (f *Forked) guard() {
	if p := recover(); p != nil {
		f.x.caught(&f.x.Request, p, "ForkSide")
		f.broken, f.ForkSide = f.ForkSide, nobody
		f.wake()
	}
}

// Resume says that the stream that takes the answer is not congested any more. Not inside a method of it.
func (f *Forked) Resume() {
	if x := f.x; x != nil {
		defer x.rescue()
		(*downSide)(x).OnSendable(f)
	}
}

// Cancel ends the fork later in this tick: its answer is not wanted. Its ForkSide is not called any more.
func (f *Forked) Cancel() {
	if f.ForkSide = nobody; f.x != nil {
		f.wake()
	}
}

// BodyOf returns the body of the request of x, where all of it is here as Route.BufferRequest has it, or it has none.
// For Open of a Destination. Borrowed until that returns.
func BodyOf(x *Exchange) (body []byte, whole bool) {
	b := &x.up.Body
	return b.Held, b.Ended && !b.Begun() && b.Trailers == nil
}

// Credit shows the attempts of f in the log record of x as its own: backend, times, and the failure of the first one.
// While f is not over, on the reactor of both.
func Credit(x *Exchange, f *Forked) {
	y := f.x
	if y == nil {
		return
	}
	if x.past == nil {
		x.past = new(past)
	}
	if y.past != nil {
		*x.past = *y.past
	}
	x.past.credit = y.up.To
	x.part.credit(y.part)
	x.up.ShowAttempts(&y.up)
	x.noted = append(x.noted, y.noted...)
}
