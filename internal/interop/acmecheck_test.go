package interop

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/edge-proxy/edge/internal/testutil"
)

const ownNetwork = "EDGE_TEST_OWN_NETWORK" // in a process of inOwnNetwork

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
	try := exec.Command("unshare", append(args, "ip", "link", "set", "lo", "up")...)
	if out, err := try.CombinedOutput(); err != nil {
		t.Skipf("no networks here: %v: %s", err, out)
	}
	testutil.Binary(t, "./cmd/edge") // compiled once, outside
	cmd := exec.Command("unshare", append(args, "sh", "-ec", `ip link set lo up; exec "$0" -test.run "^$1\$" -test.v`,
		os.Args[0], t.Name())...)
	cmd.Env = append(os.Environ(), ownNetwork+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// worldNames is a DNS server at port 53, and what it says of a name: other.test leads elsewhere, gone.test nowhere, all
// other names to this machine.
func worldNames(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a, name := new(dns.Msg), q.Question[0].Name
		a.SetReply(q)
		text := map[string]string{"other.test.": "127.0.0.2", "gone.test.": ""}
		ip, known := text[name]
		if !known {
			ip = "127.0.0.1"
		}
		if ip == "" {
			a.Rcode = dns.RcodeNameError
		}
		if q.Question[0].Qtype == dns.TypeA && ip != "" {
			one, _ := dns.NewRR(name + " 1 IN A " + ip)
			a.Answer = append(a.Answer, one)
		} else {
			soa, _ := dns.NewRR("test. 1 IN SOA ns.test. admin.test. 1 60 60 60 1")
			a.Ns = append(a.Ns, soa)
		}
		w.WriteMsg(a)
	})
	for _, s := range []*dns.Server{{Listener: l, Handler: answer}, {PacketConn: packets, Handler: answer}} {
		go s.ActivateAndServe()
		t.Cleanup(func() { s.Shutdown() })
	}
}

// edge check --acme answers for proofs itself, at the ports of the configuration, and tells which names lead elsewhere.
func TestCheck_acme(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	worldNames(t)
	p := newPebble(t, pebbleOptions{http: "127.0.0.1:80", tls: "127.0.0.1:443", names: "127.0.0.1:53"})
	dir := t.TempDir()
	root, file := filepath.Join(dir, "root.pem"), filepath.Join(dir, "edge.toml")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
	if err := os.WriteFile(root, text, 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere, err := net.Listen("tcp", "127.0.0.2:80")
	if err != nil {
		t.Fatal(err)
	}
	other := &http.Server{Handler: http.NotFoundHandler()}
	go other.Serve(elsewhere)
	t.Cleanup(func() { other.Close() })
	const issued = "has issued a certificate for "
	for _, c := range []struct {
		keys, hosts string
		taken       []string // addresses that others have
		code        int      // with --strict
		want        []string
	}{
		{"", `["www.test", "a.test", "127.0.0.1"]`, nil, 0, []string{issued + "www.test, a.test, 127.0.0.1"}},
		{"", `["www.test", "gone.test", "other.test"]`, nil, 1, []string{
			"gone.test has no address", "other.test does not lead here at 127.0.0.2:80: another program answers: 404",
			"other.test does not lead here at 127.0.0.2:443: dial", "error: no certificate for www.test, gone.test"}},
		{"", `["www.test"]`, []string{"127.0.0.1:80"}, 2, []string{
			"by http-01 cannot be answered here", "address already in use", issued + "www.test"}},
		{`challenge = "http-01"`, `["www.test"]`, []string{"127.0.0.1:443"}, 0, []string{issued + "www.test"}},
		{`challenge = "tls-alpn-01"`, `["www.test"]`, []string{"127.0.0.1:443"}, 1, []string{
			"by tls-alpn-01 cannot be answered here", "no proof can be answered here"}},
	} {
		var busy []net.Listener
		for _, address := range c.taken {
			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			busy = append(busy, l)
		}
		before := len(p.orders)
		text := fmt.Sprintf("[http]\nlisten = \"127.0.0.1:80\"\n[https]\nlisten = \"127.0.0.1:443\"\n[acme]\n%s\n"+
			"ca = \"https://production.test/dir\"\nca_file = %q\nstorage = %q\nresolver = \"127.0.0.1\"\n[[routes]]\n"+
			"host = %s\ndest = \"127.0.0.1:1\"\n", c.keys, root, filepath.Join(dir, "acme"), c.hosts)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(testutil.Binary(t, "./cmd/edge"), "check", "-c", file, "--strict",
			"--acme="+p.URL+"/dir").CombinedOutput()
		code := 0
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			code = exit.ExitCode()
		}
		missing := slices.DeleteFunc(c.want, func(s string) bool { return strings.Contains(string(out), s) })
		if code != c.code || len(missing) > 0 || c.code != 1 && len(p.orders) != before+1 {
			t.Errorf("%s %s: code %d, want %d, without %q:\n%s", c.keys, c.hosts, code, c.code, missing, out)
		}
		for _, l := range busy {
			l.Close()
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "acme")); err == nil {
		t.Error("there is a folder of certificates")
	}
}
