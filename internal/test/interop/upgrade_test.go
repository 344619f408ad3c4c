package interop

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// upgradable returns keys by which an edge can be upgraded, the beginning of [global], and a function that returns the
// process that serves. The last one ends with the test.
func upgradable(t *testing.T) (keys string, serving func() int) {
	t.Helper()
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "edge.pid")
	serving = func() int {
		text, _ := os.ReadFile(pidFile)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return pid
	}
	t.Cleanup(func() {
		if pid := serving(); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it writes to the output of the first one
		}
	})
	keys = fmt.Sprintf("[global]\npid_file = %q\nupgrade_sock = %q\n", pidFile, filepath.Join(dir, "upgrade.sock"))
	return keys, serving
}

// upgrade has a new process take over, and returns the one before.
func (e *edge) upgrade(t *testing.T, serving func() int) (before int) {
	t.Helper()
	before = serving()
	out, err := exec.Command(testutil.Binary(t, "./cmd/edge"), "upgrade", "-c", e.file).CombinedOutput()
	if err != nil || serving() == before {
		t.Fatalf("%v: %s", err, out)
	}
	return before
}

// A new process takes over while clients of all kinds ask and WebSockets are open: no request and no message is lost.
// The process before drains until the WebSockets end. EDGE_SOAK=1 does it ten times.
func TestUpgrade_underLoad(t *testing.T) {
	times := 1
	if soak() {
		times = 10
	}
	keys, serving := upgradable(t)
	e := startEdge(t, "%s%sgrace_period = \"5m\"\n", reloading(0, steady(t), steady(t)), keys)
	requests, messages := int64(0), 0
	for range times {
		c := newCrowd(t)
		c.ask(8, "http://"+e.plain+"/", e.over("http/1.1"))
		c.ask(4, "http://"+e.h2c+"/", func() *http.Client { return testutil.H2C(t) })
		c.ask(4, "https://"+e.secure+"/", e.over("http/1.1"))
		c.ask(4, "https://"+e.secure+"/", e.over("h2"))
		for range 4 {
			c.chat(t, "ws://"+e.plain+"/ws", e.over("http/1.1")())
			c.chat(t, "wss://"+e.secure+"/ws", e.over("http/1.1")())
			messages++
		}
		more := func() {
			served := c.served.Load()
			testutil.Eventually(t, testutil.Minutes, func() bool {
				return c.served.Load() > served+200 || c.failed.Load() > 0
			})
		}
		more()
		e.upgrade(t, serving)
		more()
		c.leave(t)
		requests += c.served.Load()
		processes := strings.Count(e.Output(), `"msg":"upgrading"`)
		testutil.Eventually(t, testutil.Minutes, func() bool {
			return strings.Count(e.Output(), `"msg":"stopped"`) == processes
		}, "the process before ends")
	}
	t.Logf("%d requests over %d upgrades, with %d WebSockets", requests, times, 2*messages)
	if text := e.Output(); strings.Contains(text, "connections_cut") {
		t.Error(fmt.Sprint("connections were cut: ", text))
	}
}
