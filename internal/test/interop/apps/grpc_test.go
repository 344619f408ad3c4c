//go:build apps

package apps

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// TestGRPC has the test service of grpc-go with its health service.
func TestGRPC(t *testing.T) {
	a := begin(t, "grpc-go")
	a.version = grpc.Version
	l, s := testutil.Listen(t), grpc.NewServer()
	testgrpc.RegisterTestServiceServer(s, interop.NewTestServer())
	healthgrpc.RegisterHealthServer(s, health.NewServer())
	go s.Serve(l) //nolint:errcheck // until it is stopped
	t.Cleanup(s.Stop)
	address := l.Addr().String()
	a.front(address, "[[routes]]\npattern = \"/\"\ndest = %q\ngrpc = true\n", address)

	over := func(w *way) bool { return w.h2 }
	for question, ask := range map[string]func(context.Context, *grpc.ClientConn) string{
		"unary": func(ctx context.Context, cc *grpc.ClientConn) string {
			r, err := testgrpc.NewTestServiceClient(cc).UnaryCall(ctx, &testgrpc.SimpleRequest{
				ResponseSize: 3e6, Payload: &testgrpc.Payload{Body: noise(3e6, 9)},
			})
			return fmt.Sprint(sum(r.GetPayload().GetBody()), err)
		},
		"error": func(ctx context.Context, cc *grpc.ClientConn) string {
			_, err := testgrpc.NewTestServiceClient(cc).UnaryCall(ctx, &testgrpc.SimpleRequest{
				ResponseStatus: &testgrpc.EchoStatus{Code: int32(codes.DataLoss), Message: "grüße, 100 %\n"},
			})
			return fmt.Sprint(err)
		},
		"a method that is not there": func(ctx context.Context, cc *grpc.ClientConn) string {
			_, err := testgrpc.NewTestServiceClient(cc).UnimplementedCall(ctx, &testgrpc.Empty{})
			return fmt.Sprint(err)
		},
		"health": func(ctx context.Context, cc *grpc.ClientConn) string {
			c := healthgrpc.NewHealthClient(cc)
			well, err := c.Check(ctx, &healthgrpc.HealthCheckRequest{})
			_, nobody := c.Check(ctx, &healthgrpc.HealthCheckRequest{Service: "nobody"})
			return fmt.Sprint(well.GetStatus(), err, nobody)
		},
		"server streams": serverStreams, "client streams": clientStreams, "duplex": duplex, "deadline": deadline,
	} {
		a.ask(question, over, func(t *testing.T, w *way) string {
			ctx, cancel := context.WithTimeout(t.Context(), testutil.Patience)
			defer cancel()
			return ask(ctx, w.dial(t))
		})
	}
	for _, kind := range []string{"application/grpc-web+proto", "application/grpc-web-text"} {
		a.want(kind, "200 "+kind+" 7 bytes, grpc-status: 0", all, func(t *testing.T, w *way) string {
			return web(t, w, kind)
		})
	}
}

// dial connects a client of grpc-go.
func (w *way) dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	secure := insecure.NewCredentials()
	if w.tls {
		secure = credentials.NewTLS(&tls.Config{RootCAs: w.pool})
	}
	cc, err := grpc.NewClient(w.host, grpc.WithTransportCredentials(secure), grpc.WithDisableRetry())
	testutil.Must(t, err)
	t.Cleanup(func() { cc.Close() })
	return cc
}

func serverStreams(ctx context.Context, cc *grpc.ClientConn) string {
	r := &testgrpc.StreamingOutputCallRequest{}
	for _, size := range []int32{0, 1, 100_000, 3e6, 5} {
		r.ResponseParameters = append(r.ResponseParameters, &testgrpc.ResponseParameters{Size: size})
	}
	stream, err := testgrpc.NewTestServiceClient(cc).StreamingOutputCall(ctx, r)
	if err != nil {
		return err.Error()
	}
	var told []any
	for {
		m, err := stream.Recv()
		if err != nil {
			return fmt.Sprint(append(told, err)...)
		}
		told = append(told, len(m.Payload.Body))
	}
}

func clientStreams(ctx context.Context, cc *grpc.ClientConn) string {
	stream, err := testgrpc.NewTestServiceClient(cc).StreamingInputCall(ctx)
	if err != nil {
		return err.Error()
	}
	for i := range 100 {
		m := &testgrpc.StreamingInputCallRequest{Payload: &testgrpc.Payload{Body: noise(i*1000, 1)}}
		if err := stream.Send(m); err != nil {
			return err.Error()
		}
	}
	sum, err := stream.CloseAndRecv()
	return fmt.Sprint(sum.GetAggregatedPayloadSize(), err)
}

// duplex sends each message after the answer to the one before it.
func duplex(ctx context.Context, cc *grpc.ClientConn) string {
	stream, err := testgrpc.NewTestServiceClient(cc).FullDuplexCall(ctx)
	if err != nil {
		return err.Error()
	}
	var told []any
	for i := range 20 {
		if err := stream.Send(&testgrpc.StreamingOutputCallRequest{
			ResponseParameters: []*testgrpc.ResponseParameters{{Size: int32(i)}},
		}); err != nil {
			return err.Error()
		}
		m, err := stream.Recv()
		if err != nil {
			return err.Error()
		}
		told = append(told, len(m.Payload.Body))
	}
	if err := stream.CloseSend(); err != nil {
		return err.Error()
	}
	_, err = stream.Recv()
	return fmt.Sprint(append(told, err)...)
}

func deadline(ctx context.Context, cc *grpc.ClientConn) string {
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	stream, err := testgrpc.NewTestServiceClient(cc).FullDuplexCall(ctx)
	if err == nil {
		_, err = stream.Recv() // it answers nothing that it was not asked for
	}
	return status.Code(err).String()
}

// web makes a call as a browser does and tells how long the message is and what the frame of trailers says.
func web(t *testing.T, w *way, kind string) string {
	body := []byte{0, 0, 0, 0, 2, 2 << 3, 3} // a frame with a SimpleRequest{ResponseSize: 3}
	text := strings.HasSuffix(kind, "-text")
	if text {
		body = []byte(base64.StdEncoding.EncodeToString(body))
	}
	r := w.do(t, request{
		method: "POST", path: "/grpc.testing.TestService/UnaryCall", body: bytes.NewReader(body),
		fields: []string{"Content-Type", kind, "Accept", kind},
	})
	got := r.body
	if text {
		got = nil
		for piece := range slices.Chunk(r.body, 4) { // each frame may end with padding
			part, err := base64.StdEncoding.DecodeString(string(piece))
			if err != nil {
				t.Fatalf("%v in %q", err, r.body)
			}
			got = append(got, part...)
		}
	}
	message, got := frame(t, got, 0)
	trailers, got := frame(t, got, 0x80)
	line, _, _ := strings.Cut(string(trailers), "\r\n")
	if len(got) > 0 {
		t.Errorf("after the trailers: %q", got)
	}
	return fmt.Sprintf("%d %s %d bytes, %s", r.status, r.header.Get("Content-Type"), len(message), line)
}

// frame takes a frame of a kind from the front of a body.
func frame(t *testing.T, body []byte, kind byte) (message, rest []byte) {
	t.Helper()
	if len(body) < 5 || body[0] != kind || len(body) < 5+int(body[4]) {
		t.Fatalf("no frame of kind %#x: %q", kind, body)
	}
	return body[5 : 5+int(body[4])], body[5+int(body[4]):]
}
