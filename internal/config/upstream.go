package config

import (
	"time"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/route/target"
	"github.com/edge-proxy/edge/lang"
)

// Upstream is a named pool of backends.
type Upstream struct {
	// Method by which a backend is chosen. `adaptive`: the least loaded of three that are drawn; a backend that is slow
	// or fails counts as more loaded. `round_robin`: in turns, by weight, in nginx's order. `random`; `least_conn`
	// (requests under way over the weight); `p2c` (the less loaded of two that are drawn); `peak_ewma` (Finagle's). By
	// a key, see `hash_key`: `ketama` (nginx's `hash … consistent`), `maglev`, `ip_hash` (nginx's). Or a name of
	// `[balance_methods]`. See [balancing](balancing.md).
	LoadBalancing string `edge:"load_balancing" kind:"balance" default:"adaptive" example:"least_conn"`
	// Part of a request by which `ketama` and `maglev` choose: requests with the same value go to the same backend.
	// `client_ip` (the default), `path`, `uri` (with the query), `host`, `header:NAME`, `cookie:NAME`, `query:NAME`, or
	// a text with [values](DSL.md) such as `{client.ip}{path}`. Requests without a value are balanced in turns. `""` is
	// the default. Connections of [TCP services](tcp.md) have texts of a handshake alone, such as `{tls.sni}`.
	HashKey value.HashKey `edge:"hash_key" example:"header:X-User" json:",omitzero"`
	// Send a part of the requests to backups, and to further tiers, while less than 5/7 of the weight of the tier
	// before is up. Without it they get only requests that no backend of the tier before can have. See
	// [tiers](balancing.md#backups-and-tiers).
	Spill bool `edge:"spill" example:"true" json:",omitzero"`
	// Share of a tier's weight below which all of its backends get requests, also backends that fail their checks, when
	// other tiers cannot help: the checks may be wrong, and the few backends that are up would be overloaded. 0: never.
	// See [panic](balancing.md#panic-panic-threshold).
	// Example: "50%"
	Panic int `edge:"panic" kind:"share" default:"0" json:",omitzero"`
	// Time that a backend which is up again, or new while other backends are up, takes to get all of its requests, a
	// tenth at first. 0: it gets them at once. Requests with a `hash_key` are not held back. See [slow
	// start](balancing.md#slow-start).
	SlowStart time.Duration `edge:"slow_start" default:"0s" min:"0s" max:"24h" example:"20s" json:",omitzero"`
	Sticky    Sticky        `edge:"sticky" json:",omitzero"`
	// Preference for backends in the zone of `[global]`. `prefer`: they get all requests that they can carry, other
	// backends the rest. `only`: other backends get none. `off`, the default: none. See [zones](balancing.md#zones).
	Zones string `edge:"zones" enum:"off prefer only" example:"prefer" json:",omitzero"`
	// Share of all requests to the upstream that processes in this zone get. Default: the same for all zones of
	// backends.
	ZoneShare int    `edge:"zone_share" kind:"percent" example:"50%" json:",omitzero"`
	Subset    Subset `edge:"subset" json:",omitzero"`
	// Host field that backends are sent: `keep`, the client's if there is one; `backend`, the address of the backend;
	// or this host. `headers.request` of a route overrides it.
	Host string `edge:"host" kind:"host" default:"keep" example:"backend"`
	// Send `Via` to backends. Some servers answer otherwise with it: nginx does not compress (`gzip_proxied`). Without
	// it requests that go in circles are not found.
	Via      bool         `edge:"via" default:"true" example:"false"`
	Pool     Pool         `edge:"pool" pool:"true"`
	Timeouts Timeouts     `edge:"timeouts"`
	Limits   AnswerLimits `edge:"limits" pool:"true"`
	Retry    Retry        `edge:"retry"`
	Breaker  Breaker      `edge:"breaker"`
	Outlier  Outlier      `edge:"outlier"`
	// Version of HTTP to backends. `h2` without TLS is by prior knowledge. `auto`: over TLS the version that the
	// backend chooses, else `h1`.
	Protocol string      `edge:"protocol" enum:"h1 h2 auto" later:"h3" default:"h1" example:"h2" pool:"true"`
	TLS      UpstreamTLS `edge:"tls" pool:"true"`
	// Version of the PROXY protocol by whose header backends are told the client of each connection: for
	// [services](tcp.md) alone, since a connection of HTTP has requests of many clients. Checks say that they are
	// `edge`'s own.
	ProxyProtocol string `edge:"proxy_protocol" enum:"v1 v2" default:"" example:"v2" json:",omitempty"`
	// Time that bytes sent to a backend may stay unacknowledged, or find its window closed, before the connection is
	// broken (`TCP_USER_TIMEOUT`). `system`: as long as the kernel tries.
	// Example: "30s"
	UserTimeout time.Duration `edge:"user_timeout" default:"5m" words:"system" min:"1s" max:"24h" pool:"true"`
	// Send the first bytes with the first packet of a connection (TCP Fast Open), once the kernel has a cookie of the
	// backend. The network may deliver these bytes twice (RFC 7413), so use it with TLS, or for requests that may be
	// repeated. A backend that refuses connections is noticed later.
	FastOpen  bool      `edge:"fast_open" example:"true" pool:"true"`
	Discovery Discovery `edge:""`
	// Upstream, or addresses as in `dest`, for requests that no backend of this upstream can take. See
	// [resilience](resilience.md#failover).
	Failover string `edge:"failover" example:"10.0.9.1:8080" json:",omitempty"`

	Name        string // for an upstream that a dest spells out: that text
	Inline      bool   // spelled out by a dest, without a table of its own
	Backends    []Backend
	Template    string           `json:",omitempty"` // of a dest with variables: see Named; no Backends
	Named       *target.Template `json:"-"`          // of Template
	Allow       []string         `json:",omitempty"` // where that may lead (target.ParseList)
	HealthCheck *HealthCheck     `json:",omitempty"` // nil: there is none
	Features    []schema.Target  `json:",omitempty"` // see Register
	Pos         Pos

	ConnectionKey *lang.Template `json:"-"` // HashKey for connections of services; nil: their clients' addresses
}

