package proxy

import (
	"slices"

	"github.com/edge-proxy/edge/tlsconn"
)

// arrival is what a request came by, for the conditions that are not about its head.
type arrival struct {
	listener *Listener
	digest   *tlsconn.Digest // of the client's connection; nil: it is not secured
}

// ClientCert is what the certificate of a client has to be, which has to lead to a trusted one. Each value is as that
// of a Condition; "" takes any, and so the zero value any such certificate. A session that is resumed has the
// certificate of the first handshake, verified again.
// Immutable.
type ClientCert struct {
	Subject, Issuer string // RFC 2253
	SAN             string // one of tlsconn.Certificate.Names
}

// certCondition is a ClientCert ready for use. What may be anything is nil.
// Immutable.
type certCondition struct{ subject, issuer, san *condition }

// compile returns nil for nil. count is how many conditions it is.
func (c *ClientCert) compile() (ready *certCondition, count int, err error) {
	if c == nil {
		return nil, 0, nil
	}
	ready, count = &certCondition{}, 1
	for _, f := range []struct {
		value string
		into  **condition
	}{{c.Subject, &ready.subject}, {c.Issuer, &ready.issuer}, {c.SAN, &ready.san}} {
		if f.value == "" {
			continue
		}
		one, err := compileConditions([]Condition{{Value: f.value}})
		if err != nil {
			return nil, 0, err
		}
		*f.into = &one[0]
		count++
	}
	return ready, count, nil
}

// arrivalHolds reports whether what the request came by meets the conditions about it.
func (c *conditions) arrivalHolds(from *arrival) bool {
	if len(c.listeners) > 0 && !slices.Contains(c.listeners, from.listener.Name) {
		return false
	}
	return c.cert == nil || c.cert.heldBy(from.digest)
}

// heldBy reports whether the client has shown such a certificate. One that was not verified proves nothing: its text is
// the client's own.
func (c *certCondition) heldBy(d *tlsconn.Digest) bool {
	if d == nil || !d.Verified {
		return false
	}
	if c.subject == nil && c.issuer == nil && c.san == nil {
		return true
	}
	cert := d.PeerCertificate()
	return cert != nil && (c.subject == nil || c.subject.takesText(cert.Subject)) &&
		(c.issuer == nil || c.issuer.takesText(cert.Issuer)) &&
		(c.san == nil || slices.ContainsFunc(cert.Names, c.san.takesText))
}
