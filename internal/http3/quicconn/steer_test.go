package quicconn

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/quic"
)

// The kernel gives each datagram of one client to the socket of the reactor that its id names.
func TestServer_steer(t *testing.T) {
	const sockets = 5
	s := &Server{keys: newKeys(&Secret{7})}
	k, err := poller.NewEpoll(poller.ParkAuto)
	testutil.Must(t, err)
	t.Cleanup(k.Shut)
	at := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}
	fds := make([]poller.FD, sockets)
	for i := range fds {
		if fds[i], at, err = k.ListenDatagrams(at, &poller.DatagramOptions{ReusePort: true}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if e := k.Steer(fds[i], s.Steer(sockets)); e != 0 {
				t.Fatal(e)
			}
		}
	}
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(at.IP))
	testutil.Must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	var b poller.Batch
	for i := range 400 {
		to := i % sockets
		m := newIDMaker(&s.keys, i, to, [32]byte{byte(i), byte(i >> 8)})
		id := m.next()
		d := append([]byte{0x40 | byte(i)&0x3f}, id[:]...)
		if i%2 == 0 {
			d = append([]byte{0xc0, 0, 0, 0, 1, quic.IDLen}, id[:]...)
		}
		_, err := c.Write(append(d, make([]byte, 20)...))
		testutil.Must(t, err)
		testutil.Eventually(t, testutil.Minutes, func() bool {
			n, e := k.ReadBatch(fds[to], &b)
			return n == 1 && e == 0
		})
	}
	if _, err := c.Write([]byte{0x40, 1, 2}); err != nil { // too short for an id
		t.Fatal(err)
	}
	testutil.Eventually(t, testutil.Minutes, func() bool {
		n, _ := k.ReadBatch(fds[0], &b)
		return n == 1
	})
	for i, fd := range fds {
		if n, e := k.ReadBatch(fd, &b); n != 0 || e != syscall.EAGAIN {
			t.Errorf("socket %d has %d more, %v", i, n, e)
		}
	}
}
