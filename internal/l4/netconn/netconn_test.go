package netconn_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/l4/netconn"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

var loopback = poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}

// start runs an engine that ends with the test.
func start(t testing.TB, o engine.Options) *engine.Engine {
	t.Helper()
	e, err := engine.New(o)
	testutil.Must(t, err)
	e.Start()
	t.Cleanup(e.Stop)
	return e
}

// serve listens on a; each connection has a handler that does what onOpen and onData say.
func serve(t testing.TB, e *engine.Engine, a poller.Addr, h handler) *engine.Listener {
	t.Helper()
	l, err := e.Listen(engine.ListenOptions{Addr: a}, func(*engine.Conn) engine.Handler { return &h })
	testutil.Must(t, err)
	return l
}

type handler struct {
	engine.NopHandler
	onOpen func(c *engine.Conn)
	onData func(c *engine.Conn, in []byte) int
}

func (h *handler) OnOpen(c *engine.Conn) {
	if h.onOpen != nil {
		h.onOpen(c)
	}
}

func (h *handler) OnData(c *engine.Conn, in []byte) int { return h.onData(c, in) }

func dial(t testing.TB, a poller.Addr) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(a.Net().Network(), a.Net().String(), testutil.Patience)
	testutil.Must(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testutil.Patience))
	return c
}

// listener is a net.Listener of what an engine accepts.
type listener struct {
	engine *engine.Listener
	conns  chan net.Conn
	once   sync.Once
	done   chan struct{}
}

func listen(t testing.TB, e *engine.Engine, a poller.Addr) *listener {
	l := &listener{conns: make(chan net.Conn, 128), done: make(chan struct{})}
	l.engine = serve(t, e, a, handler{onOpen: func(c *engine.Conn) { l.conns <- netconn.New(c) }})
	return l
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.engine.Addr().IP) }

// pair returns a Conn and the client at its other end.
func pair(t testing.TB) (*netconn.Conn, net.Conn) {
	e := start(t, engine.Options{Reactors: 1})
	l := listen(t, e, loopback)
	client := dial(t, l.engine.Addr())
	c, err := l.Accept()
	testutil.Must(t, err)
	return c.(*netconn.Conn), client
}

func TestConn_carriesMoreThanItHoldsBothWaysAtOnce(t *testing.T) {
	for _, a := range []poller.Addr{loopback, {Path: testutil.SocketPath(t)}} {
		e := start(t, engine.Options{Reactors: 1, SendLow: 4096})
		l := listen(t, e, a)
		client := dial(t, l.engine.Addr())
		s, _ := l.Accept()
		up, down := make([]byte, 5<<20), make([]byte, 5<<20)
		rand.Read(up)
		rand.Read(down)
		var wait sync.WaitGroup
		for _, way := range []struct {
			from, to net.Conn
			p        []byte
		}{{client, s, up}, {s, client, down}} {
			wait.Go(func() {
				for p := way.p; len(p) > 0; {
					n := min(len(p), 1+len(p)%70000)
					if m, err := way.from.Write(p[:n]); m != n || err != nil {
						t.Errorf("write: %d of %d, %v", m, n, err)
						return
					}
					p = p[n:]
				}
				way.from.(interface{ CloseWrite() error }).CloseWrite()
			})
			wait.Go(func() {
				if got, err := io.ReadAll(way.to); err != nil || !bytes.Equal(got, way.p) {
					t.Errorf("read %d of %d: %v", len(got), len(way.p), err)
				}
			})
		}
		wait.Wait()
		if s.LocalAddr().String() != client.RemoteAddr().String() || s.RemoteAddr() == nil {
			t.Errorf("local %v, remote %v", s.LocalAddr(), s.RemoteAddr())
		}
		if _, err := s.Write([]byte("x")); err != syscall.EPIPE {
			t.Errorf("write after CloseWrite: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestConn_readDeadline(t *testing.T) {
	s, client := pair(t)
	p := make([]byte, 10)
	wantTimeout := func(err error) {
		t.Helper()
		var ne net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
			t.Fatalf("%v, want a timeout", err)
		}
	}
	s.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	_, err := s.Read(p)
	wantTimeout(err)
	_, err = s.Read(p)
	wantTimeout(err)
	client.Write([]byte("hi"))
	s.SetReadDeadline(time.Time{})
	if n, err := s.Read(p); err != nil || n == 0 {
		t.Fatalf("after the deadline was lifted: %d, %v", n, err)
	}
	// A deadline that has passed ends a read that waits already.
	waiting := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(s, p)
		waiting <- err
	}()
	s.SetReadDeadline(time.Unix(1, 0))
	wantTimeout(<-waiting)
	// Moved later, the earlier one counts no more.
	s.SetReadDeadline(time.Now().Add(time.Millisecond))
	s.SetReadDeadline(time.Now().Add(time.Hour))
	go func() {
		_, err := io.ReadFull(s, p)
		waiting <- err
	}()
	client.Write(make([]byte, 10))
	testutil.Must(t, <-waiting)
}

func TestConn_writeDeadlineAndBackPressure(t *testing.T) {
	s, client := pair(t)
	s.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	sent := 0
	var err error
	for err == nil {
		var n int
		n, err = s.Write(make([]byte, 1<<20))
		sent += n
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	s.SetWriteDeadline(time.Time{})
	s.Close() // what was taken over leaves all the same
	got, err := io.ReadAll(client)
	if err != nil || len(got) != sent {
		t.Fatalf("%d of %d bytes arrived: %v", len(got), sent, err)
	}
}

func TestConn_closeEndsWhatWaits(t *testing.T) {
	s, _ := pair(t)
	ended := make(chan error, 2)
	go func() {
		_, err := s.Read(make([]byte, 1))
		ended <- err
	}()
	go func() {
		var err error
		for err == nil {
			_, err = s.Write(make([]byte, 1<<20))
		}
		ended <- err
	}()
	testutil.Must(t, s.Close())
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("pending: %v", err)
		}
	}
	_, readErr := s.Read(make([]byte, 1))
	_, writeErr := s.Write([]byte("x"))
	for _, err := range []error{readErr, writeErr, s.Close(), s.CloseWrite(), s.SetDeadline(time.Now())} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("after close: %v", err)
		}
	}
}

