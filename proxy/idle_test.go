package proxy_test

import (
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// An idle keep-alive connection costs its Conn, its session and its slot, and no buffer.
func TestProxy_idleConnectionTakesLessThan900Bytes(t *testing.T) {
	testutil.OnlyPlain(t)
	const conns, most = 9000, 900
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 2*conns+200 {
		t.Skipf("%d descriptors are not enough, %v", limit.Cur, err)
	}
	r := newRig(t, func(*engine.Engine) []proxy.Route {
		return []proxy.Route{{To: proxy.Answer(200, "text/plain", "hello")}}
	})
	addr := netip.MustParseAddrPort(r.addr())
	// The clients are bare descriptors, so that the heap holds the server's side only.
	fds := make([]int, 0, conns)
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	request, answer := []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), make([]byte, 4096)
	ask := func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(fd, request); err != nil {
			t.Fatal(err)
		}
		n, err := unix.Read(fd, answer)
		if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 200 OK\r\n") {
			t.Fatalf("%q, %v", answer[:max(n, 0)], err)
		}
	}
	for range 200 {
		ask() // what is made once and kept
	}
	before := heap()
	for range conns - 200 {
		ask()
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return r.engine.Conns() == conns })
	each := (heap() - before) / (conns - 200)
	t.Logf("%d bytes for each idle connection", each)
	if each > most {
		t.Errorf("%d bytes for each of %d idle connections, want %d at most", each, conns, most)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
