package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/base/socketfile"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// fake is a Process without anything that runs.
type fake struct {
	mu     sync.Mutex
	ready  error
	wait   chan struct{} // Routes waits until it is closed; nil: it does not
	stops  []bool
	levels []string
	asked  []BackendChange
	sent   []Submission
	stored *Configuration // nil: there is no text
}

func (f *fake) Status() *Status {
	return &Status{State: Serving, Listeners: []Listener{}, Admin: []string{}}
}
func (f *fake) Configuration() (*Configuration, error) {
	if f.stored == nil {
		return nil, ErrNoText
	}
	return f.stored, nil
}
func (f *fake) Inspect() Inspector { return f }
func (f *fake) Routes() []Route {
	if f.wait != nil {
		<-f.wait
	}
	return []Route{{Name: "a", Path: "/"}, {Name: "b", Path: "/b"}}
}
func (f *fake) Upstreams() []Upstream { return []Upstream{} }
func (f *fake) ChangeBackend(u, b string, c *BackendChange) (*Backend, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if u != "a/b" {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, u)
	}
	f.asked = append(f.asked, *c)
	return &Backend{Address: b, State: c.State}, nil
}
func (f *fake) Connections(
	_ context.Context, cursor string, n int, keep func(c *Connection) bool,
) ([]Connection, string, error) {
	var list []Connection
	for i := range 5 {
		if c := (Connection{ID: fmt.Sprint(i), Reactor: i, Host: "x"}); keep(&c) && len(list) < n {
			list = append(list, c)
		}
	}
	return list, cursor + "next", nil
}
func (f *fake) Requests(_ context.Context, q *RequestQuery) ([]Request, error) {
	if q.ID == "none" {
		return nil, ErrUnknown
	}
	return []Request{{ID: q.ID, Attempts: q.Most, Own: q.All}}, nil
}
func (f *fake) Certificates() []Certificate               { return nil }
func (f *fake) Reload(context.Context) (*Reloaded, error) { return &Reloaded{Error: "wrong"}, nil }
func (f *fake) Stop(now bool) (*Stopping, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stops = append(f.stops, now)
	return &Stopping{PID: 1}, nil
}
func (f *fake) SetLogLevel(level string, d time.Duration) (*LogLevel, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.levels = append(f.levels, level+" "+d.String())
	return &LogLevel{Level: level}, nil
}
func (f *fake) Ready() error { return f.ready }
func (f *fake) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "edge_up 1\n") })
}

const (
	testToken = "0123456789abcdef0123456789abcdef"
	tcpText   = "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"" + testToken + "\"\n"
)

// unixText is the configuration of a surface at paths.
func unixText(paths ...string) string {
	return "[admin]\nlisten = [\"unix:" + strings.Join(paths, "\", \"unix:") + "\"]\n"
}

// open serves the surfaces of a configuration until the test ends.
func open(t *testing.T, p Process, text string) *Surfaces {
	t.Helper()
	s := New(p, Options{})
	t.Cleanup(s.Stop)
	testutil.Must(t, apply(t, s, text))
	s.Start()
	return s
}

// apply puts the surfaces of a configuration in place.
func apply(t *testing.T, s *Surfaces, text string) error {
	t.Helper()
	cfg, rep := config.Parse("edge.toml", []byte(text))
	if !rep.OK() {
		t.Fatal(rep.Errors[0])
	}
	commit, _, err := s.Prepare(cfg)
	if err == nil {
		commit()
	}
	return err
}

// over returns a client whose connections all lead to one address, whatever its requests name.
func over(t *testing.T, network, address string) *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: testutil.Patience}
}

// one is a request, with what its answer has to be.
type one struct {
	method, url string
	fields      string // "Name: value", with "; " between two
	body        string
	status      int
	code        string // of the problem; "": none
}

