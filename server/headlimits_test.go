package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// originOf returns a client, and a server that answers by h. Both speak a version of HTTP without TLS.
func originOf(t *testing.T, version string, h http.HandlerFunc) (c *http.Client, addr string) {
	t.Helper()
	p := new(http.Protocols)
	p.SetHTTP1(version == "h1")
	p.SetUnencryptedHTTP2(version == "h2")
	l := testutil.Listen(t)
	o := &http.Server{Handler: h, Protocols: p, MaxHeaderBytes: 4 << 20}
	go o.Serve(l) //nolint:errcheck // ends with the listener
	t.Cleanup(func() { o.Close() })
	transport := &http.Transport{Protocols: p, MaxResponseHeaderBytes: 4 << 20, DisableKeepAlives: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}, l.Addr().String()
}

// The keys of a listener say how long a request line and a field may be, up to 1 MiB, and the default refuses longer
// ones.
func TestLimits_requestLineAndField(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"h1", "h2"} {
		for _, c := range []struct {
			name, limits  string
			target, field int
			want          int
		}{
			{"default", "", 7000, 15000, 200},
			{"default, long target", "", 20000, 0, 414},
			{"default, long field", "", 0, 20000, 431},
			{"long target", `target_size = "64k", header_size = "128k"`, 60000, 0, 200},
			{"longer target", `target_size = "64k", header_size = "128k"`, 70000, 0, 414},
			{"long field", `field_size = "64k", header_size = "128k"`, 0, 60000, 200},
			{"longer field", `field_size = "64k", header_size = "128k"`, 0, 70000, 431},
			{"head too large", `target_size = "100k", field_size = "100k", header_size = "128k"`, 70000, 70000, 431},
			{"1 MiB of target", `target_size = "1m", header_size = "1m"`, 1<<20 - 1000, 0, 200},
			{"1 MiB of field", `field_size = "1m", header_size = "1m"`, 0, 1<<20 - 1000, 200},
			{"small", `target_size = "1k", field_size = "1k"`, 1100, 0, 414},
		} {
			t.Run(version+" "+c.name, func(t *testing.T) {
				client, addr := originOf(t, version, func(w http.ResponseWriter, r *http.Request) {
					fmt.Fprint(w, len(r.URL.RawQuery), " ", len(r.Header.Get("X-Long"))) //nolint:errcheck // the client
				})
				s := start(t, Options{}, quiet+`
listeners = [{ name = "web", listen = "127.0.0.1:0", protocols = ["h1", "h2"], limits = { %s } }]
upstreams.u = { backends = [{ address = %q }], protocol = %q }
routes = [{ pattern = "/*", dest = "u" }]
`, c.limits, addr, version)
				r, err := http.NewRequest("GET", urlOf(t, s, "web")+"/?"+strings.Repeat("q", c.target), nil)
				try(t, err)
				r.Header.Set("X-Long", strings.Repeat("x", c.field))
				resp, err := client.Do(r)
				if err != nil && c.want == 431 && strings.HasSuffix(err.Error(), "peer's advertised limit") {
					return // the client of HTTP/2 has read what edge takes, and does not send more
				} else if err != nil {
					t.Fatal(err)
				}
				body := bodyOf(t, resp)
				want := fmt.Sprint(c.target, " ", c.field)
				if resp.StatusCode != c.want || c.want == 200 && body != want {
					t.Errorf("%s %.200q, want %d %q", resp.Status, body, c.want, want)
				}
			})
		}
	}
}

// The keys of an upstream bound the heads of answers to requests and to checks. A larger head is answered 502.
func TestLimits_headsOfAnswers(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"h1", "h2"} {
		for _, c := range []struct {
			name, limits string
			count, size  int // of the fields
			want         int
		}{
			{"default", "", 80, 100, 200},
			{"default, many fields", "", 150, 10, 502},
			{"default, large head", "", 12, 4000, 502},
			{"default, large field", "", 1, 20000, 502},
			{"many fields", `header_count = 500`, 150, 10, 200},
			{"too many fields", `header_count = 120`, 150, 10, 502},
			{"large head", `header_size = "128k"`, 12, 4000, 200},
			{"too large head", `header_size = "40k"`, 12, 4000, 502},
			{"large field", `header_size = "128k", field_size = "32k"`, 1, 20000, 200},
			{"too large field", `header_size = "128k", field_size = "17k"`, 1, 20000, 502},
			{"1 MiB", `header_size = "1m", field_size = "1m"`, 1, 1<<20 - 2000, 200},
		} {
			t.Run(version+" "+c.name, func(t *testing.T) {
				t.Parallel() // each waits for a check, the first of which decides
				client, addr := originOf(t, version, func(w http.ResponseWriter, r *http.Request) {
					for i := range c.count {
						w.Header().Add("Set-Cookie", fmt.Sprint("c", i, "=", strings.Repeat("y", c.size)))
					}
					fmt.Fprint(w, "ok") //nolint:errcheck // the client says
				})
				s := start(t, Options{}, quiet+`
listeners = [{ name = "web", listen = "127.0.0.1:0", protocols = ["h1", "h2"] }]
routes = [{ pattern = "/*", dest = "u" }]
[upstreams.u]
backends = [{ address = %q }]
protocol = %q
limits = { %s }
health_check = { interval = "1s", timeout = "1s", fall = 100 }
`, addr, version, c.limits)
				resp, body := testutil.Get(t, client, urlOf(t, s, "web"))
				if cookies := len(resp.Header.Values("Set-Cookie")); resp.StatusCode != c.want ||
					c.want == 200 && (body != "ok" || cookies != c.count) {
					t.Errorf("%s %.200q with %d cookies, want %d with %d", resp.Status, body, cookies, c.want, c.count)
				}
				testutil.Eventually(t, testutil.Patience, func() bool {
					return counter(s, "edge_check_results_total", "u", "passed") > 0 ||
						c.want == 502 && counter(s, "edge_check_results_total", "u", "protocol") > 0
				}, "checks do not end as requests do")
			})
		}
	}
}
