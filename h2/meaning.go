package h2

import (
	"github.com/edge-proxy/edge/h2/hpack"
	"github.com/edge-proxy/edge/message"
)

// finishRequest gives the head of a request its meaning, or says why it has none (RFC 9113 §8.3.1). What reaches the
// caller is a head that could have come in HTTP/1 just so: the same rules for targets and hosts.
func (m *marks) finishRequest(h *message.Head, end bool, o *Options) *Error {
	if !m.has(hpack.Method) {
		return ErrPseudoMissing
	}
	h.Method = m.pseudo[hpack.Method]
	method := h.MethodBytes()
	if !message.ValidName(method) {
		return ErrMethod
	}
	h.Verb = message.LookupVerbBytes(method)
	h.Authority = m.pseudo[hpack.Authority]
	var e *Error
	switch {
	case m.has(hpack.Protocol):
		e = m.extendedConnect(h, !o.NoExtendedConnect)
	case h.Verb == message.VerbConnect:
		e = m.connect(h)
	default:
		e = m.target(h)
	}
	if e != nil {
		return e
	}
	// RFC 9112 §3: the line that the same request has in HTTP/1, where its limit is the limit of the target.
	if len(method)+int(h.Target.Len)+len("  HTTP/1.1\r\n") > o.requestLine() {
		return ErrTargetTooLong
	}
	if h.Upgrade || h.Verb == message.VerbConnect {
		// RFC 9110 §9.3.6: CONNECT does not have content; what a length would mean there, two parties may see
		// differently. What follows is the tunnel's.
		if m.length > 0 {
			return ErrConnectBody
		}
		h.Length = 0
	} else if e := m.body(h, end); e != nil {
		return e
	}
	if m.unmet { // RFC 9110 §10.1.1: a server that cannot meet an expectation MAY answer 417
		return ErrExpectation
	}
	h.Trailers = m.te
	h.Continue = m.expect && !end && h.Length != 0
	return nil
}

// target checks what says where an ordinary request goes.
func (m *marks) target(h *message.Head) *Error {
	if !m.has(hpack.Scheme) || !m.has(hpack.Path) {
		return ErrPseudoMissing
	}
	port := "80"
	switch string(h.Bytes(m.pseudo[hpack.Scheme])) {
	case "http":
	case "https":
		port, h.HTTPS = "443", true
	default:
		return ErrScheme // nothing else can be sent on
	}
	h.Target = m.pseudo[hpack.Path]
	path := h.Bytes(h.Target)
	// RFC 9113 §8.3.1: :path MUST NOT be empty for http and https; an OPTIONS request without a path has "*".
	if !message.ValidTarget(path) || path[0] != '/' &&
		(string(path) != "*" || h.Verb != message.VerbOptions || m.has(hpack.Protocol)) {
		return ErrPath
	}
	return m.authority(h, port)
}

// authority makes :authority and Host one. A request that two parties route to two places is refused.
func (m *marks) authority(h *message.Head, port string) *Error {
	// §8.3.1: :authority MUST NOT include the deprecated userinfo subcomponent for http or https. That no "@" is in it
	// is a part of what SplitAuthority checks.
	if m.has(hpack.Authority) {
		if _, _, ok := message.SplitAuthority(h.Bytes(h.Authority)); !ok {
			return ErrAuthority
		}
	}
	if !m.hasHost {
		if !m.has(hpack.Authority) {
			return ErrNoAuthority
		}
		return nil
	}
	host := h.Bytes(m.host)
	if _, _, ok := message.SplitAuthority(host); !ok {
		return ErrAuthority
	}
	if !m.has(hpack.Authority) {
		h.Authority = m.host
		return nil
	}
	// §8.3.1: a server SHOULD treat a request as malformed if it contains a Host header field that identifies an
	// entity that differs from the one in :authority.
	if !message.SameAuthority(h.Bytes(h.Authority), host, port) {
		return ErrHostMismatch
	}
	return nil
}

