package server

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

const limitsConf = `
upstream_defaults.load_balancing = "round_robin"
listeners = [{ name = "web", listen = "127.0.0.1:0" }]
routes = [
	{ pattern = "/api", dest = "api" },
	{ pattern = "/impatient", dest = "impatient" },
	{ pattern = "/lineless", dest = "lineless" },
]
[upstreams.api]
backends = [{ address = %[1]q }, { address = %[2]q }]
breaker = { max_requests = 2 }
pool = { queue_timeout = "1m" }
[upstreams.impatient]
backends = [{ address = %[1]q }]
breaker = { max_requests = 1 }
pool = { queue_timeout = "10ms" }
[upstreams.lineless]
backends = [{ address = %[1]q }]
breaker = { max_requests = 1, max_pending = 0 }
`

const retryLimitConf = `
listeners = [{ name = "web", listen = "127.0.0.1:0" }]
routes = [{ pattern = "/", dest = "api" }]
[upstreams.api]
backends = [{ address = %q }, { address = %q, backup = true }]
breaker = { max_retries = 1 }
retry = { on = [503], budget = "off", attempts = 1 }
`

// holding is a backend that answers when it is told to, and notes how many requests it had at most.
type holding struct {
	address   string
	now, most atomic.Int32
	asked     atomic.Int32
	last      atomic.Value // the path that was asked for last
	goOn      chan struct{}
}

func newHolding(t *testing.T) *holding {
	h := &holding{goOn: make(chan struct{})}
	h.address, _ = countingOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		h.last.Store(r.URL.Path)
		h.asked.Add(1)
		n := h.now.Add(1)
		for most := h.most.Load(); n > most && !h.most.CompareAndSwap(most, n); most = h.most.Load() {
		}
		select {
		case <-h.goOn:
		case <-r.Context().Done():
		}
		h.now.Add(-1)
		_, _ = io.WriteString(w, "well")
	})
	return h
}

// Requests above the limit of their backends wait, and are served in the end; where they may not wait they are answered
// 503 with the name of the limit. A reload changes the limits and takes no request away.
func TestServer_limitsRequests(t *testing.T) {
	first, second := newHolding(t), newHolding(t)
	s := start(t, Options{}, quiet+limitsConf, first.address, second.address)
	url, c := urlOf(t, s, "web"), http.DefaultClient
	var all sync.WaitGroup
	var well atomic.Int32
	ask := func(path string) {
		all.Go(func() {
			if resp, body := testutil.Get(t, c, url+path); resp.StatusCode == 200 && body == "well" {
				well.Add(1)
			}
		})
	}
	for range 10 {
		ask("/api")
	}
	ask("/impatient")
	ask("/lineless")
	testutil.Eventually(t, testutil.Patience, func() bool {
		return first.now.Load() == 4 && second.now.Load() == 2 && counter(s, "edge_breaker_waiting") == 6
	})
	wantCounter(t, s, 1, "edge_breaker_open", "api")
	for path, want := range map[string]string{"/impatient": "max_requests 1", "/lineless": "max_pending 0"} {
		resp, _ := testutil.Get(t, c, url+path)
		status, after := resp.Header.Get("Proxy-Status"), resp.Header.Get("Retry-After")
		if resp.StatusCode != 503 || status != `edge; error=connection_limit_reached; details="`+want+`"` ||
			!strings.Contains("123", after) || after == "" {
			t.Errorf("%s: %d %q, Retry-After %q", path, resp.StatusCode, status, after)
		}
	}
	for _, of := range []struct {
		name, label string
		want        float64
	}{
		{"edge_shed_total", "max_requests", 1}, {"edge_shed_total", "max_pending", 1},
		{"edge_breaker_refused_total", "queue_timeout", 1}, {"edge_breaker_refused_total", "max_pending", 1},
		{"edge_breaker_queued_total", "api", 6},
	} {
		wantCounter(t, s, of.want, of.name, of.label)
	}
	change := func(to string) {
		apply(t, s, quiet+strings.Replace(limitsConf, "max_requests = 2", to, 1), first.address, second.address)
	}
	change("max_requests = 3")
	testutil.Eventually(t, testutil.Patience, func() bool { return first.now.Load() == 5 && second.now.Load() == 3 })
	if first.most.Load() != 5 || second.most.Load() != 3 {
		t.Errorf("at most %d and %d at a time", first.most.Load(), second.most.Load())
	}
	change("max_retries = 2") // none of requests: those that wait go on
	testutil.Eventually(t, testutil.Patience, func() bool { return first.now.Load()+second.now.Load() == 12 })
	close(first.goOn)
	close(second.goOn)
	all.Wait()
	if well.Load() != 12 {
		t.Errorf("%d were served", well.Load())
	}
	if n := counter(s, "edge_breaker_queued_total", "api"); n < 6 {
		t.Errorf("after the reload %v have waited", n)
	}
}

