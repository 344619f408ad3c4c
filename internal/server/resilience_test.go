package server

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// countingOrigin is a backend that answers as handle says, and counts.
func countingOrigin(t *testing.T, handle http.HandlerFunc) (address string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		handle(w, r)
	}))
	testutil.CloseServer(t, s)
	return s.Listener.Addr().String(), asked
}

func sorry(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(503)
	_, _ = io.WriteString(w, "sorry")
}

const retriesConf = `
upstream_defaults.load_balancing = "round_robin"
listeners = [{ listen = "127.0.0.1:0" }]
upstreams.both = { backends = [{ address = %[1]q }, { address = %[2]q }], retry = { on = [503] } }
upstreams.bad = { backends = [{ address = %[1]q }], retry = { on = ["5xx"], attempts = 1 } }
upstreams.slow = { backends = [{ address = %[3]q }, { address = %[2]q }], retry = { per_try = "200ms" } }
routes = [
	{ pattern = "/both", dest = "both" },
	{ pattern = "/bad", dest = "bad" },
	{ pattern = "/bad/too", dest = "bad", timeouts = { first_byte = "10s" } },
	{ pattern = "/boundless", dest = "boundless" },
	{ pattern = "/slow", dest = "slow" },
]
upstreams.boundless = { backends = [{ address = %[1]q }], retry = { on = ["503"], attempts = 3, budget = "off" } }
`

// The keys of retry have their effect: what is tried again, how long a try has, and how many retries the routes of an
// upstream have together, which a reload does not give them again.
func TestServer_retries(t *testing.T) {
	bad, asked := countingOrigin(t, sorry)
	good, _ := countingOrigin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") })
	stuck := make(chan struct{})
	slow, _ := countingOrigin(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-stuck:
		}
	})
	defer close(stuck)
	s := start(t, Options{}, quiet+retriesConf, bad, good, slow)
	ask := func(path string, want int) {
		t.Helper()
		if got, _ := statusOf(t, s, path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	for range 3 {
		ask("/both", 200)
	}
	asked.Store(0)
	for range 4 {
		ask("/bad", 503)
		ask("/bad/too", 503)
	}
	if n := asked.Load(); n != 8+3 {
		t.Errorf("the routes together made %d retries", n-8)
	}
	asked.Store(0)
	for range 3 {
		ask("/boundless", 503)
	}
	if n := asked.Load(); n != 12 {
		t.Errorf("without a budget it was asked %d times", n)
	}
	began := time.Now()
	for range 2 {
		ask("/slow", 200)
	}
	if took := time.Since(began); took < 200*time.Millisecond || took > 5*time.Second {
		t.Errorf("a try took %v", took)
	}
	waitCounter(t, s, 5, "edge_retries_denied_total")
	if n := counter(s, "edge_retries_total", "timeout"); n < 1 || n > 2 {
		t.Errorf("%v retries after a try that took too long", n)
	}
	if n := counter(s, "edge_retries_total", "5xx"); n < 3+9 {
		t.Errorf("%v retries after an answer", n)
	}
}

// wantGauges fails unless so many backends of the upstream all are up, of so much weight, after so many ejections.
func wantGauges(t *testing.T, s *Server, up, weight, ejections float64) {
	t.Helper()
	for name, want := range map[string]float64{
		"edge_backend_up": up, "edge_backend_weight": weight, "edge_ejections_total": ejections,
	} {
		wantCounter(t, s, want, name, "all")
	}
}

// A backend of three that answers 503 to everything is ejected, within a second, and gets no requests then; a reload
// without ejection brings it back.
func TestServer_ejects(t *testing.T) {
	bad, asked := countingOrigin(t, sorry)
	well := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") }
	one, _ := countingOrigin(t, well)
	two, _ := countingOrigin(t, well)
	const conf = quiet + `
listeners = [{ listen = "127.0.0.1:0" }]
routes = [
	{ pattern = "/*", dest = "all" },
	{ pattern = "/too", dest = "all" },
]
[upstreams.all]
backends = [{ address = %q }, { address = %q }, { address = %q }]
%s
`
	var log testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&log, nil))
	s := start(t, Options{}, conf, bad, one, two, `load_balancing = "round_robin"
outlier = { errors = 5, eject = "1h" }`)
	testutil.Eventually(t, testutil.Patience, func() bool {
		for i := range 6 {
			statusOf(t, s, []string{"/", "/too"}[i/3%2])
		}
		return strings.Contains(log.String(), "reason=ejected_")
	}, "it is ejected")
	wantGauges(t, s, 2, 3, 1)
	asked.Store(0)
	for range 50 {
		if status, _ := statusOf(t, s, "/"); status != 200 {
			t.Errorf("%d", status)
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("it is asked %d times", n)
	}
	line := regexp.MustCompile(`(?m)^.*msg="backend down" upstream=all backend=` + regexp.QuoteMeta(bad) +
		` tier=0 reason=ejected_\w+ failed=\d+ of=\d+ for=\S+ open=2/3$`)
	if text := log.String(); strings.Count(text, "eject") != 1 || !line.MatchString(text) {
		t.Errorf("told:\n%s", text)
	}
	wrong := fmt.Sprintf(conf, bad, one, two, `load_balancing = "round_robin"
outlier = { errors = 7 }`) + "[[listeners]]\nlisten = \"192.0.2.1:1\"\n"
	wrong = strings.Replace(wrong, `listeners = [{ listen = "127.0.0.1:0" }]`, "", 1)
	if _, err := s.Apply(parse(t, "global.worker_threads = 2\n"+wrong)); err == nil {
		t.Fatal("an address of another machine is listened on")
	}
	apply(t, s, conf, bad, one, two, `load_balancing = "round_robin"
outlier = { errors = 5, eject = "1h" }`)
	for range 20 {
		statusOf(t, s, "/")
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("after a reload that failed and one that changes nothing, it is asked %d times", n)
	}
	apply(t, s, conf, bad, one, two, `load_balancing = "round_robin"`)
	for range 10 {
		statusOf(t, s, "/")
	}
	if asked.Load() == 0 {
		t.Error("it does not come back")
	}
	wantGauges(t, s, 3, 3, 1)
	apply(t, s, "%shttp.listen = \"127.0.0.1:0\"\n%s", quiet, all200)
	wantGauges(t, s, 0, 0, 1)
}

