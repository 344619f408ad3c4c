package supervisor

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// supervisor is the other end: what systemd has.
func supervisor(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return conn
}

func heard(t *testing.T, m *net.UnixConn) string {
	t.Helper()
	if err := m.SetReadDeadline(time.Now().Add(testutil.Patience)); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 4096)
	n, err := m.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(text[:n])
}

// Every call is one datagram, in the order of the calls, over a path and over an abstract socket.
func TestSocket_datagrams(t *testing.T) {
	pid := fmt.Sprint(os.Getpid())
	for name, path := range map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": "@edge-notify-test-" + pid,
	} {
		t.Run(name, func(t *testing.T) {
			m := supervisor(t, path)
			s, err := FindNotifySocket()
			if err != nil || s == nil {
				t.Fatal(s, err)
			}
			s.Ready("serves\non two lines")
			s.Status("12 connections", 0)
			s.Status("draining", 15*time.Second)
			s.Alive()
			s.MainPID(4711)
			s.Stopping("", time.Second)
			s.Failed(fmt.Errorf("bind: %w", syscall.EACCES))
			s.Failed(errors.New("no reason"))
			s.Status(strings.Repeat("é", textMax), 0)
			for _, want := range []string{
				"READY=1\nSTATUS=serves on two lines\n",
				"STATUS=12 connections\n",
				"STATUS=draining\nEXTEND_TIMEOUT_USEC=15000000\n",
				"WATCHDOG=1\n",
				"MAINPID=4711\n",
				"STOPPING=1\nEXTEND_TIMEOUT_USEC=1000000\n",
				"STATUS=bind: permission denied\nERRNO=13\n",
				"STATUS=no reason\n",
				"STATUS=" + strings.Repeat("é", textMax/2) + "\n",
			} {
				if got := heard(t, m); got != want {
					t.Fatalf("got %q, want %q", got, want)
				}
			}
		})
	}
}

// The time of a reload is on the clock of the kernel that the supervisor reads too, and before the end of the call.
func TestSocket_reloading(t *testing.T) {
	m := supervisor(t, filepath.Join(t.TempDir(), "notify"))
	s, _ := FindNotifySocket()
	clock := func() int64 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			t.Fatal(err)
		}
		return now.Nano() / 1000
	}
	before := clock()
	s.Reloading("reads")
	after := clock()
	var at int64
	var status string
	if _, err := fmt.Sscanf(heard(t, m), "RELOADING=1\nMONOTONIC_USEC=%d\nSTATUS=%s\n", &at, &status); err != nil {
		t.Fatal(err)
	}
	if at < before || at > after || status != "reads" {
		t.Errorf("%d is not within %d and %d; %q", at, before, after, status)
	}
}

func TestFromEnvironment(t *testing.T) {
	own := fmt.Sprint(os.Getpid())
	for _, c := range []struct {
		socket, micros, pid string
		has                 bool
		watchdog            time.Duration
		wrong               string
	}{
		{},
		{micros: "1000"},
		{socket: "/run/x", has: true},
		{socket: "@x", micros: "30000000", has: true, watchdog: 30 * time.Second},
		{socket: "@x", micros: "30000000", pid: own, has: true, watchdog: 30 * time.Second},
		{socket: "@x", micros: "30000000", pid: "1", has: true},
		{socket: "@x", micros: "-1", has: true, wrong: "WATCHDOG_USEC"},
		{socket: "@x", micros: "9223372036854775807", has: true, wrong: "WATCHDOG_USEC"},
		{socket: "@x", micros: "soon", has: true, wrong: "WATCHDOG_USEC"},
		{socket: "vsock:2:1", wrong: "NOTIFY_SOCKET"},
		{socket: "@", wrong: "NOTIFY_SOCKET"},
		{socket: "relative", wrong: "NOTIFY_SOCKET"},
	} {
		t.Setenv("NOTIFY_SOCKET", c.socket)
		t.Setenv("WATCHDOG_USEC", c.micros)
		t.Setenv("WATCHDOG_PID", c.pid)
		s, err := FindNotifySocket()
		if (s != nil) != c.has || s.Watchdog() != c.watchdog || (err != nil) != (c.wrong != "") ||
			err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%+v: %v, %v, %v", c, s, s.Watchdog(), err)
		}
	}
	var none *NotifySocket
	none.Ready("")
	none.Reloading("")
	none.Stopping("", time.Second)
	none.Status("", 0)
	none.Alive()
	none.MainPID(1)
	none.Failed(errors.New(""))
}

// A supervisor that does not read, or is gone, costs a moment and one line of the log, and is told again once it reads.
func TestSocket_supervisorThatDoesNotRead(t *testing.T) {
	var said testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&said, nil))
	m := supervisor(t, filepath.Join(t.TempDir(), "notify"))
	s, _ := FindNotifySocket()
	sent := 0
	for ; said.String() == "" && sent < 4096; sent++ { // until its queue is full: net.unix.max_dgram_qlen
		s.Alive()
	}
	if log := said.Take(); !strings.Contains(log, "hears nothing") {
		t.Fatalf("after %d datagrams: %q", sent, log)
	}
	for range sent - 1 {
		heard(t, m)
	}
	s.Status("again", 0)
	if got := heard(t, m); got != "STATUS=again\n" {
		t.Fatal(got)
	}
	m.Close()
	s.Alive()
	s.Alive()
	if log := said.Take(); strings.Count(log, "hears nothing") != 1 {
		t.Errorf("%q", log)
	}
}
