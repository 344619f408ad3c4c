package proxy

import (
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"syscall"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/proxy/grpc"
	"github.com/edge-proxy/edge/proxy/recent"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/tlsconn"
	"github.com/edge-proxy/edge/upstream"
)

// Fault is a failure of an exchange with its answer. A Destination may have its own: Open returns one, and the streams
// that it makes give one as the cause of OnReset.
// Immutable; compared by address.
type Fault struct {
	Status int    // of the answer, 400 or more
	Token  string // error type of Proxy-Status: RFC 9209 §2.3
	Reason string // for the access log: the side that ended the exchange and the phase, as in "backend:connect"
	Text   string // one sentence: what the client can change, for 4xx; those of 5xx only gRPC clients and filters see
	Silent bool   // there is no answer: the client's stream is reset

	wait  bool // Retry-After: 1
	apart bool // from 1 to 3 at random, so that clients that were refused together do not come back together
	allow bool // Allow
	call  int  // status of gRPC; 0: what callStatus says
	last  bool // no further request of the connection is read, where it carries one after another

	trouble backend.TroubleKind // of the backend that it says something about
	try     string              // what to look at first, for the log
	number  uint32              // of its recent.Reason; 0: nobody has asked
}

// Error returns the text of the answer.
func (f *Fault) Error() string { return f.Text }

// reason returns the number of the recent.Reason that f is. Safe for any goroutine.
func (f *Fault) reason() uint8 {
	n := atomic.LoadUint32(&f.number)
	if n == 0 {
		n = uint32(recent.NumberOf(recent.Reason{Word: f.Reason, Text: f.Text, Try: f.try}))
		atomic.StoreUint32(&f.number, n)
	}
	return uint8(n)
}

// after returns the Retry-After of the answer, in seconds.
func (f *Fault) after() string {
	if f.apart {
		return []string{"1", "2", "3"}[rand.IntN(3)]
	}
	return "1"
}

