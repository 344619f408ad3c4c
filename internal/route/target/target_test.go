package target_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/route/target"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("a", 63)
	for text, want := range map[string]string{
		"http://a.internal:8080":            "http://a.internal:8080",
		"http://a.internal":                 "http://a.internal:80",
		"HTTPS://A.Internal":                "https://a.internal:443",
		"h2c://a.internal":                  "h2c://a.internal:80",
		"a.internal":                        "http://a.internal:80",
		"a.internal.:8080":                  "http://a.internal:8080",
		"users":                             "http://users:80",
		"a_b.c-d.e1":                        "http://a_b.c-d.e1:80",
		"xn--bcher-kva.example":             "http://xn--bcher-kva.example:80",
		"0xg.example0x1":                    "http://0xg.example0x1:80",
		"10.example":                        "http://10.example:80",
		"10.1.2.3:80":                       "http://10.1.2.3:80",
		"https://[2001:DB8:0::1]":           "https://[2001:db8::1]:443",
		"[::ffff:10.0.0.1]:81":              "http://10.0.0.1:81",
		"[::ffff:7f00:1]:81":                "http://127.0.0.1:81",
		long + "." + long:                   "http://" + long + "." + long + ":80",
		strings.Repeat("a.", 126) + "a":     "http://" + strings.Repeat("a.", 126) + "a:80",
		strings.Repeat("a.", 126) + "a.:65": "http://" + strings.Repeat("a.", 126) + "a:65",
	} {
		got, err := target.Parse(text)
		if err != nil || got.String() != want {
			t.Errorf("Parse(%q) = %q, %v; want %q", text, got.String(), err, want)
			continue
		}
		again, err := target.Parse(got.String())
		if err != nil || again != got {
			t.Errorf("Parse(%q) = %+v, %v, and not %+v", got.String(), again, err, got)
		}
	}
}

// hostile are values of a header with which somebody wants to get elsewhere than to *.svc.internal:8080.
var hostile = []string{
	// The user, the path, the query and the fragment of another URL.
	"evil.example@", "a@evil.example#", "evil.example/", "evil.example?", "evil.example#", "evil.example\\",
	"evil.example:80/", "evil.example:80#", "user:pass@evil.example", "evil.example%23", "evil.example%2f",
	"//evil.example/", "http://evil.example/", "evil.example;", "evil.example,", "{evil}", "[evil]", "(a)", "a|b",
	// What ends a line, a string or a word.
	"a\r\nHost: evil.example\r\n", "a\nb", "a\tb", "a b", " a", "a ", "a\x00", "\x00", "a\x0b", "a\x0cb", "a\x7f", "",
	// Dots in other writing, digits and letters of other scripts.
	"127。0。0。1", "evil．example", "evil。example", "evil｡example", "①②⑦.⓪.⓪.①", "１２７.0.0.1", "еvil", "ﬀ", "evil\u200b",
	"\u202eevil", "\u212a", "ß", "a\u0338", "\xff", "\xc0\xae", "%2e", "%2e%2e", "a%00", "a%E3%80%82b", "..", ".",
	"a..b",
	".a", "a.", "-a", "a-.b", strings.Repeat("a", 64), strings.Repeat("a.", 127), strings.Repeat("a", 400),
	// Ports and addresses.
	"a:80", "a:", ":80", "a:0", "a:65536", "[::1]", "[::1]:80", "::1", "a]:80[", "[", "]", "'", "\"", "`", "<", ">",
	"$(a)",
	"*", "~", "!", "+", "=", "&", "^", "{header:Host}", "a://b",
}

