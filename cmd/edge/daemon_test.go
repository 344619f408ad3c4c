package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// runningWith returns the processes that were started with a text in their arguments.
func runningWith(text string) (pids []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), text) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// noneLeft sees to it that no process with the file in its arguments outlives the test.
func noneLeft(t *testing.T, file string) {
	t.Helper()
	t.Cleanup(func() {
		for _, pid := range runningWith(file) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		testutil.Eventually(t, testutil.Minutes, func() bool { return len(runningWith(file)) == 0 }, "all have ended")
	})
}

// daemonize runs a command to its end, which has to let go of its output.
func daemonize(t *testing.T, file string, env []string, args ...string) (code int, out string) {
	t.Helper()
	noneLeft(t, file)
	cmd := exec.Command(testutil.Binary(t, "./cmd/edge"), args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = filepath.Dir(file), append(os.Environ(), env...), testutil.Patience
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || err != nil && cmd.ProcessState.Success() {
		t.Fatalf("%v\n%s", err, text)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// daemonOf returns the process that a pid file names, which has to be the only one of that configuration, with a
// session of its own and nothing of the terminal.
func daemonOf(t *testing.T, file, stderr string) int {
	t.Helper()
	text := textOf(t, filepath.Join(filepath.Dir(file), "edge.pid"))
	pid, _ := strconv.Atoi(strings.TrimSpace(text))
	testutil.Eventually(t, testutil.Minutes, func() bool {
		all := runningWith(file)
		return len(all) == 1 && all[0] == pid
	}, "the process %d is the only one", pid)
	stat := textOf(t, fmt.Sprintf("/proc/%d/stat", pid))
	name, rest, _ := strings.Cut(stat, ") ")
	if want := fmt.Sprintf("%d (%s", pid, filepath.Base(testutil.Binary(t, "./cmd/edge"))); name != want {
		t.Errorf("it is called %s, want %s", name, want)
	}
	if session := strings.Fields(rest)[3]; session != strconv.Itoa(pid) {
		t.Errorf("%d is in the session %s", pid, session)
	}
	for fd, want := range []string{os.DevNull, os.DevNull, stderr} {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)); err != nil || to != want {
			t.Errorf("descriptor %d is %s %v, want %s", fd, to, err, want)
		}
	}
	return pid
}

// answers asks once and leaves no connection that a drain would wait for.
func answers(t *testing.T, url string) {
	t.Helper()
	answersWith(t, url, 204)
}

func answersWith(t *testing.T, url string, want int) {
	t.Helper()
	c := client(t)
	defer c.CloseIdleConnections()
	if resp, _ := testutil.Get(t, c, url); resp.StatusCode != want {
		t.Errorf("%s is answered %d, want %d", url, resp.StatusCode, want)
	}
}

// ends stops a daemon gracefully and looks for files that it left.
func ends(t *testing.T, file string, pid int) {
	t.Helper()
	testutil.Must(t, syscall.Kill(pid, syscall.SIGTERM))
	testutil.Eventually(t, testutil.Minutes, func() bool { return len(runningWith(file)) == 0 }, "%d has ended", pid)
	if _, err := os.Stat(filepath.Join(filepath.Dir(file), "edge.pid")); err == nil {
		t.Error("the pid file is still there")
	}
}

const daemonText = `pid_file = "edge.pid"
grace_period = "1s"
http.listen = %q
log.output = []
[[routes]]
pattern = "/x"
dest = "status:204"
`

// The command ends when the daemon answers, not before: no request is tried twice here.
func TestDaemon_servesWhenTheCommandEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, head string
		args       []string
	}{
		{"letter", "", []string{"-d", "-c"}},
		{"run", "", []string{"run", "--daemon", "-c"}},
		{"key", "daemon = true\n", []string{"run", "-c"}},
		{"fips", "fips = true\ndaemon = true\n", []string{"-d", "-c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr := testutil.FreeAddr(t)
			file := write(t, "%s"+daemonText, c.head, addr)
			code, out := daemonize(t, file, nil, append(c.args, file)...)
			if code != 0 || strings.Count(out, `"msg":"listening","listener"`) != 1 {
				t.Fatalf("exit code %d, and it says\n%s", code, out)
			}
			answers(t, "http://"+addr+"/x")
			ends(t, file, daemonOf(t, file, os.DevNull))
		})
	}
}

// With a file for events, stderr is that file, also after a rotation; and nothing but errors comes to the terminal.
func TestDaemon_errorLog(t *testing.T) {
	addr := testutil.FreeAddr(t)
	file := write(t, "daemon = true\nerror_log = \"error.log\"\n"+daemonText, addr)
	log := filepath.Join(realPath(t, filepath.Dir(file)), "error.log")
	if code, out := daemonize(t, file, nil, "-c", file); code != 0 || out != "" {
		t.Fatalf("exit code %d, and it says\n%s", code, out)
	}
	pid := daemonOf(t, file, log)
	testutil.Must(t, os.Rename(log, log+".1"))
	for sig, want := range map[syscall.Signal]string{
		syscall.SIGUSR1: "log files opened again", syscall.SIGHUP: "configuration reloaded",
	} {
		testutil.Must(t, syscall.Kill(pid, sig))
		testutil.Eventually(t, testutil.Minutes, func() bool {
			return says(log, want)() || says(log+".1", want)()
		}, "%v is obeyed", sig)
	}
	ends(t, file, daemonOf(t, file, log))
}

