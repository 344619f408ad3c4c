package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"syscall"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/tlsconn"
	"github.com/edge-proxy/edge/upstream"
)

// fault is a failure with its answer: the status, the error type of RFC 9209 §2.3, what the log says, and the text.
// Immutable; compared by address.
type fault struct {
	status int
	token  string // Proxy-Status error
	reason string // log: who ended it and in which phase
	text   string
	wait   bool // Retry-After: 1
	allow  bool // Allow
	call   int  // status of gRPC; 0: what callStatus says
	last   bool // no further request of the connection is read, where it carries one after another
}

var (
	faultNoRoute = &fault{
		status: 404, token: "destination_not_found", reason: "edge:route",
		text: "No route takes this request.",
	}
	faultMethod = &fault{
		status: 405, token: "http_request_denied", reason: "edge:method",
		text: "No route takes this method.", allow: true,
	}
	faultTargetTooLong = &fault{
		status: 414, token: "http_request_error", reason: "edge:rewrite",
		text: "The request target is too long to be rewritten.",
	}
	faultMisdirected = &fault{
		status: 421, token: "http_request_error", reason: "edge:scheme",
		text: "This connection is not secured, and https was asked for.",
	}
	faultPlain = &fault{
		status: 421, token: "http_request_error", reason: "edge:plain", call: grpcUnauthenticated,
		text: "This connection is not secured, and has to be: use https.",
	}
	faultClientCert = &fault{
		status: 421, token: "http_request_error", reason: "edge:client_cert", call: grpcUnauthenticated,
		text: "This connection was made without a client certificate that is trusted.",
	}
	faultSNI = &fault{
		status: 421, token: "http_request_error", reason: "edge:sni",
		text: "This connection was secured for another host.",
	}
	faultLoop = &fault{
		status: 508, token: "proxy_loop_detected", reason: "edge:loop",
		text: "The request goes in circles.",
	}
	faultMaxForwards = &fault{
		status: 400, token: "http_request_error", reason: "client:max_forwards",
		text: "Max-Forwards is not a number.",
	}
	faultTooLarge = &fault{
		status: 413, token: "http_request_error", reason: "edge:request_body",
		text: "The request body is too large.",
	}
	faultHeadSize = &fault{
		status: 431, token: "http_request_error", reason: "backend:head_size",
		text: "The request head is larger than the backend takes.",
	}
	faultAnswerSize = &fault{
		status: 502, token: "http_response_header_section_size", reason: "client:head_size", call: grpcExhausted,
		text: "The head of the answer is larger than the client takes.",
	}
	faultInternal = &fault{
		status: 500, token: "proxy_internal_error", reason: "edge:internal",
		text: "The proxy failed.",
	}
	faultBodyMismatch = &fault{
		status: 500, token: "proxy_internal_error", reason: "edge:body_length",
		text: "A filter changed the body, not its length.",
	}
	faultFilter = &fault{
		status: 500, token: "proxy_internal_error", reason: "edge:filter",
		text: "A filter ended the answer.",
	}
	faultOverload = &fault{
		status: 503, token: "proxy_internal_response", reason: "edge:shed",
		text: "The proxy is overloaded.", wait: true,
	}
	faultNoBackend = &fault{
		status: 503, token: "destination_unavailable", reason: "edge:no_backend",
		text: "No backend is available.", wait: true,
	}
	faultDial = &fault{
		status: 502, token: "connection_refused", reason: "backend:connect",
		text: "The backend refused the connection.",
	}
	faultDescriptors = &fault{
		status: 503, token: "connection_limit_reached", reason: "edge:descriptors",
		text: "The proxy has no descriptor left.", wait: true,
	}
	faultLimit = &fault{
		status: 503, token: "connection_limit_reached", reason: "edge:backend_limit",
		text: "The backend has as many connections as it may.", wait: true,
	}
	faultConnectTimeout = &fault{
		status: 504, token: "connection_timeout", reason: "backend:connect",
		text: "The backend did not accept in time.",
	}
	faultTimeout = &fault{
		status: 504, token: "http_response_timeout", reason: "backend:first_byte",
		text: "The backend did not answer in time.",
	}
	faultMalformed = &fault{
		status: 502, token: "http_protocol_error", reason: "backend:malformed",
		text: "The backend's answer is malformed.",
	}
	faultTruncated = &fault{
		status: 502, token: "http_response_incomplete", reason: "backend:truncated",
		text: "The backend's answer is incomplete.",
	}
	faultLost = &fault{
		status: 502, token: "connection_terminated", reason: "backend:lost",
		text: "The backend closed the connection.",
	}
	faultRefused = &fault{
		status: 503, token: "destination_unavailable", reason: "backend:refused",
		text: "The backend refuses the request.", wait: true,
	}
	faultCertificate = &fault{
		status: 502, token: "tls_certificate_error", reason: "backend:certificate",
		text: "The backend's certificate is not accepted.",
	}
	faultAlert = &fault{
		status: 502, token: "tls_alert_received", reason: "backend:tls_alert",
		text: "The backend refused the secured connection.",
	}
	faultTLS = &fault{
		status: 502, token: "tls_protocol_error", reason: "backend:tls",
		text: "The connection to the backend could not be secured.",
	}
	faultUnsecurable = &fault{
		status: 500, token: "proxy_configuration_error", reason: "edge:tls",
		text: "The proxy cannot secure connections to the backend.",
	}
	faultCancelled = &fault{
		status: 502, token: "connection_terminated", reason: "backend:cancelled", call: grpcCancelled,
		text: "The backend cancelled the exchange.",
	}
	faultReset = &fault{
		status: 502, token: "connection_terminated", reason: "backend:reset", call: grpcInternal,
		text: "The backend gave the exchange up.",
	}
	faultTarget = &fault{
		status: 400, token: "http_request_error", reason: "client:target",
		text: "The request target is malformed.",
	}
	faultPath = &fault{
		status: 400, token: "http_request_error", reason: "client:path",
		text: "The path can be read in two ways.", last: true,
	}
	faultHost = &fault{
		status: 400, token: "http_request_error", reason: "client:host",
		text: "What the connection says of the client is no host.",
	}
	faultUnderscore = &fault{
		status: 400, token: "http_request_error", reason: "client:underscore",
		text: "The name of a field has an underscore.",
	}
	faultParameters = &fault{
		status: 400, token: "http_request_error", reason: "client:path_parameters",
		text: "The path has parameters.", last: true,
	}
	faultAborted = &fault{
		status: 502, token: "http_response_incomplete", reason: "handler:aborted",
		text: "The handler gave up.",
	}
	faultTotal = &fault{
		status: 504, token: "http_response_timeout", reason: "edge:total",
		text: "The request took too long.",
	}
	faultDeadline = &fault{
		status: 504, token: "http_response_timeout", reason: "client:deadline",
		text: "The deadline of the call has passed.",
	}
	faultBase64 = &fault{
		status: 400, token: "http_request_error", reason: "client:base64",
		text: "The body is not base64.",
	}
	faultNoTunnel = &fault{
		status: 501, token: "http_request_denied", reason: "edge:upgrade",
		text: "This protocol is not passed on.",
	}
	faultUnswitched = &fault{
		status: 502, token: "http_upgrade_failed", reason: "backend:upgrade",
		text: "The backend did not change to the protocol.",
	}
	faultSlowBody      = &fault{status: 408, reason: "client:request_body"}
	faultTunnelIdle    = &fault{reason: "edge:tunnel_idle"}
	faultDrain         = &fault{status: 499, reason: "edge:drain"}
	faultClientGone    = &fault{status: 499, reason: "client:gone"}
	faultMalformedBody = &fault{status: 400, reason: "client:malformed"}
	faultClientSlow    = &fault{status: 499, reason: "client:timeout"}
)

