package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// locked is an edge that is locked down, with a folder for each purpose.
type locked struct {
	*testutil.Process
	t           *testing.T
	dir         string
	pki         *testutil.Authority
	plain, tls  string // addresses
	origin      string
	filters     string // of seccomp that the first process had
	mode, route string // of the configuration
	more        string // at its end
}

const lockedText = `lockdown = %s
include = ["conf.d/*.toml"]
error_log = "DIR/log/error.log"
log_level = "debug"
pid_file = "DIR/run/edge.pid"
upgrade_sock = "DIR/run/upgrade.sock"
threads = 2
log.output = ["DIR/log/access.log"]
[admin]
listen = "unix:DIR/run/admin.sock"
[[certificates]]
cert = "DIR/certs/site.pem"
key = "DIR/certs/site.key"
[[listeners]]
name = "plain"
listen = "%s"
[[listeners]]
name = "secure"
listen = "%s"
tls = true
[[routes]]
pattern = %q
dest = "status:204"
[[routes]]
pattern = "/*"
dest = "ORIGIN"
%s
`

// newLocked makes the folders, with bin as the program.
func newLocked(t *testing.T, bin, mode string) *locked {
	t.Helper()
	l := &locked{t: t, dir: realPath(t, t.TempDir()), pki: testutil.NewAuthority(t), plain: testutil.FreeAddr(t),
		tls: testutil.FreeAddr(t), mode: mode, route: "/one", origin: origin(t)}
	for _, name := range []string{"bin", "conf/conf.d", "log", "run", "certs", "elsewhere"} {
		testutil.Must(t, os.MkdirAll(filepath.Join(l.dir, name), 0o700))
	}
	l.install("bin/edge", bin)
	l.pki.IssueTo(t, filepath.Join(l.dir, "certs"), "site", nil, "127.0.0.1")
	l.configure()
	return l
}

// install puts a copy of bin in place, by a rename.
func (l *locked) install(name, bin string) {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	text, err := os.ReadFile(bin)
	if err == nil {
		testutil.WriteProgram(l.t, path+".new", text)
		err = os.Rename(path+".new", path)
	}
	testutil.Must(l.t, err)
}

func (l *locked) path(name string) string { return filepath.Join(l.dir, name) }

// configure writes the configuration as an editor does: by a rename.
func (l *locked) configure() {
	l.t.Helper()
	text := fmt.Sprintf(lockedText, l.mode, l.plain, l.tls, l.route, l.more)
	text = strings.NewReplacer("DIR", l.dir, "ORIGIN", l.origin).Replace(text)
	path := l.path("conf/edge.toml")
	testutil.Must(l.t, os.WriteFile(path+"~", []byte(text), 0o600))
	testutil.Must(l.t, os.Rename(path+"~", path))
}

