package interop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// cases are the interop cases that need no cloud.
var cases = []struct {
	name string
	run  func(ctx context.Context, cc *grpc.ClientConn, c testgrpc.TestServiceClient)
}{
	{"empty_unary", plainCase(interop.DoEmptyUnaryCall)},
	{"large_unary", plainCase(interop.DoLargeUnaryCall)},
	{"client_streaming", plainCase(interop.DoClientStreaming)},
	{"server_streaming", plainCase(interop.DoServerStreaming)},
	{"ping_pong", plainCase(interop.DoPingPong)},
	{"empty_stream", plainCase(interop.DoEmptyStream)},
	{"timeout_on_sleeping_server", plainCase(interop.DoTimeoutOnSleepingServer)},
	{"cancel_after_begin", plainCase(interop.DoCancelAfterBegin)},
	{"cancel_after_first_response", plainCase(interop.DoCancelAfterFirstResponse)},
	{"custom_metadata", plainCase(interop.DoCustomMetadata)},
	{"status_code_and_message", plainCase(interop.DoStatusCodeAndMessage)},
	{"special_status_message", plainCase(interop.DoSpecialStatusMessage)},
	{"health", func(ctx context.Context, cc *grpc.ClientConn, _ testgrpc.TestServiceClient) { checkHealth(ctx, cc) }},
	{"unimplemented_method", func(ctx context.Context, cc *grpc.ClientConn, _ testgrpc.TestServiceClient) {
		interop.DoUnimplementedMethod(ctx, cc)
	}},
	{"unimplemented_service", func(ctx context.Context, cc *grpc.ClientConn, _ testgrpc.TestServiceClient) {
		interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(cc))
	}},
}

// checkHealth asks the health service, by a call and by a stream that the client ends.
func checkHealth(ctx context.Context, cc *grpc.ClientConn) {
	c := healthgrpc.NewHealthClient(cc)
	one, err := c.Check(ctx, &healthgrpc.HealthCheckRequest{})
	if err != nil || one.Status != healthgrpc.HealthCheckResponse_SERVING {
		log.Fatalf("health: %v, %v", one, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Watch(ctx, &healthgrpc.HealthCheckRequest{Service: "nobody"})
	if err != nil {
		log.Fatalf("health: %v", err)
	}
	if one, err = stream.Recv(); err != nil || one.Status != healthgrpc.HealthCheckResponse_SERVICE_UNKNOWN {
		log.Fatalf("health of a service that is not there: %v, %v", one, err)
	}
}

func plainCase(f func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)) func(
	context.Context, *grpc.ClientConn, testgrpc.TestServiceClient) {
	return func(ctx context.Context, _ *grpc.ClientConn, c testgrpc.TestServiceClient) { f(ctx, c) }
}

// runCase is the child: all cases in turn against the address in its environment. What fails ends the process.
func runCase() {
	creds := insecure.NewCredentials()
	if path := os.Getenv("EDGE_INTEROP_CERT"); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			log.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		creds = credentials.NewTLS(&tls.Config{RootCAs: pool, ServerName: "localhost"})
	}
	cc, err := grpc.NewClient(os.Getenv("EDGE_INTEROP_ADDR"), grpc.WithTransportCredentials(creds))
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range cases {
		ctx, cancel := context.WithTimeout(context.Background(), testutil.Patience)
		began := time.Now()
		c.run(ctx, cc, testgrpc.NewTestServiceClient(cc))
		cancel()
		fmt.Println("passed", c.name, time.Since(began).Round(time.Millisecond))
	}
	fmt.Println("all passed")
}

// TestGRPC runs the interop cases of grpc-go, h2c and TLS on either side.
func TestGRPC(t *testing.T) {
	keys := newKeys(t)
	plainOrigin := serveGRPC(t)
	creds, err := credentials.NewServerTLSFromFile(keys.cert, keys.key)
	testutil.Must(t, err)
	secureOrigin := serveGRPC(t, grpc.Creds(creds))
	runs := 1
	if soak() {
		runs = 20
	}
	for _, origin := range []struct{ name, upstream string }{
		{"h2c", fmt.Sprintf("backends = [{ address = %q }]\nprotocol = \"h2\"\n", plainOrigin)},
		{"tls", fmt.Sprintf(
			"backends = [{ address = %q }]\nprotocol = \"h2\"\ntls = { ca = %q, sni = \"localhost\" }\n",
			secureOrigin, keys.ca,
		)},
	} {
		t.Run("origin "+origin.name, func(t *testing.T) {
			e := startEdge(t,
				"[[routes]]\npattern = \"/\"\ndest = \"api\"\ngrpc = true\n[upstreams.api]\n%s", origin.upstream)
			for range runs {
				t.Run("client h2c", func(t *testing.T) { runChild(t, e.plain, "") })
				t.Run("client tls", func(t *testing.T) { runChild(t, e.secure, e.ca) })
			}
		})
	}
}

func serveGRPC(t *testing.T, opts ...grpc.ServerOption) string {
	t.Helper()
	s := grpc.NewServer(opts...)
	testgrpc.RegisterTestServiceServer(s, interop.NewTestServer())
	healthgrpc.RegisterHealthServer(s, health.NewServer())
	return serveOn(t, s)
}

func runChild(t *testing.T, addr, cert string) {
	t.Helper()
	p := startChild(t, "grpc", "EDGE_INTEROP_ADDR="+addr, "EDGE_INTEROP_CERT="+cert,
		"GRPC_GO_LOG_SEVERITY_LEVEL=error") // else a case that fails does not say why
	if code := p.Wait(testutil.Minutes); code != 0 || !strings.Contains(p.Output(), "all passed") {
		t.Errorf("the client ended with %d:\n%s", code, p.Output())
	}
}
