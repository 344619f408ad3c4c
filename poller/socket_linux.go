package poller

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The calls of this file may block for a moment or are rare; they go the ordinary way.

var errAddr = errors.New("not an IP address with a port or the path of a Unix socket")

// ErrNoReusePort says that several sockets cannot listen on one address here.
var ErrNoReusePort = errors.New("SO_REUSEPORT is refused")

// nicety is an option of TCP sockets that not every kernel has and that can be done without. It is probed by its first
// use: once the kernel has said that it does not know it, it is not asked for again.
// Safe for any goroutine.
type nicety struct {
	name    int
	missing atomic.Bool
}

var (
	userTimeout     = nicety{name: unix.TCP_USER_TIMEOUT}
	deferAccept     = nicety{name: unix.TCP_DEFER_ACCEPT}
	fastOpen        = nicety{name: unix.TCP_FASTOPEN}
	fastOpenConnect = nicety{name: unix.TCP_FASTOPEN_CONNECT}
	notSent         = nicety{name: unix.TCP_NOTSENT_LOWAT}
)

// NotSent is how many bytes that were not sent yet an accepted TCP socket takes, beyond those that are on their way. A
// client that takes nothing could make the kernel keep megabytes of them, which no budget of ours would see: see
// tcp(7), tcp_wmem. Sockets that we dialled are left alone: large uploads cost 1.5 times as much with it.
const NotSent = 128 << 10

func (n *nicety) set(s, value int) {
	if value < 0 || n.missing.Load() {
		return
	}
	switch unix.SetsockoptInt(s, unix.IPPROTO_TCP, n.name, value) {
	case unix.ENOPROTOOPT, unix.EOPNOTSUPP:
		// A socket that was adopted may be one of Multipath TCP, which has fewer options.
		protocol, err := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		n.missing.Store(err != nil || protocol == unix.IPPROTO_TCP)
	}
}

// milliseconds is d as TCP_USER_TIMEOUT wants it, below 0 to leave it alone.
func milliseconds(d time.Duration) int {
	switch {
	case d == 0:
		d = UserTimeout
	case d < 0:
		return -1
	}
	return int(min(max(d/time.Millisecond, 1), math.MaxInt32))
}

const backlogDefault = 4096 // cut by net.core.somaxconn

// Listen opens a listening socket with o's options, which accepted connections inherit.
func (k *epoll) Listen(a Addr, o *ListenOptions) (FD, Addr, error) {
	size, family := a.encode(&k.sa)
	if size == 0 {
		return NoFD, a, fmt.Errorf("listen %s: %w", a, errAddr)
	}
	if o.Exclusive && o.ReusePort && !a.IsUnix() && a.IP.Port() != 0 {
		if err := vacant(a, family, unix.SOCK_STREAM, o.V6Only); err != nil {
			return NoFD, a, fmt.Errorf("listen %s: %w", a, err)
		}
	}
	s, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return NoFD, a, fmt.Errorf("listen %s: %w", a, err)
	}
	fd := FD(s)
	if err := k.bindAndListen(fd, a, family, o); err != nil {
		rawClose(fd)
		return NoFD, a, fmt.Errorf("listen %s: %w", a, err)
	}
	if a.IsUnix() {
		return fd, a, nil
	}
	return fd, k.LocalAddr(fd), nil
}

func (k *epoll) bindAndListen(fd FD, a Addr, family int, o *ListenOptions) error {
	s := int(fd)
	if family == unix.AF_UNIX {
		removeStale(a)
	} else {
		if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
		if o.ReusePort {
			if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
				return fmt.Errorf("%w: %w", ErrNoReusePort, err)
			}
		}
		o.set(s)
		if o.DeferAccept {
			deferAccept.set(s, 1)
		}
		if o.FastOpen > 0 {
			fastOpen.set(s, o.FastOpen)
		}
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(s, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, flag(o.V6Only)); err != nil {
			return err
		}
	}
	if err := unix.Bind(s, a.sockaddr()); err != nil {
		return err
	}
	return unix.Listen(s, cmp.Or(o.Backlog, backlogDefault))
}

// set gives the TCP socket s the options of o that accepted connections inherit.
func (o *ListenOptions) set(s int) {
	// As in Connect: neither can fail, and neither is needed.
	unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_KEEPALIVE, flag(!o.NoKeepAlive)) //nolint:errcheck
	unix.SetsockoptInt(s, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)                    //nolint:errcheck
	userTimeout.set(s, milliseconds(o.UserTimeout))
	notSent.set(s, NotSent)
}

// vacant returns an error where a socket of that kind listens on a. With SO_REUSEPORT the kernel would let another
// process of the same user join in; it refuses a socket without that option.
func vacant(a Addr, family, kind int, v6only bool) error {
	s, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer rawClose(FD(s))
	// Connections that a listener of the past accepted do not count. UDP has none, and would share the address.
	if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_REUSEADDR, flag(kind == unix.SOCK_STREAM)); err != nil {
		return err
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(s, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, flag(v6only)); err != nil {
			return err
		}
	}
	return unix.Bind(s, a.sockaddr())
}

