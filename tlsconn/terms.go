package tlsconn

import "crypto/tls"

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
	if p, ok := hello.Conn.(*pipe); ok && p.shake != nil {
		return p.shake.terms
	}
	return Terms{}
}

// Alerts by which a handshake is refused.
const (
	alertAccessDenied     = 49
	alertUnrecognizedName = 112
)

// choose is Config.GetConfigForClient where there is a Choose. It comes before a session is resumed, so a ticket
// escapes nothing that is decided here.
func (o *ServerOptions) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	h := hello.Conn.(*pipe).shake
	t := o.Choose(hello)
	if t.Config == nil {
		h.layer.digest.ServerName = hello.ServerName // for the log
		return nil, ErrDenied
	}
	h.terms, h.config = t, t.Config
	h.layer.digest.Asked, h.layer.digest.Offered = t.Asked, hello.SupportedProtos
	return t.Config, nil
}

// tellDenied puts the alert for a refusal in the place of crypto/tls's internal_error, all that was written so far. RFC
// 8446 §6.2: unrecognized_name is for a name that has no server, and access_denied is the one about access control.
func (h *handshake) tellDenied() {
	n := len(h.out)
	if n == 0 {
		return
	}
	if h.out[n-1] = alertUnrecognizedName; h.name == "" {
		h.out[n-1] = alertAccessDenied
	}
}
