// Package message holds the heads of HTTP requests and responses, in one form for HTTP/1, HTTP/2 and HTTP/3.
//
// A Head is a base buffer and a table of fields that are offsets into it. Nothing in it points into the buffer, so a
// head survives a move of its bytes (MoveTo copies the bytes and swaps the tables) and the garbage collector has one
// pointer to follow instead of two for each field. Order and duplicates of fields are kept. The names that a proxy
// has to understand carry a small number, their Name, so that framing and hop-by-hop checks compare integers.
//
// # Life of a head
//
// A decoder fills the head that its reactor lends it; the spans index the read scratch. The session that accepts the
// message moves it once, into a buffer of its own, where it lives until the log record is written. Filters change it by
// appending to that buffer: Set, Add and Del never touch the bytes of other fields.
//
// # Ownership
//
// A Head has one owner and no lock. Slices that Peek, Value, Path and their kin return are borrowed: they die with the
// next change to the head and, before MoveTo, with the read scratch. Get returns a string of the caller's own.
//
// # Limits
//
// The decoder bounds the size of a head and the number of its fields; a field's name is at most 65 535 bytes long and
// a head below 4 GiB, by the width of a Field.
package message
