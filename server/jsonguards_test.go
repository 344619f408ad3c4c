package server

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// guardedBodies has the path of the log, and the address of a backend of HTTP/1 and HTTP/2 without TLS.
const guardedBodies = `
log.output = ["%[1]s"]
grpc = true
http = { name = "web", listen = "127.0.0.1:0" }
filters.by_account = { type = "rate_limit", rate = "2/h", burst = 2, key = '{json(body, "account")}' }
filters.by_claim = { type = "rate_limit", rate = "100/s", key = '{json(header.x-claims, "sub")}' }
upstreams.o = { backends = [{ address = "%[2]s" }], protocol = "h2" }
routes = [
	{ pattern = "/deny/*", dest = "o", read_body = "64k", rules = [
		{ when = 'json(body, "role") == "admin"', deny = 403 },
	] },
	{ pattern = "/answer/*", dest = "o", read_body = "64k", rules = [
		{ when = 'json(body, "role") == "admin"', deny = 403 },
		{ respond = { status = 200, body = "hidden" } },
	] },
	{ pattern = "/set/*", dest = "o", read_body = "64k", rules = [
		{ set = { role = '{json(body, "role")}' } },
		{ when = 'local.role == "admin"', deny = 403 },
	] },
	{ pattern = "/valid/*", dest = "o", read_body = "64k", rules = [
		{ when = 'not json.valid(body) or json(body, "role") == "admin"', deny = 403 },
	] },
	{ pattern = "/get/*", dest = "o", read_body = "64k", rules = [
		{ when = 'method == "PUT" and json(body, "role") == "admin"', deny = 403 },
	] },
	{ pattern = "/plan/*", dest = "o", read_body = "64k", rules = [
		{ when = 'int(json(body, "plan")) == 7', deny = 403 },
	] },
	{ pattern = "/account/*", dest = "o", read_body = "64k", filters = ["by_account"] },
	{ pattern = "/claim/*", dest = "o", filters = ["by_claim"] },
	{ pattern = "/field/*", dest = "o", read_body = "64k", headers.request = { X-Role = '{json(body, "role")}' } },
	{ pattern = "/text/*", dest = "o", read_body = "1k", rules = [
		{ when = 'body.cut', deny = 403 },
		{ when = 'body contains "admin"', deny = 403 },
	] },
	{ pattern = "/whole/*", dest = "o", buffer_request = "4k" },
	{ pattern = "when.test/*", when = 'json(header.x-claims, "sub") == "a"', dest = "o" },
]
`

// guardRig starts a server with guardedBodies. asked counts the requests of its backend.
func guardRig(t *testing.T) (url, log string, asked *atomic.Int32) {
	t.Helper()
	testutil.CheckLeaks(t)
	asked = new(atomic.Int32)
	o := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Header.Get("X-Role"))
	}))
	o.Config.Protocols = new(http.Protocols)
	o.Config.Protocols.SetHTTP1(true)
	o.Config.Protocols.SetUnencryptedHTTP2(true)
	o.Start()
	t.Cleanup(o.Close)
	log = filepath.Join(t.TempDir(), "access.log")
	return urlOf(t, start(t, Options{}, guardedBodies, log, o.Listener.Addr()), "web"), log, asked
}

// clients are one of HTTP/1 and one of HTTP/2.
func clients(t *testing.T) map[string]*http.Client {
	h1 := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(h1.CloseIdleConnections)
	return map[string]*http.Client{"HTTP/1": h1, "HTTP/2": testutil.H2C(t)}
}

