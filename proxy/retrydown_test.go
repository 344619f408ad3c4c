package proxy_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// What is under way at a member that goes down is answered by the others, however much it is: the budget does not count
// it. It does while the member drains, or while most of them are down.
func TestRetry_whatWasUnderWayAtOneThatIsDown(t *testing.T) {
	const requests, reserve = 24, 3
	for name, c := range map[string]struct {
		reasons [3]backend.Reason
		failed  int32
	}{
		"ejected":       {[3]backend.Reason{backend.Ejected}, 0},
		"its checks":    {[3]backend.Reason{backend.Health}, 0},
		"up":            {[3]backend.Reason{}, requests/3 - reserve},
		"drains":        {[3]backend.Reason{backend.Draining}, requests/3 - reserve},
		"most are down": {[3]backend.Reason{backend.Ejected, backend.Operator}, requests/3 - reserve},
	} {
		t.Run(name, func(t *testing.T) {
			gate := make(chan struct{})
			var underWay atomic.Int32
			bad := newFaulty(t, "h1", func(http.ResponseWriter, *http.Request) {
				underWay.Add(1)
				<-gate
				panic(http.ErrAbortHandler)
			})
			good, other := newFaulty(t, "h1", wellAnswering), newFaulty(t, "h1", wellAnswering)
			set := backend.Of(bad.address, other.address, good.address)
			policy := on(t, "reset")
			policy.Budget = retry.NewBudget(1, 0)
			to := &proxy.ToOptions{Method: balance.RoundRobin, Retry: policy}
			r := ledBy(t, upstream.Options{Backends: set}, to)
			var wait sync.WaitGroup
			var failed atomic.Int32
			for range requests {
				wait.Go(func() {
					if resp, _ := fetch(t, "GET", r.url+"/", ""); resp.StatusCode != 200 {
						failed.Add(1)
					}
				})
			}
			testutil.Eventually(t, testutil.Patience, func() bool {
				return underWay.Load() == requests/3 && good.asked.Load()+other.asked.Load() == requests-requests/3
			})
			for i, m := range set.Members() {
				if c.reasons[i] != 0 {
					m.Down(c.reasons[i])
				}
			}
			close(gate)
			wait.Wait()
			if n := failed.Load(); n != c.failed {
				t.Errorf("%d of %d failed, want %d", n, requests/3, c.failed)
			}
		})
	}
}
