package poller

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// Token is what epoll gives back with an event: generation<<32 | slot. Never a pointer: a stale event can only meet a
// dead slot.
type Token uint64

// MakeToken joins a generation and a slot.
func MakeToken(generation, slot uint32) Token { return Token(generation)<<32 | Token(slot) }

// Slot returns the lower half.
func (t Token) Slot() uint32 { return uint32(t) }

// Generation returns the upper half.
func (t Token) Generation() uint32 { return uint32(t >> 32) }

// Ready says what can be done with a fd. Readiness is an edge: it is reported once and holds until a call says EAGAIN.
type Ready uint8

// The kinds of readiness.
const (
	CanRead    Ready = 1 << iota
	CanWrite         //
	PeerClosed       // the peer sent FIN (EPOLLRDHUP)
	Broken           // EPOLLERR or EPOLLHUP: read or write says why
)

// Event is one report of readiness.
type Event struct {
	Token Token
	Ready Ready
}

// FD is a descriptor that a Kernel gave out. It means nothing to another Kernel unless both share one table, as the
// Kernels of one process do.
type FD int32

// File is the descriptor of a file that can be sent: on disk, or in memory alone, see NewFile. Safe for any goroutine,
// but for Close, which is the last call.
type File FD

// ReadAt reads what f has at an offset, maybe less than p has room for.
func (f File) ReadAt(p []byte, at int64) (int, error) { return syscall.Pread(int(f), p, at) }

// NoFD is no descriptor.
const NoFD FD = -1

// Addr is an IP address with a port or, when Path is set, a Unix socket.
type Addr struct {
	IP   netip.AddrPort
	Path string
}

// IsUnix reports whether a names a Unix socket.
func (a Addr) IsUnix() bool { return a.Path != "" }