// Retries above their limit are not made: the client gets the failure.
func TestServer_limitsRetries(t *testing.T) {
	second := newHolding(t)
	bad, _ := countingOrigin(t, sorry)
	s := start(t, Options{}, quiet+retryLimitConf, bad, second.address)
	url, c := urlOf(t, s, "web"), http.DefaultClient
	held := make(chan int, 1)
	go func() {
		resp, _ := testutil.Get(t, c, url+"/")
		held <- resp.StatusCode
	}()
	testutil.Eventually(t, testutil.Patience, func() bool { return second.now.Load() == 1 })
	if resp, body := testutil.Get(t, c, url+"/"); resp.StatusCode != 503 || body != "sorry" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	wantCounter(t, s, 1, "edge_breaker_retries_denied_total")
	close(second.goOn)
	if status := <-held; status != 200 {
		t.Errorf("the retry was answered %d", status)
	}
	for range 3 { // a retry that has ended makes room for another
		if resp, _ := testutil.Get(t, c, url+"/"); resp.StatusCode != 200 {
			t.Errorf("%d", resp.StatusCode)
		}
	}
}

// adaptiveConf has one event loop: several may go beyond the limit by what they have not told each other yet.
const adaptiveConf = `
global.worker_threads = 1
listeners = [{ name = "web", listen = "127.0.0.1:0" }]
routes = [
	{ pattern = "/usual", dest = "api" },
	{ pattern = "/first", dest = "api", priority = 0 },
	{ pattern = "/last", dest = "api", priority = 3 },
	{ pattern = "/impatient", dest = "impatient" },
]
upstreams.api = { backends = [{ address = %[1]q }], breaker = { adaptive = true }, pool = { queue_timeout = "1m" } }
[upstreams.impatient]
backends = [{ address = %[2]q }]
breaker = { adaptive = true }
pool = { queue_timeout = "10ms" }
`

// Before anything is known the limit is 20. The classes of requests have their parts of it: 14 of the last, 19 of the
// usual ones, all of the first, which also pass those that wait.
func TestServer_shedsByPriority(t *testing.T) {
	h, other := newHolding(t), newHolding(t)
	s := serve(t, parse(t, fmt.Sprintf(quiet+adaptiveConf, h.address, other.address)), Options{})
	url := urlOf(t, s, "web")
	var all sync.WaitGroup
	ask := func(path string, n int) {
		for range n {
			all.Go(func() {
				if resp, _ := testutil.Get(t, http.DefaultClient, url+path); resp.StatusCode != 200 {
					t.Errorf("%s: %d", path, resp.StatusCode)
				}
			})
		}
	}
	settled := func(now int32, waiting float64) {
		t.Helper()
		testutil.Eventually(t, testutil.Patience, func() bool {
			return h.now.Load() == now && counter(s, "edge_breaker_waiting", "api") == waiting
		})
	}
	ask("/last", 16)
	settled(14, 2)
	ask("/usual", 8)
	settled(19, 5)
	ask("/first", 2)
	settled(20, 6)
	if limit, now := counter(s, "edge_breaker_limit", "api"), counter(s, "edge_breaker_requests", "api"); limit != 20 ||
		now != 20 {
		t.Errorf("%v of %v requests", now, limit)
	}
	h.goOn <- struct{}{}
	testutil.Eventually(t, testutil.Patience, func() bool { return h.last.Load() == "/first" && h.asked.Load() == 21 })
	close(h.goOn)
	all.Wait()

	var refused atomic.Int32
	for range 24 {
		all.Go(func() {
			resp, _ := testutil.Get(t, http.DefaultClient, url+"/impatient")
			if status := resp.Header.Get("Proxy-Status"); resp.StatusCode == 503 {
				if want := `edge; error=connection_limit_reached; details="concurrency 19/20"`; status != want {
					t.Errorf("%q, want %q", status, want)
				}
				refused.Add(1)
			}
		})
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return refused.Load() == 5 })
	close(other.goOn)
	all.Wait()
	if n := counter(s, "edge_shed_total", "concurrency"); n != 5 || refused.Load() != 5 {
		t.Errorf("%v were shed, and %d refused", n, refused.Load())
	}
}
