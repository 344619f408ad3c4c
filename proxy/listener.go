package proxy

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"math"
	"net/netip"
	"strconv"

	"github.com/edge-proxy/edge/internal/exchange/forwarding"
	"github.com/edge-proxy/edge/internal/exchange/meter"
	"github.com/edge-proxy/edge/internal/exchange/trace"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
)

// Listener is what the proxy has to know of where a request came in. The zero value is good.
//
// StrictSNI, ClientCert and Fits guard every request of the listener, whatever its connections may be: one on a
// connection without TLS, as session.TLSServer.Auto lets through, is sent to RedirectToHTTPS or answered 421.
// Immutable.
type Listener struct {
	Name      string
	BodyMax   int64           // largest request body; 0: no limit
	Log       []AccessLog     // by Reactor.Index; nil: no log
	Meter     *meter.Listener // its requests are counted, for each route; nil: they are not
	Trusted   *Trust          // peers whose forwarding fields are believed; nil: none
	Forwarded bool            // write Forwarded (RFC 7239) beside X-Forwarded-*
	Paths     route.Paths     // how the paths of requests are read; the zero value is the safe way

	Parameters  route.Parameters // how the parameters of paths are read
	Underscores Underscores      // what becomes of fields with "_" in their names; the zero value is the safe way

	RequestID   *RequestID // the field that has the number of a request; nil: none has
	Tracing     *Tracing   // its requests have parts of traces; nil: fields of traces are passed on
	Redact      *Redaction // hides values of queries in records and lines of access logs; nil: nothing
	Traceparent bool       // requests that name no trace by a valid Traceparent (W3C Trace Context) begin one

	HSTS            string  // Strict-Transport-Security of answers on connections that are secured; "": none
	AltSvc          *AltSvc // tells clients of TLS over TCP that there is HTTP/3; nil: nothing does
	RedirectToHTTPS uint16  // the port of https that all other requests are sent to, by 308; 0: they are served
	RedirectDirect  bool    // the port is named only where Host has the port of the listener: nothing maps ports then
	StrictSNI       bool    // 421 for another host than the TLS handshake named
	ClientCert      bool    // 421 on a connection whose client has shown no certificate that leads to a trusted one

	// Fits reports whether a connection may have requests for a host, empty where a request names none; 421 if not. It
	// is asked for each request. nil: any.
	Fits     func(d *tlsconn.Digest, host []byte) bool
	FitPlain bool // requests without TLS are for any host, whatever Fits says of others

	// Answers returns the body for a GET or HEAD that the listener answers itself, before all else, such as the proof
	// that a host is ours (RFC 8555 §8.3). path is borrowed. It runs on reactors, for each request. nil: none.
	Answers func(path []byte) (body string, found bool)

	NoVia       bool // clients are not told of the proxy by Via
	GRPC        bool // for routes that leave it to the listener: see Route.GRPC
	NoWebSocket bool // likewise: see Tunnels.WebSocket

	Pages *Pages // in place of the proxy's own for failures, where a route has none; nil: none

	// Made by composed.
	guards       []guard
	answerFields []answerField // for the final head of an answer, before it is sent
	bodyMax      int64
	tag          observe.Tag
}

// reading says how paths are read that come by l.
func (l *Listener) reading() route.Reading {
	return route.Reading{Paths: l.Paths, Parameters: l.Parameters}
}

// Underscores is what a listener does with fields of requests whose names have an underscore. CGI and its kin (WSGI,
// Rack, PHP) tell an application of X_Client and of X-Client by one variable: a client that may send the one says what
// a proxy says by the other.
type Underscores uint8

// The ways to take such fields, in the order of the words of a configuration. Of trailers they are dropped, or pass.
const (
	UnderscoresDrop   Underscores = iota // they are dropped
	UnderscoresPass                      // lenient: they are fields like others
	UnderscoresRefuse                    // 400
)

// guard looks at a request before any filter does. It returns why the request is refused, or nil.
type guard = func(k *record, h *message.Head) *Error

// askedPlainly is the guards' word for a request that is sent to https. It is no failure.
var askedPlainly = new(Error)

// answersItself is the guards' word for a request that Listener.Answers has a body for. It is no failure.
var answersItself = new(Error)

// answerField adds a field to the final head of an answer to request.
type answerField = func(k *record, request, answer *message.Head)

