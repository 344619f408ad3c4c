package poller_test

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

var parks = map[string]poller.Park{
	"auto": poller.ParkAuto, "runtime": poller.ParkRuntime, "syscall": poller.ParkSyscall, "spin": poller.ParkSpin,
}

func newEpoll(t testing.TB, park poller.Park) poller.Kernel {
	t.Helper()
	k, err := poller.NewEpoll(park)
	testutil.Must(t, err)
	t.Cleanup(k.Shut)
	return k
}

// each runs f for every way to park, and fails it when it hangs.
func each(t *testing.T, f func(t *testing.T, k poller.Kernel)) {
	for name, park := range parks {
		t.Run(name, func(t *testing.T) {
			watch := time.AfterFunc(testutil.Patience, func() { panic("a Wait hangs: " + t.Name()) })
			defer watch.Stop()
			f(t, newEpoll(t, park))
		})
	}
}

func TestEpoll_waitEndsAtItsDeadline(t *testing.T) {
	each(t, func(t *testing.T, k poller.Kernel) {
		ev := make([]poller.Event, 8)
		for i := range 20 {
			until := k.Now() + int64(time.Millisecond)
			if i%3 == 0 { // one that is armed for later must not hide an earlier one
				k.Wait(ev, k.Now()+1000)
				k.Wait(ev, k.Now()+int64(500*time.Microsecond))
			}
			for k.Now() < until { // 0 events before the deadline is an answer
				if n := k.Wait(ev, until); n != 0 {
					t.Fatalf("%d events", n)
				}
			}
		}
		if n := k.Wait(ev, k.Now()-1); n != 0 {
			t.Fatal("an event out of nothing")
		}
		if n := k.Wait(ev, 0); n != 0 {
			t.Fatal("an event out of nothing")
		}
	})
}

func TestEpoll_anEarlierDeadlineReplacesALaterOne(t *testing.T) {
	each(t, func(t *testing.T, k poller.Kernel) {
		ev := make([]poller.Event, 8)
		k.Wake()
		k.Wait(ev, k.Now()+int64(time.Hour)) // arms the timer for later
		begun := k.Now()
		for until := begun + int64(2*time.Millisecond); k.Now() < until; {
			k.Wait(ev, until)
		}
		if d := k.Now() - begun; d > int64(testutil.Patience) {
			t.Fatalf("slept %v", time.Duration(d))
		}
	})
}

func TestEpoll_wakeIsNeverLost(t *testing.T) {
	each(t, func(t *testing.T, k poller.Kernel) {
		ev := make([]poller.Event, 8)
		k.Wake() // before Wait: it counts for the next one
		k.Wait(ev, -1)
		asked, answered := make(chan struct{}), make(chan struct{})
		var wait sync.WaitGroup
		wait.Go(func() {
			for range 1000 {
				asked <- struct{}{}
				k.Wake()
				<-answered
			}
		})
		for range 1000 {
			<-asked
			k.Wait(ev, -1)
			answered <- struct{}{}
		}
		wait.Wait()
	})
}

func TestEpoll_wakeAfterShutTouchesNobody(t *testing.T) {
	k, err := poller.NewEpoll(poller.ParkRuntime)
	testutil.Must(t, err)
	var wait sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					k.Wake()
				}
			}
		})
	}
	k.Shut()
	// These get the numbers that k had. A write of eight bytes to one of them would be seen at the other end.
	var pairs [][2]int
	for range 20 {
		p, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
		testutil.Must(t, err)
		pairs = append(pairs, p)
	}
	for range 1000 {
		k.Wake()
	}
	close(stop)
	wait.Wait()
	for _, p := range pairs {
		for _, fd := range p {
			if n, err := syscall.Read(fd, make([]byte, 8)); err != syscall.EAGAIN {
				t.Errorf("read %d bytes, %v", n, err)
			}
		}
		syscall.Close(p[0])
		syscall.Close(p[1])
	}
}

