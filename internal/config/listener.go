package config

import (
	"crypto/tls"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/lang"
)

// Listener is one named set of addresses that are served alike.
type Listener struct {
	// Name in logs and metrics; default: the first address.
	Name string `edge:"name" example:"web"`
	// Addresses to accept connections at. `:80` is IPv4 and IPv6 in one socket, `0.0.0.0:80` IPv4, `[::]:80` IPv6
	// alone, `unix:/path` a Unix socket. Port 0 is any free port.
	// Example: [":80", "unix:/run/edge/web.sock"]
	Addresses []Address `edge:"listen"`
	// Filters for requests of this listener, before the filters of `[defaults]`. `!name` takes a filter of `[defaults]`
	// out. See [filters](filters.md#in-a-configuration).
	// Example: ["mine"]
	Filters []string `edge:"filters" json:",omitempty"`
	// Names of `[connection_filters]` that accept or close each connection, asked in this order. See
	// [modules](plugins.md#connection-filters).
	// Example: ["polite"]
	ConnFilters []string `edge:"connection_filters" json:",omitempty"`
	Believed    Believed `edge:""`
	// Tell backends the client by `Forwarded` (RFC 7239) too, beside `X-Forwarded-*`.
	Forwarded bool `edge:"forwarded" example:"true"`
	// Send `Via` to clients, with the name of `[global] via`.
	Via       bool      `edge:"via" default:"true" example:"false"`
	AccessLog AccessLog `edge:"access_log"`
	RequestID RequestID `edge:"request_id"`
	// Give requests without a valid `traceparent` (W3C Trace Context) a new, sampled trace; a valid field is passed on
	// as it came. The access log has the trace as `trace_id`.
	Traceparent bool `edge:"traceparent" example:"true"`
	// Take TLS, plain HTTP (`false`), or both on one port (`auto`), where the first byte of a connection decides. With
	// `auto`, plain requests are not served where `client_auth` is `require`, or with `strict_sni`: `redirect_to_https`
	// has to stand beside it. Default: `true` in `[https]` and where there is a `cert`, `auto` in `[network]` with a
	// `cert`, else `false`.
	TLS      TLSMode  `edge:"tls" example:"auto"`
	Versions Versions `edge:""`
	// Redirect plain requests (308) to the same URL with https, on the port of `https_port`. A listener of both, with
	// `hsts.max_age`, does so by itself.
	RedirectToHTTPS bool `edge:"redirect_to_https" example:"true"`
	// Port that redirects to https name; `none` leaves it out, as 443 does. Default: the port of the listener with TLS
	// for a request whose `Host` has the port of this listener, such as `localhost:8080`; else no port.
	HTTPSPort int `edge:"https_port" words:"none" min:"1" max:"65535" example:"8443"`
	// Default of `grpc` of routes: requests of type `application/grpc` go to backends over HTTP/2.
	GRPC bool `edge:"grpc" default:"" example:"true"`
	// Default of `websocket` of routes: connections may turn into WebSockets.
	WebSocket bool `edge:"websocket" default:"" example:"false"`
	// Treatment of dot segments in paths. `matched`: routes see the path without them, backends get it as it came.
	// `forwarded`: backends get it without them too. `raw`: routes see it as it came, and backends may read it
	// otherwise.
	Paths string `edge:"paths" enum:"matched forwarded raw" default:"matched" example:"forwarded"`
	// Treatment of `;` in paths; many Java servers ignore it and the rest of its segment. `keep`: it is a character
	// like any other, but 400 is the answer to a segment that would be empty or dots without the rest. `strip`: routes
	// see the path without the rest, so that `/admin;x/a` is below `/admin`. `refuse`: any `;` is answered 400. See
	// [HTTP/1](http1.md#one-path-many-spellings).
	PathParameters string `edge:"path_parameters" enum:"keep strip refuse" default:"keep" example:"strip"`
	// Treatment of fields with `_` in their names, which many backends cannot tell from `-`. `drop`: they are left out,
	// for routes too. `pass`: they are kept, except spellings of fields that a route sets or that only a proxy may set.
	// `refuse`: the request is answered 400; trailer fields are dropped.
	Underscores string     `edge:"underscores" enum:"drop pass refuse" default:"drop" example:"pass"`
	TLSOptions  TLSOptions `edge:""`
	Limits      Limits     `edge:"limits"`
	// Time that bytes sent to a client may stay unacknowledged, or find its window closed, before the connection is
	// broken (`TCP_USER_TIMEOUT`). `system`: as long as the kernel tries.
	// Example: "30s"
	UserTimeout time.Duration `edge:"user_timeout" default:"5m" words:"system" min:"1s" max:"24h" restart:"true"`
	// Maximum number of connections that may wait with data in their first packet (TCP Fast Open), which spares clients
	// a round trip. The network may deliver that data twice (RFC 7413), so use it with TLS, or for requests that may be
	// repeated. The kernel has to allow it: `net.ipv4.tcp_fastopen`, bit 2.
	FastOpen int `edge:"fast_open" default:"\"off\"" words:"off" min:"0" max:"65535" example:"256" restart:"true"`
	// Rights of the listener's Unix socket files, as `chmod` takes them; a client has to be allowed to write. Default:
	// as the umask leaves them, mostly the owner alone.
	SocketMode fs.FileMode `edge:"socket_mode" example:"0660" restart:"true" json:",omitempty"`
	// Owner of the listener's Unix socket files: `user`, which stands for its group too, `user:group` or `:group`, by
	// names or numbers. Only root gives files to other users. Default: the `user` of the process.
	SocketOwner Account `edge:"socket_owner" example:"www-data:www-data" restart:"true" json:",omitzero"`

	Certificate *Certificate    // its own; nil: none
	Direct      bool            `json:",omitempty"` // HTTPSPort is named where Host has the own port
	ErrorPages  []ErrorPage     `json:",omitempty"` // where the route has none
	Rules       []Rule          `json:",omitempty"` // for its requests
	TLSRules    []TLSRule       `json:",omitempty"` // on its handshakes
	Routes      []ServiceRoute  `json:",omitempty"` // of a service of the type tcp
	Features    []schema.Target `json:",omitempty"` // see Register
	Service     *Definition     `json:",omitempty"` // what its connections are for; nil: HTTP
	Pos         Pos
}

