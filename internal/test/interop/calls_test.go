package interop

import (
	"context"
	"encoding/base64"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	root "github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
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

// serveCalls is a proxy in this process that speaks HTTP/2 without TLS to both sides.
func serveCalls(t *testing.T, to proxy.Destination) string {
	t.Helper()
	s := &root.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{{To: to, GRPC: proxy.On}}}
	s.Session.H2C = true
	return serve(t, s)
}

// serve starts s for the length of a test and returns its address.
func serve(t *testing.T, s *root.Server) string {
	t.Helper()
	s.Engine.Reactors = 1
	testutil.Must(t, s.Start())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testutil.Patience)
		defer cancel()
		_ = s.Shutdown(ctx)
	})
	return s.ListenAddr()
}

// overH2 leads to a backend that speaks HTTP/2.
func overH2(origin string) proxy.Destination {
	return root.To(upstream.Options{Backends: backend.Of(origin), Protocol: upstream.H2}, nil)
}

func callClient(t *testing.T, addr string) testgrpc.TestServiceClient {
	t.Helper()
	cc, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	testutil.Must(t, err)
	t.Cleanup(func() { cc.Close() })
	return testgrpc.NewTestServiceClient(cc)
}

func serveRPC(t *testing.T) (*rpcServer, *grpc.Server, string) {
	t.Helper()
	s, r := grpc.NewServer(), &rpcServer{began: make(chan struct{}, 8), over: make(chan error, 8)}
	testgrpc.RegisterTestServiceServer(s, r)
	return r, s, serveOn(t, s)
}

// serveOn starts s for the length of a test and returns its address.
func serveOn(t *testing.T, s *grpc.Server) string {
	t.Helper()
	l := testutil.Listen(t)
	go s.Serve(l) //nolint:errcheck // until it is stopped
	t.Cleanup(s.Stop)
	return l.Addr().String()
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
	c := callClient(t, serveCalls(t, overH2(origin)))
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
	testutil.Must(t, err)
	converse(t, stream)
	s.Stop()
	_, err = stream.Recv()
	wantCode(t, err, codes.Unavailable)

	_, err = c.EmptyCall(ctx, &testgrpc.Empty{})
	wantCode(t, err, codes.Unavailable)
}

// converse sends three messages and gets each back before the next one.
func converse(t *testing.T, stream testgrpc.TestService_FullDuplexCallClient) {
	t.Helper()
	for range 3 {
		m := &testgrpc.StreamingOutputCallRequest{Payload: &testgrpc.Payload{Body: []byte("x")}}
		testutil.Must(t, stream.Send(m))
		if m, err := stream.Recv(); err != nil || string(m.Payload.Body) != "x" {
			t.Fatal(m, err)
		}
	}
}

// A server of gRPC may be a handler, too.
func TestGRPC_handler(t *testing.T) {
	r, s, _ := serveRPC(t)
	c := callClient(t, serveCalls(t, handler.FromHTTP(s)))
	ctx, cancel := context.WithTimeout(t.Context(), testutil.Patience)
	defer cancel()
	stream, err := c.FullDuplexCall(ctx)
	testutil.Must(t, err)
	converse(t, stream)
	testutil.Must(t, stream.CloseSend())
	if _, err := stream.Recv(); err != io.EOF {
		t.Fatal(err)
	}
	<-r.over
	_, err = c.UnimplementedCall(ctx, &testgrpc.Empty{})
	wantCode(t, err, codes.Unimplemented)
}

// A browser's call, in one message of nothing, comes to a server of grpc-go and back over HTTP/2.
func TestGRPCWeb_overHTTP2(t *testing.T) {
	r, _, origin := serveRPC(t)
	addr := serveCalls(t, overH2(origin))
	client := testutil.H2C(t)
	const nothing = "\x00\x00\x00\x00\x00"
	for contentType, body := range map[string]string{
		"application/grpc-web":      nothing,
		"application/grpc-web-text": base64.StdEncoding.EncodeToString([]byte(nothing)),
	} {
		resp, err := client.Post("http://"+addr+"/grpc.testing.TestService/FullDuplexCall", contentType,
			strings.NewReader(body))
		testutil.Must(t, err)
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		testutil.Must(t, err)
		if contentType != "application/grpc-web" {
			got = decodePieces(t, got)
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

// decodePieces decodes base64 whose pieces may each end with padding.
func decodePieces(t *testing.T, text []byte) (out []byte) {
	t.Helper()
	for piece := range slices.Chunk(text, 4) {
		p, err := base64.StdEncoding.DecodeString(string(piece))
		if err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		out = append(out, p...)
	}
	return out
}
