package static_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/filter/static"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// site writes a folder with files, and returns its path. What ends with "/" is a folder.
func site(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "www")
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			os.Mkdir(p, 0o755)
		} else if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// serve serves a folder and returns the URL of the server.
func serve(t testing.TB, c *static.Config) string {
	t.Helper()
	to, err := filterrig.Made(static.New, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return filterrig.Start(t, &edge.Server{
		Addr: "127.0.0.1:0", Session: session.ServerOptions{H2C: true},
		Routes: []proxy.Route{
			{Path: "/under/", Rewrite: &proxy.Rewrite{StripPrefix: "/under"}, To: to}, {To: to},
		},
	})
}

// ask sends a request as it is written, and returns the answer with its body.
func ask(t testing.TB, url, method, target string, fields ...string) (*http.Response, string) {
	t.Helper()
	w := testutil.Dial(t, strings.TrimPrefix(url, "http://"))
	w.Send(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n", method, target),
		strings.Join(append(fields, "\r\n"), "\r\n"))
	resp, body := w.ReadResponse(method)
	return resp, body
}

var pages = map[string]string{
	"index.html": "home", "a.txt": "text", "docs/index.html": "docs", "docs/intro.html": "intro", "empty/": "",
	"assets/app.js": "js", "assets/app.js.gz": "js.gz", "assets/app.js.zst": "js.zst", "assets/app.js.br": "js.br",
	".secret": "no", ".html": "no", "secret.gz": "another",
	"docs/.git/config": "no", ".well-known/security.txt": "contact", "x y.html": "blank",
	"data": "<html>", "ä.txt": "umlaut",
}

func TestStatic_paths(t *testing.T) {
	dir := site(t, pages)
	if err := os.WriteFile(filepath.Join(dir, "..", "outside"), []byte("outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"out": "../outside", "abs": "/etc/passwd", "loop": "loop", "in": "a.txt",
		"folder": "docs", "outdir": ".."} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	plain := serve(t, &static.Config{Root: dir})
	app := serve(t, &static.Config{Root: dir, Try: []string{"{path}", "{path}.html", "/index.html"}})
	hidden := serve(t, &static.Config{Root: dir, Hidden: true})
	for _, c := range []struct {
		url, target string
		status      int
		body        string // or the Location
	}{
		{plain, "/", 200, "home"}, {plain, "/a.txt", 200, "text"}, {plain, "/a.txt/", 404, ""},
		{plain, "/docs", 301, "./docs/"}, {plain, "/docs?x=/1", 301, "./docs/?x=/1"}, {plain, "/docs/", 200, "docs"},
		{plain, "/under/docs", 301, "./docs/"}, {plain, "/under/docs/intro.html", 200, "intro"},
		{plain, "/docs/intro", 404, ""}, {plain, "/empty/", 404, ""}, {plain, "/empty", 404, ""},
		{plain, "/none", 404, ""}, {plain, "/x%20y.html", 200, "blank"}, {plain, "/%C3%A4.txt", 200, "umlaut"},
		{app, "/docs/none/", 200, "home"}, {app, "//", 200, "home"}, {hidden, "/.html", 200, "no"},
		{plain, "/.secret", 404, ""}, {plain, "/docs/.git/config", 404, ""},
		{plain, "/.well-known/security.txt", 200, "contact"}, {hidden, "/.secret", 200, "no"},
		{plain, "/in", 200, "text"}, {plain, "/folder/intro.html", 200, "intro"}, {plain, "/out", 404, ""},
		{plain, "/abs", 404, ""}, {plain, "/loop", 404, ""}, {plain, "/outdir/outside", 404, ""},
		{plain, "/fifo", 404, ""},
		{plain, "/..%5coutside", 404, ""}, {plain, "/docs%2findex.html", 404, ""}, {plain, "/a.txt%00", 404, ""},
		{plain, "/docs\\index.html", 404, ""}, {hidden, "/%2e%2e/outside", 404, ""},
		{hidden, "/docs/..%2f..%2foutside", 404, ""},
		{plain, "/" + strings.Repeat("n", 1020), 404, ""}, {plain, "//a.txt", 200, "text"},
		{app, "/docs/intro", 200, "intro"}, {app, "/deep/link", 200, "home"}, {app, "/empty/", 200, "home"},
		{app, "/a.txt", 200, "text"}, {app, "/.secret", 404, ""}, {app, "/docs", 301, "./docs/"},
	} {
		resp, body := ask(t, c.url, "GET", c.target)
		got := body
		if c.status == 301 {
			got = resp.Header.Get("Location")
		}
		if c.status == 400 || c.status == 404 {
			got = ""
		}
		bad := resp.StatusCode == 400 && c.status == 404 // the path has two readings
		if resp.StatusCode != c.status && !bad || got != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.target, resp.StatusCode, body, c.status, c.body)
		}
		if strings.Contains(body, "outside") || strings.Contains(body, "root:") {
			t.Fatalf("%s: %q", c.target, body)
		}
	}
	for method, status := range map[string]int{"POST": 405, "DELETE": 405, "OPTIONS": 405, "HEAD": 200} {
		resp, _ := ask(t, plain, method, "/a.txt")
		if resp.StatusCode != status || (status == 405) != (resp.Header.Get("Allow") == "GET, HEAD") {
			t.Errorf("%s: %s %v", method, resp.Status, resp.Header)
		}
	}
}

