package server

import (
	"os"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/internal/tally"
	"github.com/edge-proxy/edge/server/metrics"
	"github.com/edge-proxy/edge/upstream"
	"github.com/edge-proxy/edge/upstream/health"
)

// checking is how the backends of an upstream are checked; nil: they are not.
type checking struct {
	check, agent *health.Options
}

// check has the backends of u checked with the reload, over connections as o describes them.
func (s *members) check(u *config.Upstream, o *upstream.Options, protocol upstream.Protocol, instance uint64) {
	c := u.HealthCheck
	if c == nil {
		return
	}
	if c.Agent.Port > 0 {
		s.asked.agent = &health.Options{
			Name: u.Name, Instance: instance, Timeout: min(c.Timeout, c.Agent.Interval), Kind: health.Agent,
			Port: c.Agent.Port, Send: c.Agent.Send,
			Rules: health.Rules{
				Interval: c.Agent.Interval, Fast: c.Agent.Interval, Down: c.Agent.Interval, Rise: 1, Fall: 1,
			},
		}
	}
	if c.Type == "agent" {
		return
	}
	if asked := s.asked.check; asked != nil {
		switch { // routes may use it in several versions
		case asked.Protocol == protocol:
		case asked.Protocol == upstream.H1 || protocol == upstream.H1:
			asked.Protocol = upstream.H1
		default:
			asked.Protocol = upstream.Auto
		}
		return
	}
	check := &health.Options{
		Name: u.Name, Instance: instance, Timeout: c.Timeout, Kind: constant[health.Kind](c, &c.Type),
		Port: c.Port, Passive: c.PassiveCounts,
		Rules: health.Rules{
			Interval: c.Interval, Fast: c.FastInterval, Down: c.DownInterval, Rise: c.Rise, Fall: c.Fall,
			Start: constant[health.Start](c, &c.Start),
		},
		Protocol: protocol, TLS: o.TLS, Handshaker: o.Handshaker,
		Method: c.Method, Path: c.Path, Host: c.Host, Body: c.Body,
		Send: c.Send, Expect: c.Expect, Service: c.Service,
	}
	for _, h := range c.Headers {
		check.Fields = append(check.Fields, health.Field{Name: h.Name, Value: h.Value})
	}
	for _, st := range c.ExpectedStatus {
		check.Statuses = append(check.Statuses, health.Statuses{From: st.From, To: st.To})
	}
	s.asked.check = check
}

// update makes list the backends, and has them checked as s.asked says.
func (s *members) update(m *health.Monitor, list []backend.Spec) {
	var closed backend.Reason
	c := s.asked
	if o := c.check; o != nil && o.Rules.Start != health.StartUp {
		closed = backend.Health
	}
	s.set.JoinWith(closed)
	s.checks.end(c.check)
	s.agents.end(c.agent)
	s.set.Update(list)
	s.checks.begin(m, s.set, c.check)
	s.agents.begin(m, s.set, c.agent)
}

// watched is a Watch over the backends of an upstream that a reload may end.
// Guarded by shared.mu.
type watched struct {
	watch *health.Watch // nil: there is none
	past  health.Stats  // what those that have ended have counted
}

// end ends the Watch where there is to be none.
func (w *watched) end(o *health.Options) {
	if o == nil && w.watch != nil {
		past := w.watch.Stats()
		tally.AddCounters(&w.past, &past)
		w.watch.Stop()
		w.watch = nil
	}
}

// begin begins one as o says, or changes the one that there is.
func (w *watched) begin(m *health.Monitor, set *backend.Set, o *health.Options) {
	switch {
	case o == nil:
	case w.watch == nil:
		w.watch = m.Watch(set, *o)
	default:
		w.watch.Change(*o)
	}
}

// stop ends the Watch for good.
func (w *watched) stop() {
	if w.watch != nil {
		w.watch.Stop()
	}
}

// stats returns what was counted so far.
func (w *watched) stats() health.Stats {
	sum := w.past
	if w.watch != nil {
		now := w.watch.Stats()
		tally.Add(&sum, &now)
	}
	return sum
}

// count adds what the checks and ejections have counted to a sample, under the name of the upstream.
func (s *members) count(name string, sum *metrics.Sample) {
	s.addEjections(&sum.Service(name).Ejections)
	sum.AddMembers(name, s.set.Stats())
	sum.AddChecks(name, s.checks.stats())
	sum.AddAgents(name, s.agents.stats())
}

// instanceOf returns the number by which the checks of several instances are spread: that of the host, so that a
// restart changes nothing.
func instanceOf() uint64 {
	name, _ := os.Hostname() // without a name all instances are one
	h := uint64(1)
	for i := range len(name) {
		h = h*31 + uint64(name[i])
	}
	return h
}