// ask sends o by c and checks the answer.
func ask(t *testing.T, c *http.Client, o *one) string {
	t.Helper()
	req, err := http.NewRequest(o.method, o.url, strings.NewReader(o.body))
	testutil.Must(t, err)
	for _, field := range strings.Split(o.fields, "; ") {
		if name, value, found := strings.Cut(field, ": "); found {
			req.Header.Add(name, value)
			if name == "Host" {
				req.Host = value
			}
		}
	}
	resp, body := testutil.Do(t, c, req)
	var p Problem
	_ = json.Unmarshal([]byte(body), &p)
	if resp.StatusCode != o.status || p.Code != o.code {
		t.Errorf("%s %s (%s): %d %q, want %d %q: %s", o.method, o.url, o.fields, resp.StatusCode, p.Code, o.status,
			o.code, body)
	}
	if resp.Header.Get("Access-Control-Allow-Origin") != "" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %s: fields %v", o.method, o.url, resp.Header)
	}
	return body
}

const (
	asJSON      = "Content-Type: application/json"
	backendPath = "/v1/upstreams/a%2Fb/backends/1:2"
)

func TestSurface_tcp(t *testing.T) {
	p := &fake{}
	s := open(t, p, tcpText+"names = [\"edge.test\"]\nwritable = true")
	address := s.Addresses()[0]
	c, token, base := over(t, "tcp", address), "Authorization: Bearer "+testToken, "http://127.0.0.1"
	change := token + "; " + asJSON
	for _, o := range []one{
		{"GET", base + "/livez", "", "", 200, ""},
		{"HEAD", base + "/livez", "", "", 200, ""},
		{"GET", base + "/readyz", "", "", 200, ""},
		{"GET", base + "/metrics", "", "", 200, ""},
		{"POST", base + "/metrics", change, "", 405, "method"},
		{"GET", base + "/v1/status", "", "", 401, "unauthorized"},
		{"GET", base + "/v1/status", "Authorization: Bearer " + testToken + "0", "", 401, "unauthorized"},
		{"GET", base + "/v1/status", "Authorization: Basic " + testToken, "", 401, "unauthorized"},
		{"GET", base + "/v1/status", "Authorization: bearer " + testToken, "", 200, ""},
		{"GET", base + "/nothing", "", "", 401, "unauthorized"},
		{"GET", base + "/v1/status", token, "", 200, ""},
		{"GET", base + "/nothing", token, "", 404, "unknown"},
		{"DELETE", base + "/v1/status", token, "", 405, "method"},
		{"GET", base + "/debug/pprof/heap", token, "", 404, "unknown"},

		// DNS rebinding: a page has its own name lead here.
		{"GET", "http://evil.example/livez", "", "", 403, "host"},
		{"GET", "http://evil.example/v1/status", token, "", 403, "host"},
		{"GET", "http://127.0.0.1.evil.example/v1/status", token, "", 403, "host"},
		{"GET", "http://localhost.evil.example/v1/status", token, "", 403, "host"},
		{"GET", "http://edge/v1/status", token, "", 403, "host"},
		{"GET", "http://localhost/v1/status", token, "", 200, ""},
		{"GET", "http://LOCALHOST:8080/v1/status", token, "", 200, ""},
		{"GET", "http://edge.test/v1/status", token, "", 200, ""},
		{"GET", "http://[::1]:9/v1/status", token, "", 200, ""},

		// Pages of other origins, and requests that are not the user's own.
		{"GET", base + "/livez", "Origin: http://evil.example", "", 403, "origin"},
		{"GET", base + "/v1/status", token + "; Origin: null", "", 403, "origin"},
		{"GET", base + "/v1/status", token + "; Origin: http://localhost", "", 403, "origin"},
		{"GET", base + "/v1/status", token + "; Origin: http://127.0.0.1:1", "", 403, "origin"},
		{"GET", base + "/v1/status", token + "; Origin: http://127.0.0.1; Origin: http://127.0.0.1", "", 403, "origin"},
		{"GET", base + "/v1/status", token + "; Origin: http://127.0.0.1", "", 200, ""},
		{"GET", base + "/v1/status", token + "; Sec-Fetch-Site: cross-site", "", 403, "fetch-site"},
		{"GET", base + "/v1/status", token + "; Sec-Fetch-Site: same-site", "", 403, "fetch-site"},
		{"GET", base + "/v1/status", token + "; Sec-Fetch-Site: none", "", 200, ""},

		// Forms of web pages cannot have this type.
		{"POST", base + "/v1/reload", token, "", 415, "content-type"},
		{"POST", base + "/v1/reload", token + "; Content-Type: text/plain", "{}", 415, "content-type"},
		{"POST", base + "/v1/reload", change, "", 422, ""},
		{"GET", base + "/v1/diff", token, "", 200, ""},
		{"GET", base + "/v1/versions", token, "", 200, ""},
		{"GET", base + "/v1/cache", token, "", 200, ""},
		{"GET", base + "/v1/cache/entry?url=http://a/", token, "", 200, ""},
		{"POST", base + "/v1/cache/purge", change, `{"tag":"a"}`, 200, ""},
		{"POST", base + "/v1/cache/purge", change, `{"url":""}`, 400, "invalid"},
		{"POST", base + "/v1/cache/purge", change, `{"path":"/a"}`, 400, "invalid"}, // there is no such kind
		{"POST", base + "/v1/cache/purge", token, `{"tag":"a"}`, 415, "content-type"},
		{"POST", base + "/v1/rollback", change, "", 200, ""},
		{"POST", base + "/v1/rollback", change, `{"version":7}`, 404, "unknown"},
		{"POST", base + "/v1/rollback", change, `{"version":-1}`, 400, "invalid"},
		{"POST", base + "/v1/reload", change, `{"x":1}`, 400, "invalid"},
		{"POST", base + "/v1/stop", change + "; charset=utf-8", `{"now":true}`, 202, ""},
		{"POST", base + "/v1/stop", change, `{"now":1}`, 400, "invalid"},
		{"POST", base + "/v1/upgrade", change, `{"now":true}`, 200, ""},
		{"POST", base + "/v1/upgrade", change, `{"binary":"/bin/sh"}`, 403, "forbidden"}, // with the token
		{"POST", base + "/v1/stop", change, `{} {}`, 400, "invalid"},
		{"POST", base + "/v1/stop", change, `{"x":"` + strings.Repeat("x", bodyMost) + `"}`, 413, "too-large"},
		{"POST", base + "/v1/stop", asJSON, "{}", 401, "unauthorized"},
		{"PUT", base + "/v1/log", change, `{"level":"debug","for":"60s"}`, 200, ""},
		{"PUT", base + "/v1/log", change, `{"level":"warn"}`, 200, ""},
		{"PUT", base + "/v1/log", change, `{"level":"loud"}`, 400, "invalid"},
		{"PUT", base + "/v1/log", change, `{"level":"warn","for":"25h"}`, 400, "invalid"},
		{"PUT", base + "/v1/log", change, `{"level":"warn","for":"soon"}`, 400, "invalid"},
		{"PATCH", base + backendPath, change, `{"state":"draining","for":600}`, 200, ""},
		{"PATCH", base + backendPath, change, `{"share":0.5}`, 200, ""},
		{"PATCH", base + backendPath, change, `{"share":2}`, 400, "invalid"},
		{"PATCH", base + backendPath, change, `{"state":"gone"}`, 400, "invalid"},
		{"PATCH", base + backendPath, change, `{}`, 400, "invalid"},
		{"PATCH", base + "/v1/upstreams/x/backends/1:2", change, `{"state":"down"}`, 404, "unknown"},
		{"GET", base + "/v1/connections?filter=reactor%3E2&limit=1", token, "", 200, ""},
		{"GET", base + "/v1/connections?filter=reactor", token, "", 400, "invalid"},
		{"GET", base + "/v1/connections?limit=1001", token, "", 400, "invalid"},
		{"GET", base + "/v1/config", token, "", 404, "no-text"},
	} {
		ask(t, c, &o)
	}
	if fmt.Sprint(p.stops, p.levels, len(p.asked)) != "[true] [debug 1m0s warn 10m0s] 2" {
		t.Errorf("%v %v %v", p.stops, p.levels, p.asked)
	}
	if at := time.Duration(p.asked[0].For); at != 10*time.Minute {
		t.Errorf("for %v", at)
	}
}

