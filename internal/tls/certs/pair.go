package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/base/private"
)

// Files say where a certificate and its key are.
type Files struct {
	Cert  string   // the chain in PEM, the server's own certificate first
	Key   string   // the private key in PEM; empty: in the same file
	OCSP  string   // a response of the authority in DER, to staple; empty: none
	Hosts []string // names it is for, "*.example.org" among them; none: those that the certificate names
	When  When     // the handshakes that it is for; nil: all

	Authority *Authority // makes the certificate for Hosts, in place of files; nil: none does

	in *private.Folder // the folder of certificate and key; nil: they may be in any
}

// When says whether a pair is for a handshake with a listener of that name. It is called on the goroutines of
// handshakes.
type When = func(hello *tls.ClientHelloInfo, listener string) bool

// id is equal for files whose pairs are interchangeable, whatever their When.
func (f *Files) id() string {
	by := ""
	if f.Authority != nil {
		by = f.Authority.id
	}
	return strings.Join(append([]string{by, f.Cert, f.Key, f.OCSP}, f.Hosts...), "\x00")
}

// Part names a file of a pair.
type Part uint8

// The parts of a pair.
const (
	PartCert Part = iota
	PartKey
	PartOCSP
)

// Error says what is wrong with a file of a pair.
type Error struct {
	Part Part
	Path string
	Err  error
}

// Error returns the path and what is wrong with it.
func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

// Unwrap returns what is wrong without the path.
func (e *Error) Unwrap() error { return e.Err }

// What can be wrong with a pair.
var (
	ErrNoCertificate = errors.New("holds no certificate")
	ErrNoKey         = errors.New("holds no private key")
	ErrEncrypted     = errors.New("the private key is encrypted, and there is nobody to ask for its password")
	ErrOrder         = errors.New("the server's own certificate has to come first, then its authorities")
	ErrDamaged       = errors.New("holds a certificate that is damaged or not whole")
)

// Mismatch says that a certificate and a key do not belong together.
type Mismatch struct {
	Subject string   // of the certificate
	KeyID   [32]byte // of the key; see Certificate.KeyID
}

// Error says so.
func (m *Mismatch) Error() string {
	return "certificate and key do not belong together (cert " + m.Subject + ")"
}

// Certificate is a chain with its key, ready for handshakes. Immutable.
type Certificate struct {
	TLS   tls.Certificate
	Hosts []string // lower-case names and "*.parent" that it is for
	Leaf  *x509.Certificate

	FilesErr    error     // what is wrong with the files by now, which is why this certificate is presented still
	StapleErr   error     // why there is no OCSP response to staple, although a file was named
	stapleUntil time.Time // when the response is too old; zero: never
}

// Subject returns who the certificate is for: its common name, else its first name.
func (c *Certificate) Subject() string { return subjectOf(c.Leaf) }

func subjectOf(leaf *x509.Certificate) string {
	switch {
	case leaf.Subject.CommonName != "":
		return "CN=" + leaf.Subject.CommonName
	case len(leaf.DNSNames) > 0:
		return leaf.DNSNames[0]
	case len(leaf.IPAddresses) > 0:
		return leaf.IPAddresses[0].String()
	}
	return "without a name"
}

// KeyID returns the SHA-256 of the public key: it is equal for certificates of one key.
func (c *Certificate) KeyID() [32]byte { return sha256.Sum256(c.Leaf.RawSubjectPublicKeyInfo) }

// State says how a certificate stands in time.
type State uint8

// The states of a certificate.
const (
	Valid State = iota
	Expiring
	Expired
	NotYetValid
)

// expiringDays before its end a certificate that is renewed automatically has been renewed.
const expiringDays = 14

// State returns how the certificate stands at now. It is expiring when less than 14 days and less than a quarter of its
// life are left.
func (c *Certificate) State(now time.Time) State {
	return StateOf(c.Leaf.NotBefore, c.Leaf.NotAfter, now)
}

// StateOf is Certificate.State for a certificate that is valid from a time to another.
func StateOf(from, until, now time.Time) State {
	left := until.Sub(now)
	switch {
	case left <= 0:
		return Expired
	case now.Before(from):
		return NotYetValid
	case left < expiringDays*24*time.Hour && left < until.Sub(from)/4:
		return Expiring
	}
	return Valid
}

// Load reads a pair. An error is an *Error. A response that cannot be stapled is no error: see StapleErr.
func Load(f *Files, now time.Time) (*Certificate, error) {
	if f.Authority != nil {
		return f.Authority.Leaf(f.Hosts...)
	}
	chain, key, err := f.read()
	if err != nil {
		return nil, err
	}
	c, err := f.parse(chain, key)
	if err != nil {
		return nil, err
	}
	c.Hosts = hostsOf(c.Leaf)
	if len(f.Hosts) > 0 {
		c.Hosts = lowered(f.Hosts)
	}
	if f.OCSP != "" {
		if err := c.staple(f.OCSP, now); err != nil {
			c.StapleErr = &Error{PartOCSP, f.OCSP, err}
		}
	}
	return c, nil
}

// PEM returns the texts of a pair, for programs that build their own tls.Config. A pair that Load refuses is an error.
func (f *Files) PEM() (chain, key string, err error) {
	c, k, err := f.read()
	if err == nil {
		_, err = f.parse(c, k)
	}
	return string(c), string(k), err
}

