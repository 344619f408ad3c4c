package issue

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"time"
)

// Issuer gets certificates from one authority, for one account. Safe for any goroutine.
type Issuer interface {
	// Key names the folder of its certificates.
	Key() string

	// Account tells apart accounts of one authority. It need not be known to the authority yet.
	Account() string

	// Issue gets a certificate. The end of ctx ends it, with no challenge left behind. An error may be an *Early.
	Issue(ctx context.Context, o *Order) (*Issued, error)

	// Window asks when a certificate of this authority is best renewed. A zero Window: the authority does not say.
	Window(ctx context.Context, leaf *x509.Certificate) (Window, error)
}

// Authority is an Issuer, with the one where an order is tried after it failed at the first.
type Authority struct {
	Issuer
	Staging Issuer // its certificates are thrown away; nil: there is none
}

// Order is what an Issuer is asked for. Immutable.
type Order struct {
	Names    []string                 // lower-case names, "*.parent" and addresses
	CSR      *x509.CertificateRequest // for Names, signed
	Replaces *x509.Certificate        // of the same authority; nil: none
}

// Issued is the answer to an Order.
type Issued struct {
	Chain []byte          // PEM, the ordered certificate first, then its authorities
	Meta  json.RawMessage // for the Issuer, kept beside the certificate; nil: none
}

// Window is when an authority wants a certificate to be renewed (RFC 9773 §4.2).
type Window struct {
	Start, End time.Time
	Again      time.Time // when it is to be asked again
}

// Early is the error of an authority that wants no order before a time, as it says by Retry-After (RFC 8555 §6.6).
type Early struct {
	Err   error
	After time.Duration
}

// Error returns the error of the authority.
func (e *Early) Error() string { return e.Err.Error() }

// Unwrap returns the error of the authority.
func (e *Early) Unwrap() error { return e.Err }
