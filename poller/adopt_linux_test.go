package poller_test

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

var (
	anyPort  = poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}
	anyPort6 = poller.Addr{IP: netip.MustParseAddrPort("[::]:0")}
)

func option(t *testing.T, fd poller.FD, level, name int) int {
	t.Helper()
	v, err := unix.GetsockoptInt(int(fd), level, name)
	testutil.Must(t, err)
	return v
}

// A listening socket that is adopted gets the options of its new owner, also those that a closing one took away.
func TestEpoll_adoptSetsTheOptionsAgain(t *testing.T) {
	old, k := newEpoll(t, poller.ParkAuto), newEpoll(t, poller.ParkAuto)
	l, a, err := old.Listen(anyPort, &poller.ListenOptions{UserTimeout: time.Minute, NoKeepAlive: true})
	testutil.Must(t, err)
	old.SetIntake(l, poller.IntakeBegun)
	fd, errno := old.Duplicate(l)
	if errno != 0 {
		t.Fatal(errno)
	}
	old.Close(l)
	defer k.Close(fd)
	unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0) //nolint:errcheck // as it is after exec
	unix.SetNonblock(int(fd), false)            //nolint:errcheck // the same
	o := &poller.ListenOptions{DeferAccept: true, UserTimeout: 2 * time.Second, FastOpen: 7, Backlog: 9}
	at, err := k.Adopt(fd, o)
	if err != nil || at != a {
		t.Fatalf("adopted at %v: %v; it is at %v", at, err, a)
	}
	for name, c := range map[string]struct{ level, option, want int }{
		"user timeout": {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 2000},
		"defer accept": {unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1},
		"fast open":    {unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 7},
		"keep-alive":   {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
	} {
		if got := option(t, fd, c.level, c.option); got != c.want {
			t.Errorf("%s is %d, want %d", name, got, c.want)
		}
	}
	flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	status, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if flags&unix.FD_CLOEXEC == 0 || status&unix.O_NONBLOCK == 0 {
		t.Error("it blocks, or a child gets it")
	}
	speaker, errno := k.Connect(a, &poller.ConnectOptions{}) // the filter that kept new clients away is gone
	if errno != 0 && errno != unix.EINPROGRESS {
		t.Fatal(errno)
	}
	defer k.Close(speaker)
	testutil.Eventually(t, testutil.Patience, func() bool {
		k.Write(speaker, []byte("x"))
		c, _, errno := k.Accept(fd)
		if errno == 0 {
			k.Close(c)
		}
		return errno == 0
	})
}

// What does not listen, or is no socket, is refused, and stays the caller's.
func TestEpoll_adoptRefuses(t *testing.T) {
	k := newEpoll(t, poller.ParkAuto)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	testutil.Must(t, err)
	file, err := os.Open(os.DevNull)
	testutil.Must(t, err)
	defer file.Close()
	datagrams, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	testutil.Must(t, err)
	lone, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	testutil.Must(t, err)
	for name, c := range map[string]struct {
		fd int
		o  *poller.ListenOptions
	}{
		"a connection":              {pair[0], &poller.ListenOptions{}},
		"a file":                    {int(file.Fd()), &poller.ListenOptions{}},
		"datagrams":                 {datagrams, &poller.ListenOptions{}},
		"no socket as a connection": {int(file.Fd()), nil},
		"no connection":             {lone, nil},
		"nothing":                   {1 << 20, &poller.ListenOptions{}},
	} {
		if _, err := k.Adopt(poller.FD(c.fd), c.o); err == nil {
			t.Errorf("%s was adopted", name)
		}
	}
	for _, fd := range []int{pair[0], pair[1], datagrams, lone} {
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
	}
}

func TestV6Only(t *testing.T) {
	k := newEpoll(t, poller.ParkAuto)
	for _, only := range []bool{false, true} {
		fd, _, err := k.Listen(anyPort6, &poller.ListenOptions{V6Only: only})
		if err != nil {
			t.Skip(err)
		}
		if poller.V6Only(fd) != only {
			t.Errorf("V6Only is %v", !only)
		}
		k.Close(fd)
	}
	fd, _, err := k.Listen(anyPort, &poller.ListenOptions{})
	testutil.Must(t, err)
	defer k.Close(fd)
	if poller.V6Only(fd) {
		t.Error("a socket of IPv4 is one of IPv6")
	}
}

// A socket of Multipath TCP, as programs in Go open them, lacks options that other sockets have: these keep them.
func TestEpoll_adoptMultipath(t *testing.T) {
	k := newEpoll(t, poller.ParkAuto)
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Close(s)
	testutil.Must(t, unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	o := &poller.ListenOptions{UserTimeout: 2 * time.Second, DeferAccept: true, FastOpen: 7}
	_, err = k.Adopt(poller.FD(s), o)
	testutil.Must(t, err)
	fd, _, err := k.Listen(anyPort, o)
	testutil.Must(t, err)
	defer k.Close(fd)
	if got := option(t, fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); got != 2000 {
		t.Errorf("user timeout is %d, want 2000", got)
	}
}
