package poller

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var errNoDatagrams = errors.New("not a UDP socket")

// port is a UDP socket of an epoll. Each datagram that has left makes an edge for writing, whether or not the socket
// was full. So it is registered for writing only from EAGAIN until the next datagram has left.
type port struct {
	token Token
	full  bool
}

func (p *port) events() uint32 {
	if p.full {
		return unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLET
	}
	return unix.EPOLLIN | unix.EPOLLET
}

// datagrams is what the kernel fills and reads in calls on UDP sockets.
type datagrams struct {
	in, out headers
	reading *Batch // whose memory in points into
	filled  int    // messages of in that are as the last call left them
}

type headers struct {
	message [BatchMax]unix.Mmsghdr // each with the vector, the address and the control bytes of its number
	vector  [BatchMax]unix.Iovec
	address [BatchMax]unix.RawSockaddrAny
	control [BatchMax]control
}

// control has room for the two control messages of a datagram, its local address and the length of its segments, and
// for those that others may have asked of an adopted socket: times, and a mark.
type control struct {
	_     [0]uint64 // aligned for unix.Cmsghdr
	bytes [128]byte
}

func (h *headers) init() {
	for i := range h.message {
		m := &h.message[i].Hdr
		// SAFETY: all of these are fields of h, which is never copied.
		m.Name = (*byte)(unsafe.Pointer(&h.address[i]))
		m.Iov = &h.vector[i]
		m.SetIovlen(1)
		m.Control = &h.control[i].bytes[0]
	}
}

// ListenDatagrams opens a UDP socket.
func (k *epoll) ListenDatagrams(a Addr, o *DatagramOptions) (FD, Addr, error) {
	s, err := bindDatagrams(a, o)
	if err != nil {
		return NoFD, a, fmt.Errorf("listen udp %s: %w", a, err)
	}
	return FD(s), k.takePort(FD(s)), nil
}

func bindDatagrams(a Addr, o *DatagramOptions) (s int, err error) {
	if !a.IP.IsValid() {
		return -1, errAddr
	}
	family := unix.AF_INET
	if a.IP.Addr().Unmap().Is6() {
		family = unix.AF_INET6
	}
	if o.Exclusive && o.ReusePort && a.IP.Port() != 0 {
		if err := vacant(a, family, unix.SOCK_DGRAM, o.V6Only); err != nil {
			return -1, err
		}
	}
	s, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			rawClose(FD(s))
		}
	}()
	if o.ReusePort {
		if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return s, fmt.Errorf("%w: %w", ErrNoReusePort, err)
		}
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(s, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, flag(o.V6Only)); err != nil {
			return s, err
		}
	}
	if err := tuneDatagrams(s, family); err != nil {
		return s, err
	}
	return s, unix.Bind(s, a.sockaddr())
}

// AdoptDatagrams takes over fd, which another process or another engine opened.
func (k *epoll) AdoptDatagrams(fd FD) (Addr, error) {
	err := own(int(fd))
	if err == nil {
		family, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		protocol, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL)
		if err = errNoDatagrams; protocol == unix.IPPROTO_UDP {
			err = tuneDatagrams(int(fd), family)
		}
	}
	if err != nil {
		return Addr{}, fmt.Errorf("adopt descriptor %d: %w", fd, err)
	}
	return k.takePort(fd), nil
}

// tuneDatagrams asks the kernel for the local address of each datagram, and for runs of datagrams where it can. What
// leaves is never cut into fragments, whatever the kernel believes of the path: the peers find the length that gets
// through.
func tuneDatagrams(s, family int) error {
	level, local := unix.IPPROTO_IP, unix.IP_PKTINFO
	if family == unix.AF_INET6 {
		level, local = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
		unix.SetsockoptInt(s, level, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE) //nolint:errcheck
	}
	// None of these is needed for a right answer. An IPv6 socket sends IPv4 as well.
	unix.SetsockoptInt(s, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE) //nolint:errcheck
	unix.SetsockoptInt(s, unix.IPPROTO_UDP, unix.UDP_GRO, 1)                             //nolint:errcheck
	// CAP_NET_ADMIN is above net.core.rmem_max.
	if unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, ReceiveWanted) != nil {
		unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUF, ReceiveWanted) //nolint:errcheck
	}
	return unix.SetsockoptInt(s, level, local, 1)
}

// Steer attaches program to the group of fd's socket.
func (k *epoll) Steer(fd FD, program []Instruction) syscall.Errno {
	// SAFETY: Instruction is laid out as unix.SockFilter, whose program the kernel copies.
	p := unix.SockFprog{Len: uint16(len(program)), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	if err := unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &p); err != nil {
		return errnoOf(err)
	}
	return 0
}

// takePort registers fd with k as a UDP socket, and returns its address.
func (k *epoll) takePort(fd FD) Addr {
	if k.datagrams == nil {
		k.datagrams, k.ports = &datagrams{}, map[FD]*port{}
		k.datagrams.in.init()
		k.datagrams.out.init()
	}
	if k.ports[fd] == nil { // else it was suspended, and may be full
		k.ports[fd] = &port{}
	}
	return k.LocalAddr(fd)
}

// ReceiveRoom asks for SO_RCVBUF, which net.core.rmem_max has cut.
func (k *epoll) ReceiveRoom(fd FD) int {
	// socket(7): the kernel doubles the value, for its own records of datagrams, and returns the double.
	v, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	return v / 2
}

