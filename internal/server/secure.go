package server

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/base/private"
	"github.com/edge-proxy/edge/internal/config"
	wanted "github.com/edge-proxy/edge/internal/config/acme"
	"github.com/edge-proxy/edge/internal/config/caching"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/server/metrics"
	"github.com/edge-proxy/edge/internal/server/tlsrules"
	"github.com/edge-proxy/edge/internal/tls/certs"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
)

// watchEvery is how often files of certificates and authorities are checked for changes.
const watchEvery = 2 * time.Second

// certificates are the certificates of listeners, the terms of their handshakes, and the keys of session tickets.
type certificates struct {
	nothing
	*shared
	issuing   *issuing
	tickets   *certs.Tickets
	trust     *certs.Follower // of the files of authorities
	shakes    tlsrules.Counts // of rules on handshakes
	now, next certified       // now is guarded by shared.mu
}

// certified is what a configuration has of certificates.
type certified struct {
	set       *certs.Set
	authority *certs.Authority   // of this machine; nil: no certificate is of it
	chosen    map[string]int     // the groups of set that rules choose, by the name of the certificate
	ticketing []certs.TicketUser // the configurations of the listeners
	trust     certs.Stamps       // of the files of authorities, before they were read
}

// prepare reads the certificates, and keeps those that the present configuration has.
func (p *certificates) prepare() error {
	p.next = certified{trust: certs.StampsOf(trustFiles(p.reload.config)), chosen: make(map[string]int)}
	p.reload.onFailure(func() { p.next = certified{} })
	names, err := p.openInternal()
	if err != nil {
		return err
	}
	internal := certs.Files{Authority: p.next.authority, Hosts: names}
	filesOf := func(c *config.Certificate) certs.Files {
		if isInternal(c) {
			return internal
		}
		return *c.Files()
	}
	groups := [][]certs.Files{nil}
	for i := range p.reload.config.Certificates {
		c := &p.reload.config.Certificates[i]
		if isACME(c) {
			continue
		}
		files := filesOf(c)
		if when := c.When; when != nil {
			files.When = func(hello *tls.ClientHelloInfo, listener string) bool {
				return tlsrules.Holds(when, hello, listener)
			}
		}
		groups[0] = append(groups[0], files)
	}
	for _, l := range p.reload.config.Listening() {
		var own []certs.Files
		if c := l.Certificate; c != nil {
			own = append(own, filesOf(c))
		}
		groups = append(groups, own)
	}
	for i := range p.reload.config.Certificates {
		if c := &p.reload.config.Certificates[i]; c.Name != "" && !isACME(c) {
			p.next.chosen[c.Name] = len(groups)
			groups = append(groups, []certs.Files{filesOf(c)})
		}
	}
	if p.next.set, err = certs.NewSet(p.now.set, groups...); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return nil
}

func (p *certificates) retire() {
	p.tickets.Use(p.next.ticketing)
	p.tickets.Every(p.reload.config.TLS.TicketRotation)
	if p.now.set != nil {
		p.now.set.Stop()
	}
	p.now, p.next = p.next, certified{}
	p.now.set.Watch(watchEvery, p.tellChange)
	p.trust.Use(p.now.trust)
}

func (p *certificates) describe(l *ledger) { l.look(p.count) }

// count adds the present certificates to a sample. shared.mu is held.
func (p *certificates) count(now *metrics.Sample) {
	for _, c := range p.now.set.Certificates() {
		now.AddCertificate(c.Subject(), c.Leaf.NotBefore, c.Leaf.NotAfter)
	}
}

func (p *certificates) stop() error {
	p.tickets.Stop()
	if p.now.set != nil {
		p.now.set.Stop()
	}
	return nil
}

// trustFiles returns the files that c names in addition to the certificates of listeners: authorities, and the
// certificates that backends are shown.
func trustFiles(c *config.Config) (paths []string) {
	add := func(path string) {
		if path != "" {
			paths = append(paths, path)
		}
	}
	for _, l := range c.Listening() {
		if l.TLS != config.TLSOff {
			add(l.TLSOptions.ClientCA)
			for _, rule := range c.HandshakeRules(l) {
				add(rule.ClientCA)
			}
		}
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i].TLS
		if !u.On {
			continue
		}
		add(u.Cert)
		add(u.Key)
		if u.CA == "" {
			add(c.Global.CAFile)
		}
		add(u.CA)
	}
	return paths
}

