package forward

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/exchange/grpc"
	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/forward/ejection"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// attempt is one try of a Request at a backend, with the failure of the one before.
// Owned by its Request, which clears it with the rest of its progress.
type attempt struct {
	Stream session.Stream // takes the request; nil while there is none
	Fault  Failure        // of the try before; the answer when nothing is left to try. nil: there was none
	Cause  error          // of Fault, as the destination gave it

	To        *Backends       // that were opened; nil: the destination is another one
	Backend   *backend.Member // nil: none was chosen yet
	address   int32           // of the backend's
	Whole     recent.Span     // from the head of the request to the end of the answer; 0: not yet, or not asked for
	Reused    bool            // the connection served others before
	NameHost  bool            // the backend is to be sent its own address as Host
	NewCookie bool            // the answer gives the client the cookie of the backend
	own       bool            // the cookie of the client names the backend
	bad       bool            // the head of the answer says that the backend cannot serve
	refused   uint8           // addresses of the backend that could not be connected to
	counted   counted         // how the backend counts the request
	aim       aim

	Connected int64 // reactor time, ns: the request was given to a connection, or that stood
	SentAt    int64 // the last byte of its body was; 0: it has none, or not yet
	FirstByte int64
	Course    Course

	conn     *upstream.Conn     // whose stream it is
	shared   *upstream.Conn     // whose stream it was, where others used it too
	receiver session.Receiver   // gets the answer, once there is a connection
	limited  *admission.Limiter // it holds a place at the backend; nil: none
	pause    time.Duration      // before the next try
}

// Course is what a trace tells of an attempt, beside its times.
type Course struct {
	Span    [8]byte       // its part in the trace; zeros: none
	number  int32         // of all attempts of the Request, from 1
	version message.Proto // of the connection; 0: there was none yet
	hedge   bool          // it was made while another one waited
	told    bool          // the owner was told of its end
}

// aim says where the next try goes.
type aim uint8

const (
	nextBackend aim = iota // that was not tried
	nextAddress            // of the same backend, whose name has several
	sameAddress            // on a connection that no exchange used before
	sameBackend            // on any connection
)

// counted says how a backend counts a request: nothing, or asRequest or asTunnel, and maybe onTrial.
type counted uint8

const (
	asRequest counted = 1 << iota
	asTunnel
	onTrial // the outliers count it, too: the backend was ejected before
)

// drop forgets the stream: it is over.
func (a *attempt) drop() {
	if a.conn != nil && a.conn.Shared() {
		a.shared = a.conn
	}
	a.Stream, a.conn = nil, nil
}

// enter counts q at m, the backend that was chosen, instead of the one before.
func (a *attempt) enter(q *Request, m *backend.Member) {
	a.exit(q)
	m.Enter(q.local.Reactor, false)
	a.Backend, a.counted, a.SentAt = m, asRequest, 0
	if a.limited = a.To.Limits; a.limited != nil {
		a.limited.Enter(q.local.Reactor)
	}
}

// exit ends the count: the backend is through with the request, or the attempt has failed.
func (a *attempt) exit(q *Request) {
	if a.counted != 0 {
		a.leaveCounts(q)
	}
}

// leaveCounts ends all counts of q.
func (a *attempt) leaveCounts(q *Request) {
	a.Backend.Leave(q.local.Reactor, a.counted&asTunnel != 0)
	a.leaveTrial()
	a.counted = 0
	a.leavePlace(q)
}

// leaveTrial ends the count of the outliers, if they count q. The caller sets counted anew.
func (a *attempt) leaveTrial() {
	if a.counted&onTrial != 0 {
		a.To.Outliers.Leave(a.Backend)
	}
}

// leavePlace gives the place at the backend back, where it holds one.
func (a *attempt) leavePlace(q *Request) {
	if l := a.limited; l != nil {
		a.limited = nil
		l.Leave(q.local.Reactor, a.Backend)
	}
}

