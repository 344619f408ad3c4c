package quicconn

import (
	"testing"
	"unsafe"
)

// An idle connection takes 8 KiB at most, with HTTP/3 and its keys. A Conn is one allocation of them, the largest, and
// what it costs is its size class.
func TestConn_size(t *testing.T) {
	const class = 2048 // the next one of Go's allocator is 2304
	if n := unsafe.Sizeof(Conn{}); n > class {
		t.Fatalf("a Conn has %d bytes: above %d it costs 2304", n, class)
	}
}
