package testutil

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority issues certificates for a test.
type Authority struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
	Pool *x509.CertPool // with it alone
}

// NewAuthority makes an authority.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{Key: newKey(t), Pool: x509.NewCertPool()}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	a.Cert = sign(t, template, template, &a.Key.PublicKey, a.Key)
	a.Pool.AddCert(a.Cert)
	return a
}

// Issue makes a certificate for names and addresses, the first of them its common name, valid from an hour ago for a
// year. Fields that change sets are used as they are.
func (a *Authority) Issue(
	t testing.TB, change func(*x509.Certificate), names ...string,
) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for i, name := range names {
		if i == 0 {
			template.Subject.CommonName = name
		}
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	if change != nil {
		change(template)
	}
	return sign(t, template, a.Cert, &key.PublicKey, a.Key), key
}

// IssueTo is Issue with the pair written to dir/name.pem and dir/name.key.
func (a *Authority) IssueTo(
	t testing.TB, dir, name string, change func(*x509.Certificate), names ...string,
) *x509.Certificate {
	t.Helper()
	cert, key := a.Issue(t, change, names...)
	WritePair(t, filepath.Join(dir, name), cert, key)
	return cert
}

// KeyPair is Issue for crypto/tls.
func (a *Authority) KeyPair(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	cert, key := a.Issue(t, nil, names...)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// Write writes the authority's own certificate.
func (a *Authority) Write(t testing.TB, path string) {
	t.Helper()
	writePEM(t, path, "CERTIFICATE", a.Cert.Raw)
}

// WritePair writes a certificate to base.pem and its key to base.key.
func WritePair(t testing.TB, base string, cert *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	Must(t, err)
	writePEM(t, base+".key", "PRIVATE KEY", der)
	writePEM(t, base+".pem", "CERTIFICATE", cert.Raw)
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	next := path + ".next"
	err := os.WriteFile(next, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	if err == nil {
		err = os.Rename(next, path)
	}
	Must(t, err)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Must(t, err)
	return key
}

func sign(
	t testing.TB, template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey,
) *x509.Certificate {
	t.Helper()
	if template.SerialNumber == nil {
		n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
		Must(t, err)
		template.SerialNumber = n
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().AddDate(1, 0, 0)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	Must(t, err)
	cert, err := x509.ParseCertificate(der)
	Must(t, err)
	return cert
}
