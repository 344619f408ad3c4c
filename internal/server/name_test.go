package server

import (
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// An answer carries the name of the server that the configuration gives, also when the request could not be read or
// came without TLS to a port that speaks it.
func TestServer_namesItselfInEveryFailure(t *testing.T) {
	s := start(t, Options{}, quiet+`
via = "front"
http = { name = "plain", listen = "127.0.0.1:0" }
[[routes]]
pattern = "/x"
dest = "status:200"
%s`, secured(t, testutil.NewAuthority(t), t.TempDir()))
	const whole = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
	for _, c := range []struct {
		listener, request, status, token, body string
	}{
		{"plain", whole, "404", "destination_not_found", "nothing at this address"},
		{"plain", "malformed\r\n\r\n", "400", "http_request_error", "\n"},
		{"web", whole, "400", "http_request_error", "use https://\n"},
	} {
		w := testutil.Dial(t, strings.TrimPrefix(urlOf(t, s, c.listener), "http://"))
		w.Send(c.request)
		got := w.ReadAll()
		for _, part := range []string{
			"HTTP/1.1 " + c.status + " ", "\r\nProxy-Status: front; error=" + c.token + "\r\n", "\r\nDate: ",
			"\r\nConnection: close\r\n", c.body,
		} {
			wantPart(t, got, part, "%s, %q", c.listener, c.request)
		}
	}
}

// A proxy that is trusted may say with the target that its client asked by https: RFC 9110 §7.4.
func TestForwarding_schemeOfTheTarget(t *testing.T) {
	s := start(t, Options{}, quiet+`
listeners = [{ listen = "127.0.0.1:0", trusted_proxies = "127.0.0.1" }]
routes = [{ pattern = "/*", dest = %q }]
`, mirror(t, "api"))
	for field, want := range map[string]string{"": "https", "X-Forwarded-Proto: http\r\n": "http"} {
		w := testutil.Dial(t, s.Addresses()[0].Addr.String())
		w.Send("GET https://h/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + field + "\r\n")
		wantPart(t, w.ReadAll(), " X-Forwarded-Proto="+want+" ", "%q", field)
	}
}

// A client of HTTP/1.0 may say no Host. An empty one, which nginx and edge itself refuse, is not what backends get.
func TestServer_backendsGetAHostInAnyCase(t *testing.T) {
	to := mirror(t, "api")
	s := start(t, Options{}, quiet+`
http.listen = "127.0.0.1:0"
routes = [{ pattern = "/*", dest = %q }]
`, to)
	w := testutil.Dial(t, s.Addresses()[0].Addr.String())
	w.Send("GET / HTTP/1.0\r\n\r\n")
	if got := w.ReadAll(); !strings.Contains(got, " host="+to+" ") || strings.Contains(got, "X-Forwarded-Host=") {
		t.Error(got)
	}
}

// What a line of the event log quotes from a client has at most 256 bytes.
func TestExplainer_cutsThePath(t *testing.T) {
	l := logged(t, 100)
	explainer{}.Append(&observe.Record{
		Status: 502, Reason: "backend:connect", Path: []byte("/" + strings.Repeat("x", 5000)),
	})
	found := l.with("request failed")
	if len(found) != 1 {
		t.Fatal(found)
	}
	if path := found[0]["path"].(string); len(path) != quotedMax {
		t.Errorf("%d bytes of the path", len(path))
	}
}

// A key that waits for a restart and is changed back waits no more.
func TestApply_keyThatIsChangedBack(t *testing.T) {
	const file = quiet + `
via = %q
http.listen = "127.0.0.1:0"
routes = [{ pattern = "/*", dest = "status:200" }]
`
	s := start(t, Options{}, file, "one")
	for _, c := range []struct {
		via  string
		want []string
	}{{"two", []string{"via"}}, {"three", []string{"via"}}, {"one", nil}} {
		if d := apply(t, s, file, c.via); !slices.Equal(d.Restart, c.want) {
			t.Errorf("via = %q: %v waits for a restart, want %v", c.via, d.Restart, c.want)
		}
	}
}
