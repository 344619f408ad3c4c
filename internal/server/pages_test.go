package server

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// paged is a configuration with pages at every level. It takes the folder of files, and a dead backend.
const paged = quiet + `
global.worker_threads = 2

[error_pages]
404 = "404.html"
5xx = "5xx.html"

[http]
name = "plain"
listen = "127.0.0.1:0"
error_pages = { 400 = { body = "<p>no: {reason} {request_id}</p>" } }

[[routes]]
pattern = "/dead/*"
dest = %q

[[routes]]
pattern = "/own/*"
dest = %[1]q
error_pages = { 502 = ["own.html", { body = '{ "id": "{request_id}" }', type = "application/json" }] }

[[routes]]
pattern = "/closed"
dest = "status:503"
headers.response = { Retry-After = "600" }

[[routes]]
pattern = "/gone"
dest = "status:410"

[[routes]]
pattern = "/created"
dest = "status:201"
`

// withPages starts a Server with the configuration and writes the files of its pages. load reads it again.
func withPages(t *testing.T) (s *Server, dir string, load func() *config.Config) {
	t.Helper()
	dir = t.TempDir()
	writePage(t, dir, "404.html", "<p>missing: {status} at {host}</p>")
	writePage(t, dir, "5xx.html", "<p>down: {status} {reason}</p>")
	writePage(t, dir, "own.html", "<p>own: {status}</p>")
	text := fmt.Sprintf(paged, testutil.FreeAddr(t)) + secured(t, testutil.NewAuthority(t), dir)
	writePage(t, dir, "edge.toml", text)
	load = func() *config.Config {
		c, rep := (config.Options{}).Load(filepath.Join(dir, "edge.toml"))
		if c == nil {
			var b strings.Builder
			_ = rep.Render(&b)
			t.Fatal(b.String())
		}
		return c
	}
	s = serve(t, load(), Options{})
	return s, dir, load
}

func writePage(t *testing.T, dir, name, text string) {
	t.Helper()
	testutil.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

func TestErrorPages_byPlaceStatusAndAccept(t *testing.T) {
	s, _, _ := withPages(t)
	for _, c := range []struct{ path, accept, want string }{
		{"/none", "text/html", "404 text/html; charset=utf-8 <p>missing: 404 at 127.0.0.1</p>"},
		{"/none", "*/*", "404 text/html; charset=utf-8 <p>missing: 404 at 127.0.0.1</p>"},
		{"/none", "application/json", `404 application/json {"status":404,`},
		{"/dead/x", "text/html", "502 text/html; charset=utf-8 <p>down: 502 Bad Gateway</p>"},
		{"/own/x", "text/html", "502 text/html; charset=utf-8 <p>own: 502</p>"},
		{"/own/x", "application/json", `502 application/json { "id": "`},
		{"/own/x", "text/plain", "502 text/plain; charset=utf-8 502 Bad Gateway\nThis site"},
		{"/closed", "text/html", "503 text/html; charset=utf-8 <p>down: 503 Service Unavailable</p>"},
		{"/gone", "text/html", "410 text/html; charset=utf-8 <!doctype html>"},
		{"/created", "text/html", "201 text/plain; charset=utf-8 201 Created\n"},
	} {
		resp := askFor(t, "GET", urlOf(t, s, "plain")+c.path, "Accept: "+c.accept)
		got := fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Content-Type"), " ", bodyOf(t, resp))
		wantPrefix(t, got, c.want, "%s, %s", c.path, c.accept)
		if retry := resp.Header.Get("Retry-After"); (retry == "600") != (c.path == "/closed") {
			t.Errorf("%s: Retry-After %q", c.path, retry)
		}
		head := askFor(t, "HEAD", urlOf(t, s, "plain")+c.path, "Accept: "+c.accept)
		if head.ContentLength != resp.ContentLength || head.StatusCode != resp.StatusCode || bodyOf(t, head) != "" {
			t.Errorf("HEAD %s: %d bytes, not %d", c.path, head.ContentLength, resp.ContentLength)
		}
	}
	w := testutil.Dial(t, strings.TrimPrefix(urlOf(t, s, "plain"), "http://"))
	w.Send("malformed\r\n\r\n")
	if got := w.ReadAll(); !strings.Contains(got, "\r\n\r\n<p>no: Bad Request ") || strings.Contains(got, "{") {
		t.Errorf("%q", got)
	}
}

// What a client says of itself is text in the page.
func TestErrorPages_escapeTheHost(t *testing.T) {
	s, _, _ := withPages(t)
	w := testutil.Dial(t, strings.TrimPrefix(urlOf(t, s, "plain"), "http://"))
	w.Send("GET /none HTTP/1.1\r\nHost: a'b&c\r\nConnection: close\r\n\r\n")
	got := w.ReadAll()
	wantPart(t, got, "at a&#39;b&#38;c</p>")
}

func TestErrorPages_overCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	s, _, _ := withPages(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--http1.1", urlOf(t, s, "plain") + "/dead/"},
			"1.1 502 text/html; charset=utf-8 <p>down: 502 Bad Gateway</p>"},
		{[]string{"--http2-prior-knowledge", urlOf(t, s, "plain") + "/gone"},
			"2 410 text/plain; charset=utf-8 410 Gone\n"},
		{[]string{"-k", "--http2", secureURL(t, s) + "/none"}, "2 404 text/html; charset=utf-8 <p>missing: 404 at "},
		{[]string{"-k", "--http2", "-H", "Accept: application/json", secureURL(t, s) + "/dead/"},
			`2 502 application/json {"status":502,"title":"Bad Gateway",`},
	} {
		body := filepath.Join(t.TempDir(), "body")
		args := append([]string{"-sS", "--max-time", "30", "--noproxy", "*", "-o", body,
			"-w", "%{http_version} %{http_code} %{content_type} "}, c.args...)
		out, err := exec.Command(curl, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v %s", c.args, err, out)
		}
		text, err := os.ReadFile(body)
		testutil.Must(t, err)
		wantPrefix(t, string(out)+string(text), c.want, "%v", c.args)
	}
}

