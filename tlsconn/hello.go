package tlsconn

// helloMax bounds the ClientHello that is held until it is whole. With post-quantum key shares it has some 1 800 bytes.
const helloMax = 16 << 10

// helloWireMax bounds the records that it lies in. They may hold a byte each, and have six then.
const helloWireMax = 2 * helloMax

// First bytes of RFC 8446: content type handshake, handshake type client_hello.
const (
	typeHandshake   = 22
	typeClientHello = 1
)

// verdict is what the first bytes of a connection are.
type verdict uint8

const (
	helloPartial verdict = iota
	helloWhole
	helloLarge
	helloNone // not TLS
)

// judge looks whether b begins with a whole ClientHello, which may lie in several records. It says helloWhole too when
// what follows the first record's header is wrong: the provider finds the words for that.
func judge(b []byte) verdict {
	if len(b) == 0 {
		return helloPartial
	}
	// RFC 8446 §5.1: the first record is a handshake message. Nothing printable is 22.
	if b[0] != typeHandshake {
		return helloNone
	}
	if len(b) > 1 && b[1] != 3 { // the major version, which has been 3 ever since SSL 3.0
		return helloNone
	}
	need, have := 0, 0 // of the handshake message, its four bytes of header included
	var head [4]byte
	for {
		if len(b) < headerSize {
			return helloPartial
		}
		n := int(b[3])<<8 | int(b[4])
		if b[0] != typeHandshake || n == 0 || n > bodyMax {
			return helloWhole
		}
		part := b[headerSize:min(headerSize+n, len(b))]
		if have < len(head) {
			copy(head[have:], part)
		}
		have += len(part)
		if need == 0 && have >= len(head) {
			if head[0] != typeClientHello {
				return helloWhole
			}
			need = len(head) + int(head[1])<<16 + int(head[2])<<8 + int(head[3])
		}
		switch {
		case need > helloMax:
			return helloLarge
		case len(b) < headerSize+n:
			return helloPartial
		case need > 0 && have >= need:
			return helloWhole
		}
		b = b[headerSize+n:]
	}
}
