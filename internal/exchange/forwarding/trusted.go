package forwarding

import (
	"bytes"
	"net/netip"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/message"
)

// trustedRequest is Request for a request that a trusted proxy passed on: what it says stays, and its own address joins
// the list.
func trustedRequest(h *message.Head, name *Name, peer netip.Addr, f Facts) bool {
	if sift(h, &trusted, name) > loopsMax {
		return false
	}
	if !f.NoVia {
		h.AddID(message.Via, "Via", name.viaOf(h))
	}
	if h.Proto == message.HTTP10 {
		h.DelID(message.Expect)
	}
	if f.Forwarded && !says(h, message.Forwarded) {
		takeOver(h)
	}
	if !says(h, message.XForwardedProto) {
		h.DelID(message.XForwardedProto)
		h.AddID(message.XForwardedProto, "X-Forwarded-Proto", h.Scheme())
	}
	if !says(h, message.XForwardedHost) && h.Authority.Len > 0 {
		h.DelID(message.XForwardedHost)
		at := beginLine(h, message.XForwardedHost)
		h.Base = append(h.Base, h.Bytes(h.Authority)...)
		endLine(h, message.XForwardedHost, at)
	}
	if peer.IsValid() {
		at := beginLine(h, message.XForwardedFor)
		h.Base = observe.AppendIP(h.Base, peer)
		endLine(h, message.XForwardedFor, at)
	}
	if f.Forwarded || h.Has(message.Forwarded) {
		addElement(h, peer, f)
	}
	return true
}

// takeOver makes a Forwarded field from the X-Forwarded-* fields of a trusted proxy: RFC 7239 §7.4. The first element,
// which is about the client, has the host and the scheme.
func takeOver(h *message.Head) {
	if !says(h, message.XForwardedFor) && !says(h, message.XForwardedProto) {
		return
	}
	host := h.Peek(message.XForwardedHost)
	if _, _, ok := message.SplitAuthority(host); !ok {
		host = h.Bytes(h.Authority)
	}
	at, first := beginLine(h, message.Forwarded), true
	for item := range h.Elements(message.XForwardedFor) {
		ip, _ := parseForwarder(item)
		switch {
		case len(item) == 0:
		case first:
			appendElement(h, ip, host, h.Scheme())
			first = false
		default:
			h.Base = append(h.Base, ", "...)
			appendElement(h, ip, nil, "")
		}
	}
	if first {
		appendElement(h, netip.Addr{}, host, h.Scheme())
	}
	endLine(h, message.Forwarded, at)
}

// addElement adds what is known of the peer to Forwarded: RFC 7239.
func addElement(h *message.Head, peer netip.Addr, f Facts) {
	at, scheme := beginLine(h, message.Forwarded), "http"
	if f.Secured {
		scheme = "https"
	}
	appendElement(h, peer, h.Bytes(h.Authority), scheme)
	endLine(h, message.Forwarded, at)
}

// appendElement appends an element of Forwarded to the bytes of h, without a host or a scheme that is empty.
func appendElement(h *message.Head, ip netip.Addr, host []byte, scheme string) {
	switch {
	case !ip.IsValid():
		h.Base = append(h.Base, "for=unknown"...)
	case ip.Unmap().Is4():
		h.Base = observe.AppendIP(append(h.Base, "for="...), ip)
	default: // §6: in brackets, hence quoted
		h.Base = append(observe.AppendIP(append(h.Base, `for="[`...), ip), `]"`...)
	}
	if len(host) > 0 { // its characters need no escape: it has neither quotes nor backslashes
		h.Base = append(append(append(h.Base, `;host="`...), host...), '"')
	}
	if scheme != "" {
		h.Base = append(append(h.Base, ";proto="...), scheme...)
	}
}

// beginLine begins a line after the bytes of h with what the fields of that name say, which are dropped. RFC 9110
// §5.6.1.1: no empty member is sent before the member that is added.
func beginLine(h *message.Head, id message.Name) (at int) {
	at = len(h.Base)
	h.Base = append(append(h.Base, id.String()...), ": "...)
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.ID != id || f.Dropped() {
			continue
		}
		f.Flags |= message.Dropped
		if v := bytes.Trim(h.Value(i), ", \t"); len(v) > 0 {
			h.Base = append(append(h.Base, v...), ", "...)
		}
	}
	return at
}

// endLine makes a field of the line that began at at.
func endLine(h *message.Head, id message.Name, at int) {
	name := len(id.String())
	value := len(h.Base) - at - name - len(": ")
	h.Base = append(h.Base, '\r', '\n')
	h.AddLine(id, uint32(at), name, value)
}

// says reports whether the lists called id have a member. RFC 9110 §5.6.1.2: empty members are ignored.
func says(h *message.Head, id message.Name) bool {
	for element := range h.Elements(id) {
		if len(element) > 0 {
			return true
		}
	}
	return false
}