// The reason why a daemon cannot serve is printed once, on the terminal, and the command fails.
func TestDaemon_thatCannotServe(t *testing.T) {
	t.Parallel()
	taken := testutil.Listen(t).Addr().String()
	for name, c := range map[string]struct{ text, want string }{
		"address": {fmt.Sprintf(daemonText, taken), "address already in use"},
		"file":    {"htp.listen = 1\n", "unknown"},
		"pid":     {"http.listen = \"127.0.0.1:0\"\npid_file = \"none/such\"\n", "error: the folder of"},
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, "%s", c.text)
			code, out := daemonize(t, file, nil, "-d", "-c", file)
			if code != 1 || strings.Count(out, c.want) != 1 {
				t.Errorf("exit code %d, want 1 and %q once in\n%s", code, c.want, out)
			}
			testutil.Eventually(t, testutil.Minutes, func() bool { return len(runningWith(file)) == 0 }, "all ended")
		})
	}
}

// The reason stands in the file of error_log as well.
func TestDaemon_logsWhyItCannotServe(t *testing.T) {
	t.Parallel()
	file := write(t, "error_log = \"error.log\"\n"+daemonText, testutil.Listen(t).Addr())
	code, out := daemonize(t, file, nil, "-d", "-c", file)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(file), "error.log"))
	if err != nil || code != 1 || strings.Count(out, "address already in use") != 1 ||
		!strings.Contains(string(text), `"msg":"start failed","error":"`) ||
		!strings.Contains(string(text), "address already in use") {
		t.Errorf("%v, exit code %d, it says\n%s\nand the log\n%s", err, code, out, text)
	}
}

// Warnings are printed once.
func TestDaemon_warnsOnce(t *testing.T) {
	file := write(t, "daemon = true\npid_file = \"edge.pid\"\nhttp.listen = %q\n", testutil.FreeAddr(t))
	code, out := daemonize(t, file, nil, "-c", file)
	if code != 0 || strings.Count(out, "no-route") != 1 {
		t.Errorf("exit code %d, and it says\n%s", code, out)
	}
	ends(t, file, daemonOf(t, file, os.DevNull))
}

// A daemon ends when its command was killed while it waited, since nobody knows of it. The configuration is a
// pipe, so that the daemon waits for the test.
func TestDaemon_withoutItsCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "edge.toml")
	testutil.Must(t, syscall.Mkfifo(file, 0o600))
	noneLeft(t, file)
	put := func(before func()) {
		t.Helper()
		w, err := os.OpenFile(file, os.O_WRONLY, 0) // returns when somebody reads
		testutil.Must(t, err)
		defer w.Close()
		before()
		if _, err := fmt.Fprintf(w, daemonText, "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	p := launch(t, filepath.Dir(file), "-d", "-c", file)
	put(func() {})
	testutil.Eventually(t, testutil.Minutes, func() bool { return len(runningWith(file)) == 2 }, "it starts again")
	put(func() {
		p.Signal(syscall.SIGKILL)
		testutil.Eventually(t, testutil.Minutes, func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/%d", p.PID()))
			return err != nil // it was waited for, so the pipe is closed
		}, "the command has ended")
	})
	testutil.Eventually(t, testutil.Minutes, func() bool { return len(runningWith(file)) == 0 }, "the daemon ends")
}

// The variable that tells a daemon of its parent is refused from anybody else.
func TestDaemon_variableOfNobody(t *testing.T) {
	file := write(t, "daemon = true\n"+daemonText, "127.0.0.1:0")
	code, out := daemonize(t, file, []string{"EDGE_DAEMON_FD=0"}, "-c", file)
	if code != 1 || !strings.Contains(out, "EDGE_DAEMON_FD is set") {
		t.Errorf("%d %s", code, out)
	}
}

func TestDaemon_becomesTheUser(t *testing.T) {
	uid, gid := nobody(t)
	addr := testutil.FreeAddr(t)
	file := filepath.Join(owned(t, uid, gid), "edge.toml")
	text := fmt.Appendf(nil, "daemon = true\nuser = \"nobody\"\n"+daemonText, addr)
	putAs(t, file, 0o644, text)
	if code, out := daemonize(t, file, nil, "-c", file); code != 0 {
		t.Fatalf("exit code %d, and it says\n%s", code, out)
	}
	pid := daemonOf(t, file, os.DevNull)
	hasRights(t, pid, uid, gid)
	answers(t, "http://"+addr+"/x")
	ends(t, file, pid)
}
