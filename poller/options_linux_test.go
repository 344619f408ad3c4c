package poller_test

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// Accepted connections inherit the time that bytes may stay unacknowledged; dialled ones have their own.
func TestEpoll_userTimeout(t *testing.T) {
	for given, want := range map[time.Duration]int{
		0: int(poller.UserTimeout.Milliseconds()), 7 * time.Second: 7000, time.Nanosecond: 1, -1: 0,
	} {
		k := newEpoll(t, poller.ParkRuntime)
		c, s := bothEnds(t, k, poller.ListenOptions{UserTimeout: given}, poller.ConnectOptions{UserTimeout: given})
		for _, fd := range []poller.FD{c, s} {
			got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
			if err != nil || got != want {
				t.Errorf("%v: %d ms, want %d; %v", given, got, want, err)
			}
		}
	}
}

// A client that reads nothing has the kernel keep few bytes beyond those that are on their way to it: without a bound
// it would take some megabytes.
func TestEpoll_notSent(t *testing.T) {
	k := newEpoll(t, poller.ParkRuntime)
	_, s := bothEnds(t, k, poller.ListenOptions{}, poller.ConnectOptions{})
	piece, taken := make([]byte, 1<<20), 0
	full := func() bool { // what is on its way arrives, and makes room
		for {
			n, e := k.Write(s, piece)
			if e == syscall.EAGAIN {
				break
			}
			if e != 0 {
				t.Fatal(e)
			}
			taken += n
		}
		waiting, err := unix.IoctlGetInt(int(s), unix.SIOCOUTQNSD)
		testutil.Must(t, err)
		if most := poller.NotSent + 64<<10; waiting > most { // and one packet of the largest size
			t.Fatalf("%d bytes wait, want %d at most", waiting, most)
		}
		return waiting > 0
	}
	testutil.Eventually(t, testutil.Patience, full, "the peer's window is never full")
	t.Log(taken, "bytes taken")
}

// With fast open bytes go both ways, whether the kernel lets them travel in the SYN or not.
func TestEpoll_fastOpen(t *testing.T) {
	k := newEpoll(t, poller.ParkRuntime)
	at := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}
	l, at, err := k.Listen(at, &poller.ListenOptions{FastOpen: 16})
	testutil.Must(t, err)
	defer k.Close(l)
	for range 3 { // the first one gets the cookie
		c := connect(t, k, at, poller.ConnectOptions{FastOpen: true})
		testutil.Eventually(t, testutil.Patience, func() bool {
			n, e := k.Write(c, []byte("hello"))
			return n == 5 && e == 0
		})
		s := acceptNext(t, k, l)
		p := make([]byte, 10)
		testutil.Eventually(t, testutil.Patience, func() bool {
			n, _ := k.Read(s, p)
			return n == 5 && string(p[:n]) == "hello"
		})
		if e := k.SockError(c); e != 0 {
			t.Fatal(e)
		}
	}
}

// bothEnds returns two ends of a connection, both of k.
func bothEnds(t *testing.T, k poller.Kernel, lo poller.ListenOptions, co poller.ConnectOptions) (c, s poller.FD) {
	t.Helper()
	l, at, err := k.Listen(poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}, &lo)
	testutil.Must(t, err)
	t.Cleanup(func() { k.Close(l) })
	c = connect(t, k, at, co)
	return c, acceptNext(t, k, l)
}

func connect(t *testing.T, k poller.Kernel, at poller.Addr, o poller.ConnectOptions) poller.FD {
	t.Helper()
	c, e := k.Connect(at, &o)
	if e != 0 && e != syscall.EINPROGRESS {
		t.Fatal(e)
	}
	t.Cleanup(func() { k.Close(c) })
	return c
}

func acceptNext(t *testing.T, k poller.Kernel, l poller.FD) poller.FD {
	t.Helper()
	for {
		s, _, e := k.Accept(l)
		switch e {
		case syscall.EAGAIN:
		case 0:
			t.Cleanup(func() { k.Close(s) })
			return s
		default:
			t.Fatal(e)
		}
	}
}
