package health_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/upstream/health"
)

// A service is checked. It fails, and is well again.
func Example() {
	var ill atomic.Bool
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if ill.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer service.Close()
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	e.Start()
	defer e.Stop()

	set := backend.Of(service.Listener.Addr().String())
	changed := make(chan string, 1)
	set.OnChange(func(c *backend.Change) {
		changed <- fmt.Sprintf("%v: %v, for %s; %d of %d serve", c.Reason, c.On, c.Why.Word, c.Open, c.Members)
	})
	w := health.NewMonitor(e).Watch(set, health.Options{
		Name: "service", Path: "/healthz", Timeout: 10 * time.Second, Rules: health.Rules{
			Interval: 20 * time.Millisecond, Fast: 5 * time.Millisecond, Down: 20 * time.Millisecond, Rise: 2, Fall: 3,
		},
	})
	defer w.Stop()

	ill.Store(true)
	fmt.Println(<-changed)
	ill.Store(false)
	fmt.Println(<-changed)
	// Output:
	// checks: true, for status; 0 of 1 serve
	// checks: false, for status; 1 of 1 serve
}
