package poller_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// udp is a UDP socket of an epoll, alone there.
type udp struct {
	t   testing.TB
	k   poller.Kernel
	fd  poller.FD
	at  poller.Addr
	in  poller.Batch
	out poller.SendBatch
}

func listenUDP(t testing.TB, at string, o poller.DatagramOptions) *udp {
	t.Helper()
	u := &udp{t: t, k: newEpoll(t, poller.ParkRuntime)}
	var err error
	u.fd, u.at, err = u.k.ListenDatagrams(poller.Addr{IP: netip.MustParseAddrPort(at)}, &o)
	testutil.Must(t, err)
	t.Cleanup(func() { u.k.Close(u.fd) })
	if e := u.k.Add(u.fd, 1); e != 0 {
		t.Fatal(e)
	}
	return u
}

// to is where u is reached by ip.
func (u *udp) to(ip string) *net.UDPAddr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), u.at.IP.Port()))
}

// wait waits for an event.
func (u *udp) wait(until int64) poller.Ready {
	var ev [1]poller.Event
	for {
		if n := u.k.Wait(ev[:], until); n > 0 {
			return ev[0].Ready
		}
		if u.k.Now() >= until {
			return 0
		}
	}
}

// read returns n datagrams, cut out of their runs, and how many of them came in one.
func (u *udp) read(n int) (got []poller.Datagram, joined int) {
	u.t.Helper()
	until := u.k.Now() + int64(testutil.Patience)
	for len(got) < n {
		m, e := u.k.ReadBatch(u.fd, &u.in)
		if e == syscall.EAGAIN {
			if u.wait(until)&poller.CanRead == 0 {
				u.t.Fatalf("%d datagrams, want %d", len(got), n)
			}
			continue
		}
		if e != 0 || m != u.in.Len() {
			u.t.Fatalf("read gave %d of %d, %v", m, u.in.Len(), e)
		}
		for i := range m {
			d := u.in.At(i)
			if d.Segment > 0 {
				joined++
			}
			for s := range d.Segments() {
				got = append(got, poller.Datagram{Data: bytes.Clone(s), Peer: d.Peer, Local: d.Local})
			}
		}
	}
	return got, joined
}

// write sends all that waits in out.
func (u *udp) write() {
	u.t.Helper()
	for from := 0; from < u.out.Len(); {
		n, e := u.k.WriteBatch(u.fd, &u.out, from)
		if e != 0 {
			u.t.Fatalf("message %d of %d: %v", from, u.out.Len(), e)
		}
		from += n
	}
	u.out.Reset()
}

func (u *udp) commit(p []byte, peer netip.AddrPort, local netip.Addr) {
	u.t.Helper()
	d := u.out.Reserve(len(p))
	if d == nil {
		u.t.Fatal("no room")
	}
	u.out.Commit(append(d, p...), peer, local)
}

// dialUDP is a client that hears of nobody but its server.
func dialUDP(t testing.TB, to *net.UDPAddr) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, to)
	testutil.Must(t, err)
	t.Cleanup(func() { c.Close() })                  //nolint:errcheck
	c.SetDeadline(time.Now().Add(testutil.Patience)) //nolint:errcheck
	return c
}

func addressOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

func needIPv6(t testing.TB) {
	t.Helper()
	c, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skip("no IPv6: ", err)
	}
	c.Close() //nolint:errcheck
}

// A client is answered from the address that it asked, whatever the family of the socket, by single datagrams of any
// length and by runs.
func TestEpoll_datagrams(t *testing.T) {
	for name, c := range map[string]struct{ at, asked string }{
		"IPv4":                  {"127.0.0.1:0", "127.0.0.1"},
		"any IPv4":              {"0.0.0.0:0", "127.0.0.1"},
		"any IPv4, another one": {"0.0.0.0:0", "127.0.0.2"},
		"IPv6":                  {"[::1]:0", "::1"},
		"any IPv6":              {"[::]:0", "::1"},
		"both":                  {"[::]:0", "127.0.0.1"},
		"both, another one":     {"[::]:0", "127.0.0.3"},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "IPv4" && name[:3] != "any" || c.asked == "::1" {
				needIPv6(t)
			}
			u := listenUDP(t, c.at, poller.DatagramOptions{})
			client := dialUDP(t, u.to(c.asked))
			sizes := []int{0, 1, 1200, 1452, 9000, poller.DatagramMax}
			if c.asked == "::1" {
				sizes[5] = 65488 // as much as the device of loopback takes, with headers
			}
			buf := make([]byte, 1<<16)
			for i, size := range sizes {
				sent := bytes.Repeat([]byte{byte(i + 1)}, size)
				_, err := client.Write(sent)
				testutil.Must(t, err)
				got, _ := u.read(1)
				d := got[0]
				if !bytes.Equal(d.Data, sent) || d.Peer != addressOf(client) || d.Local.String() != c.asked {
					t.Fatalf("%d octets from %v to %v came; sent were %d from %v to %s",
						len(d.Data), d.Peer, d.Local, size, addressOf(client), c.asked)
				}
				u.commit(d.Data, d.Peer, d.Local)
				u.write()
				if n, err := client.Read(buf); err != nil || !bytes.Equal(buf[:n], sent) {
					t.Fatalf("%d octets came back, %v", n, err)
				}
			}
			for i := range 20 { // a run
				u.commit(bytes.Repeat([]byte{byte(i)}, 900-i/19), addressOf(client), netip.MustParseAddr(c.asked))
			}
			if u.out.Len() != 1 {
				t.Fatalf("%d messages", u.out.Len())
			}
			u.write()
			for i := range 20 {
				n, err := client.Read(buf)
				if err != nil || !bytes.Equal(buf[:n], bytes.Repeat([]byte{byte(i)}, 900-i/19)) {
					t.Fatalf("datagram %d has %d octets, %v", i, n, err)
				}
			}
		})
	}
}