func TestTemplate_hostile(t *testing.T) {
	tm := template(t, "http://{header:X-Tenant}.svc.internal:8080")
	list := listOf(t, "http://*.svc.internal:8080")
	if len(hostile) < 60 {
		t.Fatalf("%d values", len(hostile))
	}
	for _, value := range hostile {
		text := tm.Append(nil, request("/", "h.example", "X-Tenant", value), nil, nil)
		one, err := target.Parse(string(text))
		if err == nil && list.Check(&one) == nil {
			t.Errorf("%q leads to %s", value, one.String())
		}
	}
	for value, want := range map[string]string{ // what is not hostile is let through, as what it is
		"a": "a", "A": "a", "a.b": "a.b", "evil.example": "evil.example", "127.0.0.1": "127.0.0.1", "0x7f": "0x7f",
	} {
		one, err := target.Parse(string(tm.Append(nil, request("/", "h.example", "X-Tenant", value), nil, nil)))
		if err != nil || list.Check(&one) != nil || one.Host != want+".svc.internal" || one.IP.IsValid() {
			t.Errorf("%q leads to %+v, %v", value, one, err)
		}
	}
}

// hostileWhole are whole destinations that a request may name where a variable is all of it.
var hostileWhole = []string{
	// IPv4 in the notations of inet_aton(3), and with dots that are no part of it.
	"2130706433", "0x7f000001", "0x7f.1", "0X7F.0.0.1", "0177.0.0.1", "0177.1", "127.1", "127.0.1", "017700000001",
	"127.0.0.01", "127.0.0.0x1", "127.0.0.1.", "0", "0x", "0x.", "00", "1.", "256.1.1.1", "1.2.3.4.5", "a.1",
	"a.0x7f",
	"a.b.0177", "127..0.1", "+127.0.0.1", "127.0.0.-1", "4294967297",
	// IPv6 with zones, without brackets, with more in them.
	"[fe80::1%eth0]", "[fe80::1%25eth0]", "[::1%lo]:80", "::1", "::1:80", "[::1", "[::1]]", "[[::1]]", "[::1]a",
	"[127.0.0.1]", "[::ffff:127.0.0.01]", "[::ffff:0x7f.1]", "[1]", "[]", "[:]", "[v1.a]", "fe80::1%eth0",
	// Schemes.
	"file:///etc/passwd", "gopher://a.internal", "ftp://a.internal", "unix:/run/a.sock", "//a.internal",
	"http:/a.internal",
	"http:a.internal", "http//a.internal", "http:\\\\a.internal", "javascript://a.internal",
	"https://http://a.internal",
	"http://", "http://:80", "https://@a.internal", "http://a.internal:80:80", "h2://a.internal", "ws://a.internal",
	"http://a.internal:٣", "http://a.internal:0080", "http://a.internal:+80", "http://a.internal: 80",
	"http://a.internal:8_0",
}

func TestParse_hostile(t *testing.T) {
	for _, text := range hostileWhole {
		if got, err := target.Parse(text); err == nil {
			t.Errorf("Parse(%q) = %s", text, got.String())
		}
	}
	if n := len(hostile) + len(hostileWhole); n < 120 {
		t.Errorf("%d texts", n)
	}
}

func TestClass(t *testing.T) {
	for _, text := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254",
		"169.254.169.254",
		"172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1", "198.19.255.255", "224.0.0.1",
		"240.0.0.1", "255.255.255.255", "::", "::1", "fc00::1", "fd12::1", "fe80::1", "febf::1", "fec0::1", "ff02::1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1",
		"64:ff9b::169.254.169.254", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2002:c0a8:101::",
		"2001:0:1::1",
		"2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:127.0.0.1", "100::1", "2001:db8::1", "fe80::1%eth0",
		"::1%lo", "192.0.2.1", "198.51.100.7", "203.0.113.9", "192.88.99.1", "3fff::1", "5f00::1",
	} {
		if target.Class(netip.MustParseAddr(text)) == "" {
			t.Errorf("%s is public", text)
		}
	}
	for _, text := range []string{
		"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
		"169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "198.17.255.255",
		"198.20.0.0",
		"223.255.255.255", "2606:4700::1111", "64:ff9b::1.1.1.1", "2002:101:101::1", "::ffff:8.8.8.8", "2001:4860::1",
		"2606:4700::5efe:1.1.1.1",
	} {
		if name := target.Class(netip.MustParseAddr(text)); name != "" {
			t.Errorf("%s is %s", text, name)
		}
	}
}

