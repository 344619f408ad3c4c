package explain

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/message"
)

// What is wrong with an Ask.
var (
	errScheme = errors.New("the URL begins with http://, https:// or tcp://")
	errHost   = errors.New("the URL has no host")
	errField  = errors.New("a field is written as \"Name: value\"")
	errMethod = errors.New("the method is not one")
	errTCP    = errors.New("a connection of TCP is asked for as tcp://host:port, without method, fields and body")
)

// asked is an Ask in parts.
type asked struct {
	Request
	port     string // of the URL; "": it has none
	fields   []string
	body     string
	client   netip.Addr
	assumed  bool   // the client was not given
	hostOnly string // of the URL, without a port and without brackets
}

// parse reads the parts of the request. The target stays as it is written: what a path means is the proxy's to say.
func parse(a *Ask) (*asked, error) {
	q := &asked{client: a.Client, body: a.Body}
	if q.assumed = !q.client.IsValid(); q.assumed {
		q.client = netip.MustParseAddr("192.0.2.1")
	}
	q.Client = q.client.String()
	if q.Method, q.Scheme = cmp.Or(a.Method, "GET"), "http"; a.Method == "" && a.Body != "" {
		q.Method = "POST"
	}
	if !message.ValidName(q.Method) {
		return nil, fmt.Errorf("%q: %w", q.Method, errMethod)
	}
	rest := a.URL
	if strings.HasPrefix(rest, "/") {
		rest = "localhost" + rest
	}
	if scheme, after, found := strings.Cut(rest, "://"); found && !strings.ContainsAny(scheme, "/?") {
		q.Scheme, rest = strings.ToLower(scheme), after
	}
	if q.Scheme == "tcp" {
		return q, q.parseTCP(a, strings.TrimSuffix(rest, "/"))
	}
	if q.Scheme != "http" && q.Scheme != "https" {
		return nil, fmt.Errorf("%q: %w", a.URL, errScheme)
	}
	rest, _, _ = strings.Cut(rest, "#") // RFC 9110 §4.2.5: no client sends it
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	host, target := rest[:end], rest[end:]
	host = host[strings.LastIndexByte(host, '@')+1:]
	if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	q.Host, q.Target, q.hostOnly = host, encoded(target), host
	if name, port, err := net.SplitHostPort(host); err == nil {
		q.hostOnly, q.port = name, port
	} else {
		q.hostOnly = strings.Trim(host, "[]")
	}
	if q.hostOnly == "" {
		return nil, fmt.Errorf("%q: %w", a.URL, errHost)
	}
	if a.Body != "" {
		q.fields = append(q.fields, "Content-Length: "+strconv.Itoa(len(a.Body)))
	}
	return q, q.addFields(a.Fields)
}

// parseTCP reads the address of a connection of TCP.
func (q *asked) parseTCP(a *Ask, address string) (err error) {
	q.Host, q.Method = address, ""
	q.hostOnly, q.port, err = net.SplitHostPort(address)
	if err != nil || q.hostOnly == "" || q.port == "" || a.Method != "" || a.Body != "" || len(a.Fields) > 0 {
		return fmt.Errorf("%q: %w", a.URL, errTCP)
	}
	return nil
}

