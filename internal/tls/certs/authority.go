package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
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
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/base/private"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 30 * 24 * time.Hour // with a third of it left it is renewed, before alerts about a week are due

	leavesMax = 1000 // in each of the two generations that are kept: 4 KiB each
)

// Authority is a certificate authority on this machine, for development. The key of its root has signed one certificate
// and was never written. This certificate is the signer's, which signs all others, and is constrained to names of this
// machine and of private networks: a client that trusts the root does not trust it about other names (RFC 5280
// §4.2.1.10).
//
//	root ── signed once, then its key was thrown away ──► signer ── Leaf, Find ──► certificates, kept in memory
//
// An authority that an older version made is its own signer, has no constraints, and makes the same certificates.
// Safe for any goroutine.
type Authority struct {
	Root *x509.Certificate // for clients that shall trust it
	Path string            // of its file
	Made bool              // the authority was made by this call

	in        *private.Folder
	signer    *x509.Certificate
	key       crypto.Signer
	chain     [][]byte // what clients get after a certificate
	id        string   // of the signer
	permitted permitted

	mu     sync.Mutex
	leaves [2]map[string]*Certificate // by name, the newer generation first; guarded by mu
}

// The names of its files.
const (
	caCert   = "ca.pem"        // the root's certificate
	signed   = "authority.pem" // the key of the signer, its certificate, the root's
	caKey    = "ca.key"        // of an older version
	leafCert = "leaf.pem"      // of an older version
	leafKey  = "leaf.key"      // of an older version
)

// OpenAuthority returns the authority whose files are in dir, which are made when they are not there, for the names of
// this machine, of private networks, and names. Only their owner can read the key. If the process is root and will
// become another user, uid and gid are that user's, and the folder is given to it; below 0 the process keeps its user.
// A folder that belongs to another user, or that others may write, is an error, and so are such files in it.
func OpenAuthority(dir string, uid, gid int, names ...string) (*Authority, error) {
	return opened(openAuthority(dir, uid, gid, true, permittedFor(names)))
}

// ReadAuthority is OpenAuthority for an authority that is there: it makes none, since it does not know the names. The
// error is fs.ErrNotExist where there is none.
func ReadAuthority(dir string, uid, gid int) (*Authority, error) {
	return opened(openAuthority(dir, uid, gid, false, permittedFor(nil)))
}

// CheckAuthority reports what would keep OpenAuthority from an authority in dir, or the authority from vouching for
// names, and makes nothing. A uid below 0 is any user. What this process may not read is no error.
func CheckAuthority(dir string, uid int, names []string) error {
	if err := private.Check(dir, uid); err != nil {
		return fmt.Errorf("internal authority: %w", err)
	}
	c, err := Load(&Files{Cert: filepath.Join(dir, signed)}, time.Now())
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), err == nil && ends(c.State(time.Now())):
		return nil
	case err != nil:
		return fmt.Errorf("internal authority: %w", err)
	}
	may := permitted{c.Leaf.PermittedDNSDomains, c.Leaf.PermittedIPRanges}
	return may.refusal(dir, names)
}

func opened(a *Authority, err error) (*Authority, error) {
	if err != nil {
		return nil, fmt.Errorf("internal authority: %w", err)
	}
	return a, nil
}

func openAuthority(dir string, uid, gid int, makes bool, names permitted) (*Authority, error) {
	in, err := private.New(dir, uid, gid)
	if err != nil {
		return nil, err
	}
	if err := in.HandOver(caCert, signed, caKey, leafCert, leafKey); err != nil {
		return nil, err
	}
	a := &Authority{Path: filepath.Join(dir, caCert), in: in}
	c, err := a.load()
	if makes && (errors.Is(err, fs.ErrNotExist) || err == nil && ends(c.State(time.Now()))) {
		if err = a.create(names, c == nil); err == nil {
			c, err = a.load()
		}
		a.Made = true
	}
	if err != nil {
		return nil, err
	}
	a.signer, a.key, a.chain = c.Leaf, c.TLS.PrivateKey.(crypto.Signer), c.TLS.Certificate[:1]
	key := c.KeyID()
	a.id = hex.EncodeToString(key[:])
	a.permitted = permitted{a.signer.PermittedDNSDomains, a.signer.PermittedIPRanges}
	if len(c.TLS.Certificate) == 1 {
		a.permitted = names // of an older version
	}
	return a, nil
}

// load returns the signer, with the root after it where that is another one, and sets Root.
func (a *Authority) load() (*Certificate, error) {
	f := Files{Cert: filepath.Join(a.in.Path(), signed), in: a.in}
	c, err := Load(&f, time.Now())
	if errors.Is(err, fs.ErrNotExist) {
		f.Cert, f.Key = a.Path, filepath.Join(a.in.Path(), caKey)
		if c, err = Load(&f, time.Now()); err == nil {
			a.Root = c.Leaf
			_ = a.in.Remove(leafCert, leafKey) // they are not read, and the folder may be there to be read alone
		}
		return c, err
	}
	if err != nil {
		return nil, err
	}
	if len(c.TLS.Certificate) != 2 {
		return nil, &Error{PartCert, f.Cert, ErrDamaged}
	}
	a.Root, err = x509.ParseCertificate(c.TLS.Certificate[1])
	if err == nil {
		err = c.Leaf.CheckSignatureFrom(a.Root)
	}
	if err != nil {
		return nil, &Error{PartCert, f.Cert, err}
	}
	text := pemOf(certificateBlock, a.Root.Raw)
	now, err := a.in.Read(caCert)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Equal(now, text) {
		return c, a.in.Replace(caCert, text)
	}
	if err != nil {
		return nil, &Error{PartCert, a.Path, err}
	}
	return c, nil
}

