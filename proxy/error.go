package proxy

import (
	"cmp"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"syscall"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/exchange/grpc"
	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/internal/forward"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/session"
)

// Error is a failure of an exchange, with its answer. A filter tells failures apart by From and Kind: SideBackend and
// "connect_timeout". Reason is what the access log and edge why have for it, "backend:connect", and Token what
// Proxy-Status has. Immutable, but for the copy that a filter is given: see Filter.Error. Some failures that filters
// and destinations compare with or return are variables, such as ConnectRefused, which errors.Is finds. A Destination
// may have its own, made by NewError: Open returns one, and the streams that it makes give one as the cause of OnReset.
type Error struct {
	Kind   Kind
	From   Side   // that ended the exchange
	Retry  Retry  // whether the request may be sent once more
	Status int    // of the answer: 400 to 599, else it is 500
	Token  string // error type of Proxy-Status: RFC 9209 §2.3
	Text   string // one sentence: what the client can change, for 4xx; for 5xx gRPC clients and filters alone see it
	Cause  error  // what the network, TLS or the destination said; nil: nothing did
	Silent bool   // there is no answer: the client's stream is reset

	wait  bool // Retry-After: 1
	apart bool // from 1 to 3 at random, so that clients that were refused together do not come back together
	allow bool // Allow
	call  int  // status of gRPC; 0: what callStatus says
	last  bool // no further request of the connection is read, where it carries one after another

	trouble backend.TroubleKind // of the backend that it says something about
	try     string              // what to look at first, for the log
	phase   string              // in Reason; "": Kind
	reason  string              // what Reason returns
	number  *atomic.Uint32      // of its recent.Reason; in it 0: not asked for yet
	answer  *Verdict            // of a filter, where a Fork has failed by it
}

// Kind names what failed, in lower case with "_" between words.
type Kind string

// Side is one of the three that have a part in an exchange.
type Side uint8

// The sides of an exchange.
const (
	SideProxy Side = iota
	SideClient
	SideBackend
)

// String returns the word of s in logs.
func (s Side) String() string { return [...]string{"edge", "client", "backend"}[s] }

// Retry says whether a request that failed may be sent once more.
type Retry uint8

// When a request may be sent once more.
const (
	RetryNever      Retry = iota
	RetryIdempotent       // it may have been processed: where its method is idempotent, RFC 9110 §9.2.2
	RetryAlways           // it was not processed
)

// NewError returns e, which must not change any more.
func NewError(e Error) *Error {
	e.reason, e.number = e.Reason(), new(atomic.Uint32)
	return &e
}

// Error returns the text of the answer, and the cause.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Text + " " + e.Cause.Error()
	}
	return cmp.Or(e.Text, e.Reason())
}

// Is reports whether target is an Error with the same Kind and From.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t != nil && t.Kind == e.Kind && t.From == e.From
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Reason returns the reason in the access log: the side that ended the exchange and the phase, which is the Kind but
// where several kinds have one phase.
func (e *Error) Reason() string {
	if e.reason != "" {
		return e.reason
	}
	return e.From.String() + ":" + cmp.Or(e.phase, string(e.Kind))
}

// About returns what e says of a backend: see package forward.
func (e *Error) About() forward.About {
	return forward.About{
		Trouble: e.trouble, Own: e == noPorts || e == noDescriptors, Text: e.Text, Reason: e.Reason(), Try: e.try,
	}
}

// of returns e for one exchange, with its cause.
func (e *Error) of(cause error) Error {
	own := *e
	own.Cause = cause
	return own
}

// Remembered returns the recent.Reason that e is.
func (e *Error) Remembered() recent.Reason {
	return recent.Reason{Word: e.Reason(), Text: e.Text, Try: e.try}
}

// noted returns the number of e.Remembered. Safe for any goroutine.
func (e *Error) noted() uint8 {
	if e.number == nil {
		return recent.NumberOf(e.Remembered())
	}
	n := e.number.Load()
	if n == 0 {
		n = uint32(recent.NumberOf(e.Remembered()))
		e.number.Store(n)
	}
	return uint8(n)
}

// after returns the Retry-After of the answer, in seconds.
func (e *Error) after() string {
	if e.apart {
		return []string{"1", "2", "3"}[rand.IntN(3)]
	}
	return "1"
}

