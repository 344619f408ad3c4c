package static

import (
	"os"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/proxy"
)

// A file that does not exist is 404. A file that cannot be looked for at the moment is another failure.
func TestFailure(t *testing.T) {
	for errno, want := range map[syscall.Errno]*proxy.Error{
		syscall.ENOENT: nil, syscall.ENOTDIR: nil, syscall.ENAMETOOLONG: nil, syscall.ELOOP: nil,
		syscall.EACCES: forbidden, syscall.EMFILE: proxy.Overload, syscall.ENFILE: proxy.Overload,
		syscall.EIO: failed,
	} {
		if got := failure(&os.PathError{Op: "open", Path: "/x", Err: errno}); got != want {
			t.Errorf("%v: %v", errno, got)
		}
	}
}
