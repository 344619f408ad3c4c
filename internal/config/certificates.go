package config

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/tls/certs"
	"github.com/edge-proxy/edge/lang"
)

// pairOf is a certificate of the configuration on its way through openFiles.
type pairOf struct {
	cert  *Certificate
	given *schema.Given      // the entry that names it
	read  *certs.Certificate // nil when its files could not be read
	wrong *certs.Mismatch    // set when the key belongs to another certificate
}

// openFiles opens the files that the configuration names, and replaces their paths by those at which they were found.
// It also checks what the file says of the process against this machine.
func (r *resolver) openFiles() {
	r.checkProcess()
	checkWritten(r.doc, &r.c.Global, r.rep)
	var all []*pairOf
	for i, e := range r.doc.certificates {
		all = append(all, &pairOf{cert: &r.c.Certificates[i], given: &e.Given})
	}
	for i, e := range slices.Concat(r.doc.listeners, r.doc.services) {
		l := r.c.Listening()[i]
		if l.Certificate != nil {
			all = append(all, &pairOf{cert: l.Certificate, given: &e.Given})
		}
		r.openAuthorities(&e.Given, &r.doc.tls.Given, "client_ca", &l.TLSOptions.ClientCA)
		openRuleAuthorities(r, schema.Inside(e), l.TLSRules)
	}
	openRuleAuthorities(r, r.file.Entries(tlsRulesPath), r.c.TLS.Rules)
	for _, p := range all {
		r.openPair(p)
	}
	for _, p := range all {
		if p.wrong != nil {
			r.reportMismatch(p, all)
		}
	}
	r.openAuthorities(&r.doc.global.Given, nil, "ca_file", &r.c.Global.CAFile)
	r.openUpstreamFiles()
	for _, e := range schema.All[TLSClient](r.c.Features) {
		ca, cert, key := e.ClientFiles()
		r.openAuthorities(schema.GivenOf(e), nil, "ca", ca)
		r.openClientPair(schema.GivenOf(e), "", cert, key)
	}
	openOrders(ordersOf(r.c), r)
	openErrorPages(r)
	if r.rep.OK() {
		warnUncovered(r, all)
	}
}

// openOrders opens the files of orders.
func openOrders(orders Orders, r *resolver) {
	g, path := schema.GivenOf(orders), orders.Program()
	r.openAuthorities(g, nil, "ca_file", orders.Roots())
	if path == "" {
		return
	}
	switch info, err := os.Stat(path); {
	case err != nil && !leaveToOthers(r, err, g.At("dns"), path):
		r.rep.Errorf(g.At("dns"), syntax.VariableHint(path), "cannot use %s: %s", syntax.QuotePath(path),
			syntax.WithoutPath(err))
	case err == nil && (info.IsDir() || info.Mode()&0o111 == 0):
		r.rep.Errorf(g.At("dns"), "chmod +x "+path, "%s is no program", syntax.QuotePath(path))
	}
}

// warnUncovered warns of hosts that clients ask for by TLS and that no certificate is for, and of certificates that are
// for no host of a route. The first of all are the certificates of [[certificates]], the others are of listeners.
func warnUncovered(r *resolver, all []*pairOf) {
	shared := indexHosts(all[:len(r.c.Certificates)])
	own := make(map[*schema.Given]hostIndex)
	for _, p := range all[len(r.c.Certificates):] {
		own[p.given] = indexHosts([]*pairOf{p})
	}
	used := make(map[*pairOf]bool)
	secured := false
	for _, route := range r.c.Routes {
		e := r.doc.routes[route.Entry]
		for _, l := range e.on {
			if l.TLS == TLSOff || route.Off {
				continue
			}
			secured = true
			good := slices.Concat(shared.find(route.Host), own[&l.Given].find(route.Host))
			for _, p := range good {
				used[p] = true
			}
			other := func(p *pairOf) bool { return p.cert.Cert != InternalCert || p.cert.For(route.Host) }
			orders := ordersOf(r.c)
			ordered := !slices.ContainsFunc(good, other) && orders.Order(route.Host)
			if len(good) == 0 && !ordered && !(route.Host == "" && orders.Any()) {
				r.rep.Warnf(codeUncoveredHost, e.hostSpan(), "add one to [[certificates]]",
					"no certificate is for %q: clients of listener %q refuse the connection", route.Host, l.Name)
				break
			}
		}
	}
	if !secured || r.c.Fallback.sends() {
		return // they are for no host, or for any
	}
	for _, p := range shared.all {
		if !used[p] && p.read != nil {
			names := p.read.Hosts[:min(len(p.read.Hosts), namesInHint)]
			r.rep.Warnf(codeUnusedCertificate, p.given.At("cert"), "",
				"no route with TLS is for a host of this certificate (%s)", strings.Join(names, ", "))
		}
	}
}