// Believed says which servers before this one are believed about their clients. The zero value believes none.
type Believed struct {
	// Peers whose `X-Forwarded-*` and `Forwarded` fields are believed and added to, by address; `unix` is any peer on a
	// Unix socket. [Such fields](proxies.md#behind-another-proxy-x-forwarded-for) of other peers are replaced or
	// dropped.
	// Example: ["10.0.0.0/8", "unix"]
	Trusted       Trusted       `edge:"trusted_proxies"`
	ProxyProtocol ProxyProtocol `edge:"proxy_protocol"`
}

// ProxyProtocol says whose headers of the PROXY protocol are read. The zero value reads no header.
type ProxyProtocol struct {
	// Load balancers that begin each connection with a header of the PROXY protocol, version 1 or 2, by address; `unix`
	// is any peer on a Unix socket. The header tells the addresses of the client and of the server, which hold for
	// logs, limits, rules and `trusted_proxies`. Connections of other peers are served without a header. See
	// [PROXY protocol](proxies.md#proxy-protocol).
	// Example: ["10.0.0.0/8"]
	From Trusted `edge:"from"`
	// Close connections that do not begin with a header, connections of other peers included.
	Required bool `edge:"required" example:"true"`
}

// Listening returns all that listens: listeners, then services.
func (c *Config) Listening() (all []*Listener) {
	for _, list := range [][]Listener{c.Listeners, c.Services} {
		for i := range list {
			all = append(all, &list[i])
		}
	}
	return all
}

// RequestID says which field has the number of a request.
type RequestID struct {
	// Give each request an id in a field, for backends and in answers. The access log and error pages show the same id.
	// Any key below turns it on.
	On bool `edge:"" kind:"switch" default:"" example:"true"`
	// Name of the field with the id.
	Field string `edge:"field" kind:"field_name" default:"X-Request-Id" example:"X-Correlation-Id"`
	// Clients whose ids are kept, in that field, in logs and on pages: peers of `trusted_proxies`, all clients, or
	// none. An id has at most 128 letters, digits and `-._~+/=:`; any other id is replaced.
	Accept string `edge:"accept" enum:"trusted all none" default:"trusted" example:"all"`
	// Send the id to clients too.
	Answer bool `edge:"answer" default:"true" example:"false"`
}

