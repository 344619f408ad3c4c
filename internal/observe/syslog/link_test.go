package syslog

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.Main(m)) }

// clock is a time that a test sets.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time          { return at.Add(time.Duration(c.ns.Load())) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func writerOf(t testing.TB, o Options) (*Writer, *clock) {
	t.Helper()
	w, c := New(o), new(clock)
	w.now = c.now
	t.Cleanup(func() { _ = w.Close() })
	return w, c
}

// send writes records with these lines, and checks that the last lost of them count as lost.
func send(t *testing.T, w *Writer, lost int, lines ...string) error {
	t.Helper()
	p := frames(lines...)
	n, err := w.WriteRecords(p)
	if want := len(frames(lines[:len(lines)-lost]...)); n != want || (err != nil) != (lost > 0) {
		t.Fatalf("%d of %d bytes are taken, want %d: %v", n, len(p), want, err)
	}
	return err
}

// counted reads one message after its count.
func counted(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	n := 0
	if _, err := fmt.Fscanf(r, "%d ", &n); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func wantText(t *testing.T, got, text string) {
	t.Helper()
	if !strings.HasPrefix(got, "<") || !strings.HasSuffix(got, " "+text) {
		t.Errorf("%q, want a message with %q", got, text)
	}
}

func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	testutil.Must(t, err)
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(testutil.Patience))
	return c
}

func TestWriter_tcpCountsOctets(t *testing.T) {
	l := testutil.Listen(t)
	w, _ := writerOf(t, Options{Network: "tcp", Address: l.Addr().String()})
	long := strings.Repeat("ä", 32<<10)
	send(t, w, 0, "a", "b\nc", long)
	if n, err := w.Write([]byte("x\n\ny\n")); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	r := bufio.NewReader(accept(t, l))
	for _, want := range []string{"a", "b c", long, "x", "y"} {
		wantText(t, counted(t, r), want)
	}
}

func TestWriter_tls(t *testing.T) {
	a := testutil.NewAuthority(t)
	cert, key := a.Issue(t, nil, "127.0.0.1")
	other, otherKey := a.Issue(t, nil, "other.example")
	for name, tc := range map[string]struct {
		served tls.Certificate
		lost   int
	}{
		"its name":     {tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}, 0},
		"another name": {tls.Certificate{Certificate: [][]byte{other.Raw}, PrivateKey: otherKey}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := tls.NewListener(testutil.Listen(t), &tls.Config{Certificates: []tls.Certificate{tc.served}})
			w, c := writerOf(t, Options{Network: "tls", Address: l.Addr().String(),
				TLS: &tls.Config{RootCAs: a.Pool}})
			var served sync.WaitGroup
			served.Go(func() {
				conn, err := l.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				if conn.(*tls.Conn).Handshake() != nil {
					return
				}
				r := bufio.NewReader(conn)
				for _, want := range []string{"a", "b", "c"} { // tickets of TLS 1.3 do not look like its end
					wantText(t, counted(t, r), want)
				}
				if _, err := r.ReadByte(); err != io.EOF { // the goodbye of TLS came
					t.Error(err)
				}
			})
			if send(t, w, tc.lost, "a"); tc.lost == 0 {
				send(t, w, 0, "b")
				c.advance(time.Hour)
				send(t, w, 0, "c")
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			served.Wait()
		})
	}
}

func listenDatagrams(t *testing.T, network, address string) net.PacketConn {
	t.Helper()
	s, err := net.ListenPacket(network, address)
	testutil.Must(t, err)
	t.Cleanup(func() { s.Close() })
	_ = s.SetDeadline(time.Now().Add(testutil.Patience))
	return s
}

func datagram(t *testing.T, s net.PacketConn) string {
	t.Helper()
	p := make([]byte, 128<<10)
	n, _, err := s.ReadFrom(p)
	testutil.Must(t, err)
	return string(p[:n])
}

func TestWriter_datagramsAreCut(t *testing.T) {
	path := testutil.SocketPath(t)
	for network, s := range map[string]net.PacketConn{
		"udp": listenDatagrams(t, "udp", "127.0.0.1:0"), "unix": listenDatagrams(t, "unixgram", path),
	} {
		w, _ := writerOf(t, Options{Network: network, Address: s.LocalAddr().String(), MaxSize: 1500})
		send(t, w, 0, "a", strings.Repeat("€", 30<<10), "b")
		wantText(t, datagram(t, s), "a")
		if got := datagram(t, s); len(got) < 1498 || len(got) > 1500 || !strings.HasSuffix(got, "€€") {
			t.Errorf("%s: %d bytes: %q", network, len(got), got)
		}
		wantText(t, datagram(t, s), "b")
	}
}