// ReadBatch reads messages into b.
func (k *epoll) ReadBatch(fd FD, b *Batch) (int, syscall.Errno) {
	u := k.datagrams
	if b.n = 0; b != u.reading {
		if e := u.readInto(b); e != 0 {
			return 0, e
		}
	}
	for i := range u.filled {
		m := &u.in.message[i].Hdr
		m.Namelen = uint32(unsafe.Sizeof(u.in.address[i]))
		m.SetControllen(len(u.in.control[i].bytes))
	}
	n, e := rawRecvmmsg(fd, u.in.message[:])
	b.n, u.filled = n, n
	total := 0
	for i := range n {
		u.in.decode(i, &b.messages[i], b.slot(i))
		total += len(b.messages[i].Data)
	}
	if total >= bulkLeast {
		k.nap.short = 0
	}
	return n, e
}

// readInto makes the memory of b what ReadBatch fills.
func (u *datagrams) readInto(b *Batch) syscall.Errno {
	if b.memory == nil {
		// The garbage collector, and its limit of memory, would count all of it.
		m, err := unix.Mmap(-1, 0, BatchMax*slotSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return errnoOf(err)
		}
		unix.Madvise(m, unix.MADV_NOHUGEPAGE) //nolint:errcheck // a large page is mostly never touched
		runtime.AddCleanup(b, Unmap, m)
		b.memory = m
	}
	for i := range u.in.vector {
		u.in.vector[i].Base = &b.slot(i)[0]
		u.in.vector[i].SetLen(slotSize)
	}
	u.reading, u.filled = b, BatchMax
	return 0
}

// decode makes d of message i, whose bytes are at the beginning of slot.
func (h *headers) decode(i int, d *Datagram, slot []byte) {
	m := &h.message[i]
	*d = Datagram{Data: slot[:m.Len], Peer: decode(&h.address[i], m.Hdr.Namelen).IP}
	c := &h.control[i]
	for at := 0; at+unix.SizeofCmsghdr <= int(m.Hdr.Controllen); {
		// SAFETY: the kernel wrote a header here, and its bytes after it: Controllen counts them.
		head := (*unix.Cmsghdr)(unsafe.Pointer(&c.bytes[at]))
		size := int(head.Len) - unix.CmsgLen(0)
		p := c.bytes[at+unix.CmsgLen(0):][:size]
		switch {
		case head.Level == unix.IPPROTO_UDP && head.Type == unix.UDP_GRO:
			d.Segment = int(binary.NativeEndian.Uint32(p))
		case head.Level == unix.IPPROTO_IP && head.Type == unix.IP_PKTINFO:
			d.Local = netip.AddrFrom4([4]byte(p[4:])) // ipi_spec_dst, never a broadcast address
		case head.Level == unix.IPPROTO_IPV6 && head.Type == unix.IPV6_PKTINFO:
			d.Local = netip.AddrFrom16([16]byte(p)).Unmap()
		}
		at += unix.CmsgSpace(size)
	}
}

// WriteBatch sends messages of b.
func (k *epoll) WriteBatch(fd FD, b *SendBatch, from int) (int, syscall.Errno) {
	left := b.messages[from:]
	left = left[:min(len(left), BatchMax)]
	out := &k.datagrams.out
	for i := range left {
		out.encode(i, &left[i])
	}
	n, e := rawSendmmsg(fd, out.message[:len(left)])
	if p := k.ports[fd]; p.full != (e == unix.EAGAIN) {
		p.full = !p.full
		k.control(unix.EPOLL_CTL_MOD, fd, p.token, p.events()) // ENOENT: Add has not come yet
	}
	return n, e
}

// encode makes message i of d. An IPv6 socket takes the addresses of IPv4 as well.
func (h *headers) encode(i int, d *Datagram) {
	m := &h.message[i].Hdr
	m.Namelen, _ = Addr{IP: d.Peer}.encode(&h.address[i])
	h.vector[i].Base = unsafe.SliceData(d.Data) // SAFETY: only for the kernel, with the length
	h.vector[i].SetLen(len(d.Data))
	c, n := &h.control[i], 0
	switch {
	case d.Local.Is4():
		ip := d.Local.As4()
		p := c.add(&n, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
		clear(p)
		copy(p[4:], ip[:])
	case d.Local.Is6():
		ip := d.Local.As16()
		p := c.add(&n, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
		clear(p)
		copy(p, ip[:])
	}
	if d.Segment > 0 {
		binary.NativeEndian.PutUint16(c.add(&n, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 2), uint16(d.Segment))
	}
	m.SetControllen(n)
}

// add puts a control message of size bytes at offset n, moves n on, and returns these bytes.
func (c *control) add(n *int, level, kind int32, size int) []byte {
	// SAFETY: bytes is aligned as a header, as is each multiple of CmsgSpace, and has room for the two that there are.
	head := (*unix.Cmsghdr)(unsafe.Pointer(&c.bytes[*n]))
	head.Level, head.Type = level, kind
	head.SetLen(unix.CmsgLen(size))
	p := c.bytes[*n+unix.CmsgLen(0):][:size]
	*n += unix.CmsgSpace(size)
	return p
}
