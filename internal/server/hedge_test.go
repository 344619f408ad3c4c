package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const hedgesConf = `
upstream_defaults.load_balancing = "round_robin"
listeners = [{ listen = "127.0.0.1:0", access_log = %[4]q }]
[upstreams.both]
backends = [{ address = %[1]q }, { address = %[2]q }]
protocol = %[3]q
retry = { hedge_after = "100ms", on = ["connect", "grpc:unavailable"] }
[[routes]]
pattern = "/*"
dest = "both"
%[5]s
`

// hedgeOrigin is a backend that keeps requests waiting until they are taken back, or answers with the body of the
// request and, for calls, with a status.
func hedgeOrigin(t *testing.T, version string, stuck bool) (address string, conns, left *atomic.Int32) {
	t.Helper()
	conns, left = new(atomic.Int32), new(atomic.Int32)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if stuck {
			<-r.Context().Done()
			left.Add(1)
			return
		}
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status")
			defer w.Header().Set("Grpc-Status", "0")
		}
		_, _ = fmt.Fprintf(w, "well %s", body)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(version == "h1")
	s.Config.Protocols.SetUnencryptedHTTP2(version == "h2")
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), conns, left
}

// A request that a backend keeps waiting is answered by the other one: over both versions of HTTP, with a body that was
// kept, and calls where the conditions say that they may be repeated. The attempt that is not needed is taken back, at
// the price of its connection over HTTP/1.
func TestServer_hedges(t *testing.T) {
	for _, c := range []struct{ name, version, method, contentType, route string }{
		{"HTTP/1", "h1", "GET", "", ""},
		{"HTTP/1, a body", "h1", "PUT", "", ""},
		{"HTTP/2", "h2", "GET", "", ""},
		{"HTTP/2, a body", "h2", "PUT", "", ""},
		{"gRPC", "h2", "POST", "application/grpc", "grpc = true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			stuck, conns, left := hedgeOrigin(t, c.version, true)
			well, _, _ := hedgeOrigin(t, c.version, false)
			path := filepath.Join(t.TempDir(), "access.log")
			s := start(t, Options{}, quiet+hedgesConf, stuck, well, c.version, path, c.route)
			client, answered, want := testutil.H2C(t), 0, "well "
			for ; answered < 4 || left.Load() == 0; answered++ {
				var body io.Reader
				if c.method != "GET" {
					body, want = strings.NewReader("hello"), "well hello"
				}
				req, err := http.NewRequest(c.method, "http://"+s.Addresses()[0].Addr.String()+"/", body)
				testutil.Must(t, err)
				if c.contentType != "" {
					req.Header.Set("Content-Type", c.contentType)
					req.Header.Set("TE", "trailers")
				}
				if resp, got := testutil.Do(t, client, req); resp.StatusCode != 200 || got != want {
					t.Fatalf("%d %q", resp.StatusCode, got)
				}
				// Each good answer pays for a twentieth of one that is hedged; three are there at first.
				if counter(s, "edge_hedges_total") == 3 {
					break
				}
			}
			// The backend that answers may take too long now and then: then the other one is asked in vain.
			won, all := counter(s, "edge_hedges_total", "won"), counter(s, "edge_hedges_total")
			if lost := counter(s, "edge_hedges_total", "lost"); won == 0 || won+lost != all {
				t.Errorf("of %v %v won and %v lost", all, won, lost)
			}
			testutil.Eventually(t, testutil.Patience, func() bool { return float64(left.Load()) == all })
			closed := 0.0
			if c.version == "h1" {
				closed = all
			} else if conns.Load() > 2 { // of two event loops
				t.Errorf("%d connections", conns.Load())
			}
			wantCounter(t, s, closed, "edge_hedges_closed_total")
			wantHedgeLogged(t, path, int(won))
		})
	}
}

// wantHedgeLogged waits until an access log says of n requests that the second attempt won.
func wantHedgeLogged(t *testing.T, path string, n int) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		text, _ := os.ReadFile(path)
		found := 0
		for line := range strings.Lines(string(text)) {
			var r struct {
				Attempts int
				Hedge    string
			}
			if json.Unmarshal([]byte(line), &r) == nil && r.Hedge == "won" && r.Attempts == 2 {
				found++
			}
		}
		return found == n
	}, "the access log says so")
}

// nginxFile is a configuration that answers every request.
const nginxFile = `daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f;
	uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	server { listen %[2]s; location / { return 200 alive; } }
}
`

