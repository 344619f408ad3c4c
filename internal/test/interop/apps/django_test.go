//go:build apps

package apps

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestDjango(t *testing.T) {
	a := begin(t, "Django, gunicorn")
	a.versionOf(a.need("django-admin", "python3-django"), "--version")
	gunicorn := a.need("gunicorn", "gunicorn")
	site, err := filepath.Abs(filepath.Join("testdata", "django"))
	testutil.Must(t, err)
	address := testutil.FreeAddr(t)
	host, _, _ := net.SplitHostPort(address)
	a.start(testutil.Command{
		Path: gunicorn,
		Args: []string{
			"--chdir", site, "--bind", address, "--threads", "4", "--graceful-timeout", "1", "app:application",
		},
		Env: []string{"OWN_HOST=" + host, "PYTHONDONTWRITEBYTECODE=1"},
	}).WaitLine("Booting worker")
	a.front(address, `
[[routes]]
pattern = "/"
dest = %[1]q

[[routes]]
pattern = "/whole/*"
dest = %[1]q
rewrite = { strip_prefix = "/whole" }
buffer_request = "32m"
`, address)

	a.ask("a page that is not there", all, get("/nothing/"))
	a.ask("a slash that is missing", all, get("/greet"))
	a.ask("an absolute redirect", all, get("/absolute/"))
	a.ask("a host that is not its own", all, get("/who/", "Host", "elsewhere.test"))
	a.ask("gzip", all, get("/long/", "Accept-Encoding", "gzip"))
	a.ask("a form", all, login)
	a.ask("a stream", all, stream)
	a.ask("an upload of 10 MB", all, func(t *testing.T, w *way) string {
		return w.do(t, request{method: "POST", path: "/upload/", body: bytes.NewReader(noise(10e6, 8))}).tell(w)
	})
	a.ask("a form with a file", all, formUpload("/form-upload/"))
	// WSGI wants to be told the length: without it Django takes the body for empty, also without a proxy. It answers
	// early then, and edge reads 64 KiB of what still comes.
	a.ask("a chunked upload", all, chunkedUpload("/upload/", 20e3))
	whole := fmt.Sprintf(`200 {"size": 10000000, "sha256": "%x", "told": "10000000"}`, sha256.Sum256(noise(10e6, 8)))
	a.want("a chunked upload, buffered", whole, all, chunkedUpload("/whole/upload/", 10e6))
	for _, w := range a.ways[1:] {
		only, scheme := func(o *way) bool { return o == w }, "http"
		if w.tls {
			scheme = "https"
		}
		const about = `{"url": "%[1]s://%[2]s/who/?a=b%%20c", "host": "%[2]s", "scheme": "%[1]s", "secure": %[3]v, ` +
			`"client": "127.0.0.1"}`
		a.want("who asks", strings.Replace(fmt.Sprintf(about, scheme, "{host}", w.tls), scheme+"://{host}", "{url}", 1),
			only, askWho())
		a.want("who asks for a name", fmt.Sprintf(about, scheme, "www.site.test:8443", w.tls), only,
			askWho("Host", "www.site.test:8443"))
	}
}

// askWho tells what Django takes for the URL and the client, whatever the client says of itself.
func askWho(fields ...string) func(t *testing.T, w *way) string {
	return func(t *testing.T, w *way) string {
		return string(w.do(t, request{path: "/who/?a=b%20c", fields: append([]string{
			"X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "gopher", "X-Forwarded-Host", "elsewhere.test",
			"X-Forwarded-Ssl", "on",
		}, fields...)}).body)
	}
}

// login sends a form as a browser does, and without what protects it from other sites.
func login(t *testing.T, w *way) string {
	page := w.do(t, request{path: "/form/"})
	cookie, _, _ := strings.Cut(page.header.Get("Set-Cookie"), ";")
	form := url.Values{"name": {"Jörg"}, "csrfmiddlewaretoken": {string(page.body)}}.Encode()
	const kind = "application/x-www-form-urlencoded"
	post := func(fields ...string) *reply {
		return w.do(t, request{
			method: http.MethodPost, path: "/form/", body: strings.NewReader(form),
			fields: append(fields, "Content-Type", kind),
		})
	}
	bare := post()
	foreign := post("Cookie", cookie, "Origin", "https://elsewhere.test", "Referer", "https://elsewhere.test/form/")
	// Before Django 4 only a Referer of https is looked at.
	if bare.status != 403 || w.tls && foreign.status != 403 {
		t.Errorf("requests of others: %d, %d", bare.status, foreign.status)
	}
	own := post("Cookie", cookie, "Origin", w.url, "Referer", w.url+"/form/")
	session, _, _ := strings.Cut(own.header.Get("Set-Cookie"), ";")
	greeting := w.do(t, request{path: own.header.Get("Location"), fields: []string{"Cookie", cookie + "; " + session}})
	return fmt.Sprintln(own.status, own.header.Get("Location")) + string(greeting.body)
}

// stream asks for each part after the one before it has come.
func stream(t *testing.T, w *way) string {
	resp, err := w.send(t, request{path: "/stream/" + w.slug + "/"})
	testutil.Must(t, err)
	defer resp.Body.Close()
	in, got := bufio.NewReader(resp.Body), resp.Header.Get("Content-Type")
	for range 5 {
		line, err := in.ReadString('\n')
		testutil.Must(t, err)
		got += line
		w.do(t, request{path: "/step/" + w.slug + "/"})
	}
	_, err = in.ReadByte()
	return fmt.Sprint(got, err)
}

// formUpload sends a form with a file of 30 MB, with its length.
func formUpload(path string) func(t *testing.T, w *way) string {
	return func(t *testing.T, w *way) string {
		form, kind := fileForm()
		return w.do(t, request{method: "POST", path: path, body: form, fields: []string{"Content-Type", kind}}).tell(w)
	}
}

func chunkedUpload(path string, size int) func(t *testing.T, w *way) string {
	return func(t *testing.T, w *way) string {
		r := w.do(t, request{method: "POST", path: path, body: chunked(noise(size, 8))})
		return fmt.Sprint(r.status, " ", string(r.body))
	}
}
