package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// refusing returns an address that refuses connections.
func refusing(t *testing.T) string {
	t.Helper()
	l := testutil.Listen(t)
	l.Close()
	return l.Addr().String()
}

// last keeps what the log says of the last request. Safe for any goroutine.
type last struct {
	mu       sync.Mutex
	upstream string // guarded by mu
	attempts int    // guarded by mu
	logged   int    // guarded by mu
}

func (l *last) filter() *proxy.Filter {
	return &proxy.Filter{Log: func(_ *proxy.Exchange, r *observe.Record) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.upstream, l.attempts = r.Upstream, r.Attempts
		l.logged++
	}}
}

// want waits for record n, which has to say where the answer came from and after how many attempts.
func (l *last) want(t *testing.T, n int, upstream string, attempts int) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.logged == n
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.upstream != upstream || l.attempts != attempts {
		t.Errorf("logged: upstream %s, %d attempts; want %s, %d", l.upstream, l.attempts, upstream, attempts)
	}
}

// A request that was not processed goes to the failover, with its body, and so does one that may be repeated. Others
// fail as they did: what a backend answers stays the answer.
func TestFailover_whatGoesThere(t *testing.T) {
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	slow := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	for _, c := range []struct {
		name, method, body string
		on                 string // retry.on
		backends           func(t *testing.T) []string
		down               bool
		status, attempts   int // of the answer; 200: the failover gives it
	}{
		{"none serves", "POST", "body", "", func(t *testing.T) []string { return []string{refusing(t)} }, true, 200, 1},
		{"none there", "GET", "", "", func(*testing.T) []string { return nil }, false, 200, 1},
		{"refused", "GET", "", "connect", func(t *testing.T) []string { return []string{refusing(t)} }, false, 200, 2},
		{"refused, with a body", "POST", "body", "connect",
			func(t *testing.T) []string { return []string{refusing(t), refusing(t)} }, false, 200, 3},
		{"refused, more than attempts", "GET", "", "connect",
			func(t *testing.T) []string { return []string{refusing(t), refusing(t), refusing(t), refusing(t)} },
			false, 200, 4},
		{"refused, no retries", "GET", "", "503", func(t *testing.T) []string { return []string{refusing(t)} },
			false, 200, 2},
		{"reset", "GET", "", "reset",
			func(t *testing.T) []string { return []string{newFaulty(t, "h1", abort).address} }, false, 200, 2},
		{"reset, not repeated", "GET", "", "connect",
			func(t *testing.T) []string { return []string{newFaulty(t, "h1", abort).address} }, false, 502, 1},
		{"reset, not idempotent", "POST", "body", "reset",
			func(t *testing.T) []string { return []string{newFaulty(t, "h1", abort).address} }, false, 502, 1},
		{"no answer", "PUT", "body", "timeout",
			func(t *testing.T) []string { return []string{newFaulty(t, "h1", slow).address} }, false, 200, 4},
		{"an answer", "GET", "", "503",
			func(t *testing.T) []string { return []string{newFaulty(t, "h1", failing(503, "sorry")).address} },
			false, 503, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			other := newFaulty(t, "h1", wellAnswering)
			var log last
			set := backend.Of(c.backends(t)...)
			r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
				o := upstream.Options{Name: "other", Backends: backend.Of(other.address)}
				first := &proxy.ToOptions{Failover: proxy.To(upstream.New(e, o), nil), Method: balance.RoundRobin}
				if c.on != "" {
					first.Retry = on(t, c.on)
					first.Retry.PerTry = 30 * time.Millisecond
				}
				o.Name, o.Backends = "first", set
				o.Client.FirstByte = 100 * time.Millisecond
				return []proxy.Route{{Name: "all", To: proxy.To(upstream.New(e, o), first)}}
			}, log.filter())
			if c.down {
				set.Members()[0].Down(backend.Operator)
			}
			resp, body := fetch(t, c.method, r.url+"/", c.body)
			if resp.StatusCode != c.status || c.status == 200 && body != "well "+c.body {
				t.Errorf("%s %q", resp.Status, body)
			}
			from, failovers := "first", uint64(0)
			if c.status == 200 {
				from, failovers = "other", 1
			}
			log.want(t, 1, from, c.attempts)
			if n := r.stats().Failovers; n != failovers {
				t.Errorf("%d failovers are counted", n)
			}
		})
	}
}

