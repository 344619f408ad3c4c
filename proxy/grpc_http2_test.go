package proxy_test

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// callRig is a proxy that speaks HTTP/2 without TLS to both sides.
func callRig(t *testing.T, origin string, route proxy.Route) string {
	t.Helper()
	e := newEngine(t, engine.Options{Reactors: 1})
	route.GRPC = proxy.On
	if route.To == nil {
		route.To = proxy.To(upstream.New(e, upstream.Options{
			Backends: backend.Of(origin), Protocol: upstream.H2,
		}), nil)
	}
	return serve(t, e, &proxy.Listener{}, session.ServerOptions{H2C: true}, []proxy.Route{route}).addr()
}

// The deadline of the client holds also where its cancellation does not come.
func TestGRPC_deadlineHeldHere(t *testing.T) {
	ended := make(chan uint32, 1)
	origin := newFramed(t)
	origin.ended = func(_ *framedConn, id uint32, _ string) { ended <- id }
	addr := callRig(t, origin.Addr().String(), proxy.Route{})
	c := dialFramed(t, addr)
	c.request(1, "/s/m", "grpc-timeout", "30m")
	if got := c.head(1); got["grpc-status"] != "4" || !c.ended {
		t.Fatal(got, c.ended)
	}
}

// One HEADERS frame with END_STREAM stays one; a head without it leaves before any message does.
func TestGRPC_framesOfHeads(t *testing.T) {
	origin := newFramed(t)
	origin.ended = func(c *framedConn, id uint32, _ string) {
		fields := []string{":status", "200", "content-type", "application/grpc"}
		only := id == 1
		if only {
			fields = append(fields, "grpc-status", "5")
		}
		writeHead(c.Framer, id, only, fields...)
	}
	c := dialFramed(t, callRig(t, origin.Addr().String(), proxy.Route{}))
	c.request(1, "/only")
	if got := c.head(1); got["grpc-status"] != "5" || !c.ended {
		t.Fatal(got, c.ended)
	}
	c.request(3, "/begins")
	if got := c.head(3); got["content-type"] != "application/grpc" || c.ended {
		t.Fatal(got, c.ended)
	}
}

// The trailers of gRPC-Web are data, for which the window may have less room than they need: then the stream is reset.
func TestGRPCWeb_breaksOffAtAWindow(t *testing.T) {
	origin := newFramed(t)
	origin.ended = func(c *framedConn, id uint32, _ string) {
		writeHead(c.Framer, id, false, ":status", "200", "content-type", "application/grpc")
		c.WriteData(id, false, []byte(frame("one")))
		c.WriteRSTStream(id, http2.ErrCodeInternal)
	}
	for _, window := range []uint32{8, 9, 40} {
		c := dialFramed(t, callRig(t, origin.Addr().String(), proxy.Route{}),
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
		c.web = true
		c.request(1, "/s/m")
		c.head(1)
		for reset := false; !reset; {
			f, err := c.ReadFrame()
			if err != nil {
				t.Fatalf("a window of %d: %v", window, err)
			}
			_, reset = f.(*http2.RSTStreamFrame)
		}
	}
}

// framedClient is a client of HTTP/2 that sees frames. Owned by its test's goroutine.
type framedClient struct {
	t *testing.T
	*http2.Framer
	conn  net.Conn
	web   bool // calls are those of gRPC-Web
	ended bool // by the head that came last
}

func dialFramed(t *testing.T, addr string, settings ...http2.Setting) *framedClient {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(testutil.Patience)) //nolint:errcheck // it is open
	c := &framedClient{t: t, Framer: http2.NewFramer(conn, conn), conn: conn}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	c.WriteSettings(settings...) //nolint:errcheck // what comes back tells
	return c
}

// request sends a call without a message; fields are names and values in turn.
func (c *framedClient) request(id uint32, path string, fields ...string) {
	c.t.Helper()
	contentType := "application/grpc"
	if c.web {
		contentType = "application/grpc-web"
	}
	all := append([]string{
		":method", "POST", ":scheme", "http", ":path", path, ":authority", "h",
		"content-type", contentType, "te", "trailers",
	}, fields...)
	if err := writeHead(c.Framer, id, true, all...); err != nil {
		c.t.Fatal(err)
	}
}

// head waits for a head of a stream. A frame of data before it is a failure.
func (c *framedClient) head(id uint32) map[string]string {
	c.t.Helper()
	for {
		f, err := c.ReadFrame()
		if err != nil {
			c.t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.WriteSettingsAck() //nolint:errcheck // what comes back tells
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID != id {
				continue
			}
			got := map[string]string{}
			for _, field := range f.Fields {
				got[field.Name] = field.Value
			}
			c.ended = f.StreamEnded()
			return got
		case *http2.DataFrame, *http2.RSTStreamFrame, *http2.GoAwayFrame:
			c.t.Fatal(f)
		}
	}
}
