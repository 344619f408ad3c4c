package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/l4/proxyproto"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// namedHouse has backends that end TLS: each has a certificate for its own name.
type namedHouse struct {
	ca  *testutil.Authority
	dir string
}

func newNamedHouse(t *testing.T) *namedHouse {
	h := &namedHouse{ca: testutil.NewAuthority(t), dir: t.TempDir()}
	h.ca.Write(t, filepath.Join(h.dir, "ca.pem"))
	return h
}

// pair returns a certificate for a name.
func (h *namedHouse) pair(t *testing.T, name string) tls.Certificate {
	t.Helper()
	h.ca.IssueTo(t, h.dir, name, nil, name)
	base := filepath.Join(h.dir, name)
	pair, err := tls.LoadX509KeyPair(base+".pem", base+".key")
	testutil.Must(t, err)
	return pair
}

// backend ends TLS with a certificate for a name, and sends back what comes. before, if set, talks before that.
func (h *namedHouse) backend(t *testing.T, name string, before func(c net.Conn) bool) (addr string) {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{h.pair(t, name)}}
	return testutil.Serve(t, func(c net.Conn) {
		defer c.Close()
		if before != nil && !before(c) {
			return
		}
		s := tls.Server(c, config)
		io.Copy(s, s)  //nolint:errcheck // the client sees it
		s.CloseWrite() //nolint:errcheck // as before
	}).Addr().String()
}

// echoes reports why a client that asks for a name does not get its bytes back from a server with a certificate for it.
func (h *namedHouse) echoes(addr, name string) error {
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: h.ca.Pool, ServerName: name})
	if err != nil {
		return err
	}
	defer c.Close()
	big := strings.Repeat("0123456789abcdef", 1<<14)
	go func() {
		io.WriteString(c, big) //nolint:errcheck // the read tells
		c.CloseWrite()         //nolint:errcheck // as before
	}()
	if got, err := io.ReadAll(c); err != nil || string(got) != big {
		return fmt.Errorf("%d bytes of %d: %w", len(got), len(big), err)
	}
	return nil
}

// TLS that edge does not end goes to a backend by the name in its ClientHello, and what is no TLS elsewhere.
func TestPassing_byName(t *testing.T) {
	t.Parallel()
	h := newNamedHouse(t)
	log := filepath.Join(h.dir, "access.log")
	s := start(t, Options{}, "%s", fmt.Sprintf("log = { output = [%q] }\n[services.in]\nlisten = \"127.0.0.1:0\"\n"+
		"peek = true\n[[services.in.routes]]\nwhen = 'tls.sni == \"a.example\" and tls.alpn == \"x\"'\n"+
		"dest = \"127.0.0.1:1\"\n"+
		"[[services.in.routes]]\nwhen = 'tls.sni == \"a.example\"'\ndest = %q\n"+
		"[[services.in.routes]]\nwhen = 'tls.sni ends_with \".b.example\"'\ndest = %q\n"+
		"[[services.in.routes]]\nwhen = 'not has(tls.sni)'\ndest = %q\n",
		log, h.backend(t, "a.example", nil), h.backend(t, "1.b.example", nil), named(t, "plain")))
	addr := addressOf(t, s, "in")
	for _, name := range []string{"a.example", "1.b.example"} {
		if err := h.echoes(addr, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var wrong x509.HostnameError
	if err := h.echoes(addr, "2.b.example"); !errors.As(err, &wrong) { // the backend's own certificate is shown
		t.Error(err)
	}
	if err := h.echoes(addr, "c.example"); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	w := testutil.Dial(t, addr)
	w.Send("hello\n")
	w.Want("plain\nhello\n")
	w.Close()
	broken := testutil.Dial(t, addr)
	broken.Send("\x16\x03\x01\x00\x04\x01\x00\x00\x00")
	if _, err := io.ReadAll(broken.Conn()); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	text := func() string { return readFile(log) }
	testutil.Eventually(t, testutil.Patience, func() bool {
		return strings.Contains(text(), `"sni":"a.example"`) &&
			strings.Contains(text(), `"status":404,"reason":"edge:no_route"`) &&
			strings.Contains(text(), `"status":400,"reason":"client:hello"`)
	}, text)
}

// One address ends TLS for some names, and passes it on for another, by a rule.
func TestPassing_besideTerminated(t *testing.T) {
	h := newNamedHouse(t)
	text := func(rules string) string {
		return quiet + "[https]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n" + all200 +
			certificate(t, h.ca, h.dir, "web", "", "web.example") + rules
	}
	rule := fmt.Sprintf("[[tls.rules]]\nname = \"db\"\nwhen = 'tls.sni == \"db.example\"'\ndest = %q\n",
		h.backend(t, "db.example", nil))
	s := start(t, Options{}, "%s", text(rule))
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	wantNoErr(t, h.echoes(addr, "db.example"))
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: h.ca.Pool, ServerName: "web.example"})
	testutil.Must(t, err)
	io.WriteString(c, "GET / HTTP/1.0\r\nHost: web.example\r\n\r\n") //nolint:errcheck // the read tells
	if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200") {
		t.Errorf("%q, %v", got, err)
	}
	for _, want := range []string{`edge_tls_rules_total{listener="web",result="applied",rule="db"} 1`,
		`edge_service_connections_total{result="closed",service="web"} 1`} {
		testutil.Eventually(t, testutil.Patience, func() bool { return strings.Contains(scrapeNow(s), want) },
			"there is %s", want) // the connection that was passed on may end after its client has seen that
	}
	other := "[[tls.rules]]\nwhen = 'tls.sni == \"x.example\"'\nmin_version = \"1.3\"\n"
	apply(t, s, "%s", text(other+strings.Replace(rule, "db.example", "e.example", 1)))
	wantErr(t, h.echoes(addr, "e.example"), "not e.example")
	apply(t, s, "%s", text("[[tls.rules]]\nwhen = 'tls.sni == \"db.example\"'\ndeny = true\n"+rule))
	wantErr(t, h.echoes(addr, "db.example"), "unrecognized name")
	apply(t, s, "%s", text(""))
	var wrong x509.HostnameError
	if err := h.echoes(addr, "db.example"); !errors.As(err, &wrong) {
		t.Error(err)
	}
}

