package acme

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
)

// load reads a configuration with listeners at the ports 80 and 443, as edge check does.
func load(t *testing.T, text string) (*config.Config, *config.Report) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edge.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Options{}.Load(path)
}

const (
	ports  = "[http]\nlisten = \":80\"\n[https]\nlisten = \":443\"\n"
	routes = `
[[routes]]
host = ["www.example.org", "example.org"]
dest = "127.0.0.1:1"
[[routes]]
host = "*.example.org"
dest = "127.0.0.1:1"
[[routes]]
pattern = "www.example.org/api/*"
dest = "127.0.0.1:1"
[[routes]]
host = ["app.localhost", "10.0.0.1", "intranet"]
dest = "127.0.0.1:1"
[[routes]]
host = "192.0.2.1"
dest = "127.0.0.1:1"
`
)

// provider has the keys of a type of DNS providers.
type provider struct {
	Zone string `edge:"zone" doc:"A zone that there may be."`
}

func init() {
	plugin.Register(plugin.Storages, "shared", "Keeps nothing.",
		func(*struct{}, *plugin.Build) (issue.Storage, error) { return nil, errors.ErrUnsupported })
	plugin.Register(plugin.DNSProviders, "hook", "Writes nothing.",
		func(*provider, *plugin.Build) (plugin.DNSProvider, error) { return nil, errors.ErrUnsupported })
}

// Exact hosts of routes are ordered, hosts of an entry in one certificate, and private names are not.
func TestSubjects(t *testing.T) {
	for text, want := range map[string]string{
		ports + "cert = \"acme\"\n":                       "[[www.example.org] [example.org] [192.0.2.1]]",
		ports + "[acme]\nhosts = \"Mail.Example.org.\"\n": "[[mail.example.org]]",
		ports + "[acme]\nhosts = [\"from-routes\", \"a.example.org\"]\n": "[[a.example.org] [www.example.org] " +
			"[example.org] [192.0.2.1]]",
		ports + "[[certificates]]\ncert = \"acme\"\nhosts = [\"Example.org\", \"www.example.org\"]\n": "" +
			"[[example.org www.example.org] [192.0.2.1]]",
		ports + "[acme]\ndns = \"/bin/true\"\n": "[[example.org] [*.example.org] [192.0.2.1]]",
		ports + "[acme]\ndns = \"/bin/true\"\nhosts = [\"from-routes\", \"*.A.example.org\"]\n": "[[*.a.example.org] " +
			"[example.org] [*.example.org] [192.0.2.1]]",
		ports + "[acme]\ndns = \"/bin/true\"\n[[certificates]]\ncert = \"acme\"\nhosts = \"*.example.org\"\n": "" +
			"[[*.example.org] [example.org] [192.0.2.1]]",
		ports + "[acme]\ndns = \"/bin/true\"\nhosts = [\"from-routes\", \"*.A.example.org\"]\n" +
			"[[routes]]\nhost = [\"b.a.example.org\", \"a.example.org\"]\ndest = \"127.0.0.1:1\"\n": "" +
			"[[*.a.example.org] [example.org] [*.example.org] [192.0.2.1]]",
		ports + "[acme]\nca = \"https://ca.internal/dir\"\n": "[[www.example.org] [example.org] [app.localhost] " +
			"[10.0.0.1] [intranet] [192.0.2.1]]",
	} {
		c, rep := load(t, text+routes)
		if c == nil {
			t.Errorf("%s\n%v", text, rep.Errors)
			continue
		}
		if got := fmt.Sprint(Subjects(c)); got != want {
			t.Errorf("%s\n%s\nwant %s", text, got, want)
		}
	}
}

// Without a certificate that is ordered there is nothing.
func TestOf_nothing(t *testing.T) {
	c, rep := load(t, "[https]\nlisten = \":443\"\ncert = \"internal\"\n"+routes)
	if c == nil || Of(c) != nil {
		t.Errorf("%v", rep.Errors)
	}
}

// With a writer of records no port has to be reachable, and it is no file of a client that sends a configuration.
func TestCheck_dns(t *testing.T) {
	text := "[https]\nlisten = \":8443\"\n[acme]\nstorage = \"/srv/acme\"\ndns = "
	for _, dns := range []string{`"/bin/true"`, "\"hook\"\n[dns_providers.hook]\ntype = \"hook\""} {
		c, rep := load(t, text+dns+routes)
		if c == nil || slices.ContainsFunc(rep.Warnings, func(w config.Problem) bool { return w.Code == codeNoPort }) {
			t.Errorf("%v, %v", rep.Errors, rep.Warnings)
		}
	}
	name := filepath.Join(t.TempDir(), "edge.toml")
	sent := schema.Text{Path: name, Real: name, Text: []byte(text + `"/bin/true"` + routes)}
	_, rep := config.Options{Sent: &config.Sent{Known: config.Namings{}}, Record: &config.Files{},
		Kept: &config.Files{Main: name, Texts: []schema.Text{sent}}}.Load(name)
	for _, name := range []string{`"/bin/true"`, `"/srv/acme"`} {
		if !slices.ContainsFunc(rep.Errors, func(e config.Problem) bool {
			return strings.Contains(e.Message, "may not name "+name)
		}) {
			t.Errorf("%s: %v", name, rep.Errors)
		}
	}
}

