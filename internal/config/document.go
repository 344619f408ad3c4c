package config

import (
	"slices"

	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
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
	services  []*listenerEntry // [services.NAME]
	upstreams []*upstreamEntry
	members   []*memberEntry // [[load_balancing.backends]]
	routes    []*routeEntry
	health    *healthEntry // [health_check]

	certificates  []*certificateEntry
	registrations []*registerEntry

	sinks    map[string]syntax.Span // the names of [log_sinks]
	features []schema.Target        // entries of sections that other packages registered, once they are resolved
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
		services:     schema.All[*listenerEntry](file.Entries(plugin.Services.Section)),
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

	// Files of any format to read too, relative to the folder of this file; a pattern stands for all files that match.
	// See [Several files](#several-files).
	// Example: ["conf.d/*.toml"]
	Include []string `edge:"include"`
	// Warnings and notes to hide, by their codes.
	// Example: ["shadowed-route"]
	Allow []string `edge:"allow" kind:"codes"`
	// Default of `websocket` of listeners and, through them, of routes.
	WebSocket bool `edge:"websocket" default:"true" example:"false" also:"proxy.websocket"`
	// Default of `grpc` of listeners and, through them, of routes.
	GRPC bool `edge:"grpc" example:"true" also:"proxy.grpc"`
	// Bodies of answers to failures, by status (400 to 599) or class (`4xx`, `5xx`): the path of a file, a table with
	// `file` or `body` and, where the extension does not tell it, `type`; or a list of these in several types, of which
	// each client gets the type that it prefers. See [Error pages](errors.md#error-pages).
	// Example: { 404 = "404.html", 5xx = "/etc/edge/5xx.html" }
	Errors errorPages `edge:"error_pages" local:"true"`
}

type defaultsEntry struct {
	schema.Given

	// Filters for all requests, in their order, after the filters of the listener: names of [filters](#filtersname), or
	// of filters that a program adds. See [filters](filters.md#in-a-configuration).
	// Example: ["mine"]
	Filters []string `edge:"filters"`
}

type globalEntry struct {
	schema.Given
	Global
}

type logEntry struct {
	schema.Given
	Log
}

// listenerEntry is a listener, or a service: what listens and is not HTTP.
type listenerEntry struct {
	schema.Held // of the keys of a service's type
	Listener

	Type string `edge:"type" kind:"name" example:"polite"` // of a service

	// Error pages for this listener, looked at before the pages of the top level.
	// Example: { 503 = { body = "<h1>Back at ten</h1>" } }
	Errors errorPages `edge:"error_pages" after:"listen" local:"true"`
	Pair   `edge:"" after:"underscores"`

	service bool        // it is one
	own     Certificate // what Pair says; Listener.Certificate when there is one
	ruled   bool        // by a rule on handshakes, certificates of clients are verified
	relaxed bool        // a rule on handshakes demands none of some clients
}

type certificateEntry struct {
	schema.Given
	Certificate
}

type tlsRuleEntry struct {
	schema.Given
	TLSRule
}

type tlsEntry struct {
	schema.Given
	Shared TLSOptions `edge:""` // the values of keys that listeners have too
	TLS
}

type upstreamEntry struct {
	schema.Given
	Upstream

	// Protocols to offer in the handshake, another way to write `protocol`. Both are `auto`.
	// Example: ["h2"]
	ALPN []string `edge:"tls.alpn" after:"tls.key" kind:"alpn" enum:"h2 http/1.1"`

	backends []*backendEntry
	health   *healthEntry // nil: it has none
}

// backendEntry is one of the backends of an [upstreams.NAME].
type backendEntry struct {
	schema.Given

	// Address of the backend; a host name stands for all its addresses.
	Address value.Endpoint `edge:"address" example:"10.0.0.11:8080"`
	// Share of the requests, relative to other backends. 0: none; an upstream whose backends all have 0 answers 503.
	Weight int `edge:"weight" default:"1" min:"0" max:"65535" example:"3"`
	// Send requests here only where no other backend can have them: each is down, or was tried already.
	Backup bool `edge:"backup" example:"true"`
	// Tier of the backend, which gets requests only where no backend of a lower tier can have them, or as `spill` says.
	// `backup = true` is tier 1.
	Tier int `edge:"tier" default:"0" min:"0" max:"7" example:"2"`
	// Zone of the backend, for `zones` of the upstream.
	Zone string `edge:"zone" example:"b"`
}