var (
	faultNoRoute = &Fault{
		Status: 404, Token: "destination_not_found", Reason: "edge:route",
		Text: "There is nothing at this address.",
	}
	faultMethod = &Fault{
		Status: 405, Token: "http_request_denied", Reason: "edge:method",
		Text: "No route takes this method.", allow: true,
	}
	faultTargetTooLong = &Fault{
		Status: 414, Token: "http_request_error", Reason: "edge:rewrite",
		Text: "The request target is too long to be rewritten.",
	}
	faultMisdirected = &Fault{
		Status: 421, Token: "http_request_error", Reason: "edge:scheme",
		Text: "This connection is not secured, and https was asked for.",
	}
	faultPlain = &Fault{
		Status: 421, Token: "http_request_error", Reason: "edge:plain", call: grpc.Unauthenticated,
		Text: "This connection is not secured, and has to be: use https.",
	}
	faultClientCert = &Fault{
		Status: 421, Token: "http_request_error", Reason: "edge:client_cert", call: grpc.Unauthenticated,
		Text: "This connection was made without a client certificate that is trusted.",
	}
	faultSNI = &Fault{
		Status: 421, Token: "http_request_error", Reason: "edge:sni",
		Text: "This connection was secured for another host.",
	}
	faultLoop = &Fault{
		Status: 508, Token: "proxy_loop_detected", Reason: "edge:loop",
		Text: "The request goes in circles.",
	}
	faultMaxForwards = &Fault{
		Status: 400, Token: "http_request_error", Reason: "client:max_forwards",
		Text: "Max-Forwards is not a number.",
	}
	faultTooLarge = &Fault{
		Status: 413, Token: "http_request_error", Reason: "edge:request_body",
		Text: "The request body is too large.",
	}
	faultHeadSize = &Fault{
		Status: 431, Token: "http_request_error", Reason: "backend:head_size",
		Text: "The head of the request is too large.",
	}
	faultAnswerSize = &Fault{
		Status: 502, Token: "http_response_header_section_size", Reason: "client:head_size", call: grpc.Exhausted,
		Text: "The head of the answer is larger than the client takes.",
	}
	// FaultInternal says that code of the proxy's own panicked.
	FaultInternal = &Fault{
		Status: 500, Token: "proxy_internal_error", Reason: "edge:internal",
		Text: "The proxy failed.",
	}
	faultBodyMismatch = &Fault{
		Status: 500, Token: "proxy_internal_error", Reason: "edge:body_length",
		Text: "A filter changed the body, not its length.",
	}
	faultFilter = &Fault{
		Status: 500, Token: "proxy_internal_error", Reason: "edge:filter",
		Text: "A filter ended the answer.",
	}
	// FaultOverload refuses a request for which there is no room at the moment.
	FaultOverload = &Fault{
		Status: 503, Token: "proxy_internal_response", Reason: "edge:shed",
		Text: "The proxy is overloaded.", wait: true,
	}
	faultNoBackend = &Fault{
		Status: 503, Token: "destination_unavailable", Reason: "edge:no_backend",
		Text: "No backend is available.", wait: true,
	}
	faultDial = &Fault{
		Status: 502, Token: "connection_refused", Reason: "backend:connect",
		Text:    "The backend refused the connection.",
		trouble: backend.Connecting,
		try:     "does it run, and listen there? In a container, localhost is the container itself",
	}
	faultNoSocket = &Fault{
		Status: 502, Token: "destination_unavailable", Reason: "backend:no_socket",
		Text:    "The socket of the backend does not exist.",
		trouble: backend.Connecting,
		try:     "is the path right, and does the process run that makes the file?",
	}
	faultPermission = &Fault{
		Status: 502, Token: "proxy_configuration_error", Reason: "edge:permission",
		Text:    "The proxy may not connect to the backend.",
		trouble: backend.Connecting,
		try: "for a socket: the user of edge needs the right to write to the file, and to enter its folders; " +
			"else a firewall of this machine forbids it",
	}
	faultNetUnreachable = &Fault{
		Status: 502, Token: "destination_ip_unroutable", Reason: "backend:no_route",
		Text:    "There is no route to the backend.",
		trouble: backend.Connecting,
		try:     "has this machine an address and a route for that network (ip route get ADDRESS)?",
	}
	faultUnreachable = &Fault{
		Status: 502, Token: "destination_ip_unroutable", Reason: "backend:unreachable",
		Text:    "The backend cannot be reached.",
		trouble: backend.Connecting,
		try:     "is the machine up? A router or firewall may refuse the way to it",
	}
	faultPorts = &Fault{
		Status: 503, Token: "connection_limit_reached", Reason: "edge:ports",
		Text: "The proxy has no local port left.", wait: true,
		try: "more of net.ipv4.ip_local_port_range, or more idle connections (pool.idle)",
	}
	faultDescriptors = &Fault{
		Status: 503, Token: "connection_limit_reached", Reason: "edge:descriptors",
		Text: "The proxy has no descriptor left.", wait: true,
		try: "a larger limit: LimitNOFILE of the service, or ulimit -n",
	}
	faultLimit = &Fault{
		Status: 503, Token: "connection_limit_reached", Reason: "edge:backend_limit",
		Text: "The backend has as many connections as it may.", wait: true,
	}
	faultRequests = &Fault{
		Status: 503, Token: "connection_limit_reached", Reason: "edge:max_requests",
		Text: "The backends have as many requests as they may.", wait: true, apart: true,
	}
	faultConcurrency = &Fault{
		Status: 503, Token: "connection_limit_reached", Reason: "edge:concurrency",
		Text: "The backends take no more requests at present.", wait: true, apart: true,
	}
	faultPending = &Fault{
		Status: 503, Token: "connection_limit_reached", Reason: "edge:max_pending",
		Text: "Too many requests wait for a backend.", wait: true, apart: true,
	}
	faultConnectTimeout = &Fault{
		Status: 504, Token: "connection_timeout", Reason: "backend:connect",
		Text:    "The backend did not accept in time.",
		trouble: backend.Connecting,
		try: "is the machine up, and does no firewall drop what is sent to it? timeouts.connect says how long " +
			"it has",
	}
	faultTimeout = &Fault{
		Status: 504, Token: "http_response_timeout", Reason: "backend:first_byte",
		Text:    "The backend did not answer in time.",
		trouble: backend.Answering,
		try:     "it took the request; timeouts.first_byte and timeouts.read say how long it has",
	}
	faultMalformed = &Fault{
		Status: 502, Token: "http_protocol_error", Reason: "backend:malformed",
		Text:    "The backend's answer is malformed.",
		trouble: backend.Answering,
		try:     "does it speak HTTP there?",
	}
	faultSpeaksTLS = &Fault{
		Status: 502, Token: "http_protocol_error", Reason: "backend:speaks_tls",
		Text:    "The backend answered with TLS.",
		trouble: backend.Answering,
		try:     "write https:// before its address",
	}
	faultSpeaksH1 = &Fault{
		Status: 502, Token: "http_protocol_error", Reason: "backend:speaks_http1",
		Text:    "The backend was asked by HTTP/2 and answered by HTTP/1.",
		trouble: backend.Answering,
		try:     "it speaks HTTP/1 there: no grpc = true, h2c:// or protocol = \"h2\"",
	}
	faultSpeaksH2 = &Fault{
		Status: 502, Token: "http_protocol_error", Reason: "backend:speaks_http2",
		Text:    "The backend was asked by HTTP/1 and answered by HTTP/2.",
		trouble: backend.Answering,
		try:     "it speaks HTTP/2 there: grpc = true for gRPC, or h2c:// before its address",
	}
	faultTruncated = &Fault{
		Status: 502, Token: "http_response_incomplete", Reason: "backend:truncated",
		Text:    "The backend's answer is incomplete.",
		trouble: backend.Answering,
		try:     "it closed the connection inside the answer; its own log says why",
	}
	faultLost = &Fault{
		Status: 502, Token: "connection_terminated", Reason: "backend:lost",
		Text:    "The backend closed the connection.",
		trouble: backend.Answering,
		try:     "it closed without an answer; if the port is for TLS, write https:// before its address",
	}
	faultRefused = &Fault{
		Status: 503, Token: "destination_unavailable", Reason: "backend:refused",
		Text: "The backend refuses the request.", wait: true,
	}
	faultCertificate = &Fault{
		Status: 502, Token: "tls_certificate_error", Reason: "backend:certificate",
		Text:    "The backend's certificate is not accepted.",
		trouble: backend.Connecting,
		try:     "this machine does not know its authority (tls.ca names another), or it is for another name (tls.sni)",
	}
	faultAlert = &Fault{
		Status: 502, Token: "tls_alert_received", Reason: "backend:tls_alert",
		Text:    "The backend refused the secured connection.",
		trouble: backend.Connecting,
		try:     "does it want a client certificate (tls.cert), or another name (tls.sni)?",
	}
	faultTLS = &Fault{
		Status: 502, Token: "tls_protocol_error", Reason: "backend:tls",
		Text:    "The connection to the backend could not be secured.",
		trouble: backend.Connecting,
		try:     "does it speak TLS there, in a version that both know? http:// is without",
	}
	faultUnsecurable = &Fault{
		Status: 500, Token: "proxy_configuration_error", Reason: "edge:tls",
		Text: "The proxy cannot secure connections to the backend.",
	}
	faultCancelled = &Fault{
		Status: 502, Token: "connection_terminated", Reason: "backend:cancelled", call: grpc.Cancelled,
		Text: "The backend cancelled the exchange.",
	}
	faultReset = &Fault{
		Status: 502, Token: "connection_terminated", Reason: "backend:reset", call: grpc.Internal,
		Text: "The backend gave the exchange up.",
	}
	faultTarget = &Fault{
		Status: 400, Token: "http_request_error", Reason: "client:target",
		Text: "The request target is malformed.",
	}
	faultPath = &Fault{
		Status: 400, Token: "http_request_error", Reason: "client:path",
		Text: "The path can be read in two ways.", last: true,
	}
	faultHost = &Fault{
		Status: 400, Token: "http_request_error", Reason: "client:host",
		Text: "What the connection says of the client is no host.",
	}
	faultUnderscore = &Fault{
		Status: 400, Token: "http_request_error", Reason: "client:underscore",
		Text: "The name of a field has an underscore.",
	}
	faultParameters = &Fault{
		Status: 400, Token: "http_request_error", Reason: "client:path_parameters",
		Text: "The path has parameters.", last: true,
	}
	faultTotal = &Fault{
		Status: 504, Token: "http_response_timeout", Reason: "edge:total",
		Text: "The request took too long.",
	}
	faultDeadline = &Fault{
		Status: 504, Token: "http_response_timeout", Reason: "client:deadline",
		Text: "The deadline of the call has passed.",
	}
	faultBase64 = &Fault{
		Status: 400, Token: "http_request_error", Reason: "client:base64",
		Text: "The body is not base64.",
	}
	faultNoTunnel = &Fault{
		Status: 501, Token: "http_request_denied", Reason: "edge:upgrade",
		Text: "This protocol is not passed on.",
	}
	faultUnswitched = &Fault{
		Status: 502, Token: "http_upgrade_failed", Reason: "backend:upgrade",
		Text: "The backend did not change to the protocol.",
	}
	faultSlowBody      = &Fault{Status: 408, Reason: "client:request_body"}
	faultTunnelIdle    = &Fault{Reason: "edge:tunnel_idle"}
	faultDrain         = &Fault{Status: 499, Reason: "edge:drain", Silent: true}
	faultClientGone    = &Fault{Status: 499, Reason: "client:gone"}
	faultMalformedBody = &Fault{Status: 400, Reason: "client:malformed"}
	faultClientSlow    = &Fault{Status: 499, Reason: "client:timeout"}
)

