package config

import (
	"time"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/value"
	"github.com/edge-proxy/edge/route/target"
)

// Upstream is a named pool of backends.
type Upstream struct {
	// How a backend is chosen. `adaptive`: the least loaded of three that are drawn; one that is slow or fails counts
	// as more loaded. `round_robin`: in turns, by weight, in nginx's order. `random`; `least_conn` (requests under way
	// over the weight); `p2c` (the less loaded of two that are drawn); `peak_ewma` (Finagle's). By a key, see
	// `hash_key`: `ketama` (nginx's `hash … consistent`), `maglev`, `ip_hash` (nginx's). Or the name of one of
	// `[balance_methods]`. See [balancing](balancing.md).
	LoadBalancing string `edge:"load_balancing" kind:"balance" default:"adaptive" example:"least_conn"`
	// What `ketama` and `maglev` choose by: requests with the same value go to the same backend. `client_ip` (the
	// default), `path`, `uri` (with the query), `host`, `header:NAME`, `cookie:NAME`, `query:NAME`, or a text with
	// [values](DSL.md) such as `{client.ip}{path}`. Requests without a value are balanced in turns. `""` is the
	// default.
	HashKey value.HashKey `edge:"hash_key" example:"header:X-User" json:",omitzero"`
	// Whether backups, and further tiers, get a part of the requests while less than 5/7 of the weight of the tier
	// before is up. Without it they get requests where no backend of that can have them. See
	// [tiers](balancing.md#backups-and-tiers).
	Spill bool `edge:"spill" example:"true" json:",omitzero"`
	// When less than this part of the weight of a tier is up, and other tiers cannot help, all of its backends get
	// requests, also those that fail their checks: the checks may be wrong, and the few that are up would be
	// overloaded. 0: never. See [panic](balancing.md#panic).
	// Example: "50%"
	Panic int `edge:"panic" kind:"share" default:"0" json:",omitzero"`
	// How long a backend that is up again, or new while others are up, takes to get all of its requests. It begins
	// with a tenth. 0: it gets them at once. Requests with a `hash_key` go where they belong, whatever this says. See
	// [slow start](balancing.md#slow-start).
	SlowStart time.Duration `edge:"slow_start" default:"0s" min:"0s" max:"24h" example:"20s" json:",omitzero"`
	Sticky    Sticky        `edge:"sticky" json:",omitzero"`
	// `prefer`: backends whose `zone` is that of `[global]` get all requests that they can carry, those of other zones
	// the rest. `only`: the others are not used. `off`, as without the key: any get requests. See
	// [zones](balancing.md#zones).
	Zones string `edge:"zones" enum:"off prefer only" example:"prefer" json:",omitzero"`
	// The part of all requests to the upstream that processes in this zone get. Without it, all zones of backends get
	// as many.
	ZoneShare int    `edge:"zone_share" kind:"percent" example:"50%" json:",omitzero"`
	Subset    Subset `edge:"subset" json:",omitzero"`
	// The Host that backends are sent: `keep` that of the client if it says one, `backend` their own address, or this
	// one. `headers.request` of a route overrides it.
	Host string `edge:"host" kind:"host" default:"keep" example:"backend"`
	// Whether backends are told of edge by `Via`. Some answer otherwise then: nginx does not compress
	// (`gzip_proxied`). Without it requests that go in circles are not found.
	Via      bool     `edge:"via" default:"true" example:"false"`
	Pool     Pool     `edge:"pool" pool:"true"`
	Timeouts Timeouts `edge:"timeouts"`
	Retry    Retry    `edge:"retry"`
	Breaker  Breaker  `edge:"breaker"`
	Outlier  Outlier  `edge:"outlier"`
	// The version of HTTP. `h2` without TLS is by prior knowledge. `auto`: over TLS what the backend chooses, else
	// `h1`.
	Protocol string      `edge:"protocol" enum:"h1 h2 auto" later:"h3" default:"h1" example:"h2" pool:"true"`
	TLS      UpstreamTLS `edge:"tls" pool:"true"`
	// How long bytes sent to a backend may stay unacknowledged, or find its window closed, before the connection is
	// broken (`TCP_USER_TIMEOUT`). `system`: as long as the kernel tries.
	// Example: "30s"
	UserTimeout time.Duration `edge:"user_timeout" default:"5m" words:"system" min:"1s" max:"24h" pool:"true"`
	// The first bytes for a backend leave with the first packet of a connection (TCP Fast Open), once the kernel has a
	// cookie of it. The network may deliver them twice (RFC 7413), so it is for TLS, or for requests that may be
	// repeated. That a backend refuses shows later.
	FastOpen  bool      `edge:"fast_open" example:"true" pool:"true"`
	Discovery Discovery `edge:""`
	// The upstream, or addresses as in `dest`, for requests that no backend of this upstream can take. See
	// [resilience](resilience.md#failover).
	Failover string `edge:"failover" example:"10.0.9.1:8080" json:",omitempty"`

	Name        string // for one that a dest spells out: that text
	Inline      bool   // spelled out by a dest, without a table of its own
	Backends    []Backend
	Template    string           `json:",omitempty"` // of a dest with variables: see Named; no Backends
	Named       *target.Template `json:"-"`          // of Template
	Allow       []string         `json:",omitempty"` // where that may lead (target.ParseList)
	HealthCheck *HealthCheck     `json:",omitempty"` // nil: there is none
	Features    []schema.Target  `json:",omitempty"` // see Register
	Pos         Pos
}

