package quic

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"sync"
)

// Version1 is the version of RFC 9000.
const Version1 = 1

// IDLen is the length of the connection ids that this side chooses. A short header does not say how long its id is.
const IDLen = 8

const (
	idMax      = 20 // octets of an id of version 1
	tagLen     = 16 // of all ciphers
	sampleAt   = 4  // from the packet number to the sample, whatever the length of the number
	sampleLen  = 16
	resetLeast = 21 // RFC 9000 §10.3: a shorter one can be told from a packet
)

// ID is a connection id of version 1: 0 to 20 octets. IDs can be compared.
type ID struct {
	n uint8
	b [idMax]byte
}

// MakeID copies b, and reports whether it is short enough.
func MakeID(b []byte) (id ID, ok bool) {
	if len(b) > idMax {
		return ID{}, false
	}
	id.n = uint8(copy(id.b[:], b))
	return id, true
}

// Bytes returns the octets of id, borrowed.
func (id *ID) Bytes() []byte { return id.b[:id.n] }

// PacketKind is the kind of a packet.
type PacketKind uint8

// The kinds of packets.
const (
	UnknownPacket  PacketKind = iota // of another version
	VersionsPacket                   // Version Negotiation
	RetryPacket
	InitialPacket
	ZeroRTTPacket
	HandshakePacket
	OneRTTPacket // the only one with a short header
)

// longKinds are the kinds of packets by their bits in a long header.
var longKinds = [4]PacketKind{InitialPacket, ZeroRTTPacket, HandshakePacket, RetryPacket}

// Header is the part of a packet that can be read without keys. Its slices are borrowed from the datagram.
//
//	long   1 1 kind 2 │ ? 4 │ version 32 │ length 8, id │ length 8, id │ Initial: length, token │ length │ number …
//	short  0 1 ? 6    │ id 64 │ number …
type Header struct {
	Kind     PacketKind
	Version  uint32 // 0: none, since the header is short or the packet negotiates the version
	Dest     []byte // id of the receiver; up to 255 octets when the version is unknown
	Source   []byte // id of the sender; none in a short header
	Token    []byte // of Initial and Retry
	Versions []byte // of Version Negotiation, four octets each

	number int // where the packet number begins, protected
	size   int // of the packet: the next one of the datagram begins there
}

// Parse reads the header of the first packet of d. A packet that is not ok is dropped: it is cut off, or too short to
// be opened, or breaks RFC 8999 or RFC 9000 §17 in a part that has no protection.
func Parse(d []byte) (h Header, ok bool) {
	h.size = len(d)
	if len(d) > 0 && d[0]&0x80 != 0 {
		return h, h.parseLong(d)
	}
	if len(d) < resetLeast || d[0]&0x40 == 0 { // RFC 9000 §17.3.1: the fixed bit
		return h, false
	}
	h.Kind, h.Dest, h.number = OneRTTPacket, d[1:1+IDLen], 1+IDLen
	return h, true
}

func (h *Header) parseLong(d []byte) (ok bool) {
	r := reader{b: d[1:]}
	if v := r.bytes(4); !r.cut {
		h.Version = binary.BigEndian.Uint32(v)
	}
	h.Dest, h.Source = r.counted(), r.counted()
	switch h.Version {
	case Version1:
	case 0:
		h.Kind, h.Versions = VersionsPacket, r.b
		return !r.cut && len(r.b) > 0 && len(r.b)%4 == 0
	default:
		return !r.cut
	}
	h.Kind = longKinds[d[0]>>4&3]
	if d[0]&0x40 == 0 || len(h.Dest) > idMax || len(h.Source) > idMax {
		return false // RFC 9000 §17.2: the fixed bit, and the longest ids of version 1
	}
	if h.Kind == RetryPacket {
		h.Token = r.bytes(uint64(max(len(r.b)-tagLen, 0)))
		return len(h.Token) > 0 && len(r.b) == tagLen // RFC 9000 §17.2.5.2: an empty token is dropped
	}
	if h.Kind == InitialPacket {
		h.Token = r.bytes(r.integer())
	}
	length := r.integer()
	if r.cut || length > uint64(len(r.b)) || length < sampleAt+sampleLen {
		return false
	}
	h.number = len(d) - len(r.b)
	h.size = h.number + int(length)
	return true
}

// appendIDs appends both ids of a long header.
func appendIDs(dst, dest, source []byte) []byte {
	dst = append(append(dst, byte(len(dest))), dest...)
	return append(append(dst, byte(len(source))), source...)
}

