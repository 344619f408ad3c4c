package rawio

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	backlog           = 4096
	deferAcceptSecond = 1
)

// Listener is a listening TCP socket. Owned by the goroutine that accepts.
type Listener struct {
	FD   int
	Addr netip.AddrPort
}

// Listen opens a non-blocking IPv4 listener with TCP_NODELAY and TCP_DEFER_ACCEPT, both inherited
// by what it accepts. Port 0 asks the kernel for a free one.
func Listen(addr string) (*Listener, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen address: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	l := &Listener{FD: fd}
	if err := l.bind(ap); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("listen %s: %w", addr, err)
	}
	return l, nil
}

func (l *Listener) bind(ap netip.AddrPort) error {
	options := []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, deferAcceptSecond},
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(l.FD, o.level, o.name, o.value); err != nil {
			return err
		}
	}
	if !ap.Addr().Unmap().Is4() {
		return unix.EAFNOSUPPORT
	}
	if err := unix.Bind(l.FD, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().Unmap().As4()}); err != nil {
		return err
	}
	if err := unix.Listen(l.FD, backlog); err != nil {
		return err
	}
	sa, err := unix.Getsockname(l.FD)
	if err != nil {
		return err
	}
	bound, ok := sa.(*unix.SockaddrInet4)
	if !ok {
		return unix.EAFNOSUPPORT
	}
	l.Addr = netip.AddrPortFrom(netip.AddrFrom4(bound.Addr), uint16(bound.Port))
	return nil
}

// Accept takes one waiting connection, non-blocking. EAGAIN: there is none.
func (l *Listener) Accept() (int, unix.Errno) {
	for {
		fd, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(l.FD), 0, 0,
			unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if e == unix.EINTR || e == unix.ECONNABORTED {
			continue
		}
		return int(fd), e
	}
}

// Dialer opens connections to one IPv4 address. Immutable after NewDialer.
type Dialer struct {
	to unix.RawSockaddrInet4
}

// NewDialer makes a Dialer to addr (host:port, the host an IPv4 address).
func NewDialer(addr string) (*Dialer, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial address: %w", err)
	}
	if !ap.Addr().Unmap().Is4() {
		return nil, fmt.Errorf("dial address %s: %w", addr, unix.EAFNOSUPPORT)
	}
	d := &Dialer{to: unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: ap.Addr().Unmap().As4()}}
	var port [2]byte
	binary.BigEndian.PutUint16(port[:], ap.Port())
	d.to.Port = binary.NativeEndian.Uint16(port[:])
	return d, nil
}

// Dial starts a connection and returns its non-blocking descriptor with TCP_NODELAY set; whether it
// succeeded is told by epoll.
func (d *Dialer) Dial() (int, unix.Errno) {
	s, _, e := syscall.RawSyscall(unix.SYS_SOCKET, unix.AF_INET,
		unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if e != 0 {
		return -1, e
	}
	one := int32(1)
	// SAFETY: the kernel reads four bytes of one and does not keep the address.
	syscall.RawSyscall6(unix.SYS_SETSOCKOPT, s, unix.IPPROTO_TCP, unix.TCP_NODELAY,
		uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one), 0)
	// SAFETY: d.to is a complete sockaddr_in; the kernel copies it before it returns.
	_, _, e = syscall.RawSyscall(unix.SYS_CONNECT, s, uintptr(unsafe.Pointer(&d.to)), unsafe.Sizeof(d.to))
	if e != 0 && e != unix.EINPROGRESS {
		Close(int(s))
		return -1, e
	}
	return int(s), 0
}

// Read reads into p, which must not be empty. 0 without an error is the end of the stream.
func Read(fd int, p []byte) (int, unix.Errno) {
	for {
		// SAFETY: the kernel writes at most len(p) bytes into p and does not keep the address.
		n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])),
			uintptr(len(p)), 0, 0, 0)
		if e == unix.EINTR {
			continue
		}
		return int(n), e
	}
}

// Write writes the front of p, which must not be empty and is borrowed until return.
func Write(fd int, p []byte) (int, unix.Errno) {
	for {
		// SAFETY: the kernel reads at most len(p) bytes of p and does not keep the address.
		n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])),
			uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
		if e == unix.EINTR {
			continue
		}
		return int(n), e
	}
}

// CloseWrite sends FIN after what was written.
func CloseWrite(fd int) { syscall.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0) }

// Close closes a descriptor; epoll forgets it by itself.
func Close(fd int) { syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }
