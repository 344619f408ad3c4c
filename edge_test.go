package edge_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
	"github.com/edge-proxy/edge/session"
)

const (
	get  = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
	okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
)

func TestServer_runsUntilItsContextEnds(t *testing.T) {
	testutil.CheckLeaks(t)
	entered, release := make(chan struct{}), make(chan struct{})
	s := &edge.Server{Addr: "localhost:0", Routes: []proxy.Route{{
		To: handler.FromHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-release
			io.WriteString(w, "done")
		})),
	}}}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	w := testutil.Dial(t, s.ListenAddr())
	w.Send(get)
	<-entered
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	testutil.Eventually(t, testutil.Patience, func() bool {
		c, err := net.Dial("tcp", s.ListenAddr())
		if err == nil {
			c.Close()
		}
		return err != nil
	}, "nobody listens any more")
	close(release)
	if _, body := w.ReadResponse("GET"); body != "done" { // the request in progress is finished
		t.Fatal(body)
	}
	w.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// Two programs do not serve one address by accident: half of the requests would reach the wrong one.
func TestServer_refusesAnAddressThatIsServed(t *testing.T) {
	testutil.CheckLeaks(t)
	routes := []proxy.Route{{To: proxy.Answer(200, "", "")}}
	first := &edge.Server{Addr: "127.0.0.1:0", Share: true, Routes: routes}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	defer first.Shutdown(t.Context()) //nolint:errcheck // no request is in progress
	second := &edge.Server{Addr: first.ListenAddr(), Routes: routes}
	if err := second.Start(); !errors.Is(err, syscall.EADDRINUSE) ||
		!strings.Contains(err.Error(), "address already in use") {
		t.Fatal(err)
	}
	second.Share = true
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	if err := second.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestServer_refusesHTTP3WithoutItsMeans(t *testing.T) {
	testutil.CheckLeaks(t)
	a := testutil.NewAuthority(t)
	cert, key := a.Issue(t, nil, "localhost")
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
	old := config.Clone()
	old.MaxVersion = tls.VersionTLS12
	routes := []proxy.Route{{To: proxy.Answer(200, "", "")}}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for in, s := range map[string]*edge.Server{
		"HTTP3 needs TLS":                                {Addr: "127.0.0.1:0"},
		"needs TLS 1.3":                                  {Addr: "127.0.0.1:0", TLS: old},
		"an address with a port":                         {Addr: "unix:" + testutil.SocketPath(t), TLS: config},
		"listen udp " + udp.LocalAddr().String():         {Addr: udp.LocalAddr().String(), TLS: config},
		"127.0.0.1:1\": HTTP3 needs TLS 1.3, and an add": {Addr: "127.0.0.1:1"},
	} {
		s.Routes, s.HTTP3 = routes, true
		if err := s.Start(); err == nil || !strings.Contains(err.Error(), in) {
			t.Errorf("%v, not %q", err, in)
		}
	}
}

// Servers that share an address share TCP. A second one with HTTP/3 is refused: it would get datagrams of connections
// of the first one. What failed to start may start later.
func TestServer_sharesNoUDP(t *testing.T) {
	testutil.CheckLeaks(t)
	a := testutil.NewAuthority(t)
	cert, key := a.Issue(t, nil, "localhost")
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
	server := func(addr string, http3 bool) *edge.Server {
		return &edge.Server{Addr: addr, Share: true, TLS: config, HTTP3: http3,
			Routes: []proxy.Route{{To: proxy.Answer(200, "", "")}}}
	}
	stop := func(s *edge.Server) {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
	first := server("127.0.0.1:0", true)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	addr := first.ListenAddr()
	without, second := server(addr, false), server(addr, true)
	if err := without.Start(); err != nil {
		t.Error(err)
	}
	err := second.Start()
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "listen udp "+addr) {
		t.Errorf("the second one with HTTP/3: %v", err)
	}
	stop(first)
	if err := second.Start(); err != nil {
		t.Errorf("after the first one has ended: %v", err)
	}
	stop(second)
	stop(without)
}

func TestServer_cutsOffWhatOutlastsItsGrace(t *testing.T) {
	silent := testutil.Listen(t)
	s := &edge.Server{Addr: "127.0.0.1:0", Grace: 50 * time.Millisecond,
		Routes: []proxy.Route{{To: edge.Backends(silent.Addr().String())}}}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	w := testutil.Dial(t, s.ListenAddr())
	w.Send(get)
	testutil.Accept(t, silent).ReadHead()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, edge.ErrGrace) {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(w.Conn()); len(rest) > 0 {
		t.Fatal(rest, err)
	}
}

func TestServer_saysWhatIsWrong(t *testing.T) {
	testutil.CheckLeaks(t)
	taken := testutil.Listen(t)
	own := []proxy.Route{{To: proxy.Answer(200, "", "")}}
	noPort, aURL, noFunc := edge.Backends("no-port"), edge.Backends("http://a:80"), proxy.DestinationFunc(nil)
	for want, s := range map[string]*edge.Server{
		"nowhere:80":                        {Addr: "nowhere:80", Routes: own},
		"in use":                            {Addr: taken.Addr().String(), Routes: own},
		"leads nowhere":                     {Addr: "127.0.0.1:0", Routes: []proxy.Route{{}}},
		`"no-port"`:                         {Addr: "127.0.0.1:0", Routes: []proxy.Route{{To: noPort}}},
		`route 1 of 1: there is no backend`: {Addr: "127.0.0.1:0", Routes: []proxy.Route{{To: edge.Backends()}}},
		"without a scheme":                  {Addr: "127.0.0.1:0", Routes: []proxy.Route{{To: aURL}}},
		"its DestinationFunc is nil":        {Addr: "127.0.0.1:0", Routes: []proxy.Route{{To: noFunc}}},
		"same host and path":                {Addr: "127.0.0.1:0", Routes: append(own, own...)},
	} {
		if err := s.Start(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said: %v", want, err)
		}
	}
}

// A function and a filter choose among what Bind returns, by the name of a host too.
func TestServer_bindsWhatIsChosen(t *testing.T) {
	testutil.CheckLeaks(t)
	s := &edge.Server{Addr: "127.0.0.1:0"}
	named := map[string]proxy.Destination{}
	for _, name := range []string{"one", "two"} {
		o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, name+" "+r.Header.Get("Via"))
		}))
		defer o.Close()
		_, port, _ := net.SplitHostPort(o.Listener.Addr().String())
		d, err := s.Bind(edge.Backends("localhost:" + port))
		if err != nil {
			t.Fatal(err)
		}
		named[name] = d
	}
	s.Routes = []proxy.Route{
		{To: proxy.DestinationFunc(func(x *proxy.Exchange) proxy.Destination { return named[x.Query("to")] })},
		{Path: "/filter", To: proxy.Answer(200, "", "nobody"), Filters: []*proxy.Filter{{
			Request: func(x *proxy.Exchange) proxy.Verdict {
				x.SetDestination(named[x.Query("to")])
				return proxy.Next
			},
		}}},
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	for _, path := range []string{"/", "/filter"} {
		for name := range named {
			want := "200 " + name + " 1.1 edge"
			testutil.Eventually(t, testutil.Patience, func() bool {
				status, body := ask(t, "http://"+s.ListenAddr()+path+"?to="+name)
				return fmt.Sprint(status, " ", body) == want
			}, path, name)
		}
	}
}

