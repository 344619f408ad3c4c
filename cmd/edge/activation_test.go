package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// activateEnv has the program of the tests play a supervisor that starts edge with sockets: it names them to the
// process that it becomes itself. Its value is the user and the group that it becomes before, or "own".
const activateEnv = "EDGE_TEST_ACTIVATE"

func activate() error {
	var uid, gid int
	if n, _ := fmt.Sscanf(os.Getenv(activateEnv), "%d:%d", &uid, &gid); n == 2 {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
			return err
		}
	}
	os.Unsetenv(activateEnv)
	if os.Getenv("LISTEN_PID") == "" {
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	}
	return syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
}

// units are the sockets that a supervisor has for edge.
type units struct {
	t     *testing.T
	names []string
	files []*os.File
}

// add hands a socket on, and closes l: the supervisor is not to accept.
func (u *units) add(name string, l interface{ File() (*os.File, error) }) {
	u.t.Helper()
	f, err := l.File()
	testutil.Must(u.t, err)
	u.t.Cleanup(func() { f.Close() })
	u.names, u.files = append(u.names, name), append(u.files, f)
}

// tcp opens a socket and returns its address.
func (u *units) tcp(name, address string) string {
	u.t.Helper()
	l := testutil.ListenAt(u.t, address)
	defer l.Close()
	u.add(name, l.(*net.TCPListener))
	return l.Addr().String()
}

// shared is tcp for an address that others may have too.
func (u *units) shared(name, address string) string {
	u.t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		failed := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(failed, err)
	}}
	l, err := config.Listen(u.t.Context(), "tcp", address)
	testutil.Must(u.t, err)
	defer l.Close()
	u.add(name, l.(*net.TCPListener))
	return l.Addr().String()
}

// unix opens a socket and returns its path.
func (u *units) unix(name string) string {
	u.t.Helper()
	path := testutil.SocketPath(u.t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	testutil.Must(u.t, err)
	l.SetUnlinkOnClose(false)
	defer l.Close()
	u.add(name, l)
	return path
}

// command returns how to start edge with a configuration and the sockets, as user, or with the user of the test.
func (u *units) command(user, dir string, args ...string) testutil.Command {
	u.t.Helper()
	self, err := os.Executable()
	testutil.Must(u.t, err)
	return testutil.Command{
		Path: self, Args: append([]string{testutil.Binary(u.t, "./cmd/edge")}, args...), Dir: dir, Files: u.files,
		Env: []string{activateEnv + "=" + user, fmt.Sprintf("LISTEN_FDS=%d", len(u.files)),
			"LISTEN_FDNAMES=" + strings.Join(u.names, ":")},
	}
}

const activatedText = `pid_file = "edge.pid"
upgrade_sock = "upgrade.sock"
grace_period = "1s"
log.output = []
routes = [{ pattern = "/*", dest = "status:204" }]
%s
`

// configure writes a configuration with lines for its listeners.
func (u *units) configure(dir, lines string) {
	u.t.Helper()
	text := fmt.Sprintf(activatedText, lines)
	putAs(u.t, filepath.Join(dir, "edge.toml"), 0o644, []byte(text))
}

// activated is edge with sockets of a supervisor.
type activated struct {
	*service
	sockets     *units
	path, other string // of a Unix socket, and an address of which some configurations have none
	reloads     int
}

// listen has the file name addresses.
func (a *activated) listen(addresses ...string) {
	a.sockets.configure(a.dir, fmt.Sprintf("[[listeners]]\nname = \"web\"\nlisten = [\"%s\"]\n",
		strings.Join(addresses, `", "`)))
}

// reload has the process listen on addresses.
func (a *activated) reload(addresses ...string) {
	a.t.Helper()
	a.listen(addresses...)
	testutil.Must(a.t, syscall.Kill(a.serving(), syscall.SIGHUP))
	a.reloads++
	testutil.Eventually(a.t, testutil.Minutes, func() bool {
		return strings.Count(a.Output(), `"msg":"configuration reloaded"`) == a.reloads
	})
}

// asks wants an answer at an address.
func (a *activated) asks(network, address string) {
	a.t.Helper()
	c := dial(a.t, network, address)
	defer c.Close()
	if err := askUntil204(c); err != nil {
		a.t.Errorf("%s: %v", address, err)
	}
}

// changes takes addresses away and names them again. Clients that connect meanwhile wait.
func (a *activated) changes() {
	t, web := a.t, a.addrs[0]
	t.Helper()
	a.reload(web, a.other)
	a.asks("tcp", a.other)
	a.reload(web)
	c := dial(t, "tcp", a.other)
	defer c.Close()
	early := make(chan error, 1)
	go func() { early <- askUntil204(c) }()
	a.reload(web, a.other, "unix:"+a.path)
	if err := <-early; err != nil {
		t.Errorf("a client that waited: %v", err)
	}
	a.asks("tcp", a.other)
	a.asks("unix", a.path)
	a.reload(web, "unix:"+a.path)
}

// Sockets of a supervisor serve, over reloads that leave and name their addresses, over an upgrade and over a restart,
// and no client of theirs is refused at any time.
func TestRun_socketActivation(t *testing.T) {
	t.Parallel()
	u := &units{t: t}
	web, path, other := u.tcp("web", "127.0.0.1:0"), u.unix("edge.socket"), u.tcp("edge.socket", "127.0.0.1:0")
	a := &activated{sockets: u, path: path, other: other, service: &service{
		t: t, dir: t.TempDir(), bin: testutil.Binary(t, "./cmd/edge"), addrs: []string{web},
	}}
	a.listen(web, "unix:"+path)
	a.Process = testutil.Start(t, u.command("own", a.dir, "run", "-c", "edge.toml"))
	t.Cleanup(a.end)
	a.WaitLine(`"a socket of the supervisor has no listener: .*"address":"` + regexp.QuoteMeta(other) +
		`","name":"edge.socket","try":"a listener with listen = .*` + regexp.QuoteMeta(other))
	a.WaitLine(`"msg":"listening".*"address":"unix:`)
	a.asks("tcp", web)
	a.asks("unix", path)
	a.changes()
	a.mustUpgrade()
	a.asks("unix", path)
	a.changes() // of the new process
	a.mustUpgrade()
	a.asks("tcp", web)
	commands(t, a.dir, command{"stop", 0, ""})
	c := dial(t, "tcp", web) // nobody runs
	defer c.Close()
	a.Process = testutil.Start(t, u.command("own", a.dir, "run", "-c", "edge.toml"))
	if err := askUntil204(c); err != nil {
		t.Error("over a restart: ", err)
	}
	stopsWell(t, a)
}

// askUntil204 asks over a connection that may not have been accepted yet.
func askUntil204(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(testutil.Patience))
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: edge\r\n\r\n")); err != nil {
		return err
	}
	answer := make([]byte, 64)
	n, err := c.Read(answer)
	if err == nil && !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 204 ") {
		err = fmt.Errorf("%q", answer[:n])
	}
	return err
}

