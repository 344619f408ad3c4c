package location_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/exchange/location"
	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
)

// asked is a Subject of which {rest} alone is known.
type asked struct{ rest string }

func (a *asked) Rest([]byte) []byte                  { return []byte(a.rest) }
func (a *asked) ClientIP() (none netip.Addr)         { return none }
func (a *asked) ClientPort() uint16                  { return 0 }
func (a *asked) Peer() (none netip.AddrPort)         { return none }
func (a *asked) SocketIP() (none netip.Addr)         { return none }
func (a *asked) Local() (none netip.AddrPort)        { return none }
func (a *asked) ListenerName() string                { return "" }
func (a *asked) TLS() *tlsconn.Digest                { return nil }
func (a *asked) RouteName() string                   { return "" }
func (a *asked) AppendID(dst []byte) []byte          { return dst }
func (a *asked) TraceID() []byte                     { return nil }
func (a *asked) User() []byte                        { return nil }
func (a *asked) Text(string) []byte                  { return nil }
func (a *asked) Attempts() int                       { return 0 }
func (a *asked) Status() int                         { return 0 }
func (a *asked) Upstream() (none variables.Upstream) { return none }
func (a *asked) Duration() time.Duration             { return 0 }
func (a *asked) Bytes() (in, out int64)              { return 0, 0 }
func (a *asked) Fault() (side, kind string)          { return "", "" }
func (a *asked) Source() string                      { return "" }
func (a *asked) SampleRate() string                  { return "" }
func (a *asked) Encoded() (_ string, saved int64)    { return "", 0 }
func (a *asked) Cache() (_, _ string, age time.Duration) {
	return "", "", -1
}
func (a *asked) Claim(string, [][]byte) [][]byte { return nil }

var _ variables.Subject = (*asked)(nil)

// request makes a head of a method, a target and a host.
func request(target, host string) *message.Head {
	h := &message.Head{}
	h.SetMethod("GET")
	h.SetTarget(target)
	h.SetAuthority(host)
	return h
}

// sites is a map of a configuration.
var sites = map[string]string{"a.example": "www.a.example", "bad": "x@evil.example"}