// read returns the texts of certificate and key. Where they are in one file it is read once.
func (f *Files) read() (chain, key []byte, err error) {
	chain, err = f.readOne(f.Cert)
	if err != nil {
		return nil, nil, &Error{PartCert, f.Cert, err}
	}
	if f.Key == "" {
		return chain, chain, nil
	}
	if key, err = f.readOne(f.Key); err != nil {
		return nil, nil, &Error{PartKey, f.Key, err}
	}
	return chain, key, nil
}

func (f *Files) readOne(path string) ([]byte, error) {
	if f.in != nil {
		text, err := f.in.Read(filepath.Base(path))
		return text, reason(err)
	}
	return readFile(path)
}

// parse makes a certificate with its key from the texts that read returned.
func (f *Files) parse(chain, key []byte) (*Certificate, error) {
	c, err := parseChain(chain)
	if err != nil {
		return nil, &Error{PartCert, f.Cert, err}
	}
	signer, err := ParseKey(key)
	if err != nil {
		if f.Key == "" {
			return nil, &Error{PartCert, f.Cert, err}
		}
		return nil, &Error{PartKey, f.Key, err}
	}
	if err := c.fits(signer); err != nil {
		return nil, &Error{PartCert, f.Cert, err}
	}
	c.TLS.PrivateKey = signer
	return c, nil
}

// readFile reads a regular file: opening a pipe could wait for ever.
func readFile(path string) ([]byte, error) {
	at, err := os.Stat(path)
	if err != nil {
		return nil, reason(err)
	}
	if !at.Mode().IsRegular() {
		return nil, private.ErrNoRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close() //nolint:errcheck // it was read
	return private.ReadAll(f)
}

// reason drops the path from an error of the file system: ours names it.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func parseChain(text []byte) (*Certificate, error) {
	c := &Certificate{}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == certificateBlock {
			c.TLS.Certificate = append(c.TLS.Certificate, block.Bytes)
		}
	}
	if len(c.TLS.Certificate) == 0 {
		return nil, ErrNoCertificate
	}
	// Decode skips text that is no block: a file that is being written would give a chain without its end.
	if bytes.Count(text, []byte("-----BEGIN CERTIFICATE-----")) != len(c.TLS.Certificate) {
		return nil, ErrDamaged
	}
	leaf, err := x509.ParseCertificate(c.TLS.Certificate[0])
	if err != nil {
		return nil, err
	}
	c.Leaf, c.TLS.Leaf = leaf, leaf
	return c, nil
}

// ParseKey reads the first private key of a text in PEM: of PKCS #8, PKCS #1 or SEC 1, without a password.
func ParseKey(text []byte) (crypto.Signer, error) {
	der, err := keyDER(text)
	if err != nil {
		return nil, err
	}
	return parseDER(der)
}

// keyDER returns the bytes of the first private key in a text.
func keyDER(text []byte) ([]byte, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, ErrEncrypted
		}
		if block.Type != "PRIVATE KEY" && !strings.HasSuffix(block.Type, " PRIVATE KEY") {
			continue
		}
		return block.Bytes, nil
	}
	return nil, ErrNoKey
}

// parseDER reads a key of PKCS #8, PKCS #1 or SEC 1.
func parseDER(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if k, e := x509.ParsePKCS1PrivateKey(der); e == nil {
			key, err = k, nil
		} else if k, e := x509.ParseECPrivateKey(der); e == nil {
			key, err = k, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the private key cannot be read: %w", err)
	}
	switch key.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
		return key.(crypto.Signer), nil
	}
	return nil, fmt.Errorf("keys of type %T cannot be used for TLS", key)
}

// fits checks that key belongs to the certificate.
func (c *Certificate) fits(key crypto.Signer) error {
	id, err := keyID(key)
	if err != nil {
		return err
	}
	if c.KeyID() == id {
		return nil
	}
	for _, der := range c.TLS.Certificate[1:] {
		if other, err := x509.ParseCertificate(der); err == nil && sha256.Sum256(other.RawSubjectPublicKeyInfo) == id {
			return ErrOrder
		}
	}
	// The same key may be encoded in two ways.
	public, ok := c.Leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if ok && public.Equal(key.Public()) {
		return nil
	}
	return &Mismatch{Subject: c.Subject(), KeyID: id}
}

func keyID(key crypto.Signer) ([32]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	return sha256.Sum256(der), err
}

// hostsOf returns the names of a certificate. Common names count where it has no others: RFC 6125 §6.4.4.
func hostsOf(leaf *x509.Certificate) []string {
	hosts := slices.Clone(leaf.DNSNames)
	if len(hosts) == 0 && leaf.Subject.CommonName != "" && !bytes.ContainsAny([]byte(leaf.Subject.CommonName), " /@") {
		hosts = append(hosts, leaf.Subject.CommonName)
	}
	return lowered(hosts)
}

func lowered(hosts []string) []string {
	all := make([]string, 0, len(hosts))
	for _, h := range hosts {
		all = append(all, strings.TrimSuffix(strings.ToLower(h), "."))
	}
	return all
}

// Authorities reads certificates of authorities. A file without any is an error: a caller that names a file does not
// mean the authorities of the system. An error is an *Error.
func Authorities(path string) (*x509.CertPool, error) {
	_, pool, err := readAuthorities(path)
	return pool, err
}

// AuthoritiesPEM returns the text of a file that Authorities can read.
func AuthoritiesPEM(path string) (string, error) {
	text, _, err := readAuthorities(path)
	return string(text), err
}

func readAuthorities(path string) ([]byte, *x509.CertPool, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, nil, &Error{PartCert, path, err}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, nil, &Error{PartCert, path, ErrNoCertificate}
	}
	return text, pool, nil
}
