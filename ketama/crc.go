package ketama

import (
	"encoding/binary"
	"hash/crc32"
	"unsafe"
)

// longKey is the length from which hash/crc32 has instructions for many bytes at once on amd64: 7 ns for 64 bytes,
// where the tables take 20. Below it that package walks byte by byte or by 8 with tables that are set up at run time:
// 13 ns for 30 bytes, where the tables here take 11.
const longKey = 64

// slicing holds, in slicing[k][b], the CRC of byte b followed by k zero bytes. So a CRC takes 16 bytes at once, whose
// look-ups do not wait for each other (Kounavis and Berry, Novel Table Lookup-Based Algorithms for High-Performance CRC
// Generation, 2008).
var slicing = makeSlicing()

func makeSlicing() *[16][256]uint32 {
	t := new([16][256]uint32)
	for b := range t[0] {
		c := uint32(b)
		for range 8 {
			c = c>>1 ^ crc32.IEEE&-(c&1)
		}
		t[0][b] = c
	}
	for k := 1; k < len(t); k++ {
		for b := range t[k] {
			c := t[k-1][b]
			t[k][b] = c>>8 ^ t[0][byte(c)]
		}
	}
	return t
}

// checksum is the CRC-32 of IEEE 802.3, as hash/crc32 has it. It keeps and changes nothing of p.
func checksum(p []byte) uint32 {
	if len(p) >= longKey {
		return crc32.ChecksumIEEE(noescape(p))
	}
	return ^crcUpdate(^uint32(0), p)
}

// noescape returns p to a call that keeps nothing of it, where the compiler cannot see that: without it the key of a
// caller, on its stack until then, would be on the heap.
//
// SAFETY: nothing is called between the two conversions, so no stack moves and p stays alive, as the runtime's own
// noescape has it; crc32.ChecksumIEEE only reads, and keeps no reference when it returns.
func noescape(p []byte) []byte {
	first := unsafe.SliceData(p)
	address := *(*uintptr)(unsafe.Pointer(&first))
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&address)), len(p))
}

// crcUpdate adds p to the state c, which is the complement of a CRC.
func crcUpdate(c uint32, p []byte) uint32 {
	t := slicing
	for len(p) >= 16 {
		lo, hi := binary.LittleEndian.Uint64(p)^uint64(c), binary.LittleEndian.Uint64(p[8:])
		c = t[15][byte(lo)] ^ t[14][byte(lo>>8)] ^ t[13][byte(lo>>16)] ^ t[12][byte(lo>>24)] ^
			t[11][byte(lo>>32)] ^ t[10][byte(lo>>40)] ^ t[9][byte(lo>>48)] ^ t[8][byte(lo>>56)] ^
			t[7][byte(hi)] ^ t[6][byte(hi>>8)] ^ t[5][byte(hi>>16)] ^ t[4][byte(hi>>24)] ^
			t[3][byte(hi>>32)] ^ t[2][byte(hi>>40)] ^ t[1][byte(hi>>48)] ^ t[0][byte(hi>>56)]
		p = p[16:]
	}
	if len(p) >= 8 {
		v := binary.LittleEndian.Uint64(p) ^ uint64(c)
		c = t[7][byte(v)] ^ t[6][byte(v>>8)] ^ t[5][byte(v>>16)] ^ t[4][byte(v>>24)] ^
			t[3][byte(v>>32)] ^ t[2][byte(v>>40)] ^ t[1][byte(v>>48)] ^ t[0][byte(v>>56)]
		p = p[8:]
	}
	if len(p) >= 4 {
		c = crcWord(c, binary.LittleEndian.Uint32(p))
		p = p[4:]
	}
	for _, b := range p {
		c = t[0][byte(c)^b] ^ c>>8
	}
	return c
}

// crcWord adds the four bytes of v, the lowest first, to the state c.
func crcWord(c, v uint32) uint32 {
	c ^= v
	return slicing[3][byte(c)] ^ slicing[2][byte(c>>8)] ^ slicing[1][byte(c>>16)] ^ slicing[0][byte(c>>24)]
}
