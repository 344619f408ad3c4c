package proxy

import (
	"bytes"
	"context"
	"net/netip"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/forward"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// Exchange is one request and its answer on their way through the proxy.
// Owned by its reactor, or by the worker that runs a blocking phase of a filter. It is used again for another request
// once its log record was written: code that needs it longer keeps a Ref.
//
//	before route ─► request ─► forward ─► response ─► done
//	     └─────────────┴──────────┴───────────┴─ answered by the proxy itself
//
// Its record is a part of its own, which logs, counters and pages are made of.
//
//	gen is even while x is free, odd while it is in use
//	answering => the head of the final answer was given to the client's stream, with status
//	the answer's body was passed in part, or its end => answering
type Exchange struct {
	Request  message.Head // as it will be sent on; as it came in the phases BeforeRoute and Request
	Response message.Head // the final answer

	gen uint64 // written while no worker owns x: a worker reads it after x was handed to it

	up      forward.Request // its attempts, and the body of the request
	toDown  forward.Body    // of the answer
	socket  socket
	charged engine.Charge // bytes that the budget of memory counts for x: see charge
	index   uint32        // its number among the exchanges of the reactor
	used    slabUsed      // of which Locals it has a value
	total   *engine.Timer // of Route.Timeout; nil until it is needed, then kept

	routed message.Span // the target when the route was chosen
	asked  message.Span // the authority when the route was chosen

	record
	progress
}

// progress is the part of an Exchange that is cleared before the next request, all at once.
type progress struct {
	call     call // of gRPC
	down     session.Stream
	chosen   lead // by SetDestination; its to is nil where nothing was
	timeouts Timeouts
	ctx      *cancelled   // of Context; nil until it is asked for
	refusal  *Error       // the request cannot be sent on
	allow    message.Span // for Allow, where the method is refused; empty: see allowed
	lost     *Error       // the backend failed while a worker owned x

	origin  *origin                   // of the request, while a worker owns x
	resumed func(x *Exchange) Verdict // of Resume, which came before the worker's filter returned Park

	read message.Span // of routed, the path as the route saw it; empty: not asked for yet

	fork *Forked // that x is; nil: it has a client

	at   uint16 // the next filter of the step
	step step

	onward    bool // the Front of the destination has let the request go on
	unlogged  bool // no access log gets a record
	rechosen  bool // SetDestination was called after the last attempt began
	parked    bool // waits for Resume
	working   bool // a worker owns x
	continued bool // the client has been told to go on
	downGone  bool // the client's stream is over
	own       bool // the rest of the request's body is thrown away
	answering bool
	forwards  bool  // the request was made ready to be sent on: see Forwarder
	matched   bool  // routeMatch has the groups of Route.When
	variants  uint8 // how many readings of the path the texts of SetTemplate have, beside the first
	bodyBound bool  // by LimitBody
}

// step is where an exchange stands. Those that are named after filters begin with them; they may park.
type step uint8

const (
	stepBeforeRoute step = iota // filters of the snapshot, then the route is chosen
	stepRead                    // the begin of the body is received, where the route reads it
	stepRequest                 // filters of the route, then the request is made ready to be sent on
	stepBuffer                  // the body is received, where the route wants it whole
	stepForward                 // the destination has it
	stepResponse                // filters of the answer, then its head is sent
	stepDone                    // the answer is on its way
)

// upSide is an Exchange as the destination's stream sees it.
type upSide Exchange

// downSide is an Exchange as the client's stream sees it: a conversion, not an object of its own.
type downSide Exchange

// Reactor returns the reactor that owns x. Safe for any goroutine that may use x.
func (x *Exchange) Reactor() *engine.Reactor { return x.local.reactor }

// Client returns the client's stream: for facts of its connection. A worker gets a stream that has nothing else.
func (x *Exchange) Client() session.Stream {
	if x.origin != nil {
		return x.origin
	}
	return x.down
}

// ClientIP returns the address of the client: the peer of the connection or, where this is a trusted proxy's, the
// nearest one in X-Forwarded-For that is not trusted. Invalid on a Unix socket that nothing is known of.
func (x *Exchange) ClientIP() netip.Addr {
	if x.client.IsValid() {
		return x.client
	}
	return x.Client().Peer().IP.Addr()
}

// Scheme returns how the client asked: "https" on a connection that is secured, else "http", unless a trusted proxy
// says otherwise.
func (x *Exchange) Scheme() string { return x.Request.Scheme() }

// AskedAuthority returns the authority, host[:port], that the client asked for, whatever the backend is told. Empty
// where the request has none. Borrowed until x ends.
func (x *Exchange) AskedAuthority() []byte { return x.Request.Bytes(x.authority) }

// AppendAsked appends the target that the client asked for, whatever rules and the route have made of it, with its path
// as routes read it: see Path.
func (x *Exchange) AppendAsked(dst []byte) []byte {
	target := x.Request.Bytes(x.target)
	dst = route.AppendPath(dst, target, x.listener.reading())
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		dst = append(dst, target[i:]...)
	}
	return dst
}

