package holder

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

const tableHead = "head\n"

// Of a table that is too large its first lines are searched: the kernel begins with the sockets that listen, and
// connections that have ended may follow by the ten thousands.
func TestSocketTable_isBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tcp")
	line := "1: " + strings.Repeat("x", 1020) + "\n"
	for _, lines := range []int{1, tableMax/len(line) + 10} {
		if err := os.WriteFile(path, []byte(tableHead+strings.Repeat(line, lines)), 0o600); err != nil {
			t.Fatal(err)
		}
		want := min(lines, (tableMax-len(tableHead))/len(line))
		if got := socketTable(path); len(got) != want || len(got[want-1]) != 2 {
			t.Errorf("%d of %d lines, want %d", len(got), lines, want)
		}
	}
}

// The tables of the kernel are read as it writes them.
func TestOf_thisProcess(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6", "udp4", "unix"} {
		var l net.Listener
		var err error
		switch network {
		case "unix":
			l = testutil.ListenUnix(t)
		case "udp4":
			c, err := net.ListenUDP(network, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			check(t, poller.Addr{IP: c.LocalAddr().(*net.UDPAddr).AddrPort()}, true)
			continue
		case "tcp6":
			if l, err = net.Listen(network, "[::1]:0"); err != nil {
				continue // a machine without IPv6
			}
			defer l.Close()
		default:
			l = testutil.Listen(t)
		}
		a := poller.Addr{Path: l.Addr().String()}
		if network != "unix" {
			a = poller.Addr{IP: l.Addr().(*net.TCPAddr).AddrPort()}
		}
		check(t, a, false)
	}
}

// check has this process hold an address.
func check(t *testing.T, a poller.Addr, udp bool) {
	t.Helper()
	// The kernel may leave a line out while other sockets come and go.
	testutil.Eventually(t, testutil.Patience, func() bool {
		h, err := Of("/proc", a, udp)
		return err == nil && h.PID == os.Getpid() && h.Name != ""
	}, "the process of the socket at "+a.String())
}

