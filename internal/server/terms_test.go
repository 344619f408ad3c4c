package server

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// from dials by TLS from an address of this machine.
func from(t *testing.T, ip, addr string, o *tls.Config) (*tls.Conn, error) {
	t.Helper()
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: testutil.Patience}
	c, err := tls.DialWithDialer(d, "tcp", addr, o)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// openssl returns what openssl s_client prints of a handshake.
func openssl(t *testing.T, addr string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl")
	}
	cmd := exec.Command(path, append([]string{"s_client", "-connect", addr}, args...)...)
	out, _ := cmd.CombinedOutput() // it fails where the handshake does
	return string(out)
}

// certificate is a table of [[certificates]], of ca, for names, the first of which is its common name.
func certificate(t *testing.T, ca *testutil.Authority, dir, file, more string, names ...string) string {
	t.Helper()
	ca.IssueTo(t, dir, file, nil, names...)
	base := filepath.Join(dir, file)
	return fmt.Sprintf("[[certificates]]\ncert = %q\nkey = %q\n%s\n", base+".pem", base+".key", more)
}

// Which certificate a client gets depends on the name that it asks for, and on its address and what it offers.
func TestCertificates_when(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	text := quiet + "[https]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n[lists]\ninner = [\"127.0.0.2\"]\n" + all200 +
		certificate(t, ca, dir, "public", "", "public", "a.test") +
		certificate(t, ca, dir, "old", "when = 'tls.alpn == \"acme\"'", "old", "a.test") +
		certificate(t, ca, dir, "wild", "when = 'client.ip in list.inner'", "wild", "*.test") +
		certificate(t, ca, dir, "inner", "when = 'client.ip in list.inner and listener == \"web\"'", "inner", "a.test")
	s := start(t, Options{}, "%s", text)
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	got := func(ip, name string, protocols ...string) string {
		t.Helper()
		c, err := from(t, ip, addr, &tls.Config{RootCAs: ca.Pool, ServerName: name, InsecureSkipVerify: true,
			NextProtos: protocols})
		testutil.Must(t, err)
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	for _, c := range []struct{ ip, name, protocol, want string }{
		{"127.0.0.1", "a.test", "h2", "public"}, {"127.0.0.2", "a.test", "h2", "inner"},
		{"127.0.0.2", "A.Test", "h2", "inner"}, {"127.0.0.2", "b.test", "h2", "wild"},
		{"127.0.0.1", "b.test", "h2", "public"}, {"127.0.0.1", "", "h2", "public"}, {"127.0.0.2", "", "h2", "wild"},
	} {
		if name := got(c.ip, c.name, c.protocol); name != c.want {
			t.Errorf("%s gets %s for %q, want %s", c.ip, name, c.name, c.want)
		}
	}
	wantEqual(t, got("127.0.0.1", "a.test", "acme", "h2"), "old", "by protocol")
	for ip, want := range map[string]string{"127.0.0.1": "CN = public", "127.0.0.2": "CN = inner"} {
		out := openssl(t, addr, "-servername", "a.test", "-bind", ip+":0", "-brief")
		wantPart(t, out, "Peer certificate: "+want, "%s", want)
	}
	apply(t, s, "%s", strings.Replace(text, "127.0.0.2", "127.0.0.1", 1))
	wantEqual(t, got("127.0.0.2", "a.test", "h2"), "public", "after the list has changed")
	wantEqual(t, got("127.0.0.1", "a.test", "h2"), "inner", "after the list has changed")
}

// Where no certificate is for a client, the alert says so.
func TestCertificates_whenForNobody(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	s := start(t, Options{}, "%s[https]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n%s%s", quiet, all200,
		certificate(t, ca, dir, "inner", "when = 'client.ip == 127.0.0.2'", "a.test"))
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	if _, err := from(t, "127.0.0.1", addr, &tls.Config{RootCAs: ca.Pool, ServerName: "a.test"}); err == nil ||
		!strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("%v", err)
	}
	if _, err := from(t, "127.0.0.2", addr, &tls.Config{RootCAs: ca.Pool, ServerName: "a.test"}); err != nil {
		t.Error(err)
	}
}

