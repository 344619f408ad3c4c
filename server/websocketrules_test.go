package server

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/internal/testutil"
)

// upgrades is a backend that notes what it is asked to upgrade to. Safe for any goroutine.
type upgrades struct {
	mu    sync.Mutex
	asked []string // guarded by mu
}

func (u *upgrades) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked = append(u.asked, strings.Join(r.Header.Values("Connection"), "|")+" "+
		strings.Join(r.Header.Values("Upgrade"), "|"))
}

// take returns what was noted since the last call.
func (u *upgrades) take() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	asked := u.asked
	u.asked = nil
	return asked
}

// askHTTP1 sends a request with some fields, and returns the status.
func askHTTP1(t *testing.T, addr, host, fields string) string {
	w := testutil.Dial(t, addr)
	defer w.Close()
	w.Send("GET /chat HTTP/1.1\r\nHost: " + host + "\r\n" + fields + "Sec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	return strings.Fields(w.ReadHead())[1]
}

// askHTTP2 asks for a WebSocket by an extended CONNECT, and returns the status.
func askHTTP2(t *testing.T, addr, host, protocol string) string {
	t.Helper()
	w := testutil.Dial(t, addr)
	defer w.Close()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "CONNECT"}, {":protocol", protocol}, {":scheme", "http"},
		{":path", "/chat"}, {":authority", host}, {"sec-websocket-version", "13"}} {
		try(t, enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	w.Send(http2.ClientPreface)
	frames := http2.NewFramer(w.Conn(), w.Conn())
	try(t, frames.WriteSettings())
	err := frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	try(t, err)
	for {
		f, err := frames.ReadFrame()
		try(t, err)
		if h, ok := f.(*http2.HeadersFrame); ok {
			fields, err := hpack.NewDecoder(4096, nil).DecodeFull(h.HeaderBlockFragment())
			try(t, err)
			return fields[0].Value
		}
	}
}

// A rule that refuses WebSockets holds for them whatever version of HTTP they come by, and however a client spells what
// it asks for.
func TestRules_refuseWebSocketsOfBothVersions(t *testing.T) {
	testutil.CheckLeaks(t)
	u := &upgrades{}
	origin := httptest.NewServer(u)
	defer origin.Close()
	conditions := map[string]string{
		"a": `upgrade == "websocket"`,
		"b": `header.upgrade.lower() == "websocket"`,
		"c": `has(header.upgrade)`,
		"d": `header.connection.lower() contains "upgrade"`,
		"e": `has(upgrade)`,
	}
	var text strings.Builder
	fmt.Fprintf(&text, quiet+"http = { name = \"web\", listen = \"127.0.0.1:0\" }\n")
	for name, when := range conditions {
		fmt.Fprintf(&text, "[[rules]]\nwhen = 'host == \"%s.test\" and %s'\ndeny = 403\n", name, when)
	}
	fmt.Fprintf(&text, "[[routes]]\npattern = \"f.test/*\"\nheader = { Upgrade = \"~(?i)^websocket$\" }\n"+
		"dest = \"status:403\"\n[[routes]]\npattern = \"/*\"\ndest = \"%s\"\n", origin.URL)
	s := start(t, Options{}, "%s", text.String())
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	by1 := func(value string) func(host string) string {
		fields := "Connection: Upgrade\r\nUpgrade: " + value + "\r\n"
		return func(host string) string { return askHTTP1(t, addr, host, fields) }
	}
	for how, ask := range map[string]func(host string) string{
		"HTTP/1":         by1("websocket"),
		"HTTP/1, case":   by1("WebSocket"),
		"HTTP/1, list":   by1("websocket, x"),
		"HTTP/1, h2c":    by1("h2c,\tWEBSOCKET "),
		"HTTP/1, fields": by1(",\r\nUpgrade: websocket"),
		"HTTP/2":         func(host string) string { return askHTTP2(t, addr, host, "websocket") },
		"HTTP/2, case":   func(host string) string { return askHTTP2(t, addr, host, "WebSocket") },
	} {
		for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
			status := ask(name + ".test")
			if asked := u.take(); status != "403" || asked != nil {
				t.Errorf("%s, %s: %s, the backend was asked %q", how, conditions[name], status, asked)
			}
		}
		ask("free.test") // the backend is asked once, and refuses
		asked := u.take()
		if len(asked) != 1 || !strings.EqualFold(asked[0], "Upgrade websocket") {
			t.Errorf("%s: the backend was asked %q", how, asked)
		}
	}
}