// faultOfDial returns the failure of a connection that was not established.
func faultOfDial(err error) *Fault {
	if e := syscall.Errno(0); errors.As(err, &e) {
		if f := faultOfErrno[e]; f != nil {
			return f
		}
		return faultDial
	}
	switch {
	case errors.Is(err, upstream.ErrNoAddress):
		return faultNoBackend
	case errors.Is(err, upstream.ErrQueueFull), errors.Is(err, upstream.ErrQueueTimeout):
		return faultLimit
	case errors.Is(err, engine.ErrNoDescriptors):
		return faultDescriptors
	case errors.Is(err, engine.ErrConnectTimeout):
		return faultConnectTimeout
	case errors.Is(err, upstream.ErrNotSecured):
		return faultUnsecurable
	case errors.Is(err, session.ErrNotH2):
		return faultTLS
	}
	if failed := (*tlsconn.HandshakeError)(nil); errors.As(err, &failed) {
		return faultOfHandshake(failed.Reason)
	}
	return faultDial
}

// faultOfErrno has what connect(2) says that is no refusal.
var faultOfErrno = map[syscall.Errno]*Fault{
	syscall.ETIMEDOUT:     faultConnectTimeout,
	syscall.ENOENT:        faultNoSocket,
	syscall.EACCES:        faultPermission,
	syscall.EPERM:         faultPermission,
	syscall.ENETUNREACH:   faultNetUnreachable,
	syscall.ENETDOWN:      faultNetUnreachable,
	syscall.EHOSTUNREACH:  faultUnreachable,
	syscall.EHOSTDOWN:     faultUnreachable,
	syscall.EADDRNOTAVAIL: faultPorts,
	syscall.ENOBUFS:       FaultOverload,
	syscall.ENOMEM:        FaultOverload,
}

