package forward

import (
	"errors"
	"log/slog"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// Request is a request on its way to backends.
// Owned by its Owner, on its reactor.
type Request struct {
	Body Body

	owner Owner
	head  *message.Head
	local *Local

	waiter upstream.Waiter   // its place while there is no connection
	clock  *engine.Timer     // of the attempt: see setClock; nil until it is needed, then kept
	hedge  *hedge            // nil until it is needed, then kept
	place  *admission.Waiter // in the line for a backend that has room; nil until it is needed, then kept

	progress
}

// progress is the part of a Request that is cleared before the next one, all at once.
type progress struct {
	attempt // that the owner has the stream of, or waits for

	Waited  int64  // ns in which it had no connection
	Dialled int64  // ns in which its connections were established, in vain or not
	Secured int64  // of Dialled: ns of TLS handshakes that succeeded
	Detail  string // of the failure, for Proxy-Status; "": none

	pick balance.Request // what a backend is chosen by, and those that were tried
	host message.Span    // Host as the owner has left it

	Attempts int32
	retries  int32
	refusals uint8 // of backends that did not process the request, and said so
	detours  uint8 // how often the owner led elsewhere
	Interims uint8 // heads of interim answers that the client was sent
	Call     bool  // it is a call of gRPC
	hostSet  bool  // a filter of the owner has set Host
	retrying bool  // it is counted as a retry that is under way
	denied   bool  // the log record says why there was no retry
	aside    aside
}

// Owner is the exchange of a Request, and the Receiver of its answer. It is called on the reactor of the Request.
type Owner interface {
	session.Receiver
	session.SpliceReceiver

	// Send sends the request to the stream of an attempt.
	Send(s session.Stream)
	// Tune prepares the stream of an attempt for the request: its times, and whether its frames may wait. The request
	// gets the context of its trace. span is the attempt's part in that, zeros where it has none.
	Tune(s session.Stream) (span [8]byte)
	// Reopen begins another attempt where the owner leads by now, and sends the request.
	Reopen()
	// Fail ends the exchange: nothing is left to try.
	Fail(f Failure)
	// ConnectFailed tells of a backend that could not be connected to. It reports whether the owner answered instead.
	ConnectFailed(f Failure) bool
	// FailureOf names the failure of an attempt.
	FailureOf(code session.Code, cause error) Failure
	// Moved reports whether the owner leads elsewhere than to b since the last attempt began.
	Moved(b *Backends) bool
	// Turn makes the request ready for where the owner leads by now. It returns nil, or why it leads nowhere.
	Turn() Failure
	// Tried tells of an attempt that ended without the answer. e is borrowed until return.
	Tried(e *Ended)
	// Route returns the name of the route, and the class of its requests.
	Route() (name string, class admission.Class)
	// LogField adds a member to the log record.
	LogField(name, value string)
	// ID returns the number of the request.
	ID() string
	// WallTime returns the wall clock of this tick.
	WallTime() time.Time
	// Rescue is deferred where the reactor has no connection that it could close for a panic.
	Rescue()
}

// Ended is an attempt that ended without the answer.
type Ended struct {
	Try
	Failure Failure // nil: see Status
	Status  int     // of an answer that another attempt replaces; 0: it was withdrawn, since another one was answered
}

// Failure is the failure of an attempt, as its owner names it.
type Failure interface {
	error
	// About returns what a failure says of the backend.
	About() About
}

// About is what a Failure says of the backend.
type About struct {
	Trouble backend.TroubleKind
	Own     bool   // it is not the backend's: the proxy has no ports or descriptors left
	Text    string // one sentence
	Reason  string // as in the access log
	Try     string // what to look at first
}

// The errors of Open that are no failures of connections. FailureOf is given them, too.
var (
	ErrPending     = errors.New("proxy: the destination is not open yet")
	ErrNoBackend   = errors.New("proxy: no backend is available")
	ErrMaxPending  = errors.New("proxy: too many requests wait for a backend")
	ErrMaxRequests = errors.New("proxy: the backends have as many requests as they may")
	ErrConcurrency = errors.New("proxy: the backends take no more requests at present")
)

// Local is what the Requests of one reactor share.
// Owned by its reactor.
type Local struct {
	Reactor *engine.Reactor
	Stats   Stats
	Waits   Waits // of all bodies
	Debug   bool  // attempts that succeed are logged

	ended Ended // that Owner.Tried is told of

	toldOwn int64 // reactor time of the last line about a failure of the proxy's own: see TellOwn
}

// Stats are the counters of Requests on one reactor.
type Stats struct {
	Retries       uint64
	RetriesDenied uint64 // that the budget of an upstream had nothing left for
	Hedges        Hedges
	Failovers     uint64 // requests that an upstream left to its failover
}

// Hedges are the counters of second attempts that were made while the first one waited: see retry.Hedge.
type Hedges struct {
	Won       uint64 // the second one answered first, or the first one failed
	Lost      uint64 // the first one answered first
	Failed    uint64 // the second one failed first
	Cancelled uint64 // the exchange ended before either
	Denied    uint64 // that were not made: the budget of hedges had nothing left
	Closed    uint64 // connections that were closed to take back the request that was not needed: over HTTP/1
}

// ownEvery is the least time between two lines of a reactor about failures of the proxy's own.
const ownEvery = 10 * time.Second

// TellOwn logs a failure to connect that is not the backend's.
func (l *Local) TellOwn(f Failure, cause error) {
	if now := l.Reactor.Now(); l.toldOwn == 0 || now-l.toldOwn >= int64(ownEvery) {
		l.toldOwn = now
		is := f.About()
		slog.Warn("no connection to a backend can be made", "what", is.Text, "reason", is.Reason,
			"error", quoted(cause), "try", is.Try)
	}
}

// Init prepares q for the requests of o, whose heads are at head.
func (q *Request) Init(l *Local, o Owner, head *message.Head) {
	q.local, q.owner, q.head = l, o, head
	q.Body.Init(&l.Waits)
	q.waiter.Init((*taker)(q))
}

// Reset forgets the request, which is over.
func (q *Request) Reset() {
	q.Body.Reset()
	q.progress = progress{}
}

// Prepared notes that the owner has made the head ready to be sent. hostSet: a filter has set the Host, which stays.
func (q *Request) Prepared(hostSet bool) { q.host, q.hostSet = q.head.Authority, hostSet }

// PreparedAs notes of q, which has the same head as of, what Prepared has noted of that.
func (q *Request) PreparedAs(of *Request) { q.host, q.hostSet = of.host, of.hostSet }

// ShowAttempts copies the backend and the times of the attempts of another request to q. Nothing of q goes on.
func (q *Request) ShowAttempts(of *Request) {
	q.Attempts, q.Backend, q.Reused, q.Detail = of.Attempts, of.Backend, of.Reused, of.Detail
	q.Connected, q.SentAt, q.FirstByte = of.Connected, of.SentAt, of.FirstByte
	q.Course = of.Course
	q.Waited, q.Dialled, q.Secured = of.Waited, of.Dialled, of.Secured
}

// Started notes that the stream s is there: the owner sends the request to it.
func (q *Request) Started(s session.Stream) {
	q.Stream = s
	q.Connected = q.local.Reactor.Now()
}

// Sent notes that the backend has the whole request.
func (q *Request) Sent() {
	if q.SentAt == 0 {
		q.SentAt = q.local.Reactor.Now()
	}
}

// Judge takes the head h of an answer on s. It reports whether another attempt takes the place of the answer, and has
// begun: no filter sees an answer that is thrown away. A good one pays for retries.
func (q *Request) Judge(s session.Stream, h *message.Head, end bool) (replaced bool) {
	if q.aside != 0 {
		q.stopClock()
	}
	if q.To != nil && (h.Status >= 200 || h.Tunnel) {
		if h.Status >= 400 || q.Call {
			if q.replaced(s, h, end) {
				return true
			}
		} else {
			if b := q.To.Retry.Budget; b != nil {
				b.Good(q.local.Reactor.Index(), q.local.Reactor.Now())
			}
			q.reportAnswer(q, false)
		}
	}
	if q.Body.Keep > 0 && !q.hedged() { // a second attempt may still need it
		q.Body.Forget()
	}
	return false
}

// Answered notes the final head of the answer, with status.
func (q *Request) Answered(status uint16) {
	q.noteConnect()
	q.FirstByte = q.local.Reactor.Now()
	q.sample(status)
	if q.local.Debug {
		q.trace(q, "an attempt is answered", "status", status)
	}
	if m := q.Backend; m != nil && m.Trouble() == backend.Connecting {
		q.RecordRecovery()
	}
}

// BecomeTunnel counts the request at its backend as a tunnel: it may last for hours, and says nothing of how busy the
// backend is. For the same reason it is no retry any more.
func (q *Request) BecomeTunnel() {
	if q.counted&asRequest != 0 {
		q.Backend.Become(q.local.Reactor)
		q.leaveTrial()
		q.counted = asTunnel
		q.leavePlace(q)
	}
	q.LeaveRetries()
	q.Body.Reset()
}

// Through notes that the backend is through with both messages.
func (q *Request) Through() {
	q.drop()
	q.exit(q)
}

// Ended notes that the stream is over before its time.
func (q *Request) Ended() {
	q.stopClock()
	q.noteConnect()
	q.drop()
}

// Cancel takes the request back from its backend, which counts it no longer, and ends all that goes on for it.
func (q *Request) Cancel() {
	if q.waiter.Waiting() {
		q.Waited += q.local.Reactor.Now() - q.waiter.Since()
		q.waiter.Cancel()
	}
	if q.place != nil && q.place.Waiting() {
		q.Waited += q.local.Reactor.Now() - q.place.Since()
		q.place.Cancel()
	}
	if q.aside != 0 {
		q.stopClock()
		if q.aside&hedging != 0 {
			q.hedge.cancel()
		}
		q.aside = 0
	}
	if s := q.Stream; s != nil {
		q.noteConnect()
		q.drop()
		s.Reset(session.Cancelled)
	}
	q.exit(q)
}

// LeaveRetries takes q out of the count of retries that are under way. After Cancel it ends q.
func (q *Request) LeaveRetries() {
	if q.retrying {
		q.To.Limits.EndRetry()
		q.retrying = false
	}
}

// aside is what goes on beside the attempt of a Request, or in its place: a set of bits.
type aside uint8

const (
	pausing aside = 1 << iota // Request.clock runs until the next attempt
	timed                     // Request.clock runs until the attempt has taken too long
	overdue                   // beside timed: it had taken too long before, and had no connection
	hedging                   // Request.hedge is not at rest
)

// Check panics when an invariant of q does not hold.
func (q *Request) Check() {
	adopted := q.aside&hedging != 0 && q.hedge.state == hedgeAdopted
	awaited := q.Stream != nil || q.waiter.Waiting() || adopted
	invariant.That(q.aside&timed == 0 || awaited, "nothing is to take too long")
	q.Body.Check()
	if q.hedge != nil {
		q.hedge.check()
	}
}

// CheckFree panics when q has something of a request that is over.
func (q *Request) CheckFree() {
	invariant.That(q.Stream == nil && !q.waiter.Waiting() && q.aside == 0, "a free request is under way")
}
