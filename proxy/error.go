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
	"github.com/edge-proxy/edge/proxy/forward"
	"github.com/edge-proxy/edge/proxy/grpc"
	"github.com/edge-proxy/edge/proxy/recent"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/tlsconn"
	"github.com/edge-proxy/edge/upstream"
)

// Error is a failure of an exchange, with its answer. From and Kind name it in one word each. Reason is what the access
// log and edge why have for it, "backend:connect", and Token what Proxy-Status has. Immutable, but for the copy that a
// filter is given: see Filter.Error. The failures of this package are variables of it, which errors.Is finds. A
// Destination may have its own, made by NewError: Open returns one, and the streams that it makes give one as the cause
// of OnReset.
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
	number  *atomic.Uint32      // of its recent.Reason; in it 0: nobody has asked
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
		Trouble: e.trouble, Own: e == NoPorts || e == NoDescriptors, Text: e.Text, Reason: e.Reason(), Try: e.try,
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

// The failures of a proxy: docs/operations.md says what each of them means. errors.Is finds them.
var (
	NoRoute = NewError(Error{
		Kind: "route", From: SideProxy, Status: 404, Token: "destination_not_found",
		Text: "There is nothing at this address.",
	})
	MethodRefused = NewError(Error{
		Kind: "method", From: SideProxy, Status: 405, Token: "http_request_denied",
		Text:  "No route takes this method.",
		allow: true,
	})
	TargetTooLong = NewError(Error{
		Kind: "rewrite", From: SideProxy, Status: 414, Token: "http_request_error",
		Text: "The request target is too long to be rewritten.",
	})
	SchemeMismatch = NewError(Error{
		Kind: "scheme", From: SideProxy, Status: 421, Token: "http_request_error",
		Text: "This connection is not secured, and https was asked for.",
	})
	NotSecured = NewError(Error{
		Kind: "plain", From: SideProxy, Status: 421, Token: "http_request_error",
		Text: "This connection is not secured, and has to be: use https.",
		call: grpc.Unauthenticated,
	})
	NoClientCert = NewError(Error{
		Kind: "client_cert", From: SideProxy, Status: 421, Token: "http_request_error",
		Text: "This connection was made without a client certificate that is trusted.",
		call: grpc.Unauthenticated,
	})
	SNIMismatch = NewError(Error{
		Kind: "sni", From: SideProxy, Status: 421, Token: "http_request_error",
		Text: "This connection was secured for another host.",
	})
	TermsMismatch = NewError(Error{
		Kind: "tls_rules", From: SideProxy, Status: 421, Token: "http_request_error",
		Text: "This connection was secured on other terms than this request needs.",
		call: grpc.Unauthenticated,
	})
	LoopDetected = NewError(Error{
		Kind: "loop", From: SideProxy, Status: 508, Token: "proxy_loop_detected",
		Text: "The request goes in circles.",
	})
	// SubTooDeep and SubTooMany are what a filter that asks by a sub-request gets for an answer.
	SubTooDeep = NewError(Error{
		Kind: "sub_too_deep", From: SideProxy, Status: 508, Token: "proxy_loop_detected",
		Text: "A sub-request is too deep.",
	})
	SubTooMany = NewError(Error{
		Kind: "sub_too_many", From: SideProxy, Status: 500, Token: "proxy_internal_error",
		Text: "There are too many sub-requests.",
	})
	BadMaxForwards = NewError(Error{
		Kind: "max_forwards", From: SideClient, Status: 400, Token: "http_request_error",
		Text: "Max-Forwards is not a number.",
	})
	BodyTooLarge = NewError(Error{
		Kind: "request_body", From: SideProxy, Status: 413, Token: "http_request_error",
		Text: "The request body is too large.",
	})
	RequestHeadTooLarge = NewError(Error{
		Kind: "head_size", From: SideBackend, Status: 431, Token: "http_request_error",
		Text: "The head of the request is too large.",
	})
	AnswerHeadTooLarge = NewError(Error{
		Kind: "head_size", From: SideClient, Status: 502, Token: "http_response_header_section_size",
		Text: "The head of the answer is larger than the client takes.",
		call: grpc.Exhausted,
	})
	// Internal says that code of the proxy's own panicked.
	Internal = NewError(Error{
		Kind: "internal", From: SideProxy, Status: 500, Token: "proxy_internal_error",
		Text: "The proxy failed.",
	})
	BodyLengthMismatch = NewError(Error{
		Kind: "body_length", From: SideProxy, Status: 500, Token: "proxy_internal_error",
		Text: "A filter changed the body, not its length.",
	})
	FilterFailed = NewError(Error{
		Kind: "filter", From: SideProxy, Status: 500, Token: "proxy_internal_error",
		Text: "A filter ended the answer.",
	})
	// Overload refuses a request for which there is no room at the moment.
	Overload = NewError(Error{
		Kind: "shed", From: SideProxy, Status: 503, Token: "proxy_internal_response",
		Text: "The proxy is overloaded.",
		wait: true,
	})
	// ListsBusy refuses the list of a folder: four lists are being made, or memory is short.
	ListsBusy = NewError(Error{
		Kind: "lists", From: SideProxy, Status: 503, Token: "proxy_internal_response",
		Text: "Too many folders are listed at the moment.",
		wait: true, apart: true,
	})
	NoBackend = NewError(Error{
		Kind: "no_backend", From: SideProxy, Status: 503, Token: "destination_unavailable", Retry: RetryAlways,
		Text: "No backend is available.",
		wait: true,
	})
	ConnectRefused = NewError(Error{
		Kind: "connect", From: SideBackend, Status: 502, Token: "connection_refused", Retry: RetryAlways,
		Text:    "The backend refused the connection.",
		trouble: backend.Connecting,
		try:     "does it run, and listen there? In a container, localhost is the container itself",
	})
	NoSocket = NewError(Error{
		Kind: "no_socket", From: SideBackend, Status: 502, Token: "destination_unavailable", Retry: RetryAlways,
		Text:    "The socket of the backend does not exist.",
		trouble: backend.Connecting, try: "is the path right, and does the process run that makes the file?",
	})
	ConnectForbidden = NewError(Error{
		Kind: "permission", From: SideProxy, Status: 502, Token: "proxy_configuration_error", Retry: RetryAlways,
		Text:    "The proxy may not connect to the backend.",
		trouble: backend.Connecting,
		try: "for a socket: the user of edge needs the right to write to the file, and to enter its folders; " +
			"else a firewall of this machine forbids it",
	})
	NetUnreachable = NewError(Error{
		Kind: "no_route", From: SideBackend, Status: 502, Token: "destination_ip_unroutable", Retry: RetryAlways,
		Text:    "There is no route to the backend.",
		trouble: backend.Connecting,
		try:     "has this machine an address and a route for that network (ip route get ADDRESS)?",
	})
	Unreachable = NewError(Error{
		Kind: "unreachable", From: SideBackend, Status: 502, Token: "destination_ip_unroutable", Retry: RetryAlways,
		Text:    "The backend cannot be reached.",
		trouble: backend.Connecting, try: "is the machine up? A router or firewall may refuse the way to it",
	})
	NoPorts = NewError(Error{
		Kind: "ports", From: SideProxy, Status: 503, Token: "connection_limit_reached", Retry: RetryAlways,
		Text: "The proxy has no local port left.",
		wait: true, try: "more of net.ipv4.ip_local_port_range, or more idle connections (pool.idle)",
	})
	NoDescriptors = NewError(Error{
		Kind: "descriptors", From: SideProxy, Status: 503, Token: "connection_limit_reached", Retry: RetryAlways,
		Text: "The proxy has no descriptor left.",
		wait: true, try: "a larger limit: LimitNOFILE of the service, or ulimit -n",
	})
	BackendLimit = NewError(Error{
		Kind: "backend_limit", From: SideProxy, Status: 503, Token: "connection_limit_reached", Retry: RetryAlways,
		Text: "The backend has as many connections as it may.",
		wait: true,
	})
	MaxRequests = NewError(Error{
		Kind: "max_requests", From: SideProxy, Status: 503, Token: "connection_limit_reached", Retry: RetryAlways,
		Text: "The backends have as many requests as they may.",
		wait: true, apart: true,
	})
	ConcurrencyLimit = NewError(Error{
		Kind: "concurrency", From: SideProxy, Status: 503, Token: "connection_limit_reached", Retry: RetryAlways,
		Text: "The backends take no more requests at present.",
		wait: true, apart: true,
	})
	MaxPending = NewError(Error{
		Kind: "max_pending", From: SideProxy, Status: 503, Token: "connection_limit_reached", Retry: RetryAlways,
		Text: "Too many requests wait for a backend.",
		wait: true, apart: true,
	})
	ConnectTimeout = NewError(Error{
		Kind: "connect_timeout", From: SideBackend, Status: 504, Token: "connection_timeout", Retry: RetryAlways,
		Text:    "The backend did not accept in time.",
		phase:   "connect",
		trouble: backend.Connecting,
		try: "is the machine up, and does no firewall drop what is sent to it? timeouts.connect says how long " +
			"it has",
	})
	AnswerTimeout = NewError(Error{
		Kind: "first_byte", From: SideBackend, Status: 504, Token: "http_response_timeout", Retry: RetryIdempotent,
		Text:    "The backend did not answer in time.",
		trouble: backend.Answering,
		try:     "it took the request; timeouts.first_byte and timeouts.read say how long it has",
	})
	MalformedAnswer = NewError(Error{
		Kind: "malformed", From: SideBackend, Status: 502, Token: "http_protocol_error",
		Text:    "The backend's answer is malformed.",
		trouble: backend.Answering, try: "does it speak HTTP there?",
	})
	AnswerHeadSize = NewError(Error{
		Kind: "answer_head", From: SideBackend, Status: 502, Token: "http_response_header_section_size",
		Text:    "The head of the backend's answer is too large.",
		trouble: backend.Answering, try: "limits.header_size, header_count and field_size of the upstream bound it",
	})
	SpeaksTLS = NewError(Error{
		Kind: "speaks_tls", From: SideBackend, Status: 502, Token: "http_protocol_error",
		Text:    "The backend answered with TLS.",
		trouble: backend.Answering, try: "write https:// before its address",
	})
	SpeaksHTTP1 = NewError(Error{
		Kind: "speaks_http1", From: SideBackend, Status: 502, Token: "http_protocol_error",
		Text:    "The backend was asked by HTTP/2 and answered by HTTP/1.",
		trouble: backend.Answering, try: "it speaks HTTP/1 there: no grpc = true, h2c:// or protocol = \"h2\"",
	})
	SpeaksHTTP2 = NewError(Error{
		Kind: "speaks_http2", From: SideBackend, Status: 502, Token: "http_protocol_error",
		Text:    "The backend was asked by HTTP/1 and answered by HTTP/2.",
		trouble: backend.Answering,
		try:     "it speaks HTTP/2 there: grpc = true for gRPC, or h2c:// before its address",
	})
	TruncatedAnswer = NewError(Error{
		Kind: "truncated", From: SideBackend, Status: 502, Token: "http_response_incomplete", Retry: RetryIdempotent,
		Text:    "The backend's answer is incomplete.",
		trouble: backend.Answering, try: "it closed the connection inside the answer; its own log says why",
	})
	ConnectionLost = NewError(Error{
		Kind: "lost", From: SideBackend, Status: 502, Token: "connection_terminated", Retry: RetryIdempotent,
		Text:    "The backend closed the connection.",
		trouble: backend.Answering,
		try:     "it closed without an answer; if the port is for TLS, write https:// before its address",
	})
	StreamRefused = NewError(Error{
		Kind: "refused", From: SideBackend, Status: 503, Token: "destination_unavailable", Retry: RetryAlways,
		Text: "The backend refuses the request.",
		wait: true,
	})
	CertificateRefused = NewError(Error{
		Kind: "certificate", From: SideBackend, Status: 502, Token: "tls_certificate_error", Retry: RetryAlways,
		Text:    "The backend's certificate is not accepted.",
		trouble: backend.Connecting,
		try:     "this machine does not know its authority (tls.ca names another), or it is for another name (tls.sni)",
	})
	TLSAlert = NewError(Error{
		Kind: "tls_alert", From: SideBackend, Status: 502, Token: "tls_alert_received", Retry: RetryAlways,
		Text:    "The backend refused the secured connection.",
		trouble: backend.Connecting, try: "does it want a client certificate (tls.cert), or another name (tls.sni)?",
	})
	TLSFailed = NewError(Error{
		Kind: "tls", From: SideBackend, Status: 502, Token: "tls_protocol_error", Retry: RetryAlways,
		Text:    "The connection to the backend could not be secured.",
		trouble: backend.Connecting, try: "does it speak TLS there, in a version that both know? http:// is without",
	})
	TLSMisconfigured = NewError(Error{
		Kind: "tls", From: SideProxy, Status: 500, Token: "proxy_configuration_error", Retry: RetryAlways,
		Text: "The proxy cannot secure connections to the backend.",
	})
	BackendCancelled = NewError(Error{
		Kind: "cancelled", From: SideBackend, Status: 502, Token: "connection_terminated",
		Text: "The backend cancelled the exchange.",
		call: grpc.Cancelled,
	})
	BackendReset = NewError(Error{
		Kind: "reset", From: SideBackend, Status: 502, Token: "connection_terminated", Retry: RetryIdempotent,
		Text: "The backend gave the exchange up.",
		call: grpc.Internal,
	})
	BadTarget = NewError(Error{
		Kind: "target", From: SideClient, Status: 400, Token: "http_request_error",
		Text: "The request target is malformed.",
	})
	AmbiguousPath = NewError(Error{
		Kind: "path", From: SideClient, Status: 400, Token: "http_request_error",
		Text: "The path can be read in two ways.",
		last: true,
	})
	ConditionCut = NewError(Error{
		Kind: "cut", From: SideClient, Status: 400, Token: "http_request_error",
		Text: "The request is too long for the conditions that it has to meet.",
	})
	JSONUnreadable = NewError(Error{
		Kind: "json", From: SideClient, Status: 400, Token: "http_request_error",
		Text: "A JSON text of the request is not one that all of its readers understand in the same way.",
	})
	BadHost = NewError(Error{
		Kind: "host", From: SideClient, Status: 400, Token: "http_request_error",
		Text: "What the connection says of the client is no host.",
	})
	UnderscoreRefused = NewError(Error{
		Kind: "underscore", From: SideClient, Status: 400, Token: "http_request_error",
		Text: "The name of a field has an underscore.",
	})
	ParametersRefused = NewError(Error{
		Kind: "path_parameters", From: SideClient, Status: 400, Token: "http_request_error",
		Text: "The path has parameters.",
		last: true,
	})
	TotalTimeout = NewError(Error{
		Kind: "total", From: SideProxy, Status: 504, Token: "http_response_timeout",
		Text: "The request took too long.",
	})
	DeadlinePassed = NewError(Error{
		Kind: "deadline", From: SideClient, Status: 504, Token: "http_response_timeout",
		Text: "The deadline of the call has passed.",
	})
	BadBase64 = NewError(Error{
		Kind: "base64", From: SideClient, Status: 400, Token: "http_request_error",
		Text: "The body is not base64.",
	})
	UpgradeRefused = NewError(Error{
		Kind: "upgrade", From: SideProxy, Status: 501, Token: "http_request_denied",
		Text: "This protocol is not passed on.",
	})
	UpgradeFailed = NewError(Error{
		Kind: "upgrade", From: SideBackend, Status: 502, Token: "http_upgrade_failed",
		Text: "The backend did not change to the protocol.",
	})
	SlowBody = NewError(Error{
		Kind: "request_body", From: SideClient, Status: 408,
	})
	TunnelIdle = NewError(Error{
		Kind: "tunnel_idle", From: SideProxy,
	})
	Drained = NewError(Error{
		Kind: "drain", From: SideProxy, Status: 499,
		Silent: true,
	})
	ClientGone = NewError(Error{
		Kind: "gone", From: SideClient, Status: 499,
	})
	MalformedBody = NewError(Error{
		Kind: "malformed", From: SideClient, Status: 400,
	})
	ClientSlow = NewError(Error{
		Kind: "timeout", From: SideClient, Status: 499,
	})
)

