package issue

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/edge-proxy/edge/internal/tls/certs"
)

// Plan is the certificates that a configuration wants. Immutable once it is loaded.
type Plan struct {
	Storage     Storage
	Authorities []Authority // the first is asked, the others after it failed; not empty
	Subjects    []Subject
	Key         KeyKind // of new certificates; empty: P256
	Proofs      string  // how names are proved, in any words: where it changes, the pauses after failures end
	Parallel    int     // orders at once; 0: 4
	Demand      *Demand // nil: Subjects alone have certificates

	// Leads reports whether names lead here. If not, the first order for them asks the staging authority first. It may
	// take some seconds; nil: they do.
	Leads func(ctx context.Context, names []string) bool
}

const parallel = 4 // looks at once, without a number in the plan

// Subject is the names of one certificate: in lower case, "*.parent" and addresses too; not empty.
type Subject []string

// KeyKind is a kind of private key.
type KeyKind string

// The kinds of keys that authorities sign.
const (
	P256    KeyKind = "p256"
	P384    KeyKind = "p384"
	RSA2048 KeyKind = "rsa2048"
	RSA4096 KeyKind = "rsa4096"
)

// make makes a key.
func (k KeyKind) make() (crypto.Signer, error) {
	switch k {
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// kindOf returns the kind of a public key.
func kindOf(key crypto.PublicKey) KeyKind {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		return KeyKind(fmt.Sprintf("p%d", key.Params().BitSize))
	case *rsa.PublicKey:
		return KeyKind(fmt.Sprintf("rsa%d", key.N.BitLen()))
	}
	return ""
}

// Request makes a key, which is returned in PEM, and a signed request for a certificate of names.
func Request(kind KeyKind, names []string) (*x509.CertificateRequest, []byte, error) {
	key, err := kind.make()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.CertificateRequest{}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, nil, err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	return csr, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), err
}

// verify reports that a pair is not the answer to an order of names.
func verify(c *certs.Certificate, names []string, now time.Time) error {
	if name := lacking(c.Leaf, names); name != "" {
		return fmt.Errorf("the authority has sent a certificate without the name %s", name)
	}
	if !now.Before(c.Leaf.NotAfter) {
		return errors.New("the authority has sent a certificate that has expired")
	}
	// A clock may be set to another zone. Beyond that clients would refuse it, and the pair before is better.
	if c.Leaf.NotBefore.Sub(now) > 24*time.Hour || !c.Leaf.NotBefore.Before(c.Leaf.NotAfter) {
		return errors.New("the authority has sent a certificate whose life has not begun, or ends before it begins")
	}
	last := c.Leaf
	for _, der := range c.TLS.Certificate[1:] {
		above, err := x509.ParseCertificate(der)
		if err == nil {
			err = last.CheckSignatureFrom(above)
		}
		if err != nil {
			return fmt.Errorf("the authority has sent a chain that does not verify: %w", err)
		}
		last = above
	}
	return nil
}

// lacking returns the first of names that a certificate is not for; "": there is none.
func lacking(leaf *x509.Certificate, names []string) string {
	for _, name := range names {
		if leaf.VerifyHostname(name) != nil {
			return name
		}
	}
	return ""
}
