package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
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
	t.Cleanup(h.Close)
	s := start(t, Options{}, quiet+`
[[listeners]]
name = "web"
listen = "127.0.0.1:0"
[upstreams.api]
backends = [{ address = %[1]q }]
pool = { max_per_backend = 1, queue = 1, queue_timeout = "10m", max_requests = 2, max_lifetime = "1h" }
retry = { buffer = "1k" }
[upstreams.hasty]
backends = [{ address = %[1]q }]
pool = { max_per_backend = 1, queue = 1, queue_timeout = "100ms" }
[[routes]]
pattern = "/*"
dest = "api"
[[routes]]
pattern = "/hasty"
dest = "hasty"
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
		if n := counter(s, name, "api"); n != want {
			t.Errorf("%s is %v, want %v", name, n, want)
		}
	}
	for of, limit := range map[string]string{"api": "queue", "hasty": "queue_timeout"} {
		if n := counter(s, "edge_upstream_queue_refused_total", of, limit); n != 1 {
			t.Errorf("%s of %s: %v", limit, of, n)
		}
	}
}
