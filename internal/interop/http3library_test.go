package interop

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"testing"

	root "github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// HTTP/3 in a program: quic-go gets its page, the configuration for its host counts, connection filters see connections
// by UDP too, and Shutdown lets requests in progress end.
func TestHTTP3_library(t *testing.T) {
	t.Parallel()
	o := newSlow(t)
	a := testutil.NewAuthority(t)
	cert, key := a.Issue(t, nil, "localhost", "127.0.0.1")
	pair := tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	secured := make(chan string, 16) // of more connections than there are
	s := &root.Server{
		Addr: "127.0.0.1:0", HTTP3: true, Routes: []proxy.Route{{To: root.Backends(o.addr)}},
		TLS: &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: []tls.Certificate{pair}}, nil
		}},
		ConnFilters: []*session.ConnFilter{{Secure: func(c session.ConnInfo) bool {
			secured <- c.TLS.ALPN
			return true
		}}},
	}
	addr := serve(t, s)
	quic := newHTTP3(t, &tls.Config{RootCAs: a.Pool})
	c := &http.Client{Transport: quic}
	fetch(t, c, "GET", "https://"+addr+"/", nil)
	if got := <-secured; got != "h3" {
		t.Errorf("a connection of %q", got)
	}
	over := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.Pool}}}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	resp, _ := fetch(t, over, "GET", "https://"+addr+"/", nil)
	if got := resp.Header.Get("Alt-Svc"); got != fmt.Sprintf(`h3=":%s"; ma=86400`, port) {
		t.Errorf("Alt-Svc %q", got)
	}
	over.CloseIdleConnections()
	first := o.begin(t, c, addr)
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	close(o.end)
	first.wantEnd(t)
	_ = quic.Close() // or it has until the last third of the grace
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
