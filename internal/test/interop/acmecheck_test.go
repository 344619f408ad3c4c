package interop

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const (
	ownNetwork = "EDGE_TEST_OWN_NETWORK" // in a process of inOwnNetwork

	// Addresses there, which are none of a private network.
	here, elsewhere = "192.0.2.1", "192.0.2.2"
)

// inOwnNetwork runs the test again in a process with a network of its own, where all ports are free, and reports
// whether this is that process.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownNetwork) != "" {
		return true
	}
	args := []string{"--net"}
	if os.Geteuid() != 0 {
		args = append(args, "--map-root-user")
	}
	args = append(args, "sh", "-ec", "ip link set lo up; ip address add "+here+" dev lo; ip address add "+elsewhere+
		` dev lo; exec "$@"`, "sh")
	if out, err := exec.Command("unshare", append(args, "true")...).CombinedOutput(); err != nil {
		t.Skipf("no networks here: %v: %s", err, out)
	}
	testutil.Binary(t, "./cmd/edge") // compiled once, outside
	cmd := exec.Command("unshare", append(args, os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")...)
	cmd.Env = append(os.Environ(), ownNetwork+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// worldNames is a DNS server at port 53, by which all names lead here, but for those that begin with "other" or "gone".
func worldNames(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:53")
	testutil.Must(t, err)
	packets, err := net.ListenPacket("udp", "127.0.0.1:53")
	testutil.Must(t, err)
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a, name, ip := new(dns.Msg), q.Question[0].Name, here
		a.SetReply(q)
		if strings.HasPrefix(name, "other.") {
			ip = elsewhere
		}
		one, _ := dns.NewRR(name + " 1 IN A " + ip)
		soa, _ := dns.NewRR("org. 1 IN SOA ns.org. admin.org. 1 60 60 60 1")
		switch gone := strings.HasPrefix(name, "gone."); {
		case !gone && q.Question[0].Qtype == dns.TypeA:
			a.Answer = append(a.Answer, one)
		case gone:
			a.Rcode = dns.RcodeNameError
			fallthrough
		default:
			a.Ns = append(a.Ns, soa)
		}
		w.WriteMsg(a)
	})
	for _, s := range []*dns.Server{{Listener: l, Handler: answer}, {PacketConn: packets, Handler: answer}} {
		go s.ActivateAndServe()
		t.Cleanup(func() { s.Shutdown() })
	}
}

// serveElsewhere is a web server of others.
func serveElsewhere(t *testing.T) {
	l, err := net.Listen("tcp", elsewhere+":80")
	testutil.Must(t, err)
	testutil.ServeHTTP(t, l, http.NotFound)
}

// ordering returns a file of edge for hosts, a list of TOML, with more keys of [acme].
func ordering(t *testing.T, hosts, keys string) (file string) {
	dir := t.TempDir()
	file = filepath.Join(dir, "edge.toml")
	text := fmt.Sprintf("[http]\nlisten = \"%s:80\"\n[https]\nlisten = \"%s:443\"\n[acme]\nstorage = %q\n"+
		"resolver = \"127.0.0.1\"\n%s\n[[routes]]\nhost = %s\ndest = \"127.0.0.1:1\"\n", here, here,
		filepath.Join(dir, "acme"), keys, hosts)
	testutil.Must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// runCheck runs edge check, and returns its exit code and what it prints.
func runCheck(t *testing.T, env []string, args ...string) (code int, printed string) {
	cmd := exec.Command(testutil.Binary(t, "./cmd/edge"), append([]string{"check", "--strict"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	return code, string(out)
}

// edge check --acme answers for proofs itself, at the ports of the configuration, and tells which names lead elsewhere.
func TestCheck_acme(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	worldNames(t)
	serveElsewhere(t)
	p := newPebble(t, pebbleOptions{http: here + ":80", tls: here + ":443", names: "127.0.0.1:53"})
	root := filepath.Join(t.TempDir(), "root.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
	testutil.Must(t, os.WriteFile(root, text, 0o600))
	const issued = "has issued a certificate for "
	for _, c := range []struct {
		keys, hosts string
		taken       []string // ports that others have
		code        int
		want        []string
	}{
		{"", `["www.org", "a.org", "192.0.2.1"]`, nil, 0, []string{issued + "www.org, a.org, 192.0.2.1"}},
		{"", `["www.org", "gone.org", "other.org"]`, nil, 1, []string{
			"gone.org has no address", "other.org does not lead here at 192.0.2.2:80: another program answers: 404",
			"other.org does not lead here at 192.0.2.2:443: dial", "error: no certificate for www.org, gone.org"}},
		{"", `["www.org"]`, []string{"80"}, 2, []string{
			"by http-01 cannot be answered here", "address already in use", issued + "www.org"}},
		{`challenge = "http-01"`, `["www.org"]`, []string{"443"}, 0, []string{issued + "www.org"}},
		{`challenge = "tls-alpn-01"`, `["www.org"]`, []string{"443"}, 1, []string{
			"by tls-alpn-01 cannot be answered here", "no proof can be answered here"}},
		{`dns = "/bin/true"`, `["192.0.2.1"]`, nil, 0, []string{issued + "192.0.2.1"}}, // addresses have no records
	} {
		var busy []net.Listener
		for _, port := range c.taken {
			l, err := net.Listen("tcp", here+":"+port)
			testutil.Must(t, err)
			busy = append(busy, l)
		}
		before := len(p.orders)
		keys := fmt.Sprintf("ca = \"https://production.test/dir\"\nca_file = %q\n%s", root, c.keys)
		file := ordering(t, c.hosts, keys)
		code, out := runCheck(t, nil, "-c", file, "--acme="+p.URL+"/dir")
		missing := slices.DeleteFunc(c.want, func(s string) bool { return strings.Contains(out, s) })
		if code != c.code || len(missing) > 0 || c.code != 1 && len(p.orders) != before+1 {
			t.Errorf("%s %s: code %d, want %d, without %q:\n%s", c.keys, c.hosts, code, c.code, missing, out)
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(file), "acme")); err == nil {
			t.Error("there is a folder of certificates")
		}
		for _, l := range busy {
			l.Close()
		}
	}
}

// letsEncrypt has two pebbles in place of the authorities of Let's Encrypt, and returns the environment in which a
// process reaches them: by a proxy for CONNECT.
func letsEncrypt(t *testing.T) (production, staging *pebble, env []string) {
	roots, at := testutil.NewAuthority(t), map[string]string{}
	authority := func(name string) *pebble {
		leaf, key := roots.Issue(t, nil, name)
		p := newPebble(t, pebbleOptions{http: here + ":80", tls: here + ":443", names: "127.0.0.1:53",
			secure: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}}}})
		at[name+":443"] = p.Listener.Addr().String()
		return p
	}
	production = authority("acme-v02.api.letsencrypt.org")
	staging = authority("acme-staging-v02.api.letsencrypt.org")
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, err := net.Dial("tcp", at[r.Host])
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		from, _, _ := http.NewResponseController(w).Hijack()
		io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { io.Copy(to, from); to.Close() }()
		io.Copy(from, to)
		from.Close()
	}))
	t.Cleanup(proxy.Close)
	root := filepath.Join(t.TempDir(), "root.pem")
	roots.Write(t, root)
	return production, staging, []string{"HTTPS_PROXY=" + proxy.URL, "SSL_CERT_FILE=" + root}
}

