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

// leaveIdle makes n idle connections, and as many whose clients have vanished in their handshakes and afterwards.
func (p *placed) leaveIdle(t *testing.T, n int) {
	t.Helper()
	config := p.client("h3")
	config.MinVersion = tls.VersionTLS13
	for range n {
		p.connect(t)
		quicpeer.DialSocket(t, p.addr, config, quic.Options{}, nil) // proves nothing
		gone := quicpeer.DialSocket(t, p.addr, config, quic.Options{}, nil)
		if !gone.Until(testutil.Patience, func() bool { return gone.Established }) {
			t.Fatal("no handshake")
		}
	}
}

// A stop waits neither for idle clients of HTTP/3 nor for clients that have vanished, during their handshake or after
// it, and the UDP port is free for the next process.
func TestHTTP3_stopEndsIdleClients(t *testing.T) {
	t.Parallel()
	p := startPlaced(t, newSlow(t), "[global]\ngrace_period = \"10m\"\n[tls]\nhandshake_timeout = \"10m\"\n")
	p.leaveIdle(t, 100)
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

// An upgrade hands the UDP port over: new clients of HTTP/3 are served at once, and what is in progress in up to two
// processes before goes on, whose event loops are more or fewer. Lockdown hides the processes from each other.
func TestHTTP3_upgrade(t *testing.T) {
	for _, lockdown := range []string{"false", "true"} {
		t.Run("lockdown="+lockdown, func(t *testing.T) { upgradeWithHTTP3(t, lockdown) })
	}
}

func upgradeWithHTTP3(t *testing.T, lockdown string) {
	t.Parallel()
	o := newSlow(t)
	keys, serving := upgradable(t)
	p := startPlaced(t, o, "%sgrace_period = \"1m\"\nlockdown = %s\nworker_threads = 3\n", keys, lockdown)
	begun := []exchange{o.begin(t, p.h3(t), p.addr)}
	for _, threads := range []int{1, 2} {
		p.writeThreads(t, threads)
		p.upgrade(t, serving)
		if a := p.altSvc(t); a == "" {
			t.Error("no Alt-Svc")
		}
		for range 8 {
			p.well(t, "by the new process")
		}
		begun = append(begun, o.begin(t, p.h3(t), p.addr))
	}
	p.write(t, strings.Replace(p.listener(`"h1", "h2", "h3"`), "tls = true", "tls = true\nh3.max_streams = 7", 1))
	testutil.Must(t, syscall.Kill(serving(), syscall.SIGHUP))
	p.WaitLine(`"msg":"configuration reloaded"`)
	p.well(t, "after a reload")
	close(o.end)
	for _, x := range begun {
		x.wantEnd(t)
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		return strings.Count(p.Output(), `"msg":"upgrade complete`) == 2
	}, "the processes before have ended")
	for _, not := range []string{"connections_cut", "waits for its UDP port", "panic"} {
		if strings.Contains(p.Output(), not) {
			t.Errorf("the event log has %q", not)
		}
	}
}

// Clients that have vanished, in their handshakes or afterwards, do not keep the process before for long.
func TestHTTP3_upgradeEndsVanishedClients(t *testing.T) {
	t.Parallel()
	keys, serving := upgradable(t)
	p := startPlaced(t, newSlow(t), "%sgrace_period = \"10m\"\n[tls]\nhandshake_timeout = \"3s\"\n", keys)
	p.leaveIdle(t, 20)
	begun := time.Now()
	p.upgrade(t, serving)
	p.well(t, "by the new process")
	testutil.Eventually(t, testutil.Patience, func() bool {
		return strings.Contains(p.Output(), `"msg":"upgrade complete`)
	}, "the process before ends")
	t.Logf("the process before ended after %v", time.Since(begun))
	if strings.Contains(p.Output(), "cut") {
		t.Error("connections were cut")
	}
}

// After an upgrade a reload of the new process takes HTTP/3 away. The connections of the process before go on until
// they end, and then the port closes.
func TestHTTP3_upgradeThenWithout(t *testing.T) {
	t.Parallel()
	o := newSlow(t)
	keys, serving := upgradable(t)
	p := startPlaced(t, o, "%sgrace_period = \"1m\"\n", keys)
	first := o.begin(t, p.h3(t), p.addr)
	p.upgrade(t, serving)
	p.write(t, p.listener(`"h1", "h2"`))
	testutil.Must(t, syscall.Kill(serving(), syscall.SIGHUP))
	p.WaitLine(`"msg":"configuration reloaded"`)
	p.refused(t)
	close(o.end)
	first.wantEnd(t)
	p.closed(t)
}

// An upgrade that is taken back goes on to read the UDP port, whether the other process had it and dropped it or not.
func TestHTTP3_upgradeTakenBack(t *testing.T) {
	t.Parallel()
	o, keys := newSlow(t), newKeys(t)
	p := &placed{edge: &edge{pool: keys.pool}, addr: testutil.FreeAddr(t)}
	s, _ := startServer(t, "%s", p.text(o, keys, p.addr, `"h1", "h2", "h3"`))
	first := o.begin(t, p.h3(t), p.addr)
	for _, dropped := range []bool{false, true} {
		sockets, err := s.Handover().Sockets()
		testutil.Must(t, err)
		var claimed []int
		for i := range sockets {
			claimed = append(claimed, i)
		}
		testutil.Must(t, s.Handover().Suspend(claimed))
		if dropped {
			s.Handover().Abandon(claimed)
		}
		for i := range sockets {
			_ = syscall.Close(sockets[i].FD)
		}
		testutil.Must(t, s.Handover().Resume())
		p.well(t, fmt.Sprint("taken back, dropped: ", dropped))
		if a := p.altSvc(t); a == "" {
			t.Error("no Alt-Svc")
		}
	}
	close(o.end)
	first.wantEnd(t)
}
