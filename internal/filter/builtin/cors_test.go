package builtin_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/filter/builtin"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// serve starts a proxy with a filter before an origin that has fields of its own. /dead is answered by the proxy.
func serveCORS(t *testing.T, c *builtin.CORS, more ...*proxy.Filter) string {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Saw", r.Method+" "+r.Header.Get("Origin"))
		if r.URL.Path != "/loud" {
			return
		}
		h.Set("Access-Control-Allow-Origin", "https://backend.example")
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Expose-Headers", "X-Backend")
		h.Set("access-control-allow-private-network", "true")
		h.Add("Vary", "Accept-Encoding, ORIGIN")
		h.Add("Vary", "Accept")
	}))
	t.Cleanup(origin.Close)
	f := made(t, builtin.NewCORS, c, nil)
	list := append([]*proxy.Filter{f}, more...)
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{
		{Path: "/dead", To: edge.Backends(testutil.FreeAddr(t)), Filters: list},
		{To: edge.Backends(origin.Listener.Addr().String()), Filters: list},
	}}
	return filterrig.Start(t, s)
}

// ask sends a request with fields "Name: value", and returns the answer.
func ask(t *testing.T, method, url string, fields ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header.Add(name, value)
	}
	resp, _ := testutil.Do(t, http.DefaultClient, req)
	return resp
}

// told is what an answer says to the browser.
func told(resp *http.Response) string {
	text := fmt.Sprint(resp.StatusCode)
	for _, name := range []string{"Allow-Origin", "Allow-Credentials", "Allow-Methods", "Allow-Headers", "Max-Age",
		"Expose-Headers", "Allow-Private-Network"} {
		if values := resp.Header.Values("Access-Control-" + name); len(values) > 0 {
			text += " " + name + "=" + strings.Join(values, "|")
		}
	}
	if values := resp.Header.Values("Vary"); len(values) > 0 {
		text += " Vary=" + strings.Join(values, "|")
	}
	return text
}

