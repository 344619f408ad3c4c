package poller_test

import (
	"testing"

	"github.com/edge-proxy/edge/poller"
)

// What ParseAddr reads String formats again, and what is no address is an error.
func TestParseAddr(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:80": "", "[::1]:443": "", "unix:/run/app.sock": "", "unix:@app": "", "0.0.0.0:0": "",
		":8080": "[::]:8080", "localhost:80": "127.0.0.1:80",
	} {
		if want == "" {
			want = text
		}
		a, err := poller.ParseAddr(text)
		if err != nil || a.String() != want {
			t.Errorf("%s: %v, %v, want %s", text, a, err, want)
		}
		if again, err := poller.ParseAddr(a.String()); err != nil || again != a {
			t.Errorf("%s: %v, %v, want %v", a, again, err, a)
		}
	}
	for _, text := range []string{"", "80", "example.com:80", "127.0.0.1", "unix:", ":", ":http", "localhost",
		"http://a:80"} {
		if a, err := poller.ParseAddr(text); err == nil {
			t.Errorf("%q is %v", text, a)
		}
	}
}
