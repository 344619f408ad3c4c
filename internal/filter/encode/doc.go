// Package compress is what compresses the bodies of answers: which answers, by which coding, and the encoders.
//
//	Policy.Judge     the heads of a request and its answer ─► a Coding and why, pure
//	Apply            makes the head of the answer say that its body is encoded
//	Lender.Lend      an encoder for the body, a proxy.Encoder, which takes turns with others: see proxy.Encoder
//
// Package internal/filter/compress makes filters of it. Negotiate alone is for answers that are there in several
// codings.
//
// # Encoders
//
// An encoder of gzip takes 1 MiB, one of zstd 2 MiB. So a reactor has 16 of them at the most, for bodies whose bytes
// keep coming, and gives them back after 10 s without use. Bodies of events, which come over hours, and those for which
// there is none, get gzip without a memory but for the last 2 or 8 KiB: a quarter larger, at two thirds of the work.
//
// Compression is done on the reactor. It takes turns of 16 KiB there, so that it delays other requests by less than a
// worker would take to wake up: docs/design/adr/0025-compression-takes-turns-on-the-reactor.md.
//
// # Concurrency
//
// A Policy is immutable. A Lender and its encoders belong to one reactor.
package compress
