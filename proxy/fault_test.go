package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/tlsconn"
	"github.com/edge-proxy/edge/upstream"
)

// unopened is a destination that cannot be connected to.
type unopened struct{ cause error }

func (u unopened) Open(*proxy.Exchange, session.Receiver) (session.Stream, error) {
	return nil, u.cause
}

// What keeps a connection from being made is told apart by what the kernel says, in the words of RFC 9209 §2.3.
func TestFault_ofConnecting(t *testing.T) {
	for _, c := range []struct {
		cause  error
		status int
		token  string
	}{
		{syscall.ECONNREFUSED, 502, "connection_refused"},
		{fmt.Errorf("connect: %w", syscall.ECONNREFUSED), 502, "connection_refused"},
		{syscall.ENOENT, 502, "destination_unavailable"},
		{syscall.EACCES, 502, "proxy_configuration_error"},
		{syscall.EPERM, 502, "proxy_configuration_error"},
		{syscall.ENETUNREACH, 502, "destination_ip_unroutable"},
		{syscall.EHOSTUNREACH, 502, "destination_ip_unroutable"},
		{syscall.ETIMEDOUT, 504, "connection_timeout"},
		{engine.ErrConnectTimeout, 504, "connection_timeout"},
		{syscall.EADDRNOTAVAIL, 503, "connection_limit_reached"},
		{engine.ErrNoDescriptors, 503, "connection_limit_reached"},
		{syscall.ENOBUFS, 503, "proxy_internal_response"},
		{upstream.ErrNoAddress, 503, "destination_unavailable"},
		{upstream.ErrQueueFull, 503, "connection_limit_reached"},
		{&tlsconn.HandshakeError{Reason: tlsconn.ErrTimeout}, 504, "connection_timeout"},
		{syscall.ECONNRESET, 502, "connection_refused"},
	} {
		r := newRig(t, func(*engine.Engine) []proxy.Route { return []proxy.Route{{To: unopened{c.cause}}} })
		resp, err := http.Get(r.url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		got := resp.Header.Get("Proxy-Status")
		if resp.StatusCode != c.status || !strings.HasSuffix(got, "error="+c.token) {
			t.Errorf("%v: %d, %s; want %d, %s", c.cause, resp.StatusCode, got, c.status, c.token)
		}
	}
}
