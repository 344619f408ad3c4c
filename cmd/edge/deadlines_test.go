package main

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The keys of deadlines and of tunnels take effect.
func TestRun_deadlinesAndTunnels(t *testing.T) {
	t.Parallel()
	l := testutil.Listen(t)
	e := start(t, `
[network]
listen = "127.0.0.1:0"
limits = { half_close_wait = "0s", min_rate = "1k/s" }
[log]
output = ["stdout"]
[[routes]]
pattern = "/total"
dest = "%[1]s"
timeouts = { total = "100ms" }
[[routes]]
pattern = "/*"
dest = "%[1]s"
upgrades = ["mqtt"]
timeouts = { idle = "1s" }
`, l.Addr())
	ask := func(path, fields string) (down, up *testutil.Wire) {
		down = testutil.Dial(t, e.addr)
		down.Send("GET " + path + " HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n")
		return down, testutil.Accept(t, l)
	}
	down, up := ask("/total", "")
	if resp, _ := down.ReadResponse("GET"); resp.StatusCode != 504 {
		t.Error(resp.Status)
	}
	up.ReadAll() // of the request, if there was time for it
	e.WaitLine(`"status":504,"reason":"edge:total"`)

	down, up = ask("/left", "")
	up.ReadHead()
	down.CloseWrite()
	up.WantEnd()
	e.WaitLine(`"status":499,"reason":"client:gone"`)

	down, up = ask("/tunnel", "Connection: Upgrade\r\nUpgrade: mqtt\r\n")
	up.ReadHead()
	up.Send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: mqtt\r\n\r\nhello")
	if head := down.ReadHead(); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatalf("%q", head)
	}
	down.Want("hello")
	down.WantEnd()
	up.WantEnd()
	e.WaitLine(`"status":101,"reason":"edge:tunnel_idle"`)
}
