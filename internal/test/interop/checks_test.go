package interop

import (
	"crypto/tls"
	"encoding/pem"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/internal/upstream/health"
)

// Checks ask the health service of grpc-go: for the server, for a service, for one that it does not know; where there
// is no health service; with TLS and without.
func TestChecks_askTheHealthServiceOfGRPCGo(t *testing.T) {
	authority := testutil.NewAuthority(t)
	cert, key := authority.Issue(t, nil, "api.test")
	pair := tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	secured := upstream.TLS{On: true, ServerName: "api.test",
		CA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Cert.Raw}))}
	for name, c := range map[string]struct {
		service   string
		none, tls bool
		want      string // the beginning of what the member is down for: the word and what was got
	}{
		"server":             {},
		"server over TLS":    {tls: true},
		"service":            {service: "orders"},
		"service over TLS":   {service: "orders", tls: true},
		"not serving":        {service: "billing", want: "grpc NOT_SERVING"},
		"unknown service":    {service: "nobody", want: "grpc it does not know the service"},
		"no health service":  {none: true, want: "grpc no health service"},
		"a service and none": {none: true, service: "orders", want: "grpc no health service"},
	} {
		t.Run(name, func(t *testing.T) {
			var options []grpc.ServerOption
			if c.tls {
				options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(&pair)))
			}
			s := grpc.NewServer(options...)
			if !c.none {
				h := grpchealth.NewServer()
				h.SetServingStatus("orders", healthgrpc.HealthCheckResponse_SERVING)
				h.SetServingStatus("billing", healthgrpc.HealthCheckResponse_NOT_SERVING)
				healthgrpc.RegisterHealthServer(s, h)
			}
			o := health.Options{
				Name: "api", Timeout: 5 * time.Second, Kind: health.GRPC, Service: c.service, Rules: health.Rules{
					Interval: 10 * time.Millisecond, Fast: 5 * time.Millisecond, Down: 10 * time.Millisecond,
					Rise: 2, Fall: 3,
				},
			}
			if c.tls {
				o.TLS = secured
			}
			if got := checked(t, serveOn(t, s), o); got != c.want {
				t.Errorf("the checks say %q, want %q", got, c.want)
			}
		})
	}
}

// checked returns what a member at an address is down for, once its checks have decided; "" when it is up.
func checked(t *testing.T, address string, o health.Options) string {
	e, err := engine.New(engine.Options{Reactors: 2})
	testutil.Must(t, err)
	o.Handshaker = tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{})
	e.Start()
	t.Cleanup(e.Stop)
	set := backend.Of(address)
	w := health.NewMonitor(e).Watch(set, o)
	t.Cleanup(w.Stop)
	testutil.Eventually(t, testutil.Minutes, func() bool {
		s := w.Stats()
		return s.Passed >= 12 || s.Downs > 0
	}, "the checks decide")
	m := set.Members()[0]
	if m.Reasons() == 0 {
		return ""
	}
	why := m.Why(backend.Health)
	got := why.Word
	for _, a := range why.Facts {
		if a.Key == "got" {
			got += " " + a.Value.String()
		}
	}
	return got
}
