package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// service is edge with its successors.
type service struct {
	*testutil.Process // the first one; the others write to its output
	t                 *testing.T
	dir, bin          string
	addrs             []string // of listeners
	grace             string   // "": 5s
}

// serviceText is a configuration with plain listeners; %s is the list of addresses.
const serviceText = `pid_file = "edge.pid"
upgrade_sock = "upgrade.sock"
grace_period = %q
threads = %d
log.output = ["access.log"]
%s
[[listeners]]
name = "plain"
listen = [%s]
[[routes]]
pattern = "/*"
dest = "status:200"
`

// serve starts edge with listeners on n addresses. more stands in [global].
func serve(t *testing.T, n int, more string, env ...string) *service {
	t.Helper()
	s := prepare(t, n)
	s.configure(1, more)
	s.begin(env...)
	return s
}

// prepare returns what configure and begin need.
func prepare(t *testing.T, n int) *service {
	t.Helper()
	s := &service{t: t, dir: t.TempDir(), bin: testutil.Binary(t, "./cmd/edge")}
	for range n {
		s.addrs = append(s.addrs, testutil.FreeAddr(t))
	}
	return s
}

func (s *service) begin(env ...string) {
	s.t.Helper()
	s.Process = testutil.Start(s.t, testutil.Command{
		Path: s.bin, Args: []string{"run", "-c", "edge.toml"}, Dir: s.dir, Env: env,
	})
	s.t.Cleanup(s.end)
	s.WaitLine(`"msg":"listening"`)
}

