package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// sizes of messages: around those where frames and buffers change.
func sizes() []int {
	if soak() {
		return []int{0, 1, 125, 126, 127, 1 << 10, 4095, 4096, 16383, 16384, 16385, 65535, 65536, 1<<20 - 1, 1 << 20}
	}
	return []int{0, 1, 125, 126, 65536, 1 << 20}
}

// TestWebSocket echoes messages with two clients, over HTTP/1 and HTTP/2, plain and TLS, before an origin of either.
func TestWebSocket(t *testing.T) {
	origin := startChild(t, "origin", "GODEBUG=http2xconnect=1").WaitLine(`listening on (\S+)`)[1]
	for _, protocol := range []string{"h1", "h2"} {
		t.Run("origin "+protocol, func(t *testing.T) {
			e := startEdge(t, `
[[routes]]
pattern = "/"
dest = "chat"

[upstreams.chat]
backends = [{ address = %q }]
protocol = %q
`, origin, protocol)
			t.Run("handshakes that are none", func(t *testing.T) { wrongHandshakes(t, e, protocol) })
			for _, c := range doors(t, e) {
				t.Run("coder "+c.name, func(t *testing.T) { coderClient(t, c) })
				t.Run("gorilla "+c.name, func(t *testing.T) { gorillaClient(t, c) })
			}
		})
	}
}

// wrongHandshakes makes some that RFC 6455 §4.2.1 refuses: none may become a good one on its way.
func wrongHandshakes(t *testing.T, e *edge, protocol string) {
	const asks, version, key = "Connection: Upgrade\r\nUpgrade: websocket\r\n", "Sec-WebSocket-Version: 13\r\n",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for head, want := range map[string]map[string]string{
		"GET / HTTP/1.1\r\n" + asks + version + key:                           {"h1": "101", "h2": "101"},
		"GET / HTTP/1.1\r\n" + asks + version:                                 {"h1": "400", "h2": "501"},
		"GET / HTTP/1.1\r\n" + asks + key:                                     {"h1": "400", "h2": "400"},
		"DELETE / HTTP/1.1\r\n" + asks + version + key:                        {"h1": "405", "h2": "426"},
		"GET / HTTP/1.1\r\nUpgrade: websocket\r\n" + version + key:            {"h1": "426", "h2": "426"},
		"GET / HTTP/1.0\r\n" + asks + version + key:                           {"h1": "426", "h2": "426"},
		"GET / HTTP/1.1\r\nConnection: Upgrade\r\n" + version + key:           {"h1": "426", "h2": "426"},
		"GET / HTTP/1.1\r\n" + asks + "Content-Length: 0\r\n" + version + key: {"h1": "101", "h2": "101"},
	} {
		w := testutil.Dial(t, e.plain)
		w.Send(head, "Host: localhost\r\n\r\n")
		if got := w.ReadHead(); len(got) < 12 || got[9:12] != want[protocol] {
			t.Errorf("%q: %q, want %s", head, got, want[protocol])
		}
		w.Close()
	}
}

// door is a way in.
type door struct {
	name   string
	url    string // ws or wss
	client *http.Client
	dialer *gorilla.Dialer
	h2     *extended // nil: by HTTP/1
}

func doors(t *testing.T, e *edge) []door {
	h1 := &http.Transport{TLSClientConfig: e.client("http/1.1")}
	t.Cleanup(h1.CloseIdleConnections)
	dialer := &gorilla.Dialer{TLSClientConfig: e.client("http/1.1"), EnableCompression: true}
	plain, secure := newExtended(t, nil), newExtended(t, e.client("h2"))
	third := &extended{connectH3{newHTTP3(t, e.client("h3"))}}
	return []door{
		{"h1", "ws://" + e.plain + "/echo", &http.Client{Transport: h1}, dialer, nil},
		{"h1 tls", "wss://" + e.secure + "/echo", &http.Client{Transport: h1}, dialer, nil},
		{"h2c", "ws://" + e.plain + "/echo", &http.Client{Transport: plain}, nil, plain},
		{"h2 tls", "wss://" + e.secure + "/echo", &http.Client{Transport: secure}, nil, secure},
		{"h3", "wss://" + e.secure + "/echo", &http.Client{Transport: third}, nil, third},
	}
}

