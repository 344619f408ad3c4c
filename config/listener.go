package config

import (
	"crypto/tls"
	"io/fs"
	"time"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/lang"
)

// Listener is one named set of addresses that are served alike.
type Listener struct {
	// Its name in logs and metrics; the first address when there is none.
	Name string `edge:"name" example:"web"`
	// `:80` is IPv4 and IPv6 in one socket, `0.0.0.0:80` IPv4, `[::]:80` IPv6 alone, `unix:/path` a Unix socket. Port
	// 0 is any free one.
	// Example: [":80", "unix:/run/edge/web.sock"]
	Addresses []Address `edge:"listen"`
	// Filters for its requests, before those of `[defaults]`. `!name` takes one of those out. See
	// [filters](filters.md#in-a-configuration).
	// Example: ["mine"]
	Filters []string `edge:"filters" json:",omitempty"`
	// What decides over its connections, in this order: names of `[connection_filters]`. One that says no closes the
	// connection. See [modules](plugins.md#connection-filters).
	// Example: ["polite"]
	ConnFilters []string `edge:"connection_filters" json:",omitempty"`
	// Peers whose `X-Forwarded-*` and `Forwarded` fields are believed and added to, by address; `unix` is any on a
	// Unix socket. What all others say there, and in [other fields](operations.md#behind-another-proxy) that only a
	// proxy has to say, is replaced or dropped.
	// Example: ["10.0.0.0/8", "unix"]
	Trusted Trusted `edge:"trusted_proxies"`
	// Tell backends of the client by `Forwarded` (RFC 7239) too, not by `X-Forwarded-*` alone.
	Forwarded bool `edge:"forwarded" example:"true"`
	// Whether clients are told of edge by `Via`; `[global] via` is the name there.
	Via       bool      `edge:"via" default:"true" example:"false"`
	AccessLog AccessLog `edge:"access_log"`
	RequestID RequestID `edge:"request_id"`
	// A request without a valid `traceparent` (W3C Trace Context) gets one, as the first, sampled, of its trace; a
	// valid one is passed on as it came. Either is `trace_id` in the access log.
	Traceparent bool `edge:"traceparent" example:"true"`
	// `auto`: TLS and plain HTTP on one port, the first byte of a connection decides. Where `client_auth` is
	// `require`, or with `strict_sni`, plain requests are not served: `redirect_to_https` has to stand beside it.
	// Without this key it is `true` in `[https]` and where there is a `cert`, `auto` in `[network]` with a `cert`, and
	// else `false`.
	TLS TLSMode `edge:"tls" example:"auto"`
	// The versions of HTTP: `h1`, `h2` or both. Over TLS the client chooses; a plain connection is HTTP/2 when it
	// begins with its preface (prior knowledge).
	// Example: ["h1"]
	Protocols []string `edge:"protocols" kind:"protocols" later:"h3 tcp udp tls-passthrough" default:"[\"h1\", \"h2\"]"`
	// Of HTTP/2.
	H2 H2Options `edge:"h2"`
	// Plain requests are answered with a redirect (308) to the same URL with https, on the port of the listener with
	// TLS. With `hsts.max_age` a listener that takes both does so by itself.
	RedirectToHTTPS bool `edge:"redirect_to_https" example:"true"`
	// What routes do that do not say it themselves: requests of type `application/grpc` go to backends over HTTP/2.
	GRPC bool `edge:"grpc" default:"" example:"true"`
	// What routes do that do not say it themselves.
	WebSocket bool `edge:"websocket" default:"" example:"false"`
	// How the dot segments of paths are read. `matched`: routes see the path without them, backends get it as it came.
	// `forwarded`: backends get it without them too. `raw`: routes see it as it came, whatever a backend makes of it.
	Paths string `edge:"paths" enum:"matched forwarded raw" default:"matched" example:"forwarded"`
	// How `;` in a path is read, from which on many Java servers leave out the rest of its segment. `keep`: it is a
	// character like others, but a segment that is empty or dots without the rest is 400. `strip`: routes see the path
	// without, so that `/admin;x/a` is below `/admin`. `refuse`: 400 for any `;`. See
	// [HTTP/1](http1.md#one-path-many-spellings).
	PathParameters string `edge:"path_parameters" enum:"keep strip refuse" default:"keep" example:"strip"`
	// What becomes of fields whose names have a `_`, which many backends cannot tell from `-`. `drop`: they are left
	// out, for routes too. `pass`: they are fields like others; what a route sets and what only a proxy has to say is
	// dropped in that spelling too. `refuse`: the request is answered 400; trailer fields are dropped.
	Underscores string     `edge:"underscores" enum:"drop pass refuse" default:"drop" example:"pass"`
	TLSOptions  TLSOptions `edge:""`
	Limits      Limits     `edge:"limits"`
	// How long bytes sent to a client may stay unacknowledged, or find its window closed, before the connection is
	// broken (`TCP_USER_TIMEOUT`). `system`: as long as the kernel tries.
	// Example: "30s"
	UserTimeout time.Duration `edge:"user_timeout" default:"5m" words:"system" min:"1s" max:"24h" restart:"true"`
	// How many connections may wait that came with data in their first packet (TCP Fast Open), which spares clients a
	// round trip. The network may deliver that data twice (RFC 7413), so it is for TLS, or for requests that may be
	// repeated. The kernel has to allow it: `net.ipv4.tcp_fastopen`, bit 2.
	FastOpen int `edge:"fast_open" default:"\"off\"" words:"off" min:"0" max:"65535" example:"256" restart:"true"`
	// The rights of the files of its Unix sockets, as `chmod` takes them; a client has to be allowed to write. Without
	// it they are what the umask leaves: mostly that is the owner alone.
	SocketMode fs.FileMode `edge:"socket_mode" example:"0660" restart:"true" json:",omitempty"`
	// Whose these files are: `user`, which stands for its group too, `user:group` or `:group`, by names or numbers.
	// Only root gives files to other users. Without it that is the `user` of the process.
	SocketOwner Account `edge:"socket_owner" example:"www-data:www-data" restart:"true" json:",omitzero"`

	Certificate *Certificate    // its own; nil: none
	HTTPSPort   int             // where to
	ErrorPages  []ErrorPage     `json:",omitempty"` // where the route has none
	Rules       []Rule          `json:",omitempty"` // for its requests
	TLSRules    []TLSRule       `json:",omitempty"` // on its handshakes
	Features    []schema.Target `json:",omitempty"` // see Register
	Pos         Pos
}

