package session_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// tlsOrigin is a net/http server with a certificate that its clients trust.
func tlsOrigin(t *testing.T, withH2 bool) *httptest.Server {
	t.Helper()
	origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Path", r.Proto+" "+r.URL.Path)
		_, _ = io.Copy(w, r.Body)
	}))
	origin.EnableHTTP2 = withH2
	origin.StartTLS()
	t.Cleanup(origin.Close)
	return origin
}

func clientConfig(origin *httptest.Server, alpn ...string) *tlsconn.ClientOptions {
	c := origin.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	c.NextProtos, c.ServerName = alpn, "example.com"
	return &tlsconn.ClientOptions{Config: c}
}

func startEngine(t *testing.T) *engine.Engine {
	t.Helper()
	e, err := engine.New(engine.Options{Reactors: 1})
	testutil.Must(t, err)
	e.Start()
	t.Cleanup(e.Stop)
	return e
}

// serveTLS starts a server that mirrors, and returns its address.
func serveTLS(t *testing.T, e *engine.Engine, config *tls.Config, o session.ServerOptions) string {
	t.Helper()
	hs := tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{Timeout: testutil.Patience})
	accept := hs.Server(tlsconn.ServerOptions{Config: config}, session.NewServer(e, mirror{}, o).Accept)
	l, err := e.Listen(engine.ListenOptions{Addr: loopback}, accept)
	testutil.Must(t, err)
	return l.Addr().IP.String()
}

// ALPN decides which version a client of others is spoken to in.
func TestServer_tlsSpeaksWhatALPNAgreedUpon(t *testing.T) {
	origin := tlsOrigin(t, true) // for its certificate
	e := startEngine(t)
	config := &tls.Config{Certificates: origin.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}
	addr := serveTLS(t, e, config, session.ServerOptions{})
	for _, version := range []int{1, 2} {
		tr := &http.Transport{
			TLSClientConfig: clientConfig(origin).Config, Protocols: new(http.Protocols),
		}
		tr.Protocols.SetHTTP1(version == 1)
		tr.Protocols.SetHTTP2(version == 2)
		client := &http.Client{Transport: tr, Timeout: testutil.Patience}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				want := strings.Repeat("z", i*i*500)
				r, err := client.Post("https://"+addr+fmt.Sprint("/", i), "", strings.NewReader(want))
				if err != nil {
					t.Error(err)
					return
				}
				defer r.Body.Close()
				if got, err := io.ReadAll(r.Body); err != nil || string(got) != want || r.ProtoMajor != version {
					t.Errorf("%v: %d of %d bytes, %s", err, len(got), len(want), r.Proto)
				}
			})
		}
		wg.Wait()
		tr.CloseIdleConnections()
	}
}

// finish waits for a call.
func (c *caller) wait(t *testing.T) {
	t.Helper()
	select {
	case err := <-c.done:
		testutil.Must(t, err)
	case <-time.After(testutil.Patience):
		t.Fatal("no answer")
	}
}

func TestMux_overTLSWithNetHTTP(t *testing.T) {
	origin := tlsOrigin(t, true)
	e := startEngine(t)
	hs := tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{Timeout: testutil.Patience})
	to := poller.Addr{IP: netip.MustParseAddrPort(origin.Listener.Addr().String())}
	r := e.Reactors()[0]
	o := &muxOwner{gone: make(chan error, 1)}
	r.Post(&engine.Task{Run: func(r *engine.Reactor) {
		o.mux.Init(o, &o.head, &o.opts)
		if err := o.mux.DialTLS(r, to, nil, hs, clientConfig(origin, "h2")); err != nil {
			t.Error(err)
		}
	}})
	var calls []*caller
	for i := range 20 {
		calls = append(calls, o.call(r, fmt.Sprint("/", i), strings.Repeat("t", i*1000)))
	}
	for i, c := range calls {
		if c.wait(t); c.head != fmt.Sprint("HTTP/2.0 /", i) || len(c.got) != i*1000 {
			t.Errorf("%d: %q, %d bytes", i, c.head, len(c.got))
		}
	}
}

// An origin that does not agree upon HTTP/2 is one that cannot be connected to.
func TestMux_overTLSWithoutH2(t *testing.T) {
	origin := tlsOrigin(t, false)
	e := startEngine(t)
	hs := tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{Timeout: testutil.Patience})
	to := poller.Addr{IP: netip.MustParseAddrPort(origin.Listener.Addr().String())}
	r := e.Reactors()[0]
	o := &muxOwner{gone: make(chan error, 1)}
	c := &caller{done: make(chan error, 1)}
	r.Post(&engine.Task{Run: func(r *engine.Reactor) {
		o.mux.Init(o, &o.head, &o.opts)
		if err := o.mux.DialTLS(r, to, nil, hs, clientConfig(origin, "h2")); err != nil {
			t.Error(err)
		}
		o.ask(c, "/", "") // before the connection can be gone
	}})
	select {
	case err := <-c.done:
		if err == nil || !strings.HasPrefix(err.Error(), session.ConnectFailed.String()) {
			t.Fatal(err)
		}
	case <-time.After(testutil.Patience):
		t.Fatal("no answer")
	}
	if <-o.gone == nil {
		t.Fatal("no cause")
	}
}