// Ranges, conditions and types are answered as net/http answers them, siblings as well.
func TestStatic_answersOfHTTP(t *testing.T) {
	dir := site(t, pages)
	url := serve(t, &static.Config{Root: dir, CacheControl: map[string]string{
		"*": "no-cache", "/assets/*": "max-age=60", "*.txt": "no-store",
	}})
	resp, _ := ask(t, url, "GET", "/a.txt")
	h := resp.Header
	tag, date := h.Get("ETag"), h.Get("Last-Modified")
	if h.Get("Content-Type") != "text/plain; charset=utf-8" || h.Get("Cache-Control") != "no-store" || tag == "" ||
		h.Get("Accept-Ranges") != "bytes" || resp.ContentLength != 4 || h.Get("Vary") != "" {
		t.Error(h)
	}
	for i, c := range []struct {
		target string
		fields []string
		status int
		body   string
		field  string // "Name: value" that the answer has
	}{
		{"/a.txt", []string{"If-None-Match: " + tag}, 304, "", ""},
		{"/a.txt", []string{"If-Modified-Since: " + date}, 304, "", ""},
		{"/a.txt", []string{`If-None-Match: "x"`, "If-Modified-Since: " + date}, 200, "text", ""},
		{"/a.txt", []string{`If-Match: "x"`}, 412, "", ""},
		{"/a.txt", []string{"Range: bytes=1-2"}, 206, "ex", "Content-Range: bytes 1-2/4"},
		{"/a.txt", []string{"Range: bytes=-1"}, 206, "t", ""},
		{"/a.txt", []string{"Range: bytes=9-"}, 416, "", "Content-Range: bytes */4"},
		{"/a.txt", []string{"Range: bytes=1-2", "If-Range: " + tag}, 206, "ex", ""},
		{"/a.txt", []string{"Range: bytes=1-2", `If-Range: W/` + tag}, 200, "text", ""},
		{"/a.txt", []string{"Range: bytes=0-0,2-2"}, 200, "text", "Content-Length: 4"},
		{"/a.txt", []string{"Range: bytes=0-0", "Range: bytes=2-2"}, 200, "text", ""},
		{"/a.txt", []string{"Range: bytes=0-0,2-2", "If-Range: " + tag}, 200, "text", ""},
		{"/a.txt", []string{"Range: bytes=0-0,9-", "If-None-Match: " + tag}, 304, "", ""},
		{"/a.txt", []string{"Range: bytes=8-,9-"}, 200, "text", ""},
		{"/assets/app.js", []string{"Accept-Encoding: gzip, br, zstd"}, 200, "js.zst", "Content-Encoding: zstd"},
		{"/assets/app.js", []string{"Accept-Encoding: gzip, br"}, 200, "js.br", "Content-Length: 5"},
		{"/assets/app.js", []string{"Accept-Encoding: gzip"}, 200, "js.gz",
			"Content-Type: text/javascript; charset=utf-8"},
		{"/assets/app.js", []string{"Accept-Encoding: gzip", "Range: bytes=0-1"}, 206, "js", "Content-Encoding: gzip"},
		{"/assets/app.js", nil, 200, "js", "Vary: Accept-Encoding"},
		{"/assets/app.js", []string{"Accept-Encoding: gzip;q=0"}, 200, "js", "Cache-Control: max-age=60"},
		{"/data", nil, 200, "<html>", "Content-Type: text/html; charset=utf-8"},
	} {
		resp, body := ask(t, url, "GET", c.target, c.fields...)
		name, value, _ := strings.Cut(c.field, ": ")
		if resp.StatusCode != c.status || body != c.body && c.body != "" ||
			name != "" && resp.Header.Get(name) != value {
			t.Errorf("%d: %s %q, %v", i, resp.Status, body, resp.Header)
		}
	}
	hidden := serve(t, &static.Config{Root: dir, Hidden: true})
	resp, body := ask(t, hidden, "GET", "/.secret", "Accept-Encoding: gzip")
	if body != "no" || resp.Header.Get("Vary") != "" {
		t.Error(body, resp.Header)
	}
	tags := map[string]bool{}
	for _, accept := range []string{"zstd", "br", "gzip", "identity"} {
		resp, _ := ask(t, url, "GET", "/assets/app.js", "Accept-Encoding: "+accept)
		tags[resp.Header.Get("ETag")] = true
	}
	if len(tags) != 4 {
		t.Error(tags)
	}
}

