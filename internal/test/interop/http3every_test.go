package interop

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// everyReload are listeners of reloads that add HTTP/3 and take it away, rename its listener and change its addresses
// and limits.
func everyReload(addr, other string) []string {
	listener := func(name, listen, protocols, more string) string {
		return fmt.Sprintf("[[listeners]]\nname = %q\nlisten = [%s]\ntls = true\nprotocols = [%s]\n%s", name, listen,
			protocols, more)
	}
	const with, without, anyPort = `"h1", "h2", "h3"`, `"h1", "h2"`, `"127.0.0.1:0"`
	at, second := strconv.Quote(addr), strconv.Quote(other)
	return []string{
		listener("web", at, with, "limits.connections = 4\n"),
		listener("other", anyPort, with, "h3.max_streams = 7\n"),
		listener("site", at, with, ""),
		listener("web", at+", "+anyPort+", "+anyPort, with, ""),
		listener("web", at, without, ""),
		listener("other", anyPort, with, "user_timeout = \"7s\"\n"),
		listener("web", at+", "+second, with, "limits.connections = 2\n"),
		listener("web", second, with, "h3.advertise = false\n"),
		listener("site", second, with, "") + listener("web", at, with, ""),
	}
}

// askers are clients of HTTP/3 that ask again and again, until end is over.
type askers struct {
	end           context.Context
	wait          sync.WaitGroup
	asked, served atomic.Int64
}

// ask adds one. renewed: it makes another Transport where a request fails, else its Transport connects again.
func (a *askers) ask(t *testing.T, p *placed, addr string, renewed bool) {
	a.wait.Go(func() {
		x := newHTTP3(t, p.client("h3"))
		defer func() { _ = x.Close() }()
		for a.end.Err() == nil {
			r, _ := http.NewRequestWithContext(a.end, "GET", "https://"+addr+"/", nil)
			a.asked.Add(1)
			if resp, err := x.RoundTrip(r); err == nil {
				a.served.Add(1)
				resp.Body.Close()
			} else if renewed {
				_ = x.Close()
				x = newHTTP3(t, p.client("h3"))
			}
		}
	})
}

// climb reads the counters of a Server, checks that none has fallen since the last page, and returns how many streams
// of HTTP/3 all listeners have counted.
func (c counts) climb(t *testing.T, s *server.Server) (streams float64) {
	w := httptest.NewRecorder()
	s.Metrics().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		v, err := strconv.ParseFloat(value, 64)
		name, _, _ := strings.Cut(series, "{")
		if err != nil || !strings.HasSuffix(name, "_total") {
			continue
		}
		if v < c[series] {
			t.Errorf("%s}: %v after %v", series, v, c[series])
		}
		if c[series] = v; name == "edge_listener_h3_streams_total" {
			streams += v
		}
	}
	return streams
}

// Reloads of every kind, while clients ask and the counters are read: no counter falls, each stream is counted once,
// and no socket stays open.
func TestHTTP3_everyReload(t *testing.T) {
	o, keys := newSlow(t), newKeys(t)
	p := &placed{edge: &edge{pool: keys.pool}, addr: testutil.FreeAddr(t)}
	other := testutil.FreeAddr(t)
	parsed := func(listeners string) *config.Config {
		cfg, report := config.Parse("test.toml", fmt.Appendf(nil, "log.output = []\nglobal.grace_period = \"300ms\"\n"+
			"global.worker_threads = 2\n[[certificates]]\ncert = %q\nkey = %q\n[upstreams.u]\n"+
			"backends = [{ address = %q }]\n[[routes]]\npattern = \"/*\"\ndest = \"u\"\n%s",
			keys.cert, keys.key, o.addr, listeners))
		if !report.OK() {
			t.Fatalf("%+v", report.Errors)
		}
		return cfg
	}
	texts, before := everyReload(p.addr, other), openSockets()
	s, err := server.New(parsed(texts[0]), server.Options{})
	testutil.Must(t, err)
	t.Cleanup(func() { _ = s.Stop() })
	testutil.Must(t, s.Start())
	end, stop := context.WithCancel(t.Context())
	clients, seen := askers{end: end}, counts{}
	for i := range 6 {
		clients.ask(t, p, []string{p.addr, other}[i%2], i > 2)
	}
	clients.wait.Go(func() {
		for end.Err() == nil {
			seen.climb(t, s)
		}
	})
	rounds := 3
	if soak() {
		rounds = 40
	}
	for i := range rounds * len(texts) {
		n, text := clients.served.Load(), texts[i%len(texts)]
		if _, err := s.Apply(parsed(text)); err != nil {
			t.Errorf("%v:\n%s", err, text)
		}
		if strings.Contains(text, `"h3"`) && (strings.Contains(text, p.addr) || strings.Contains(text, other)) {
			testutil.Eventually(t, testutil.Patience, func() bool { return clients.served.Load() > n+5 }, "requests")
		}
	}
	stop()
	clients.wait.Wait()
	asked, served, streams := clients.asked.Load(), clients.served.Load(), 0.0
	testutil.Eventually(t, testutil.Patience, func() bool { // a page may be 200 ms old
		streams = seen.climb(t, s)
		return streams >= float64(served)
	}, "all streams are counted")
	if t.Logf("%v streams of %d requests, %d served", streams, asked, served); streams > float64(asked) {
		t.Error("streams are counted twice")
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return openSockets() <= before }, "sockets are closed")
}

// openSockets returns how many sockets this process has.
func openSockets() (n int) {
	all, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range all {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
