package server

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/testutil"
)

// socketOptions returns what an option of TCP is on the sockets of this process that end at remote, or, with listening,
// on those that listen on it.
func socketOptions(t *testing.T, remote string, listening bool, option int) (values []int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	try(t, err)
	for _, f := range fds {
		fd, _ := strconv.Atoi(f.Name())
		name := unix.Getpeername
		if listening {
			if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
				continue
			}
			name = unix.Getsockname
		}
		sa, err := name(fd)
		in, ok := sa.(*unix.SockaddrInet4)
		if err != nil || !ok || netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)).String() != remote {
			continue
		}
		v, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, option)
		try(t, err)
		values = append(values, v)
	}
	return values
}

// The kernel has the options of sockets that the file names, and a request passes with all of them.
func TestSockets_optionsReachTheKernel(t *testing.T) {
	addr, _ := origin(t, "one")
	const file = quiet + `
routes = [{ pattern = "/*", dest = "api" }]
[http]
name = "web"
listen = "127.0.0.1:0"
%s
[upstreams.api]
backends = [{ address = %q }]
%s
`
	for _, c := range []struct {
		name, listener, upstream string
		down, up, waiting        int
	}{
		{name: "by default", down: 300_000, up: 300_000},
		{name: "given", listener: "user_timeout = \"7s\"\nfast_open = 16", down: 7000, waiting: 16,
			upstream: "user_timeout = \"9s\"\nfast_open = true", up: 9000},
		{name: "of the system", listener: `user_timeout = "system"`, upstream: `user_timeout = "system"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, Options{}, file, c.listener, addr, c.upstream)
			conn, err := net.Dial("tcp4", urlOf(t, s, "web")[len("http://"):])
			try(t, err)
			w := testutil.NewWire(t, conn)
			for range 3 { // with Fast Open the cookie comes with the first connection
				w.Send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
				if resp, body := w.ReadResponse("GET"); resp.StatusCode != 200 {
					t.Fatalf("%d %s", resp.StatusCode, body)
				}
			}
			down := socketOptions(t, conn.LocalAddr().String(), false, unix.TCP_USER_TIMEOUT)
			if !slices.Contains(down, c.down) { // a socket of an earlier test may have been to the same address
				t.Errorf("towards the client: %v ms, want %d", down, c.down)
			}
			if up := socketOptions(t, addr, false, unix.TCP_USER_TIMEOUT); !slices.Contains(up, c.up) {
				t.Errorf("towards the backend: %v ms, want %d", up, c.up)
			}
			listening := socketOptions(t, urlOf(t, s, "web")[len("http://"):], true, unix.TCP_FASTOPEN)
			if len(listening) != 2 || listening[0] != c.waiting || listening[1] != c.waiting {
				t.Errorf("%v may wait with data, want %d on each", listening, c.waiting)
			}
		})
	}
}

// Sockets that listen stay open: what they were opened with waits for a restart, and the reload says so.
func TestApply_tellsWhatSocketsKeep(t *testing.T) {
	addr := testutil.FreeAddr(t)
	const file = quiet + "global.splice = %q\n[http]\nlisten = %q\nuser_timeout = %q\nfast_open = %d\n" +
		"[[routes]]\npattern = \"/\"\ndest = \"status:200\"\n"
	s := start(t, Options{}, file, "off", addr, "7s", 0)
	if d := apply(t, s, file, "off", addr, "7s", 0); !d.Empty() {
		t.Errorf("%+v", d)
	}
	d := apply(t, s, file, "1m", addr, "8s", 4)
	if want := []string{"splice", "listeners.user_timeout", "listeners.fast_open"}; !slices.Equal(d.Restart, want) {
		t.Errorf("%v waits for a restart, want %v", d.Restart, want)
	}
	if d := apply(t, s, file, "1m", testutil.FreeAddr(t), "9s", 8); len(d.Restart) > 0 {
		t.Errorf("%v waits for a restart, though the address is new", d.Restart)
	}
}

func TestSplice_fromTheSizeThatTheFileSays(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	l := testutil.Listen(t)
	h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	})}
	go h.Serve(l) //nolint:errcheck // ends with the listener
	t.Cleanup(func() { h.Close() })
	for splice, want := range map[string]bool{"64k": true, "off": false, "4m": false} {
		s := start(t, Options{}, "%sglobal.splice = %q\n[http]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"+
			"[[routes]]\npattern = \"/*\"\ndest = %q\n", quiet, splice, l.Addr().String())
		ask := func() (spliced bool) {
			resp, err := http.Get(urlOf(t, s, "web"))
			try(t, err)
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || !bytes.Equal(got, body) {
				t.Fatalf("splice = %q: %d bytes of the body, %v", splice, len(got), err)
			}
			return counter(s, "edge_spliced_bytes_total") > 0
		}
		if want { // once reads are full: when the backend is ahead of the proxy
			testutil.Eventually(t, testutil.Patience, ask, "splice = %q: nothing is spliced", splice)
			continue
		}
		for range 8 {
			if ask() {
				t.Errorf("splice = %q: bytes are spliced", splice)
			}
		}
	}
}