// send returns the status of the answer to a POST, of gRPC after one of HTTP.
func send(t *testing.T, c *http.Client, url, body string, fields ...string) string {
	t.Helper()
	req, err := http.NewRequest("POST", url, strings.NewReader(body))
	try(t, err)
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, _ := testutil.Do(t, c, req)
	return strings.TrimSpace(fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Grpc-Status")))
}

// unreadable are texts that one reader takes for JSON with that member, and json does not.
func unreadable() map[string]string {
	utf16 := ""
	for _, c := range `{"role":"admin"}` {
		utf16 += string(c) + "\x00"
	}
	return map[string]string{
		"65 levels in another member": `{"role":"admin","a":` + strings.Repeat(`{"a":`, 64) + "1" +
			strings.Repeat("}", 65),
		"a number of 1 KiB":             `{"a":` + strings.Repeat("1", 1<<10) + `,"role":"admin"}`,
		"a byte order mark":             "\ufeff" + `{"role":"admin"}`,
		"UTF-16":                        utf16,
		"UTF-16 with a mark":            "\xff\xfe" + utf16,
		"NaN in another member":         `{"a":NaN,"role":"admin"}`,
		"no UTF-8 in another member":    "{\"a\":\"\xff\",\"role\":\"admin\"}",
		"another object after it":       `{"role":"admin"} {}`,
		"letters after it":              `{"role":"admin"}xyz`,
		"a name in another case":        `{"Role":"admin"}`,
		"a name with another letter":    `{"rol\u0065":"guest","ROLE":"admin"}`,
		"a name twice":                  `{"role":"admin","role":"guest"}`,
		"a comment":                     `{/**/"role":"admin"}`,
		"a number that no float64 is":   `{"role":1e999}`,
		"a part of several (multipart)": "--x\r\nContent-Disposition: form-data; name=role\r\n\r\nadmin\r\n--x--\r\n",
	}
}

// A rule that asks about JSON which some readers take and json does not is not passed by: the request is refused, where
// it is sent on and where edge answers itself.
func TestJSON_guardsHold(t *testing.T) {
	url, log, asked := guardRig(t)
	refused := 0
	for protocol, c := range clients(t) {
		for name, body := range unreadable() {
			for _, path := range []string{"/deny/", "/answer/", "/set/"} {
				refused++
				if got := send(t, c, url+path, body); got != "400" {
					t.Errorf("%s %s: %s: %s", protocol, path, name, got)
				}
			}
			want := "200"
			if got := send(t, c, url+"/get/", body); got != want {
				t.Errorf("%s: %s, though json is not asked: %s", protocol, name, got)
			}
			if got := send(t, c, url+"/field/", body); got != want {
				t.Errorf("%s: %s, though no guard asks: %s", protocol, name, got)
			}
			want = "403" // json.valid says so
			if strings.HasPrefix(name, "a name") || strings.Contains(body, "1e999") {
				want = "400"
				refused++
			}
			if got := send(t, c, url+"/valid/", body); got != want {
				t.Errorf("%s: %s, with json.valid: %s, want %s", protocol, name, got, want)
			}
		}
		for _, r := range []struct{ path, body, want string }{
			{"/deny/", `{"role":"admin"}`, "403"},
			{"/deny/", `{"role":"guest"}`, "200"},
			{"/deny/", "", "200"},
			{"/valid/", `{"role":"guest"}`, "200"},
			{"/valid/", `{"role":"admin"}`, "403"},
			{"/valid/", "", "403"},
			{"/answer/", `{"role":"guest"}`, "200"},
			{"/set/", `{"role":"admin"}`, "403"},
			{"/set/", `{"role":"guest"}`, "200"},
		} {
			if got := send(t, c, url+r.path, r.body); got != r.want {
				t.Errorf("%s %s %s: %s, want %s", protocol, r.path, r.body, got, r.want)
			}
		}
		for _, f := range [][]string{
			{"Content-Encoding", "gzip"}, {"Content-Encoding", "identity, br"},
			{"Content-Type", "application/json; charset=utf-7"}, {"Content-Type", `application/json; charset="UTF-16"`},
		} {
			refused++
			if got := send(t, c, url+"/deny/", `{"role":"guest"}`, f...); got != "400" {
				t.Errorf("%s: %s: %s", protocol, f, got)
			}
		}
		for _, host := range []string{"limit.test", "when.test"} { // no text of a body
			for claims, want := range map[string]int{`{"sub":"a"}`: 200, `{"sub":"a"}x`: 400, `sub`: 400} {
				if want == 400 {
					refused++
				}
				resp, _ := askBy(t, c, "GET", url+"/claim/", "X-Claims: "+claims, "Host: "+host)
				if resp.StatusCode != want {
					t.Errorf("%s %s: %s: %s, want %d", protocol, host, claims, resp.Status, want)
				}
			}
		}
	}
	if n := asked.Load(); n == 0 {
		t.Error("the backend was never asked")
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		b, err := os.ReadFile(log)
		return err == nil && strings.Count(string(b), `"client:json"`) == refused
	}, fmt.Sprintf("the log has the reason %d times in %s", refused, log))
}

// What a client calls its body changes nothing about who looks at it: calls of gRPC are read and bounded as any other.
func TestReadBody_whateverItIsCalled(t *testing.T) {
	url, _, asked := guardRig(t)
	long := strings.Repeat("x", 50_000)
	for protocol, c := range clients(t) {
		for contentType, want := range map[string]string{
			"application/json": "403", "application/grpc": "200 7", "application/grpc+json": "200 7",
			"application/grpc-web+json": "200 7", "application/grpc-web-text": "200 7",
		} {
			as := func(body string) string { return body }
			if strings.HasSuffix(contentType, "-text") {
				as = func(body string) string { return base64.StdEncoding.EncodeToString([]byte(body)) }
			}
			for _, r := range []struct{ path, body, what string }{
				{"/deny/", `{"role":"admin"}`, "a rule by json"},
				{"/text/", "admin", "a rule by contains"},
				{"/text/", long, "a rule by body.cut"},
			} {
				if got := send(t, c, url+r.path, as(r.body), "Content-Type", contentType); got != want {
					t.Errorf("%s %s: %s: %s, want %s", protocol, contentType, r.what, got, want)
				}
			}
			large := strings.ReplaceAll(strings.ReplaceAll(want, "403", "413"), "7", "8")
			if got := send(t, c, url+"/whole/", as(long), "Content-Type", contentType); got != large {
				t.Errorf("%s %s: buffer_request: %s, want %s", protocol, contentType, got, large)
			}
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the backend was asked %d times", n)
	}
}

// A number is the same one however it is written: for a limit, and for a rule.
func TestJSON_numbersHaveOneForm(t *testing.T) {
	url, _, _ := guardRig(t)
	for i, as := range []string{"7", "7.0", "7.00", "7.000", "7e0", "7E+0", "0.7e1", "70e-1", "700e-2"} {
		if got := send(t, http.DefaultClient, url+"/plan/", `{"plan":`+as+`}`); got != "403" {
			t.Errorf("a rule by %s: %s", as, got)
		}
		want := "429"
		if i < 2 {
			want = "200"
		}
		if got := send(t, http.DefaultClient, url+"/account/", `{"account": `+as+`}`); got != want {
			t.Errorf("a limit by %s: %s, want %s", as, got, want)
		}
	}
	if got := send(t, http.DefaultClient, url+"/account/", `{"account":7}x`); got != "400" {
		t.Errorf("a limit by what is not readable: %s", got)
	}
	http.DefaultClient.CloseIdleConnections()
}
