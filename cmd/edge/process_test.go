package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// listening waits for the first address in an error log that is a file.
func listening(t *testing.T, log string) (addr string) {
	t.Helper()
	testutil.Eventually(t, testutil.Minutes, func() bool {
		text, _ := os.ReadFile(log)
		_, rest, _ := strings.Cut(string(text), `"msg":"listening"`)
		_, rest, _ = strings.Cut(rest, `"address":"`)
		addr, _, _ = strings.Cut(rest, `"`)
		return addr != ""
	}, "%s says where it listens", log)
	return addr
}

// says tells whether a file holds a text.
func says(path, text string) func() bool {
	return func() bool {
		b, _ := os.ReadFile(path)
		return strings.Contains(string(b), text)
	}
}

// realPath returns a path as the kernel shows it.
func realPath(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	testutil.Must(t, err)
	return path
}

// All relative paths begin at working_directory, but those that lead to the configuration. A reload finds what the
// start has found.
func TestRun_workingDirectory(t *testing.T) {
	dir, work := t.TempDir(), realPath(t, t.TempDir())
	testutil.NewAuthority(t).IssueTo(t, dir, "site", nil, "127.0.0.1")
	const text = `working_directory = %q
pid_file = "edge.pid"
error_log = "error.log"
log_level = "${file:level}"
https = { listen = "127.0.0.1:0", cert = "site.pem", key = "site.key" }
log.output = ["access.log"]
[[routes]]
pattern = %q
dest = "status:204"
`
	file := filepath.Join(dir, "edge.toml")
	putFile(t, file, text, work, "/one")
	putFile(t, filepath.Join(dir, "level"), "info")
	p := launch(t, dir, "run", "-c", "edge.toml")
	log := filepath.Join(work, "error.log")
	url := "https://" + listening(t, log)
	testutil.Eventually(t, testutil.Minutes, says(filepath.Join(work, "edge.pid"), fmt.Sprintln(p.PID())), "its number")
	if at, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.PID())); err != nil || at != work {
		t.Errorf("it works in %s, %v", at, err)
	}
	putFile(t, file, text, work, "/two")
	p.Signal(syscall.SIGHUP)
	testutil.Eventually(t, testutil.Minutes, says(log, `"msg":"configuration reloaded"`), "it reloads")
	if out := curlWith(t, "-k", "-o", os.DevNull, "-w", "%{http_code}", url+"/two"); out != "204" {
		t.Errorf("after the reload: %s", out)
	}
	putFile(t, file, text, dir, "/two")
	p.Signal(syscall.SIGHUP)
	testutil.Eventually(t, testutil.Minutes, says(log, `"keys":["working_directory"]`), "it says what waits")
	stopsWell(t, p)
	if left, _ := os.ReadDir(dir); len(left) != 4 {
		t.Errorf("in the folder of the configuration there are %v", left)
	}
}

func TestRun_workingDirectoryThatIsMissing(t *testing.T) {
	file := write(t, "http.listen = \"127.0.0.1:0\"\nworking_directory = \"/none/such\"\n")
	commands(t, "", command{"run -c " + file, 1, `edge.toml:2:21: error: cannot use "/none/such"`})
}

// nobody returns the numbers of a user without rights; it skips a test that root does not run.
func nobody(t *testing.T) (uid, gid int) {
	t.Helper()
	const needed = 1<<0 | 1<<1 | 1<<6 | 1<<7 // CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_SETGID, CAP_SETUID
	rights, err := strconv.ParseUint(threadsOf(t, os.Getpid(), "CapEff")[0], 16, 64)
	if os.Geteuid() != 0 || err != nil || rights&needed != needed {
		t.Skip("only root can become somebody else")
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	uid, _ = strconv.Atoi(u.Uid)
	gid, _ = strconv.Atoi(u.Gid)
	return uid, gid
}

// owned makes a folder that belongs to a user and that he can reach.
func owned(t *testing.T, uid, gid int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "edge")
	testutil.Must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	for above := filepath.Dir(dir); above != "/"; above = filepath.Dir(above) {
		if at, err := os.Stat(above); err != nil || at.Mode()&1 == 0 {
			t.Skipf("%s is closed to others", above)
		}
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Skip(err)
	}
	return dir
}

// binaryIn makes a link to edge in dir, which a user may reach that cannot reach the folder of the tests.
func binaryIn(t *testing.T, dir string) (bin string) {
	t.Helper()
	bin = filepath.Join(dir, "edge")
	if err := os.Link(testutil.Binary(t, "./cmd/edge"), bin); err != nil {
		t.Skip(err)
	}
	return bin
}

