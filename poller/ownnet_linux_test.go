package poller_test

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// ownNetwork moves the test into a network of its own, without devices that are up, or skips it.
func ownNetwork(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("no network of its own: ", err)
	}
}

// device configures a network device of 127.0.0.1/8 or another address.
func device(t *testing.T, name, ip string, mtu uint32) {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	testutil.Must(t, err)
	defer unix.Close(s) //nolint:errcheck
	for _, c := range []struct {
		call uint
		set  func(r *unix.Ifreq) error
	}{
		{unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(netip.MustParseAddr(ip).AsSlice()) }},
		{unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		{unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(mtu); return nil }},
		{unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
	} {
		r, err := unix.NewIfreq(name)
		if err == nil {
			err = errors.Join(c.set(r), unix.IoctlIfreq(s, c.call, r))
		}
		if err != nil {
			t.Fatalf("call %#x of %s: %v", c.call, name, err)
		}
	}
}

// tap opens a network device with an Ethernet on which nobody is.
func tap(t *testing.T, ip string) {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { unix.Close(fd) }) //nolint:errcheck
	r, err := unix.NewIfreq("tap0")
	testutil.Must(t, err)
	r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		t.Skip(err)
	}
	device(t, "tap0", ip, 1500)
	// Three times it asks for a hardware address.
	if err := os.WriteFile("/proc/sys/net/ipv4/neigh/tap0/retrans_time_ms", []byte("20"), 0); err != nil {
		t.Skip(err)
	}
}

// unanswered is a socket on a network without a peer: the kernel looks for the hardware address in vain.
func unanswered(t *testing.T) *udp {
	t.Helper()
	ownNetwork(t)
	tap(t, "192.0.2.1")
	u := listenUDP(t, "192.0.2.1:0", poller.DatagramOptions{})
	testutil.Must(t, unix.SetsockoptInt(int(u.fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 1))
	return u
}

// fill sends until the socket is full.
func (u *udp) fill() {
	u.t.Helper()
	var e syscall.Errno
	for sent := 0; e == 0 && sent < 1000; sent++ {
		u.out.Reset()
		u.commit([]byte("hello"), netip.MustParseAddrPort("192.0.2.2:99"), u.at.IP.Addr())
		_, e = u.k.WriteBatch(u.fd, &u.out, 0)
	}
	if e != syscall.EAGAIN {
		u.t.Fatal(e)
	}
}

func (u *udp) waitForRoom() {
	u.t.Helper()
	if r := u.wait(u.k.Now() + int64(testutil.Patience)); r&poller.CanWrite == 0 {
		u.t.Fatalf("ready is %04b", r)
	}
}

// A socket is full while the kernel looks for the hardware address of a peer. When it has given up there is room again.
func TestEpoll_datagramsFull(t *testing.T) {
	u := unanswered(t)
	for range 5 {
		u.fill()
		u.waitForRoom()
		if n, e := u.k.WriteBatch(u.fd, &u.out, 0); n != 1 || e != 0 {
			t.Fatal(n, e)
		}
	}
}

// A full socket that is taken out of the set and adopted again, as Suspend and Resume do, still reports room.
func TestEpoll_datagramsFullWhenAdopted(t *testing.T) {
	u := unanswered(t)
	for range 2 {
		u.fill()
		if e := u.k.Del(u.fd); e != 0 {
			t.Fatal(e)
		}
		_, err := u.k.AdoptDatagrams(u.fd)
		testutil.Must(t, err)
		if e := u.k.Add(u.fd, 2); e != 0 {
			t.Fatal(e)
		}
		u.waitForRoom()
	}
}

// A run of datagrams that are longer than the device allows is refused as a run, and then each of them.
func TestEpoll_datagramsAboveMTU(t *testing.T) {
	ownNetwork(t)
	device(t, "lo", "127.0.0.1", 1280)
	u := listenUDP(t, "127.0.0.1:0", poller.DatagramOptions{})
	for i := range 4 {
		u.commit(make([]byte, 1252-i%2), u.at.IP, u.at.IP.Addr()) // fits
	}
	u.write()
	u.read(4)
	for range 2 {
		u.commit(make([]byte, 1253), u.at.IP, u.at.IP.Addr())
	}
	n, e := u.k.WriteBatch(u.fd, &u.out, 0)
	if n != 0 || e != syscall.EMSGSIZE && e != syscall.EINVAL {
		t.Fatal(n, e)
	}
	t.Log("a run that is too long: ", e)
	u.out.Split(0)
	for i := range 2 {
		if n, e := u.k.WriteBatch(u.fd, &u.out, i); n != 0 || e != syscall.EMSGSIZE {
			t.Fatal(n, e)
		}
	}
}