// hostIndex finds certificates by the hosts of routes.
type hostIndex struct {
	all   []*pairOf
	named map[string][]*pairOf // by the name of a host, or "*.parent"
	below map[string][]*pairOf // by what a name is below: "example.org" and "org" for "a.example.org"
	any   []*pairOf            // certificates of this machine, and unread ones, are taken to be for any host
}

func indexHosts(all []*pairOf) hostIndex {
	x := hostIndex{all: all, named: make(map[string][]*pairOf), below: make(map[string][]*pairOf)}
	for _, p := range all {
		hosts := p.cert.Hosts
		switch {
		case p.read != nil:
			hosts = p.read.Hosts
			for _, ip := range p.read.Leaf.IPAddresses {
				x.named[ip.String()] = append(x.named[ip.String()], p)
			}
		case p.cert.Cert != ACMECert:
			x.any = append(x.any, p)
			continue
		}
		for _, name := range hosts {
			name = strings.ToLower(name)
			x.named[name] = append(x.named[name], p)
			for _, above, found := strings.Cut(name, "."); found; _, above, found = strings.Cut(above, ".") {
				x.below[above] = append(x.below[above], p)
			}
		}
	}
	return x
}

// find returns the certificates for a host: any is "", and of one with a star a name below suffices.
func (x hostIndex) find(host string) []*pairOf {
	if host == "" {
		return x.all
	}
	if above, wild := strings.CutPrefix(host, "*."); wild {
		return slices.Concat(x.below[above], x.any)
	}
	return slices.Concat(x.named[strings.Trim(host, "[]")], x.named[Star(host)], x.any)
}

// openUpstreamFiles opens the files for TLS to backends. Files of [upstream_defaults] are opened once, for all
// upstreams that name none of their own; upstreams that a dest spells out are among them.
func (r *resolver) openUpstreamFiles() {
	shared := r.doc.defaults
	r.openAuthorities(&shared.Given, nil, "tls.ca", &shared.TLS.CA)
	r.openClientPair(&shared.Given, "tls.", &shared.TLS.Cert, &shared.TLS.Key)
	tables := make(map[string]*upstreamEntry)
	for _, e := range r.doc.upstreams {
		tables[e.Name] = e
	}
	for i := range r.c.Upstreams {
		u := &r.c.Upstreams[i]
		e := tables[u.Name]
		if e == nil {
			e = &upstreamEntry{}
		}
		if u.TLS.CA = shared.TLS.CA; e.Has("tls.ca") {
			u.TLS.CA = e.TLS.CA
			r.openAuthorities(&e.Given, nil, "tls.ca", &u.TLS.CA)
		}
		if e.Has("tls.cert") {
			r.openClientPair(&e.Given, "tls.", &u.TLS.Cert, &u.TLS.Key)
		} else {
			u.TLS.Cert, u.TLS.Key = shared.TLS.Cert, shared.TLS.Key
		}
	}
}