// ruled is a server with rules on handshakes, and certificates for every host below test.
type ruled struct {
	*testing.T
	server *Server
	ca     *testutil.Authority
	client tls.Certificate
	text   string // of the configuration up to the rules
	addr   string
}

// ruleHandshakes serves lines of [https], and rules. CA stands for the file of the authority of servers and clients.
func ruleHandshakes(t *testing.T, lines, rules string) *ruled {
	t.Helper()
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	r := &ruled{T: t, ca: ca, client: clientPair(t, ca, nil)}
	r.text = strings.ReplaceAll(quiet+"[https]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"+lines+"\n"+all200+
		certificate(t, ca, dir, "all", "name = \"all\"", "all", "*.test")+
		certificate(t, ca, dir, "inner", "name = \"inner\"", "inner", "inner.test"),
		"= CA", fmt.Sprintf("= %q", filepath.Join(dir, "ca.pem")))
	r.server = start(t, Options{}, "%s%s", r.text, rules)
	r.addr = strings.TrimPrefix(urlOf(t, r.server, "web"), "http://")
	return r
}

// apply reloads with other rules.
func (r *ruled) apply(rules string) {
	r.Helper()
	apply(r.T, r.server, "%s%s", r.text, rules)
}

// dial makes a handshake from an address for a name, and reads what may come after it: the alert of TLS 1.3.
func (r *ruled) dial(ip, name string, change func(o *tls.Config)) (c *talk, err error) {
	r.Helper()
	o := &tls.Config{ServerName: name, InsecureSkipVerify: true} // the names of tests are not all those of certificates
	if change != nil {
		change(o)
	}
	conn, err := from(r.T, ip, r.addr, o)
	if err != nil {
		return nil, err
	}
	c = &talk{Conn: conn, in: bufio.NewReader(conn)}
	_ = conn.SetDeadline(time.Now().Add(testutil.Patience))
	_, err = c.ask("none.example")
	return c, err
}

func (r *ruled) mustDial(ip, name string, change func(o *tls.Config)) *talk {
	r.Helper()
	c, err := r.dial(ip, name, change)
	if err != nil {
		r.Fatalf("%s from %s: %v", name, ip, err)
	}
	return c
}

// shown has a client show its certificate.
func (r *ruled) shown(o *tls.Config) { o.Certificates = []tls.Certificate{r.client} }

// talk is a connection of HTTP/1.
type talk struct {
	*tls.Conn
	in *bufio.Reader
}

