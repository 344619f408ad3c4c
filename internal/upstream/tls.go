package upstream

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// TLS says how the connections to the backends of an upstream are secured. It is plain values, so that two of them can
// be compared. The zero value: they are not secured. Immutable once used.
type TLS struct {
	On          bool
	ServerName  string // the name that is asked for (SNI) and verified; "": the host of the backend's address
	CA          string // the authorities that are trusted, PEM; "": the system's
	Insecure    bool   // the backend's certificate is not verified
	Certificate string // what the backend is shown when it asks, PEM, with its chain; "": nothing
	Key         string // of Certificate, PEM
	MinVersion  uint16 // of crypto/tls; 0: TLS 1.2
	MaxVersion  uint16 // of crypto/tls; 0: the latest
	Sessions    int    // sessions kept to be resumed, of all backends; 0: 256; below 0: none
}

// sessionsDefault is the default of TLS.Sessions. One is 1 to 2 KiB.
const sessionsDefault = 256

// Protocol is the version of HTTP that is spoken to a backend.
type Protocol uint8

// The protocols of an upstream, in the order of the words of a configuration.
const (
	H1   Protocol = iota // HTTP/1.1
	H2                   // HTTP/2, without TLS by prior knowledge
	Auto                 // what ALPN yields; without TLS HTTP/1.1
)

// What ALPN calls the protocols.
const (
	alpnH1 = "http/1.1"
	alpnH2 = "h2"
)

// ErrNotSecured says that Options.TLS does not fit the backend: see Check.
var ErrNotSecured = errors.New("connections to the backend cannot be secured")

// The errors of Check.
var (
	errNoCA   = errors.New("no certificate among the authorities")
	errNoName = errors.New("a certificate cannot be verified without a server name")
)

// Check reports what is wrong with t for a backend at address.
func (t *TLS) Check(address string) error {
	if !t.On {
		return nil
	}
	_, err := t.config(address)
	return err
}

// ClientOptions returns how a connection to a backend at address is secured that offers protocols, the names of ALPN.
// like is what it returned for another address, nil for none: what was read from t's texts is shared then.
func (t *TLS) ClientOptions(
	address string, like *tlsconn.ClientOptions, protocols ...string,
) (*tlsconn.ClientOptions, error) {
	if like == nil {
		c, err := t.config(address)
		if err != nil {
			return nil, err
		}
		return offering(c, protocols...), nil
	}
	c := like.Config.Clone()
	c.ServerName = t.nameFor(address)
	if c.ServerName == "" && !t.Insecure {
		return nil, errNoName
	}
	return offering(c, protocols...), nil
}

// config returns what crypto/tls needs for connections to address, but for the protocols and the session cache.
func (t *TLS) config(address string) (*tls.Config, error) {
	c := &tls.Config{
		ServerName: t.nameFor(address), InsecureSkipVerify: t.Insecure,
		MinVersion: t.MinVersion, MaxVersion: t.MaxVersion,
	}
	c.MinVersion = cmp.Or(c.MinVersion, tls.VersionTLS12)
	if c.ServerName == "" && !t.Insecure {
		return nil, errNoName
	}
	if t.CA != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(t.CA)) {
			return nil, errNoCA
		}
	}
	if t.Certificate != "" {
		pair, err := tls.X509KeyPair([]byte(t.Certificate), []byte(t.Key))
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// tlsClient is how connections to one backend are secured. Immutable.
type tlsClient struct {
	handshaker *tlsconn.Handshaker
	offers     [Auto + 1]*tlsconn.ClientOptions // by the protocol that ALPN offers; Auto: both
	err        error                            // why no connection can be secured
}

// offering returns options that offer protocols to the backend.
func offering(c *tls.Config, protocols ...string) *tlsconn.ClientOptions {
	c = c.Clone()
	c.NextProtos = protocols
	return &tlsconn.ClientOptions{Config: c}
}

// nameFor returns the name that a backend at address is expected to have: the name of the host. A Unix socket has none.
func (t *TLS) nameFor(address string) string {
	if t.ServerName != "" || strings.HasPrefix(address, "unix:") {
		return t.ServerName
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