func TestTemplate(t *testing.T) {
	h := request("/v1/users/7?to=b%2Ec&a=1", "shop.example.com:8443", "X-Tenant", "acme", "Cookie", "region=eu; b=c")
	for text, want := range map[string]string{
		"http://{header:X-Tenant}.svc:8080":    "http://acme.svc:8080",
		"http://{header:x-tenant}.svc:8080/":   "http://acme.svc:8080",
		"https://{host}":                       "https://shop.example.com",
		"{host:1}.internal:80":                 "shop.internal:80",
		"{host:3}{host:4}.internal":            "com.internal",
		"http://{path:2}.{cookie:region}.svc":  "http://users.eu.svc",
		"http://{path:1}{path:4}.svc":          "http://v1.svc",
		"http://{query:to}.svc":                "http://b.c.svc",
		"{query:none}{header:None}{cookie:no}": "",
	} {
		tm := template(t, text)
		if got := string(tm.Append(nil, h, []byte("/v1/users/7"), nil)); got != want {
			t.Errorf("%q makes %q, want %q", text, got, want)
		}
		if tm.NeedsPath() != strings.Contains(text, "{path:") || tm.String() != text {
			t.Errorf("%q: path %t, text %q", text, tm.NeedsPath(), tm.String())
		}
	}
	for _, text := range []string{
		"http://a.internal", "", "{", "}", "{}", "{host", "host}", "{{host}}", "{hosts}", "{host:0}", "{host:-1}",
		"{host:65}",
		"{host:x}", "{path}", "{path:}", "{path:01}", "{path:+1}", "{header}", "{header:}", "{header:a b}",
		"{query:}",
		"{cookie:a;b}", "ftp://{host}", "unix:/run/{host}", "http://{host}/path", "http://{host}?a",
		"http://u@{host}",
		"http://{host}#a", "http://{host} ", "http://é{host}", strings.Repeat("{host}", 17), strings.Repeat("a", 321),
		"http://%41{host}", "http://{host}\\",
	} {
		if _, err := target.ParseTemplate(text); err == nil {
			t.Errorf("ParseTemplate(%q) accepts it", text)
		}
	}
}

func TestTemplate_Fixed(t *testing.T) {
	for text, want := range map[string]target.Target{
		"http://{host}.svc:8080":   {Scheme: target.HTTP, Port: 8080},
		"https://{host}.svc":       {Scheme: target.HTTPS, Port: 443},
		"h2c://{host}":             {Scheme: target.H2C},
		"a.{host}:81":              {Scheme: target.HTTP, Port: 81},
		"http://[::{header:A}]:82": {Scheme: target.HTTP, Port: 82},
		"{host}:82":                {Scheme: -1},
		"ht{query:a}://b":          {Scheme: -1},
	} {
		scheme, port := template(t, text).Fixed()
		name := ""
		if want.Scheme >= 0 {
			name = want.Scheme.String()
		}
		if scheme != name || port != want.Port {
			t.Errorf("%q: %q, %d", text, scheme, port)
		}
	}
}

func TestSuggest(t *testing.T) {
	for text, want := range map[string]string{
		"http://{header:X-Tenant}.svc.internal:8080": "http://*.svc.internal:8080",
		"https://a-{host:1}.{host:2}.example/":       "https://*.example",
		"a.{host:1}.example:81":                      "http://*.example:81",
		"{header:X-To}":                              "http://*.svc.internal:8080",
		"http://{host}:80":                           "http://*.svc.internal:8080",
	} {
		if got := target.Suggest(template(t, text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestAppend_allocatesNothing(t *testing.T) {
	tm := template(t, "http://{header:X-Tenant}.{path:1}.svc.internal:8080")
	h := request("/a", "h.example", "X-Tenant", "Acme")
	text, form := make([]byte, 0, 512), make([]byte, 0, 512)
	if n := testutil.Allocs(100, func() {
		text = tm.Append(text[:0], h, []byte("/a/b"), nil)
		form, _ = target.Append(form[:0], text)
	}); n != 0 || string(form) != "http://acme.a.svc.internal:8080" {
		t.Errorf("%v allocations for %q", n, form)
	}
}
