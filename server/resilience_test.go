package server

import (
	"io"
	"net/http"
	"net/http/httptest"
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
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), asked
}

func sorry(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(503)
	_, _ = io.WriteString(w, "sorry")
}

const retriesConf = `
listeners = [{ listen = "127.0.0.1:0" }]
[upstreams.both]
backends = [{ address = %[1]q }, { address = %[2]q }]
retry = { on = [503] }
[upstreams.bad]
backends = [{ address = %[1]q }]
retry = { on = ["5xx"], attempts = 1 }
[upstreams.boundless]
backends = [{ address = %[1]q }]
retry = { on = ["503"], attempts = 3, budget = "off" }
[upstreams.slow]
backends = [{ address = %[3]q }, { address = %[2]q }]
retry = { per_try = "200ms" }
[[routes]]
pattern = "/both"
dest = "both"
[[routes]]
pattern = "/bad"
dest = "bad"
[[routes]]
pattern = "/bad/too"
dest = "bad"
timeouts = { first_byte = "10s" }
[[routes]]
pattern = "/boundless"
dest = "boundless"
[[routes]]
pattern = "/slow"
dest = "slow"
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
	for range 4 {
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
}
