package program

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
)

// under reads text, the file of an operator in TOML, over the text of a program.
func under(t *testing.T, program, file, more string, set ...string) (*config.Config, *config.Report) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.toml": file, "more.toml": more} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	texts := []config.Under{{Name: "(program)", Text: program}}
	return config.Options{Under: texts, Set: set}.Load(filepath.Join(dir, "main.toml"))
}

// What the files set goes before the text of the program, by any name of a key, also where a file is included; what
// they do not set stays.
func TestOptions_under(t *testing.T) {
	const program = `
threads = 2
error_log = "program.log"
allow = ["unused-upstream"]
[http]
listen = ":1"
limits = { body_size = "1m", header_size = "8k" }
[[listeners]]
name = "own"
listen = ":2"
websocket = false
grpc = true
[upstreams.a]
backends = [{ address = "10.0.0.1:1" }]
load_balancing = "round_robin"
pool = { idle = 7 }
[filters.lock]
type = "cors"
origins = ["https://a.example"]
max_age = "1m"
[[rules]]
when = 'path == "/program"'
deny = true
[[routes]]
pattern = "/program"
dest = "a"
filters = ["lock"]
`
	for _, c := range []struct {
		name, file, more string
		set              []string
		want             string
	}{
		{"nothing", "", "", nil, "2 program.log :1 1048576 8192 :2 false true 10.0.0.1:1 round_robin 7 1m 1 1"},
		{"another name", "[global]\nworker_threads = 3\n", "", nil, "3 program.log"},
		{"included", "include = [\"more.toml\"]\n", "threads = 4\n", nil, "4 program.log"},
		{"set", "threads = 3\n", "", []string{"threads=5"}, "5 program.log"},
		{"a table inside", "[http.limits]\nbody_size = \"2m\"\n", "", nil, "2 program.log :1 2097152 8192"},
		{"a value for a table", "[http]\nlisten = \":3\"\n", "", nil, "2 program.log :3 1048576 8192"},
		{"a listener by name", "[[listeners]]\nname = \"own\"\nlisten = \":4\"\n", "", nil,
			"2 program.log :1 1048576 8192 :4 false true"},
		{"a named table", "[upstreams.a]\nbackends = [{ address = \"10.0.0.2:1\" }]\n" +
			"[[routes]]\npattern = \"/x\"\ndest = \"a\"\n",
			"", nil, "2 program.log :1 1048576 8192 :2 false true 10.0.0.2:1 round_robin 7 1m 1 2"},
		{"keys of a type", "[filters.lock]\nmax_age = \"2m\"\n[[rules]]\nwhen = 'path == \"/file\"'\ndeny = true\n",
			"", nil,
			"2 program.log :1 1048576 8192 :2 false true 10.0.0.1:1 round_robin 7 2m 2 1"},
	} {
		cfg, report := under(t, program, c.file, c.more, c.set...)
		if !report.OK() {
			t.Errorf("%s: %v", c.name, &report.Errors[0])
			continue
		}
		var age string
		for _, s := range cfg.Defined[0].Settings() {
			if text, found := strings.CutPrefix(s, "max_age "); found {
				age = text
			}
		}
		h, own, u := &cfg.Listeners[0], &cfg.Listeners[1], cfg.Upstream("a")
		if h.Name == "own" {
			h, own = own, h
		}
		got := strings.TrimSuffix(fmt.Sprintln(cfg.Global.WorkerThreads, cfg.Global.ErrorLog, h.Addresses[0].Text,
			h.Limits.BodySize, h.Limits.HeaderSize, own.Addresses[0].Text, own.WebSocket, own.GRPC,
			u.Backends[0].String(), u.LoadBalancing, u.Pool.Idle, age, len(cfg.Rules), len(cfg.Routes)), "\n")
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if len(cfg.Rules) == 2 && !strings.Contains(fmt.Sprint(cfg.Rules[0].When), "/file") {
			t.Errorf("%s: the rules of the program stand first: %v", c.name, cfg.Rules)
		}
	}
}

// A file in YAML may leave a key of the program without a value, and may have another kind of value than the program.
func TestOptions_underAnotherFormat(t *testing.T) {
	textUnder := []config.Under{{Name: "(program)", Text: "threads = 2\n[http]\nlisten = \":1\"\n"}}
	path := filepath.Join(t.TempDir(), "conf.yaml")
	for text, want := range map[string]string{
		"threads:\n":               "2 ",
		"global: { threads: 3 }\n": "3 ",
		"threads: three\n":         "conf.yaml:1:10: error:",
		"http: 1\n":                "conf.yaml:1:7: error:",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		cfg, report := config.Options{Under: textUnder}.Load(path)
		var got string
		if report.OK() {
			got = fmt.Sprint(cfg.Global.WorkerThreads, " ")
		} else if got = report.Errors[0].Error(); len(report.Errors) > 1 {
			t.Errorf("%q: %d errors", text, len(report.Errors))
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
