package sim

import (
	"net/netip"
	"syscall"

	"github.com/edge-proxy/edge/poller"
)

// Arrive lets a datagram wait at the UDP port fd, and copies it. There may be poller.BatchMax.
func (l *Loop) Arrive(fd poller.FD, from netip.AddrPort, d []byte) {
	s := l.socks[fd]
	room := s.port.in.Reserve(len(d))
	if room == nil {
		panic("sim: more datagrams than a port of a Loop takes")
	}
	s.port.in.Commit(append(room, d...), from, s.local.IP.Addr())
	l.edge(s, poller.CanRead)
}

// Departed calls f for each datagram that left by fd since the last call. d is borrowed.
func (l *Loop) Departed(fd poller.FD, f func(to netip.AddrPort, d []byte)) {
	out := &l.socks[fd].port.out
	for i := range out.Len() {
		m := out.At(i)
		for d := range m.Segments() {
			f(m.Peer, d)
		}
	}
	out.Reset()
}

// ListenDatagrams opens a UDP port; see Arrive.
func (l *Loop) ListenDatagrams(a poller.Addr, _ *poller.DatagramOptions) (poller.FD, poller.Addr, error) {
	fd, a, err := l.Listen(a, nil)
	l.socks[fd].port = &loopPort{}
	return fd, a, err
}

// AdoptDatagrams says that there are none.
func (l *Loop) AdoptDatagrams(poller.FD) (poller.Addr, error) { return poller.Addr{}, syscall.ENOSYS }

// Steer says that there is no such call.
func (l *Loop) Steer(poller.FD, []poller.Instruction) syscall.Errno { return syscall.ENOSYS }

// ReceiveRoom is all that was asked for.
func (l *Loop) ReceiveRoom(poller.FD) int { return poller.ReceiveWanted }

// ReadBatch reads all that has arrived.
func (l *Loop) ReadBatch(fd poller.FD, b *poller.Batch) (int, syscall.Errno) {
	l.calls.ReadBatch++
	b.Reset()
	in := &l.socks[fd].port.in
	if in.Len() == 0 {
		return 0, syscall.EAGAIN
	}
	for i := range in.Len() {
		m := in.At(i)
		for d := range m.Segments() {
			b.Fill(d, m.Peer, m.Local, true)
		}
	}
	in.Reset()
	return b.Len(), 0
}

// WriteBatch takes all messages: see Departed.
func (l *Loop) WriteBatch(fd poller.FD, b *poller.SendBatch, from int) (int, syscall.Errno) {
	l.calls.WriteBatch++
	out := &l.socks[fd].port.out
	for i := from; i < b.Len(); i++ {
		m := b.At(i)
		for d := range m.Segments() {
			room := out.Reserve(len(d))
			if room == nil {
				panic("sim: nobody takes what departs from a port of a Loop")
			}
			out.Commit(append(room, d...), m.Peer, m.Local)
		}
	}
	return b.Len() - from, 0
}
