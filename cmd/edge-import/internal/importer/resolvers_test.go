package importer_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/acme"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// ofTraefik imports traefik.yml beside an acme.json.
func ofTraefik(t *testing.T, text string, state []byte) (p *plan.Plan, result string) {
	t.Helper()
	p = planOfFiles(t, "traefik", "traefik.yml", text, "acme.json", string(state))
	return p, string(p.Text(plan.TextOnly))
}

// resolved returns a file of Traefik with keys of a resolver, of routers beside one for www.example.org, and others.
func resolved(acme, routers, more string) string {
	return "entryPoints:\n  web: {address: ':80'}\n  websecure: {address: ':443'}\ncertificatesResolvers:\n  le:\n" +
		"    acme: {storage: acme.json, " + acme + "}\n" + more + "http:\n  services:\n    app: {loadBalancer: " +
		"{servers: [{url: 'http://127.0.0.1:1'}]}}\n  routers:\n    www: {rule: Host(`www.example.org`), " +
		"entryPoints: [websecure], service: app, tls: {certResolver: le}}\n" + routers
}

// What a resolver says is in [acme] in the words of edge, or among the losses.
func TestTraefik_resolver(t *testing.T) {
	for _, c := range []struct{ acme, routers, more, has, not string }{
		{"email: a@example.org", "", "", "\nemail    = \"a@example.org\"\nkey_type = \"rsa4096\"\n", "challenge"},
		{"caServer: https://acme-v02.api.letsencrypt.org/directory", "", "", `= "letsencrypt"`, "not carried"},
		{"caServer: https://ca.example.org/acme", "", "", `= "https://ca.example.org/acme"`, "not carried"},
		{"caServer: http://ca.example.org/acme", "", "", "not carried: ca = ", "ca =  "},
		{"keyType: RSA8192", "", "", "keyType: RSA8192 (edge has no such value: see key_type)", "p256"},
		{"tlsChallenge: {}", "", "", `challenge = "tls-alpn-01"`, "port ="},
		{"tlsChallenge: {}, httpChallenge: {entryPoint: web}", "", "", `key_type = "rsa4096"`, "challenge ="},
		{"dnsChallenge: {provider: ovh, resolvers: ['1.1.1.1']}", "", "", "not carried: certificatesResolvers.le." +
			"acme.dnsChallenge (dns in [acme] is the path of a program", "dns ="},
		{"httpChallenge: {entryPoint: websecure}", "", "", `not carried: challenge = "http-01"`, "\nchallenge"},
		{"eab: {kid: k, hmacEncoded: 'not base64url!'}", "", "", "le.acme.eab (edge has no such value", "64url!"},
		{"eab: {kid: k}", "", "", "le.acme.eab (edge has no such value", "\neab"},
		{"eab: {kid: k, hmacEncoded: Zm9v}, email: a@example.org", "", "",
			"\neab      = { kid = \"k\", hmac = \"Zm9v\" }\n", "not carried"},
		{"email: a@example.org", "", "tls: {certificates: [{certFile: a.pem, keyFile: a.key}]}\n",
			"cert   = \"a.pem\"\nkey    = \"a.key\"\n", `cert   = "acme"`},
		{"email: a@example.org", "    two: {rule: 'Host(`b.example.org`, `a.example.org`)', tls: {certResolver: " +
			"LE}, service: app}\n", "",
			"[[certificates]]\ncert  = \"acme\"\nhosts = [\"a.example.org\", \"b.example.org\"]\n",
			`"www.example.org"]`},
		{"email: a@example.org", "    plain: {rule: Host(`r.example.org`), entryPoints: [web], service: app}\n" +
			"    any: {rule: PathRegexp(`^/v1`), priority: 1000, tls: {certResolver: le}, service: app}\n" +
			"    rule: {rule: Host(`r.example.org`), priority: 2000, tls: {certResolver: le}, service: app}\n", "",
			"[[certificates]]\ncert  = \"acme\"\nhosts = [\"r.example.org\"]\n", "not carried"},
		{"email: a@example.org", "    star: {rule: PathPrefix(`/x/`), tls: {certResolver: le, domains: " +
			"[{main: '*.example.org'}]}, service: app}\n", "",
			"[[certificates]]\ncert  = \"internal\"\nhosts = [\"*.example.org\"]\n", `hosts = ["/`},
		{"email: a@example.org", "    star: {rule: PathPrefix(`/x/`), tls: {certResolver: le, domains: " +
			"[{main: '*.example.org'}]}, service: app}\n", "",
			"[[certificates]]\ncert  = \"acme\"\nhosts = [\"www.example.org\"]\n", `hosts = ["/`},
	} {
		p, result := ofTraefik(t, resolved(c.acme, c.routers, c.more), nil)
		for _, f := range p.Findings() {
			result += f.String() + "\n"
		}
		if !strings.Contains(result, c.has) || strings.Contains(result, c.not) {
			t.Errorf("%s %s\n%s", c.acme, c.routers, result)
		}
	}
}

