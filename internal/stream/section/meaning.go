package section

import "github.com/edge-proxy/edge/message"

// Request gives the head of a request its meaning, or says why it has none (RFC 9113 §8.3.1, RFC 9114 §4.3.1). A head
// without a fault could have come in HTTP/1 just so: the same rules for targets and hosts. end says that no body
// follows.
func (s *Section) Request(h *message.Head, end bool, l *Limits) Fault {
	if s.fault != NoFault {
		return s.fault
	}
	if !s.has(Method) {
		return FaultPseudoMissing
	}
	h.Method = s.pseudo[Method]
	method := h.MethodBytes()
	if !message.ValidName(method) {
		return FaultMethod
	}
	h.Verb = message.LookupVerbBytes(method)
	h.Authority = s.pseudo[Authority]
	var e Fault
	switch {
	case s.has(Protocol):
		e = s.extendedConnect(h, !l.NoExtendedConnect)
	case h.Verb == message.VerbConnect:
		e = s.connect(h)
	default:
		e = s.target(h)
	}
	if e != NoFault {
		return e
	}
	// RFC 9112 §3: the line that the same request has in HTTP/1, where its limit is the limit of the target.
	if len(method)+int(h.Target.Len)+len("  HTTP/1.1\r\n") > l.RequestLine {
		return FaultTargetTooLong
	}
	if h.Upgrade || h.Verb == message.VerbConnect {
		// RFC 9110 §9.3.6: CONNECT does not have content; what a length would mean there, two parties may see
		// differently. What follows is the tunnel's.
		if s.length > 0 {
			return FaultConnectBody
		}
		h.Length = 0
	} else if e := s.body(h, end); e != NoFault {
		return e
	}
	if s.unmet { // RFC 9110 §10.1.1: a server that cannot meet an expectation MAY answer 417
		return FaultExpectation
	}
	h.Trailers = s.te
	h.Continue = s.expect && !end && h.Length != 0
	return NoFault
}

// target checks what says where an ordinary request goes.
func (s *Section) target(h *message.Head) Fault {
	if !s.has(Scheme) || !s.has(Path) {
		return FaultPseudoMissing
	}
	port := "80"
	switch string(h.Bytes(s.pseudo[Scheme])) {
	case "http":
	case "https":
		port, h.HTTPS = "443", true
	default:
		return FaultScheme // nothing else can be sent on
	}
	h.Target = s.pseudo[Path]
	path := h.Bytes(h.Target)
	// RFC 9113 §8.3.1: :path MUST NOT be empty for http and https; an OPTIONS request without a path has "*".
	if !message.ValidTarget(path) || path[0] != '/' &&
		(string(path) != "*" || h.Verb != message.VerbOptions || s.has(Protocol)) {
		return FaultPath
	}
	return s.authority(h, port)
}

// authority makes :authority and Host one. A request that two parties route to two places is refused.
func (s *Section) authority(h *message.Head, port string) Fault {
	// §8.3.1: :authority MUST NOT include the deprecated userinfo subcomponent for http or https. SplitAuthority
	// refuses its "@".
	if s.has(Authority) {
		if _, _, ok := message.SplitAuthority(h.Bytes(h.Authority)); !ok {
			return FaultAuthority
		}
	}
	if !s.hasHost {
		if !s.has(Authority) {
			return FaultNoAuthority
		}
		return NoFault
	}
	host := h.Bytes(s.host)
	if _, _, ok := message.SplitAuthority(host); !ok {
		return FaultAuthority
	}
	if !s.has(Authority) {
		h.Authority = s.host
		return NoFault
	}
	// §8.3.1: a server SHOULD treat a request as malformed if it contains a Host header field that identifies an
	// entity that differs from the one in :authority.
	if !message.SameAuthority(h.Bytes(h.Authority), host, port) {
		return FaultHostMismatch
	}
	return NoFault
}