// RequestID says which field has the number of a request.
type RequestID struct {
	// Whether each request has its number in a field, for backends and in answers. It is the one of the access log and
	// of error pages. With one of the keys below it, it has.
	On bool `edge:"" kind:"switch" default:"" example:"true"`
	// The name of the field.
	Field string `edge:"field" kind:"field_name" default:"X-Request-Id" example:"X-Correlation-Id"`
	// Whose numbers are kept, in that field, in logs and on pages: those that `trusted_proxies` send, those of all
	// clients, or nobody's. At most 128 letters, digits and `-._~+/=:`; any other is replaced.
	Accept string `edge:"accept" enum:"trusted all none" default:"trusted" example:"all"`
	// Whether clients are told too.
	Answer bool `edge:"answer" default:"true" example:"false"`
}

// Account is the owner of a file. The zero value is that of the process.
type Account struct {
	Text     string // as written: user, user:group or :group
	UID, GID int    // below 0: unchanged
}

// Limits bound what one client can cost.
type Limits struct {
	// Bytes of a request head. More is answered 431.
	HeaderSize int64 `edge:"header_size" unit:"size" default:"32k" min:"1k" max:"1m" example:"16k"`
	// Fields of a request head. More is answered 431.
	HeaderCount int `edge:"header_count" default:"100" min:"1" max:"10000" example:"50"`
	// Time for the whole request head to arrive.
	HeaderTimeout time.Duration `edge:"header_timeout" default:"10s" min:"100ms" max:"1h" example:"5s" show:"always"`
	// Bytes of a request body. More is answered 413. 0: no limit.
	BodySize int64 `edge:"body_size" unit:"size" default:"0" example:"10m"`
	// Connections open at once on each address of the listener. For one more, one that has been idle for a second is
	// closed; else it waits. 0: no limit.
	Connections int `edge:"connections" default:"0" min:"0" max:"100000000" example:"200000"`
	// Time a connection may wait for its next request.
	IdleTimeout time.Duration `edge:"idle_timeout" default:"60s" min:"1s" max:"24h" example:"75s" show:"always"`
	// Requests on one connection before it is closed. 0: no limit.
	KeepaliveRequests int `edge:"keepalive_requests" default:"0" min:"0" max:"1000000000" example:"1000"`
	// How old a connection of HTTP/2 may be to begin another request. What is in progress ends in peace. 0: any age.
	MaxAge time.Duration `edge:"max_age" default:"0s" min:"0s" max:"8760h" example:"1h"`
	// Bytes a second that a request body has to come with, over its whole length, after 10 s of grace. Less is
	// answered 408. An answer that the client keeps waiting for 60 s in all, less what it takes at this rate, is cut
	// off. 0: any rate.
	MinRate int64 `edge:"min_rate" unit:"rate" default:"240/s" min:"0" max:"1g/s" example:"1k/s"`
	// How long an answer may take to begin for a client that ended its side after the request: it may have left. Then
	// the request is given up, and logged as 499. 0: at once. `never`: it is served.
	HalfCloseWait time.Duration `edge:"half_close_wait" default:"1s" words:"never" min:"0s" max:"1h" example:"5s"`
}

