package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// welcomer greets each client, and says what it hears.
type welcomer struct{ engine.NopHandler }

func (welcomer) OnOpen(c *engine.Conn) { c.Write([]byte("hello\n")) }

func (welcomer) OnData(c *engine.Conn, in []byte) int {
	if strings.HasPrefix(string(in), "fail") {
		panic(errors.New("asked to"))
	}
	c.Write(in)
	return len(in)
}

func (welcomer) OnEOF(c *engine.Conn) { c.Close(nil) }

// ownParts are parts of a program.
var ownParts = Options{
	Services: map[string]*plugin.Service{
		"greet": {Accept: func(*engine.Conn) engine.Handler { return welcomer{} }},
		"echo":  {Accept: func(*engine.Conn) engine.Handler { return welcomer{} }, ClientFirst: true},
	},
	Destinations: map[string]proxy.Destination{"memory": proxy.Answer(200, "text/plain", "from memory")},
	Filters: map[string]*proxy.Filter{"choose": {Request: func(x *proxy.Exchange) proxy.Verdict {
		x.SetDestination(proxy.Named("memory"))
		return proxy.Next
	}}},
}

func parseOwn(t *testing.T, text string, services ...string) *config.Config {
	t.Helper()
	o := config.Options{Filters: []string{"choose"}, Destinations: []string{"memory"}, Services: services}
	return parseBy(t, o, quiet+text)
}

// A configuration leads to destinations of the program by name, as its filters do.
func TestDestinations_ofTheProgram(t *testing.T) {
	text := "http.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/dest\"\ndest = \"memory\"\n" +
		"[[routes]]\npattern = \"/rule\"\ndest = \"status:404\"\n[[routes.rules]]\ndest = \"memory\"\n" +
		"[[routes]]\npattern = \"/named\"\ndest = \"status:404\"\nfilters = [\"choose\"]\n"
	s := serve(t, parseOwn(t, text), ownParts)
	for range 2 {
		for _, path := range []string{"/dest", "/rule", "/named"} {
			if status, body := get(t, s, "127.0.0.1:0", path); status != 200 || body != "from memory" {
				t.Errorf("%s: %d %q", path, status, body)
			}
		}
		if d, err := s.Apply(parseOwn(t, text)); err != nil || !d.Empty() {
			t.Errorf("%+v %v", d, err)
		}
	}
}

// addressOf returns where a service or a listener is.
func addressOf(t *testing.T, s *Server, name string) string {
	t.Helper()
	for _, a := range s.Addresses() {
		if a.Listener == name {
			return a.Addr.String()
		}
	}
	t.Fatalf("%s is not served: %v", name, s.Addresses())
	return ""
}

// A reload opens and closes services. Open connections go on, and a panic costs one of them.
func TestServices_reload(t *testing.T) {
	const greet = "[services.greet]\nlisten = \"127.0.0.1:0\"\n"
	s := serve(t, parseOwn(t, greet, "greet"), ownParts)
	w, failing := testutil.Dial(t, addressOf(t, s, "greet")), testutil.Dial(t, addressOf(t, s, "greet"))
	w.Want("hello\n")
	failing.Want("hello\n")
	failing.Send("fail\n")
	failing.WantEnd()
	w.Send("one\n")
	w.Want("one\n")
	both := greet + "[services.echo]\nlisten = \"127.0.0.1:0\"\nlimits.connections = 1\n"
	d, err := s.Apply(parseOwn(t, both, "greet", "echo"))
	if err != nil || len(d.Added) != 1 || d.Added[0] != "service echo" {
		t.Errorf("%+v %v", d, err)
	}
	echo := testutil.Dial(t, addressOf(t, s, "echo"))
	echo.Send("two\n")
	echo.Want("hello\ntwo\n")
	waits := testutil.Dial(t, addressOf(t, s, "echo")) // until the other one has left
	waits.Send("three\n")
	echo.Close()
	waits.Want("hello\nthree\n")
	wantEqual(t, s.Draining().String(), "2 of services", "left")
	if d, err = s.Apply(parseOwn(t, "http.listen = \"127.0.0.1:0\"\n")); err != nil || len(d.Removed) != 2 {
		t.Errorf("%+v %v", d, err)
	}
	w.Send("four\n")
	w.Want("four\n")
	w.CloseWrite()
	w.WantEnd()
}

// An address does not change between protocols in which clients speak first and such in which they do not. It changes
// between HTTP and a service of the first kind, and connections keep what they have.
func TestServices_addressOfHTTP(t *testing.T) {
	addr := testutil.FreeAddr(t)
	plain := fmt.Sprintf("http.listen = %q\n[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n", addr)
	service := func(name string) string { return fmt.Sprintf("[services.%s]\nlisten = %q\n", name, addr) }
	s := serve(t, parseOwn(t, plain), ownParts)
	c := &http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	if resp, _ := testutil.Get(t, c, "http://"+addr+"/"); resp.StatusCode != 204 {
		t.Error(resp.Status)
	}
	wantRefused(t, s, parseOwn(t, service("greet"), "greet"), "takes a restart or an upgrade")
	mustApply(t, s, parseOwn(t, service("echo"), "echo"))
	w := testutil.Dial(t, addr)
	w.Send("x\n")
	w.Want("hello\nx\n")
	if resp, _ := testutil.Get(t, c, "http://"+addr+"/"); resp.StatusCode != 404 && resp.StatusCode != 204 {
		t.Errorf("the connection of before: %s", resp.Status)
	}
	mustApply(t, s, parseOwn(t, plain))
	conn, err := net.Dial("tcp", addr)
	testutil.Must(t, err)
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if head, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(head), "HTTP/1.1 204 ") {
		t.Errorf("%q %v", head, err)
	}
}

const transported = "[[listeners]]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"users\"\n" +
	"[upstreams.users]\nbackends = [{ address = %q }]\nretry.attempts = 1\n"

// Requests of code meet what the configuration says of an upstream, and count there; a name that it does not have is an
// error.
func TestServer_Transport(t *testing.T) {
	testutil.CheckLeaks(t)
	o := backendOfBodies(t)
	s := start(t, Options{Named: true}, transported, strings.TrimPrefix(o.URL, "http://"))
	do := func(rt http.RoundTripper) (string, error) {
		req, _ := http.NewRequestWithContext(context.Background(), "POST", "http://users/", strings.NewReader("hello"))
		resp, err := rt.RoundTrip(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return string(text), err
	}
	users := s.Transport("users")
	if text, err := do(users); err != nil || text != "5 [] 5 <nil> []" {
		t.Errorf("%q, %v", text, err)
	}
	var fault *proxy.Error
	if _, err := do(s.Transport("nobody")); !errors.As(err, &fault) || fault.Status != 503 {
		t.Errorf("a name that there is not: %v", err)
	}
	wantSeries(t, scrapeNow(s), `edge_requests_total{listener="(program)",route="",method="POST",code="2xx"} 1`,
		`edge_upstream_dials_total{upstream="users"} 1`)
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(slow.Close)
	apply(t, s, transported+"timeouts.total = \"50ms\"\n", slow.Listener.Addr())
	if _, err := do(users); !errors.As(err, &fault) || fault.Status != 504 {
		t.Errorf("a time that is over: %v", err)
	}
	apply(t, s, transported, testutil.FreeAddr(t))
	if _, err := do(users); !errors.As(err, &fault) || fault.Status != 502 {
		t.Errorf("a backend that is gone: %v", err)
	}
}
