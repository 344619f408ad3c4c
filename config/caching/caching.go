package caching

import (
	"embed"
	"time"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/lang"
)

// The codes of warnings.
const (
	codeKey     = "cache-key"
	codeCookies = "cache-cookies"
	codeSticky  = "cache-sticky"
)

const (
	cachePath    = "cache"
	defaultsPath = "defaults.cache"
	routesPath   = "routes.cache"
)

// Cache is the section [cache]: the cache of the process.
// Immutable after the configuration was read.
type Cache struct {
	schema.Given

	// Memory for stored answers. `auto`: 256 MiB, but at most an eighth of the memory that the process may use. More
	// than half of `memory_limit` is refused.
	// Example: "1g"
	Memory int64 `edge:"memory" unit:"size" default:"auto" words:"auto" min:"1m" max:"1024t" restart:"true"`
	// Report the work of the cache in the field `Cache-Status` (RFC 9211) of each answer of a cached route.
	Status bool `edge:"status" default:"true" example:"false"`
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
	// Time a request waits for the answer to an earlier request with the same key. After it the request is sent on.
	LockTimeout time.Duration `edge:"lock_timeout" default:"5s" min:"1ms" max:"1h" example:"1s"`
	// Fetch an answer to its end, for the cache, when the client that asked for it has left.
	FinToCache bool `edge:"fin_to_cache" default:"true" example:"false"`
}

// StatusTTL is how long answers with a status are fresh.
type StatusTTL struct {
	Status uint16
	For    time.Duration
}

// entry is the key cache of a route or of [defaults].
type entry struct {
	schema.Given

	// Cache answers; with `false` no answer is stored, and none is taken from the cache.
	Enabled bool `edge:"enabled" default:"true" example:"false"`
	Route
}

//go:embed caching.go
var source embed.FS

// defaultCache is the section [cache] of a file without one.
var defaultCache = Cache{Status: true}

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
	if e == nil || !e.Enabled || !leadsToBackends(c, r) {
		return nil
	}
	return &e.Route
}

// PlaceOf returns where the files say that answers of r, a route of c, are cached; the zero Pos where they do not, or
// where c knows no places.
func PlaceOf(c *config.Config, r *config.Route) config.Pos {
	if e := entryOf(c, r); e != nil && e.Node() != nil {
		return e.Node().Head.Pos()
	}
	return config.Pos{}
}

// Any reports whether the answers of a route of c are cached.
func Any(c *config.Config) bool {
	for i := range c.Routes {
		if OfRoute(c, &c.Routes[i]) != nil {
			return true
		}
	}
	rest, needed := c.Rest()
	return needed && OfRoute(c, &rest) != nil
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