func TestConn_peerThatTakesNothingDoesNotKeepAClosedOneForEver(t *testing.T) {
	e := start(t, engine.Options{Reactors: 1, SendTimeout: 20 * time.Millisecond})
	l := listen(t, e, loopback)
	dial(t, l.engine.Addr())
	s, _ := l.Accept()
	s.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	for err := error(nil); err == nil; {
		_, err = s.Write(make([]byte, 1<<20))
	}
	s.Close()
	testutil.Eventually(t, testutil.Patience, func() bool { return l.engine.Conns() == 0 })
}

func TestConn_endings(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(client net.Conn, e *engine.Engine)
		want error
	}{
		{"FIN", func(c net.Conn, _ *engine.Engine) { c.Close() }, nil},
		{"RST", func(c net.Conn, _ *engine.Engine) { c.(*net.TCPConn).SetLinger(0); c.Close() }, syscall.ECONNRESET},
		{"Stop", func(_ net.Conn, e *engine.Engine) { e.Stop() }, engine.ErrStopped},
	} {
		e := start(t, engine.Options{Reactors: 1})
		l := listen(t, e, loopback)
		client := dial(t, l.engine.Addr())
		s, _ := l.Accept()
		client.Write([]byte("last words"))
		got := make([]byte, 10)
		_, err := io.ReadFull(s, got)
		testutil.Must(t, err)
		tc.end(client, e)
		rest, err := io.ReadAll(s)
		if len(rest) != 0 || !errors.Is(err, tc.want) {
			t.Errorf("%s: %q, %v, want %v", tc.name, rest, err, tc.want)
		}
		if tc.want != nil {
			if _, err := s.Write([]byte("x")); !errors.Is(err, tc.want) {
				t.Errorf("%s: write: %v", tc.name, err)
			}
		}
	}
}

func TestConn_getsWhatTheHandlerBeforeItLeft(t *testing.T) {
	e := start(t, engine.Options{Reactors: 1})
	streams := make(chan *netconn.Conn, 1)
	l := serve(t, e, loopback, handler{onData: func(c *engine.Conn, in []byte) int {
		streams <- netconn.New(c)
		return bytes.IndexByte(in, '\n') + 1
	}})
	w := testutil.Dial(t, l.Addr().String())
	w.Send("hello\nfor the stream")
	w.CloseWrite()
	if got, err := io.ReadAll(<-streams); err != nil || string(got) != "for the stream" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestConn_ofADial(t *testing.T) {
	e := start(t, engine.Options{Reactors: 1})
	l := serve(t, e, loopback, handler{onData: func(c *engine.Conn, in []byte) int {
		c.Write(in)
		return len(in)
	}})
	r := e.Reactors()[0]
	for _, to := range []poller.Addr{l.Addr(), {IP: netip.MustParseAddrPort(testutil.FreeAddr(t))}} {
		var s *netconn.Conn
		done := make(chan struct{})
		r.Post(&engine.Task{Run: func(*engine.Reactor) {
			defer close(done)
			c, err := r.Dial(to, engine.NopHandler{}, nil)
			if err != nil {
				t.Error(err)
				return
			}
			s = netconn.New(c)
		}})
		<-done
		s.SetDeadline(time.Now().Add(testutil.Patience))
		s.Write([]byte("early"))
		got := make([]byte, 5)
		_, err := io.ReadFull(s, got)
		if to == l.Addr() {
			if err != nil || string(got) != "early" || !strings.HasPrefix(s.LocalAddr().String(), "127.0.0.1:") {
				t.Errorf("%q, %v, from %v", got, err, s.LocalAddr())
			}
		} else if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("refused: %v", err)
		}
		s.Close()
	}
}

