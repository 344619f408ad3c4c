package micro

import (
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/poller"
)

var seamEntries = []Entry{
	{"seam/read/interface", "the seam between a reactor and the kernel", "a call through poller.Kernel that does " +
		"nothing; a request has about five", seamInterface},
	{"seam/read/direct", "the seam between a reactor and the kernel", "the same method called directly: the " +
		"difference is what the seam costs", seamDirect},
}

// null is a kernel whose Read does nothing. The rest of it is never called.
type null struct{ poller.Kernel }

// Read is not inlined: a system call would not be either.
//
//go:noinline
func (*null) Read(_ poller.FD, p []byte) (int, syscall.Errno) { return len(p), 0 }

func seamInterface(b *testing.B) {
	var k poller.Kernel = &null{}
	if time.Now().IsZero() { // never: but the compiler must not know what k is
		k = &poller.Epoll{}
	}
	p := make([]byte, 1)
	for b.Loop() {
		k.Read(1, p)
	}
}

func seamDirect(b *testing.B) {
	k, p := &null{}, make([]byte, 1)
	for b.Loop() {
		k.Read(1, p)
	}
}
