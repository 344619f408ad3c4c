package config

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/internal/testutil"
)

// canonical returns a text with canonical names, and fails the test unless it means the same and is its own canonical
// form.
func canonical(t *testing.T, name, text string) string {
	t.Helper()
	o := Options{TextOnly: true, LookupEnv: environment.LookupEnv, Dir: environment.Dir}
	before, rep := o.Parse(name, []byte(text))
	if !rep.OK() {
		t.Fatal(rep.Errors)
	}
	out, rep := Canonical(syntax.NewSource(name, []byte(text), 0))
	if !rep.OK() {
		var b strings.Builder
		_ = rep.Render(&b)
		t.Errorf("%s: %s", name, b.String())
		return ""
	}
	after, rep := o.Parse(name, out)
	if filepath.Base(name) == "guards.toml" {
		if rep.OK() {
			t.Error("[network] takes TLS alone for a key that tls = \"auto\" does not go with")
		}
		return string(out)
	}
	if !rep.OK() {
		t.Fatalf("%v\n%s", rep.Errors, out)
	}
	if !maps.Equal(before.Namings, after.Namings) { // a client that may send the one may send the other
		t.Errorf("%s: it names %v, and did %v", name, after.Namings, before.Namings)
	}
	if !Same(before, after) {
		t.Errorf("%s: another configuration:\n%s", name, out)
	}
	if again, rep := Canonical(syntax.NewSource(name, out, 0)); !rep.OK() || string(again) != string(out) {
		t.Errorf("%s: once:\n%s\ntwice:\n%s", name, out, again)
	}
	return string(out)
}

// What loads means the same with canonical names.
func TestCanonical_testdata(t *testing.T) {
	files, err := filepath.Glob("testdata/valid/*.toml")
	if err != nil || len(files) < 20 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		canonical(t, file, string(text))
	}
}

var block = regexp.MustCompile("(?s)```toml\n(.*?)```")

