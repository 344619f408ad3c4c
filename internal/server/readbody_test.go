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

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const bodies = `
upstreams.small.backends = [{ address = "%[2]s" }]
routes = [
	{ pattern = "/v1/*", dest = "large", read_body = "1k", filters = ["limit"],
		headers.request = { X-Model = '{json(body, "model")}' }, rules = [
		{ when = 'json(body, "model") == "small"', dest = "small" },
		{ when = 'body starts_with "GIF8"', deny = 415 },
		{ when = 'body.cut and not has(json(body, "model"))', deny = 422 },
	] },
	{ pattern = "/dest/*", read_body = "1k", dest = 'http://{json(body, "to")}', allow_dest = "http://127.0.0.0/8:*" },
	{ pattern = "/cached/*", dest = "large", read_body = "1k", buffer_request = "1k", cache = { ttl = "1h" } },
	{ pattern = "/plain/*", dest = "small" },
]
[http]
name = "web"
listen = "127.0.0.1:0"
limits = { body_size = "100k" }
access_log = { path = "%[1]s", fields = { model = '{json(body, "model")}' } }
[upstreams.large]
backends = [{ address = "%[3]s" }, { address = "%[4]s" }]
load_balancing = "ketama"
hash_key = '{json(body, "user")}'
[filters.limit]
type = "rate_limit"
rate = "2/h"
burst = 2
key = '{json(body, "limited")}'
when = 'has(json(body, "limited"))'
`

// bodyRig is a server that chooses by bodies among three backends, which say their number and what they got.
func bodyRig(t *testing.T) (url, log string, backends []string) {
	t.Helper()
	for i := range 3 {
		o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, "%d %d %s", i, n, r.Header.Get("X-Model"))
		}))
		t.Cleanup(o.Close)
		backends = append(backends, o.Listener.Addr().String())
	}
	log = filepath.Join(t.TempDir(), "access.log")
	return urlOf(t, start(t, Options{}, bodies, log, backends[0], backends[1], backends[2]), "web"), log, backends
}

// Rules, destinations, keys and fields look at the body before the backend is chosen, over both versions.
func TestReadBody(t *testing.T) {
	testutil.CheckLeaks(t)
	url, log, backends := bodyRig(t)
	h1 := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(h1.CloseIdleConnections)
	long := `,"text":"` + strings.Repeat("x", 50_000) + `"}`
	for protocol, client := range map[string]*http.Client{"HTTP/1": h1, "HTTP/2": testutil.H2C(t)} {
		post := func(path, body string) string {
			resp, err := client.Post(url+path, "application/json", strings.NewReader(body))
			testutil.Must(t, err)
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			return fmt.Sprint(resp.StatusCode, " ", strings.TrimSpace(string(text)))
		}
		for _, c := range []struct{ path, body, want string }{
			{"/v1/", `{"model":"small"}`, "200 0 17 small"},
			{"/v1/", `{"model":"small"` + long, "200 0 50027 small"},
			{"/v1/", `{"text":"", "model":"large","model":"small"}`, "400"},
			{"/v1/", "GIF89a", "415"},
			{"/v1/", `{"a":1` + long, "422"},
			{"/v1/", `{"a":"` + strings.Repeat("x", 110_000) + `"}`, "413"},
			{"/dest/", `{"to":"` + backends[0] + `"}`, "200 0 " + fmt.Sprint(len(backends[0])+9)},
			{"/dest/", `{"to":"192.0.2.1"}`, "403"},
			{"/plain/", `{"model":"small"}`, "200 0 17"},
			{"/v1/", fmt.Sprintf(`{"model":"small","limited":%q}`, protocol), "200 0 36 small"},
			{"/v1/", fmt.Sprintf(`{"model":"small","limited":%q}`, protocol), "200 0 36 small"},
			{"/v1/", fmt.Sprintf(`{"model":"small","limited":%q}`, protocol), "429"},
		} {
			if got := post(c.path, c.body); got != c.want && !(len(c.want) == 3 && strings.HasPrefix(got, c.want)) {
				t.Errorf("%s %s %.40s: %s, want %s", protocol, c.path, c.body, got, c.want)
			}
		}
		at := map[string]bool{}
		for user := range 20 {
			body := fmt.Sprintf(`{"user":"u%d"}`, user)
			first, again := post("/v1/", body), post("/v1/", body)
			if at[first[:5]] = true; first != again {
				t.Errorf("%s: user %d was led to %s and to %s", protocol, user, first, again)
			}
		}
		if len(at) != 2 || at["200 0"] {
			t.Errorf("%s: users were led to %v", protocol, at)
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		b, err := os.ReadFile(log)
		cut, small := strings.Count(string(b), `"body_cut":"true"`), strings.Count(string(b), `"model":"small"`)
		return err == nil && cut == 4 && small == 10
	}, "the log says which bodies were cut, and the model")
}