func (r *resolver) openPair(p *pairOf) {
	c, g := p.cert, p.given
	if c.Cert == "" || c.isMade() || g.Failed("cert") || g.Failed("key") || g.Failed("ocsp") {
		return
	}
	for path, to := range map[string]*string{"cert": &c.Cert, "key": &c.Key, "ocsp": &c.OCSP} {
		if g.Has(path) {
			*to = r.locate(*to, g.At(path))
		}
	}
	read, err := certs.Load(c.Files(), r.now)
	if err != nil {
		if errors.As(err, &p.wrong) {
			return
		}
		r.reportUnreadable(g, err, "key", false)
		return
	}
	p.read, c.NotAfter = read, read.Leaf.NotAfter
	r.warnExpiry(p)
	if read.StapleErr != nil {
		r.reportStaple(g, read.StapleErr)
	}
	if r.doc.global.FIPS && !approvedKey(read) {
		r.rep.Errorf(g.At("cert"), "", "the key of this certificate is not allowed with fips = true")
	}
}

// Files returns where the certificate is.
func (c *Certificate) Files() *certs.Files {
	return &certs.Files{Cert: c.Cert, Key: c.Key, OCSP: c.OCSP, Hosts: c.Hosts}
}

// reportUnreadable reports why a certificate and its key could not be read. key is the name of the key for the latter.
// It is shown to servers where edge is their client.
func (r *resolver) reportUnreadable(g *schema.Given, err error, key string, client bool) {
	var wrong *certs.Error
	if !errors.As(err, &wrong) {
		return
	}
	prefix := key[:len(key)-len("key")]
	at := g.At(prefix + "cert")
	if wrong.Part == certs.PartKey {
		at = g.At(key)
	}
	if leaveToOthers(r, err, at, wrong.Path) {
		return
	}
	hint := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint = missingHint(g, wrong.Path, client)
	case errors.Is(err, fs.ErrPermission):
		hint = "edge has to be allowed to read it"
	case errors.Is(err, certs.ErrEncrypted):
		hint = "openssl pkey -in FILE -out FILE writes it without a password"
	case swapped(g, prefix, r):
		hint = "cert and key stand in each other's place"
	case errors.Is(err, certs.ErrNoKey) && wrong.Part == certs.PartCert:
		hint = `add key = "…"`
	case errors.Is(err, certs.ErrNoKey) || errors.Is(err, certs.ErrNoCertificate):
		hint = "the file has to be PEM"
	case errors.Is(err, certs.ErrOrder):
		hint = "put it before them, as in cat own.pem authority.pem"
	}
	r.rep.Errorf(at, hint, "cannot use %s: %s", syntax.QuotePath(wrong.Path), wrong.Err)
	if wrong.Part != certs.PartCert || !g.Has(key) {
		return
	}
	path := r.locate(g.Value(key).(string), g.At(key))
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		r.rep.Errorf(g.At(key), syntax.VariableHint(path), "cannot use %s: %s", syntax.QuotePath(path),
			syntax.WithoutPath(err))
	}
}

// leaveToOthers reports whether err is that this user may not read a file, while another one will: a warning.
func leaveToOthers(r *resolver, err error, at syntax.Span, path string) bool {
	if !errors.Is(err, fs.ErrPermission) || r.c.Global.mayRun() {
		return false
	}
	r.rep.Warnf(codeUnreadableFile, at, "look as that user: sudo -u "+r.c.Global.User+" edge check",
		"this user may not read %s: only %s knows whether it is right", syntax.QuotePath(path), r.c.Global.User)
	return true
}

// missingHint says what to do about a certificate or key that is not there.
func missingHint(g *schema.Given, path string, client bool) string {
	if hint := syntax.VariableHint(path); hint != "" || client {
		return hint
	}
	if slices.Contains([]string{"auto", "acme", "letsencrypt"}, filepath.Base(path)) {
		return `cert = "acme" orders one from Let's Encrypt; cert = "internal" makes one for development`
	}
	if !g.Has("key") {
		return `it needs key = "…" too, unless it holds the key; cert = "internal" makes one for development`
	}
	return `cert = "internal" without a key makes one for development`
}

// swapped reports whether a certificate and its key stand in each other's place.
func swapped(g *schema.Given, prefix string, r *resolver) bool {
	cert, _ := g.Value(prefix + "cert").(string)
	key, _ := g.Value(prefix + "key").(string)
	if cert == "" || key == "" {
		return false
	}
	files := &certs.Files{Cert: r.locate(key, g.At(prefix+"key")), Key: r.locate(cert, g.At(prefix+"cert"))}
	_, err := certs.Load(files, r.now)
	return err == nil
}

