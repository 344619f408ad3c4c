package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// fallbackSite is a folder, and an origin that answers with what it was asked.
func fallbackSite(t *testing.T) (dir, addr string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"a.txt": "file", "sub/index.html": "index", "empty/x": "x", ".env": "hidden", "shut": "shut",
	} {
		path := filepath.Join(dir, name)
		testutil.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		testutil.Must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Cache-Control", "max-age=600")
		fmt.Fprintf(w, "app %s %s %d %s", r.Method, r.URL, len(body), r.Header.Get("X-Env"))
	}))
	t.Cleanup(o.Close)
	return dir, o.Listener.Addr().String()
}

const fallbackFile = web + `
[destinations.site]
type = "static"
root = %q
fallback = %q

[upstreams.app]
backends = [{ address = %q }]

[[routes]]
name = "all"
pattern = "/*"
dest = "site"
headers = { request = { X-Env = "prod" } }
`

// A request whose path is no file goes to the fallback, as if the route led there.
func TestFallback_answersWhereThereIsNoFile(t *testing.T) {
	dir, addr := fallbackSite(t)
	s := start(t, Options{}, fallbackFile, dir, "app", addr)
	url := urlOf(t, s, "web")
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/a.txt", 200, "file"},
		{"HEAD", "/a.txt", 200, ""},
		{"POST", "/a.txt", 405, ""},
		{"GET", "/a.txt/", 200, "app GET /a.txt/ 0 prod"},
		{"GET", "/sub", 301, ""},
		{"GET", "/sub/", 200, "index"},
		{"GET", "/empty/", 200, "app GET /empty/ 0 prod"},
		{"GET", "/empty", 200, "app GET /empty 0 prod"},
		{"GET", "/.env", 200, "app GET /.env 0 prod"},
		{"GET", "/none?a=b", 200, "app GET /none?a=b 0 prod"},
		{"DELETE", "/none", 200, "app DELETE /none 0 prod"},
		{"OPTIONS", "/none", 200, "app OPTIONS /none 0 prod"},
		{"GET", "/", 200, "app GET / 0 prod"},
	} {
		for range 2 { // looked for, and held
			resp := askFor(t, c.method, url+c.path)
			if body := bodyOf(t, resp); resp.StatusCode != c.status || c.body != "" && body != c.body {
				t.Errorf("%s %s: %s %q", c.method, c.path, resp.Status, body)
			}
		}
	}
}

// Bodies that no buffer has room for go on whole, from clients of HTTP/1 and HTTP/2 that are not ours.
func TestFallback_passesLargeBodiesOn(t *testing.T) {
	dir, addr := fallbackSite(t)
	s := start(t, Options{}, fallbackFile, dir, "app", addr)
	const size = 5 << 20
	body := filepath.Join(t.TempDir(), "body")
	testutil.Must(t, os.WriteFile(body, bytes.Repeat([]byte("x"), size), 0o600))
	for _, version := range []string{"--http1.1", "--http2-prior-knowledge"} {
		out, err := exec.Command("curl", "-sS", "--noproxy", "*", version, "-T", body, "-w", " %{http_code}",
			"--max-time", fmt.Sprint(testutil.Minutes.Seconds()), urlOf(t, s, "web")+"/up").CombinedOutput()
		if want := fmt.Sprintf("app PUT /up %d prod 200", size); err != nil || string(out) != want {
			t.Errorf("%s: %q %v", version, out, err)
		}
	}
}