// Runs between two Epolls: whether they are joined on the way is the kernel's choice.
func TestEpoll_datagramRuns(t *testing.T) {
	a, b := listenUDP(t, "127.0.0.1:0", poller.DatagramOptions{}), listenUDP(t, "0.0.0.0:0", poller.DatagramOptions{})
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), b.at.IP.Port())
	for _, size := range []int{1, 500, 1200, 30000} {
		count := min(100, 200000/size)
		for i := range count {
			a.commit(bytes.Repeat([]byte{byte(i)}, size), to, netip.Addr{})
		}
		messages := a.out.Len()
		a.write()
		got, joined := b.read(count)
		t.Logf("%d datagrams of %d octets in %d messages, %d of which came as runs", count, size, messages, joined)
		for i, d := range got {
			if d.Peer != a.at.IP || d.Local != to.Addr() || !bytes.Equal(d.Data, bytes.Repeat([]byte{byte(i)}, size)) {
				t.Fatalf("datagram %d: %d octets from %v to %v", i, len(d.Data), d.Peer, d.Local)
			}
		}
	}
}

func TestEpoll_batchBounds(t *testing.T) {
	u := listenUDP(t, "127.0.0.1:0", poller.DatagramOptions{})
	if n, e := u.k.ReadBatch(u.fd, &u.in); n != 0 || e != syscall.EAGAIN || u.in.Len() != 0 {
		t.Fatal(n, e)
	}
	if n, e := u.k.WriteBatch(u.fd, &u.out, 0); n != 0 || e != 0 {
		t.Fatal(n, e)
	}
	for i := range poller.BatchMax + 6 { // equal ones of one client might come as a run
		c := dialUDP(t, u.to("127.0.0.1"))
		_, err := c.Write([]byte{byte(i)})
		testutil.Must(t, err)
	}
	var again poller.Batch
	for i, want := range []struct {
		b *poller.Batch
		n int
	}{{&u.in, poller.BatchMax}, {&again, 6}} {
		if n, e := u.k.ReadBatch(u.fd, want.b); n != want.n || e != 0 {
			t.Fatalf("read %d gave %d, %v", i, n, e)
		}
	}
	if d := again.At(5); len(d.Data) != 1 || d.Data[0] != poller.BatchMax+5 {
		t.Fatalf("%v", d)
	}
}

// A message that cannot leave is told with its number, and does not keep those after it.
func TestEpoll_datagramTooLong(t *testing.T) {
	u := listenUDP(t, "127.0.0.1:0", poller.DatagramOptions{})
	c := dialUDP(t, u.to("127.0.0.1"))
	for _, p := range [][]byte{[]byte("one"), make([]byte, poller.DatagramMax+1), []byte("three")} {
		u.commit(p, addressOf(c), u.at.IP.Addr())
	}
	for i, want := range []struct {
		from, n int
		e       syscall.Errno
	}{{0, 1, 0}, {1, 0, syscall.EMSGSIZE}, {2, 1, 0}} {
		if n, e := u.k.WriteBatch(u.fd, &u.out, want.from); n != want.n || e != want.e {
			t.Fatalf("call %d gave %d, %v", i, n, e)
		}
	}
	buf := make([]byte, 9)
	for _, want := range []string{"one", "three"} {
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != want {
			t.Fatalf("%q, %v", buf[:n], err)
		}
	}
}

