// Package hpack compresses the header fields of HTTP/2 (RFC 7541): an Encoder and a Decoder for one connection.
//
// It knows no frames: a header block is one slice, its CONTINUATION frames joined by the caller. It does not decide
// what a message may hold either, but tells with each field what RFC 9113 §8.2.1 has to say about its bytes
// (Field.Bad): checked once when a field enters a table, so that an indexed one costs nothing more.
//
// Fields are decoded to the line that HTTP/1 writes for them, "name: value\r\n". Table entries lie in memory in that
// form with the number of their name beside them, so that an indexed field is one copy into a message.Head.
//
// # Life of a block
//
// Decoding: Begin, then Next until the block is used up. Encoding: Begin, then AppendMethod and its kin, then
// AppendField; Begin writes the changes of the table size that are due. Blocks have to be decoded and encoded in the
// order in which they are on the wire, also blocks of streams that are gone: both tables depend on it.
//
// # Ownership
//
// A Decoder and an Encoder belong to the reactor of their connection; they have no lock. The line of a field is
// borrowed until the next call. Init keeps the memory of an earlier connection.
//
// # Limits
//
// Tables take memory when something is first put into them and grow by doubling: at most twice the table size for the
// lines, and 16 bytes for each 32 of it. Strings longer than both the list limit and the table are passed over, not
// decoded. Integers end at 1<<28-1. The list limit is counted as fields are decoded: beyond it nothing more is handed
// out, while the tables stay right (ErrListSize).
package hpack