// prober attaches what a Probe finds to a Mux or to a Client, and sends a request.
type prober struct {
	muxOwner
	probe  session.Probe
	client session.Client
	copts  session.ClientOptions
	c      *caller
	h2     bool
}

func (p *prober) OnIdle(*session.Client)                 {}
func (p *prober) OnGone(*session.Client, error)          {}
func (p *prober) OnFailed(_ *session.Probe, cause error) { p.c.done <- cause }
func (p *prober) OnAgreed(_ *session.Probe, isH2 bool) {
	p.h2 = isH2
	var s session.Stream
	if isH2 {
		p.mux.Init(&p.muxOwner, &p.head, &p.opts)
		p.mux.Attach(&p.probe)
		s = p.mux.Open(p.c)
	} else {
		p.client.Init(p, &p.head, &p.copts)
		p.client.Attach(&p.probe)
		s = p.client.Open(p.c)
	}
	h := message.Head{Length: 2, Proto: message.HTTP11}
	h.SetMethod("POST")
	h.SetTarget("/probed")
	h.SetAuthority("h")
	p.c.held, p.c.body.ended = []byte("hi"), true
	if err := s.SendHead(&h, false); err != nil {
		p.c.done <- err
		return
	}
	p.c.send(s)
}

func TestProbe_findsOutTheVersion(t *testing.T) {
	for _, withH2 := range []bool{false, true} {
		origin := tlsOrigin(t, withH2)
		e := startEngine(t)
		hs := tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{Timeout: testutil.Patience})
		to := poller.Addr{IP: netip.MustParseAddrPort(origin.Listener.Addr().String())}
		p := &prober{muxOwner: muxOwner{gone: make(chan error, 1)}, c: &caller{done: make(chan error, 1)}}
		e.Reactors()[0].Post(&engine.Task{Run: func(r *engine.Reactor) {
			p.probe.Init(p)
			if err := p.probe.Dial(r, to, nil, hs, clientConfig(origin, "h2", "http/1.1")); err != nil {
				t.Error(err)
			}
		}})
		p.c.wait(t)
		want := map[bool]string{false: "HTTP/1.1 /probed", true: "HTTP/2.0 /probed"}[withH2]
		if p.h2 != withH2 || p.c.head != want || string(p.c.got) != "hi" {
			t.Errorf("%v: %v %q %q", withH2, p.h2, p.c.head, p.c.got)
		}
	}
}

// idleClient is where the memory test tells its other process to connect to.
const idleClient = "EDGE_TEST_IDLE_CLIENT"

// idleConns is how many connections that opens.
const idleConns = 100

// TestMain is, in the other process of the memory test, its client: many connections that have served and are idle.
func TestMain(m *testing.M) {
	addr := os.Getenv(idleClient)
	if addr == "" {
		os.Exit(m.Run())
	}
	hello := frame(frame([]byte(preface), frameSettings, 0, 0, ""), frameSettings, flagAck, 0, "")
	hello = append(hello, ask(1, true, blockGet)...)
	var open []net.Conn
	for range idleConns {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		open = append(open, c)
		if _, err := c.Write(hello); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for got := []byte(nil); !bytes.Contains(got, []byte("\x00\x00\x00\x01\x88")); { // HEADERS of 1: 200
			b := make([]byte, 4096)
			n, err := c.Read(b)
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			got = append(got, b[:n]...)
		}
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test is through
	runtime.KeepAlive(open)
}

// An idle HTTP/2 connection over TLS, after an exchange: below 16 KiB, of which crypto/tls holds the most.
func TestServer_memoryOfAnIdleTLSConnection(t *testing.T) {
	origin := tlsOrigin(t, true) // for its certificate
	e := startEngine(t)
	config := &tls.Config{Certificates: origin.TLS.Certificates, NextProtos: []string{"h2"}}
	addr := serveTLS(t, e, config, session.ServerOptions{IdleTimeout: time.Hour})
	connect := func() {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), idleClient+"="+addr)
		in, err := cmd.StdinPipe()
		testutil.Must(t, err)
		out, err := cmd.StdoutPipe()
		testutil.Must(t, err)
		testutil.Must(t, cmd.Start())
		t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
			t.Fatalf("%q %v", line, err)
		}
	}
	connect() // what the first ones bring along is not theirs
	before := testutil.Heap()
	connect()
	each := (testutil.Heap() - before) / idleConns
	t.Logf("%d bytes", each)
	if each > 16<<10 || e.Conns() != 2*idleConns {
		t.Errorf("%d connections, an idle one holds %d bytes", e.Conns(), each)
	}
}
