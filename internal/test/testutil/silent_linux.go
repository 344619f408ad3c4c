package testutil

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

// Silent returns an address at which connects are not answered, as where a firewall drops them: the queue of its socket
// is full.
func Silent(t testing.TB) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	Must(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	local := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	Must(t, errors.Join(syscall.Bind(fd, local), syscall.Listen(fd, 0)))
	name, err := syscall.Getsockname(fd)
	Must(t, err)
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for { // until one is not answered
		c, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
}
