package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// stored is a certificate in acme.json.
type stored struct {
	Domain struct {
		Main string   `json:"main"`
		SANs []string `json:"sans,omitempty"`
	} `json:"domain"`
	Certificate []byte `json:"certificate"`
	Key         []byte `json:"key"`
	Store       string
}

// store returns a certificate of an authority as Traefik stores it.
func store(t *testing.T, a *testutil.Authority, change func(*x509.Certificate), names ...string) stored {
	t.Helper()
	s := stored{Store: "default"}
	s.Domain.Main, s.Domain.SANs = names[0], names[1:]
	cert, key := a.Issue(t, change, names...)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	testutil.Must(t, err)
	s.Key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range []*x509.Certificate{cert, a.Cert} {
		s.Certificate = append(s.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return s
}

// acmeJSON returns the text of a file of Traefik, with an account that nobody needs.
func acmeJSON(t *testing.T, list ...stored) []byte {
	t.Helper()
	text, err := json.MarshalIndent(map[string]any{"le": map[string]any{
		"Account":      map[string]any{"Email": "admin@example.org", "PrivateKey": []byte("secret"), "KeyType": "4096"},
		"Certificates": list,
	}}, "", "  ")
	testutil.Must(t, err)
	return text
}

// asked is an authority that offers nothing and notes the paths that it is asked for.
type asked struct {
	*httptest.Server
	mu    sync.Mutex
	paths map[string]int // guarded by mu
}

func newAsked(t *testing.T) *asked {
	a := &asked{paths: map[string]int{}}
	a.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.paths[r.URL.Path]++; r.URL.Path == "/directory" {
			fmt.Fprintf(w, `{"newNonce":%q,"newAccount":%q,"newOrder":%q}`, a.URL+"/n", a.URL+"/a", a.URL+"/o")
		}
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *asked) wasAsked(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.paths[path]
}

// site is a folder with the files of a Traefik whose authority is ca.
type site struct {
	dir, file, state, result string
	secure                   string // the address with TLS
}

func newSite(t *testing.T, ca *asked) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), secure: testutil.FreeAddr(t)}
	s.state, s.result = filepath.Join(s.dir, "acme"), filepath.Join(s.dir, "edge.toml")
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate().Raw})
	s.file = write(t, s.dir, "traefik.yml", fmt.Sprintf(`
entryPoints:
  websecure:
    address: %q
    http:
      tls:
        certResolver: le
        domains:
          - main: c.shop.test
          - main: Main.shop.test
            sans: [d.shop.test, e.shop.test]
certificatesResolvers:
  le:
    acme:
      caServer: %s/directory
      caCertificates: [%q]
      storage: /letsencrypt/acme.json
      keyType: EC256
      tlsChallenge: {}
http:
  routers:
    one:
      rule: Host(`+"`one.shop.test`"+`)
      tls: {certResolver: le}
      service: app
    two:
      rule: Host(`+"`a.shop.test`) || Host(`b.shop.test`"+`)
      tls: {certResolver: le}
      service: app
  services:
    app:
      loadBalancer:
        servers: [{url: "http://127.0.0.1:1"}]
`, s.secure, ca.URL, write(t, s.dir, "root.pem", root)))
	return s
}

// served starts edge with a configuration, and waits for its port with TLS.
func served(t *testing.T, file, secure string) *testutil.Process {
	t.Helper()
	p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, edge), Args: []string{"run", "-c", file}})
	p.WaitPort(secure)
	return p
}

// presents reports whether a server presents the certificate of a set to clients that ask for a name.
func (set *stored) presents(address, name string) bool {
	block, _ := pem.Decode(set.Certificate)
	got := presented(address, name)
	return got != nil && bytes.Equal(got.Raw, block.Bytes)
}