// connect: RFC 9113 §8.5, :scheme and :path MUST be omitted, :authority is host and port.
func (m *marks) connect(h *message.Head) *Error {
	if m.has(hpack.Scheme) || m.has(hpack.Path) {
		return ErrPseudoUnknown
	}
	if !m.has(hpack.Authority) {
		return ErrPseudoMissing
	}
	_, port, ok := message.SplitAuthority(h.Bytes(h.Authority))
	if !ok || len(port) == 0 {
		return ErrAuthority
	}
	if m.hasHost {
		// As in HTTP/1: the Host of a CONNECT may leave the port away.
		_, hostPort, _ := message.SplitAuthority(h.Bytes(m.host))
		if len(hostPort) == 0 {
			hostPort = port
		}
		if !message.SameAuthority(h.Bytes(h.Authority), h.Bytes(m.host), string(hostPort)) {
			return ErrHostMismatch
		}
	}
	h.Target = h.Authority
	return nil
}

// extendedConnect: RFC 8441 §4. It becomes what asks for the same in HTTP/1, GET with Upgrade. The two fields are for
// conditions, which would take it for a plain GET. Encoders pass them over: Head.Upgrade and Protocol say the same.
func (m *marks) extendedConnect(h *message.Head, ok bool) *Error {
	if !ok || h.Verb != message.VerbConnect {
		return ErrProtocol
	}
	h.Protocol = m.pseudo[hpack.Protocol]
	if !message.ValidName(h.Bytes(h.Protocol)) {
		return ErrProtocol
	}
	if !m.has(hpack.Authority) {
		return ErrPseudoMissing
	}
	if e := m.target(h); e != nil {
		return e
	}
	h.Method, h.Verb, h.Upgrade, h.Hops = put(h, "GET"), message.VerbGet, true, true
	h.AddID(message.Connection, "Connection", "Upgrade")
	h.AddBytes(message.Upgrade, "Upgrade", h.Bytes(h.Protocol))
	return nil
}

// body says how long the body is. With an unknown length an HTTP/1 encoder has to send it in chunks.
func (m *marks) body(h *message.Head, end bool) *Error {
	switch {
	case end && m.length > 0:
		return ErrLengthMismatch
	case end:
		h.Length = 0
	case m.length >= 0:
		h.Length = m.length
	default:
		h.Length, h.Chunked = message.LengthUnknown, true
	}
	return nil
}

// asked is what the stream has to remember of a request.
func asked(h *message.Head) (f streamFlags) {
	switch {
	case h.Upgrade:
		return extended
	case h.Verb == message.VerbHead:
		return headAsked
	case h.Verb == message.VerbConnect:
		return connectAsked
	}
	return 0
}

// finishResponse gives the head of an answer on s its meaning (RFC 9113 §8.3.2).
func (m *marks) finishResponse(h *message.Head, s *Stream, end bool) *Error {
	status := h.Bytes(m.pseudo[hpack.Status])
	if !m.has(hpack.Status) {
		return ErrPseudoMissing
	}
	n, ok := message.ParseLength(status)
	if !ok || len(status) != 3 || n < 100 || n > 599 {
		return ErrStatus
	}
	h.Status = uint16(n)
	switch {
	case n == 101:
		return ErrStatus // §8.6: HTTP/2 does not support the 101 (Switching Protocols) informational status code
	case n < 200:
		if s.interim >= maxInterim {
			return ErrManyInterim
		}
		if end {
			return ErrInterimEnd // §8.1
		}
		return nil
	case n < 300 && s.flag&(extended|connectAsked) != 0:
		h.Tunnel, h.Length = true, message.LengthUnknown
		s.flag |= tunnelled
		if s.flag&extended != 0 {
			h.Status, h.Upgrade, h.Protocol = 101, true, put(h, s.protocol)
		}
		return nil
	case n == 204, n == 304, s.flag&headAsked != 0:
		h.Length = 0 // RFC 9110 §6.4.1: no content, whatever Content-Length says
		return nil
	}
	return m.body(h, end)
}
