// Package filterrig is a server with filters before an origin, over real sockets: for the tests of filter types.
//
// The server speaks HTTP/1 and HTTP/2 without TLS, and believes what its clients say of theirs in X-Forwarded-For.
// origin answers with the body that it got, or with "ok".
//
//	clients ── edge.Server ── filters ── origin
//
// It is no mock: for allocations and times there is package internal/test/warm.
//
// A Rig belongs to one test, at whose end all of it is stopped and nothing is waited for. Its clients are clients of
// net/http, and close their connections then.
package filterrig
