package proxy_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/proxy"
)

// begun is a copy of the begin of a body.
var begun = proxy.NewLocal[[]byte]()

func sameBegin(t testing.TB, x *proxy.Exchange) {
	if begin, _ := x.Body(); !bytes.Equal(begin, *begun.Of(x)) && *begun.Of(x) != nil {
		t.Fatalf("the begin of a body was %.60q, and is %.60q at the end", *begun.Of(x), begin)
	}
}

// Bodies that are received whole before they are sent on, whatever else the exchange does meanwhile: it parks, bodies
// are filtered, clients leave, origins fail, the limit is exceeded, the time is over. Routes that read the begin of a
// body have the same one to the end.
func TestSim_bufferedRequests(t *testing.T) {
	sim.Run(t, seeds(400), func(t testing.TB, w *sim.World) {
		rng := w.Rand()
		parks := parkingIn(w)
		parking := func(x *proxy.Exchange) proxy.Verdict {
			x.Path()
			return parks(x)
		}
		filters := []*proxy.Filter{
			{Name: "parking", BeforeRoute: parking, Request: parking, Response: parking},
			{Name: "request body", RequestBody: holding(heldUp, rng.IntN(2) == 0)},
		}
		reading := 0
		if rng.IntN(2) == 0 {
			reading = 1 << rng.IntN(18)
			filters = append([]*proxy.Filter{{Name: "begin", Request: func(x *proxy.Exchange) proxy.Verdict {
				begin, whole := x.Body()
				if len(begin) > reading || len(begin) < reading && !whole {
					t.Fatalf("%d bytes of %d are here, whole: %v", len(begin), reading, whole)
				}
				*begun.Of(x) = bytes.Clone(begin)
				return proxy.Next
			}, Log: func(x *proxy.Exchange, _ *observe.Record) { sameBegin(t, x) }}}, filters...)
		}
		tuned := tuning{route: proxy.Route{BufferRequest: rng.IntN(2) << 20, ReadBody: reading}}
		s := (*simulation)(nil)
		switch w.Seed() % 4 {
		case 0: // nothing goes wrong
			s = newTunedSimulation(t, w, 1+int(w.Seed()%2), tuned, filters[:rng.IntN(len(filters)+1)]...)
			s.plan(4, 5, goodOrigins)
		case 1: // all that can
			w.Faults = sim.Faults{ConnectRefused: 0.1, ShortWrite: 0.2, Reset: 0.002}
			tuned.route.BufferRequest = 1 << 8 << rng.IntN(10)
			tuned.route.Timeout = time.Duration(rng.IntN(50)) * time.Millisecond
			s = newTunedSimulation(t, w, 1+int(w.Seed()%2), tuned, filters[:rng.IntN(len(filters)+1)]...)
			s.faults = true
			s.plan(4, 5, badOrigins)
		default: // clients leave
			s = newTunedSimulation(t, w, 1+int(w.Seed()%2), tuned, filters[:rng.IntN(len(filters)+1)]...)
			s.faults = true
			s.planAtOnce(4, 4, goodOrigins, func(c *simClient) {
				w.After(time.Duration(rng.IntN(20_000))*time.Microsecond, func() {
					if !c.over {
						s.hangUp(c)
					}
				})
			})
		}
		s.run()
		if w.Seed()%4 == 0 && s.failed > 0 {
			t.Fatalf("%d requests failed", s.failed)
		}
	})
}