// Traefik orders for no host twice, and for none that a file is for. Hosts of routers without a resolver, and of those
// that order for other names, are not ordered.
func TestTraefik_ordersNoOthers(t *testing.T) {
	dir := t.TempDir()
	testutil.NewAuthority(t).IssueTo(t, dir, "star", nil, "*.File.org", "file.org")
	router := func(name, rule, tls string) string {
		return "    " + name + ": {rule: '" + rule + "', tls: {" + tls + "}, service: app}\n"
	}
	const le = "certResolver: le"
	for _, c := range []struct {
		routers string
		want    []string
	}{
		{"", []string{"www.example.org"}},
		{router("a", "Host(`a.org`) || Host(`b.org`)", le) + router("b", "Host(`A.org`) && PathPrefix(`/api/`)", le) +
			router("c", "Host(`b.org`)", le), []string{"a.org b.org", "www.example.org"}},
		{router("a", "Host(`a.org`) || Host(`b.org`)", le) + router("b", "Host(`b.org`) || Host(`c.org`)", le),
			[]string{"a.org b.org", "b.org c.org", "www.example.org"}},
		{router("a", "Host(`a.org`)", ""), []string{"www.example.org"}},
		{router("a", "Host(`a.org`)", le+", domains: [{main: b.org}]"), []string{"b.org", "www.example.org"}},
		{router("a", "Host(`a.org`)", "") + router("b", "Host(`a.org`) && Path(`/x`)", le),
			[]string{"a.org", "www.example.org"}},
		{router("a", "Host(`a.file.org`)", le), []string{"www.example.org"}},
		{router("a", "Host(`a.org`)", le+", domains: [{main: file.org, sans: [b.file.org]}]"),
			[]string{"www.example.org"}},
		{router("a", "Host(`a.file.org`) || Host(`a.org`)", le), []string{"a.file.org a.org", "www.example.org"}},
	} {
		files := "tls: {certificates: [{certFile: " + dir + "/star.pem, keyFile: " + dir + "/star.key}]}\n"
		result := string(planOf(t, "traefik", resolved("email: a@example.org", c.routers, files)).Text(plan.TextOnly))
		ours := filepath.Join(dir, "edge.toml")
		write(t, ours, result)
		read, report := config.Options{MakeFilters: true}.Load(ours)
		if !report.OK() {
			t.Fatal(report.Errors)
		}
		var got []string
		for _, names := range acme.Subjects(read) {
			got = append(got, strings.Join(names, " "))
		}
		if slices.Sort(got); !slices.Equal(got, c.want) {
			t.Errorf("%s%q is ordered, not %q:\n%s", c.routers, got, c.want, result)
		}
	}
}

// An acme.json that is cut, wherever that is, has no certificate, or all of them: nothing of it is in the findings.
func TestTraefik_acmeFileIsCut(t *testing.T) {
	const whole = `{"le":{"Account":{"Email":"a"},"Certificates":[{"domain":{"main":"www.Example.org","sans":["` +
		`a.example.org"]},"certificate":"c2VjcmV0","key":"c2VjcmV0","Store":"default"}]}}`
	for i := range len(whole) + 1 {
		p, result := ofTraefik(t, resolved("email: a@example.org", "", ""), []byte(whole[:i]))
		if n := len(p.Pairs); n != 0 && i < len(whole) || n != 1 && i == len(whole) {
			t.Errorf("%d pairs in %s", n, whole[:i])
		}
		for _, f := range p.Findings() {
			result += f.String()
		}
		if strings.Contains(result, "c2Vj") || strings.Contains(result, "secret") {
			t.Fatal(result)
		}
	}
	long := whole + strings.Repeat(" ", 33<<20) // as long as with 5000 certificates
	p, _ := ofTraefik(t, resolved("email: a@example.org", "", ""), []byte(long))
	got := p.Pairs[0]
	if got.Authority != "acme-v02.api.letsencrypt.org-directory" || strings.Join(got.Names, " ") !=
		"www.example.org a.example.org" || !bytes.Equal(got.Key, []byte("secret")) || got.Place.Line != 6 {
		t.Errorf("%+v", got)
	}
}

// The folder of certificates is written where they are ordered, in the place of the folder that a file names.
func TestPlan_KeepIn(t *testing.T) {
	p := &plan.Plan{Program: "x", File: "f"}
	p.Add("[[listeners]]", plan.Place{File: "f", Line: 1}).Set("listen", `":80"`, plan.Place{})
	p.KeepIn("/a")
	if text := string(p.Text(plan.TextOnly)); strings.Contains(text, "storage") {
		t.Error(text)
	}
	p.Block("[acme]").Set("email", `"a@example.org"`, plan.Place{})
	p.Block("[acme]").Set("storage", `"/b"`, plan.Place{})
	p.KeepIn("/${A}")
	if text := string(p.Text(plan.TextOnly)); !strings.Contains(text, "storage = \"/$${A}\"\n") {
		t.Error(text)
	}
}
