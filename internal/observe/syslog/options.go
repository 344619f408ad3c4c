package syslog

import (
	"cmp"
	"crypto/tls"
	"os"
	"time"
)

// Format is the form of messages. The zero value is RFC5424, and RFC3164 on a Unix socket, where journald and rsyslog
// expect what syslog(3) writes.
type Format uint8

// The formats of messages.
const (
	RFC5424 Format = iota + 1
	RFC3164
)

const (
	sizeDefault    = 8 << 10 // what rsyslog takes as it comes
	sizeMin        = 1 << 10 // RFC 3164 §4.1; a header and its structured data are shorter
	datagramMax    = 65507   // of UDP over IPv4
	timeoutDefault = 2 * time.Second
)

// Options are the choices for a Writer. All but Network and Address have good zero values.
type Options struct {
	Network  string // udp, tcp, tls or unix, as ParseTarget returns it
	Address  string // host:port, or the path of a socket
	Format   Format
	Facility Facility
	App      string        // empty: edge
	Hostname string        // empty: the name of this machine
	MaxSize  int           // bounds a datagram, in bytes; 0: 8 KiB, less than 1 KiB counts as 1 KiB
	TLS      *tls.Config   // nil: roots of the system. Without a ServerName it is the host of Address
	Timeout  time.Duration // for a connection, and for each write; 0: 2 s
	SD       bool          // messages of access logs have structured data, in RFC5424
}

// withDefaults returns o with the values that its zero values stand for.
func (o Options) withDefaults() Options {
	if o.Hostname == "" {
		o.Hostname, _ = os.Hostname() // an unknown name becomes "-"
	}
	o.App = cmp.Or(o.App, "edge")
	o.Facility = cmp.Or(o.Facility, local0+1)
	o.Timeout = cmp.Or(max(o.Timeout, 0), timeoutDefault)
	o.MaxSize = max(cmp.Or(o.MaxSize, sizeDefault), sizeMin)
	if o.Network == "udp" {
		o.MaxSize = min(o.MaxSize, datagramMax)
	}
	if o.Format == 0 {
		o.Format = RFC5424
		if o.Network == "unix" {
			o.Format = RFC3164
		}
	}
	return o
}
