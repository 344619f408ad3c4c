package sim

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// datagramConformance says what a kernel does with UDP sockets, as conformance does with streams.
var datagramConformance = []struct {
	name string
	run  func(s *udpScript)
}{
	{"datagrams make an edge even while others are unread", func(s *udpScript) {
		fd, a := s.listen(0, poller.DatagramOptions{})
		c := s.dial(a)
		s.ready("silence", 0)
		c.send("one")
		s.ready("a datagram", rd)
		s.ready("silence", 0)
		c.send("two")
		s.ready("another", rd)
		s.read(fd, c, "one", "two")
		s.read(fd, c)
	}},
	{"add reports what holds already, but no room", func(s *udpScript) {
		fd, a := s.listen(0, poller.DatagramOptions{})
		s.kernel().Del(fd)
		c := s.dial(a)
		c.send("hello")
		s.ready("a datagram after del", 0)
		s.kernel().Add(fd, 2)
		s.ready("add", rd)
		s.read(fd, c, "hello")
	}},
	{"a datagram that leaves makes no edge", func(s *udpScript) {
		fd, a := s.listen(0, poller.DatagramOptions{})
		c := s.dial(a)
		s.write(fd, a, c, "hello", "", "you")
		s.ready("silence", 0)
		c.receives(s, "hello", "", "you")
	}},
	{"datagrams keep their bounds, empty ones too", func(s *udpScript) {
		fd, a := s.listen(0, poller.DatagramOptions{})
		c := s.dial(a)
		sent := []string{"", "a", "", "aa", "aa", "b", strings.Repeat("x", 9000), strings.Repeat("y", 9000), ""}
		for _, p := range sent {
			c.send(p)
		}
		s.ready("datagrams", rd)
		s.read(fd, c, sent...)
		s.write(fd, a, c, sent...)
		c.receives(s, sent...)
	}},
	{"a batch has so many messages and no more", func(s *udpScript) {
		fd, a := s.listen(0, poller.DatagramOptions{})
		c := s.dial(a)
		for i := range poller.BatchMax + 3 {
			c.send(strings.Repeat("x", i)) // longer ones than those before are no run
		}
		s.ready("datagrams", rd)
		for i, want := range []struct {
			n int
			e syscall.Errno
		}{{poller.BatchMax, 0}, {3, 0}, {0, syscall.EAGAIN}} {
			if n, e := s.kernel().ReadBatch(fd, &s.in); n != want.n || e != want.e || n != s.in.Len() {
				s.t.Fatalf("read %d gave %d, %v", i, n, e)
			}
		}
	}},
	{"an error is told of the first message only", func(s *udpScript) {
		fd, a := s.listen(0, poller.DatagramOptions{})
		c := s.dial(a)
		for _, p := range []string{"one", strings.Repeat("x", poller.DatagramMax+1), "three"} {
			s.out.Commit(append(s.out.Reserve(len(p)), p...), c.addr(), a.IP.Addr())
		}
		for from, want := range []syscall.Errno{0, syscall.EMSGSIZE, 0} {
			if n, e := s.kernel().WriteBatch(fd, &s.out, from); e != want || (n == 1) != (e == 0) {
				s.t.Fatalf("message %d: %d, %v", from, n, e)
			}
		}
		c.receives(s, "one", "three")
	}},
	{"an answer to nobody is lost without a word", func(s *udpScript) {
		fd, a := s.listen(0, poller.DatagramOptions{})
		c := s.dial(a)
		c.close()
		s.write(fd, a, c, "hello")
		s.ready("silence", 0)
		s.write(fd, a, c, "hello")
		s.read(fd, c)
	}},
	{"a socket has two descriptors, and ends with the last", func(s *udpScript) {
		fd, a := s.listen(0, poller.DatagramOptions{})
		k := s.kernel()
		again, errno := k.Duplicate(fd)
		if errno != 0 {
			s.t.Fatal(errno)
		}
		if at, err := k.AdoptDatagrams(again); err != nil || at != a || k.LocalAddr(again) != a {
			s.t.Fatalf("adopted at %v: %v; it is at %v", at, err, a)
		}
		k.Del(fd)
		k.Close(fd)
		k.Add(again, 2)
		c := s.dial(a)
		c.send("hello")
		s.ready("a datagram", rd)
		s.read(again, c, "hello")
		if _, _, err := k.ListenDatagrams(a, &poller.DatagramOptions{}); !errors.Is(err, syscall.EADDRINUSE) {
			s.t.Fatal(err)
		}
		k.Close(again)
		fd, _, err := k.ListenDatagrams(a, &poller.DatagramOptions{})
		if err != nil {
			s.t.Fatal("it is still open: ", err)
		}
		k.Close(fd)
	}},
	{"a stream's socket may have the same address", func(s *udpScript) {
		for range 100 { // tries: another process may have it
			l, a, err := s.kernel().Listen(tcp(0), &poller.ListenOptions{})
			testutil.Must(s.t, err)
			defer s.kernel().Close(l)
			fd, at, err := s.kernel().ListenDatagrams(a, &poller.DatagramOptions{})
			if err == nil && at == a {
				s.kernel().Close(fd)
				return
			}
			if !errors.Is(err, syscall.EADDRINUSE) {
				s.t.Fatal(at, a, err)
			}
		}
		s.t.Fatal("no address for both")
	}},
	{"a socket sends to another one", func(s *udpScript) {
		k := s.kernel()
		fd, a := s.listen(0, poller.DatagramOptions{})
		other, b, err := k.ListenDatagrams(tcp(0), &poller.DatagramOptions{})
		testutil.Must(s.t, err)
		s.out.Commit(append(s.out.Reserve(5), "hello"...), a.IP, netip.Addr{})
		if n, e := k.WriteBatch(other, &s.out, 0); n != 1 || e != 0 {
			s.t.Fatal(n, e)
		}
		s.ready("a datagram", rd)
		if n, e := k.ReadBatch(fd, &s.in); n != 1 || e != 0 || s.in.At(0).Peer != b.IP {
			s.t.Fatal(n, e, s.in.At(0))
		}
	}},
	{"a group shares its address, and each peer has one socket", func(s *udpScript) {
		one, a := s.listen(0, poller.DatagramOptions{ReusePort: true})
		two, _ := s.listen(a.IP.Port(), poller.DatagramOptions{ReusePort: true})
		for _, o := range []poller.DatagramOptions{{}, {ReusePort: true, Exclusive: true}} {
			if _, _, err := s.kernel().ListenDatagrams(a, &o); !errors.Is(err, syscall.EADDRINUSE) {
				s.t.Fatal(err)
			}
		}
		met := map[netip.AddrPort]poller.FD{}
		for round := range 2 {
			for i := range 32 {
				if round == 0 {
					s.dial(a)
				}
				s.dialled[i].send("hello")
			}
			s.ready("datagrams", rd)
			for _, fd := range []poller.FD{one, two} {
				n, e := s.kernel().ReadBatch(fd, &s.in)
				if e != 0 {
					s.t.Fatalf("socket %d has no peer: %v", fd, e)
				}
				for i := range n {
					peer := s.in.At(i).Peer
					if at, ok := met[peer]; ok != (round > 0) || ok && at != fd {
						s.t.Fatalf("%v went to %d and %d", peer, at, fd)
					}
					met[peer] = fd
				}
			}
		}
	}},
}

