package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
)

// upgrader is a backend that opens a WebSocket where it is asked to, and else calls answer.
func upgrader(t *testing.T, answer func()) *httptest.Server {
	t.Helper()
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			answer()
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(io.Discard, rw)
	}))
	t.Cleanup(o.Close)
	return o
}

// A drain is told apart by what its connections are used for, and by the routes of the tunnels. WebSockets hear 1001
// before they are cut, idle connections see the end, and both are counted.
func TestServer_draining(t *testing.T) {
	t.Parallel()
	busy, goOn := make(chan struct{}), make(chan struct{})
	o := upgrader(t, func() {
		close(busy)
		<-goOn
	})
	s := start(t, Options{}, quiet+`
listeners = [{ name = "web", listen = "127.0.0.1:0", protocols = ["h1", "h2"], limits.header_timeout = "10m" }]
upstreams.ws.backends = [{ address = %q }]
routes = [
	{ name = "chat", pattern = "/chat", dest = "ws" },
	{ name = "feed", pattern = "/feed", dest = "ws" },
	{ pattern = "/ok", dest = "status:204" },
	{ pattern = "/*", dest = "ws" },
]
`, o.Listener.Addr().String())
	addr := s.Addresses()[0].Addr.String()
	var sockets []*testutil.Wire
	for _, path := range []string{"/chat", "/feed", "/chat"} {
		w := testutil.Dial(t, addr)
		w.Send("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		w.ReadHead()
		sockets = append(sockets, w)
	}
	idle, asking := testutil.Dial(t, addr), testutil.Dial(t, addr)
	asking.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-busy
	if status, _ := getBy(t, testutil.H2C(t), "http://"+addr+"/ok"); status != 204 {
		t.Error(status)
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return s.Conns() == 6 })
	d := s.Draining()
	want := Draining{Idle: 1, Busy: 1, H2: 1, Tunnels: 3, Routes: map[string]int{"chat": 2, "feed": 1}}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("%+v", d)
	}
	text := d.String() + "; " + d.TunnelRoutes()
	if text != "1 idle, 1 busy, 1 of HTTP/2, 3 with tunnels; chat 2, feed 1" {
		t.Error(text)
	}
	var drain sync.WaitGroup
	drain.Go(func() { s.Drain(1500 * time.Millisecond) }) // whether in time is for a machine with nothing else to do
	for _, w := range sockets {
		w.Want("\x88\x02\x03\xe9")
		w.WantEnd()
		w.Close()
	}
	idle.WantEnd()
	idle.Close()
	close(goOn)
	asking.ReadAll()
	asking.Close()
	drain.Wait()
	for kind, n := range map[string]float64{"idle": 1, "tunnel": 3} {
		wantCounter(t, s, n, "edge_drain_closed_total", "web", kind)
	}
}
