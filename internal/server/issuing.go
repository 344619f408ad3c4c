package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/backend/registry"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/config"
	wanted "github.com/edge-proxy/edge/internal/config/acme"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/server/metrics"
	"github.com/edge-proxy/edge/internal/server/tlsrules"
	"github.com/edge-proxy/edge/internal/tls/certs"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
	"github.com/edge-proxy/edge/internal/tls/certs/issue/acme"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// issuing gets the certificates of [acme]. They are looked after from the first Start until a drain begins.
type issuing struct {
	nothing
	*shared
	definitions *definitions

	challenges issue.Challenges
	renewer    *issue.Renewer // made for the first configuration that orders any
	storage    issue.Storage  // the last Storage of edge itself
	place      string         // where it is
	sharing    sharing
	now, next  *issue.Set // nil: the configuration orders none; now is guarded by shared.mu
	ended      bool       // renewer orders no more; guarded by shared.mu
	counts     issueCounts
}

// issueCounts are the orders that have ended, by authority and result. Safe for any goroutine.
type issueCounts struct {
	mu  sync.Mutex
	now map[[2]string]uint64 // guarded by mu
}

func (c *issueCounts) add(authority, result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == nil {
		c.now = make(map[[2]string]uint64)
	}
	c.now[[2]string{authority, result}]++
}

// ACMEPath returns the folder of the certificates that c orders, for Options.StateDir; "": it orders none, there is no
// folder, or a module keeps them.
func ACMEPath(c *config.Config, stateDir string) string {
	of := wanted.Of(c)
	switch {
	case of == nil:
		return ""
	case of.Storage != "":
		return of.Folder()
	case stateDir != "":
		return filepath.Join(stateDir, "acme")
	}
	return ""
}

// prepare reads the certificates that there are.
func (p *issuing) prepare() error {
	p.next, p.sharing.next = nil, sharedWith{}
	of := wanted.Of(p.reload.config)
	if of == nil {
		return nil
	}
	p.reload.onFailure(func() { p.next = nil })
	storage, err := p.open(of)
	if err != nil {
		return fmt.Errorf("acme: %w", err)
	}
	plan := issue.Plan{Storage: storage, Key: issue.KeyKind(of.KeyType), Parallel: of.Parallel,
		Proofs: fmt.Sprint(of.Challenge, of.HTTPPort, of.HTTPSPort, of.DNS, of.Resolver), Demand: demandOf(of)}
	if plan.Authorities, err = p.authorities(of, storage); err != nil {
		return fmt.Errorf("acme: %w", err)
	}
	if of.Settle == 0 { // else other processes may be asked
		kinds := slices.Collect(maps.Keys(placesOf(of, p.reload.config)))
		plan.Leads = newLookout(of, &p.challenges, kinds).leads
	}
	for _, names := range wanted.Subjects(p.reload.config) {
		plan.Subjects = append(plan.Subjects, names)
	}
	if p.renewer == nil || p.ended {
		p.renewer, p.ended = issue.New(issue.Options{Tell: p.tell}), false
		p.look()
	}
	p.next = p.renewer.Load(p.ending, plan)
	return nil
}

// open returns the Storage of the certificates: the present one where it stays.
func (p *issuing) open(of *wanted.ACME) (storage issue.Storage, err error) {
	etcd, place := of.Etcd(), of.Storage
	switch {
	case etcd != nil:
	case of.Storage != "" && of.Folder() == "":
		return openStorage(of.Storage, p.definitions)
	default:
		place = ACMEPath(p.reload.config, p.opts.StateDir)
	}
	switch owner := p.opts.owner(); {
	case place == "":
		return nil, errNoFolder
	case place == p.place:
		return p.storage, nil
	case etcd != nil:
		storage, err = registry.OpenStorage(etcd)
	default:
		storage, err = issue.NewFolder(place, owner.UID, owner.GID)
	}
	if err == nil {
		p.storage, p.place = storage, place
	}
	return storage, err
}

var errNoFolder = errors.New("there is no folder for certificates: set storage, STATE_DIRECTORY, or HOME")

// authorities returns the authorities that certificates are ordered from.
func (p *issuing) authorities(of *wanted.ACME, storage issue.Storage) (all []issue.Authority, err error) {
	var roots *x509.CertPool
	if of.CAFile != "" {
		if roots, err = certs.Authorities(of.CAFile); err != nil {
			return nil, err
		}
	}
	o, err := accountOf(of, func() (plugin.DNSProvider, error) { return p.definitions.dnsProvider(of.DNS) })
	if err != nil {
		return nil, err
	}
	o.Storage, o.Challenges, o.Settle = storage, &p.challenges, of.Settle
	for _, ca := range of.CA {
		var a issue.Authority
		var staging string
		o.Directory, staging = wanted.Directory(ca)
		o.Roots = nil
		if strings.Contains(ca, "://") {
			o.Roots = roots // others are on the Internet
		}
		o.EAB = customerOf(of, ca)
		if a.Issuer, err = p.issuer(o); err != nil {
			return nil, err
		}
		if o.Directory = staging; staging != "" {
			if a.Staging, err = p.issuer(o); err != nil {
				return nil, err
			}
		}
		all = append(all, a)
	}
	return all, nil
}

// accountOf returns what all Issuers of a configuration have alike. provide is for makeZones.
func accountOf(of *wanted.ACME, provide func() (plugin.DNSProvider, error)) (o acme.Options, err error) {
	o = acme.Options{Email: of.Email, Profile: of.Profile}
	if of.Challenge != "auto" {
		o.Kinds = []string{of.Challenge}
	}
	o.DNS, err = makeZones(of, provide)
	return o, err
}