func TestStatic_lists(t *testing.T) {
	dir := site(t, map[string]string{
		"b.txt": "12345", "a&b <i>.txt": "", "sub/x": "", ".hidden": "", "with/index.html": "page",
	})
	url := serve(t, &static.Config{Root: dir, Listing: true})
	_, body := ask(t, url, "GET", "/")
	for _, part := range []string{`<a href="./a&amp;b%20%3Ci%3E.txt">a&amp;b &lt;i&gt;.txt</a>`,
		`<a href="./sub/">sub/</a>`, `<td>5<td>`} {
		if !strings.Contains(body, part) {
			t.Errorf("no %s in %s", part, body)
		}
	}
	if strings.Contains(body, "hidden") || strings.Contains(body, "<script") ||
		strings.Index(body, "a&amp;b") > strings.Index(body, "b.txt") {
		t.Error(body)
	}
	resp, body := ask(t, url, "GET", "/", "Accept: application/json")
	const first = `[{"name":"a\u0026b \u003ci\u003e.txt","folder":false,"size":0,`
	if !strings.HasPrefix(body, first) || resp.Header.Get("Vary") != "Accept" {
		t.Error(body, resp.Header)
	}
	if resp, _ := ask(t, url, "GET", "/sub"); resp.Header.Get("Location") != "./sub/" {
		t.Error(resp.Header)
	}
	if _, body := ask(t, url, "GET", "/with/"); body != "page" {
		t.Error(body)
	}
}