func TestEpoll_shutClosesItsDescriptors(t *testing.T) {
	testutil.CheckLeaks(t)
	for _, park := range parks {
		k, err := poller.NewEpoll(park)
		testutil.Must(t, err)
		k.Shut()
	}
}

// dial connects two descriptors of k with each other.
func dial(t *testing.T, k poller.Kernel, a poller.Addr) (client, server poller.FD) {
	t.Helper()
	l, a, err := k.Listen(a, &poller.ListenOptions{})
	testutil.Must(t, err)
	t.Cleanup(func() { k.Close(l) })
	client, e := k.Connect(a, &poller.ConnectOptions{})
	if e != 0 && e != syscall.EINPROGRESS {
		t.Fatal(e)
	}
	t.Cleanup(func() { k.Close(client) })
	for {
		fd, peer, e := k.Accept(l)
		if e == syscall.EAGAIN {
			continue
		}
		if e != 0 {
			t.Fatal(e)
		}
		t.Cleanup(func() { k.Close(fd) })
		if !a.IsUnix() && peer != k.LocalAddr(client) || k.LocalAddr(fd) != a {
			t.Fatalf("peer %v, client %v, server %v, listener %v", peer, k.LocalAddr(client), k.LocalAddr(fd), a)
		}
		if e := k.SockError(client); e != 0 {
			t.Fatal(e)
		}
		return client, fd
	}
}

func addresses(t *testing.T) []poller.Addr {
	all := []poller.Addr{
		{IP: netip.MustParseAddrPort("127.0.0.1:0")},
		{Path: testutil.SocketPath(t)},
		{Path: fmt.Sprintf("@edge-poller-%d", time.Now().UnixNano())},
	}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil { // not every machine has IPv6
		l.Close()
		all = append(all, poller.Addr{IP: netip.MustParseAddrPort("[::1]:0")})
	}
	return all
}

func TestEpoll_edgesAndBytes(t *testing.T) {
	for _, a := range addresses(t) {
		k := newEpoll(t, poller.ParkAuto)
		client, server := dial(t, k, a)
		token := poller.MakeToken(7, 9)
		if e := k.Add(server, token); e != 0 {
			t.Fatal(e)
		}
		if e := k.Add(server, token); e != syscall.EEXIST {
			t.Fatalf("added twice: %v", e)
		}
		// wantEvent waits for an event with all of ready.
		wantEvent := func(ready poller.Ready) {
			t.Helper()
			ev := make([]poller.Event, 8)
			for n := 0; ; {
				if n = k.Wait(ev, k.Now()+int64(testutil.Patience)); n == 1 && ev[0].Ready&ready == ready {
					break
				}
				if n != 1 {
					t.Fatalf("%v: %d events, want %b", a, n, ready)
				}
			}
			if ev[0].Token.Slot() != 9 || ev[0].Token.Generation() != 7 {
				t.Fatalf("token %x", ev[0].Token)
			}
		}
		wantEvent(poller.CanWrite)
		if n, e := k.Writev(client, [][]byte{[]byte("ab"), nil, []byte("cde")}); n != 5 || e != 0 {
			t.Fatal(n, e)
		}
		wantEvent(poller.CanRead | poller.CanWrite)
		if n := k.Wait(make([]poller.Event, 8), 0); n != 0 {
			t.Fatal("an edge is reported twice")
		}
		p := make([]byte, 10)
		if n, e := k.Read(server, p); e != 0 || string(p[:n]) != "abcde" {
			t.Fatalf("%q, %v", p[:n], e)
		}
		if n, e := k.Read(server, p); n != -1 || e != syscall.EAGAIN {
			t.Fatal(n, e)
		}
		if n, e := k.Write(server, []byte("xyz")); n != 3 || e != 0 {
			t.Fatal(n, e)
		}
		if e := k.CloseWrite(client); e != 0 {
			t.Fatal(e)
		}
		wantEvent(poller.PeerClosed | poller.CanRead)
		if n, e := k.Read(server, p); n != 0 || e != 0 {
			t.Fatal(n, e)
		}
		if e := k.Del(server); e != 0 {
			t.Fatal(e)
		}
	}
}

