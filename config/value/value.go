package value

import (
	"net/netip"
	"strconv"

	"github.com/edge-proxy/edge/config/syntax"
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
	Where
	Logging
}

// IsZero reports whether a says nothing.
func (a *AccessLog) IsZero() bool { return *a == AccessLog{} }

// Where is where requests are logged. The zero value says nothing.
type Where struct {
	Off  bool // nowhere
	Path string
}

// Logging says which requests are logged, and in which form. What is empty or nil is as the entry around it says.
type Logging struct {
	Format string             `json:",omitempty"` // json, common or combined
	Line   *lang.Template     `json:",omitempty"` // in place of Format
	Fields *[]Text            `json:",omitempty"` // members of the lines of json
	When   *lang.Condition    `json:",omitempty"` // no others are logged
	Sample *float64           `json:",omitempty"` // the share of requests that is logged, 0 to 1
	Always *[]*lang.Condition `json:",omitempty"` // requests for one of which it holds are logged whatever Sample says
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
