package server

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
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
	{ pattern = "/dest/*", dest = 'http://{json(body, "to")}', allow_dest = ["http://127.0.0.0/8:*"], read_body = "1k" },
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
			try(t, err)
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
		try(t, err)
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
	try(t, err)
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