// TLSMode says what a listener takes.
type TLSMode uint8

// The modes of a listener.
const (
	TLSOff  TLSMode = iota // plain HTTP
	TLSOn                  // TLS
	TLSAuto                // both: the first byte of a connection decides
)

// String returns "off", "on" or "auto".
func (m TLSMode) String() string { return [...]string{"off", "on", "auto"}[m] }

// MarshalText makes the mode readable in JSON.
func (m TLSMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// InternalCert in place of a path stands for a certificate of the authority on this machine, made at the first start.
const InternalCert = "internal"

// Certificate is a certificate with its key.
type Certificate struct {
	// Its name, for `certificate` of [rules on handshakes](tls.md#rules-on-handshakes).
	Name string `edge:"name" kind:"name" example:"internal" json:",omitempty"`
	// Names it is for. Without them those that the certificate says itself.
	// Example: ["example.org", "*.example.org"]
	Hosts []string `edge:"hosts"`
	// The handshakes that it is for: a text of [the language](DSL.md) that knows `tls.sni`, `tls.alpn`, the addresses
	// and the listener. Of the certificates for a name, those whose `when` holds come before those without.
	// Example: 'client.ip in {10.0.0.0/8}'
	When *lang.Condition `edge:"when" json:",omitempty"`
	Pair

	NotAfter time.Time
	Pos      Pos
}

// Pair names the files of a certificate.
type Pair struct {
	// The certificate in PEM, followed by those of its authorities. `internal`: one of an authority that this machine
	// makes for itself, for development.
	Cert string `edge:"cert" example:"/etc/edge/tls/example.pem" file:"read" also:".ssl_certificate"`
	// Its private key in PEM, without a password. Without it, the key is in the file of the certificate.
	Key string `edge:"key" example:"/etc/edge/tls/example.key" file:"read" also:".ssl_certificate_key"`
	// A response of its authority in DER, which is stapled as long as it is good and in time. The program that fetches
	// it writes it here again.
	OCSP string `edge:"ocsp" example:"/etc/edge/tls/example.ocsp" file:"read"`
}

// TLS holds what concerns the TLS of all listeners.
type TLS struct {
	// How often the keys of session tickets change. The last three are known, so a session can be resumed for two to
	// three times that long. A reload keeps them.
	TicketRotation time.Duration `edge:"ticket_rotation" default:"12h" min:"1m" max:"168h" example:"1h"`
	// How long a handshake may take.
	// Example: "5s"
	HandshakeTimeout time.Duration `edge:"handshake_timeout" default:"10s" min:"100ms" max:"10m" restart:"true"`
	// Handshakes in progress at once; with one more, the one that has stood still for longest gives way. `auto`:
	// 10000, or one for each 128 KiB of `memory_limit` where that is less.
	// Example: 1000
	Handshakes int `edge:"handshakes" default:"\"auto\"" words:"auto" min:"1" max:"1000000" restart:"true"`

	Rules []TLSRule `json:",omitempty"` // on handshakes, after those of the listener
}

// TLSOptions say how a listener secures its connections.
type TLSOptions struct {
	// The oldest version of TLS that is accepted.
	MinVersion uint16 `edge:"min_version" kind:"version" default:"1.2" example:"1.3"`
	// The key exchanges that are offered. The hybrid with ML-KEM withstands quantum computers. Which of those that
	// both sides know is used is not for their order here to say: the best one.
	// Example: ["X25519MLKEM768", "P-256"]
	Curves []tls.CurveID `edge:"curves" default:"[\"X25519MLKEM768\", \"X25519\", \"P-256\", \"P-384\", \"P-521\"]"`
	// The cipher suites of TLS 1.2, by the names of IANA or OpenSSL; none: a safe choice. Those of TLS 1.3 cannot be
	// chosen. Which one is used does not depend on their order.
	// Example: ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]
	Ciphers []uint16 `edge:"ciphers"`
	// Whether clients show a certificate. `request`: they are asked, and one that comes is verified when there is a
	// `client_ca`. `require`: the handshake fails without, and a request on a connection that was made otherwise is
	// answered 421. With a `client_ca` it is `require`, otherwise `none`.
	ClientAuth ClientAuth `edge:"client_auth" enum:"none request require" example:"request"`
	// The authorities of client certificates in PEM. Empty: none. The file is watched, and so are those of `ca`,
	// `cert` and `key` of upstreams, and `ca_file`: new connections go by what they say now.
	ClientCA string `edge:"client_ca" kind:"optional" example:"/etc/edge/tls/clients.pem" file:"read"`
	// A request for another host than the handshake named is answered 421, and so is a plain one.
	StrictSNI bool `edge:"strict_sni" example:"true"`
	// Clients may resume a session without a whole handshake.
	SessionTickets bool `edge:"session_tickets" default:"true" example:"false"`
	HSTS           HSTS `edge:"hsts"`
}

// ClientAuth says whether clients show a certificate.
type ClientAuth string

// The values of ClientAuth.
const (
	ClientAuthNone    ClientAuth = "none"
	ClientAuthRequest ClientAuth = "request" // asked for; one that comes is verified where there are authorities
	ClientAuthRequire ClientAuth = "require"
)

// HSTS is Strict-Transport-Security.
type HSTS struct {
	// `Strict-Transport-Security` for answers over TLS: how long browsers use nothing but HTTPS for the host. 0: they
	// forget it.
	MaxAge time.Duration `edge:"max_age" default:"off" words:"off" min:"0s" max:"36500d" example:"365d"`
	// It holds for all hosts below as well.
	Subdomains bool `edge:"subdomains" default:"" example:"true"`
	// Browsers may carry the host in their own list.
	Preload bool `edge:"preload" default:"" example:"true"`
}

// H2Options bound a connection of HTTP/2.
type H2Options struct {
	// Requests in progress at once on one connection of HTTP/2.
	MaxStreams int `edge:"max_streams" default:"128" min:"1" max:"100000" example:"256"`
	// Time a connection of HTTP/2 may be without a request.
	IdleTimeout time.Duration `edge:"idle_timeout" default:"60s" min:"1s" max:"24h" example:"5m"`
}