// internalHosts returns the names for which c wants certificates of the internal authority: wanted, which it names, and
// hosts, which the machine and its listeners have. Where it asks for no such certificate, asked is nil, and else the
// place of the first one.
func internalHosts(c *config.Config) (wanted, hosts []string, asked *config.Pos) {
	hosts = []string{"localhost", "*.localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, strings.ToLower(name))
	}
	for i := range c.Certificates {
		if of := &c.Certificates[i]; isInternal(of) {
			asked = cmp.Or(asked, &of.Pos)
			for _, host := range of.Hosts { // as "Shop.example.org.", or "[2001:db8::7]"
				wanted = append(wanted, config.PlainHost(host))
			}
		}
	}
	for _, l := range c.Listening() {
		if !isInternal(l.Certificate) {
			continue
		}
		asked = cmp.Or(asked, &l.Pos)
		for _, a := range l.Addresses {
			if ip := net.ParseIP(a.Host); ip != nil && !ip.IsUnspecified() {
				hosts = append(hosts, ip.String())
			}
		}
	}
	return wanted, hosts, asked
}

// openInternal opens the authority of this machine where the configuration asks for it. It returns the names of its
// first certificate, for clients that ask for no name, or for a name that it may not vouch for.
func (p *certificates) openInternal() (names []string, err error) {
	wanted, hosts, asked := internalHosts(p.reload.config)
	if asked == nil {
		return nil, nil
	}
	o := &p.opts
	if o.StateDir == "" {
		return nil, errNoState
	}
	owner := o.owner()
	dir := filepath.Join(o.StateDir, AuthorityFolder)
	a, err := certs.OpenAuthority(dir, owner.UID, owner.GID, append(wanted, hosts...)...)
	if err != nil {
		return nil, err
	}
	if a.Made {
		slog.Info("internal authority made; clients that trust its file trust its certificates", "file", a.Path)
	}
	p.next.authority = a
	if err := a.Refusal(wanted); err != nil {
		return nil, err
	}
	for _, host := range hosts {
		if a.May(host) { // the name of the machine and its addresses change
			names = append(names, host)
		}
	}
	names = append(names, wanted...)
	slices.Sort(names)
	return slices.Compact(names), nil
}

// CheckState reports folders that a start of c could not use: of the internal authority, of the certificates that c
// orders, and of the cache. It makes nothing. stateDir is Options.StateDir.
func CheckState(c *config.Config, stateDir string) (found []config.Problem) {
	if stateDir == "" {
		stateDir, _ = StateDir(os.Geteuid())
	}
	uid := -1
	if id, err := c.Global.Identity(); err == nil && id != nil {
		uid = id.UID
	}
	report := func(at config.Pos, err error) {
		if err != nil {
			found = append(found, config.Problem{Pos: at, Severity: config.SeverityError, Message: err.Error()})
		}
	}
	if names, _, asked := internalHosts(c); asked != nil && stateDir != "" {
		report(*asked, certs.CheckAuthority(filepath.Join(stateDir, AuthorityFolder), uid, names))
	}
	if path := ACMEPath(c, stateDir); path != "" {
		if err := private.Check(path, uid); err != nil {
			report(wanted.PlaceOf(c), fmt.Errorf("acme: %w", err))
		}
	}
	report(caching.Of(c).DiskPos(), checkDisk(c))
	return found
}

var errNoState = errors.New("internal authority: there is no folder to keep it in: set STATE_DIRECTORY, or HOME")

// AuthorityFolder is where in Options.StateDir the internal authority is.
const AuthorityFolder = "internal"

// StateDir returns the folder for files that edge makes for itself as a user: the folder that systemd gives it, else a
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

