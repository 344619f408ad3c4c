package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// slowOrigin answers when it is told to: finish has each request answered.
func slowOrigin(t *testing.T) (url string, begun <-chan struct{}, finish func()) {
	t.Helper()
	asked, end := make(chan struct{}, 8), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-end
	}))
	finish = sync.OnceFunc(func() { close(end) })
	t.Cleanup(func() { finish(); origin.Close() })
	return origin.URL, asked, finish
}

// hold begins a request that lasts until the origin answers: its process drains for as long.
func hold(t *testing.T, addr string, begun <-chan struct{}) net.Conn {
	t.Helper()
	c := dial(t, "tcp", addr)
	t.Cleanup(func() { c.Close() })
	fmt.Fprint(c, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-begun
	return c
}

// slowRoute leads /slow to an origin.
const slowRoute = "[[routes]]\npattern = \"/slow\"\ndest = %q\n"

// While processes of two upgrades drain, a third one is refused, and --now ends the older of the two, once everything
// about the new one that can be checked was. The other one goes on with its request.
func TestUpgrade_now(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	origin, begun, finish := slowOrigin(t)
	s := serve(t, 1, "shutdown_timeout = \"1m\"\n"+fmt.Sprintf(slowRoute, origin))
	first := hold(t, s.addrs[0], begun)
	oldest := s.PID()
	middle := s.mustUpgrade()
	second := hold(t, s.addrs[0], begun)
	s.mustUpgrade()
	said := func() string {
		_, out := s.upgrade()
		return out
	}
	testutil.Eventually(t, testutil.Minutes, func() bool {
		return strings.Contains(said(), "2 processes of earlier upgrades drain still, the last one with 1 connections")
	}, "a third upgrade is refused")
	if ended(oldest) || ended(middle) {
		t.Fatal("one that drains has ended by itself")
	}
	foreign := filepath.Join(t.TempDir(), "foreign")
	putAs(t, foreign, 0o700, ofAnotherProcessor(t, s.bin))
	for bin, want := range map[string]string{
		"/none": "no such file", "/bin/false": "exit status 1", foreign: "for another processor",
	} {
		if code, out := s.upgrade("--now", bin); code != 1 || !strings.Contains(out, want) || ended(oldest) {
			t.Fatalf("%s: %d, the oldest process lives: %v, %s", bin, code, !ended(oldest), out)
		}
	}
	more := s.addrs
	s.addrs = append(more, "nowhere")
	s.configure(1, "")
	if code, out := s.upgrade("--now"); code != 1 || ended(oldest) {
		t.Fatalf("with a wrong configuration: %d, the oldest process lives: %v, %s", code, !ended(oldest), out)
	}
	s.addrs = more
	s.configure(1, "shutdown_timeout = \"1m\"\n"+fmt.Sprintf(slowRoute, origin))
	s.mustUpgrade("--now")
	testutil.Eventually(t, testutil.Minutes, func() bool { return ended(oldest) }, "the oldest one has ended")
	if ended(middle) {
		t.Error("the other one has ended, too")
	}
	if _, err := http.ReadResponse(bufio.NewReader(first), nil); err == nil {
		t.Error("the request of the oldest process was answered")
	}
	finish()
	if resp, err := http.ReadResponse(bufio.NewReader(second), nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the request of the other process: %v %v", resp, err)
	}
	if err := s.answers(); err != nil {
		t.Error(err)
	}
}

// A process that has nothing to drain ends at once when the new one serves, and has told the command before.
func TestUpgrade_tellsBeforeItEnds(t *testing.T) {
	t.Parallel()
	s := serve(t, 1, "")
	for range testutil.Rounds(12) {
		code, out := s.upgrade()
		if strings.Contains(out, "drain still") { // a busy machine is slow to end them
			continue
		}
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, out)
		}
	}
}

// The new process drops an address by a reload while the old one drains: that one closes its copies of the sockets, so
// that nobody waits in a queue that no process looks at, and the address can be had again.
func TestUpgrade_dropsSockets(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	origin, begun, finish := slowOrigin(t)
	more := "shutdown_timeout = \"1m\"\n" + fmt.Sprintf(slowRoute, origin)
	s := serve(t, 2, more)
	held := hold(t, s.addrs[0], begun)
	old := s.PID()
	s.mustUpgrade()
	again := hold(t, s.addrs[0], begun) // keeps the second one
	middle := s.serving()
	pid := s.mustUpgrade()
	addrs := s.addrs
	for _, text := range []string{"dropped", "named again"} {
		s.addrs = addrs[:1]
		s.configure(1, more)
		testutil.Must(t, syscall.Kill(pid, syscall.SIGHUP))
		testutil.Eventually(t, testutil.Minutes, func() bool {
			c, err := net.Dial("tcp", addrs[1])
			if err == nil {
				c.Close()
			}
			return errors.Is(err, syscall.ECONNREFUSED)
		}, "%s: nobody listens at the address", text)
		s.addrs = addrs
		s.configure(1, more)
		testutil.Must(t, syscall.Kill(pid, syscall.SIGHUP))
		testutil.Eventually(t, testutil.Minutes, func() bool {
			return askFresh(t.Context(), addrs[1], 0) == nil
		}, "%s: the address is served again", text)
	}
	if ended(old) || ended(middle) {
		t.Error("one that drains has ended by itself")
	}
	finish()
	for _, c := range []net.Conn{held, again} {
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("a request of a process that drains: %v %v", resp, err)
		}
	}
}