// Where the checks of all others fail, a backend that is ejected gets the requests: it may serve by now.
func TestServer_ejectedBackendServesWhereNoOtherDoes(t *testing.T) {
	var well, ill atomic.Bool
	bad, _ := countingOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if !well.Load() && r.URL.Path != "/healthz" {
			sorry(w, r)
		}
	})
	other, _ := countingOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if ill.Load() && r.URL.Path == "/healthz" {
			sorry(w, r)
		}
	})
	var log testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&log, nil))
	s := start(t, Options{}, quiet+`
listeners = [{ listen = "127.0.0.1:0" }]
`+checks+`
[upstreams.all]
load_balancing = "round_robin"
backends = [{ address = %q }, { address = %q }]
outlier = { errors = 2, eject = "1h" }
[[routes]]
pattern = "/*"
dest = "all"
[[routes]]
pattern = "/too"
dest = "all"
`, bad, other)
	testutil.Eventually(t, testutil.Patience, func() bool {
		statusOf(t, s, "/")
		statusOf(t, s, "/too")
		return strings.Contains(log.String(), "reason=ejected_")
	}, "it is ejected")
	well.Store(true)
	ill.Store(true)
	testutil.Eventually(t, testutil.Patience, func() bool {
		return strings.Contains(log.String(), "reason=status")
	}, "the other is down")
	for range 20 {
		if status, _ := statusOf(t, s, "/"); status != 200 {
			t.Fatalf("%d, though a backend serves", status)
		}
	}
}

