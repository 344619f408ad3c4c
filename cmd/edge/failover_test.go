package main

import (
	"fmt"
	"regexp"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// While all backends of an upstream are killed the clients get the answers of its failover, and none fails. They get
// those of the first again when one of its backends is back: found by connections alone, and by checks.
func TestRun_failover(t *testing.T) {
	for name, check := range map[string]string{
		"by connections": "", "by checks": `health_check = { type = "tcp", interval = "50ms", rise = 1, fall = 1 }`,
	} {
		t.Run(name, func(t *testing.T) {
			one, at := demoBackend(t, "127.0.0.1:0")
			two, next := demoBackend(t, "127.0.0.1:0")
			_, other := demoBackend(t, "127.0.0.1:0")
			e := runIn(t, folder(t, map[string]string{"edge.toml": fmt.Sprintf(`
log.output = []
listeners = [{ listen = "127.0.0.1:0" }]
upstream_defaults.host = "backend"
[upstreams.first]
backends = [{ address = %q }, { address = %q }]
failover = "other"
%s
[upstreams.other]
backends = [{ address = %q }]
[[routes]]
pattern = "/*"
dest = "first"
`, at, next, check, other)}), "run", "-c", "edge.toml")
			url := "http://" + e.addr + "/echo"
			from := func() string {
				return regexp.MustCompile(`Host: (\S+)`).FindStringSubmatch(curlWith(t, "-f", url) + "Host: nobody")[1]
			}
			if got := from(); got != at && got != next {
				t.Errorf("answered by %s, want %s or %s", got, at, next)
			}
			g := startGetters(url, 2)
			g.more(t, 100)
			one.Signal(syscall.SIGKILL)
			g.more(t, 100)
			two.Signal(syscall.SIGKILL)
			one.Wait(testutil.Minutes)
			two.Wait(testutil.Minutes)
			if got := from(); got != other {
				t.Errorf("answered by %s, want %s", got, other)
			}
			g.more(t, 200)
			demoBackend(t, at)
			testutil.Eventually(t, testutil.Minutes, func() bool { return from() == at })
			g.more(t, 100)
			g.end(t)
		})
	}
}