// Net is a as package net has it.
func (a Addr) Net() net.Addr {
	if a.IsUnix() {
		return &net.UnixAddr{Name: a.Path, Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(a.IP)
}

// String formats a as host:port or unix:path.
func (a Addr) String() string {
	if a.IsUnix() {
		return "unix:" + a.Path
	}
	return a.IP.String()
}

var errParse = errors.New("an address is :port, IP:port, localhost:port or unix:/path; a name may stand for several")

// ParseAddr reads an address to listen on or to connect to, as String formats it: "127.0.0.1:80", "[::1]:80",
// "unix:/run/app.sock", "unix:@name" for the abstract one. ":80" is every address of the machine, "localhost:80" is
// 127.0.0.1; other names are not resolved.
func ParseAddr(s string) (Addr, error) {
	path, isUnix := strings.CutPrefix(s, "unix:")
	if isUnix && path != "" {
		return Addr{Path: path}, nil
	}
	host := s
	if strings.HasPrefix(s, ":") {
		host = "[::]" + s
	} else if port, ok := strings.CutPrefix(s, "localhost:"); ok {
		host = "127.0.0.1:" + port
	}
	ip, err := netip.ParseAddrPort(host)
	if err != nil {
		return Addr{}, fmt.Errorf("%q: %w", s, errParse)
	}
	return Addr{IP: ip}, nil
}

// ListenOptions are set on a listening socket; accepted ones inherit them. The zero value is good.
type ListenOptions struct {
	Backlog     int  // 0: 4096, cut by net.core.somaxconn
	ReusePort   bool // several sockets on one address, the kernel spreads connections
	Exclusive   bool // although there is ReusePort, the address must have no listener yet: EADDRINUSE
	DeferAccept bool // TCP_DEFER_ACCEPT: report a connection when its first bytes are there
	V6Only      bool // an IPv6 socket that takes no IPv4
	NoKeepAlive bool // no TCP keep-alive probes
	FastOpen    int  // TCP_FASTOPEN: connections that may wait with data in their SYN; 0: none
	UserTimeout time.Duration
}

// DatagramOptions are set on a UDP socket when it is bound. The zero value is good.
type DatagramOptions struct {
	ReusePort bool // several sockets on one address, the kernel spreads peers
	Exclusive bool // although there is ReusePort, the address must have no socket yet: EADDRINUSE
	V6Only    bool // an IPv6 socket that takes no IPv4
}

// Instruction is an instruction of classic BPF. A program for datagrams begins with octet 0 of the datagram.
type Instruction struct {
	Code   uint16
	Jt, Jf uint8
	K      uint32
}

// Intake says which connections a listening socket takes.
type Intake uint8

// The intakes of a listening socket.
const (
	IntakeSpeaking Intake = iota // those whose first bytes have come (TCP_DEFER_ACCEPT)
	IntakeAll                    // those that stand
	IntakeBegun                  // those that stand, and those whose client began to connect before: see SetIntake
)

// ConnectOptions are set on a socket before it connects. The zero value is good.
type ConnectOptions struct {
	Bind        netip.Addr // local address, if valid
	NoKeepAlive bool
	FastOpen    bool // TCP_FASTOPEN_CONNECT: the SYN waits for the first bytes, and a refusal shows only after them
	UserTimeout time.Duration
}

// UserTimeout is the default of both UserTimeouts, for which below 0 means the kernel's own: how long bytes that were
// sent may stay unacknowledged, or the peer's window closed, before the connection is broken (TCP_USER_TIMEOUT).
// Without it a peer that vanished is noticed after 15 minutes. It must not be shorter than what a peer that only reads
// slowly is granted.
const UserTimeout = 5 * time.Minute

// Kernel is the seam between a reactor and the operating system: every system call a reactor makes is one of these
// methods. Owned by its reactor, except Wake. The real one is epoll; internal/test/sim has a scripted one.
//
// Every descriptor is non-blocking. Calls never return EINTR: they try again. Errors are plain numbers, 0 for none,
// so that nothing is allocated; EAGAIN is one of them.
type Kernel interface {
	// Now reads the monotonic clock, in nanoseconds.
	Now() int64
	// Wait fills dst and reports how many events it holds. It sleeps until there is one, or until the absolute time
	// until has come, or Wake was called. until 0: do not sleep; below 0: no limit in time. 0 events is an answer.
	Wait(dst []Event, until int64) int
	// Wake ends the sleep of Wait, or of the next one. Safe for any goroutine; calls coalesce.
	Wake()
	// Shut releases what the Kernel itself holds. Descriptors it gave out stay the caller's.
	Shut()

	// Listen opens a listening socket. The address it got (port 0 has been replaced) is returned. The error is
	// ErrNoReusePort where the system refuses ReusePort.
	Listen(a Addr, o *ListenOptions) (FD, Addr, error)
	// Adopt takes over a descriptor that this Kernel did not give out: of another process, or of another engine. It is
	// made non-blocking and is closed on exec. With o it is a listening socket: it gets o's options again, but for
	// ReusePort, Exclusive and V6Only, which were settled when it was bound, and its address is returned. With nil it
	// is a connection, and the address of the peer is returned. After an error it is still open and the caller's.
	Adopt(fd FD, o *ListenOptions) (Addr, error)
	// Duplicate returns a second descriptor of what fd stands for. It is closed on its own, and what both stand for
	// ends with the last one.
	Duplicate(fd FD) (FD, syscall.Errno)
	// Accept takes the next waiting connection: non-blocking, with the address of the peer.
	Accept(l FD) (FD, Addr, syscall.Errno)
	// SetIntake changes which connections l takes, as far as the system can. With IntakeBegun no new client comes:
	// its connect is not answered, so that it tries again a second later. A Unix socket refuses it, at once and for
	// good: what waits there when SetIntake returns is all that will ever wait.
	SetIntake(l FD, i Intake)
	// SetBacklog changes how many connections wait at l until they are accepted, 0: 4096. Clients above it are not
	// answered, and try again a second later.
	SetBacklog(l FD, n int)
	// ConnectsBegun reports whether clients have begun to connect to one of these TCP sockets, and do not wait to be
	// accepted yet; true where that is not known. It reads the table of all connections of the system, which takes
	// milliseconds, and longer where many are.
	ConnectsBegun(listening ...FD) bool
	// Connect begins a connection: 0 when it stands already, EINPROGRESS when CanWrite will say so. With any other
	// number there is no descriptor.
	Connect(a Addr, o *ConnectOptions) (FD, syscall.Errno)
	// SockError takes the pending error of a socket (SO_ERROR).
	SockError(fd FD) syscall.Errno
	// LocalAddr is the address of our end.
	LocalAddr(fd FD) Addr

	// Read reads at most len(p) bytes. 0 bytes without an error is the end.
	Read(fd FD, p []byte) (int, syscall.Errno)
	// AckNow sends the acknowledgement that TCP delays, up to 40 ms, so that it can leave with an answer. It is for
	// bytes after which more are due: a peer with Nagle's algorithm (RFC 9293 §3.7.4) keeps these until then.
	AckNow(fd FD)
	// Write writes from p; fewer bytes than len(p) means that the socket is full.
	Write(fd FD, p []byte) (int, syscall.Errno)
	// WriteLast is Write for what CloseWrite or SendFile follows at once when all of p was taken: both leave in one
	// segment, where the system can do that. Not for Close alone, which throws p away where unread bytes lie.
	WriteLast(fd FD, p []byte) (int, syscall.Errno)
	// Writev writes from several buffers in turn, at most IOVMax of them.
	Writev(fd FD, bufs [][]byte) (int, syscall.Errno)
	// Pipe opens a pipe of about size bytes, as much as the system allows: what Splice puts into w comes out of r. got
	// is what it holds at most.
	Pipe(size int) (r, w FD, got int, e syscall.Errno)
	// Splice moves at most n bytes from one descriptor to another without copying them; one of the two is a pipe. 0
	// bytes without an error is the end. EAGAIN says that there is nothing to move, or no room. EINVAL, ENOSYS,
	// EOPNOTSUPP, EPERM and EACCES say that these two cannot be spliced; Read takes out what a pipe holds.
	Splice(from, to FD, n int) (int, syscall.Errno)
	// SendFile writes n bytes of a file to a socket, from an offset on, without copying them; the file's own offset
	// stays. The socket sends what the file holds when a segment leaves, so these bytes must not change any more. 0
	// bytes without an error: the file ends there. EINVAL and the like are as with Splice.
	SendFile(to FD, from File, at int64, n int) (int, syscall.Errno)
	// ListenDatagrams opens a UDP socket for many peers. The address it got (port 0 has been replaced) is returned. The
	// error is ErrNoReusePort where the system refuses ReusePort. That a peer refuses datagrams (ICMP) is no error of
	// the socket, and not reported.
	ListenDatagrams(a Addr, o *DatagramOptions) (FD, Addr, error)
	// AdoptDatagrams is Adopt for a UDP socket. Its DatagramOptions were settled when it was bound.
	AdoptDatagrams(fd FD) (Addr, error)
	// Steer makes program choose which socket of fd's address gets a datagram, by their order of binding from 0. It
	// holds for all sockets of a group with ReusePort, later ones too. Where program names no socket, or is refused,
	// the kernel spreads peers.
	Steer(fd FD, program []Instruction) syscall.Errno
	// ReceiveRoom returns how many bytes of unread datagrams the UDP socket fd keeps: ReceiveWanted, or fewer where the
	// system allows no more.
	ReceiveRoom(fd FD) int
	// ReadBatch replaces the messages of b by those that have come. Fewer than BatchMax: the socket is drained. With an
	// error there are none.
	ReadBatch(fd FD, b *Batch) (n int, e syscall.Errno)
	// WriteBatch sends the messages of b from number from on, and returns how many have left. An error is about message
	// from, and n is 0. EAGAIN says that the socket is full.
	WriteBatch(fd FD, b *SendBatch, from int) (n int, e syscall.Errno)

	// Add registers fd once for its life, for reading and writing, edge-triggered. A UDP socket reports CanWrite only
	// after WriteBatch has said EAGAIN.
	Add(fd FD, t Token) syscall.Errno
	// Del takes fd out again, before it goes to another reactor. Close does so by itself.
	Del(fd FD) syscall.Errno
	// CloseWrite sends FIN.
	CloseWrite(fd FD) syscall.Errno
	// Close closes fd.
	Close(fd FD)
	// Reset closes fd with RST: what was written and not acknowledged is lost, and the peer sees an error. A Unix
	// socket has no such thing and is closed.
	Reset(fd FD)
}

// IOVMax is the largest number of buffers one Writev takes.
const IOVMax = 64
