package value

import (
	"embed"
	"net/netip"
	"strconv"

	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/lang"
)

// Trusted says which peers' forwarding fields are believed. The zero value trusts no peer.
type Trusted struct {
	Networks []netip.Prefix
	Unix     bool // peers on Unix sockets
}

// Address is where a listener listens.
type Address struct {
	Network string // tcp: IPv4 and IPv6 in one socket; tcp4; tcp6: IPv6 alone; unix
	Host    string // an IP address; empty with network tcp
	Port    int    // 0: the kernel chooses
	Path    string // of a Unix socket
	Text    string // as written in the file
	Pos     syntax.Pos
}

// Endpoint is the address of a backend.
type Endpoint struct {
	Host string // an IP address or a host name; empty for a Unix socket
	Port int
	Unix string // path of a Unix socket
}

// String returns host:port, with brackets around an IPv6 address, or unix:path.
func (e Endpoint) String() string {
	if e.Unix != "" {
		return "unix:" + e.Unix
	}
	return JoinHostPort(e.Host, strconv.Itoa(e.Port))
}

// AccessLog is what a listener or a route says of the access log of its requests. The zero value says nothing.
type AccessLog struct {
	// Place of the access log of this route, in place of the listener's; `false`: none. A table sets more keys; a key
	// that it leaves out is as for the listener, or else as in `[log]`. See
	// [requests](logging.md#which-requests-are-logged).
	Where `edge:"" example:"/var/log/edge/web.log" local:"true"`
	Logging
}

// Source are the files of this package, for the docs of keys.
//
//go:embed value.go
var Source embed.FS

// IsZero reports whether a says nothing.
func (a *AccessLog) IsZero() bool { return *a == AccessLog{} }

// Where is where requests are logged. The zero value says nothing.
type Where struct {
	Off bool // nowhere
	// Path of the access log, as where a path stands in place of the table.
	Path string `edge:"path" kind:"log_path" example:"/var/log/edge/web.log" file:"log"`
}

// Logging says which requests are logged, and in which form. A field that is empty or nil is taken from the entry
// around it.
type Logging struct {
	// Format of a line: a JSON object, the same members as `key=value`, or the formats of Apache and nginx.
	// Example: "logfmt"
	Format string `edge:"format" enum:"json common combined logfmt" json:",omitempty"`
	// Text of a line in place of `format`, a template of [the language](DSL.md). Values are escaped, so that no client
	// writes lines of its own. See [requests](logging.md#requests-access-log).
	// Example: "{client.ip} {method} {path} {status} {duration}"
	Line *lang.Template `edge:"line" json:",omitempty"`
	// Members to add to each line of the formats `json` and `logfmt`, by name: templates of [the language](DSL.md), 24
	// at most. See [requests](logging.md#requests-access-log).
	// Example: { tenant = "{header.x-tenant}" }
	Fields *[]Text `edge:"fields" json:",omitempty"`
	// Condition of [the language](DSL.md) that logged requests meet. Without it all requests are logged.
	// Example: 'status >= 500 or duration > 1s'
	When *lang.Condition `edge:"when" json:",omitempty"`
	// Share of the requests selected by `when` that is logged: all requests of a trace, or none of them. Without it all
	// are. See [samples](logging.md#which-requests-are-logged).
	Sample *float64 `edge:"sample" example:"0.1" json:",omitempty"`
	// Requests to log whether or not the sample has them: statuses (`503`, `5xx`), times (`>1s`), `retried`, `error`
	// (edge or a backend has failed, or the client has left), conditions of [the language](DSL.md).
	// Example: ["5xx", ">1s", "retried"]
	Always *[]*lang.Condition `edge:"always" json:",omitempty"`
}

// Text is a template with a name.
type Text struct {
	Name  string
	Value *lang.Template `json:",omitempty"` // nil: empty
}

// Header is a field to set; an empty value removes it.
type Header struct {
	Name     string
	Value    string
	Pos      syntax.Pos
	Template *lang.Template `json:"-"` // of Value, where it may have values of requests
}
