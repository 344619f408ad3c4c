package logsink

import (
	"crypto/tls"
	"io"
	"strings"
	"sync/atomic"

	"github.com/edge-proxy/edge/internal/observe/syslog"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/tls/certs"
)

// Syslog has the keys of a table of [log_sinks] with type = "syslog".
type Syslog struct {
	To string `edge:"to" doc:"URL of the server." required:"true" example:"syslog+udp://10.0.0.5:514"`

	Format   string `edge:"format" doc:"Form of messages; default: rfc5424, on sockets rfc3164." enum:"rfc5424 rfc3164"`
	Facility string `edge:"facility" doc:"Facility of messages: kern to local7." default:"local0" example:"daemon"`
	App      string `edge:"app" doc:"Name of the program in messages." default:"edge" example:"edge-internal"`
	MaxSize  int64  `edge:"max_size" doc:"Size of a datagram at most." unit:"size" default:"8k" min:"1k" max:"65507"`

	Data bool `edge:"structured_data" doc:"Add status, listener, route and reason as structured data (RFC 5424)."`

	CA   string `edge:"ca" doc:"File of authorities that vouch for it; default: the roots of the system." file:"read"`
	Cert string `edge:"cert" doc:"Certificate that the server is shown; read for each connection." file:"read"`
	Key  string `edge:"key" doc:"File of the private key of that certificate." file:"read"`
}

// Check says what the types of the keys cannot.
func (c *Syslog) Check(r *plugin.Report) {
	network, _, err := syslog.ParseTarget(c.To)
	if err != nil {
		wrong, hint, _ := strings.Cut(err.Error(), ": ")
		r.At("to").Errorf(hint, "%s", wrong)
	}
	if _, err := syslog.ParseFacility(c.Facility); err != nil {
		r.At("facility").Errorf("", "%v", err)
	}
	if (c.Cert == "") != (c.Key == "") {
		r.At("cert").Errorf("name both, or neither", "a certificate and its key belong together")
	}
	if err == nil && network != "tls" && c.CA+c.Cert != "" {
		r.At("to").Errorf("write syslog+tls://", "ca and cert are for TLS, not for %s", network)
	}
}

func init() {
	plugin.Register(plugin.LogSinks, "syslog", "Sends lines to a syslog server over UDP, TCP, TLS or a Unix socket.",
		NewSyslog)
}

// NewSyslog makes a log sink, which takes records, and lines of the error log. It does no I/O but to read files.
func NewSyslog(c *Syslog, b *plugin.Build) (io.Writer, error) {
	c, err := plugin.Completed(c, b)
	if err != nil {
		return nil, err
	}
	o := syslog.Options{App: c.App, MaxSize: int(c.MaxSize), SD: c.Data}
	if o.Network, o.Address, err = syslog.ParseTarget(c.To); err != nil {
		return nil, err
	}
	if o.Facility, err = syslog.ParseFacility(c.Facility); err != nil {
		return nil, err
	}
	switch c.Format {
	case "rfc5424":
		o.Format = syslog.RFC5424
	case "rfc3164":
		o.Format = syslog.RFC3164
	}
	if o.TLS, err = clientTLS(c.CA, c.Cert, c.Key); err != nil {
		return nil, err
	}
	return syslog.New(o), nil
}

// Target makes the log sink that a URL stands for.
func Target(url string) (io.Writer, error) { return NewSyslog(&Syslog{To: url}, nil) }

// clientTLS returns how a server is spoken to over TLS. Empty names of files: with the roots of the system, and without
// a certificate.
func clientTLS(ca, cert, key string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		var err error
		if c.RootCAs, err = certs.Authorities(ca); err != nil {
			return nil, err
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, err
		}
		// A renewed pair is read for the next connection. Where it cannot be, as by the user that a process of root has
		// become, the last one goes on. Several connections may ask at a time.
		var last atomic.Pointer[tls.Certificate]
		last.Store(&pair)
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if next, err := tls.LoadX509KeyPair(cert, key); err == nil {
				last.Store(&next)
			}
			return last.Load(), nil
		}
	}
	return c, nil
}