// udpRig is a kernel with peers that send datagrams.
type udpRig interface {
	kernel() poller.Kernel
	settle(t poller.Token, r poller.Ready) map[poller.Token]poller.Ready
	dialUDP(a poller.Addr) udpPeer
}

type udpPeer interface {
	send(p string)
	addr() netip.AddrPort
	take() (string, bool)
	close()
}

// udpScript is one row at work.
type udpScript struct {
	t testing.TB
	udpRig
	in      poller.Batch
	out     poller.SendBatch
	dialled []*udpClient
}

type udpClient struct{ udpPeer }

func (s *udpScript) listen(port uint16, o poller.DatagramOptions) (poller.FD, poller.Addr) {
	s.t.Helper()
	fd, a, err := s.kernel().ListenDatagrams(tcp(int(port)), &o)
	testutil.Must(s.t, err)
	if errno := s.kernel().Add(fd, 2); errno != 0 {
		s.t.Fatal(errno)
	}
	return fd, a
}

func (s *udpScript) dial(a poller.Addr) *udpClient {
	c := &udpClient{s.dialUDP(a)}
	s.dialled = append(s.dialled, c)
	return c
}

func (s *udpScript) ready(step string, r poller.Ready) {
	s.t.Helper()
	if got := s.settle(2, r)[2]; got != r {
		s.t.Fatalf("%s: ready is %04b, want %04b", step, got, r)
	}
}

