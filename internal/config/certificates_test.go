package config

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// pairs writes certificates into a folder: good, other, expired, early, soon, and files that are wrong.
func pairs(t *testing.T) (dir string, ca *testutil.Authority) {
	t.Helper()
	dir, ca = t.TempDir(), testutil.NewAuthority(t)
	day := 24 * time.Hour
	for name, life := range map[string][2]time.Duration{
		"good": {-10 * day, 41 * day}, "other": {-10 * day, 80 * day}, "expired": {-90 * day, -3 * day},
		"early": {2 * day, 90 * day}, "soon": {-80 * day, 10 * day},
	} {
		ca.IssueTo(t, dir, name, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(life[0]), time.Now().Add(life[1])
		}, name+".example.org")
	}
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}})
	write(t, filepath.Join(dir, "encrypted.key"), string(encrypted))
	write(t, filepath.Join(dir, "text.pem"), "no PEM\n")
	return dir, ca
}

// loaded is what a file in dir says.
func loaded(t *testing.T, dir, text string) (*Config, *Report) {
	t.Helper()
	path := filepath.Join(dir, "edge.toml")
	write(t, path, text)
	return Options{}.Load(path)
}

func TestLoad_opensCertificates(t *testing.T) {
	dir, _ := pairs(t)
	const head = "[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"
	const https = head + "[https]\nlisten = \":443\"\n"
	const mixed = "cert = \"good.pem\"\nkey = \"other.key\"\n"
	const defaults = head + "[upstream_defaults]\n"
	const up = head + "[upstreams.default]\nbackends = [{ address = \"h:1\" }]\n"
	for _, c := range []struct{ text, want string }{
		{https + `cert = "none.pem"`, `edge.toml:6:8: error: cannot use "none.pem": no such file or directory`},
		{https + `cert = "good.pem"`, `edge.toml:6:8: error: cannot use "` + dir + `/good.pem": holds no private key`},
		{https + "cert = \"good.pem\"\nkey = \"none.key\"",
			`edge.toml:7:7: error: cannot use "none.key": no such file`},
		{https + mixed,
			"edge.toml:7:7: error: certificate and key do not belong together (cert CN=good.example.org)"},
		{https + mixed + "[[certificates]]\ncert = \"other.pem\"\nkey = \"other.key\"",
			"(cert CN=good.example.org, key is for CN=other.example.org)"},
		{https + "cert = \"good.pem\"\nkey = \"encrypted.key\"", "edge.toml:7:7: error: cannot use"},
		{https + "cert = \"good.pem\"\nkey = \"encrypted.key\"", "the private key is encrypted"},
		{https + "cert = \"good.pem\"\nkey = \"encrypted.key\"", "openssl pkey"},
		{https + "cert = \"text.pem\"", "holds no certificate"},
		{https + "cert = \"good.pem\"\nkey = \"good.key\"\nocsp = \"text.pem\"",
			`edge.toml:8:8: error: cannot use "` + dir + `/text.pem": holds no OCSP response`},
		{https + "cert = \"good.pem\"\nkey = \"good.key\"\nclient_ca = \"none.pem\"",
			`edge.toml:8:13: error: cannot use "none.pem": no such file`},
		{https + "cert = \"good.pem\"\nkey = \"good.key\"\nclient_ca = \"text.pem\"", "holds no certificate"},
		{"ca_file = \"text.pem\"\n" + head, "edge.toml:1:11: error: cannot use"},
		{up + "tls = { ca = \"text.pem\" }",
			"edge.toml:6:14: error: cannot use"},
		{up + "tls = { cert = \"good.pem\", key = \"other.key\" }",
			"edge.toml:6:16: error: certificate and key do not belong together (cert CN=good.example.org)"},
		{up + "tls = { cert = \"good.pem\", key = \"none\" }",
			"edge.toml:6:34: error: cannot use"},
		{defaults + "tls = { ca = \"none.pem\" }", `edge.toml:5:14: error: cannot use "none.pem": no such file`},
		{defaults + "tls = { cert = \"good.pem\", key = \"other.key\" }",
			"edge.toml:5:16: error: certificate and key do not belong together (cert CN=good.example.org)"},
		{defaults + "tls = { cert = \"good.pem\", key = \"good.key\" }\n" +
			"[upstreams.default]\nbackends = [{ address = \"h:1\" }]\ntls = { cert = \"other.pem\" }",
			`edge.toml:8:16: error: cannot use "` + dir + `/other.pem": holds no private key`},
	} {
		cfg, rep := loaded(t, dir, c.text)
		if text := rendered(t, rep); cfg != nil || !strings.Contains(text, c.want) {
			t.Errorf("%s\ngives\n%swant %s", c.text, text, c.want)
		}
	}
}