func TestSurface_readOnlyOverTCP(t *testing.T) {
	s := open(t, &fake{}, tcpText)
	c, token := over(t, "tcp", s.Addresses()[0]), "Authorization: Bearer "+testToken
	ask(t, c, &one{"GET", "http://127.0.0.1/v1/routes", token, "", 200, ""})
	ask(t, c, &one{"POST", "http://127.0.0.1/v1/stop", token + "; " + asJSON, "", 403, "forbidden"})
}

func TestSurface_withoutToken(t *testing.T) {
	s := open(t, &fake{ready: errors.New("not yet")}, "[admin]\nlisten = \"127.0.0.1:0\"\nmetrics = \"/stats\"")
	c := over(t, "tcp", s.Addresses()[0])
	ask(t, c, &one{"GET", "http://127.0.0.1/livez", "", "", 200, ""})
	ask(t, c, &one{"GET", "http://127.0.0.1/stats", "", "", 200, ""})
	ask(t, c, &one{"GET", "http://127.0.0.1/metrics", "", "", 401, "unauthorized"})
	ask(t, c, &one{"GET", "http://127.0.0.1/v1/status", "", "", 401, "unauthorized"})
	if body := ask(t, c, &one{"GET", "http://127.0.0.1/readyz", "", "", 503, ""}); body != "not yet\n" {
		t.Errorf("%q", body)
	}
}

