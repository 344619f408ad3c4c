package warm

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// RigH2 is a proxy with a client that speaks HTTP/2 and an origin that speaks HTTP/1. The client asks on several
// streams at once; its bytes were made before, so that only the proxy works while it is measured.
type RigH2 struct {
	*Rig
	Streams int // asked on at once
	Got     int // bytes of the last answers, heads and all

	batches [][]byte // what the client will send, encrypted or not
	origins
}

// NewH2 makes a RigH2 for a number of batches of requests that come by on; config makes it TLS, with a certificate for
// localhost.
func NewH2(t testing.TB, on *proxy.Listener, streams, batches int, config *tls.Config) *RigH2 {
	t.Helper()
	h := &RigH2{Rig: new(Rig), Streams: streams}
	e, service := h.build(t, on, all(nil))
	accept := session.NewServer(e, service, session.ServerOptions{H2C: true}).Accept
	if config != nil {
		accept = tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{}).Server(
			tlsconn.ServerOptions{Config: config}, accept)
	}
	h.listen(t, e, accept)
	h.Loop.OnConnect = h.connected
	first := appendFrame([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frameSettings, 0, 0)
	first = appendFrame(first, frameSettings, flagAck, 0)
	id := uint32(1)
	for range batches + exchanges {
		b := first
		first = nil
		for range streams {
			b = appendFrame(b, frameHeaders, flagEnd|flagEndHeaders, id, block...)
			id += 2
		}
		credit := binary.BigEndian.AppendUint32(nil, uint32(streams*len(body)))
		h.batches = append(h.batches, appendFrame(b, frameWindow, 0, 0, credit...))
	}
	if config != nil {
		h.encrypt(t)
	}
	h.Loop.Pump = func() { h.answer(h.Loop) }
	h.Loop.Sock(h.down).Sent = make([]byte, 0, 64<<10)
	for range exchanges {
		h.Exchange()
	}
	return h
}

// The constants of HTTP/2 that the client needs.
const (
	frameHeaders, frameSettings, frameWindow = 1, 4, 8
	flagEnd, flagAck, flagEndHeaders         = 1, 1, 4
)

// block asks for / at localhost: three entries of the static table, and a literal without indexing.
var block = append([]byte{0x82, 0x84, 0x86, 0x01, 9}, "localhost"...)

func appendFrame(dst []byte, kind, flags byte, id uint32, payload ...byte) []byte {
	n := len(payload)
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	return append(binary.BigEndian.AppendUint32(dst, id), payload...)
}

// ticksMax is more than any batch takes.
const ticksMax = 10000

// Exchange sends the next batch and runs the reactor until the client has its answers.
func (h *RigH2) Exchange() {
	h.Trips += h.Streams
	h.Loop.Inject(h.down, h.batches[0])
	h.batches = h.batches[1:]
	for ticks := 0; h.answered < h.Trips || h.reading(h.Loop); ticks++ {
		if h.reactor.Tick(); ticks > ticksMax {
			panic("warm: requests were not passed on")
		}
	}
	down := h.Loop.Sock(h.down)
	if h.Got = len(down.Sent); h.Got < h.Streams*len(body) {
		panic("warm: answers are missing")
	}
	down.Sent = down.Sent[:0]
}

// wire is the client's end of a connection for crypto/tls, in memory.
type wire struct {
	net.Conn // nil: methods that are not below are not called
	in, out  chan []byte
	rest     []byte
}

func (w *wire) Read(p []byte) (int, error) {
	if len(w.rest) == 0 {
		b, ok := <-w.in
		if !ok {
			return 0, io.EOF
		}
		w.rest = b
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

func (w *wire) Write(p []byte) (int, error) {
	w.out <- append([]byte(nil), p...)
	return len(p), nil
}

func (w *wire) SetDeadline(time.Time) error { return nil }

// encrypt shakes hands and makes records of the batches.
func (h *RigH2) encrypt(t testing.TB) {
	t.Helper()
	w := &wire{in: make(chan []byte, 16), out: make(chan []byte, 16)}
	defer close(w.in)
	c := tls.Client(w, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13})
	done := make(chan error, 1)
	go func() { done <- c.Handshake() }()
	down := h.Loop.Sock(h.down)
	move := func() {
		if down.Unread() == 0 {
			select {
			case b := <-w.out:
				h.Loop.Inject(h.down, b)
			default:
			}
		}
		if len(down.Sent) > 0 {
			w.in <- append([]byte(nil), down.Sent...)
			down.Sent = down.Sent[:0]
		}
		h.Loop.Wake() // or else time passes as far as the next deadline
		h.reactor.Tick()
		runtime.Gosched() // to the goroutines of the handshake
	}
	for shaken := false; !shaken || len(w.out) > 0 || down.Unread() > 0; {
		select {
		case err := <-done:
			testutil.Must(t, err)
			shaken = true
		default:
		}
		move()
	}
	for conn := false; !conn; { // the server's end is done when it speaks HTTP/2: its SETTINGS, and tickets before them
		move()
		conn = len(w.in) > 0
	}
	for i, b := range h.batches {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		h.batches[i] = <-w.out
	}
	down.Sent = down.Sent[:0]
}