func TestEpoll_connectFailures(t *testing.T) {
	k := newEpoll(t, poller.ParkAuto)
	for _, a := range []poller.Addr{
		{},
		{Path: "/nowhere/s"},
		{Path: string(make([]byte, 200))},
		{IP: netip.MustParseAddrPort(testutil.FreeAddr(t))},
	} {
		fd, e := k.Connect(a, &poller.ConnectOptions{})
		if e == syscall.EINPROGRESS {
			k.Add(fd, 1)
			k.Wait(make([]poller.Event, 8), k.Now()+int64(testutil.Patience))
			if e = k.SockError(fd); e != syscall.ECONNREFUSED {
				t.Errorf("%v: %v", a, e)
			}
			k.Close(fd)
		} else if e == 0 || fd != poller.NoFD {
			t.Errorf("%v: descriptor %d, %v", a, fd, e)
		}
	}
}

func TestEpoll_connectFromAGivenAddress(t *testing.T) {
	k := newEpoll(t, poller.ParkAuto)
	l, a, err := k.Listen(poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}, &poller.ListenOptions{})
	testutil.Must(t, err)
	defer k.Close(l)
	fd, e := k.Connect(a, &poller.ConnectOptions{Bind: netip.MustParseAddr("127.0.0.7")})
	if e != 0 && e != syscall.EINPROGRESS {
		t.Fatal(e)
	}
	defer k.Close(fd)
	if got := k.LocalAddr(fd).IP.Addr().String(); got != "127.0.0.7" {
		t.Fatal(got)
	}
}

// null is a kernel of which only two calls are made, and those do nothing.
type null struct {
	poller.Kernel
	now int64
}

//go:noinline
func (k *null) Now() int64 { return k.now }

//go:noinline
func (k *null) Read(_ poller.FD, p []byte) (int, syscall.Errno) { return len(p), 0 }

// What it costs that the reactor holds an interface: the difference between the two.
func BenchmarkKernel_seam(b *testing.B) {
	p := make([]byte, 1)
	direct := &null{}
	b.Run("direct", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			direct.Read(1, p)
		}
	})
	var seam poller.Kernel = direct
	if time.Now().IsZero() { // never: the compiler must not know what seam is
		seam, _ = poller.NewEpoll(poller.ParkAuto)
	}
	b.Run("interface", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			seam.Read(1, p)
		}
	})
}

// A wait that finds nothing, and one that finds a wake.
func BenchmarkEpoll_wait(b *testing.B) {
	for name, park := range parks {
		k := newEpoll(b, park)
		ev := make([]poller.Event, poller.EventsMax)
		b.Run("park="+name+"/nothing", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k.Wait(ev, 0)
			}
		})
		b.Run("park="+name+"/wake", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k.Wake()
				k.Wait(ev, -1)
			}
		})
	}
}

func TestEpoll_callsAllocateNothing(t *testing.T) {
	for _, a := range addresses(t) {
		if a.IsUnix() {
			continue
		}
		k := newEpoll(t, poller.ParkAuto)
		client, server := dial(t, k, a)
		k.Add(server, 1)
		ev := make([]poller.Event, 8)
		p, bufs := make([]byte, 100), [][]byte{make([]byte, 10), make([]byte, 10)}
		n := testutil.Allocs(100, func() {
			k.Write(client, p)
			k.Writev(client, bufs)
			for k.Wait(ev, k.Now()+int64(time.Second)) == 0 {
			}
			k.Read(server, p)
			k.Read(server, p)
		})
		if n != 0 {
			t.Errorf("%v: %v allocations", a, n)
		}
	}
}
