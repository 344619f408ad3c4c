// Package huffman has the strings and integers of compressed header fields: the Huffman code of RFC 7541 appendix B and
// the integers with a prefix of RFC 7541 §5.1. HPACK defines both, and QPACK (RFC 9204 §4.1) uses the same.
//
// It holds no state: functions append to a slice of the caller, or decode into a slice with room. Safe for any
// goroutine.
package huffman

import "errors"

// The errors of strings and integers that cannot be decoded.
var (
	ErrCode      = errors.New("malformed Huffman code")
	ErrTruncated = errors.New("the block ends within a field")
	ErrInteger   = errors.New("an integer is too large")
)
