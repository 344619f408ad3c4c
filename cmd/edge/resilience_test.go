package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
)

// demoBackend starts a demo origin as a process of its own. address may be ":0" of an IP address.
func demoBackend(t *testing.T, address string) (p *testutil.Process, at string) {
	t.Helper()
	p = testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"),
		Args: []string{"serve-demo", "--listen", address}})
	return p, p.WaitLine(`(127\.0\.0\.1:\d+)`)[1]
}

// getters are clients that make GETs until they are stopped.
type getters struct {
	stop   atomic.Bool
	wait   sync.WaitGroup
	mu     sync.Mutex
	failed []string        // guarded by mu
	took   []time.Duration // guarded by mu
}

// startGetters starts so many clients of url.
func startGetters(url string, clients int) *getters {
	g := &getters{}
	for range clients {
		g.wait.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: testutil.Patience}
			defer client.CloseIdleConnections()
			for !g.stop.Load() {
				began := time.Now()
				resp, err := client.Get(url)
				text := ""
				if err != nil {
					text = err.Error()
				} else {
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if resp.StatusCode != 200 {
						text = fmt.Sprint(resp.StatusCode, resp.Header)
					}
				}
				g.mu.Lock()
				if g.took = append(g.took, time.Since(began)); text != "" {
					g.failed = append(g.failed, text)
				}
				g.mu.Unlock()
			}
		})
	}
	return g
}

// count returns how many requests were made.
func (g *getters) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.took)
}

// more waits until n more requests were made.
func (g *getters) more(t *testing.T, n int) {
	t.Helper()
	from := g.count()
	testutil.Eventually(t, testutil.Patience, func() bool { return g.count() >= from+n }, "requests go on")
}

// end stops the clients and fails the test where a request has failed.
func (g *getters) end(t *testing.T) {
	t.Helper()
	g.stop.Store(true)
	g.wait.Wait()
	slices.Sort(g.took)
	n := len(g.took)
	t.Logf("%d requests, p50 %v, p99.9 %v, the longest %v", n, g.took[n/2], g.took[n*999/1000], g.took[n-1])
	if len(g.failed) > 0 {
		t.Errorf("%d of %d failed: %s", len(g.failed), n, g.failed[0])
	}
}

// inFrontOf starts edge with an upstream of backends at the addresses, and returns its URL.
func inFrontOf(t *testing.T, keys string, addresses ...string) string {
	t.Helper()
	var list []string
	for _, a := range addresses {
		list = append(list, fmt.Sprintf("{ address = %q }", a))
	}
	r := runIn(t, folder(t, map[string]string{"edge.toml": fmt.Sprintf(`
log.output = []
listeners = [{ listen = "127.0.0.1:0" }]
[upstreams.all]
backends = [%s]
%s
[[routes]]
pattern = "/*"
dest = "all"
`, strings.Join(list, ", "), keys)}), "run", "-c", "edge.toml")
	return "http://" + r.addr + "/"
}

// Whatever befalls one of the backends under load, no GET fails: backends are killed in turn, one is stopped, and at
// one nobody answers.
func TestRun_backendsFail(t *testing.T) {
	const backends = 3
	start := func(t *testing.T) (all []*testutil.Process, at []string) {
		for range backends {
			p, a := demoBackend(t, "127.0.0.1:0")
			all, at = append(all, p), append(at, a)
		}
		return all, at
	}
	for _, method := range []string{"adaptive", "round_robin"} {
		keys := fmt.Sprintf("load_balancing = %q\n", method)
		t.Run("killed in turn, "+method, func(t *testing.T) {
			all, at := start(t)
			g := startGetters(inFrontOf(t, keys, at...), 8)
			rounds := 2
			if os.Getenv("EDGE_SOAK") != "" {
				rounds = 60
			}
			for i := range rounds * backends {
				g.more(t, 200)
				all[i%backends].Signal(syscall.SIGKILL)
				all[i%backends].Wait(testutil.Patience)
				g.more(t, 200)
				all[i%backends], _ = demoBackend(t, at[i%backends])
			}
			g.more(t, 200)
			g.end(t)
		})
		t.Run("stopped, "+method, func(t *testing.T) {
			all, at := start(t)
			// By turns a third of the requests goes to the stopped one until it is ejected: more than a budget bears.
			keys := keys + "retry = { per_try = \"500ms\" }\noutlier = { errors = 5 }"
			g := startGetters(inFrontOf(t, keys, at...), 4)
			g.more(t, 200)
			all[1].Signal(syscall.SIGSTOP)
			g.more(t, 100)
			all[1].Signal(syscall.SIGCONT)
			g.more(t, 200)
			g.end(t)
		})
		t.Run("firewalled, "+method, func(t *testing.T) {
			_, at := start(t)
			keys := keys + `timeouts = { connect = "500ms" }`
			g := startGetters(inFrontOf(t, keys, append(at, testutil.Silent(t))...), 4)
			g.more(t, 500)
			g.end(t)
		})
	}
}
