package acme

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/discovery/locator"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/tls/certs/issue/acme"
)

// entry is [acme] of a file. It is there without the table too.
type entry struct {
	schema.Given
	ACME
}

// ACME says which certificates are ordered, and of whom.
// Immutable after the configuration was read.
type ACME struct {
	// Hosts with a certificate each. `from-routes`: each exact host of a route on a listener with TLS that no other
	// certificate is for.
	// Example: ["from-routes", "mail.example.org"]
	Hosts []string `edge:"hosts" default:"\"from-routes\""`
	// E-mail address of the account, to which an authority writes when something is wrong with its certificates.
	Email string `edge:"email" example:"admin@example.org"`
	// Authorities in the order in which they are asked, each after failures of the one before: `letsencrypt`,
	// `letsencrypt-staging`, `zerossl`, `google`, `google-staging`, or the URL of an ACME directory.
	// Example: ["letsencrypt", "zerossl"]
	CA []string `edge:"ca" default:"\"letsencrypt\""`
	// File of authorities in PEM that vouch for the directory of a private authority. Default: the authorities that the
	// system trusts.
	CAFile string `edge:"ca_file" example:"/etc/edge/tls/ca.pem" file:"read"`
	// Absolute path of the folder of accounts and certificates, as certmagic and Caddy keep them; or
	// `etcd://host:port,host:port/prefix`, or a name of `[storages]`. Default: `acme` in the state folder.
	// Example: "/srv/edge/acme"
	Storage string `edge:"storage" local:"true"`
	// Time that other processes with this storage have to learn of a proof, before the authority is asked to look for
	// it: `2s` where a balancer leads its requests to any of them. Default: `0s` for a folder, else `2s`.
	// Example: "2s"
	Settle time.Duration `edge:"settle" min:"0s" max:"1m"`
	// Identifier of the customer that the account is bound to, as the authority tells it (EAB).
	KID string `edge:"eab.kid" example:"kid-1"`
	// Key of `eab.kid` in base64url.
	HMAC string `edge:"eab.hmac" kind:"eab_key" example:"zWNDZM6eQGHWpSRTPal5eI" secret:"true" json:"-"`
	// Kind of the private keys of new certificates.
	KeyType string `edge:"key_type" enum:"p256 p384 rsa2048 rsa4096" default:"p256" example:"rsa2048"`
	// Profile of certificates, a word of the authority. Default: `shortlived` for addresses where it is offered.
	Profile string `edge:"profile" example:"tlsserver"`
	// Proof that a host is ours. `http-01`: a request to port 80 of the host. `tls-alpn-01`: a handshake at its port
	// 443. `dns-01`: a record in its zone, as `dns` says. `auto`: `dns-01` where `dns` is set, else `http-01` or
	// `tls-alpn-01`.
	Challenge string `edge:"challenge" enum:"auto http-01 tls-alpn-01 dns-01" default:"auto" example:"http-01"`
	// Writer of the records for `dns-01`, which hosts with a star need: a name of `[dns_providers]`, or the absolute
	// path of a program. See [proofs by DNS](acme.md#proofs-by-dns-wildcard-certificates).
	// Example: "/etc/edge/dns-hook"
	DNS string `edge:"dns" local:"true"`
	// DNS servers that are asked for the zones of hosts; default: the servers of `/etc/resolv.conf`.
	// Example: ["9.9.9.9", "1.1.1.1"]
	Resolver []netip.AddrPort `edge:"resolver" kind:"resolver"`
	// Port of ours that port 80 of the hosts leads to.
	HTTPPort int `edge:"http_port" default:"80" min:"1" max:"65535" example:"8080"`
	// Port of ours that port 443 of the hosts leads to.
	HTTPSPort int `edge:"https_port" default:"443" min:"1" max:"65535" example:"8443"`
	// URL that is asked, by a GET with `?domain=NAME`, whether a name of a handshake may have a certificate, which is
	// ordered then: 2xx is yes. See [on demand](acme.md#on-demand).
	Ask string `edge:"on_demand.ask" kind:"ask" example:"http://127.0.0.1:9000/may"`
	// Number of new names in a time that `on_demand.ask` may allow; a burst of as many is allowed.
	Rate plugin.Rate `edge:"on_demand.rate" kind:"rate" default:"10/m" example:"100/h"`
	// Maximum number of certificates that are ordered at once.
	Parallel int `edge:"parallel" default:"4" min:"1" max:"100" example:"10"`

	on     bool
	named  map[string]bool // Hosts, and routes
	routes []string        // hosts of routes
}