// A client gets the file that was opened for it, whatever happens to its name. One that gets shorter is cut off.
func TestStatic_filesThatChange(t *testing.T) {
	old := strings.Repeat("old ", 2<<20)
	replace := func(p string) error {
		if err := os.WriteFile(p+".new", []byte("new"), 0o644); err != nil {
			return err
		}
		return os.Rename(p+".new", p)
	}
	shorten := func(p string) error { return os.Truncate(p, 5<<20) }
	for _, c := range []struct {
		path, name string
		change     func(p string) error
		whole      bool
	}{
		{"/plain", "f", replace, true}, {"/plain", "g", shorten, false}, {"/plain", "h", os.Remove, true},
		{"/http", "f", replace, true}, {"/http", "g", shorten, false}, {"/http", "h", os.Remove, true},
	} {
		dir := site(t, map[string]string{c.name: old})
		url, plain := both(t, &static.Config{Root: dir})
		age(t, url, plain, "/"+c.name)
		resp, err := http.Get(url + c.path + "/" + c.name)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.change(filepath.Join(dir, c.name)); err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if whole := err == nil && string(body) == old; whole != c.whole {
			t.Errorf("%s %s: %d bytes, %v", c.path, c.name, len(body), err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// The page of the route answers for files that there are not.
func TestStatic_errorPages(t *testing.T) {
	url := serve(t, &static.Config{Root: site(t, pages)})
	resp, body := ask(t, url, "GET", "/none", "Accept: text/html")
	if resp.StatusCode != 404 || !strings.Contains(body, "There is nothing at this address.") ||
		!strings.Contains(resp.Header.Get("Content-Type"), "text/html") {
		t.Error(resp.Status, resp.Header, body)
	}
}

func TestConfig_Check(t *testing.T) {
	dir := t.TempDir()
	for want, c := range map[string]static.Config{
		"root":                 {},
		"no such file":         {Root: filepath.Join(dir, "none")},
		"no path below":        {Root: dir, Try: []string{"{path}", "../x"}},
		"no path below the":    {Root: dir, Try: []string{"/{uri}"}},
		"no name of a file":    {Root: dir, Index: []string{"a/b"}},
		"no pattern":           {Root: dir, CacheControl: map[string]string{"a*b": "x"}},
		"cannot stand in a fi": {Root: dir, CacheControl: map[string]string{"*": "a\nb"}},
		"no charset":           {Root: dir, Charset: "a b"},
	} {
		if _, err := filterrig.Made(static.New, &c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// The same files by http.FileServerFS of the standard library, but for the ranges that this reads otherwise.
func TestStatic_asTheStandardLibrary(t *testing.T) {
	dir := site(t, map[string]string{"a.html": strings.Repeat("0123456789", 100), "b.bin": "\x00\x01", "c.txt": ""})
	url := serve(t, &static.Config{Root: dir})
	std := httptest.NewServer(http.FileServerFS(os.DirFS(dir)))
	defer std.Close()
	for _, target := range []string{"/a.html", "/b.bin", "/c.txt"} {
		for _, ranges := range []string{"", "bytes=0-0", "bytes=5-", "bytes=-7", "bytes=9999-"} {
			for _, condition := range []string{"", "If-Modified-Since: Mon, 01 Jan 2035 00:00:00 GMT",
				"If-Unmodified-Since: Mon, 01 Jan 2001 00:00:00 GMT", "If-None-Match: *", "If-Match: *"} {
				var fields []string
				for _, f := range []string{"Range: " + ranges, condition} {
					if _, v, _ := strings.Cut(f, ": "); v != "" {
						fields = append(fields, f)
					}
				}
				one, first := ask(t, url, "GET", target, fields...)
				two, second := ask(t, std.URL, "GET", target, fields...)
				if strings.HasPrefix(condition, "If-Match") { // the standard library has no ETag
					continue
				}
				if one.StatusCode != two.StatusCode || first != second ||
					one.Header.Get("Content-Range") != two.Header.Get("Content-Range") {
					t.Errorf("%s %v: %s %v, want %s %v", target, fields, one.Status, one.Header, two.Status, two.Header)
				}
			}
		}
	}
}

// A link is served under its own name, wherever in the root it leads: docs/static.md says so of hidden files.
func TestStatic_linkToAHiddenFile(t *testing.T) {
	dir := site(t, map[string]string{".env": "hidden"})
	if err := os.Symlink(".env", filepath.Join(dir, "env.txt")); err != nil {
		t.Fatal(err)
	}
	url := serve(t, &static.Config{Root: dir})
	for target, want := range map[string]int{"/.env": 404, "/env.txt": 200} {
		if resp, _ := ask(t, url, "GET", target); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", target, resp.StatusCode, want)
		}
	}
}