// The failures of a proxy: docs/errors.md says what each of them means.
var (
	routeNotFound = failure(SideProxy, "route", 404, "destination_not_found", "There is nothing at this address.")
	methodRefused = failure(SideProxy, "method", 405, "http_request_denied", "No route takes this method.", allows)
	TargetTooLong = failure(SideProxy, "rewrite", 414, "http_request_error",
		"The request target is too long to be rewritten.")
	schemeMismatch = failure(SideProxy, "scheme", 421, "http_request_error",
		"This connection is not secured, and https was asked for.")
	notSecured = failure(SideProxy, "plain", 421, "http_request_error",
		"This connection is not secured, and has to be: use https.", calls(grpc.Unauthenticated))
	noClientCert = failure(SideProxy, "client_cert", 421, "http_request_error",
		"This connection was made without a client certificate that is trusted.", calls(grpc.Unauthenticated))
	sniMismatch = failure(SideProxy, "sni", 421, "http_request_error",
		"This connection was secured for another host.")
	termsMismatch = failure(SideProxy, "tls_rules", 421, "http_request_error",
		"This connection was secured on other terms than this request needs.", calls(grpc.Unauthenticated))
	loopDetected = failure(SideProxy, "loop", 508, "proxy_loop_detected", "The request goes in circles.")
	// subTooDeep and subTooMany are what a filter that asks by a sub-request gets for an answer.
	subTooDeep = failure(SideProxy, "sub_too_deep", 508, "proxy_loop_detected", "A sub-request is too deep.")
	subTooMany = failure(SideProxy, "sub_too_many", 500, "proxy_internal_error",
		"There are too many sub-requests.")
	badMaxForwards = failure(SideClient, "max_forwards", 400, "http_request_error",
		"Max-Forwards is not a number.")
	BodyTooLarge = failure(SideProxy, "request_body", 413, "http_request_error",
		"The request body is too large.")
	requestHeadTooLarge = failure(SideBackend, "head_size", 431, "http_request_error",
		"The head of the request is too large.")
	answerHeadTooLarge = failure(SideClient, "head_size", 502, "http_response_header_section_size",
		"The head of the answer is larger than the client takes.", calls(grpc.Exhausted))
	// Internal says that code of the proxy's own panicked.
	Internal           = failure(SideProxy, "internal", 500, "proxy_internal_error", "The proxy failed.")
	bodyLengthMismatch = failure(SideProxy, "body_length", 500, "proxy_internal_error",
		"A filter changed the body, not its length.")
	filterFailed = failure(SideProxy, "filter", 500, "proxy_internal_error", "A filter ended the answer.")
	// Overload refuses a request for which there is no room at the moment.
	Overload = failure(SideProxy, "shed", 503, "proxy_internal_response", "The proxy is overloaded.", waits)
	// ListsBusy refuses the list of a folder: four lists are being made, or memory is short.
	ListsBusy = failure(SideProxy, "lists", 503, "proxy_internal_response",
		"Too many folders are listed at the moment.", waitsApart)
	NoBackend = failure(SideProxy, "no_backend", 503, "destination_unavailable",
		"No backend is available.", retries(RetryAlways), waits)
	ConnectRefused = failure(SideBackend, "connect", 502, "connection_refused", "The backend refused the connection.",
		connectTrouble("does it run, and listen there? In a container, localhost is the container itself"))
	noSocket = failure(SideBackend, "no_socket", 502, "destination_unavailable",
		"The socket of the backend does not exist.",
		connectTrouble("is the path right, and does the process run that makes the file?"))
	connectForbidden = failure(SideProxy, "permission", 502, "proxy_configuration_error",
		"The proxy may not connect to the backend.",
		connectTrouble("for a socket: the user of edge needs the right to write to the file, and to enter its "+
			"folders; else a firewall of this machine forbids it"))
	netUnreachable = failure(SideBackend, "no_route", 502, "destination_ip_unroutable",
		"There is no route to the backend.",
		connectTrouble("has this machine an address and a route for that network (ip route get ADDRESS)?"))
	unreachable = failure(SideBackend, "unreachable", 502, "destination_ip_unroutable",
		"The backend cannot be reached.",
		connectTrouble("is the machine up? A router or firewall may refuse the way to it"))
	noPorts = failure(SideProxy, "ports", 503, "connection_limit_reached",
		"The proxy has no local port left.", retries(RetryAlways), waits,
		advice("more of net.ipv4.ip_local_port_range, or more idle connections (pool.idle)"))
	noDescriptors = failure(SideProxy, "descriptors", 503, "connection_limit_reached",
		"The proxy has no descriptor left.", retries(RetryAlways), waits,
		advice("a larger limit: LimitNOFILE of the service, or ulimit -n"))
	backendLimit = failure(SideProxy, "backend_limit", 503, "connection_limit_reached",
		"The backend has as many connections as it may.", retries(RetryAlways), waits)
	maxRequests = failure(SideProxy, "max_requests", 503, "connection_limit_reached",
		"The backends have as many requests as they may.", retries(RetryAlways), waitsApart)
	concurrencyLimit = failure(SideProxy, "concurrency", 503, "connection_limit_reached",
		"The backends take no more requests at present.", retries(RetryAlways), waitsApart)
	maxPending = failure(SideProxy, "max_pending", 503, "connection_limit_reached",
		"Too many requests wait for a backend.", retries(RetryAlways), waitsApart)
	connectTimeout = failure(SideBackend, "connect_timeout", 504, "connection_timeout",
		"The backend did not accept in time.", inPhase("connect"),
		connectTrouble("is the machine up, and does no firewall drop what is sent to it? timeouts.connect says how "+
			"long it has"))
	answerTimeout = failure(SideBackend, "first_byte", 504, "http_response_timeout",
		"The backend did not answer in time.", retries(RetryIdempotent),
		answerTrouble("it took the request; timeouts.first_byte and timeouts.read say how long it has"))
	malformedAnswer = failure(SideBackend, "malformed", 502, "http_protocol_error",
		"The backend's answer is malformed.", answerTrouble("does it speak HTTP there?"))
	answerHeadSize = failure(SideBackend, "answer_head", 502, "http_response_header_section_size",
		"The head of the backend's answer is too large.",
		answerTrouble("limits.header_size, header_count and field_size of the upstream bound it"))
	speaksTLS = failure(SideBackend, "speaks_tls", 502, "http_protocol_error",
		"The backend answered with TLS.", answerTrouble("write https:// before its address"))
	speaksHTTP1 = failure(SideBackend, "speaks_http1", 502, "http_protocol_error",
		"The backend was asked by HTTP/2 and answered by HTTP/1.",
		answerTrouble(`it speaks HTTP/1 there: no grpc = true, h2c:// or protocol = "h2"`))
	speaksHTTP2 = failure(SideBackend, "speaks_http2", 502, "http_protocol_error",
		"The backend was asked by HTTP/1 and answered by HTTP/2.",
		answerTrouble("it speaks HTTP/2 there: grpc = true for gRPC, or h2c:// before its address"))
	truncatedAnswer = failure(SideBackend, "truncated", 502, "http_response_incomplete",
		"The backend's answer is incomplete.", retries(RetryIdempotent),
		answerTrouble("it closed the connection inside the answer; its own log says why"))
	connectionLost = failure(SideBackend, "lost", 502, "connection_terminated",
		"The backend closed the connection.", retries(RetryIdempotent),
		answerTrouble("it closed without an answer; if the port is for TLS, write https:// before its address"))
	streamRefused = failure(SideBackend, "refused", 503, "destination_unavailable",
		"The backend refuses the request.", retries(RetryAlways), waits)
	certificateRefused = failure(SideBackend, "certificate", 502, "tls_certificate_error",
		"The backend's certificate is not accepted.",
		connectTrouble("this machine does not know its authority (tls.ca names another), or it is for another name "+
			"(tls.sni)"))
	tlsAlert = failure(SideBackend, "tls_alert", 502, "tls_alert_received",
		"The backend refused the secured connection.",
		connectTrouble("does it want a client certificate (tls.cert), or another name (tls.sni)?"))
	tlsFailed = failure(SideBackend, "tls", 502, "tls_protocol_error",
		"The connection to the backend could not be secured.",
		connectTrouble("does it speak TLS there, in a version that both know? http:// is without"))
	tlsMisconfigured = failure(SideProxy, "tls", 500, "proxy_configuration_error",
		"The proxy cannot secure connections to the backend.", retries(RetryAlways))
	backendCancelled = failure(SideBackend, "cancelled", 502, "connection_terminated",
		"The backend cancelled the exchange.", calls(grpc.Cancelled))
	backendReset = failure(SideBackend, "reset", 502, "connection_terminated",
		"The backend gave the exchange up.", retries(RetryIdempotent), calls(grpc.Internal))
	BadTarget     = failure(SideClient, "target", 400, "http_request_error", "The request target is malformed.")
	AmbiguousPath = failure(SideClient, "path", 400, "http_request_error", "The path can be read in two ways.", closes)
	conditionCut  = failure(SideClient, "cut", 400, "http_request_error",
		"The request is too long for the conditions that it has to meet.")
	jsonUnreadable = failure(SideClient, "json", 400, "http_request_error",
		"A JSON text of the request is not one that all of its readers understand in the same way.")
	BadHost = failure(SideClient, "host", 400, "http_request_error",
		"What the connection says of the client is no host.")
	underscoreRefused = failure(SideClient, "underscore", 400, "http_request_error",
		"The name of a field has an underscore.")
	parametersRefused = failure(SideClient, "path_parameters", 400, "http_request_error",
		"The path has parameters.", closes)
	totalTimeout   = failure(SideProxy, "total", 504, "http_response_timeout", "The request took too long.")
	deadlinePassed = failure(SideClient, "deadline", 504, "http_response_timeout",
		"The deadline of the call has passed.")
	badBase64      = failure(SideClient, "base64", 400, "http_request_error", "The body is not base64.")
	upgradeRefused = failure(SideProxy, "upgrade", 501, "http_request_denied", "This protocol is not passed on.")
	upgradeFailed  = failure(SideBackend, "upgrade", 502, "http_upgrade_failed",
		"The backend did not change to the protocol.")
	slowBody      = failure(SideClient, "request_body", 408, "", "")
	tunnelIdle    = failure(SideProxy, "tunnel_idle", 0, "", "")
	drained       = failure(SideProxy, "drain", 499, "", "", silently)
	clientGone    = failure(SideClient, "gone", 499, "", "")
	malformedBody = failure(SideClient, "malformed", 400, "", "")
	clientSlow    = failure(SideClient, "timeout", 499, "", "")
)