// Once it can be reached again, an ejected backend whose checks pass serves long before its ejection would end.
func TestServer_checkEndsAnEjection(t *testing.T) {
	var well atomic.Bool
	bad, asked := countingOrigin(t, func(_ http.ResponseWriter, r *http.Request) {
		if !well.Load() && r.URL.Path != "/healthz" {
			panic(http.ErrAbortHandler)
		}
	})
	other, _ := countingOrigin(t, func(http.ResponseWriter, *http.Request) {})
	var log testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&log, nil))
	const conf = quiet + `
listeners = [{ listen = "127.0.0.1:0" }]
routes = [{ pattern = "/*", dest = "all" }]
[upstreams.all]
load_balancing = "round_robin"
backends = [{ address = %[1]q }, { address = %[2]q }]
outlier = { errors = 2, eject = "1h" }
health_check = { path = "/healthz", interval = "300ms", fast_interval = "10ms", timeout = "300ms" }
`
	s := start(t, Options{}, conf, bad, other)
	testutil.Eventually(t, testutil.Patience, func() bool {
		statusOf(t, s, "/")
		return strings.Contains(log.String(), "reason=ejected_faults")
	}, "it is ejected")
	well.Store(true)
	asked.Store(0)
	testutil.Eventually(t, testutil.Patience, func() bool {
		statusOf(t, s, "/")
		return strings.Contains(log.String(), "reason=ejected_faults trial=true was_down=") && asked.Load() > 50
	}, "it serves again")
}

// The failover of an upstream is asked as its own keys say, over its own protocol, for requests and for calls of gRPC,
// and a reload changes it.
func TestServer_failover(t *testing.T) {
	gone := testutil.Listen(t)
	gone.Close()
	telling := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
			w.Header().Set("X-From", fmt.Sprint(name, " ", r.Host, " ", r.Proto))
			w.Header().Set("Grpc-Status", "0")
		}
	}
	two := httptest.NewUnstartedServer(telling("h2"))
	two.Config.Protocols = new(http.Protocols)
	two.Config.Protocols.SetUnencryptedHTTP2(true)
	two.Start()
	t.Cleanup(two.Close)
	one, _ := countingOrigin(t, telling("h1"))
	conf := func(failover string) string {
		return fmt.Sprintf(quiet+`
listeners = [{ name = "web", listen = "127.0.0.1:0", grpc = true }]
routes = [{ pattern = "/*", dest = "first", load_balancing = "random", timeouts = { first_byte = "5s" } }]
[upstreams.first]
backends = [{ address = %q }]
host = "first.test"
load_balancing = "round_robin"
failover = %q
[upstreams.two]
backends = [{ address = %q }]
protocol = "h2"
host = "two.test"
load_balancing = "maglev"
`, gone.Addr(), failover, two.Listener.Addr())
	}
	s := start(t, Options{}, "%s", conf("two"))
	from := func(contentType string) string {
		resp, err := http.Post(urlOf(t, s, "web")+"/a.B/C", contentType, strings.NewReader("\x00\x00\x00\x00\x00"))
		testutil.Must(t, err)
		resp.Body.Close()
		return resp.Header.Get("X-From")
	}
	for _, contentType := range []string{"text/plain", "application/grpc"} {
		wantEqual(t, from(contentType), "h2 two.test HTTP/2.0", "%s is answered by", contentType)
	}
	wantCounter(t, s, 2, "edge_failovers_total")
	mustApply(t, s, parse(t, conf(one)))
	if got := from("text/plain"); !strings.HasPrefix(got, "h1 127.0.0.1:") || !strings.HasSuffix(got, " HTTP/1.1") {
		t.Errorf("after a reload %q answers", got)
	}
}

