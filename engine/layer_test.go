package engine_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// mask is a Layer that a test can read: a record is a kind, two digits of length and the text in lower case, which is
// plaintext in upper case.
//
//	d data   e end   x error   r wants the reply "pong"
type mask struct{ reply []byte }

var errMask = errors.New("masked badly")

func (m *mask) Open(b []byte) (n, used int, reply []byte, err error) {
	for err == nil && len(b)-used >= 3 {
		size := 3 + int(b[used+1]-'0')*10 + int(b[used+2]-'0')
		if len(b)-used < size {
			break
		}
		kind, text := b[used], b[used+3:used+size]
		used += size
		switch kind {
		case 'd':
			n += copy(b[n:], strings.ToUpper(string(text)))
		case 'e':
			err = io.EOF
		case 'x':
			reply, err = []byte("alert"), errMask
		case 'r':
			reply = []byte("pong")
		}
	}
	return n, used, reply, err
}

func (m *mask) Seal(dst, p []byte) ([]byte, error) {
	dst = append(dst, '[')
	dst = append(dst, strings.ToLower(string(p))...)
	return append(dst, ']'), nil
}

func (m *mask) End(dst []byte) []byte { return append(dst, "[end]"...) }

// secured opens a connection with a mask and the handler h.
func (g *rig) secured(h *script) (*engine.Conn, func(wire string), func() string) {
	g.t.Helper()
	c, fd := g.open(&script{})
	g.on(func() { c.Wire().Secure(&mask{}, h, nil) })
	return c, func(s string) { g.inject(fd, s) }, func() string { return g.sent(fd) }
}

func TestLayer_opensAndSeals(t *testing.T) {
	g := newRig(t, engine.Options{})
	h := &script{}
	h.onData = func(c *engine.Conn, in []byte) int {
		c.Write([]byte("HEAD "))
		c.Write(in)
		return len(in)
	}
	_, wire, sent := g.secured(h)
	wire("d02hid05there")
	g.want(h.events(), "open data(HITHERE)")
	g.want(sent(), "[head hithere]") // one record for all of a tick
}

func TestLayer_partsOfRecords(t *testing.T) {
	g := newRig(t, engine.Options{})
	h := &script{}
	c, wire, _ := g.secured(h)
	wire("d02hid0")
	if c.Quiet() {
		t.Error("quiet with a part of a record")
	}
	wire("5th")
	wire("ere")
	g.want(h.events(), "open data(HI) data(THERE)")
	if n := g.reactor.Stats().BufBytes; n != 0 || !c.Quiet() {
		t.Errorf("quiet %v, %d bytes of buffers are out", c.Quiet(), n)
	}
}

func TestLayer_keptPlaintext(t *testing.T) {
	g := newRig(t, engine.Options{})
	h := &script{}
	h.onData = func(_ *engine.Conn, in []byte) int { return len(in) / 2 }
	_, wire, _ := g.secured(h)
	wire("d04abcdd01")
	wire("e")
	g.want(h.events(), "open data(ABCD) data(CDE)")
}

// Paused means that nothing comes, the end included; resuming needs no news from the kernel.
func TestLayer_pausedEnd(t *testing.T) {
	g := newRig(t, engine.Options{})
	h := &script{}
	h.onData = func(c *engine.Conn, in []byte) int {
		c.PauseRead()
		return 1
	}
	c, wire, _ := g.secured(h)
	wire("d03abce00")
	g.want(h.events(), "open data(ABC)")
	if c.Quiet() {
		t.Error("quiet with an end that was not told")
	}
	g.on(c.ResumeRead)
	g.want(h.events(), "open data(ABC) data(BC)")
	h.onData = nil
	g.on(c.ResumeRead)
	g.want(h.events(), "open data(ABC) data(BC) data(C) eof")
	if c.Truncated() {
		t.Error("truncated")
	}
}

func TestLayer_truncation(t *testing.T) {
	g := newRig(t, engine.Options{})
	h := &script{}
	c, fd := g.open(&script{})
	g.on(func() { c.Wire().Secure(&mask{}, h, nil) })
	g.inject(fd, "d03abcd05par")
	g.loop.Finish(fd)
	g.ticks(2)
	g.want(h.events(), "open data(ABC) eof")
	if !c.Truncated() {
		t.Error("not truncated")
	}
	if n := g.reactor.Stats().BufBytes; n != 0 {
		t.Errorf("%d bytes of buffers are out", n)
	}
}

// What came before an error is delivered, and the peer is told why.
func TestLayer_error(t *testing.T) {
	g := newRig(t, engine.Options{})
	h := &script{}
	_, wire, sent := g.secured(h)
	said := ""
	h.onClose = func(*engine.Conn, error) { said = sent() }
	wire("d03abcx00d01z")
	g.want(h.events(), "open data(ABC) close(masked badly)")
	g.want(said, "alert")
}

