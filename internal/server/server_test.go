package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/changes"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// quiet keeps the access log out of the output of the tests.
const quiet = "log.output = []\n"

// web is a listener of plain HTTP.
const web = "http = { name = \"web\", listen = \"127.0.0.1:0\" }\n"

// parse reads a configuration, for a program with these filters.
func parse(t *testing.T, text string, filters ...string) *config.Config {
	t.Helper()
	return parseBy(t, config.Options{Filters: filters}, text)
}

// parseBy reads a configuration with options.
func parseBy(t *testing.T, o config.Options, text string) *config.Config {
	t.Helper()
	cfg, report := o.Parse("test.toml", []byte(text))
	if !report.OK() {
		var b strings.Builder
		_ = report.Render(&b)
		t.Fatal(b.String())
	}
	return cfg
}

// start runs a Server on two reactors until the test ends.
func start(t *testing.T, o Options, format string, args ...any) *Server {
	t.Helper()
	return serve(t, parse(t, "global.worker_threads = 2\n"+fmt.Sprintf(format, args...)), o)
}

// serve runs a Server until the test ends.
func serve(t *testing.T, cfg *config.Config, o Options) *Server {
	t.Helper()
	s, err := New(cfg, o)
	testutil.Must(t, err)
	t.Cleanup(func() { _ = s.Stop() })
	testutil.Must(t, s.Start())
	return s
}

// apply reloads a Server on two reactors.
func apply(t *testing.T, s *Server, format string, args ...any) Diff {
	t.Helper()
	return mustApply(t, s, parse(t, "global.worker_threads = 2\n"+fmt.Sprintf(format, args...)))
}

// mustApply reloads a Server and returns what the reload changes.
func mustApply(t testing.TB, s *Server, cfg *config.Config) Diff {
	t.Helper()
	d, err := s.Apply(cfg)
	testutil.Must(t, err)
	return d
}

// origin answers with its name and counts its connections.
func origin(t *testing.T, name string) (addr string, conns *atomic.Int64) {
	t.Helper()
	l := testutil.Listen(t)
	conns = new(atomic.Int64)
	h := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s %s", name, r.URL.Path, r.Header.Get("X-Env"))
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				conns.Add(1)
			}
		},
	}
	go h.Serve(l) //nolint:errcheck // ends with the listener
	t.Cleanup(func() { h.Close() })
	return l.Addr().String(), conns
}

// get asks for path on the listener with that name, on a connection of its own unless a client is given.
func get(t *testing.T, s *Server, listener, path string) (int, string) {
	t.Helper()
	return getBy(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, urlOf(t, s, listener)+path)
}

func getBy(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	resp, body := testutil.Get(t, c, url)
	return resp.StatusCode, body
}

func urlOf(t *testing.T, s *Server, listener string) string {
	t.Helper()
	for _, a := range s.Addresses() {
		if a.Listener == listener {
			return "http://" + a.Addr.String()
		}
	}
	t.Fatalf("no listener %q in %v", listener, s.Addresses())
	return ""
}

