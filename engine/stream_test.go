package engine_test

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
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/poller"
)

// streamListener is a net.Listener of what an engine accepts.
type streamListener struct {
	engine *engine.Listener
	conns  chan net.Conn
	once   sync.Once
	done   chan struct{}
}

func listenStreams(t testing.TB, e *engine.Engine, a poller.Addr) *streamListener {
	l := &streamListener{conns: make(chan net.Conn, 128), done: make(chan struct{})}
	l.engine = serve(t, e, engine.ListenOptions{Addr: a}, func(c *engine.Conn) engine.Handler {
		return &script{onOpen: func(c *engine.Conn) { l.conns <- engine.NewStream(c) }}
	})
	return l
}

func (l *streamListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *streamListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *streamListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.engine.Addr().IP) }

// streamPair returns a Stream and the client at its other end.
func streamPair(t testing.TB) (*engine.Stream, net.Conn) {
	e := start(t, engine.Options{Reactors: 1})
	l := listenStreams(t, e, loopback)
	client := dialNet(t, l.engine.Addr())
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*engine.Stream), client
}

func TestStream_carriesMoreThanItHoldsBothWaysAtOnce(t *testing.T) {
	for _, a := range []poller.Addr{loopback, {Path: testutil.SocketPath(t)}} {
		e := start(t, engine.Options{Reactors: 1, SendLow: 4096})
		l := listenStreams(t, e, a)
		client := dialNet(t, l.engine.Addr())
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

func TestStream_readDeadline(t *testing.T) {
	s, client := streamPair(t)
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
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
}

func TestStream_writeDeadlineAndBackPressure(t *testing.T) {
	s, client := streamPair(t)
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

func TestStream_closeEndsWhatWaits(t *testing.T) {
	s, _ := streamPair(t)
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
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
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

func TestStream_peerThatTakesNothingDoesNotKeepAClosedOneForEver(t *testing.T) {
	e := start(t, engine.Options{Reactors: 1, SendTimeout: 20 * time.Millisecond})
	l := listenStreams(t, e, loopback)
	dialNet(t, l.engine.Addr())
	s, _ := l.Accept()
	s.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	for err := error(nil); err == nil; {
		_, err = s.Write(make([]byte, 1<<20))
	}
	s.Close()
	testutil.Eventually(t, testutil.Patience, func() bool { return l.engine.Conns() == 0 })
}

func TestStream_endings(t *testing.T) {
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
		l := listenStreams(t, e, loopback)
		client := dialNet(t, l.engine.Addr())
		s, _ := l.Accept()
		client.Write([]byte("last words"))
		got := make([]byte, 10)
		if _, err := io.ReadFull(s, got); err != nil {
			t.Fatal(err)
		}
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

func TestStream_getsWhatTheHandlerBeforeItLeft(t *testing.T) {
	e := start(t, engine.Options{Reactors: 1})
	streams := make(chan *engine.Stream, 1)
	l := serve(t, e, engine.ListenOptions{}, func(*engine.Conn) engine.Handler {
		return &script{onData: func(c *engine.Conn, in []byte) int {
			streams <- engine.NewStream(c)
			return bytes.IndexByte(in, '\n') + 1
		}}
	})
	w := testutil.Dial(t, l.Addr().String())
	w.Send("hello\nfor the stream")
	w.CloseWrite()
	if got, err := io.ReadAll(<-streams); err != nil || string(got) != "for the stream" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestStream_ofADial(t *testing.T) {
	e := start(t, engine.Options{Reactors: 1})
	l := serve(t, e, engine.ListenOptions{}, echoes)
	r := e.Reactors()[0]
	for _, to := range []poller.Addr{l.Addr(), {IP: netip.MustParseAddrPort(testutil.FreeAddr(t))}} {
		var s *engine.Stream
		do(r, func() {
			c, err := r.Dial(to, &script{}, nil)
			if err != nil {
				t.Error(err)
				return
			}
			s = engine.NewStream(c)
		})
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

func TestStream_concurrentWritesDoNotMix(t *testing.T) {
	s, client := streamPair(t)
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
		if _, err := io.ReadFull(client, p); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, bytes.Repeat(p[:1], size)) {
			t.Fatal("two writes are mixed")
		}
	}
}

func TestStream_servesNetHTTP(t *testing.T) {
	e := start(t, engine.Options{Reactors: 2})
	l := listenStreams(t, e, loopback)
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
	conn := dialNet(t, l.engine.Addr())
	in := bufio.NewReader(conn)
	ask := func(method, path string, body io.Reader) *http.Response {
		r, err := http.NewRequest(method, "http://"+l.Addr().String()+path, body)
		if err == nil {
			err = r.Write(conn)
		}
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(in, r)
		if err != nil {
			t.Fatal(err)
		}
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

func TestStream_warmCallsAllocateNothing(t *testing.T) {
	s, client := streamPair(t)
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

func TestStream_holdsNoBufferWhileIdle(t *testing.T) {
	s, client := streamPair(t)
	p := make([]byte, 100<<10)
	go client.Write(make([]byte, len(p)))
	if _, err := io.ReadFull(s, p); err != nil {
		t.Fatal(err)
	}
	go s.Write(make([]byte, len(p)))
	if _, err := io.ReadFull(client, p); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return engine.StreamIdle(s) })
}