// The answer that a datagram was refused comes to the next one. Each of them counts, and those go on that can.
func TestWriter_udpRefused(t *testing.T) {
	s := listenDatagrams(t, "udp", "127.0.0.1:0")
	address := s.LocalAddr().String()
	w, c := writerOf(t, Options{Network: "udp", Address: address})
	send(t, w, 0, "a")
	wantText(t, datagram(t, s), "a")
	s.Close()
	p := frames("b", "c", "d")
	n, err := w.WriteRecords(p) // all are lost, of which b and c are known
	if n != len(p)/3 || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("%d of %d: %v", n, len(p), err)
	}
	s = listenDatagrams(t, "udp", address)
	send(t, w, 1, "e")
	wantText(t, datagram(t, s), "e") // d is counted
	conn := w.conn
	send(t, w, 0, "f")
	if w.conn != conn {
		t.Error("the socket is made again at once")
	}
	c.advance(waitMax)
	if send(t, w, 0, "g"); w.conn == conn {
		t.Error("the name is not looked up again")
	}
}

func TestWriter_unixStream(t *testing.T) {
	l := testutil.ListenUnix(t)
	w, _ := writerOf(t, Options{Network: "unix", Address: l.Addr().String()})
	long := strings.Repeat("x", 64<<10)
	send(t, w, 0, "a", "b\nc", long)
	r := bufio.NewReader(accept(t, l))
	for _, want := range []string{"a", "b c", long} {
		line, err := r.ReadString('\n')
		testutil.Must(t, err)
		wantText(t, strings.TrimSuffix(line, "\n"), want)
	}
}

// A dead server is asked after 1, 2, 4 … 30 s; in between there is no wait and no attempt.
func TestWriter_comesBack(t *testing.T) {
	address := testutil.FreeAddr(t)
	w, c := writerOf(t, Options{Network: "tcp", Address: address})
	var last error
	for _, wait := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		err := send(t, w, 2, "a", "b")
		if !errors.Is(err, syscall.ECONNREFUSED) || err == last {
			t.Fatal(err)
		}
		last = err
		if c.advance(wait*time.Second - 1); send(t, w, 1, "c") != last {
			t.Fatalf("an attempt before %d s are over", wait)
		}
		c.advance(1)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	send(t, w, 0, "d")
	conn := accept(t, l)
	wantText(t, counted(t, bufio.NewReader(conn)), "d")
	// A server that starts again loses nothing but what it had taken.
	c.advance(waitMin)
	conn.Close()
	testutil.Eventually(t, testutil.Patience, func() bool { return w.peerClosed() }, "the end of the connection")
	send(t, w, 0, "e")
	wantText(t, counted(t, bufio.NewReader(accept(t, l))), "e")
}

// A server that takes connections and closes them is asked as seldom as a dead one.
func TestWriter_flappingServer(t *testing.T) {
	l := testutil.Listen(t)
	w, c := writerOf(t, Options{Network: "tcp", Address: l.Addr().String()})
	for _, wait := range []time.Duration{1, 2, 4} {
		send(t, w, 0, "a")
		accept(t, l).Close()
		testutil.Eventually(t, testutil.Patience, func() bool { return w.peerClosed() }, "the end of the connection")
		send(t, w, 1, "b")
		c.advance(wait*time.Second - 1)
		send(t, w, 1, "b")
		c.advance(1)
	}
}

// half is a connection that takes so many bytes and then fails.
type half struct {
	net.Conn
	left int
}

func (h *half) Write(p []byte) (int, error) {
	n := min(len(p), h.left)
	h.left -= n
	if n < len(p) {
		return n, syscall.EPIPE
	}
	return n, nil
}

// A message that an error cuts counts as lost, and nothing follows it.
func TestWriter_halfTaken(t *testing.T) {
	l := testutil.Listen(t)
	w, _ := writerOf(t, Options{Network: "tcp", Address: l.Addr().String()})
	size := 0
	for left, taken := range map[string]int{"two": 2, "two and a half": 2, "a byte": 0, "nothing": 0} {
		w.again = time.Time{}
		send(t, w, 0, "a")
		conn := accept(t, l)
		size = len(counted(t, bufio.NewReader(conn))) + len("77 ")
		bytes := map[string]int{"two": 2 * size, "two and a half": 5 * size / 2, "a byte": 1, "nothing": 0}[left]
		w.conn = &half{w.conn, bytes}
		send(t, w, 3-taken, "b", "c", "d")
		if w.conn != nil {
			t.Errorf("%s: the connection is used again", left)
		}
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
		send(t, w, 1, "e")
	}
}