// Nobody is at an address: that is not for the socket, which serves others.
func TestEpoll_datagramsRefused(t *testing.T) {
	u := listenUDP(t, "127.0.0.1:0", poller.DatagramOptions{})
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 77)}) // others have other addresses
	testutil.Must(t, err)
	nobody := addressOf(c)
	c.Close() //nolint:errcheck
	for range 3 {
		u.commit([]byte("x"), nobody, u.at.IP.Addr())
		u.write()
		if n, e := u.k.ReadBatch(u.fd, &u.in); n != 0 || e != syscall.EAGAIN {
			t.Fatal(n, e)
		}
	}
	if r := u.wait(u.k.Now() + int64(20*time.Millisecond)); r != 0 { // also not CanWrite, for each that has left
		t.Fatalf("ready is %04b", r)
	}
	if e := u.k.SockError(u.fd); e != 0 {
		t.Fatal(e)
	}
}

// What no datagram can be sent to refuses a run as a device does that takes none, and then each datagram.
func TestEpoll_runsToImpossiblePeers(t *testing.T) {
	u := listenUDP(t, "127.0.0.1:0", poller.DatagramOptions{})
	for name, c := range map[string]struct {
		peer  netip.AddrPort
		local netip.Addr
	}{
		"port 0":                 {netip.MustParseAddrPort("127.0.0.1:0"), netip.Addr{}},
		"an address of another":  {u.at.IP, netip.MustParseAddr("192.0.2.77")},
		"IPv6 by an IPv4 socket": {netip.MustParseAddrPort("[2001:db8::1]:9"), netip.Addr{}},
	} {
		u.out.Reset()
		for range 2 {
			u.commit([]byte("equal"), c.peer, c.local)
		}
		n, run := u.k.WriteBatch(u.fd, &u.out, 0)
		if n != 0 || run == 0 || u.out.Len() != 1 {
			t.Errorf("%s: %d, %v", name, n, run)
		}
		u.out.Split(0)
		if n, one := u.k.WriteBatch(u.fd, &u.out, 0); n != 0 || one != run {
			t.Errorf("%s: %d, %v as a run, %v alone", name, n, run, one)
		}
		u.out.Join()
		t.Log(name, run)
	}
	u.out.Reset()
	for range 2 {
		u.commit([]byte("equal"), u.at.IP, u.at.IP.Addr())
	}
	if u.out.Len() != 1 {
		t.Fatal("no run after Join")
	}
	u.write()
	u.read(2)
}

