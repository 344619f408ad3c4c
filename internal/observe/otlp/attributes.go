package otlp

import (
	"bytes"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/internal/observe"
)

// attributes are the names of the conventions that spans of requests have. All others begin with one of ownSpaces.
var attributes = strings.Fields(`client.address error.type http.request.method http.request.method_original
	http.response.status_code http.route network.peer.address network.peer.port network.protocol.version
	network.transport server.address server.port url.path url.query url.scheme user_agent.original`)

var ownSpaces = []string{"edge.", "http.request.header.", "http.response.header."}

// HasAttribute reports whether the span of a request may have an attribute of that name by itself: an attribute of a
// configuration has another name, since OTLP allows each once.
func HasAttribute(name string) bool {
	return slices.Contains(attributes, name) ||
		slices.ContainsFunc(ownSpaces, func(space string) bool { return strings.HasPrefix(name, space) })
}

// methods are the known ones: the methods of RFC 9110, and PATCH, as the conventions want it by default.
var methods = [...]string{"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"}

// method returns what http.request.method has for p.
func method(p []byte) string {
	for _, m := range methods {
		if string(p) == m {
			return m
		}
	}
	return "_OTHER"
}

// verb returns what stands for the method in the name of a span.
func verb(p []byte) string {
	if known := method(p); known != "_OTHER" {
		return known
	}
	return "HTTP"
}

// version returns network.protocol.version; "": it is not known.
func version(proto uint8) string {
	switch proto {
	case observe.ProtoHTTP10:
		return "1.0"
	case observe.ProtoHTTP11:
		return "1.1"
	case observe.ProtoHTTP2:
		return "2"
	case observe.ProtoHTTP3:
		return "3"
	}
	return ""
}

// defaultPort is the port of URLs that name none.
func defaultPort(secured bool) int64 {
	if secured {
		return 443
	}
	return 80
}

// scheme returns the scheme of URLs.
func scheme(secured bool) string {
	if secured {
		return "https"
	}
	return "http"
}

// splitPort cuts the port off host, and the brackets around an address of IPv6. It returns otherwise where there is no
// port.
func splitPort[T text](host T, otherwise int64) (name T, port int64) {
	for i := len(host) - 1; i >= 0 && host[i] != ']'; i-- {
		if host[i] != ':' {
			continue
		}
		if n, ok := portNumber(host[i+1:]); ok {
			host, otherwise = host[:i], n
		}
		break
	}
	if n := len(host); n > 1 && host[0] == '[' && host[n-1] == ']' {
		host = host[1 : n-1]
	}
	return host, otherwise
}

func portNumber[T text](p T) (n int64, ok bool) {
	for i := range len(p) {
		if p[i] < '0' || p[i] > '9' || n > math.MaxUint16 {
			return 0, false
		}
		n = n*10 + int64(p[i]-'0')
	}
	return n, n > 0 && n <= math.MaxUint16
}

