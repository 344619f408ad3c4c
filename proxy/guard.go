package proxy

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"strconv"

	"github.com/edge-proxy/edge/message"
)

// namedByHandshake reports whether the host of the request is the one that the handshake was for. One with an address
// has none.
func namedByHandshake(x *Exchange) bool {
	h := &x.Request
	if h.Authority.Len == 0 {
		return true
	}
	var lower [256]byte
	host := h.LowerHost(&lower)
	if x.digest.ServerName != "" {
		return message.EqualFold(host, x.digest.ServerName)
	}
	if n := len(host); n > 1 && host[0] == '[' {
		return true
	}
	_, err := netip.ParseAddr(string(host))
	return err == nil
}

// refusePlain answers a request on a connection without TLS where the listener asks for what TLS alone can show. What a
// trusted proxy says of its client is no proof of it, and a client that asked by https would be led in circles.
func refusePlain(x *Exchange) {
	if x.listener.RedirectToHTTPS != 0 && !x.Request.HTTPS {
		toHTTPS(x)
		return
	}
	x.fail(faultPlain)
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
