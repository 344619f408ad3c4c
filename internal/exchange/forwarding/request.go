package forwarding

import (
	"net/netip"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/message"
)

// Facts are what the fields of one request depend on beside its head and the address of the client's connection.
type Facts struct {
	Secured   bool // the client's connection is
	Trusted   bool // what the request says of its client is believed
	Forwarded bool // write Forwarded (RFC 7239) beside X-Forwarded-*
	NoVia     bool // lenient: no Via is written, against RFC 9110 §7.6.3
}

// What becomes of a field of a request.
const (
	pass  uint8 = iota
	drop        // it ends here
	count       // Via
	look        // the name has no number, and may be a name that ends here all the same: see Claims
)

// fate says by name what happens to the fields of a request. It has a place for all that a Name can hold.
type fate [256]uint8

// trusted is for the requests of a trusted proxy: only what concerns one hop is dropped.
var trusted = func() (t fate) {
	for id := range message.NameCount {
		if message.HopByHop(id) {
			t[id] = drop
		}
	}
	t[message.Via] = count
	return t
}()

// untrusted is for all other peers: what only a proxy has to say is dropped too.
var untrusted = func() fate {
	t := trusted
	for id := range message.NameCount {
		if id.Claims() {
			t[id] = drop
		}
	}
	t[message.Other] = look
	return t
}()

// Claims reports whether field i of h, whose name has no number, is taken for a field that only a proxy has to say, or
// for a framing field, at least by an origin that cannot tell "_" from "-".
func Claims(h *message.Head, i int) bool {
	name := h.Name(i)
	if message.IsForwarding(name) {
		return true
	}
	if !h.Underscores {
		return false
	}
	id := message.LookupSpelled(name)
	return id.Framing() || untrusted[id] == drop
}

// DropHopByHop drops the fields of an answer that do not pass.
func DropHopByHop(h *message.Head) {
	for i := range h.Fields {
		if f := &h.Fields[i]; message.HopByHop(f.ID) {
			f.Flags |= message.Dropped
		}
	}
}

// DropNamed drops the trailer fields that Connection names in the head of their message. RFC 9110 §7.6.1: an
// intermediary MUST remove any header or trailer field(s) from the message with the same name as a connection option.
func DropNamed(head, trailers *message.Head) {
	for i := range head.Fields {
		if head.Fields[i].ID != message.Connection {
			continue
		}
		for list, more := head.Value(i), true; more; {
			var option []byte
			option, list, more = message.CutElement(list)
			trailers.Del(string(option))
		}
	}
}

// The lines that are added to a request, up to what differs from one to the next. They stand together in Base, as they
// are written on the wire: an encoder copies them in one go.
const (
	protoLine = "X-Forwarded-Proto: "
	forLine   = "X-Forwarded-For: "
	hostLine  = "X-Forwarded-Host: "
)

// Request makes h what is sent on: fields that concern one hop only are dropped, Via is written, and the forwarding
// fields tell about the client. What h claims of that is dropped, unless f trusts it. peer is the address of the
// client's connection, invalid on a Unix socket. It reports false for a request that goes in circles.
func Request(h *message.Head, name *Name, peer netip.Addr, f Facts) bool {
	if f.Trusted {
		return trustedRequest(h, name, peer, f)
	}
	if sift(h, &untrusted, name) > loopsMax {
		return false
	}
	at := uint32(len(h.Base))
	lines, scheme := name.lines, len("http")
	if h.HTTPS {
		lines, scheme = name.linesTLS, len("https")
	}
	via := uint32(len("Via: \r\n") + len(name.via))
	if f.NoVia {
		lines, via = lines[via:], 0
	}
	if !peer.IsValid() {
		lines = lines[:len(lines)-len(forLine)]
	}
	h.Base = append(h.Base, lines...)
	if h.Proto != message.HTTP11 { // RFC 9110 §7.6.3: the version that the message came in
		if via > 0 {
			copy(h.Base[int(at)+len("Via: "):], name.viaOf(h))
		}
		if h.Proto == message.HTTP10 {
			h.DelID(message.Expect) // §10.1.1: it means nothing there, and would where it goes
		}
	}
	if via > 0 {
		h.AddLine(message.Via, at, len("Via"), len(name.via))
	}
	h.AddLine(message.XForwardedProto, at+via, len("X-Forwarded-Proto"), scheme)
	if peer.IsValid() {
		at = uint32(len(h.Base))
		h.Base = observe.AppendIP(h.Base, peer)
		h.AddLine(message.XForwardedFor, at-uint32(len(forLine)), len("X-Forwarded-For"), len(h.Base)-int(at))
		h.Base = append(h.Base, '\r', '\n')
	}
	if host := h.Authority; host.Len > 0 {
		at = uint32(len(h.Base))
		h.Base = append(h.Base, hostLine...)
		h.Base = append(h.Base, h.Bytes(host)...)
		h.Base = append(h.Base, '\r', '\n')
		h.AddLine(message.XForwardedHost, at, len("X-Forwarded-Host"), int(host.Len))
	}
	if f.Forwarded {
		addElement(h, peer, f)
	}
	return true
}

// sift drops fields that do not pass, and counts how often the request came through a proxy of our name.
func sift(h *message.Head, t *fate, name *Name) (ours int) {
	fields := h.Fields
	for i := range fields {
		switch f := &fields[i]; t[f.ID] {
		case pass:
		case drop:
			f.Flags |= message.Dropped
		case count:
			ours += name.count(h.Value(i))
		case look:
			if Claims(h, i) {
				f.Flags |= message.Dropped
			}
		}
	}
	return ours
}

// Response makes h, the head of an answer, what is sent to the client. A gateway may do without Via there (RFC 9110
// §7.6.3): noVia.
func Response(h *message.Head, name *Name, noVia bool) {
	if h.Hops {
		DropHopByHop(h)
	}
	if !noVia {
		h.AddID(message.Via, "Via", name.viaOf(h))
	}
}