func (l *locked) start() {
	l.t.Helper()
	l.Process = testutil.Start(l.t, testutil.Command{Path: l.path("bin/edge"), Dir: l.dir,
		Args: []string{"run", "-c", "conf/edge.toml"}})
	l.t.Cleanup(func() {
		if pid := l.serving(); pid > 0 && pid != l.PID() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	listening(l.t, l.path("log/error.log"))
}

// serving returns the process that the pid file names; 0: none.
func (l *locked) serving() int {
	text, _ := os.ReadFile(l.path("run/edge.pid"))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// reload has the process read the configuration, and waits for a further line of the error log with text.
func (l *locked) reload(text string) {
	l.t.Helper()
	l.signal(syscall.SIGHUP, text)
}

func (l *locked) signal(sig syscall.Signal, text string) {
	l.t.Helper()
	log := l.path("log/error.log")
	before, _ := os.ReadFile(log)
	testutil.Must(l.t, syscall.Kill(l.serving(), sig))
	testutil.Eventually(l.t, testutil.Minutes, func() bool {
		now, _ := os.ReadFile(log)
		return len(now) >= len(before) && strings.Contains(string(now[len(before):]), text)
	}, "the error log says %q", text)
}

// serial returns the serial number of the certificate that clients are shown.
func (l *locked) serial() string {
	l.t.Helper()
	c, err := tls.Dial("tcp", l.tls, &tls.Config{InsecureSkipVerify: true})
	testutil.Must(l.t, err)
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// serves asks over both listeners, for the origin and for the route.
func (l *locked) serves() {
	l.t.Helper()
	for _, url := range []string{"http://" + l.plain, "https://" + l.tls} {
		if out := curlWith(l.t, "-k", url+"/"); out != demoText {
			l.t.Errorf("%s/: %q", url, out)
		}
		if out := curlWith(l.t, "-k", "-o", os.DevNull, "-w", "%{http_code}", url+l.route); out != "204" {
			l.t.Errorf("%s%s: %s", url, l.route, out)
		}
	}
}

// limited returns what the error log says is limited.
func (l *locked) limited() string {
	l.t.Helper()
	text, _ := os.ReadFile(l.path("log/error.log"))
	_, rest, _ := strings.Cut(string(text), `"msg":"locked down","limited":"`)
	limited, _, _ := strings.Cut(rest, `"`)
	return limited
}

// needsFiles skips a test of files and ports where the kernel does not limit them.
func (l *locked) needsFiles() {
	l.t.Helper()
	if got := l.limited(); !strings.Contains(got, "files") || !strings.Contains(got, "ports") {
		text, _ := os.ReadFile(l.path("log/error.log"))
		l.t.Skipf("limited are %s alone: %s", got, text)
	}
}

// hasMarks checks that every thread of the process has the marks of a lockdown, and that an upgrade adds none.
func (l *locked) hasMarks() {
	l.t.Helper()
	if l.filters == "" {
		l.filters = threadsOf(l.t, l.serving(), "Seccomp_filters")[0]
	}
	for field, want := range map[string]string{"NoNewPrivs": "1", "Seccomp": "2", "Seccomp_filters": l.filters} {
		for _, got := range threadsOf(l.t, l.serving(), field) {
			if got != want {
				l.t.Errorf("%s of a thread: %s, want %s", field, got, want)
			}
		}
	}
}

// goesOn does what a process does in its life: it serves, reloads, takes a renewed certificate, opens its logs again
// and is upgraded twice, the second time by a process that was locked down from its start.
func (l *locked) goesOn() {
	l.t.Helper()
	l.serves()
	l.hasMarks()
	was := l.serial()
	l.pki.IssueTo(l.t, l.path("certs"), "site", nil, "127.0.0.1")
	l.route = "/two"
	l.configure()
	l.reload(`"msg":"configuration reloaded"`)
	l.serves()
	if l.serial() == was {
		l.t.Error("the renewed certificate is not shown")
	}
	for range 2 {
		testutil.Must(l.t, os.Rename(l.path("log/access.log"), l.path("log/access.log.1")))
		l.signal(syscall.SIGUSR1, "log files opened again")
		l.serves()
		testutil.Eventually(l.t, testutil.Minutes, says(l.path("log/access.log"), "/two"), "a new log is written")
		before := l.serving()
		l.install("bin/edge", l.path("bin/edge"))
		if code, out := in(l.t, l.path("conf"), "upgrade"); code != 0 || l.serving() == before {
			l.t.Fatalf("upgrade: %d %s", code, out)
		}
		l.serves()
		l.hasMarks()
	}
	l.route = "/three"
	l.configure()
	l.reload(`"msg":"configuration reloaded"`)
	l.serves()
	l.signal(syscall.SIGINT, `"msg":"stopped"`)
}

func TestLockdown_goesOn(t *testing.T) {
	t.Parallel()
	l := newLocked(t, testutil.Binary(t, "./cmd/edge"), "true")
	l.start()
	if got := l.limited(); !strings.Contains(got, "system calls") {
		t.Errorf("limited: %s", got)
	}
	l.needsFiles()
	l.goesOn()
}

// What is out of reach is refused with its place, before anything changes.
func TestLockdown_outOfReach(t *testing.T) {
	t.Parallel()
	bin := testutil.Binary(t, "./cmd/edge")
	l := newLocked(t, bin, `"strict"`)
	probe := newLocked(t, bin, "true")
	probe.start()
	probe.needsFiles()
	l.start()
	_, port, _ := net.SplitHostPort(testutil.FreeAddr(t))
	outside := l.path("elsewhere/more.toml")
	testutil.Must(t, os.WriteFile(outside, nil, 0o600))
	for _, c := range []struct{ more, want string }{
		{"[[listeners]]\nname = \"x\"\nlisten = \"127.0.0.1:" + port + "\"",
			"conf/edge.toml:29:10: error: listener x: lockdown does not let the process bind port " + port},
		{"[[routes]]\npattern = \"/log\"\ndest = \"status:200\"\naccess_log = \"DIR/elsewhere/a.log\"",
			"conf/edge.toml:27:1: error: access_log: lockdown does not let the process write "},
		{"[global]\nca_file = \"DIR/elsewhere/ca.pem\"", `ca.pem\": permission denied","hint":"the process is locked`},
	} {
		l.pki.Write(t, l.path("elsewhere/ca.pem"))
		l.more = c.more
		l.configure()
		l.reload(c.want)
		commands(t, l.path("conf"), command{"diff", 1, "edge run --upgrade"})
		commands(t, l.path("conf"), command{"upgrade", 1, "conf/edge.toml"})
	}
	l.more = ""
	l.configure()
	testutil.Must(t, os.Symlink(outside, l.path("conf/conf.d/more.toml")))
	l.reload(`permission denied","hint":"the process is locked down: a restart`)
	testutil.Must(t, os.Remove(l.path("conf/conf.d/more.toml")))
	l.reload(`"msg":"configuration reloaded`)
	l.install("elsewhere/edge", bin)
	code, out := in(t, l.path("conf"), "upgrade", l.path("elsewhere/edge"))
	if code != 1 || !strings.Contains(out, "lockdown does not let the process start it") {
		t.Errorf("another program: %d %s", code, out)
	}
	l.serves()
}

// A process that was started from outside is not limited by the one before: it locks itself down anew.
func TestLockdown_upgradeFromOutside(t *testing.T) {
	t.Parallel()
	l := newLocked(t, testutil.Binary(t, "./cmd/edge"), "true")
	l.start()
	l.needsFiles()
	l.more = "[[routes]]\npattern = \"/log\"\ndest = \"status:200\"\naccess_log = \"DIR/elsewhere/a.log\""
	l.configure()
	l.reload("lockdown does not let the process write")
	before := l.serving()
	next := testutil.Start(t, testutil.Command{Path: l.path("bin/edge"), Dir: l.dir,
		Args: []string{"run", "--upgrade", "-c", "conf/edge.toml"}})
	testutil.Eventually(t, testutil.Minutes, func() bool { return l.serving() == next.PID() }, "it takes over")
	l.serves()
	l.hasMarks()
	if before == l.serving() {
		t.Error("the process is the one before")
	}
	if out := curlWith(t, "-o", os.DevNull, "-w", "%{http_code}", "http://"+l.plain+"/log"); out != "200" {
		t.Errorf("/log: %s", out)
	}
	testutil.Eventually(t, testutil.Minutes, says(l.path("elsewhere/a.log"), "/log"), "it logs elsewhere")
	stopsWell(t, next)
}

// With "strict" a process that cannot be limited as a whole does not start: a build with cgo is one.
func TestLockdown_strict(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("links a binary of its own")
	}
	bin := filepath.Join(t.TempDir(), "edge")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "./cmd/edge")
	build.Dir, build.Env = testutil.Root(t), append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l := newLocked(t, bin, `"strict"`)
	for command, want := range map[string]string{
		"run": `lockdown = "strict": `, "check": `error: lockdown = "strict": `,
	} {
		run := exec.CommandContext(t.Context(), bin, command, "-c", l.path("conf/edge.toml"))
		run.Dir = l.dir
		out, err := run.CombinedOutput()
		if !strings.Contains(string(out), want) || err == nil || strings.Contains(string(out), "OK") {
			t.Errorf("edge %s: %v, want %q in\n%s", command, err, want, out)
		}
	}
	if _, err := os.Stat(l.path("run/edge.pid")); err == nil {
		t.Error("the pid file is left")
	}
}

func TestCheck_lockdown(t *testing.T) {
	t.Parallel()
	l := newLocked(t, testutil.Binary(t, "./cmd/edge"), "true")
	code, out := in(t, l.dir, "check", "-c", "conf/edge.toml")
	for _, want := range []string{"configuration OK", "locked down it may read: ", l.dir + "/certs",
		"locked down it may write: ", l.dir + "/log, " + l.dir + "/run", "locked down it may bind TCP ports: "} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%d, no %q in %s", code, want, out)
		}
	}
	l.mode = `"stric"`
	l.configure()
	commands(t, l.dir, command{"check -c conf/edge.toml", 1, `"lockdown" must be true, false or "strict"`})
}
