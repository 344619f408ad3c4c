package tracing

import (
	"embed"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
)

// The codes of warnings.
const (
	codeWideName = "wide-span-name"
	codeInClear  = "secret-in-clear"
)

const (
	tracingPath   = "tracing"
	listenersPath = "listeners.tracing"
	routesPath    = "routes.tracing"
)

// Tracing is the section [tracing].
// Immutable after the configuration was read.
type Tracing struct {
	schema.Given
	on bool // the file has it

	Collector
	Acceptance
	Choice
	// Name of the service in traces. Default: `OTEL_SERVICE_NAME` of the environment, or `edge`.
	Service string `edge:"service" example:"front" json:",omitzero"`
	// Attributes of the process beside `service.name`, `service.version`, `service.instance.id` and `host.name`.
	// Attributes in `OTEL_RESOURCE_ATTRIBUTES` of the environment come after them.
	// Example: { "deployment.environment.name" = "production" }
	Resource map[string]string `edge:"resource" json:",omitempty"`
}

// Acceptance says whose word about being recorded counts.
type Acceptance struct {
	// Clients that decide by the flag of their `traceparent` whether their requests are recorded: peers of
	// `trusted_proxies`, all clients, or none. Requests of other clients stay in their traces, and are recorded as
	// `sample` says.
	Accept string `edge:"accept" enum:"trusted all none" default:"trusted" example:"all"`
}

// Choice says which requests are recorded, and what their spans have.
type Choice struct {
	// Share of the traces that is recorded. Services with one share agree about each trace, and so do programs that
	// decide by `TraceIDRatioBased` of OpenTelemetry.
	Sample *float64 `edge:"sample" default:"0.01" example:"0.1"`
	// Traces to record of this share at most, by the whole process.
	Most plugin.Rate `edge:"most" default:"200/s" example:"1000/s"`
	// Requests to record in any case: statuses (`503`, `5xx`), times (`>1s`), `retried`, `error` (edge or a backend has
	// failed, or the client has left), conditions of [the language](DSL.md). It is decided when the request is over, so
	// that spans of backends are missing in its trace.
	// Example: ["5xx", ">1s", "retried"]
	Always Always `edge:"always" default:"[\"5xx\"]" json:",omitzero"`
	// Name of the span of a request, a template of [the language](DSL.md). Default: the method and the path of the
	// route.
	// Example: "{method} {route}"
	Name *lang.Template `edge:"name" json:",omitempty"`
	// Attributes of the span of a request, by name: templates of [the language](DSL.md), 24 at most.
	// Example: { "tenant.id" = "{header.x-tenant}" }
	Attributes []value.Text `edge:"attributes" json:",omitempty"`
	// Fields of requests that spans have, as `http.request.header.NAME`, 24 at most.
	// Example: ["accept-language"]
	Asked []string `edge:"request_fields" kind:"field_names" json:",omitempty"`
	// Fields of answers that spans have, as `http.response.header.NAME`, 24 at most.
	// Example: ["content-type"]
	Answered []string `edge:"answer_fields" kind:"field_names" json:",omitempty"`
}

// Always says which requests are recorded in any case.
type Always struct {
	Status []config.StatusRange
	When   []*lang.Condition
}

// Listener is what holds for the requests of a listener.
type Listener struct {
	Acceptance
	Choice
}

// listenerEntry is the key tracing of a listener.
type listenerEntry struct {
	schema.Given

	// Record requests of the listener; with `false` no request is recorded, and fields of traces are passed on as they
	// came.
	Enabled bool `edge:"enabled" default:"true" example:"false"`
	Listener
}

// routeEntry is the key tracing of a route.
type routeEntry struct {
	schema.Given

	// Record requests of the route; with `false` none of them is.
	Enabled bool `edge:"enabled" default:"true" example:"false"`
	Choice
}

//go:embed tracing.go
var source embed.FS

// Of returns the section [tracing] of c; nil: it has none, and nothing is recorded. c may be nil.
func Of(c *config.Config) *Tracing {
	if c != nil {
		if t := schema.Only[*Tracing](c.Features); t != nil && t.on {
			return t
		}
	}
	return nil
}

// OfListener returns what holds for the requests of l, a listener of c; nil: they are no part of a trace.
func OfListener(c *config.Config, l *config.Listener) *Listener {
	t := Of(c)
	if t == nil {
		return nil
	}
	if own := schema.Only[*listenerEntry](l.Features); own != nil {
		if own.Enabled {
			return &own.Listener
		}
		return nil
	}
	return &Listener{t.Acceptance, t.Choice}
}

// OfRoute returns what r, a route of c, says in place of its listeners. With on and without a choice it says nothing;
// without on nothing is recorded.
func OfRoute(c *config.Config, r *config.Route) (own *Choice, on bool) {
	e := schema.Only[*routeEntry](r.Features)
	switch {
	case e == nil || Of(c) == nil:
		return nil, true
	case e.Enabled:
		return &e.Choice, true
	}
	return nil, false
}

// SameWay reports whether spans of t go where spans of other go, as parts of the same process.
func (t *Tracing) SameWay(other *Tracing) bool {
	return schema.Equal(t.Collector, other.Collector) && t.Service == other.Service &&
		schema.Equal(t.Resource, other.Resource)
}
