package session

import (
	"testing"
	"unsafe"
)

// line is what the caches of a processor load at once.
const line = 64

// A client's connection that is idle holds an h1Server and an engine.Conn: what it costs are their size classes. What
// a request without a body touches lies in the first two lines.
func TestH1Server_size(t *testing.T) {
	const class = 160 // the next one of Go's allocator is 176
	var s h1Server
	if n := unsafe.Sizeof(s); n > class {
		t.Errorf("an h1Server has %d bytes: above %d it costs 176", n, class)
	}
	if n := unsafe.Offsetof(s.inCallback); n >= 2*line {
		t.Errorf("what a request touches of an h1Server goes as far as byte %d", n)
	}
}

// What an exchange touches of a Client, which begins with a line, lies in the first three.
func TestClient_size(t *testing.T) {
	var c Client
	if n := unsafe.Offsetof(c.inCallback); n >= 3*line {
		t.Errorf("what an exchange touches of a Client goes as far as byte %d", n)
	}
}
