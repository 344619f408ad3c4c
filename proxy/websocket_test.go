package proxy_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/edge-proxy/edge/internal/testutil"
)

// The client of a WebSocket hears why it ends when the process drains.
func TestWebSocket_drain(t *testing.T) {
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
	s := setTunnel(t, tunnelOptions{origin: origin.Listener.Addr().String()})
	ctx, cancel := context.WithTimeout(t.Context(), testutil.Patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, s.url+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if _, p, err := c.Read(ctx); err != nil || string(p) != "hello" {
		t.Fatal(string(p), err)
	}
	drained := make(chan bool, 1)
	go func() { drained <- s.engine.Drain(2 * time.Second) }()
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Fatal(err)
	}
	<-drained // whether in time is for a machine with nothing else to do: its last part has 25 ms
	s.log.want(t, 1, 101, "edge:drain")
}