const (
	codeNoPort = "acme-no-port"
	codeNoHost = "acme-no-host"
)

// fromRoutes in place of a host stands for the hosts of routes.
const fromRoutes = "from-routes"

// Of returns the certificates that c orders; nil: none.
func Of(c *config.Config) *ACME {
	if e := schema.Only[*entry](c.Features); e != nil && e.on {
		return &e.ACME
	}
	return nil
}

// PlaceOf returns where c says something of ACME; where it has cert = "acme" alone, the first route with a host.
func PlaceOf(c *config.Config) config.Pos {
	at := schema.Only[*entry](c.Features).Place("").Pos()
	for i := range c.Routes {
		if at.Line == 0 && c.Routes[i].Host != "" {
			at = c.Routes[i].Pos
		}
	}
	return at
}

// Subjects returns the names of each certificate that c orders.
func Subjects(c *config.Config) (all [][]string) {
	a := Of(c)
	for i := range c.Certificates {
		if own := &c.Certificates[i]; own.Cert == config.ACMECert {
			all = append(all, namesOf(own.Hosts))
		}
	}
	for _, host := range namesOf(a.Hosts) {
		if host != fromRoutes {
			all = append(all, []string{host})
		}
	}
	for _, host := range a.routes {
		if star := config.Star(host); star == host || !a.named[star] {
			all = append(all, []string{host})
		}
	}
	return all
}

func namesOf(hosts []string) []string {
	all := make([]string, len(hosts))
	for i, host := range hosts {
		all[i] = config.PlainHost(host)
	}
	return all
}

// Directory returns the URL that a word or a URL of ca stands for, with the directory of its staging authority, if any.
func Directory(ca string) (directory, staging string) {
	for _, known := range acme.Known {
		if known.Word == ca {
			return known.Directory, known.Staging
		}
	}
	return ca, ""
}

// Staging returns the first authority of CA at which an order may be tried, and the directory for that; "": there is
// none.
func (a *ACME) Staging() (ca, directory string) {
	for _, ca := range a.CA {
		own, staging := Directory(ca)
		if own != ca && strings.HasSuffix(ca, "-staging") { // a word, of a staging authority
			staging = own
		}
		if staging != "" {
			return ca, staging
		}
	}
	return "", ""
}

// Word returns the word of ca for the URL of a directory, or the URL.
func Word(directory string) string {
	for _, known := range acme.Known {
		if known.Directory == directory {
			return known.Word
		}
	}
	return directory
}

// Start implements config.Orders.
func (e *entry) Start() { e.on = true }

// Any implements config.Orders.
func (e *entry) Any() bool { return e.on }

// Roots implements config.Orders.
func (e *entry) Roots() *string { return &e.CAFile }

// Order implements config.Orders.
func (e *entry) Order(host string) bool {
	host = strings.Trim(host, "[]")
	if e.named == nil {
		e.named = map[string]bool{}
		for _, name := range namesOf(e.Hosts) {
			e.named[name] = true
		}
	}
	switch {
	case !e.on || host == "":
		return false
	case e.named[host], e.named[config.Star(host)]:
		return true
	case !e.named[fromRoutes], host[0] == '*' && e.DNS == "", !e.May(host), e.refuses(host):
		return e.Ask != "" && e.May(host) // on demand
	}
	e.named[host], e.routes = true, append(e.routes, host)
	return true
}

// Wrong implements config.Orders.
func (e *entry) Wrong(host string) (wrong, hint string) {
	switch h, wrong, hint := value.ParseHost(host, ""); {
	case wrong != "" || h == "":
		return syntax.Quote(host) + " is not a host", hint
	case host[0] == '*' && e.DNS == "":
		return syntax.Quote(host) + ": a certificate with a star needs a proof by DNS",
			"set dns in [acme] to what writes the records, or name each host"
	case !e.May(strings.Trim(host, "[]")):
		return "no authority on the Internet vouches for " + syntax.Quote(host),
			`cert = "internal" makes a certificate for it`
	case e.refuses(strings.Trim(host, "[]")):
		return "ZeroSSL has certificates for names alone", `add "letsencrypt" to ca, which has some for addresses`
	}
	return "", ""
}