// Sticky says how clients are kept at the backends of an upstream.
type Sticky struct {
	// The name of a cookie that keeps a client at its backend, whatever `load_balancing` says, while that is up. `""`:
	// none. See [balancing](balancing.md#sticky-cookies).
	Cookie string `edge:"cookie" kind:"cookie" example:"edge_sid"`
	// How long a client keeps the cookie (`Max-Age`). It is renewed when less than half of it is left.
	TTL time.Duration `edge:"ttl" default:"1h" min:"1m" max:"8760h" example:"24h" show:".cookie"`
	// What the cookie is signed with, 16 bytes or more; usually `${file:/run/secrets/edge-sticky}`. Of a list of two
	// the first signs, and both are believed. Without it each start of a process draws one, which no other instance
	// knows.
	Secrets []string `edge:"secret" kind:"secrets" example:"pH2bQ0mS6kX4vT8wZ1rY3nL7" secret:"true" json:"-"`
}

// Upstream returns the upstream of that name, or nil. No upstream has the name "".
func (c *Config) Upstream(name string) *Upstream {
	if name == "" {
		return nil
	}
	for i := range c.Upstreams {
		if u := &c.Upstreams[i]; u.Name == name {
			return u
		}
	}
	return nil
}

// Backend is one address of an upstream. A host name stands for all its addresses and is not resolved here.
type Backend struct {
	Host   string // an IP address or a host name; empty for a Unix socket
	Port   int
	Unix   string // path of a Unix socket
	Weight int
	Backup bool   // it gets requests where no other backend can: it is of tier 1
	Tier   int    `json:",omitzero"` // one of the next tier gets requests where none of this one can
	Zone   string `json:",omitzero"` // where it runs; "": nobody knows
	Pos    Pos
}

// Subset says that a process uses some of the backends alone. The zero value: all.
type Subset struct {
	// How many backends of each tier this process uses, where there are many processes and backends. 0: all. See
	// [subsets](balancing.md#subsets).
	Size int `edge:"size" default:"0" min:"0" max:"65535" example:"20"`
	// The number of this process, from 0 on. Without it the host name decides, and the backends are in subsets less
	// evenly.
	Index int `edge:"index" min:"0" max:"1000000" example:"3"`
	// How many processes there are.
	Of int `edge:"of" min:"1" max:"1000000" example:"40"`
}

// FirstTier returns the least tier of a backend of u.
func (u *Upstream) FirstTier() int {
	first := tierMost
	for i := range u.Backends {
		first = min(first, u.Backends[i].Tier)
	}
	return first
}