// A reload reads the files again, and says that they have changed. A page that is gone leaves all as it was.
func TestErrorPages_reload(t *testing.T) {
	s, dir, load := withPages(t)
	wants := func(path, want string) {
		t.Helper()
		resp := askFor(t, "GET", urlOf(t, s, "plain")+path, "Accept: text/html")
		wantEqual(t, bodyOf(t, resp), want, "%s", path)
	}
	if d, err := s.Apply(load()); err != nil || !d.Empty() {
		t.Fatalf("%+v, %v", d, err)
	}
	writePage(t, dir, "404.html", "<p>new</p>")
	writePage(t, dir, "own.html", "<p>own, new</p>")
	d, err := s.Apply(load())
	if err != nil || fmt.Sprint(d.Changed) != "[error_pages route /own/*]" {
		t.Fatalf("%+v, %v", d, err)
	}
	wants("/none", "<p>new</p>")
	wants("/own/x", "<p>own, new</p>")
	wants("/dead/", "<p>down: 502 Bad Gateway</p>")
	testutil.Must(t, os.Remove(filepath.Join(dir, "404.html")))
	if c, _ := (config.Options{}).Load(filepath.Join(dir, "edge.toml")); c != nil {
		t.Fatal("a page that is gone is no error")
	}
	wants("/none", "<p>new</p>")
	rest := parse(t, strings.Split(readFile(filepath.Join(dir, "edge.toml")), "[error_pages]")[0]+
		"[http]\nname = \"plain\"\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/x\"\ndest = \"status:503\"\n")
	if d, err = s.Apply(rest); err != nil || !strings.Contains(fmt.Sprint(d.Removed), "error_pages") {
		t.Fatalf("%+v, %v", d, err)
	}
	resp := askFor(t, "GET", urlOf(t, s, "plain")+"/x", "Accept: text/html")
	if body := bodyOf(t, resp); resp.StatusCode != 503 || !strings.HasPrefix(body, "<!doctype") {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

// The number that a client is told is that of its record in the access log, also where the session answers.
func TestErrorPages_numberIsThatOfTheLog(t *testing.T) {
	t.Parallel()
	silent := testutil.Listen(t) // it accepts and says nothing
	path := filepath.Join(t.TempDir(), "access.log")
	s := start(t, Options{}, `
log.output = [%q]
http = { name = "plain", listen = "127.0.0.1:0" }
routes = [{ pattern = "/silent", dest = %q }]
`, path, silent.Addr().String())
	const badChunk = "Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n"
	for request, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n": `404,"reason":"edge:route"`,
		"GET / HTTP/1.1\r\n\r\n":                                 `400,"reason":"client:h1: no Host`,
		"POST /silent HTTP/1.1\r\nHost: h\r\n" + badChunk:        `400,"reason":"client:malformed"`,
	} {
		w := testutil.Dial(t, strings.TrimPrefix(urlOf(t, s, "plain"), "http://"))
		w.Send(request)
		answer := strings.TrimSpace(w.ReadAll())
		id := answer[strings.LastIndexByte(answer, ' ')+1:]
		var line string
		testutil.Eventually(t, testutil.Patience, func() bool {
			for _, line = range strings.Split(readFile(path), "\n") {
				if strings.Contains(line, `"id":"`+id+`"`) {
					return true
				}
			}
			return false
		}, "%q is not logged", answer)
		if len(id) != 32 || !strings.Contains(line, want) {
			t.Errorf("%q: %s\nwant %s", answer, line, want)
		}
	}
}

// A page may fill a send queue. A request that the session refuses is answered without it then, after the answers that
// wait there.
func TestErrorPages_largeOnesAreNotForRefusals(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "400.html")
	testutil.Must(t, os.WriteFile(page, []byte(strings.Repeat("x", 1<<20-10)), 0o644))
	s := start(t, Options{}, "%serror_pages = { 400 = %q }\nhttp.listen = \"127.0.0.1:0\"\n[[routes]]\n"+
		"pattern = \"/*\"\ndest = \"status:201\"\n", quiet, page)
	w := testutil.Dial(t, s.Addresses()[0].Addr.String())
	w.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\nmalformed\r\n\r\n")
	wantPrefix(t, w.ReadHead(), "HTTP/1.1 201 ")
	w.Want("201 Created\n")
	wantPrefix(t, w.ReadHead(), "HTTP/1.1 400 ")
}
