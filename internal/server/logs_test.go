package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/proxy"
)

// A reload is refused whose access log cannot be opened: that of a route, of a listener, or of all.
func TestApply_logThatCannotBeOpened(t *testing.T) {
	const base = quiet + "http.listen = \"127.0.0.1:0\"\n"
	const route = "[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"
	s, err := New(parse(t, base+route), Options{StateDir: t.TempDir()})
	testutil.Must(t, err)
	defer func() { _ = s.Stop() }()
	path := filepath.Join(t.TempDir(), "missing", "a.log")
	for _, text := range []string{
		base + route + "access_log = '" + path + "'\n", base + route + "access_log.path = '" + path + "'\n",
		base + "http.access_log = { path = '" + path + "', sample = 0.1 }\n" + route,
		"log = { output = ['" + path + "'], when = 'status == 200' }\nhttp.listen = \"127.0.0.1:0\"\n" + route,
	} {
		wantRefused(t, s, parse(t, text), "access log: ")
	}
}

// {time} is the time that a line of JSON has.
func TestLog_timeIsThatOfJSON(t *testing.T) {
	log := filepath.Join(t.TempDir(), "access.log")
	s := start(t, Options{}, `
log.output = [%q]
http = { name = "web", listen = "127.0.0.1:0" }
rules = [{ headers.response = { X-Time = "{time}" } }]
routes = [{ pattern = "/*", dest = "status:204" }]
`, log)
	said := askFor(t, "GET", urlOf(t, s, "web")+"/").Header.Get("X-Time")
	var line struct{ Time string }
	testutil.Eventually(t, testutil.Patience, func() bool {
		return json.Unmarshal([]byte(readFile(log)), &line) == nil
	}, "the request is logged")
	const form = "2006-01-02T15:04:05.000000Z"
	got, err := time.Parse(form, said)
	want, wrong := time.Parse(form, line.Time)
	if err != nil || wrong != nil || got.Sub(want).Abs() > time.Minute { // the clock is read again between the two
		t.Errorf("%q, in JSON %q", said, line.Time)
	}
}

// Members that a configuration adds to the lines of a log cost no allocation.
func TestFieldLog_allocatesNothing(t *testing.T) {
	sink, err := observe.Open(observe.Options{Path: os.DevNull})
	testutil.Must(t, err)
	defer func() { _ = sink.Close() }()
	c := parse(t, `
[log.fields]
agent = "{header.user-agent}"
none = "{header.x-none}"
"say \"so\"" = "{path} {status}"
`)
	log := newFieldLog(sink.AccessLog(observe.FormatJSON), *c.Log.Fields, c.Log.Redaction())
	g := warm.New(t, warm.Browser, &proxy.Listener{Log: []proxy.AccessLog{log}})
	if allocs := testutil.Allocs(1000, g.Exchange); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	v := log.members
	if string(v[1].Value) != "" || len(v[0].Value) == 0 || !strings.HasSuffix(string(v[2].Value), " 200") {
		t.Errorf("%+v", v)
	}
}

// A file that a reload drops is closed when the requests have ended that were under way, which are logged there, and at
// once where there is none, whatever idle connections there are.
func TestLog_closedAfterItsLastRequest(t *testing.T) {
	dir := t.TempDir()
	ended := make(chan struct{})
	end := sync.OnceFunc(func() { close(ended) })
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			w.(http.Flusher).Flush()
			<-ended
		}
	}))
	defer o.Close()
	defer end()
	const conf = "http.listen = \"127.0.0.1:0\"\nlog.output = \"%s\"\n[[routes]]\npattern = \"/*\"\ndest = \"%s\"\n"
	first, second, third := dir+"/first", dir+"/second", dir+"/third"
	s := start(t, Options{}, conf, first, o.Listener.Addr())
	url := "http://" + s.Addresses()[0].Addr.String()
	c := &http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	ask := func(path string) *http.Response {
		resp, err := c.Get(url + path)
		testutil.Must(t, err)
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	closed := func(path string) {
		testutil.Eventually(t, testutil.Patience, func() bool { return !hasOpen(path) }, path+" is closed")
	}
	_, _ = io.ReadAll(ask("/").Body) // its connection stays
	apply(t, s, conf, second, o.Listener.Addr())
	closed(first)
	slow := ask("/slow")
	_, _ = io.ReadAll(ask("/").Body)
	apply(t, s, conf, third, o.Listener.Addr())
	runtime.GC()
	runtime.GC()
	if !hasOpen(second) {
		t.Error("closed before a request has ended that logs there")
	}
	end()
	if _, err := io.ReadAll(slow.Body); err != nil {
		t.Fatal(err)
	}
	closed(second)
	if text, _ := os.ReadFile(second); !strings.Contains(string(text), "/slow") {
		t.Errorf("logged: %q", text)
	}
}