// A client stays at its backend over reloads: with a secret of the configuration or without one, when another backend
// comes, and while secrets change places. A new secret, or a file that is refused, does what is expected of it.
func TestServer_stickyOverReloads(t *testing.T) {
	var addresses []string
	for i := range 3 {
		address, _ := countingOrigin(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "origin ", i) })
		addresses = append(addresses, address)
	}
	conf := func(sticky string, backends ...string) string {
		return quiet + "listeners = [{ listen = \"127.0.0.1:0\" }]\n" +
			"[upstreams.all]\nload_balancing = \"round_robin\"\n" +
			"backends = [{ address = \"" + strings.Join(backends, "\" }, { address = \"") + "\" }]\n" +
			"sticky = " + sticky + "\n" +
			"[[routes]]\npattern = \"/*\"\ndest = \"all\"\n"
	}
	const bare = `{ cookie = "at" }`
	secret := func(list string) string { return fmt.Sprintf(`{ cookie = "at", ttl = "2h", secret = %s }`, list) }
	const one, two = `"the first of the secrets"`, `"the second of the secrets"`
	s := start(t, Options{}, "%s", conf(bare, addresses[:2]...))
	jar, err := cookiejar.New(nil)
	testutil.Must(t, err)
	c := &http.Client{Jar: jar, Transport: &http.Transport{}}
	t.Cleanup(c.CloseIdleConnections)
	url := urlOf(t, s, "127.0.0.1:0")
	ask := func() (string, bool) {
		resp, body := testutil.Get(t, c, url)
		return body, len(resp.Cookies()) > 0
	}
	own, set := ask()
	if !set {
		t.Fatal("no cookie")
	}
	for _, step := range []struct {
		name, text string
		renewed    bool // the cookie is another one
	}{
		{"the same", conf(bare, addresses[:2]...), false},
		{"another backend", conf(bare, addresses...), false},
		{"in another order", conf(bare, addresses[2], addresses[1], addresses[0]), false},
		{"a secret", conf(secret(one), addresses...), true},
		{"a second one", conf(secret("["+one+", "+two+"]"), addresses...), false},
		{"the second one first", conf(secret("["+two+", "+one+"]"), addresses...), false},
		{"the second one alone", conf(secret(two), addresses...), true},
	} {
		if _, err := s.Apply(parse(t, step.text)); err != nil {
			t.Fatal(step.name, err)
		}
		got, set := ask()
		if set != step.renewed || !set && got != own {
			t.Errorf("%s: %s after %s, a new cookie: %v", step.name, got, own, set)
		}
		own = got
		if again, set := ask(); again != own || set {
			t.Errorf("%s: %s after %s, a new cookie: %v", step.name, again, own, set)
		}
	}
	bad := parse(t, conf(secret(one), addresses...))
	bad.Filters = []string{"none is called so"}
	if _, err := s.Apply(bad); err == nil {
		t.Fatal("a filter that is not there is found")
	}
	if got, set := ask(); got != own || set {
		t.Errorf("after a refused reload: %s after %s, a new cookie: %v", got, own, set)
	}
	mustApply(t, s, parse(t, conf(`{ cookie = "" }`, addresses...)))
	seen := map[string]bool{}
	for range 3 {
		got, set := ask()
		if seen[got] = true; set {
			t.Error("a cookie is set although there is none")
		}
	}
	wantEqual(t, len(seen), 3, "answered by %v", seen)
}

// Two rules lead to one pool, and one client asks them in turn. The one with turns of its own meets the backends as if
// it were alone, before and after a reload, and both use the same connections.
func TestRoutes_turnsOfTheirOwn(t *testing.T) {
	one, conns := origin(t, "one")
	two, others := origin(t, "two")
	const file = "%sglobal.worker_threads = 1\n" +
		"upstream_defaults.load_balancing = \"round_robin\"\n[http]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n" +
		"[[load_balancing.backends]]\nname = \"api\"\naddress = %q\n" +
		"[[load_balancing.backends]]\nname = \"api\"\naddress = %q\n" +
		"[[proxy.rules]]\npath = \"/a/*\"\nupstream = \"api\"\n%s" +
		"[[proxy.rules]]\npath = \"/b/*\"\nupstream = \"api\"\n%s"
	for _, c := range []struct {
		name, a, b string
		want       string // the backends that answer /a, /b, /a, /b and so on
	}{
		{"none", "", "", "one two one two one two one two"},
		{"one", "load_balancing = \"round_robin\"\n", "", "one one two two one one two two"},
		{"both", "load_balancing = \"round_robin\"\n", "load_balancing = \"weighted\"\n",
			"one one two two one one two two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := fmt.Sprintf(file, quiet, one, two, c.a, c.b)
			s := serve(t, parse(t, text), Options{})
			before := conns.Load() + others.Load()
			conn, err := net.Dial("tcp", strings.TrimPrefix(urlOf(t, s, "web"), "http://"))
			testutil.Must(t, err)
			w := testutil.NewWire(t, conn)
			var got []string
			for i := range 8 {
				if i == 4 {
					mustApply(t, s, parse(t, "log.format = \"common\"\n"+text))
				}
				w.Send("GET /" + string("ab"[i%2]) + "/ HTTP/1.1\r\nHost: h\r\n\r\n")
				_, body := w.ReadResponse("GET")
				name, _, _ := strings.Cut(body, " ")
				got = append(got, name)
			}
			wantEqual(t, strings.Join(got, " "), c.want, "answered by")
			if n := conns.Load() + others.Load() - before; n != 2 {
				t.Errorf("%d connections for two backends", n)
			}
		})
	}
}