// ends tells whether an authority is to be replaced. An authority that begins later is what clients trust: a machine
// whose clock stops with it starts in the past.
func ends(s State) bool { return s == Expired || s == Expiring }

// create makes the authority. It is there when its one file of secrets is. If it is the first authority in its folder,
// an authority that another process has made meanwhile stays.
func (a *Authority) create(names permitted, first bool) error {
	host, _ := os.Hostname() // it is not needed
	name := strings.TrimSpace("edge internal authority " + strings.ToValidUTF8(host, "?"))
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: 1, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	signer := *root
	signer.SerialNumber, signer.Subject.CommonName = serial(), name+", signer"
	signer.MaxPathLen, signer.MaxPathLenZero = 0, true
	signer.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	signer.PermittedDNSDomainsCritical = true
	signer.PermittedDNSDomains, signer.PermittedIPRanges = names.domains, names.networks

	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, &signer, root, key.Public(), rootKey)
	if err != nil {
		return err
	}
	text, err := pairPEM(key, der, rootDER)
	if err != nil {
		return err
	}
	put := a.in.Replace
	if first {
		put = a.in.Create
	}
	return errors.Join(put(signed, text), a.in.Remove(caKey, leafCert, leafKey))
}

// May reports whether certificates for a name are trusted: a lower-case name, "*.parent", or an address.
func (a *Authority) May(name string) bool { return a.permitted.has(name) }

// Refusal returns an error for the first of names that a may not vouch for.
func (a *Authority) Refusal(names []string) error { return a.permitted.refusal(a.in.Path(), names) }

// Leaf makes a certificate for servers that have these names and addresses, for which May holds.
func (a *Authority) Leaf(names ...string) (*Certificate, error) {
	chain, key, err := a.issue(time.Now(), leafLife, x509.ExtKeyUsageServerAuth, names)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, err
	}
	c := &Certificate{Leaf: leaf, Hosts: hostsOf(leaf)}
	c.TLS.Certificate, c.TLS.PrivateKey, c.TLS.Leaf = chain, key, leaf
	return c, nil
}

// Pair returns the key and the chain of a certificate in PEM, in one text, for a server, or for a client of another
// one. It lives for as long as life, and no longer than the authority.
func (a *Authority) Pair(life time.Duration, client bool, names ...string) ([]byte, error) {
	use := x509.ExtKeyUsageServerAuth
	if client {
		use = x509.ExtKeyUsageClientAuth
	}
	chain, key, err := a.issue(time.Now(), life, use, names)
	if err != nil {
		return nil, err
	}
	return pairPEM(key, chain...)
}

// Find returns the certificate for a lower-case name or an address, nil: there is none. It is made in the first
// handshake that asks for it, and kept.
func (a *Authority) Find(name string) *Certificate { return a.find(name, name) }

// find returns the certificate that is kept for key, or makes one for names.
func (a *Authority) find(key string, names ...string) *Certificate {
	if strings.HasPrefix(key, "*") || slices.ContainsFunc(names, func(n string) bool { return !a.May(n) }) {
		return nil
	}
	a.mu.Lock() // making one takes as long as the handshake that waits for it
	defer a.mu.Unlock()
	c := a.leaves[0][key]
	if c == nil {
		c = a.leaves[1][key]
	}
	if c != nil && !a.aged(c.Leaf, time.Now()) {
		return c
	}
	c, err := a.Leaf(names...)
	if err != nil {
		return nil // the default is presented
	}
	if len(a.leaves[0]) >= leavesMax {
		a.leaves[1], a.leaves[0] = a.leaves[0], nil
	}
	if a.leaves[0] == nil {
		a.leaves[0] = make(map[string]*Certificate)
	}
	a.leaves[0][key] = c
	return c
}

// issue makes a certificate for names, with a key of its own.
func (a *Authority) issue(
	now time.Time, life time.Duration, use x509.ExtKeyUsage, names []string,
) (chain [][]byte, key *ecdsa.PrivateKey, err error) {
	template := &x509.Certificate{
		SerialNumber: serial(), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{use},
	}
	if template.NotAfter.After(a.signer.NotAfter) {
		template.NotAfter = a.signer.NotAfter
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	if len(template.DNSNames) > 0 { // an address there is a name for OpenSSL, which no constraint permits
		template.Subject.CommonName = template.DNSNames[0]
	}
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.signer, key.Public(), a.key)
	return append([][]byte{der}, a.chain...), key, err
}

// aged tells whether a certificate of a has less than a third of its life left, and another one would have more, or was
// made before the clock was set back.
func (a *Authority) aged(leaf *x509.Certificate, now time.Time) bool {
	return now.Before(leaf.NotBefore) ||
		leaf.NotAfter.Sub(now) <= leafLife/3 && leaf.NotAfter.Before(a.signer.NotAfter)
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic("certs: " + err.Error()) // the system has no randomness: nothing here can be done without it
	}
	return n.Add(n, big.NewInt(1))
}

const certificateBlock = "CERTIFICATE"

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// pairPEM returns a key and a chain in one text.
func pairPEM(key *ecdsa.PrivateKey, chain ...[]byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	text := pemOf("PRIVATE KEY", der)
	for _, c := range chain {
		text = append(text, pemOf(certificateBlock, c)...)
	}
	return text, err
}
