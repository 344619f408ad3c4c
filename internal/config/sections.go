package config

import (
	_ "embed"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/plugin"
)

// registrations make the sections of other packages.
var registrations []func() *schema.Section

// registered are the sections of other packages, made when a configuration is first read: most commands read none.
var registered = sync.OnceValue(func() (all []*schema.Section) {
	for _, section := range registrations {
		all = append(all, section())
	}
	return all
})

// Register adds a section of another package, with the keys of E, to those that a file may have: see schema.Table. Call
// it from an init function. tags may be nil. Its entries are Features: of the Config, or of the route, rule, upstream
// or listener around them. schema.Only and schema.All find them by the types of their targets.
func Register[E any, T interface {
	*E
	schema.Target
}](tags func() *schema.Tags, s schema.Section) {
	registrations = append(registrations, func() *schema.Section {
		if tags == nil {
			return schema.Table[E, T](nil, s)
		}
		return schema.Table[E, T](tags(), s)
	})
}

// checks are the functions that RegisterCheck has added.
var checks []func(*schema.Document, *Config)

// RegisterCheck adds a function that completes and checks entries of registered sections when a Config has all that the
// files say, and the entries still know their places: texts of the language are compiled then, and what depends on
// routes and upstreams is reported to the report of the document. Call it from an init function.
func RegisterCheck(check func(doc *schema.Document, c *Config)) { checks = append(checks, check) }

// edge is the schema: every key there is, in the order of the reference page.
var edge = sync.OnceValue(func() *schema.Schema {
	all := schema.Table[defaultsEntry](tags(), schema.Section{Path: "defaults", Doc: "What holds for all routes."})
	sections := slices.Concat(listenerSections(), upstreamSections(), []*schema.Section{all}, plugins.Sections(),
		serviceSections(),
		routeSections(), language.Sections(), ruleSections(), registered())
	tags().Comments = nil // the keys have them
	return schema.New(sections, codes,
		schema.Reserved{Ignored: ignoredKeys, Later: laterKeys, Words: ForeignHints(), Foreign: foreignFile,
			Implied: folders})
})

func codeNames() (names []string) {
	all := codes
	for _, s := range slices.Concat(plugins.Sections(), registered()) {
		all = slices.Concat(all, s.Codes)
	}
	for _, c := range all {
		names = append(names, c.Name)
	}
	return names
}

// referenceIntro is the reference page up to the keys.
//
//go:embed reference.md
var referenceIntro string

// Reference writes the reference page of all keys in Markdown.
func Reference(w io.Writer) error { return edge().Reference(w, referenceIntro) }

// JSONSchema writes all keys as a JSON Schema (draft 7), for editors of TOML, YAML and JSON. It takes every right
// configuration; some wrong ones too, since only Load knows all rules.
func JSONSchema(w io.Writer) error { return edge().JSONSchema(w, "edge.toml") }