// load asks for url by four clients, and fails unless each answer has a status. stop ends that; asked counts.
func load(t *testing.T, url string, status int) (asked *atomic.Int64, stop func()) {
	t.Helper()
	var clients sync.WaitGroup
	var enough atomic.Bool
	asked = new(atomic.Int64)
	for range 4 {
		clients.Go(func() {
			c := &http.Client{Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for !enough.Load() {
				resp, err := c.Get(url)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != status {
					t.Errorf("%d %v", resp.StatusCode, err)
				}
				resp.Body.Close()
				asked.Add(1)
			}
		})
	}
	return asked, func() {
		enough.Store(true)
		clients.Wait()
	}
}

func counter(s *Server, name string, labels ...string) (value float64) {
	s.Registry().Each(func(m observe.Sample) {
		if m.Name != name {
			return
		}
		for _, want := range labels {
			if !slices.ContainsFunc(m.Labels, func(l observe.Label) bool { return l.Value == want }) {
				return
			}
		}
		value += m.Value
	})
	return value
}

// wantEqual fails unless got is want. what is a format with its arguments: the name of got.
func wantEqual[T comparable](t testing.TB, got, want T, what ...any) {
	t.Helper()
	if got == want {
		return
	}
	name, form := "", "%s: %v, want %v"
	if len(what) > 0 {
		name = fmt.Sprintf(what[0].(string), what[1:]...)
	}
	if _, is := any(got).(string); is {
		form = "%s: %q, want %q"
	}
	t.Errorf(form, name, got, want)
}

// wantPart fails unless got holds part. what is as for wantEqual.
func wantPart(t testing.TB, got, part string, what ...any) {
	t.Helper()
	if !strings.Contains(got, part) {
		wantEqual(t, got, "…"+part+"…", what...)
	}
}

// wantPrefix fails unless got begins with part. what is as for wantEqual.
func wantPrefix(t testing.TB, got, part string, what ...any) {
	t.Helper()
	if !strings.HasPrefix(got, part) {
		wantEqual(t, got, part+"…", what...)
	}
}

// wantNoErr fails at an error.
func wantNoErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// waitCounter waits until wantCounter would not fail.
func waitCounter(t testing.TB, s *Server, want float64, name string, labels ...string) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool { return counter(s, name, labels...) == want },
		"%s of %v is %v", name, labels, want)
}

// wantCounter fails unless the samples of a name with these labels are want together.
func wantCounter(t testing.TB, s *Server, want float64, name string, labels ...string) {
	t.Helper()
	wantEqual(t, counter(s, name, labels...), want, "%s of %v", name, labels)
}

// wantStatus fails unless a GET of url by c is answered with want.
func wantStatus(t *testing.T, c *http.Client, url string, want int, what string) {
	t.Helper()
	if got, body := getBy(t, c, url); got != want {
		t.Errorf("%s: %d %q, want %d", what, got, body, want)
	}
}

// wantErr fails unless err is an error whose text holds part.
func wantErr(t testing.TB, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("the error is %v, want %q", err, part)
	}
}

// wantRefused fails unless a reload is refused by an error whose text holds part.
func wantRefused(t *testing.T, s *Server, cfg *config.Config, part string) {
	t.Helper()
	_, err := s.Apply(cfg)
	wantErr(t, err, part)
}

// wantSeries fails unless a page of metrics has these lines.
func wantSeries(t *testing.T, page string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		wantPart(t, "\n"+page, "\n"+line+"\n", "the page")
	}
}

func TestServer_routesAndHeaders(t *testing.T) {
	testutil.CheckLeaks(t)
	addr, _ := origin(t, "one")
	s := start(t, Options{}, quiet+web+`
routes = [
	{ pattern = "/api/*", dest = %q, headers = { request = { X-Env = "prod" }, response = { X-Answer = "yes" } } },
	{ pattern = "/gone", dest = "status:410" },
]
`, addr)
	for _, c := range []struct {
		path   string
		status int
		body   string
	}{
		{"/api/x", 200, "one /api/x prod"}, {"/gone", 410, "410 Gone\n"}, {"/apix", 404, "There is nothing"},
	} {
		if status, body := get(t, s, "web", c.path); status != c.status || !strings.Contains(body, c.body) {
			t.Errorf("%s: %d %q, want %d %q", c.path, status, body, c.status, c.body)
		}
	}
	wantCounter(t, s, 2, "edge_requests_total", "4xx")
	wantCounter(t, s, 3, "edge_listener_requests_total", "web")
}

