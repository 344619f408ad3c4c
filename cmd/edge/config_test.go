package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// folder makes a folder of configuration files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		testutil.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		putFile(t, path, "%s", text)
	}
	return dir
}

// named is an origin that answers with its name.
func named(t *testing.T, name string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// The five lines that every deployment of such a load balancer begins with. As they are they serve the hello page on
// port 8080, which may be taken here.
func TestRun_fiveLinesOfYAML(t *testing.T) {
	dir := folder(t, map[string]string{"conf.yaml": `---
version: 1
threads: 2
pid_file: load_balancer.pid
error_log: load_balancer_err.log
upgrade_sock: load_balancer.sock
`})
	commands(t, dir, command{"check -c conf.yaml", 0, "configuration OK: 1 listener, 0 routes, 0 upstreams"})
	p := launch(t, dir, "run", "-c", "conf.yaml", "--set", "http.listen=127.0.0.1:0")
	log := filepath.Join(dir, "load_balancer_err.log")
	addr := listening(t, log)
	if body := curlWith(t, "http://"+addr+"/"); !strings.Contains(body, "There is nothing at this address") {
		t.Errorf("got %q", body)
	}
	if pid, err := os.ReadFile(filepath.Join(dir, "load_balancer.pid")); err != nil || len(pid) == 0 {
		t.Errorf("pid file: %q %v", pid, err)
	}
	stopsWell(t, p)
}

// A reload reads all files again: those that are included, of secrets, and of lists.
func TestRun_reloadReadsEachFileAgain(t *testing.T) {
	dir := folder(t, map[string]string{
		"edge.yaml": "include: conf.d/*\nlog: {output: []}\nhttp:\n  listen: 127.0.0.1:0\n",
		"conf.d/a.toml": "[[routes]]\npattern = '/a'\ndest = 'status:${file:status}'\n" +
			"[lists.at]\ntype = 'texts'\nfile = '../at.txt'\n[[routes]]\nwhen = 'path in list.at'\n" +
			"dest = 'status:204'\n",
		"status": "201\n", "at.txt": "/listed\n",
	})
	e := launch(t, dir)
	addr := listens(e)
	want := func(when string, a, b, listed int) {
		t.Helper()
		for path, status := range map[string]int{"/a": a, "/b": b, "/listed": listed} {
			if resp, _ := testutil.Get(t, client(t), "http://"+addr+path); resp.StatusCode != status {
				t.Errorf("%s: %s is answered %d, want %d", when, path, resp.StatusCode, status)
			}
		}
	}
	put := func(name, text string) { putFile(t, filepath.Join(dir, name), "%s", text) }
	const good = `{"routes": [{"pattern": "/b", "dest": "status:202"}]}`
	want("before", 201, 404, 204)
	put("conf.d/b.json", good)
	put("status", "203\n")
	put("at.txt", "/other\n")
	e.Signal(syscall.SIGHUP)
	e.WaitLine(`"msg":"configuration reloaded","changes":{.*"list at"`)
	want("after", 203, 202, 404)
	for _, bad := range []struct{ json, list, said string }{
		{`{"routes": [}`, "/listed\n", `conf.d/b.json:1:13: error: `},
		{good, "/listed\n  \"b\n", `at.txt:2:\d+: error: `},
	} {
		put("conf.d/b.json", bad.json)
		put("at.txt", bad.list)
		e.Signal(syscall.SIGHUP)
		e.WaitLine(`(?s)"level":"ERROR".*` + bad.said + `.*reload failed, nothing has changed`)
		want("after a bad file", 203, 202, 404)
	}
}

func TestCheck_files(t *testing.T) {
	dir := folder(t, map[string]string{
		"edge.yaml":  "include: [a.toml]\nhttp: {listen: ':80'}\nroutes: [{pattern: /*, dest: 'status:204'}]\n",
		"a.toml":     "[upstreams.spare]\nbackends = [{ address = '10.0.0.1:80' }]\n",
		"secret":     "tops3cret!",
		"wrong.toml": "log_level = '${file:secret}'\n",
	})
	commands(t, dir,
		command{"check", 0, `a.toml:1:1: warning: no route goes to upstream "spare"   [unused-upstream]`},
		command{"check --strict", 2, "unused-upstream"},
		command{"check --strict --set allow=['unused-upstream']", 0, "configuration OK"},
		command{"check --json", 0, `"ok": true`},
		command{"check --set threads=0", 1, `--set:1:9: error: "threads" must be between 1 and 1024`},
		command{"check -c wrong.toml", 1, `not "${…}"|!tops3cret`},
		command{"check --json -c wrong.toml", 1, `"ok": false|!tops3cret`},
		command{"run --set threads=0", 1, "--set:1:9"},
	)
}

// What a filter warns of when it is made is a finding of edge check, and a step of edge explain.
func TestCheck_warningsOfFilters(t *testing.T) {
	dir := folder(t, map[string]string{"edge.toml": "http.listen = ':80'\n[filters.f]\ntype = 'fault'\nabort = '1%'\n" +
		"[[routes]]\npattern = '/*'\ndest = 'status:204'\nfilters = ['f']\n"})
	const warns = "a filter makes requests fail on purpose"
	commands(t, dir,
		command{"check", 0, `edge.toml:2:1: warning: the filter "f": ` + warns + "|!WARN"},
		command{"check --json", 0, `"code": "filter-warning"|!WARN`},
		command{"check --strict --set allow=['filter-warning']", 0, "configuration OK|!WARN"},
		command{"explain http://localhost/", 0, "filter: f warns: " + warns + "|!WARN"},
	)
}

// The hint for an address with a path names what edge proxy can do about it.
func TestProxy_addressWithAPath(t *testing.T) {
	code, said := edge(t, "proxy", "--from", "0", "--to", "http://127.0.0.1:1/app")
	if code == 0 || !strings.Contains(said, "and for the path --save FILE, whose route gets rewrite = ") {
		t.Errorf("%d %s", code, said)
	}
}

// What edge proxy --save writes loads, and serves as edge proxy does.
func TestProxy_savesWhatItDoes(t *testing.T) {
	t.Parallel()
	address, up := testutil.FreeAddr(t), origin(t)
	file := filepath.Join(t.TempDir(), "edge.toml")
	args := []string{"proxy", "--from", address, "--to", up, "--save", file}
	p := launch(t, "", args...)
	p.WaitPort(address)
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no drain waits for its connections
	_, before := testutil.Get(t, once, "http://"+address+"/hello")
	p.Stop()
	if code, out := edge(t, "check", "--strict", file); code != 0 {
		t.Fatalf("exit %d:\n%s", code, out)
	}
	commands(t, "", command{"fmt --check " + file, 0, ""})
	if code, out := edge(t, args...); code != exitError || !strings.Contains(out, "exists") {
		t.Errorf("a file that is there: exit %d:\n%s", code, out)
	}
	p = launch(t, "", "run", "-c", file)
	p.WaitPort(address)
	if _, after := testutil.Get(t, once, "http://"+address+"/hello"); after != before || before == "" {
		t.Errorf("%q, and from the file %q", before, after)
	}
	p.Stop()
}