// composed returns a copy of l with what its fields ask for as functions: a field that is not set costs nothing.
func (l *Listener) composed() *Listener {
	c := *l
	c.guards, c.answerFields, c.bodyMax = nil, nil, math.MaxInt64
	add := func(on bool, g guard) {
		if on {
			c.guards = append(c.guards, g)
		}
	}
	add(l.Answers != nil, answeredHere)
	add(l.StrictSNI || l.ClientCert || l.Fits != nil && !l.FitPlain, secured)
	add(l.ClientCert, certified)
	add(l.Fits != nil, fitting)
	add(l.Underscores == UnderscoresRefuse, withoutUnderscores)
	add(l.StrictSNI, namedByHandshake)
	add(l.RedirectToHTTPS != 0, askedByHTTPS)
	add(l.RequestID != nil, takeID)
	add(l.Traceparent && l.Tracing == nil, traced)
	add(l.Tracing != nil, joined)
	if l.RequestID != nil && !l.RequestID.NoAnswer {
		c.answerFields = append(c.answerFields, giveID)
	}
	if l.BodyMax > 0 {
		c.bodyMax = l.BodyMax
		add(true, withinBodyMax)
	}
	if l.HSTS != "" {
		c.answerFields = append(c.answerFields, addHSTS)
	}
	if l.AltSvc != nil {
		c.answerFields = append(c.answerFields, addAltSvc)
	}
	return &c
}

// secured refuses a request on a connection without TLS where the listener asks for what TLS alone can show. What a
// trusted proxy says of its client is no proof of it, and a client that asked by https would be led in circles.
func secured(k *record, h *message.Head) *Error {
	switch {
	case k.digest != nil:
		return nil
	case k.listener.RedirectToHTTPS != 0 && !h.HTTPS:
		return askedPlainly
	}
	return notSecured
}

// answeredHere ends a request for which Answers has a body.
func answeredHere(k *record, h *message.Head) *Error {
	if h.Verb != message.VerbGet && h.Verb != message.VerbHead {
		return nil
	}
	_, found := k.listener.Answers(h.Path())
	return answersItself.unless(!found)
}

// certified refuses a client without a certificate, as on a connection that stood before certificates were asked for.
func certified(k *record, _ *message.Head) *Error { return noClientCert.unless(k.digest.Verified) }

// fitting refuses a request for a host that a handshake would not have been for on the terms of this connection.
func fitting(k *record, h *message.Head) *Error {
	return termsMismatch.unless(k.digest == nil || k.listener.Fits(k.digest, h.Host()))
}

func withoutUnderscores(_ *record, h *message.Head) *Error {
	return underscoreRefused.unless(!h.Underscores)
}

// namedByHandshake refuses another host than the host that the handshake was for. A host that is an address has none.
func namedByHandshake(k *record, h *message.Head) *Error {
	if h.Authority.Len == 0 {
		return nil
	}
	var lower [256]byte
	host := h.LowerHost(&lower)
	ok := false
	switch name := k.digest.ServerName; {
	case name != "":
		ok = message.EqualFold(host, name)
	case len(host) > 1 && host[0] == '[':
		ok = true
	default:
		_, err := netip.ParseAddr(string(host))
		ok = err == nil
	}
	return sniMismatch.unless(ok)
}

func askedByHTTPS(_ *record, h *message.Head) *Error { return askedPlainly.unless(h.HTTPS) }

func withinBodyMax(k *record, h *message.Head) *Error {
	return BodyTooLarge.unless(h.Length <= k.listener.bodyMax)
}

// unless returns e, or nil where a guard has found what it looks for.
func (e *Error) unless(ok bool) *Error {
	if ok {
		return nil
	}
	return e
}

// RequestID says which field has the number of a request, for backends and clients.
// Immutable.
type RequestID struct {
	Field    string // its name; "": X-Request-Id
	Accept   Acceptance
	NoAnswer bool // clients are not told
}

// Acceptance says whose numbers of requests are accepted: they replace the proxy's own everywhere.
type Acceptance uint8

// The ways to take the number that a request comes with, in the order of the words of a configuration. A malformed
// number is never taken.
const (
	AcceptTrusted Acceptance = iota // from the peers that Listener.Trusted names
	AcceptAll
	AcceptNone
)