// May reports whether one of the authorities may vouch for a host: those on the Internet know no private names.
func (a *ACME) May(host string) bool {
	if slices.ContainsFunc(a.CA, func(ca string) bool { return strings.Contains(ca, "://") }) {
		return true
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsGlobalUnicast() && !ip.IsPrivate()
	}
	_, below, dotted := strings.Cut(host, ".")
	for _, private := range []string{"localhost", "internal", "test", "local", "example", "invalid", "home.arpa"} {
		dotted = dotted && below != private && !strings.HasSuffix(below, "."+private)
	}
	return dotted
}

// refuses reports whether the only authority takes orders for names alone, and host is an address.
func (a *ACME) refuses(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil && slices.Equal(a.CA, []string{"zerossl"})
}

// resolve completes [acme], whose entry exists without a table too.
func resolve(doc *schema.Document, t schema.Target) {
	e := t.(*entry)
	e.on = e.Node() != nil || e.HasAny("")
	keys := make(map[string]bool)
	for i, ca := range e.CA {
		if wrong, hint := e.checkAuthority(ca, keys); wrong != "" && !e.Failed("eab.hmac") {
			doc.Report.Errorf(e.ElementAt("ca", i, len(e.CA)), hint, "%s", wrong)
		}
	}
	for _, host := range e.Hosts {
		if host == fromRoutes {
			continue
		}
		if wrong, hint := e.Wrong(host); wrong != "" {
			doc.Report.Errorf(e.At("hosts"), hint, "%s", wrong)
		}
	}
	if (e.KID == "") != (e.HMAC == "") && !e.Failed("eab.hmac") && !e.HasUnknown() {
		half := map[bool]string{true: "eab.kid", false: "eab.hmac"}[e.HMAC == ""]
		doc.Report.Errorf(e.At(half), "the authority tells both", "eab needs kid and hmac")
	}
}

// checkAuthority reports a wrong word or URL of ca. keys has the Key of each authority before it.
func (a *ACME) checkAuthority(ca string, keys map[string]bool) (wrong, hint string) {
	directory, _ := Directory(ca)
	if u, err := url.Parse(directory); err != nil || u.Scheme != "https" || u.Host == "" {
		words := make([]string, len(acme.Known))
		for i := range acme.Known {
			words[i] = acme.Known[i].Word
		}
		return fmt.Sprintf("%s is no authority: write the https URL of its ACME directory, or one of %s",
			syntax.Quote(ca), strings.Join(words, ", ")), syntax.DidYouMean(ca, words)
	}
	o := acme.Options{Directory: directory, Email: a.Email, EAB: acme.EAB{ID: a.KID, MAC: a.HMAC}}
	if (a.KID == "") != (a.HMAC == "") {
		o.EAB = acme.EAB{} // it is reported
	}
	issuer, err := acme.New(o)
	switch {
	case err != nil:
		return err.Error(), `add email = "admin@example.org"`
	case keys[issuer.Key()]:
		return "this authority is there twice", "leave it out"
	}
	keys[issuer.Key()] = true
	return "", ""
}

// check checks the entry when routes and listeners are known.
func check(doc *schema.Document, c *config.Config) {
	e := schema.Only[*entry](c.Features)
	if e == nil || !e.on || !doc.Report.OK() {
		return
	}
	checkDNS(doc, e, c)
	checkStorage(doc, e)
	plain, secured := e.Addresses(c)
	switch {
	case e.ByDNS():
	case e.Challenge == "http-01" && plain == nil:
		doc.Report.Errorf(e.At("challenge"), e.plainHint(), "no plain listener is at port %d", e.HTTPPort)
	case e.Challenge == "tls-alpn-01" && secured == nil:
		doc.Report.Errorf(e.At("challenge"), "set https_port to the port of ours that port 443 leads to",
			"no listener with TLS is at port %d", e.HTTPSPort)
	case plain == nil && secured == nil:
		doc.Report.Warnf(codeNoPort, e.Place(""), e.plainHint(), "no listener is at port %d or %d, where authorities "+
			"look for a proof", e.HTTPPort, e.HTTPSPort)
	}
	exact := func(r config.Route) bool { return r.Host != "" && (r.Host[0] != '*' || e.DNS != "") }
	const noHost = "no route has an exact host"
	const hostHint = `write a route with host = "www.example.org", or name the host here`
	switch {
	case !slices.Contains(e.Hosts, fromRoutes) || slices.ContainsFunc(c.Routes, exact):
	case e.Has("hosts"):
		doc.Report.Errorf(e.At("hosts"), hostHint, noHost)
	case len(Subjects(c)) == 0 && e.Ask == "":
		doc.Report.Warnf(codeNoHost, e.Place("hosts"), hostHint, noHost+": no certificate is ordered")
	}
}