// What has the weight 0 takes no request: a backend beside others, a route beside its equals, and one that would take
// all that goes to the upstream "default" otherwise. A reload gives it its share, and takes it away again.
func TestRoutes_weightOfNone(t *testing.T) {
	file := func(weight int) string {
		one, two := mirror(t, "one"), mirror(t, "two")
		return fmt.Sprintf("%sglobal.worker_threads = 1\n[http]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"+
			"[upstreams]\ndefault.load_balancing = \"round_robin\"\n"+
			"default.backends = [{ address = %q }, { address = %q, weight = %d }]\n"+
			"[[routes]]\npattern = \"/*\"\ndest = \"status:418\"\nweight = 0\n"+
			"[[routes]]\npattern = \"/c/*\"\ndest = \"status:201\"\nweight = 1\n"+
			"[[routes]]\npattern = \"/c/*\"\ndest = \"status:202\"\nweight = %d\n", quiet, one, two, weight, weight)
	}
	s := serve(t, parse(t, file(0)), Options{})
	const none, half = "one one one one 201 201 201 201", "one two one two 201 202 201 202"
	for _, c := range []struct {
		weight int
		want   string
	}{{0, none}, {1, half}, {0, none}} {
		mustApply(t, s, parse(t, file(c.weight)))
		var got []string
		for range 4 {
			name, _, _ := strings.Cut(bodyOf(t, askFor(t, "GET", urlOf(t, s, "web")+"/x")), " ")
			got = append(got, name)
		}
		for range 4 {
			got = append(got, fmt.Sprint(askFor(t, "GET", urlOf(t, s, "web")+"/c/x").StatusCode))
		}
		wantEqual(t, strings.Join(got, " "), c.want, "weight %d: answered by", c.weight)
	}
}

// A backend that a reload adds beside another one gets few requests at first, and all of them once that is off.
func TestUpstream_slowStart(t *testing.T) {
	one, two := mirror(t, "one"), mirror(t, "two")
	file := func(slow string, backends ...string) string {
		text := quiet + "global.worker_threads = 1\nhttp = { name = \"web\", listen = \"127.0.0.1:0\" }\n" +
			"[upstreams.default]\nload_balancing = \"round_robin\"\nslow_start = \"" + slow + "\"\nbackends = ["
		for _, b := range backends {
			text += fmt.Sprintf("{ address = %q }, ", b)
		}
		return text + "]\n"
	}
	s := serve(t, parse(t, file("1h", one)), Options{})
	for _, step := range []struct {
		file string
		want int // of 18 requests for the second backend
	}{
		{file("1h", one), 0},
		{file("1h", one, two), 2},
		{file("0", one, two), 9},
	} {
		mustApply(t, s, parse(t, step.file))
		seconds := 0
		for range 18 {
			if _, body := get(t, s, "web", "/"); len(body) > 3 && body[:3] == "two" {
				seconds++
			}
		}
		if seconds != step.want {
			t.Errorf("%d of 18 requests for the second backend, not %d, with\n%s", seconds, step.want, step.file)
		}
	}
}