// failure returns a row of the table above. more sets fields that most rows leave at zero.
func failure(from Side, kind Kind, status int, token, text string, more ...func(*Error)) *Error {
	e := Error{From: from, Kind: kind, Status: status, Token: token, Text: text}
	for _, set := range more {
		set(&e)
	}
	return NewError(e)
}

// The functions that rows give to failure as more. The fields that they set have comments in Error.
func retries(when Retry) func(*Error)   { return func(e *Error) { e.Retry = when } }
func calls(status int) func(*Error)     { return func(e *Error) { e.call = status } }
func advice(text string) func(*Error)   { return func(e *Error) { e.try = text } }
func inPhase(phase string) func(*Error) { return func(e *Error) { e.phase = phase } }
func waits(e *Error)                    { e.wait = true }
func waitsApart(e *Error)               { e.wait, e.apart = true, true }
func allows(e *Error)                   { e.allow = true }
func closes(e *Error)                   { e.last = true }
func silently(e *Error)                 { e.Silent = true }

// connectTrouble is for failures of a backend before it was sent anything: try is what to look at first.
func connectTrouble(try string) func(*Error) {
	return func(e *Error) { e.trouble, e.try, e.Retry = backend.Connecting, try, RetryAlways }
}

// answerTrouble is for failures of a backend that was sent a request: try is what to look at first.
func answerTrouble(try string) func(*Error) {
	return func(e *Error) { e.trouble, e.try = backend.Answering, try }
}