// end kills all processes of s: those that a test leaves hold the pipe to it.
func (s *service) end() {
	pids := []int{s.serving()}
	for _, m := range regexp.MustCompile(`"pid":(\d+)`).FindAllStringSubmatch(s.Output(), -1) {
		pid, _ := strconv.Atoi(m[1])
		pids = append(pids, pid)
	}
	for _, pid := range pids {
		if dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err == nil && strings.HasPrefix(dir, s.dir) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// configure writes the configuration.
func (s *service) configure(threads int, more string) {
	s.t.Helper()
	text := fmt.Sprintf(serviceText, cmp.Or(s.grace, "5s"), threads, more, `"`+strings.Join(s.addrs, `", "`)+`"`)
	putFile(s.t, filepath.Join(s.dir, "edge.toml"), "%s", text)
}

// serving returns the process that the pid file names, 0 for none.
func (s *service) serving() int {
	text, _ := os.ReadFile(filepath.Join(s.dir, "edge.pid"))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// upgrade runs edge upgrade.
func (s *service) upgrade(args ...string) (code int, out string) {
	s.t.Helper()
	return in(s.t, s.dir, append([]string{"upgrade"}, args...)...)
}

// mustUpgrade upgrades, and returns the process that serves.
func (s *service) mustUpgrade(args ...string) int {
	s.t.Helper()
	before := s.serving()
	code, out := s.upgrade(args...)
	pid := s.serving()
	if code != 0 || pid == before || !strings.Contains(out, fmt.Sprintf("upgraded: process %d serves", pid)) {
		s.t.Fatalf("%d, process %d after %d: %s", code, pid, before, out)
	}
	return pid
}

// answers asks once over a new connection.
func (s *service) answers() error {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: testutil.Patience}
	resp, err := c.Get("http://" + s.addrs[0] + "/")
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// load asks until it is stopped, as several kinds of clients do.
type load struct {
	t       *testing.T
	ctx     context.Context
	cancel  context.CancelFunc
	wait    sync.WaitGroup
	asked   atomic.Int64
	failed  atomic.Int64
	moved   atomic.Int64 // connections that had to be opened again
	slowest atomic.Int64 // nanoseconds
	first   atomic.Pointer[error]
}

func newLoad(t *testing.T) *load {
	l := &load{t: t}
	l.ctx, l.cancel = context.WithCancel(t.Context())
	return l
}

// each runs ask, which pauses for so long, again and again on n goroutines.
func (l *load) each(n int, pause time.Duration, ask func() error) {
	for range n {
		l.wait.Go(func() {
			for l.ctx.Err() == nil {
				begun := time.Now()
				err := ask()
				l.asked.Add(1)
				l.slower(time.Since(begun) - pause)
				if err != nil {
					l.failed.Add(1)
					l.first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
}

// stop ends the load and reports what failed.
func (l *load) stop() {
	l.t.Helper()
	l.cancel()
	l.wait.Wait()
	if n := l.failed.Load(); n > 0 {
		l.t.Errorf("%d of %d requests failed, first: %v", n, l.asked.Load(), *l.first.Load())
	}
	if l.asked.Load() == 0 {
		l.t.Error("nobody asked")
	}
}

// keepAlive has n clients, each of which asks over one connection for as long as that is open.
func (l *load) keepAlive(n int, addr func(i int) string) {
	for i := range n {
		l.wait.Go(func() {
			for l.askOver(addr(i), "/") {
				l.moved.Add(1)
			}
		})
	}
}

// askOver asks for a path over one connection until the load ends. It reports whether an answer has said before that
// the connection closes.
func (l *load) askOver(addr, path string) (closes bool) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		l.fail(err)
		return false
	}
	defer c.Close()
	for r := bufio.NewReader(c); l.ctx.Err() == nil && !closes; l.asked.Add(1) {
		if closes, err = askPath(c, r, path); err != nil {
			l.fail(err)
			return false
		}
	}
	return closes
}

func (l *load) fail(err error) {
	l.failed.Add(1)
	l.asked.Add(1)
	l.first.CompareAndSwap(nil, &err)
}

// askOnce sends a request over c and reports whether the answer says that c closes.
func askOnce(c net.Conn, r *bufio.Reader) (closes bool, err error) { return askPath(c, r, "/") }

func askPath(c net.Conn, r *bufio.Reader, path string) (closes bool, err error) {
	_ = c.SetDeadline(time.Now().Add(testutil.Patience))
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return false, err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return false, err
	}
	if resp.StatusCode != http.StatusOK {
		return false, errors.New(resp.Status)
	}
	return resp.Close, nil
}

// fresh asks over a new connection each time.
func (l *load) fresh(n int, addr func() string) {
	l.each(n, 0, func() error { return askFresh(l.ctx, addr(), 0) })
}

// late connects, and speaks only after a while: with TCP_DEFER_ACCEPT such a connection waits in the kernel.
func (l *load) late(n int, addr func() string, after time.Duration) {
	l.each(n, after, func() error { return askFresh(l.ctx, addr(), after) })
}

func askFresh(ctx context.Context, addr string, after time.Duration) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if after > 0 {
		select {
		case <-time.After(after):
		case <-ctx.Done():
			return nil
		}
	}
	_, err = askOnce(c, bufio.NewReader(c))
	return err
}

// slowestMax is how long a request may take during upgrades, where a test looks at times.
const slowestMax = 250 * time.Millisecond

// Upgrades with any change of the number of event loops lose no request of any client, and plain clients keep their
// connections. EDGE_SOAK=1 does 50 of them, with 300 listeners.
func TestUpgrade_underLoad(t *testing.T) {
	t.Parallel()
	rounds, listeners, clients := 3, 8, 8
	if os.Getenv("EDGE_SOAK") != "" {
		rounds, listeners, clients = 50, 300, 64
	}
	s := prepare(t, listeners)
	l := underLoad(t, s, rounds, clients)
	if os.Getenv("EDGE_SOAK") != "" && l.slowest.Load() > int64(slowestMax) {
		t.Errorf("the slowest request took %v", time.Duration(l.slowest.Load()))
	}
}

// This version and an earlier one take over from each other, again and again: EDGE_OLD_BINARY is the path of that one.
func TestUpgrade_betweenVersions(t *testing.T) {
	old := os.Getenv("EDGE_OLD_BINARY")
	if old == "" {
		t.Skip("EDGE_OLD_BINARY names no earlier version")
	}
	s := prepare(t, 8)
	this := s.bin
	s.bin = old
	underLoad(t, s, 10, 32, this, old)
}

// underLoad upgrades s so many times under load, by turns to two programs where some are given.
func underLoad(t *testing.T, s *service, rounds, clients int, programs ...string) *load {
	t.Helper()
	s.configure(1, "")
	s.begin()
	l := newLoad(t)
	var turn atomic.Int64
	addr := func() string { return s.addrs[int(turn.Add(1))%len(s.addrs)] }
	l.keepAlive(clients, func(i int) string { return s.addrs[i%len(s.addrs)] })
	l.fresh(4, addr)
	l.late(8, addr, 300*time.Millisecond)
	for round := range rounds {
		s.configure([]int{2, 1, 4, 1}[round%4], "")
		if len(programs) == 0 {
			s.mustUpgrade()
		} else {
			s.mustUpgrade(programs[round%2])
		}
	}
	l.stop()
	t.Logf("%d requests over %d upgrades, %d of %d connections moved, slowest %v", l.asked.Load(), rounds,
		l.moved.Load(), clients, time.Duration(l.slowest.Load()))
	if l.moved.Load() > int64(clients*rounds/10) {
		t.Errorf("%d keep-alive connections were closed by %d upgrades", l.moved.Load(), rounds)
	}
	return l
}

// Clients of TLS, by HTTP/1 and HTTP/2, lose no request, and resume their sessions with the new process.
func TestUpgrade_keepsTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority := testutil.NewAuthority(t)
	authority.IssueTo(t, dir, "site", nil, "127.0.0.1")
	secure := testutil.FreeAddr(t)
	s := serve(t, 1, fmt.Sprintf("https = { listen = %q, cert = %q, key = %q }", secure,
		filepath.Join(dir, "site.pem"), filepath.Join(dir, "site.key")))
	l := newLoad(t)
	cache := tls.NewLRUClientSessionCache(8)
	for _, h2 := range []bool{false, true} {
		tr := &http.Transport{
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ClientSessionCache: cache},
			ForceAttemptHTTP2: h2,
		}
		t.Cleanup(tr.CloseIdleConnections)
		c := &http.Client{Transport: tr, Timeout: testutil.Patience}
		l.each(4, 0, func() error {
			resp, err := c.Get("https://" + secure + "/")
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err == nil && (resp.ProtoMajor == 2) != h2 {
				err = errors.New(resp.Proto)
			}
			return err
		})
	}
	resumed := func() bool {
		c, err := tls.Dial("tcp", secure, &tls.Config{InsecureSkipVerify: true, ClientSessionCache: cache})
		testutil.Must(t, err)
		defer c.Close()
		if _, err := askOnce(c, bufio.NewReader(c)); err != nil { // it brings the ticket
			t.Fatal(err)
		}
		return c.ConnectionState().DidResume
	}
	resumed()
	for range 3 {
		s.mustUpgrade()
		if !resumed() {
			t.Error("a session was not resumed after the upgrade")
		}
	}
	l.stop()
}

// script writes a program that checks as edge does, and does something else for other commands.
func script(t *testing.T, s *service, otherwise string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "new edge")
	text := "#!/bin/sh\nif [ \"$1\" = check ]; then exec " + s.bin + " \"$@\"; fi\n" + otherwise + "\n"
	testutil.WriteProgram(t, path, []byte(text))
	return path
}

// ofAnotherProcessor returns the head of a program for RISC-V.
func ofAnotherProcessor(t *testing.T, bin string) []byte {
	t.Helper()
	head := []byte(textOf(t, bin)[:4096])
	head[18] = 0xf3 // e_machine
	return head
}

// Whatever is wrong with the new program: the old process goes on, loses nothing and says why.
func TestUpgrade_toBadPrograms(t *testing.T) {
	t.Parallel()
	s := serve(t, 2, `upgrade_timeout = "5s"`)
	l := newLoad(t)
	l.keepAlive(4, func(int) string { return s.addrs[0] })
	l.fresh(2, func() string { return s.addrs[1] })
	dir := t.TempDir()
	put := func(name string, mode os.FileMode, text []byte) string {
		path := filepath.Join(dir, name)
		putAs(t, path, mode, text)
		return path
	}
	whole := []byte(textOf(t, s.bin))
	for _, c := range []struct{ name, bin, want string }{
		{"missing", filepath.Join(dir, "none"), "no such file"},
		{"a folder", dir, "is a folder"},
		{"a device", os.DevNull, "not a regular file"},
		{"not executable", put("plain", 0o600, whole[:100]), "chmod +x"},
		{"of another processor", put("foreign", 0o700, ofAnotherProcessor(t, s.bin)),
			"for another processor, or not whole"},
		{"half written", put("half", 0o700, whole[:3000]), "not whole"},
		{"empty", put("empty", 0o700, nil), "for another processor, or not whole"},
		{"another program", "/bin/false", "exit status 1"},
		{"a script that checks nothing", put("script", 0o700, []byte("#!/bin/sh\nexit 3\n")), "exit status 3"},
		{"it crashes", script(t, s, "kill -SEGV $$"), "segmentation fault"},
		{"it ends at once", script(t, s, "exit 0"), "has ended before it served (exit status 0)"},
		{"it hangs", script(t, s, "exec sleep 60"), "does not answer"},
		{"too few descriptors", script(t, s, "ulimit -n 40; exec "+s.bin+" \"$@\""), "RLIMIT_NOFILE"},
		{"another configuration", script(t, s, "exec "+s.bin+" run -c none.toml"),
			"has ended before it served (exit status 1)"},
	} {
		before := s.serving()
		code, out := s.upgrade(c.bin)
		if code != 1 || !strings.Contains(out, c.want) || !strings.Contains(out, "the old process serves on") {
			t.Errorf("%s: %d %s", c.name, code, out)
		}
		if s.serving() != before {
			t.Errorf("%s: process %d serves", c.name, s.serving())
		}
	}
	if n := strings.Count(s.Output(), "upgrade failed, this process serves on"); n < 13 {
		t.Errorf("%d lines in the error log say why:\n%s", n, s.Output())
	}
	l.stop()
	if l.moved.Load() > 0 {
		t.Errorf("%d connections were closed", l.moved.Load())
	}
	s.mustUpgrade() // a good one still works
}

// What is wrong with the configuration is found before anything is started.
func TestUpgrade_wrongConfiguration(t *testing.T) {
	t.Parallel()
	s := serve(t, 1, "")
	s.configure(1, "htp = 1")
	code, out := s.upgrade()
	if code != 1 || !strings.Contains(out, "has errors") {
		t.Errorf("the command: %d %s", code, out)
	}
	s.Signal(syscall.SIGUSR2)
	s.WaitLine(`"msg":"upgrade failed, this process serves on","error":".*edge.toml:6: .*htp`)
	if err := s.answers(); err != nil {
		t.Error(err)
	}
}

// Of two processes without [admin] the second one has the socket beside its pid file. When it is upgraded its successor
// has that one, and the first process keeps its own.
func TestUpgrade_sockets(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", filepath.Dir(testutil.SocketPath(t)))
	first := start(t, oneRoute, "/first")
	second := serve(t, 1, "")
	for _, serving := range []func() int{second.serving, func() int { return second.mustUpgrade() }} {
		pid := serving()
		one := fmt.Sprint("process ", first.PID())
		first.commands(t, command{"status", 0, one})
		commands(t, second.dir, command{"routes", 0, "!/first"})
		commands(t, second.dir, command{"status --json", 0, fmt.Sprint(pid)})
	}
}

// Of two processes without a file the second one has no socket. When it is upgraded its successor leaves the first
// process its own.
func TestUpgrade_socketOfAnother(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", filepath.Dir(testutil.SocketPath(t)))
	proxy := testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Dir: t.TempDir(),
		Args: []string{"proxy", "--from", "127.0.0.1:0", "--to", "127.0.0.1:1"}}
	first := testutil.Start(t, proxy)
	first.WaitLine(`listening.*edge\.admin\.sock`)
	second := testutil.Start(t, proxy)
	t.Cleanup(func() { (&service{t: t, dir: proxy.Dir, Process: second}).end() })
	second.WaitLine(`edge: http://`)
	second.Signal(syscall.SIGUSR2)
	second.WaitLine(`"msg":"upgraded: the new process serves`)
	commands(t, t.TempDir(), command{"status", 0, fmt.Sprint("process ", first.PID())})
}

