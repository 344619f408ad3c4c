package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/lang"
)

// The logs of two listeners: routes say where, rules whether, and each key of a table is that of the innermost one.
const sampledLogs = `
[[listeners]]
name = "web"
listen = "127.0.0.1:0"
request_id.accept = "all"
traceparent = true
[listeners.access_log]
path = "DIR/web.log"
sample = 0.25
when = 'path != "/health"'
always = ["5xx", "retried", "error", 'header.x-debug == "1"']

[[listeners]]
name = "inside"
listen = "127.0.0.1:0"
request_id.accept = "all"

[log]
output = ["DIR/all.log"]

[[rules]]
when = 'path == "/unlogged"'
log = false

[[routes]]
pattern = "/*"
dest = "status:200"
[[routes]]
pattern = "/fails"
dest = "status:503"
[[routes]]
pattern = "/line/*"
dest = "status:200"
access_log = { line = '{path} {sample.rate}', sample = 0.5 }
[[routes]]
pattern = "/off/*"
dest = "status:200"
access_log = false
[[routes]]
pattern = "/own/*"
dest = "status:200"
access_log = { path = "DIR/own.log", sample = 0, always = ["404", ">1h"], format = "common" }
[[routes]]
pattern = "/own/none"
dest = "status:404"
access_log = { path = "DIR/own.log", sample = 0, always = ["404", ">1h"], format = "common" }
`

// logRig is an edge with the listeners web and inside, whose logs are in a folder.
type logRig struct {
	t      *testing.T
	dir    string
	socket string
	addrs  []string // of web and inside
	client *http.Client
	run    *running
}

func newLogRig(t *testing.T) *logRig { return newLogRigOf(t, sampledLogs) }

func newLogRigOf(t *testing.T, logs string) *logRig {
	t.Helper()
	dir := t.TempDir()
	r := &logRig{t: t, dir: dir, client: client(t)}
	r.run, r.socket = administered(t, "%s", strings.ReplaceAll(logs, "DIR", dir))
	for _, name := range []string{"web", "inside"} {
		found := r.run.WaitLine(`"msg":"listening".*"listener":"` + name + `".*"address":"([^"]+)"`)
		r.addrs = append(r.addrs, found[1])
	}
	return r
}

// ask asks a listener for a path, with fields as name, value, and so on.
func (r *logRig) ask(listener int, path string, fields ...string) {
	r.t.Helper()
	send(r.t, r.client, "GET", "http://"+r.addrs[listener]+path, "", fields...)
}