// ConnectError returns the failure that a connection to a backend is which was not established.
func ConnectError(cause error) *Error { return errorOfReset(session.ConnectFailed, cause) }

// errorOfDial returns the failure of a connection that was not established.
func errorOfDial(err error) *Error {
	if e := syscall.Errno(0); errors.As(err, &e) {
		if f := errorOfErrno[e]; f != nil {
			return f
		}
		return ConnectRefused
	}
	switch {
	case err == forward.ErrMaxPending:
		return MaxPending
	case err == forward.ErrMaxRequests:
		return MaxRequests
	case err == forward.ErrConcurrency:
		return ConcurrencyLimit
	case err == forward.ErrNoBackend, errors.Is(err, upstream.ErrNoAddress):
		return NoBackend
	case errors.Is(err, upstream.ErrQueueFull), errors.Is(err, upstream.ErrQueueTimeout):
		return BackendLimit
	case errors.Is(err, engine.ErrNoDescriptors):
		return NoDescriptors
	case errors.Is(err, engine.ErrConnectTimeout):
		return ConnectTimeout
	case errors.Is(err, upstream.ErrNotSecured):
		return TLSMisconfigured
	case errors.Is(err, session.ErrNotH2):
		return TLSFailed
	}
	if failed := (*tlsconn.HandshakeError)(nil); errors.As(err, &failed) {
		return errorOfHandshake(failed.Reason)
	}
	return ConnectRefused
}

