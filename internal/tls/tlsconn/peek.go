package tlsconn

import "sync"

// peekWireMax bounds the records of a ClientHello for Peek, which walks over all of them at each call. Only an attacker
// sends many records of a few bytes.
const peekWireMax = 18 << 10

// Hello is what a ClientHello says to any reader: enough to choose a backend without terminating TLS. Where it
// has an Encrypted Client Hello, this is the outer one.
// Owned by its caller. One Hello serves any number of connections, one after the other.
type Hello struct {
	// ServerName is the name that the client asks for (RFC 6066 §3), empty when it names none. Peek does not check that
	// it is a host name: its case, length and bytes are the client's, but it does not end with a dot.
	// Borrowed from Peek's b or from Scratch, until either changes.
	ServerName []byte

	// Scratch is where Peek puts a ClientHello together that lies in several records. Peek allocates it, at most
	// 16 KiB and not before the ClientHello is whole, and uses it again.
	Scratch []byte

	protocols fields // the names of ALPN, each a vector; borrowed like ServerName
}

// hellos lends a Hello to code that hands it to a function value: it would be allocated for each connection there.
var hellos = sync.Pool{New: func() any { return new(Hello) }}

// BorrowHello returns a Hello for one connection, with the Scratch of others. Safe for any goroutine.
func BorrowHello() *Hello { return hellos.Get().(*Hello) }

// GiveBack ends the use of a Hello that BorrowHello has returned.
func (h *Hello) GiveBack() {
	h.ServerName, h.protocols = nil, nil
	hellos.Put(h)
}

// Peek reads the ClientHello at the front of b, the first bytes of a connection, and consumes nothing. With HelloWhole,
// h has the values that crypto/tls gives as ClientHelloInfo.ServerName and SupportedProtos; with any other verdict h is
// empty. More bytes change no verdict but HelloPartial. Peek, and then h, borrows b.
//
// Peek says HelloWhole where crypto/tls calls GetConfigForClient, except for three things that crypto/tls takes:
//
//   - a ClientHello of 16 to 64 KiB, or one in more than 18 KiB of records: HelloBroken;
//   - alerts of the level warning, before a ClientHello or within it: HelloBroken;
//   - a first record whose major version is 0 to 15, but not 3: NotTLS.
//
// A tls.Config with EncryptedClientHelloKeys gets the inner ClientHello if it can decrypt it. crypto/tls chooses the
// version after GetConfigForClient: Peek does not look at the versions.
func Peek(b []byte, h *Hello) Verdict {
	h.ServerName, h.protocols = nil, nil
	b = b[:min(len(b), peekWireMax)]
	var head [messageHeaderSize]byte
	size, v := walk(b, head[:])
	switch {
	case v == helloLarge, v == HelloPartial && len(b) == peekWireMax, v == NotTLS && b[0] == typeAlert:
		return HelloBroken
	case v != HelloWhole:
		return v
	}
	message := b[headerSize:]
	if first := int(b[3])<<8 | int(b[4]); first < size {
		if cap(h.Scratch) < size {
			h.Scratch = make([]byte, size)
		}
		message = h.Scratch[:size]
		walk(b, message)
	}
	if !h.read(message[:size]) {
		h.ServerName, h.protocols = nil, nil
		return HelloBroken
	}
	return HelloWhole
}

// Protocols yields the protocols that the client offers by ALPN (RFC 7301), the preferred one first. Names are borrowed
// like ServerName.
func (h *Hello) Protocols(yield func(name []byte) bool) {
	for rest := h.protocols; len(rest) > 0; {
		name, _ := rest.vector(1)
		if !yield(name) {
			return
		}
	}
}

// AppendProtocols appends the protocols that the client offers. It allocates nothing for the protocols of HTTP.
func (h *Hello) AppendProtocols(dst []string) []string {
	for p := range h.Protocols {
		switch string(p) {
		case "h2":
			dst = append(dst, "h2")
		case "http/1.1":
			dst = append(dst, "http/1.1")
		default:
			dst = append(dst, string(p))
		}
	}
	return dst
}

// read fills h with the message and refuses what crypto/tls refuses: see clientHelloMsg.unmarshal.
func (h *Hello) read(message fields) bool {
	const versionAndRandom = 2 + 32
	ok := message.skip(messageHeaderSize + versionAndRandom)
	_, session := message.vector(1) // crypto/tls does not mind an id above 32 bytes
	suites, listed := message.vector(2)
	_, compressed := message.vector(1)
	if !ok || !session || !listed || len(suites)%2 != 0 || !compressed {
		return false
	}
	if len(message) == 0 { // RFC 5246 §7.4.1.2: extensions are optional
		return true
	}
	extensions, ok := message.only(2)
	return ok && h.readExtensions(extensions)
}

func (h *Hello) readExtensions(list fields) bool {
	// A bit for each type there is: an attacker fills 16 KiB with 4 000 types, too many to compare in pairs.
	var seen [1 << 16 / 64]uint64
	for len(list) > 0 {
		head := list
		if !list.skip(2) {
			return false
		}
		t := uint16(head[0])<<8 | uint16(head[1])
		body, ok := list.vector(2)
		// RFC 8446 §4.2: "There MUST NOT be more than one extension of the same type in a given extension block."
		ok = ok && seen[t/64]&(1<<(t%64)) == 0
		seen[t/64] |= 1 << (t % 64)
		switch {
		case !ok:
		case t == extensionServerName:
			ok = h.readNames(body)
		case t == extensionALPN:
			h.protocols, ok = body.only(2)
			ok = ok && h.protocols.filled()
		case t == extensionPreSharedKey && len(list) > 0: // RFC 8446 §4.2.11: it is the last one
			ok = false
		default:
			ok = wellFormed(t, body)
		}
		if !ok {
			return false
		}
	}
	return true
}

// readNames reads server_name. Names of another type than a host's are passed over.
func (h *Hello) readNames(body fields) bool {
	list, ok := body.only(2)
	if !ok || len(list) == 0 {
		return false
	}
	for len(list) > 0 {
		host := list[0] == 0
		list = list[1:]
		name, ok := list.vector(2)
		if !ok || len(name) == 0 {
			return false
		}
		if !host {
			continue
		}
		// RFC 6066 §3: no second name of a type, and the name is "without a trailing dot".
		if len(h.ServerName) > 0 || name[len(name)-1] == '.' {
			return false
		}
		h.ServerName = name
	}
	return true
}