func presented(address, name string) *x509.Certificate {
	c, err := tls.Dial("tcp", address, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		return nil
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// The certificates of Traefik are served from the start: for hosts of routes, for rules with several hosts, and for
// domains. None is ordered. What is wrong with others is told, and keys are nowhere but in the folder.
func TestImport_certificatesOfTraefik(t *testing.T) {
	ca, a := newAsked(t), testutil.NewAuthority(t)
	s := newSite(t, ca)
	strange := store(t, a, nil, "strange.shop.test")
	strange.Key = store(t, a, nil, "x.test").Key
	sets := []stored{store(t, a, nil, "one.shop.test"), store(t, a, nil, "b.shop.test", "a.shop.test"),
		store(t, a, nil, "c.shop.test"), store(t, a, nil, "main.shop.test", "e.shop.test", "d.shop.test")}
	sets[1].Domain.SANs = nil // Traefik leaves out a name for which it has ordered another certificate at the time
	text := acmeJSON(t, append(sets, strange)...)
	sets[1].Domain.SANs = []string{"a.shop.test"}
	write(t, s.dir, "acme.json", text)

	told := expect(t, 0, "--state DIR", importer, "traefik", s.file, "--json")
	if strings.Contains(told, s.state) {
		t.Error(told)
	}
	out := expect(t, exitLost, "traefik.yml:17: not carried: the certificate for strange.shop.test", importer,
		"traefik", s.file, "--state", s.state, "-o", s.result)
	if strings.Count(out, "not carried") != 1 {
		t.Error(out)
	}
	result, err := os.ReadFile(s.result)
	testutil.Must(t, err)
	for _, secret := range []string{"PRIVATE", string(sets[0].Key[40:60]), "secret"} {
		if all := told + out + string(result); strings.Contains(all, secret) {
			t.Errorf("%q is shown:\n%s", secret, all)
		}
	}
	if at, err := os.Stat(s.state); err != nil || at.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", at, err)
	}
	p := served(t, s.result, s.secure)
	for _, set := range sets {
		for _, name := range append(set.Domain.SANs, set.Domain.Main) {
			if !set.presents(s.secure, name) {
				t.Errorf("%s: not the certificate of Traefik\n%s", name, result)
			}
		}
	}
	if presented(s.secure, "strange.shop.test") != nil {
		t.Error("there is a certificate for a name that nobody wants")
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return ca.wasAsked("/directory") > 0 })
	if code := p.Stop(); code != 0 || strings.Contains(p.Output(), "could not be ordered") {
		t.Errorf("exit %d\n%s", code, p.Output())
	}
	if ca.wasAsked("/n") > 0 || ca.wasAsked("/a") > 0 {
		t.Error("something was ordered")
	}
	states, err := filepath.Glob(filepath.Join(s.state, "certificates", "*", "*", "edge.json"))
	testutil.Must(t, err)
	for _, path := range states {
		if text, err := os.ReadFile(path); err != nil || !bytes.Contains(text, []byte(`"failures":0`)) {
			t.Errorf("%s: %s, %v", path, text, err)
		}
	}
}

// A certificate for a star that Traefik or Caddy has left in the folder is presented as a file: without dns edge orders
// no other, and nobody trusts the internal certificate that would stand in.
func TestImport_starsThatAreThere(t *testing.T) {
	for _, names := range [][]string{{"*.shop.test"}, {"*.shop.test", "shop.test"}} {
		dir, a, secure := t.TempDir(), testutil.NewAuthority(t), testutil.FreeAddr(t)
		state, set := filepath.Join(dir, "acme"), store(t, a, nil, names...)
		other := store(t, a, nil, "*.shop.test.uk")
		write(t, dir, "acme.json", acmeJSON(t, other, set))
		traefik := write(t, dir, "traefik.yml", fmt.Sprintf(`
entryPoints: {websecure: {address: %q}}
certificatesResolvers: {le: {acme: {storage: acme.json, keyType: EC256, dnsChallenge: {provider: cloudflare}}}}
http:
  routers:
    one:
      rule: Host(`+"`www.shop.test`"+`)
      tls: {certResolver: le, domains: [{main: "*.shop.test", sans: %q}]}
      service: app
  services: {app: {loadBalancer: {servers: [{url: "http://127.0.0.1:1"}]}}}
`, secure, names[1:]))
		host, port, _ := strings.Cut(secure, ":")
		caddy := write(t, dir, "Caddyfile", fmt.Sprintf(
			"{\nauto_https disable_redirects\n}\nhttps://*.shop.test:%s {\nbind %s\ntls {\ndns cloudflare x\n}\n"+
				"reverse_proxy 127.0.0.1:1\n}\n", port, host))
		for program, file := range map[string]string{"traefik": traefik, "caddy": caddy} {
			if program == "caddy" { // whose folder has the same form
				expect(t, exitLost, "", importer, "traefik", traefik, "--state", state)
			}
			result := filepath.Join(dir, program+".toml")
			expect(t, exitLost, "", importer, program, file, "--state", state, "-o", result)
			text, err := os.ReadFile(result)
			if err != nil || !bytes.Contains(text, []byte("set dns in [acme]")) ||
				program == "caddy" && bytes.Contains(text, []byte("[acme]\n")) { // it would order more than Caddy
				t.Fatalf("%s: %v\n%s", program, err, text)
			}
			p := served(t, result, secure)
			if !set.presents(secure, "www.shop.test") {
				t.Errorf("%s, %v: not the certificate that is there\n%s", program, names, text)
			}
			p.Stop()
		}
	}
}

// Hosts that the files of Traefik are not for have their ordered certificates, also where the files cannot be read.
func TestImport_certificatesBesideFiles(t *testing.T) {
	for _, readable := range []bool{true, false} {
		s, a := newSite(t, newAsked(t)), testutil.NewAuthority(t)
		one := store(t, a, nil, "one.shop.test")
		write(t, s.dir, "acme.json", acmeJSON(t, one))
		if readable {
			a.IssueTo(t, s.dir, "own", nil, "own.shop.test")
		}
		text, err := os.ReadFile(s.file)
		testutil.Must(t, err)
		write(t, s.dir, "traefik.yml", fmt.Appendf(text,
			"tls:\n  certificates: [{certFile: %s/own.pem, keyFile: %[1]s/own.key}]\n", s.dir))
		code, out := command(t, importer, "traefik", s.file, "--state", s.state, "-o", s.result)
		if (code == 0) != readable {
			t.Fatalf("exit %d\n%s", code, out)
		}
		served(t, s.result, s.secure)
		if !one.presents(s.secure, "one.shop.test") {
			t.Errorf("readable %v: not the certificate of Traefik\n%s", readable, out)
		}
		if got := presented(s.secure, "own.shop.test"); (got != nil) != readable {
			t.Errorf("readable %v: %v", readable, got)
		}
	}
}