// Sticky says how clients are kept at the backends of an upstream.
type Sticky struct {
	// Name of a cookie that keeps a client at its backend while the backend is up, whatever `load_balancing` says.
	// `""`: none. See [balancing](balancing.md#sticky-cookies-sticky-sessions).
	Cookie string `edge:"cookie" kind:"cookie" example:"edge_sid"`
	// Time a client keeps the cookie (`Max-Age`). The cookie is renewed when less than half of it is left.
	TTL time.Duration `edge:"ttl" default:"1h" min:"1m" max:"8760h" example:"24h" show:".cookie"`
	// Secret that signs the cookie, 16 bytes or more; usually `${file:/run/secrets/edge-sticky}`. In a list of two the
	// first signs, and both are believed. Default: a random secret at each start of a process, which no other instance
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
	Zone   string `json:",omitzero"` // where it runs; "": unknown
	Pos    Pos
}

// Subset says that a process uses some of the backends alone. The zero value: all.
type Subset struct {
	// Number of backends in each tier that this process uses, where there are many processes and backends. 0: all. See
	// [subsets](balancing.md#subsets).
	Size int `edge:"size" default:"0" min:"0" max:"65535" example:"20"`
	// Number of this process, from 0 on. Default: from the host name, which spreads backends less evenly.
	Index int `edge:"index" min:"0" max:"1000000" example:"3"`
	// Number of processes that share the backends.
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
	// Maximum number of idle connections kept, for the whole process.
	Idle int `edge:"idle" default:"4096" min:"0" max:"1000000" example:"128"`
	// Time an idle connection is kept; less when the backend says so by `Keep-Alive: timeout`, and then a second less
	// than it says.
	IdleTimeout time.Duration `edge:"idle_timeout" default:"60s" min:"1s" max:"24h" example:"30s"`
	// Age up to which a connection is used for further requests. 0: any age.
	MaxLifetime time.Duration `edge:"max_lifetime" default:"0s" min:"0s" max:"8760h" example:"10m"`
	// Maximum number of requests on one connection before it is closed. 0: no limit.
	MaxRequests int `edge:"max_requests" default:"0" min:"0" max:"1000000000" example:"1000"`
	// Maximum number of connections open to one backend, for the whole process. Further requests wait. 0: no limit.
	// Example: 1000
	MaxPerBackend int `edge:"max_per_backend" default:"0" min:"0" max:"1000000" also:"..breaker.max_connections"`
	// Maximum number of requests that wait: for one backend because of `max_per_backend`, and for all backends together
	// because of `breaker`. Further requests are answered 503.
	// Example: 100
	Queue int `edge:"queue" default:"500" min:"0" max:"1000000" also:"..breaker.max_pending" show:". ..breaker."`
	// Time a request waits before it is answered 503. For a place under `breaker` it is
	// [less](overload.md#the-line-queue) where requests have waited for a while.
	QueueTimeout time.Duration `edge:"queue_timeout" default:"1s" min:"1ms" max:"10m" example:"5s" show:". ..breaker."`
}