// String returns host:port, with brackets around an IPv6 address, or unix:path.
func (b Backend) String() string {
	return value.Endpoint{Host: b.Host, Port: b.Port, Unix: b.Unix}.String()
}

// Pool bounds the connections of an upstream. 0 of what has no default: no limit.
type Pool struct {
	// Idle connections kept, for the whole process.
	Idle int `edge:"idle" default:"4096" min:"0" max:"1000000" example:"128"`
	// How long an idle connection is kept; less when the backend says so by `Keep-Alive: timeout`, and a second less
	// than that.
	IdleTimeout time.Duration `edge:"idle_timeout" default:"60s" min:"1s" max:"24h" example:"30s"`
	// How old a connection may be to be used for another request. 0: any age.
	MaxLifetime time.Duration `edge:"max_lifetime" default:"0s" min:"0s" max:"8760h" example:"10m"`
	// Requests on one connection before it is closed. 0: no limit.
	MaxRequests int `edge:"max_requests" default:"0" min:"0" max:"1000000000" example:"1000"`
	// Connections open to one backend, for the whole process. Further requests wait. 0: no limit.
	// Example: 1000
	MaxPerBackend int `edge:"max_per_backend" default:"0" min:"0" max:"1000000" also:"..breaker.max_connections"`
	// Requests that may wait: for one backend because of `max_per_backend`, and for all backends together because of
	// `breaker`. More are answered 503.
	// Example: 100
	Queue int `edge:"queue" default:"500" min:"0" max:"1000000" also:"..breaker.max_pending" show:". ..breaker."`
	// How long a request waits. Then it is answered 503. For a place under `breaker` it is [less](overload.md#the-line)
	// where others have waited for a while.
	QueueTimeout time.Duration `edge:"queue_timeout" default:"1s" min:"1ms" max:"10m" example:"5s" show:". ..breaker."`
}

// Timeouts of an exchange with a backend.
type Timeouts struct {
	// Time for a connection to a backend to be made.
	Connect time.Duration `edge:"connect" default:"5s" min:"1ms" max:"10m" example:"1s" show:"always"`
	// Time from the request sent to the first byte of the answer. Later is answered 504.
	// Example: "15s"
	FirstByte time.Duration `edge:"first_byte" default:"60s" min:"1ms" max:"24h" pool:"true" show:"always"`
	// Time between two reads of the answer; gRPC calls and tunnels have `timeouts.idle` of the route.
	Read time.Duration `edge:"read" default:"60s" min:"1ms" max:"24h" example:"30s" pool:"true" show:"always"`
	// Time from the head of a request to the end of its answer, tunnels aside. Later is answered 504, or the answer is
	// cut off. 0: no limit.
	Total time.Duration `edge:"total" default:"0s" min:"0s" max:"24h" example:"60s" show:"always"`
}

// Retry says how a request is tried again.
type Retry struct {
	// Retries of one request: attempts after the first one. See [resilience](resilience.md).
	Attempts int `edge:"attempts" default:"2" min:"0" max:"100" example:"1" pool:"true" show:"always"`
	// What is tried again. Conditions are `connect`, `refused_stream`, `reset` (the connection was lost before an
	// answer), `timeout` (no answer in time), statuses such as `503`, `5xx`, and `grpc:unavailable` and the like. What
	// may have been processed is repeated only if its method is idempotent; a `grpc:` condition says that calls may be
	// repeated.
	// Without the key: `connect`, `refused_stream`, `reset`, and `timeout` where `per_try` is set.
	// Example: ["connect", "refused_stream", "reset", "503"]
	On []string `edge:"on" kind:"retry_conditions" show:".attempts"`
	// How many retries each good answer adds to the budget, which begins with three. When it is empty, the client gets
	// the failure. `off`: no bound.
	Budget int `edge:"budget" kind:"budget" default:"20%" example:"10%" words:"off" show:".attempts"`
	// Time of one attempt, from connecting to the head of the answer, where a retry may follow. 0: no bound but
	// `timeouts.connect` and `timeouts.first_byte`.
	PerTry time.Duration `edge:"per_try" default:"0s" min:"0s" max:"24h" example:"5s" show:".attempts"`
	// A request without an answer after this time, and after the time that 95 of 100 answers take, is sent to another
	// backend as well; the first answer is taken. Only requests that may be repeated, and at most 5 for each 100 good
	// answers. Over HTTP/1 each costs a connection. Empty or 0: none is.
	// Example: "50ms"
	Hedge time.Duration `edge:"hedge_after" kind:"hedge" default:"\"\"" min:"0s" max:"1m"`
	// Bytes of a request body that are kept until the answer begins, so that it can be sent again. A longer one is
	// sent once. 0: none is kept.
	// Example: "1m"
	Buffer int64 `edge:"buffer" unit:"size" default:"64k" min:"0" max:"16m" pool:"true" show:".attempts .hedge_after"`
}

