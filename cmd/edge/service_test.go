package main

import (
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// testSupervisor is what systemd is to a service of Type=notify: the reader of NOTIFY_SOCKET.
type testSupervisor struct {
	t      *testing.T
	socket *testutil.NotifySocket
	env    string
}

func newSupervisor(t *testing.T) *testSupervisor {
	t.Helper()
	socket := testutil.ListenNotify(t)
	return &testSupervisor{t, socket, "NOTIFY_SOCKET=" + socket.Path}
}

// next returns the next datagram.
func (m *testSupervisor) next() string {
	m.t.Helper()
	text := m.socket.Next(testutil.Minutes)
	if text == "" {
		m.t.Fatal("nothing is heard")
	}
	return text
}

// want wants the next datagram to match a pattern, repeated statuses aside.
func (m *testSupervisor) want(pattern string) {
	m.t.Helper()
	for {
		got := m.next()
		if ok, _ := regexp.MatchString("^"+pattern+"\n$", got); ok {
			return
		}
		if !strings.HasPrefix(got, "STATUS=") {
			m.t.Fatalf("got %q, want %q", got, pattern)
		}
	}
}

// The whole life of a service of Type=notify-reload: ready when it listens, and not before; each reload has its answer,
// one that fails too; the end has more time as long as it makes progress.
func TestRun_notify(t *testing.T) {
	t.Parallel()
	m := newSupervisor(t)
	const head = "http.listen = \"127.0.0.1:0\"\ngrace_period = \"20s\"\n"
	file := write(t, head)
	p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Args: []string{"run", "-c", file},
		Env: []string{m.env}})
	m.want(`READY=1\nSTATUS=serving 0 connections on 1 address`)
	addr := listens(p)
	conn := dial(t, "tcp", addr)
	defer conn.Close()
	putFile(t, file, head+"routes = [{ pattern = \"/*\", dest = \"status:204\" }]\n")
	p.Signal(syscall.SIGHUP)
	m.want(`RELOADING=1\nMONOTONIC_USEC=\d+\nSTATUS=reading the configuration again`)
	m.want(`READY=1\nSTATUS=serving \d connections? on 1 address, 1 reload`)
	putFile(t, file, head+"certifcate = 1\n")
	p.Signal(syscall.SIGHUP)
	m.want(`RELOADING=1\nMONOTONIC_USEC=\d+\nSTATUS=reading the configuration again`)
	m.want(`READY=1\nSTATUS=serving .*1 reload; the last reload failed, see the error log`)
	p.Signal(syscall.SIGTERM)
	m.want(`STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000\nSTATUS=draining: .*`)
	m.want(`STATUS=draining: 1 connection left \(1 idle\), cut in \d+s\nEXTEND_TIMEOUT_USEC=15000000`)
	m.want(`STATUS=draining: 1 connection left \(1 idle\), cut in \d+s\nEXTEND_TIMEOUT_USEC=15000000`)
	p.Signal(syscall.SIGTERM)
	m.want(`STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000\nSTATUS=closing connections and logs`)
	endsWell(t, p)
}

// A start that fails says why, and never that it is ready.
func TestRun_notifyFailedStart(t *testing.T) {
	m := newSupervisor(t)
	p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Env: []string{m.env},
		Args: []string{"run", "--set", "http.listen=192.0.2.1:0"}})
	if got := m.next(); !strings.HasPrefix(got, "STATUS=") || !strings.Contains(got, "192.0.2.1") ||
		!strings.HasSuffix(got, "\nERRNO=99\n") {
		t.Errorf("%q", got)
	}
	if code := p.Wait(testutil.Minutes); code != exitError {
		t.Errorf("exit code %d", code)
	}
}