// AnswerLimits bound the heads of answers of backends. A larger head is answered 502.
type AnswerLimits struct {
	// Largest head of an answer in bytes; a larger head is answered 502.
	HeaderSize int64 `edge:"header_size" unit:"size" default:"32k" min:"1k" max:"1m" example:"128k"`
	// Maximum number of fields in the head of an answer; a head with more is answered 502.
	HeaderCount int `edge:"header_count" default:"100" min:"1" max:"10000" example:"500"`
	// Largest field in the head of an answer in bytes, its name included; a larger field is answered 502. It is a part
	// of `header_size`.
	FieldSize int64 `edge:"field_size" unit:"size" default:"16k" min:"1k" max:"1m" example:"64k"`
}

// Timeouts of an exchange with a backend.
type Timeouts struct {
	// Time for a connection to a backend to be made.
	Connect time.Duration `edge:"connect" default:"5s" min:"1ms" max:"10m" example:"1s" show:"always"`
	// Time from the request sent to the first byte of the answer. After it the request is answered 504.
	// Example: "15s"
	FirstByte time.Duration `edge:"first_byte" default:"60s" min:"1ms" max:"24h" pool:"true" show:"always"`
	// Time between two reads of the answer; gRPC calls and tunnels have `timeouts.idle` of the route.
	Read time.Duration `edge:"read" default:"60s" min:"1ms" max:"24h" example:"30s" pool:"true" show:"always"`
	// Time from the head of a request to the end of its answer, tunnels aside. After it the request is answered 504, or
	// the answer is cut off. 0: no limit.
	Total time.Duration `edge:"total" default:"0s" min:"0s" max:"24h" example:"60s" show:"always"`
}

// Retry says how a request is tried again.
type Retry struct {
	// Retries of one request, which are attempts after the first. See [resilience](resilience.md).
	Attempts int `edge:"attempts" default:"2" min:"0" max:"100" example:"1" pool:"true" show:"always"`
	// Failures after which a request is tried again. Conditions are `connect`, `refused_stream`, `reset` (the
	// connection was lost before an answer), `timeout` (no answer in time), statuses such as `503`, `5xx`, and
	// `grpc:unavailable` and the like. A request that may have been processed is repeated only if its method is
	// idempotent; a `grpc:` condition says that calls may be repeated. Default: `connect`, `refused_stream`, `reset`,
	// and `timeout` where `per_try` is set.
	// Example: ["connect", "refused_stream", "reset", "503"]
	On []string `edge:"on" kind:"retry_conditions" show:".attempts"`
	// Retries allowed for each good answer, as a share. `20%` is one retry for five. The budget begins with three
	// retries; when it is empty, the client gets the failure. `off`: no bound.
	Budget int `edge:"budget" kind:"budget" default:"20%" example:"10%" words:"off" show:".attempts"`
	// Time of one attempt, from connecting to the head of the answer, where a retry may follow. 0: no bound but
	// `timeouts.connect` and `timeouts.first_byte`.
	PerTry time.Duration `edge:"per_try" default:"0s" min:"0s" max:"24h" example:"5s" show:".attempts"`
	// Time without an answer, but at least the time that 95 of 100 answers take, after which a request is sent to
	// another backend as well; the first answer is taken. Only requests that may be repeated are, at most 5 for each
	// 100 good answers. Over HTTP/1 each costs a connection. Empty or 0: never.
	// Example: "50ms"
	Hedge time.Duration `edge:"hedge_after" kind:"hedge" default:"\"\"" min:"0s" max:"1m"`
	// Bytes of a request body that are kept until the answer begins, so that it can be sent again. A longer body is
	// sent once. 0: none is kept.
	// Example: "1m"
	Buffer int64 `edge:"buffer" unit:"size" default:"64k" min:"0" max:"16m" pool:"true" show:".attempts .hedge_after"`
}