// connect: RFC 9113 §8.5, :scheme and :path MUST be omitted, :authority is host and port.
func (s *Section) connect(h *message.Head) Fault {
	if s.has(Scheme) || s.has(Path) {
		return FaultPseudoUnknown
	}
	if !s.has(Authority) {
		return FaultPseudoMissing
	}
	_, port, ok := message.SplitAuthority(h.Bytes(h.Authority))
	if !ok || len(port) == 0 {
		return FaultAuthority
	}
	if s.hasHost {
		// As in HTTP/1: the Host of a CONNECT may leave the port away.
		_, hostPort, _ := message.SplitAuthority(h.Bytes(s.host))
		if len(hostPort) == 0 {
			hostPort = port
		}
		if !message.SameAuthority(h.Bytes(h.Authority), h.Bytes(s.host), string(hostPort)) {
			return FaultHostMismatch
		}
	}
	h.Target = h.Authority
	return NoFault
}

// extendedConnect: RFC 8441 §4. It becomes what asks for the same in HTTP/1, GET with Upgrade. The two fields are for
// conditions, which would take it for a plain GET. Encoders pass them over: Head.Upgrade and Protocol say the same.
func (s *Section) extendedConnect(h *message.Head, ok bool) Fault {
	if !ok || h.Verb != message.VerbConnect {
		return FaultProtocol
	}
	h.Protocol = s.pseudo[Protocol]
	if !message.ValidName(h.Bytes(h.Protocol)) {
		return FaultProtocol
	}
	if !s.has(Authority) {
		return FaultPseudoMissing
	}
	if e := s.target(h); e != NoFault {
		return e
	}
	h.Method, h.Verb, h.Upgrade, h.Hops = put(h, "GET"), message.VerbGet, true, true
	h.AddID(message.Connection, "Connection", "Upgrade")
	h.AddBytes(message.Upgrade, "Upgrade", h.Bytes(h.Protocol))
	return NoFault
}

// body says how long the body is. With an unknown length an HTTP/1 encoder has to send it in chunks.
func (s *Section) body(h *message.Head, end bool) Fault {
	switch {
	case end && s.length > 0:
		return FaultLengthMismatch
	case end:
		h.Length = 0
	case s.length >= 0:
		h.Length = s.length
	default:
		h.Length, h.Chunked = message.LengthUnknown, true
	}
	return NoFault
}

// Asked says what a request asks for, as far as its answer depends on it.
type Asked uint8

// The kinds of requests.
const (
	ForContent Asked = iota // any other request
	ForHead                 // HEAD
	ForTunnel               // CONNECT
	ForUpgrade              // an extended CONNECT
)

// AskedBy returns what the request with head h asks for.
func AskedBy(h *message.Head) Asked {
	switch {
	case h.Upgrade:
		return ForUpgrade
	case h.Verb == message.VerbHead:
		return ForHead
	case h.Verb == message.VerbConnect:
		return ForTunnel
	}
	return ForContent
}

// Tunnel reports whether an answer with 2xx makes a tunnel.
func (a Asked) Tunnel() bool { return a >= ForTunnel }

// Response gives the head of an answer its meaning (RFC 9113 §8.3.2, RFC 9114 §4.3.2). protocol is :protocol of an
// extended CONNECT. A tunnel has Head.Tunnel.
func (s *Section) Response(h *message.Head, asked Asked, protocol string, end bool) Fault {
	if s.fault != NoFault {
		return s.fault
	}
	status := h.Bytes(s.pseudo[Status])
	if !s.has(Status) {
		return FaultPseudoMissing
	}
	n, ok := message.ParseLength(status)
	if !ok || len(status) != 3 || n < 100 || n > 599 {
		return FaultStatus
	}
	h.Status = uint16(n)
	switch {
	case n == 101:
		return FaultStatus // §8.6: HTTP/2 does not support the 101 (Switching Protocols) informational status code
	case n < 200:
		if end {
			return FaultInterimEnd // §8.1
		}
		return NoFault
	case n < 300 && asked.Tunnel():
		h.Tunnel, h.Length = true, message.LengthUnknown
		if asked == ForUpgrade {
			h.Status, h.Upgrade, h.Protocol = 101, true, put(h, protocol)
		}
		return NoFault
	case n == 204, n == 304, asked == ForHead:
		h.Length = 0 // RFC 9110 §6.4.1: no content, whatever Content-Length says
		return NoFault
	}
	return s.body(h, end)
}