func scope(t testing.TB) *lang.Scope {
	t.Helper()
	s, err := variables.Scope(lang.Names{Maps: map[string]lang.Map{
		"sites": {Key: lang.Text, Text: func(key []byte) ([]byte, bool) {
			text, ok := sites[string(key)]
			return []byte(text), ok
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// made returns what a template makes of a request, or the error.
func made(t *location.Template, target, host, rest string) string {
	h := request(target, host)
	path, _, _ := strings.Cut(target, "?")
	x := lang.X{Request: h, Path: []byte(path), Subject: &asked{rest: rest}, State: lang.NewState()}
	got, err := t.Append(nil, h, &x)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(got)
}

// What templates have made since before there was a language.
func TestLocation_olderNames(t *testing.T) {
	for _, c := range []struct{ template, target, rest, want string }{
		{"https://example.com{path}", "/a/b?c=d", "", "https://example.com/a/b?c=d"},
		{"https://example.com{path}", "/a/b", "", "https://example.com/a/b"},
		{"https://example.com{path}", "//evil.example/", "", "https://example.com//evil.example/"},
		{"https://example.com{path}", "*", "", "https://example.com/"},
		{"https://example.com{path}", ".evil.example:443", "", "https://example.com/"},
		{"https://example.com/x?{query}", "/a?c=d", "", "https://example.com/x?c=d"},
		{"https://example.com/x?{query}", "/a", "", "https://example.com/x"},
		{"https://example.com/x?", "/a?c=d", "", "https://example.com/x"},
		{"https://example.com/#top", "/a?c=d", "", "https://example.com/#top"},
		{"https://example.com{path}", "/%74%2fea;x=1|<>", "", "https://example.com/%74%2fea;x=1|<>"},
		{"{scheme}://{host}{path}", "/a", "", "http://www.example.org/a"},
		{"{scheme}://{host}:8443{path}", "/a", "", "http://www.example.org:8443/a"},
		{"//cdn.example.com{path}", "/a", "", "//cdn.example.com/a"},
		{"/new/{method}{path}", "/a?b", "", "/new/GET/a?b"},
		{"{path}", "//evil.example/a", "", "/evil.example/a"},
		{"/{path}", "/evil.example/a", "", "/evil.example/a"},
		{"{path}", "/\\evil.example/a", "", "/evil.example/a"},
		{"{path}/", "///", "", "/"},
		{"/{query}", "/?/evil.example", "", "/evil.example"},
		{"/new{rest}", "/old?c=d", "/a/b", "/new/a/b?c=d"},
		{"/new{rest}", "/old?c=d", "/", "/new/?c=d"},
		{"/new{rest}", "/old?c=d", "", "/new?c=d"},
		{"/new{rest}?", "/old?c=d", "/a", "/new/a"},
		{"{rest}", "/old?c=d", "", "/?c=d"},
		{"{rest}", "/old?c=d", "//evil.example", "/evil.example?c=d"},
		{"https://example.com{rest}", "/old?c=d", "/a", "https://example.com/a?c=d"},
		{"https://example.com{rest}", "/old?c=d", "", "https://example.com/?c=d"},
		{"https://example.com{rest}{query}", "/old?c=d", "", "https://example.com/c=d"},
		{"https://{host}{rest}{rest}", "/old?c=d", "", "https://www.example.org/?c=d"},
		{"https://example.com/new{rest}", "/old?c=d", "", "https://example.com/new?c=d"},
	} {
		text, err := scope(t).Template(c.template, lang.Request)
		if err != nil {
			t.Fatal(err)
		}
		tm, err := location.Location(text)
		if err != nil {
			t.Errorf("%q: %v", c.template, err)
			continue
		}
		if got := made(tm, c.target, "www.example.org:8080", c.rest); got != c.want || !location.Plain(tm) {
			t.Errorf("%q of %q: %q, want %q", c.template, c.target, got, c.want)
		}
	}
}

// Values are encoded for where they stand, and name no place.
func TestLocation_values(t *testing.T) {
	for _, c := range []struct{ template, target, want string }{
		{"https://{host}{target}", "/a?b=c", "https://a.example/a?b=c"},
		{"{target}", "//evil.example/?x", "/evil.example/?x"},
		{`{path.cut_prefix("/old")}`, "/old/a%2Fb?c", "/a%2Fb?c"},
		{`https://{host}{path.cut_prefix("/old/")}`, "/old/a", "https://a.example/a"},
		{`https://{host}{path.cut_prefix("/old/")}`, "/old/@evil.example", "https://a.example/@evil.example"},
		{`https://x.example{path.cut_prefix("/")}`, "/.evil.example/", "https://x.example/.evil.example/"},
		{"/go/{query.to}", "/?to=a/b%0d%0aX:%20y%3fz%23%25",
			"/go/a/b%0D%0AX:%20y%3Fz%23%25?to=a/b%0d%0aX:%20y%3fz%23%25"},
		{"/go/{query.to}?", "/?to=%2525+%ff%5c", "/go/%25%20%FF%5C"},
		{"{query.to}?", "/?to=https://evil.example/", "/https://evil.example/"},
		{"{query.to}?", "/?to=//evil.example/", "/evil.example/"},
		{"{query.to}?", "/?to=/%5cevil.example/", "/%5Cevil.example/"},
		{"{query.to}?", "/?to=%5c%5cevil.example/", "/%5C%5Cevil.example/"},
		{"/login?back={target}", "/a?b=c&d=%20#", "/login?back=/a%3Fb%3Dc%26d%3D%2520%23"},
		{"/login?back={url_encode(target)}&x={query.x}", "/a?x=1%262", "/login?back=%2Fa%3Fx%3D1%25262&x=1%262"},
		{"/login?{query}&a={method}", "/a?b=c&d", "/login?b=c&d&a=GET"},
		{"/#{query.x}", "/?x=%22%3c", "/#%22%3C"},
		{"https://{map.sites[host]}{path}", "/a", "https://www.a.example/a"},
		{"https://{map.sites[query.x]}{path}", "/evil.example/", "error: there is no host in the request"},
		{"https://{map.sites[query.x]}{path}", "/?x=bad", "error: there is no host in the request"},
		{"https://{host}:{port}{path}", "/a", "https://a.example:8080/a"},
		{"https://www.{host}{path}", "/a", "https://www.a.example/a"},
		{`/{header.x ?? "none"}`, "/", "/none"},
	} {
		text, err := scope(t).Template(c.template, lang.Request)
		if err != nil {
			t.Fatalf("%s: %v", c.template, err)
		}
		tm, err := location.Location(text)
		if err != nil {
			t.Errorf("%q: %v", c.template, err)
			continue
		}
		if got := made(tm, c.target, "a.example:8080", ""); got != c.want {
			t.Errorf("%q of %q: %q, want %q", c.template, c.target, got, c.want)
		}
	}
}

// What is sent on has no dot segments that a value makes, in any spelling.
func TestPath_values(t *testing.T) {
	dots := "error: the path would have dot segments"
	for _, c := range []struct{ template, target, want string }{
		{"/all", "/a?b", "/all?b"},
		{"{path}/end?", "//a?b", "/a/end"},
		{"/files/{query.name}?", "/?name=a..b/.c", "/files/a..b/.c"},
		{"/files/{query.name}?", "/?name=../admin", dots},
		{"/files/{query.name}?", "/?name=%2e%2e%2fadmin", dots},
		{"/files/{query.name}?", "/?name=%252e%252e%252fadmin", dots},
		{"/files/{query.name}?", "/?name=..;x/admin", dots},
		{"/files/{query.name}?", "/?name=x%5c..%5cadmin", dots},
		{"/files/{query.name}", "/?name=..", dots},
		{"/files/{query.name}?x=/../", "/?name=a", "/files/a?x=/../"},
		{`/b/{path.cut_prefix("/x")}`, "/x..", dots},
		{`/v2{path.cut_prefix("/v1")}`, "/v1/a?b", "/v2/a?b"},
		{"{target}", "/a?b", "/a?b"},
		{"/x?u={host}&q={query.q}", "/?q=a%26b", "/x?u=a.example&q=a%26b"},
		{strings.Repeat("{path}", 20), "/" + strings.Repeat("a", 1000), "error: longer than 16 KiB"},
		{"/{query.x}", "/?x=" + strings.Repeat("%ff", 6000), "error: longer than 16 KiB"},
	} {
		text, err := scope(t).Template(c.template, lang.Request)
		if err != nil {
			t.Fatal(err)
		}
		tm, err := location.Path(text)
		if err != nil {
			t.Errorf("%q: %v", c.template, err)
			continue
		}
		if got := made(tm, c.target, "a.example:8080", ""); got != c.want {
			t.Errorf("%q of %q: %q, want %q", c.template, c.target, got, c.want)
		}
	}
}

func TestLocation_refuses(t *testing.T) {
	for _, text := range []string{
		"", "example.com", "ftp://example.com/", "javascript:alert(1)", "{query}", "{host}/x", "/a\r\nSet-Cookie: a=b",
		"/a b", "/a\x00", "/ä", "/{{path", "/\"", "https://example.com{query}", "https://{path}@example.com{query}",
		"https://user@example.com/", "https://{host}{query}", "https://{host}{method}", "https://{query}", "//{query}",
		"/" + strings.Repeat("a", location.TextMax), strings.Repeat("{path}", location.PartsMax+1), "https://a\\b/",
		"https://{query.host}/", "https://shop.{query.x}.example/", "https://{host}:{query.port}/", "https:///{path}",
		"https://{map.sites[host] + query.x}/", `https://{map.sites[host] ?? query.x}/`, "https://{header.host}/",
		"https://example.com{host}/", "https://{host}{port}/", "https://{host}{host}/",
		"https://{host}{map.sites[host]}/",
		"{map.sites[host]}", "https://{lower(query.x)}.example.com/", "{scheme}:{path}", "{scheme}",
	} {
		tm, err := scope(t).Template(text, lang.Request)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if _, err := location.Location(tm); err == nil {
			t.Errorf("Location(%q) accepts it", text)
		}
	}
	for _, text := range []string{"", "a", "http://example.com/", "/#a", "{host}", "/\n", "{map.sites[host]}"} {
		tm, err := scope(t).Template(text, lang.Request)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := location.Path(tm); err == nil {
			t.Errorf("Path(%q) accepts it", text)
		}
	}
	for _, text := range []string{"", "a", "/a b", "/a?b", "/a#", "/a{", "/a\n"} {
		if location.ValidPrefix(text) {
			t.Errorf("ValidPrefix(%q)", text)
		}
	}
}

func TestTemplate_allocatesNothing(t *testing.T) {
	text, err := scope(t).Template("https://{host}{path}?a={query.c}&{query}", lang.Request)
	testutil.Must(t, err)
	tm, err := location.Location(text)
	if err != nil {
		t.Fatal(err)
	}
	h := request("/a/b?c=d%20%26", "example.org")
	x, buf := lang.X{Request: h, State: lang.NewState()}, make([]byte, 0, 256)
	if n := testutil.Allocs(100, func() { buf, _ = tm.Append(buf[:0], h, &x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What a template makes of a request never has a line end or a blank, and leads where the template says.
func FuzzTemplate(f *testing.F) {
	f.Add("https://example.com{path}", "/a?b")
	f.Add("{path}", "//a")
	f.Add("https://example.com/?{query}", "*")
	f.Add("https://example.com{rest}{query}", "/?.evil.example")
	f.Add("{query.a}", "/?a=//evil")
	f.Add(`https://example.com{path.cut_prefix("/a")}`, "/a.evil.example")
	f.Add(`/x/{url_decode(query.a)}?b={query.b}`, "/?a=%250a&b=%00")
	s := scope(f)
	f.Fuzz(func(t *testing.T, text, target string) {
		for _, c := range []byte(target) {
			if c <= ' ' || c >= 0x7f || c == '#' {
				return
			}
		}
		template, err := s.Template(text, lang.Request)
		if err != nil || target == "" {
			return
		}
		tm, err := location.Location(template)
		if err != nil {
			return
		}
		got := made(tm, target, "www.example.org", "")
		if strings.HasPrefix(got, "error: ") {
			return
		}
		if strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Errorf("%q of %q: %q", text, target, got)
		}
		if strings.HasPrefix(text, "https://example.com{") && !strings.HasPrefix(got, "https://example.com/") ||
			strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "{scheme") &&
				(!strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.HasPrefix(got, "/\\")) {
			t.Errorf("%q of %q leads to %q", text, target, got)
		}
	})
}
