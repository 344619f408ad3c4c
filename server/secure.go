package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/certs"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/proxy/terms"
	"github.com/edge-proxy/edge/tlsconn"
)

// watchEvery is how often files of certificates and authorities are checked for changes.
const watchEvery = 2 * time.Second

// openCertificates reads the certificates of the configuration, and keeps those that the present generation has.
func (b *build) openCertificates() error {
	issuer, names, err := b.internal()
	if err != nil {
		return err
	}
	var internal certs.Files
	if issuer != nil {
		internal, err = issuer.Leaf(names...)
	}
	if err != nil {
		return err
	}
	filesOf := func(c *config.Certificate) certs.Files {
		if c.Cert == config.InternalCert {
			return internal
		}
		return *c.Files()
	}
	groups := [][]certs.Files{nil}
	for i := range b.config.Certificates {
		c := &b.config.Certificates[i]
		files := filesOf(c)
		if when := c.When; when != nil {
			files.When = func(hello *tls.ClientHelloInfo, listener string) bool {
				return terms.Holds(when, hello, listener)
			}
		}
		groups[0] = append(groups[0], files)
	}
	for i := range b.config.Listeners {
		var own []certs.Files
		if c := b.config.Listeners[i].Certificate; c != nil {
			own = append(own, filesOf(c))
		}
		groups = append(groups, own)
	}
	if b.certs, err = certs.NewSet(b.server.present.certs, groups...); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if issuer != nil {
		b.certs.Renew(issuer, names...)
	}
	return nil
}

// internal returns the authority of this machine and the names for its certificate; nil when the configuration does not
// ask for it.
func (b *build) internal() (a *certs.Authority, names []string, err error) {
	hosts, asked := []string{"localhost", "*.localhost", "127.0.0.1", "::1"}, false
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	for i := range b.config.Certificates {
		if c := &b.config.Certificates[i]; c.Cert == config.InternalCert {
			asked = true
			hosts = append(hosts, c.Hosts...)
		}
	}
	for i := range b.config.Listeners {
		l := &b.config.Listeners[i]
		if l.Certificate == nil || l.Certificate.Cert != config.InternalCert {
			continue
		}
		asked = true
		for _, a := range l.Addresses {
			if ip := net.ParseIP(a.Host); ip != nil && !ip.IsUnspecified() {
				hosts = append(hosts, ip.String())
			}
		}
	}
	if !asked {
		return nil, nil, nil
	}
	o := &b.server.opts
	if o.StateDir == "" {
		return nil, nil, errNoState
	}
	owner := Owner{-1, -1}
	if o.Owner != nil {
		owner = *o.Owner
	}
	if a, err = certs.OpenAuthority(filepath.Join(o.StateDir, AuthorityFolder), owner.UID, owner.GID); err != nil {
		return nil, nil, err
	}
	if a.Made {
		slog.Info("internal authority made; clients that trust its file trust its certificates", "file", a.Path)
	}
	b.authority = a.Path
	slices.Sort(hosts)
	return a, slices.Compact(hosts), nil
}

var errNoState = errors.New("internal authority: there is no folder to keep it in: set STATE_DIRECTORY, or HOME")

// AuthorityFolder is where in Options.StateDir the internal authority is.
const AuthorityFolder = "internal"

// StateDir returns the folder for files that edge makes for itself as a user: the one that systemd gives it, else a
// usual one. It is never below /tmp: there another user could make the folder first, and would know the keys.
func StateDir(uid int) (string, error) {
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir, nil
	}
	if uid == 0 {
		return "/var/lib/edge", nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "edge"), nil
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "edge"), nil
	}
	return "", errNoState
}

// secureOptions returns the options of TLS of listener i; nil when it has no TLS.
func (b *build) secureOptions(i int) (*tlsconn.ServerOptions, error) {
	l := &b.config.Listeners[i]
	if l.TLS == config.TLSOff {
		return nil, nil
	}
	o := &l.TLSOptions
	c := &tls.Config{
		GetCertificate: b.certs.Chooser(l.Name, i+1, 0).GetCertificate, MinVersion: o.MinVersion,
		CipherSuites: o.Ciphers, CurvePreferences: o.Curves, SessionTicketsDisabled: !o.SessionTickets,
	}
	if slices.Contains(l.Protocols, "h2") {
		c.NextProtos = append(c.NextProtos, "h2")
	}
	if slices.Contains(l.Protocols, "h1") {
		c.NextProtos = append(c.NextProtos, "http/1.1")
	}
	if o.ClientCA != "" {
		pool, err := certs.Authorities(o.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("listener %s: client_ca: %w", l.Name, err)
		}
		c.ClientCAs = pool
	}
	switch {
	case o.ClientAuth == config.ClientAuthRequire:
		c.ClientAuth = tls.RequireAndVerifyClientCert
	case o.ClientAuth == config.ClientAuthRequest && c.ClientCAs != nil:
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case o.ClientAuth == config.ClientAuthRequest:
		c.ClientAuth = tls.RequestClientCert
	}
	c.SetSessionTicketKeys(b.server.tickets.Keys()) // a new address serves before the generation is committed
	b.tlsConfigs = append(b.tlsConfigs, c)
	return &tlsconn.ServerOptions{
		Config: c, Auto: l.TLS == config.TLSAuto, Plain: b.server.proxy.PlainOnTLS, Failed: refused(l.Name),
	}, nil
}

// hstsOf returns the value of Strict-Transport-Security; "": none.
func hstsOf(h *config.HSTS) string {
	if h.MaxAge < 0 {
		return ""
	}
	text := fmt.Sprintf("max-age=%d", int64(h.MaxAge/time.Second))
	if h.Subdomains {
		text += "; includeSubDomains"
	}
	if h.Preload {
		text += "; preload"
	}
	return text
}

// tellCertificate counts and logs a change of the files of a certificate.
func (s *Server) tellCertificate(c certs.Change) {
	s.counters.CountCertificate(c.Err == nil)
	attrs := []any{"certificate", c.Now.Subject(), "file", c.Files.Cert,
		"expires", c.Now.Leaf.NotAfter.UTC().Format(time.RFC3339)}
	var wrong *certs.Error
	if errors.As(c.Err, &wrong) && wrong.Part == certs.PartOCSP {
		slog.Warn("an OCSP response is stapled no more", append(attrs, "error", c.Err)...)
		return
	}
	if errors.Is(c.Err, certs.ErrRenewal) {
		slog.Error("the internal certificate stays as it is", append(attrs, "error", c.Err)...)
		return
	}
	if c.Err != nil {
		slog.Error("the files of a certificate are wrong, the one before stays", append(attrs, "error", c.Err)...)
		return
	}
	slog.Info("certificate changed", attrs...)
	if c.Now.StapleErr != nil {
		slog.Warn("no OCSP response is stapled", append(attrs, "error", c.Now.StapleErr)...)
	}
}
