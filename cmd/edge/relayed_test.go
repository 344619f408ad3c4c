package main

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// relayed is a configuration with an admin surface, and two TCP services with a backend that refuses. One of them has a
// failover.
const relayed = `
log = { output = [] }
[admin]
listen = "unix:%s"
[services.db]
type = "tcp"
listen = "127.0.0.1:0"
dest = "half"
[services.dead]
type = "tcp"
listen = "127.0.0.1:0"
dest = "%[2]s"
[upstreams.half]
backends = [ { address = "%[2]s" } ]
failover = "rest"
[upstreams.rest]
backends = [ { address = "%[3]s" } ]
`

// edge conns shows where a connection of a TCP service leads, and edge why says how it has ended.
func TestRelayed(t *testing.T) {
	t.Parallel()
	refuses := testutil.FreeAddr(t)
	backend := testutil.Serve(t, func(c net.Conn) {
		fmt.Fprint(c, "hi\n")
		io.Copy(io.Discard, c) //nolint:errcheck // the client ends it
		c.Close()
	}).Addr().String()
	e := start(t, relayed, testutil.SocketPath(t), refuses, backend)
	dead := e.WaitLine(`"msg":"listening","listener":"dead","address":"([^"]+)"`)[1]
	e.WaitLine(`"section":"admin"`)
	says := func(want string, args ...string) (out string) {
		t.Helper()
		testutil.Eventually(t, testutil.Patience, func() bool {
			_, out = e.tell(t, args...)
			out = strings.Join(strings.Fields(out), " ")
			return strings.Contains(out, want)
		}, args, "says", want)
		return out
	}
	w := testutil.Dial(t, e.addr)
	w.Send("some bytes")
	w.Want("hi\n")
	says("db tcp active 0 0 - - - "+backend+" 10 3 ", "conns", "--filter", "bytes_in == 10 && backend ~ 127.0.0.1")
	says(`"backend": "`+backend+`"`, "conns", "--json")
	w.CloseWrite()
	w.WantEnd()
	if c, err := net.Dial("tcp", dead); err == nil { // it is reset
		io.Copy(io.Discard, c) //nolint:errcheck
		c.Close()
	}
	says("502 backend:connect - "+refuses+" 1 127.0.0.1:", "why")
	list := says("200 - - "+backend+" 2 127.0.0.1:", "why")
	for _, m := range regexp.MustCompile(`([0-9a-f]{32}) \S+ \S+ \S+ (\d+)`).FindAllStringSubmatch(list, -1) {
		want := []string{"connection " + m[1] + " began", ", TCP, service db upstream rest",
			"attempt 1 " + refuses + ": backend:connect", "attempt 2 " + backend + ": connected",
			"moved 10 bytes in, 3 bytes out", "why Both sides have ended it, ", "The first of 2 attempts failed: " +
				refuses + ", backend:connect (The backend refused the connection)."}
		if m[2] == "502" {
			want = []string{"service dead upstream " + refuses, "status 502 ended by backend (backend:connect)",
				"why No backend of " + refuses + " could be connected to. The last attempt, at " + refuses + ", ended ",
				" after the client came: The backend refused the connection. try does it run, and listen there?"}
		}
		for _, w := range want {
			says(w, "why", m[1])
		}
	}
}