// ConnectError returns the failure that a connection to a backend is which was not established.
func ConnectError(cause error) *Error { return errorOfReset(session.ConnectFailed, cause) }

// errorOfReset returns the failure of an attempt that ended with code.
func errorOfReset(code session.Code, cause error) *Error {
	if f, ok := cause.(*Error); ok {
		return f
	}
	switch {
	case code == session.ConnectFailed:
		return errorOfDial(cause)
	case code == session.Malformed:
		return cmp.Or(errorOfCause(answerCauses, cause), malformedAnswer)
	case errorOfCode[code] != nil:
		return errorOfCode[code]
	case isAlert(cause): // with TLS 1.3 a server looks at our certificate when the handshake is done for us
		return tlsAlert
	}
	return connectionLost
}

// errorOfCode has the failures of resets that need no look at the cause.
var errorOfCode = map[session.Code]*Error{
	session.ConnectTimeout: connectTimeout,
	session.Timeout:        answerTimeout,
	session.Truncated:      truncatedAnswer,
	session.Refused:        streamRefused,
	session.Cancelled:      backendCancelled,
	session.Aborted:        backendReset,
	session.NoUpgrade:      upgradeFailed,
	session.HeadSize:       requestHeadTooLarge,
}

// errorOfDial returns the failure of a connection that was not established.
func errorOfDial(err error) *Error {
	if e := syscall.Errno(0); errors.As(err, &e) {
		return cmp.Or(errorOfErrno[e], ConnectRefused)
	}
	if f := errorOfCause(dialCauses, err); f != nil {
		return f
	}
	if failed := (*tlsconn.HandshakeError)(nil); errors.As(err, &failed) {
		return errorOfHandshake(failed.Reason)
	}
	return ConnectRefused
}

