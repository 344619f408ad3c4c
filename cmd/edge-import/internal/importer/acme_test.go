package importer_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	importer "github.com/edge-proxy/edge/cmd/edge-import/internal/importer"
	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/acme"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// What programs say of certificates by ACME. The files have authorities that no test may ask, so neither program runs.
func TestImport_certificatesByACME(t *testing.T) {
	becomeGolden(t, "caddy/acme.caddy", "nginx/acme.conf")
}

// A file that ends anywhere is read as far as it goes.
func TestImport_certificatesOfFilesThatEnd(t *testing.T) {
	for _, file := range []string{"caddy/acme.caddy", "nginx/acme.conf"} {
		program, _, _ := strings.Cut(file, "/")
		text := []byte(read(t, filepath.Join("testdata", file)))
		for end := 0; end < len(text); end += 3 {
			p, err := importer.Import(program, "f", &plan.Reader{Files: fstest.MapFS{"f": {Data: text[:end]}}})
			if err != nil {
				continue // it says why
			}
			if result := p.Text(plan.TextOnly); !plan.TextOnly(result).OK() {
				t.Fatalf("%d bytes of %s: %s", end, file, result)
			}
		}
	}
}

const backend = "reverse_proxy 127.0.0.1:3000\n"

// What Caddy says of certificates is in [acme], or in a finding, whatever the options are and whatever a site says.
func TestCaddy_certificatesByACME(t *testing.T) {
	const stood, also = `cert = "internal"`, "an internal one stands in)"
	options := func(text string) string { return "{\n" + text + "}\nshop.com {\n" + backend + "}\n" }
	site := func(host, tls string) string { return host + " {\ntls " + tls + "\n" + backend + "}\n" }
	const ask = "{\non_demand_tls {\nask http://[::1]:1/\n}\n}\n"
	const one = "(edge has one [acme] for all sites: what is said first counts)"
	for text, want := range map[string][]string{
		options(""): {
			`cert = "acme"`, `[acme] ca = "letsencrypt" hosts = "shop.com"`},
		options("email a@b.com\n"): {
			`email = "a@b.com" ca = ["letsencrypt", "zerossl"] hosts = "shop.com"`},
		options("auto_https off\n"):             {stood, "the certificate of shop.com (auto_https off: " + also},
		options("email \"a\nb\"\n"):             {`not carried: email = "a\nb" (edge says: `},
		options("email \"a\\\"b\"\n"):           {`email = "a\"b"`},
		options("auto_https disable_certs\n"):   {stood, "(auto_https disable_certs: " + also},
		options("email a@b.com\nlocal_certs\n"): {stood, "note: email a@b.com (nothing to write"},
		options("cert_issuer internal\n"):       {stood, "note: cert_issuer internal"},
		options("cert_issuer other\n"):          {`cert = "acme"`, "not carried: cert_issuer other"},
		options("cert_issuer zerossl key\n"): {
			`hosts = "shop.com"`, `not carried: ca = "zerossl" (edge says: `},
		options("http_port 81\nhttps_port 444\n"): {`http_port = 81 https_port = 444`},
		options("acme_eab {\nkey_id a\nmac_key !\n}\n"): {`[acme] ca = "letsencrypt" hosts = "shop.com"`,
			`not carried: eab.kid = … (edge says: `, `not carried: eab.hmac = … (edge says: `},
		options("http_port x\n"):                {"not carried: http_port x (edge does not know the value)"},
		options("key_type ed25519\n"):           {`not carried: key_type = "ed25519" (edge says: `},
		options("storage redis {\nhost a\n}\n"): {"not carried: storage redis", "not carried: host a"},
		options("storage file_system here\n"):   {`not carried: storage = "here" (edge says: `},
		options("acme_ca http://ca.com\n"):      {`not carried: ca = "http://ca.com" (edge says: `},
		options("email\nacme_ca\nacme_eab {\nkey_id\n}\n"): {
			"not carried: email (", "not carried: acme_ca (", "not carried: key_id ("},
		options("cert_issuer zerossl key\nemail a@b.com\n"): {`ca = "zerossl" email = "a@b.com"`},

		"{\nacme_ca https://ca.lan\ncert_issuer acme\n}\napp.internal, x.test {\n}\n": {
			`ca = "https://ca.lan" hosts = ["app.internal", "x.test"]`},
		"{\nacme_ca https://ca.lan\n}\napp.internal, x.test {\n}\n": {
			`hosts = "x.test"`, `hosts = "app.internal" cert = "internal"`},
		"x.test {\n}\n": {stood, "no authority on the Internet vouches for it"},
		site("app.internal", "{\nca https://ca.lan\n}"): {
			stood, "no authority on the Internet vouches for it"},
		site("shop.com", "a@shop.com"):                              {`email = "a@shop.com"`},
		site("shop.com", "{\neab kid c2VjcmV0\n}"):                  {`eab = { kid = "kid", hmac = "c2VjcmV0" }`},
		site("shop.com", "{\neab kid\n}"):                           {`not carried: eab = … (edge says: `},
		site("shop.com", "{\nissuer step {\nx\n}\n}"):               {"not carried: issuer step", "not carried: x"},
		site("shop.com", "{\nissuer internal {\nlifetime 1h\n}\n}"): {stood, "note: lifetime 1h"},
		site("shop.com", "{\nissuer acme {\ndir https://ca.lan\ndisable_http_challenge\nalt_http_port 81\n}\n}"): {
			`ca = "https://ca.lan" challenge = "tls-alpn-01" http_port = 81`},

		"a.com {\n}\n" + site("b.com", "{\nca https://ca.lan\n}"): {
			`[acme] ca = "letsencrypt"`, `not carried: ca = "https://ca.lan" ` + one},
		site("a.com", "{\nca https://ca.lan\n}") + "b.com {\n}\n": {
			`[acme] ca = "https://ca.lan"`, "not carried: the authority of b.com " + one},
		site("a.com, *.a.com", "{\ndns x\n}"): {`hosts = "a.com"`, `hosts = "*.a.com" cert = "internal"`,
			"not carried: the certificate of *.a.com", "not carried: dns x (dns in"},
		site("a.com", "a.pem a.key") + "b.com {\n}\n": {
			`hosts = "a.com" cert = "a.pem" key = "a.key"`, `hosts = "b.com"`},
		site(":443", "internal {\non_demand\n}") + "b.com {\n}\n": {
			stood, `[acme] ca = "letsencrypt" hosts = "b.com"`},
		site(":443", "{\non_demand\n}"): {
			stood, `listen = ":80" redirect_to_https = true`,
			"the certificate of any host (a star needs dns in [acme], any host"},
		ask + site("*.a.com", "{\non_demand\n}") + "b.com {\n}\n": {
			`[acme] on_demand.ask = "http://[::1]:1/" ca = "letsencrypt" hosts = "b.com"`},
		ask + "b.com {\n}\n": {`[acme] ca = "letsencrypt" hosts = "b.com"`, "note: ask http://[::1]:1/"},
	} {
		wantAll(t, text, planOf(t, "caddy", text), want)
	}
}

