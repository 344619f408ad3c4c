package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/config/changes"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/testutil/dnsserver"
	"github.com/edge-proxy/edge/poller"
)

// socketOptions returns what an option of TCP is on the sockets of this process that end at remote, or, with listening,
// on those that listen on it.
func socketOptions(t *testing.T, remote string, listening bool, option int) (values []int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	testutil.Must(t, err)
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
		testutil.Must(t, err)
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
			testutil.Must(t, err)
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
			testutil.Must(t, err)
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

// stays reports whether the path still leads to the file that at is of.
func stays(path string, at os.FileInfo) bool {
	now, err := os.Lstat(path)
	return err == nil && os.SameFile(at, now)
}

// The file of a Unix socket has the mode of the configuration, stays as long as a configuration names it, and goes with
// the listener or the process, unless it is another one's by then.
func TestSocketFile_life(t *testing.T) {
	const text = quiet + "[[listeners]]\nlisten = [\"127.0.0.1:0\"%s]\nsocket_mode = \"0606\"\n" +
		"[[routes]]\npattern = \"/%s\"\ndest = \"status:204\"\n"
	path := testutil.SocketPath(t)
	with := `, "unix:` + path + `"`
	s := start(t, Options{}, text, with, "one")
	at, err := os.Lstat(path)
	if err != nil || at.Mode().Perm() != 0o606 {
		t.Fatalf("%v %v", at, err)
	}
	apply(t, s, text, with, "two")
	if !stays(path, at) {
		t.Error("a reload that keeps it made another one")
	}
	apply(t, s, text, "", "two")
	if _, err := os.Lstat(path); err == nil {
		t.Error("a reload that drops it leaves its file")
	}
	apply(t, s, text, with, "two")
	if at, err = os.Lstat(path); err != nil || at.Mode().Perm() != 0o606 {
		t.Fatalf("taken back: %v %v", at, err)
	}
	if conn, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	if err := s.Stop(); err != nil || stays(path, at) {
		t.Errorf("after the end it is there still, %v", err)
	}

	s = start(t, Options{}, text, with, "one")
	testutil.Must(t, os.Remove(path))
	l, err := net.Listen("unix", path)
	testutil.Must(t, err)
	defer l.Close()
	if at, err = os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil || !stays(path, at) {
		t.Errorf("it removed the socket of another one, %v", err)
	}
}

// A listener that cannot be opened whole leaves no file.
func TestSocketFile_failedStart(t *testing.T) {
	t.Parallel()
	path, taken := testutil.SocketPath(t), testutil.Listen(t).Addr()
	s, err := New(parse(t, quiet+fmt.Sprintf("http.listen = [\"unix:%s\", %q]\n", path, taken)), Options{})
	testutil.Must(t, err)
	defer s.Stop() //nolint:errcheck // it serves nothing
	if err := s.Start(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("start: %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("it left its file")
	}
}

// socket_owner goes before the user of the process.
func TestSocketFile_owner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	for text, want := range map[string][2]uint32{
		"": {7, 8}, "socket_owner = \"4711:4712\"": {4711, 4712}, "socket_owner = \":4712\"": {0, 4712},
	} {
		path := testutil.SocketPath(t)
		start(t, Options{Owner: &Owner{7, 8}}, quiet+"[[listeners]]\nlisten = \"unix:%s\"\n%s\n", path, text)
		at, err := os.Lstat(path)
		testutil.Must(t, err)
		if st := at.Sys().(*syscall.Stat_t); [2]uint32{st.Uid, st.Gid} != want {
			t.Errorf("%q: %d:%d, want %v", text, st.Uid, st.Gid, want)
		}
	}
}

const (
	tableHead = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	table4    = tableHead +
		"   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 100 1 0 100\n" +
		"   1: 0200A8C0:0052 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 102 1 0 100\n" +
		"   2: 0100007F:0051 00000000:0000 01 00000000:00000000 00:00000000 00000000 0 0 101 1 0 100\n"
	table6 = tableHead + "   0: 00000000000000000000000000000000:0053 00000000000000000000000000000000:0000 0A " +
		"00000000:00000000 00:00000000 00000000     0        0 103 1 0 100 0 0 10 0\n" +
		"   1: 0000000000000000FFFF00000100007F:0054 00000000000000000000000000000000:0000 0A " +
		"00000000:00000000 00:00000000 00000000     0        0 104 1 0 100 0 0 10 0\n"
	tableUDP = tableHead +
		"  7: 0100007F:0051 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 106 2 0 0\n"
	tableUnix = "Num       RefCount Protocol Flags    Type St Inode Path\n" +
		"0000000000000000: 00000003 00000000 00000000 0001 03  1516\n" +
		"0000000000000000: 00000002 00000000 00010000 0001 01 105 /run/web.sock\n"
)

// fakeProc makes a folder like /proc in which the process 812 has the sockets 100, 102, 103, 105 and 106.
func fakeProc(t *testing.T) string {
	t.Helper()
	proc := t.TempDir()
	for path, text := range map[string]string{
		"net/tcp": table4, "net/tcp6": table6, "net/udp": tableUDP, "net/unix": tableUnix,
		"812/comm": "nginx\n", "9/comm": "sh\n",
		"sys/net/ipv4/ip_unprivileged_port_start": "81\n",
	} {
		path = filepath.Join(proc, path)
		testutil.Must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		testutil.Must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	fds := filepath.Join(proc, "812/fd")
	testutil.Must(t, os.MkdirAll(fds, 0o700))
	for i, inode := range []int{100, 102, 103, 105, 106} {
		testutil.Must(t, os.Symlink(fmt.Sprintf("socket:[%d]", inode), filepath.Join(fds, fmt.Sprint(i))))
	}
	return proc
}

func TestWayOut(t *testing.T) {
	proc := fakeProc(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	testutil.Must(t, os.WriteFile(file, nil, 0o600))
	at := func(text string) poller.Addr { return poller.Addr{IP: netip.MustParseAddrPort(text)} }
	path := func(path string) poller.Addr { return poller.Addr{Path: path} }
	overUDP := udpError{unix.EADDRINUSE}
	const found = "nginx, process 812, listens there"
	for _, c := range []struct {
		addr poller.Addr
		err  error
		want string
	}{
		{at("127.0.0.1:80"), unix.EADDRINUSE, found},
		{at("[::]:80"), unix.EADDRINUSE, found},
		{at("0.0.0.0:80"), unix.EADDRINUSE, found},
		{at("192.168.0.2:82"), unix.EADDRINUSE, found},
		{at("10.0.0.1:83"), unix.EADDRINUSE, found},
		{at("127.0.0.2:80"), unix.EADDRINUSE, "ss -ltnp 'sport = :80' lists"},
		{at("127.0.0.1:81"), unix.EADDRINUSE, "no process listens"},
		{at("127.0.0.1:84"), unix.EADDRINUSE, "another user's: sudo ss -ltnp 'sport = :84' names it"},
		{at("127.0.0.1:81"), overUDP, found},
		{at("[::]:81"), overUDP, found},
		{at("127.0.0.1:80"), overUDP, "try again; else ss -lunp 'sport = :80' lists them"},
		{at("[::]:80"), unix.EACCES, "setcap cap_net_bind_service=+ep /"},
		{at("[::]:80"), unix.EACCES, "ip_unprivileged_port_start=80"},
		{at("[::]:80"), unix.EACCES, "AmbientCapabilities=CAP_NET_BIND_SERVICE"},
		{at("[::]:81"), unix.EACCES, ""},
		{at("192.0.2.1:80"), unix.EADDRNOTAVAIL, "ip address"},
		{at("127.0.0.1:80"), unix.EMFILE, ""},
		{path("/run/web.sock"), unix.EADDRINUSE, found},
		{path(file), unix.EADDRINUSE, "is no socket but a regular file"},
		{path(dir), unix.EADDRINUSE, "is no socket but a folder"},
		{path("/none/web.sock"), unix.ENOENT, "mkdir -p /none"},
		{path("/run/web.sock"), unix.EACCES, "may not make files in /run"},
	} {
		got := strings.Join(wayOut(proc, c.addr, fmt.Errorf("listen: %w", c.err)), "\n")
		if !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%v %v: %q, want %q", c.addr, c.err, got, c.want)
		}
	}
}

// A holder that lockdown hides is the process before, where that lives: a person needs no command for root then.
func TestWhoHolds_hiddenByLockdown(t *testing.T) {
	at := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:84")}
	want := fmt.Sprintf("edge, process %d, listens there", os.Getpid())
	wantPart(t, whoHolds(fakeProc(t), at, false, os.Getpid()), want)
}

// Where packets to one family of a name vanish, requests go to the other one, and do not wait for a timeout.
func TestFamilies_oneIsSilent(t *testing.T) {
	testutil.EventLog(t, slog.DiscardHandler)
	for _, c := range []struct{ scheme, protocol, more string }{
		{"http", "HTTP/1.1", ""}, {"h2c", "HTTP/2.0", ""},
		{"https", "HTTP/2.0", "upstream_defaults.protocol = \"auto\"\nupstream_defaults.tls.verify = false\n"},
	} {
		silent := testutil.Silent(t)
		_, port, _ := strings.Cut(silent, ":")
		l, err := net.Listen("tcp6", "[::1]:"+port)
		if err != nil {
			t.Skipf("no IPv6 here: %v", err)
		}
		var conns atomic.Int64
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Proto)
		}))
		s.Listener.Close() //nolint:errcheck // it is not used
		s.Listener = l
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP1(true)
		s.Config.Protocols.SetHTTP2(true)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				conns.Add(1)
			}
		}
		s.EnableHTTP2 = true
		if c.scheme == "https" {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		dns := dnsserver.Start(t)
		dns.Answer("dual.test.", "A 300 127.0.0.1", "AAAA 300 ::1")
		edge := start(t, Options{}, "%s", quiet+c.more+fmt.Sprintf(`
http = { name = "web", listen = "127.0.0.1:0" }
upstream_defaults.resolver = %q
upstream_defaults.timeouts.connect = "10m"
routes = [{ pattern = "/*", dest = "%s://dual.test:%s" }]
`, dns.Addr, c.scheme, port))
		for i := range 30 {
			if status, body := get(t, edge, "web", "/"); status != 200 || body != c.protocol {
				t.Fatalf("%s: %d: %d %q", c.scheme, i, status, body)
			}
		}
		if n := counter(edge, "edge_upstream_passed_over_total"); n < 1 {
			t.Errorf("%s: %v addresses are passed over", c.scheme, n)
		}
		if n := conns.Load(); n > 10 {
			t.Errorf("%s: %d connections for 30 requests: they are not used again", c.scheme, n)
		}
	}
}