// read reads all that has come, which must be want from c, and then EAGAIN.
func (s *udpScript) read(fd poller.FD, c *udpClient, want ...string) {
	s.t.Helper()
	var got []string
	for {
		n, e := s.kernel().ReadBatch(fd, &s.in)
		if e != 0 {
			if e != syscall.EAGAIN || n != 0 || s.in.Len() != 0 || !slices.Equal(got, want) {
				s.t.Fatalf("read gave %v, then %d, %v; want %v", got, n, e, want)
			}
			return
		}
		for i := range n {
			d := s.in.At(i)
			if d.Peer != c.addr() || d.Local != netipLocal {
				s.t.Fatalf("from %v to %v", d.Peer, d.Local)
			}
			for p := range d.Segments() {
				got = append(got, string(p))
			}
		}
	}
}

func (s *udpScript) write(fd poller.FD, from poller.Addr, c *udpClient, sent ...string) {
	s.t.Helper()
	for _, p := range sent {
		s.out.Commit(append(s.out.Reserve(len(p)), p...), c.addr(), from.IP.Addr())
	}
	for at := 0; at < s.out.Len(); {
		n, e := s.kernel().WriteBatch(fd, &s.out, at)
		if e == syscall.EAGAIN {
			s.ready("room", wr)
			continue
		}
		if e != 0 {
			s.t.Fatalf("message %d: %v", at, e)
		}
		at += n
	}
	s.out.Reset()
}

func (c *udpClient) receives(s *udpScript, want ...string) {
	s.t.Helper()
	for i, p := range want {
		s.settle(2, 0)
		if got, ok := c.take(); got != p || !ok {
			s.t.Fatalf("datagram %d has %d octets, %v; want %d", i, len(got), ok, len(p))
		}
	}
	if got, ok := c.take(); ok {
		s.t.Fatalf("another one with %d octets", len(got))
	}
}

func TestDatagramConformance_world(t *testing.T) {
	for _, c := range datagramConformance {
		t.Run(c.name, func(t *testing.T) {
			Run(t, 40, func(t testing.TB, w *World) {
				w.Net.Spread = 0
				c.run(&udpScript{t: t, udpRig: &simRig{w: w, k: w.Kernel(0)}})
			})
		})
	}
}

func TestDatagramConformance_linux(t *testing.T) {
	for _, c := range datagramConformance {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k, err := poller.NewEpoll(poller.ParkRuntime)
			testutil.Must(t, err)
			t.Cleanup(k.Shut)
			c.run(&udpScript{t: t, udpRig: &realRig{t: t, Kernel: k, ends: time.Now().Add(testutil.Patience)}})
		})
	}
}

func (s *simRig) dialUDP(a poller.Addr) udpPeer { return &simUDP{p: s.w.DialDatagrams(a)} }

type simUDP struct {
	p    *DatagramPeer
	left []poller.Datagram
}

func (c *simUDP) send(p string)        { c.p.Send([]byte(p)) }
func (c *simUDP) addr() netip.AddrPort { return c.p.Addr() }
func (c *simUDP) close()               { c.p.w.Rebind(c.p, netip.AddrPort{}) }

func (c *simUDP) take() (string, bool) {
	if c.left = append(c.left, c.p.Take()...); len(c.left) == 0 {
		return "", false
	}
	d := c.left[0]
	c.left = c.left[1:]
	return string(d.Data), d.Peer == c.p.to
}

func (s *realRig) dialUDP(a poller.Addr) udpPeer {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(a.IP))
	testutil.Must(s.t, err)
	s.t.Cleanup(func() { c.Close() }) //nolint:errcheck
	return &realUDP{c, c.LocalAddr().(*net.UDPAddr).AddrPort()}
}

type realUDP struct {
	c  *net.UDPConn
	at netip.AddrPort
}

func (c *realUDP) send(p string)        { c.c.Write([]byte(p)) } //nolint:errcheck
func (c *realUDP) addr() netip.AddrPort { return c.at }
func (c *realUDP) close()               { c.c.Close() } //nolint:errcheck

func (c *realUDP) take() (string, bool) {
	c.c.SetReadDeadline(time.Now().Add(quietTime)) //nolint:errcheck
	b := make([]byte, 1<<16)
	n, err := c.c.Read(b)
	return string(b[:n]), err == nil
}