// Rewritten reports whether rules or the route have changed the target that the client asked for.
func (x *Exchange) Rewritten() bool {
	return !bytes.Equal(x.Request.Bytes(x.target), x.Request.Bytes(x.Request.Target))
}

// Query returns the first parameter of the query of x.Request that is called name, decoded; "" where there is none.
func (x *Exchange) Query(name string) string { return x.Request.Parameter(name) }

// Cookie returns the value of the first cookie of x.Request that is called name; "" where there is none.
func (x *Exchange) Cookie(name string) string { return x.Request.Cookie(name) }

// Path returns the path of the request as the route saw it, whatever it is rewritten to: unreserved characters decoded,
// dot segments resolved, so that "/%74ea" and "/x/../tea" are "/tea" (paths and path_parameters of the listener say
// how). x.Request.Path is the path as it came, or as it is sent on. Borrowed until x ends.
func (x *Exchange) Path() []byte {
	h := &x.Request
	if x.read.Len == 0 {
		target := x.routed
		if x.route == nil {
			target = h.Target // it may still change
		}
		at := len(h.Base)
		h.Base = route.AppendPath(h.Base, h.Bytes(target), x.listener.reading())
		read := message.Span{At: uint32(at), Len: uint32(len(h.Base) - at)}
		if x.route == nil {
			return h.Bytes(read)
		}
		x.read = read
	}
	return h.Bytes(x.read)
}

// Status returns the status of the final answer, from UpstreamResponse on the status of Response; 0 while there is
// none.
func (x *Exchange) Status() int {
	if x.status > 0 {
		return int(x.status)
	}
	return int(x.Response.Status)
}

// Attempts returns how many backends or connections were tried.
func (x *Exchange) Attempts() int { return int(x.up.Attempts) }

// Backend returns the address of the backend that answers, "" while there is none.
func (x *Exchange) Backend() string {
	if m := x.up.Backend; m != nil && x.up.Attempts > 0 {
		return m.Address()
	}
	return ""
}

// Context returns a context that ends with x. It is made when it is first asked for.
func (x *Exchange) Context() context.Context {
	if x.ctx == nil {
		x.ctx = &cancelled{}
		x.ctx.Context, x.ctx.cancel = context.WithCancel(context.Background())
	}
	return x.ctx
}

// cancelled is a context that ends with its exchange.
type cancelled struct {
	context.Context
	cancel context.CancelFunc
}

// Timeouts are times that an exchange has. 0: as its route or its upstream says.
type Timeouts struct {
	FirstByte time.Duration // from the request sent to the first byte of the answer
	Read      time.Duration // between two reads of the answer
	Total     time.Duration // from the request's head to the end of the answer, tunnels aside
}

// SetTimeouts sets the times of x, in place of the times of its route and upstream. In the phases BeforeRoute and
// Request.
func (x *Exchange) SetTimeouts(t Timeouts) { x.timeouts = t }

// Emit passes p on in place of what the present body filter was given. Only inside RequestBody and ResponseBody.
// p is borrowed until return.
func (x *Exchange) Emit(p []byte) { x.local.emitted = append(x.local.emitted, p...) }

// bodyRead is what Route.ReadBody has read. The bytes are in forward.Body.Raw, which is not written over.
var bodyRead = NewLocal[lang.Body]()