// memberEntry is one [[load_balancing.backends]], which names the upstreams that it belongs to.
type memberEntry struct {
	// Name of the upstream that all backends with this name form.
	Name string `edge:"name" example:"backend1"`
	// Name of a further upstream with this backend.
	Upstream string `edge:"upstream" example:"api"`
	backendEntry
}

type routeEntry struct {
	schema.Given
	Route

	// Host and path in one. The part before the first `/` is the host; none is any host, `*.example.com` any host below
	// that one.
	Pattern string `edge:"pattern" after:"name" example:"api.example.com/v1/*"`
	// Hosts of the route, in place of `pattern`.
	// Example: ["example.com", "www.example.com"]
	Hosts []string `edge:"host" after:"pattern"`
	// Path of the route, in place of `pattern`; default: every path.
	PathText string `edge:"path" after:"host" example:"/v1/*"`
	// Destination: an upstream, `host:port` (several with commas between), `http://host:port`, `https://host:port`,
	// `h2c://host:port` (HTTP/2 without TLS), `unix:/path`, `redirect:URL`, `status:404`, or `hello` (the page of a
	// first start). With variables each request names its own: `{host}`, `{host:N}` (the Nth label), `{path:N}` (the
	// Nth segment), `{header:NAME}`, `{cookie:NAME}`, `{query:NAME}`; see `allow_dest`.
	DestText string `edge:"dest" after:"weight" example:"api" also:".upstream"`
	// Destinations that a `dest` with variables may lead to; all else is answered 403. `http://name:port`;
	// `http://*.name:port` for the names below; ports are one, `8000-8999`, several with commas, `*`, or the usual
	// port; `http://10.0.0.0/8:port` for addresses that requests name. A network alone says that the names may have
	// addresses in it: without it they have to be on the public Internet. See
	// [discovery](discovery.md#destinations-that-requests-name).
	// Example: ["http://*.svc.internal:8080", "10.0.0.0/8"]
	AllowDest []string `edge:"allow_dest" after:"dest"`
	// URL to send the client to, in place of `dest`, with [values](DSL.md) of the request: `{path}`, `{host}`,
	// `{match.1}` of `when`. `{rest}` is the part of the path beyond the pattern, `/x` of `/old/x` for `/old/*`. The
	// query is kept unless there is a `?`, `{query}` or `{target}`; a `?` at the end takes it away.
	// Example: "https://example.com{path}"
	RedirectTo *lang.Template `edge:"redirect.to" after:"allow_dest"`
	// Status of the redirect: 301, 302, 303, 307 or 308.
	RedirectStatus int `edge:"redirect.status" after:"redirect.to" default:"308" min:"301" max:"308" example:"301"`
	// Let connections turn into WebSockets. With `false` such a request goes on without `Upgrade`.
	WebSocketKey bool `edge:"websocket" after:"hash_key" default:"" example:"false"`
	// Speak gRPC with the backends: connections to them are HTTP/2, errors are a `grpc-status`, `grpc-timeout` bounds a
	// request, and gRPC-Web is translated. `grpc` of a listener is for requests of type `application/grpc` alone.
	GRPCKey bool `edge:"grpc" after:"websocket" default:"" example:"true" pool:"true"`
	// Error pages for this route, looked at before the pages of the listener and of the top level.
	// Example: { 5xx = ["down.html", "down.json"] }
	Errors errorPages `edge:"error_pages" after:"filters" local:"true"`

	on []*listenerEntry // those whose requests it may take
}

// features resolves the entries directly inside t of sections that other packages registered, and returns them.
func (r *resolver) features(t schema.Target) []schema.Target {
	var entries []schema.Target
	for _, e := range schema.Inside(t) {
		if slices.Contains(registered(), schema.SectionOf(e)) {
			entries = append(entries, e)
		}
	}
	r.file.Resolve(entries)
	r.doc.features = append(r.doc.features, entries...)
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
