package caching

import (
	"embed"
	"net/netip"
	"slices"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
)

// The codes of warnings.
const (
	codeKey     = "cache-key"
	codeCookies = "cache-cookies"
	codeSticky  = "cache-sticky"
	codePurge   = "cache-purge"
)

const (
	cachePath    = "cache"
	defaultsPath = "defaults.cache"
	routesPath   = "routes.cache"
)

// rulePaths are the places of cache in rules.
var rulePaths = []string{"rules.cache", "listeners.rules.cache", "routes.rules.cache"}

// Cache is the section [cache]: the cache of the process.
// Immutable after the configuration was read.
type Cache struct {
	schema.Given
	diskAt config.Pos

	// Memory for stored answers. `auto`: 256 MiB, but at most an eighth of the memory that the process may use. More
	// than half of `memory_limit` is refused.
	// Example: "1g"
	Memory int64 `edge:"memory" unit:"size" default:"auto" words:"auto" min:"1m" max:"1024t" restart:"true"`
	// Share of `memory` for bodies of 32 KiB and more. Each of them is a file in memory, of a 16th of this share at
	// most.
	Bodies int `edge:"bodies" kind:"percent" default:"50%" restart:"true" example:"80%"`
	// Report the work of the cache in the field `Cache-Status` (RFC 9211) of each answer of a cached route.
	Status bool `edge:"status" default:"true" example:"false"`
	// Fields by which backends tell caches like this one, and no browser, how to store an answer (RFC 9213). The first
	// valid one in an answer counts in place of `Cache-Control` and `Expires`. `[]`: none does.
	// Example: []
	Targeted []string `edge:"targeted" kind:"field_names" default:"[\"edge-cache-control\", \"cdn-cache-control\"]"`
	// Fields of answers that have tags, with blanks or commas between two: `edge cache purge --tag` ends the answers
	// with a tag. An answer has at most 64. `[]`: no answer has tags.
	// Example: ["x-tags"]
	Tags []string `edge:"tags" kind:"field_names" default:"[\"cache-tag\", \"surrogate-key\"]"`
	// Addresses of clients that may purge a URL by the method `PURGE`. Other clients are answered 405. Without the key
	// no client may.
	// Example: ["127.0.0.1"]
	PurgeFrom []netip.Prefix `edge:"purge.allow" json:",omitempty"`
	// Folder that keeps [answers on disk](cache.md#disk), which is there and is for this process alone. Without the key
	// answers are kept in memory only.
	DiskPath string `edge:"disk.path" example:"/var/cache/edge" local:"true" restart:"true" json:",omitzero"`
	// Size of the answers on disk. The file system has room for it, and keeps a 20th free.
	// Example: "100g"
	DiskSize int64 `edge:"disk.size" unit:"size" default:"10g" min:"64m" max:"1024t" restart:"true"`
}

// Route says how the answers of a route are cached.
// Immutable after the configuration was read.
type Route struct {
	// Lifetime of answers that state none: one time for the statuses 200, 203, 204, 300, 301 and 308, or a table of
	// times by status, each at most 8760h. Without the key see `heuristic_max`.
	// Example: { 200 = "5m", 404 = "10s" }
	TTL []StatusTTL `edge:"ttl" json:",omitempty"`
	// Lifetime that counts first: `origin`, the lifetime that an answer states; `ttl`, the time of `ttl`, which has
	// `no-cache` of the answer ignored too. `no-store` and `private` of the answer hold all the same.
	Obey string `edge:"obey" enum:"origin ttl" default:"origin" example:"ttl"`
	// Longest lifetime of a stored answer, whatever the answer or `ttl` says.
	TTLMax time.Duration `edge:"ttl_max" default:"30d" min:"1s" max:"8760h" example:"1d"`
	// Longest lifetime of an answer that states none, where `ttl` has none for it. The lifetime is a tenth of the age
	// by `Last-Modified` then.
	HeuristicMax time.Duration `edge:"heuristic_max" default:"1h" min:"0s" max:"8760h" example:"10m"`
	// Time after its lifetime for which an answer is sent at once, while it is fetched anew, where the answer does not
	// state that time by `stale-while-revalidate`.
	StaleWhile time.Duration `edge:"stale_while" default:"0s" min:"0s" max:"8760h" example:"10s"`
	// Time after its lifetime for which an answer is sent where no backend answers, or a limit of the upstream refuses
	// the request, and where the answer does not state that time by `stale-if-error`.
	StaleOnError time.Duration `edge:"stale_on_error" default:"60s" min:"0s" max:"8760h" example:"1h"`
	// Templates of [the language](DSL.md) whose values are part of the key of an answer, beside the host, the path and
	// the query of the request and the fields that `headers.request` of routes and rules sets.
	// Example: ["{cookie.lang}"]
	Key []*lang.Template `edge:"key" json:",omitempty"`
	// Parameters of the query that are left out of the key, and of the request to the backend. A `*` at the end of a
	// name stands for any rest.
	// Example: ["utm_*", "fbclid"]
	Drop []string `edge:"query.drop" kind:"query_names" json:",omitempty"`
	// Parameters of the query to keep, in place of `query.drop`: the rest of them is dropped.
	// Example: ["page", "q"]
	Keep []string `edge:"query.keep" kind:"query_names" json:",omitempty"`
	// Sort the parameters of the query in the key and in the request to the backend.
	Sort bool `edge:"query.sort" example:"true"`
	// Answers to requests with cookies: `careful` stores an answer only where it states a lifetime; `ignore` stores it
	// as if the request had no cookies, so that the answer to one visitor is given to all.
	Cookies string `edge:"cookies" enum:"careful ignore" default:"careful" example:"ignore"`
	// Answers that set a cookie: `skip` does not store them, `strip` stores them without the cookie, `store` with it.
	SetCookie string `edge:"set_cookie" enum:"skip strip store" default:"skip" example:"strip"`
	// Directives in `Cache-Control` and `Pragma` of requests: `ignore`, so that no client makes edge ask the backend;
	// `honour` follows them (RFC 9111 §5.2.1).
	RequestDirectives string `edge:"request_directives" enum:"ignore honour" default:"ignore" example:"honour"`
	// Requests whose answers are stored: `any`, or `known`, only requests whose fields are all usual ones, set by the
	// route or named in `key`. That is for backends that answer by fields without `Vary`.
	Fill string `edge:"fill" enum:"any known" default:"any" example:"known"`
	// First byte of a range from which on a request goes by the cache while nothing is stored. For a range that begins
	// before it, the whole answer is fetched and stored. 0: every range goes by.
	RangeFill int64 `edge:"range_fill" unit:"size" default:"1m" min:"0" max:"1024t" example:"64k"`
	// Time a request waits for the answer to an earlier request with the same key. After it a waiting one is sent on.
	LockTimeout time.Duration `edge:"lock_timeout" default:"5s" min:"1ms" max:"1h" example:"1s"`
	// Largest body that is stored. Without the key the limit is a 16th of the share `bodies` of the memory of the
	// cache, 8 MiB by default. With a disk, where the answer states its length, it is a 16th of the size of the disk if
	// that is more, 640 MiB by default.
	ObjectMax int64 `edge:"object_max" unit:"size" min:"1" max:"1024t" example:"1m" json:",omitzero"`
	// Fetch an answer to its end, for the cache, when the client that asked for it has left. Of a body of which more
	// than 8 MiB are to come, no more is fetched.
	FinToCache bool `edge:"fin_to_cache" default:"true" example:"false"`
}