func TestSurface_metrics(t *testing.T) {
	s := open(t, &fake{}, "[admin]\nlisten = false\n[metrics]\nlisten = \"127.0.0.1:0\"\nnames = \"metrics.test\"")
	if len(s.Addresses()) != 0 {
		t.Fatal(s.Addresses())
	}
	c := over(t, "tcp", s.Listening()[0][1])
	for _, host := range []string{"10.0.0.1:9145", "edge:9145", "localhost", "metrics.test", "web1.prod.example:9145"} {
		ask(t, c, &one{"GET", "http://" + host + "/metrics", "", "", 200, ""})
	}
	ask(t, c, &one{"GET", "http://evil.example/metrics", "Origin: http://evil.example", "", 403, "origin"})
	ask(t, c, &one{"GET", "http://metrics.test/metrics", "Origin: http://metrics.test", "", 200, ""})
	ask(t, c, &one{"GET", "http://localhost/readyz", "", "", 200, ""})
	for _, path := range []string{"/v1/status", "/v1/stop", "/debug/pprof/heap", "/", "/v1/openapi.json"} {
		ask(t, c, &one{"GET", "http://localhost" + path, "", "", 404, "unknown"})
	}
}

// Over a Unix socket the Host is free, and what a web page would say is refused all the same.
func TestSurface_unix(t *testing.T) {
	path := testutil.SocketPath(t)
	var said testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&said, nil))
	s := open(t, &fake{}, unixText(path))
	c := over(t, "unix", path)
	ask(t, c, &one{"GET", "http://anything.example/v1/status", "", "", 200, ""})
	ask(t, c, &one{"GET", "http://a/v1/status", "Origin: http://a", "", 403, "origin"})
	ask(t, c, &one{"GET", "http://a/v1/status", "Sec-Fetch-Site: cross-site", "", 403, "fetch-site"})
	ask(t, c, &one{"POST", "http://a/v1/stop", asJSON, "", 202, ""})
	ask(t, c, &one{"POST", "http://a/v1/upgrade", asJSON, `{"binary":"/right"}`, 200, ""})
	ask(t, c, &one{"POST", "http://a/v1/upgrade", asJSON, `{"binary":"right"}`, 400, "invalid"})
	ask(t, c, &one{"POST", "http://a/v1/upgrade", asJSON, `{"binary":"/wrong"}`, 422, ""})
	ask(t, c, &one{"POST", "http://a/v1/upgrade", asJSON, `{"binary":"/busy"}`, 409, "conflict"})
	want := fmt.Sprintf("method=POST path=/v1/stop status=202 uid=%d pid=%d", os.Geteuid(), os.Getpid())
	if !strings.Contains(said.String(), want) {
		t.Errorf("%q is not in %s", want, said.String())
	}
	at, err := os.Stat(path)
	if err != nil || at.Mode().Perm() != 0o660 {
		t.Errorf("%v %v", at.Mode(), err)
	}
	s.Stop()
	if _, err := os.Stat(path); err == nil {
		t.Error("the file stays")
	}
}

// TestMain has the process take itself for another one: it is the client of its own surfaces.
func TestMain(m *testing.M) {
	self = -1
	os.Exit(m.Run())
}

