package engine_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// filing sends a head, and then a part of a file.
type filing struct {
	engine.NopHandler
	head     string
	file     poller.File
	at, left int
	inTask   bool // it sends outside of its turn
	calls    int
	refused  bool
	closed   chan error
}

func (h *filing) OnOpen(c *engine.Conn) {
	_ = c.Write([]byte(h.head))
	h.OnSendable(c)
}

func (h *filing) OnSendable(c *engine.Conn) {
	if h.inTask {
		c.Reactor().Defer(&engine.Task{Run: func(*engine.Reactor) { h.send(c) }})
	} else {
		h.send(c)
	}
}

func (h *filing) send(c *engine.Conn) {
	n, ok := engine.SendFile(c, h.file, int64(h.at), h.left)
	h.calls, h.at, h.left = h.calls+1, h.at+n, h.left-n
	if h.refused = h.refused || !ok; !ok || h.left == 0 {
		c.Close(nil)
	}
}

func (h *filing) OnClose(_ *engine.Conn, cause error) { h.closed <- cause }

// newFile returns a file in memory and what it has.
func newFile(t *testing.T, n int) (poller.File, []byte) {
	t.Helper()
	f, err := poller.NewFile("test", false)
	testutil.Must(t, err)
	t.Cleanup(f.Close)
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(p)
	_, err = f.WriteAt(p, 0)
	testutil.Must(t, err)
	return f, p
}

// SendFile sends what is queued, then the bytes of the file, in turns, as the peer takes them.
func TestSendFile(t *testing.T) {
	const size, at = 8<<20 + 5, 3
	file, want := newFile(t, size)
	for i, head := range []string{"", "head\r\n", "head\r\n", string(make([]byte, 60<<10))} {
		h := &filing{head: head, file: file, at: at, left: size - at, inTask: i%2 == 1, closed: make(chan error, 1)}
		e := start(t, engine.Options{Reactors: 1})
		l := serve(t, e, engine.ListenOptions{}, func(*engine.Conn) engine.Handler { return h })
		c, err := net.Dial("tcp", l.Addr().String())
		testutil.Must(t, err)
		if !h.inTask { // else it takes all at once, and no event of its socket has the reactor go on
			_ = c.(*net.TCPConn).SetReadBuffer(32 << 10)
		}
		_ = c.SetDeadline(time.Now().Add(testutil.Patience))
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, append([]byte(head), want[at:]...)) {
			t.Errorf("a head of %d bytes: %d bytes, %v", len(head), len(got), err)
		}
		_ = c.Close()
		if err := <-h.closed; err != nil || h.refused || h.calls < 8 {
			t.Errorf("a head of %d bytes: closed by %v, refused: %v, %d calls", len(head), err, h.refused, h.calls)
		}
	}
}

// A file that has ended before its time is no end of what was promised: the connection breaks.
func TestSendFile_endsTooEarly(t *testing.T) {
	file, _ := newFile(t, 100)
	h := &filing{file: file, left: 200, closed: make(chan error, 1)}
	e := start(t, engine.Options{Reactors: 1})
	l := serve(t, e, engine.ListenOptions{}, func(*engine.Conn) engine.Handler { return h })
	c, err := net.Dial("tcp", l.Addr().String())
	testutil.Must(t, err)
	defer c.Close()
	if err := <-h.closed; err != io.ErrUnexpectedEOF {
		t.Errorf("closed by %v", err)
	}
}

// A peer that resets the connection amid a file ends it, and nothing is left to do.
func TestSendFile_peerLeaves(t *testing.T) {
	file, _ := newFile(t, 8<<20)
	h := &filing{file: file, left: 8 << 20, closed: make(chan error, 1)}
	e := start(t, engine.Options{Reactors: 1})
	l := serve(t, e, engine.ListenOptions{}, func(*engine.Conn) engine.Handler { return h })
	c, err := net.Dial("tcp", l.Addr().String())
	testutil.Must(t, err)
	_, err = io.ReadFull(c, make([]byte, 10))
	testutil.Must(t, err)
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	if <-h.closed; h.left == 0 {
		t.Error("all was sent")
	}
}

// A system that refuses the call is not asked again.
func TestSendFile_isRefused(t *testing.T) {
	file, _ := newFile(t, 100)
	h := &filing{file: file, left: 100, closed: make(chan error, 2)}
	g := newRig(t, engine.Options{}) // its kernel has no such call
	if g.open(h); !h.refused {
		t.Error("it was sent")
	}
}