// Clients of PostgreSQL ask for TLS before they say hello: TLS is passed on by name, or ends here.
func TestPassing_postgres(t *testing.T) {
	t.Parallel()
	h := newNamedHouse(t)
	asked := func(c net.Conn) bool {
		b := make([]byte, 8)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "\x00\x00\x00\x08\x04\xd2\x16\x2f" {
			return false
		}
		_, err := io.WriteString(c, "S")
		return err == nil
	}
	h.pair(t, "ended.example")
	base := filepath.Join(h.dir, "ended.example")
	s := start(t, Options{}, "%s", fmt.Sprintf(quiet+"[services.pg]\nlisten = \"127.0.0.1:0\"\npeek = true\n"+
		"starttls = \"postgres\"\n[[services.pg.routes]]\nwhen = 'tls.sni == \"a.example\"'\ndest = %q\n"+
		"[services.ends]\nlisten = \"127.0.0.1:0\"\nstarttls = \"postgres\"\ncert = %q\nkey = %q\ndest = %q\n",
		h.backend(t, "a.example", asked), base+".pem", base+".key", named(t, "plain")))
	for _, c := range []struct{ service, name, want string }{
		{"pg", "a.example", "subject=CN = a.example"},
		{"ends", "ended.example", "subject=CN = ended.example"},
	} {
		addr := addressOf(t, s, c.service)
		out := openssl(t, addr, "-starttls", "postgres", "-servername", c.name)
		wantPart(t, out, c.want, "%s", c.service)
		conn, err := net.Dial("tcp", addr)
		testutil.Must(t, err)
		if !asksForTLS(conn) {
			t.Fatalf("%s: not answered", c.service)
		}
		secured := tls.Client(conn, &tls.Config{RootCAs: h.ca.Pool, ServerName: c.name})
		fmt.Fprint(secured, "startup") //nolint:errcheck // the read tells
		secured.CloseWrite()           //nolint:errcheck // as before
		if got, err := io.ReadAll(secured); err != nil || !strings.HasSuffix(string(got), "startup") {
			t.Errorf("%s: %q, %v", c.service, got, err)
		}
		conn.Close()
	}
}

// asksForTLS asks a server for TLS.
func asksForTLS(c net.Conn) bool {
	b := make([]byte, 1)
	io.WriteString(c, "\x00\x00\x00\x08\x04\xd2\x16\x2f") //nolint:errcheck // the read tells
	_, err := io.ReadFull(c, b)
	return err == nil && b[0] == 'S'
}

