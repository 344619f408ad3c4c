package proxy_test

import (
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/sim"
)

// planAtOnce is plan for clients that send all of their requests at once; then is called when one has.
func (s *simulation) planAtOnce(clients, requests int, origins []string, then func(c *simClient)) {
	s.plan(clients, requests, origins)
	for _, c := range s.clients {
		all := c.unsent
		c.unsent = nil // nothing is left for send
		s.w.After(25*time.Millisecond, func() {
			if c.over {
				return
			}
			for _, x := range all {
				c.peer.Send(x.request())
			}
			then(c)
		})
	}
}

// Clients that send FIN after their requests get all of their answers: these begin soon.
func TestSim_halfClosersGetTheirAnswers(t *testing.T) {
	sim.Run(t, seeds(200), func(t testing.TB, w *sim.World) {
		s := newSimulation(t, w, 1+int(w.Seed()%2))
		s.planAtOnce(4, 4, goodOrigins, func(c *simClient) { c.peer.CloseWrite() })
		s.run()
		if s.failed > 0 {
			t.Fatalf("%d requests failed", s.failed)
		}
	})
}

// Clients leave at any moment, by FIN or by RST, with requests that wait for earlier ones: nothing is left of them,
// also where the origin never answers.
func TestSim_leavers(t *testing.T) {
	origins := append([]string{"silent", "silent", "early"}, goodOrigins...)
	sim.Run(t, seeds(400), func(t testing.TB, w *sim.World) {
		s := newSimulation(t, w, 1+int(w.Seed()%2))
		s.faults = true
		s.planAtOnce(4, 4, origins, func(c *simClient) {
			w.After(time.Duration(w.Rand().IntN(40_000))*time.Microsecond, func() {
				if c.over {
					return
				}
				if w.Rand().IntN(2) == 0 {
					c.peer.CloseWrite() // and leaves when it has waited for a while
					w.After(1500*time.Millisecond, func() {
						if !c.over {
							s.hangUp(c)
						}
					})
					return
				}
				s.hangUp(c)
			})
		})
		s.run()
	})
}