// A second import changes nothing, and does not put an old certificate in the place of a newer one.
func TestImport_stateIsKept(t *testing.T) {
	s, a := newSite(t, newAsked(t)), testutil.NewAuthority(t)
	newest := store(t, a, nil, "one.shop.test")
	for _, next := range []stored{newest, newest, store(t, a, func(c *x509.Certificate) {
		c.NotBefore = time.Now().Add(-48 * time.Hour)
	}, "one.shop.test")} {
		write(t, s.dir, "acme.json", acmeJSON(t, next))
		expect(t, 0, "", importer, "traefik", s.file, "--state", s.state)
		files, err := filepath.Glob(filepath.Join(s.state, "certificates", "*", "one.shop.test", "one.shop.test.crt"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		if text, err := os.ReadFile(files[0]); err != nil || !bytes.Equal(text, newest.Certificate) {
			t.Error("the newest certificate is not there", err)
		}
	}
}

// What a file of Traefik can have wrong is told, and the rest is carried.
func TestImport_wrongStateOfTraefik(t *testing.T) {
	ca, a := newAsked(t), testutil.NewAuthority(t)
	good := store(t, a, nil, "one.shop.test")
	expired := store(t, a, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	}, "old.shop.test")
	named := func(name string) stored {
		s := good
		s.Domain.Main = name
		return s
	}
	text := string(acmeJSON(t, good, store(t, a, nil, "two.shop.test")))
	at := strings.LastIndex(text, `"certificate": "`) + len(`"certificate": "`)
	base64 := text[at:][:40]
	for _, c := range []struct{ why, text, has string }{
		{"", text, "edge finds them in"},
		{"wrong base64", text[:at] + "!" + text[at+1:], "a part of this file"},
		{"cut", text[:len(text)/2], "no certificates are there"},
		{"empty", "", "no certificates are there"},
		{"no certificates", `{"le":{"Account":null,"Certificates":null}}`, "no certificates are there"},
		{"of another resolver", strings.Replace(text, `"le"`, `"other"`, 1), "no certificates are there"},
		{"of Traefik 1", `{"Account":{"Email":"a"},"Certificates":[{"Domain":{"Main":"a"}}],"HTTPChallenges":{}}`,
			"a part of this file"},
		{"expired", string(acmeJSON(t, good, expired)), "the certificate for old.shop.test (the authority has sent a " +
			"certificate that has expired)"},
		{"a path", string(acmeJSON(t, good, named("../../x"))), "the certificate for /../x"},
		{"a NUL", string(acmeJSON(t, good, named("a\x00b"))), "the certificate for a b"},
		{"a long name", string(acmeJSON(t, good, named(strings.Repeat("a", 300)))), "the certificate for aaaa"},
		{"no name", string(acmeJSON(t, good, named(""))), "the certificate for"},
	} {
		s := newSite(t, ca)
		write(t, s.dir, "acme.json", c.text)
		code, out := command(t, importer, "traefik", s.file, "--state", s.state)
		if (code == 0) != (c.why == "") || !strings.Contains(out, c.has) || strings.Contains(out, base64) {
			t.Errorf("%s: exit %d:\n%s", c.why, code, out)
		}
		files, err := filepath.Glob(filepath.Join(s.state, "certificates", "*", "one.shop.test", "*.crt"))
		whole := strings.Contains(c.has, "the certificate for") || c.why == "" || c.why == "wrong base64"
		if err != nil || (len(files) == 1) != whole {
			t.Errorf("%s: %v, %v", c.why, files, err)
		}
	}
}

// Files that are no certificates of anybody are not read, and a folder that others may write is not used.
func TestImport_stateThatCannotBe(t *testing.T) {
	s := newSite(t, newAsked(t))
	path := write(t, s.dir, "acme.json", "")
	testutil.Must(t, os.Truncate(path, 100<<20))
	expect(t, exitLost, "64 MiB", importer, "traefik", s.file, "--state", s.state)
	write(t, s.dir, "acme.json", acmeJSON(t, store(t, testutil.NewAuthority(t), nil, "one.shop.test")))
	testutil.Must(t, os.Mkdir(s.state, 0o700), os.Chmod(s.state, 0o777))
	expect(t, exitError, "can be written by others", importer, "traefik", s.file, "--state", s.state)
	expect(t, exitLost, "--state is for", importer, "nginx", s.file, "--state", s.state)
	expect(t, exitError, "", importer, "traefik", s.file, "--state", path) // no folder
}
