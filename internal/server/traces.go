package server

import (
	"fmt"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/tracing"
	"github.com/edge-proxy/edge/internal/exchange/trace"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/observe/otlp"
	"github.com/edge-proxy/edge/internal/server/logsink"
	"github.com/edge-proxy/edge/proxy"
)

// traces record requests of listeners and routes. Their one output is among the outputs of access logs,
// which keep it open over reloads and close it at the end.
type traces struct {
	nothing
	*shared
	logs     *accessLogs
	samplers map[sampling]*trace.Sampler // of the configuration that was prepared last
}

// sampling is a choice of traces. Listeners and routes with the same one have one bound together.
type sampling struct{ share, most float64 }

// tracesKey stands for the output of traces in accessLogs.now: no outputKey is like it.
const tracesKey = "///traces"

// prepare makes the output, or keeps the present one where it goes to the same place.
func (p *traces) prepare() error {
	p.samplers = make(map[sampling]*trace.Sampler)
	t := tracing.Of(p.reload.config)
	if t == nil {
		return nil
	}
	if old := p.logs.now[tracesKey]; old != nil && old.traces.SameWay(t) {
		p.logs.next[tracesKey] = old
		return nil
	}
	e, err := logsink.NewExporter(&t.Collector, otlp.Traces, t.Service, t.Resource)
	if err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	return p.logs.open(tracesKey, &sink{path: "traces", writer: e, traces: t}, outputOf("traces", e))
}

// by returns the Tracing of l; nil: its requests are no parts of traces.
func (p *traces) by(l *config.Listener) *proxy.Tracing {
	of := tracing.OfListener(p.reload.config, l)
	if of == nil {
		return nil
	}
	t := p.as(&of.Choice)
	t.Accept = constant[proxy.Acceptance](&of.Acceptance, &of.Accept)
	return t
}

// of returns the Tracing of r, in place of the one of listeners; nil: that holds.
func (p *traces) of(r *config.Route) *proxy.Tracing {
	switch own, on := tracing.OfRoute(p.reload.config, r); {
	case !on:
		return &proxy.Tracing{}
	case own != nil:
		return p.as(own)
	}
	return nil
}

// as returns what c says, as a proxy has it.
func (p *traces) as(c *tracing.Choice) *proxy.Tracing {
	t := &proxy.Tracing{Always: c.Always.When, Name: c.Name, FieldsAsked: c.Asked, FieldsAnswer: c.Answered}
	out := p.logs.next[tracesKey]
	if out == nil {
		return t // prepare has reported why
	}
	t.To = out.of(observe.FormatJSON, p.Reactors())
	as := sampling{*c.Sample, float64(c.Most.PerDay()) / (24 * 60 * 60)}
	if p.samplers[as] == nil {
		p.samplers[as] = trace.NewSampler(as.share, as.most, p.Reactors())
	}
	t.Sampler = p.samplers[as]
	for _, s := range c.Always.Status {
		t.Status = append(t.Status, proxy.StatusRange{From: uint16(s.From), To: uint16(s.To)})
	}
	for _, a := range c.Attributes {
		t.Attributes = append(t.Attributes, proxy.Attribute{Name: a.Name, Value: a.Value})
	}
	return t
}