func TestServer_helloPage(t *testing.T) {
	cfg := parse(t, quiet)
	cfg.Listeners[0].Addresses = []config.Address{{Network: "tcp4", Host: "127.0.0.1"}}
	s := serve(t, cfg, Options{})
	resp, err := http.Get(urlOf(t, s, ":8080") + "/anything")
	testutil.Must(t, err)
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != htmlType ||
		!strings.Contains(string(body), "edge proxy --from") {
		t.Fatalf("%d %v %q", resp.StatusCode, resp.Header, body)
	}
}

func TestApply_keepsThePoolOfAnEqualUpstream(t *testing.T) {
	addr, conns := origin(t, "one")
	other, _ := origin(t, "two")
	const file = quiet + `
global.worker_threads = 1
http = { name = "web", listen = "127.0.0.1:0" }
upstreams.api.backends = [{ address = %q }]
routes = [{ pattern = %q, dest = %q }]
`
	s := serve(t, parse(t, fmt.Sprintf(file, addr, "/*", "api")), Options{})
	get(t, s, "web", "/")
	before := s.upstreams.now.upstreams
	mustApply(t, s, parse(t, fmt.Sprintf(file, addr, "/moved/*", "api")))
	for id, u := range before {
		if s.upstreams.now.upstreams[id] != u {
			t.Errorf("the upstream was made anew: %s", u.Name())
		}
	}
	wantStatus(t, direct, urlOf(t, s, "web")+"/moved/x", 200, "the new route")
	wantStatus(t, direct, urlOf(t, s, "web"), 404, "the old route")
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections to the backend, want 1: the idle one serves on", n)
	}
	// Another backend is another upstream, and what was counted is not lost.
	mustApply(t, s, parse(t, fmt.Sprintf(file, other, "/*", "api")))
	if _, body := get(t, s, "web", "/x"); !strings.HasPrefix(body, "two") {
		t.Errorf("after the change of the backend: %q", body)
	}
	wantCounter(t, s, 2, "edge_upstream_dials_total", "api")
}

func TestApply_routeTimeoutsMakeAPoolOfTheirOwn(t *testing.T) {
	addr, _ := origin(t, "one")
	s := start(t, Options{}, quiet+`
http.listen = "127.0.0.1:0"
upstreams.api.backends = [{ address = %q }]
routes = [
	{ pattern = "/a/*", dest = "api" },
	{ pattern = "/b/*", dest = "api", timeouts.first_byte = "3s" },
	{ pattern = "/c/*", dest = "api", timeouts.first_byte = "3s" },
]
`, addr)
	if n := len(s.upstreams.now.upstreams); n != 2 {
		t.Fatalf("%d upstreams, want 2", n)
	}
}

func TestApply_listenersComeAndGo(t *testing.T) {
	testutil.CheckLeaks(t)
	addr, _ := origin(t, "one")
	gone, fresh := testutil.SocketPath(t), testutil.SocketPath(t)
	const file = quiet + `
upstreams.default.backends = [{ address = %q }]
listeners = [
	{ name = %q, listen = "127.0.0.1:0" },
	{ name = %q, listen = "unix:%s" },
]
`
	s := start(t, Options{}, file, addr, "kept", "gone", gone)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	kept := urlOf(t, s, "kept")
	getBy(t, client, kept+"/") // a connection that must live on
	socket := s.listeners.now[0].open

	d := apply(t, s, file, addr, "renamed", "fresh", fresh)
	if s.listeners.now[0].open != socket {
		t.Error("the listener that stays was opened again")
	}
	wantStatus(t, client, kept+"/", 200, "the connection that was open")
	wantCounter(t, s, 1, "edge_connections", "renamed")
	wantStatus(t, over("unix", fresh), "http://edge.test/", 200, "the listener that was added")
	if c, err := net.Dial("unix", gone); err == nil {
		c.Close()
		t.Error("the listener that was removed still accepts")
	}
	if !slices.Contains(d.Added, "listener fresh") || !slices.Contains(d.Removed, "listener gone") {
		t.Errorf("the changes are %+v", d)
	}
}

