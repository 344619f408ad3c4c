package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The parent hands on a reload and the end, takes little memory, and has the exit code of the service.
func TestRun_supervise(t *testing.T) {
	t.Parallel()
	const text = "http.listen = \"127.0.0.1:0\"\ngrace_period = \"1s\"\n" +
		"routes = [{ pattern = \"/*\", dest = \"status:%d\" }]\n"
	file := write(t, text, 204)
	p := launch(t, "", "run", "--supervise", "-c", file)
	url := "http://" + listens(p)
	putFile(t, file, text, 404)
	p.Signal(syscall.SIGHUP)
	p.WaitLine("configuration reloaded")
	answersWith(t, url, 404)
	if !testutil.RaceOn {
		testutil.Eventually(t, testutil.Minutes, func() bool { return resident(t, p.PID()) <= 6<<10 },
			"the parent has 6 MiB of resident memory at most")
	}
	stopsWell(t, p)
	if !strings.Contains(p.Output(), `"msg":"stopped"`) {
		t.Error("the service did not end by itself")
	}
	for args, want := range map[string]int{
		"run --supervise -c /none.toml": exitError, "--supervise -d": exitUsage, "run -d --supervise": exitUsage,
	} {
		p := launch(t, "", strings.Fields(args)...)
		if code := p.Wait(testutil.Minutes); code != want {
			t.Errorf("edge %s ends with %d, want %d", args, code, want)
		}
	}
}

// resident returns the resident memory of a process, in KiB.
func resident(t *testing.T, pid int) int { return memoryOf(t, pid, "VmRSS") }

// memoryOf returns a size in KiB from the status of a process.
func memoryOf(t *testing.T, pid int, name string) int {
	t.Helper()
	text := textOf(t, fmt.Sprintf("/proc/%d/status", pid))
	m := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+) kB$`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("%s", text)
	}
	kib, _ := strconv.Atoi(m[1])
	return kib
}

// As process 1 of its own namespace it works as in a container: there a signal that is not handled does nothing, and
// what loses its parent is its child.
func TestRun_superviseAsProcess1(t *testing.T) {
	t.Parallel()
	unshare := []string{"unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "--map-root-user")
	}
	if out, err := exec.Command(unshare[0], append(unshare[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("no namespaces here: %v %s", err, out)
	}
	path, err := exec.LookPath(unshare[0])
	testutil.Must(t, err)
	p := testutil.Start(t, testutil.Command{Path: path, Args: append(unshare[1:],
		testutil.Binary(t, "./cmd/edge"), "run", "--supervise", "--set", "http.listen=127.0.0.1:0")})
	p.WaitLine(`"msg":"listening"`)
	children := textOf(t, fmt.Sprintf("/proc/%d/task/%d/children", p.PID(), p.PID()))
	first, err := strconv.Atoi(strings.TrimSpace(children))
	testutil.Must(t, err)
	testutil.Must(t, syscall.Kill(first, syscall.SIGTERM))
	p.WaitLine(`"msg":"stopped"`)
	endsWell(t, p)
}

// Go takes the soft limit of descriptors back for its children, and each edge raises its own again.
func TestRun_superviseKeepsDescriptors(t *testing.T) {
	t.Parallel()
	p := testutil.Start(t, testutil.Command{Path: "/bin/sh", Args: []string{"-c",
		`ulimit -Sn 300 && ulimit -Hn 1000 && exec "$0" run --supervise --set http.listen=127.0.0.1:0`,
		testutil.Binary(t, "./cmd/edge")}})
	pid := p.WaitLine(`"msg":"starting".*"pid":(\d+)`)[1]
	p.WaitLine(`"msg":"listening"`)
	limits := textOf(t, "/proc/"+pid+"/limits")
	if !regexp.MustCompile(`Max open files +(999|1000) +1000`).MatchString(limits) {
		t.Errorf("%s", limits)
	}
	p.WaitLine(`"msg":"few file descriptors.*"limit":(999|1000)`)
	stopsWell(t, p)
}