// What comes through a proxy has the rights of that one, and not of the client that it serves.
func TestSurface_refusesProxies(t *testing.T) {
	path := testutil.SocketPath(t)
	s := open(t, &fake{}, "[admin]\nlisten = [\"unix:"+path+"\", \"127.0.0.1:0\"]\ntoken = \""+testToken+"\"\n"+
		"[metrics]\nlisten = \"127.0.0.1:0\"")
	unix, tcp, metrics := over(t, "unix", path), over(t, "tcp", s.Addresses()[1]), over(t, "tcp", s.Listening()[2][1])
	for _, field := range []string{"Via: 1.1 edge", "X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1"} {
		ask(t, unix, &one{"GET", "http://localhost/v1/status", field, "", 403, "proxied"})
		ask(t, tcp, &one{"GET", "http://localhost/v1/status", "Authorization: Bearer " + testToken + "; " + field, "",
			403, "proxied"})
		ask(t, metrics, &one{"GET", "http://localhost/metrics", field, "", 200, ""})
	}
}

// The process itself is the client where an upstream leads to its socket, and what it sends is of others.
func TestSurface_refusesItsOwnProcess(t *testing.T) {
	before := self
	t.Cleanup(func() { self = before })
	self = os.Getpid()
	path := testutil.SocketPath(t)
	open(t, &fake{}, unixText(path))
	ask(t, over(t, "unix", path), &one{"GET", "http://a/livez", "", "", 403, "proxied"})
	ask(t, over(t, "unix", path), &one{"POST", "http://a/v1/reload", asJSON, "", 403, "proxied"})
}

// Curl, which we have not written, asks over the socket.
func TestSurface_curl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	path := testutil.SocketPath(t)
	open(t, &fake{}, unixText(path))
	out, err := exec.Command(curl, "-sS", "--unix-socket", path, "http://edge/v1/routes").CombinedOutput()
	var list List[Route]
	if err != nil || json.Unmarshal(out, &list) != nil || len(list.Items) != 2 || list.Items[1].Name != "b" {
		t.Errorf("%v: %s", err, out)
	}
}

// A user of the machine without rights gets none by connecting, and may read where the configuration says so.
func TestPolicy_ofPeer(t *testing.T) {
	stranger := &peer{uid: 64999, gid: 64999, pid: 1}
	for _, c := range []struct {
		peer *peer
		all  bool
		want Rights
	}{
		{stranger, false, MayNothing}, {stranger, true, MayRead}, {nil, true, MayNothing},
		{&peer{uid: 0, gid: 64999}, false, MayChange},
		{&peer{uid: os.Geteuid(), gid: 64999}, false, MayChange},
		{&peer{uid: 64999, gid: os.Getegid()}, false, MayChange},
	} {
		r, _ := http.NewRequest("GET", "/", nil)
		if c.peer != nil {
			r = r.WithContext(context.WithValue(r.Context(), peerKey{}, c.peer))
		}
		got := (&policy{readAll: c.all}).rightsOf(&surface{unix: true}, r)
		if got.rights != c.want {
			t.Errorf("%+v, read all %v: %s, want %s", c.peer, c.all, got.rights, c.want)
		}
	}
}

// A reload moves the surface. Its own answer still comes; what was named before answers no more.
func TestSurfaces_move(t *testing.T) {
	p := &fake{}
	first, second := testutil.SocketPath(t), testutil.SocketPath(t)
	s := open(t, p, unixText(first))
	kept := over(t, "unix", first)
	ask(t, kept, &one{"GET", "http://a/livez", "", "", 200, ""})
	both := "[admin]\nlisten = [\"unix:" + second + "\", \"127.0.0.1:0\"]\ntoken = "
	testutil.Must(t, apply(t, s, both+"\""+testToken+"\""))
	ask(t, over(t, "unix", second), &one{"GET", "http://a/livez", "", "", 200, ""})
	testutil.Eventually(t, testutil.Patience, func() bool {
		_, err := os.Stat(first)
		return err != nil
	}, "%s is gone", first)
	testutil.Eventually(t, testutil.Patience, func() bool {
		c, err := net.Dial("unix", first)
		if err == nil {
			c.Close()
		}
		return err != nil
	}, "nobody listens at %s", first)

	// One that fails changes nothing.
	before := fmt.Sprint(s.Addresses())
	none := filepath.Join(t.TempDir(), "none", "s")
	if err := apply(t, s, unixText(first, none)); err == nil || !strings.Contains(err.Error(), "mkdir -p") {
		t.Error(err)
	}
	if _, err := os.Stat(first); err == nil || fmt.Sprint(s.Addresses()) != before {
		t.Errorf("%v, before %s", s.Addresses(), before)
	}

	// Another token holds at once, over the same socket.
	tcp, token := over(t, "tcp", s.Addresses()[1]), "Authorization: Bearer "+testToken
	ask(t, tcp, &one{"GET", "http://127.0.0.1/v1/status", token, "", 200, ""})
	testutil.Must(t, apply(t, s, both+"\"another"+testToken+"\""))
	ask(t, tcp, &one{"GET", "http://127.0.0.1/v1/status", token, "", 401, "unauthorized"})
	ask(t, tcp, &one{"GET", "http://127.0.0.1/v1/status", "Authorization: Bearer another" + testToken, "", 200, ""})
}

