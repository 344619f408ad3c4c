package poller_test

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// What is written last comes in the segment of FIN. A process that stands still for 200 ms between the two calls gets
// two segments: then once more.
func TestEpoll_lastBytesAndFINShareASegment(t *testing.T) {
	k := newEpoll(t, poller.ParkRuntime)
	l := testutil.Listen(t)
	least := uint32(0)
	for range 100 {
		client, server := connected(t, l)
		before := segmentsIn(t, client)
		if n, e := k.WriteLast(server, []byte("bye")); n != 3 || e != 0 {
			t.Fatal(n, e)
		}
		if e := k.CloseWrite(server); e != 0 {
			t.Fatal(e)
		}
		if got, err := io.ReadAll(client); string(got) != "bye" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		if least = segmentsIn(t, client) - before; least == 1 {
			return
		}
	}
	t.Errorf("%d segments", least)
}

// connected returns two ends of a connection.
func connected(t *testing.T, l net.Listener) (client *net.TCPConn, server poller.FD) {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	testutil.Must(t, err)
	t.Cleanup(func() { c.Close() })
	testutil.Must(t, c.SetDeadline(time.Now().Add(testutil.Patience)))
	s, err := l.Accept()
	testutil.Must(t, err)
	t.Cleanup(func() { s.Close() })
	control(t, s.(*net.TCPConn), func(fd int) { server = poller.FD(fd) }) // s stays open until the test ends
	return c.(*net.TCPConn), server
}

func segmentsIn(t *testing.T, c *net.TCPConn) (n uint32) {
	t.Helper()
	control(t, c, func(fd int) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		testutil.Must(t, err)
		n = info.Segs_in
	})
	return n
}

func control(t *testing.T, c *net.TCPConn, f func(fd int)) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
	testutil.Must(t, err)
}
