package config

import (
	"embed"
	"fmt"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
)

// Metrics is the section [metrics]: what is counted of requests, and how much room that may take. Package
// internal/server/metrics counts. Another package may add keys to the section by a schema.Section that Extends it.
// Immutable after the configuration was read.
type Metrics struct {
	schema.Given

	// Form of statuses in `edge_requests_total`: by class, `2xx`, or exact, `200`. Statuses that are not registered
	// with IANA are `other`.
	Codes string `edge:"codes" enum:"class exact" default:"class" restart:"true"`
	// Number of hosts with counters of their own, `edge_host_requests_total`, beside the hosts that routes name: the
	// hosts that are asked for most. All other hosts are counted as `other`. 0: no hosts are counted.
	Hosts int `edge:"hosts" default:"0" min:"0" max:"10000" example:"200" restart:"true"`
	// Maximum number of series for the requests of routes and upstreams, and again for listeners and for the
	// connections, checks and limits of upstreams. Beyond it, requests are counted for the route, listener or upstream
	// `other`. Above a 25th of it, routes have no durations: upstreams keep theirs.
	SeriesMax int `edge:"series_max" default:"100000" min:"1000" max:"10000000"`
}

// HistogramLines is how many lines a histogram has: its buckets, sum and count.
const HistogramLines = 17

// linesPerRoute is how many lines a route is reckoned to have: a histogram, and a few methods and statuses.
const linesPerRoute = HistogramLines + 8

// Untimed reports whether that number of routes is too large for SeriesMax, so that durations are counted for upstreams
// alone.
func (s *Metrics) Untimed(routes int) bool { return routes*linesPerRoute > s.SeriesMax }

// SeriesMaxDefault is series_max where nothing is said.
const SeriesMaxDefault = 100_000

// CodeUntimedRoutes is the code of the warning that there are too many routes for series_max.
const CodeUntimedRoutes = "untimed-routes"

//go:embed metrics.go
var metricsSource embed.FS

// warn warns where there are more routes than have durations, at series_max or the last route.
func (s *Metrics) warn(doc *schema.Document) {
	routes := doc.Entries("routes")
	n := len(routes)
	if !s.Untimed(n) {
		return
	}
	at := routes[n-1].(interface{ Node() *syntax.Node }).Node().Value
	if s.Has("series_max") {
		at = s.At("series_max")
	}
	doc.Report.Warnf(CodeUntimedRoutes, at, fmt.Sprintf("series_max = %d", n*linesPerRoute),
		"[metrics] has room for %d series: of %d routes no durations are counted", s.SeriesMax, n)
}

func init() {
	tags := func() *schema.Tags { return &schema.Tags{Comments: schema.Comments(metricsSource)} }
	Register[Metrics](tags, schema.Section{
		Path: "metrics", Doc: "What `/metrics` shows: see [metrics](metrics.md).",
		Codes: []schema.Code{{Name: CodeUntimedRoutes, Doc: "There are so many routes that `metrics.series_max` " +
			"leaves no room for the durations of the requests of each: they are counted for upstreams alone."}},
		Resolve: func(doc *schema.Document, t schema.Target) { t.(*Metrics).warn(doc) },
	})
}

// Metrics returns [metrics] of c, with its defaults where c was not read from a file.
func (c *Config) Metrics() *Metrics {
	if s := schema.Only[*Metrics](c.Features); s != nil {
		return s
	}
	return &Metrics{SeriesMax: SeriesMaxDefault, Codes: "class"}
}