// A socket of a process that has died is replaced, one that is served is not, and nor is a file.
func TestSurfaces_socketFile(t *testing.T) {
	path := testutil.SocketPath(t)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	testutil.Must(t, err)
	dead.SetUnlinkOnClose(false)
	dead.Close()
	text := unixText(path)
	first := &fake{}
	s := open(t, first, text)
	second := New(&fake{}, Options{})
	if err := apply(t, second, text); !errors.Is(err, errTaken) {
		t.Errorf("the second process: %v", err)
	}
	first.ready = errors.New("it drains")
	if err := apply(t, second, text); err != nil {
		t.Errorf("while the first one drains: %v", err)
	}
	s.Stop() // it leaves the file of the other one
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	second.Stop()
	testutil.Must(t, os.WriteFile(path, nil, 0o600))
	if err := apply(t, New(&fake{}, Options{}), text); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Error(err)
	}
}

// Over TCP too the next process takes the address of one that drains, and of no other one: also where probes need the
// token.
func TestSurfaces_taken(t *testing.T) {
	dir := t.TempDir()
	testutil.NewAuthority(t).IssueTo(t, dir, "admin", nil, "localhost")
	for _, host := range []string{"127.0.0.1", "0.0.0.0"} {
		first := &fake{}
		text := fmt.Sprintf("[admin]\ncert = %q\nkey = %q\ntoken = %q\nlisten = ", filepath.Join(dir, "admin.pem"),
			filepath.Join(dir, "admin.key"), testToken)
		s := open(t, first, text+"\""+host+":0\"")
		text += "\"" + s.Addresses()[0] + "\""
		second := New(&fake{}, Options{})
		if err := apply(t, second, text); !errors.Is(err, errTaken) {
			t.Errorf("%s: the second process: %v", host, err)
		}
		first.ready = errors.New("it drains")
		if err := apply(t, second, text); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		second.Stop()
	}
}

// A process that has the address before is not shown the token.
func TestSurfaces_taken_showsNoToken(t *testing.T) {
	asked := make(chan string, 1)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Get("Authorization")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer other.Close()
	text := "[admin]\nlisten = \"" + other.Listener.Addr().String() + "\"\ntoken = \"" + testToken + "\""
	if err := apply(t, New(&fake{}, Options{}), text); !errors.Is(err, errTaken) {
		t.Error(err)
	}
	if shown := <-asked; shown != "" {
		t.Errorf("it is shown %q", shown)
	}
}

// Expensive calls are few at a time; others are told to come again. The owner has a place that others do not get.
func TestSurface_heavyCalls(t *testing.T) {
	path := testutil.SocketPath(t)
	p := &fake{wait: make(chan struct{})}
	s := open(t, p, "[admin]\nlisten = [\"unix:"+path+"\", \"127.0.0.1:0\"]\ntoken = \""+testToken+"\"")
	owner, reader := over(t, "unix", path), over(t, "tcp", s.Addresses()[1])
	const token = "Authorization: Bearer " + testToken
	var done sync.WaitGroup
	for range heavyMost {
		done.Go(func() { ask(t, reader, &one{"GET", "http://localhost/v1/routes", token, "", 200, ""}) })
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return len(s.heavy) == heavyMost }, "all run")
	ask(t, reader, &one{"GET", "http://localhost/v1/upstreams", token, "", 503, "busy"})
	ask(t, reader, &one{"GET", "http://localhost/v1/status", token, "", 200, ""})
	ask(t, owner, &one{"POST", "http://a/v1/reload", asJSON, "", 422, ""})
	done.Go(func() { ask(t, owner, &one{"GET", "http://a/v1/routes", "", "", 200, ""}) })
	testutil.Eventually(t, testutil.Patience, func() bool { return len(s.owners) == 1 }, "the owner's runs")
	ask(t, owner, &one{"POST", "http://a/v1/reload", asJSON, "", 503, "busy"})
	close(p.wait)
	done.Wait()
	ask(t, reader, &one{"GET", "http://localhost/v1/upstreams", token, "", 200, ""})
}