func TestApply_changedLimitsHoldForNewConnections(t *testing.T) {
	const file = quiet + `
listeners = [{ name = "web", listen = "127.0.0.1:0", limits.header_size = %q }]
routes = [{ pattern = "/*", dest = "status:200" }]
`
	s := start(t, Options{}, file, "32k")
	old := testutil.Dial(t, s.Addresses()[0].Addr.String())
	head := "GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + strings.Repeat("x", 2000) + "\r\n\r\n"
	ask := func(w *testutil.Wire) int {
		w.Send(head)
		resp, _ := w.ReadResponse("GET")
		return resp.StatusCode
	}
	if status := ask(old); status != 200 {
		t.Fatalf("before: %d", status)
	}
	apply(t, s, file, "1k")
	wantEqual(t, ask(testutil.Dial(t, s.Addresses()[0].Addr.String())), 431, "a new connection")
	wantEqual(t, ask(old), 200, "the connection of before")
	wantCounter(t, s, 2, "edge_listener_requests_total", "web")
}

func TestApply_failureChangesNothing(t *testing.T) {
	testutil.CheckLeaks(t)
	addr, _ := origin(t, "one")
	taken := testutil.Listen(t)
	free := testutil.SocketPath(t)
	s := start(t, Options{}, quiet+web+`
routes = [{ pattern = "/*", dest = %q }]
`, addr)
	for name, text := range map[string]string{
		"address in use": fmt.Sprintf("[[listeners]]\nlisten = [\"unix:%s\", %q]", free, taken.Addr()),
		"log directory":  "http.listen = \"127.0.0.1:0\"\nlog.output = [\"/nowhere/at/all.log\"]",
	} {
		cfg := parse(t, "global.worker_threads = 2\n"+text+"\n[[routes]]\npattern = \"/*\"\ndest = \"status:500\"\n")
		_, err := s.Apply(cfg)
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		if name == "address in use" && !strings.Contains(err.Error(), taken.Addr().String()) {
			t.Errorf("%s: %v does not name the address", name, err)
		}
		if status, body := get(t, s, "web", "/"); status != 200 {
			t.Errorf("%s: afterwards %d %q", name, status, body)
		}
		if c, err := net.Dial("unix", free); err == nil {
			c.Close()
			t.Errorf("%s: the address that could be opened still is", name)
		}
	}
	wantCounter(t, s, 2, "edge_config_reloads_total", "failure")
}

func TestStart_addressOfAnotherServer(t *testing.T) {
	t.Parallel()
	// Both would set SO_REUSEPORT, so the kernel alone would let them share the address.
	const file = quiet + "http.listen = %q\n[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"
	first := start(t, Options{}, file, "127.0.0.1:0")
	second, err := New(parse(t, "threads = 2\n"+fmt.Sprintf(file, first.Addresses()[0].Addr)), Options{})
	testutil.Must(t, err)
	defer second.Stop()
	if err := second.Start(); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("the second server starts: %v", err)
	}
}

func TestStart_bothFamiliesOnAPort(t *testing.T) {
	testutil.OnlyPlain(t)
	t.Parallel()
	const file = quiet + "http.listen = %q\n[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"
	var s *Server
	for range 5 { // a free port may be lost to somebody else
		_, port, _ := net.SplitHostPort(testutil.FreeAddr(t))
		first, err := New(parse(t, "threads = 2\n"+fmt.Sprintf(file, ":"+port)), Options{})
		testutil.Must(t, err)
		t.Cleanup(func() { _ = first.Stop() })
		if err = first.Start(); err == nil {
			s = first
			break
		}
		t.Log(err)
	}
	if s == nil {
		t.Fatal("no port could be opened")
	}
	port := s.Addresses()[0].Addr.IP.Port()
	hosts := []string{"", "0.0.0.0"}
	if hasIPv6() {
		hosts = append(hosts, "[::]")
	}
	var starts sync.WaitGroup // each waits for the address
	for _, host := range hosts {
		addr := fmt.Sprintf("%s:%d", host, port)
		second, err := New(parse(t, "threads = 2\n"+fmt.Sprintf(file, addr)), Options{})
		testutil.Must(t, err)
		starts.Go(func() {
			err := second.Start()
			_ = second.Stop()
			if want := "address already in use"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s beside :%d: %v, want %s", addr, port, err, want)
			}
		})
	}
	starts.Wait()
}

