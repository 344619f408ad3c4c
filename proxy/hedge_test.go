package proxy_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// A request that goes to the failover before its upstream has made an attempt is not hedged there: the failover has a
// policy of its own.
func TestHedge_notAtTheFailover(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-r.Context().Done():
		}
		wellAnswering(w, r)
	}
	one, two := newFaulty(t, "h1", slow), newFaulty(t, "h1", slow)
	s := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
		down := backend.Of("127.0.0.1:1")
		down.Members()[0].Down(backend.Operator)
		policy := on(t, "connect")
		policy.Hedge = retry.NewHedge(1, time.Millisecond)
		there := upstream.New(e, upstream.Options{Backends: backend.Of(one.address, two.address)})
		o := &proxy.ToOptions{Retry: policy, Failover: proxy.To(there, nil)}
		return []proxy.Route{{Name: "all", To: proxy.To(upstream.New(e, upstream.Options{Backends: down}), o)}}
	})
	if resp, body := fetch(t, "GET", "http://"+s.addr()+"/", ""); resp.StatusCode != 200 || body != "well " {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	if n := one.asked.Load() + two.asked.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}