// Hosts of [acme] have a certificate, without from-routes too. Only other hosts of routes are told.
func TestCheck_uncovered(t *testing.T) {
	const covered = "no certificate is for"
	for hosts, want := range map[string]int{
		`["WWW.example.org.", "*.Example.org"]`:       0,
		`["*.example.org"]`:                           0,
		`["www.example.org"]`:                         1,
		`["example.org"]`:                             2,
		`["from-routes"]`:                             0,
		`["from-routes", "*.example.org"]`:            0,
		`["a.example.org", "*.www.example.org"]`:      2,
		`["*.example.org", "mail.other.example.org"]`: 0,
	} {
		c, rep := load(t, ports+"[acme]\ndns = \"/bin/true\"\nhosts = "+hosts+"\n[[routes]]\n"+
			"host = \"www.example.org\"\ndest = \"127.0.0.1:1\"\n[[routes]]\nhost = \"*.example.org\"\n"+
			"dest = \"127.0.0.1:1\"\n")
		n := 0
		for _, w := range rep.Warnings {
			if strings.Contains(w.Message, covered) {
				n++
			}
		}
		if c == nil || n != want {
			t.Errorf("%s: %d warnings, want %d: %v, %v", hosts, n, want, rep.Errors, rep.Warnings)
		}
	}
}

// What is found about certificates has a line.
func TestPlaceOf(t *testing.T) {
	name := filepath.Join(t.TempDir(), "edge.toml")
	for text, want := range map[string]int{
		ports + "cert = \"acme\"\n[[routes]]\npath = \"/*\"\ndest = \"h:1\"\n[[routes]]\nhost = \"a.org\"\n" +
			"dest = \"h:1\"\n": 9,
		ports + "[acme]\nhosts = \"a.org\"\n[[routes]]\nhost = \"b.org\"\ndest = \"h:1\"\n": 5,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, rep := config.Options{Places: true}.Load(name)
		if c == nil || PlaceOf(c).Line != want {
			t.Errorf("%s\n%v: not line %d", text, rep.Errors, want)
		}
	}
}

// Certificates on demand need no host.
func TestCheck_onDemand(t *testing.T) {
	c, rep := load(t, ports+"cert = \"acme\"\n[acme]\non_demand = { ask = \"https://a.test/may\" }\n[[routes]]\n"+
		"pattern = \"/*\"\ndest = \"127.0.0.1:1\"\n[[routes]]\nhost = \"*.example.org\"\n"+
		"dest = \"127.0.0.1:1\"\n")
	if c == nil || len(rep.Warnings) > 0 {
		t.Fatalf("%v, %v", rep.Errors, rep.Warnings)
	}
	if a := Of(c); len(Subjects(c)) > 0 || a.Ask != "https://a.test/may" || a.Rate.Count != 10 {
		t.Errorf("%+v", a)
	}
}