// So do the examples of the pages that load by themselves.
func TestCanonical_pages(t *testing.T) {
	root, n := testutil.Root(t), 0
	pages, err := filepath.Glob(filepath.Join(root, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllSubmatch(text, -1) {
			o := Options{TextOnly: true, LookupEnv: environment.LookupEnv}
			if _, rep := o.Parse("edge.toml", m[1]); rep.OK() {
				n++
				canonical(t, "edge.toml", string(m[1]))
			}
		}
	}
	if n < 40 {
		t.Errorf("%d examples only", n)
	}
}

func TestCanonical_rewrites(t *testing.T) {
	const backend = "[upstreams.a]\nbackends = [{ address = \"h:1\" }]\n"
	for _, c := range []struct{ name, in, want string }{
		{"keys of [global]", "# all\n\n# four\nthreads = 4 # loops\nlog_level = 'warn'\nversion = 1\n[http]\n" +
			"listen = ':1'\n",
			"# all\n\nversion = 1\n\n[global]\n# four\nworker_threads = 4  # loops\nlog_level      = \"warn\"\n\n" +
				"[[listeners]]\nlisten = \":1\"\n"},
		{"keys of [global], which is there", "threads = 4\n[global]\nuser = 'x'\n# end\n",
			"[global]\nuser           = \"x\"\nworker_threads = 4\n# end\n"},
		{"keys of [global], dotted", "threads = 4\nglobal.user = 'x'\n",
			"global.user           = \"x\"\nglobal.worker_threads = 4\n"},
		{"keys of [global], inline", "threads = 4\nglobal = { user = 'x' }\n",
			"global = { user = \"x\", worker_threads = 4 }\n"},
		{"keys of defaults", "max_retries = 1\n[load_balancing]\n# why\nmethod = 'hash'\n",
			"[upstream_defaults]\nretry.attempts = 1\n# why\nload_balancing = \"ketama\"\n"},
		{"keys of [proxy]", "[proxy]\ngrpc = true # all\n", "grpc = true  # all\n"},
		{"dotted and inline",
			"http.listen = ':1'\nhttps = { listen = ':2', ssl_certificate = 'a' } # b\nproxy.grpc = true\n",
			"grpc = true\n\n[[listeners]]\nlisten = \":1\"\n\n# b\n[[listeners]]\nlisten = \":2\"\n" +
				"cert   = \"a\"\ntls    = true\n"},
		{"tables below",
			"[http.limits]\nbody_size = '1m'\n[https]\nlisten=':2'\ntls=true\ncert='a'\n[http]\nlisten=':1'\n",
			"[[listeners]]\nlisten = \":2\"\ntls    = true\ncert   = \"a\"\n\n" +
				"[[listeners]]\nlisten = \":1\"\n\n[listeners.limits]\nbody_size = \"1m\"\n"},
		{"lists of two kinds", "routes = [{ path = '/a', upstream = 'h:1' }, # one\n]\n[[proxy.rules]]\npath = '/b'\n" +
			"upstream = 'h:2'\n", "# one\n[[routes]]\npath = \"/a\"\ndest = \"h:1\"\n\n[[routes]]\n" +
			"path = \"/b\"\ndest = \"h:2\"\n"},
		{"inline list", "proxy = { rules = [{ path = '/a', upstream = 'h:1' }] }\n",
			"[[routes]]\npath = \"/a\"\ndest = \"h:1\"\n"},
		{"out of an inline table", backend + "breaker = { max_pending = 5, max_requests = 9 }\n",
			"[upstreams.a]\nbackends   = [{ address = \"h:1\" }]\nbreaker    = { max_requests = 9 }\npool.queue = 5\n"},
		{"the whole of an inline table", backend + "# room\nbreaker = { max_pending = 5 }\npool = { idle = 1 }\n",
			"[upstreams.a]\nbackends = [{ address = \"h:1\" }]\npool     = {\n  idle = 1,\n" +
				"  # room\n  queue = 5,\n}\n"},
		{"out of a table", backend + "[upstreams.a.breaker]\nmax_pending = 5\n[upstreams.a.pool]\nidle = 1\n",
			"[upstreams.a]\nbackends = [{ address = \"h:1\" }]\n\n[upstreams.a.breaker]\n\n" +
				"[upstreams.a.pool]\nidle  = 1\nqueue = 5\n"},
		{"backends", "[[load_balancing.backends]]\nname = 'a' # first\naddress = 'h:1' # slow\n" + backend +
			"# spare\n[[load_balancing.backends]]\naddress = 'h:2'\nupstream = 'a'\n",
			"[upstreams.a]\nbackends = [\n  { address = \"h:1\" },\n  # first\n  # slow\n" +
				"  { address = \"h:1\" },\n  # spare\n  { address = \"h:2\" },\n]\n\n" +
				"[upstreams.default]\nbackends = [\n  { address = \"h:1\" },\n]\n"},
		{"backends, inline", "load_balancing = { method = 'random', backends = [{ address = 'h:1' }] }\n",
			"[upstream_defaults]\nload_balancing = \"random\"\n\n[upstreams.default]\nbackends = [\n" +
				"  { address = \"h:1\" },\n]\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := canonical(t, "edge.toml", c.in); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// What has no canonical form is an error at its line.
func TestCanonical_refuses(t *testing.T) {
	for _, c := range []struct{ in, at, want string }{
		{"a = 1\nb = \n", "2:5", "value"},
		{"log_level = 'info'\n[global]\nlog_level = 'info'\n", "1:1", "global.log_level is there in another spelling"},
		{"\n[[load_balancing.backends]]\naddress = 'h:1'\nname = '${NAME}'\n", "4:1", "a name that is not known"},
	} {
		out, rep := Canonical(syntax.NewSource("edge.toml", []byte(c.in), 0))
		if out != nil || rep.OK() || !strings.Contains(rep.Errors[0].Message, c.want) ||
			rep.Errors[0].Pos.String() != "edge.toml:"+c.at {
			t.Errorf("%q: %s, %v", c.in, out, rep.Errors)
		}
	}
}

// The canonical form of what loads is its own canonical form.
func FuzzCanonical(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		out, rep := Canonical(syntax.NewSource("edge.toml", text, 0))
		if rep.OK() != (out != nil) {
			t.Fatal(rep.Errors)
		}
		o := Options{TextOnly: true, LookupEnv: environment.LookupEnv}
		before, _ := o.Parse("edge.toml", text)
		if out == nil || before == nil {
			return
		}
		after, _ := o.Parse("edge.toml", out)
		if after == nil || !Same(before, after) {
			return // edge fmt compares, and does not write it
		}
		if again, rep := Canonical(syntax.NewSource("edge.toml", out, 0)); string(again) != string(out) {
			t.Errorf("once:\n%s\ntwice, %v:\n%s", out, rep.Errors, again)
		}
	})
}