// reportStaple reports why an OCSP response is not stapled: as an error when it can never be.
func (r *resolver) reportStaple(g *schema.Given, err error) {
	if leaveToOthers(r, err, g.At("ocsp"), g.Value("ocsp").(string)) {
		return
	}
	if errors.Is(err, certs.ErrOCSPMalformed) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		var wrong *certs.Error
		errors.As(err, &wrong)
		r.rep.Errorf(g.At("ocsp"), "openssl ocsp -respout FILE writes one", "cannot use %s: %s",
			syntax.QuotePath(wrong.Path), wrong.Err)
		return
	}
	r.rep.Warnf(codeNoStaple, g.At("ocsp"), "", "%s", errors.Unwrap(err))
}

// reportMismatch reports a key that belongs to another certificate, and to which one, if that one is in all.
func (r *resolver) reportMismatch(p *pairOf, all []*pairOf) {
	whose := ""
	for _, other := range all {
		if other.read != nil && other.read.KeyID() == p.wrong.KeyID {
			whose = ", key is for " + other.read.Subject()
		}
	}
	at := p.given.At("cert")
	if p.given.Has("key") {
		at = p.given.At("key")
	}
	r.rep.Errorf(at, pairHint, "certificate and key do not belong together (cert %s%s)", p.wrong.Subject, whose)
}

// pairHint says how people find the key of a certificate.
const pairHint = "openssl x509 -pubkey -noout -in CERT and openssl pkey -pubout -in KEY print the same for a pair"

// warnExpiry warns of a certificate that has expired, will soon, or is not valid yet.
func (r *resolver) warnExpiry(p *pairOf) {
	at, leaf := p.given.At("cert"), p.read.Leaf
	subject := p.read.Subject()
	switch p.read.State(r.now) {
	case certs.Expired:
		r.rep.Warnf(codeCertExpired, at, "renew it", "the certificate %s expired on %s", subject,
			day8601(leaf.NotAfter))
	case certs.NotYetValid:
		r.rep.Warnf(codeCertEarly, at, "is the clock right?", "the certificate %s is not valid before %s", subject,
			day8601(leaf.NotBefore))
	case certs.Expiring:
		r.rep.Warnf(codeCertExpires, at, "renew it", "the certificate %s expires in %s", subject,
			syntax.Plural(days(leaf.NotAfter.Sub(r.now)), "day"))
	}
}

func days(d time.Duration) int { return int(math.Round(d.Hours() / 24)) }

// day8601 returns a day as ISO 8601 writes it.
func day8601(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// openAuthorities opens the file of authorities that key path of g names, or fallback names, and sets *file to where it
// was found.
func (r *resolver) openAuthorities(g, fallback *schema.Given, path string, file *string) {
	if !g.Has(path) && fallback != nil {
		if fallback.Has(path) && !fallback.Failed(path) && *file != "" {
			*file = r.locate(*file, fallback.At(path))
		}
		g = fallback
	}
	if !g.Has(path) || g.Failed(path) || *file == "" {
		return
	}
	*file = r.locate(*file, g.At(path))
	if _, err := certs.Authorities(*file); err != nil && !leaveToOthers(r, err, g.At(path), *file) {
		r.rep.Errorf(g.At(path), authoritiesHint(*file, err), "cannot use %s: %s", syntax.QuotePath(*file),
			errors.Unwrap(err))
	}
}

// authoritiesHint says what to do about a file of authorities that cannot be used.
func authoritiesHint(path string, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cmp.Or(syntax.VariableHint(path), "name a file with the certificates of authorities in PEM")
	case errors.Is(err, fs.ErrPermission):
		return "edge has to be allowed to read it"
	}
	return "the file has to be PEM, with the certificates of authorities"
}

