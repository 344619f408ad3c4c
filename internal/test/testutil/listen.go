package testutil

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
)

// receiveBuffer is what the kernel receives for a peer that reads nothing: fixed, since a buffer that grows by itself
// swallows tens of megabytes on some machines, and the test that waits for a full one waits for ever.
const receiveBuffer = 256 << 10

// fixBuffer is a Control of net.ListenConfig and net.Dialer.
func fixBuffer(network, _ string, raw syscall.RawConn) error {
	if network == "unix" {
		return nil
	}
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer)
	})
	if err != nil {
		return err
	}
	return failed
}

// Listen opens a TCP listener on a free port of the loopback. It is closed when the test ends. Its connections have
// receive buffers that do not grow.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	return listen(t, "tcp", "127.0.0.1:0")
}

// Serve opens a listener as Listen does and calls serve for each connection, on a goroutine of its own.
func Serve(t testing.TB, serve func(c net.Conn)) net.Listener {
	t.Helper()
	l := Listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l
}

// ServeHTTP serves on l for the length of the test, and returns the address.
func ServeHTTP(t testing.TB, l net.Listener, h http.HandlerFunc) string {
	t.Helper()
	s := &http.Server{Handler: h, ReadHeaderTimeout: Minutes}
	go s.Serve(l) //nolint:errcheck // it ends with the test
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
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
	Must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// lastPort follows the port that FreeAddr gave last: no test gets one twice.
var lastPort atomic.Uint32

func init() { lastPort.Store(rand.Uint32N(20000)) }

// FreeAddr returns a loopback address that no process listens on: for a process that must be told its port, and for
// connections that must be refused. Its IP address belongs to this process alone, and the kernel does not give its
// port to connections, so that no other process takes it meanwhile.
func FreeAddr(t testing.TB) string {
	t.Helper()
	pid := os.Getpid()
	ip := fmt.Sprintf("127.%d.%d.%d", 1+pid>>16&0x3f, pid>>8&0xff, pid&0xff)
	for {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", ip, 10000+lastPort.Add(1)%20000))
		if err == nil {
			defer l.Close() //nolint:errcheck // nothing was accepted
			return l.Addr().String()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// ListenAt listens at addr, which was somebody else's before, until t is over. A process that another test starts has a
// copy of each socket until it runs its program: so long the address is in use.
func ListenAt(t testing.TB, addr string) (l net.Listener) {
	t.Helper()
	Eventually(t, Patience, func() bool {
		var err error
		l, err = net.Listen("tcp", addr)
		return !errors.Is(err, syscall.EADDRINUSE)
	}, "%s free", addr)
	if l == nil {
		t.Fatalf("no listener at %s", addr)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{Control: fixBuffer}).Listen(context.Background(), network, address)
	Must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}