// A name that is none is not told to backends, which would refuse the header and look as if they failed, nor to the
// log: a ClientHello has room for 16 KiB of anything. So it is where TLS ends here.
func TestPassing_namesThatAreNone(t *testing.T) {
	t.Parallel()
	h, told := newNamedHouse(t), make(chan string, 1)
	backend := testutil.Serve(t, func(c net.Conn) {
		defer c.Close()
		for b := make([]byte, 1); ; b = append(b, 0) {
			if _, err := io.ReadFull(c, b[len(b)-1:]); err != nil {
				return
			}
			const before = 16 + 12 + 3 // the value of the first TLV
			if _, used, err := proxyproto.Parse(b); used > 0 || err != nil {
				told <- fmt.Sprint(string(b[min(before, used):used]), err)
				return
			}
		}
	}).Addr().String()
	log := filepath.Join(h.dir, "access.log")
	h.pair(t, "ended.example")
	base := filepath.Join(h.dir, "ended.example")
	s := start(t, Options{}, "%s", fmt.Sprintf("log = { output = [%q] }\n[services.in]\nlisten = \"127.0.0.1:0\"\n"+
		"peek = true\ndest = \"up\"\n[services.ends]\nlisten = \"127.0.0.1:0\"\ncert = %q\nkey = %q\n"+
		"dest = \"up\"\n[upstreams.up]\nproxy_protocol = \"v2\"\nbackends = [{ address = %q }]\n",
		log, base+".pem", base+".key", backend))
	for _, service := range []string{"in", "ends"} {
		for name, want := range map[string]string{"a.org": "a.org", strings.Repeat("a", 5000): "", "a\n\xff": ""} {
			c, err := net.Dial("tcp", addressOf(t, s, service))
			testutil.Must(t, err)
			config := &tls.Config{InsecureSkipVerify: true, ServerName: name}
			go tls.Client(c, config).Handshake() //nolint:errcheck // the backend tells
			if got := <-told; got != want+"<nil>" {
				t.Errorf("%s: %.20q, want %q", service, got, want)
			}
			c.Close()
		}
	}
	lines := func() string {
		b, _ := os.ReadFile(log)
		return strings.Join(slices.DeleteFunc(strings.SplitAfter(string(b), "\n"), func(line string) bool {
			return !strings.Contains(line, `"listener":"in"`)
		}), "")
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return strings.Count(lines(), "\n") == 3 }, lines)
	if strings.Count(lines(), `"sni":`) != 1 {
		t.Error(lines())
	}
}

// Where a service ends TLS its routes know what the client has offered, as they do where it does not.
func TestPassing_routesOfEndedTLS(t *testing.T) {
	h := newNamedHouse(t)
	h.pair(t, "a.example")
	base := filepath.Join(h.dir, "a.example")
	s := start(t, Options{}, "%s", fmt.Sprintf(quiet+"[services.in]\nlisten = \"127.0.0.1:0\"\ncert = %q\nkey = %q\n"+
		"dest = %q\n[[services.in.routes]]\nwhen = 'tls.alpn == \"x\" and tls.sni == \"a.example\"'\ndest = %q\n",
		base+".pem", base+".key", named(t, "other"), named(t, "x")))
	for _, name := range []string{"x", "other"} {
		c, err := tls.Dial("tcp", addressOf(t, s, "in"),
			&tls.Config{RootCAs: h.ca.Pool, ServerName: "a.example", NextProtos: []string{name}})
		testutil.Must(t, err)
		c.CloseWrite() //nolint:errcheck // the read tells
		if got, err := io.ReadAll(c); err != nil || string(got) != name+"\n" {
			t.Errorf("%q, %v; want %s", got, err, name)
		}
		c.Close()
	}
}

// A route whose condition has no room for what it computes takes no connection, and neither do routes after it: a
// client could make it so.
func TestPassing_cutCondition(t *testing.T) {
	s := start(t, Options{}, "%s", fmt.Sprintf(quiet+"[services.in]\nlisten = \"127.0.0.1:0\"\npeek = true\n"+
		"dest = %q\n[[services.in.routes]]\nwhen = 'replace(tls.sni, \"a\", \"%s\") ends_with \"z\"'\n"+
		"dest = \"127.0.0.1:1\"\n", named(t, "other"), strings.Repeat("b", 1000)))
	for name, want := range map[string]string{"a": "other\n", strings.Repeat("a", 100): ""} {
		c, err := net.Dial("tcp", addressOf(t, s, "in"))
		testutil.Must(t, err)
		// The client says hello, and leaves the answer to the read below.
		go tls.Client(writing{c}, &tls.Config{InsecureSkipVerify: true, ServerName: name}).Handshake() //nolint:errcheck
		b := make([]byte, len("other\n"))
		if n, _ := io.ReadFull(c, b); string(b[:n]) != want {
			t.Errorf("%q, want %q", b[:n], want)
		}
		c.Close()
	}
}

// writing is a connection that ends for its reader.
type writing struct{ net.Conn }

func (writing) Read([]byte) (int, error) { return 0, io.EOF }