// Body returns what Route.ReadBody has read of the request's body, before any filter of bodies: as many bytes, or fewer
// where whole says that they are all. nil before the route was chosen, and where it reads none. Borrowed until x ends;
// it is not to be changed.
func (x *Exchange) Body() (begin []byte, whole bool) {
	if b := bodyOf(x); b != nil {
		return b.Bytes, !b.Cut
	}
	return nil, false
}

// bodyOf returns what was read of the body of x; nil: nothing was to be read.
func bodyOf(x *Exchange) *lang.Body {
	if x.route == nil || x.route.ReadBody == 0 || x.used&bitOf(bodyRead.slot) == 0 {
		return nil
	}
	return bodyRead.Of(x)
}

// Of returns what is kept with x. The pointer holds until x ends, and is for the goroutine that owns x.
func (l Local[T]) Of(x *Exchange) *T { return l.of(&x.local.slab, x.index, &x.used) }

// charge adds what the heads have grown by to the budget of memory. To be called before x waits: a
// client makes 32 KiB of a head out of 21 bytes of HPACK (CVE-2026-49975 and kin), and keeps it waiting. Bodies have an
// account of their own: see forward.Body.
func (x *Exchange) charge() {
	fields := cap(x.Request.Fields) + cap(x.Response.Fields)
	n := exchangeSize + cap(x.Request.Base) + max(cap(x.Response.Base), headCapacity) + fields*fieldSize
	if x.used != 0 {
		n += x.local.slab.Size(x.used)
	}
	x.charged.Set(n, x.local.reactor)
}

// reset clears what a request left. What most requests do not use is looked at first.
func (x *Exchange) reset() {
	x.Request.Clear()
	x.Response.Clear()
	x.up.Reset()
	x.toDown.Reset()
	x.noted = x.noted[:0]
	if len(x.given) > 0 {
		x.given = x.given[:0]
	}
	if x.socket.asked {
		x.socket = socket{}
	}
	if x.past != nil {
		*x.past = past{}
	}
	if x.part != nil {
		x.part.leave()
	}
	x.facts, x.progress = facts{}, progress{}
}

// exchangeSize is roughly the memory of an exchange beside its heads: the streams of both sides and the
// connection to the backend among it.
const exchangeSize = 3 << 10

// fieldSize is the size of a message.Field.
const fieldSize = 16

// checkExchange panics when an invariant of x, or of one of its relays, does not hold: at the end of each call by
// either stream. While a worker owns x there is nothing to look at.
func checkExchange(x *Exchange) {
	if x.working {
		return
	}
	invariant.That(!x.answering || x.status > 0 && x.step == stepDone, "answering with %d in step %d", x.status, x.step)
	invariant.That(x.answering || !x.toDown.Begun() && !x.toDown.EndSent, "a body without a head was sent")
	x.up.Check()
	x.toDown.Check()
}

// checkFree panics when x, which is to be used, is in use or has something of an Exchange that is over.
func checkFree(x *Exchange) {
	invariant.That(x.gen&1 == 0, "an exchange in use is given away")
	clean := !x.answering && x.step == stepBeforeRoute && x.down == nil && x.used == 0
	invariant.That(clean, "a free exchange is in step %d", x.step)
	x.up.CheckFree()
	checkExchange(x)
}

// origin is where a request came from: the client's stream as a worker sees it, and as x remembers it once it has gone.
// Immutable, but for what the worker evaluates texts with.
type origin struct {
	session.NopStream
	peer, local poller.Addr
	socket      netip.Addr
	digest      *tlsconn.Digest
	now         int64       // of the reactor, when the worker took over
	in, out     int64       // bytes of both bodies, likewise
	language    *evaluation // of the worker; nil until it evaluates a text
}

// What an origin tells.
func (o *origin) Peer() poller.Addr    { return o.peer }
func (o *origin) Local() poller.Addr   { return o.local }
func (o *origin) SocketIP() netip.Addr { return o.socket }
func (o *origin) TLS() *tlsconn.Digest { return o.digest }

// What it refuses: a stream belongs to its reactor.
func (o *origin) SendHead(*message.Head, bool) error       { return session.ErrDead }
func (o *origin) SendData([]byte, bool) (n int, err error) { return 0, session.ErrDead }
func (o *origin) SendTrailers(*message.Head) error         { return session.ErrDead }