// customerOf returns what binds the account at an authority of ca.
func customerOf(of *wanted.ACME, ca string) acme.EAB {
	if strings.HasPrefix(ca, "letsencrypt") {
		return acme.EAB{} // it knows no customers
	}
	return acme.EAB{ID: of.KID, MAC: of.HMAC}
}

// issuer makes an Issuer, whose proofs the next configuration shares if it waits for that.
func (p *issuing) issuer(o acme.Options) (*acme.Issuer, error) {
	i, err := acme.New(o)
	if err == nil && o.Settle > 0 {
		p.sharing.next.storage = o.Storage
		p.sharing.next.issuers = append(p.sharing.next.issuers, i)
	}
	return i, err
}

func (p *issuing) stop() error {
	p.sharing.work.Wait()
	return nil
}

func (p *issuing) retire() {
	p.now, p.next = p.next, nil
	p.sharing.follow(p.stopping)
	p.look()
}

// look makes the renewer look after the present certificates, once the Server serves and while it does not end.
// shared.mu is held.
func (p *issuing) look() {
	if p.renewer != nil && p.state == serving {
		p.renewer.Use(p.now)
	}
}

// named returns what presents the ordered certificate with that name in [[certificates]].
func (p *issuing) named(name string) tlsrules.Certificate {
	for i := range p.reload.config.Certificates {
		if c := &p.reload.config.Certificates[i]; c.Name == name {
			host, set := config.PlainHost(c.Hosts[0]), p.next
			return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				if found := set.Find(host); found != nil {
					return &found.TLS, nil
				}
				return nil, nil
			}
		}
	}
	panic("server: there is no certificate " + name)
}

// end gives up orders that are under way: another process goes on.
func (p *issuing) end() {
	p.mu.Lock()
	stop := p.take()
	p.mu.Unlock()
	stop()
}

// take is end but for the wait, which stop does. The next configuration orders again. shared.mu is held.
func (p *issuing) take() (stop func()) {
	p.ended = true
	if p.renewer == nil {
		return func() {}
	}
	return p.renewer.Stop
}

// tell counts and logs an event.
func (p *issuing) tell(e issue.Event) {
	attrs := []any{"names", strings.Join(e.Names, " "), "authority", e.Authority, "error", e.Err}
	switch {
	case e.Kind == issue.Trouble:
		slog.Warn("certificates cannot be stored, and are in memory alone", "error", e.Err)
	case e.Kind == issue.Broken:
		slog.Error("the files of an ordered certificate are wrong, another one is ordered", "names", attrs[1],
			"error", e.Err)
	case e.Err == nil:
		p.counts.add(e.Authority, "issued")
		slog.Info("certificate ordered", append(attrs[:4], "expires", e.Expires.UTC().Format(time.RFC3339))...)
	default:
		p.counts.add(e.Authority, "failed")
		attrs = append(attrs, "next_try", e.Next.UTC().Format(time.RFC3339))
		if !e.Expires.IsZero() {
			attrs = append(attrs, "expires", e.Expires.UTC().Format(time.RFC3339))
		}
		slog.Error("a certificate could not be ordered", attrs...)
	}
}

func (p *issuing) describe(l *ledger) { l.look(p.count) }

// all returns how the present certificates stand. shared.mu is held.
func (p *issuing) all() []issue.Status {
	if p.now == nil {
		return nil
	}
	return p.renewer.All()
}

// count adds the present certificates to a sample. shared.mu is held.
func (p *issuing) count(now *metrics.Sample) {
	for _, s := range p.all() {
		if !s.Expires.IsZero() {
			now.AddCertificate(s.Names[0], s.Begins, s.Expires)
		}
	}
}

func (c *issueCounts) list(r *observe.Registry) {
	r.Counters("edge_certificate_issue_total", "Orders of certificates that have ended, by authority and result.",
		func(yield func(float64, ...observe.Label)) {
			c.mu.Lock()
			defer c.mu.Unlock()
			for of, n := range c.now {
				yield(float64(n), observe.Label{Name: "ca", Value: of[0]}, observe.Label{Name: "result", Value: of[1]})
			}
		})
}

// acmeTLS is the protocol by which authorities ask for proofs in handshakes (RFC 8737 §4).
const acmeTLS = "acme-tls/1"

// proofsOf answers handshakes for proofs.
func proofsOf(c *issue.Challenges) *tls.Config {
	return &tls.Config{
		NextProtos: []string{acmeTLS}, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true,
		DynamicRecordSizingDisabled: true,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.Certificate(strings.ToLower(hello.ServerName)), nil
		},
	}
}

// prove makes secure answer handshakes for proofs before any rule is asked. Their connections end with the handshake.
func (p *issuing) prove(secure *tlsconn.ServerOptions) {
	proofs := proofsOf(&p.challenges)
	choose, terms := secure.Choose, tlsconn.Terms{Config: secure.Config, Asked: secure.Asked}
	secure.Choose = func(hello *tls.ClientHelloInfo) tlsconn.Terms {
		if slices.Equal(hello.SupportedProtos, proofs.NextProtos) {
			return tlsconn.Terms{Config: proofs}
		}
		if choose != nil {
			return choose(hello)
		}
		return terms
	}
}

// unlessProof closes connections whose handshake was a proof.
func unlessProof(begin func(c *engine.Conn) engine.Handler) func(c *engine.Conn) engine.Handler {
	return func(c *engine.Conn) engine.Handler {
		if d := tlsconn.DigestOf(c); d != nil && d.ALPN == acmeTLS {
			return nil
		}
		return begin(c)
	}
}

// isACME tells whether c is ordered.
func isACME(c *config.Certificate) bool { return c.Cert == config.ACMECert }