// A connection that was secured here has no requests for a host whose connections are passed on: browsers use one
// connection for all names of a certificate. Requests without TLS are for any host.
func TestPassing_requestsForPassedNames(t *testing.T) {
	h := newNamedHouse(t)
	s := start(t, Options{}, "%s", quiet+"[https]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\ntls = \"auto\"\n"+
		"redirect_to_https = false\n"+all200+certificate(t, h.ca, h.dir, "web", "", "web.example", "db.example")+
		"[[tls.rules]]\nwhen = 'tls.sni == \"db.example\"'\ndest = \"127.0.0.1:1\"\n")
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	for _, c := range []struct {
		host, want string
		secured    bool
	}{
		{"web.example", "200", true}, {"db.example", "421", true}, {"other.example", "200", true},
		{"db.example", "200", false},
	} {
		conn, err := net.Dial("tcp", addr)
		testutil.Must(t, err)
		if c.secured {
			conn = tls.Client(conn, &tls.Config{RootCAs: h.ca.Pool, ServerName: "web.example"})
		}
		io.WriteString(conn, "GET / HTTP/1.0\r\nHost: "+c.host+"\r\n\r\n") //nolint:errcheck // the read tells
		if got, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 "+c.want) {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
		conn.Close()
	}
}

// Rules that refuse clients that name no host, or lead them to a backend that is down, do not fail the self-check of an
// upgrade, which names none.
func TestPassing_selfCheck(t *testing.T) {
	for _, rule := range []string{"deny = true", "dest = \"127.0.0.1:1\""} {
		ca, dir := testutil.NewAuthority(t), t.TempDir()
		s := start(t, Options{}, "%s", quiet+"[https]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"+all200+
			certificate(t, ca, dir, "web", "", "web.example")+"[[tls.rules]]\nwhen = 'not has(tls.sni)'\n"+rule+"\n")
		if err := s.Handover().SelfCheck(t.Context()); err != nil {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

// An address goes from TLS that ends here to TLS that is passed on and back by reloads, while a client has said a half
// of its ClientHello: that connection ends as it began. To a service that may speak first it does not go.
func TestPassing_reload(t *testing.T) {
	h := newNamedHouse(t)
	backend := h.backend(t, "b.example", nil)
	h.pair(t, "a.example")
	base := filepath.Join(h.dir, "a.example")
	text := func(keys string) string {
		return fmt.Sprintf(quiet+"tls.handshake_timeout = \"10m\"\n[services.in]\nlisten = \"127.0.0.1:0\"\n%s\n", keys)
	}
	ends := text(fmt.Sprintf("cert = %q\nkey = %q\ndest = %q", base+".pem", base+".key", named(t, "plain")))
	peeks := text(fmt.Sprintf("peek = true\n[[services.in.routes]]\nwhen = 'tls.sni == \"b.example\"'\ndest = %q",
		backend))
	s := start(t, Options{}, "%s", ends)
	addr := addressOf(t, s, "in")
	conns := func(n int) {
		testutil.Eventually(t, testutil.Patience, func() bool { return s.engine.Conns() == n }, "connections")
	}
	half := func(name string) (rest func() error) {
		conns(0)
		c, err := net.Dial("tcp", addr)
		testutil.Must(t, err)
		open, half := make(chan struct{}), make(chan struct{})
		done := make(chan error, 1)
		go func() {
			done <- tls.Client(&halved{Conn: c, half: half, open: open},
				&tls.Config{RootCAs: h.ca.Pool, ServerName: name}).Handshake()
		}()
		<-half
		conns(1)
		return func() error { defer c.Close(); close(open); return <-done }
	}
	for range 2 {
		rest := half("a.example")
		apply(t, s, "%s", peeks)
		wantNoErr(t, rest())
		rest = half("b.example")
		apply(t, s, "%s", ends)
		wantNoErr(t, rest())
	}
	apply(t, s, "%s", peeks)
	wantRefused(t, s, parse(t, text(fmt.Sprintf("dest = %q", backend))), "peek = true")
	wantNoErr(t, h.echoes(addr, "b.example"))
}

// halved sends the first half of the bytes of its first write, and the rest once it may.
type halved struct {
	net.Conn
	half, open chan struct{}
}

func (c *halved) Write(b []byte) (int, error) {
	if c.half == nil {
		return c.Conn.Write(b)
	}
	n, err := io.WriteString(c.Conn, string(b[:len(b)/2]))
	if err != nil {
		return n, err
	}
	close(c.half)
	c.half = nil
	<-c.open
	rest, err := c.Conn.Write(b[n:])
	return n + rest, err
}