// hasOpen reports whether this process has the file at path open.
func hasOpen(path string) bool {
	all, _ := filepath.Glob("/proc/self/fd/*")
	return slices.ContainsFunc(all, func(fd string) bool {
		at, err := os.Readlink(fd)
		return err == nil && at == path
	})
}

// datagrams listens on a socket and returns its address, and a function that returns the next message.
func datagrams(t *testing.T, network, address string) (at string, next func() string) {
	t.Helper()
	c, err := net.ListenPacket(network, address)
	testutil.Must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c.LocalAddr().String(), func() string {
		t.Helper()
		p := make([]byte, 64<<10)
		_ = c.SetReadDeadline(time.Now().Add(testutil.Patience))
		n, _, err := c.ReadFrom(p)
		testutil.Must(t, err)
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
	testutil.Must(t, err)
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
	wantNoErr(t, s.Stop())
}

// spellings returns requests whose queries and Referers have the value s3cr3t under names that redact has: in any case,
// with escapes, twice, beside empty ones.
func spellings(n int) (all []string) {
	r := rand.New(rand.NewPCG(5, 6))
	names := []string{"token", "access_token", "X-Amz-Signature", "sig", "shop", "reset_token", "accessToken",
		"api-key", "__Host-pwd", "X-Amz-Credential"}
	for range n {
		var name strings.Builder
		for _, c := range []byte(names[r.IntN(len(names))]) {
			switch r.IntN(4) {
			case 0:
				fmt.Fprintf(&name, "%%%02X", c)
			case 1:
				name.WriteString(strings.ToUpper(string(c)))
			default:
				name.WriteByte(c)
			}
		}
		forms := []string{
			"%[1]s=s3cr3t", "a=1&%[1]s=s3cr3t", "%[1]s=s3cr3t&b=2", "%[1]s=s3cr3t&%[1]s=s3cr3t", "%[1]s=&%[1]s=s3cr3t",
			"a;%[1]s=s3cr3t", "%[1]s=s3cr3t=s3cr3t", "&&%[1]s=s3cr3t&=", "a=%%zz&%[1]s=%%73s3cr3t",
			"%[1]s%%3ds3cr3t", "a=1&next=https://u:s3cr3t@h/&%[1]s=s3cr3t",
		}
		all = append(all, fmt.Sprintf(forms[r.IntN(len(forms))], name.String()))
	}
	return all
}

// What redact names is in no log, in whatever form and by whatever way it comes there.
func TestLog_redacts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	s := start(t, Options{}, `
log = { output = [%q], redact = ["preset:secrets", "shop"] }
http = { name = "web", listen = "127.0.0.1:0" }
routes = [
	{ pattern = "/json", dest = "status:204" },
	{ pattern = "/combined", dest = "status:204", access_log = { path = %q, format = "combined" } },
	{ pattern = "/logfmt", dest = "status:204", access_log = { path = %q, format = "logfmt",
		fields = { to = "{target}", from = "{header.referer}", cookie = "{header.cookie}" } } },
	{ pattern = "/line", redirect = { to = "/other?{query}" }, access_log = { path = %q,
		line = '{query} {lower(target)} {header.referer} {header.cookie} {answer.header.location}' } },
]
`, file("json"), file("combined"), file("logfmt"), file("line"))
	const each = 200
	conn, err := net.Dial("tcp", strings.TrimPrefix(urlOf(t, s, "web"), "http://"))
	testutil.Must(t, err)
	defer func() { _ = conn.Close() }()
	answers := bufio.NewReader(conn)
	paths := []string{"json", "combined", "logfmt", "line"}
	for _, query := range spellings(each) {
		for _, path := range paths {
			const form = "GET /%s?%s HTTP/1.1\r\nHost: a\r\nReferer: https://b/?%s\r\nCookie: %s\r\n\r\n"
			_, err := fmt.Fprintf(conn, form, path, query, query, query)
			testutil.Must(t, err)
			answer, err := http.ReadResponse(answers, nil)
			testutil.Must(t, err)
			_ = answer.Body.Close()
		}
	}
	for _, path := range paths {
		testutil.Eventually(t, testutil.Patience, func() bool {
			return strings.Count(readFile(file(path)), "\n") == each
		}, "all requests are logged")
		text := readFile(file(path))
		if n := strings.Count(text, "REDACTED"); strings.Contains(text, "s3cr3t") || n < 2*each {
			t.Errorf("%s: %d values are hidden: %s", path, n, text[:min(len(text), 2000)])
		}
	}
}
