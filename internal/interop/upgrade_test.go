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

	"github.com/edge-proxy/edge/internal/testutil"
)

// A new process takes over while clients of all kinds ask and WebSockets are open: no request and no message is lost.
// The process before drains until the WebSockets end. EDGE_SOAK=1 does it ten times.
func TestUpgrade_underLoad(t *testing.T) {
	times := 1
	if soak() {
		times = 10
	}
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "edge.pid")
	e := startEdge(t, "%s[global]\npid_file = %q\nupgrade_sock = %q\ngrace_period = \"5m\"\n", reloading(0, steady(t),
		steady(t)), pidFile, filepath.Join(dir, "upgrade.sock"))
	serving := func() int {
		text, _ := os.ReadFile(pidFile)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return pid
	}
	t.Cleanup(func() {
		if pid := serving(); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it writes to the output of the first one
		}
	})
	requests, messages := int64(0), 0
	for range times {
		c := newCrowd(t)
		over := func(protocol string) func() *http.Client {
			return func() *http.Client {
				return &http.Client{Transport: &http.Transport{
					TLSClientConfig: e.client(protocol), ForceAttemptHTTP2: protocol == "h2"}}
			}
		}
		c.ask(8, "http://"+e.plain+"/", over("http/1.1"))
		c.ask(4, "http://"+e.h2c+"/", func() *http.Client { return testutil.H2C(t) })
		c.ask(4, "https://"+e.secure+"/", over("http/1.1"))
		c.ask(4, "https://"+e.secure+"/", over("h2"))
		for range 4 {
			c.chat(t, "ws://"+e.plain+"/ws", over("http/1.1")())
			c.chat(t, "wss://"+e.secure+"/ws", over("http/1.1")())
			messages++
		}
		more := func() {
			served := c.served.Load()
			testutil.Eventually(t, testutil.Minutes, func() bool {
				return c.served.Load() > served+200 || c.failed.Load() > 0
			})
		}
		more()
		before := serving()
		out, err := exec.Command(testutil.Binary(t, "./cmd/edge"), "upgrade", "-c", e.file).CombinedOutput()
		if err != nil || serving() == before {
			t.Fatalf("%v: %s", err, out)
		}
		more()
		c.stop()
		c.wait.Wait()
		requests += c.served.Load()
		if n := c.failed.Load(); n > 0 {
			t.Errorf("%d of %d failed, the last one: %v", n, c.served.Load()+n, c.fault.Load())
		}
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