// Where all checks fail, requests are answered if the configuration says so, and nobody is kept in the dark about it.
func TestUpstream_panic(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	testutil.Must(t, err)
	closed.Close()
	well, dead := mirror(t, "well"), closed.Addr().String()
	file := func(keys, backend string) string {
		return fmt.Sprintf("%shttp = { name = \"web\", listen = \"127.0.0.1:0\" }\n[upstreams.default]\n%s"+
			"backends = [{ address = %q }]\n"+
			"health_check = { path = \"/\", interval = \"1h\", expected_status = 599, start = \"down\" }\n",
			quiet, keys, backend)
	}
	var s *Server
	for _, c := range []struct {
		keys, backend string
		status        int
		details       string
		panics        float64
	}{
		{"", well, 503, "edge; error=destination_unavailable", 0},
		{"panic = \"50%\"\n", well, 200, "", 1},
		{"panic = \"50%\"\n", dead, 502, "edge; error=connection_refused; details=\"panic\"", 1},
		{"panic = 0\n", well, 503, "edge; error=destination_unavailable", 0},
	} {
		conf := parse(t, file(c.keys, c.backend))
		if s == nil {
			s = serve(t, conf, Options{})
		} else if _, err := s.Apply(conf); err != nil {
			t.Fatal(err)
		}
		resp, err := http.Get(urlOf(t, s, "web"))
		testutil.Must(t, err)
		resp.Body.Close()
		if got := resp.Header.Get("Proxy-Status"); resp.StatusCode != c.status || got != c.details {
			t.Errorf("%s: %d %q", c.keys, resp.StatusCode, got)
		}
		wantCounter(t, s, c.panics, "edge_upstream_panic", "default")
	}
}

// Backups help the others where that is wanted.
func TestUpstream_spill(t *testing.T) {
	first, backup := mirror(t, "first"), mirror(t, "backup")
	file := func(keys string) string {
		text := quiet + "global.worker_threads = 1\nhttp = { name = \"web\", listen = \"127.0.0.1:0\" }\n" +
			"[upstreams.default]\nload_balancing = \"round_robin\"\n" + keys + "backends = [{ address = %q }, " +
			"{ address = \"127.0.0.9:1\" }, { address = %q, backup = true }, { address = \"[::9]:1\", tier = 2 }]\n"
		return fmt.Sprintf(text, first, backup)
	}
	s := serve(t, parse(t, file("")), Options{})
	for _, c := range []struct {
		keys string
		want int
	}{{"", 0}, {"spill = true\n", 30}} {
		mustApply(t, s, parse(t, file(c.keys)))
		s.upstreams.now.services["default"].set.Members()[1].Down(backend.Ejected) // of two: 70 % remain
		got := 0
		for range 100 {
			if _, body := get(t, s, "web", "/"); strings.HasPrefix(body, "backup") {
				got++
			}
		}
		if got < c.want-1 || got > c.want+1 {
			t.Errorf("%q: %d of 100 requests go to the backup", c.keys, got)
		}
	}
}

// Requests stay in the zone of the process where they can, and a subset leaves the others out.
func TestUpstream_zonesAndSubsets(t *testing.T) {
	var all []string
	for i := range 4 {
		all = append(all, mirror(t, fmt.Sprint("n", i)))
	}
	file := func(keys string) string {
		text := quiet + "global.worker_threads = 1\nglobal.zone = \"a\"\n" +
			"http = { name = \"web\", listen = \"127.0.0.1:0\" }\n" +
			"[upstreams.default]\nload_balancing = \"round_robin\"\n" + keys + "backends = ["
		for i, address := range all {
			text += fmt.Sprintf("{ address = %q, zone = %q }, ", address, string("aabb"[i]))
		}
		return text + "]\n"
	}
	s := serve(t, parse(t, file("")), Options{})
	for _, c := range []struct{ keys, want string }{
		{"", "n0 n1 n2 n3"},
		{"zones = \"prefer\"\n", "n0 n1"},
		{"zones = \"only\"\n", "n0 n1"},
		{"zones = \"off\"\nsubset = { size = 3 }\n", "3 of them"},
		{"zones = \"only\"\nsubset = { size = 1, index = 0, of = 2 }\n", "1 of them"},
		{"", "n0 n1 n2 n3"},
	} {
		mustApply(t, s, parse(t, file(c.keys)))
		var seen []string
		for range 12 {
			_, body := get(t, s, "web", "/")
			name, _, _ := strings.Cut(body, " ")
			if !slices.Contains(seen, name) {
				seen = append(seen, name)
			}
		}
		slices.Sort(seen)
		if got := strings.Join(seen, " "); got != c.want && fmt.Sprint(len(seen), " of them") != c.want {
			t.Errorf("%q: answered by %s, want %s", c.keys, got, c.want)
		}
	}
}