// errorOfErrno has what connect(2) says that is no refusal.
var errorOfErrno = map[syscall.Errno]*Error{
	syscall.ETIMEDOUT:     ConnectTimeout,
	syscall.ENOENT:        NoSocket,
	syscall.EACCES:        ConnectForbidden,
	syscall.EPERM:         ConnectForbidden,
	syscall.ENETUNREACH:   NetUnreachable,
	syscall.ENETDOWN:      NetUnreachable,
	syscall.EHOSTUNREACH:  Unreachable,
	syscall.EHOSTDOWN:     Unreachable,
	syscall.EADDRNOTAVAIL: NoPorts,
	syscall.ENOBUFS:       Overload,
	syscall.ENOMEM:        Overload,
}

// errorOfAnswer tells apart what came in place of an answer.
func errorOfAnswer(cause error) *Error {
	switch cause {
	case session.ErrSpeaksTLS:
		return SpeaksTLS
	case session.ErrSpeaksH1:
		return SpeaksHTTP1
	case session.ErrSpeaksH2:
		return SpeaksHTTP2
	}
	for _, size := range headSizes {
		if errors.Is(cause, size) {
			return AnswerHeadSize
		}
	}
	return MalformedAnswer
}

// headSizes are the causes of AnswerHeadSize.
var headSizes = []error{
	h1.ErrHeadTooLarge, h1.ErrFieldTooLarge, h1.ErrTooManyFields, h2.ErrHeadTooLarge, h2.ErrTooManyFields,
}

