package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/message"
)

// Protocol is what is spoken with the server.
type Protocol uint8

// The protocols. Each but HTTP/3 is spoken with TLS or without.
const (
	HTTP1     Protocol = iota
	HTTP2              // without TLS by prior knowledge, else agreed upon by ALPN
	HTTP3              // over QUIC, each connection from a port of its own
	WebSocket          // over HTTP/1: one message at a time, which the server echoes
)

// String names p.
func (p Protocol) String() string { return [...]string{"HTTP/1.1", "HTTP/2", "HTTP/3", "WebSocket"}[p] }

const (
	timeoutDefault = 5 * time.Second
	latencyMax     = 10 * time.Minute
	numberLen      = 16 // hexadecimal digits
	hostDigits     = 6
	hostsMax       = 1_000_000
)

// HostName is the name of host n, from 0 on: all are equally long.
func HostName(n int) string { return fmt.Sprintf("h%0*d.example.org", hostDigits, n) }

// Field is a header field.
type Field struct{ Name, Value string }

// Options say which request is sent and how often.
type Options struct {
	Addr      string      // host:port
	Authority string      // of the request; default: Addr
	Protocol  Protocol    //
	TLS       *tls.Config // nil: plain. Its NextProtos are set here

	Method string // default GET, or POST with a Body
	Path   string // with the query; default /
	Fields []Field
	Body   []byte // of the request, or the message of a WebSocket
	// Numbered adds a number to the query, which no other request of this Run or an earlier one has. So no cache has
	// the answer. HTTP1 only.
	Numbered bool
	// Hosts, where > 0, has each request be for the next of so many hosts, named by HostName, instead of Authority.
	// HTTP1 only.
	Hosts int

	Threads     int           // event loops; default 1
	Connections int           // over all threads; default 1
	Depth       int           // requests in progress on a connection: pipelined ones, or streams; default 1
	Reconnect   bool          // a connection for each request; HTTP1 and HTTP3
	Rate        float64       // requests a second, over all threads; 0: as fast as they are answered
	Duration    time.Duration // default 1 s
	Timeout     time.Duration // for a connection, and for an answer; default 5 s
	Answered    func()        // is called for each answer, by event loops; default: none
}

// plan is Options that hold, with what is made of them once. Immutable.
type plan struct {
	Options
	to   netip.AddrPort
	verb message.Verb
	head message.Head // of a request over HTTP/2 and HTTP/3
	wire []byte       // a request over HTTP/1, body included; of a WebSocket its beginning
	ping []byte       // a message of a WebSocket as a frame

	// first is the number of the first request: the time in nanoseconds, which no earlier Run has reached.
	// Numbers stand in wire at numberAt.
	first    uint64
	numberAt int
	hostAt   int // where the digits of HostName stand in wire
}

var (
	errWebSocketDepth = errors.New("a WebSocket has one message in progress on each connection")
	errReconnect      = errors.New("a connection for each request is for HTTP/1 and HTTP/3, one request at a time")
	errNoTLS          = errors.New("HTTP/3 has TLS always")
	errNumbered       = errors.New("numbers in the query and other hosts are for HTTP/1")
	errHosts          = fmt.Errorf("there are names for %d hosts at the most, and for none below 0", hostsMax)
	errField          = errors.New("malformed header field")
	errTarget         = errors.New("malformed method or path")
)