// bound bounds all messages of one client.
func bound(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testutil.Minutes)
	t.Cleanup(cancel)
	return ctx
}

func coderClient(t *testing.T, d door) {
	ctx := bound(t)
	for _, mode := range []websocket.CompressionMode{
		websocket.CompressionDisabled, websocket.CompressionContextTakeover,
	} {
		c, _, err := websocket.Dial(ctx, d.url, &websocket.DialOptions{
			HTTPClient: d.client, Subprotocols: []string{"echo"}, CompressionMode: mode,
		})
		testutil.Must(t, err)
		defer c.CloseNow() //nolint:errcheck // closed below
		c.SetReadLimit(4 << 20)
		if c.Subprotocol() != "echo" {
			t.Errorf("subprotocol %q", c.Subprotocol())
		}
		for _, n := range sizes() {
			sent := noise(t, n)
			go func() {
				w, err := c.Writer(ctx, websocket.MessageBinary)
				if err != nil {
					return
				}
				for _, part := range [][]byte{sent[:n/3], sent[n/3 : n/2], sent[n/2:]} { // fragments
					_, _ = w.Write(part)
				}
				_ = w.Close()
			}()
			kind, got, err := c.Read(ctx)
			if err != nil || kind != websocket.MessageBinary || !bytes.Equal(got, sent) {
				t.Fatalf("%d bytes: came back as %d of kind %v, %v", n, len(got), kind, err)
			}
		}
		reading := c.CloseRead(ctx) // a pong needs a reader
		if err := c.Ping(ctx); err != nil {
			t.Errorf("ping: %v", err)
		}
		if err := c.Close(4321, "over"); err != nil {
			t.Errorf("close: %v", err)
		}
		<-reading.Done()
	}
}

func gorillaClient(t *testing.T, d door) {
	ctx := bound(t)
	c, err := d.gorilla(ctx)
	testutil.Must(t, err)
	defer c.Close()
	pongs := 0
	c.SetPongHandler(func(data string) error {
		pongs++
		if data != "are you there" {
			t.Errorf("pong %q", data)
		}
		return nil
	})
	soon := time.Now().Add(testutil.Minutes)
	testutil.Must(t, c.WriteControl(gorilla.PingMessage, []byte("are you there"), soon))
	for _, n := range sizes() {
		sent := noise(t, n)
		wrote := make(chan error, 1)
		go func() { wrote <- c.WriteMessage(gorilla.BinaryMessage, sent) }()
		kind, got, err := c.ReadMessage()
		if err == nil {
			err = <-wrote
		}
		if err != nil || kind != gorilla.BinaryMessage || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes: came back as %d of kind %d, %v", n, len(got), kind, err)
		}
	}
	if pongs != 1 {
		t.Errorf("%d pongs", pongs)
	}
	end := gorilla.FormatCloseMessage(4321, "over")
	testutil.Must(t, c.WriteControl(gorilla.CloseMessage, end, soon))
	_, _, err = c.ReadMessage()
	if !gorilla.IsCloseError(err, 4321) {
		t.Errorf("the end came as %v", err)
	}
}

// gorilla dials; over HTTP/2 by a connection that is a stream.
func (d door) gorilla(ctx context.Context) (*gorilla.Conn, error) {
	if d.h2 == nil {
		c, resp, err := d.dialer.DialContext(ctx, d.url, nil)
		if err != nil && resp != nil {
			text, _ := io.ReadAll(resp.Body)
			err = fmt.Errorf("%w: %s %s", err, resp.Status, text)
		}
		return c, err
	}
	u, err := url.Parse(d.url)
	if err != nil {
		return nil, err
	}
	target := *u
	target.Scheme = map[string]string{"ws": "http", "wss": "https"}[u.Scheme]
	u.Scheme = "ws" // TLS, where there is one, is below
	c, _, err := gorilla.NewClient(newH1Conn(d.h2, &target), u, nil, 0, 0)
	return c, err
}

// noise is n bytes, half of which compress.
func noise(t *testing.T, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	if _, err := rand.Read(p[:n/2]); err != nil {
		t.Fatal(err)
	}
	return p
}