func TestApply_logsGoWhereTheNewConfigurationSays(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	const file = `
log = { output = [%q], format = %q }
http = { name = "web", listen = "127.0.0.1:0" }
routes = [
	{ pattern = "/*", dest = "status:200" },
	{ pattern = "/silent", dest = "status:200", access_log = false },
]
`
	s := start(t, Options{}, file, one, "common")
	client := &http.Client{Transport: &http.Transport{}} // one connection throughout
	defer client.CloseIdleConnections()
	url := urlOf(t, s, "web")
	getBy(t, client, url+"/first")
	getBy(t, client, url+"/silent")
	apply(t, s, file, two, "json")
	getBy(t, client, url+"/second")
	testutil.Must(t, s.Stop())
	for path, want := range map[string]string{one: `"GET /first HTTP/1.1" 200`, two: `"path":"/second"`} {
		text, err := os.ReadFile(path)
		testutil.Must(t, err)
		if !strings.Contains(string(text), want) || strings.Count(string(text), "\n") != 1 {
			t.Errorf("%s holds %q, want one line with %q", filepath.Base(path), text, want)
		}
	}
}

func TestApply_namesAreResolvedBeforeTheSwap(t *testing.T) {
	addr, _ := origin(t, "one")
	_, port, _ := net.SplitHostPort(addr)
	var asked atomic.Int64
	o := Options{Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		asked.Add(1)
		if host == "unknown.test" {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}}
	const file = quiet + web + `
routes = [{ pattern = "/*", dest = "%s:%s" }]
`
	s := start(t, o, file, "unknown.test", port)
	wantStatus(t, direct, urlOf(t, s, "web"), 503, "a name that does not resolve")
	apply(t, s, file, "known.test", port)
	wantStatus(t, direct, urlOf(t, s, "web"), 200, "the first request behind the swap")
}

func TestApply_underLoad(t *testing.T) {
	testutil.CheckLeaks(t)
	dir := t.TempDir()
	one, _ := origin(t, "one")
	two, _ := origin(t, "two")
	const file = `
log.output = [%q]
listeners = [{ name = "web", listen = "127.0.0.1:0", limits.keepalive_requests = %d }]
routes = [{ pattern = "/*", dest = %q }]
`
	s := start(t, Options{}, file, filepath.Join(dir, "one"), 50, one)
	url := urlOf(t, s, "web")
	asked, stop := load(t, url+"/x", 200)
	for i := range 50 {
		was := asked.Load()
		if i%2 == 0 {
			apply(t, s, file, filepath.Join(dir, "two"), 20, two)
		} else {
			apply(t, s, file, filepath.Join(dir, "one"), 50, one)
		}
		testutil.Eventually(t, testutil.Patience, func() bool { return asked.Load() > was+4 || t.Failed() })
	}
	stop()
	if n := counter(s, "edge_requests_total", "2xx"); int64(n) != asked.Load() {
		t.Errorf("%v answers counted, %d asked", n, asked.Load())
	}
	// What a request does after the reload that retired its upstream is not counted: one of each client at the most.
	n := counter(s, "edge_upstream_dials_total") + counter(s, "edge_upstream_reuse_total")
	if int64(n) < asked.Load()-50*4 {
		t.Errorf("%v uses of backends counted, %d asked", n, asked.Load())
	}
}

