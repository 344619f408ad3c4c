package server

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
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
	testutil.Eventually(t, testutil.Patience, func() bool { return counter(s, "edge_retries_denied_total") == 5 })
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
		try(t, err)
		resp.Body.Close()
		return resp.Header.Get("X-From")
	}
	for _, contentType := range []string{"text/plain", "application/grpc"} {
		if got := from(contentType); got != "h2 two.test HTTP/2.0" {
			t.Errorf("%s is answered by %q", contentType, got)
		}
	}
	wantCounter(t, s, 2, "edge_failovers_total")
	mustApply(t, s, parse(t, conf(one)))
	if got := from("text/plain"); !strings.HasPrefix(got, "h1 127.0.0.1:") || !strings.HasSuffix(got, " HTTP/1.1") {
		t.Errorf("after a reload %q answers", got)
	}
}