// The program that is put in the place of the old one is the new one: by SIGUSR2, by SIGHUP where that is asked for,
// and by a link.
func TestUpgrade_changedProgram(t *testing.T) {
	t.Parallel()
	s := &service{t: t, dir: t.TempDir()}
	versions := t.TempDir()
	whole := []byte(textOf(t, testutil.Binary(t, "./cmd/edge")))
	for i, v := range []string{"2.0.0", "3.0.0"} { // what stands after the end of a program is not looked at
		putAs(t, filepath.Join(versions, v), 0o700, append(whole, make([]byte, i)...))
	}
	runs := func(version string) func() bool {
		return func() bool {
			exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.serving()))
			return filepath.Base(exe) == version
		}
	}
	s.bin = filepath.Join(s.dir, "edge")
	link := func(v string) {
		next := s.bin + ".next"
		testutil.Must(t, os.Symlink(filepath.Join(versions, v), next), os.Rename(next, s.bin))
	}
	link("2.0.0")
	s.addrs = []string{testutil.FreeAddr(t)}
	s.configure(1, "upgrade_on_reload = true")
	s.begin()
	s.Signal(syscall.SIGHUP)
	s.WaitLine(`"msg":"configuration reloaded, nothing has changed"`)
	link("3.0.0")
	s.Signal(syscall.SIGHUP)
	testutil.Eventually(t, testutil.Minutes, runs("3.0.0"), "the new program serves")
	s.WaitLine(`"msg":"upgrade complete`)
	link("2.0.0")
	pid := s.serving()
	if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil || pid == s.PID() {
		t.Fatal(pid, err)
	}
	testutil.Eventually(t, testutil.Minutes, runs("2.0.0"), "the program before serves again")
	if err := s.answers(); err != nil {
		t.Error(err)
	}
}