// fail notes that a has ended by f without an answer, whether a retry hides it or not.
func (a *attempt) fail(q *Request, f Failure, code session.Code, cause error) {
	a.trace(q, "an attempt failed", "error", quoted(cause))
	if code == session.ConnectFailed || code == session.ConnectTimeout {
		a.recordFailure(q, f, cause)
	}
	a.reportError(q, f, code)
	a.tried(q, f, 0)
}

// tried tells the owner of the end of a, once.
func (a *attempt) tried(q *Request, f Failure, status int) {
	if a.Backend != nil && !a.Course.told {
		a.Course.told = true
		q.local.ended = Ended{a.try(), f, status}
		q.owner.Tried(&q.local.ended)
	}
}

// Try is what a record tells of an attempt. Times are of the reactor, in ns; 0: that was not reached.
type Try struct {
	Member    *backend.Member
	Span      [8]byte
	Number    int
	Connected int64
	FirstByte int64
	Version   message.Proto // of the connection; 0: there was none
	Secured   bool
	Reused    bool
	Hedge     bool // it was made while another one waited
	Told      bool // Owner.Tried has told of it
}

// Last returns the attempt that q has made last; Member is nil where it made none.
func (q *Request) Last() Try {
	if q.Attempts == 0 {
		return Try{}
	}
	return q.try()
}

func (a *attempt) try() Try {
	c := &a.Course
	return Try{
		Member: a.Backend, Span: c.Span, Number: int(c.number), Connected: a.Connected,
		FirstByte: a.FirstByte, Version: c.version, Secured: a.To != nil && a.To.Upstream.Options().TLS.On,
		Reused: a.Reused, Hedge: c.hedge, Told: c.told,
	}
}

// reportError counts a failure of a backend that gave no answer, or not all of it. That a connection which had served
// before is lost says nothing of the backend, and for the outliers the exchanges that shared one are one failure.
func (a *attempt) reportError(q *Request, f Failure, code session.Code) {
	if a.Backend == nil || f.About().Trouble == backend.NoTrouble {
		return
	}
	if code == session.ConnectionLost && a.Reused && a.shared == nil {
		return
	}
	a.Backend.Failed(q.local.Reactor)
	if a.limited != nil && code == session.Timeout {
		a.limited.Answered(q.local.Reactor, q.elapsed(a.Connected, a.SentAt))
	}
	if a.To.Outliers == nil {
		return
	}
	failed := ejection.Failed{Fault: true}
	if a.shared != nil && code != session.Timeout {
		failed.Once = a.shared
	}
	a.To.Outliers.Bad(q.local.Reactor, a.Backend, failed)
}

// reportAnswer tells the outliers of an answer of which the head has come. bad: it says that the backend cannot serve.
func (a *attempt) reportAnswer(q *Request, bad bool) {
	if a.To.Outliers == nil {
		return
	}
	if bad {
		route, _ := q.owner.Route()
		a.To.Outliers.Bad(q.local.Reactor, a.Backend, ejection.Failed{Route: route})
		return
	}
	a.To.Outliers.Good(q.local.Reactor, a.Backend)
}

// assessment is what an answer says by its head.
type assessment struct {
	failure  bool // it is one
	bad      bool // it says that the backend cannot serve
	repeated bool // the request is tried again by the conditions of the upstream
}

// assess returns what the head h of a final answer says. end says that it is nothing else.
func (a *attempt) assess(q *Request, h *message.Head, end bool) (is assessment) {
	on, status := &a.To.Retry.On, int(h.Status)
	is.failure, is.bad = status >= 500 || status == 429, status >= 502 && status <= 504
	if !q.Call {
		is.repeated = on.Status(status) && q.head.Verb.Idempotent()
	} else if status = grpc.StatusOfHead(h, end); status != 0 {
		// To name a status of gRPC as a condition is to say that calls may be repeated: each is a POST.
		is = assessment{failure: grpc.Failed(status), bad: status == grpc.Unavailable, repeated: on.Call(status)}
	}
	return is
}

