package ketama

import (
	"encoding/binary"
	"math/bits"
)

// The primes of XXH64.
const (
	prime1 uint64 = 0x9e3779b185ebca87
	prime2 uint64 = 0xc2b2ae3d27d4eb4f
	prime3 uint64 = 0x165667b19e3779f9
	prime4 uint64 = 0x85ebca77c2b2ae63
	prime5 uint64 = 0x27d4eb2f165667c5
)

// xxh64 is XXH64 of p with a seed (Collet, xxHash fast digest algorithm, version 0.1.1).
func xxh64(p []byte, seed uint64) uint64 {
	n := uint64(len(p))
	var h uint64
	if n >= 32 {
		h, p = xxhStripes(p, seed)
	} else {
		h = seed + prime5
	}
	h += n
	for ; len(p) >= 8; p = p[8:] {
		h = bits.RotateLeft64(h^xxhRound(0, binary.LittleEndian.Uint64(p)), 27)*prime1 + prime4
	}
	if len(p) >= 4 {
		h = bits.RotateLeft64(h^uint64(binary.LittleEndian.Uint32(p))*prime1, 23)*prime2 + prime3
		p = p[4:]
	}
	for _, b := range p {
		h = bits.RotateLeft64(h^uint64(b)*prime5, 11) * prime1
	}
	h = (h ^ h>>33) * prime2
	h = (h ^ h>>29) * prime3
	return h ^ h>>32
}

// xxhStripes takes all whole stripes of 32 bytes, at least one, and returns what is left.
func xxhStripes(p []byte, seed uint64) (h uint64, rest []byte) {
	a, b, c, d := seed+prime1, seed, seed, seed
	a += prime2
	b += prime2
	d -= prime1
	for ; len(p) >= 32; p = p[32:] {
		a = xxhRound(a, binary.LittleEndian.Uint64(p))
		b = xxhRound(b, binary.LittleEndian.Uint64(p[8:]))
		c = xxhRound(c, binary.LittleEndian.Uint64(p[16:]))
		d = xxhRound(d, binary.LittleEndian.Uint64(p[24:]))
	}
	h = bits.RotateLeft64(a, 1) + bits.RotateLeft64(b, 7) + bits.RotateLeft64(c, 12) + bits.RotateLeft64(d, 18)
	for _, lane := range [4]uint64{a, b, c, d} {
		h = (h^xxhRound(0, lane))*prime1 + prime4
	}
	return h, p
}

func xxhRound(lane, v uint64) uint64 { return bits.RotateLeft64(lane+v*prime2, 31) * prime1 }
