package proxy

import (
	"cmp"
	"errors"
	"net/netip"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/forwarding"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// Bounds of sub-requests.
const (
	subDepthMax  = 4  // of a sub-request's sub-request …
	subsMax      = 16 // of an exchange at a time
	subsAloneMax = 64 // without a parent, on a reactor at a time
	subAnswerMax = 64 << 10
	subBodyMax   = 64 << 10 // bytes of the request that the exchange has not released
	subTimeout   = 10 * time.Second
)

// Ask makes the sub-request s of x, and returns Park. In functions for the phases BeforeRoute, Request and Response of
// filters, which return its verdict, and not in those that block. Several may be asked for at once: the last verdict is
// returned.
//
//	return proxy.Ask(x, s)    filter ── Park ──► … the answer ──► s.Done(x, s) ── a verdict ──► x goes on
//
// Done is asked on the reactor of x, once for each sub-request: for Park the exchange goes on to wait, for others. A
// failure is Err, and never an answer by itself. A Sub without Done has no parent: Ask returns Next, the answer is
// dropped, and above 64 of them on a reactor nothing is sent, which is counted.
//
// A sub-request comes from the client of x, as far as routes, filters, logs and backends see, with its fields but for
// those about the body, about ranges and conditions, and about the connection. It has a log record of its own, whose
// member parent is the ID of x. With To it meets no filter and no route. Sub-requests of sub-requests are made to a
// depth of 4, and 16 for an exchange at a time: Kind of Err is sub_too_deep, or sub_too_many. The end of x ends
// them.
func Ask(x *Exchange, s *Sub) Verdict {
	if x.origin != nil {
		panic(errAskOnWorker)
	}
	s.local, s.parent = x.local, x
	k := kinshipOf.Of(x)
	alone := s.Done == nil
	if alone {
		if s.local.alone >= subsAloneMax || k.depth >= subDepthMax {
			s.local.stats.SubsDropped++
			return Next
		}
		s.local.alone++
	} else {
		s.place = place{x.step, x.at}
		n := 1
		for o := k.first; o != nil; o = o.next {
			n++
		}
		s.next, k.first = k.first, s
		switch {
		case k.depth >= subDepthMax:
			s.fault = subTooDeep
		case n > subsMax:
			s.fault = subTooMany
		}
	}
	x.local.stats.Subs++
	s.task.Run = s.due
	if s.fault != nil {
		s.tellSoon()
	} else {
		s.send(k.depth + 1)
	}
	if alone {
		s.parent = nil
		return Next
	}
	return Park
}

// kinship is kept with exchanges that make sub-requests, or are sub-requests.
type kinship struct {
	first *Sub  // that the exchange waits for, the last one first; nil: none
	depth uint8 // how many sub-requests lead to the exchange; 0: it is none
}

var kinshipOf = NewLocal[kinship]()

// Sub is a sub-request: a request that the proxy makes for a filter, for the sake of another one. See Ask.
//
//	user := &proxy.Sub{To: proxy.Named("users"), Target: "/whoami"}
//	user.Done = func(x *proxy.Exchange, s *proxy.Sub) proxy.Verdict {
//		if s.Err != nil || s.Response.Status != 200 {
//			return proxy.Respond(403, "not you\n")
//		}
//		x.Request.Set("X-User", string(s.Answer))
//		return proxy.Next
//	}
//	return proxy.Ask(x, user)
//
// The fields above Err are for Ask, the others for Done. Owned by the reactor of its exchange from Ask until Done, and
// by the caller before and after. It is asked once.
type Sub struct {
	Method  string                        // "": GET
	Target  string                        // path and query; "": as the client asked
	Host    string                        // "": as the client asked
	Body    []byte                        // of the request, which keeps it; nil: it has none
	Prepare func(h *message.Head)         // changes the head before it is sent; nil: nothing
	To      Destination                   // nil: the request goes through the filters and routes of the listener
	Timeout time.Duration                 // until the end of the answer; 0: 10 s
	Done    func(*Exchange, *Sub) Verdict // gets the answer: see Ask. nil: no filter waits for it

	Err       *Error       // why there is no answer; nil: there is
	Response  message.Head // without Err
	Answer    []byte       // the body, 64 KiB of it at the most
	Truncated bool         // the body goes on

	y      *Exchange // that is the sub-request; nil: before Ask, and once it is over
	parent *Exchange // nil: no exchange waits
	place  place     // of the parent
	next   *Sub      // of the parent
	local  *local
	sent   int  // bytes of Body that y has not released
	over   bool // the task that tells the parent is on its way
	held   int  // bytes of Answer that the budget of memory counts
	fault  *Error
	timer  engine.Timer
	task   engine.Task

	peer, address poller.Addr // the address of the client, and the address of ours that it connected to
	socket        netip.Addr  // the other end of the socket that this client came by
	digest        *tlsconn.Digest
}

// errAskOnWorker is a panic, as of any filter that is wrong: a sub-request belongs to the reactor.
var errAskOnWorker = errors.New("proxy.Ask is not for functions of filters that block")

// send sends the request, to which so many sub-requests lead.
func (s *Sub) send(depth uint8) {
	x, l := s.parent, s.local
	h := &l.subHead
	h.Become(&x.Request)
	forwarding.DropNamed(h, h)
	for i := range h.Fields {
		if f := &h.Fields[i]; ofParent[f.ID] || message.HopByHop(f.ID) {
			f.Flags |= message.Dropped
		}
	}
	h.SetMethod(cmp.Or(s.Method, "GET"))
	h.Upgrade, h.Chunked, h.Length, h.HTTPS = false, false, int64(len(s.Body)), x.digest != nil
	if h.Target = x.target; s.Target != "" {
		h.SetTarget(s.Target)
	}
	if h.Authority = x.authority; s.Host != "" {
		h.SetAuthority(s.Host)
	}
	if s.Prepare != nil {
		s.Prepare(h)
	}
	from, y := x.Client(), l.take()
	s.peer, s.socket, s.digest = from.Peer(), session.SocketIP(from), x.digest
	if s.Done == nil {
		s.address = from.Local() // a system call, and x may be gone when the address is asked for
	}
	y.down, y.listener, y.client = (*subSide)(s), x.listener, x.client
	subPart(&y.record, &x.record, h)
	kinshipOf.Of(y).depth = depth
	if len(x.listener.Log) > 0 || s.To == nil {
		y.LogField("parent", x.ID())
	}
	s.y = y
	s.timer.Run = s.task.Run
	l.reactor.Arm(&s.timer, l.reactor.Now()+int64(cmp.Or(s.Timeout, subTimeout)))
	if s.To != nil {
		y.route, y.chosen, y.step, y.routed, y.asked = noRoute, leadTo(s.To), stepBuffer, h.Target, h.Authority
	}
	l.keepLent() // the filter may be one of the answer
	defer y.rescue()
	(*downSide)(y).OnHead((*subSide)(s), h, len(s.Body) == 0)
	s.sendBody()
}

// sendBody sends what there is room for of the body.
func (s *Sub) sendBody() {
	for s.y != nil && len(s.Body) > 0 && s.sent < subBodyMax {
		n := min(len(s.Body), subBodyMax-s.sent)
		p := s.Body[:n]
		s.Body, s.sent = s.Body[n:], s.sent+n
		(*downSide)(s.y).OnData((*subSide)(s), p, len(s.Body) == 0)
	}
}

// noRoute is the route of requests that have their destination from code.
var noRoute = &Route{chain: new(chain)}

// ofParent are the fields about the body of a request, about ranges and conditions, and about codings of its answer.
var ofParent = [256]bool{
	message.ContentEncoding: true, message.ContentLanguage: true, message.ContentLength: true,
	message.ContentLocation: true, message.ContentRange: true, message.ContentType: true, message.Expect: true,
	message.Trailer: true, message.AcceptEncoding: true, message.Range: true, message.IfMatch: true,
	message.IfModifiedSince: true, message.IfNoneMatch: true, message.IfRange: true, message.IfUnmodifiedSince: true,
}

// subSide is a Sub as its exchange sees it: the stream that takes the answer.
type subSide Sub

func (a *subSide) SendHead(h *message.Head, end bool) error {
	if a.fault = a.y.fault; a.fault == nil && a.Done != nil { // else the answer is a page about it
		a.Response.Become(h)
	}
	if end {
		(*Sub)(a).ended()
	}
	return nil
}

func (a *subSide) SendData(p []byte, end bool) (int, error) {
	if a.Done != nil && a.fault == nil {
		n := min(len(p), subAnswerMax-len(a.Answer))
		a.Answer = append(a.Answer, p[:n]...)
		a.local.reactor.Account(n)
		a.held += n
		a.Truncated = a.Truncated || n < len(p)
	}
	switch {
	case end:
		(*Sub)(a).ended()
	case a.Truncated:
		(*Sub)(a).tellSoon() // by giveUp
	}
	return len(p), nil
}

func (a *subSide) SendTrailers(*message.Head) error {
	(*Sub)(a).ended()
	return nil
}

func (a *subSide) Reset(session.Code) {
	if a.fault = a.y.fault; a.fault == nil {
		a.fault = Internal
	}
	(*Sub)(a).ended()
}

// Release asks for more of the body.
func (a *subSide) Release(n int) {
	if a.sent -= n; len(a.Body) > 0 && !a.over {
		(*Sub)(a).tellSoon() // not inside a method of the exchange
	}
}

func (a *subSide) Congested() bool      { return false }
func (a *subSide) Queued() int          { return 0 }
func (a *subSide) Peer() poller.Addr    { return a.peer }
func (a *subSide) SocketIP() netip.Addr { return a.socket }
func (a *subSide) TLS() *tlsconn.Digest { return a.digest }

// Local is the address that the client of the parent connected to.
func (a *subSide) Local() poller.Addr {
	if a.parent != nil {
		return a.parent.Client().Local()
	}
	return a.address
}

// ended says that y is through, and tells the parent later in this tick.
func (s *Sub) ended() {
	s.y = nil
	s.tellSoon()
}

// due is the task, and the timer: one function, since each is memory of its own.
func (s *Sub) due(*engine.Reactor) {
	if s.over {
		s.tell()
	} else if s.y != nil { // it takes too long
		s.giveUp()
		s.fault = totalTimeout
		s.tellSoon()
	}
}

// giveUp ends the exchange of s, which is over for it: its answer is not wanted.
func (s *Sub) giveUp() {
	if y := s.y; y != nil {
		s.y = nil
		defer y.rescue()
		(*downSide)(y).OnReset((*subSide)(s), session.Cancelled, nil)
	}
}

// tellSoon runs tell later in this tick: neither inside the filter that asks, nor inside a method of y.
func (s *Sub) tellSoon() {
	if !s.over {
		s.over = true
		s.local.reactor.Defer(&s.task)
	}
}

// tell goes on with the body, or gives the answer, or why there is none, to the parent.
func (s *Sub) tell() {
	s.over = false
	switch y := s.y; {
	case s.Truncated:
		s.giveUp()
	case y != nil:
		defer y.rescue()
		s.sendBody()
		return
	}
	s.local.reactor.Disarm(&s.timer)
	if s.Done == nil {
		s.local.alone--
		return
	}
	x := s.parent
	if x == nil {
		return // the parent has ended
	}
	s.leave()
	if s.Err = s.fault; s.Err != nil {
		s.Response.Reset()
		s.Answer = nil
	}
	if !x.parked || s.place != (place{x.step, x.at}) {
		x.local.stats.LateResumes++
		return
	}
	defer x.rescue()
	x.parked = false
	x.judge(x.decided(func(x *Exchange) Verdict { return s.Done(x, s) }))
}

// leave takes s off the list of its parent.
func (s *Sub) leave() {
	at := &kinshipOf.Of(s.parent).first
	for *at != s {
		at = &(*at).next
	}
	*at, s.next, s.parent = s.next, nil, nil
	s.local.reactor.Account(-s.held)
	s.held = 0
}

// endAll ends s and the sub-requests after it, whose parent is over.
func (s *Sub) endAll() {
	for s != nil {
		next := s.next
		s.leave()
		s.local.reactor.Disarm(&s.timer)
		s.giveUp()
		s = next
	}
}
