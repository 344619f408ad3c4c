package proxy_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/forward/ejection"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// An ejected member serves again once no other one does: nobody would end its ejection, since that takes requests.
func TestOutliers_lastResort(t *testing.T) {
	testutil.OnlyPlain(t)
	t.Parallel()
	for name, gone := range map[string]func(set *backend.Set, good, bad *faulty){
		"down": func(set *backend.Set, _, _ *faulty) { set.Members()[1].Down(backend.Operator) },
		"removed": func(set *backend.Set, _, bad *faulty) {
			set.Update([]backend.Spec{{Address: bad.address, Weight: 1}})
		},
		"unreachable": func(set *backend.Set, _, _ *faulty) {
			other := set.Members()[1]
			other.PassOver((*other.Addrs())[0])
		},
		"refusing": func(_ *backend.Set, good, _ *faulty) { good.close() },
	} {
		t.Run(name, func(t *testing.T) {
			var well atomic.Bool
			bad := newFaulty(t, "h1", func(w http.ResponseWriter, r *http.Request) {
				if !well.Load() {
					w.WriteHeader(503)
					return
				}
				wellAnswering(w, r)
			})
			good := newFaulty(t, "h1", wellAnswering)
			set := backend.Of(bad.address, good.address)
			r := ledBy(t, upstream.Options{Backends: set}, &proxy.ToOptions{
				Method:   balance.RoundRobin,
				Outliers: backend.NewOutliers(set, 1, ejection.Options{Errors: 1, Eject: time.Hour}),
			})
			first := set.Members()[0]
			testutil.Eventually(t, testutil.Patience, func() bool {
				fetch(t, "GET", r.url+"/", "")
				return first.Reasons() == backend.Ejected
			})
			well.Store(true)
			asked := bad.asked.Load()
			gone(set, good, bad)
			for range 30 {
				resp, got := fetch(t, "GET", r.url+"/", "")
				if resp.StatusCode != 200 || !strings.HasPrefix(got, "well") {
					t.Fatalf("%d %q", resp.StatusCode, got)
				}
			}
			if n := bad.asked.Load() - asked; n < 25 {
				t.Errorf("it was asked %d times", n)
			}
		})
	}
}

// A member that was ejected gets one request at first, no other one while it is under way, and then twice as many at a
// time after each that went well.
func TestOutliers_trial(t *testing.T) {
	t.Parallel()
	var well atomic.Bool
	var underWay atomic.Int32
	gate := make(chan struct{})
	t.Cleanup(func() { close(gate) })
	bad := newFaulty(t, "h1", func(w http.ResponseWriter, r *http.Request) {
		if !well.Load() {
			panic(http.ErrAbortHandler) // faults in a row eject at once
		}
		underWay.Add(1)
		<-gate
		underWay.Add(-1)
		wellAnswering(w, r)
	})
	good := newFaulty(t, "h1", wellAnswering)
	set := backend.Of(bad.address, good.address)
	outliers := backend.NewOutliers(set, 1, ejection.Options{Errors: 1, Eject: time.Millisecond})
	to := &proxy.ToOptions{Method: balance.RoundRobin, Outliers: outliers}
	r := ledBy(t, upstream.Options{Backends: set}, to)
	first := set.Members()[0]
	testutil.Eventually(t, testutil.Patience, func() bool {
		fetch(t, "GET", r.url+"/", "")
		return first.Reasons() == backend.Ejected
	})
	well.Store(true)
	testutil.Eventually(t, testutil.Patience, func() bool {
		fetch(t, "GET", r.url+"/", "")
		return outliers.Trying()
	})
	var answered atomic.Int32
	send := func(n int) {
		for range n {
			go func() {
				fetch(t, "GET", r.url+"/", "")
				answered.Add(1)
			}()
		}
	}
	// By turns half of the requests would go there. The two that go well double what it may have twice.
	for _, c := range []struct{ sent, there int32 }{{10, 1}, {10, 2}, {30, 8}, {60, 30}} {
		answered.Store(0)
		send(int(c.sent))
		testutil.Eventually(t, testutil.Patience, func() bool {
			return answered.Load() == c.sent-c.there && underWay.Load() == c.there
		}, "all but %d of %d requests are answered", c.there, c.sent)
		for range c.there {
			gate <- struct{}{}
		}
		testutil.Eventually(t, testutil.Patience, func() bool { return answered.Load() == c.sent })
	}
	if outliers.Trying() || outliers.Ejections() != (ejection.Counts{ejection.Faults: 1}) {
		t.Errorf("ejections: %v, on trial: %v", outliers.Ejections(), outliers.Trying())
	}
}
