package admin

import (
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/edge-proxy/edge/internal/observe"
)

// counters count the requests of all surfaces. The labels are few: nine methods and "other", and the codes that this
// package and its endpoints answer with.
// Safe for any goroutine. The zero value is ready.
type counters struct {
	mu       sync.Mutex
	requests map[answered]uint64 // guarded by mu
}

// answered is a kind of request that was answered.
type answered struct {
	method string
	status int
}

// methods are those that have a label of their own.
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}

func (c *counters) count(method string, status int) {
	if !slices.Contains(methods, method) {
		method = "other"
	}
	if status == 0 {
		status = http.StatusOK // net/http sends 200 where the handler wrote nothing
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests == nil {
		c.requests = make(map[answered]uint64)
	}
	c.requests[answered{method, status}]++
}

// Register lists the metrics of s in r.
func (s *Surfaces) Register(r *observe.Registry) {
	r.Counters("edge_admin_requests_total", "Requests that the addresses of [admin] and [metrics] have answered.",
		func(yield func(value float64, labels ...observe.Label)) {
			s.counters.mu.Lock()
			defer s.counters.mu.Unlock()
			for a, n := range s.counters.requests {
				yield(float64(n), observe.Label{Name: "method", Value: a.method},
					observe.Label{Name: "code", Value: strconv.Itoa(a.status)})
			}
		})
	r.Gauge("edge_admin_connections", "Open connections to the addresses of [admin] and [metrics].",
		func() float64 { return float64(s.connections.Load()) })
}
