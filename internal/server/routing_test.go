package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// mirror answers with its name and what it was asked: the request line, Host, and the fields of forwarding.
func mirror(t *testing.T, name string) string {
	t.Helper()
	l := testutil.Listen(t)
	h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, mirrored(name, r))
	})}
	go h.Serve(l) //nolint:errcheck // ends with the listener
	t.Cleanup(func() { h.Close() })
	return l.Addr().String()
}

// mirrored is what a mirror answers.
func mirrored(name string, r *http.Request) string {
	text := fmt.Sprintf("%s %s %s host=%s", name, r.Method, r.RequestURI, r.Host)
	for _, f := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Via"} {
		if v := r.Header.Values(f); len(v) > 0 {
			text += fmt.Sprintf(" %s=%s", f, strings.Join(v, "|"))
		}
	}
	return text + "\n"
}

// direct is a client that follows no redirect and keeps no connection.
var direct = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// askBy sends a request by c, whose host and fields are given as "Name: value", and returns the answer with its body.
func askBy(t *testing.T, c *http.Client, method, url string, fields ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	testutil.Must(t, err)
	for _, f := range fields {
		switch name, value, _ := strings.Cut(f, ": "); name {
		case "":
		case "Host":
			req.Host = value
		default:
			req.Header.Add(name, value)
		}
	}
	return testutil.Do(t, c, req)
}

// askFor is askBy direct. The body of the answer may be read again.
func askFor(t *testing.T, method, url string, fields ...string) *http.Response {
	t.Helper()
	resp, body := askBy(t, direct, method, url, fields...)
	resp.Body = io.NopCloser(strings.NewReader(body))
	return resp
}

func bodyOf(t *testing.T, resp *http.Response) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const routingFile = quiet + web + `
upstreams.api.backends = [{ address = %[1]q }]
upstreams.users = { backends = [{ address = %[2]q }], host = "users.internal" }
upstreams.own = { backends = [{ address = %[1]q }], host = "backend" }
proxy.rules = [{ header = "X-Rule", upstream = "users", load_balancing = "round_robin" }]
routes = [
	{ pattern = "example.com/*", dest = "api", weight = 90 },
	{ pattern = "example.com/*", dest = "users", weight = 10 },
	{ pattern = "*.example.com/v1/*", dest = "api", rewrite = { strip_prefix = "/v1", add_prefix = "/service" } },
	{ pattern = "a.example.com/*", dest = "users" },
	{ pattern = "b.a.example.com/*", dest = "own", headers = { request = { X-Forwarded-Proto = "" } } },
	{ pattern = "c.a.example.com/*", dest = "own", headers = { request = { Host = "set.example" } } },
	{ pattern = "/find/*", dest = "api", rewrite = { path = "/search{path}?via={host}&{query}" } },
	{ pattern = "/find/*", methods = ["PURGE", "TRACE"], dest = "status:410" },
	{ pattern = "/find/*", header = { X-Beta = true, User-Agent = "~(?i)curl" }, dest = "users" },
	{ pattern = "/find/*", query = { old = "1" }, dest = "status:406" },
	{ pattern = "old.example.com/*", redirect = { to = "https://example.com{path}", status = 301 } },
	{ pattern = "/moved/*", dest = "redirect:{path}/there?" },
	{ pattern = "/scheme", redirect = { to = "https://{host}:8443/{method}" } },
]
`

