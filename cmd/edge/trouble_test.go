package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/process/upgrade"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// slow skips a test that takes seconds, unless EDGE_SOAK=1.
func slow(t *testing.T) {
	t.Helper()
	if os.Getenv("EDGE_SOAK") == "" {
		t.Skip("EDGE_SOAK=1 takes some seconds for it")
	}
}

// A new process that stands still after GO is killed by the old one, which has waited for two seconds, and serves
// again: whether it has started the new one, or that has come to upgrade_sock. Nobody is refused, no request is lost.
func TestUpgrade_standsStillAfterGo(t *testing.T) {
	t.Parallel()
	slow(t)
	for _, own := range []bool{true, false} {
		t.Run(map[bool]string{true: "child", false: "stranger"}[own], func(t *testing.T) {
			m := newMiddle(t)
			s := serve(t, 1, "", m.env...)
			next := 0
			m.follow(func(f *frameAt) {
				if f.Type == upgrade.Go {
					next = f.next
					_ = syscall.Kill(next, syscall.SIGSTOP)
					testutil.Eventually(t, testutil.Minutes, func() bool { return stopped(next) })
				}
			})
			l := newLoad(t)
			l.keepAlive(4, func(int) string { return s.addrs[0] })
			l.fresh(4, func() string { return s.addrs[0] })
			if own {
				if code, out := s.upgrade(m.program()); code != 1 || !strings.Contains(out, "did not accept in time") {
					t.Errorf("%d %s", code, out)
				}
			} else {
				testutil.Start(t, testutil.Command{
					Path: m.program(), Args: []string{"run", "--upgrade", "-c", "edge.toml"}, Dir: s.dir,
					Env: append(m.env, dialEnv+"="+filepath.Join(s.dir, "upgrade.sock")),
				})
			}
			s.WaitLine(`"msg":"upgrade failed, this process serves on","error":".*did not accept in time`)
			testutil.Eventually(t, testutil.Minutes, func() bool { return ended(next) }, "process %d is killed", next)
			if err := s.answers(); err != nil || s.serving() != s.PID() {
				t.Errorf("%v; process %d serves", err, s.serving())
			}
			l.stop()
			t.Logf("%d requests, slowest %v", l.asked.Load(), time.Duration(l.slowest.Load()))
			if l.moved.Load() > 0 {
				t.Errorf("%d connections were closed", l.moved.Load())
			}
			commands(t, s.dir, command{"upgrade " + s.bin, 0, ""}) // the next upgrade
		})
	}
}

// limitFiles lets process pid open n more files than it has.
func limitFiles(t *testing.T, pid, n int) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Error(err)
	}
	limit := unix.Rlimit{Cur: uint64(len(list) + n), Max: 1 << 14}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Error(err)
	}
}

// Descriptors for which the new process has no room are dropped by the kernel on their way (MSG_CTRUNC): sockets make
// it refuse, connections stay with the old process. Nothing is lost.
func TestUpgrade_descriptorsDoNotFit(t *testing.T) {
	t.Parallel()
	slow(t)
	for _, at := range []upgrade.Type{upgrade.Offer, upgrade.Sockets, upgrade.Give} {
		t.Run(at.String(), func(t *testing.T) {
			m := newMiddle(t)
			s := prepare(t, 8)
			s.grace = "5m"
			s.configure(1, "")
			s.begin(m.env...)
			sent, took := 0, make(chan [2]int, 1) // of how many connections how many arrived
			m.follow(func(f *frameAt) {
				switch body := f.Body.(type) {
				case upgrade.OfferBody:
					if at == upgrade.Offer {
						limitFiles(t, f.next, 2) // of 3
					}
				case upgrade.SocketsBody:
					if at == upgrade.Sockets {
						limitFiles(t, f.next, 3) // of 8
					}
				case upgrade.GiveBody:
					if at == upgrade.Give && f.nth == 1 {
						sent = len(body.Listeners)
						limitFiles(t, f.next, 20)
					}
				case upgrade.OwnBody:
					if at == upgrade.Give && f.nth == 1 {
						limitFiles(t, f.next, 1000)
						took <- [2]int{sent, body.Count}
					}
				}
			})
			idle := idlers(t, s.addrs[0], 100)
			l := newLoad(t)
			l.fresh(2, func() string { return s.addrs[1] })
			code, out := s.upgrade(m.program())
			if at == upgrade.Give {
				got := <-took
				if code != 0 || got[1] == 0 || got[1] >= got[0] {
					t.Errorf("%d of %d arrived; %d %s", got[1], got[0], code, out)
				}
				t.Logf("%d of %d connections arrived", got[1], got[0])
			} else if code != 1 || !strings.Contains(out, "RLIMIT_NOFILE") {
				t.Errorf("%d %s", code, out)
			}
			l.stop()
			idle.check(t, nil)
		})
	}
}