const requestIDField = "X-Request-Id"

func (r *RequestID) field() string { return cmp.Or(r.Field, requestIDField) }

// takeID gives the request its number, or keeps the number that it came with.
func takeID(k *record, h *message.Head) *Error {
	r := k.listener.RequestID
	name := r.field()
	if r.Accept == AcceptAll || r.Accept == AcceptTrusted && k.trusted {
		if i := h.Find(name); i >= 0 && forwarding.ValidID(h.Value(i)) {
			k.given = append(k.given[:0], h.Value(i)...)
		}
	}
	h.Set(name, k.ID())
	return nil
}

func giveID(k *record, _, answer *message.Head) { answer.Set(k.listener.RequestID.field(), k.ID()) }

// traced makes the request part of a trace.
func traced(k *record, h *message.Head) *Error {
	c, ok := trace.Of(h)
	if !ok {
		c.Begin()
		c.Flags = trace.Sampled
		c.Set(h, trace.NewID())
	}
	p := partOf(k)
	p.hex = observe.AppendHex(p.hex, c.Trace[:])
	return nil
}

func addHSTS(k *record, request, answer *message.Head) {
	if request.HTTPS && !answer.Has(message.StrictTransportSecurity) {
		answer.AddID(message.StrictTransportSecurity, "Strict-Transport-Security", k.listener.HSTS)
	}
}

// What is wrong with a Listener that asks for what its TLS does not bring.
var (
	errGuardPlain      = errors.New("StrictSNI, ClientCert and Fits refuse every request without TLS")
	errGuardUnverified = errors.New("ClientCert refuses every request: TLS.ClientAuth verifies no certificate")
)

// Check reports a guard of l that no connection secured by c, nil for none, can meet.
func (l *Listener) Check(c *tls.Config) error {
	switch {
	case c == nil && (l.StrictSNI || l.ClientCert || l.Fits != nil):
		return errGuardPlain
	case l.ClientCert && c.ClientAuth < tls.VerifyClientCertIfGiven && c.GetConfigForClient == nil:
		return errGuardUnverified
	}
	return nil
}

// portHTTPS goes without saying in a URL.
const portHTTPS = 443

// toHTTPS sends the client, which has come to the port local, to where the same is served by https. 308 keeps the
// method.
func (l *Listener) toHTTPS(h *message.Head, local uint16) Verdict {
	target := h.Bytes(h.Target)
	switch {
	case len(target) == 0 || target[0] != '/': // "*", or the authority of CONNECT
		return Fail(schemeMismatch)
	case h.Authority.Len == 0:
		return Fail(BadTarget)
	}
	to := append([]byte("https://"), h.Host()...)
	_, port, _ := message.SplitAuthority(h.Bytes(h.Authority))
	mapped := l.RedirectDirect && string(port) != strconv.Itoa(int(local))
	if l.RedirectToHTTPS != portHTTPS && !mapped {
		to = strconv.AppendUint(append(to, ':'), uint64(l.RedirectToHTTPS), 10)
	}
	return Respond(308, "").With("Location", string(append(to, target...)))
}

// ownAnswer answers a request that answeredHere has ended.
func (l *Listener) ownAnswer(h *message.Head) Verdict {
	body, found := l.Answers(h.Path())
	if !found { // it was taken away just now
		return RespondPage(404)
	}
	return Respond(200, body).Type("text/plain")
}

func dropUnderscores(h *message.Head) {
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID == message.Other && bytes.IndexByte(h.Name(i), '_') >= 0 {
			f.Flags |= message.Dropped
		}
	}
	h.Underscores = false
}

// siftTrailers drops the fields of h, the trailers of request, that do not pass: fields that Connection names, that
// only a proxy sets, or that the route does, which are owned. Some origins make one of a head and its trailers. It is
// called before they are sent on, perhaps more than once.
func (l *Listener) siftTrailers(h, request *message.Head, owned []string) {
	forwarding.DropNamed(request, h)
	if h.Underscores && l.Underscores != UnderscoresPass {
		dropUnderscores(h)
	}
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID == message.Other && forwarding.Claims(h, i) {
			f.Flags |= message.Dropped
		}
	}
	if r := l.RequestID; r != nil {
		h.Del(r.field())
	}
	for _, name := range owned {
		h.Del(name)
	}
}