// A user without any right serves a port that only root may open, and an upgrade by that user does.
func TestRun_socketActivationOfLowPort(t *testing.T) {
	t.Parallel()
	uid, gid := nobody(t)
	address := lowAddr()
	if address == "" {
		t.Skip("no port below 1024 is free")
	}
	u := &units{t: t}
	u.tcp("http", address)
	s := &service{t: t, dir: owned(t, uid, gid), addrs: []string{address}}
	s.bin = binaryIn(t, s.dir)
	u.configure(s.dir, fmt.Sprintf("http.listen = %q", address))
	command := u.command(fmt.Sprintf("%d:%d", uid, gid), s.dir, "run", "-c", "edge.toml")
	command.Args[0] = s.bin
	s.Process = testutil.Start(t, command)
	t.Cleanup(s.end)
	s.WaitLine(`"msg":"listening"`)
	for range 2 {
		answersWith(t, "http://"+address, http.StatusNoContent)
		before := s.serving()
		hasRights(t, before, uid, gid)
		testutil.Must(t, syscall.Kill(before, syscall.SIGUSR2))
		testutil.Eventually(t, testutil.Minutes, func() bool { return s.serving() != before }, "upgraded")
	}
}

// With several sockets of one address each of them is accepted from, and the parent of --supervise hands on what it
// got.
func TestRun_socketActivationSupervised(t *testing.T) {
	t.Parallel()
	u := &units{t: t}
	address := "127.0.0.1:0"
	for range 3 {
		address = u.shared("web", address)
	}
	dir := t.TempDir()
	u.configure(dir, fmt.Sprintf("threads = 2\nfips = true\n[[listeners]]\nname = \"web\"\nlisten = %q\n", address))
	p := testutil.Start(t, u.command("own", dir, "run", "--supervise", "-c", "edge.toml"))
	p.WaitLine(`"msg":"listening"`)
	for range 30 {
		answers(t, "http://"+address)
	}
	stopsWell(t, p)
}