func TestApply_whileEnding(t *testing.T) {
	t.Parallel()
	s := start(t, Options{}, quiet+"http.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:200\"")
	cfg := s.present
	if !s.Drain(testutil.Patience) {
		t.Error("nothing was open and the drain did not end")
	}
	if _, err := s.Apply(cfg); !errors.Is(err, errEnding) {
		t.Errorf("while draining: %v", err)
	}
	wantNoErr(t, s.Stop())
	if _, err := s.Apply(cfg); !errors.Is(err, errEnding) {
		t.Errorf("after the end: %v", err)
	}
	s.Registry() // still tells what was counted
}

func TestServer_unixAndBothFamilies(t *testing.T) {
	path := testutil.SocketPath(t)
	s := start(t, Options{}, quiet+`
http.listen = ["unix:%s", ":0"]
routes = [{ pattern = "/*", dest = "status:200" }]
`, path)
	addrs := []string{"unix:" + path}
	for _, a := range s.Addresses()[1:] {
		port := a.Addr.IP.Port()
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", port))
		if a.Addr.IP.Addr().Is6() && hasIPv6() {
			addrs = append(addrs, fmt.Sprintf("[::1]:%d", port))
		}
	}
	for _, addr := range addrs {
		network, address := "tcp", addr
		if p, ok := strings.CutPrefix(addr, "unix:"); ok {
			network, address = "unix", p
		}
		if status, _ := getBy(t, over(network, address), "http://edge.test/"); status != 200 {
			t.Errorf("%s: %d", addr, status)
		}
	}
}

// over makes a client that connects to address whatever it is asked for.
func over(network, address string) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}}}
}

func hasIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err == nil {
		l.Close()
	}
	return err == nil
}

func TestDiff_placesInTheFileDoNotCount(t *testing.T) {
	const route = "[[routes]]\nname = \"api\"\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\n"
	old := parse(t, "http.listen = \":80\"\n"+route)
	next := parse(t, "# a comment more\nupstreams.aaa.backends = [{ address = \"10.0.0.2:80\" }]\n"+
		"http.listen = \":80\"\n"+route)
	d := changes.Of(old, next)
	if len(d.Changed)+len(d.Removed)+len(d.Restart) > 0 || !slices.Equal(d.Added, []string{"upstream aaa"}) {
		t.Errorf("the changes are %+v", d)
	}
	next = parse(t, "threads = 3\npid_file = \"/run/e.pid\"\nuser = 7\n"+
		"http.listen = \":80\"\nhttp.limits.connections = 4\n"+route)
	if d := changes.Of(old, next); len(d.Restart) != 3 {
		t.Errorf("what needs a restart: %v", d.Restart)
	}
}

// Ready waits for no reload: a probe gives up after a second, and names may take longer to look up.
func TestServer_readyWhileAReloadLasts(t *testing.T) {
	const text = quiet + "http.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:200\""
	begun, goOn, last := make(chan struct{}), make(chan struct{}), false
	s := start(t, Options{Prepare: func(*config.Config) (commit, undo func(), err error) {
		if last {
			close(begun)
			<-goOn
		}
		return func() {}, func() {}, nil
	}}, text)
	last = true
	applied := make(chan error)
	go func() {
		_, err := s.Apply(parse(t, text))
		applied <- err
	}()
	<-begun
	ready := make(chan error, 1)
	go func() { ready <- s.Ready() }()
	select {
	case err := <-ready:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testutil.Patience):
		t.Error("it waits for the reload")
	}
	close(goOn)
	wantNoErr(t, <-applied)
}

