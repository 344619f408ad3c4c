package health_test

import (
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/sim"
	"github.com/edge-proxy/edge/upstream/health"
)

// A member that its agent keeps out for one reason after the other serves at no moment.
func TestWatch_agentChangesItsMind(t *testing.T) {
	sim.Run(t, 10, func(t testing.TB, w *sim.World) {
		o := checked()
		o.Kind, o.Send, o.Rules.Start = health.Agent, "how are you?\n", health.StartUp
		x := newWorld(t, w, o, 1)
		m, line := x.set.Members()[0], "maint"
		x.origins[0].Handle = func(p *sim.Peer) {
			if len(p.Take()) > 0 {
				p.SendString(line + "\n")
			}
		}
		serves := 0
		defer x.set.OnChange(func(c *backend.Change) { serves += c.Open })()
		x.run("maint", func() bool { return m.Reasons() == backend.Agent })
		for _, next := range []struct {
			line   string
			reason backend.Reason
		}{{"drain", backend.AgentDrain}, {"maint", backend.Agent}, {"ready down", backend.Agent},
			{"up drain", backend.AgentDrain}, {"down", backend.AgentDrain | backend.Agent}} {
			line = next.line
			x.run(line, func() bool { return m.Reasons() == next.reason })
		}
		if serves > 0 {
			t.Errorf("it serves %d times on the way", serves)
		}
	})
}