// A reload changes the number of event loops, where it may upgrade for that.
func TestReload_eventLoops(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "admin.sock")
	more := fmt.Sprintf("upgrade_on_reload = true\n[admin]\nlisten = %q", "unix:"+socket)
	s := serve(t, 1, more)
	s.configure(2, more)
	s.Signal(syscall.SIGHUP)
	s.WaitLine(`"msg":"these keys take effect after a restart or an upgrade","keys":\["worker_threads"\]`)
	s.WaitLine(`"msg":"upgrade complete`)
	var now admin.Status
	if status := askAdmin(t, socket, "GET", "/v1/status", "", &now); status != 200 || now.Reactors != 2 {
		t.Errorf("%d, %d event loops", status, now.Reactors)
	}
	if pid := s.serving(); pid == s.PID() {
		t.Errorf("process %d serves", pid)
	}
	if err := s.answers(); err != nil {
		t.Error(err)
	}
}

// Pingora's way: a process with --upgrade takes over, before or after SIGQUIT.
func TestUpgrade_byNewProcess(t *testing.T) {
	t.Parallel()
	s := serve(t, 1, "")
	s.Signal(syscall.SIGQUIT)
	s.WaitLine(`"msg":"SIGQUIT: waiting for a process that takes over"`)
	next := testutil.Start(t, testutil.Command{
		Path: s.bin, Args: []string{"run", "--upgrade", "-c", "edge.toml"}, Dir: s.dir,
	})
	next.WaitLine(`"msg":"upgrade complete`)
	endsWell(t, s)
	if s.serving() != next.PID() {
		t.Errorf("process %d serves, not %d", s.serving(), next.PID())
	}
	third := testutil.Start(t, testutil.Command{
		Path: s.bin, Args: []string{"-u", "-c", "edge.toml"}, Dir: s.dir,
	})
	third.WaitLine(`"msg":"upgrade complete`)
	next.Wait(testutil.Minutes)
	if err := s.answers(); err != nil {
		t.Error(err)
	}
	third.Stop()
	commands(t, s.dir, command{"run -u -c edge.toml", 1, "start edge without it"}) // --upgrade with nobody there
	if code, out := s.upgrade(); code != 1 || !strings.Contains(out, "no edge runs that can be upgraded") {
		t.Errorf("upgrade with nobody there: %d %s", code, out)
	}
}

