package proxy

import (
	"errors"
	"fmt"

	"github.com/edge-proxy/edge/internal/exchange/content"
	"github.com/edge-proxy/edge/internal/exchange/grpc"
	"github.com/edge-proxy/edge/internal/exchange/location"
	"github.com/edge-proxy/edge/internal/forward"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// Destination is where a route leads: a maker of the stream that takes the request. To, Answer and Redirect make one,
// and so may any other package.
// Safe for any goroutine: the exchanges of all reactors share it.
type Destination interface {
	// Open begins the exchange at the destination. What the destination answers later goes to to, on the reactor of x,
	// and never inside Open or a method of its stream: see session.Receiver. Open may be called again for the same
	// exchange, where it failed or its stream ended before the answer.
	Open(x *Exchange, to session.Receiver) Opening
}

// Opening is what Open of a Destination returns. One of its fields is set; with none of them the request fails with
// Internal. A Destination that opens another one returns the Opening of that one.
type Opening struct {
	// Stream takes the request: the exchange sends it the head, the body and the trailers, and calls Release for the
	// part of the answer that it has passed on.
	Stream session.Stream
	// Stored is an answer that is here, where the Receiver of Open is a FileReceiver.
	Stored *Stored
	// Verdict answers the request: one of Respond, RespondFile or RespondPage.
	Verdict *Verdict
	// Err is why there is no stream: a *Error is the failure of the request, any other error is a backend that could
	// not be connected to. To has an error of its own here while the request waits for a connection.
	Err error
	// Onward is for a Front: the request goes on to the destination that the method Onward of the Front returns.
	Onward bool
}

// Checked is a Destination that may be wrong in itself. NewSnapshot asks it.
type Checked interface {
	// Check returns what is wrong, or nil.
	Check() error
}

// Forwarder is a Destination to which requests go on as a proxy sends them (RFC 9110 §7.6): without the fields that
// concern one hop, with Via and the forwarding fields, and with an Upgrade where the route allows it.
type Forwarder interface {
	// Forwards is never called.
	Forwards()
}

// Front is a Destination that stands before another one, as a cache does: it answers a request by itself, or lets it
// go on. A route that leads to it treats requests as the other destination wants them: see Forwarder and Upgrader.
//
//	Open ─┬ Stored       the answer is here
//	      ├ Stream       its answer comes later, perhaps from a Fork that others wait for, too
//	      └ Onward       the request goes on to Onward ─► attempts ─► head of the answer ─► OnPassed
//
// An answer of the first two kinds was made ready to be passed on when it was got: filters see it from the phase
// Response on, and it gets no Via. Safe for any goroutine.
type Front interface {
	Destination
	// Onward returns the destination of requests that go on, always the same one.
	Onward() Destination
	// OnPassed is told of the final head of an answer from Onward, before the client has it: x.Response. It runs on the
	// reactor of x.
	OnPassed(x *Exchange)
}

// Stored is the body of an answer that is here. Open has put its head into x.Response: the status, the fields and the
// version. Body is borrowed until the reactor has returned from the call that led to Open. The answer to HEAD has the
// Body that one to GET would have, which is not sent.
//
// Where File is not nil, Length bytes of it, from At on, are the body in place of Body, and its reference goes with the
// Stored. With HEAD it is nil, and Length is as it would be.
type Stored struct {
	Body       []byte
	File       content.Body
	At, Length int64
}

// FileReceiver is a session.Receiver that takes a body from a file. An exchange gives Open such a Receiver; another
// Destination, which wants to see the answer, may not.
type FileReceiver interface {
	// OnFile delivers up to n bytes of a body that the file from has at an offset, instead of OnData. They must not
	// change any more. It reports how many it has taken, which are not owed. Where these are less than n, Release(0)
	// of the stream says when to go on. ok is false where OnData has to deliver the bytes.
	OnFile(from poller.File, at int64, n int) (taken int, ok bool)
}

// ErrAgain is the cause of OnReset with which a stream that Open of a Front has returned ends before the head of its
// answer, so that Open is called once more. Any Destination may use this cause for requests without a body.
var ErrAgain = errors.New("proxy: the destination is asked once more")

// answer is a Destination that is an answer.
// Immutable.
type answer struct{ verdict Verdict }

// Answer answers every request with status and a body of contentType, "" for plain text.
func Answer(status int, contentType, body string) Destination {
	return Always(Respond(status, body).Type(contentType))
}

// Always answers every request with v, which is one of Respond or RespondPage.
func Always(v Verdict) Destination { return &answer{v} }

// Open answers.
func (a *answer) Open(*Exchange, session.Receiver) Opening { return Opening{Verdict: &a.verdict} }

var (
	errAnswer     = errors.New("it is no answer: the status of one has three digits and is 200 or more")
	errAnswerHead = errors.New("a field of its answer, or the type, is malformed")
)

// Check reports an answer that could not be sent.
func (a *answer) Check() error {
	v := &a.verdict
	if !v.final() {
		return errAnswer
	}
	ok := message.ValidValue(v.contentType)
	for i := 0; i < len(v.fields); i += 2 {
		ok = ok && message.ValidName(v.fields[i]) && message.ValidValue(v.fields[i+1])
	}
	if !ok {
		return errAnswerHead
	}
	return nil
}

// Upgrader is a Destination that answers requests to upgrade by itself, where the route allows the protocol: see
// Tunnels. A Forwarder is one anyway.
type Upgrader interface {
	// Upgrades is never called.
	Upgrades()
}

// Matching is a Destination with texts that may name match.N, the groups of Route.When.
type Matching interface {
	// NamesMatch reports whether one does: the groups are kept for it.
	NamesMatch() bool
}

// DestinationFunc is a Destination that chooses one for each exchange, when the filters of the request have run: see
// SetDestination. nil is the failure that no backend is available. It runs on the reactor of x and must return at once.
type DestinationFunc func(x *Exchange) Destination

// Check refuses a function that is nil.
func (f DestinationFunc) Check() error {
	if f == nil {
		return errNoFunc
	}
	return nil
}

var errNoFunc = errors.New("its DestinationFunc is nil")

// Open opens what f chooses. A filter of a route has been asked by then.
func (f DestinationFunc) Open(x *Exchange, to session.Receiver) Opening {
	if d := f(x); d != nil {
		return d.Open(x, to)
	}
	return Opening{Err: NoBackend}
}

// Named leads to the destination that the Snapshot of an exchange has under a name, such as an upstream of a
// configuration. A name that it does not have is the failure that no backend is available, and is logged. Safe for any
// goroutine.
func Named(name string) Destination {
	return DestinationFunc(func(x *Exchange) Destination {
		d := x.snapshot.named[name]
		if d == nil {
			x.local.attempts.TellOwn(NoBackend, fmt.Errorf("no destination is called %q", name))
		}
		return d
	})
}

// lead is a Destination with what is known of it.
// Immutable.
type lead struct {
	to       Destination
	onward   *lead // of the destination that to, a Front, stands before; nil: it is none
	chooses  bool  // it is a DestinationFunc
	sends    bool  // requests are sent on, and prepared for that: it is no answer
	forwards bool  // they are sent on as a proxy sends them: it is a Forwarder
	noVia    bool  // but without Via
	upgrades bool  // they may ask for a tunnel
}

func leadTo(d Destination) lead {
	if f, ok := d.(Front); ok {
		onward := leadTo(f.Onward())
		l := onward
		l.to, l.chooses, l.onward = d, false, &onward
		return l
	}
	l := lead{to: d, sends: true}
	switch d := d.(type) {
	case *answer, *redirect:
		l.sends = false
	case DestinationFunc:
		l.chooses = true
	case *toUpstream:
		l.forwards, l.upgrades, l.noVia = true, true, d.noVia
	case *shown:
		l.forwards, l.upgrades, l.noVia = true, true, d.noVia
	case Forwarder:
		l.forwards, l.upgrades = true, true
	case Upgrader:
		l.upgrades = true
	}
	return l
}

// shown is a Destination that shows what it would send.
// Immutable.
type shown struct {
	host    string
	noVia   bool
	secured bool
	choose  func(x *Exchange) string
	show    func(x *Exchange, call bool)
}

// Show sends nothing: show is given each exchange with its Request as To with o would send it to the backend at the
// address that choose returns, over a connection that is secured or not; call says that it is a call of gRPC. The
// answer is 204. Both run on the reactor of x and must return at once. Only Host and NoVia of o count.
func Show(choose func(x *Exchange) string, secured bool, o *ToOptions, show func(x *Exchange, call bool)) Destination {
	return &shown{o.Host, o.NoVia, secured, choose, show}
}

// Open shows the request and answers.
func (d *shown) Open(x *Exchange, _ session.Receiver) Opening {
	x.up.SetHost(d.host)
	if address := d.choose(x); x.up.NameHost {
		x.Request.SetAuthority(forward.HostOfAddress(address, d.secured))
	}
	d.show(x, x.call.form != grpc.None)
	return Opening{Verdict: new(Respond(204, ""))}
}

// redirect is a Destination that sends the client elsewhere.
type redirect struct {
	to     *location.Template
	status int
}

var errRedirectStatus = errors.New("the status of a redirect is 301, 302, 303, 307 or 308")

// Redirect answers every request with status and a Location that the template to makes of it: see location.Location.
// Status 0 is 308, which keeps the method.
func Redirect(to *lang.Template, status int) (Destination, error) {
	t, err := location.Location(to)
	if err != nil {
		return nil, fmt.Errorf("redirect to %q: %w", to, err)
	}
	switch status {
	case 0:
		status = 308
	case 301, 302, 303, 307, 308:
	default:
		return nil, errRedirectStatus
	}
	return &redirect{t, status}, nil
}

// Open answers.
func (d *redirect) Open(x *Exchange, _ session.Receiver) Opening {
	h, v := &x.Request, View(x)
	at := len(h.Base)
	base, err := d.to.Append(h.Base, h, v)
	if err != nil {
		return Opening{Err: refusalOf(err)}
	}
	h.Base = base
	return Opening{Verdict: new(Respond(d.status, "").With("Location", string(base[at:])))}
}

// NamesMatch reports whether the Location has groups of Route.When.
func (d *redirect) NamesMatch() bool { return d.to.NamesMatch() }

// lead returns where x leads: to what SetDestination says, or the route. nil while there is no route.
func (x *Exchange) lead() *lead {
	switch {
	case x.route == nil:
		return nil
	case x.onward:
		if x.chosen.to != nil {
			return x.chosen.onward
		}
		return x.route.lead.onward
	case x.chosen.to != nil:
		return &x.chosen
	case x.call.form != grpc.None && x.route.grpcLead.to != nil:
		return &x.route.grpcLead
	}
	return &x.route.lead
}

// SetDestination leads x to d instead of where its route does; nil: to where the route does. It is for the filters
// of the phases BeforeRoute and Request, for ConnectFailed: after it d is tried instead of another backend, with
// attempts of its own, up to 8 times; and for Error before Resend. A body that is partly sent cannot go elsewhere.
func (x *Exchange) SetDestination(d Destination) {
	x.chosen, x.rechosen, x.onward = leadTo(d), true, false
}
