package poller

import (
	"cmp"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

var (
	errNoStream    = errors.New("not a stream socket")
	errUnconnected = errors.New("the connection has ended")
)

// Adopt takes over fd, which another process or another engine opened.
func (k *epoll) Adopt(fd FD, o *ListenOptions) (Addr, error) {
	a, err := k.adopt(fd, o)
	if err != nil {
		return a, fmt.Errorf("adopt descriptor %d: %w", fd, err)
	}
	return a, nil
}

func (k *epoll) adopt(fd FD, o *ListenOptions) (Addr, error) {
	s := int(fd)
	if err := own(s); err != nil {
		return Addr{}, err
	}
	if o == nil {
		return peerOf(s)
	}
	if kind, err := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return Addr{}, err
	} else if kind != unix.SOCK_STREAM {
		return Addr{}, errNoStream
	}
	a := k.LocalAddr(fd)
	if !a.IsUnix() {
		k.tune(fd, o)
	}
	// A second listen(2) sets the backlog. It is also the first one of a socket that was only bound, and refuses a
	// connection.
	if err := unix.Listen(s, cmp.Or(o.Backlog, backlogDefault)); err != nil {
		return Addr{}, err
	}
	return a, nil
}

// own makes s non-blocking, and closed on exec.
func own(s int) error {
	if err := unix.SetNonblock(s, true); err != nil {
		return err
	}
	_, err := unix.FcntlInt(uintptr(s), unix.F_SETFD, unix.FD_CLOEXEC)
	return err
}

// tune sets the options of a listening TCP socket again. Its former owner may have been about to close it: see
// SetIntake.
func (k *epoll) tune(fd FD, o *ListenOptions) {
	s := int(fd)
	o.set(s)
	if o.DeferAccept {
		k.SetIntake(fd, IntakeSpeaking)
	} else {
		k.SetIntake(fd, IntakeAll)
	}
	fastOpen.set(s, o.FastOpen) // 0 takes it back
}

// peerOf returns the address of the other end.
func peerOf(s int) (Addr, error) {
	sa, err := unix.Getpeername(s)
	switch {
	case errors.Is(err, unix.ENOTCONN):
		return Addr{}, errUnconnected
	case err != nil:
		return Addr{}, err
	}
	a := addrOf(sa)
	if a == (Addr{}) {
		a.Path = "@" // a client that bound no name, as Accept has it
	}
	return a, nil
}

// V6Only reports whether the listening socket fd is one of IPv6 that takes no IPv4.
func V6Only(fd FD) bool {
	v, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	return err == nil && v != 0 // ENOPROTOOPT: it is of another family
}

// Duplicate returns a second descriptor of what fd stands for, which is closed on its own.
func (k *epoll) Duplicate(fd FD) (FD, syscall.Errno) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return NoFD, errnoOf(err)
	}
	return FD(n), 0
}