// Outlier says when backends are ejected that answer worse than the others.
type Outlier struct {
	// Failures in a row that eject a backend: no answer; or 502, 503 and 504, from two routes or over a second. Up to
	// 40 are needed where the other backends had fewer than 250 good requests in `window`, or fail too: see
	// [ejection](resilience.md#ejection-outlier-detection). Any key of `outlier` turns ejection on, also of
	// backends that answer much worse than the rest.
	Errors int `edge:"errors" default:"5" min:"2" max:"1000" example:"10" show:"."`
	// Time over which backends are compared.
	Window time.Duration `edge:"window" default:"10s" min:"1s" max:"10m" example:"30s" show:"."`
	// Time a backend is ejected, less up to a fifth at random. It doubles each time that the backend fails again, up to
	// ten times as long.
	Eject time.Duration `edge:"eject" default:"30s" min:"1s" max:"1h" example:"1m" show:"."`
	// Share of the backends that may be ejected at a time: at least one backend, but never the last that is up.
	MaxEjected int `edge:"max_ejected" kind:"percent" default:"50%" example:"30%" show:"."`

	On bool
}

// Breaker bounds what is under way at backends. 0: no limit. Limits of connections and of the line are in Pool.
type Breaker struct {
	// Maximum number of requests under way at one backend, for the whole process, tunnels aside. A full backend is
	// passed over; where all are full, further requests wait. 0: no limit. See [overload](overload.md).
	MaxRequests int `edge:"max_requests" default:"0" min:"0" max:"1000000" example:"2000"`
	// Maximum number of retries under way, at all backends together. Further requests get the failure. 0: no limit but
	// `retry.budget`.
	MaxRetries int `edge:"max_retries" default:"0" min:"0" max:"1000000" example:"20"`
	// Find by latency how many requests all backends together take at a time, and let [further
	// requests](overload.md#the-adaptive-limit) wait.
	Adaptive bool `edge:"adaptive" example:"true"`
}

// UpstreamTLS says how connections to backends are secured. Paths are of PEM files.
type UpstreamTLS struct {
	// Secure connections to the backends by TLS. Any key below turns it on, as does an `https://` in `dest`.
	On bool `edge:"" kind:"switch" default:"" example:"true"`
	// Host name to ask for, which the certificate has to have; default: the host of the backend.
	SNI string `edge:"sni" kind:"server_name" example:"api.internal"`
	// File of authorities that certificates of backends are verified with, in PEM; default: `ca_file`, or the
	// authorities of the system.
	CA string `edge:"ca" example:"/etc/edge/tls/ca.pem" file:"read"`
	// Verify the certificates of backends. With `false` anybody in between can read and change all.
	Verify bool `edge:"verify" default:"true" example:"false"`
	// Certificate for backends that ask for one, in PEM.
	Cert string `edge:"cert" example:"/etc/edge/tls/client.pem" file:"read"`
	// Private key of `tls.cert`; default: the key in the file of the certificate.
	Key string `edge:"key" example:"/etc/edge/tls/client.key" file:"read"`
}
