package netconn_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/l4/netconn"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// listening returns a Listener on an engine, and where clients reach it.
func listening(t *testing.T) (*netconn.Listener, string) {
	t.Helper()
	e, err := engine.New(engine.Options{Reactors: 2})
	testutil.Must(t, err)
	l := &netconn.Listener{}
	open, err := e.Listen(engine.ListenOptions{Addr: loopback}, l.Handler)
	testutil.Must(t, err)
	e.Start()
	t.Cleanup(e.Stop)
	return l, open.Addr().String()
}

// A server of net/http is served over the reactors, and Close ends it.
func TestListener_serves(t *testing.T) {
	l, addr := listening(t)
	if got := l.Addr().String(); got != ":0" {
		t.Errorf("address %s before the first connection", got)
	}
	served := make(chan error)
	hi := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hi") })
	go func() { served <- http.Serve(l, hi) }()
	for range 3 {
		resp, body := testutil.Get(t, http.DefaultClient, "http://"+addr+"/")
		if resp.StatusCode != 200 || body != "hi" {
			t.Errorf("%s %q", resp.Status, body)
		}
	}
	if got := l.Addr().String(); got != addr {
		t.Errorf("address %s, want %s", got, addr)
	}
	l.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if w := testutil.Dial(t, addr); w.ReadAll() != "" {
		t.Error("a connection is served after Close")
	}
}

// Connections that nobody takes are closed by Close; above 1024 they are closed at once.
func TestListener_waiting(t *testing.T) {
	l, addr := listening(t)
	var all []*testutil.Wire
	for range 1025 {
		all = append(all, testutil.Dial(t, addr))
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		c, err := l.Accept()
		return err == nil && c.Close() == nil
	}, "a connection")
	l.Close()
	for _, w := range all {
		if got := w.ReadAll(); got != "" {
			t.Fatalf("%q", got)
		}
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