// The access log of a file that is held has times of this request, not of the machine.
func TestFallback_timesOfHeldFiles(t *testing.T) {
	dir, addr := fallbackSite(t)
	path := filepath.Join(t.TempDir(), "access.log")
	s := start(t, Options{}, "log.output = [%q]\n"+fallbackFile, path, dir, "app", addr)
	for range 20 {
		bodyOf(t, askFor(t, "GET", urlOf(t, s, "web")+"/a.txt"))
	}
	testutil.Must(t, s.Stop())
	log, err := os.ReadFile(path)
	testutil.Must(t, err)
	for line := range strings.Lines(string(log)) {
		var r struct {
			T struct {
				FirstByte float64 `json:"first_byte"`
			}
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.T.FirstByte > 1e6 {
			t.Fatal(line, err)
		}
	}
}

// The cache of the route stores answers of the fallback, not files.
func TestFallback_hasTheCacheOfTheRoute(t *testing.T) {
	dir, addr := fallbackSite(t)
	s := start(t, Options{}, fallbackFile+"cache = true\n", dir, "app", addr)
	for _, want := range []string{cacheMiss, cacheHit} {
		if body, got := cacheStatus(t, s, "/page"); !strings.HasPrefix(body, "app GET /page") || got != want {
			t.Errorf("%q, %q", body, got)
		}
	}
	for range 2 {
		if body, got := cacheStatus(t, s, "/a.txt"); body != "file" || got != "" {
			t.Errorf("%q, %q", body, got)
		}
	}
}

// A path is looked for as rewrite leaves it, and sent on so.
func TestFallback_looksForTheRewrittenPath(t *testing.T) {
	dir, addr := fallbackSite(t)
	s := start(t, Options{}, fallbackFile+"rewrite = { strip_prefix = \"/v1\" }\n", dir, "app", addr)
	for path, want := range map[string]string{"/v1/a.txt": "file", "/v1/b": "app GET /b 0 prod"} {
		wantEqual(t, bodyOf(t, askFor(t, "GET", urlOf(t, s, "web")+path)), want, "%s", path)
	}
}

// A rule that names a destination goes before files; a rule that denies, too.
func TestFallback_rulesGoFirst(t *testing.T) {
	dir, addr := fallbackSite(t)
	s := start(t, Options{}, fallbackFile+`
[[routes.rules]]
when = 'header.x-new == "1"'
dest = "app"
[[routes.rules]]
when = 'header.x-new == "2"'
deny = 403
`, dir, "app", addr)
	for field, want := range map[string]string{"1": "app GET /a.txt 0 prod", "0": "file"} {
		wantEqual(t, bodyOf(t, askFor(t, "GET", urlOf(t, s, "web")+"/a.txt", "X-New: "+field)), want, "%s", field)
	}
	if resp := askFor(t, "GET", urlOf(t, s, "web")+"/a.txt", "X-New: 2"); resp.StatusCode != 403 {
		t.Error(resp.Status)
	}
}

// Two folders, then an answer; and the destination "default" of requests that no route takes.
func TestFallback_leadsOnByName(t *testing.T) {
	dir, addr := fallbackSite(t)
	other := t.TempDir()
	testutil.Must(t, os.WriteFile(filepath.Join(other, "b.txt"), []byte("second"), 0o644))
	s := start(t, Options{}, web+`
destinations.default = { type = "static", root = %q, fallback = "second" }
destinations.second = { type = "static", root = %q, fallback = %q }
`, dir, other, "http://"+addr)
	want := map[string]string{"/a.txt": "file", "/b.txt": "second", "/c": "app GET /c 0 "}
	for path, want := range want {
		wantEqual(t, bodyOf(t, askFor(t, "GET", urlOf(t, s, "web")+path)), want, "%s", path)
	}
}

// A new file is served within a second or so, and after that time a path whose file was removed goes to the fallback; a
// reload leads elsewhere at once.
func TestFallback_filesComeAndGo(t *testing.T) {
	t.Parallel()
	dir, addr := fallbackSite(t)
	s := start(t, Options{}, fallbackFile, dir, "app", addr)
	url, path := urlOf(t, s, "web")+"/new", filepath.Join(dir, "new")
	get := func() string { return bodyOf(t, askFor(t, "GET", url)) }
	if body := get(); body != "app GET /new 0 prod" {
		t.Fatal(body)
	}
	testutil.Must(t, os.WriteFile(path, []byte("new"), 0o644))
	testutil.Eventually(t, testutil.Patience, func() bool { return get() == "new" }, "the new file")
	testutil.Must(t, os.Remove(path))
	testutil.Eventually(t, testutil.Patience, func() bool { return get() != "new" }, "the fallback")
	apply(t, s, fallbackFile, dir, "status:418", addr)
	if resp := askFor(t, "GET", url); resp.StatusCode != 418 {
		t.Error(resp.Status)
	}
}

// A file that may not be read is 403, not a request for the fallback.
func TestFallback_forbiddenFiles(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read all files")
	}
	dir, addr := fallbackSite(t)
	testutil.Must(t, os.Chmod(filepath.Join(dir, "shut"), 0))
	s := start(t, Options{}, fallbackFile, dir, "app", addr)
	if resp := askFor(t, "GET", urlOf(t, s, "web")+"/shut"); resp.StatusCode != 403 {
		t.Error(resp.Status)
	}
}

// Wrong fallbacks are refused, and each error has the key to write.
func TestFallback_isChecked(t *testing.T) {
	const site = "[destinations.site]\ntype = \"static\"\nroot = \"/\"\n"
	const route = "\n[[routes]]\npattern = \"/*\"\ndest = \"site\"\n"
	for _, c := range []struct{ text, want string }{
		{site + `fallback = "site"` + route, `fallback = "site" leads back to "site"`},
		{site + `fallback = "none"` + route, `upstream "none" does not exist`},
		{site + `fallback = "http://{host}:1"` + route, `is not a host name`},
		{site + `try = ["{path}", "127.0.0.1:3000"]` + route, `write fallback = "127.0.0.1:3000"`},
		{site + `try = ["{path}", "@app"]` + route, `write fallback = "app"`},
		{site + "fallback = \"a:1\"\ntry = [\"{path}\", \"/i.html\"]" + route, `nothing is left for fallback`},
		{site + `try_files = ["{path}"]` + route, `fallback = "NAME" for @NAME`},
		{site + "fallback = \"two\"\n" + strings.Replace(site, "site", "two", 1) + "fallback = \"site\"" + route,
			`leads back`},
		{site + `fallback = "a:1"` + route + "[[routes.rules]]\ndest = \"site\"\n", `a rule has no fallback`},
		{"[upstreams.a]\nfallback = \"b\"\n" + route, `failover`},
		{"[[routes]]\npattern = \"/*\"\ndest = \"static:/\"\nfallback = \"b\"\n", `[destinations.NAME]`},
	} {
		_, rep := config.Parse("edge.toml", []byte(c.text))
		var said strings.Builder
		_ = rep.Render(&said)
		wantPart(t, said.String(), c.want, "%s", c.text)
	}
}

// A request for a WebSocket goes on as an upgrade does.
func TestFallback_passesWebSockets(t *testing.T) {
	dir, _ := fallbackSite(t)
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprintf(buffered, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\nhello",
			r.Header.Get("Upgrade"))
		_ = buffered.Flush()
		_, _ = buffered.ReadByte()
	}))
	t.Cleanup(o.Close)
	s := start(t, Options{}, fallbackFile, dir, "app", o.Listener.Addr().String())
	c, err := net.Dial("tcp", strings.TrimPrefix(urlOf(t, s, "web"), "http://"))
	testutil.Must(t, err)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testutil.Patience))
	fmt.Fprint(c, "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	if text, err := r.Peek(5); err != nil || string(text) != "hello" {
		t.Errorf("%q, %v", text, err)
	}
}
