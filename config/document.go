package config

import (
	"slices"

	"github.com/edge-proxy/edge/config/plugins"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/config/value"
)

// document is what the files say in the sections of this package, typed but not yet resolved: one entry for each table.
type document struct {
	top       *topEntry
	all       *defaultsEntry
	global    *globalEntry
	log       *logEntry
	tls       *tlsEntry
	defaults  *upstreamEntry // [upstream_defaults]
	listeners []*listenerEntry
	upstreams []*upstreamEntry
	members   []*memberEntry // [[load_balancing.backends]]
	routes    []*routeEntry
	health    *healthEntry // [health_check]

	certificates  []*certificateEntry
	registrations []*registerEntry

	sinks map[string]syntax.Span // the names of [log_sinks]
}

// documentOf sorts the entries of file by their sections.
func documentOf(file *schema.Document) *document {
	_, sinks := plugins.LogSinks.Names(file)
	return &document{
		sinks:        sinks,
		top:          schema.Only[*topEntry](file.Entries("")),
		all:          schema.Only[*defaultsEntry](file.Entries("defaults")),
		global:       schema.Only[*globalEntry](file.Entries("global")),
		log:          schema.Only[*logEntry](file.Entries("log")),
		tls:          schema.Only[*tlsEntry](file.Entries("tls")),
		defaults:     schema.Only[*upstreamEntry](file.Entries("upstream_defaults")),
		listeners:    schema.All[*listenerEntry](file.Entries("listeners")),
		upstreams:    schema.All[*upstreamEntry](file.Entries("upstreams")),
		members:      schema.All[*memberEntry](file.Entries("load_balancing.backends")),
		routes:       schema.All[*routeEntry](file.Entries("routes")),
		health:       schema.Only[*healthEntry](file.Entries("health_check")),
		certificates: schema.All[*certificateEntry](file.Entries("certificates")),

		registrations: schema.All[*registerEntry](file.Entries("register")),
	}
}

type topEntry struct {
	schema.Given
	allow     []string
	include   []string // always empty: the loader takes the key out
	webSocket bool
	grpc      bool
	errors    errorPages
}

type defaultsEntry struct {
	schema.Given
	filters []string
}

type globalEntry struct {
	schema.Given
	Global
}

type logEntry struct {
	schema.Given
	Log
	logging loggingTexts
}

type listenerEntry struct {
	schema.Given
	Listener
	own     Certificate // what its keys say; Listener.Certificate when there is one
	ruled   bool        // a rule on handshakes has certificates of clients verified
	relaxed bool        // a rule on handshakes demands none of some clients
	errors  errorPages
	logging loggingTexts
}

func (e *listenerEntry) options() *TLSOptions { return &e.TLSOptions }
func (e *listenerEntry) pair() *Certificate   { return &e.own }

// paired is a target that names the files of a certificate.
type paired interface {
	schema.Target
	pair() *Certificate
}

type certificateEntry struct {
	schema.Given
	Certificate
	when string
}

type tlsRuleEntry struct {
	schema.Given
	TLSRule
	when string
}

func (e *certificateEntry) pair() *Certificate { return &e.Certificate }

type tlsEntry struct {
	schema.Given
	TLS
	shared TLSOptions // the values of keys that listeners have too
}

func (e *tlsEntry) options() *TLSOptions { return &e.shared }

type upstreamEntry struct {
	schema.Given
	Upstream
	backends []*backendEntry
	alpn     []string
	health   *healthEntry // nil: it has none
}

// backendEntry is one of the backends of an [upstreams.NAME].
type backendEntry struct {
	schema.Given
	address value.Endpoint
	weight  int
	backup  bool
	tier    int
	zone    string
}

// memberEntry is one [[load_balancing.backends]], which names the upstreams that it belongs to.
type memberEntry struct {
	backendEntry
	name     string
	upstream string
}

type routeEntry struct {
	schema.Given
	Route
	pattern   string
	when      string
	webSocket bool
	grpc      bool
	hosts     []string
	path      string
	dest      string
	allow     []string         // where a dest with variables may lead
	on        []*listenerEntry // those whose requests it may take
	logging   loggingTexts

	errors         errorPages
	redirect       string
	redirectStatus int
	rewritePath    string
}

// features resolves the entries directly inside t of sections that other packages registered, and returns them.
func (r *resolver) features(t schema.Target) []schema.Target {
	var entries []schema.Target
	for _, e := range schema.Inside(t) {
		if slices.Contains(registered, schema.SectionOf(e)) {
			entries = append(entries, e)
		}
	}
	r.file.Resolve(entries)
	schema.Detach(entries)
	return entries
}

// requireUniqueName reports a name that another entry already has, and adds it to taken.
func (r *resolver) requireUniqueName(taken map[string]syntax.Span, name string, at syntax.Span, what string) {
	old, found := taken[name]
	if !found {
		taken[name] = at
	} else if name != "" {
		r.rep.Conflictf(at, old, "each has a name of its own", "another %s at %s has the name %q", what,
			old.RelativeTo(at), name)
	}
}

// inOrder sorts entries by their places: several sections may have made them.
func inOrder[T interface{ Node() *syntax.Node }](entries []T) {
	slices.SortStableFunc(entries, func(a, b T) int { return a.Node().Head.Compare(b.Node().Head) })
}
