package server

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
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
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop() }()
	path := filepath.Join(t.TempDir(), "missing", "a.log")
	for _, text := range []string{
		base + route + "access_log = '" + path + "'\n", base + route + "access_log.path = '" + path + "'\n",
		base + "http.access_log = { path = '" + path + "', sample = 0.1 }\n" + route,
		"log = { output = ['" + path + "'], when = 'status == 200' }\nhttp.listen = \"127.0.0.1:0\"\n" + route,
	} {
		if _, err := s.Apply(parse(t, text)); err == nil || !strings.Contains(err.Error(), "access log: ") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// {time} is the time that a line of JSON has.
func TestLog_timeIsThatOfJSON(t *testing.T) {
	log := filepath.Join(t.TempDir(), "access.log")
	s := start(t, Options{}, `
log.output = [%q]
http = { name = "web", listen = "127.0.0.1:0" }
[[rules]]
headers.response = { X-Time = "{time}" }
[[routes]]
pattern = "/*"
dest = "status:204"
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
	if err != nil {
		t.Fatal(err)
	}
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