// procOf makes a folder like /proc: of files by their names, and of the sockets that processes have open.
func procOf(t *testing.T, files, sockets map[string]string) (proc string) {
	t.Helper()
	proc = t.TempDir()
	for name, text := range files {
		path := filepath.Join(proc, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for pid, list := range sockets {
		dir := filepath.Join(proc, pid, "fd")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, inode := range strings.Fields(list) {
			if err := os.Symlink("socket:["+inode+"]", filepath.Join(dir, inode)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return proc
}

// entry is a line of /proc/net/tcp or tcp6.
func entry(local, state, inode string) string {
	return "0: " + local + " 00000000:0000 " + state + " 00000000:00000000 00:00000000 00000000 0 0 " + inode + " 1\n"
}

const (
	listens, connected = "0A", "01"
	any4, any6         = "00000000", "00000000000000000000000000000000"
)

// Two processes of one group are both found, the second one by a socket of its own; what the process itself has open as
// well is not.
func TestAll(t *testing.T) {
	proc := procOf(t, map[string]string{
		"net/tcp": tableHead + entry(any4+":0050", listens, "11") + entry(any4+":0050", listens, "12") +
			entry(any4+":0051", listens, "13"),
		"7/comm": "edge\n", "8/comm": "edge\n", "9/comm": "sh\n", "8/status": "Name:\tedge\nState:\tT (stopped)\n",
		"1/comm": "systemd\n",
	}, map[string]string{"1": "11", "7": "11", "8": "12", "9": "99"})
	at := func(text string) poller.Addr { return poller.Addr{IP: netip.MustParseAddrPort(text)} }
	found, hidden := All(proc, at("0.0.0.0:80"), 0)
	if !slices.Equal(found, []Process{{1, "systemd", false}, {7, "edge", false}, {8, "edge", true}}) || hidden {
		t.Errorf("%v, hidden %v", found, hidden)
	}
	if found, hidden = All(proc, at("0.0.0.0:80"), 7); !slices.Equal(found, []Process{{8, "edge", true}}) || hidden {
		t.Errorf("%v, hidden %v", found, hidden)
	}
	if found, hidden = All(proc, at("0.0.0.0:81"), 7); len(found) != 0 || !hidden {
		t.Errorf("%v, hidden %v", found, hidden)
	}
	if found, hidden = All(proc, at("0.0.0.0:82"), 0); len(found) != 0 || hidden {
		t.Errorf("%v, hidden %v", found, hidden)
	}
}

// Sockets of others are those that get connections to our addresses and that we have not open.
func TestOthers(t *testing.T) {
	own := func(text string, v6only bool) Own { return Own{netip.MustParseAddrPort(text), v6only, 1} }
	at := netip.MustParseAddrPort
	local := "0100007F"
	for _, c := range []struct {
		name      string
		tcp, tcp6 string
		own       []Own
		sockets   map[string]string
		want      []Foreign
	}{
		{name: "nothing", own: []Own{own("0.0.0.0:80", false)}},
		{name: "ours alone", tcp: entry(any4+":0050", listens, "11"), own: []Own{own("0.0.0.0:80", false)}},
		{name: "another port", tcp: entry(any4+":0050", listens, "11") + entry(any4+":0051", listens, "12"),
			own: []Own{own("0.0.0.0:80", false)}, sockets: map[string]string{"7": "11", "8": "12"}},
		{name: "in our group", tcp: entry(any4+":0050", listens, "11") + entry(any4+":0050", listens, "12"),
			own: []Own{own("0.0.0.0:80", false)}, sockets: map[string]string{"7": "11", "8": "12"},
			want: []Foreign{{at("0.0.0.0:80"), Process{8, "sh", true}}}},
		{name: "two processes have it", tcp: entry(any4+":0050", listens, "11") + entry(any4+":0050", listens, "12"),
			own: []Own{own("0.0.0.0:80", false)}, sockets: map[string]string{"7": "11", "8": "12", "9": "12"},
			want: []Foreign{{at("0.0.0.0:80"), Process{8, "sh", true}}, {at("0.0.0.0:80"), Process{PID: 9}}}},
		{name: "the supervisor has ours too", tcp: entry(any4+":0050", listens, "11") +
			entry(any4+":0050", listens, "12"), own: []Own{own("0.0.0.0:80", false)},
			sockets: map[string]string{"1": "11 12", "7": "11 12"}},
		{name: "nobody sees whose", tcp: entry(any4+":0050", listens, "11") + entry(any4+":0050", listens, "12") +
			entry(any4+":0050", listens, "13"), own: []Own{own("0.0.0.0:80", false)},
			sockets: map[string]string{"7": "11"}, want: []Foreign{{At: at("0.0.0.0:80")}}},
		{name: "IPv4 for our IPv6", tcp: entry(local+":0050", listens, "12"), tcp6: entry(any6+":0050", listens, "11"),
			own: []Own{own("[::]:80", false)}, sockets: map[string]string{"7": "11", "8": "12"},
			want: []Foreign{{at("127.0.0.1:80"), Process{8, "sh", true}}}},
		{name: "IPv4 and IPv6 alone", tcp: entry(any4+":0050", listens, "12"), tcp6: entry(any6+":0050", listens, "11"),
			own: []Own{own("[::]:80", true)}, sockets: map[string]string{"7": "11", "8": "12"}},
		{name: "IPv6 for our IPv4", tcp: entry(any4+":0050", listens, "11"), tcp6: entry(any6+":0050", listens, "12"),
			own: []Own{own("0.0.0.0:80", false)}, sockets: map[string]string{"7": "11", "8": "12"}},
		{name: "all addresses, and ours is one", tcp: entry(local+":0050", listens, "11") +
			entry(any4+":0050", listens, "12"), own: []Own{own("127.0.0.1:80", false)},
			sockets: map[string]string{"7": "11", "8": "12"}},
		{name: "after the first connection nothing listens", tcp: entry(any4+":0050", listens, "11") +
			entry(any4+":0050", connected, "13") + entry(any4+":0050", listens, "12"),
			own: []Own{own("0.0.0.0:80", false)}, sockets: map[string]string{"7": "11", "8": "12 13"}},
	} {
		proc := procOf(t, map[string]string{
			"net/tcp": tableHead + c.tcp, "net/tcp6": tableHead + c.tcp6, "8/comm": "sh\n",
			"8/status": "State:\tt (tracing stop)\n",
		}, c.sockets)
		if got := Others(proc, 7, c.own); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	if got := Others("/nowhere", 7, []Own{own("0.0.0.0:80", false)}); got != nil {
		t.Errorf("without /proc: %+v", got)
	}
}

// What edge status costs while nobody shares an address: the tables of this machine, with a socket of our own in them.
func BenchmarkOthers_none(b *testing.B) {
	l := testutil.Listen(b)
	own := []Own{{l.Addr().(*net.TCPAddr).AddrPort(), false, 1}}
	b.ReportAllocs()
	for b.Loop() {
		if found := Others("/proc", os.Getpid(), own); len(found) > 0 {
			b.Fatal(found)
		}
	}
}