// Account is the owner of a file. The zero value is the owner of the process.
type Account struct {
	Text     string // as written: user, user:group or :group
	UID, GID int    // below 0: unchanged
}

// Limits bound what one client can cost.
type Limits struct {
	// Largest request head in bytes; a larger head is answered 431.
	HeaderSize int64 `edge:"header_size" unit:"size" default:"32k" min:"1k" max:"1m" example:"16k"`
	// Maximum number of fields in a request head; a head with more is answered 431.
	HeaderCount int `edge:"header_count" default:"100" min:"1" max:"10000" example:"50"`
	// Largest request line in bytes: method, path, query and version. A longer line is answered 414. It is a part of
	// `header_size`.
	TargetSize int64 `edge:"target_size" unit:"size" default:"8k" min:"1k" max:"1m" example:"64k"`
	// Largest field of a request head in bytes, its name included; a larger field is answered 431. It is a part of
	// `header_size`.
	FieldSize int64 `edge:"field_size" unit:"size" default:"16k" min:"1k" max:"1m" example:"64k"`
	// Time for the whole request head to arrive.
	HeaderTimeout time.Duration `edge:"header_timeout" default:"10s" min:"100ms" max:"1h" example:"5s" show:"always"`
	// Largest request body in bytes; a larger body is answered 413. 0: no limit.
	BodySize int64 `edge:"body_size" unit:"size" default:"0" example:"10m"`
	// Maximum number of connections open at once on each address of the listener. A further connection replaces a
	// connection that has been idle for a second, or else waits. 0: no limit.
	Connections int `edge:"connections" default:"0" min:"0" max:"100000000" example:"200000"`
	// Maximum number of connections that one client may have open at once, at all addresses of the listener together. A
	// client is an IPv4 address or the first 64 bits of an IPv6 address, as the header of the
	// [PROXY protocol](proxies.md#proxy-protocol) tells it where there is one; clients on Unix sockets are not
	// limited. A further connection is closed at once. 0: no limit.
	ClientConns int `edge:"connections_per_client" default:"0" min:"0" max:"100000000" example:"100" json:",omitempty"`
	// Time a connection may wait for its next request.
	IdleTimeout time.Duration `edge:"idle_timeout" default:"60s" min:"1s" max:"24h" example:"75s" show:"always"`
	// Maximum number of requests on one connection before it is closed. 0: no limit.
	KeepaliveRequests int `edge:"keepalive_requests" default:"0" min:"0" max:"1000000000" example:"1000"`
	// Age up to which a connection of HTTP/2 may begin requests; requests in progress then finish. 0: any age.
	MaxAge time.Duration `edge:"max_age" default:"0s" min:"0s" max:"8760h" example:"1h"`
	// Lowest rate, in bytes a second of a request body, over its whole length, after 10 s of grace. A slower body is
	// answered 408. An answer is cut off when the client keeps it waiting for 60 s in all, less the time it takes at
	// this rate. 0: any rate.
	MinRate int64 `edge:"min_rate" unit:"rate" default:"240/s" min:"0" max:"1g/s" example:"1k/s"`
	// Time in which the answer has to begin for a client that ended its side after the request: it may have left. After
	// it the request is given up, and logged as 499. 0: at once. `never`: the request is served.
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

// ACMECert in place of a path stands for a certificate that is ordered from an authority: see Orders.
const ACMECert = "acme"

// Certificate is a certificate with its key.
type Certificate struct {
	// Name for `certificate` of [rules on handshakes](tls.md#rules-on-handshakes).
	Name string `edge:"name" kind:"name" example:"internal" json:",omitempty"`
	// Host names that the certificate serves. Default: the names in the certificate.
	// Example: ["example.org", "*.example.org"]
	Hosts []string `edge:"hosts"`
	// Condition of [the language](DSL.md) on handshakes that get the certificate; it knows `tls.sni`, `tls.alpn`, the
	// addresses and the listener. Of the certificates for a name, a certificate whose `when` holds comes before any
	// without `when`.
	// Example: 'client.ip in {10.0.0.0/8}'
	When *lang.Condition `edge:"when" json:",omitempty"`
	Pair

	NotAfter time.Time
	Pos      Pos
}

// PlainHost returns a host as certificates name it: in lower case, without a last dot and without brackets.
func PlainHost(host string) string { return strings.Trim(strings.ToLower(host), ".[]") }

// Star returns the host with a star that stands for a host too: "*.example.org" for "www.example.org".
func Star(host string) string {
	_, parent, _ := strings.Cut(host, ".")
	return "*." + parent
}

// Pair names the files of a certificate.
type Pair struct {
	// Certificate in PEM, followed by the certificates of its authorities. `acme`: one certificate for `hosts`, or one
	// for each host of the listener's routes, is ordered and renewed as [`[acme]`](acme.md) says. `internal`: a
	// certificate of an authority that this machine makes for itself, for development.
	Cert string `edge:"cert" example:"/etc/edge/tls/example.pem" file:"read" also:".ssl_certificate"`
	// Private key in PEM, without a password. Default: the key in the file of the certificate.
	Key string `edge:"key" example:"/etc/edge/tls/example.key" file:"read" also:".ssl_certificate_key"`
	// OCSP response in DER, which is stapled while it is valid. The program that fetches it writes the file again.
	OCSP string `edge:"ocsp" example:"/etc/edge/tls/example.ocsp" file:"read"`
}

// TLS holds what concerns the TLS of all listeners.
type TLS struct {
	// Time between two changes of the keys of session tickets. The last three keys are known, so a session can be
	// resumed for two to three times that long. A reload keeps them.
	TicketRotation time.Duration `edge:"ticket_rotation" default:"12h" min:"1m" max:"168h" example:"1h"`
	// Time in which a TLS handshake has to end.
	// Example: "5s"
	HandshakeTimeout time.Duration `edge:"handshake_timeout" default:"10s" min:"100ms" max:"10m" restart:"true"`
	// Maximum number of handshakes in progress at once; a further handshake ends the handshake that has stood still for
	// longest. `auto`: 10000, or one for each 128 KiB of `memory_limit` where that is less.
	// Example: 1000
	Handshakes int `edge:"handshakes" default:"\"auto\"" words:"auto" min:"1" max:"1000000" restart:"true"`

	Rules []TLSRule `json:",omitempty"` // on handshakes, after the listener's
}

// TLSOptions say how a listener secures its connections.
type TLSOptions struct {
	// Oldest version of TLS that is accepted.
	MinVersion uint16 `edge:"min_version" kind:"version" default:"1.2" example:"1.3"`
	// Key exchanges to offer. The hybrids with ML-KEM withstand quantum computers. The best key exchange that both
	// sides know is used, whatever the order here.
	// Example: ["X25519MLKEM768", "P-256"]
	Curves []tls.CurveID `edge:"curves" default:"[\"X25519MLKEM768\", \"X25519\", \"P-256\", \"P-384\", \"P-521\"]"`
	// Cipher suites of TLS 1.2, by the names of IANA or OpenSSL; default: a safe choice. The order here does not
	// matter. Cipher suites of TLS 1.3 cannot be chosen.
	// Example: ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]
	Ciphers []uint16 `edge:"ciphers"`
	// Demand for certificates of clients. `request`: clients are asked for a certificate, which is verified when there
	// is a `client_ca`. `require`: a handshake without one fails, and a request on a connection that was made otherwise
	// is answered 421. Default: `require` with a `client_ca`, else `none`.
	ClientAuth ClientAuth `edge:"client_auth" enum:"none request require" example:"request"`
	// File of authorities of client certificates, in PEM. Empty: none. A changed file holds for new connections, as do
	// changed files of `ca`, `cert` and `key` of upstreams, and of `ca_file`.
	ClientCA string `edge:"client_ca" kind:"optional" example:"/etc/edge/tls/clients.pem" file:"read"`
	// Answer 421 to plain requests, and to requests for another host than the handshake named.
	StrictSNI bool `edge:"strict_sni" example:"true"`
	// Let clients resume a session without a whole handshake.
	SessionTickets bool `edge:"session_tickets" default:"true" example:"false"`
	HSTS           HSTS `edge:"hsts"`
}

// ClientAuth says whether clients show a certificate.
type ClientAuth string

// The values of ClientAuth.
const (
	ClientAuthNone    ClientAuth = "none"
	ClientAuthRequest ClientAuth = "request" // asked for; any that comes is verified where there are authorities
	ClientAuthRequire ClientAuth = "require"
)

// HSTS is Strict-Transport-Security.
type HSTS struct {
	// Time browsers use nothing but HTTPS for the host (`Strict-Transport-Security`). 0: browsers forget the host.
	MaxAge time.Duration `edge:"max_age" default:"off" words:"off" min:"0s" max:"36500d" example:"365d"`
	// Include all hosts below in `hsts.max_age`.
	Subdomains bool `edge:"subdomains" default:"" example:"true"`
	// Let browsers carry the host in their own list.
	Preload bool `edge:"preload" default:"" example:"true"`
}

// Versions are the versions of HTTP that a listener serves.
type Versions struct {
	// Versions of HTTP: `h1`, `h2` or both, and `h3` beside them. Over TLS the client chooses; a plain connection is
	// HTTP/2 when it begins with its preface (prior knowledge). `h3` serves HTTP/3, over UDP on the same address: see
	// [HTTP/3](http3.md). With TLS `h3` is in the default, too, where [nothing is against
	// it](http3.md#where-it-is-served).
	// Example: ["h1", "h2", "h3"]
	Protocols []string `edge:"protocols" kind:"protocols" later:"udp" default:"[\"h1\", \"h2\"]"`
	// OptionalH3 says that no key names h3, so that the listener serves without it where it has no UDP port.
	OptionalH3 bool `json:"-"`
	// Of HTTP/2.
	H2 H2Options `edge:"h2"`
	// Of HTTP/3.
	H3 H3Options `edge:"h3"`
}

// H2Options bound a connection of HTTP/2.
type H2Options struct {
	// Maximum number of requests in progress at once on one connection of HTTP/2.
	MaxStreams int `edge:"max_streams" default:"128" min:"1" max:"100000" example:"256"`
	// Time a connection of HTTP/2 may be without a request.
	IdleTimeout time.Duration `edge:"idle_timeout" default:"60s" min:"1s" max:"24h" example:"5m"`
}

// H3Options bound a connection of HTTP/3, and say which clients are told of it.
type H3Options struct {
	// Maximum number of requests in progress at once on one connection of HTTP/3.
	MaxStreams int `edge:"max_streams" default:"128" min:"1" max:"100000" example:"256"`
	// Time a connection of HTTP/3 may be without a request.
	IdleTimeout time.Duration `edge:"idle_timeout" default:"60s" min:"1s" max:"24h" example:"30s"`
	// Clients that have to prove their address before a connection of HTTP/3 begins (Retry), which takes them a round
	// trip more: `always` all, `never` none, `auto` all while more than an eighth of the handshakes that may be in
	// progress are, or `limits.connections` is reached.
	Retry string `edge:"retry" enum:"auto always never" default:"auto" example:"always"`
	// Tell clients of HTTP/1 and HTTP/2 over TLS that there is HTTP/3 (`Alt-Svc`), unless an answer has that field.
	Advertise bool `edge:"advertise" default:"true" example:"false"`
	// UDP port that clients are told of. Default: the port of the listener. Another one is for a network that leads
	// clients here by another port.
	AdvertisePort int `edge:"advertise_port" min:"1" max:"65535" example:"443" json:",omitempty"`
	// Time for which clients remember that there is HTTP/3.
	MaxAge time.Duration `edge:"max_age" default:"24h" min:"1s" max:"8760h" example:"1h"`
	// Hosts whose clients are told of HTTP/3: names, `*.example.org` for all below one, `*` for all. A host with `!` is
	// left out. The most specific entry decides; where each entry has a `!`, the rest of all hosts is told.
	// Example: ["*", "!speed.example.org"]
	Hosts []string `edge:"hosts" kind:"offered_hosts" default:"[\"*\"]"`
}

// ServesHTTP3 reports whether the listener takes connections of QUIC beside those over TCP.
func (l *Listener) ServesHTTP3() bool { return slices.Contains(l.Versions.Protocols, "h3") }