// Outlier says when backends are ejected that answer worse than the others.
type Outlier struct {
	// The least failures in a row that eject a backend: no answer; or 502, 503 and 504, from two routes or over a
	// second. It takes up to 40 where the others had fewer than 250 good requests in `window`, or fail too: see
	// [ejection](resilience.md#ejection). Any key of `outlier` turns ejection on, also of backends that answer much
	// worse than the others.
	Errors int `edge:"errors" default:"5" min:"2" max:"1000" example:"10" show:"."`
	// The time over which backends are compared.
	Window time.Duration `edge:"window" default:"10s" min:"1s" max:"10m" example:"30s" show:"."`
	// How long a backend is ejected, less up to a fifth at random. It is twice as long each time that it fails again,
	// up to ten times as long.
	Eject time.Duration `edge:"eject" default:"30s" min:"1s" max:"1h" example:"1m" show:"."`
	// How many of the backends are ejected at a time: at least one, but never the last that is up.
	MaxEjected int `edge:"max_ejected" kind:"percent" default:"50%" example:"30%" show:"."`

	On bool
}

// Breaker bounds what is under way at backends. 0: no limit. Those of connections and of the line are in Pool.
type Breaker struct {
	// Requests under way at one backend, for the whole process, those of tunnels aside. One that is full is passed
	// over; where all are, further requests wait. 0: no limit. See [overload](overload.md).
	MaxRequests int `edge:"max_requests" default:"0" min:"0" max:"1000000" example:"2000"`
	// Requests that are tried again and under way, at all backends together. Others get the failure. 0: no limit but
	// `retry.budget`.
	MaxRetries int `edge:"max_retries" default:"0" min:"0" max:"1000000" example:"20"`
	// Find by latency how many requests all backends together take at a time, and let [further
	// ones](overload.md#the-adaptive-limit) wait.
	Adaptive bool `edge:"adaptive" example:"true"`
}

// UpstreamTLS says how connections to backends are secured. Paths are of PEM files.
type UpstreamTLS struct {
	// Whether connections to the backends are secured. With one of the keys below it, they are; an `https://` in
	// `dest` does the same.
	On bool `edge:"" kind:"switch" default:"" example:"true"`
	// The name that is asked for, and that the certificate has to have; else the host of the backend.
	SNI string `edge:"sni" kind:"server_name" example:"api.internal"`
	// The authorities that are believed, in PEM; else those of `ca_file`, or of the system.
	CA string `edge:"ca" example:"/etc/edge/tls/ca.pem" file:"read"`
	// Whether the certificate is verified. With `false` anybody in between can read and change all.
	Verify bool `edge:"verify" default:"true" example:"false"`
	// The certificate that a backend is shown when it asks for one, in PEM.
	Cert string `edge:"cert" example:"/etc/edge/tls/client.pem" file:"read"`
	// Its key. Without it, the key is in the file of the certificate.
	Key string `edge:"key" example:"/etc/edge/tls/client.key" file:"read"`
}