// A new process that may open half of what the old one has open gets the sockets alone; connections drain.
func TestUpgrade_halfTheDescriptors(t *testing.T) {
	t.Parallel()
	s := prepare(t, 1)
	s.grace = "5m" // no connection is closed before it is asked
	s.configure(1, "")
	s.begin()
	idle := idlers(t, s.addrs[0], 100)
	code, out := s.upgrade(script(t, s, "ulimit -n 100; exec "+s.bin+" \"$@\""))
	if code != 0 {
		t.Fatal(out)
	}
	old := portsOf(s.PID(), clientPorts())
	for _, c := range idle {
		if port := c.LocalAddr().(*net.TCPAddr).Port; !old[port] {
			t.Fatalf("the connection from port %d is not the old one's any more", port)
		}
		if closes, err := askOnce(c, bufio.NewReader(c)); err != nil || !closes {
			t.Fatalf("an idle connection: %v, closes: %v", err, closes)
		}
	}
	endsWell(t, s)
}

// A new process that runs out of descriptors at any step before it serves, the self-check among them, changes nothing.
func TestUpgrade_failsAtAnyStep(t *testing.T) {
	t.Parallel()
	slow(t)
	m := newMiddle(t)
	s := serve(t, 2, "", m.env...)
	l := newLoad(t)
	l.keepAlive(4, func(int) string { return s.addrs[0] })
	l.fresh(2, func() string { return s.addrs[1] })
	reasons, code, n := map[string]int{}, 1, 0
	for ; code != 0 && n < 100; n++ {
		m.again(func(f *frameAt) {
			if f.Type == upgrade.Sockets {
				limitFiles(t, f.next, 2+n) // 2 sockets come with it
			}
		})
		var out string
		code, out = s.upgrade(m.program())
		if code == 0 {
			break
		}
		reasons[regexp.MustCompile(`[0-9]+`).ReplaceAllString(lastLine(out), "N")]++
		if s.serving() != s.PID() {
			t.Fatalf("process %d serves after %s", s.serving(), out)
		}
	}
	l.stop()
	checked := 0
	for why, times := range reasons {
		t.Logf("%d × %s", times, why)
		if strings.Contains(why, "self-check") {
			checked++
		}
	}
	t.Logf("with %d more it serves; %d requests, slowest %v", n, l.asked.Load(), time.Duration(l.slowest.Load()))
	if checked == 0 || code != 0 {
		t.Errorf("no self-check has failed, or it never serves: %d", code)
	}
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// With a full disk the new process takes over all the same: its number comes into the pid file, and what cannot be
// written is said.
func TestUpgrade_diskFull(t *testing.T) {
	t.Parallel()
	slow(t)
	if os.Getuid() != 0 {
		t.Skip("only root mounts a small file system")
	}
	disk := t.TempDir()
	if err := unix.Mount("none", disk, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("no file system can be mounted here: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	s := &service{t: t, dir: disk, bin: testutil.Binary(t, "./cmd/edge")}
	s.addrs = []string{testutil.FreeAddr(t)}
	s.configure(1, `error_log = "error.log"
versions_dir = "versions"`)
	s.Process = testutil.Start(t, testutil.Command{Path: s.bin, Args: []string{"run", "-c", "edge.toml"}, Dir: disk})
	t.Cleanup(s.end)
	testutil.Eventually(t, testutil.Minutes, func() bool { return s.answers() == nil && s.serving() > 0 })
	l := newLoad(t)
	l.keepAlive(4, func(int) string { return s.addrs[0] })
	l.fresh(2, func() string { return s.addrs[0] })
	full, err := os.Create(filepath.Join(disk, "full"))
	testutil.Must(t, err)
	for block := make([]byte, 4096); err == nil; {
		_, err = full.Write(block)
	}
	full.Close()
	for range 2 {
		s.mustUpgrade()
		commands(t, disk, command{"status", 0, ""})
	}
	l.stop()
	if l.moved.Load() > 0 {
		t.Errorf("%d connections were closed", l.moved.Load())
	}
	commands(t, disk, command{"stop", 0, ""})
}