// removeStale removes the socket file that a dead process left: a file on which no process answers.
func removeStale(a Addr) {
	st, err := os.Lstat(a.Path)
	if err != nil || st.Mode()&os.ModeSocket == 0 {
		return
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(s) //nolint:errcheck
	if err := unix.Connect(s, a.sockaddr()); errors.Is(err, unix.ECONNREFUSED) {
		os.Remove(a.Path) //nolint:errcheck // bind says so if it is still there
	}
}

// Accept takes the next waiting connection.
func (k *epoll) Accept(l FD) (FD, Addr, syscall.Errno) {
	fd, e := rawAccept(l, &k.sa, &k.saLen)
	if e != 0 {
		return NoFD, Addr{}, e
	}
	return fd, decode(&k.sa, k.saLen), 0
}

// dropSYN is a filter of packets (BPF) that lets pass what is no SYN, or is one with ACK: the flags of TCP are byte 13
// of its header, where the filter of a TCP socket begins to count.
var dropSYN = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0x12},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0x02, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: math.MaxUint32},
}

// SetIntake changes which connections l takes. What the system refuses is done without.
func (k *epoll) SetIntake(l FD, i Intake) {
	s := int(l)
	if family, err := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && family == unix.AF_UNIX {
		if i == IntakeBegun {
			rawShutdown(l, unix.SHUT_RD) // unix(7) connects are refused from now on; accept(2) goes on
		}
		return
	}
	deferAccept.set(s, flag(i == IntakeSpeaking))
	if i == IntakeBegun {
		f := unix.SockFprog{Len: uint16(len(dropSYN)), Filter: &dropSYN[0]}
		unix.SetsockoptSockFprog(s, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &f) //nolint:errcheck // see above
		return
	}
	unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) //nolint:errcheck // there may be none
}

// SetBacklog is a second listen(2), which does nothing but that.
func (k *epoll) SetBacklog(l FD, n int) {
	unix.Listen(int(l), cmp.Or(n, backlogDefault)) //nolint:errcheck // it listens: nothing can be refused
}

// ConnectsBegun looks for sockets in the state SYN_RECV, in which TCP_DEFER_ACCEPT leaves clients that send nothing.
func (k *epoll) ConnectsBegun(listening ...FD) bool {
	begun := make(map[string]bool, len(listening)) // to that port
	for _, l := range listening {
		begun[fmt.Sprintf("%04X", k.LocalAddr(l).IP.Port())] = true
	}
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile("/proc/self/net/" + table)
		if err != nil {
			return true
		}
		for line := range bytes.Lines(text) {
			f := bytes.Fields(line)
			if len(f) > 3 && string(f[3]) == "03" && begun[string(f[1][bytes.LastIndexByte(f[1], ':')+1:])] {
				return true
			}
		}
	}
	return false
}

// Connect begins a connection.
func (k *epoll) Connect(a Addr, o *ConnectOptions) (FD, syscall.Errno) {
	size, family := a.encode(&k.sa)
	if size == 0 {
		return NoFD, unix.EADDRNOTAVAIL
	}
	s, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return NoFD, errnoOf(err)
	}
	if family != unix.AF_UNIX {
		// Neither can fail on a fresh TCP socket, and neither is needed for a right answer.
		unix.SetsockoptInt(s, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)                    //nolint:errcheck
		unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_KEEPALIVE, flag(!o.NoKeepAlive)) //nolint:errcheck
		userTimeout.set(s, milliseconds(o.UserTimeout))
		if o.FastOpen {
			fastOpenConnect.set(s, 1)
		}
		if o.Bind.IsValid() {
			// The port is chosen when connecting, so that one local address serves 28 000 connections to each peer.
			unix.SetsockoptInt(s, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) //nolint:errcheck
			if err := unix.Bind(s, Addr{IP: netip.AddrPortFrom(o.Bind, 0)}.sockaddr()); err != nil {
				rawClose(FD(s))
				return NoFD, errnoOf(err)
			}
		}
	}
	if e := rawConnect(FD(s), &k.sa, size); e != 0 && e != unix.EINPROGRESS {
		rawClose(FD(s))
		return NoFD, e
	} else {
		return FD(s), e
	}
}

// SockError takes the pending error of fd.
func (k *epoll) SockError(fd FD) syscall.Errno {
	v, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return errnoOf(err)
	}
	return syscall.Errno(v)
}

// AckNow asks for one acknowledgement. Any even value but 0 leaves delaying on for what comes later.
func (k *epoll) AckNow(fd FD) {
	unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 2) //nolint:errcheck // it comes by itself, later
}

// LocalAddr is the address of our end; the zero Addr when the kernel does not say.
func (k *epoll) LocalAddr(fd FD) Addr { return LocalAddr(fd) }

// LocalAddr is the address of a socket; the zero Addr when the kernel does not say.
func LocalAddr(fd FD) Addr {
	sa, err := unix.Getsockname(int(fd))
	if err != nil {
		return Addr{}
	}
	return addrOf(sa)
}

func addrOf(sa unix.Sockaddr) Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return Addr{IP: netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))}
	case *unix.SockaddrInet6:
		return Addr{IP: netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))}
	case *unix.SockaddrUnix:
		return Addr{Path: sa.Name}
	}
	return Addr{}
}

func (a Addr) sockaddr() unix.Sockaddr {
	if a.IsUnix() {
		return &unix.SockaddrUnix{Name: a.Path}
	}
	ip := a.IP.Addr()
	if ip.Is4() || ip.Is4In6() {
		return &unix.SockaddrInet4{Port: int(a.IP.Port()), Addr: ip.Unmap().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.IP.Port()), Addr: ip.As16(), ZoneId: scope(ip)}
}

func errnoOf(err error) syscall.Errno {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return unix.EIO
}

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}