func TestLayer_reply(t *testing.T) {
	g := newRig(t, engine.Options{})
	h := &script{}
	_, wire, sent := g.secured(h)
	wire("r00")
	g.want(h.events(), "open")
	g.want(sent(), "pong")
}

// A peer that has us answer, as an update of keys does, and does not read is closed at the hard limit of the queue:
// nothing else bounds what it may ask for, since all others that write look at the queue before.
func TestLayer_repliesNobodyReads(t *testing.T) {
	g := newRig(t, engine.Options{SendLow: 1000, SendMax: 4000})
	g.loop.SendMax = 100
	h := &script{}
	c, wire, sent := g.secured(h)
	for range 1100 {
		if wire("d01ar00d01b"); !c.Open() {
			break
		}
		if c.Queued() > 4000 {
			t.Fatalf("%d bytes are queued", c.Queued())
		}
	}
	g.want(h.log[len(h.log)-1], "close("+engine.ErrQueueFull.Error()+")")
	if n := len(sent()); n != 100 {
		t.Errorf("%d bytes have left", n)
	}
	if s := g.reactor.Stats(); s.BufBytes != 0 || s.QueueFull != 1 {
		t.Errorf("%d bytes of buffers are out, %d queues were full", s.BufBytes, s.QueueFull)
	}
}

// RFC 8446 §6.1: nothing is sent after close_notify, and nothing can be after FIN. The other direction goes on,
// whatever it asks for.
func TestLayer_replyBehindTheEnd(t *testing.T) {
	g := newRig(t, engine.Options{})
	h := &script{}
	c, fd := g.open(&script{})
	g.on(func() { c.Wire().Secure(&mask{}, h, nil) })
	g.on(c.CloseWrite)
	g.ticks(1)
	g.inject(fd, "r00")
	g.inject(fd, "d02hi")
	g.want(g.sent(fd), "[end]")
	g.want(h.events(), "open data(HI)")
	if c.Queued() != 0 {
		t.Errorf("%d bytes are queued", c.Queued())
	}
}

// The last words of a handshake and the first answer leave with one call.
func TestSecure_oneWrite(t *testing.T) {
	g := newRig(t, engine.Options{})
	h := &script{onOpen: func(c *engine.Conn) { c.Write([]byte("ANSWER")) }}
	c, fd := g.open(&script{})
	before := g.loop.Calls()
	g.on(func() {
		c.Wire().Write([]byte("ticket;"))
		c.Wire().Secure(&mask{}, h, nil)
	})
	g.want(g.sent(fd), "ticket;[answer]")
	if d := g.loop.Calls().Minus(before); d.Write+d.Writev != 1 {
		t.Errorf("%+v", d)
	}
}

func TestLayer_close(t *testing.T) {
	g := newRig(t, engine.Options{})
	h := &script{}
	h.onData = func(c *engine.Conn, in []byte) int {
		c.Write(in)
		c.Close(nil)
		return len(in)
	}
	_, wire, sent := g.secured(h)
	wire("d02hi")
	g.want(sent(), "[hi][end]")
}

func TestLayer_closeWrite(t *testing.T) {
	g := newRig(t, engine.Options{})
	h := &script{}
	c, fd := g.open(&script{})
	g.on(func() { c.Wire().Secure(&mask{}, h, nil) })
	g.on(c.CloseWrite)
	g.ticks(1)
	g.want(g.sent(fd), "[end]")
	if !g.loop.Sock(fd).FIN {
		t.Error("no FIN")
	}
	g.inject(fd, "d02hi")
	g.want(h.events(), "open data(HI)")
}

// A full socket leaves plaintext unsealed, and all counts.
func TestLayer_fullSocket(t *testing.T) {
	g := newRig(t, engine.Options{SendLow: 1000, SendMax: 1 << 20})
	g.loop.SendMax = 100
	h := &script{}
	c, fd := g.open(&script{})
	sent := func() string { return g.sent(fd) }
	g.on(func() { c.Wire().Secure(&mask{}, h, nil) })
	g.on(func() {
		c.Write(make([]byte, 300<<10))
		c.Write(make([]byte, 300<<10))
	})
	if len(sent()) != 100 || !c.Congested() || c.Room() > 1<<20-500<<10 || c.Queued() < 600<<10-100 {
		t.Fatalf("sent %d, congested %v, room %d, queued %d", len(sent()), c.Congested(), c.Room(), c.Queued())
	}
	g.loop.SendMax = 0
	g.loop.Drained(fd)
	g.ticks(2)
	if !h.saw("sendable") || c.Queued() != 0 || c.Congested() || strings.Count(sent(), "[") != 38 {
		t.Errorf("%d records, %d bytes queued, %s", strings.Count(sent(), "["), c.Queued(), h.events())
	}
}