// ask sends a request for a host and returns the status of the answer.
func (c *talk) ask(host string) (status int, err error) {
	if _, err = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

const adminRule = "[[tls.rules]]\nname = \"admins\"\nwhen = 'tls.sni == \"admin.test\"'\nclient_auth = \"require\"\n"

const asksNobody = "client_auth = \"none\"\nclient_ca = CA\n"

// A request is for a host on the terms that the rules have for that host, on whatever connection and in whatever
// spelling it comes.
func TestTLSRules_bindHosts(t *testing.T) {
	r := ruleHandshakes(t, asksNobody, adminRule)
	if _, err := r.dial("127.0.0.1", "admin.test", nil); err == nil {
		t.Error("a handshake without a certificate")
	}
	if _, err := r.dial("127.0.0.1", "ADMIN.Test", nil); err == nil {
		t.Error("a handshake without a certificate, in upper case")
	}
	for _, c := range []struct {
		sni   string
		shown bool
		hosts string // each with its status
	}{
		{"www.test", false, "www.test 200 admin.test 421 ADMIN.test 421 admin.test. 421 admin.test:443 421 " +
			"www.test 200 127.0.0.1 200 other.test 200 admin.test 421"},
		{"", false, "www.test 200 admin.test 421 Admin.Test. 421 [::1] 200"},
		{"127.0.0.1", false, "127.0.0.1 200 admin.test 421"},
		{"WWW.test", false, "www.test 200 admin.test:1 421"},
		{"www.test", true, "admin.test 421 www.test 200"}, // nobody has asked for it
		{"admin.test", true, "admin.test 200 ADMIN.TEST. 200 www.test 421 admin.test:8443 200 127.0.0.1 421"},
		{"Admin.Test", true, "admin.test 200"},
	} {
		change := func(*tls.Config) {}
		if c.shown {
			change = r.shown
		}
		conn := r.mustDial("127.0.0.1", c.sni, change)
		hosts := strings.Fields(c.hosts)
		for i := 0; i < len(hosts); i += 2 {
			if got, err := conn.ask(hosts[i]); err != nil || strconv.Itoa(got) != hosts[i+1] {
				t.Errorf("%s on a connection for %q: %d %v, want %s", hosts[i], c.sni, got, err, hosts[i+1])
			}
		}
	}
}

// HTTP/2 has requests for several hosts share a connection.
func TestTLSRules_bindHostsOfHTTP2(t *testing.T) {
	r := ruleHandshakes(t, asksNobody, adminRule)
	c := asHTTPS(t, r.ca, true)
	c.Transport.(*http.Transport).TLSClientConfig.ServerName = "www.test"
	for _, want := range []struct {
		host   string
		status int
	}{{"www.test", 200}, {"admin.test", 421}, {"www.test", 200}, {"admin.test", 421}} {
		resp, _ := askBy(t, c, "GET", "https://"+r.addr, "Host: "+want.host)
		if resp.StatusCode != want.status || resp.ProtoMajor != 2 {
			t.Errorf("%s: %s %d", want.host, resp.Proto, resp.StatusCode)
		}
	}
}

// oneSession is a cache that has the last session for every server.
type oneSession struct{ last *tls.ClientSessionState }

func (o *oneSession) Get(string) (*tls.ClientSessionState, bool) { return o.last, o.last != nil }
func (o *oneSession) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		o.last = s
	}
}

// A session is resumed on the terms that it began on, and on no others: whatever name, address or configuration made
// them others.
func TestTLSRules_bindSessions(t *testing.T) {
	const (
		www     = "www.test"
		request = "[[tls.rules]]\nwhen = 'tls.sni == \"asked.test\"'\nclient_auth = \"request\"\n"
		inner   = "[[tls.rules]]\nwhen = 'client.ip == 127.0.0.2'\nclient_auth = \"request\"\n"
		denied  = "[[tls.rules]]\nwhen = 'client.ip == 127.0.0.2'\ndeny = true\n"
	)
	for _, c := range []struct {
		name, lines, first, second string // rules of both handshakes
		sni, then, from            string
		shown                      bool // by the first handshake
		want                       string
	}{
		{"the same", asksNobody, adminRule, adminRule, www, www, "127.0.0.1", false, "resumed"},
		{"a name on the same terms", asksNobody, adminRule, adminRule, www, "b.test", "127.0.0.1", false, "resumed"},
		{"a name that demands", asksNobody, adminRule, adminRule, www, "admin.test", "127.0.0.1", false, "refused"},
		{"a name that asks", asksNobody, request, request, www, "asked.test", "127.0.0.1", false, "whole"},
		{"a name that asks nobody", asksNobody, adminRule, adminRule, "admin.test", www, "127.0.0.1", true, "whole"},
		{"an address that is asked", asksNobody, inner, inner, www, www, "127.0.0.2", false, "whole"},
		{"an address that is denied", asksNobody, denied, denied, www, www, "127.0.0.2", false, "refused"},
		{"rules since then", asksNobody, "", adminRule, "admin.test", "admin.test", "127.0.0.1", false, "refused"},
		{"rules that ask since then", asksNobody, "", request, "asked.test", "asked.test", "127.0.0.1", false, "whole"},
		{"other rules since then", asksNobody, request, inner, www, www, "127.0.0.2", false, "whole"},
		{"a reload", asksNobody, adminRule, adminRule + denied, www, www, "127.0.0.1", false, "resumed"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			r := ruleHandshakes(t, c.lines, c.first)
			cache := &oneSession{}
			with := func(o *tls.Config) { o.ClientSessionCache, o.MaxVersion = cache, version }
			r.mustDial("127.0.0.1", c.sni, func(o *tls.Config) {
				if with(o); c.shown {
					r.shown(o)
				}
			})
			if cache.last == nil {
				t.Fatal("there is no session")
			}
			if c.second != c.first {
				r.apply(c.second)
			}
			conn, err := r.dial(c.from, c.then, with)
			got := "refused"
			switch {
			case err == nil && conn.ConnectionState().DidResume:
				got = "resumed"
			case err == nil:
				got = "whole"
			}
			if got != c.want {
				t.Errorf("%s, %s: %s, want %s (%v)", c.name, tls.VersionName(version), got, c.want, err)
			}
		}
	}
}