// as is a command of a user, in the folder of the program.
func as(uid, gid int, bin string, args ...string) *exec.Cmd {
	cmd := exec.Command(bin, args...)
	cmd.Dir = filepath.Dir(bin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return cmd
}

// lowAddr returns an address of this process alone with a free port that only root may bind; "" where there is none.
func lowAddr() string {
	pid := os.Getpid()
	for port := 1023; port > 900; port-- {
		addr := fmt.Sprintf("127.%d.%d.%d:%d", 1+pid>>16&0x3f, pid>>8&0xff, pid&0xff, port)
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	return ""
}

// threadsOf returns a line of the status of every thread of a process.
func threadsOf(t *testing.T, pid int, field string) (lines []string) {
	t.Helper()
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		_, rest, _ := strings.Cut(string(text), "\n"+field+":")
		line, _, _ := strings.Cut(rest, "\n")
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	if len(lines) == 0 {
		t.Fatal("it has no threads")
	}
	return lines
}

// hasRights checks that every thread of a process is a user, and has no right of root.
func hasRights(t *testing.T, pid, uid, gid int) {
	t.Helper()
	for field, want := range map[string]string{
		"Uid": fmt.Sprintf("%[1]d %[1]d %[1]d %[1]d", uid), "Gid": fmt.Sprintf("%[1]d %[1]d %[1]d %[1]d", gid),
		"CapEff": "0000000000000000", "CapPrm": "0000000000000000",
	} {
		for _, got := range threadsOf(t, pid, field) {
			if got != want {
				t.Errorf("%s of a thread: %s, want %s", field, got, want)
			}
		}
	}
	for _, got := range threadsOf(t, pid, "Groups") {
		if slices.Contains(strings.Fields(got), "0") {
			t.Errorf("a thread has the groups %s", got)
		}
	}
}

// Every thread is that user, with no right of root left; what needs them was done before, and what comes after works.
func TestRun_becomesTheUser(t *testing.T) {
	uid, gid := nobody(t)
	dir := owned(t, uid, gid)
	listen := []string{"127.0.0.1:0", "unix:" + filepath.Join(dir, "s")}
	if low := lowAddr(); low != "" {
		listen[0] = low
	}
	const text = `user = "nobody"
working_directory = %q
pid_file = "edge.pid"
error_log = "error.log"
http.listen = ["%s"]
log.output = ["access.log"]
[[routes]]
pattern = %q
dest = "status:204"
`
	file, log := filepath.Join(dir, "edge.toml"), filepath.Join(dir, "error.log")
	put := func(path string) {
		t.Helper()
		putAs(t, file, 0o644, fmt.Appendf(nil, text, dir, strings.Join(listen, `", "`), path))
	}
	put("/one")
	p := launch(t, "", "run", "-c", file)
	url := "http://" + listening(t, log)
	answers(t, url+"/one")
	hasRights(t, p.PID(), uid, gid)
	for _, name := range []string{"error.log", "access.log", "s"} {
		at, err := os.Stat(filepath.Join(dir, name))
		testutil.Must(t, err)
		if st := at.Sys().(*syscall.Stat_t); int(st.Uid) != uid || int(st.Gid) != gid {
			t.Errorf("%s belongs to %d and %d", name, st.Uid, st.Gid)
		}
	}
	put("/two")
	p.Signal(syscall.SIGHUP)
	testutil.Eventually(t, testutil.Minutes, says(log, `"msg":"configuration reloaded"`), "it reloads")
	answers(t, url+"/two")
	testutil.Must(t, os.Rename(log, log+".1"))
	p.Signal(syscall.SIGUSR1)
	testutil.Eventually(t, testutil.Minutes, says(log, "opened again"), "the log is opened again")
	stopsWell(t, p)
	for _, name := range []string{"edge.pid", "s"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
}

func unprivilegedPort() string {
	b, _ := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	return strings.TrimSpace(string(b))
}

// A reload cannot do what only root may do: it fails, and what was before goes on.
func TestRun_reloadAsTheUser(t *testing.T) {
	uid, gid := nobody(t)
	dir := owned(t, uid, gid)
	low := lowAddr()
	if low == "" {
		t.Skip("no port below 1024 is free")
	}
	if unprivilegedPort() != "1024" {
		t.Skip("everybody may bind low ports here")
	}
	file := filepath.Join(dir, "edge.toml")
	const text = "user = \"nobody\"\nhttp.listen = [\"127.0.0.1:0\"%s]\nlog.output = []\n" +
		"[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n"
	put := func(more string) {
		t.Helper()
		putAs(t, file, 0o644, fmt.Appendf(nil, text, more))
	}
	put("")
	p := launch(t, "", "run", "-c", file)
	addr := listens(p)
	put(`, "` + low + `"`)
	p.Signal(syscall.SIGHUP)
	p.WaitLine(`reload failed, nothing has changed.*edge.toml:2:\d+: listener .*` + low +
		`.*permission denied","try":".*setcap`)
	answersWith(t, "http://"+addr+"/", 204)
}

// A user other than root cannot become another one: edge refuses before it opens anything, and serves as itself.
func TestRun_userWithoutRoot(t *testing.T) {
	uid, gid := nobody(t)
	dir := owned(t, uid, gid)
	bin := binaryIn(t, dir)
	with := func(set string) *exec.Cmd {
		return as(uid, gid, bin, "run", "--set", "http.listen=127.0.0.1:0", "--set", "pid_file=edge.pid", "--set", set)
	}
	out, err := with("user=root").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "only root can become somebody else") {
		t.Errorf("%v %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "edge.pid")); err == nil {
		t.Error("it made a pid file")
	}
	if low := lowAddr(); low != "" && unprivilegedPort() == "1024" {
		if out, err := with("http.listen=" + low).CombinedOutput(); err == nil ||
			!strings.Contains(string(out), "setcap cap_net_bind_service=+ep "+realPath(t, bin)) {
			t.Errorf("on a low port: %v %s", err, out)
		}
	}
	same := with("user=nobody")
	testutil.Must(t, same.Start())
	t.Cleanup(func() {
		_ = same.Process.Kill()
		_ = same.Wait()
	})
	testutil.Eventually(t, testutil.Minutes, says(filepath.Join(dir, "edge.pid"), "\n"), "it serves as nobody")
}
