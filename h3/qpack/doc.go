// Package qpack compresses the header fields of HTTP/3 (RFC 9204) by the static table alone: an Encoder and a Decoder.
// Both ends say by their SETTINGS that the dynamic table has no room, so no field section waits for another stream, and
// sections may be decoded in any order.
//
// It knows no frames and has the shape of h2/hpack. Fields are decoded to the line that HTTP/1 writes for them,
// "name: value\r\n", with the number of the name beside it, and the faults of its bytes by RFC 9114 §4.2 (Field.Bad).
//
// # Life of a section
//
// Decoding: Begin with the whole section, then Next until it is used up. Encoding: Begin, then AppendMethod and the
// other pseudo-fields, then AppendField.
//
// # Ownership
//
// A Decoder belongs to a reactor and has no lock. The line of a field is borrowed until the next
// call. An Encoder has no state.
//
// # Limits
//
// Strings longer than the list limit are passed over, not decoded. Integers end at 1<<28-1. The list limit is counted
// as fields are decoded: beyond it no field is handed out (ErrListSize).
package qpack
