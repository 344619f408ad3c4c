package lang

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/message"
)

// subject is what the variables of the tests look at.
type subject struct {
	client  netip.Addr
	country string
	resumed bool
	took    int64
	sans    []string
}

func of(x *X) *subject {
	s, _ := x.Subject.(*subject)
	if s == nil {
		s = new(subject)
	}
	return s
}

// names are what a program adds.
func names() Names {
	office := newAddressSet([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")})
	bots := newTextSet([]string{"curl", "wget"})
	upgrades := map[string]string{"websocket": "ws", "h2c": "", "a": "b"}
	env := map[string]string{"REGION": "eu", "EMPTY": ""}
	return Names{
		Variables: []Variable{
			{Name: "client.ip", Kind: IP, Phases: Always, Doc: "The address of the client.",
				Example: `client.ip in {10.0.0.0/8}`, IP: func(x *X) netip.Addr { return of(x).client }},
			{Name: "geo.country", Kind: Text, Phases: Always, Doc: "Its country.",
				Example: `geo.country in {"BR" "US"}`,
				Text: func(x *X) []byte {
					if c := of(x).country; c != "" {
						return []byte(c)
					}
					return nil
				}},
			{Name: "tls.resumed", Kind: Bool, Phases: Always, Doc: "Whether the handshake was short.",
				Example: `tls.resumed`,
				Bool:    func(x *X) bool { return of(x).resumed }},
			{Name: "tls.sni", Kind: Text, Phases: Always, Doc: "The name that the client asked for.",
				Example: `tls.sni == "a"`, Text: func(*X) []byte { return []byte("db.x.org") }},
			{Name: "tls.alpn", Kind: Text, Phases: Always, Doc: "The protocol.",
				Example: `tls.alpn == "h2"`, Text: func(*X) []byte { return []byte("h2") }},
			{Name: "duration", Kind: Duration, Phases: Log, Doc: "How long it took.", Example: `duration > 500ms`,
				Int: func(x *X) (int64, bool) { return of(x).took, of(x).took != 0 }},
			{Name: "cert.sans", Kind: Texts, Phases: Always, Doc: "Names of the certificate.",
				Example: `cert.sans ends_with ".x.org"`, Texts: func(x *X, dst [][]byte) [][]byte {
					for _, name := range of(x).sans {
						dst = append(dst, []byte(name))
					}
					return dst
				}},
			{Name: "local", Kind: Text, Phases: Always, Doc: "What a rule has set.", Example: `local.a == "1"`,
				Named: func(name string) (TextFunc, error) {
					return func(*X) []byte {
						if name == "none" {
							return nil
						}
						return []byte(name)
					}, nil
				}},
		},
		Functions: []Function{{Name: "twice", Doc: "It, and again.", Example: `twice("a") == "aa"`,
			Text: func(x *X, of, _, _ []byte) []byte {
				return x.State.Keep(append(append(x.State.Room(), of...), of...))
			}}},
		Lists: map[string]List{
			"office": {Kind: IP, HasAddr: office.has},
			"bots":   {Kind: Text, HasText: bots.has},
		},
		Maps: map[string]Map{
			"up": {Key: Text, Text: func(key []byte) ([]byte, bool) {
				text, ok := upgrades[string(key)]
				return []byte(text), ok
			}},
			"site": {Key: IP, Addr: func(a netip.Addr) ([]byte, bool) { return []byte("hq"), office.has(a) }},
		},
		Secrets: map[string][]byte{"links": []byte("k"), "token": []byte("open sesame")},
		Env:     func(name string) (string, bool) { value, ok := env[name]; return value, ok },
	}
}

func scope(t testing.TB) *Scope {
	t.Helper()
	s, err := NewScope(names())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// condition compiles a condition that is right.
func condition(t testing.TB, names *Scope, text string, in Phases) *Condition {
	t.Helper()
	c, err := names.Condition(text, in)
	if err != nil {
		t.Fatalf("%v\n%s", err, err.(*Error).Caret(text))
	}
	return c
}

// template compiles a template that is right.
func template(t testing.TB, names *Scope, text string, in Phases) *Template {
	t.Helper()
	c, err := names.Template(text, in)
	if err != nil {
		t.Fatalf("%v\n%s", err, err.(*Error).Caret(text))
	}
	return c
}

// request makes the head of a request of its lines.
func request(lines ...string) *message.Head {
	h := new(message.Head)
	words := strings.Fields(lines[0])
	h.SetMethod(words[0])
	h.SetTarget(words[1])
	h.Proto = message.HTTP11
	h.Length = message.LengthUnknown
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "host"):
			h.SetAuthority(value)
		default:
			h.Add(name, value)
		}
	}
	return h
}

// browser is a request as browsers send it.
func browser(lines ...string) *X {
	head := request(append([]string{
		"GET /api/v2/items/17?q=1&q=two%20words&empty=&lang=en HTTP/1.1",
		"Host: Shop.Example.COM:8443",
		"Connection: keep-alive",
		"sec-ch-ua-platform: \"Linux\"",
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) " +
			"Chrome/126.0.0.0 Safari/537.36",
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"Sec-Fetch-Site: same-origin",
		"Sec-Fetch-Mode: navigate",
		"Referer: https://shop.example.com/",
		"Accept-Encoding: gzip, deflate, br, zstd",
		"Accept-Language: en-GB,en;q=0.9",
		"Cookie: _ga=GA1.2.3; session=eyJhbGciOi; beta=yes",
		"X-Role: guest",
	}, lines...)...)
	answer := new(message.Head)
	answer.Status, answer.Length = 404, 512
	answer.Add("Content-Type", "text/html")
	answer.Add("Set-Cookie", "a=1")
	answer.Add("Set-Cookie", "b=2")
	return &X{Request: head, Answer: answer, Path: []byte("/api/v2/items/17"), State: NewState(),
		Subject: &subject{client: netip.MustParseAddr("10.1.2.3"), country: "BR", took: 1_500_000_000,
			sans: []string{"a.x.org", "b.y.org"}}}
}
