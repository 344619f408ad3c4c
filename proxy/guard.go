package proxy

import (
	"cmp"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"strconv"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy/forwarding"
)

// guard looks at a request before any filter does. It reports false where it has answered: then x may be another
// request's already.
type guard = func(x *Exchange) bool

// composed returns a copy of l with what its fields ask for as functions: a field that is not set costs nothing.
func (l *Listener) composed() *Listener {
	c := *l
	c.guards, c.answers, c.bodyMax = nil, nil, math.MaxInt64
	add := func(on bool, g guard) {
		if on {
			c.guards = append(c.guards, g)
		}
	}
	add(l.StrictSNI || l.ClientCert || l.Fits != nil, secured)
	add(l.ClientCert, certified)
	add(l.Fits != nil, fitting)
	add(l.Underscores == UnderscoresRefuse, withoutUnderscores)
	add(l.StrictSNI, namedByHandshake)
	add(l.RedirectToHTTPS != 0, askedByHTTPS)
	add(l.RequestID != nil, takeID)
	add(l.Traceparent, traced)
	if l.RequestID != nil && !l.RequestID.NoAnswer {
		c.answers = append(c.answers, giveID)
	}
	if l.BodyMax > 0 {
		c.bodyMax = l.BodyMax
		add(true, withinBodyMax)
	}
	if l.HSTS != "" {
		c.answers = append(c.answers, addHSTS)
	}
	return &c
}

// secured refuses a request on a connection without TLS where the listener asks for what TLS alone can show. What a
// trusted proxy says of its client is no proof of it, and a client that asked by https would be led in circles.
func secured(x *Exchange) bool {
	switch {
	case x.digest != nil:
		return true
	case x.listener.RedirectToHTTPS != 0 && !x.Request.HTTPS:
		toHTTPS(x)
	default:
		x.fail(NotSecured)
	}
	return false
}

// certified refuses a client without a certificate, as on a connection that stood before certificates were asked for.
func certified(x *Exchange) bool {
	if x.digest.Verified {
		return true
	}
	x.fail(NoClientCert)
	return false
}

// fitting refuses a request for a host that a handshake would not have been for on the terms of this connection.
func fitting(x *Exchange) bool {
	if x.listener.Fits(x.digest, x.Request.Host()) {
		return true
	}
	x.fail(TermsMismatch)
	return false
}

func withoutUnderscores(x *Exchange) bool {
	if !x.Request.Underscores {
		return true
	}
	x.fail(UnderscoreRefused)
	return false
}

// namedByHandshake refuses another host than the host that the handshake was for. A host that is an address has none.
func namedByHandshake(x *Exchange) bool {
	h := &x.Request
	if h.Authority.Len == 0 {
		return true
	}
	var lower [256]byte
	host := h.LowerHost(&lower)
	ok := false
	switch name := x.digest.ServerName; {
	case name != "":
		ok = message.EqualFold(host, name)
	case len(host) > 1 && host[0] == '[':
		ok = true
	default:
		_, err := netip.ParseAddr(string(host))
		ok = err == nil
	}
	if !ok {
		x.fail(SNIMismatch)
	}
	return ok
}

func askedByHTTPS(x *Exchange) bool {
	if x.Request.HTTPS {
		return true
	}
	toHTTPS(x)
	return false
}

func withinBodyMax(x *Exchange) bool {
	if x.Request.Length <= x.listener.bodyMax {
		return true
	}
	x.fail(BodyTooLarge)
	return false
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

// takeID gives the request its number, or has it keep the number that it came with.
func takeID(x *Exchange) bool {
	r, h := x.listener.RequestID, &x.Request
	name := r.field()
	if r.Accept == AcceptAll || r.Accept == AcceptTrusted && x.trusted {
		if i := h.Find(name); i >= 0 && forwarding.ValidID(h.Value(i)) {
			x.given = append(x.given[:0], h.Value(i)...)
		}
	}
	h.Set(name, x.ID())
	return true
}

func giveID(x *Exchange) { x.Response.Set(x.listener.RequestID.field(), x.ID()) }

// traced has the request be part of a trace.
func traced(x *Exchange) bool {
	h := &x.Request
	if trace := forwarding.TraceOf(h); trace != nil {
		x.trace = append(x.trace[:0], trace...)
		return true
	}
	var trace [16]byte
	var parent [8]byte
	binary.LittleEndian.PutUint64(trace[:], rand.Uint64())
	binary.LittleEndian.PutUint64(trace[8:], rand.Uint64()|1) // none is all zeros
	binary.LittleEndian.PutUint64(parent[:], rand.Uint64()|1)
	forwarding.SetTraceparent(h, trace, parent)
	x.trace = hex.AppendEncode(x.trace[:0], trace[:])
	return true
}

func addHSTS(x *Exchange) {
	h := &x.Response
	if x.Request.HTTPS && !h.Has(message.StrictTransportSecurity) {
		h.AddID(message.StrictTransportSecurity, "Strict-Transport-Security", x.listener.HSTS)
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

// toHTTPS sends the client to where the same is served by https. 308 keeps the method.
func toHTTPS(x *Exchange) {
	h := &x.Request
	target := h.Bytes(h.Target)
	switch {
	case len(target) == 0 || target[0] != '/': // "*", or the authority of CONNECT
		x.fail(SchemeMismatch)
		return
	case h.Authority.Len == 0:
		x.fail(BadTarget)
		return
	}
	to := append([]byte("https://"), h.Host()...)
	if port := x.listener.RedirectToHTTPS; port != portHTTPS {
		to = strconv.AppendUint(append(to, ':'), uint64(port), 10)
	}
	x.ownAnswer(Respond(308, "").With("Location", string(append(to, target...))))
}