// A check asks the staging authority alone. Then a name that leads here has its certificate without it, and for a name
// that leads elsewhere the first order is tried there.
func TestCheck_acmeStaging(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	worldNames(t)
	serveElsewhere(t)
	production, staging, env := letsEncrypt(t)
	code, out := runCheck(t, env, "-c", ordering(t, `"www.shop.org"`, ""), "--acme")
	const issued = "https://acme-staging-v02.api.letsencrypt.org/directory has issued a certificate for www.shop.org"
	if code != 0 || !strings.Contains(out, issued) || production.asked.Load() != 0 {
		t.Fatalf("code %d, %d requests in production:\n%s", code, production.asked.Load(), out)
	}
	p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Env: env,
		Args: []string{"run", "-c", ordering(t, `["www.shop.org", "other.shop.org"]`, "")}})
	p.WaitLine(`other.shop.org does not lead here at 192.0.2.2:80`)
	p.WaitLine(`certificate ordered.*www.shop.org`)
	p.WaitLine(`could not be ordered.*other.shop.org.*staging: `)
	for _, of := range []*pebble{production, staging} {
		of.mu.Lock()
		defer of.mu.Unlock()
	}
	if len(production.orders) != 1 || !strings.Contains(production.orders[0], "www.") {
		t.Errorf("orders of production: %q", production.orders)
	}
	if all := strings.Join(staging.orders, "\n"); strings.Count(all, `"www.`) != 1 {
		t.Errorf("orders of staging: %s", all)
	}
}
