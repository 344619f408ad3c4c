package proxy

import (
	"bytes"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/observe"
)

// DefaultName is how a Proxy names itself in Via and Proxy-Status unless SetName says otherwise.
const DefaultName = "edge"

// loopsMax is how often a request may have come through proxies of our name before it counts as going in circles.
const loopsMax = 8

// naming is a name of a proxy in the texts that it stands in.
// Immutable.
type naming struct {
	name   string
	via    string // the value of Via
	via10  string // the same for a message of HTTP/1.0
	via20  string // and of HTTP/2
	before string // the lines that every request gets: Via, and X-Forwarded-Proto for a client that asked by http

	beforeTLS string // the same for one that asked by https
}

func newNaming(name string) *naming {
	via := "1.1 " + name
	lines := "Via: " + via + "\r\n" + protoLine
	return &naming{name, via, "1.0 " + name, "2.0 " + name, lines + "http\r\n", lines + "https\r\n"}
}

// viaOf is the value of Via for a message: RFC 9110 §7.6.3 wants the version that it came in.
func (n *naming) viaOf(h *message.Head) string {
	switch h.Proto {
	case message.HTTP10:
		return n.via10
	case message.HTTP20:
		return n.via20
	}
	return n.via
}

// forwarding is the filter that every route begins with: RFC 9110 §7.6. What concerns one hop only is dropped, Via is
// written, and the forwarding fields say who the client is; what a client claims in them is not believed.
var forwarding = &Filter{
	Name:             "forwarding",
	UpstreamRequest:  forwardRequest,
	UpstreamResponse: forwardResponse,
}

// What forwarding does with a field of a request.
const (
	pass  uint8 = iota
	drop        // it ends here
	count       // Via
	look        // the name has no number, and may be one that ends here all the same: see claims
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

// untrusted is for everybody else: what only a proxy has to say is dropped too.
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

// claims reports whether field i of h, whose name has no number, is taken for one that only a proxy has to say, or for
// one of framing, at least by an origin that cannot tell "_" from "-".
func claims(h *message.Head, i int) bool {
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

// dropHopByHop drops the fields of an answer that do not pass.
func dropHopByHop(h *message.Head) {
	for i := range h.Fields {
		if f := &h.Fields[i]; message.HopByHop(f.ID) {
			f.Flags |= message.Dropped
		}
	}
}

// dropNamed drops the trailer fields that Connection names in the head of their message. RFC 9110 §7.6.1: an
// intermediary MUST remove any header or trailer field(s) from the message with the same name as a connection option.
func dropNamed(head, trailers *message.Head) {
	for i := range head.Fields {
		if head.Fields[i].ID != message.Connection {
			continue
		}
		for list, more := head.Value(i), true; more; {
			var option []byte
			option, list, more = bytes.Cut(list, []byte{','})
			trailers.Del(string(bytes.Trim(option, " \t")))
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

func forwardRequest(x *Exchange) {
	h := &x.Request
	name := x.proxy.naming
	if x.trusted {
		x.forwardChain(name)
		return
	}
	if sift(h, &untrusted, name) > loopsMax {
		x.refusal = faultLoop
		return
	}
	at := uint32(len(h.Base))
	before, scheme := name.before, len("http")
	if h.HTTPS {
		before, scheme = name.beforeTLS, len("https")
	}
	h.Base = append(h.Base, before...)
	if h.Proto != message.HTTP11 { // RFC 9110 §7.6.3: the version that the message came in
		copy(h.Base[int(at)+len("Via: "):], name.viaOf(h))
		if h.Proto == message.HTTP10 {
			h.Drop(message.Expect) // §10.1.1: it means nothing there, and would where it goes
		}
	}
	h.Fields = append(h.Fields,
		field(message.Via, at, len("Via"), len(name.via)),
		field(message.XForwardedProto, at+uint32(len(before)-len("\r\n")-scheme-len(protoLine)),
			len("X-Forwarded-Proto"), scheme))
	if peer := x.down.Peer(); !peer.IsUnix() {
		at = uint32(len(h.Base))
		h.Base = append(h.Base, forLine...)
		h.Base = observe.AppendIP(h.Base, peer.IP.Addr())
		h.Fields = append(h.Fields, field(message.XForwardedFor, at, len("X-Forwarded-For"),
			len(h.Base)-int(at)-len(forLine)))
		h.Base = append(h.Base, '\r', '\n')
	}
	if host := h.Authority; host.Len > 0 {
		at = uint32(len(h.Base))
		h.Base = append(h.Base, hostLine...)
		h.Base = append(h.Base, h.Bytes(host)...)
		h.Base = append(h.Base, '\r', '\n')
		h.Fields = append(h.Fields, field(message.XForwardedHost, at, len("X-Forwarded-Host"), int(host.Len)))
	}
	if x.listener.Forwarded {
		x.forwardElement()
	}
}

// sift drops what of a request does not pass, and counts how often it came through a proxy of our name.
func sift(h *message.Head, t *fate, name *naming) (ours int) {
	fields := h.Fields
	for i := range fields {
		switch f := &fields[i]; t[f.ID] {
		case pass:
		case drop:
			f.Flags |= message.Dropped
		case count:
			ours += name.count(h.Value(i))
		case look:
			if claims(h, i) {
				f.Flags |= message.Dropped
			}
		}
	}
	return ours
}

// count returns how many elements of a Via field are of that name: RFC 9110 §7.6.3.
func (n *naming) count(via []byte) (ours int) {
	for len(via) > 0 {
		item := via
		if comma := bytes.IndexByte(via, ','); comma >= 0 {
			item, via = via[:comma], via[comma+1:]
		} else {
			via = nil
		}
		item = bytes.Trim(item, " \t")
		by := item[bytes.IndexByte(item, ' ')+1:]
		if end := bytes.IndexByte(by, ' '); end >= 0 { // a comment
			by = by[:end]
		}
		if string(by) == n.name {
			ours++
		}
	}
	return ours
}

// field is a line at at of Base: the name, ": ", the value.
func field(id message.Name, at uint32, name, value int) message.Field {
	return message.Field{
		NameAt: at, NameLen: uint16(name), ID: id,
		ValueAt: at + uint32(name) + 2, ValueLen: uint32(value),
	}
}

func forwardResponse(x *Exchange) {
	if x.Response.Hops {
		dropHopByHop(&x.Response)
	}
	x.Response.AddID(message.Via, "Via", x.proxy.naming.viaOf(&x.Response))
}

func prefersJSON(accept []byte) bool {
	return bytes.Contains(accept, []byte("json")) && !bytes.Contains(accept, []byte("html"))
}
