package interop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	root "github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/test/testutil"
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
	var accepted atomic.Int32
	s := &root.Server{
		Addr: "127.0.0.1:0", HTTP3: true, Routes: []proxy.Route{{To: root.Backends(o.addr)}},
		TLS: &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: []tls.Certificate{pair}}, nil
		}},
		ConnFilters: []*session.ConnFilter{{Accept: func(session.ConnInfo) bool {
			accepted.Add(1)
			return true
		}, Secure: func(c session.ConnInfo) bool {
			secured <- c.TLS.ALPN
			return true
		}}},
	}
	addr := serve(t, s)
	(&placed{edge: &edge{pool: a.Pool}, addr: addr}).forge(t, "127.0.0.9", 5)
	if n := accepted.Load(); n > 0 {
		t.Errorf("a filter was asked about %d addresses that proved nothing", n)
	}
	quic := newHTTP3(t, &tls.Config{RootCAs: a.Pool})
	c := &http.Client{Transport: quic}
	fetch(t, c, "GET", "https://"+addr+"/", nil)
	if got := <-secured; got != "h3" {
		t.Errorf("a connection of %q", got)
	}
	if n := accepted.Load(); n != 1 {
		t.Errorf("a filter was asked %d times about one connection", n)
	}
	over := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.Pool}}}
	_, port, err := net.SplitHostPort(addr)
	testutil.Must(t, err)
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

// HTTP/3 at several addresses of a program, beside listeners that have none. The field Alt-Svc is the program's where
// it says so. Idle and busy connections are over at the end of the time of Shutdown, and so are all sockets.
func TestHTTP3_libraryBesideOthers(t *testing.T) {
	o, a := newSlow(t), testutil.NewAuthority(t)
	cert, key := a.Issue(t, nil, "localhost", "127.0.0.1", "::1")
	own := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
	before := openSockets()
	told := proxy.Listener{AltSvc: proxy.NewAltSvc(443, time.Hour, []string{"*"})}
	s := &root.Server{
		Addr: "127.0.0.1:0", HTTP3: true, TLS: own, Routes: []proxy.Route{{To: root.Backends(o.addr)}},
		Listeners: []root.Listener{
			{Addr: "[::1]:0", TLS: own, HTTP3: true, Listener: told}, {Addr: "unix:" + testutil.SocketPath(t)},
			{Addr: "127.0.0.1:0"},
		},
	}
	s.Engine.Reactors = 2
	testutil.Must(t, s.Start())
	config := &tls.Config{RootCAs: a.Pool}
	idle, busy := newHTTP3(t, config), newHTTP3(t, config)
	for _, addr := range s.ListenAddrs()[:2] {
		fetch(t, &http.Client{Transport: idle}, "GET", "https://"+addr+"/", nil)
	}
	over := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	resp, _ := fetch(t, over, "GET", "https://"+s.ListenAddrs()[1]+"/", nil)
	if got := resp.Header.Get("Alt-Svc"); got != `h3=":443"; ma=3600` {
		t.Errorf("Alt-Svc %q", got)
	}
	first := o.begin(t, &http.Client{Transport: busy}, s.ListenAddr())
	end, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(end); !errors.Is(err, root.ErrGrace) {
		t.Error(err)
	}
	if _, err := io.ReadAll(first.Body); err == nil {
		t.Error("the answer has ended")
	}
	_, _ = idle.Close(), busy.Close()
	testutil.Eventually(t, testutil.Patience, func() bool { return openSockets() <= before }, "sockets are closed")
}