// What the cache fetches goes where the content leads, with all of it: it has the body for as long as it takes.
func TestReadBody_cached(t *testing.T) {
	testutil.CheckLeaks(t)
	url, _, _ := bodyRig(t)
	ask := func(method, user string) string {
		body := fmt.Sprintf(`{"user":%q}`, user)
		req, _ := http.NewRequest(method, url+"/cached/", strings.NewReader(body))
		resp, err := http.DefaultClient.Do(req)
		testutil.Must(t, err)
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return string(text) + resp.Header.Get("Cache-Status")
	}
	for user := range 20 {
		name := fmt.Sprint("u", user)
		want, first, again := ask("POST", name), ask("QUERY", name), ask("QUERY", name)
		if first[:1] != want[:1] || first[:1] != again[:1] || !strings.Contains(again, "hit") {
			t.Errorf("user %d: POST %s, QUERY %s and %s", user, want, first, again)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// A body that is malformed, or too large, is answered before anything looks at it.
func TestReadBody_badBodies(t *testing.T) {
	testutil.CheckLeaks(t)
	url, _, _ := bodyRig(t)
	for sent, want := range map[string]string{
		"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\nx":                             "400",
		"Content-Length: 200000\r\n\r\n{\"model\":":                                       "413",
		"Content-Length: 20\r\nContent-Length: 21\r\n\r\n{\"model\":":                     "400",
		"Content-Length: 6\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGIF89a":    "415",
		"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3\r\nGIF\r\n0\r\n\r\n": "100",
	} {
		w := testutil.Dial(t, strings.TrimPrefix(url, "http://"))
		w.Send("POST /v1/ HTTP/1.1\r\nHost: h\r\n" + sent)
		if head := w.ReadHead(); !strings.HasPrefix(head, "HTTP/1.1 "+want+" ") {
			t.Errorf("%q: %s, want %s", sent, head, want)
		}
		w.Close()
	}
}

// A QUERY that the cache fetches goes where a POST with that body does, also where the body is longer than read_body.
func TestReadBody_cachedAndCut(t *testing.T) {
	var backends []string
	for i := range 4 {
		o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, i)
		}))
		t.Cleanup(o.Close)
		backends = append(backends, fmt.Sprintf(`{ address = "%s" }`, o.Listener.Addr()))
	}
	url := urlOf(t, start(t, Options{}, `
http = { name = "web", listen = "127.0.0.1:0" }
upstreams.a = { backends = [%s], load_balancing = "ketama", hash_key = '{hash(body)}' }
routes = [{ pattern = "/*", dest = "a", read_body = "1k", buffer_request = "1m", cache = { ttl = "1h" } }]
`, strings.Join(backends, ",")), "web")
	at := map[string]map[string]bool{"POST": {}, "QUERY": {}}
	for i := range 20 {
		for method := range at { // all have the same first 1k
			req, _ := http.NewRequest(method, url, strings.NewReader(strings.Repeat("x", 2000)+fmt.Sprint(i)))
			_, body := testutil.Do(t, http.DefaultClient, req)
			at[method][body] = true
		}
	}
	if len(at["POST"]) != 1 || len(at["QUERY"]) != 1 {
		t.Errorf("bodies with the same begin were led to %v", at)
	}
	http.DefaultClient.CloseIdleConnections()
}