// What connects after Listen waits until Start, also over an Apply that names its address again, and is served then.
func TestServer_listensBeforeItServes(t *testing.T) {
	testutil.CheckLeaks(t)
	cfg := parse(t, "threads = 2\n"+quiet+"http.listen = \"127.0.0.1:0\"\n"+all200)
	s, err := New(cfg, Options{})
	testutil.Must(t, err)
	t.Cleanup(func() { _ = s.Stop() })
	testutil.Must(t, s.Listen())
	w := testutil.Dial(t, s.Addresses()[0].Addr.String())
	w.Send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	if err := s.Listen(); !errors.Is(err, errBegun) {
		t.Errorf("a second Listen: %v", err)
	}
	before := s.Addresses()[0]
	mustApply(t, s, cfg)
	if now := s.Addresses(); len(now) != 1 || now[0] != before {
		t.Errorf("it listens on %v, want %v", now, before)
	}
	if n := s.Conns(); n != 0 {
		t.Errorf("%d connections before Start", n)
	}
	testutil.Must(t, s.Start())
	if status := w.ReadAll(); len(status) < 12 || status[9:12] != "200" {
		t.Errorf("%q", status)
	}
	r, err := http.Get("http://" + before.Addr.String() + "/")
	testutil.Must(t, err)
	_, _ = io.Copy(io.Discard, r.Body)
	r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
}

// What Options.Prepare built is put in place with the configuration, or taken back with it.
func TestApply_prepares(t *testing.T) {
	said := ""
	refuse := errors.New("refused")
	var failure error
	s := start(t, Options{Prepare: func(cfg *config.Config) (commit, undo func(), err error) {
		said += "prepare " + cfg.Global.LogLevel
		return func() { said += ", commit. " }, func() { said += ", undo. " }, failure
	}}, quiet+"http.listen = \"127.0.0.1:0\"\n"+all200)
	const file = quiet + "log_level = \"warn\"\nhttp.listen = \"127.0.0.1:0\"\n" + all200
	if want := "prepare info, commit. prepare info, commit. "; said != want { // New, and Listen
		t.Errorf("%q, want %q", said, want)
	}
	said = ""
	apply(t, s, file)
	taken := testutil.Listen(t).Addr().String()
	if _, err := s.Apply(parse(t, quiet+"http.listen = \""+taken+"\"\n"+all200)); err == nil {
		t.Error("the address of another process is applied")
	}
	failure = refuse
	if _, err := s.Apply(parse(t, file)); !errors.Is(err, refuse) {
		t.Error(err)
	}
	if want := "prepare warn, commit. prepare info, undo. prepare warn"; said != want {
		t.Errorf("%q, want %q", said, want)
	}
}

type quota struct {
	schema.Given
	Requests int `edge:"requests" doc:"Of a test."`
}

func init() {
	config.Register[quota](nil, schema.Section{Path: "quota", Doc: "Of a test."})
}

// A reload tells of sections that other packages registered.
func TestDiff_featuresOfOtherPackages(t *testing.T) {
	var last *config.Config
	for i, text := range []string{"quota.requests = 1\n", "# the same\nquota.requests = 1\n", "quota.requests = 2\n"} {
		c, rep := config.Parse("f.toml", []byte(text))
		if c == nil {
			t.Fatal(rep.Errors)
		}
		if i > 0 {
			if d := changes.Of(last, c); slices.Equal(d.Changed, []string{"quota"}) != (i == 2) {
				t.Errorf("%q: %+v", text, d)
			}
		}
		last = c
	}
}

// Certificates of one file, each for names of its own, are told apart.
func TestDiff_certificatesOfOneFile(t *testing.T) {
	of := func(hosts ...string) *config.Config {
		c := &config.Config{}
		for _, h := range hosts {
			c.Certificates = append(c.Certificates, config.Certificate{
				Pair: config.Pair{Cert: "a.pem"}, Hosts: []string{h}})
		}
		return c
	}
	if d := changes.Of(of("a", "b"), of("a", "b")); len(d.Added)+len(d.Changed)+len(d.Removed) != 0 {
		t.Errorf("nothing has changed: %+v", d)
	}
	d := changes.Of(of("a", "b"), of("a", "c"))
	if len(d.Added)+len(d.Removed) != 0 || !slices.Equal(d.Changed, []string{"certificate a.pem #2"}) {
		t.Errorf("one has changed: %+v", d)
	}
}