// SIGQUIT without a process that takes over: it serves on, and says so. The second one of the lines takes five seconds.
func TestUpgrade_quitWithoutTaker(t *testing.T) {
	t.Parallel()
	if os.Getenv("EDGE_SOAK") == "" {
		t.Skip("EDGE_SOAK=1 waits five seconds")
	}
	s := serve(t, 1, "")
	s.Signal(syscall.SIGQUIT)
	s.WaitLine(`"msg":"SIGQUIT: no process has come to take over, so this one serves on"`)
	if err := s.answers(); err != nil {
		t.Error(err)
	}
}

// The new process is killed while the old one drains: that one takes back sockets, connections and names.
func TestUpgrade_takenBack(t *testing.T) {
	t.Parallel()
	origin, begun, finish := slowOrigin(t)
	s := serve(t, 1, fmt.Sprintf(slowRoute, origin))
	held := hold(t, s.addrs[0], begun) // an unfinished request keeps the old process
	for round := range 3 {
		pid := s.mustUpgrade()
		s.WaitLine(`"msg":"upgraded: the new process serves, this one drains","pid":` + strconv.Itoa(pid))
		s.Signal(syscall.SIGHUP)
		s.Signal(syscall.SIGUSR2)
		refused := func() bool { // both, before the kill: afterwards they would be obeyed
			return strings.Count(s.Output(), `"msg":"no reload during an upgrade"`) > round &&
				strings.Count(s.Output(), `"msg":"no upgrade","error":"an upgrade is under way"`) > round
		}
		testutil.Eventually(t, testutil.Minutes, refused, "a reload and an upgrade are refused")
		testutil.Must(t, syscall.Kill(pid, syscall.SIGKILL))
		back := func() bool { // the pid file alone may name it since before the new one had its turn
			return s.serving() == s.PID() && strings.Count(s.Output(), "and this one serves again") > round
		}
		testutil.Eventually(t, testutil.Minutes, back, "the pid file names the old one")
		if err := s.answers(); err != nil {
			t.Error(err)
		}
		commands(t, s.dir, command{"status", 0, ""})
	}
	finish()
	if resp, err := http.ReadResponse(bufio.NewReader(held), nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the unfinished request: %v %v", resp, err)
	}
	held.Close()
	stopsWell(t, s)
}