func (o Options) plan(ctx context.Context) (*plan, error) {
	o.Threads, o.Connections, o.Depth = max(o.Threads, 1), max(o.Connections, 1), max(o.Depth, 1)
	o.Threads = min(o.Threads, o.Connections)
	if o.Duration <= 0 {
		o.Duration = time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = timeoutDefault
	}
	o.Authority = cmp.Or(o.Authority, o.Addr)
	o.Path = cmp.Or(o.Path, "/")
	if o.Method == "" && len(o.Body) > 0 && o.Protocol != WebSocket {
		o.Method = "POST"
	} else if o.Method == "" {
		o.Method = "GET"
	}
	switch {
	case o.Protocol == WebSocket && o.Depth > 1:
		return nil, errWebSocketDepth
	case o.Protocol == HTTP3 && o.TLS == nil:
		return nil, errNoTLS
	case o.Reconnect && (o.Protocol != HTTP1 && o.Protocol != HTTP3 || o.Depth > 1):
		return nil, errReconnect
	case (o.Numbered || o.Hosts > 0) && o.Protocol != HTTP1:
		return nil, errNumbered
	case o.Hosts < 0 || o.Hosts > hostsMax:
		return nil, errHosts
	case !message.ValidName(o.Method) || !message.ValidTarget([]byte(o.Path)):
		return nil, fmt.Errorf("%w: %q %q", errTarget, o.Method, o.Path)
	}
	for _, f := range o.Fields {
		if !message.ValidName(f.Name) || !message.ValidValue(f.Value) {
			return nil, fmt.Errorf("%w: %q: %q", errField, f.Name, f.Value)
		}
	}
	p := &plan{Options: o, verb: message.LookupVerb(o.Method), first: uint64(time.Now().UnixNano())}
	var err error
	if p.to, err = resolve(ctx, o.Addr); err != nil {
		return nil, err
	}
	p.write()
	return p, nil
}

// resolve returns the first address of host:port.
func resolve(ctx context.Context, addr string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address: %w", err)
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address: %w", err)
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address: %w", err)
	}
	return netip.AddrPortFrom(found[0].Unmap(), uint16(n)), nil
}

// write makes the request once, as it goes over the wire.
func (p *plan) write() {
	p.head.SetMethod(p.Method)
	p.head.SetTarget(p.Path)
	authority := p.Authority
	var rest []byte
	for _, f := range p.Fields {
		if strings.EqualFold(f.Name, "host") {
			authority = f.Value
			continue
		}
		p.head.Add(f.Name, f.Value)
		rest = fmt.Appendf(rest, "%s: %s\r\n", f.Name, f.Value)
	}
	if p.Hosts > 0 {
		authority = HostName(0)
	}
	p.head.SetAuthority(authority)
	p.head.Length = int64(len(p.Body))
	b := fmt.Appendf(nil, "%s %s", p.Method, p.Path)
	if p.Numbered {
		sign := "?"
		if strings.Contains(p.Path, sign) {
			sign = "&"
		}
		p.numberAt = len(b) + len(sign) + len("n=")
		b = fmt.Appendf(b, "%sn=%0*d", sign, numberLen, 0)
	}
	b = append(b, " HTTP/1.1\r\nHost: "...)
	p.hostAt = len(b) + len("h")
	b = fmt.Appendf(b, "%s\r\n", authority)
	b = append(b, rest...)
	if p.Protocol == WebSocket {
		b = append(b, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: "+webSocketKey+"\r\n\r\n"...)
		p.wire, p.ping = b, appendFrame(nil, opBinary, p.Body)
		return
	}
	if len(p.Body) > 0 {
		b = append(b, "Content-Length: "+strconv.Itoa(len(p.Body))+"\r\n"...)
	}
	p.wire = append(append(b, "\r\n"...), p.Body...)
}

var (
	errScheme = errors.New("want http://, https://, ws:// or wss://")
	errHost   = errors.New("a URL without a host")
)

// FromURL returns options for u, an http, https, ws or wss URL. Certificates are not verified: what a client thinks of
// them is not what is measured.
func FromURL(u string) (Options, error) {
	parsed, err := url.Parse(u)
	if err != nil {
		return Options{}, err
	}
	port := "80"
	o := Options{Authority: parsed.Host, Path: parsed.RequestURI()}
	switch parsed.Scheme {
	case "http":
	case "ws":
		o.Protocol = WebSocket
	case "https", "wss":
		port = "443"
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, ServerName: parsed.Hostname()}
		if parsed.Scheme == "wss" {
			o.Protocol = WebSocket
		}
	default:
		return o, fmt.Errorf("%q: %w", u, errScheme)
	}
	if parsed.Hostname() == "" {
		return o, fmt.Errorf("%q: %w", u, errHost)
	}
	if p := parsed.Port(); p != "" {
		port = p
	}
	o.Addr = net.JoinHostPort(parsed.Hostname(), port)
	return o, nil
}
