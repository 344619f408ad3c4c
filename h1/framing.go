package h1

import "github.com/edge-proxy/edge/message"

const (
	bodyMarks = 1<<message.ContentLength | 1<<message.TransferEncoding
	hopMarks  = 1<<message.KeepAlive | 1<<message.ProxyConnection | 1<<message.TE | 1<<message.TransferEncoding |
		1<<message.Upgrade | 1<<message.HTTP2Settings | 1<<message.ProxyAuthenticate | 1<<message.ProxyAuthorization
)

// frameRequest decides from the fields of h how its body ends and whether the connection persists: Length, Chunked,
// Close, Upgrade, Trailers and Continue of h. Fields that Connection names are dropped.
func frameRequest(h *message.Head, m *marks) *Error {
	// RFC 9112 §6.3, 7: If this is a request message and none of the above are true, the body length is zero.
	h.Length, h.Chunked = 0, false
	if m.seen&bodyMarks != 0 {
		if e := frameBody(h, m); e != nil {
			return e
		}
	}
	// RFC 9110 §9.3.6: a CONNECT request does not have content; what a length would mean there, two parties may see
	// differently.
	if h.Verb == message.VerbConnect && h.Length != 0 {
		return errConnectBody
	}
	if e := persist(h, m); e != nil {
		return e
	}
	// RFC 9110 §10.1.1: a server that receives 100-continue in an HTTP/1.0 request MUST ignore that expectation, and
	// may omit the interim answer when the framing says that there is no content.
	h.Continue = false
	if m.has(message.Expect) && h.Proto == message.HTTP11 {
		asked, e := expectation(h)
		if e != nil {
			return e
		}
		h.Continue = asked && h.Length != 0
	}
	h.Trailers = m.has(message.TE) && h.Proto == message.HTTP11 && acceptsTrailers(h)
	return nil
}

// acceptsTrailers looks for trailers among what TE lists (RFC 9110 §10.1.4).
func acceptsTrailers(h *message.Head) bool {
	for coding := range h.Elements(message.TE) {
		if message.EqualFold(coding, "trailers") {
			return true
		}
	}
	return false
}

// frameResponse is frameRequest for the answer to a request of method v. tunnel says whether that asked for a tunnel.
func frameResponse(h *message.Head, m *marks, v message.Verb, tunnel bool) *Error {
	h.Length, h.Chunked = message.LengthUnknown, false
	if m.seen&bodyMarks != 0 {
		// Checked for answers without a body too: a server that writes it wrong there does so elsewhere.
		if e := frameBody(h, m); e != nil {
			return e
		}
	}
	switch {
	// RFC 9112 §6.3, 1: Any response to a HEAD request and any response with a 1xx, 204, or 304 status code is always
	// terminated by the first empty line after the header fields.
	case h.Status == 101 && tunnel && v != message.VerbConnect:
		return frameSwitch(h, m)
	case h.Status == 101:
		return ErrSwitchedProtocols
	case h.Status < 200, h.Status == 204, h.Status == 304, v == message.VerbHead:
		h.Length, h.Chunked = 0, false
	case v == message.VerbConnect && h.Status < 300:
		if !tunnel {
			return errTunnel
		}
		// §6.3, 2: the connection becomes a tunnel, and a client MUST ignore Content-Length and Transfer-Encoding.
		h.Length, h.Chunked, h.Tunnel = message.LengthUnknown, false, true
	}
	if e := persist(h, m); e != nil {
		return e
	}
	if h.Length == message.LengthUnknown && !h.Chunked {
		h.Close = true // §6.3, 8: the body ends with the connection
	}
	return nil
}

// frameSwitch frames a 101 that was asked for. RFC 9110 §15.2.2: the server MUST generate an Upgrade header field in
// the response that indicates which protocol will be in effect.
func frameSwitch(h *message.Head, m *marks) *Error {
	if e := persist(h, m); e != nil {
		return e
	}
	if !h.Upgrade {
		return errUpgrade
	}
	h.Length, h.Chunked, h.Tunnel, h.Close = message.LengthUnknown, false, true, true
	return nil
}

// expectation reports whether 100-continue is expected, and refuses what else is: RFC 9110 §10.1.1.
func expectation(h *message.Head) (asked bool, e *Error) {
	for element := range h.Elements(message.Expect) {
		switch {
		case message.EqualFold(element, "100-continue"):
			asked = true
		case len(element) > 0:
			return false, errExpectation
		}
	}
	return asked, nil
}

