package route

import (
	"slices"

	"github.com/edge-proxy/edge/lang"
)

// Arrival tells what a request came by, for the conditions that are not about its head. Its methods are called when a
// rule asks, on the goroutine of the search.
type Arrival interface {
	// ListenerName is compared with Rule.Listeners.
	ListenerName() string
	// CertificateVerified reports whether the client has shown a certificate that leads to a trusted one, in this
	// handshake or in the handshake that its session resumes.
	CertificateVerified() bool
	// CertificateNames returns what that certificate says: subject and issuer as in RFC 2253, and its alternative
	// names. It reports false where there is none.
	CertificateNames() (subject, issuer string, sans []string, ok bool)
	// Holds reports whether a condition of Rule.When holds, where the path is this one. It is called when all other
	// conditions of the rule hold. A search may ask twice, with two readings of one path.
	Holds(when *lang.Condition, path []byte) bool
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

// arrivalHolds reports whether the listener and the connection of the request meet the conditions about them.
func (c *conditions) arrivalHolds(from Arrival) bool {
	if len(c.listeners) > 0 && !slices.Contains(c.listeners, from.ListenerName()) {
		return false
	}
	return c.cert == nil || c.cert.heldBy(from)
}

// heldBy reports whether the client has shown such a certificate. An unverified certificate proves nothing: its text is
// the client's own.
func (c *certCondition) heldBy(from Arrival) bool {
	if !from.CertificateVerified() {
		return false
	}
	if c.subject == nil && c.issuer == nil && c.san == nil {
		return true
	}
	subject, issuer, sans, ok := from.CertificateNames()
	return ok && (c.subject == nil || c.subject.takesText(subject)) &&
		(c.issuer == nil || c.issuer.takesText(issuer)) &&
		(c.san == nil || slices.ContainsFunc(sans, c.san.takesText))
}
