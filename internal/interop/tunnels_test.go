package interop

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"

	root "github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/proxy"
)

// records passes on what the access log has of each tunnel.
type records chan observe.Record

func (l records) Append(r *observe.Record) {
	l <- observe.Record{Status: r.Status, Reason: r.Reason, BytesIn: r.BytesIn, BytesOut: r.BytesOut}
}

// serveTunnels is a proxy in this process, with its URL and its log.
func serveTunnels(t *testing.T, origin *httptest.Server) (*root.Server, string, records) {
	t.Helper()
	log := make(records, 1)
	s := &root.Server{
		Addr:   "127.0.0.1:0",
		Routes: []proxy.Route{{To: root.Backends(origin.Listener.Addr().String())}},
	}
	s.Listener.Log = []proxy.AccessLog{log}
	return s, "http://" + serve(t, s), log
}

// The client of a WebSocket hears why it ends when the process drains.
func TestWebSocket_drain(t *testing.T) {
	t.Parallel()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		if c.Write(r.Context(), websocket.MessageText, []byte("hello")) == nil {
			c.Read(r.Context()) //nolint:errcheck // until the proxy goes
		}
	}))
	defer origin.Close()
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
