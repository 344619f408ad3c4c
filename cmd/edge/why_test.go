package main

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// remembering is a configuration with an admin surface, a backend that serves and two upstreams with one that refuses.
const remembering = `
[admin]
listen = "unix:%s"
why_slow = "1h"
[http]
listen = "127.0.0.1:0"
request_id = true
[[routes]]
name = "half"
pattern = "/half"
dest = "half"
[[routes]]
name = "dead"
pattern = "/dead"
dest = "dead"
[[routes]]
name = "rest"
pattern = "/*"
dest = "status:204"
[upstreams.half]
load_balancing = "round_robin"
backends = [ { address = "%[2]s" }, { address = "%[3]s" } ]
[upstreams.dead]
backends = [ { address = "%[2]s" } ]
`

// edge why tells of a request what the process knows, and lists those that were bad.
func TestWhy(t *testing.T) {
	t.Parallel()
	refuses, backend := testutil.FreeAddr(t), startOrigin(t, "127.0.0.1:0").at
	e := start(t, remembering, testutil.SocketPath(t), refuses, backend)
	e.WaitLine(`"section":"admin"`)
	c := client(t)
	ask := func(path string) (id string) {
		t.Helper()
		resp, _ := testutil.Get(t, c, "http://"+e.addr+path)
		return resp.Header.Get("X-Request-Id")
	}
	e.commands(t, command{"why", 0, "edge: no request has failed, was tried again or was slow; --all lists the others"})
	dead, well := ask("/dead"), ask("/well")
	twice := ask("/half")
	if _, out := e.tell(t, "why"); !strings.Contains(out, twice) { // the other backend had its turn
		twice = ask("/half")
	}
	e.commands(t,
		command{"why " + dead, 0, "request " + dead + "|HTTP/1.1, listener|route dead|upstream dead|" +
			"version 1 of the configuration|attempt 1 " + refuses + ": backend:connect|status 502, by edge itself|" +
			"ended by backend (backend:connect)|why The backend refused the connection: " + refuses +
			"|try does it run, and listen there?"},
		command{"why " + twice, 0, "attempt 1 " + refuses + ": backend:connect|attempt 2 " + backend +
			": answered|first byte at|status 200|The first of 2 attempts failed: " + refuses},
		command{"why " + well, 0, "route rest|status 204, by edge itself|The route answers 204 by itself"},
		command{"why " + well + " --json", 0, `"id": "` + well + `"|"status": 204`},
		command{"why", 0, dead + "|" + twice + "|backend:connect dead " + refuses + " 1 127.0.0.1:|!" + well},
		command{"why --all --limit 1", 0, "200 - half " + backend},
		command{"why nothing", 1, `no request "nothing" is remembered`},
		command{"why --limit 0", 1, "limit is a number from 1 to 1000"},
		command{"why a b", 2, "takes the number of one request"})
	c.CloseIdleConnections() // a drain keeps them for two thirds of its grace
	stopsWell(t, e)
}

// What a cache did is a line, and a column of a list in which a request has met one.
func TestPrintRequests_cache(t *testing.T) {
	hit := admin.Request{ID: "1", Cache: "hit", CacheExplained: "hit", Client: "a"}
	miss := admin.Request{ID: "2", Cache: "miss", CacheReason: "set-cookie", Client: "b",
		CacheExplained: "miss, not stored: set-cookie (the answer sets a cookie)"}
	none := admin.Request{ID: "3", Client: "c"}
	var out strings.Builder
	printRequest(&out, &hit)
	printRequest(&out, &miss)
	if s := out.String(); !strings.Contains(s, "cache\thit\n") ||
		!strings.Contains(s, "cache\tmiss, not stored: set-cookie (the answer sets a cookie)\n") {
		t.Error(s)
	}
	out.Reset()
	printRequest(&out, &none)
	printRequests(&out, []admin.Request{none})
	if s := out.String(); strings.Contains(strings.ToLower(s), "cache") {
		t.Error(s)
	}
	out.Reset()
	printRequests(&out, []admin.Request{hit, miss, none})
	s := out.String()
	for _, want := range []string{
		"\tATTEMPTS\tCACHE\tCLIENT\n", "\t0\thit\ta\n", "\t0\tmiss set-cookie\tb\n", "\t0\t-\tc\n",
	} {
		if !strings.Contains(s, want) {
			t.Errorf("%q is not in %q", want, s)
		}
	}
}