// ask returns the status and the body of an answer.
func ask(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // an idle connection would keep Shutdown waiting
	resp, body := testutil.Do(t, http.DefaultClient, req)
	return resp.StatusCode, body
}

// Backends that are chosen without Bind are a mistake, which is told.
func TestServer_choosesWithoutBind(t *testing.T) {
	testutil.CheckLeaks(t)
	var log testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&log, nil))
	to := edge.Backends("127.0.0.1:1")
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{
		{To: proxy.DestinationFunc(func(*proxy.Exchange) proxy.Destination { return to })},
	}}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	if status, _ := ask(t, "http://"+s.ListenAddr()); status != 500 || !strings.Contains(log.String(), "use Bind") {
		t.Errorf("%d, and the log says %s", status, log.String())
	}
}

// What Bind begins ends with a Start that fails, and with Shutdown.
func TestServer_bindEnds(t *testing.T) {
	testutil.CheckLeaks(t)
	s := &edge.Server{Addr: "nowhere:80", Routes: []proxy.Route{{To: proxy.Answer(200, "", "")}}}
	for range 2 {
		if _, err := s.Bind(edge.Backends("localhost:80")); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err == nil {
			t.Fatal("it listens on nowhere:80")
		}
	}
	if _, err := s.Bind(edge.Backends("no-port")); err == nil {
		t.Error("no-port is taken for a backend")
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// Routes that share Backends share its connections.
func TestServer_bindsBackends(t *testing.T) {
	testutil.CheckLeaks(t)
	origin := testutil.ListenUnix(t)
	backends := backend.Of("unix:" + origin.Addr().String())
	to := edge.To(upstream.Options{Name: "unix", Backends: backends}, nil)
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{{Path: "/a", To: to}, {Path: "/b", To: to}}}
	s.Engine.Reactors = 1
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	w := testutil.Dial(t, s.ListenAddr())
	w.Send(get)
	o := testutil.Accept(t, origin)
	o.ReadHead()
	o.Send(okay)
	w.ReadResponse("GET")
	w.Send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n")
	o.ReadHead() // on the same connection
	o.Send(okay)
	w.ReadResponse("GET")
	w.Close()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// A server with several listeners has one set of routes and one access log.
func TestServer_severalListeners(t *testing.T) {
	testutil.CheckLeaks(t)
	a := testutil.NewAuthority(t)
	cert, key := a.Issue(t, nil, "127.0.0.1")
	pair := tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	var log testutil.Output
	s := &edge.Server{
		Addr: "127.0.0.1:0", Listener: proxy.Listener{Name: "plain"}, AccessLog: &log,
		Routes: []proxy.Route{{To: proxy.Answer(200, "", "ok")}},
		Listeners: []edge.Listener{
			{
				Addr: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{pair}},
				Listener: proxy.Listener{Name: "tls"},
			},
		},
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	all := s.ListenAddrs()
	if len(all) != 2 || all[0] != s.ListenAddr() || all[0] == all[1] {
		t.Fatal(all)
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.Pool}}}
	for _, url := range []string{"http://" + all[0] + "/plain", "https://" + all[1] + "/secure"} {
		if _, body := testutil.Get(t, c, url); body != "ok" {
			t.Errorf("%s: %q", url, body)
		}
	}
	c.CloseIdleConnections()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"listener":"plain"`, `"listener":"tls"`, `"path":"/plain"`, `"path":"/secure"`} {
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("%s is not in\n%s", want, log.String())
		}
	}
	taken := &edge.Server{Addr: "127.0.0.1:0", Routes: s.Routes, Listeners: []edge.Listener{{Addr: "nowhere:80"}}}
	if err := taken.Start(); err == nil || !strings.Contains(err.Error(), "nowhere:80") {
		t.Error(err)
	}
}

// The bound on handshakes holds for all listeners together: with memory for one handshake, a silent client of one
// listener gives way to a client of the other.
func TestServer_listenersShareHandshakes(t *testing.T) {
	testutil.CheckLeaks(t)
	a := testutil.NewAuthority(t)
	cert, key := a.Issue(t, nil, "127.0.0.1")
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
	s := &edge.Server{
		Addr: "127.0.0.1:0", TLS: config, Listeners: []edge.Listener{{Addr: "127.0.0.1:0", TLS: config}},
		Routes: []proxy.Route{{To: proxy.Answer(200, "", "ok")}},
	}
	s.Engine.Reactors, s.Engine.Memory = 1, 64<<10
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	var silent [2]net.Conn
	for i, address := range s.ListenAddrs() {
		silent[i] = testutil.Dial(t, address).Conn()
	}
	left := make(chan error, len(silent))
	for _, c := range silent {
		c.SetReadDeadline(time.Now().Add(5 * time.Second)) // the time for a handshake is 10 s
		go func() {
			_, err := c.Read(make([]byte, 1))
			left <- err
		}()
	}
	if err := <-left; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("both may be silent at one time")
	}
	for _, c := range silent {
		c.Close() // an idle connection would keep Shutdown waiting
	}
}

// A program may try again where an address was taken.
func TestServer_startsAgain(t *testing.T) {
	testutil.CheckLeaks(t)
	taken := testutil.Listen(t)
	var log testutil.Output
	s := &edge.Server{
		Addr: "127.0.0.1:0", AccessLog: &log, Routes: []proxy.Route{{To: proxy.Answer(200, "", "ok")}},
		Listeners: []edge.Listener{{Addr: taken.Addr().String()}},
	}
	if err := s.Start(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatal(err)
	}
	taken.Close()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if all := s.ListenAddrs(); len(all) != 2 {
		t.Error(all)
	}
	ask(t, "http://"+s.ListenAddr()+"/asked")
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "/asked") {
		t.Errorf("the log is %q", log.String())
	}
}

// A program has connection filters without a configuration.
func TestServer_connFilters(t *testing.T) {
	testutil.CheckLeaks(t)
	var refuse atomic.Bool
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{{To: proxy.Answer(200, "", "ok")}},
		ConnFilters: []*session.ConnFilter{{Accept: func(session.ConnInfo) bool { return !refuse.Load() }}}}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: testutil.Patience}
	for _, refused := range []bool{false, true} {
		refuse.Store(refused)
		resp, err := c.Get("http://" + s.ListenAddr())
		if err == nil {
			resp.Body.Close()
		}
		if (err != nil) != refused {
			t.Errorf("refused: %v, got %v", refused, err)
		}
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}