// StatusTTL is how long answers with a status are fresh.
type StatusTTL struct {
	Status uint16
	For    time.Duration
}

// entry is the key cache of a route, of [defaults] or of a rule.
type entry struct {
	schema.Given
	named []string // of a rule: the paths of the keys that the file gives

	// Cache answers; with `false` no answer is stored, and none is taken from the cache.
	Enabled bool `edge:"enabled" default:"true" example:"false"`
	Route
}

//go:embed caching.go
var source embed.FS

// defaultCache is the section [cache] of a file without one.
var defaultCache = Cache{Bodies: 50, DiskSize: 10 << 30, Status: true,
	Targeted: []string{"edge-cache-control", "cdn-cache-control"}, Tags: []string{"cache-tag", "surrogate-key"}}

// Of returns the section [cache] of c, with its defaults where c has none. c may be nil.
func Of(c *config.Config) *Cache {
	if c != nil {
		if of := schema.Only[*Cache](c.Features); of != nil {
			return of
		}
	}
	return &defaultCache
}

// OfRoute returns how answers of r, a route of c, are cached; nil: they are not. r may be what Config.Rest returns.
func OfRoute(c *config.Config, r *config.Route) *Route {
	e := entryOf(c, r)
	if e == nil || !e.Enabled || !leadsToBackends(c, r) ||
		schema.Only[*entry](r.Features) == nil && leadsToFiles(c, r) {
		return nil
	}
	return &e.Route
}

// leadsToFiles reports whether requests of r go to a folder: files are their own store, which sees within a second
// what has changed.
func leadsToFiles(c *config.Config, r *config.Route) bool {
	return r.Dest.Kind == config.DestDefined && slices.ContainsFunc(c.Defined, func(d plugins.Definition) bool {
		return d.Kind == plugin.Destinations && d.Name == r.Dest.Name && d.Type == "static"
	})
}

// PlaceOf returns where the files say that answers of r, a route of c, are cached; the zero Pos where they do not, or
// where c knows no places.
func PlaceOf(c *config.Config, r *config.Route) config.Pos {
	if e := entryOf(c, r); e != nil {
		return e.pos()
	}
	return config.Pos{}
}

func (e *entry) pos() config.Pos {
	if e.Node() == nil {
		return config.Pos{}
	}
	return e.Node().Head.Pos()
}

// entryOf returns the entry that holds for r: its own, else the one of [defaults].
func entryOf(c *config.Config, r *config.Route) *entry {
	if own := schema.Only[*entry](r.Features); own != nil {
		return own
	}
	return schema.Only[*entry](c.Features)
}

// leadsToBackends reports whether requests of r go on to one place, whose answers may be stored.
func leadsToBackends(c *config.Config, r *config.Route) bool {
	switch r.Dest.Kind {
	case config.DestUpstream:
		return r.Dest.Upstream < len(c.Upstreams) && c.Upstreams[r.Dest.Upstream].Template == ""
	case config.DestDefined:
		return true
	}
	return false
}