// A handshake reads and writes the wire; what others write and say meanwhile holds once it is done.
func TestHold_thenSecure(t *testing.T) {
	g := newRig(t, engine.Options{})
	via, next := &script{}, &script{}
	c, fd := g.dial(via)
	g.on(func() {
		c.Wire().Hold(via, &script{})
		c.Write([]byte("EARLY "))
		c.Write([]byte("BIRD"))
	})
	g.ticks(2)
	g.on(func() {
		c.Wire().Write([]byte("hello;"))
		c.SetHandler(next)
		c.PauseRead()
	})
	g.inject(fd, "hello back")
	g.want(g.sent(fd), "hello;")
	g.want(via.log[len(via.log)-1], "data(hello back)")
	g.on(func() { c.Wire().Secure(&mask{}, nil, []byte("d02")) })
	g.inject(fd, "hi")
	g.want(g.sent(fd), "hello;[early bird]")
	g.want(next.events(), "open")
	g.on(c.ResumeRead)
	g.want(next.events(), "open data(HI)")
}

func TestHold_thenUnhold(t *testing.T) {
	g := newRig(t, engine.Options{})
	via := &script{}
	c, fd := g.dial(via)
	g.on(func() {
		c.Wire().Hold(via, &script{})
		c.Write([]byte("SECRET"))
		c.Wire().Write([]byte("alert"))
		c.Wire().Unhold()
		c.Close(nil)
	})
	g.ticks(1)
	g.want(g.sent(fd), "alert")
	g.want(via.log[len(via.log)-1], "close(<nil>)")
}

func TestHold_closed(t *testing.T) {
	g := newRig(t, engine.Options{})
	via := &script{}
	c, fd := g.dial(via)
	g.on(func() {
		c.Wire().Hold(via, &script{})
		c.Write([]byte("SECRET"))
		c.Close(nil)
	})
	g.ticks(1)
	g.want(g.sent(fd), "")
	g.want(via.log[len(via.log)-1], "close(<nil>)")
}

func TestBegin_insideACallback(t *testing.T) {
	g := newRig(t, engine.Options{})
	next := &script{}
	first := &script{onData: func(c *engine.Conn, in []byte) int {
		c.Begin(next)
		return 0
	}}
	_, fd := g.open(first)
	g.inject(fd, "bytes")
	g.want(first.events(), "open data(bytes)")
	g.want(next.events(), "open data(bytes)")
}

// The state of the Layer goes with the connection.
func TestLayer_moves(t *testing.T) {
	g := newRig(t, engine.Options{})
	c, fd := g.open(&script{})
	h, next := &script{}, &script{}
	g.on(func() { c.Wire().Secure(&mask{}, h, nil) })
	g.inject(fd, "d01a")
	g.on(func() {
		m, ok := c.Leave()
		if !ok {
			t.Fatal("does not leave")
		}
		_, err := g.reactor.Adopt(m, next)
		testutil.Must(t, err)
	})
	g.ticks(1)
	g.inject(fd, "d01b")
	g.want(next.events(), "data(B)")
}

// A warm echo through a Layer allocates nothing of its own and is one read and one write.
func TestLayer_warmEcho(t *testing.T) {
	g := newRig(t, engine.Options{})
	c, fd := g.open(&script{})
	g.on(func() { c.Wire().Secure(null{}, sink{}, nil) })
	p := []byte("some bytes to echo")
	g.loop.Sock(fd).Sent = make([]byte, 0, 1<<10)
	task := &engine.Task{Run: func(*engine.Reactor) {}}
	round := func() {
		s := g.loop.Sock(fd)
		s.Sent = s.Sent[:0]
		g.loop.Inject(fd, p)
		g.reactor.Post(task)
		g.reactor.Tick()
	}
	round()
	before := g.loop.Calls()
	round()
	if d := g.loop.Calls().Minus(before); d.Read != 1 || d.Write != 1 || d.Writev != 0 {
		t.Errorf("%+v", d)
	}
	if n := testutil.Allocs(100, round); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// null changes nothing.
type null struct{}

func (null) Open(b []byte) (int, int, []byte, error) { return len(b), len(b), nil, nil }
func (null) Seal(dst, p []byte) ([]byte, error)      { return append(dst, p...), nil }
func (null) End(dst []byte) []byte                   { return dst }

type sink struct{ engine.NopHandler }

func (sink) OnData(c *engine.Conn, in []byte) int {
	c.Write(in)
	return len(in)
}