// faultOfAnswer tells apart what came in place of an answer.
func faultOfAnswer(cause error) *Fault {
	switch cause {
	case session.ErrSpeaksTLS:
		return faultSpeaksTLS
	case session.ErrSpeaksH1:
		return faultSpeaksH1
	case session.ErrSpeaksH2:
		return faultSpeaksH2
	}
	return faultMalformed
}

// faultOfHandshake tells apart why a connection could not be secured, as RFC 9209 §2.3 does.
func faultOfHandshake(err error) *Fault {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, tlsconn.ErrTimeout), errors.Is(err, tlsconn.ErrLate):
		return faultConnectTimeout
	case errors.As(err, &certificate):
		return faultCertificate
	case isAlert(err):
		return faultAlert
	}
	return faultTLS
}

// isAlert reports whether err is an alert of the peer.
func isAlert(err error) bool {
	_, ok := tlsconn.Alert(err)
	return ok
}

func faultOfReset(code session.Code, cause error) *Fault {
	if f, ok := cause.(*Fault); ok {
		return f
	}
	switch code {
	case session.ConnectFailed:
		return faultOfDial(cause)
	case session.ConnectTimeout:
		return faultConnectTimeout
	case session.Timeout:
		return faultTimeout
	case session.Malformed:
		return faultOfAnswer(cause)
	case session.Truncated:
		return faultTruncated
	case session.Refused:
		return faultRefused
	case session.Cancelled:
		return faultCancelled
	case session.Aborted:
		return faultReset
	case session.NoUpgrade:
		return faultUnswitched
	case session.HeadSize:
		return faultHeadSize
	}
	if isAlert(cause) { // with TLS 1.3 a server looks at our certificate when the handshake is done for us
		return faultAlert
	}
	return faultLost
}
