package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// stormy is an origin that answers all requests well or, while it is down, all with 503. It counts the requests that
// reach it, and how many of them are first attempts: clients number theirs.
type stormy struct {
	down atomic.Bool
	mu   sync.Mutex
	seen map[string]bool // numbers of requests; guarded by mu
	all  []bool          // requests in their order, and which are first attempts; guarded by mu
}

// ServeHTTP implements http.Handler.
func (s *stormy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	number := r.Header.Get("Number")
	s.mu.Lock()
	s.all = append(s.all, !s.seen[number])
	s.seen[number] = true
	s.mu.Unlock()
	if s.down.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "well")
}

// asked returns how many requests came.
func (s *stormy) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// tally counts the requests s.all[from:to], and the first attempts among them. It ends after firstMax first attempts;
// with a firstMax of 0 it counts all.
func (s *stormy) tally(from, to, firstMax int) (all, first int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, is := range s.all[from:to] {
		if all++; !is {
			continue
		}
		if first++; first == firstMax {
			break
		}
	}
	return all, first
}

// startStormy starts a stormy that listens at so many addresses.
func startStormy(t *testing.T, addresses int) (s *stormy, at []string) {
	t.Helper()
	s = &stormy{seen: make(map[string]bool)}
	for range addresses {
		l := testutil.Listen(t)
		server := &http.Server{Handler: s}
		t.Cleanup(func() { server.Close() })
		go server.Serve(l) //nolint:errcheck // it ends with the test
		at = append(at, l.Addr().String())
	}
	return s, at
}

// asker makes numbered requests.
type asker struct {
	client http.Client
	url    string
	last   atomic.Int64 // number of a request

	mu     sync.Mutex
	failed int       // requests that were answered otherwise than 200; guarded by mu
	failAt time.Time // when the last of them began; guarded by mu
}

func newAsker(t *testing.T, url string) *asker {
	a := &asker{url: url, client: http.Client{Timeout: testutil.Patience,
		Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}}
	t.Cleanup(a.client.CloseIdleConnections)
	return a
}

// ask makes a request.
func (a *asker) ask() {
	began := time.Now()
	req, err := http.NewRequest("GET", a.url, nil)
	if err == nil {
		req.Header.Set("Number", strconv.FormatInt(a.last.Add(1), 10))
		var resp *http.Response
		if resp, err = a.client.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode == 200 {
				return
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed++; began.After(a.failAt) {
		a.failAt = began
	}
}

// failures returns how many requests failed, and when the last one of them began.
func (a *asker) failures() (n int, last time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed, a.failAt
}

// atOnce makes n requests from some clients, and returns how many failed.
func (a *asker) atOnce(n int) int {
	const clients = 8
	before, _ := a.failures()
	var wait sync.WaitGroup
	for range clients {
		wait.Go(func() {
			for range n / clients {
				a.ask()
			}
		})
	}
	wait.Wait()
	after, _ := a.failures()
	return after - before
}

// An origin answers 503 to everything for a while. By the rules of the budget it is asked again for a fifth of the good
// answers before, and three times, and no more, however long that lasts. Then all is well at once, and a failure is
// retried.
func TestRun_retryStorm(t *testing.T) {
	s, at := startStormy(t, 1)
	a := newAsker(t, inFrontOf(t, `retry = { on = ["503"], attempts = 2 }`, at...))
	const before, during, after = 400, 800, 200
	if n := a.atOnce(before); n > 0 || s.asked() != before {
		t.Fatalf("%d of %d failed, and the origin got %d", n, before, s.asked())
	}
	s.down.Store(true)
	failed := a.atOnce(during)
	s.down.Store(false)
	all, first := s.tally(before, s.asked(), 0)
	t.Logf("%d requests, %d of them failed; the origin got %d", first, failed, all)
	if failed != during || first != during {
		t.Errorf("%d requests failed and the origin got %d, want %d", failed, first, during)
	}
	if more := all - first; more < 3 || more > before/5+3 {
		t.Errorf("%d retries after %d good answers, want 3 to %d", more, before, before/5+3)
	}
	if n := a.atOnce(after); n > 0 || s.asked() != before+all+after {
		t.Errorf("after it %d of %d failed, and the origin got %d", n, after, s.asked()-before-all)
	}
}

// The same for ten seconds at a rate, whatever comes back: the load on the origins is at most 1.05 times that without
// retries, 1.25 times in the first second, and a second later all is well. EDGE_SOAK=1 asks for it.
func TestRun_retryStormAtARate(t *testing.T) {
	slow(t)
	for _, c := range []struct {
		rate, origins int
		keys          string
	}{
		{1000, 1, ""}, {1000, 3, ""}, {1000, 3, "outlier = { errors = 5 }\nload_balancing = \"round_robin\"\n"},
		{100, 1, ""}, {20, 1, ""},
	} {
		t.Run(fmt.Sprintf("%d a second, %d backends, %s", c.rate, c.origins, c.keys), func(t *testing.T) {
			s, at := startStormy(t, c.origins)
			a := newAsker(t, inFrontOf(t, c.keys+`retry = { on = ["503"], attempts = 2 }`, at...))
			begins, ends, lasts := 2*time.Second, 12*time.Second, 15*time.Second
			from, to := 0, 0
			var ended time.Time
			a.pace(c.rate, lasts, func(now time.Duration) {
				switch down := s.down.Load(); {
				case !down && now >= begins && now < ends:
					from = s.asked()
					s.down.Store(true)
				case down && now >= ends:
					to = s.asked()
					s.down.Store(false)
					ended = time.Now()
				}
			})
			all, first := s.tally(from, to, 0)
			allFirst, firstFirst := s.tally(from, to, c.rate)
			ratio, begin := float64(all)/float64(first), float64(allFirst)/float64(firstFirst)
			failed, lastAt := a.failures()
			last := max(lastAt.Sub(ended), 0)
			t.Logf("%d requests: %.3f of the load, %.3f in the first second; %d failed, the last %v after it", first,
				ratio, begin, failed, last)
			most := 1.25
			if c.rate < 100 {
				most += 3 / float64(c.rate) // few requests to be exact about
			}
			if ratio > 1.05 || begin > most {
				t.Errorf("%.3f of the load, %.3f in the first second", ratio, begin)
			}
			if last > time.Second {
				t.Errorf("a request failed that began %v after the origin was well again", last)
			}
			if all == first {
				t.Error("there was no retry")
			}
		})
	}
}

// pace makes so many requests a second for a time, each when its time has come, also while others wait. It calls look
// before each with the time that has passed.
func (a *asker) pace(rate int, lasts time.Duration, look func(now time.Duration)) {
	var wait sync.WaitGroup
	defer wait.Wait()
	began := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for made := 0; ; <-tick.C {
		now := time.Since(began)
		look(now)
		for ; made < int(now.Seconds()*float64(rate)); made++ {
			wait.Go(a.ask)
		}
		if now >= lasts {
			return
		}
	}
}
