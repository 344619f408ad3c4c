package poller_test

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// The kernel delays the acknowledgement of what it hopes to answer soon. AckNow sends it.
func TestEpoll_AckNow(t *testing.T) {
	k := newEpoll(t, poller.ParkRuntime)
	c, s := bothEnds(t, k, poller.ListenOptions{}, poller.ConnectOptions{})
	b := make([]byte, 100)
	pass := func(from, to poller.FD) {
		if _, e := k.Write(from, b[:10]); e != 0 {
			t.Fatal(e)
		}
		for e := syscall.EAGAIN; e != 0; {
			if _, e = k.Read(to, b); e != 0 && e != syscall.EAGAIN {
				t.Fatal(e)
			}
		}
	}
	atOnce := func(tell bool) (times int) {
		for range 50 {
			pass(c, s)
			pass(s, c) // so that the kernel of c takes it for a conversation, in which answers carry acknowledgements
			if tell {
				k.AckNow(c)
			}
			info, err := unix.GetsockoptTCPInfo(int(s), unix.IPPROTO_TCP, unix.TCP_INFO)
			testutil.Must(t, err)
			if info.Unacked == 0 {
				times++
			}
		}
		return times
	}
	without, with := atOnce(false), atOnce(true)
	if with <= without { // a busy machine may be slow to deliver some of them
		t.Errorf("%d of 50 were acknowledged at once, %d of 50 without being told to", with, without)
	}
	t.Logf("%d of 50 at once, %d without", with, without)
}
