package config

import (
	"crypto/tls"
	"time"
)

// TLSMode says what a listener takes.
type TLSMode uint8

// The modes of a listener.
const (
	TLSOff  TLSMode = iota // plain HTTP
	TLSOn                  // TLS
	TLSAuto                // both: the first byte of a connection decides
)

// String returns "off", "on" or "auto".
func (m TLSMode) String() string { return [...]string{"off", "on", "auto"}[m] }

// MarshalText makes the mode readable in JSON.
func (m TLSMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Switch is a key that may be given or not.
type Switch uint8

// The values of a Switch.
const (
	Unset Switch = iota // as the listener says
	On
	Off
)

// String returns "unset", "on" or "off".
func (s Switch) String() string { return [...]string{"unset", "on", "off"}[s] }

// MarshalText makes the switch readable in JSON.
func (s Switch) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func switchOf(on bool) Switch {
	if on {
		return On
	}
	return Off
}

// InternalCert in place of a path stands for a certificate of the authority on this machine, made at the first start.
const InternalCert = "internal"

// Certificate is a certificate with its key.
type Certificate struct {
	Hosts    []string // names it is for; none: those that it says itself
	Cert     string   // a path, or InternalCert
	Key      string   // a path; empty: in the same file
	OCSP     string   // path of a response to staple; empty: none
	NotAfter time.Time
	Pos      Pos
}

// TLS holds what concerns the TLS of all listeners.
type TLS struct {
	TicketRotation   time.Duration // how often the keys of session tickets change
	HandshakeTimeout time.Duration
	Handshakes       int // in progress at once; 0: what the memory is enough for
}

// TLSOptions say how a listener secures its connections.
type TLSOptions struct {
	MinVersion     uint16        // of crypto/tls
	Curves         []tls.CurveID // the key exchanges that are offered
	Ciphers        []uint16      // of TLS 1.2; none: those of crypto/tls
	ClientAuth     ClientAuth
	ClientCA       string // path of the authorities of client certificates; empty: none is verified
	StrictSNI      bool   // 421 for another host than the handshake named
	SessionTickets bool
	HSTS           HSTS
}

// ClientAuth says whether clients show a certificate.
type ClientAuth string

// The values of ClientAuth.
const (
	ClientAuthNone    ClientAuth = "none"
	ClientAuthRequest ClientAuth = "request" // asked for; one that comes is verified where there are authorities
	ClientAuthRequire ClientAuth = "require"
)

// HSTS is Strict-Transport-Security.
type HSTS struct {
	MaxAge     time.Duration // below 0: there is none
	Subdomains bool
	Preload    bool
}

// H2Options bound a connection of HTTP/2.
type H2Options struct {
	MaxStreams  int
	IdleTimeout time.Duration
}

// UpstreamTLS says how connections to backends are secured. Paths are of PEM files.
type UpstreamTLS struct {
	On     bool
	SNI    string // the name that is asked for and verified; empty: the host of the backend
	CA     string // authorities; empty: those of the system
	Verify bool
	Cert   string // what backends are shown when they ask; empty: nothing
	Key    string // empty: in the same file
}
