package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// quotedMax is how many bytes of a peer's text a line of the event log quotes.
const quotedMax = 256

// refusal says what happened in a handshake that failed, and what can be done about it.
type refusal struct{ what, try string }

// refused returns a tlsconn.ServerOptions.Failed that logs failed handshakes with clients of a listener. Clients that
// send nothing and leave are many, health checks among them: they are logged at the level debug.
func refused(listener string) func(c *engine.Conn, err error) {
	return func(c *engine.Conn, err error) {
		level := slog.LevelInfo
		if errors.Is(err, tlsconn.ErrLeft) {
			level = slog.LevelDebug
		}
		ctx := context.Background()
		if !slog.Default().Enabled(ctx, level) {
			return
		}
		attrs := make([]slog.Attr, 0, 6)
		attrs = append(attrs, slog.String("listener", listener), slog.String("client", c.Peer().String()))
		reason := err
		var failed *tlsconn.HandshakeError
		if errors.As(err, &failed) {
			reason = failed.Reason
			if failed.ServerName != "" {
				attrs = append(attrs, slog.String("sni", quoted(failed.ServerName)))
			}
		}
		why := refusalOf(reason)
		attrs = append(attrs, slog.String("error", quoted(reason.Error())))
		if why.try != "" {
			attrs = append(attrs, slog.String("try", why.try))
		}
		slog.LogAttrs(ctx, level, "TLS handshake failed: "+why.what, attrs...)
	}
}

func quoted(s string) string { return s[:min(len(s), quotedMax)] }

// refusalOf explains the reason of a HandshakeError.
func refusalOf(reason error) refusal {
	switch reason {
	case tlsconn.ErrNotTLS:
		return refusal{"the client spoke plain HTTP, or nothing that is known", `https:// in its URL, or tls = "auto"`}
	case tlsconn.ErrDenied:
		return refusal{what: "a rule denies it"}
	case tlsconn.ErrTimeout:
		return refusal{what: "the client was too slow or silent"}
	case tlsconn.ErrCrowded:
		return refusal{"it gave way to newer ones", "a larger tls.handshakes, if it is no attack"}
	case tlsconn.ErrFull:
		return refusal{"more handshakes are in progress than may be, and none of them could give way",
			"a larger tls.handshakes, if it is no attack"}
	case tlsconn.ErrLate:
		return refusal{"more clients come than handshakes can be computed", "more processors, or ECDSA certificates"}
	case tlsconn.ErrLeft:
		return refusal{what: "the client left"}
	case tlsconn.ErrHelloSize:
		return refusal{what: "the client said more than a ClientHello may hold"}
	case tlsconn.ErrPanic:
		return refusal{what: "a bug; the line before has the stack"}
	}
	if alert, ok := tlsconn.Alert(reason); ok {
		return refusalByAlert(alert)
	}
	var wrong *tls.CertificateVerificationError
	if errors.As(reason, &wrong) {
		return refusalOfCertificate(wrong.Err)
	}
	for _, known := range untyped {
		if strings.Contains(reason.Error(), known.words) {
			return known.refusal
		}
	}
	return refusal{what: "the client did not keep to the protocol"}
}

// refusalByAlert explains an alert of the client. RFC 8446 §6: their numbers.
func refusalByAlert(alert uint8) refusal {
	switch alert {
	case 48: // unknown_ca
		return refusal{"the client does not know the authority of the certificate",
			"the authority's certificate at the client; or intermediate ones are missing in the certificate's file"}
	case 42, 43, 46: // bad, unsupported, unknown certificate
		return refusal{"the client does not accept the certificate",
			"a certificate of an authority that it trusts, for the name that it asks for"}
	case 44, 45: // revoked, expired
		return refusal{"the client finds the certificate out of date", "renew it; is the client's clock right?"}
	case 70: // protocol_version
		return refusal{"the client does not speak this version of TLS", "an older min_version, or a newer client"}
	}
	return refusal{what: "the client broke it off"}
}

// refusalOfCertificate explains what is wrong with a client's certificate.
func refusalOfCertificate(err error) refusal {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return refusal{"the client's certificate is out of date", "a new one for the client; are both clocks right?"}
	}
	if errors.As(err, new(x509.UnknownAuthorityError)) {
		return refusal{"the client's certificate is of another authority",
			"a certificate of client_ca for the client, or its authority in the file of client_ca"}
	}
	return refusal{"the client's certificate is not valid for a client", "a certificate with the usage clientAuth"}
}

// untyped are reasons that crypto/tls gives as text only.
var untyped = []struct {
	words string
	refusal
}{
	// An OpenSSL client that does not accept the certificate sends its alert in the clear, where TLS 1.3 has keys.
	{"bad record MAC", refusal{"it cannot be read; mostly the client does not accept the certificate",
		"a certificate of an authority that it trusts, for the name that it asks for"}},
	{"didn't provide a certificate", refusal{"the client showed no certificate",
		`a certificate of client_ca for the client, or client_auth = "request"`}},
	{"unsupported versions", refusal{"client and server share no version of TLS",
		"an older min_version, or a newer client"}},
	{"no cipher suite supported by both", refusal{"client and server share no cipher suite",
		"more of ciphers, or a certificate with a key of another kind"}},
	{"no key exchanges supported by both", refusal{"client and server share no key exchange", "more of curves"}},
	{"unsupported application protocols", refusal{"client and server share no version of HTTP", "more of protocols"}},
	{"certificate's signature algorithms", refusal{"the client cannot verify a key of this kind",
		"a certificate with a key of another kind"}},
	{"no certificates configured", refusal{"there is no certificate for the name",
		"edge certs, which lists ordered ones"}},
}

// explainer is an access log that logs an event for each request that failed, for a person at a terminal. A fault
// of the backend is told by package proxy, with what to try; other failures have a hint here.
type explainer struct{}

// Append logs r if the proxy or a backend failed, or the client in a way that has a hint.
func (explainer) Append(r *observe.Record) {
	hint := hints[r.Reason]
	if r.Reason == "" || r.Status < 500 && hint == "" && !strings.HasPrefix(r.Reason, "backend:") {
		return
	}
	id := string(r.RequestID)
	if id == "" {
		id = hex.EncodeToString(r.ID[:])
	}
	attrs := []any{"request", id, "path", quoted(string(r.Path)), "status", r.Status, "reason", r.Reason}
	if r.Backend != "" {
		attrs = append(attrs, "backend", r.Backend)
	}
	if hint != "" {
		attrs = append(attrs, "hint", hint)
	}
	slog.Warn("request failed", attrs...)
}

// hints say what to check first, by the reason of a record.
var hints = map[string]string{
	"edge:no_backend": "the name does not resolve, no backend could be reached, " +
		"or all of them fail their checks: see \"backend down\" in the log",
	"backend:reset":       "it broke off the request; its own log may say why",
	"edge:loop":           "the backend leads back to this proxy: is its address right?",
	"client:timeout":      "the client sent nothing, or took nothing of the answer, for 60 s",
	"client:request_body": "the client sent its body too slowly",
}
