package sim

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/edge-proxy/edge/poller"
)

// port is what makes a door a UDP socket. A datagram waits in it until it leaves, and again, once it has arrived, until
// it is read.
type port struct {
	in          []datagram
	out, outMax int   // bytes that have not left; from outMax on there is no room for another datagram
	leaves      int64 // when the latest datagram leaves
	full        bool  // the latest WriteBatch said EAGAIN
}

// portQueueMax is how many datagrams a port keeps unread: about as many of 1 200 bytes as Linux keeps in 4 MiB. What
// comes then is lost.
const portQueueMax = 4096

// ListenDatagrams opens a UDP socket.
func (k *Kernel) ListenDatagrams(a poller.Addr, o *poller.DatagramOptions) (poller.FD, poller.Addr, error) {
	k.calls.Listen++
	w := k.w
	d := &door{w: w, addr: a, port: &port{outMax: w.size(w.Net.BufferMin, w.Net.BufferMax)}}
	d.opts = poller.ListenOptions{ReusePort: o.ReusePort, Exclusive: o.Exclusive, V6Only: o.V6Only}
	if errno := w.bind(d); errno != 0 {
		return poller.NoFD, a, os.NewSyscallError("bind", errno)
	}
	f := w.open(&file{door: d})
	d.files = append(d.files, f)
	w.trace.add(k, "listen udp", f.fd, 0, 0)
	return f.fd, d.addr, nil
}

// AdoptDatagrams takes over a descriptor that a kernel of the same World gave out, and that none watches.
func (k *Kernel) AdoptDatagrams(fd poller.FD) (poller.Addr, error) {
	k.calls.Adopt++
	k.w.trace.add(k, "adopt", fd, 0, 0)
	d := k.portOf(fd, "adopt")
	if d == nil {
		return poller.Addr{}, os.NewSyscallError("adopt", syscall.EINVAL)
	}
	if k.w.files[fd].watcher != nil {
		k.w.misuse("fd %d is adopted while a reactor watches it", fd)
	}
	return d.addr, nil
}

// Steer takes a program and does not run it: datagrams that go to other sockets than it says are mail.
func (k *Kernel) Steer(fd poller.FD, _ []poller.Instruction) syscall.Errno {
	if k.portOf(fd, "steer") == nil {
		return syscall.EBADF
	}
	return 0
}

// ReceiveRoom says that there is all the room that is wanted: see portQueueMax.
func (k *Kernel) ReceiveRoom(poller.FD) int { return poller.ReceiveWanted }

// ReadBatch reads what has come. Datagrams that may be a run mostly are.
func (k *Kernel) ReadBatch(fd poller.FD, b *poller.Batch) (int, syscall.Errno) {
	k.calls.ReadBatch++
	k.w.drift()
	b.Reset()
	d := k.portOf(fd, "recvmmsg")
	if d == nil {
		return 0, syscall.EBADF
	}
	n := 0
	for _, g := range d.port.in {
		if !b.Fill(g.data, g.from, g.to.Addr(), k.w.rng.IntN(4) > 0) {
			break
		}
		n++
	}
	d.port.in = slices.Delete(d.port.in, 0, n)
	errno := syscall.Errno(0)
	if n == 0 {
		errno = syscall.EAGAIN
	}
	k.w.trace.add(k, "recvmmsg", fd, b.Len(), errno)
	return b.Len(), errno
}

// WriteBatch sends what the socket has room for.
func (k *Kernel) WriteBatch(fd poller.FD, b *poller.SendBatch, from int) (n int, errno syscall.Errno) {
	k.calls.WriteBatch++
	k.w.drift()
	d := k.portOf(fd, "sendmmsg")
	if d == nil {
		return 0, syscall.EBADF
	}
	most := min(b.Len()-from, poller.BatchMax)
	if most > 1 && k.w.chance(k.w.Faults.ShortWrite) {
		most = 1 + k.w.rng.IntN(most)
	}
	for ; n < most; n++ {
		if errno = d.send(b.At(from + n)); errno != 0 {
			break
		}
	}
	if n > 0 {
		errno = 0
	}
	d.port.full = d.port.full || errno == syscall.EAGAIN // for good: others may share the socket, and wait
	k.w.trace.add(k, "sendmmsg", fd, n, errno)
	return n, errno
}

// portOf returns the door of the UDP socket fd.
func (k *Kernel) portOf(fd poller.FD, call string) *door {
	f := k.file(fd, call)
	if f == nil {
		return nil
	}
	if f.door == nil || f.door.port == nil {
		k.w.misuse("%s of fd %d, which is no UDP socket", call, fd)
		return nil
	}
	return f.door
}

// send sends the datagrams of a message one after the other, a moment later each.
func (d *door) send(m *poller.Datagram) syscall.Errno {
	w, p := d.w, d.port
	switch {
	case p.out >= p.outMax:
		return syscall.EAGAIN
	case cmp.Or(m.Segment, len(m.Data)) > poller.DatagramMax:
		return syscall.EMSGSIZE
	case m.Segment > 0 && w.chance(w.Faults.RunInvalid):
		return w.oneOf(syscall.EIO, syscall.EINVAL)
	case w.chance(w.Faults.DatagramRefused):
		return w.oneOf(syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EPERM, syscall.ENOBUFS)
	}
	from := m.Local
	if !from.IsValid() {
		if from = d.addr.IP.Addr(); from.IsUnspecified() {
			from = loopback(m.Peer.Addr())
		}
	}
	for s := range m.Segments() {
		g := datagram{slices.Clone(s), addrPort(from, d.addr.IP.Port()), m.Peer}
		p.out += g.size()
		p.leaves = max(p.leaves, w.now) + 1 + w.rng.Int64N(portTime)
		w.after(p.leaves-w.now, func() {
			if p.out -= g.size(); p.full && p.writable() {
				d.edge()
			}
			w.carry(g)
		})
	}
	return 0
}