func TestRouting_overSockets(t *testing.T) {
	api, users := mirror(t, "api"), mirror(t, "users")
	s := start(t, Options{}, routingFile, api, users)
	url := urlOf(t, s, "web")
	for _, c := range []struct {
		method, path, fields string
		status               int
		want                 string // of the body, or of Location
	}{
		{"GET", "/v1/x?y=z", "Host: q.EXAMPLE.com:80", 200, "api GET /service/x?y=z host=q.EXAMPLE.com:80"},
		{"GET", "/v1", "Host: q.p.example.com", 200, "api GET /service host="},
		{"GET", "/v1//x", "Host: q.example.com", 200, "api GET /service//x host="},
		{"GET", "/v12", "Host: q.example.com", 404, "There is nothing"},
		{"GET", "/v1/x", "Host: a.example.com", 200, "users GET /v1/x host=users.internal"},
		{"GET", "/", "Host: b.a.example.com", 200, "api GET / host=" + api},
		{"GET", "/", "Host: c.a.example.com", 200, "api GET / host=set.example"},
		{"GET", "/find/it?a=b", "Host: h:81", 200, "api GET /search/find/it?via=h&a=b host=h:81"},
		{"PURGE", "/find/it", "", 410, "410"},
		{"TRACE", "/find/it", "", 410, "410"},
		{"GET", "/find/it?x&old=%31", "", 406, "406"},
		{"GET", "/find/it", "X-Beta: |User-Agent: CURL/8", 200, "users GET /find/it"},
		{"GET", "/find/it", "X-Beta: |User-Agent: wget", 200, "api GET /search"},
		{"GET", "/", "X-Rule: |X-Forwarded-For: 1.2.3.4", 200, "users GET / "},
		{"GET", "/", "", 404, "There is nothing"},
		{"TRACE", "/", "X-Rule: 1", 405, "No route takes this method"},
		{"POST", "/a/b?c=d", "Host: old.example.com", 301, "https://example.com/a/b?c=d"},
		{"GET", "/%0d%0aSet-Cookie:%20a=b", "Host: old.example.com", 301,
			"https://example.com/%0d%0aSet-Cookie:%20a=b"},
		{"GET", "/moved/x?q", "", 308, "/moved/x/there"},
		{"PUT", "/scheme", "Host: here", 308, "https://here:8443/PUT"},
	} {
		resp := askFor(t, c.method, url+c.path, strings.Split(c.fields, "|")...)
		got := bodyOf(t, resp)
		if c.status/100 == 3 {
			if got = resp.Header.Get("Location"); got != c.want {
				t.Errorf("%s %s %s: to %q, want %q", c.method, c.path, c.fields, got, c.want)
			}
		}
		if resp.StatusCode != c.status || !strings.Contains(got, c.want) {
			t.Errorf("%s %s %s: %d %q, want %d %q", c.method, c.path, c.fields, resp.StatusCode, got, c.status, c.want)
		}
	}
	shares := map[string]int{}
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}} // one connection, one reactor
	t.Cleanup(client.CloseIdleConnections)
	for range 100 {
		_, body := askBy(t, client, "GET", url+"/", "Host: example.com")
		name, _, _ := strings.Cut(body, " ")
		shares[name]++
	}
	if shares["api"] != 90 || shares["users"] != 10 {
		t.Errorf("the canary's share: %v", shares)
	}
	wantCounter(t, s, 4, "edge_requests_total", "3xx")
}

func TestRouting_byCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	for _, name := range []string{"http_proxy", "all_proxy", "ALL_PROXY"} {
		t.Setenv(name, "")
	}
	s := start(t, Options{}, routingFile, mirror(t, "api"), mirror(t, "users"))
	url := urlOf(t, s, "web")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-H", "Host: old.example.com", "-w", "%{http_code} %{redirect_url}", url + "/a?b"},
			"301 https://example.com/a?b"},
		{[]string{"-H", "X-Beta: 1", url + "/find/a"}, "users GET /find/a"},
		{[]string{"--path-as-is", "-H", "Host: old.example.com", "-w", "%{redirect_url}", url + "//evil.example/"},
			"https://example.com//evil.example/"},
		{[]string{"-w", "%{http_code}", "-o", "/dev/null", "--request-target", "*", "-X", "OPTIONS", url},
			"200"},
		{[]string{"-x", url, "-p", "-w", "%{http_connect}", "-o", "/dev/null", "http://127.0.0.1:1/"}, "405"},
		{[]string{"-w", "%{http_code}", "-o", "/dev/null", "-H", "Expect: the-unexpected", url + "/find/a"}, "417"},
	} {
		out, _ := exec.Command(curl, append([]string{"-s", "--noproxy", "none.example"}, c.args...)...).Output()
		wantPrefix(t, string(out), c.want, "curl %q", c.args)
	}
}