func TestLoad_warnsOfCertificatesOutOfTime(t *testing.T) {
	dir, _ := pairs(t)
	for name, want := range map[string]string{
		"expired": "warning: the certificate CN=expired.example.org expired on ",
		"early":   "warning: the certificate CN=early.example.org is not valid before ",
		"soon":    "warning: the certificate CN=soon.example.org expires in 10 days   [certificate-expires]",
	} {
		text := fmt.Sprintf("[https]\nlisten = \":443\"\ncert = \"%s.pem\"\nkey = \"%s.key\"\n", name, name)
		cfg, rep := loaded(t, dir, text)
		if got := rendered(t, rep); cfg == nil || !strings.Contains(got, "edge.toml:3:8: "+want) {
			t.Errorf("%s gives\n%swant %s", name, got, want)
		}
	}
}

func TestSummary_countsCertificates(t *testing.T) {
	dir, _ := pairs(t)
	const route = "[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"
	const other = "[[certificates]]\ncert = \"other.pem\"\nkey = \"other.key\"\n"
	const good = "cert = \"good.pem\"\nkey = \"good.key\"\n"
	for _, c := range []struct{ text, want string }{
		{"http.listen = \":80\"\n" + route, "configuration OK: 1 listener, 1 route, 0 upstreams"},
		{route + "[https]\nlisten = \":443\"\n" + good + other,
			"configuration OK: 1 listener, 1 route, 0 upstreams, 2 certificates (first expires in 41 days)"},
		{route + "[https]\nlisten = \":443\"\n" + good + "[[certificates]]\n" + good,
			"configuration OK: 1 listener, 1 route, 0 upstreams, 1 certificate (first expires in 41 days)"},
		{route + "[https]\nlisten = \":443\"\ncert = \"expired.pem\"\nkey = \"expired.key\"\n",
			"configuration OK: 1 listener, 1 route, 0 upstreams, 1 certificate (first expired 3 days ago)"},
		{route + "[https]\nlisten = \":443\"\ncert = \"internal\"\n",
			"configuration OK: 1 listener, 1 route, 0 upstreams, 1 certificate"},
	} {
		cfg, rep := loaded(t, dir, c.text)
		if cfg == nil {
			t.Fatalf("%s\nis refused:\n%s", c.text, rendered(t, rep))
		}
		if got := cfg.Summary(); got != c.want {
			t.Errorf("%s\ngives %s", c.text, got)
		}
	}
}

// A file is looked for from the working directory, then beside the configuration.
func TestLoad_findsCertificates(t *testing.T) {
	dir, _ := pairs(t)
	const text = "[https]\nlisten = \":443\"\ncert = \"good.pem\"\nkey = \"good.key\"\n"
	t.Chdir(t.TempDir())
	cfg, rep := loaded(t, dir, text)
	if cfg == nil {
		t.Fatal(rendered(t, rep))
	}
	if got := cfg.Listeners[0].Certificate.Cert; got != filepath.Join(dir, "good.pem") {
		t.Errorf("found %s", got)
	}
	for _, name := range []string{"good.pem", "good.key"} {
		from, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, name, string(from))
	}
	if cfg, rep = loaded(t, dir, text); cfg == nil {
		t.Fatal(rendered(t, rep))
	}
	if got := cfg.Listeners[0].Certificate.Cert; got != "good.pem" {
		t.Errorf("found %s", got)
	}
}

// What the defaults name is found for every upstream that does not say it itself, wherever that comes from.
func TestLoad_findsFilesOfTheDefaults(t *testing.T) {
	dir, _ := pairs(t)
	t.Chdir(t.TempDir())
	cfg, rep := loaded(t, dir, `
http.listen = ":80"
upstream_defaults.tls = { ca = "ca.pem", cert = "good.pem", key = "good.key" }
load_balancing.backends = [{ name = "member", address = "h:1" }]
[upstreams.table]
backends = [{ address = "h:1" }]
[upstreams.own]
backends = [{ address = "h:1" }]
tls = { cert = "other.pem", key = "other.key" }
[[routes]]
pattern = "/a/*"
dest = "https://h:2"
[[routes]]
pattern = "/b/*"
dest = "table"
[[routes]]
pattern = "/c/*"
dest = "own"
`)
	if cfg == nil {
		t.Fatal(rendered(t, rep))
	}
	for _, u := range cfg.Upstreams {
		want := "good"
		if u.Name == "own" {
			want = "other"
		}
		for found, want := range map[string]string{
			u.TLS.CA: "ca.pem", u.TLS.Cert: want + ".pem", u.TLS.Key: want + ".key",
		} {
			if found != filepath.Join(dir, want) {
				t.Errorf("upstream %s: found %s, want %s", u.Name, found, want)
			}
		}
	}
}