// listensAt reports whether a process has a socket that listens at an address.
func listensAt(t *testing.T, pid int, addr string) bool {
	t.Helper()
	at, err := netip.ParseAddrPort(addr)
	testutil.Must(t, err)
	ip := at.Addr().As4()
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], at.Port())
	table, _ := os.ReadFile("/proc/net/tcp")
	sockets := map[string]bool{}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 9 && f[1] == local && f[3] == "0A" {
			sockets["socket:["+f[9]+"]"] = true
		}
	}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, _ := os.ReadDir(dir)
	return slices.ContainsFunc(list, func(e os.DirEntry) bool {
		to, _ := os.Readlink(filepath.Join(dir, e.Name()))
		return sockets[to]
	})
}

// The new process drops an address by a reload, and is killed: the old one, whose configuration names it, serves it
// again.
func TestUpgrade_droppedAndTakenBack(t *testing.T) {
	t.Parallel()
	origin, begun, finish := slowOrigin(t)
	more := fmt.Sprintf(slowRoute, origin)
	s := serve(t, 2, more)
	held := hold(t, s.addrs[0], begun)
	pid := s.mustUpgrade()
	addrs := s.addrs
	s.addrs = addrs[:1]
	s.configure(1, more)
	testutil.Must(t, syscall.Kill(pid, syscall.SIGHUP))
	testutil.Eventually(t, testutil.Minutes, func() bool { return !listensAt(t, s.PID(), addrs[1]) },
		"the old process has closed its copy")
	testutil.Must(t, syscall.Kill(pid, syscall.SIGKILL))
	testutil.Eventually(t, testutil.Minutes, func() bool { return s.serving() == s.PID() }, "the old one serves again")
	for _, addr := range addrs {
		if err := askFresh(t.Context(), addr, 0); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if out := s.Output(); strings.Contains(out, "cannot be taken back") {
		t.Error(out)
	}
	finish()
	if resp, err := http.ReadResponse(bufio.NewReader(held), nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the unfinished request: %v %v", resp, err)
	}
}

// While a reload waits until others have heard of a registration that it takes away, an upgrade is refused. Both ways
// say why, and the old process serves on.
func TestUpgrade_duringAReload(t *testing.T) {
	t.Parallel()
	registry := filepath.Join(t.TempDir(), "users")
	s := serve(t, 1, fmt.Sprintf("[register]\nto = \"file://%s\"\nlinger = \"1m\"\n", registry))
	s.WaitLine(`"registered"`)
	l := newLoad(t)
	l.keepAlive(2, func(int) string { return s.addrs[0] })
	s.configure(1, "")
	s.Signal(syscall.SIGHUP)
	s.WaitLine(`"withdrawn"`)
	const why = "a reload is under way"
	if code, out := s.upgrade(); code != 1 || !strings.Contains(out, why) || s.serving() != s.PID() {
		t.Errorf("edge upgrade: %d %s", code, out)
	}
	s.WaitLine(`"msg":"upgrade failed, this process serves on","error":"` + why)
	commands(t, s.dir, command{"run --upgrade -c edge.toml", 1, why})
	l.stop()
	if l.moved.Load() > 0 {
		t.Errorf("%d connections were closed", l.moved.Load())
	}
	if err := s.answers(); err != nil {
		t.Error(err)
	}
}

// adminText is a configuration with an admin surface and without upgrade_sock.
const adminText = `pid_file = "edge.pid"
[admin]
listen = ["unix:%s", "%s"]
token = "0123456789abcdef0123456789abcdef"
writable = true
[http]
listen = "%s"
[[routes]]
pattern = "/*"
dest = "status:200"
`

// refusesSecond asks for an upgrade while one is under way.
func refusesSecond(t *testing.T, s *service, socket string) {
	t.Helper()
	slow := script(t, s, "sleep 1; exit 3")
	answered := make(chan int, 1)
	go func() {
		ask := fmt.Sprintf(`{"binary":%q}`, slow)
		answered <- askAdmin(t, socket, "POST", "/v1/upgrade", ask, &admin.Upgraded{})
	}()
	s.WaitLine(`"msg":"upgrading","program":` + regexp.QuoteMeta(strconv.Quote(slow)))
	if status := askAdmin(t, socket, "POST", "/v1/upgrade", "", nil); status != 409 {
		t.Errorf("while one is under way: %d", status)
	}
	if status := <-answered; status != 422 {
		t.Errorf("a slow program: %d", status)
	}
}

// An upgrade is asked for over the admin surface, which answers before the process gives it up. Over TCP no program can
// be named.
func TestUpgrade_overAdmin(t *testing.T) {
	t.Parallel()
	socket, tcp := testutil.SocketPath(t), testutil.FreeAddr(t)
	s := &service{t: t, dir: t.TempDir(), bin: testutil.Binary(t, "./cmd/edge")}
	s.addrs = []string{testutil.FreeAddr(t)}
	putFile(t, filepath.Join(s.dir, "edge.toml"), adminText, socket, tcp, s.addrs[0])
	s.begin()
	s.WaitLine(`"section":"admin"`)
	l := newLoad(t)
	l.keepAlive(2, func(int) string { return s.addrs[0] })
	pid := s.mustUpgrade()
	if code, out := s.upgrade("--admin", tcp); code != 0 || !strings.Contains(out, "edge: it is ready") {
		t.Errorf("over TCP: %d %s", code, out)
	}
	if s.serving() == pid {
		t.Error("the process is the same one")
	}
	if code, out := s.upgrade("--admin", tcp, s.bin); code != 1 || !strings.Contains(out, "binary is taken from root") {
		t.Errorf("a program over TCP: %d %s", code, out)
	}
	if code, out := s.upgrade("/bin/false"); code != 1 || !strings.Contains(out, "exit status 1") {
		t.Errorf("a program that is none: %d %s", code, out)
	}
	pid = s.mustUpgrade(s.bin)
	var done admin.Upgraded
	bad := fmt.Sprintf(`{"binary":%q}`, script(t, s, "exit 3"))
	status := askAdmin(t, socket, "POST", "/v1/upgrade", bad, &done)
	if status != 422 || done.Upgraded || done.PID != pid || !strings.Contains(done.Reason, "exit status 3") ||
		len(done.Steps) < 2 {
		t.Errorf("a bad program: %d %+v", status, done)
	}
	if !testing.Short() {
		refusesSecond(t, s, socket)
	}
	l.stop()
	if err := s.answers(); err != nil {
		t.Error(err)
	}
	if pid := strconv.Itoa(s.serving()); !strings.Contains(s.Output(), "\"upgraded: the new process serves, "+
		"this one drains\",\"pid\":"+pid) {
		t.Errorf("process %s is not that of the last upgrade", pid)
	}
}

// The middle one of three processes has nothing left while the oldest one drains. It waits for that one, which takes
// nothing back, not even when the middle one is killed.
func TestUpgrade_middleEndsFirst(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{true, false} {
		if !killed && testing.Short() {
			continue
		}
		origin, begun, finish := slowOrigin(t)
		s := serve(t, 1, "shutdown_timeout = \"1m\"\n"+fmt.Sprintf(slowRoute, origin))
		held := hold(t, s.addrs[0], begun)
		middle := s.mustUpgrade()
		pid := s.mustUpgrade()
		s.WaitLine(`"msg":"drained, and waiting for the process before"`)
		if killed {
			testutil.Must(t, syscall.Kill(middle, syscall.SIGKILL))
			testutil.Eventually(t, testutil.Minutes, func() bool { return ended(middle) }, "the middle one has ended")
			s.WaitLine(`"msg":"connections drain here","connections":0,"reason":"the new process has ended, and`)
		}
		testutil.Eventually(t, testutil.Minutes, func() bool { return listensAt(t, s.PID(), s.addrs[0]) != killed },
			"killed %v: the oldest one keeps its copies of sockets as long as it hears which are closed", killed)
		for range 3 {
			if err := s.answers(); err != nil {
				t.Error(err)
			}
		}
		finish()
		resp, err := http.ReadResponse(bufio.NewReader(held), nil)
		if err != nil || resp.StatusCode != http.StatusOK || killed && !resp.Close {
			t.Errorf("killed %v: the oldest process answers and closes its connection: %v %v", killed, resp, err)
		}
		held.Close()
		testutil.Eventually(t, testutil.Minutes, func() bool { return ended(s.PID()) && ended(middle) },
			"killed %v: both have ended", killed)
		if s.serving() != pid || strings.Contains(s.Output(), "serves again") {
			t.Errorf("killed %v: process %d serves, not %d", killed, s.serving(), pid)
		}
	}
}
