package locator

import (
	"fmt"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"dns://web.example:8080", "dns web.example 8080 "},
		{"DNS://web.example.:80", "dns web.example. 80 "},
		{"srv+dns://_http._tcp.example.com", "srv+dns _http._tcp.example.com 0 "},
		{"file:///etc/edge/users.txt", "file  0 /etc/edge/users.txt"},
		{"mine://any/thing?a=b", "mine any 0 /thing"},
		{"web.example:80", "like scheme://where"},
		{"dns://", "like scheme://where"},
		{"://x", "like scheme://where"},
		{"dns://web.example", "needs a port"},
		{"dns://web.example:0", "needs a port"},
		{"dns://web.example:http", "needs a port"},
		{"dns://:80", "needs the name"},
		{"dns://web.example:80/x", "more than a host"},
		{"dns://user@web.example:80", "not the name of a host"},
		{"dns://web.example:80?ttl=5", "no parameter \"ttl\""},
		{"dns://web.example:80?%zz", "invalid URL escape"},
		{"dns://" + strings.Repeat("a", 64) + ":80", "not the name of a host"},
		{"srv+dns://web..example", "not the name of a host"},
		{"srv+dns://web.example:80", "a service has no port"},
		{"srv+dns://web.example/x", "more than a host"},
		{"file://relative/path", "absolute path"},
		{"file:///etc/../x", "absolute path"},
		{"file:///", "absolute path"},
		{"etdc://x", `no source is called "etdc"; there are dns, file, mine, srv+dns`},
	} {
		l, err := Parse(tc.text, "mine")
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprintf("%s %s %d %s", l.Scheme, l.Host, l.Port, l.Path)
		}
		if err == nil && got != tc.want || err != nil && !strings.Contains(got, tc.want) {
			t.Errorf("%q: %s, want %s", tc.text, got, tc.want)
		}
	}
}

// No text panics, and what is accepted is accepted again as it is kept.
func FuzzParse(f *testing.F) {
	for _, text := range strings.Fields("dns://a:1 srv+dns://_a._b.c file:///a?b mine://a/b?c=d a dns://[::1]:2") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Parse(text, "mine")
		if err != nil {
			return
		}
		again, err := Parse(l.Text, "mine")
		if err != nil || again.Host != l.Host || again.Path != l.Path || again.Port != l.Port {
			t.Errorf("%q: %+v, %v", text, again, err)
		}
	})
}