// After a rollback, upgrades go on with the configuration that runs, and say so. With --force they take the files.
func TestUpgrade_afterRollback(t *testing.T) {
	t.Parallel()
	s := serve(t, 1, `global.rollback = { errors = "20%", requests = 10 }`)
	file := filepath.Join(s.dir, "edge.toml")
	text := textOf(t, file)
	putFile(t, file, "%s", strings.Replace(text, "status:200", "status:503", 1))
	testutil.Must(t, syscall.Kill(s.serving(), syscall.SIGHUP))
	testutil.Eventually(t, testutil.Minutes, func() bool { return s.answers() != nil })
	for range 20 {
		_ = s.answers()
	}
	s.WaitLine(`the files on the disk differ`)
	const keeps = "goes on with the configuration that runs"
	for n := range 2 { // the new process knows that the files differ
		before := s.serving()
		code, out := s.upgrade()
		if err := s.answers(); code != 0 || err != nil || s.serving() == before || !strings.Contains(out, keeps) {
			t.Fatalf("%d, answer %v, want 200 and %q: %s\n%s", code, err, keeps, out, s.Output())
		}
		testutil.Eventually(t, testutil.Minutes, func() bool {
			return strings.Count(s.Output(), `"msg":"this process `+keeps) == n+1
		})
	}
	if code, out := s.upgrade("--force"); code != 0 || strings.Contains(out, keeps) {
		t.Errorf("--force: %d %s", code, out)
	}
	if err := s.answers(); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("--force: %v, want what the file says", err)
	}
}