func TestServer_everyWayToSleep(t *testing.T) {
	addr, _ := origin(t, "a")
	for _, keys := range []string{
		`global.park = "auto"`, `global.park = "runtime"`, `global.park = "syscall"`, `global.park = "spin"`,
		`global.pin = true`, "global.park = \"syscall\"\nglobal.pin = true",
		"global.park = \"spin\"\nglobal.pin = true",
	} {
		s := start(t, Options{}, "%s\nhttp.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = %q\n",
			keys, addr)
		for range 10 {
			r, err := http.Get("http://" + s.Addresses()[0].Addr.String() + "/x")
			if err != nil {
				t.Fatal(keys, err)
			}
			if b, err := io.ReadAll(r.Body); r.StatusCode != 200 || string(b) != "a /x " {
				t.Errorf("%s: %d %q %v", keys, r.StatusCode, b, err)
			}
			_ = r.Body.Close()
		}
		if err := s.Stop(); err != nil {
			t.Error(keys, err)
		}
	}
}

func TestDiff_parkAndPinNeedARestart(t *testing.T) {
	const listen = "http.listen = \":80\"\n"
	d := changes.Of(parse(t, listen), parse(t, "global.park = \"spin\"\nglobal.pin = true\n"+listen))
	if !slices.Equal(d.Restart, []string{"park", "pin"}) {
		t.Errorf("needs a restart: %v", d.Restart)
	}
}
