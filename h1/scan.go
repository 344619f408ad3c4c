package h1

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// Bytes are looked at eight at a time. In each test below a byte that is looked for leaves its bit 0x80 set. A borrow
// may set bits of later bytes wrongly, never of earlier ones, so the lowest bit set is right: that is the first byte.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
	dels  = 0x7f * ones
)

// controls marks the bytes below 0x20 and DEL.
func controls(x uint64) uint64 { return ((x - 0x20*ones) | ((x ^ dels) - ones)) &^ x & highs }

// notTarget marks what a request target cannot hold: controls, space, '#', DEL and what is not ASCII.
func notTarget(x uint64) uint64 {
	return ((x - 0x21*ones) | ((x ^ '#'*ones) - ones) | ((x ^ dels) - ones) | x) & highs
}

// odd marks the bytes that are not ASCII that can be printed, and leaves the other bits of the word as they come.
func odd(x uint64) uint64 { return (x - 0x20*ones) | (x + ones) }

// colons marks the colons.
func colons(x uint64) uint64 { x ^= ':' * ones; return (x - ones) &^ x & highs }

// word loads b[i:i+8].
func word(b []byte, i int) uint64 {
	// SAFETY: every caller has checked that len(b)-i >= 8, and i is never negative.
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i))[:])
}

// half loads b[i:i+2].
func half(b []byte, i int) uint16 {
	// SAFETY: every caller has checked that len(b)-i >= 2, and i is never negative.
	return binary.LittleEndian.Uint16((*[2]byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i))[:])
}

// octet loads b[i].
func octet(b []byte, i int) byte {
	// SAFETY: every caller has checked that i < len(b), and i is never negative.
	return *(*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i))
}

// first is the index of the first byte that is marked in m.
func first(m uint64) int { return bits.TrailingZeros64(m) >> 3 }

// colonFrom returns the index of the first colon in b[i:], or -1.
func colonFrom(b []byte, i int) int {
	for ; len(b)-i >= 8; i += 8 {
		if m := colons(word(b, i)); m != 0 {
			return i + first(m)
		}
	}
	for ; i < len(b); i++ {
		if b[i] == ':' {
			return i
		}
	}
	return -1
}

// controlFrom returns the index of the first control character but HTAB in b[i:], or len(b).
func controlFrom(b []byte, i int) int {
	for len(b)-i >= 16 {
		x, y := word(b, i), word(b, i+8)
		if (odd(x)|odd(y))&highs == 0 { // most likely
			i += 16
			continue
		}
		if m := controls(x); m != 0 {
			i += first(m)
		} else if m := controls(y); m != 0 {
			i += 8 + first(m)
		} else {
			i += 16
			continue
		}
		if b[i] != '\t' {
			return i
		}
		i++
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' && c != '\t' || c == 0x7f {
			break
		}
	}
	return i
}

// targetEnd returns the index of the first byte of b[i:] that cannot be in a request target, or len(b).
func targetEnd(b []byte, i int) int {
	for ; len(b)-i >= 8; i += 8 {
		if m := notTarget(word(b, i)); m != 0 {
			return i + first(m)
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c <= ' ' || c >= 0x7f || c == '#' {
			break
		}
	}
	return i
}

// lineEnd returns the fault of a line that stops at b[i], a control character; nil when CRLF stands there, as far as b
// goes.
func lineEnd(b []byte, i int) *Error {
	switch {
	case b[i] == '\n':
		return errBareLF
	case b[i] != '\r':
		return errFieldValue
	case i+1 < len(b) && b[i+1] != '\n':
		return errBareCR
	}
	return nil
}