// sample tells the backend how long the head of its answer took, or that it is a failure. An answer that came before
// the whole request was sent says nothing about the backend.
func (q *Request) sample(status uint16) {
	switch {
	case q.Backend == nil:
	case q.bad:
		q.Backend.Failed(q.local.Reactor)
	case q.Body.EndSent:
		took := time.Duration(q.FirstByte - max(q.Connected, q.SentAt))
		q.Backend.Answered(q.local.Reactor, took)
		if q.limited != nil && status < 500 { // a failure may take no time
			q.limited.Answered(q.local.Reactor, took)
		}
	}
}

// recordFailure notes a failure of the backend, which the log tells of where that is news.
func (a *attempt) recordFailure(q *Request, f Failure, cause error) {
	m, is := a.Backend, f.About()
	switch {
	case is.Own:
		q.local.TellOwn(f, cause)
		return
	case m == nil || is.Trouble == backend.NoTrouble:
		return
	}
	t, tell := m.Fail(is.Trouble, is.Text, q.owner.WallTime())
	if !tell {
		return
	}
	if errors.Is(cause, syscall.ECONNREFUSED) && m.ID().Addr.IsUnix() {
		is.Try = trySocket
	}
	slog.Warn("a backend fails", "upstream", a.To.Upstream.Name(), "backend", m.Address(), "address", a.addr(),
		"what", is.Text, "reason", is.Reason, "error", quoted(cause), "since", t.Since, "failures", t.Failures,
		"request", q.owner.ID(), "try", is.Try)
}

// trySocket is what to look at where a Unix socket refuses.
const trySocket = "the file is there and nobody listens: does the process that made it still run?"

// RecordRecovery notes that the backend serves, where it was in a trouble that this ends.
func (q *Request) RecordRecovery() {
	m := q.Backend
	if q.conn != nil { // it may have been dialled at another address: see Happy Eyeballs in package upstream
		m.Readmit(q.conn.At())
	} else if addrs := *m.Addrs(); int(q.address) < len(addrs) && m.Reachable() == len(addrs) {
		m.Readmit(addrs[q.address])
	}
	if t, told := m.Recover(); told {
		slog.Info("a backend serves again", "upstream", q.To.Upstream.Name(), "backend", m.Address(),
			"after", q.owner.WallTime().Sub(t.Since).Round(time.Millisecond).String(), "failures", t.Failures)
	}
}

// trace tells of the end of an attempt, where the level debug is logged.
func (a *attempt) trace(q *Request, what string, details ...any) {
	if a.Backend == nil || !slog.Default().Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	attrs := []any{"request", q.owner.ID(), "attempt", q.Attempts, "upstream", a.To.Upstream.Name(),
		"backend", a.Backend.Address(), "address", a.addr(), "reused", a.Reused}
	slog.Debug(what, append(attrs, details...)...)
}

// addr returns the address that the attempt was made at.
func (a *attempt) addr() string {
	if a.conn != nil {
		return a.conn.At().String()
	}
	if addrs := *a.Backend.Addrs(); int(a.address) < len(addrs) {
		return addrs[a.address].String()
	}
	return ""
}

// quotedMax bounds how much of a backend's words a line of the log quotes.
const quotedMax = 256

func quoted(err error) string {
	if err == nil {
		return "the connection was closed"
	}
	text := err.Error()
	return text[:min(len(text), quotedMax)]
}

// noteConnect adds the time that q spent on its connection being established, before the first byte of the answer or
// the end of the attempt. The time of a connection that had served before does not count.
func (q *Request) noteConnect() {
	if q.Reused || q.conn == nil || q.FirstByte > 0 {
		return
	}
	at, handshake, stands := q.conn.ConnectedAt()
	if !stands {
		at = q.local.Reactor.Now()
	}
	if at > q.Connected {
		q.Dialled += at - q.Connected
		q.Secured += min(handshake, at-q.Connected)
		q.Connected = at
	}
}
