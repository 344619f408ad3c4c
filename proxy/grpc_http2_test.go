package proxy_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

// rpcServer is a server of grpc-go. Its streams echo until the test says otherwise.
type rpcServer struct {
	testgrpc.UnimplementedTestServiceServer
	began chan struct{}
	over  chan error // what the context of a stream ended with
}

func (s *rpcServer) EmptyCall(ctx context.Context, _ *testgrpc.Empty) (*testgrpc.Empty, error) {
	s.began <- struct{}{}
	<-ctx.Done()
	s.over <- ctx.Err()
	return nil, status.FromContextError(ctx.Err()).Err()
}

func (s *rpcServer) FullDuplexCall(stream testgrpc.TestService_FullDuplexCallServer) error {
	s.began <- struct{}{}
	for {
		in, err := stream.Recv()
		if err != nil {
			s.over <- stream.Context().Err()
			if err == io.EOF {
				return nil
			}
			return err
		}
		if err := stream.Send(&testgrpc.StreamingOutputCallResponse{Payload: in.Payload}); err != nil {
			return err
		}
	}
}

// callRig is a proxy that speaks HTTP/2 without TLS to both sides.
func callRig(t *testing.T, origin string, route proxy.Route) string {
	t.Helper()
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		t.Fatal(err)
	}
	route.GRPC = proxy.On
	if route.To == nil {
		route.To = proxy.To(upstream.New(e, upstream.Options{
			Backends: backend.Of(origin), Protocol: upstream.H2,
		}), nil)

	}
	snapshot, err := proxy.NewSnapshot([]proxy.Route{route}, nil)
	if err != nil {
		t.Fatal(err)
	}
	srv := session.NewServer(e, proxy.New(e, snapshot).Service(&proxy.Listener{}), session.ServerOptions{H2C: true})
	l, err := e.Listen(engine.ListenOptions{Addr: poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}}, srv.Accept)
	if err != nil {
		t.Fatal(err)
	}
	e.Start()
	t.Cleanup(func() { stop(t, e) })
	return l.Addr().String()
}

func callClient(t *testing.T, addr string) testgrpc.TestServiceClient {
	t.Helper()
	cc, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return testgrpc.NewTestServiceClient(cc)
}

func serveRPC(t *testing.T) (*rpcServer, *grpc.Server, string) {
	t.Helper()
	l := testutil.Listen(t)
	s, r := grpc.NewServer(), &rpcServer{began: make(chan struct{}, 8), over: make(chan error, 8)}
	testgrpc.RegisterTestServiceServer(s, r)
	go s.Serve(l) //nolint:errcheck // until it is stopped
	t.Cleanup(s.Stop)
	return r, s, l.Addr().String()
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Fatalf("got %v, want %v", err, want)
	}
}

// What ends a call at one end ends it at the other, and each hears why.
func TestGRPC_endsOfCalls(t *testing.T) {
	r, s, origin := serveRPC(t)
	c := callClient(t, callRig(t, origin, proxy.Route{Path: "/grpc.testing.TestService"}))
	ctx, cancel := context.WithTimeout(t.Context(), testutil.Patience)
	defer cancel()

	_, err := c.UnimplementedCall(ctx, &testgrpc.Empty{})
	wantCode(t, err, codes.Unimplemented)

	leaving, leave := context.WithCancel(ctx)
	go func() {
		<-r.began
		leave()
	}()
	_, err = c.EmptyCall(leaving, &testgrpc.Empty{})
	wantCode(t, err, codes.Canceled)
	if err := <-r.over; err != context.Canceled {
		t.Fatal(err)
	}

	for d, began := 50*time.Millisecond, false; !began; d *= 2 { // until one gets there in time
		short, stop := context.WithTimeout(ctx, d)
		_, err = c.EmptyCall(short, &testgrpc.Empty{})
		stop()
		wantCode(t, err, codes.DeadlineExceeded)
		select {
		case <-r.began:
			<-r.over
			began = true
		default:
		}
	}

	stream, err := c.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m := &testgrpc.StreamingOutputCallRequest{Payload: &testgrpc.Payload{Body: []byte("x")}}
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
		if m, err := stream.Recv(); err != nil || string(m.Payload.Body) != "x" {
			t.Fatal(m, err)
		}
	}
	s.Stop()
	_, err = stream.Recv()
	wantCode(t, err, codes.Unavailable)

	_, err = c.EmptyCall(ctx, &testgrpc.Empty{})
	wantCode(t, err, codes.Unavailable)
}

// A server of gRPC may be a handler, too.
func TestGRPC_handler(t *testing.T) {
	r, s, _ := serveRPC(t)
	c := callClient(t, callRig(t, "", proxy.Route{To: handler.FromHTTP(s)}))
	ctx, cancel := context.WithTimeout(t.Context(), testutil.Patience)
	defer cancel()
	stream, err := c.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m := &testgrpc.StreamingOutputCallRequest{Payload: &testgrpc.Payload{Body: []byte("x")}}
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
		if m, err := stream.Recv(); err != nil || string(m.Payload.Body) != "x" {
			t.Fatal(m, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Fatal(err)
	}
	<-r.over
	_, err = c.UnimplementedCall(ctx, &testgrpc.Empty{})
	wantCode(t, err, codes.Unimplemented)
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
		c.block.Reset()
		c.enc.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		c.enc.WriteField(hpack.HeaderField{Name: "content-type", Value: "application/grpc"})
		only := id == 1
		if only {
			c.enc.WriteField(hpack.HeaderField{Name: "grpc-status", Value: "5"})
		}
		c.WriteHeaders(http2.HeadersFrameParam{
			StreamID: id, BlockFragment: c.block.Bytes(), EndStream: only, EndHeaders: true,
		})
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
		c.block.Reset()
		c.enc.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		c.enc.WriteField(hpack.HeaderField{Name: "content-type", Value: "application/grpc"})
		c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndHeaders: true})
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
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	contentType := "application/grpc"
	if c.web {
		contentType = "application/grpc-web"
	}
	all := append([]string{
		":method", "POST", ":scheme", "http", ":path", path, ":authority", "h",
		"content-type", contentType, "te", "trailers",
	}, fields...)
	for i := 0; i < len(all); i += 2 {
		f := hpack.HeaderField{Name: all[i], Value: all[i+1], Sensitive: true} // nothing enters the table
		if err := enc.WriteField(f); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := c.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true,
	}); err != nil {
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

// A browser's call, in one message of nothing, comes to a server of grpc-go and back over HTTP/2.
func TestGRPCWeb_overHTTP2(t *testing.T) {
	r, _, origin := serveRPC(t)
	addr := callRig(t, origin, proxy.Route{})
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: testutil.Patience}
	const nothing = "\x00\x00\x00\x00\x00"
	for contentType, body := range map[string]string{
		"application/grpc-web":      nothing,
		"application/grpc-web-text": base64.StdEncoding.EncodeToString([]byte(nothing)),
	} {
		resp, err := client.Post("http://"+addr+"/grpc.testing.TestService/FullDuplexCall", contentType,
			strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if contentType != "application/grpc-web" {
			got = decodePieces(t, string(got))
		}
		want := nothing + "\x80\x00\x00\x00"
		if resp.ProtoMajor != 2 || resp.Header.Get("Content-Type") != contentType ||
			!strings.HasPrefix(string(got), want) || !strings.Contains(string(got), "grpc-status: 0\r\n") {
			t.Errorf("%s: %s %v %q", contentType, resp.Proto, resp.Header, got)
		}
		<-r.began
		<-r.over
	}
}
