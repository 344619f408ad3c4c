package tlsconn

import (
	"crypto/tls"
	"crypto/x509"
)

// Terms are what ServerOptions.Choose decides about one handshake.
type Terms struct {
	// Config takes the place of ServerOptions.Config, by reference as that one; nil: the handshake is refused. Its
	// ticket keys are its own where they were set (SetSessionTicketKeys): then a session that began under another
	// Config is not resumed under it.
	Config *tls.Config
	// Asked takes the place of ServerOptions.Asked.
	Asked string
	// Certificate is for Config.GetCertificate, which finds it by HelloTerms; nil: there is nothing to say.
	Certificate func(hello *tls.ClientHelloInfo) (*tls.Certificate, error)
}

// HelloTerms returns the terms of a handshake that goes on, for callbacks of a tls.Config; the zero value where nothing
// has chosen them. On the goroutine of the handshake.
func HelloTerms(hello *tls.ClientHelloInfo) Terms {
	if s := seatOf(hello); s != nil {
		return s.terms
	}
	return Terms{}
}

// seatKey is what the context of a handshake over QUIC has its seat for, as there is no ClientHelloInfo.Conn.
type seatKey struct{}

// seatOf returns the seat of a handshake that goes on; nil: it is not of this package, or is over.
func seatOf(hello *tls.ClientHelloInfo) (s *seat) {
	if p, ok := hello.Conn.(*pipe); ok && p.shake != nil {
		return &p.shake.seat
	}
	if ctx := hello.Context(); ctx != nil {
		s, _ = ctx.Value(seatKey{}).(*seat)
	}
	return s
}

// Alerts by which a handshake ends (RFC 8446 §6).
const (
	alertUnexpectedMessage = 10
	alertAccessDenied      = 49
	alertInternalError     = 80
	alertUnrecognizedName  = 112
)

// choose is Config.GetConfigForClient where there is a Choose. It comes before a session is resumed, so a ticket
// escapes nothing that is decided here.
func (o *ServerOptions) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	s := seatOf(hello)
	t := o.Choose(hello)
	if t.Config == nil {
		s.layer.digest.ServerName = hello.ServerName // for the log
		return nil, ErrDenied
	}
	s.terms, s.config = t, t.Config
	s.layer.digest.Asked, s.layer.digest.Offered = t.Asked, hello.SupportedProtos
	return t.Config, nil
}

// alertOfDenied returns the alert for a refusal. RFC 8446 §6.2: unrecognized_name is for a name that has no server, and
// access_denied is the one about access control.
func alertOfDenied(name string) uint8 {
	if name == "" {
		return alertAccessDenied
	}
	return alertUnrecognizedName
}

// configOfQUIC returns Config for handshakes whose callbacks run on goroutines of crypto/tls, where a panic would end
// the process. Each handshake has a copy of the Config that is chosen for it, with the ticket keys of that moment.
func (o *ServerOptions) configOfQUIC() *tls.Config {
	choose := o.Config.GetConfigForClient
	if o.Choose != nil {
		choose = o.choose
	}
	c := o.Config.Clone()
	c.MinVersion = tls.VersionTLS13
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (chosen *tls.Config, err error) {
		if choose != nil {
			err = guarded(func() (e error) { chosen, e = choose(hello); return e })
		}
		if chosen == nil {
			chosen = o.Config
		}
		return withGuards(chosen), err
	}
	return c
}

// withGuards returns a copy of c whose callbacks may panic.
func withGuards(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.MinVersion = tls.VersionTLS13
	if get := c.GetCertificate; get != nil {
		c.GetCertificate = func(hello *tls.ClientHelloInfo) (cert *tls.Certificate, err error) {
			err = guarded(func() (e error) { cert, e = get(hello); return e })
			return cert, err
		}
	}
	if verify := c.VerifyPeerCertificate; verify != nil {
		c.VerifyPeerCertificate = func(raw [][]byte, chains [][]*x509.Certificate) error {
			return guarded(func() error { return verify(raw, chains) })
		}
	}
	if verify := c.VerifyConnection; verify != nil {
		c.VerifyConnection = func(s tls.ConnectionState) error {
			return guarded(func() error { return verify(s) })
		}
	}
	return c
}
