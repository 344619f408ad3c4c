package forwarding

import (
	"net/netip"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/observe"
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
	if !h.Has(message.XForwardedProto) {
		h.AddID(message.XForwardedProto, "X-Forwarded-Proto", h.Scheme())
	}
	if !h.Has(message.XForwardedHost) && h.Authority.Len > 0 {
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

// addElement adds what is known of the peer to Forwarded: RFC 7239.
func addElement(h *message.Head, peer netip.Addr, f Facts) {
	at := beginLine(h, message.Forwarded)
	switch {
	case !peer.IsValid():
		h.Base = append(h.Base, "for=unknown"...)
	case peer.Unmap().Is4():
		h.Base = observe.AppendIP(append(h.Base, "for="...), peer)
	default: // §6: in brackets, hence quoted
		h.Base = append(observe.AppendIP(append(h.Base, `for="[`...), peer), `]"`...)
	}
	if h.Authority.Len > 0 { // its characters need no escape: it has neither quotes nor backslashes
		h.Base = append(h.Base, `;host="`...)
		h.Base = append(append(h.Base, h.Bytes(h.Authority)...), '"')
	}
	h.Base = append(h.Base, ";proto=http"...)
	if f.Secured {
		h.Base = append(h.Base, 's')
	}
	endLine(h, message.Forwarded, at)
}

// beginLine begins a line after the bytes of h with what the fields of that name say, which are dropped.
func beginLine(h *message.Head, id message.Name) (at int) {
	at = len(h.Base)
	h.Base = append(append(h.Base, id.String()...), ": "...)
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.ID != id || f.Dropped() {
			continue
		}
		f.Flags |= message.Dropped
		if f.ValueLen > 0 {
			h.Base = append(append(h.Base, h.Value(i)...), ", "...)
		}
	}
	return at
}

// endLine makes a field of the line that began at at.
func endLine(h *message.Head, id message.Name, at int) {
	name := len(id.String())
	value := len(h.Base) - at - name - len(": ")
	h.Base = append(h.Base, '\r', '\n')
	h.Fields = append(h.Fields, field(id, uint32(at), name, value))
}
