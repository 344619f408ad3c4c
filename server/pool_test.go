package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// curled brings what curl gets, meanwhile.
func curled(t *testing.T, url string) chan string {
	got := make(chan string, 1)
	go func() {
		out, err := exec.Command("curl", "--noproxy", "*", "-si", url).CombinedOutput()
		if err != nil {
			t.Error(err)
		}
		got <- string(out)
	}()
	return got
}

// wantLimited fails unless answer says that there was no connection to a backend.
func wantLimited(t *testing.T, answer string) {
	t.Helper()
	for _, part := range []string{" 503 ", "Proxy-Status: edge; error=connection_limit_reached", "Retry-After: 1"} {
		if !strings.Contains(answer, part) {
			t.Errorf("%q lacks %q", answer, part)
		}
	}
}

// The limits of pool and retry hold, are counted, and are told to a client of somebody else. Where the queue is full,
// nobody's time is up.
func TestServer_limitsOfTheConnectionsToBackends(t *testing.T) {
	testutil.CheckLeaks(t)
	asked, open := make(chan bool, 10), make(chan bool)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		<-open
		fmt.Fprint(w, "ok")
	}))
	testutil.CloseServer(t, h)
	s := start(t, Options{}, quiet+web+`
routes = [
	{ pattern = "/*", dest = "api" },
	{ pattern = "/hasty", dest = "hasty" },
]
[upstreams.api]
backends = [{ address = %[1]q }]
pool = { max_per_backend = 1, queue = 1, queue_timeout = "10m", max_requests = 2, max_lifetime = "1h" }
retry = { buffer = "1k" }
[upstreams.hasty]
backends = [{ address = %[1]q }]
pool = { max_per_backend = 1, queue = 1, queue_timeout = "100ms" }
`, h.Listener.Addr())
	curl := func(path string) chan string { return curled(t, urlOf(t, s, "web")+path) }
	first := curl("/")
	<-asked
	second := curl("/")
	testutil.Eventually(t, testutil.Patience, func() bool { return counter(s, "edge_upstream_waiting", "api") == 1 })
	wantLimited(t, <-curl("/")) // the queue is full
	hasty := curl("/hasty")
	<-asked
	wantLimited(t, <-curl("/hasty")) // its time is up
	close(open)
	answers := []string{<-first, <-second, <-hasty}
	testutil.Eventually(t, testutil.Patience, func() bool {
		return counter(s, "edge_upstream_connections", "api") == 0
	}, "the connection that is worn out is closed")
	for _, answer := range append(answers, <-curl("/")) {
		if !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
			t.Error(answer)
		}
	}
	for name, want := range map[string]float64{
		"edge_upstream_queued_total": 1, "edge_upstream_aged_total": 1, "edge_upstream_dials_total": 2,
	} {
		wantCounter(t, s, want, name, "api")
	}
	for of, limit := range map[string]string{"api": "queue", "hasty": "queue_timeout"} {
		wantCounter(t, s, 1, "edge_upstream_queue_refused_total", of, limit)
	}
}

// A reload that adds a backend or changes a weight keeps the connections to those that stay; one that takes a backend
// away closes those to that one alone.
func TestApply_keepsConnectionsToBackendsThatStay(t *testing.T) {
	one, toOne := origin(t, "one")
	two, toTwo := origin(t, "two")
	o := Options{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}}
	_, port, _ := net.SplitHostPort(two)
	two = "two.test:" + port // is up with the reload that adds it
	file := func(backends string) string {
		return quiet + "global.worker_threads = 1\nhttp = { name = \"web\", listen = \"127.0.0.1:0\" }\n" +
			"upstreams.api = { load_balancing = \"round_robin\", backends = [" + backends + "] }\n" +
			"routes = [{ pattern = \"/*\", dest = \"api\" }]\n"
	}
	s := serve(t, parse(t, file(fmt.Sprintf("{ address = %q }", one))), o)
	get(t, s, "web", "/")
	for _, step := range []struct{ backends, want string }{
		{fmt.Sprintf("{ address = %q }, { address = %q }", one, two), "one one two two"},
		{fmt.Sprintf("{ address = %q, weight = 3 }, { address = %q }", one, two), "one one one two"},
		{fmt.Sprintf("{ address = %q, weight = 3 }", one), "one one one one"},
	} {
		mustApply(t, s, parse(t, file(step.backends)))
		var got []string
		for range 4 {
			_, body := get(t, s, "web", "/")
			name, _, _ := strings.Cut(body, " ")
			got = append(got, name)
		}
		if slices.Sort(got); strings.Join(got, " ") != step.want {
			t.Errorf("answered by %v, want %s", got, step.want)
		}
		if toOne.Load() != 1 || toTwo.Load() > 1 {
			t.Errorf("%d and %d connections, want one to each", toOne.Load(), toTwo.Load())
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		return counter(s, "edge_upstream_connections", "api", "idle") == 1
	}, "the connection to the backend that has gone is closed")
}