// encoded returns a target as clients send it: what a URL cannot have is percent-encoded (RFC 3986 §2.1).
func encoded(target string) string {
	var out strings.Builder
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f {
			fmt.Fprintf(&out, "%%%02X", c)
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

// addFields takes the fields, of which Host replaces the host of the URL.
func (q *asked) addFields(fields []string) error {
	for _, f := range fields {
		name, value, found := strings.Cut(f, ":")
		if !found || !message.ValidName(name) {
			return fmt.Errorf("%q: %w", f, errField)
		}
		value = strings.TrimSpace(value)
		if strings.EqualFold(name, "Host") {
			q.Host = value
			continue
		}
		q.fields = append(q.fields, name+": "+value)
	}
	return nil
}

// wire returns the head as a client sends it.
func (q *asked) wire() []byte {
	target := q.Target
	if q.Method == "CONNECT" {
		target = net.JoinHostPort(q.hostOnly, q.portOr())
	}
	return []byte(q.Method + " " + target + " HTTP/1.1\r\nHost: " + q.Host + "\r\n" +
		strings.Join(append(slices.Clip(q.fields), "", ""), "\r\n"))
}

func (q *asked) portOr() string {
	if q.Scheme == "https" {
		return cmp.Or(q.port, "443")
	}
	return cmp.Or(q.port, "80")
}

// serverName returns what the client asks for in its handshake: RFC 6066 §3 has no addresses there.
func (q *asked) serverName() string {
	if _, err := netip.ParseAddr(q.hostOnly); err == nil || q.Scheme == "http" {
		return ""
	}
	return strings.ToLower(strings.TrimSuffix(q.hostOnly, "."))
}

// noteClient notes which client was assumed, where that matters and none was given.
func (q *asked) noteClient(a *Answer, matters bool) {
	if q.assumed && matters {
		a.note("the client is taken for %s: --client-ip names another one", q.Client)
	}
}

// place is an address of a listener, and why a request does not come to it.
type place struct {
	listener *config.Listener
	address  *config.Address
	why      string // "": it does
	text     string
	near     int // grows with what fits
}

// choose returns where the request comes in, and why it does not come to the others of list. Without a port in the URL
// that is the first listener that fits otherwise: a load balancer, or a mapping of ports, may stand before it. The
// listener is nil where none fits.
func (q *asked) choose(list []config.Listener) (chosen place, others []Other, note string) {
	var nearest []place // of each listener
	for i := range list {
		best := place{near: -1}
		for j := range list[i].Addresses {
			if p := q.reaches(&list[i], &list[i].Addresses[j]); p.near > best.near {
				best = p
			}
		}
		nearest = append(nearest, best)
		if best.why == "" && best.near > chosen.near {
			chosen = best
		}
	}
	if chosen.listener == nil && q.port == "" {
		if i := slices.IndexFunc(nearest, func(p place) bool { return p.why == "port" }); i >= 0 {
			chosen = nearest[i]
			note = fmt.Sprintf("no listener has port %s: the request is explained as if it came to %s", q.portOr(),
				chosen.address.Text)
		}
	}
	for _, p := range nearest {
		if p.why == "" {
			p.why, p.text = "address", "another listener has this address, or goes before it"
		}
		if p.listener != chosen.listener {
			l := p.listener
			others = append(others, Other{Name: l.Name, At: l.Pos.FileLine(), Why: p.why, Text: p.text})
		}
	}
	return chosen, others, note
}

// reaches says why the request does not come to an address.
func (q *asked) reaches(l *config.Listener, a *config.Address) place {
	own, ownErr := netip.ParseAddr(a.Host)
	to, toErr := netip.ParseAddr(q.hostOnly)
	switch {
	case q.Scheme == "https" && l.TLS == config.TLSOff:
		return place{l, a, "scheme", "it takes plain HTTP alone, and https was asked for", 0}
	case q.Scheme == "http" && l.TLS == config.TLSOn:
		return place{l, a, "scheme", "it takes TLS alone, and http was asked for", 0}
	case a.Network == "unix":
		return place{l, a, "port", "it is a Unix socket", 1}
	case strconv.Itoa(a.Port) != q.portOr():
		return place{l, a, "port", fmt.Sprintf("its port is %d, not %s", a.Port, q.portOr()), 1}
	case ownErr != nil, own.IsUnspecified():
		return place{l, a, "", "", 2}
	case toErr == nil && to != own, q.hostOnly == "localhost" && !own.IsLoopback():
		return place{l, a, "address", fmt.Sprintf("its address is %s, not %s", own, q.hostOnly), 2}
	case toErr == nil:
		return place{l, a, "", "", 3} // the URL names the very address
	}
	return place{l, a, "", "", 2}
}

// Arrived is a request of an Ask as it comes from the client.
type Arrived struct {
	Head   message.Head
	Scheme string
	Client netip.Addr
}

// Arrive returns the request that a asks about. The error says what is wrong with it.
func Arrive(a *Ask) (*Arrived, error) {
	q, err := parse(a)
	if err != nil {
		return nil, err
	}
	r := &Arrived{Scheme: q.Scheme, Client: q.client}
	return r, q.decode(&r.Head)
}

// widest are the limits of the listener that allows most. The dry run has the limits of the
// listener that takes the request.
var widest = h1.Limits{HeadBytes: 1 << 20, RequestLine: 1 << 20, FieldBytes: 1 << 20, FieldCount: 10000}

// decode makes h the head of q.
func (q *asked) decode(h *message.Head) error {
	var d h1.Decoder
	d.InitRequests(&widest)
	_, _, _, err := d.Next(q.wire(), h)
	return err
}
