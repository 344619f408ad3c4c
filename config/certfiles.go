package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"io/fs"
	"math"
	"time"

	"github.com/edge-proxy/edge/certs"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
)

// opener reads the certificates that a configuration names, and reports what is wrong with them.
type opener struct {
	now time.Time
}

// pairOf is a certificate of the document with where it stands.
type pairOf struct {
	cert  *Certificate
	given *schema.Given
	read  *certs.Certificate // nil: it was not read
	wrong *certs.Mismatch    // the key is that of another certificate
}

// openAll opens all that the configuration names. Paths become those that were found.
func (r *resolver) openAll() {
	r.process()
	var all []*pairOf
	for i, e := range r.doc.certificates {
		all = append(all, &pairOf{cert: &r.c.Certificates[i], given: &e.Given})
	}
	for i, e := range r.doc.listeners {
		l := &r.c.Listeners[i]
		if l.Certificate != nil {
			all = append(all, &pairOf{cert: l.Certificate, given: &e.Given})
		}
		r.authorities(&e.Given, &r.doc.tls.Given, "client_ca", &l.TLSOptions.ClientCA)
	}
	for _, p := range all {
		r.openPair(p)
	}
	for _, p := range all {
		if p.wrong != nil {
			r.mismatch(p, all)
		}
	}
	r.authorities(&r.doc.global.Given, nil, "ca_file", &r.c.Global.CAFile)
	r.upstreamFiles()
}

// upstreamFiles opens what secures the connections to backends. What [upstream_defaults] names is opened once, for all
// upstreams that do not say it themselves; those that a dest spells out are among them.
func (r *resolver) upstreamFiles() {
	shared := r.doc.defaults
	r.authorities(&shared.Given, nil, "tls.ca", &shared.TLS.CA)
	r.clientPair(shared, &shared.TLS)
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
			r.authorities(&e.Given, nil, "tls.ca", &u.TLS.CA)
		}
		if e.Has("tls.cert") {
			r.clientPair(e, &u.TLS)
		} else {
			u.TLS.Cert, u.TLS.Key = shared.TLS.Cert, shared.TLS.Key
		}
	}
}

func (r *resolver) openPair(p *pairOf) {
	c, g := p.cert, p.given
	if c.Cert == "" || c.Cert == InternalCert || g.Failed("cert") || g.Failed("key") || g.Failed("ocsp") {
		return
	}
	for path, to := range map[string]*string{"cert": &c.Cert, "key": &c.Key, "ocsp": &c.OCSP} {
		if g.Has(path) {
			*to = r.locate(*to, g.At(path))
		}
	}
	read, err := certs.Load(c.Files(), r.open.now)
	if err != nil {
		if errors.As(err, &p.wrong) {
			return
		}
		r.unreadable(g, err, "key")
		return
	}
	p.read, c.NotAfter = read, read.Leaf.NotAfter
	r.timely(p)
	if read.StapleErr != nil {
		r.unreadableStaple(g, read.StapleErr)
	}
	if r.doc.global.FIPS && !approvedKey(read) {
		r.rep.Errorf(g.At("cert"), "", "the key of this certificate is not allowed with fips = true")
	}
}

// Files returns where the certificate is.
func (c *Certificate) Files() *certs.Files {
	return &certs.Files{Cert: c.Cert, Key: c.Key, OCSP: c.OCSP, Hosts: c.Hosts}
}

// unreadable reports a file of a pair that is wrong. key is what the key's path is called.
func (r *resolver) unreadable(g *schema.Given, err error, key string) {
	var wrong *certs.Error
	if !errors.As(err, &wrong) {
		return
	}
	prefix := key[:len(key)-len("key")]
	at := g.At(prefix + "cert")
	if wrong.Part == certs.PartKey {
		at = g.At(key)
	}
	hint := ""
	switch {
	case errors.Is(err, fs.ErrPermission):
		hint = "edge has to be allowed to read it"
	case errors.Is(err, certs.ErrEncrypted):
		hint = "openssl pkey -in FILE -out FILE writes it without a password"
	case errors.Is(err, certs.ErrNoKey) && wrong.Part == certs.PartCert:
		hint = `add key = "…"`
	case errors.Is(err, certs.ErrNoKey) || errors.Is(err, certs.ErrNoCertificate):
		hint = "the file has to be PEM"
	}
	r.rep.Errorf(at, hint, "cannot use %s: %s", syntax.QuotePath(wrong.Path), wrong.Err)
}

func (r *resolver) unreadableStaple(g *schema.Given, err error) {
	if errors.Is(err, certs.ErrOCSPMalformed) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		var wrong *certs.Error
		errors.As(err, &wrong)
		r.rep.Errorf(g.At("ocsp"), "", "cannot use %s: %s", syntax.QuotePath(wrong.Path), wrong.Err)
		return
	}
	r.rep.Warnf(codeNoStaple, g.At("ocsp"), "", "%s", errors.Unwrap(err))
}

// mismatch reports a key that is not that of its certificate, and whose it is if that is known.
func (r *resolver) mismatch(p *pairOf, all []*pairOf) {
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
	r.rep.Errorf(at, "", "certificate and key do not belong together (cert %s%s)", p.wrong.Subject, whose)
}

// timely warns of a certificate that is out of its time, or soon will be.
func (r *resolver) timely(p *pairOf) {
	at, leaf := p.given.At("cert"), p.read.Leaf
	subject := p.read.Subject()
	switch p.read.State(r.open.now) {
	case certs.Expired:
		r.rep.Warnf(codeCertExpired, at, "renew it", "the certificate %s expired on %s", subject,
			day8601(leaf.NotAfter))
	case certs.NotYetValid:
		r.rep.Warnf(codeCertEarly, at, "is the clock right?", "the certificate %s is not valid before %s", subject,
			day8601(leaf.NotBefore))
	case certs.Expiring:
		r.rep.Warnf(codeCertExpires, at, "renew it", "the certificate %s expires in %s", subject,
			syntax.Plural(days(leaf.NotAfter.Sub(r.open.now)), "day"))
	}
}

// days returns a time in whole days, to the nearest.
func days(d time.Duration) int { return int(math.Round(d.Hours() / 24)) }

func day8601(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// authorities checks a file of authorities that g names, or else fallback.
func (r *resolver) authorities(g, fallback *schema.Given, path string, file *string) {
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
	if _, err := certs.Authorities(*file); err != nil {
		r.rep.Errorf(g.At(path), "", "cannot use %s: %s", syntax.QuotePath(*file), errors.Unwrap(err))
	}
}

// clientPair opens the pair that backends are shown, when e names one.
func (r *resolver) clientPair(e *upstreamEntry, t *UpstreamTLS) {
	if !e.Has("tls.cert") || e.Failed("tls.cert") || e.Failed("tls.key") {
		return
	}
	t.Cert = r.locate(t.Cert, e.At("tls.cert"))
	if e.Has("tls.key") {
		t.Key = r.locate(t.Key, e.At("tls.key"))
	}
	var wrong *certs.Mismatch
	_, err := certs.Load(&certs.Files{Cert: t.Cert, Key: t.Key}, r.open.now)
	switch {
	case errors.As(err, &wrong):
		r.rep.Errorf(e.At("tls.cert"), "", "certificate and key do not belong together (cert %s)", wrong.Subject)
	case err != nil:
		r.unreadable(&e.Given, err, "tls.key")
	}
}

// approvedKey tells whether FIPS 140-3 approves the key of a certificate.
func approvedKey(c *certs.Certificate) bool {
	switch k := c.Leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= 2048
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || k.Curve == elliptic.P521()
	}
	return true
}
