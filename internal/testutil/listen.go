package testutil

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// Listen opens a TCP listener on a free port of the loopback. It is closed when the test ends.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	return listen(t, "tcp", "127.0.0.1:0")
}

// ListenUnix opens a Unix listener in a directory of its own. It is closed when the test ends.
func ListenUnix(t testing.TB) net.Listener {
	t.Helper()
	return listen(t, "unix", SocketPath(t))
}

// SocketPath names a Unix socket that does not exist yet. It is short: the kernel takes 107
// bytes, and the directories that testing makes can be longer.
func SocketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "edge")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// FreeAddr returns a loopback address that nobody listens on at this moment: for a process that
// must be told its port, and for connections that must be refused. Where the one who listens can
// take port 0 and say what it got, that is better: this one can be lost to somebody else.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
