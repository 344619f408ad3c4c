package h1

import "github.com/edge-proxy/edge/message"

// resolve checks target and Host together and sets Authority, and for the absolute form HTTPS and Target.
func resolve(h *message.Head, m *marks) *Error {
	// RFC 9112 §3.2: A server MUST respond with a 400 to any HTTP/1.1 request message that lacks a Host header field
	// and to any request message that contains more than one Host header field line or one with an invalid value.
	if m.seen>>message.Host&1 != 0 {
		if m.twice>>message.Host&1 != 0 {
			return errManyHosts
		}
		f := &h.Fields[m.at[message.Host]]
		h.Authority = message.Span{At: f.ValueAt, Len: f.ValueLen}
		if _, _, ok := message.SplitAuthority(h.Bytes(h.Authority)); !ok {
			return ErrHost
		}
	} else if h.Proto == message.HTTP11 {
		return ErrNoHost
	}
	t := h.Bytes(h.Target)
	switch {
	case h.Verb == message.VerbConnect:
		return authorityForm(h, t)
	case t[0] == '/':
		return nil
	case t[0] == '*':
		// RFC 9112 §3.2.4: The asterisk-form is only used for a server-wide OPTIONS request.
		if len(t) == 1 && h.Verb == message.VerbOptions {
			return nil
		}
		return errTarget
	}
	return absoluteForm(h, t)
}

// authorityForm: RFC 9112 §3.2.3, only used for CONNECT, uri-host ":" port and both are needed.
func authorityForm(h *message.Head, t []byte) *Error {
	host, port, ok := message.SplitAuthority(t)
	if !ok || len(port) == 0 {
		return errTarget
	}
	if h.Authority.Len > 0 {
		given, givenPort, _ := message.SplitAuthority(h.Bytes(h.Authority))
		if !message.EqualFoldBytes(host, given) || len(givenPort) > 0 && string(givenPort) != string(port) {
			return errHostMismatch
		}
	}
	h.Authority = h.Target
	return nil
}

// absoluteForm: RFC 9112 §3.2.2. A server MUST accept it. Its authority replaces Host. Where they
// differ two parties would route the request to two places, so it is refused.
func absoluteForm(h *message.Head, t []byte) *Error {
	scheme, port := len("http"), "80"
	if !message.EqualFold(prefix(t, len("http://")), "http://") {
		scheme, port = len("https"), "443"
		if !message.EqualFold(prefix(t, len("https://")), "https://") {
			return errTarget
		}
	}
	at := scheme + len("://")
	end := at
	for end < len(t) && t[end] != '/' && t[end] != '?' {
		end++
	}
	if _, _, ok := message.SplitAuthority(t[at:end]); !ok {
		return errTarget
	}
	if h.Authority.Len > 0 && !message.SameAuthority(t[at:end], h.Bytes(h.Authority), port) {
		return errHostMismatch
	}
	start := h.Target.At
	h.HTTPS = scheme == len("https")
	h.Authority = message.Span{At: start + uint32(at), Len: uint32(end - at)}
	h.Target = message.Span{At: start + uint32(end), Len: uint32(len(t) - end)}
	switch {
	case end < len(t) && t[end] == '/':
	case end < len(t):
		h.SetTarget("/" + string(t[end:])) // copies the head: rare enough
	case h.Verb == message.VerbOptions:
		h.SetTarget("*") // RFC 9112 §3.2.4
	default:
		h.Target = message.Span{At: start + uint32(scheme) + 1, Len: 1} // the slash of "http://"
	}
	return nil
}

func prefix(b []byte, n int) []byte { return b[:min(n, len(b))] }