func TestEpoll_datagramsGroup(t *testing.T) {
	u := listenUDP(t, "127.0.0.1:0", poller.DatagramOptions{ReusePort: true})
	at := u.at.IP.String()
	for name, o := range map[string]poller.DatagramOptions{
		"alone": {}, "exclusive": {ReusePort: true, Exclusive: true},
	} {
		if _, _, err := u.k.ListenDatagrams(u.at, &o); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	v := listenUDP(t, at, poller.DatagramOptions{ReusePort: true})
	if v.at != u.at {
		t.Fatal(v.at, u.at)
	}
	const clients = 64
	for range clients {
		c := dialUDP(t, u.to("127.0.0.1"))
		for range 3 {
			_, err := c.Write(nil)
			testutil.Must(t, err)
		}
	}
	met := map[netip.AddrPort]int{}
	for _, s := range []*udp{u, v} {
		before := len(met)
		for {
			n, e := s.k.ReadBatch(s.fd, &s.in)
			if e == syscall.EAGAIN {
				break
			}
			for i := range n {
				met[s.in.At(i).Peer]++
			}
		}
		if len(met) == before {
			t.Error("a socket has no client")
		}
	}
	if len(met) != clients {
		t.Fatalf("%d clients", len(met))
	}
	for c, n := range met {
		if n != 3 {
			t.Errorf("%v is met %d times", c, n)
		}
	}
	alone, _, err := u.k.ListenDatagrams(anyPort, &poller.DatagramOptions{ReusePort: true, Exclusive: true})
	testutil.Must(t, err)
	u.k.Close(alone)
}

// A program holds for sockets that join the group later. One that the kernel does not understand is refused.
func TestEpoll_steer(t *testing.T) {
	u := listenUDP(t, "127.0.0.1:0", poller.DatagramOptions{ReusePort: true})
	if e := u.k.Steer(u.fd, []poller.Instruction{{Code: 0xffff}}); e != syscall.EINVAL {
		t.Fatalf("no program: %v", e)
	}
	const returnK = 0x06
	if e := u.k.Steer(u.fd, []poller.Instruction{{Code: returnK, K: 1}}); e != 0 {
		t.Fatal(e)
	}
	v := listenUDP(t, u.at.IP.String(), poller.DatagramOptions{ReusePort: true})
	for range 32 {
		_, err := dialUDP(t, u.to("127.0.0.1")).Write([]byte("hello"))
		testutil.Must(t, err)
	}
	v.read(32)
	if n, e := u.k.ReadBatch(u.fd, &u.in); n != 0 || e != syscall.EAGAIN {
		t.Fatalf("the first socket has %d, %v", n, e)
	}
}

func TestEpoll_datagramsV6Only(t *testing.T) {
	needIPv6(t)
	k, o := newEpoll(t, poller.ParkRuntime), &poller.DatagramOptions{V6Only: true}
	for range 100 { // tries: another process may have the port of IPv4
		six, at, err := k.ListenDatagrams(anyPort6, o)
		testutil.Must(t, err)
		defer k.Close(six)
		any4 := poller.Addr{IP: netip.AddrPortFrom(netip.IPv4Unspecified(), at.IP.Port())}
		four, _, err := k.ListenDatagrams(any4, o)
		if err == nil {
			k.Close(four)
			return
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
	t.Fatal("an IPv6 socket takes the port of IPv4")
}

// checkRoom checks that a socket has all the room that it asked for, or as much as one without rights may have.
func checkRoom(t *testing.T, u *udp) {
	t.Helper()
	text, _ := os.ReadFile("/proc/sys/net/core/rmem_max") // not there in a container
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if room := u.k.ReceiveRoom(u.fd); room != poller.ReceiveWanted && (room < 1<<10 || err == nil && room != most) {
		t.Errorf("room for %d bytes, of %q at most", room, text)
	}
}

// A socket of another process has the options set again, and what has come is not lost.
func TestEpoll_adoptDatagrams(t *testing.T) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	testutil.Must(t, err)
	testutil.Must(t, unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	u := &udp{t: t, k: newEpoll(t, poller.ParkRuntime), fd: poller.FD(s)}
	defer u.k.Close(u.fd)
	if u.at, err = u.k.AdoptDatagrams(u.fd); err != nil {
		t.Fatal(err)
	}
	c := dialUDP(t, u.to("127.0.0.1"))
	_, err = c.Write([]byte("hello"))
	testutil.Must(t, err)
	again, e := u.k.Duplicate(u.fd)
	if e != 0 {
		t.Fatal(e)
	}
	v := &udp{t: t, k: newEpoll(t, poller.ParkRuntime), fd: again}
	defer v.k.Close(v.fd)
	if v.at, err = v.k.AdoptDatagrams(again); err != nil || v.at != u.at || v.at.IP.Port() == 0 {
		t.Fatal(v.at, u.at, err)
	}
	v.k.Add(v.fd, 1)
	got, _ := v.read(1)
	if d := got[0]; string(d.Data) != "hello" || d.Peer != addressOf(c) || d.Local != u.at.IP.Addr() {
		t.Fatalf("%v", d)
	}
	for name, want := range map[[2]int]int{
		{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER}: unix.IP_PMTUDISC_PROBE, {unix.IPPROTO_UDP, unix.UDP_GRO}: 1,
		{unix.SOL_SOCKET, unix.SO_RCVBUF}: 2 * v.k.ReceiveRoom(v.fd),
	} {
		if n := option(t, v.fd, name[0], name[1]); n != want {
			t.Errorf("option %v is %d, want %d", name, n, want)
		}
	}
	flags, _ := unix.FcntlInt(uintptr(s), unix.F_GETFD, 0)
	status, _ := unix.FcntlInt(uintptr(s), unix.F_GETFL, 0)
	if flags&unix.FD_CLOEXEC == 0 || status&unix.O_NONBLOCK == 0 {
		t.Error("it blocks, or a child gets it")
	}
	checkRoom(t, v)
}

// What others asked of a socket, as systemd does by Timestamping=, takes nothing from what we ask.
func TestEpoll_adoptDatagramsWithTimes(t *testing.T) {
	for at, asked := range map[string]string{"0.0.0.0:0": "127.0.0.1", "[::]:0": "::1"} {
		if asked == "::1" {
			needIPv6(t)
		}
		a, b := listenUDP(t, at, poller.DatagramOptions{}), listenUDP(t, at, poller.DatagramOptions{})
		for _, o := range []int{unix.SO_TIMESTAMPNS, unix.SO_RCVMARK} {
			if err := unix.SetsockoptInt(int(b.fd), unix.SOL_SOCKET, o, 1); err != nil {
				t.Logf("option %d: %v", o, err)
			}
		}
		to := netip.AddrPortFrom(netip.MustParseAddr(asked), b.at.IP.Port())
		for range 4 {
			a.commit([]byte("hello"), to, netip.Addr{})
		}
		a.write()
		got, _ := b.read(4)
		for _, d := range got {
			if string(d.Data) != "hello" || d.Local != to.Addr() {
				t.Fatalf("%q, to %v", d.Data, d.Local)
			}
		}
	}
}

func TestEpoll_adoptDatagramsRefuses(t *testing.T) {
	k := newEpoll(t, poller.ParkRuntime)
	l, _, err := k.Listen(anyPort, &poller.ListenOptions{})
	testutil.Must(t, err)
	defer k.Close(l)
	null, err := os.Open(os.DevNull)
	testutil.Must(t, err)
	defer null.Close() //nolint:errcheck
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	testutil.Must(t, err)
	defer k.Close(poller.FD(pair[0]))
	defer k.Close(poller.FD(pair[1]))
	for _, fd := range []poller.FD{l, poller.FD(null.Fd()), poller.FD(pair[0]), 1 << 20} {
		if a, err := k.AdoptDatagrams(fd); err == nil {
			t.Errorf("%d is adopted at %v", fd, a)
		}
	}
	for _, a := range []poller.Addr{{Path: "/run/x"}, {}} {
		if _, _, err := k.ListenDatagrams(a, &poller.DatagramOptions{}); err == nil {
			t.Errorf("listens on %v", a)
		}
	}
}

func TestEpoll_datagramAllocs(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		if at == "[::1]:0" {
			needIPv6(t)
		}
		u := listenUDP(t, at, poller.DatagramOptions{})
		p := bytes.Repeat([]byte("x"), 1200)
		if n := testutil.Allocs(100, func() {
			for i := range 8 {
				u.commit(p[i/4:], u.at.IP, u.at.IP.Addr())
			}
			u.write()
			for got := 0; got < 8; {
				n, e := u.k.ReadBatch(u.fd, &u.in)
				if e != 0 {
					t.Fatal(e)
				}
				for i := range n {
					for range u.in.At(i).Segments() {
						got++
					}
				}
			}
		}); n != 0 {
			t.Fatalf("%s: %v allocations", at, n)
		}
	}
}

// A batch that is moved from socket to socket, and a socket that is read into several, mix nothing up.
func TestEpoll_batchesOfSockets(t *testing.T) {
	k := newEpoll(t, poller.ParkRuntime)
	fds, ats := make([]poller.FD, 2), make([]poller.Addr, 2)
	for i := range fds {
		var err error
		if fds[i], ats[i], err = k.ListenDatagrams(anyPort, &poller.DatagramOptions{}); err != nil {
			t.Fatal(err)
		}
		defer k.Close(fds[i])
	}
	var batches [2]poller.Batch
	var out poller.SendBatch
	for round := range 20 {
		from, to, b := round&1, round>>1&1, &batches[round>>2&1]
		var want []byte
		for i := range 1 + round%3 {
			want = append(want, byte(round), byte(i))
			out.Commit(append(out.Reserve(2), want[2*i:]...), ats[to].IP, ats[from].IP.Addr())
		}
		if n, e := k.WriteBatch(fds[from], &out, 0); n != out.Len() || e != 0 {
			t.Fatal(n, e)
		}
		out.Reset()
		n, e := k.ReadBatch(fds[to], b)
		var got []byte
		for i := range n {
			got = append(got, b.At(i).Data...)
			if b.At(i).Peer != ats[from].IP {
				t.Fatal(b.At(i).Peer)
			}
		}
		if e != 0 || !slices.Equal(got, want) {
			t.Fatalf("round %d: %v, want %v; %v", round, got, want, e)
		}
	}
}

// BenchmarkEpoll_datagrams sends and reads batches on loopback, one datagram a message or one run a message.
func BenchmarkEpoll_datagrams(b *testing.B) {
	for name, longer := range map[string]int{"single": 1, "runs": 0} {
		b.Run(name, func(b *testing.B) {
			u := listenUDP(b, "127.0.0.1:0", poller.DatagramOptions{})
			p, sum := make([]byte, 1300), 0
			b.ReportAllocs()
			for b.Loop() {
				for i := range poller.BatchMax {
					u.commit(p[:1200+i*longer], u.at.IP, u.at.IP.Addr())
				}
				u.write()
				if _, e := u.k.ReadBatch(u.fd, &u.in); e != 0 {
					b.Fatal(e)
				}
				for i := range u.in.Len() {
					for s := range u.in.At(i).Segments() {
						sum += len(s)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*poller.BatchMax), "ns/datagram")
		})
	}
}
