package holder

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
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
	for _, network := range []string{"tcp4", "tcp6", "unix"} {
		var l net.Listener
		var err error
		switch network {
		case "unix":
			l = testutil.ListenUnix(t)
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
		// The kernel may leave a line out while other sockets come and go.
		testutil.Eventually(t, testutil.Patience, func() bool {
			h, err := Of("/proc", a)
			return err == nil && h.PID == os.Getpid() && h.Name != ""
		}, network+" socket's process")
	}
}

// Two processes of one group are both found, the second one by a socket of its own.
func TestAll(t *testing.T) {
	proc := t.TempDir()
	lines := tableHead +
		"0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 11 1\n" +
		"1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12 1\n" +
		"2: 00000000:0051 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 13 1\n"
	for name, text := range map[string]string{
		"net/tcp": lines, "7/comm": "edge\n", "8/comm": "edge\n", "9/comm": "sh\n",
	} {
		path := filepath.Join(proc, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for dir, inode := range map[string]string{"7": "11", "8": "12", "9": "99"} {
		if err := os.Mkdir(filepath.Join(proc, dir, "fd"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("socket:["+inode+"]", filepath.Join(proc, dir, "fd", "3")); err != nil {
			t.Fatal(err)
		}
	}
	at := func(text string) poller.Addr { return poller.Addr{IP: netip.MustParseAddrPort(text)} }
	found, hidden := All(proc, at("0.0.0.0:80"))
	if !slices.Equal(found, []Process{{7, "edge"}, {8, "edge"}}) || hidden {
		t.Errorf("%v, hidden %v", found, hidden)
	}
	if found, hidden = All(proc, at("0.0.0.0:81")); len(found) != 0 || !hidden {
		t.Errorf("%v, hidden %v", found, hidden)
	}
	if found, hidden = All(proc, at("0.0.0.0:82")); len(found) != 0 || hidden {
		t.Errorf("%v, hidden %v", found, hidden)
	}
}
