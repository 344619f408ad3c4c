package server

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/poller"
)

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
		try(t, os.MkdirAll(filepath.Dir(path), 0o700))
		try(t, os.WriteFile(path, []byte(text), 0o600))
	}
	fds := filepath.Join(proc, "812/fd")
	try(t, os.MkdirAll(fds, 0o700))
	for i, inode := range []int{100, 102, 103, 105, 106} {
		try(t, os.Symlink(fmt.Sprintf("socket:[%d]", inode), filepath.Join(fds, fmt.Sprint(i))))
	}
	return proc
}

func TestWayOut(t *testing.T) {
	proc := fakeProc(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	try(t, os.WriteFile(file, nil, 0o600))
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
	if got := whoHolds(fakeProc(t), at, false, os.Getpid()); !strings.Contains(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
