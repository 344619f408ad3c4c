package proxy

import (
	"context"
	"encoding/hex"
	"net/netip"
	"sync/atomic"

	"github.com/edge-proxy/edge/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/proxy/grpc"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/tlsconn"
	"github.com/edge-proxy/edge/upstream"
)

// Exchange is one request and its answer on their way through the proxy.
// Owned by its reactor, or by the worker that runs a blocking phase of a filter. It is used again for another request
// once its log record was written: whoever keeps it longer keeps a Ref.
//
//	early ─► request ─► forward ─► response ─► done
//	  └────────┴───────────┴──────────┴─ answered by the proxy itself
//
//	ref.gen is even while x is free, odd while it is in use
//	answering => the head of the final answer was sent down
type Exchange struct {
	Request  message.Head // as it will be sent on; as it came in the early and request phases
	Response message.Head // the final answer

	proxy  *Proxy
	local  *local
	waiter upstream.Waiter // its place while there is no connection
	next   *Exchange       // free list
	gen    atomic.Uint64

	charged int // bytes that the budget of memory counts for x: see charge

	toUp   relay // the body of the request
	toDown relay // the body of the answer
	call   call  // of gRPC
	socket socket
	locals []any
	noted  []observe.Field // by LogField
	client netip.Addr      // as a trusted proxy says; invalid: the peer is the client
	total  *engine.Timer   // of Route.Total; nil until it is needed, then kept

	started   int64        // reactor time, ns
	target    message.Span // of the request as it came, for the log
	authority message.Span // likewise
	callType  message.Span // the content type that the client of a call gave
	trusted   bool         // the peer's forwarding fields are believed

	progress
}

// progress is what of an Exchange is cleared before the next request, all at once.
type progress struct {
	listener *Listener
	digest   *tlsconn.Digest // of the client's connection; nil: it is not secured
	snapshot *Snapshot
	route    *Route
	down     session.Stream
	try      attempt
	ctx      context.Context
	cancel   context.CancelFunc
	refusal  *Fault // the request cannot be sent on
	fault    *Fault // why the proxy answered, or cut the exchange off, of its own
	lost     *Fault // the backend failed while a worker owned x

	origin  *origin  // of the request, while a worker owns x
	resumed *Verdict // Resume came before the worker's filter returned Park

	waited   int64 // ns in which it had no connection
	dialled  int64 // ns in which its connections were established, in vain or not
	at       int   // the next filter of the step
	retries  int
	refusals int // of backends that did not process the request, and said so
	attempts int
	number   uint64 // 0 until it is asked for
	bodyIn   int64  // bytes of the request's body that came
	interims int
	status   int
	tried    balance.Tried
	step     step

	parked    bool // waits for Resume
	working   bool // a worker owns x
	continued bool // the client has been told to go on
	downGone  bool // the client's stream is over
	own       bool // nobody wants the request's body any more: what comes of it is thrown away
	answering bool
	hostSet   bool // a filter has set the Host that is sent on
	tunnel    bool // the answer made a tunnel of the exchange: see openTunnel
}

// Reactor returns the reactor that owns x. Safe for any goroutine that may use x.
func (x *Exchange) Reactor() *engine.Reactor { return x.local.reactor }

// Route returns the route that was chosen; nil in the early phase and where none takes the request.
func (x *Exchange) Route() *Route { return x.route }

// Down returns the client's stream: for facts of its connection. A worker gets one that has nothing else.
func (x *Exchange) Down() session.Stream {
	if x.origin != nil {
		return x.origin
	}
	return x.down
}

// Digest returns what is known of the client's connection where it is secured by TLS, else nil.
func (x *Exchange) Digest() *tlsconn.Digest { return x.digest }

// ClientIP returns the address of the client: that of the connection or, where this is a trusted proxy's, the nearest
// one in X-Forwarded-For that is not trusted. Invalid on a Unix socket that nothing is known of.
func (x *Exchange) ClientIP() netip.Addr {
	if x.client.IsValid() {
		return x.client
	}
	return x.Down().Peer().IP.Addr()
}

// Scheme returns how the client asked: "https" on a connection that is secured, else "http", unless a trusted proxy
// says otherwise.
func (x *Exchange) Scheme() string {
	if x.Request.HTTPS {
		return "https"
	}
	return "http"
}

// Status returns the status of the final answer, 0 while there is none.
func (x *Exchange) Status() int { return x.status }

// Attempts returns how many backends or connections were tried.
func (x *Exchange) Attempts() int { return x.attempts }