// errorOfHandshake tells apart why a connection could not be secured, as RFC 9209 §2.3 does.
func errorOfHandshake(err error) *Error {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, tlsconn.ErrTimeout), errors.Is(err, tlsconn.ErrLate):
		return connectTimeout
	case errors.As(err, &certificate):
		return certificateRefused
	case isAlert(err):
		return tlsAlert
	}
	return tlsFailed
}

// isAlert reports whether err is an alert of the peer.
func isAlert(err error) bool {
	_, ok := tlsconn.Alert(err)
	return ok
}

// errorOfErrno has what connect(2) says that is no refusal.
var errorOfErrno = map[syscall.Errno]*Error{
	syscall.ETIMEDOUT:     connectTimeout,
	syscall.ENOENT:        noSocket,
	syscall.EACCES:        connectForbidden,
	syscall.EPERM:         connectForbidden,
	syscall.ENETUNREACH:   netUnreachable,
	syscall.ENETDOWN:      netUnreachable,
	syscall.EHOSTUNREACH:  unreachable,
	syscall.EHOSTDOWN:     unreachable,
	syscall.EADDRNOTAVAIL: noPorts,
	syscall.ENOBUFS:       Overload,
	syscall.ENOMEM:        Overload,
}

// knownCause is an error of a package below, and the failure that it is here.
type knownCause struct {
	err     error
	failure *Error
}

// errorOfCause returns the failure of the first of causes that errors.Is finds in err; nil: none of them.
func errorOfCause(causes []knownCause, err error) *Error {
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.failure
		}
	}
	return nil
}

var dialCauses = []knownCause{
	{forward.ErrMaxPending, maxPending}, {forward.ErrMaxRequests, maxRequests},
	{forward.ErrConcurrency, concurrencyLimit}, {forward.ErrNoBackend, NoBackend}, {upstream.ErrNoAddress, NoBackend},
	{upstream.ErrQueueFull, backendLimit}, {upstream.ErrQueueTimeout, backendLimit},
	{engine.ErrNoDescriptors, noDescriptors}, {engine.ErrConnectTimeout, connectTimeout},
	{upstream.ErrNotSecured, tlsMisconfigured}, {session.ErrNotH2, tlsFailed},
}

var answerCauses = []knownCause{
	{session.ErrSpeaksTLS, speaksTLS}, {session.ErrSpeaksH1, speaksHTTP1}, {session.ErrSpeaksH2, speaksHTTP2},
	{h1.ErrHeadTooLarge, answerHeadSize}, {h1.ErrFieldTooLarge, answerHeadSize},
	{h1.ErrTooManyFields, answerHeadSize}, {h2.ErrHeadTooLarge, answerHeadSize}, {h2.ErrTooManyFields, answerHeadSize},
}