// options returns the options of TLS of l, number i of Listening, and the rules on its handshakes; nil when it has no
// TLS, or no rules.
func (p *certificates) options(i int, l *config.Listener) (*tlsconn.ServerOptions, *tlsrules.Rules, error) {
	if l.TLS == config.TLSOff {
		return nil, nil, nil
	}
	secure, rules, err := p.optionsOver(transport{protocols: protocolsOf(l)}, i, l)
	if err != nil {
		return nil, nil, err
	}
	secure.Auto = l.TLS == config.TLSAuto
	if l.Service == nil {
		secure.Plain = p.proxy.PlainOnTLS
	}
	if p.issuing.next != nil {
		p.issuing.prove(secure)
	}
	return secure, rules, nil
}

// quicOptions is options for handshakes over QUIC; nil: l serves no HTTP/3. A rule that leads a connection elsewhere
// denies the handshake there, and authorities look for proofs over TCP alone (RFC 8737 §3).
func (p *certificates) quicOptions(i int, l *config.Listener) (*tlsconn.ServerOptions, error) {
	if !l.ServesHTTP3() {
		return nil, nil
	}
	secure, _, err := p.optionsOver(transport{"quic", tls.VersionTLS13, []string{"h3"}}, i, l)
	return secure, err
}

// transport is what handshakes come over: TCP, or QUIC.
type transport struct {
	bound      string // a word that sessions are bound to; "": none
	minVersion uint16 // the oldest version of TLS there is over it, whatever a listener and its rules accept
	protocols  []string
}

// optionsOver returns the options that handshakes over both transports have, and the rules on them; nil: there are
// none.
func (p *certificates) optionsOver(
	over transport, i int, l *config.Listener,
) (*tlsconn.ServerOptions, *tlsrules.Rules, error) {
	o := &l.TLSOptions
	chooser := p.next.set.Chooser(l.Name, i+1, 0)
	c := &tls.Config{
		GetCertificate: chooser.GetCertificate, MinVersion: max(o.MinVersion, over.minVersion),
		CipherSuites: o.Ciphers, CurvePreferences: o.Curves, SessionTicketsDisabled: !o.SessionTickets,
		NextProtos: over.protocols,
	}
	secure := &tlsconn.ServerOptions{Config: c, Asked: authOf(o.ClientAuth, o.ClientCA).Asked, Failed: refused(l.Name)}
	if err := p.askClients(c, o.ClientAuth, o.ClientCA); err != nil {
		return nil, nil, fmt.Errorf("listener %s: %w", l.Name, err)
	}
	rules, err := p.ruleHandshakes(over, l, c)
	if err != nil {
		return nil, nil, err
	}
	if rules != nil {
		secure.Choose = rules.Choose
	} else {
		p.ticket(c, over.bound)
	}
	if p.issuing.next != nil {
		chooser.Source = onDemand{p.issuing.next, p.issuing.renewer}
	}
	return secure, rules, nil
}

func isInternal(c *config.Certificate) bool { return c != nil && c.Cert == config.InternalCert }

// protocolsOf returns the protocols of l as handshakes name them, the preferred one first.
func protocolsOf(l *config.Listener) (names []string) {
	if slices.Contains(l.Versions.Protocols, "h2") {
		names = append(names, "h2")
	}
	if slices.Contains(l.Versions.Protocols, "h1") {
		names = append(names, "http/1.1")
	}
	return names
}

// ticket gives c its keys of session tickets, which are bound to words. A new address serves before the reload
// has ended.
func (p *certificates) ticket(c *tls.Config, bound string) {
	u := certs.TicketUser{Config: c, Bound: bound}
	p.tickets.Begin(u)
	p.next.ticketing = append(p.next.ticketing, u)
}

func (p *certificates) askClients(c *tls.Config, auth config.ClientAuth, ca string) error {
	c.ClientAuth, c.ClientCAs = tls.NoClientCert, nil
	if ca != "" {
		pool, err := certs.Authorities(ca)
		if err != nil {
			return fmt.Errorf("client_ca: %w", err)
		}
		c.ClientCAs = pool
	}
	switch {
	case auth == config.ClientAuthRequire:
		c.ClientAuth = tls.RequireAndVerifyClientCert
	case auth == config.ClientAuthRequest && c.ClientCAs != nil:
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case auth == config.ClientAuthRequest:
		c.ClientAuth = tls.RequestClientCert
	}
	return nil
}

