package tlsconn

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
)

// Digest holds the facts about a TLS connection after its handshake.
// Immutable after the handshake; safe for any goroutine.
type Digest struct {
	Peer, Local poller.Addr
	Accepted    int64  // Reactor.Now when the connection was accepted, or stood when it was dialled
	Hello       int64  // when the ClientHello was whole, or was about to be sent
	Secured     int64  // when the handshake was done
	Version     uint16 // tls.VersionTLS13
	Cipher      uint16 // tls.TLS_AES_128_GCM_SHA256
	Group       tls.CurveID
	ServerName  string // that the client asked for
	ALPN        string // agreed upon; empty when there was none
	Resumed     bool
	Verified    bool     // the peer's certificate leads to a trusted one
	Asked       string   // which certificate the client was asked for, in the words of ServerOptions and Terms
	Offered     []string // the protocols that the client offers, where ServerOptions.Choose was asked; shared

	chain []*x509.Certificate
	facts atomic.Pointer[Certificate]
}

// Certificate holds the facts of a certificate as configurations and logs name them.
// Immutable.
type Certificate struct {
	Subject string // RFC 2253
	Issuer  string
	Serial  string   // hexadecimal
	SANs    []string // with their types: "DNS:a.test", "IP:10.0.0.1", "email:a@b.test", "URI:spiffe://b.test/a"
	Names   []string // without types, names of SANs whose text tells which type they have
	SHA256  [sha256.Size]byte
}

// DigestOf returns what is known of c, nil when c is not secured by TLS. On c's reactor; what it returns may be kept.
func DigestOf(c *engine.Conn) *Digest {
	if l, ok := c.Layer().(*layer); ok {
		return &l.digest
	}
	return nil
}

// HelloDigest returns what is known of the connection of a handshake that has begun: Peer and Local. It is for
// callbacks of a tls.Config. nil: the connection is not of this package.
func HelloDigest(hello *tls.ClientHelloInfo) *Digest {
	if p, ok := hello.Conn.(*pipe); ok {
		return p.address
	}
	if s := seatOf(hello); s != nil {
		return &s.layer.digest
	}
	return nil
}

// fill takes over what the handshake found out.
func (d *Digest) fill(s tls.ConnectionState) {
	d.Version, d.Cipher, d.Group = s.Version, s.CipherSuite, s.CurveID
	d.ServerName, d.ALPN = s.ServerName, s.NegotiatedProtocol
	d.Resumed, d.Verified = s.DidResume, len(s.VerifiedChains) > 0
	d.chain = s.PeerCertificates
}

// VersionName is as in "TLS 1.3".
func (d *Digest) VersionName() string { return tls.VersionName(d.Version) }

// CipherName is as in "TLS_AES_128_GCM_SHA256".
func (d *Digest) CipherName() string { return tls.CipherSuiteName(d.Cipher) }

// GroupName is as in "X25519MLKEM768" or "P-256"; empty when the handshake had no key exchange of its own.
func (d *Digest) GroupName() string {
	switch d.Group {
	case 0:
		return ""
	case tls.CurveP256, tls.CurveP384, tls.CurveP521:
		return strings.Replace(d.Group.String(), "CurveP", "P-", 1) // as configurations and counters name it
	}
	return d.Group.String()
}

// Chain returns the certificates that the peer sent, its own first; nil without. They are shared: not to be changed.
func (d *Digest) Chain() []*x509.Certificate { return d.chain }

// PeerCertificate returns the facts of the peer's own certificate, nil when it sent none. They are written down when
// they are asked for the first time.
func (d *Digest) PeerCertificate() *Certificate {
	if len(d.chain) == 0 {
		return nil
	}
	if f := d.facts.Load(); f != nil {
		return f
	}
	f := CertificateFacts(d.chain[0])
	d.facts.Store(f) // two goroutines that ask at once store the same facts
	return f
}

// CertificateFacts writes down the facts of c.
func CertificateFacts(c *x509.Certificate) *Certificate {
	f := &Certificate{
		Subject: c.Subject.String(), Issuer: c.Issuer.String(), SHA256: sha256.Sum256(c.Raw),
	}
	if c.SerialNumber != nil {
		f.Serial = c.SerialNumber.Text(16)
	}
	for _, name := range c.DNSNames {
		f.addName(name, kindDNS)
	}
	for _, ip := range c.IPAddresses {
		f.addName(ip.String(), kindIP)
	}
	for _, mail := range c.EmailAddresses {
		f.addName(mail, kindMail)
	}
	for _, u := range c.URIs {
		f.addName(u.String(), kindURI)
	}
	return f
}

// Types of subject alternative names, as they stand before the name in SANs.
const (
	kindDNS  = "DNS:"
	kindIP   = "IP:"
	kindMail = "email:"
	kindURI  = "URI:"
)

// addName adds a name. An authority that vouches for one kind may let anything pass in another: a DNS name that reads
// as an e-mail address or a URI must not stand for one.
func (f *Certificate) addName(name, kind string) {
	f.SANs = append(f.SANs, kind+name)
	if kindOf(name) == kind {
		f.Names = append(f.Names, name)
	}
}

// kindOf returns the one kind of which a name with that text can be.
func kindOf(name string) string {
	_, err := netip.ParseAddr(name)
	switch {
	case err == nil:
		return kindIP
	case strings.Contains(name, ":"):
		return kindURI
	case strings.Contains(name, "@"):
		return kindMail
	}
	return kindDNS
}
