package server

import (
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
)

// datagrams listens on a socket and returns its address, and a function that returns the next message.
func datagrams(t *testing.T, network, address string) (at string, next func() string) {
	t.Helper()
	c, err := net.ListenPacket(network, address)
	try(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c.LocalAddr().String(), func() string {
		t.Helper()
		p := make([]byte, 64<<10)
		_ = c.SetReadDeadline(time.Now().Add(testutil.Patience))
		n, _, err := c.ReadFrom(p)
		try(t, err)
		return string(p[:n])
	}
}

// Requests go to syslog servers: by URL in place of a path, and by a table with more keys, each in the form that its
// log has. Severities say how a request has ended.
func TestSyslog_accessLogs(t *testing.T) {
	t.Parallel()
	udp, byURL := datagrams(t, "udp", "127.0.0.1:0")
	path, byTable := datagrams(t, "unixgram", filepath.Join(t.TempDir(), "log"))
	s := start(t, Options{}, `
log.output = ["syslog+udp://%s", "table"]
http = { name = "web", listen = "127.0.0.1:0" }
routes = [
	{ pattern = "/ok", dest = "status:204" },
	{ pattern = "/bad", dest = "127.0.0.1:1", access_log.line = "{path} {status}" },
	{ pattern = "/combined", dest = "status:200", access_log.format = "combined" },
	{ pattern = "/empty", dest = "status:204", access_log.line = "{query.none}" },
]
[log_sinks.table]
type = "syslog"
to = "syslog+unix://%s"
format = "rfc5424"
facility = "daemon"
app = "front"
structured_data = true
`, udp, path)
	for _, c := range []struct{ path, url, table string }{
		{"/ok?token=x", `^<134>1 \S+Z \S+ edge \d+ access - {"time".*"query":"token=REDACTED".*"status":204.*}$`,
			`^<30>1 \S+Z \S+ front \d+ access \[edge@32473 status="204" listener="web" route="/ok"\] {.*}$`},
		{"/bad", `^<131>1 \S+Z \S+ edge \d+ access - /bad 502$`,
			`^<27>1 \S+Z \S+ front \d+ access \[edge@32473 status="502".* reason="backend:connect"\] /bad 502$`},
		{"/combined", `^<134>1 .* access - 127\.0\.0\.1 - - .*"GET /combined HTTP/1\.1" 200`,
			`^<30>1 .*\] 127\.0\.0\.1`},
		{"/empty", `^<134>1 \S+Z \S+ edge \d+ access - +$`, `^<30>1 .*\] +$`},
	} {
		get(t, s, "web", c.path)
		if got := byURL(); !regexp.MustCompile(c.url).MatchString(got) {
			t.Errorf("by URL: %s", got)
		}
		if got := byTable(); !regexp.MustCompile(c.table).MatchString(got) {
			t.Errorf("by table: %s", got)
		}
	}
}

// A server that is gone and a server that reads nothing cost messages and nothing else: requests are answered, lost
// messages are counted to the one, and a reload and the end do not wait for them.
func TestSyslog_serverThatTakesNothing(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	try(t, err)
	defer func() { _ = silent.Close() }()
	gone := testutil.FreeAddr(t)
	const form = `
log.output = ["syslog+tcp://%s", "syslog+tcp://%s"]
http = { name = "web", listen = "127.0.0.1:0" }
routes = [{ pattern = "/*", dest = "status:204" }]
`
	s := start(t, Options{}, form, silent.Addr(), gone)
	const requests = 50
	for range requests {
		if status, _ := get(t, s, "web", "/"+strings.Repeat("a", 200)); status != 204 {
			t.Fatal(status)
		}
	}
	lost := func() uint64 { return s.logs.now["syslog+tcp://"+gone].sink.Stats().Lost }
	testutil.Eventually(t, testutil.Patience, func() bool { return lost() == requests }, "what is lost is counted")
	mustApply(t, s, parse(t, quiet+"http = { name = \"web\", listen = \"127.0.0.1:0\" }\n"))
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}
