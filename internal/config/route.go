package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/lang"
)

// PathKind says how a route's path is compared.
type PathKind uint8

// The kinds of path. PathPrefix compares by segments: /api takes /api and /api/x, not /apix; / takes everything.
const (
	PathPrefix PathKind = iota
	PathExact
)

// String returns "prefix" or "exact".
func (k PathKind) String() string {
	if k == PathExact {
		return "exact"
	}
	return "prefix"
}

// MarshalText makes the kind readable in JSON.
func (k PathKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Route sends the requests of one host and path to a destination. An entry of the file that names several hosts becomes
// as many routes, all with the same Entry.
type Route struct {
	// Name in logs and metrics; default: the pattern.
	Name string `edge:"name" example:"api"`
	// Condition: names of the listeners that requests come by. Without it a request by any listener is taken, whatever
	// the listeners ask of clients.
	Listeners []string `edge:"listener" example:"internal"`
	// Condition: the client has shown a certificate that leads to an authority of `client_ca`, in this connection or in
	// the session that it resumes. `true`: any; in a table `subject`, `issuer` (RFC 2253) and `san` (one of its names
	// suffices) are equal, or found by the regular expression after a `~`. A name counts only as its text tells: a DNS
	// name with an `@` or a `:` is none. Each key of the table is a condition more.
	// Example: { subject = "CN=admin,O=Example", san = "~^spiffe://" }
	ClientCert *route.ClientCert `edge:"client_cert"`
	// Condition: methods of the request. A request with another method is answered 405, unless another route takes it.
	// CONNECT and TRACE are only taken where they are named.
	// Example: ["GET", "HEAD"]
	Methods []string `edge:"methods" kind:"methods"`
	// Condition: fields of the request. A name alone has to be there (`header = "X-Beta"`); a value in a table is
	// equal, or found by the regular expression (RE2) after a `~`. Of several fields of that name one suffices.
	// Example: { X-Env = "prod", User-Agent = "~curl/[0-9]" }
	Header []route.Condition `edge:"header" kind:"fields"`
	// Condition: parameters of the query, as for `header`; they are compared decoded.
	// Example: { version = "2" }
	Query []route.Condition `edge:"query" kind:"parameters"`
	// Condition: text of [the language](DSL.md) that holds for the request. It is asked after all other conditions.
	// Example: 'client.ip in {10.0.0.0/8} or header.x-beta == "1"'
	When *lang.Condition `edge:"when" json:",omitempty"`
	// Share of the requests among routes that are equal in pattern and conditions. 0: none, as if it were not there.
	Weight  int     `edge:"weight" min:"0" max:"65535" example:"90"`
	Rewrite Rewrite `edge:"rewrite"`
	// Turn a `Location` or `Content-Location` that names the backend, by its address or the Host that it was sent, also
	// with the backend's port as nginx does, into a path here, with the prefixes of `rewrite` undone.
	RewriteLocation bool `edge:"rewrite_location" example:"true"`
	// Size up to which a request body is received whole, in memory, before the backend is asked, and is sent with its
	// length: for backends that cannot read a chunked body, as with WSGI. A larger body is answered 413. Calls of gRPC
	// wait [as any request](grpc.md#routes-that-read-bodies).
	BufferRequest int64 `edge:"buffer_request" unit:"size" default:"off" words:"off" min:"1k" max:"1g" example:"10m"`
	// Size up to which the begin of a request body is received before the rules and filters of the route run, so that
	// they, `dest` and `hash_key` can look at it: `body` of [the language](DSL.md#the-body-of-a-request). It is sent on
	// as it came, and the rest as it comes. Calls of gRPC wait [as any request](grpc.md#routes-that-read-bodies).
	ReadBody int64 `edge:"read_body" unit:"size" default:"off" words:"off" min:"1k" max:"1m" example:"64k"`
	// Method of balancing for this route, in place of the upstream's. The route takes its own turns among the backends,
	// whatever other routes to the upstream do. Connections, limits and queues stay shared.
	LoadBalancing string `edge:"load_balancing" kind:"balance" example:"round_robin" show:".load_balancing"`
	// Key of balancing for this route, in place of the upstream's.
	HashKey value.HashKey `edge:"hash_key" example:"path" show:".hash_key" json:",omitzero"`
	// Further protocols that connections may turn into, by their names in `Upgrade`. HTTP/2 is none; `CONNECT` is a
	// method (see `methods`).
	// Example: ["mqtt"]
	Upgrades []string `edge:"upgrades" kind:"upgrades"`
	// Fields to set in the request; an empty value removes the field. The client's own fields of that name are not sent
	// on: in any case, with `_` for `-`, and in trailers. A value may have [values](DSL.md) of the request in braces:
	// see [fields](#variables-of-fields).
	// Example: { X-Env = "prod", Cookie = "" }
	RequestHeaders []Header `edge:"headers.request" kind:"headers"`
	// Fields to set in the answer, as in `headers.request`.
	// Example: { Server = "" }
	ResponseHeaders []Header `edge:"headers.response" kind:"headers"`
	// Filters for requests of this route, after the filters of its listener and of `[defaults]`. `!name` takes an
	// earlier filter out.
	// Example: ["mine"]
	Filters []string `edge:"filters" json:",omitempty"`
	// Put `error_pages` in place of backends' answers with these statuses too, not of edge's own answers alone.
	InterceptErrors bool `edge:"intercept_errors" example:"true" json:",omitempty"`
	// Time to the first byte of the answer, in place of the upstream's.
	FirstByte time.Duration `edge:"timeouts.first_byte" min:"1ms" max:"24h" example:"5s" pool:"true"`
	// Time between two reads of the answer, in place of the upstream's.
	Read time.Duration `edge:"timeouts.read" min:"1ms" max:"24h" example:"5s" pool:"true"`
	// Time to the end of the answer, in place of the upstream's.
	Total time.Duration `edge:"timeouts.total" min:"1ms" max:"24h" example:"30s"`
	// Time without a byte in either direction after which a WebSocket, another tunnel, or a gRPC call whose answer has
	// begun is ended.
	// Example: "10m"
	TunnelIdle time.Duration `edge:"timeouts.idle" default:"1h" min:"1s" max:"8760h" pool:"true" show:"always"`
	AccessLog  AccessLog     `edge:"access_log"`
	// Rank among requests that wait because of `breaker`: 0 goes before 1, and so on. Requests of 2 and 3 [wait
	// sooner](overload.md#priorities).
	Priority int `edge:"priority" default:"1" min:"0" max:"3" example:"0" show:"always"`

	Host       string // lower case; empty: any host
	Path       string // without a trailing slash or star, except "/" itself
	PathKind   PathKind
	Off        bool // its weight was given as 0: it takes no request
	Shadowed   bool // an equal one comes first: it can never match
	Dest       Dest
	WebSocket  Switch          // whether a connection may become one
	GRPC       Switch          // whether backends speak gRPC
	Rules      []Rule          `json:",omitempty"` // once it is chosen
	ErrorPages []ErrorPage     `json:",omitempty"`
	Features   []schema.Target `json:",omitempty"` // see Register
	Entry      int             // number of the entry in the file, from 0
	Pos        Pos
}

// phase returns what texts of the route may name once it is chosen.
func (r *Route) phase() lang.Phases {
	if r.ReadBody > 0 {
		return lang.Content
	}
	return lang.Request
}

// Rule returns which requests the route takes.
func (r *Route) Rule() route.Rule {
	return route.Rule{
		Host: r.Host, Path: r.Path, Exact: r.PathKind == PathExact, Methods: r.Methods,
		Header: r.Header, Query: r.Query, Listeners: r.Listeners, ClientCert: r.ClientCert, When: r.When,
		Weight: r.Weight,
	}
}

// TakesAll reports whether the route takes every request that no other one does.
func (r Route) TakesAll() bool {
	return !r.Off && r.Host == "" && r.Path == "/" && r.PathKind == PathPrefix && r.ClientCert == nil &&
		r.When == nil && len(r.Listeners)+len(r.Methods)+len(r.Header)+len(r.Query) == 0
}

// Rest returns the route of the requests that no other one takes; false when another one takes all, or when they are
// answered 404 anyway.
func (c *Config) Rest() (rest Route, needed bool) {
	f := c.Fallback
	if f.Kind == DestStatus && f.Status == 404 || slices.ContainsFunc(c.Routes, Route.TakesAll) {
		return Route{}, false
	}
	idle := edge().Section("routes").Default("timeouts.idle").(time.Duration)
	return Route{Name: "default", Path: "/", Dest: f, Priority: 1, TunnelIdle: idle}, true
}

// DestKind says what kind of destination a Dest is.
type DestKind uint8

// The kinds of destination.
const (
	DestUpstream DestKind = iota // Config.Upstreams[Dest.Upstream]
	DestStatus                   // answer with Dest.Status
	DestHello                    // answer with the hello page
	DestRedirect                 // answer with Dest.Status and Dest.Location
	DestDefined                  // the one of [destinations] that Dest.Name names
)

// String returns "upstream", "status", "hello", "redirect" or "destination".
func (k DestKind) String() string {
	return [...]string{"upstream", "status", "hello", "redirect", "destination"}[k]
}

// MarshalText makes the kind readable in JSON.
func (k DestKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Dest is where a request goes.
type Dest struct {
	Kind     DestKind
	Upstream int // index into Config.Upstreams
	Status   int
	Location *lang.Template `json:",omitempty"` // see location.Location
	Name     string         `json:",omitempty"` // of one of [destinations]
	// Files are names of [destinations] of the type static that lead here by their fallback: the first that has
	// the file answers.
	Files []string `json:",omitempty"`
}

// DestText says where d, of c, leads: the name of an upstream or of one of [destinations], a status, the place of a
// redirect without its credentials, or "hello page".
func (c *Config) DestText(d *Dest) string {
	switch d.Kind {
	case DestUpstream:
		return c.Upstreams[d.Upstream].Name
	case DestStatus:
		return strconv.Itoa(d.Status)
	case DestRedirect:
		return schema.WithoutCredentials(d.Location.String())
	case DestHello:
		return "hello page"
	}
	return d.Name
}

// Before puts the names of Files before a text that says where d leads.
func (d *Dest) Before(leads string) string {
	return strings.Join(append(slices.Clip(d.Files), leads), ", then ")
}

// Switch is a key that may be given or not.
type Switch uint8

// The values of a Switch.
const (
	Unset Switch = iota // as the listener says
	On
	Off
)

// String returns "unset", "on" or "off".
func (s Switch) String() string { return [...]string{"unset", "on", "off"}[s] }

// MarshalText makes the switch readable in JSON.
func (s Switch) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// usedUpstreams returns the upstreams that requests are led to and those that services lead to, by name, each with its
// failovers. leads are further names that requests may be led to.
func (c *Config) usedUpstreams(leads []string) (http, relays map[string]bool) {
	http, relays = make(map[string]bool), make(map[string]bool)
	use := func(used map[string]bool, i int) {
		for u := &c.Upstreams[i]; u != nil && !used[u.Name]; u = c.Upstream(u.Failover) {
			used[u.Name] = true
		}
	}
	lead := func(d Dest) {
		if d.Kind == DestUpstream && d.Upstream < len(c.Upstreams) {
			use(http, d.Upstream)
		}
	}
	lead(c.Fallback)
	leads = slices.Clone(leads)
	c.EachRule(func(rule *Rule) { leads = append(leads, rule.Dest) })
	for i := range c.Upstreams {
		if slices.Contains(leads, c.Upstreams[i].Name) {
			use(http, i)
		}
	}
	for i := range c.Routes {
		lead(c.Routes[i].Dest)
	}
	for _, l := range c.Listening() {
		for _, i := range c.RelayedTo(l) {
			use(relays, i)
		}
	}
	return http, relays
}
