package proxy

import (
	"bytes"

	"github.com/edge-proxy/edge/message"
)

// viaName is how the proxy names itself in Via and Proxy-Status.
const viaName = "1.1 edge"

// forwarding is the filter that every route begins with: RFC 9110 §7.6. What concerns one hop only is dropped, Via is
// written, and the forwarding fields say who the client is; what a client claims in them is not believed.
var forwarding = &Filter{
	Name:             "forwarding",
	UpstreamRequest:  forwardRequest,
	UpstreamResponse: forwardResponse,
}

// notForwarded are the fields of a request that do not pass.
var notForwarded = func() (t [message.NameCount]bool) {
	for id := range message.NameCount {
		t[id] = message.HopByHop(id)
	}
	for _, id := range []message.Name{
		message.XForwardedFor, message.XForwardedHost, message.XForwardedProto, message.XForwardedPort,
		message.Forwarded, message.XRealIP,
	} {
		t[id] = true
	}
	return t
}()

// hopByHop are the fields of an answer that do not pass.
var hopByHop = func() (t [message.NameCount]bool) {
	for id := range message.NameCount {
		t[id] = message.HopByHop(id)
	}
	return t
}()

func dropAll(h *message.Head, t *[message.NameCount]bool) {
	for i := range h.Fields {
		if f := &h.Fields[i]; t[f.ID] {
			f.Dropped = true
		}
	}
}

func dropHopByHop(h *message.Head) { dropAll(h, &hopByHop) }

func forwardRequest(x *Exchange) {
	h := &x.Request
	dropAll(h, &notForwarded)
	peer := x.down.Peer()
	if !peer.IsUnix() {
		at := len(h.Base)
		h.Base = append(h.Base, "X-Forwarded-For"...)
		value := len(h.Base)
		h.Base = peer.IP.Addr().AppendTo(h.Base)
		h.Fields = append(h.Fields, message.Field{
			NameAt: uint32(at), NameLen: uint16(value - at), ID: message.XForwardedFor,
			ValueAt: uint32(value), ValueLen: uint32(len(h.Base) - value),
		})
	}
	if host := h.Authority; host.Len > 0 {
		at := uint32(len(h.Base))
		h.Base = append(h.Base, "X-Forwarded-Host"...)
		h.Fields = append(h.Fields, message.Field{
			NameAt: at, NameLen: uint16(len(h.Base)) - uint16(at), ID: message.XForwardedHost,
			ValueAt: host.At, ValueLen: host.Len,
		})
	}
	h.AddID(message.XForwardedProto, "X-Forwarded-Proto", "http")
	h.AddID(message.Via, "Via", viaName)
}

func forwardResponse(x *Exchange) {
	dropAll(&x.Response, &hopByHop)
	x.Response.AddID(message.Via, "Via", viaName)
}

// SetFields makes a filter that sets fields: of the request before it is sent on, of the answer before it is returned.
// An empty value removes the field. Names and values must be valid (message.ValidName, ValidValue).
func SetFields(request, response map[string]string) *Filter {
	f := &Filter{Name: "headers"}
	if len(request) > 0 {
		f.UpstreamRequest = func(x *Exchange) { setFields(&x.Request, request) }
	}
	if len(response) > 0 {
		f.Response = func(x *Exchange) Verdict {
			setFields(&x.Response, response)
			return Next
		}
	}
	return f
}

func setFields(h *message.Head, fields map[string]string) {
	for name, value := range fields {
		switch {
		case value == "":
			h.Del(name)
		case message.Lookup(name) == message.Host:
			h.SetAuthority(value)
		default:
			h.Set(name, value)
		}
	}
}

func prefersJSON(accept []byte) bool {
	return bytes.Contains(accept, []byte("json")) && !bytes.Contains(accept, []byte("html"))
}