// Caddy orders no certificate for hosts that the file of any site is for: it presents that. Nor does it where another
// program gives it the certificate.
func TestCaddy_hostsOfFilesAreNotOrdered(t *testing.T) {
	dir := t.TempDir()
	testutil.NewAuthority(t).IssueTo(t, dir, "star", nil, "*.Shop.com")
	pair := dir + "/star.pem " + dir + "/star.key"
	of := func(host string) string { return `hosts = "` + host + `" cert = "` + dir + `/star.pem"` }
	file := "*.shop.com {\ntls " + pair + "\n" + backend + "}\n"
	for text, want := range map[string][]string{
		"a.shop.com, shop.com, a.b.shop.com {\n" + backend + "}\n" + file: {
			`[acme] ca = "letsencrypt" hosts = ["shop.com", "a.b.shop.com"] `, of("a.shop.com")},
		file + "a.shop.com {\ntls a@b.com\n" + backend + "}\nshop.com {\n}\n": {
			`[acme] ca = "letsencrypt" hosts = "shop.com" `, of("a.shop.com")},
		file + "a.shop.com {\ntls internal\n" + backend + "}\nshop.com {\n}\n": {of("a.shop.com")},
		"a.shop.com:8443 {\ntls " + pair + "\n}\na.shop.com, b.com {\n" + backend + "}\n": {`hosts = "b.com" `,
			of("a.shop.com")},
		"{\nauto_https ignore_loaded_certs\n}\na.shop.com {\n" + backend + "}\n" + file: {
			`[acme] ca = "letsencrypt" hosts = "a.shop.com" `},
		"a.com {\ntls {\nload /no/folder\n}\n}\nb.com {\n}\n": {`hosts = "b.com" `,
			`hosts = "a.com" cert = "internal"`, "not carried: load /no/folder (write"},
		"a.com {\ntls {\nget_certificate http http://[::1]:1\n}\n}\nb.com {\n}\n": {`hosts = "b.com" `,
			`hosts = "a.com" cert = "internal"`, "not carried: get_certificate"},
		"{\non_demand_tls {\nask http://[::1]:1/\n}\n}\nhttps:// {\ntls {\non_demand\n}\n@a host a.com\n" +
			"reverse_proxy @a 127.0.0.1:1\n}\n": {`ca = "letsencrypt" hosts = []`, `host = "a.com"`},
	} {
		wantAll(t, text, planOf(t, "caddy", text), want)
	}
}