func faultOfDial(err error) *fault {
	switch {
	case errors.Is(err, upstream.ErrNoAddress):
		return faultNoBackend
	case errors.Is(err, upstream.ErrQueueFull), errors.Is(err, upstream.ErrQueueTimeout):
		return faultLimit
	case errors.Is(err, engine.ErrNoDescriptors):
		return faultDescriptors
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, engine.ErrConnectTimeout):
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

// faultOfHandshake tells apart why a connection could not be secured, as RFC 9209 §2.3 does.
func faultOfHandshake(err error) *fault {
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

// isAlert reports whether err is an alert of the peer. crypto/tls has no type for it.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

func faultOfReset(code session.Code, cause error) *fault {
	switch code {
	case session.ConnectFailed:
		return faultOfDial(cause)
	case session.ConnectTimeout:
		return faultConnectTimeout
	case session.Timeout:
		return faultTimeout
	case session.Malformed:
		return faultMalformed
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

// fail ends an exchange that cannot go on: by an answer of the proxy's own or, when the answer has begun, by its end.
func (x *Exchange) fail(f *fault) {
	if x.answering || f == faultAborted || f == faultDrain {
		x.cut(f)
		return
	}
	switch f {
	case faultOverload, faultDescriptors:
		x.local.stats.Shed++
	case faultTooLarge:
		x.local.stats.TooLarge++
	case faultLoop:
		x.local.stats.Loops++
	}
	x.fault = f
	for _, run := range x.filters().onError {
		run(x, f.status)
	}
	x.ownAnswer(f.status, f.text)
}

// respond answers in place of the backend: the verdict of a filter, or a destination that is an answer.
func (x *Exchange) respond(status int, body string) {
	switch {
	case x.answering:
		x.cut(faultFilter)
	case status < 200 || status > 999:
		x.fail(faultFilter)
	default:
		x.ownAnswer(status, body)
	}
}

// ownAnswer makes the answer, with further fields (names and values in turn), and sends it through the response
// filters, unless one of them asked for it.
func (x *Exchange) ownAnswer(status int, text string, fields ...string) {
	x.dropUp()
	x.local.stats.Own++
	x.parked = false
	x.discardBody()
	again := x.step >= stepResponse
	h := &x.Response
	h.Reset()
	h.Status = uint16(status)
	h.Proto = message.HTTP11
	var body []byte
	if !x.failsCall(h, status, text) {
		body = x.errorBody(h, status, text)
	}
	h.Length = int64(len(body))
	for ; len(fields) > 0; fields = fields[2:] {
		h.Add(fields[0], fields[1])
	}
	if f := x.fault; f != nil {
		h.AddID(message.ProxyStatus, "Proxy-Status", x.proxy.naming.name+`; error=`+f.token)
		if f.allow {
			h.AddID(message.Allow, "Allow", allowed)
		}
		h.Close = f.last && x.Request.Proto != message.HTTP20
		if f.wait {
			h.AddID(message.RetryAfter, "Retry-After", "1")
		}
	}
	x.toDown.reset()
	x.toDown.hold(body)
	x.toDown.ended = true
	x.charge()
	x.step, x.at = stepResponse, 0
	if again {
		x.step = stepDone
		x.sendResponse()
		return
	}
	x.advance()
}

// sendResponse sends the head of the answer, and what of its body is here.
func (x *Exchange) sendResponse() {
	h := &x.Response
	if x.Request.Upgrade && x.unswitched() {
		x.fail(faultUnswitched)
		return
	}
	x.status = int(h.Status)
	if !h.Has(message.Date) { // RFC 9110 §6.6.1: whoever forwards a message without a Date adds one
		x.local.tellTime()
		h.AddID(message.Date, "Date", string(x.local.date))
	}
	if x.Request.HTTPS && x.listener.HSTS != "" && !h.Has(message.StrictTransportSecurity) {
		h.AddID(message.StrictTransportSecurity, "Strict-Transport-Security", x.listener.HSTS)
	}
	x.answering = true
	bodyless := x.toDown.ended && len(x.toDown.held) == 0 && !x.toDown.waiting && x.toDown.trailers == nil
	if err := x.down.SendHead(h, bodyless); err == session.ErrHeadSize && x.fault != faultAnswerSize {
		x.answering = false
		x.fail(faultAnswerSize)
		return
	} else if err != nil {
		x.downError(err)
		return
	}
	if bodyless {
		x.toDown.endSent = true
	} else if len(x.toDown.held) > 0 || x.toDown.trailers != nil && !x.toDown.waiting {
		if err := x.toDown.resume(x.up, x.down); err != nil {
			x.downError(err)
			return
		}
	}
	if x.toDown.waiting {
		x.filterDown(x.toDown.filterable(), 0, x.toDown.ended)
		return
	}
	x.answerSent()
}

// errorBody adds the fields of an answer that has a text, in the form that the client prefers.
func (x *Exchange) errorBody(h *message.Head, status int, text string) []byte {
	accept := x.Request.Peek(message.Accept)
	switch {
	case text == "":
		return nil
	case x.fault == nil:
		h.AddID(message.ContentType, "Content-Type", "text/plain; charset=utf-8")
		return []byte(text)
	case prefersJSON(accept):
		h.AddID(message.ContentType, "Content-Type", "application/json")
		return []byte(`{"status":` + strconv.Itoa(status) + `,"error":"` + text + `","reason":"` + x.fault.token +
			`","request_id":"` + x.ID() + "\"}\n")
	}
	h.AddID(message.ContentType, "Content-Type", "text/html; charset=utf-8")
	title := strconv.Itoa(status) + " " + h1.Reason(status)
	return []byte("<!doctype html><title>" + title + "</title>\n<h1>" + title + "</h1>\n<p>" + text +
		"</p>\n<p><small>edge, request " + x.ID() + "</small></p>\n")
}

// answer is a Destination that is an answer.
type answer struct {
	status            int
	contentType, body string
}

// Answer answers every request with status and body.
func Answer(status int, contentType, body string) Destination {
	return &answer{status, contentType, body}
}

func (a *answer) open(x *Exchange) {
	x.respond(a.status, a.body)
}
