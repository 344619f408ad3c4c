package interop

import (
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	root "github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

// chats is a mux with WebSockets of both libraries, each of which echoes.
func chats() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/coder", echo)
	upgrader := gorilla.Upgrader{EnableCompression: true}
	mux.HandleFunc("/gorilla", func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, http.Header{"X-Own": {"yes"}})
		if err != nil {
			return // it has answered
		}
		defer c.Close() //nolint:errcheck // the client looks at what came
		for {
			kind, p, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, p) != nil {
				return
			}
		}
	})
	return mux
}

// A mux with WebSockets moves over from net/http as it is.
func TestHijack_webSockets(t *testing.T) {
	s := &root.Server{Addr: "127.0.0.1:0", Grace: testutil.Patience,
		Routes: []proxy.Route{proxy.MustRoute("/*", handler.FromHTTP(chats()))}}
	testutil.Must(t, s.Start())
	model := testutil.ServeHTTP(t, testutil.Listen(t), chats().ServeHTTP)
	ctx := bound(t)
	for _, addr := range []string{model, s.ListenAddr()} {
		for _, library := range []string{"/coder", "/gorilla"} {
			url := "ws://" + addr + library
			a, _, err := websocket.Dial(ctx, url, nil)
			if err != nil {
				t.Fatalf("%s: %v", url, err)
			}
			a.SetReadLimit(-1)
			d := gorilla.Dialer{EnableCompression: true}
			b, _, err := d.DialContext(ctx, url, nil)
			if err != nil {
				t.Fatalf("%s: %v", url, err)
			}
			for _, n := range sizes() {
				p := noise(t, n)
				if err := a.Write(ctx, websocket.MessageBinary, p); err != nil {
					t.Fatalf("%s: %v", url, err)
				}
				if _, got, err := a.Read(ctx); err != nil || !bytes.Equal(got, p) {
					t.Fatalf("%s: %d of %d bytes, %v", url, len(got), n, err)
				}
				if err := b.WriteMessage(gorilla.BinaryMessage, p); err != nil {
					t.Fatalf("%s: %v", url, err)
				}
				if _, got, err := b.ReadMessage(); err != nil || !bytes.Equal(got, p) {
					t.Fatalf("%s: %d of %d bytes, %v", url, len(got), n, err)
				}
			}
			if err := a.Close(websocket.StatusNormalClosure, "done"); err != nil {
				t.Errorf("%s: %v", url, err)
			}
			b.Close()
		}
	}
	// What is open when the process ends is told why.
	a, _, err := websocket.Dial(ctx, "ws://"+s.ListenAddr()+"/gorilla", nil)
	testutil.Must(t, err)
	defer a.CloseNow() //nolint:errcheck // it has ended
	ended := make(chan error, 1)
	go func() {
		stop, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		ended <- s.Shutdown(stop)
	}()
	if _, _, err := a.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("at the end: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// records passes on what the access log has of each tunnel.
type records chan observe.Record

func (l records) Append(r *observe.Record) {
	l <- observe.Record{Status: r.Status, Reason: r.Reason, BytesIn: r.BytesIn, BytesOut: r.BytesOut}
}

// serveTunnels is a proxy in this process, with its URL and its log.
func serveTunnels(t *testing.T, origin string) (*root.Server, string, records) {
	t.Helper()
	log := make(records, 1)
	s := &root.Server{
		Addr: "127.0.0.1:0", Routes: []proxy.Route{{To: root.Backends(origin)}},
	}
	s.Listener.Log = []proxy.AccessLog{log}
	return s, "http://" + serve(t, s), log
}

// The client of a WebSocket hears why it ends when the process drains.
func TestWebSocket_drain(t *testing.T) {
	t.Parallel()
	origin := testutil.ServeHTTP(t, testutil.Listen(t), func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		if c.Write(r.Context(), websocket.MessageText, []byte("hello")) == nil {
			c.Read(r.Context()) //nolint:errcheck // until the proxy goes
		}
	})
	s, url, log := serveTunnels(t, origin)
	ctx, cancel := context.WithTimeout(t.Context(), testutil.Patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url+"/", nil)
	testutil.Must(t, err)
	defer c.CloseNow()
	if _, p, err := c.Read(ctx); err != nil || string(p) != "hello" {
		t.Fatal(string(p), err)
	}
	drained := make(chan error, 1)
	go func() {
		soon, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		drained <- s.Shutdown(soon)
	}()
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Fatal(err)
	}
	<-drained // whether in time is for a machine with nothing else to do: its last part has 25 ms
	if r := <-log; r.Status != 101 || r.Reason != "edge:drain" {
		t.Fatalf("logged %+v", r)
	}
}
