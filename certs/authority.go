package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
)

// Authority is a certificate authority on this machine, for development. A client that trusts it trusts every user that
// can read its folder. Immutable.
type Authority struct {
	Path string // of the authority's certificate, for clients that shall trust it
	Made bool   // the authority was made by this call

	in   *folder
	cert *x509.Certificate
	key  crypto.Signer
}

// The names of its files.
const (
	caCert   = "ca.pem"
	caKey    = "ca.key"
	leafCert = "leaf.pem"
	leafKey  = "leaf.key"
)

// OpenAuthority returns the authority whose files are in dir, which are made when they are not there. Only their owner
// can read the keys. If the process is root and will become another user, uid and gid are that user's, and the folder
// is given to it; below 0 the process keeps its user. A folder that belongs to another user, or that others may write,
// is an error, and so are such files in it.
func OpenAuthority(dir string, uid, gid int) (*Authority, error) {
	a, err := openAuthority(dir, uid, gid)
	if err != nil {
		return nil, fmt.Errorf("internal authority: %w", err)
	}
	return a, nil
}

func openAuthority(dir string, uid, gid int) (*Authority, error) {
	in, err := newFolder(dir, uid, gid)
	if err != nil {
		return nil, err
	}
	if err := in.handOver(caCert, caKey, leafCert, leafKey); err != nil {
		return nil, err
	}
	a := &Authority{Path: filepath.Join(dir, caCert), in: in}
	f := a.files(caCert, caKey)
	c, err := Load(&f, time.Now())
	if errors.Is(err, fs.ErrNotExist) || err == nil && c.State(time.Now()) != Valid {
		if err = a.create(); err == nil {
			c, err = Load(&f, time.Now())
		}
		a.Made = true
	}
	if err != nil {
		return nil, err
	}
	a.cert, a.key = c.Leaf, c.TLS.PrivateKey.(crypto.Signer)
	return a, nil
}

func (a *Authority) files(cert, key string) Files {
	return Files{Cert: filepath.Join(a.in.path, cert), Key: filepath.Join(a.in.path, key), in: a.in}
}

// create makes the authority.
func (a *Authority) create() error {
	host, _ := os.Hostname() // nobody needs it
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: strings.TrimSpace("edge internal authority " + host)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	return a.write(caCert, caKey, key, der)
}

// Leaf returns the files of a certificate for names and addresses. An existing certificate is kept while it has these
// names and a third of its life left.
func (a *Authority) Leaf(names ...string) (Files, error) { return a.leaf(time.Now(), names) }

func (a *Authority) leaf(now time.Time, names []string) (Files, error) {
	f := a.leafFiles()
	old, err := Load(&f, now)
	if err == nil && !aged(old.Leaf, now) && covers(old.Leaf, names) &&
		old.Leaf.CheckSignatureFrom(a.cert) == nil {
		return f, nil
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return f, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return f, err
	}
	return f, a.write(leafCert, leafKey, key, der, a.cert.Raw)
}

func (a *Authority) leafFiles() Files { return a.files(leafCert, leafKey) }

// aged tells whether a certificate of ours has less than a third of its life left.
func aged(leaf *x509.Certificate, now time.Time) bool { return leaf.NotAfter.Sub(now) <= leafLife/3 }

func covers(leaf *x509.Certificate, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		if ip := net.ParseIP(name); ip != nil {
			return !slices.ContainsFunc(leaf.IPAddresses, ip.Equal)
		}
		return !slices.Contains(leaf.DNSNames, name)
	})
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic("certs: " + err.Error()) // the system has no randomness: nothing here can be done without it
	}
	return n.Add(n, big.NewInt(1))
}

// write writes a key and a chain, each whole or not at all, the key first.
func (a *Authority) write(cert, key string, k *ecdsa.PrivateKey, chain ...[]byte) error {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return err
	}
	var text []byte
	for _, c := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	err = a.in.replace(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		return err
	}
	return a.in.replace(cert, text)
}
