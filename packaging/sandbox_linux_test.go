package packaging

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// ordinary is a user without rights, as in the image; nothing on the machine belongs to it.
const ordinary = 65532

// sandbox is a process in namespaces of its own, as bubblewrap makes them for an ordinary user: a network with nothing
// but a loopback, no right but that to bind ports below 1024, and no way to new ones.
type sandbox struct {
	t       *testing.T
	process *testutil.Process
	dir     string // of this test, for all users to read
}

// startSandbox runs a command line below bubblewrap's options. filter is a program for seccomp; nil: none.
func startSandbox(t *testing.T, options, command []string, filter []byte) *sandbox {
	t.Helper()
	bwrap, _ := tool(t, "bwrap"), tool(t, "nsenter")
	s := &sandbox{t: t, dir: openDir(t)}
	args := []string{bwrap, "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent",
		"--cap-drop", "ALL", "--cap-add", "CAP_NET_BIND_SERVICE", "--info-fd", "3"}
	script := `exec "$@" 3>` + filepath.Join(s.dir, "info")
	if filter != nil {
		path := filepath.Join(s.dir, "filter")
		if err := os.WriteFile(path, filter, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--seccomp", "4")
		script += " 4<" + path
	}
	if os.Geteuid() == 0 {
		user := strconv.Itoa(ordinary)
		args = append([]string{tool(t, "setpriv"), "--reuid", user, "--regid", user, "--clear-groups"}, args...)
	}
	args = slices.Concat(args, options, command)
	probe := exec.Command(bwrap, "--unshare-user", "--ro-bind", "/", "/", "true")
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("this machine allows no namespaces: %v: %s", err, out)
	}
	args = append([]string{"-c", script, "sh"}, args...)
	s.process = testutil.Start(t, testutil.Command{Path: "/bin/sh", Args: args})
	return s
}

// openDir returns a directory of the test in which all users find files.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil { //nolint:gosec // the sandbox is of another user
			t.Fatal(err)
		}
	}
	return dir
}

// ofOrdinary gives a new folder to the user of the sandbox.
func ofOrdinary(t *testing.T) string {
	t.Helper()
	dir := openDir(t)
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, ordinary, ordinary); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// program returns edge where all users can run it.
func program(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(testutil.Binary(t, "./cmd/edge"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(openDir(t), "edge")
	testutil.WriteProgram(t, path, text)
	return path
}

// pid returns the process in the sandbox, by its number outside of it.
func (s *sandbox) pid() int {
	s.t.Helper()
	var started struct {
		PID int `json:"child-pid"`
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "info"))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &started); err != nil {
		s.t.Fatalf("%v: %s", err, text)
	}
	return started.PID
}

// inside returns a command that runs in the network of the sandbox.
func (s *sandbox) inside(args ...string) *exec.Cmd {
	enter := []string{"-t", strconv.Itoa(s.pid()), "-U", "--preserve-credentials", "-n"}
	return exec.Command("nsenter", append(enter, args...)...)
}

// get asks for a URL in the network of the sandbox and returns the status and the body.
func (s *sandbox) get(url string) (status, body string) {
	s.t.Helper()
	out, err := s.inside(tool(s.t, "curl"), "-sk", "--noproxy", "*", "--max-time", "10", "-w", "\n%{http_code}",
		url).Output()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", url, err, s.process.Output())
	}
	i := bytes.LastIndexByte(out, '\n')
	return string(out[i+1:]), string(out[:i])
}

// status returns a line of /proc/PID/status.
func (s *sandbox) status(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid()))
	if err != nil {
		s.t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + `:\s*(.*)$`).FindSubmatch(text)
	if m == nil {
		s.t.Fatalf("no %s in\n%s", name, text)
	}
	return string(m[1])
}

// listenNotify listens as systemd does for a unit of Type=notify. What it returns waits for a message with a line.
func listenNotify(t *testing.T, path string) func(line string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := os.Chmod(path, 0o777); err != nil { //nolint:gosec // the sandbox is of another user
		t.Fatal(err)
	}
	return func(line string) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(testutil.Patience)); err != nil {
			t.Fatal(err)
		}
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("no %s: %v", line, err)
			}
			if slices.Contains(strings.Split(string(buf[:n]), "\n"), line) {
				return
			}
		}
	}
}

// An edge that is restricted as the unit says serves, makes its state, logs, reloads and ends.
func TestUnit_sandbox(t *testing.T) {
	u := readUnit(t, unitFile)
	state, logs, run := ofOrdinary(t), ofOrdinary(t), ofOrdinary(t)
	conf, notify := openDir(t), ofOrdinary(t)
	heard := listenNotify(t, filepath.Join(notify, "socket"))
	text, err := os.ReadFile("edge.toml")
	if err != nil {
		t.Fatal(err)
	}
	writeConf := func(text string) {
		//nolint:gosec // the sandbox is of another user
		if err := os.WriteFile(filepath.Join(conf, "edge.toml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	writeConf(string(text))
	options := []string{"--ro-bind", "/", "/", "--tmpfs", "/dev", "--dev-bind", "/dev/null", "/dev/null",
		"--tmpfs", "/tmp", "--tmpfs", "/run", "--tmpfs", "/etc", "--tmpfs", "/var", "--ro-bind", conf, "/etc/edge",
		"--bind", run, "/run/edge", "--bind", notify, "/run/notify", "--bind", state, "/var/lib/edge",
		"--bind", logs, "/var/log/edge", "--ro-bind", program(t), "/run/program/edge",
		"--remount-ro", "/run", "--remount-ro", "/etc", "--remount-ro", "/var",
		"--setenv", "STATE_DIRECTORY", "/var/lib/edge", "--setenv", "NOTIFY_SOCKET", "/run/notify/socket"}
	command := strings.Fields(u["Service.ExecStart"][0])
	command[0] = "/run/program/edge"
	s := startSandbox(t, options, command, u.filter(t))
	heard("READY=1")

	for name, want := range map[string]string{
		"NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0000000000000400", "CapBnd": "0000000000000400",
	} {
		if got := s.status(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	for _, url := range []string{"http://127.0.0.1/", "https://127.0.0.1/", "http://[::1]/any"} {
		if status, body := s.get(url); status != "200" || !strings.Contains(body, "<html") {
			t.Errorf("%s: %s %s", url, status, body)
		}
	}
	number, err := os.ReadFile(filepath.Join(run, "edge.pid"))
	if err != nil || strings.TrimSpace(string(number)) != strconv.Itoa(s.pid()) {
		t.Errorf("pid file %q of %d: %v", number, s.pid(), err)
	}

	// Through a backend: bodies of this size are relayed by splice(2), which the filter must let pass.
	backend := s.inside(program(t), "serve-demo", "--listen", "127.0.0.1:3000")
	if err := backend.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = backend.Process.Kill(), backend.Wait() })
	writeConf(strings.Replace(string(text), `"hello"`, `"127.0.0.1:3000"`, 1))
	if err := unix.Kill(s.pid(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, testutil.Minutes, func() bool {
		status, body := s.get("http://127.0.0.1/bytes/3000000")
		return status == "200" && len(body) == 3000000
	}, "the reload has led to the backend")
	if err := unix.Kill(s.pid(), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	heard("STOPPING=1")
	if code := s.process.Wait(testutil.Minutes); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if log, err := os.ReadFile(filepath.Join(logs, "access.log")); err != nil || bytes.Count(log, []byte("\n")) < 4 {
		t.Errorf("access log: %v\n%s", err, log)
	}
	if made, err := os.ReadDir(state); err != nil || len(made) == 0 {
		t.Errorf("no state was kept: %v", err)
	}
}