func TestCORS_listedOrigins(t *testing.T) {
	url := serveCORS(t, &builtin.CORS{
		Origins: []string{"https://app.example", "https://*.example.org", "http://[::1]:8080"},
		Methods: []string{"GET", "PUT"}, Headers: []string{"Content-Type", "X-Token"}, Expose: []string{"X-Saw"},
		Credentials: true, MaxAge: 90 * time.Second, PrivateNetwork: true,
	})
	const preflight = "Access-Control-Request-Method: PUT"
	const granted = " Allow-Credentials=true Allow-Methods=GET, PUT Allow-Headers=Content-Type, X-Token Max-Age=90"
	const varied = " Vary=Origin|Access-Control-Request-Method|Access-Control-Request-Headers"
	for _, c := range []struct {
		method, path string
		fields       []string
		want, saw    string
	}{
		{"GET", "/", nil, "200 Vary=Origin", "GET"},
		{"GET", "/", []string{"Origin: https://app.example"},
			"200 Allow-Origin=https://app.example Allow-Credentials=true Expose-Headers=X-Saw Vary=Origin",
			"GET https://app.example"},
		{"GET", "/", []string{"Origin: http://[::1]:8080"},
			"200 Allow-Origin=http://[::1]:8080 Allow-Credentials=true Expose-Headers=X-Saw Vary=Origin",
			"GET http://[::1]:8080"},
		{"GET", "/", []string{"Origin: https://app.example:8443"}, "200 Vary=Origin", "GET https://app.example:8443"},
		{"GET", "/", []string{"Origin: https://APP.example"}, "200 Vary=Origin", "GET https://APP.example"},
		{"GET", "/", []string{"Origin: null"}, "200 Vary=Origin", "GET null"},
		{"GET", "/", []string{"Origin: "}, "200 Vary=Origin", "GET"},
		{"GET", "/", []string{"Origin: https://app.example", "Origin: https://evil.example"}, "200 Vary=Origin",
			"GET https://app.example"},
		{"POST", "/loud", []string{"Origin: https://a.example.org"},
			"200 Allow-Origin=https://a.example.org Allow-Credentials=true Expose-Headers=X-Saw " +
				"Vary=Accept-Encoding, ORIGIN|Accept", "POST https://a.example.org"},
		{"GET", "/loud", []string{"Origin: https://evil.example"}, "200 Vary=Accept-Encoding, ORIGIN|Accept",
			"GET https://evil.example"},
		{"GET", "/dead", []string{"Origin: https://app.example"},
			"502 Allow-Origin=https://app.example Allow-Credentials=true Expose-Headers=X-Saw Vary=Accept|Origin", ""},
		{"OPTIONS", "/loud", []string{"Origin: https://app.example", preflight},
			"204 Allow-Origin=https://app.example" + granted + varied, ""},
		{"OPTIONS", "/", []string{"Origin: https://app.example", preflight,
			"Access-Control-Request-Private-Network: true"},
			"204 Allow-Origin=https://app.example" + granted + " Allow-Private-Network=true" + varied, ""},
		{"OPTIONS", "/", []string{"Origin: https://evil.example", preflight},
			"403 Vary=Accept|Origin|Access-Control-Request-Method|Access-Control-Request-Headers", ""},
		{"OPTIONS", "/", []string{"Origin: https://app.example"},
			"200 Allow-Origin=https://app.example Allow-Credentials=true Expose-Headers=X-Saw Vary=Origin",
			"OPTIONS https://app.example"},
		{"OPTIONS", "/", []string{preflight}, "200 Vary=Origin", "OPTIONS"},
	} {
		resp := ask(t, c.method, url+c.path, c.fields...)
		if got := told(resp); got != c.want || resp.Header.Get("X-Saw") != c.saw {
			t.Errorf("%s %s %q\ngot  %s, origin saw %q\nwant %s, %q", c.method, c.path, c.fields, got,
				resp.Header.Get("X-Saw"), c.want, c.saw)
		}
	}
}

func TestCORS_anyOrigin(t *testing.T) {
	star := []string{"*"}
	url := serveCORS(t, &builtin.CORS{Origins: star, Headers: star, Methods: star, MaxAge: time.Hour})
	for want, fields := range map[string][]string{
		"200 Allow-Origin=*": {"Origin: null"},
		"204 Allow-Origin=* Allow-Methods=* Allow-Headers=* Max-Age=3600 " +
			"Vary=Access-Control-Request-Method|Access-Control-Request-Headers": {
			"Origin: https://a.example", "Access-Control-Request-Method: DELETE"},
	} {
		if got := told(ask(t, "OPTIONS", url, fields...)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if got := told(ask(t, "GET", url)); got != "200 Allow-Origin=*" {
		t.Error(got)
	}
}

// What other filters do does not take the fields from an answer: one that answers, one that gives the backend another
// Origin.
func TestCORS_besideOthers(t *testing.T) {
	inside, err := edge.Template("https://inside.example", lang.Request)
	testutil.Must(t, err)
	url := serveCORS(t, &builtin.CORS{Origins: []string{"https://app.example"}},
		&proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
			if string(x.Request.Path()) == "/private" {
				return proxy.RespondPage(401)
			}
			return proxy.Next
		}},
		proxy.SetFields(map[string]*lang.Template{"Origin": inside}, nil))
	for path, want := range map[string]string{
		"/private": "401 Allow-Origin=https://app.example Vary=Accept|Origin",
		"/":        "200 Allow-Origin=https://app.example Vary=Origin",
	} {
		resp := ask(t, "GET", url+path, "Origin: https://app.example")
		if got := told(resp); got != want {
			t.Errorf("%s: %s", path, got)
		}
		if saw := resp.Header.Get("X-Saw"); path == "/" && saw != "GET https://inside.example" {
			t.Errorf("the origin saw %q", saw)
		}
	}
}

