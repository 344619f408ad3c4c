package proxy_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/ejection"
	"github.com/edge-proxy/edge/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/upstream"
)

// An ejected member serves again once no other one does: nobody would end its ejection, since that takes requests.
func TestOutliers_lastResort(t *testing.T) {
	testutil.OnlyPlain(t)
	for name, gone := range map[string]func(set *backend.Set, other *backend.Member, well string){
		"down": func(_ *backend.Set, other *backend.Member, _ string) { other.Down(backend.Operator) },
		"removed": func(set *backend.Set, _ *backend.Member, left string) {
			set.Update([]backend.Spec{{Address: left, Weight: 1}})
		},
		"unreachable": func(_ *backend.Set, other *backend.Member, _ string) { other.PassOver((*other.Addrs())[0]) },
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
			r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
				return []proxy.Route{{Name: "all", To: proxy.To(upstream.New(e, upstream.Options{Backends: set}),
					&proxy.ToOptions{
						Method:   balance.RoundRobin,
						Outliers: backend.NewOutliers("all", set, 1, ejection.Options{Errors: 1, Eject: time.Hour}),
					})}}
			})
			first, second := set.Members()[0], set.Members()[1]
			testutil.Eventually(t, testutil.Patience, func() bool {
				fetch(t, "GET", r.url+"/", "")
				return first.Reasons() == backend.Ejected
			})
			well.Store(true)
			asked := bad.asked.Load()
			gone(set, second, bad.address)
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
