package tlsconn

// helloMax bounds the ClientHello that is held until it is whole. With post-quantum key shares it has some 1 800 bytes.
const helloMax = 16 << 10

// helloWireMax bounds the records that it lies in. They may hold a byte each, and have six then.
const helloWireMax = 2 * helloMax

// plaintextMax bounds a record that is not encrypted (RFC 8446 §5.1).
const plaintextMax = 16 << 10

// First bytes of RFC 8446: content type handshake, handshake type client_hello.
const (
	typeAlert       = 21
	typeHandshake   = 22
	typeClientHello = 1
)

// messageHeaderSize is the header of a handshake message: its type and a length of three bytes.
const messageHeaderSize = 4

// Verdict is what the first bytes of a connection are.
type Verdict uint8

const (
	// HelloPartial is the beginning of a ClientHello, or no byte at all: more bytes are needed.
	HelloPartial Verdict = iota
	// HelloWhole is a ClientHello whose last record is whole as well.
	HelloWhole
	// HelloBroken begins like TLS, and a server refuses it.
	HelloBroken
	// NotTLS is another protocol: SSH, HTTP, SSL 2.0.
	NotTLS

	helloLarge // for Peek it is HelloBroken
)

// judge looks whether b begins with a whole ClientHello. It says HelloWhole too when the bytes after the first two are
// wrong: the provider finds the words for that.
func judge(b []byte) Verdict {
	var head [messageHeaderSize]byte
	_, v := walk(b, head[:])
	if v == HelloBroken {
		return HelloWhole
	}
	return v
}

// walk goes over the records at the front of b until a ClientHello is whole in them. It copies the first bytes of that
// message to into, as many as into has room for: at least the header. size is the length of the message, header
// included; it is 0 while the header is not whole.
func walk(b, into []byte) (size int, v Verdict) {
	if len(b) == 0 {
		return 0, HelloPartial
	}
	// RFC 8446 §5.1: the first record is a handshake message. Nothing printable is 22.
	if b[0] != typeHandshake {
		return 0, NotTLS
	}
	if len(b) > 1 && b[1] != 3 { // the major version, which has been 3 ever since SSL 3.0
		return 0, NotTLS
	}
	have := 0 // bytes of the message
	for {
		if len(b) < headerSize {
			return size, HelloPartial
		}
		n := int(b[3])<<8 | int(b[4])
		// RFC 8446 §5.1: no other record lies between the parts of a message, and no part of one is empty. Of the
		// version crypto/tls wants only that its first byte is below 16.
		if b[0] != typeHandshake || b[1] >= 16 || n == 0 || n > plaintextMax {
			return size, HelloBroken
		}
		part := b[headerSize:min(headerSize+n, len(b))]
		if have < len(into) {
			copy(into[have:], part)
		}
		have += len(part)
		if size == 0 && have >= messageHeaderSize {
			if into[0] != typeClientHello {
				return 0, HelloBroken
			}
			size = messageHeaderSize + int(into[1])<<16 + int(into[2])<<8 + int(into[3])
		}
		switch {
		case size > helloMax:
			return size, helloLarge
		case len(b) < headerSize+n:
			return size, HelloPartial
		case size > 0 && have >= size:
			return size, HelloWhole
		}
		b = b[headerSize+n:]
	}
}