// A process that is stopped takes connections and requests, and answers nothing: the other one answers.
func TestServer_hedgesNginxThatIsStopped(t *testing.T) {
	path := testutil.Nginx(t)
	var addresses []any
	var all []*testutil.Process
	for range 2 {
		dir, address := t.TempDir(), testutil.FreeAddr(t)
		conf := filepath.Join(dir, "nginx.conf")
		testutil.Must(t, os.WriteFile(conf, fmt.Appendf(nil, nginxFile, dir, address), 0o600))
		p := testutil.Start(t, testutil.Command{Path: path, Args: []string{"-e", "stderr", "-c", conf}})
		p.WaitPort(address)
		addresses, all = append(addresses, address), append(all, p)
	}
	s := start(t, Options{}, quiet+`
listeners = [{ listen = "127.0.0.1:0" }]
routes = [{ pattern = "/*", dest = "both" }]
[upstreams.both]
load_balancing = "round_robin"
backends = [{ address = %q }, { address = %q }]
retry = { hedge_after = "1s", per_try = "5s" }
`, addresses...)
	ask := func() {
		t.Helper()
		if status, _ := statusOf(t, s, "/"); status != 200 {
			t.Fatal(status)
		}
	}
	for range 4 { // so few that nothing is known of what is usual
		ask()
	}
	all[0].Signal(syscall.SIGSTOP)
	testutil.Eventually(t, testutil.Patience, func() bool {
		ask()
		// Three are in the budget at the beginning: an answer of the one that is alive takes less than a second. Where
		// it took longer than the other one did, it counts as slow until per_try ends an attempt at that.
		return counter(s, "edge_hedges_total", "won") > 0
	}, "requests are hedged")
	all[0].Signal(syscall.SIGCONT)
}

// A reload that changes hedge_after keeps the budget, and one without it ends hedging.
func TestServer_hedgesAfterAReload(t *testing.T) {
	stuck, _, left := hedgeOrigin(t, "h1", true)
	well, _, _ := hedgeOrigin(t, "h1", false)
	const conf = quiet + `
listeners = [{ listen = "127.0.0.1:0" }]
routes = [{ pattern = "/*", dest = "both" }]
[upstreams.both]
load_balancing = "round_robin"
backends = [{ address = %q }, { address = %q }]
retry = { hedge_after = %q, per_try = "250ms" }
`
	s := start(t, Options{}, conf, stuck, well, "60ms")
	ask := func(times int) {
		t.Helper()
		for range times {
			if status, _ := statusOf(t, s, "/"); status != 200 {
				t.Fatal(status)
			}
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		ask(1)
		return counter(s, "edge_hedges_total") == 2
	})
	apply(t, s, conf, stuck, well, "50ms")
	testutil.Eventually(t, testutil.Patience, func() bool {
		ask(1)
		return counter(s, "edge_hedges_denied_total") > 0
	})
	if n := counter(s, "edge_hedges_total"); n > 4 {
		t.Errorf("%v hedges", n)
	}
	apply(t, s, conf, stuck, well, "")
	before := counter(s, "edge_hedges_total") + counter(s, "edge_hedges_denied_total")
	asked := left.Load()
	testutil.Eventually(t, testutil.Patience, func() bool {
		ask(1)
		return left.Load() >= asked+2
	})
	if n := counter(s, "edge_hedges_total") + counter(s, "edge_hedges_denied_total"); n != before {
		t.Errorf("%v hedges without hedge_after", n-before)
	}
}

// One of four backends keeps one request of a hundred waiting for half a second: most of these are answered by another
// one, for no more than five further requests for each hundred. EDGE_SOAK=1 asks long enough for percentiles.
func TestServer_hedgesStalls(t *testing.T) {
	requests, every := 600, 20
	if os.Getenv("EDGE_SOAK") != "" {
		requests, every = 40_000, 100
	}
	for _, after := range []string{"", "10ms"} {
		var asked atomic.Int32
		addresses := make([]any, 4)
		for i := range addresses {
			var served atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if i == 0 && int(served.Add(1))%every == 0 {
					select {
					case <-time.After(500 * time.Millisecond):
					case <-r.Context().Done():
					}
				}
				_, _ = io.WriteString(w, "well")
			}))
			t.Cleanup(s.Close)
			addresses[i] = s.Listener.Addr().String()
		}
		s := start(t, Options{}, quiet+`
listeners = [{ listen = "127.0.0.1:0" }]
[upstreams.all]
load_balancing = "round_robin"
backends = [{ address = %q }, { address = %q }, { address = %q }, { address = %q }]
retry = { hedge_after = `+fmt.Sprintf("%q", after)+` }
[[routes]]
pattern = "/*"
dest = "all"
`, addresses...)
		var mu sync.Mutex
		var all []time.Duration
		var clients sync.WaitGroup
		const workers = 4
		for range workers {
			clients.Go(func() {
				own := make([]time.Duration, 0, requests/workers)
				for range requests / workers {
					began := time.Now()
					if status, _ := statusOf(t, s, "/"); status != 200 {
						t.Errorf("status %d", status)
					}
					own = append(own, time.Since(began))
				}
				mu.Lock()
				all = append(all, own...)
				mu.Unlock()
			})
		}
		clients.Wait()
		slices.Sort(all)
		extra := float64(int(asked.Load())-len(all)) / float64(len(all))
		t.Logf("hedge_after = %q: p99 %v, p99.9 %v, most %v, %.2f %% more requests, won %v, lost %v, denied %v",
			after, all[len(all)*99/100], all[len(all)*999/1000], all[len(all)-1], extra*100,
			counter(s, "edge_hedges_total", "won"), counter(s, "edge_hedges_total", "lost"),
			counter(s, "edge_hedges_denied_total"))
		if most := len(all)/20 + 3; int(asked.Load())-len(all) > most {
			t.Errorf("%d requests more, of %d at the most", int(asked.Load())-len(all), most)
		}
		if after != "" && counter(s, "edge_hedges_total", "won") == 0 {
			t.Error("no second attempt won")
		}
	}
}
