package server

import (
	"os"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/health"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/internal/tally"
	"github.com/edge-proxy/edge/server/metrics"
	"github.com/edge-proxy/edge/upstream"
)

// The words of the key "type" and "start" of a check.
var (
	checkKinds  = map[string]health.Kind{"http": health.HTTP, "tcp": health.TCP, "grpc": health.GRPC}
	checkStarts = map[string]health.Start{
		"up": health.StartUp, "down": health.StartDown, "checked": health.StartChecked,
	}
)

// check has the backends of u checked with the commit of b, over connections as o describes them.
func (b *build) check(u *config.Upstream, o *upstream.Options, protocol upstream.Protocol) {
	c := u.HealthCheck
	if c == nil {
		return
	}
	if asked := b.checks[u.Name]; asked != nil {
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
		Name: u.Name, Instance: b.server.instance, Timeout: c.Timeout, Kind: checkKinds[c.Type], Port: c.Port,
		Passive: c.PassiveCounts,
		Rules: health.Rules{
			Interval: c.Interval, Fast: c.FastInterval, Down: c.DownInterval, Rise: c.Rise, Fall: c.Fall,
			Start: checkStarts[c.Start],
		},
		Protocol: protocol, TLS: o.TLS, Handshaker: o.Handshaker,
		Method: c.Method, Path: c.Path, Host: c.Host, Body: c.Body,
		Send: c.Send, Expect: c.Expect, Service: c.Service,
	}
	for _, h := range c.Headers {
		check.Fields = append(check.Fields, health.Field{Name: h.Name, Value: h.Value})
	}
	for _, s := range c.ExpectedStatus {
		check.Statuses = append(check.Statuses, health.Statuses{From: s.From, To: s.To})
	}
	b.checks[u.Name] = check
}

// update makes list the backends, and has them checked as o says; nil: not at all.
func (s *members) update(m *health.Monitor, list []backend.Spec, o *health.Options) {
	var closed backend.Reason
	if o != nil && o.Rules.Start != health.StartUp {
		closed = backend.Health
	}
	s.set.JoinWith(closed)
	if o == nil && s.watch != nil {
		past := s.watch.Stats()
		tally.AddCounters(&s.counted, &past)
		s.watch.Stop()
		s.watch = nil
	}
	s.set.Update(list)
	switch {
	case o == nil:
	case s.watch == nil:
		s.watch = m.Watch(s.set, *o)
	default:
		s.watch.Change(*o)
	}
}

// addServices adds what the checks and ejections of services have counted to sum.
func addServices(sum *metrics.Sample, services map[string]*members) {
	for name, s := range services {
		s.addEjections(&sum.Service(name).Ejections)
		sum.AddMembers(name, s.set.Stats())
		sum.AddChecks(name, s.counted)
		if s.watch != nil {
			sum.AddChecks(name, s.watch.Stats())
		}
	}
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