// checkDNS checks what is said about proofs by DNS.
func checkDNS(doc *schema.Document, e *entry, c *config.Config) {
	checkNamed(doc, e, "dns", e.DNS, plugins.DNSProviders)
	switch {
	case e.DNS == "" && e.Challenge == "dns-01":
		doc.Report.Errorf(e.At("challenge"), `add dns = "/path/of/a/program", or a name of [dns_providers]`,
			"nothing says what writes the records of proofs by DNS")
	case e.Program() != "" && c.Global.Lockdown != config.LockdownOff:
		doc.Report.Errorf(e.At("dns"), "use a type of [dns_providers]", "lockdown lets no other program start")
	}
}

func checkStorage(doc *schema.Document, e *entry) {
	named := e.Storage
	if strings.HasPrefix(named, inEtcd) {
		named = ""
		switch l, err := locator.Parse(e.Storage); {
		case err != nil:
			doc.Report.Errorf(e.At("storage"), `write it as "etcd://10.0.0.5:2379/edge?tls=true"`, "%v", err)
		case !l.Params.Has("tls") && !l.Params.Has("ca") && slices.ContainsFunc(l.Hosts, away):
			const hint = `end it with "?tls=true", or "?tls=false" where nobody else is on the way`
			doc.Report.Errorf(e.At("storage"), hint, "private keys would cross the network in clear")
		}
	}
	checkNamed(doc, e, "storage", named, plugins.Storages)
	switch {
	case e.Storage != "" && e.Folder() == "" && !e.Has("settle"):
		e.Settle = 2 * time.Second
	case e.Settle > 0 && e.Settle < time.Second:
		doc.Report.Errorf(e.At("settle"), `write "2s"`, "other processes look for proofs once a second")
	}
}

// away reports whether a host:port is none of this machine.
func away(host string) bool {
	at, err := netip.ParseAddrPort(host)
	return err != nil || !at.Addr().IsLoopback()
}

// checkNamed checks that a key whose text is no path names a table of a kind.
func checkNamed(doc *schema.Document, e *entry, key, name string, kind *plugins.Kind) {
	kind.WarnUnused(doc, []string{name})
	if names, _ := kind.Names(doc); name != "" && !filepath.IsAbs(name) && !slices.Contains(names, name) {
		doc.Report.Errorf(e.At(key), cmp.Or(syntax.DidYouMean(name, names), "write an absolute path"),
			"there is no [%s.%s], and it is no absolute path", kind.Section, name)
	}
}

const inEtcd = "etcd://"

// Etcd returns the servers and the prefix that Storage names; nil: it names something else.
func (a *ACME) Etcd() *locator.Locator {
	if !strings.HasPrefix(a.Storage, inEtcd) {
		return nil
	}
	l, err := locator.Parse(a.Storage)
	if err != nil {
		panic("acme: " + err.Error()) // it was checked
	}
	return l
}

// Folder returns the folder of Storage; "": the default, or it is no folder.
func (a *ACME) Folder() string {
	if filepath.IsAbs(a.Storage) {
		return filepath.Clean(a.Storage)
	}
	return ""
}

// Program implements config.Orders.
func (a *ACME) Program() string {
	if filepath.IsAbs(a.DNS) {
		return a.DNS
	}
	return ""
}

func (a *ACME) plainHint() string {
	return fmt.Sprintf("add [http] with listen = \":%d\", or set http_port to the port of ours that port 80 leads to",
		a.HTTPPort)
}

// Addresses returns the addresses of listeners where authorities look for proofs by a request, and by a handshake.
func (a *ACME) Addresses(c *config.Config) (plain, secured []config.Address) {
	for i := range c.Listeners {
		l := &c.Listeners[i]
		for _, at := range l.Addresses {
			if l.TLS != config.TLSOn && at.Port == a.HTTPPort {
				plain = append(plain, at)
			}
			if l.TLS != config.TLSOff && at.Port == a.HTTPSPort {
				secured = append(secured, at)
			}
		}
	}
	return plain, secured
}

// ByDNS reports whether names are proved by records alone.
func (a *ACME) ByDNS() bool { return a.DNS != "" && a.Challenge == "auto" || a.Challenge == "dns-01" }