func TestErrors_overSockets(t *testing.T) {
	s := start(t, Options{}, quiet+`
listeners = [
	{ name = "web", listen = "127.0.0.1:0" },
	{ name = "hasty", listen = "127.0.0.1:0", limits = { header_timeout = "100ms" } },
]
routes = [
	{ pattern = "/*", dest = %q },
	{ pattern = "/trace", methods = ["TRACE"], dest = "status:200" },
]
`, mirror(t, "api"))
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	slow := testutil.Dial(t, strings.TrimPrefix(urlOf(t, s, "hasty"), "http://"))
	slow.Send("GET / HTTP/1.1\r\nHost: a\r\n")
	slow.Want("HTTP/1.1 408 Request Timeout\r\n")
	for _, c := range []struct{ name, send, want string }{
		{"414", "GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 414 URI Too Long\r\n"},
		{"417", "GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", "HTTP/1.1 417 Expectation Failed\r\n"},
		{"417 in HTTP/1.0 is none", "GET / HTTP/1.0\r\nExpect: 200-ok\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
		{"505", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported\r\n"},
		{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n"},
		{"TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n"},
		{"TRACE, last hop", "TRACE /trace HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", "HTTP/1.1 405 "},
		{"TRACE, allowed", "TRACE /trace HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
		{"OPTIONS, last hop", "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nAllow: GET, HEAD,"},
		{"OPTIONS, odd hops", "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: -1\r\n\r\n", "HTTP/1.1 400 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := testutil.Dial(t, addr)
			w.Send(c.send)
			w.Want(c.want)
		})
	}
	resp := askFor(t, "CONNECT", "http://"+addr)
	wantPrefix(t, resp.Header.Get("Allow"), "GET, HEAD, ", "Allow")
	if got := resp.Header.Get("Proxy-Status"); got != "edge; error=http_request_denied" {
		t.Errorf("Proxy-Status: %q", got)
	}
}

// RFC 9110 §15.5.6: where a route would take the request with another method, the answer is 405 and Allow names these
// methods; where none would, it is 404.
func TestErrors_otherMethods(t *testing.T) {
	s := start(t, Options{}, quiet+web+`
routes = [
	{ pattern = "/api/*", methods = ["PURGE", "GET", "POST"], dest = "status:200" },
	{ pattern = "/api/*", methods = "PUT", header = "X-Beta", dest = "status:200" },
]
`)
	url := urlOf(t, s, "web")
	for _, c := range []struct {
		method, path, field string
		status              int
		allow               string
	}{
		{"POST", "/api/x", "", 200, ""},
		{"DELETE", "/api/x", "", 405, "GET, POST, PURGE"},
		{"DELETE", "/%61pi/x", "X-Beta: 1", 405, "GET, POST, PUT, PURGE"},
		{"HEAD", "/api", "", 405, "GET, POST, PURGE"},
		{"OPTIONS", "/api", "", 405, "GET, POST, PURGE"},
		{"TRACE", "/api", "", 405, "GET, POST, PURGE"},
		{"BREW", "/api", "", 405, "GET, POST, PURGE"},
		{"DELETE", "/apix", "", 404, ""},
		{"OPTIONS", "/", "", 404, ""},
		{"TRACE", "/", "", 405, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
	} {
		resp := askFor(t, c.method, url+c.path, c.field)
		if got := resp.Header.Get("Allow"); resp.StatusCode != c.status || got != c.allow {
			t.Errorf("%s %s: %d, Allow: %q; want %d, %q", c.method, c.path, resp.StatusCode, got, c.status, c.allow)
		}
	}
}

func TestForwarding_byTrust(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := filepath.Join(dir, "access.log")
	addr := mirror(t, "api")
	s := start(t, Options{}, `
via = "front"
log.output = [%q]
routes = [{ pattern = "/*", dest = %q }]
listeners = [
	{ name = "strict", listen = "127.0.0.1:0" },
	{ name = "trusting", listen = "127.0.0.1:0", trusted_proxies = ["127.0.0.0/8", "10.0.0.0/8", "2001:db8::/32"] },
	{ name = "rfc7239", listen = "127.0.0.1:0", forwarded = true },
	{ name = "both", listen = "127.0.0.1:0", trusted_proxies = "127.0.0.1", forwarded = true },
]
`, log, addr)
	const claim = "X-Forwarded-For: 6.6.6.6, 1.2.3.4|X-Forwarded-For: 10.0.0.9, 10.1.1.1|X-Forwarded-Proto: https|" +
		"X-Forwarded-Host: shop.example|Forwarded: for=6.6.6.6|Via: 1.1 cdn|Host: h"
	var logged []string
	for _, c := range []struct{ listener, fields, want, client string }{
		{"strict", claim, "host=h X-Forwarded-For=127.0.0.1 X-Forwarded-Proto=http X-Forwarded-Host=h " +
			"Via=1.1 cdn|1.1 front\n", "127.0.0.1"},
		{"trusting", claim, "host=h X-Forwarded-For=6.6.6.6, 1.2.3.4, 10.0.0.9, 10.1.1.1, 127.0.0.1 " +
			"X-Forwarded-Proto=https X-Forwarded-Host=shop.example Forwarded=for=6.6.6.6, " +
			"for=127.0.0.1;host=\"h\";proto=http Via=1.1 cdn|1.1 front\n", "1.2.3.4"},
		{"trusting", "Host: h", "host=h X-Forwarded-For=127.0.0.1 X-Forwarded-Proto=http X-Forwarded-Host=h " +
			"Via=1.1 front\n", "127.0.0.1"},
		{"trusting", "Host: h|X-Forwarded-For: junk, 10.0.0.2", "X-Forwarded-For=junk, 10.0.0.2, 127.0.0.1", "::"},
		{"trusting", "X-Forwarded-For: 2001:db9::1, [2001:db8::7]:80, 10.0.0.1:99", "", "2001:db9::1"},
		{"trusting", "X-Forwarded-For: 10.0.0.7, ::ffff:10.0.0.1", "", "10.0.0.7"},
		{"trusting", "X-Forwarded-For: 1.2.3.4.5", "", "::"},
		{"rfc7239", claim, "Forwarded=for=127.0.0.1;host=\"h\";proto=http Via", "127.0.0.1"},
		{"both", "X-Forwarded-For: ::1|Host: h", "X-Forwarded-For=::1, 127.0.0.1 X-Forwarded-Proto=http " +
			"X-Forwarded-Host=h Forwarded=for=\"[::1]\";host=\"h\";proto=http, " +
			"for=127.0.0.1;host=\"h\";proto=http Via=1.1 front\n", "::1"},
		{"trusting", "X-Forwarded-For: 203.0.113.5,", "X-Forwarded-For=203.0.113.5, 127.0.0.1 ", "203.0.113.5"},
		{"trusting", "X-Forwarded-For: 203.0.113.6, , 127.0.0.9", "", "203.0.113.6"},
		{"trusting", "X-Forwarded-For: ,203.0.113.7", "X-Forwarded-For=203.0.113.7, 127.0.0.1 ", "203.0.113.7"},
		{"trusting", "Forwarded: , for=1.2.3.4,", "Forwarded=for=1.2.3.4, for=127.0.0.1;", "127.0.0.1"},
		// RFC 7239 §7.4: Forwarded takes over what X-Forwarded-* says.
		{"both", "X-Forwarded-For: 6.6.6.6, junk|X-Forwarded-Proto: https|X-Forwarded-Host: a.test:8443|Host: h",
			"Forwarded=for=6.6.6.6;host=\"a.test:8443\";proto=https, for=unknown, for=127.0.0.1;host=\"h\";" +
				"proto=http ", "::"},
		{"both", "X-Forwarded-Proto: https,|Host: h",
			"Forwarded=for=unknown;host=\"h\";proto=https, for=127.0.0.1;host=\"h\";proto=http ", "127.0.0.1"},
		{"both", "X-Forwarded-For: 1.2.3.4|X-Forwarded-Host: a\"b|Host: h",
			"Forwarded=for=1.2.3.4;host=\"h\";proto=http, for=127.0.0.1;", "1.2.3.4"},
		{"both", "X-Forwarded-For: 1.2.3.4|Forwarded: for=6.6.6.6", "Forwarded=for=6.6.6.6, for=127.0.0.1;", "1.2.3.4"},
		{"both", "X-Forwarded-For: 1.2.3.4|Forwarded: ,|Host: h", "Forwarded=for=1.2.3.4;host=\"h\";proto=http, " +
			"for=127.0.0.1;", "1.2.3.4"},
		{"both", "X-Forwarded-For: ,|Host: h", "Forwarded=for=127.0.0.1;host=\"h\";proto=http Via", "127.0.0.1"},
		{"both", "Host: h", "Forwarded=for=127.0.0.1;host=\"h\";proto=http Via", "127.0.0.1"},
	} {
		resp := askFor(t, "GET", urlOf(t, s, c.listener)+"/", strings.Split(c.fields, "|")...)
		wantPart(t, bodyOf(t, resp), c.want, "%s %s", c.listener, c.fields)
		wantEqual(t, resp.Header.Get("Via"), "1.1 front", "Via of the answer")
		logged = append(logged, fmt.Sprintf(`"listener":%q,"client_ip":%q`, c.listener, c.client))
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		text := readFile(log)
		return !slices.ContainsFunc(logged, func(want string) bool { return !strings.Contains(text, want) })
	}, "not all of ", logged, " are in the log")
}

// readFile returns what the file at path holds so far.
func readFile(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

// A proxy whose backend it is itself.
func TestForwarding_endsLoops(t *testing.T) {
	path := testutil.SocketPath(t)
	s := start(t, Options{}, quiet+`
listeners = [{ name = "web", listen = ["127.0.0.1:0", "unix:%[1]s"], trusted_proxies = "unix" }]
routes = [{ pattern = "/*", dest = "unix:%[1]s" }]
`, path)
	resp := askFor(t, "GET", urlOf(t, s, "web")+"/")
	if got := resp.Header.Get("Proxy-Status"); resp.StatusCode != 508 || got != "edge; error=proxy_loop_detected" {
		t.Fatalf("%d %q", resp.StatusCode, got)
	}
	wantCounter(t, s, 1, "edge_loops_detected_total")
	if n := counter(s, "edge_listener_requests_total", "web"); n < 2 || n > 10 {
		t.Errorf("it went round %v times", n)
	}
}

// What a peer sends fills no log, and does not reach a terminal as it is.
func TestLog_quotesPeers(t *testing.T) {
	log := filepath.Join(t.TempDir(), "access.log")
	s := start(t, Options{}, `
log.output = [%q]
http = { name = "web", listen = "127.0.0.1:0" }
routes = [{ pattern = "/*", dest = %q, rewrite = { path = "/short" } }]
`, log, mirror(t, "api"))
	conn, err := net.Dial("tcp", strings.TrimPrefix(urlOf(t, s, "web"), "http://"))
	testutil.Must(t, err)
	defer conn.Close()
	long := strings.Repeat("p", 3000)
	fmt.Fprintf(conn, "GET /%s?%s HTTP/1.1\r\nHost: a\r\nUser-Agent: \x80\x9b31m\"\\%s\r\nReferer: \xff%s\r\n\r\n",
		long, long, long, long)
	testutil.Eventually(t, testutil.Patience, func() bool { return strings.HasSuffix(readFile(log), "}\n") }, "no line")
	line := strings.TrimSpace(readFile(log))
	var record map[string]any
	if err := json.Unmarshal([]byte(line), &record); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	for _, c := range []byte(line) {
		if c < ' ' || c >= 0x7f {
			t.Fatalf("byte %#x in %q", c, line)
		}
	}
	for _, name := range []string{"path", "query", "user_agent", "referer"} {
		text, _ := record[name].(string)
		if n := len([]rune(text)); n == 0 || n > 260 {
			t.Errorf("%s has %d characters", name, n)
		}
	}
	if text, _ := record["path"].(string); !strings.HasPrefix(text, "/ppp") {
		t.Errorf("the path is logged as %q, not as it came", text)
	}
}

// Routes and trust change by a reload; the diff names the routes of a canary apart.
func TestApply_routingChanges(t *testing.T) {
	const file = quiet + `
listeners = [{ name = "web", listen = "127.0.0.1:0", trusted_proxies = %[1]q }]
routes = [
	{ pattern = "/*", header = "X-Always", dest = "status:200", weight = %[2]d },
	{ pattern = "/*", header = "X-Always", dest = "status:202", weight = 1 },
	{ pattern = "/*", header = { X-Forwarded-Proto = "https" }, redirect = { to = "{scheme}://%[3]s{path}" } },
]
`
	s := start(t, Options{}, file, "10.0.0.0/8", 1, "one.example")
	ask := func() string {
		return askFor(t, "GET", urlOf(t, s, "web")+"/x", "X-Forwarded-Proto: https").Header.Get("Location")
	}
	wantEqual(t, ask(), "http://one.example/x", "a client that is not trusted is sent to")
	if d := apply(t, s, file, "10.0.0.0/8", 1, "one.example"); !d.Empty() {
		t.Errorf("the same file: %+v", d)
	}
	d := apply(t, s, file, "127.0.0.1", 2, "two.example")
	if got, want := fmt.Sprint(d.Changed), "[listener web route /* route /* #3]"; got != want {
		t.Errorf("changed: %s, want %s", got, want)
	}
	wantEqual(t, ask(), "https://two.example/x", "a trusted proxy's client is sent to")
}

// What a check takes for one pattern is one for the router, however it is spelled, and nothing else is: a file that
// passes the check starts.
func TestPatterns_spellings(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	for range testutil.RaceRounds(2000) {
		var patterns []string
		var text strings.Builder
		for range 2 {
			path := ""
			for range r.IntN(4) {
				path += "/" + pick("a", "%61", "%2f", "%2F", "..", "%2e%2E", ".", "", "%", "%zz", "%25", "b")
			}
			p := pick(path+"/*", "="+path+"/", path+"/b")
			if strings.HasSuffix(p, "//*") {
				p = "=" + path
			}
			patterns = append(patterns, p)
			fmt.Fprintf(&text, "[[routes]]\npath = %q\ndest = \"status:200\"\n", p)
		}
		cfg, report := config.Parse("test.toml", []byte(text.String()))
		if cfg == nil {
			t.Fatalf("%q: %s", patterns, report.Errors[0].Error())
		}
		_, err := proxy.NewSnapshot([]proxy.Route{plainRoute(cfg, 0), plainRoute(cfg, 1)}, nil)
		if shadowed := cfg.Routes[1].Shadowed; shadowed != (err != nil) {
			t.Fatalf("%q: shadowed %v, router: %v", patterns, shadowed, err)
		}
	}
}

// plainRoute is the route number i with an answer of its own.
func plainRoute(c *config.Config, i int) proxy.Route {
	return proxy.Route{
		Path: c.Routes[i].Path, Exact: c.Routes[i].PathKind == config.PathExact, To: proxy.Answer(200, "", ""),
	}
}

// No client of a trusted proxy takes away what the proxy says of it, and is taken for the proxy then.
func TestTrusted_connectionNamesAwayNoAddress(t *testing.T) {
	s := start(t, Options{}, quiet+`
listeners = [{ name = "web", listen = "127.0.0.1:0", trusted_proxies = "127.0.0.1" }]
[[rules]]
respond = { status = 200, body = "{client.ip} {scheme} {header.x-real-ip} {header.x-forwarded-user} {header.x-named}" }
`)
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	for fields, want := range map[string]string{
		"X-Forwarded-For: 203.0.113.9\r\nConnection: close": "203.0.113.9 http   ",
		"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Real-IP: a\r\nX-Forwarded-User: b\r\n" +
			"X-Named: c\r\nConnection: x-forwarded-for, X-Forwarded-Proto, x-real-ip\r\n" +
			"Connection: x_forwarded_user,x-forwarded-user,x-named": "203.0.113.9 https a b ",
		"X-Forwarded-For: 10.0.0.1, unknown\r\nConnection: close": ":: http   ",
		"Connection: close": "127.0.0.1 http   ",
	} {
		w := testutil.Dial(t, addr)
		w.Send("GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n\r\n")
		if _, body := w.ReadResponse("GET"); body != want {
			t.Errorf("%q: %q, want %q", fields, body, want)
		}
		w.Close()
	}
}

// The number of a request is the same for its backend, its client and the access log; whose number is kept is a matter
// of trust, and what could break a log or a page is never kept.
func TestRequestID_isOneEverywhere(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", fmt.Sprint(r.Header["X-Request-Id"], r.Header["X-Number"], r.Header["Traceparent"],
			r.Header["X-Of"]))
	}))
	t.Cleanup(backend.Close)
	own := regexp.MustCompile(`^[0-9a-f]{32}$`)
	traced := regexp.MustCompile(`\[00-([0-9a-f]{32})-[0-9a-f]{16}-0[01]\] \[(\w+) (\w+) `)
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	for i, c := range []struct {
		keys, sent, trace string
		want              string // the number; "": one of edge's
		field             string // of the answer
	}{
		{"request_id = true\n", "mine-1", "", "", "X-Request-Id"},
		{"request_id = true\ntrusted_proxies = [\"127.0.0.1\"]\n", "mine-2", "", "mine-2", "X-Request-Id"},
		{"request_id.accept = \"all\"\n", "mine-3", "", "mine-3", "X-Request-Id"},
		{"request_id.accept = \"all\"\n", "<b>&", "", "", "X-Request-Id"},
		{"request_id.accept = \"all\"\n", strings.Repeat("x", 129), "", "", "X-Request-Id"},
		{"request_id = { accept = \"none\", field = \"X-Number\" }\ntrusted_proxies = [\"127.0.0.1\"]\n", "mine-6",
			"", "", "X-Number"},
		{"request_id.answer = false\n", "", "", "", ""},
		{"", "mine-8", trace, "", ""},
		{"traceparent = true\n", "", trace, "", ""},
		{"traceparent = true\n", "", "00-nonsense", "", ""},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			access := filepath.Join(t.TempDir(), "access.log")
			s := start(t, Options{}, "log.output = %q\n[[listeners]]\nlisten = \"127.0.0.1:0\"\n%s"+
				"[[routes]]\npattern = \"/*\"\ndest = %q\n"+
				"headers.request = { X-Of = \"{request_id} {trace_id} {client_ip}\" }\n", access, c.keys, backend.URL)
			req, _ := http.NewRequest("GET", "http://"+s.Addresses()[0].Addr.String(), nil)
			req.Header["X-Request-Id"], req.Header["Traceparent"] = []string{c.sent}, []string{c.trace}
			resp, _ := testutil.Do(t, http.DefaultClient, req)
			var line struct {
				ID      string
				TraceID string `json:"trace_id"`
			}
			onlyRecord(t, access, &line)
			if line.ID != c.want && (c.want != "" || !own.MatchString(line.ID)) {
				t.Errorf("number %q", line.ID)
			}
			seen := resp.Header.Get("X-Seen")
			if c.field != "" && resp.Header.Get(c.field) != line.ID {
				t.Errorf("the answer has %q, the log %q", resp.Header.Get(c.field), line.ID)
			} else if c.field == "" && resp.Header.Get("X-Request-Id") != "" {
				t.Error("the client is told")
			}
			switch {
			case c.keys == "":
				if seen != "[mine-8] [] ["+trace+"] ["+line.ID+"  127.0.0.1]" || line.TraceID != "" {
					t.Error(seen)
				}
			case strings.HasPrefix(c.keys, "traceparent"):
				parts := traced.FindStringSubmatch(seen)
				if parts == nil || parts[1] != line.TraceID || parts[2] != line.ID || parts[3] != line.TraceID ||
					c.trace == trace && parts[1] != trace[3:35] {
					t.Error(seen, line)
				}
			case !strings.Contains(seen, "["+line.ID+"]"), !strings.Contains(seen, "["+line.ID+"  127.0.0.1]"):
				t.Error(seen, line)
			}
		})
	}
}
