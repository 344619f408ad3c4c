package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/edge-proxy/edge/internal/filter/static"
)

// ofAnswer are the fields of a 200 that a 304 and the answer to HEAD have too: RFC 9110 §15.4.5 and §9.3.2, and those
// that filters set for browsers.
var ofAnswer = []string{
	"Cache-Control", "Content-Location", "ETag", "Expires", "Vary", "Access-Control-Allow-Origin",
	"Access-Control-Expose-Headers", "X-Content-Type-Options", "X-By-Rule", "X-By-Route",
}

// modified is when answers of a conditionalOrigin, and files, were changed.
var modified = time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)

// conditionalOrigin answers with texts that can be compressed, which have a tag, and with 304 without the type.
func conditionalOrigin(t *testing.T) (addr string) {
	t.Helper()
	text := strings.Repeat("a text that can be compressed. ", 200)
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html")
		if strings.HasSuffix(r.URL.Path, "/picture.png") {
			h.Set("Content-Type", "image/png")
		}
		if !strings.HasSuffix(r.URL.Path, "/dated.html") {
			h.Set("ETag", `"v1"`)
		}
		h.Set("Cache-Control", "max-age=600")
		h.Set("Vary", "Accept-Language")
		http.ServeContent(w, r, "", modified, strings.NewReader(text))
	}))
	t.Cleanup(o.Close)
	return o.Listener.Addr().String()
}

// startSameAnswer starts a server whose filters change the head of each answer, before a backend, a cache and files.
func startSameAnswer(t *testing.T) *Server {
	t.Helper()
	www := t.TempDir()
	for _, name := range []string{"page.html", "picture.png"} {
		text := strings.Repeat("a text that can be compressed. ", 200)
		file := filepath.Join(www, name)
		err := os.WriteFile(file, []byte(text), 0o644)
		if err = errors.Join(err, os.Chtimes(file, modified, modified)); err != nil {
			t.Fatal(err)
		}
	}
	return start(t, Options{}, quiet+web+`
defaults.filters = ["small", "open", "careful"]
rules = [{ headers = { response = { X-By-Rule = "1", Expires = "Thu, 01 Jan 2037 00:00:00 GMT" } } }]
routes = [
	{ pattern = "/backend/*", dest = %[1]q, headers = { response = { X-By-Route = "1" } } },
	{ pattern = "/cached/*", dest = %[1]q, headers = { response = { X-By-Route = "1" } }, cache = true },
	{ pattern = "/files/*", dest = "static:%[2]s", rewrite = { strip_prefix = "/files" } },
]
[cache]
[filters]
small = { type = "compress" }
open = { type = "cors", origins = ["https://a.example"], expose = ["X-By-Rule"] }
careful = { type = "security_headers" }
`, conditionalOrigin(t), www)
}

// A client gets the same fields with 304, with the answer to HEAD and with 200, whatever filters have made of the 200:
// RFC 9110 §15.4.5 and §9.3.2.
func TestServer_sameFieldsWith200And304AndHEAD(t *testing.T) {
	s := startSameAnswer(t)
	c := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	t.Cleanup(c.CloseIdleConnections)
	for _, path := range []string{
		"/backend/page.html", "/backend/picture.png", "/cached/page.html", "/cached/picture.png",
		"/files/page.html", "/files/picture.png",
	} {
		for _, coding := range []string{"gzip", "identity"} {
			t.Run(path+" "+coding, func(t *testing.T) {
				url, accept := urlOf(t, s, "web")+path, "Accept-Encoding: "+coding
				const origin = "Origin: https://a.example"
				whole, _ := askBy(t, c, "GET", url, accept, origin)
				head, _ := askBy(t, c, "HEAD", url, accept, origin)
				same, _ := askBy(t, c, "GET", url, accept, origin, "If-None-Match: "+whole.Header.Get("ETag"))
				if whole.StatusCode != 200 || head.StatusCode != 200 || same.StatusCode != 304 {
					t.Fatal(whole.StatusCode, head.StatusCode, same.StatusCode)
				}
				compressed := coding == "gzip" && strings.HasSuffix(path, ".html")
				if got := whole.Header.Get("Content-Encoding"); (got == "gzip") != compressed {
					t.Fatalf("the coding is %q", got)
				}
				wantSame(t, "HEAD", whole, head, path)
				wantSame(t, "304", whole, same, path)
				for _, name := range []string{"Content-Encoding", "Content-Type", "Accept-Ranges"} {
					if got, want := head.Header.Get(name), whole.Header.Get(name); got != want {
						t.Errorf("HEAD has %s: %q, want %q", name, got, want)
					}
				}
				if head.ContentLength != whole.ContentLength || same.Header.Get("Content-Length") != "" {
					t.Errorf("length of HEAD %d, of GET %d, of 304 %q",
						head.ContentLength, whole.ContentLength, same.Header.Get("Content-Length"))
				}
			})
		}
	}
}

// wantSame fails where a field of ofAnswer is another in got than in whole. A 304 of a backend has no type, so that
// Vary names Accept-Encoding whatever the type is.
func wantSame(t *testing.T, what string, whole, got *http.Response, path string) {
	t.Helper()
	for _, name := range ofAnswer {
		is, want := strings.Join(got.Header[name], ", "), strings.Join(whole.Header[name], ", ")
		if name == "ETag" {
			is, want = got.Header.Get(name), whole.Header.Get(name)
		}
		if name == "Vary" && got.StatusCode == 304 && strings.HasSuffix(path, ".png") {
			is = strings.TrimPrefix(strings.TrimSuffix(is, ", Accept-Encoding"), "Accept-Encoding, ")
		}
		wantEqual(t, is, want, "%s has %s", what, name)
	}
}

// A date does not tell a compressed answer from the same answer as it was: If-Range with a date does not hold where the
// answer is compressed, and a client would join bytes of both. RFC 9110 §8.8.2.2, §13.1.5.
func TestServer_datedRangeOfCompressedAnswers(t *testing.T) {
	s := startSameAnswer(t)
	c := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	t.Cleanup(c.CloseIdleConnections)
	for _, path := range []string{"/backend/dated.html", "/cached/dated.html", "/files/page.html"} {
		for coding, want := range map[string]int{"gzip": 200, "identity": 206} {
			t.Run(fmt.Sprint(path, " ", coding), func(t *testing.T) {
				url, accept := urlOf(t, s, "web")+path, "Accept-Encoding: "+coding
				whole, _ := askBy(t, c, "GET", url, accept)
				part, _ := askBy(t, c, "GET", url, accept, "Range: bytes=100-199",
					"If-Range: "+whole.Header.Get("Last-Modified"))
				got := part.Header.Get("Content-Encoding")
				if part.StatusCode != want || got != whole.Header.Get("Content-Encoding") {
					t.Errorf("status %d, coding %q", part.StatusCode, got)
				}
			})
		}
	}
}
