package server

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

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
