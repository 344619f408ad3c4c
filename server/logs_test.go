package server

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/internal/warm"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/proxy"
)

// A reload is refused whose access log cannot be opened: that of a route, of a listener, or of all.
func TestApply_logThatCannotBeOpened(t *testing.T) {
	const base = quiet + "http.listen = \"127.0.0.1:0\"\n"
	const route = "[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"
	s, err := New(parse(t, base+route), Options{StateDir: t.TempDir()})
	try(t, err)
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
	try(t, err)
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
		try(t, err)
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