func TestConn_concurrentWritesDoNotMix(t *testing.T) {
	s, client := pair(t)
	const writers, each, size = 8, 20, 50000
	for i := range writers {
		go func() {
			p := bytes.Repeat([]byte{byte('a' + i)}, size)
			for range each {
				s.Write(p)
			}
		}()
	}
	p := make([]byte, size)
	for range writers * each {
		_, err := io.ReadFull(client, p)
		testutil.Must(t, err)
		if !bytes.Equal(p, bytes.Repeat(p[:1], size)) {
			t.Fatal("two writes are mixed")
		}
	}
}

func TestConn_servesNetHTTP(t *testing.T) {
	e := start(t, engine.Options{Reactors: 2})
	l := listen(t, e, loopback)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sum", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v", n, err)
	})
	mux.HandleFunc("GET /large", func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 3<<20)) })
	mux.HandleFunc("GET /hijack", func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: upper\r\n\r\n")
		rw.Flush()
		line, _ := rw.ReadString('\n')
		io.WriteString(conn, strings.ToUpper(line))
	})
	server := &http.Server{Handler: mux, ReadTimeout: testutil.Patience, IdleTimeout: testutil.Patience}
	go server.Serve(l)
	defer server.Close()
	// One connection, by hand: whether a client of net/http keeps one depends on the time it has.
	conn := dial(t, l.engine.Addr())
	in := bufio.NewReader(conn)
	ask := func(method, path string, body io.Reader) *http.Response {
		r, err := http.NewRequest(method, "http://"+l.Addr().String()+path, body)
		if err == nil {
			err = r.Write(conn)
		}
		testutil.Must(t, err)
		resp, err := http.ReadResponse(in, r)
		testutil.Must(t, err)
		return resp
	}
	for range 5 {
		resp := ask("POST", "/sum", bytes.NewReader(make([]byte, 1<<20)))
		if body, _ := io.ReadAll(resp.Body); string(body) != "1048576 <nil>" {
			t.Fatalf("%q", body)
		}
	}
	if n, err := io.Copy(io.Discard, ask("GET", "/large", nil).Body); n != 3<<20 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	w := testutil.Dial(t, l.Addr().String())
	w.Send("GET /hijack HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: upper\r\n\r\nearly ", "and late\n")
	w.ReadHead()
	w.Want("EARLY AND LATE\n")
	w.WantEnd()
}

func TestConn_warmCallsAllocateNothing(t *testing.T) {
	s, client := pair(t)
	in, p := bufio.NewReader(client), make([]byte, 1000)
	round := func() {
		s.Write(p)
		io.ReadFull(in, p)
		client.Write(p)
		io.ReadFull(s, p)
	}
	round()
	if n := testutil.Allocs(200, round); n > 0 {
		t.Fatalf("%v allocations for a write and a read", n)
	}
}

func TestConn_holdsNoBufferWhileIdle(t *testing.T) {
	s, client := pair(t)
	p := make([]byte, 100<<10)
	go client.Write(make([]byte, len(p)))
	_, err := io.ReadFull(s, p)
	testutil.Must(t, err)
	go s.Write(make([]byte, len(p)))
	_, err = io.ReadFull(client, p)
	testutil.Must(t, err)
	testutil.Eventually(t, testutil.Patience, func() bool { return netconn.Idle(s) })
}

// A Conn that echoes, asked by a net.Conn. Beside it a net.Conn that echoes.
func BenchmarkConn_echo(b *testing.B) {
	serve := func(c net.Conn) {
		p := make([]byte, 4096)
		for {
			n, err := c.Read(p)
			if err != nil {
				return
			}
			c.Write(p[:n])
		}
	}
	ask := func(b *testing.B, c net.Conn) {
		p := make([]byte, 128)
		b.ReportAllocs()
		for b.Loop() {
			c.Write(p)
			if _, err := io.ReadFull(c, p); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("netconn", func(b *testing.B) {
		l := listen(b, start(b, engine.Options{Reactors: 1}), loopback)
		go func() {
			if c, err := l.Accept(); err == nil {
				serve(c)
			}
		}()
		ask(b, dial(b, l.engine.Addr()))
	})
	b.Run("net", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		go func() {
			if c, err := l.Accept(); err == nil {
				serve(c)
			}
		}()
		ask(b, dial(b, poller.Addr{IP: netip.MustParseAddrPort(l.Addr().String())}))
	})
}
