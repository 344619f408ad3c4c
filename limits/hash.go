package limits

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"math/bits"
	"net/netip"
)

// Hasher turns keys into the 64-bit hashes that every call of this package takes. Its seed is random, so a client
// cannot choose keys that meet in one cell. Copies of a Hasher share the seed, and give equal hashes for equal keys:
// structures that are merged need hashes of one Hasher. A hash has a meaning within its process only.
//
// Immutable after NewHasher, safe for any goroutine. The zero Hasher has no seed and panics.
type Hasher struct {
	seed maphash.Seed
	a, b uint64 // secrets of Uint64, from the seed
}

// NewHasher returns a Hasher with a new random seed.
func NewHasher() Hasher {
	seed := maphash.MakeSeed()
	return Hasher{seed: seed, a: maphash.String(seed, "a"), b: maphash.String(seed, "b") | 1}
}

// String returns the hash of s.
func (h Hasher) String(s string) uint64 { return maphash.String(h.seed, s) }

// Bytes returns the hash of b, equal to the hash of the same bytes as a string. b is borrowed until return.
func (h Hasher) Bytes(b []byte) uint64 { return maphash.Bytes(h.seed, b) }

// Addr returns the hash of a client: of the whole address for IPv4, mapped into IPv6 or not, and of the first 64 bits
// for IPv6. A client of IPv6 has at least that network for itself (RFC 6177, RFC 7934), so a limit by whole addresses
// would limit no client. For other prefixes mask the address and use Comparable.
func (h Hasher) Addr(a netip.Addr) uint64 {
	if a.Is4() || a.Is4In6() {
		b := a.As4()
		return h.Uint64(uint64(binary.BigEndian.Uint32(b[:])) | 0xffff<<48) // no client has a multicast address
	}
	b := a.As16()
	return h.Uint64(binary.BigEndian.Uint64(b[:]))
}

// Network returns the hash of the network of a client: of the first four bits of its address for IPv4, mapped into IPv6
// or not, and of the first six for IPv6. Hashes of two pairs of lengths have nothing in common.
func (h Hasher) Network(a netip.Addr, four, six int) uint64 {
	if a.Is4() || a.Is4In6() {
		b := a.As4()
		return h.Uint64(uint64(binary.BigEndian.Uint32(b[:])&(math.MaxUint32<<(32-four))) | 0xffff<<48)
	}
	b := a.As16()
	first, second := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	if six <= 64 {
		return h.Uint64(first & (math.MaxUint64 << (64 - six)))
	}
	return fold(fold(first^h.a, second&(math.MaxUint64<<(128-six))^h.b)^h.a, mixB)
}

// Uint64 returns the hash of an integer, such as the number of a customer: like wyhash, two products that
// are folded, of which the first has secret factors.
func (h Hasher) Uint64(v uint64) uint64 {
	return fold(fold(v^h.a, h.b)^h.a, mixB)
}

// Comparable returns the hash of any comparable value with the seed of h: of a struct of an address and a route, for
// one. It is slower than the methods of h.
func Comparable[K comparable](h Hasher, k K) uint64 { return maphash.Comparable(h.seed, k) }

// Odd numbers with about as many ones as zeros, whose bits are the fractions of e and pi.
const (
	mixA = 0xb7e151628aed2a6b
	mixB = 0x243f6a8885a308d3
)

// fold multiplies and adds up both halves of the product, so that each bit of the result depends on all of a and b.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// rowHashes makes four numbers of 32 bits, one for each row of a sketch. Both halves have a product of their own:
// rows that share one are correlated, and a heavy key then weighs on another key in all of its rows.
func rowHashes(hash uint64) (r0, r1, r2, r3 uint64) {
	a, b := fold(hash^mixB, mixA), fold(hash^mixA, mixB)
	return a & (1<<32 - 1), a >> 32, b & (1<<32 - 1), b >> 32
}
