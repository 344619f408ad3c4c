// Package reference compares edge's HTTP/2 codec, and the small copy of one that its tests use, with golang.org/x/net.
//
// It is a package of tests. The copy is internal/reference in edge's module: with it the tests of that module need no
// other project. These tests prove that it writes and reads the same as the original.
//
//	frames  ── internal/reference/http2 ──┬── the same bytes, the same verdict
//	        ── x/net/http2 ───────────────┘
//	blocks  ── h2/hpack, edge's own ──────┬── the same fields, the same verdict
//	        ── x/net/http2/hpack ─────────┘
//	strings ── the Huffman codes of both
//
// Each comparison is a fuzz target. They have a package of their own because a fuzz target's binary is built with
// counters in all that it links: in the package interop that would be gRPC and h2spec too.
//
// # Limits
//
// Fuzzing compares what one implementation reads with what the other one reads. Where x/net refuses what the RFC
// allows, the target says so and skips the input.
package reference