// The documented files of others load with a certificate beside them.
func TestLoad_filesOfOthers(t *testing.T) {
	for _, name := range []string{"pingora-tls-and-health.toml", "http-and-https.toml", "five-lines.yaml"} {
		dir, ca := t.TempDir(), testutil.NewAuthority(t)
		ca.IssueTo(t, dir, "server", nil, "localhost")
		if err := os.Rename(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.crt")); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join("testdata", "valid", name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		write(t, path, string(text))
		if cfg, rep := (Options{}).Load(path); cfg == nil {
			t.Errorf("%s is refused:\n%s", name, rendered(t, rep))
		}
	}
}

func TestLoad_fipsLooksAtKeys(t *testing.T) {
	dir, _ := pairs(t)
	cfg, rep := loaded(t, dir, "fips = true\n[https]\nlisten = \":443\"\ncert = \"good.pem\"\nkey = \"good.key\"\n")
	if cfg == nil || !cfg.Global.FIPS {
		t.Errorf("refused:\n%s", rendered(t, rep))
	}
}

// A file that this user may not read is an error, unless another user is to run edge.
func TestLoad_filesThatAreNotReadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	dir, _ := pairs(t)
	for _, name := range []string{"good.key", "ca.pem"} {
		if err := os.Chmod(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	const text = "ca_file = \"ca.pem\"\n[https]\nlisten = \":443\"\ncert = \"good.pem\"\nkey = \"good.key\"\n" +
		"[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"
	_, rep := loaded(t, dir, text)
	if got := rendered(t, rep); len(rep.Errors) != 2 || !strings.Contains(got, "edge has to be allowed to read it") {
		t.Errorf("files of others give\n%s", got)
	}
	cfg, rep := loaded(t, dir, "user = \"root\"\n"+text)
	if got := rendered(t, rep); cfg == nil || len(rep.Warnings) != 2 || !strings.Contains(got, "[unreadable-file]") {
		t.Errorf("with another user to run edge they give\n%s", got)
	}
}

// A host needs a certificate where clients ask for it by TLS, and a certificate a host.
func TestLoad_warnsOfHostsAndCertificates(t *testing.T) {
	dir, ca := pairs(t)
	ca.IssueTo(t, dir, "wild", nil, "*.w.test", "10.0.0.1", "::1")
	const good, wild = "cert = \"good.pem\"\nkey = \"good.key\"\n", "cert = \"wild.pem\"\nkey = \"wild.key\"\n"
	const https, http = "[https]\nname = \"s\"\nlisten = \":443\"\n", "[http]\nname = \"p\"\nlisten = \":80\"\n"
	const more, idle = "[[certificates]]\n", "allow = [\"idle-listener\"]\n"
	route := func(host string, keys ...string) string {
		return "[[routes]]\nhost = \"" + host + "\"\ndest = \"status:200\"\n" + strings.Join(keys, "\n") + "\n"
	}
	for _, c := range []struct{ text, want string }{
		{https + wild + route("a.w.test") + route("*.w.test") + route("10.0.0.1") + route("[::1]"), ""},
		{https + wild + route("w.test"), `for "w.test": clients of listener "s" refuse`},
		{https + wild + route("a.b.w.test"), `for "a.b.w.test"`},
		{https + wild + route("*.x.test"), `for "*.x.test"`},
		{https + wild + route("10.0.0.2"), `for "10.0.0.2"`},
		{https + good + more + wild + route("a.w.test") + route("good.example.org"), ""},
		{https + good + more + wild + route("good.example.org"),
			"host of this certificate (*.w.test)   [unused-certificate]"},
		{https + good + more + wild + route("good.example.org") + "[[routes]]\npath = \"/x\"\ndest = \"status:200\"\n",
			""},
		{https + good + more + wild + route("good.example.org") +
			"[upstreams.default]\nbackends = [{ address = \"h:1\" }]\n", ""},
		{https + "cert = \"internal\"\n" + route("any.test"), ""},
		{idle + https + good + http + route("plain.test", `listener = "p"`), ""},
		{https + good + http + route("plain.test"), `for "plain.test"`},
		{idle + https + good + route("off.test", "weight = 0"), ""},
	} {
		cfg, rep := loaded(t, dir, c.text)
		if got := rendered(t, rep); cfg == nil || !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s\ngives\n%swant %s", c.text, got, c.want)
		}
	}
}