// appendLong begins a packet of kind with a long header. The caller appends the number at len(out) and sets the length
// of all that follows, which setLength writes before it.
func appendLong(dst []byte, kind PacketKind, dest, source *ID, token []byte) (out []byte) {
	var bits byte
	for i, k := range longKinds {
		if k == kind {
			bits = byte(i)
		}
	}
	dst = append(dst, 0xc0|bits<<4, 0, 0, 0, Version1)
	dst = appendIDs(dst, dest.Bytes(), source.Bytes())
	if kind == InitialPacket {
		dst = append(appendInteger(dst, uint64(len(token))), token...)
	}
	return append(dst, 0, 0)
}

// setLength writes the length field of a long header, which ends where the packet number begins.
func setLength(d []byte, number, length int) {
	binary.BigEndian.PutUint16(d[number-2:], uint16(length)|1<<14)
}

// appendShort begins a packet with a short header. The caller appends the number.
func appendShort(dst []byte, dest *ID, phase bool) []byte {
	first := byte(0x40)
	if phase {
		first |= phaseBit
	}
	return append(append(dst, first), dest.Bytes()...)
}

// phaseBit of the first octet of a short header says which keys were used (RFC 9001 §6).
const phaseBit = 0x04

// reservedSet reports whether reserved bits are set in the first octet of a packet that was opened (RFC 9000 §17.2):
// the fault errReserved.
func reservedSet(first byte) bool {
	if first&0x80 != 0 {
		return first&0x0c != 0
	}
	return first&0x18 != 0
}

// AppendVersions appends the Version Negotiation that answers a packet of an unknown version (RFC 8999 §6).
func AppendVersions(dst []byte, h *Header) []byte {
	dst = appendIDs(append(dst, 0xc0, 0, 0, 0, 0), h.Source, h.Dest)
	return append(dst, 0, 0, 0, Version1)
}

// retryAEAD and retryNonce make integrity tags of Retry (RFC 9001 §5.8). The cipher is made when it is needed: a
// process in the strict mode of FIPS 140 cannot have it, and does not use this package.
var (
	retryAEAD = sync.OnceValue(func() cipher.AEAD {
		block, err := aes.NewCipher([]byte("\xbe\x0c\x69\x0b\x9f\x66\x57\x5a\x1d\x76\x6b\x54\xe3\x68\xc8\x4e"))
		if err != nil {
			panic(err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			panic(err)
		}
		return aead
	})
	retryNonce = []byte("\x46\x15\x99\xd3\x5d\x63\x2b\xf2\x23\x98\x25\xbb")
)

// AppendRetry appends the Retry that answers an Initial: source is the id that the client uses from now on.
func AppendRetry(dst []byte, h *Header, source *ID, token []byte) []byte {
	at := len(dst)
	// The tag covers the id that the client chose, and it stands first only while the tag is made.
	dst = append(append(dst, byte(len(h.Dest))), h.Dest...)
	packet := len(dst)
	dst = appendIDs(append(dst, 0xff, 0, 0, 0, Version1), h.Source, source.Bytes())
	dst = append(dst, token...)
	dst = retryAEAD().Seal(dst, retryNonce, nil, dst[at:])
	return dst[:at+copy(dst[at:], dst[packet:])]
}

// VerifyRetry reports whether the Retry d was made for a client that chose the id original for the server.
func VerifyRetry(d []byte, original *ID) bool {
	if len(d) < tagLen {
		return false
	}
	packet, tag := d[:len(d)-tagLen], d[len(d)-tagLen:]
	pseudo := append(append([]byte{original.n}, original.Bytes()...), packet...)
	return subtle.ConstantTimeCompare(retryAEAD().Seal(nil, retryNonce, nil, pseudo), tag) == 1
}

// resetNoise is how many octets of a stateless reset stand before its token.
const resetNoise = 24

// AppendReset appends the stateless reset that answers a packet of caused octets, or nothing where that was too short.
// It is smaller than its cause: two ends that answer each other's resets come to an end (RFC 9000 §10.3.3).
func AppendReset(dst []byte, caused int, token *[16]byte, noise *[resetNoise]byte) []byte {
	n := min(caused-1, resetNoise+len(token))
	if n < resetLeast {
		return dst
	}
	at := len(dst)
	dst = append(append(dst, noise[:n-len(token)]...), token[:]...)
	dst[at] = dst[at]&0x3f | 0x40
	return dst
}
