package quic

import "math/bits"

// none is the number of a packet that does not exist: below all of them.
const none int64 = -1

// numberLen returns in how many octets the number n can be sent when acked is the highest that was acknowledged, or
// none (RFC 9000 §17.1): the receiver knows a number in a range of more than twice their distance.
func numberLen(n, acked int64) int {
	return min(bits.Len64(uint64(n-acked))/8+1, 4)
}

// appendNumber appends the lowest octets of n.
func appendNumber(dst []byte, n int64, octets int) []byte {
	for i := octets - 1; i >= 0; i-- {
		dst = append(dst, byte(n>>(8*i)))
	}
	return dst
}

// decodeNumber returns the number whose lowest octets are b and which is nearest to the number after largest, the
// highest number that was opened, or none (RFC 9000 §A.3).
func decodeNumber(largest int64, b []byte) int64 {
	low := int64(0)
	for _, c := range b {
		low = low<<8 | int64(c)
	}
	window := int64(1) << (8 * len(b))
	expected := largest + 1
	n := expected&^(window-1) | low
	switch {
	case n <= expected-window/2 && n < 1<<62-window:
		return n + window
	case n > expected+window/2 && n >= window:
		return n - window
	}
	return n
}