// A storage of a module has other processes learn of proofs, if nothing else is said.
func TestCheck_storage(t *testing.T) {
	for text, want := range map[string]string{
		"":                              " 0s",
		"storage = \"/srv/a/../acme/\"": "/srv/acme 0s",
		"settle = \"3s\"":               " 3s",
		"storage = \"one\"":             " 2s",
		"storage = \"etcd://127.0.0.1:2379/edge\"":   " 2s",
		"storage = \"etcd://h:2379/edge?tls=false\"": " 2s",
		"storage = \"one\"\nsettle = \"0s\"":         " 0s",
	} {
		c, rep := load(t, ports+routes+"[acme]\n"+text+"\n[storages.one]\ntype = \"shared\"\n")
		if c == nil {
			t.Fatal(rep.Errors)
		}
		a := Of(c)
		if got := a.Folder() + " " + a.Settle.String(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// Each mistake is reported at its place, with what to write.
func TestCheck_mistakes(t *testing.T) {
	entry := ports + routes + "[[certificates]]\ncert = \"acme\"\n"
	acme := ports + routes + "[acme]\n"
	hook := "\n[dns_providers.hook]\ntype = \"hook\"\nzone = \"example.org\"\n"
	everything := "\n[[routes]]\npattern = \"/*\"\ndest = \"127.0.0.1:1\""
	for text, want := range map[string][2]string{
		entry:                             {"nothing says which hosts", "add hosts"},
		entry + `hosts = "*.example.org"`: {"needs a proof by DNS", "set dns in [acme]"},
		entry + `hosts = "app.internal"`:  {"no authority on the Internet vouches", `cert = "internal"`},
		entry + `hosts = "a b"`:           {`"a b" is not a host`, ""},
		entry + "hosts = \"a.example.org\"\nkey = \"a.key\"": {"makes its own key", "leave it out"},
		entry + "hosts = \"a.example.org\"\nwhen = 'client.ip in {10.0.0.0/8}'": {
			"for all handshakes", "leave it out"},
		acme + `ca = "letsencript"`:        {"is no authority", `did you mean "letsencrypt"`},
		acme + `ca = "http://ca.test/dir"`: {"is no authority", ""},
		acme + `ca = ["google", "google"]`: {"is there twice", "leave it out"},
		acme + `ca = "zerossl"`:            {"ZeroSSL wants an e-mail", "add email"},
		acme + `ca_file = "none.pem"`:      {"cannot use", ""},
		acme + `hosts = "*.example.org"`:   {"needs a proof by DNS", ""},
		acme + "email = \"a@b.test\"\nca = \"zerossl\"\nhosts = \"192.0.2.9\"": {"ZeroSSL has certificates for names",
			"letsencrypt"},
		acme + "storage = \"share\"\n[storages.shared]\ntype = \"shared\"": {"there is no [storages.share]",
			`did you mean "shared"`},
		acme + `storage = "etcd://"`:                    {"it must be like", "etcd://10.0.0.5"},
		acme + `storage = "etcd://h:2379/x"`:            {"in clear", "?tls=true"},
		acme + `storage = "etcd://a:b@h:2379/x"`:        {"no user and no password", ""},
		acme + `settle = "500ms"`:                       {"once a second", "2s"},
		acme + `on_demand = { ask = "127.0.0.1:9000" }`: {"is no URL of http or https", "http://"},
		acme + `on_demand = { rate = "ten" }`:           {"must be a rate", ""},
		acme + `on_demand = { rate = "0/m" }`:           {"rate", ""},
		acme + `settle = "2m"`:                          {"settle", ""},
		acme + `challenge = "dns-01"`:                   {"nothing says what writes the records", "add dns"},
		acme + `dns = "hoook"` + hook:                   {"there is no [dns_providers.hoook]", ""},
		acme + `dns = "hook"`:                           {"there is no [dns_providers.hook]", ""},
		acme + `dns = "/none/hook"`:                     {"cannot use", ""},
		acme + `dns = "/etc/passwd"`:                    {"is no program", "chmod +x /etc/passwd"},
		acme + `dns = "/etc"`:                           {"is no program", ""},
		"[global]\nlockdown = true\n" + acme + `dns = "/bin/true"`: {"lockdown lets no other program start",
			"[dns_providers]"},
		acme + "dns = \"/bin/true\"\nhosts = \"*.internal\"":   {"no authority on the Internet vouches", ""},
		acme + "dns = \"/bin/true\"\nhosts = \"*\"":            {"is not a host", ""},
		acme + "dns = \"/bin/true\"\nresolver = \"ns.test\"":   {"is not the IP address of a DNS server", ""},
		acme + `eab = { kid = "a" }`:                           {"kid and hmac", ""},
		acme + `eab = { kid = "a", hmac = "secret/+" }`:        {"no key in base64url", ""},
		ports + "[acme]\nhosts = \"from-routes\"" + everything: {"no route has an exact host", "write a route"},
		"[https]\nlisten = \":443\"\n" + routes + "[acme]\nchallenge = \"http-01\"": {
			"no plain listener is at port 80", "add [http]"},
		acme + "challenge = \"tls-alpn-01\"\nhttps_port = 8443": {"no listener with TLS is at port 8443", ""},
	} {
		_, rep := load(t, text)
		if len(rep.Errors) != 1 || !strings.Contains(rep.Errors[0].Message, want[0]) ||
			!strings.Contains(rep.Errors[0].Hint, want[1]) || rep.Errors[0].Line == 0 {
			t.Errorf("%s\n%+v\nwant %v", text[max(0, len(text)-80):], rep.Errors, want)
		}
		if strings.Contains(fmt.Sprint(rep.Errors), "secret/+") {
			t.Error("a secret is shown")
		}
	}
	for text, code := range map[string]string{
		ports + "cert = \"acme\"" + everything:                    codeNoHost,
		"[https]\nlisten = \":8443\"\ncert = \"acme\"\n" + routes: codeNoPort,
		ports + routes + "[acme]" + hook:                          "unused-dns-provider",
	} {
		_, rep := load(t, text)
		has := func(w config.Problem) bool { return w.Code == code }
		alone := code != codeNoHost || len(rep.Warnings) == 1
		if len(rep.Errors) > 0 || !slices.ContainsFunc(rep.Warnings, has) || !alone {
			t.Errorf("no %s: %v, %v", code, rep.Warnings, rep.Errors)
		}
	}
}

// What a host costs does not grow with the number of hosts: there may be ten thousand of both.
func TestOrder_doesNotWalkAllHosts(t *testing.T) {
	e := &entry{ACME: ACME{on: true}}
	for i := range 1000 {
		e.Hosts = append(e.Hosts, fmt.Sprintf("h%d.example.org", i))
	}
	e.Order("h1.example.org")
	if n := testutil.Allocs(100, func() { e.Order("h999.example.org") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