// openClientPair opens the certificate and key that servers are shown, when g names them under keys with a prefix, and
// sets *cert and *key to where they were found.
func (r *resolver) openClientPair(g *schema.Given, prefix string, cert, key *string) {
	if !g.Has(prefix+"cert") || g.Failed(prefix+"cert") || g.Failed(prefix+"key") {
		return
	}
	*cert = r.locate(*cert, g.At(prefix+"cert"))
	if g.Has(prefix + "key") {
		*key = r.locate(*key, g.At(prefix+"key"))
	}
	var wrong *certs.Mismatch
	_, err := certs.Load(&certs.Files{Cert: *cert, Key: *key}, r.now)
	switch {
	case errors.As(err, &wrong):
		r.rep.Errorf(g.At(prefix+"cert"), pairHint, "certificate and key do not belong together (cert %s)",
			wrong.Subject)
	case err != nil:
		r.reportUnreadable(g, err, prefix+"key", true)
	}
}

// TLSClient is an entry of a registered section whose keys ca, cert and key name the files of a client of TLS.
type TLSClient interface {
	schema.Target
	// ClientFiles returns the fields of these keys, which are replaced by where the files were found.
	ClientFiles() (ca, cert, key *string)
}

func approvedKey(c *certs.Certificate) bool {
	switch k := c.Leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= 2048
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || k.Curve == elliptic.P521()
	}
	return true
}

// locate returns where a file is that at names: below the working directory, else beside the file of at.
func (r *resolver) locate(path string, at syntax.Span) string {
	if filepath.IsAbs(path) || at.Source == nil {
		return path
	}
	beside := filepath.Join(filepath.Dir(at.Source.Name), path)
	if g := &r.c.Global; g.WorkingDirectory != "" {
		path = g.FromWorkingDirectory(path)
		if whole, err := filepath.Abs(beside); err == nil {
			beside = whole // the process opens the file from another folder
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path
	}
	if _, err := os.Stat(beside); err == nil {
		return beside
	}
	return path
}

func (r *resolver) resolveCertificates() {
	names := make(map[string]syntax.Span)
	for _, e := range r.doc.certificates {
		r.file.Fill(e)
		e.Pos = e.Node().Head.Pos()
		if e.Has("name") && !e.Failed("name") {
			r.requireUniqueName(names, e.Name, e.At("name"), "certificate")
		}
		if e.Lacks("cert") {
			r.rep.Errorf(e.Node().Head, `add cert = "example.pem"`, "this certificate has no file")
		}
		if e.Has("when") && !e.Failed("when") {
			e.When = r.c.Language.Condition(r.rep, e.KeyNode("when"), lang.Handshake)
		}
		r.checkMadeCert(&e.Given, &e.Certificate)
		if e.Cert == ACMECert {
			checkOrdered(e, ordersOf(r.c), r.rep)
		}
		for _, host := range e.Hosts {
			if e.Cert == ACMECert {
				break // these are checked
			}
			if h, wrong, hint := value.ParseHost(host, ""); wrong != "" || h == "" {
				r.rep.Errorf(e.At("hosts"), hint, "%s is not a host", syntax.Quote(host))
			}
		}
		r.c.Certificates = append(r.c.Certificates, e.Certificate)
	}
}

// For reports whether the certificate is for a name, "" for none, as far as its hosts say so.
func (c *Certificate) For(name string) bool {
	star := Star(name)
	return name == "" || len(c.Hosts) == 0 || slices.ContainsFunc(c.Hosts, func(host string) bool {
		return strings.EqualFold(host, name) || strings.EqualFold(host, star)
	})
}

// isMade reports whether edge makes or orders the certificate: it has no files.
func (c *Certificate) isMade() bool { return c.Cert == InternalCert || c.Cert == ACMECert }

// checkMadeCert checks a certificate that has no files.
func (r *resolver) checkMadeCert(g *schema.Given, c *Certificate) {
	if !c.isMade() {
		return
	}
	for _, other := range []string{"key", "ocsp"} {
		if g.Has(other) {
			r.rep.Errorf(g.Head(other), "leave it out", "cert = %q makes its own key", c.Cert)
		}
	}
}

// fileNoun returns what messages call the file that a key names.
func fileNoun(key string) string {
	if key == "ocsp" {
		return "OCSP response"
	}
	return key
}