// errorOfHandshake tells apart why a connection could not be secured, as RFC 9209 §2.3 does.
func errorOfHandshake(err error) *Error {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, tlsconn.ErrTimeout), errors.Is(err, tlsconn.ErrLate):
		return ConnectTimeout
	case errors.As(err, &certificate):
		return CertificateRefused
	case isAlert(err):
		return TLSAlert
	}
	return TLSFailed
}

// isAlert reports whether err is an alert of the peer.
func isAlert(err error) bool {
	_, ok := tlsconn.Alert(err)
	return ok
}

func errorOfReset(code session.Code, cause error) *Error {
	if f, ok := cause.(*Error); ok {
		return f
	}
	switch code {
	case session.ConnectFailed:
		return errorOfDial(cause)
	case session.ConnectTimeout:
		return ConnectTimeout
	case session.Timeout:
		return AnswerTimeout
	case session.Malformed:
		return errorOfAnswer(cause)
	case session.Truncated:
		return TruncatedAnswer
	case session.Refused:
		return StreamRefused
	case session.Cancelled:
		return BackendCancelled
	case session.Aborted:
		return BackendReset
	case session.NoUpgrade:
		return UpgradeFailed
	case session.HeadSize:
		return RequestHeadTooLarge
	}
	if isAlert(cause) { // with TLS 1.3 a server looks at our certificate when the handshake is done for us
		return TLSAlert
	}
	return ConnectionLost
}