// many is a process whose routes are more than buffers of the kernel take.
type many struct{ fake }

func (m *many) Inspect() Inspector { return m }
func (m *many) Routes() []Route {
	return slices.Repeat([]Route{{Name: strings.Repeat("a", 1<<10)}}, 10<<10)
}

// Clients that may only read, and do not, keep the owner from no expensive call. Those whose answers wait are bounded.
func TestSurface_readersThatDoNotRead(t *testing.T) {
	path := testutil.SocketPath(t)
	s := open(t, &many{}, "[admin]\nlisten = [\"unix:"+path+"\", \"127.0.0.1:0\"]\ntoken = \""+testToken+"\"")
	for i := range connsMost {
		c, err := net.Dial("tcp", s.Addresses()[1])
		testutil.Must(t, err)
		defer c.Close()
		fmt.Fprintf(c, "GET /v1/routes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", testToken)
		testutil.Eventually(t, testutil.Patience, func() bool {
			return s.connections.Load() == int64(i+1) && len(s.unread) == min(i+1, unreadMost) && len(s.heavy) == 0
		}, "answer %d waits", i)
	}
	ask(t, over(t, "unix", path), &one{"POST", "http://a/v1/reload", asJSON, "", 422, ""})
	ask(t, over(t, "unix", path), &one{"GET", "http://a/v1/routes", "", "", 200, ""})
}

func TestSurface_profiles(t *testing.T) {
	path := testutil.SocketPath(t)
	rate := runtime.MemProfileRate
	t.Cleanup(func() { runtime.MemProfileRate = rate })
	if ProfileMemory(false); runtime.MemProfileRate != 0 {
		t.Errorf("memory is sampled every %d bytes", runtime.MemProfileRate)
	}
	open(t, &fake{}, unixText(path)+"pprof = true")
	if runtime.MemProfileRate != rate {
		t.Errorf("memory is sampled every %d bytes, and was every %d", runtime.MemProfileRate, rate)
	}
	c := over(t, "unix", path)
	for name, status := range map[string]int{
		"heap": 200, "goroutine?debug=1": 200, "nothing": 404, "profile?seconds=61": 400, "trace?seconds=0": 200,
	} {
		code := map[int]string{404: "unknown", 400: "invalid"}[status]
		ask(t, c, &one{"GET", "http://a/debug/pprof/" + name, "", "", status, code})
	}
}

// The owner of the folder may have put a link where the socket was made: what it leads to keeps its mode.
func TestListenUnix_followsNoLink(t *testing.T) {
	path := testutil.SocketPath(t)
	dir := filepath.Dir(path)
	secret, link := filepath.Join(dir, "secret"), filepath.Join(dir, "link")
	testutil.Must(t, os.WriteFile(secret, nil, 0o600), os.Symlink(secret, link))
	if _, err := placeSocket(link, path, 0, 0); !errors.Is(err, socketfile.ErrOther) {
		t.Errorf("a link in its place: %v", err)
	}
	l, file, err := listenUnix(path, Options{}, false)
	testutil.Must(t, err)
	defer l.Close()
	if at, err := os.Stat(path); err != nil || at.Mode().Perm() != modeGroup {
		t.Errorf("%v, %v", at, err)
	}
	testutil.Must(t, os.Rename(link, path))
	openTo(file, true)
	file.Remove()
	at, err := os.Stat(secret)
	if _, gone := os.Lstat(path); err != nil || gone != nil || at.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, %v", at, err, gone)
	}
}