func lineOf(t *testing.T, rest, body string) string {
	t.Helper()
	o := backendOfBodies(t)
	log := filepath.Join(t.TempDir(), "access.log")
	url := urlOf(t, start(t, Options{}, `
[[listeners]]
name = "web"
listen = "127.0.0.1:0"
access_log = { path = "%s" }
[upstreams.a]
backends = [{ address = "%s" }]
[[routes]]
pattern = "/*"
dest = "a"
read_body = "1k"
`+rest, log, o.Listener.Addr()), "web")
	resp, err := http.Post(url, "", strings.NewReader(body))
	testutil.Must(t, err)
	resp.Body.Close()
	line := ""
	testutil.Eventually(t, testutil.Patience, func() bool {
		b, _ := os.ReadFile(log)
		line = string(b)
		return strings.HasSuffix(line, "\n")
	}, "a line")
	return line
}

var pad = strings.Repeat("x", 2000)

// A member that is null before the cut may come once more, and a part of a body that ends with it is cut.
func TestReadBody_cutInSilence(t *testing.T) {
	for when, body := range map[string]string{
		`json(body, "model") == "small"`:                     `{"model":null,"text":"` + pad + `","model":"small"}`,
		`json(trim(body), "model") == "small"`:               " " + `{"text":"` + pad + `","model":"small"}`,
		`json(cut_prefix(body, ")]}'"), "model") == "small"`: `)]}'{"model":"small","text":"` + pad + `"}`, // whole
	} {
		line := lineOf(t, "[[routes.rules]]\nwhen = '''"+when+"'''\ndeny = 403\n", body)
		if !strings.Contains(line, `"body_cut":"true"`) && !strings.Contains(line, `"status":403`) {
			t.Errorf("%s: no body_cut, and it does not hold: %s", when, line)
		}
	}
}

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
	testutil.Must(t, err)
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
				wantEqual(t, send(t, c, url+path, body), "400", "%s %s: %s", protocol, path, name)
			}
			want := "200"
			wantEqual(t, send(t, c, url+"/get/", body), want, "%s: %s, though json is not asked", protocol, name)
			wantEqual(t, send(t, c, url+"/field/", body), want, "%s: %s, though no guard asks", protocol, name)
			want = "403" // json.valid says so
			if strings.HasPrefix(name, "a name") || strings.Contains(body, "1e999") {
				want = "400"
				refused++
			}
			wantEqual(t, send(t, c, url+"/valid/", body), want, "%s: %s, with json.valid", protocol, name)
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
			wantEqual(t, send(t, c, url+r.path, r.body), r.want, "%s %s %s", protocol, r.path, r.body)
		}
		for _, f := range [][]string{
			{"Content-Encoding", "gzip"}, {"Content-Encoding", "identity, br"},
			{"Content-Type", "application/json; charset=utf-7"}, {"Content-Type", `application/json; charset="UTF-16"`},
		} {
			refused++
			wantEqual(t, send(t, c, url+"/deny/", `{"role":"guest"}`, f...), "400", "%s: %s", protocol, f)
		}
		for _, host := range []string{"limit.test", "when.test"} { // no text of a body
			for claims, want := range map[string]int{`{"sub":"a"}`: 200, `{"sub":"a"}x`: 400, `sub`: 400} {
				if want == 400 {
					refused++
				}
				resp, _ := askBy(t, c, "GET", url+"/claim/", "X-Claims: "+claims, "Host: "+host)
				wantEqual(t, resp.StatusCode, want, "%s %s: %s: %s", protocol, host, claims, resp.Status)
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
		wantEqual(t, send(t, http.DefaultClient, url+"/plan/", `{"plan":`+as+`}`), "403", "a rule by %s", as)
		want := "429"
		if i < 2 {
			want = "200"
		}
		wantEqual(t, send(t, http.DefaultClient, url+"/account/", `{"account": `+as+`}`), want, "a limit by %s", as)
	}
	if got := send(t, http.DefaultClient, url+"/account/", `{"account":7}x`); got != "400" {
		t.Errorf("a limit by what is not readable: %s", got)
	}
	http.DefaultClient.CloseIdleConnections()
}