// portTime is how long a datagram takes at most to leave after the one before it.
const portTime = 2000

// arrive takes a datagram from the network.
func (d *door) arrive(g datagram) {
	if len(d.port.in) < portQueueMax {
		d.port.in = append(d.port.in, g)
		d.edge()
	}
}

// poll reports what holds.
func (p *port) poll() (r poller.Ready) {
	if len(p.in) > 0 {
		r |= poller.CanRead
	}
	if p.full && p.writable() {
		r |= poller.CanWrite
	}
	return r
}

// writable is not just room: Linux reports it when half of the buffer is free.
func (p *port) writable() bool { return 2*p.out < p.outMax }

// portAt finds the socket that takes a datagram, nil when none does. In a group that is the same socket for all from
// one address.
func (w *World) portAt(from, to netip.AddrPort) *door {
	group := w.doorsAt(poller.Addr{IP: to}, true)
	if len(group) == 0 {
		return nil
	}
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint16(from.Addr().AsSlice(), from.Port())) //nolint:errcheck
	return group[h.Sum64()%uint64(len(group))]
}

// datagram is one on its way, or unread.
type datagram struct {
	data     []byte
	from, to netip.AddrPort
}

// size is how long the packet is, with the headers of UDP and IP.
func (g *datagram) size() int {
	if g.to.Addr().Is4() {
		return len(g.data) + 28
	}
	return len(g.data) + 48
}

// link is the way from one address to another.
type link struct{ from, to netip.AddrPort }

// carry brings g to where it wants, or loses it on the way.
func (w *World) carry(g datagram) {
	n, l := &w.Net, link{g.from, g.to}
	waits, takes := max(w.links[l]-w.now, 0), int64(1)
	if n.Rate > 0 {
		if waits > int64(n.Queue)*1e9/int64(n.Rate) {
			return
		}
		takes = max(takes, int64(g.size())*1e9/int64(n.Rate))
	}
	w.links[l] = w.now + waits + takes
	if n.MTU > 0 && g.size() > n.MTU || w.chance(n.Loss) {
		return
	}
	if len(g.data) > 0 && w.chance(n.Corrupt) {
		g.data[w.rng.IntN(len(g.data))] ^= 1 << w.rng.IntN(8)
	}
	travels := waits + takes + int64(n.Latency)
	if w.chance(n.Duplicate) {
		again := datagram{slices.Clone(g.data), g.from, g.to}
		w.after(travels+w.draw(n.Spread), func() { w.land(again) })
	}
	w.after(travels+w.draw(n.Spread), func() { w.land(g) })
}

func (w *World) land(g datagram) {
	for _, p := range w.dialled {
		if p.at == g.to {
			p.arrive(g)
			return
		}
	}
	if d := w.portAt(g.from, g.to); d != nil {
		d.arrive(g)
	}
}

// DatagramPeer is a far side that sends datagrams to a reactor, driven by the test. What it sends and gets travels
// through the simulated network. Owned by its World's goroutine.
type DatagramPeer struct {
	// Handle, if set, is called after datagrams have come. It runs as At's do.
	Handle func(p *DatagramPeer)

	w        *World
	at, to   netip.AddrPort
	received []poller.Datagram
	pending  bool // Handle will be called
}

// DialDatagrams returns a far side with an address of its own that sends to a.
func (w *World) DialDatagrams(a poller.Addr) *DatagramPeer {
	p := &DatagramPeer{w: w, at: w.ephemeral(a).IP, to: a.IP}
	w.dialled = append(w.dialled, p)
	return p
}

// Rebind gives p another address, as a network does that has forgotten it. Datagrams on their way to the old one are
// lost.
func (w *World) Rebind(p *DatagramPeer, at netip.AddrPort) { p.at = at }

// Send sends b, which is copied, as one datagram.
func (p *DatagramPeer) Send(b []byte) { p.w.carry(datagram{slices.Clone(b), p.at, p.to}) }

// Take returns the datagrams that have come since the last Take, each with the address that sent it. The caller owns
// them.
func (p *DatagramPeer) Take() []poller.Datagram {
	got := p.received
	p.received = nil
	return got
}

// Addr is p's address.
func (p *DatagramPeer) Addr() netip.AddrPort { return p.at }

// String describes p for a dump.
func (p *DatagramPeer) String() string {
	return fmt.Sprintf("datagrams from %s to %s, %d received and not taken", p.at, p.to, len(p.received))
}

func (p *DatagramPeer) arrive(g datagram) {
	p.received = append(p.received, poller.Datagram{Data: g.data, Peer: g.from, Local: g.to.Addr()})
	if p.pending || p.Handle == nil {
		return
	}
	p.pending = true
	p.w.At(p.w.now, func() {
		p.pending = false
		p.Handle(p)
	})
}
