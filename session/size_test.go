package session

import (
	"testing"
	"unsafe"
)

// A client's connection that is idle holds an h1Server and an engine.Conn: what it costs are their size classes.
func TestH1Server_size(t *testing.T) {
	const class = 160 // the next one of Go's allocator is 176
	if n := unsafe.Sizeof(h1Server{}); n > class {
		t.Fatalf("an h1Server has %d bytes: above %d it costs 176", n, class)
	}
}