// A server that takes connections and reads nothing costs a write its Timeout, and no more.
func TestWriter_silentServer(t *testing.T) {
	l := testutil.Listen(t)
	w, _ := writerOf(t, Options{Network: "tcp", Address: l.Addr().String(), Timeout: 20 * time.Millisecond})
	p := frames(strings.Repeat("x", 60<<10))
	for {
		n, err := w.WriteRecords(p)
		if err == nil {
			continue
		}
		if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || w.conn != nil {
			t.Fatal(n, err)
		}
		break
	}
	send(t, w, 1, "at once")
}

func TestWriter_handshakeIsNotAnswered(t *testing.T) {
	l := testutil.Listen(t)
	w, _ := writerOf(t, Options{Network: "tls", Address: l.Addr().String(), Timeout: 20 * time.Millisecond})
	if err := send(t, w, 1, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// Close ends a write that waits for room, and a write that waits for a connection.
func TestWriter_closeEndsWrite(t *testing.T) {
	for _, network := range []string{"tcp", "tls"} {
		l := testutil.Listen(t)
		w, _ := writerOf(t, Options{Network: network, Address: l.Addr().String(), Timeout: time.Hour})
		ended := make(chan error, 1)
		writes := new(atomic.Int64)
		go func() {
			p := frames(strings.Repeat("x", 60<<10))
			for {
				if _, err := w.WriteRecords(p); err != nil {
					ended <- err
					return
				}
				writes.Add(1)
			}
		}()
		accept(t, l)
		last := int64(-1)
		testutil.Eventually(t, testutil.Patience, func() bool { // as far as that can be seen: it waits
			n := writes.Load()
			same := n == last
			last = n
			return same
		}, "a write that waits")
		_ = w.Close()
		select {
		case err := <-ended:
			if !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		case <-time.After(testutil.Patience):
			t.Fatal("the write waits")
		}
		if _, err := w.Write([]byte("a\n")); err != net.ErrClosed {
			t.Error(err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWriter_malformedFrame(t *testing.T) {
	l := testutil.Listen(t)
	w, _ := writerOf(t, Options{Network: "tcp", Address: l.Addr().String()})
	good := frames("a")
	for _, bad := range [][]byte{{1}, {9, 0, 0, 0, 1}, {1, 0, 0, 0, 1}} {
		n, err := w.WriteRecords(append(good[:len(good):len(good)], bad...))
		if n != len(good) || err != observe.ErrFrame {
			t.Error(n, err)
		}
	}
	if w.conn == nil {
		t.Error("the connection is closed")
	}
	r := bufio.NewReader(accept(t, l))
	for range 3 {
		wantText(t, counted(t, r), "a")
	}
}

// A Sink counts what is lost, to the one.
func TestWriter_sinkCounts(t *testing.T) {
	w, _ := writerOf(t, Options{Network: "tcp", Address: testutil.FreeAddr(t)})
	s, err := observe.Open(observe.Options{Records: w})
	testutil.Must(t, err)
	log := s.AccessLog(observe.FormatJSON)
	for range 10 {
		log.Append(recordOf(200, "", ""))
	}
	_ = s.Close()
	if st := s.Stats(); st.Lost != 10 || st.Bytes != 0 || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
}

func discard(t testing.TB) string {
	return testutil.Serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }).Addr().String()
}

func TestWriter_allocatesNothing(t *testing.T) {
	s := listenDatagrams(t, "udp", "127.0.0.1:0")
	for network, address := range map[string]string{"tcp": discard(t), "udp": s.LocalAddr().String()} {
		o := Options{Network: network, Address: address}
		w, _ := writerOf(t, o)
		p := frames("a", "b", "c")
		line := []byte(`{"time":"2026-02-03T04:05:06.5Z","level":"WARN","msg":"a"}` + "\n")
		if n := testutil.Allocs(200, func() {
			if _, err := w.WriteRecords(p); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(line); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", o.Network, n)
		}
	}
}

func BenchmarkWriter_records(b *testing.B) {
	r := recordOf(200, "", "")
	r.Host, r.Path = []byte("shop.example.com"), []byte("/a/b/c")
	r.UserAgent = []byte(strings.Repeat("Mozilla/5.0 ", 9))
	var p []byte
	const batch = 100
	for range batch {
		p = observe.AppendRecord(p, r)
	}
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	testutil.Must(b, err)
	defer s.Close()
	for network, address := range map[string]string{"tcp": discard(b), "udp": s.LocalAddr().String()} {
		o := Options{Network: network, Address: address}
		b.Run(o.Network, func(b *testing.B) {
			w, _ := writerOf(b, o)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.WriteRecords(p); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/message")
		})
	}
}