// frameBody reads Transfer-Encoding and Content-Length.
func frameBody(h *message.Head, m *marks) *Error {
	if m.has(message.TransferEncoding) {
		// RFC 9112 §6.1: A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding header
		// field MUST treat the message as if the framing is faulty.
		if h.Proto == message.HTTP10 {
			return errCodingInHTTP10
		}
		// RFC 9112 §6.3, 3: such a message might indicate an attempt to perform request smuggling or response
		// splitting and ought to be handled as an error.
		if m.has(message.ContentLength) {
			return errLengthAndCoding
		}
		h.Length, h.Chunked = message.LengthUnknown, true
		return checkCodings(h, m)
	}
	// RFC 9112 §6.3, 5: an invalid Content-Length is an unrecoverable error. A list of equal values may be accepted
	// and is not: its sender has merged two messages.
	if m.twice>>message.ContentLength&1 != 0 {
		return errManyLengths
	}
	n, ok := message.ParseLength(h.Value(int(m.at[message.ContentLength])))
	if !ok {
		return errContentLength
	}
	h.Length = n
	return nil
}

// checkCodings wants chunked, once, and nothing else (RFC 9112 §6.1, §7).
func checkCodings(h *message.Head, m *marks) *Error {
	v := h.Value(int(m.at[message.TransferEncoding]))
	if m.twice>>message.TransferEncoding&1 == 0 && message.EqualFold(v, "chunked") {
		return nil
	}
	for coding := range h.Elements(message.TransferEncoding) {
		switch {
		case message.EqualFold(coding, "chunked"):
		case message.ValidName(coding):
			// §6.1: A server that receives a request message with a transfer coding it does not understand
			// SHOULD respond with 501.
			return errTransferCoding
		default:
			return errTransferEncoding
		}
	}
	return errTransferEncoding // §6.1: chunked MUST NOT be applied more than once
}

// persist reads Connection: Close, Upgrade, and the fields that end here.
func persist(h *message.Head, m *marks) *Error {
	h.Upgrade = false
	if m.seen&hopMarks != 0 {
		h.Hops = true
	}
	if m.has(message.Connection) {
		v := h.Value(int(m.at[message.Connection]))
		if m.twice>>message.Connection&1 == 0 && (string(v) == "keep-alive" || message.EqualFold(v, "keep-alive")) {
			h.Close = false
			return nil
		}
		return connectionOptions(h, m)
	}
	// RFC 9112 §9.3: an HTTP/1.1 connection persists unless close is present, an HTTP/1.0 one if keep-alive is.
	h.Close = h.Proto == message.HTTP10
	return nil
}

func connectionOptions(h *message.Head, m *marks) *Error {
	closes, keeps, upgrades, count := false, false, false, 0
	for option := range h.Elements(message.Connection) {
		switch {
		case len(option) == 0: // RFC 9110 §5.6.1.2: empty elements are to be ignored
		case message.EqualFold(option, "close"):
			closes = true
		case message.EqualFold(option, "keep-alive"):
			keeps = true
		case message.EqualFold(option, "upgrade"):
			upgrades = true
		case !message.ValidName(option):
			return errConnection
		default:
			dropNamed(h, option)
		}
		if count++; count > connectionOptionsMax {
			return errConnection
		}
	}
	// RFC 9112 §9.3: close wins over keep-alive.
	h.Close = closes || h.Proto == message.HTTP10 && !keeps
	// RFC 9110 §7.8: A server that receives an Upgrade header field in an HTTP/1.0 request MUST ignore that field.
	if h.Upgrade = upgrades && m.has(message.Upgrade) && h.Proto == message.HTTP11; h.Upgrade {
		f := &h.Fields[m.at[message.Upgrade]]
		h.Protocol = message.Span{At: f.ValueAt, Len: f.ValueLen}
	}
	return nil
}

// dropNamed drops the fields that a connection option names (RFC 9110 §7.6.1). Framing fields stay: encoders do not
// write them, and the message must not change its meaning when it is looked at again. So do those by which proxies name
// the client: a trusted proxy may pass its client's Connection on (CVE-2024-45410).
func dropNamed(h *message.Head, option []byte) {
	id := message.LookupBytes(option)
	if id.Framing() || id.Claims() || message.IsForwarding(option) {
		return
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.ID == id && (id != message.Other || message.EqualFoldBytes(h.Name(i), option)) {
			f.Flags |= message.Dropped
			h.Hops = true
		}
	}
}