// isAddress reports whether host is an address, not a name: those have no colon, and a letter in their last label.
func isAddress(host string) bool {
	if strings.IndexByte(host, ':') >= 0 {
		return true
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// failed reports whether a request is an error. errorFrom is the lowest status that is one: 4xx is the fault of a
// client, so for a server it is none, even where the proxy itself has answered so.
func failed(status int, fault string, errorFrom int) bool {
	return status >= errorFrom || fault != "" && status < 400
}

// failure writes error.type: what Proxy-Status says, else the status.
func (m *message) failure(status int, fault string) {
	if fault != "" {
		attributeText(m, "error.type", fault)
		return
	}
	m.scratch = strconv.AppendInt(m.scratch[:0], int64(status), 10)
	attributeText(m, "error.type", m.scratch)
}

func (m *message) method(p []byte) {
	known := method(p)
	attributeText(m, "http.request.method", known)
	if known == "_OTHER" {
		attributeText(m, "http.request.method_original", p)
	}
}

func (m *message) status(status int) {
	if status > 0 {
		m.attributeInt("http.response.status_code", int64(status))
	}
}

func (m *message) address(key string, ip netip.Addr) {
	m.scratch = observe.AppendIP(m.scratch[:0], ip)
	attributeText(m, key, m.scratch)
}

func (m *message) peer(p netip.AddrPort) {
	if p.IsValid() {
		m.address("network.peer.address", p.Addr())
		m.attributeInt("network.peer.port", int64(p.Port()))
	}
}

// headFields writes fields of a head: an array for each name. Equal names stand side by side.
func (m *message) headFields(space string, fields []observe.Member) {
	for len(fields) > 0 {
		n := 1
		for n < len(fields) && fields[n].Name == fields[0].Name {
			n++
		}
		if same := fields[:n]; same[0].Name != "" {
			at, value := m.openNamed(space, same[0].Name)
			array := m.open(tagArrayValue)
			for _, f := range same {
				each := m.open(tagValues)
				writeText(m, tagStringValue, f.Value)
				m.close(each)
			}
			m.close(array)
			m.close(value)
			m.close(at)
		}
		fields = fields[n:]
	}
}

// served writes what is known of the request of r, or of its connection: the attributes of a span of kind SERVER.
func (m *message) served(r *observe.Record, s *observe.Span) {
	peer := netip.AddrPortFrom(r.ClientIP, r.ClientPort)
	if s != nil {
		peer = s.Peer
	} else if r.ClientPort == 0 { // the address is what a peer has said
		peer = netip.AddrPort{}
	}
	if r.Proto == observe.ProtoTCP {
		attributeText(m, "network.transport", "tcp")
	} else {
		m.request(r, s)
	}
	m.address("client.address", r.ClientIP)
	m.peer(peer)
	m.ours(r)
	if s == nil {
		return
	}
	m.headFields("http.request.header.", s.Request)
	m.headFields("http.response.header.", s.Answer)
	for _, a := range s.Attributes {
		named(m, "", a.Name, a.Value)
	}
}

// request writes what the conventions say of a request that was served. s may be nil.
func (m *message) request(r *observe.Record, s *observe.Span) {
	secured, fault := r.TLSVersion != "", ""
	if s != nil {
		secured, fault = s.Secured, s.Error
		attributeText(m, "http.route", s.Pattern)
	}
	m.method(r.Method)
	if s != nil || len(r.Method) > 0 { // else it was no request that could be read, and how it came is not known
		attributeText(m, "url.scheme", scheme(secured))
	}
	attributeText(m, "url.path", r.Path)
	attributeText(m, "url.query", r.Query)
	m.status(r.Status)
	if failed(r.Status, fault, 500) {
		m.failure(r.Status, fault)
	}
	attributeText(m, "network.protocol.version", version(r.Proto))
	if host, port := splitPort(r.Host, defaultPort(secured)); len(host) > 0 {
		attributeText(m, "server.address", host)
		m.attributeInt("server.port", port)
	}
	attributeText(m, "user_agent.original", r.UserAgent)
}

// ours writes what no convention has a name for.
func (m *message) ours(r *observe.Record) {
	if len(r.RequestID) > 0 {
		attributeText(m, "edge.request_id", r.RequestID)
	} else {
		m.scratch = observe.AppendHex(m.scratch[:0], r.ID[:])
		attributeText(m, "edge.request_id", m.scratch)
	}
	attributeText(m, "edge.listener", r.Listener)
	attributeText(m, "edge.route", r.Route)
	attributeText(m, "edge.upstream", r.Upstream)
	attributeText(m, "edge.reason", r.Reason)
	if r.Attempts > 1 {
		m.attributeInt("edge.attempts", int64(r.Attempts))
	}
	if r.GRPC {
		m.attributeInt("edge.grpc_status", int64(r.GRPCStatus))
	}
	attributeText(m, "edge.cache", r.Cache.Status)
	attributeText(m, "edge.tls_group", r.TLSGroup)
}

// attempted writes the attributes of a span of kind CLIENT.
func (m *message) attempted(r *observe.Record, s *observe.Span, a *observe.Attempt) {
	m.method(r.Method)
	host, port := a.Backend, defaultPort(a.Secured)
	socket := strings.HasPrefix(host, "/")
	if !socket {
		host, port = splitPort(host, port)
	}
	m.url(r, s, a, socket)
	attributeText(m, "server.address", host)
	if !socket {
		m.attributeInt("server.port", port)
	}
	if !socket && isAddress(host) {
		attributeText(m, "network.peer.address", host)
		m.attributeInt("network.peer.port", port)
	}
	attributeText(m, "network.protocol.version", version(a.Proto))
	m.status(a.Status)
	if failed(a.Status, a.Error, 400) {
		m.failure(a.Status, a.Error)
	}
	if a.Number > 1 {
		m.attributeInt("http.request.resend_count", int64(a.Number-1))
	}
	m.attributeSeconds("edge.queue", a.T.Queue)
	m.attributeSeconds("edge.dns", a.DNS)
	m.attributeSeconds("edge.connect", a.T.Connect)
	m.attributeSeconds("edge.tls", a.T.TLS)
	m.attributeSeconds("edge.first_byte", a.T.FirstByte)
	m.attributeSeconds("edge.body", a.T.Body)
	m.attributeBool("edge.reused", a.Reused)
	if a.Hedge {
		m.attributeBool("edge.hedged", true)
	}
}

// url writes url.full. The path of a Unix socket is no host: there the client's word for the host stands.
func (m *message) url(r *observe.Record, s *observe.Span, a *observe.Attempt, socket bool) {
	u := append(append(m.scratch[:0], scheme(a.Secured)...), "://"...)
	if socket {
		u = append(u, r.Host...)
	} else {
		u = append(u, a.Backend...)
	}
	target, query := s.Target, []byte(nil)
	if target == nil {
		target, query = r.Path, r.Query
	}
	if bytes.HasPrefix(target, []byte("/")) { // else it is "*", or the host of CONNECT
		u = append(u, target...)
	}
	if len(query) > 0 {
		u = append(append(u, '?'), query...)
	}
	m.scratch = u
	attributeText(m, "url.full", u)
}
