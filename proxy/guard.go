package proxy

import (
	"crypto/tls"
	"errors"
	"math"
	"net/netip"
	"strconv"

	"github.com/edge-proxy/edge/message"
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
	add(l.StrictSNI || l.ClientCert, secured)
	add(l.ClientCert, certified)
	add(l.Underscores == UnderscoresRefuse, withoutUnderscores)
	add(l.StrictSNI, namedByHandshake)
	add(l.RedirectToHTTPS != 0, askedByHTTPS)
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
		x.fail(faultPlain)
	}
	return false
}

// certified refuses a client without a certificate, as on a connection that stood before certificates were asked for.
func certified(x *Exchange) bool {
	if x.digest.Verified {
		return true
	}
	x.fail(faultClientCert)
	return false
}

func withoutUnderscores(x *Exchange) bool {
	if !x.Request.Underscores {
		return true
	}
	x.fail(faultUnderscore)
	return false
}

// namedByHandshake refuses another host than the one that the handshake was for. A host that is an address has none.
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
		x.fail(faultSNI)
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
	x.fail(faultTooLarge)
	return false
}

func addHSTS(x *Exchange) {
	h := &x.Response
	if x.Request.HTTPS && !h.Has(message.StrictTransportSecurity) {
		h.AddID(message.StrictTransportSecurity, "Strict-Transport-Security", x.listener.HSTS)
	}
}

// What is wrong with a Listener that asks for what its TLS does not bring.
var (
	errGuardPlain      = errors.New("StrictSNI and ClientCert refuse every request without TLS")
	errGuardUnverified = errors.New("ClientCert refuses every request: TLS.ClientAuth verifies no certificate")
)

// Check reports a guard of l that no connection secured by c, nil for none, can meet.
func (l *Listener) Check(c *tls.Config) error {
	switch {
	case c == nil && (l.StrictSNI || l.ClientCert):
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
		x.fail(faultMisdirected)
		return
	case h.Authority.Len == 0:
		x.fail(faultTarget)
		return
	}
	to := append([]byte("https://"), h.Host()...)
	if port := x.listener.RedirectToHTTPS; port != portHTTPS {
		to = strconv.AppendUint(append(to, ':'), uint64(port), 10)
	}
	x.ownAnswer(Respond(308, "").With("Location", string(append(to, target...))))
}
