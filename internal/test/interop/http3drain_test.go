package interop

import (
	"crypto/tls"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/quicpeer"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/quic"
)

// A drain tells clients of HTTP/3 to leave, and refuses new ones. What is in progress ends, and then the process does.
func TestHTTP3_drain(t *testing.T) {
	t.Parallel()
	o := newSlow(t)
	p := startPlaced(t, o, "[global]\ngrace_period = \"1m\"\n")
	idle, _ := p.connect(t)
	first := o.begin(t, p.h3(t), p.addr)
	p.Signal(syscall.SIGTERM)
	p.WaitLine(`"msg":"draining".*of HTTP/3`)
	select {
	case <-idle.Context().Done():
	case <-bound(t).Done():
		t.Fatal("an idle connection stays")
	}
	p.refused(t)
	close(o.end)
	first.wantEnd(t)
	if code := p.Wait(testutil.Patience); code != 0 || strings.Contains(p.Output(), "cut") {
		t.Errorf("exit code %d", code)
	}
}

// A stop waits neither for idle clients of HTTP/3 nor for clients that have vanished, during their handshake or after
// it, and the UDP port is free for the next process.
func TestHTTP3_stopEndsIdleClients(t *testing.T) {
	t.Parallel()
	p := startPlaced(t, newSlow(t), "[global]\ngrace_period = \"10m\"\n[tls]\nhandshake_timeout = \"10m\"\n")
	config := p.client("h3")
	config.MinVersion = tls.VersionTLS13
	for range 100 {
		p.connect(t)
		quicpeer.DialSocket(t, p.addr, config, quic.Options{}, nil) // proves nothing
		gone := quicpeer.DialSocket(t, p.addr, config, quic.Options{}, nil)
		if !gone.Until(testutil.Patience, func() bool { return gone.Established }) {
			t.Fatal("no handshake")
		}
	}
	begun := time.Now()
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(testutil.Patience); code != 0 || strings.Contains(p.Output(), "cut") {
		t.Errorf("exit code %d", code)
	}
	t.Logf("the stop took %v", time.Since(begun))
	p.Process = testutil.StartEdge(t, p.file)
	p.WaitLine(`"msg":"listening".*"listener":"web"`)
	p.well(t, "by the new process")
}

// The process before an upgrade has the UDP port until its last connection of HTTP/3 has ended. Then the new process
// opens it, which reloads do not hinder, and tells clients of it. Lockdown hides the processes from each other.
func TestHTTP3_upgrade(t *testing.T) {
	for _, lockdown := range []string{"false", "true"} {
		t.Run("lockdown="+lockdown, func(t *testing.T) { upgradeWithHTTP3(t, lockdown) })
	}
}

func upgradeWithHTTP3(t *testing.T, lockdown string) {
	t.Parallel()
	o := newSlow(t)
	keys, serving := upgradable(t)
	p := startPlaced(t, o, "%sgrace_period = \"1m\"\nlockdown = %s\n", keys, lockdown)
	first := o.begin(t, p.h3(t), p.addr)
	before := p.upgrade(t, serving)
	p.WaitLine(fmt.Sprintf(`"msg":"HTTP/3 waits for its UDP port".*edge, process %d, listens there`, before))
	p.refused(t)
	if a := p.altSvc(t); a != "" {
		t.Errorf("while the process before has the port: Alt-Svc: %q", a)
	}
	p.write(t, strings.Replace(p.listener(`"h1", "h2", "h3"`), "tls = true", "tls = true\nh3.max_streams = 7", 1))
	testutil.Must(t, syscall.Kill(serving(), syscall.SIGHUP))
	p.WaitLine(`"msg":"configuration reloaded"`)
	if a := p.altSvc(t); a != "" {
		t.Errorf("after a reload: Alt-Svc: %q", a)
	}
	close(o.end)
	first.wantEnd(t)
	p.WaitLine(`"msg":"HTTP/3 has its UDP port"`)
	if n := strings.Count(p.Output(), "HTTP/3 waits for its UDP port"); n > 2 { // one is written each minute
		t.Errorf("%d lines of the log say that HTTP/3 waits", n)
	}
	p.well(t, "by the new process")
	if a := p.altSvc(t); a == "" {
		t.Error("no Alt-Svc")
	}
	if strings.Contains(p.Output(), "connections_cut") {
		t.Error("connections were cut")
	}
}

// An upgrade that is taken back opens the UDP port again.
func TestHTTP3_upgradeTakenBack(t *testing.T) {
	t.Parallel()
	o, keys := newSlow(t), newKeys(t)
	p := &placed{edge: &edge{pool: keys.pool}, addr: testutil.FreeAddr(t)}
	s, _ := startServer(t, "log.output = []\n[[certificates]]\ncert = %q\nkey = %q\n[upstreams.u]\n"+
		"backends = [{ address = %q }]\n[[routes]]\npattern = \"/*\"\ndest = \"u\"\n%s",
		keys.cert, keys.key, o.addr, p.listener(`"h1", "h2", "h3"`))
	first := o.begin(t, p.h3(t), p.addr)
	for _, busy := range []bool{true, false} {
		sockets, err := s.Handover().Sockets()
		testutil.Must(t, err)
		var claimed []int
		for i := range sockets {
			claimed = append(claimed, i)
		}
		testutil.Must(t, s.Handover().Suspend(claimed))
		if busy {
			p.refused(t)
		} else {
			p.closed(t)
		}
		testutil.Must(t, s.Handover().Resume())
		p.well(t, "taken back")
		if a := p.altSvc(t); a == "" {
			t.Error("no Alt-Svc")
		}
		if busy {
			close(o.end)
			first.wantEnd(t)
			testutil.Eventually(t, testutil.Patience, func() bool { return s.Conns() == 0 })
		}
		for i := range sockets {
			_ = syscall.Close(sockets[i].FD)
		}
	}
}