// What cannot be served is refused with its reason, before anything is opened.
func TestRun_socketActivationRefused(t *testing.T) {
	t.Parallel()
	free := testutil.FreeAddr(t)
	for name, c := range map[string]struct {
		give            func(u *units) (listen string)
		env, args, want string
	}{
		"datagrams": {give: func(u *units) string {
			l, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			testutil.Must(u.t, err)
			defer l.Close()
			u.add("web", l)
			return free
		}, want: `sockets of the supervisor: "web": descriptor 3: it is a socket of datagrams`},
		"FIFO": {give: func(u *units) string {
			r, w, err := os.Pipe()
			testutil.Must(u.t, err)
			u.t.Cleanup(func() { r.Close(); w.Close() })
			u.names, u.files = append(u.names, "fifo"), append(u.files, r)
			return free
		}, want: `"fifo": descriptor 3: it is no socket`},
		"Accept=yes": {give: func(u *units) string {
			at := u.tcp("edge.socket", "127.0.0.1:0")
			conn := dial(u.t, "tcp", at)
			defer conn.Close()
			u.add("connection", conn.(*net.TCPConn))
			return at
		}, want: `"connection": descriptor 4: it is a connection, and no socket that listens for them: Accept=no`},
		"other address": {give: func(u *units) string {
			u.tcp("web", "127.0.0.2:0")
			return free
		}, want: `edge.toml:\d+:\d+: listener web: the socket "web" of the supervisor is 127.0.0.2:\d+, and the ` +
			`listener of that name has ` + regexp.QuoteMeta(free)},
		"daemon": {give: func(u *units) string { return u.tcp("web", "127.0.0.1:0") }, args: "-d",
			want: `daemon = true, or -d, and sockets of a supervisor do not go together`},
		"--upgrade": {give: func(u *units) string { return u.tcp("web", "127.0.0.1:0") }, args: "--upgrade",
			want: `--upgrade takes the sockets of the running process, and the supervisor hands on others`},
		"none": {give: func(u *units) string { return u.tcp("web", "127.0.0.1:0") }, env: "LISTEN_FDS=0",
			want: `LISTEN_FDS="0" is no number above 0`},
		"names": {give: func(u *units) string { return u.tcp("web", "127.0.0.1:0") }, env: "LISTEN_FDNAMES=a:b",
			want: `LISTEN_FDNAMES="a:b" has 2 names for LISTEN_FDS=1 descriptors`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, dir := &units{t: t}, t.TempDir()
			u.configure(dir, fmt.Sprintf("[[listeners]]\nname = \"web\"\nlisten = %q\n", c.give(u)))
			command := u.command("own", dir, append([]string{"run", "-c", "edge.toml"}, strings.Fields(c.args)...)...)
			command.Env = append(command.Env, c.env)
			p := testutil.Start(t, command)
			if code := p.Wait(testutil.Minutes); code != exitError {
				t.Errorf("exit code %d", code)
			}
			if !regexp.MustCompile(c.want).MatchString(p.Output()) {
				t.Errorf("it does not say %q", c.want)
			}
		})
	}
}

// A process that listens at an address of edge, and is stopped, is named by edge status; edge's own sockets are not.
func TestStatus_foreign(t *testing.T) {
	t.Parallel()
	address, dir := testutil.FreeAddr(t), t.TempDir()
	u := &units{t: t}
	u.configure(dir, fmt.Sprintf("threads = 2\nadmin.listen = \"unix:admin.sock\"\nhttp.listen = %q\n", address))
	p := launch(t, dir, "run", "-c", "edge.toml")
	p.WaitLine(`"msg":"listening".*"section":"admin"`)
	u.shared("", address)
	other := testutil.Start(t, testutil.Command{Path: "/bin/sleep", Args: []string{"1000"}, Files: u.files})
	for _, f := range u.files {
		f.Close()
	}
	other.Signal(syscall.SIGSTOP)
	want := fmt.Sprintf("sleep, process %d, listens on %s too and gets a part of the connections, which wait: it is "+
		"stopped: kill -CONT %[1]d, or kill -KILL %[1]d", other.PID(), address)
	var out string
	testutil.Eventually(t, testutil.Minutes, func() bool { // what was found before holds for 5 s
		_, out = in(t, dir, "status")
		return strings.Count(out, "  foreign  ") == 1 && strings.Contains(out, want)
	}, "named")
	if t.Failed() {
		t.Log(out)
	}
	var st admin.Status
	if _, out := in(t, dir, "status", "--json"); json.Unmarshal([]byte(out), &st) != nil || len(st.Foreign) != 1 ||
		st.Foreign[0] != (admin.ForeignSocket{Address: address, PID: other.PID(), Name: "sleep", Stopped: true}) {
		t.Errorf("%s", out)
	}
}

// Variables for another process are ignored, and the event log has the reason.
func TestRun_socketActivationOfAnother(t *testing.T) {
	t.Parallel()
	u, dir := &units{t: t}, t.TempDir()
	u.tcp("web", "127.0.0.1:0")
	u.configure(dir, "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n")
	command := u.command("own", dir, "run", "-c", "edge.toml")
	command.Env = append(command.Env, "LISTEN_PID=1")
	p := testutil.Start(t, command)
	p.WaitLine(`"sockets of a supervisor are ignored".*LISTEN_PID=1, and this is process \d+","try":"start edge itself`)
	address := listens(p)
	answersWith(t, "http://"+address, http.StatusNoContent)
}