// The failover has a Host, keys, attempts and a cookie of its own, and is left as soon as a backend of the first serves
// again.
func TestFailover_ofItsOwn(t *testing.T) {
	host := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name, " ", r.Host) }
	}
	home, away := newFaulty(t, "h1", host("home")), newFaulty(t, "h1", host("away"))
	set, refused := backend.Of(home.address), []string{refusing(t), refusing(t)}
	var keyed atomic.Int32
	r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
		second := proxy.To(upstream.New(e, upstream.Options{Name: "second", Backends: backend.Of(
			refused[0], refused[1], away.address)}), &proxy.ToOptions{
			Host: proxy.HostOfBackend, Method: balance.RoundRobin,
			Key: func(*proxy.Exchange) (uint64, bool) { keyed.Add(1); return 1, true },
		})
		first := proxy.To(upstream.New(e, upstream.Options{Name: "first", Backends: set}),
			&proxy.ToOptions{Host: "first.test", Failover: second})
		return []proxy.Route{{Name: "all", To: first}}
	})
	for round := range 3 {
		if _, body := fetch(t, "GET", r.url+"/", ""); body != "home first.test" {
			t.Errorf("round %d: %q", round, body)
		}
		set.Members()[0].Down(backend.Health)
		if _, body := fetch(t, "GET", r.url+"/", ""); body != "away "+away.address {
			t.Errorf("round %d, while the first is down: %q", round, body)
		}
		set.Members()[0].Up(backend.Health)
	}
	if keyed.Load() == 0 {
		t.Error("the keys of the failover were not asked for")
	}
}

// A failover may have one itself, or be an answer. Where the last of them cannot take the request either, the client
// gets a failure.
func TestFailover_chain(t *testing.T) {
	for end, want := range map[string]string{"answer": "200 closed for today", "refused": "502 "} {
		t.Run(end, func(t *testing.T) {
			var log last
			r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
				to := proxy.Answer(200, "", "closed for today")
				for i := range 4 {
					o := upstream.Options{Name: fmt.Sprint("upstream ", i), Backends: backend.Of(refusing(t))}
					next := &proxy.ToOptions{Failover: to}
					if i == 0 && end == "refused" {
						next = nil
					}
					to = proxy.To(upstream.New(e, o), next)
				}
				return []proxy.Route{{Name: "all", To: to}}
			}, log.filter())
			resp, body := fetch(t, "GET", r.url+"/", "")
			if got := fmt.Sprint(resp.StatusCode, " ", body); !strings.HasPrefix(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			if end == "refused" {
				log.want(t, 1, "upstream 0", 4)
			}
		})
	}
}

// Requests that wait in vain for one of a limited number of connections fail: a failover is not there for load.
func TestFailover_notForLoad(t *testing.T) {
	busy, free := make(chan struct{}), make(chan struct{})
	origin := newFaulty(t, "h1", func(http.ResponseWriter, *http.Request) {
		close(busy)
		<-free
	})
	other := newFaulty(t, "h1", wellAnswering)
	r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
		failover := proxy.To(upstream.New(e, upstream.Options{Backends: backend.Of(other.address)}), nil)
		o := upstream.Options{
			Backends: backend.Of(origin.address), PerBackend: 1, Queue: 1, QueueTimeout: 20 * time.Millisecond,
		}
		return []proxy.Route{{Name: "all", To: proxy.To(upstream.New(e, o), &proxy.ToOptions{Failover: failover})}}
	})
	var wait sync.WaitGroup
	wait.Go(func() { fetch(t, "GET", r.url+"/", "") })
	<-busy
	if resp, body := fetch(t, "GET", r.url+"/", ""); resp.StatusCode != 503 {
		t.Errorf("%s %q", resp.Status, body)
	}
	close(free)
	wait.Wait()
}