// Of random Caddyfiles those hosts are ordered that Caddy orders and edge may; another certificate is for the others.
func TestCaddy_eachHostHasItsCertificate(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	tls := map[string]string{"ordered": "", "internal": "tls internal\n", "file": "tls a.pem a.key\n",
		"star": "", "private": "", "answers": "respond hello\n"}
	kinds := slices.Sorted(maps.Keys(tls))
	for range 300 {
		var text string
		var want []string
		others := map[string]string{}
		for i := range 1 + random.IntN(6) {
			kind, host := kinds[random.IntN(len(kinds))], fmt.Sprintf("h%d.com", i)
			switch kind {
			case "ordered", "answers":
				want = append(want, host)
			case "star":
				host = "*." + host
			case "private":
				host = fmt.Sprintf("h%d.localhost", i)
			}
			if port := random.IntN(3); port == 0 {
				text += host + ":8443 {\n" + tls[kind]
			} else {
				text += host + " {\n" + tls[kind]
			}
			if !slices.Contains(want, host) {
				others[host] = map[bool]string{true: "a.pem", false: config.InternalCert}[kind == "file"]
			}
			if kind != "answers" {
				text += backend
			}
			text += "}\n"
		}
		result := planOf(t, "caddy", text).Text(plan.TextOnly)
		c, report := config.Parse("edge.toml", result)
		if !report.OK() {
			t.Fatal(report.Errors)
		}
		var got []string
		if acme.Of(c) != nil {
			for _, names := range acme.Subjects(c) {
				got = append(got, names...)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%v is ordered, not %v:\n%s\n%s", got, want, text, result)
		}
		for host, cert := range others {
			if !slices.ContainsFunc(c.Certificates, func(o config.Certificate) bool {
				return o.Cert == cert && o.For(host)
			}) && !slices.ContainsFunc(c.Listeners, func(l config.Listener) bool {
				return cert == config.InternalCert && l.Certificate != nil && l.Certificate.Cert == cert
			}) {
				t.Fatalf("%s has not %s:\n%s\n%s", host, cert, text, result)
			}
		}
	}
}

// Caddy itself says of each host whether it orders the certificate: edge does the same, but for private names of which
// no authority on the Internet may know.
func TestCaddy_ordersWhatCaddyOrders(t *testing.T) {
	binary := caddy(t)
	const private = "acme_ca https://ca.lan/dir\n"
	hosts := map[string]bool{"a.com": true, "b.lan": true, "app.internal": false, "10.0.0.1": false}
	for _, options := range []string{"email a@b.com\n", private, private + "cert_issuer acme\n", "cert_issuer acme\n",
		"email a@b.com\ncert_issuer internal\n", "local_certs\n", "acme_eab {\nkey_id a\nmac_key b\n}\n"} {
		for _, tls := range []string{"", "tls internal\n", "tls c@d.com\n", "tls {\nissuer internal\n}\n",
			"tls {\nca https://ca.lan/dir\n}\n", "tls {\nissuer acme {\nemail c@d.com\n}\n}\n"} {
			text := "{\n" + options + "}\n"
			for _, host := range slices.Sorted(maps.Keys(hosts)) {
				text += host + " {\n" + tls + backend + "}\n"
			}
			theirs := issuersOfCaddy(t, binary, text)
			c, report := config.Parse("edge.toml", planOf(t, "caddy", text).Text(plan.TextOnly))
			if !report.OK() {
				t.Fatal(report.Errors)
			}
			var ours []string
			if a := acme.Of(c); a != nil {
				ours = a.Hosts
			}
			for host, public := range hosts {
				issuer, named := theirs[host]
				if !named {
					issuer = theirs[""]
				}
				want := issuer == "acme" && (public || strings.Contains(options, private)) || issuer == "" && public
				if slices.Contains(ours, host) != want {
					t.Errorf("%s is ordered: %v there (%s), not here:\n%s", host, want, issuer, text)
				}
			}
		}
	}
}

// issuersOfCaddy returns the first issuer of each host, and of all others by "", as Caddy reads a file. A host without
// one is not in need of it, or has the issuer of its kind.
func issuersOfCaddy(t *testing.T, binary, text string) map[string]string {
	t.Helper()
	out, err := exec.Command(binary, "adapt", "--adapter", "caddyfile", "--config", fileOf(t, text)).Output()
	var c struct {
		Apps struct {
			TLS struct {
				Automation struct {
					Policies []struct {
						Subjects []string
						Issuers  []struct{ Module string }
					}
				}
			}
		}
	}
	if err != nil || json.Unmarshal(out, &c) != nil {
		t.Fatalf("%v: %s", err, text)
	}
	issuers := map[string]string{}
	for _, p := range c.Apps.TLS.Automation.Policies {
		if p.Subjects == nil {
			p.Subjects = []string{""}
		}
		for _, host := range p.Subjects {
			issuers[host] = ""
			if len(p.Issuers) > 0 {
				issuers[host] = p.Issuers[0].Module
			}
		}
	}
	return issuers
}

// What nginx says of an issuer is in [acme], and each server that has it order has a certificate of its own.
func TestNginx_certificatesByACME(t *testing.T) {
	issuer := func(lines string) string { return "acme_issuer a { " + lines + " }\n" }
	server := func(name, acme string) string {
		return "server { listen 443 ssl; server_name " + name + "; " + acme + " ssl_certificate $acme_certificate; " +
			"ssl_certificate_key $acme_certificate_key; return 200; }\n"
	}
	const a = "acme_certificate a;"
	first, one := issuer("uri https://ca.lan;"), server("a.com", a)
	const lost = " (edge has one issuer and one type of keys, in [acme]: what is said first counts)"
	const ordered = ` cert = "acme"`
	for text, want := range map[string][]string{
		first + one: {
			ordered, `[acme] ca = "https://ca.lan" key_type = "p256"`, `hosts = "a.com"` + ordered},
		one: {`[acme] key_type = "p256"`, `hosts = "a.com"` + ordered},
		"server { listen 444 ssl; server_name b.com; ssl_certificate b.pem; ssl_certificate_key b.key; location / { " +
			"proxy_pass http://127.0.0.1:1; } }\n" + one: {`key_type = "p256" hosts = [] # f:2 [[certificates]]`},
		first: {
			"not carried: acme_issuer a (no server", "not carried: uri https://ca.lan (it is inside"},
		first + server("a.com", ""): {ordered, "not carried: acme_issuer a ("},
		first + server("a.com", "acme_certificate;"): {
			"not carried: acme_issuer a (", `hosts = "a.com"` + ordered},
		first + server("_", "acme_certificate a b.com;"): {`hosts = "b.com"` + ordered},
		first + server("_", a):                           {ordered},
		first + server(".a.com", a):                      {`hosts = "a.com"` + ordered},
		first + server("a.test", a):                      {`hosts = "a.test"` + ordered},
		first + one + server("b.com", "acme_certificate b;"): {
			"acme_certificate b" + lost, `hosts = "b.com"` + ordered},
		first + one + server("b.com", "acme_certificate a key=rsa:4096;"): {
			"acme_certificate a key=rsa:4096" + lost},
		first + server("a.com", "acme_certificate a key=rsa:3072;"):  {`key_type = "rsa3072" (edge says: `},
		first + server("a.com", "acme_certificate a key=ecdsa:384;"): {`key_type = "p384"`},
		issuer("uri; contact; challenge dns-01; external_account_key; profile;") + one: {
			`challenge = "dns-01" (edge says: `, `eab = … (edge says: `},
		issuer("external_account_key k none;") + one:          {`eab = … (edge says: `},
		issuer("external_account_key k data:c2VjcmV0;") + one: {`eab = { kid = "k", hmac = "c2VjcmV0" }`},
		issuer("external_account_key k key;") + one:           {`eab = { kid = "k", hmac = "c2VjcmV0" }`},
		issuer("contact 'mailto:\"a\nb@c.com'; challenge http;") + "server { listen 80; }" + one: {
			`[acme] challenge = "http-01"`, `email = "\"a\nb@c.com" (edge says: `},
		issuer("contact 'mailto:\"a@c.com';") + one: {`email = "\"a@c.com"`},
		"server { listen 443 ssl; server_name f.com; ssl_certificate f.pem; ssl_certificate_key f.key; }\n" + one: {
			`cert = "f.pem"`, `hosts = "a.com"` + ordered},
		"stream { " + first + "server { listen 443 ssl; acme_certificate a b.com; ssl_certificate $acme_certificate; " +
			"proxy_pass 127.0.0.1:1; } }": {`hosts = "b.com"` + ordered},
		issuer("uri https://acme-v02.api.letsencrypt.org/directory;") + server("a.test", a): {
			`[acme] ca = "letsencrypt"`, "no authority on the Internet vouches for"},
	} {
		wantAll(t, text, planOfFiles(t, "nginx", "f", text, "key", " c2VjcmV0\n"), want)
	}
}