// Backend returns the address of the backend that answers, "" while there is none.
func (x *Exchange) Backend() string {
	if m := x.try.backend; m != nil && x.attempts > 0 {
		return m.Address()
	}
	return ""
}

// Context returns a context that ends with x. It is made when it is first asked for.
func (x *Exchange) Context() context.Context {
	if x.ctx == nil {
		x.ctx, x.cancel = context.WithCancel(context.Background())
	}
	return x.ctx
}

func (x *Exchange) destination() Destination {
	switch {
	case x.route == nil:
		return nil
	case x.call.form != grpc.None && x.route.GRPCTo != nil:
		return x.route.GRPCTo
	}
	return x.route.To
}

// ID returns the number of the request in hexadecimal, the same as in the access log.
func (x *Exchange) ID() string {
	id := numberOf(x)
	return hex.EncodeToString(id[:])
}

// Emit passes p on in place of what the present body filter was given. Only inside RequestBody and ResponseBody.
// p is borrowed until return.
func (x *Exchange) Emit(p []byte) { x.local.emitted = append(x.local.emitted, p...) }

// Key names a slot in which filters keep what is theirs of an exchange. Make it once, at load.
type Key int

var keys atomic.Int64

// NewKey returns a slot of its own. Safe for any goroutine.
func NewKey() Key { return Key(keys.Add(1) - 1) }

// Local returns what was kept under k, or nil.
func (x *Exchange) Local(k Key) any {
	if int(k) < len(x.locals) {
		return x.locals[k]
	}
	return nil
}

// SetLocal keeps v under k until x ends.
func (x *Exchange) SetLocal(k Key, v any) {
	for int(k) >= len(x.locals) {
		x.locals = append(x.locals, nil)
	}
	x.locals[k] = v
}

// LogField adds a member to the record of x in access logs in JSON: observe.FieldsMax of them at the most. A later one
// does not replace an earlier one of that name.
func (x *Exchange) LogField(name, value string) {
	if len(x.noted) < observe.FieldsMax {
		x.noted = append(x.noted, observe.Field{Name: name, Value: value})
	}
}

// place is the function of a filter that an exchange has come to, among those that may park. It never comes to one
// twice, so that a place is the number of a park as well.
type place struct {
	step step
	at   int
}

// Ref names one park of an exchange for other goroutines. A Ref that outlives its park, or its exchange, does nothing.
// Immutable; safe for any goroutine.
type Ref struct {
	x       *Exchange
	reactor *engine.Reactor
	gen     uint64
	place   place
}

// Ref returns the name of x and of its park in the function that runs now. Take it inside the function that returns
// Park, before it does: one that was taken in an earlier phase, or by an earlier filter, resumes nothing here.
func (x *Exchange) Ref() Ref { return Ref{x, x.local.reactor, x.gen.Load(), place{x.step, x.at}} }

// Resume goes on with a parked exchange: v is the verdict of the filter that parked it. It comes too late, and is
// counted, when the client has gone, when somebody else resumed it, or when it was answered meanwhile. It never comes
// too early: a worker may return Park after it. It allocates one task.
func (f Ref) Resume(v Verdict) {
	f.reactor.Post(&engine.Task{Run: func(*engine.Reactor) {
		x := f.x
		switch {
		case x.gen.Load() != f.gen || f.place != place{x.step, x.at}:
			x.local.stats.LateResumes++
		case x.working && x.resumed == nil:
			x.resumed = &v
		case !x.parked:
			x.local.stats.LateResumes++
		default:
			defer x.rescue()
			x.parked = false
			x.judge(v)
		}
	}})
}

// charge has the budget of memory count what the heads have grown by. To be called before x waits for anybody: a
// client makes 32 KiB of a head out of 21 bytes of HPACK (CVE-2026-49975 and kin), and keeps it waiting.
func (x *Exchange) charge() {
	if n := sizeOf(x); n != x.charged {
		x.local.reactor.Account(n - x.charged)
		x.charged = n
	}
}

// reset clears what a request left. What most requests do not use is looked at first.
func (x *Exchange) reset() {
	x.Request.Clear()
	x.Response.Clear()
	x.toUp.reset()
	x.toDown.reset()
	x.locals, x.noted = x.locals[:0], x.noted[:0]
	if x.trusted {
		x.client, x.trusted = netip.Addr{}, false
	}
	if x.call != (call{}) {
		x.call = call{}
	}
	if x.socket.asked {
		x.socket = socket{}
	}
	x.progress = progress{}
}
