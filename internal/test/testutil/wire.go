package testutil

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Wire is one raw connection of a test: it sends and expects bytes, literally. Every call has
// Patience and fails the test beyond it. Owned by the test's goroutine.
//
//	w := testutil.Dial(t, addr)
//	w.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
//	w.Want("HTTP/1.1 200 OK\r\n")
type Wire struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// Dial connects to a TCP address, or to a Unix socket when addr holds a slash. The receive buffer does not grow.
func Dial(t testing.TB, addr string) *Wire {
	t.Helper()
	network := "tcp"
	if strings.Contains(addr, "/") {
		network = "unix"
	}
	conn, err := (&net.Dialer{Timeout: Patience, Control: fixBuffer}).Dial(network, addr)
	Must(t, err)
	return NewWire(t, conn)
}

// Accept takes the next connection of l: the other side of a script.
func Accept(t testing.TB, l net.Listener) *Wire {
	t.Helper()
	if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
		Must(t, d.SetDeadline(time.Now().Add(Patience)))
	}
	conn, err := l.Accept()
	Must(t, err)
	return NewWire(t, conn)
}

// NewWire takes over conn and closes it when the test ends.
func NewWire(t testing.TB, conn net.Conn) *Wire {
	t.Cleanup(func() { conn.Close() })
	return &Wire{t: t, conn: conn, in: bufio.NewReader(conn)}
}

// Send writes the parts, each by a write of its own, so that a test chooses where bytes are cut.
func (w *Wire) Send(parts ...string) {
	w.t.Helper()
	w.extend()
	for _, p := range parts {
		if _, err := io.WriteString(w.conn, p); err != nil {
			w.t.Fatalf("send %q: %v", brief(p), err)
		}
	}
}

// Want reads as many bytes as want has and fails unless they are equal.
func (w *Wire) Want(want string) {
	w.t.Helper()
	w.extend()
	got := make([]byte, len(want))
	n, err := io.ReadFull(w.in, got)
	if string(got[:n]) != want {
		w.t.Fatalf("received %q, want %q (%v)", brief(got[:n]), brief(want), err)
	}
}

// WantEnd fails unless the peer has ended its side and nothing was left to read.
func (w *Wire) WantEnd() {
	w.t.Helper()
	if got := w.ReadAll(); got != "" {
		w.t.Fatalf("received %q, want the end", brief(got))
	}
}

// WantReset fails unless the peer has cut the connection with a reset.
func (w *Wire) WantReset() {
	w.t.Helper()
	w.extend()
	got, err := io.ReadAll(w.in)
	if !errors.Is(err, syscall.ECONNRESET) {
		w.t.Fatalf("received %q and %v, want a reset", brief(got), err)
	}
}

// ReadUntil reads up to and with the first occurrence of end.
func (w *Wire) ReadUntil(end string) string {
	w.t.Helper()
	w.extend()
	var got strings.Builder
	for !strings.HasSuffix(got.String(), end) {
		b, err := w.in.ReadByte()
		if err != nil {
			w.t.Fatalf("received %q, no %q: %v", brief(got.String()), end, err)
		}
		got.WriteByte(b)
	}
	return got.String()
}

// ReadHead reads a head up to and with its empty line.
func (w *Wire) ReadHead() string {
	w.t.Helper()
	return w.ReadUntil("\r\n\r\n")
}

// ReadAll reads until the peer ends its side.
func (w *Wire) ReadAll() string {
	w.t.Helper()
	w.extend()
	got, err := io.ReadAll(w.in)
	if err != nil {
		w.t.Fatalf("received %q, then %v", brief(got), err)
	}
	return string(got)
}

// ReadResponse reads one response to a request of the given method, body included, with the
// parser of net/http. The body that it returns with is the whole one.
func (w *Wire) ReadResponse(method string) (*http.Response, string) {
	w.t.Helper()
	w.extend()
	resp, err := http.ReadResponse(w.in, &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("response: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("response %s: body %q, then %v", resp.Status, brief(body), err)
	}
	return resp, string(body)
}

// CloseWrite sends FIN; reading goes on.
func (w *Wire) CloseWrite() {
	w.t.Helper()
	half, ok := w.conn.(interface{ CloseWrite() error })
	if !ok {
		w.t.Fatalf("%T has no half close", w.conn)
	}
	Must(w.t, half.CloseWrite())
}

// Close closes the connection in the ordinary way.
func (w *Wire) Close() { w.conn.Close() }

// Reset cuts the connection: a TCP peer gets a RST.
func (w *Wire) Reset() {
	if tcp, ok := w.conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) // with a zero linger close(2) sends RST instead of FIN
	}
	w.conn.Close()
}

// Conn returns the connection below, still owned by w. Bytes that w has read ahead are not in it.
func (w *Wire) Conn() net.Conn { return w.conn }

func (w *Wire) extend() {
	w.t.Helper()
	Must(w.t, w.conn.SetDeadline(time.Now().Add(Patience)))
}

// brief is b, or its two ends where it is long: to quote megabytes takes longer than the tests do.
func brief[B []byte | string](b B) string {
	const end = 1 << 10
	if len(b) <= 2*end {
		return string(b)
	}
	return fmt.Sprintf("%s … %d bytes … %s", string(b[:end]), len(b)-2*end, string(b[len(b)-end:]))
}
