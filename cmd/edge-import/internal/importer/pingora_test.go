package importer_test

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	importer "github.com/edge-proxy/edge/cmd/edge-import/internal/importer"
	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/config"
)

// Every file of testdata/pingora has the result and the findings of its golden file, and means to edge what the result
// means, but for keys that are lost.
func TestPingora(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "pingora", "[0-9]*"))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, file := range files {
		if strings.HasSuffix(file, ".golden") {
			continue
		}
		count++
		p := planOfFile(t, "pingora", file)
		got := withFindings(t, p)
		lost := map[string]bool{"client_bind_to_ipv6": true, "upstream_debug_ssl_keylog": true,
			"daemon_wait_for_ready": true} // edge itself does not accept these
		for _, f := range p.Findings() {
			if f.Lost {
				lost[strings.TrimSuffix(strings.Fields(f.What)[0], ":")] = true
			}
		}
		golden(t, strings.TrimSuffix(file, filepath.Ext(file))+".golden", got)
		var kept []string
		for line := range strings.Lines(read(t, file)) {
			if key, _, _ := strings.Cut(line, ":"); !lost[key] && !strings.HasPrefix(line, "  - 10.") {
				kept = append(kept, line)
			}
		}
		before := meaning(t, file, []byte(strings.Join(kept, "")))
		if after := meaning(t, "edge.toml", p.Text(plan.TextOnly)); before != after {
			t.Errorf("%s: other than the file\n%s", file, difference(before, after))
		}
	}
	if count < 5 {
		t.Errorf("%d files", count)
	}
}

// meaning is what a file means to edge: its listeners, upstreams, routes and keys of the process.
func meaning(t *testing.T, file string, text []byte) string {
	t.Helper()
	c, report := config.Parse(filepath.Base(file), text)
	if !report.OK() {
		t.Fatal(file, report.Errors)
	}
	all, err := json.MarshalIndent(map[string]any{"listeners": c.Listeners, "upstreams": c.Upstreams,
		"routes": c.Routes, "global": c.Global, "log": c.Log}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^.*"(file|line|column)":.*\n`).ReplaceAllString(string(all)+"\n", "")
}

// What a file says in sections is in the result as it stands, and a value that edge.toml cannot have is a finding.
func TestPingora_sections(t *testing.T) {
	for text, want := range map[string][]string{
		"ca_file:\nclient_bind_to_ipv4: null\n": {"note: ca_file (nothing to write: it has no value",
			"note: client_bind_to_ipv4: null (nothing to write"},
		"global: {pid_file: /p, watch: true, user: [null]}": {`pid_file = "/p"`, "watch = true", "not carried: user ("},
		"upstreams: {a: {backends: [{address: '127.0.0.1:1'}], timeouts: {connect: 2s, read: null}}, b: 7}": {
			"[upstreams.a]", `timeouts.connect = "2s"`, "note: read (nothing", "not carried: b: 7 (it is no table"},
		"load_balancing: {method: random, backends: [a, {address: '127.0.0.1:1', name: n, upstream: u}, " +
			"{address: [null]}], retry: {attempts: 2}}": {`load_balancing = "random"`, "not carried: a backend (it is",
			"[upstreams.n]", "[upstreams.u]", "not carried: a backend (edge does not", "retry.attempts = 2"},
		"network: {listen: '127.0.0.1:1', tls: true, cert: internal}":  {"tls = true"},
		"upstream_defaults: {overload: {a: .5}, tags: {}}\nlog: 1.5\n": {"not carried: "},
	} {
		wantAll(t, text, planOf(t, "pingora", text), want)
	}
	if _, err := importer.Import("pingora", "/nonexistent", &plan.Reader{}); err == nil {
		t.Error("a file that is not there has no error")
	}
}