// authOf returns how clients are asked for certificates. The words are equal for equal keys: the file of authorities is
// named, since connections go on when it changes.
func authOf(auth config.ClientAuth, ca string) tlsrules.Auth {
	a := tlsrules.Auth{Asked: string(auth), Require: auth == config.ClientAuthRequire}
	if auth != config.ClientAuthNone && ca != "" {
		a.Asked += " " + ca
	}
	return a
}

// ruleHandshakes returns the rules on the handshakes of l over a transport, whose tls.Config is base; nil: there are
// none. Every other Config that they lead to is a copy of base, made here. A session is resumed on the terms alone that
// it began on.
func (p *certificates) ruleHandshakes(over transport, l *config.Listener, base *tls.Config) (*tlsrules.Rules, error) {
	rules := handshakeRules(p.reload.config, l, &p.shakes, func(name string) tlsrules.Certificate {
		if _, inFiles := p.next.chosen[name]; !inFiles {
			return p.issuing.named(name)
		}
		return p.next.set.Chooser(l.Name, p.next.chosen[name]).GetCertificate
	})
	if rules == nil {
		return nil, nil
	}
	choose := base.GetCertificate
	base.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if ruled := tlsconn.HelloTerms(hello).Certificate; ruled != nil {
			return ruled(hello)
		}
		return choose(hello)
	}
	base.DynamicRecordSizingDisabled = true // as tlsconn sets it in the Config it is given
	var wrong error
	rules.Prepare(func(auth *tlsrules.Auth, minVersion uint16) *tls.Config {
		c := base.Clone()
		c.MinVersion = max(minVersion, over.minVersion)
		word, ca, _ := strings.Cut(auth.Asked, " ")
		if err := p.askClients(c, config.ClientAuth(word), ca); err != nil {
			wrong = fmt.Errorf("rule on handshakes of listener %s: %w", l.Name, err)
		}
		p.ticket(c, strings.TrimSpace(over.bound+" "+auth.Asked))
		return c
	})
	return rules, wrong
}

// handshakeRules returns the rules on the handshakes of a listener; nil: what its handshakes say is not asked for, and
// there are none. certificate returns what shows one of [[certificates]]; nothing is counted where counts is nil.
func handshakeRules(
	c *config.Config, l *config.Listener, counts *tlsrules.Counts, certificate func(name string) tlsrules.Certificate,
) *tlsrules.Rules {
	written := c.HandshakeRules(l)
	if l.TLS == config.TLSOff || len(written)+len(l.Routes) == 0 {
		return nil
	}
	made := make(map[string]*tlsrules.Auth)
	auth := func(by config.ClientAuth, ca string) *tlsrules.Auth {
		a := authOf(by, ca)
		if made[a.Asked] == nil {
			made[a.Asked] = &a
		}
		return made[a.Asked]
	}
	list := make([]tlsrules.Rule, len(written))
	for i := range written {
		w := &written[i]
		list[i] = tlsrules.Rule{When: w.When, Deny: w.Deny, Pass: w.Dest != "",
			MinVersion: w.MinVersion}
		if counts != nil {
			list[i].Count = counts.Of(l.Name, cmp.Or(w.Name, strconv.Itoa(i+1)))
		}
		if w.ClientAuth != "" {
			list[i].Auth = auth(w.ClientAuth, cmp.Or(w.ClientCA, l.TLSOptions.ClientCA))
		}
		if w.Certificate != "" {
			list[i].Certificate = certificate(w.Certificate)
		}
	}
	o := &l.TLSOptions
	return tlsrules.New(l.Name, list, tlsrules.Decision{Auth: auth(o.ClientAuth, o.ClientCA), MinVersion: o.MinVersion})
}