// Of two filters each asks its own list: the second one does not take the word of the first.
func TestCORS_twice(t *testing.T) {
	strict, err := filterrig.Made(builtin.NewCORS,
		&builtin.CORS{Origins: []string{"https://app.example"}, Credentials: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	url := serveCORS(t, &builtin.CORS{Origins: []string{"*"}}, strict)
	for from, want := range map[string]string{
		"https://app.example":  "200 Allow-Origin=https://app.example Allow-Credentials=true Vary=Origin",
		"https://evil.example": "200 Vary=Origin",
	} {
		if got := told(ask(t, "GET", url, "Origin: "+from)); got != want {
			t.Errorf("%s: %s", from, got)
		}
	}
	preflight := told(ask(t, "OPTIONS", url, "Origin: https://evil.example", "Access-Control-Request-Method: GET"))
	if strings.Contains(preflight, "Allow-") {
		t.Error(preflight)
	}
}

func TestNewCORS_refuses(t *testing.T) {
	star, one := []string{"*"}, []string{"https://a.example"}
	for want, c := range map[string]builtin.CORS{
		"required":          {},
		"may read":          {Origins: star, Credentials: true},
		`"https://*" with`:  {Origins: []string{"https://*"}, Credentials: true},
		"any page can be":   {Origins: []string{"null"}},
		"mean nothing":      {Origins: append(one, "*")},
		`write "PATCH"`:     {Origins: one, Methods: []string{"GET", "patch"}},
		"not a method":      {Origins: one, Methods: []string{"GET,PUT"}},
		"for no page":       {Origins: one, Methods: []string{"TRACE"}},
		"methods[0]: \"*\"": {Origins: one, Methods: star, Credentials: true},
		"headers[0]: \"*\"": {Origins: one, Headers: star, Credentials: true},
		"expose[0]: \"*\"":  {Origins: one, Expose: star, Credentials: true},
		"name of a field":   {Origins: one, Headers: []string{"X Token"}},
		"part of a name":    {Origins: []string{"https://*example.com"}},
		`"https://a.b"`:     {Origins: []string{"https://a.b/"}},
	} {
		if _, err := filterrig.Made(builtin.NewCORS, &c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestCORS_allocatesNothing(t *testing.T) {
	for _, origins := range [][]string{{"*"}, {"https://app.example", "https://*.example.org"}} {
		f := made(t, builtin.NewCORS, &builtin.CORS{Origins: origins, Expose: []string{"X-Total"}}, nil)
		for _, from := range []string{"", "Origin: https://app.example\r\n", "Origin: https://a.example.org\r\n",
			"Origin: https://evil.example\r\n"} {
			g := warm.New(t, strings.Replace(warm.Browser, "\r\n", "\r\n"+from, 1), &proxy.Listener{}, f)
			if n := testutil.Allocs(1000, g.Exchange); n != 0 {
				t.Errorf("%q, %q: %v allocations", origins, from, n)
			}
		}
	}
}

// A page of another site reads an answer; one that is not listed does not.
func ExampleCORS() {
	share, err := filterrig.Made(builtin.NewCORS, &builtin.CORS{Origins: []string{"https://*.example.com"}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{
		{To: proxy.Answer(200, "text/plain", "hello"), Filters: []*proxy.Filter{share}},
	}}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	for _, from := range []string{"https://app.example.com", "https://evil.example"} {
		req, err := http.NewRequest("GET", "http://"+s.ListenAddr(), nil)
		if err != nil {
			log.Fatal(err)
		}
		req.Header.Set("Origin", from)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Printf("%s: %q\n", from, resp.Header.Get("Access-Control-Allow-Origin"))
	}
	http.DefaultClient.CloseIdleConnections()
	// Output:
	// https://app.example.com: "https://app.example.com"
	// https://evil.example: ""
}