// A connection that stands is held against the rules of now.
func TestTLSRules_bindStandingConnections(t *testing.T) {
	lists := "[lists]\nbad = [\"127.0.0.3\"]\n"
	deny := "[[tls.rules]]\nwhen = 'client.ip in list.bad'\ndeny = true\n"
	r := ruleHandshakes(t, asksNobody, lists)
	conn := r.mustDial("127.0.0.1", "admin.test", nil)
	want := func(when string, status int) {
		t.Helper()
		if got, err := conn.ask("admin.test"); err != nil || got != status {
			t.Errorf("%s: %d %v, want %d", when, got, err, status)
		}
	}
	want("before", 200)
	r.apply(lists + adminRule)
	want("with a rule that demands", 421)
	r.apply(lists + deny)
	want("with a rule for others", 200)
	r.apply(strings.Replace(lists, ".3", ".1", 1) + deny)
	want("with the client on the list", 421)
	r.apply(lists + "[[tls.rules]]\nmin_version = \"1.3\"\n")
	want("with a version that it has", 200)
}

// What a rule decides, as clients of other programs see it.
func TestTLSRules_byOpenSSL(t *testing.T) {
	t.Parallel()
	r := ruleHandshakes(t, asksNobody, adminRule+`
[[tls.rules]]
when = 'tls.sni == "closed.test" or client.ip == 127.0.0.3'
deny = true
[[tls.rules]]
when = 'client.ip == 127.0.0.2'
certificate = "inner"
[[tls.rules]]
when = 'tls.sni == "new.test"'
min_version = "1.3"
[[tls.rules]]
when = 'tls.alpn == "acme-tls/1"'
deny = true
`)
	for _, c := range []struct{ args, want string }{
		{"-servername www.test", "Peer certificate: CN = all"},
		{"-servername www.test -bind 127.0.0.2:0", "Peer certificate: CN = inner"},
		{"-noservername -bind 127.0.0.2:0", "Peer certificate: CN = inner"},
		{"-servername CLOSED.test", "unrecognized name"},
		{"-servername www.test -bind 127.0.0.3:0", "unrecognized name"},
		{"-noservername -bind 127.0.0.3:0", "access denied"},
		{"-servername new.test -tls1_2", "alert protocol version"},
		{"-servername new.test", "Protocol version: TLSv1.3"},
		{"-servername www.test -tls1_2", "Protocol version: TLSv1.2"},
		{"-servername www.test -alpn acme-tls/1,http/1.1", "unrecognized name"},
	} {
		out := openssl(t, r.addr, append(strings.Fields(c.args), "-brief")...)
		wantPart(t, out, c.want, "%s", c.args)
	}
	for label, want := range map[[2]string]float64{{"2", "denied"}: 3, {"3", "applied"}: 2, {"4", "applied"}: 2,
		{"admins", "applied"}: 0} {
		got := counter(r.server, "edge_tls_rules_total", "web", label[1], label[0])
		wantEqual(t, got, want, "edge_tls_rules_total of rule %s, %s", label[0], label[1])
	}
	old := r.mustDial("127.0.0.1", "www.test", func(o *tls.Config) { o.MaxVersion = tls.VersionTLS12 })
	if status, _ := old.ask("new.test"); status != 421 {
		t.Errorf("a host that demands TLS 1.3, by TLS 1.2: %d", status)
	}
}