func listRules(r *observe.Registry, counts *tlsrules.Counts) {
	r.Counters("edge_tls_rules_total", "Handshakes that rules decided about, by listener, rule and result.",
		func(yield func(float64, ...observe.Label)) {
			counts.Each(func(listener, rule string, n *tlsrules.Count) {
				of := []observe.Label{{Name: "listener", Value: listener}, {Name: "rule", Value: rule}}
				yield(float64(n.Applied.Load()), append(of[:2:2], observe.Label{Name: "result", Value: "applied"})...)
				yield(float64(n.Denied.Load()), append(of[:2:2], observe.Label{Name: "result", Value: "denied"})...)
			})
		})
}

// guardBy makes a listener check its requests against the rules on its handshakes, where they may be for another host.
func guardBy(l *proxy.Listener, rules *tlsrules.Rules) {
	switch {
	case rules == nil:
	case rules.Guards():
		l.Fits, l.ClientCert = rules.Fit, false // what Fit asks depends on the host
	case rules.HandOn():
		l.Fits, l.FitPlain = rules.Fit, true
	}
}

// DryHandshake is what becomes of a handshake for DryRun: of a client that asks for a name and offers what the listener
// has.
type DryHandshake struct {
	Denied      bool
	Passed      *config.Upstream // that gets the connection as it is; nil: none does
	Require     bool             // there is no request without a certificate that is trusted
	Asked       string           // "none", "request" or "require", and the file of authorities: see tlsconn.Digest
	MinVersion  uint16
	Certificate *config.Certificate // named, or for some handshakes alone; nil: names choose it
	Rules       []*config.TLSRule   // that were asked for it
	Held        []bool              // says of each of Rules whether it holds
}

// DryShake finds out what a listener of cfg does with a handshake for a name by a client; its address is invalid for a
// Unix socket. No file is opened: which of the certificates for all handshakes is for the name is not known.
func DryShake(cfg *config.Config, l *config.Listener, client netip.AddrPort, name string) *DryHandshake {
	offered := protocolsOf(l)
	d := &tlsconn.Digest{Peer: poller.Addr{IP: client}}
	base := authOf(l.TLSOptions.ClientAuth, l.TLSOptions.ClientCA)
	out := &DryHandshake{Asked: base.Asked, Require: base.Require, MinVersion: l.TLSOptions.MinVersion}
	for i := range cfg.Certificates {
		c := &cfg.Certificates[i]
		if c.When != nil && c.For(name) && tlsrules.HoldsFor(c.When, d, name, offered, l.Name) {
			out.Certificate = c
			break
		}
	}
	rules := handshakeRules(cfg, l, nil, func(string) tlsrules.Certificate {
		return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }
	})
	if rules == nil {
		return out
	}
	written := cfg.HandshakeRules(l)
	t, held := rules.Explain(d, name, offered)
	for i := range written {
		out.Rules = append(out.Rules, &written[i])
	}
	out.Denied, out.Asked, out.Require, out.MinVersion = t.Denied, t.Auth.Asked, t.Auth.Require, t.MinVersion
	out.Held = held
	if t.Passed {
		out.Passed = &cfg.Upstreams[written[t.By.Pass].Upstream]
	}
	if t.By.Certificate >= 0 {
		named := written[t.By.Certificate].Certificate
		i := slices.IndexFunc(cfg.Certificates, func(c config.Certificate) bool { return c.Name == named })
		out.Certificate = &cfg.Certificates[i]
	}
	return out
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

// tellChange counts and logs a change of the files of a certificate.
func (p *certificates) tellChange(c certs.Change) {
	p.counters.CountCertificate(c.Err == nil)
	attrs := []any{"certificate", c.Now.Subject(), "file", cmp.Or(c.Files.Cert, config.InternalCert),
		"expires", c.Now.Leaf.NotAfter.UTC().Format(time.RFC3339)}
	var wrong *certs.Error
	if errors.As(c.Err, &wrong) && wrong.Part == certs.PartOCSP {
		slog.Warn("an OCSP response is stapled no more", append(attrs, "error", c.Err)...)
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