// Keys returns the keys that stand in a table of their own, or at the top of a file, as Options.Set takes them:
// "http.listen", "log_level".
func Keys() (all []string) {
	for _, s := range edge().Sections {
		tables := make([]string, 0, 1+len(s.Aliases))
		if s.Shape == schema.One && !s.IsInside() {
			tables = append(tables, s.Path)
		}
		for _, a := range s.Aliases {
			if a.Shape == schema.One {
				tables = append(tables, a.Path)
			}
		}
		if s.Top {
			tables = append(tables, "")
		}
		for _, table := range tables {
			for _, k := range s.Keys {
				all = append(all, strings.TrimPrefix(table+"."+k.Path, "."))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// RestartKeys returns the keys whose values differ between two configurations and take effect when the process starts
// again, by their names in a file. Keys of listeners are not among them: see Listener.RestartKeys.
func RestartKeys(old, next *Config) []string {
	global, tls := edge().Section("global"), edge().Section("tls")
	keys := global.RestartKeys(&globalEntry{Global: old.Global}, &globalEntry{Global: next.Global})
	keys = append(keys, tls.RestartKeys(&tlsEntry{TLS: old.TLS}, &tlsEntry{TLS: next.TLS})...)
	for _, f := range old.Features {
		for _, g := range next.Features {
			if s := schema.SectionOf(f); s == schema.SectionOf(g) && s.Shape == schema.One {
				keys = append(keys, s.RestartKeys(f, g)...)
			}
		}
	}
	return keys
}

// RestartKeys is the function RestartKeys for two listeners that have a socket in common.
func (l *Listener) RestartKeys(next *Listener) []string {
	return edge().Section("listeners").RestartKeys(&listenerEntry{Listener: *l}, &listenerEntry{Listener: *next})
}

// ReplacesPool reports whether a new value of one of the keys of a section replaces a pool of connections to backends.
func ReplacesPool(section string, keys []string) bool {
	return slices.ContainsFunc(edge().Section(section).Keys, func(k *schema.Key) bool {
		return k.Pool && slices.Contains(keys, k.Path)
	})
}

// ChangedKeys returns the keys whose values differ between two entries, by their names in the section. So do the
// methods of that name of the other kinds of entries.
func (l *Listener) ChangedKeys(next *Listener) []string {
	section := "listeners"
	if next.Service != nil {
		section = plugin.Services.Section
	}
	keys := changedKeys(section, l.entry(), next.entry(), l.Features, next.Features)
	if !slices.Contains(keys, "protocols") {
		keys = addChanged(keys, "protocols", l.Versions.OptionalH3, next.Versions.OptionalH3)
	}
	if l.Service != nil && next.Service != nil {
		keys = append(keys, l.Service.ChangedKeys(next.Service)...)
	}
	keys = addChanged(keys, "routes", l.Routes, next.Routes)
	return addChanged(addChanged(keys, "rules", l.Rules, next.Rules), "tls_rules", l.TLSRules, next.TLSRules)
}

// entry returns l as an entry of its section.
func (l *Listener) entry() schema.Target {
	e := &listenerEntry{Listener: *l, service: l.Service != nil, Errors: errorPages{pages: l.ErrorPages}}
	if l.Certificate != nil {
		e.Pair = l.Certificate.Pair
	}
	return e
}

// ChangedKeys is as for Listener.
func (g *Global) ChangedKeys(next *Global) []string {
	return changedKeys("global", &globalEntry{Global: *g}, &globalEntry{Global: *next}, nil, nil)
}

// ChangedKeys is as for Listener.
func (l *Log) ChangedKeys(next *Log) []string {
	return changedKeys("log", &logEntry{Log: *l}, &logEntry{Log: *next}, nil, nil)
}

// ChangedKeys is as for Listener. Keys that listeners have too differ there.
func (t *TLS) ChangedKeys(next *TLS) []string {
	keys := changedKeys("tls", &tlsEntry{TLS: *t}, &tlsEntry{TLS: *next}, nil, nil)
	return addChanged(keys, "rules", t.Rules, next.Rules)
}

// ChangedKeys is as for Listener.
func (c *Certificate) ChangedKeys(next *Certificate) []string {
	of := func(c *Certificate) schema.Target { return &certificateEntry{Certificate: *c} }
	return changedKeys("certificates", of(c), of(next), nil, nil)
}

// ChangedKeys is as for Listener.
func (r *Registration) ChangedKeys(next *Registration) []string {
	return changedKeys("register", &registerEntry{Registration: *r}, &registerEntry{Registration: *next}, nil, nil)
}

// ChangedKeys is as for Listener. A table inside is one key: "backends", "health_check".
func (u *Upstream) ChangedKeys(next *Upstream) []string {
	keys := changedKeys("upstreams", &upstreamEntry{Upstream: *u}, &upstreamEntry{Upstream: *next}, u.Features,
		next.Features)
	keys = addChanged(keys, "backends", u.Backends, next.Backends)
	return addChanged(keys, "health_check", u.HealthCheck, next.HealthCheck)
}

// ChangedKeys is as for Listener, without "dest". A pattern is told as host and path.
func (r *Route) ChangedKeys(next *Route) []string {
	of := func(r *Route) schema.Target {
		return &routeEntry{
			Route: *r, Hosts: []string{r.Host}, PathText: r.PathKind.String() + r.Path,
			Errors: errorPages{pages: r.ErrorPages}, RedirectTo: r.Dest.Location, RedirectStatus: r.Dest.Status,
		}
	}
	keys := changedKeys("routes", of(r), of(next), r.Features, next.Features)
	keys = addChanged(addChanged(keys, "websocket", r.WebSocket, next.WebSocket), "grpc", r.GRPC, next.GRPC)
	return addChanged(keys, "rules", r.Rules, next.Rules)
}

// addChanged adds a key whose values differ.
func addChanged(keys []string, key string, old, next any) []string {
	if !schema.Equal(old, next) {
		keys = append(keys, key)
	}
	return keys
}

// changedKeys compares two entries of a section and entries of other packages inside them.
func changedKeys(section string, old, next schema.Target, inOld, inNext []schema.Target) []string {
	keys := edge().Section(section).ChangedKeys(old, next)
	inside := make(map[*schema.Section]schema.Target)
	for _, f := range inOld {
		inside[schema.SectionOf(f)] = f
	}
	for _, f := range inNext {
		s := schema.SectionOf(f)
		if was := inside[s]; was == nil || len(s.ChangedKeys(was, f)) > 0 {
			keys = append(keys, s.Name())
		}
		delete(inside, s)
	}
	for s := range inside {
		keys = append(keys, s.Name())
	}
	return keys
}

// The codes of warnings and notes. They are stable: files name them in allow.
const (
	codeNoListener     = "no-listener"
	codeNoRoute        = "no-route"
	codeShadowedRoute  = "shadowed-route"
	codeUnusedUpstream = "unused-upstream"
	codeTLSAuto        = "tls-auto"
	codeWeakTLS        = "weak-tls"
	codeCertExpired    = "certificate-expired"
	codeCertExpires    = "certificate-expires"
	codeCertEarly      = "certificate-not-yet-valid"
	codeNoStaple       = "no-staple"
	codeUnguardedRoute = "unguarded-route"
	codeLogNotWritable = "log-not-writable"
	codeNoLog          = "no-log"
	CodeSecretInLog    = "secret-in-log"
	codeUnreadableFile = "unreadable-file"
	codeUncoveredHost  = "uncovered-host"

	codeNoRuntimeFolder    = "no-runtime-folder"
	codeUnusedCertificate  = "unused-certificate"
	codeRedirectWithoutTLS = "redirect-without-tls"

	codeOverlappingListeners = "overlapping-listeners"
	codeIgnoredFile          = "ignored-file"
	codeLoneWeight           = "lone-weight"
	codeUnreachableRoute     = "unreachable-route"
	codeIdleListener         = "idle-listener"
	codeRedirectLoop         = "redirect-loop"
	codeSharedCookie         = "shared-cookie"
	codeSmallSubset          = "small-subset"
	codeAnySender            = "any-sender"
	codeH3Untrusted          = "h3-untrusted"
)

// codes lists all codes with what they mean, for the reference page and for allow.
var codes = []schema.Code{
	code(codeNoListener, "The file names no address to listen on, so edge listens on `:8080`. With no "+
		"route either, it answers with the hello page."),
	code(codeNoRoute, "There is a listener, but neither a route nor an upstream named `default`: every answer is 404."),
	code("service-warning", "A service warns the operator when it is made."),
	code(codeShadowedRoute, "Two routes have the same pattern and conditions, and not both a weight: "+
		"the first one wins, the other can never match. Or the conditions of another route with the same pattern hold "+
		"whenever the conditions of this one do, and it goes first: `header = \"X\"` goes before "+
		"`header = { X = \"1\" }`, which has as many conditions."),
	code(codeLoneWeight, "A `weight` above 1, and no other route with the same pattern and conditions: there is "+
		"nothing to share. Often the pattern of a canary differs from the pattern of its other half."),
	code(codeUnreachableRoute, "The listeners that `listener` of a route names redirect every request to https."),
	code(codeIdleListener, "No route takes requests of a listener, because `listener` of all routes names others, and "+
		"there is no upstream `default`: every answer is 404."),
	code(codeRedirectLoop, "A redirect leads to itself, perhaps by way of other routes or of `redirect_to_https`. One "+
		"request of each route is followed, as long as it stays with the host that was asked for, or with hosts of "+
		"routes, and with ports of listeners."),
	code(codeSharedCookie, "Routes for one host lead to two upstreams that have the same `sticky.cookie`: each of "+
		"them replaces the cookie of the other one."),
	code(codeSmallSubset, "`subset` leaves a process so few backends that one more which is down is too many, or the "+
		"subsets of all processes together have fewer backends than there are."),
	code(codeUnusedUpstream, "No route goes to an upstream that has a table of its own, and it is not `default`."),
	code(schema.CodeIgnoredKey, "The key means something to another server and nothing to this one, or "+
		"nothing yet. It is a note, not a warning."),
	code(schema.CodeNoEffect, "The key will have a meaning and has none yet, or it has none where it "+
		"stands: what it asks for does not happen."),
	code(codeTLSAuto, "`[network]` with a certificate takes TLS and plain HTTP on one port. `tls = true` takes TLS "+
		"alone, `tls = \"auto\"` says that it is meant. Or: plain requests there are answered 421 or redirected, "+
		"because of another key. It is a note, not a warning."),
	code(codeWeakTLS, "A version or cipher suite is known to be weak, or a backend's certificate is not verified."),
	code(codeCertExpired, "The certificate has expired: clients refuse it."),
	code(codeCertExpires, "The certificate expires within 14 days, and more than three quarters of its life are over."),
	code(codeCertEarly, "The certificate is not valid yet: clients refuse it."),
	code(codeNoStaple, "The OCSP response is not stapled: it is too old, or about another certificate."),
	code(codeUnguardedRoute, "A route, or the upstream `default`, is reached by a listener that demands certificates "+
		"of clients and by another one without that demand. `client_cert` and `listener` of a route "+
		"say which is meant."),
	code(value.CodeForeignVariable,
		"A value has a variable of another program, such as `$host` of nginx, or a pattern has a "+
			"parameter such as `:id`: it is sent or compared as it stands."),
	code(codeAnySender, "`proxy_protocol.from` names all addresses there are: anybody can claim any "+
		"address by a header."),
	code(codeH3Untrusted, "A listener with HTTP/3 has a certificate of `internal`, which browsers accept over TCP "+
		"once they trust its authority, and never over QUIC. It is a note, not a warning."),
	code(codeOverlappingListeners, "An address of a listener is a part of one of another listener: the kernel gives "+
		"its clients to the narrower one."),
	code(codeUncoveredHost, "A route is for a host that no certificate of a listener with TLS is for. `listener` of "+
		"the route says where it is meant to be reached."),
	code(codeUnusedCertificate, "A certificate is for none of the hosts of routes, and no route is for any host."),
	code(codeRedirectWithoutTLS, "`redirect_to_https` without a listener that takes TLS: something else has to answer "+
		"on port 443. It is a note, not a warning."),
	code(codeNoLog, "With `daemon`, or `-d`, `stdout` and `stderr` lead nowhere, and no log goes to a file."),
	code(CodeSecretInLog, "A line of a log, a field of one, or a span shows a parameter that `redact` of `[log]` "+
		"names. As part of `query`, `target` and fields its value is hidden, and not where a template names it by "+
		"itself. Or spans have a field of requests or answers that carries credentials."),
	code(codeUnreadableFile, "This user may not read a certificate, key or authority, and `user` names another one to "+
		"run edge: whether the file is right was not looked at."),
	code(codeLogNotWritable, "The user that reads the configuration may not write a log, the pid file or the folder "+
		"of a socket. Where `user` names another one, nothing is said."),
	code(codeNoRuntimeFolder, "The folder of the pid file or of a Unix socket is below `/run` and is missing. systemd "+
		"makes it at the start, where the unit has `RuntimeDirectory=`; without that unit the start fails."),
	code(codeIgnoredFile, "No file was named, and several with names that edge looks for stand beside each other: "+
		"only the first one is read."),
	code(schema.CodeEmptyInclude, "No file matches a pattern of `include`. It is a note, not a warning."),
}

func code(name, doc string) schema.Code { return schema.Code{Name: name, Doc: doc} }

// ignoredKeys are keys of another server at the top of its files. They get a note. A star ends a prefix.
var ignoredKeys = []string{
	"version", "work_stealing", "listener_tasks_per_fd", "max_blocking_threads", "upstream_connect_offload_*",
}

// laterKeys are other names of later versions, by the path of their table. They are errors as any unknown key is, but
// the hint is not a guess at a misspelling.
var laterKeys = map[string][]string{
	"":       {"cluster", "dev"},
	"global": {"env_file"},
	"routes": {"mirror"},
}