// counts returns edge_log_records_total by its result.
func (r *logRig) counts() string {
	r.t.Helper()
	var all []string
	_, page := testutil.Get(r.t, overSocket(r.socket), "http://edge/metrics")
	for line := range strings.Lines(page) {
		if of, found := strings.CutPrefix(line, "edge_log_records_total{result="); found {
			all = append(all, strings.TrimSpace(strings.ReplaceAll(of, "}", "")))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// wantCounts waits for counts: a reactor that has much to do shows what it had counted before.
func (r *logRig) wantCounts(want string) {
	r.t.Helper()
	testutil.Eventually(r.t, testutil.Minutes, func() bool { return r.counts() == want }, "counted %s", want)
}

// lines ends edge, so that all is written, and returns the lines of a log.
func (r *logRig) lines(name string) []string {
	r.t.Helper()
	r.client.CloseIdleConnections()
	r.run.Stop()
	text := textOf(r.t, filepath.Join(r.dir, name))
	return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return line == "" })
}

// logged is what the test reads of a line of JSON.
type logged struct {
	ID     string          `json:"id"`
	Trace  string          `json:"trace_id"`
	Path   string          `json:"path"`
	Status int             `json:"status"`
	Rate   json.RawMessage `json:"sample_rate"`
}

// sampled tells whether a number is in the sample of a share.
func sampled(id string, share float64) bool {
	return uint64(lang.Hash([]byte(id))) < uint64(share*(1<<63))
}

// A sample has the same requests each time, all of a trace, in its share; what is not in it is counted.
func TestAccessLog_sample(t *testing.T) {
	t.Parallel()
	r := newLogRig(t)
	const n = 200
	want := make(map[string]int)
	for i := range n {
		id, trace := fmt.Sprintf("r-%d", i), fmt.Sprintf("%032x", i+1)
		r.ask(0, "/x", "X-Request-Id", id, "Traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
		r.ask(0, "/y", "X-Request-Id", id+"-again", "Traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
		if sampled(trace, 0.25) {
			want[trace] = 2
		}
	}
	if share := float64(len(want)) / n; share < 0.2 || share > 0.3 {
		t.Errorf("a quarter of %d traces is %d", n, len(want))
	}
	counted := fmt.Sprintf(`"condition" 0, "logged" %d, "rule" 0, "sampled" %d`, 2*len(want), 2*(n-len(want)))
	r.wantCounts(counted)
	got := make(map[string]int)
	for _, line := range r.lines("web.log") {
		var one logged
		if err := json.Unmarshal([]byte(line), &one); err != nil || string(one.Rate) != "0.25" {
			t.Errorf("%v: %s", err, line)
		}
		got[one.Trace]++
	}
	if !maps.Equal(got, want) {
		t.Errorf("logged %v, want %v", got, want)
	}
}

// when comes first, then always, then the sample; a rule and a route may turn the log off.
func TestAccessLog_innermost(t *testing.T) {
	t.Parallel()
	r := newLogRig(t)
	dropped, kept := "", "" // by a share of 0.25
	for i := 0; dropped == "" || kept == ""; i++ {
		if id := fmt.Sprintf("%032x", i); sampled(id, 0.25) {
			kept = id
		} else if !sampled(id, 0.5) {
			dropped = id
		}
	}
	ask := func(listener int, path, id string, fields ...string) {
		r.ask(listener, path, append(fields, "Traceparent", "00-"+id+"-00f067aa0ba902b7-01", "X-Request-Id", id)...)
	}
	for _, id := range []string{kept, dropped} {
		for listener := range 2 {
			for path := range strings.FieldsSeq("/x /health /unlogged /off/a /fails /line/a /own/a /own/none") {
				ask(listener, path, id)
			}
		}
		ask(0, "/debug", id, "X-Debug", "1")
		ask(0, "/health", id, "X-Debug", "1")
	}
	r.wantCounts(`"condition" 4, "logged" 17, "rule" 4, "sampled" 7`)
	for file, want := range map[string]string{
		"web.log": "/x 0.25; /fails ; /line/a 0.5; /debug ; /fails ; /debug ",
		"all.log": "/x ; /health ; /fails ; /line/a 0.5; /x ; /health ; /fails ",
		"own.log": "GET /own/none 404; GET /own/none 404; GET /own/none 404; GET /own/none 404",
	} {
		var got []string
		for _, line := range r.lines(file) {
			var one logged
			switch {
			case line[0] == '/':
				got = append(got, line)
			case line[0] != '{':
				_, line, _ = strings.Cut(line, `"`)
				line = strings.Replace(line, ` HTTP/1.1"`, "", 1)
				got = append(got, line[:strings.LastIndexByte(line, ' ')])
			default:
				if err := json.Unmarshal([]byte(line), &one); err != nil {
					t.Error(err)
				}
				got = append(got, one.Path+" "+string(one.Rate))
			}
		}
		if got := strings.Join(got, "; "); got != want {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
	}
}

// edge explain says where a request is logged, and in which case, by its route and its listener.
func TestAccessLog_explained(t *testing.T) {
	t.Parallel()
	file := write(t, "%s", strings.ReplaceAll(sampledLogs, "DIR", t.TempDir()))
	for path, want := range map[string]string{
		"/line/a": `/web.log, when path != "/health", a sample of 0.5, always when status >= 500 and status <= 599, ` +
			`always when attempts > 1, always when has(error.kind), always when header.x-debug == "1"`,
		"/own/a": `/own.log, when path != "/health", a sample of 0, always when status == 404, ` +
			`always when duration > 3600000ms`,
	} {
		code, out := edge(t, "explain", "-c", file, "--json", "http://x"+path)
		var a struct {
			Log []string `json:"access_log"`
		}
		if err := json.Unmarshal([]byte(out), &a); err != nil || code != 0 || len(a.Log) != 1 ||
			!strings.HasSuffix(a.Log[0], want) {
			t.Errorf("%s: %d %v %q", path, code, err, a.Log)
		}
	}
}

// The logs of two listeners with members of their own, and routes that say otherwise.
const fieldLogs = `
[log]
output = ["DIR/all.log"]
fields = { tenant = "{header.x-tenant}", plan = "{cookie.plan}", q = "{query.q}" }

[[listeners]]
name = "web"
listen = "127.0.0.1:0"

[[listeners]]
name = "inside"
listen = "127.0.0.1:0"
access_log = { fields = { zone = "in {status}" } }

[[routes]]
pattern = "/*"
dest = "status:200"
[[routes]]
pattern = "/own/*"
dest = "status:404"
access_log = { path = "DIR/own.log", fields = { "say \"a\"" = '"{path}"' } }
[[routes]]
pattern = "/none/*"
dest = "status:200"
access_log = { format = "json" }
[[routes]]
pattern = "/line/*"
dest = "status:200"
access_log = { line = '{{"path":"{path}"}}' }
`

// A line of JSON has the fields of the innermost place that says its form, which no client can end, from a reload on
// those of the new configuration.
func TestAccessLog_fields(t *testing.T) {
	t.Parallel()
	r := newLogRigOf(t, fieldLogs)
	r.ask(0, "/a?q=a%22%0A%01%5Cb", "X-Tenant", `ac"me\`, "Cookie", "plan=gold")
	r.ask(0, "/b")
	for _, path := range []string{"/c", "/own/d", "/none/e", "/line/f"} {
		r.ask(1, path, "X-Tenant", "acme")
	}
	r.run.change(t, "%s", strings.Replace(textOf(t, r.run.file), `tenant = "{header.x-tenant}", plan`,
		`when = "{time}", kind`, 1))
	r.run.WaitLine(`"msg":"configuration reloaded"`)
	r.ask(0, "/g", "Cookie", "plan=gold")
	known := "time id listener client_ip client_port proto method host query route status bytes_in bytes_out dur_ms " +
		"t attempts reused user_agent"
	for file, want := range map[string]string{
		"all.log": `{"path":"/a","plan":"gold","q":"a\"\n\u0001\\b","tenant":"ac\"me\\"}
{"path":"/b","plan":"","q":"","tenant":""}
{"path":"/c","zone":"in 200"}
{"path":"/none/e"}
{"path":"/line/f"}
{"kind":"gold","path":"/g","q":"","when":"time"}`,
		"own.log": `{"path":"/own/d","say \"a\"":"\"/own/d\""}`,
	} {
		var got []string
		for _, line := range r.lines(file) {
			var one map[string]any
			if err := json.Unmarshal([]byte(line), &one); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if one["when"] != nil && one["when"] == one["time"] {
				one["when"] = "time"
			}
			for name := range strings.FieldsSeq(known) {
				delete(one, name)
			}
			text, _ := json.Marshal(one)
			got = append(got, string(text))
		}
		if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(strings.SplitSeq(want, "\n"))) {
			t.Errorf("%s:\n%s\nwant\n%s", file, strings.Join(got, "\n"), want)
		}
	}
}
