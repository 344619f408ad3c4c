package process

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// testSupervisor is the other end of NOTIFY_SOCKET.
type testSupervisor struct {
	t      *testing.T
	socket *testutil.NotifySocket
}

func newSupervisor(t *testing.T) *testSupervisor {
	t.Helper()
	socket := testutil.ListenNotify(t)
	t.Setenv("NOTIFY_SOCKET", socket.Path)
	t.Setenv("WATCHDOG_PID", "")
	return &testSupervisor{t, socket}
}

// hear returns the next datagram; "" when none comes within a time.
func (m *testSupervisor) hear(within time.Duration) string {
	m.t.Helper()
	return m.socket.Next(within)
}

// until returns the first datagram that has a text in it.
func (m *testSupervisor) until(text string) string {
	m.t.Helper()
	for {
		switch got := m.hear(testutil.Patience); {
		case got == "":
			m.t.Fatalf("no %q is heard", text)
		case strings.Contains(got, text):
			return got
		}
	}
}

// A reactor that hangs ends the signs of life, whatever the other goroutines of the process do.
func TestSupervision_watchdogNeedsTheReactors(t *testing.T) {
	testutil.EventLog(t, slog.DiscardHandler)
	m := newSupervisor(t)
	t.Setenv("WATCHDOG_USEC", "200000")
	block, begun := make(chan struct{}), make(chan struct{})
	file := filepath.Join(t.TempDir(), "edge.toml")
	const text = "http.listen = \"127.0.0.1:0\"\ndefaults.filters = [\"hang\"]\nworker_threads = 2\n" +
		"[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n"
	testutil.Must(t, os.WriteFile(file, []byte(text), 0o600))
	cfg, report := config.Options{Filters: []string{"hang"}}.Load(file)
	if !report.OK() {
		t.Fatal(report.Errors)
	}
	s, err := server.New(cfg, server.Options{Filters: map[string]*proxy.Filter{"hang": {
		Request: func(*proxy.Exchange) proxy.Verdict {
			close(begun)
			<-block
			return proxy.Next
		},
	}}})
	testutil.Must(t, err)
	testutil.Must(t, s.Start())
	defer s.Stop() //nolint:errcheck // there are no logs
	p := newSupervision()
	p.serving(s)
	if got := m.hear(testutil.Patience); !strings.HasPrefix(got, "READY=1\nSTATUS=serving 0 connections on 1 address") {
		t.Fatalf("%q", got)
	}
	m.until("WATCHDOG=1")
	m.until("WATCHDOG=1")
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = testutil.Get(t, http.DefaultClient, "http://"+s.Addresses()[0].Addr.String())
	}()
	<-begun
	for begin := time.Now(); time.Since(begin) < 600*time.Millisecond; { // three times as long as the supervisor waits
		at := time.Now()
		got := m.hear(200 * time.Millisecond)
		if strings.Contains(got, "WATCHDOG=1") && at.Sub(begin) > 200*time.Millisecond {
			t.Fatal("a sign of life while a reactor hangs")
		}
	}
	close(block)
	m.until("WATCHDOG=1")
	<-answered
	p.handOver(4711)
	if got := m.until("MAINPID="); got != "MAINPID=4711\n" {
		t.Errorf("%q", got)
	}
	p.draining(time.Second) // of this process alone: the service goes on
	p.reloaded(true)
	p.takeBack(s)
	if got := m.hear(testutil.Patience); got != fmt.Sprintf("MAINPID=%d\n", os.Getpid()) {
		t.Errorf("%q", got)
	}
	m.until("READY=1")
	m.until("WATCHDOG=1")
	p.ending()
	if got := m.until("STOPPING=1"); !strings.Contains(got, "EXTEND_TIMEOUT_USEC=") {
		t.Errorf("%q", got)
	}
}
