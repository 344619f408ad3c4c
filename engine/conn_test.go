package engine_test

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
)

var errTest = errors.New("test")

func TestConn_newHandlerGetsWhatTheOldOneLeft(t *testing.T) {
	g := newRig(t, engine.Options{})
	second := &script{}
	first := &script{onData: func(c *engine.Conn, in []byte) int {
		c.SetHandler(second)
		return bytes.IndexByte(in, '\n') + 1
	}}
	_, fd := g.open(first)
	g.inject(fd, "PROXY\nhello")
	g.want(first.events(), "open data(PROXY\nhello)")
	g.want(second.events(), "data(hello)")
}

func TestConn_resumeInsideOnDataOffersTheRest(t *testing.T) {
	g := newRig(t, engine.Options{})
	s := &script{onData: func(c *engine.Conn, in []byte) int {
		c.PauseRead()
		c.ResumeRead()
		return 1
	}}
	_, fd := g.open(s)
	g.inject(fd, "abc")
	g.want(s.events(), "open data(abc) data(bc) data(c)")
}

func TestConn_unusedBytesComeAgainBehindNewOnes(t *testing.T) {
	g := newRig(t, engine.Options{})
	s := &script{onData: func(_ *engine.Conn, in []byte) int {
		return bytes.LastIndexByte(in, '\n') + 1
	}}
	c, fd := g.open(s)
	g.inject(fd, "a\nb")
	g.inject(fd, "c")
	g.inject(fd, "d\n")
	g.want(s.events(), "open data(a\nb) data(bc) data(bcd\n)")
	if c.Unread() || g.reactor.Stats().BufBytes != 0 {
		t.Fatal("holds a buffer although all was used")
	}
}

func TestConn_pauseKeepsBytesUntilResume(t *testing.T) {
	g := newRig(t, engine.Options{})
	s := &script{onData: func(c *engine.Conn, in []byte) int {
		c.PauseRead()
		return 1
	}}
	c, fd := g.open(s)
	g.inject(fd, "ab")
	g.inject(fd, "c") // stays in the kernel
	g.want(s.events(), "open data(ab)")
	s.onData = nil
	other, _ := g.open(&script{onTimeout: func(*engine.Conn) { c.ResumeRead() }})
	g.on(func() { other.SetTimeout(time.Millisecond) })
	g.pass(3 * time.Millisecond)
	g.want(s.events(), "open data(ab) data(b) data(c)")
}

func TestConn_endIsToldOnceAndLeftoversStay(t *testing.T) {
	g := newRig(t, engine.Options{})
	s := &script{onData: func(*engine.Conn, []byte) int { return 0 }}
	c, fd := g.open(s)
	g.inject(fd, "ab")
	g.loop.Finish(fd)
	g.ticks(2)
	g.want(s.events(), "open data(ab) eof")
	s.onData = nil
	g.on(c.ResumeRead)
	g.loop.Drained(fd) // another event for the same descriptor
	g.ticks(2)
	g.want(s.events(), "open data(ab) eof data(ab)")
}

func TestConn_borrowedBytesLiveUntilReturn(t *testing.T) {
	for _, cause := range []error{nil, errTest} {
		g := newRig(t, engine.Options{})
		other, _ := g.open(&script{})
		var seen string
		s := &script{}
		s.onData = func(c *engine.Conn, in []byte) int {
			if len(in) < 4 {
				return 0
			}
			c.Close(cause)
			other.Commit(append(other.Reserve(4096), "overwritten"...))
			seen = string(in)
			return 0
		}
		_, fd := g.open(s)
		g.inject(fd, "ab")
		g.inject(fd, "cd")
		g.want(seen, "abcd")
	}
}

func TestConn_readFull(t *testing.T) {
	for _, tc := range []struct {
		name  string
		pause bool
		want  string
	}{
		{"a reader that wants more and has no room is closed", false, "close(" + engine.ErrReadFull.Error() + ")"},
		{"a paused one is not", true, ""},
	} {
		g := newRig(t, engine.Options{ReadMax: 1024})
		s := &script{onData: func(c *engine.Conn, in []byte) int {
			if tc.pause {
				c.PauseRead()
			}
			return 0
		}}
		_, fd := g.open(s)
		g.inject(fd, strings.Repeat("x", 2000))
		g.want(strings.TrimSpace(strings.TrimPrefix(s.events(), "open data(2000)")), tc.want)
		full := g.reactor.Stats().ReadFull
		if (full == 1) == tc.pause {
			t.Fatalf("%s: counted %d", tc.name, full)
		}
	}
}

func TestConn_closeInEveryCallback(t *testing.T) {
	for _, cause := range []error{nil, errTest} {
		end := "close(<nil>)"
		if cause != nil {
			end = "close(test)"
		}
		closing := func(c *engine.Conn) { c.Close(cause); c.Close(cause); c.Close(errors.New("second")) }
		if cause == nil {
			closing = func(c *engine.Conn) { c.Close(nil); c.Close(nil) }
		}
		for _, tc := range []struct {
			name, want string
			script     *script
			do         func(g *rig, c *engine.Conn, fd poller.FD)
		}{
			{"open", "open", &script{onOpen: closing}, func(*rig, *engine.Conn, poller.FD) {}},
			{"data", "open data(x)", &script{onData: func(c *engine.Conn, in []byte) int { closing(c); return 0 }},
				func(g *rig, _ *engine.Conn, fd poller.FD) { g.inject(fd, "x") }},
			{"eof", "open eof", &script{onEOF: closing},
				func(g *rig, _ *engine.Conn, fd poller.FD) { g.loop.Finish(fd) }},
			{"timeout", "open timeout", &script{onTimeout: closing},
				func(g *rig, c *engine.Conn, _ poller.FD) { g.on(func() { c.SetTimeout(1) }) }},
			{"close", "open", &script{onClose: func(c *engine.Conn, _ error) { closing(c) }},
				func(g *rig, c *engine.Conn, _ poller.FD) { g.on(func() { c.Close(cause) }) }},
		} {
			g := newRig(t, engine.Options{})
			c, fd := g.open(tc.script)
			tc.do(g, c, fd)
			g.pass(2 * time.Second) // the lingering close ends by time: this peer never closes
			g.pass(2 * time.Second)
			g.want(tc.name+": "+tc.script.events(), tc.name+": "+tc.want+" "+end)
			if g.loop.Sock(fd).Open {
				t.Fatalf("%s: the descriptor is open", tc.name)
			}
			if err := c.Write([]byte("x")); err != engine.ErrClosed {
				t.Fatalf("%s: write after close: %v", tc.name, err)
			}
		}
	}
}

func TestConn_closeSendsTheQueueThenFINThenDrains(t *testing.T) {
	g := newRig(t, engine.Options{})
	s := &script{onData: func(c *engine.Conn, in []byte) int {
		c.Write([]byte("answer"))
		c.Close(nil)
		return len(in)
	}}
	c, fd := g.open(s)
	g.loop.SendMax = 4
	g.inject(fd, "x")
	g.want(g.sent(fd), "answ")
	if g.loop.Sock(fd).FIN {
		t.Fatal("FIN before the queue was sent")
	}
	g.on(func() { c.SetTimeout(0) }) // must not take the deadline of closing away
	g.loop.SendMax = 0
	g.loop.Drained(fd)
	g.ticks(2)
	g.want(g.sent(fd), "answer")
	if k := g.loop.Sock(fd); !k.FIN || !k.Open {
		t.Fatalf("FIN %v, open %v: want FIN and the descriptor open for a while", k.FIN, k.Open)
	}
	g.loop.Inject(fd, []byte("more that nobody wants"))
	g.ticks(2)
	if g.loop.Sock(fd).Unread() != 0 {
		t.Fatal("input is not drained")
	}
	g.loop.Finish(fd)
	g.ticks(2)
	g.want(s.events(), "open data(x) close(<nil>)")
	if g.loop.Sock(fd).Open {
		t.Fatal("still open after the peer's FIN")
	}
}

func TestConn_closingHasADeadline(t *testing.T) {
	g := newRig(t, engine.Options{SendTimeout: 3 * time.Second})
	s := &script{onOpen: func(c *engine.Conn) {
		c.Write(make([]byte, 100))
		c.Close(nil)
	}}
	g.loop.SendMax = 10
	_, fd := g.open(s)
	g.pass(4 * time.Second)
	g.want(s.events(), "open close("+engine.ErrTimeout.Error()+")")
	if g.loop.Sock(fd).Open || g.reactor.Stats().SendTimeouts != 1 {
		t.Fatalf("open %v, %+v", g.loop.Sock(fd).Open, g.reactor.Stats())
	}
}

func TestConn_closeWriteThenCloseSendsFINAtOnce(t *testing.T) {
	g := newRig(t, engine.Options{})
	c, fd := g.open(&script{})
	g.on(func() {
		c.Write([]byte("x"))
		c.CloseWrite()
		c.Close(nil)
	})
	if k := g.loop.Sock(fd); !k.FIN || string(k.Sent) != "x" {
		t.Fatalf("sent %q, FIN %v", k.Sent, k.FIN)
	}
}

// What is queued when the end is asked for leaves with FIN, in one segment.
func TestConn_closeWriteJoinsTheLastBytes(t *testing.T) {
	g := newRig(t, engine.Options{})
	c, fd := g.open(&script{})
	g.kernel.onWrite = func(poller.FD, []byte) (int, syscall.Errno) {
		t.Error("the last bytes leave before FIN")
		return -1, syscall.EPIPE
	}
	g.on(func() {
		c.Write([]byte("last"))
		c.CloseWrite()
	})
	if k := g.loop.Sock(fd); !k.FIN || string(k.Sent) != "last" || !c.Open() {
		t.Errorf("sent %q, FIN %v, open %v", k.Sent, k.FIN, c.Open())
	}
}

func TestConn_closeWriteRefusesFurtherBytes(t *testing.T) {
	g := newRig(t, engine.Options{})
	s := &script{}
	c, fd := g.open(s)
	g.on(func() {
		c.Write([]byte("last"))
		c.CloseWrite()
		if err := c.Write([]byte("x")); err != engine.ErrClosed {
			t.Errorf("write: %v", err)
		}
		c.Commit(append(c.Reserve(1), 'x'))
		if c.Room() != 0 {
			t.Errorf("room %d", c.Room())
		}
	})
	g.want(g.sent(fd), "last")
	g.inject(fd, "in")
	g.want(s.events(), "open data(in)")
}

func TestConn_writesLeaveInOrder(t *testing.T) {
	g := newRig(t, engine.Options{})
	c, fd := g.open(&script{})
	large := strings.Repeat("L", 5000)
	var want strings.Builder
	g.loop.SendMax = 7000
	g.on(func() {
		for range 20 {
			c.Write([]byte("small"))
			c.Commit(append(c.Reserve(4096), "head"...))
			c.Write([]byte(large))
			c.Commit(append(c.Reserve(2), "outgrown"...))
			c.Write([]byte("short"))
			want.WriteString("smallhead" + large + "outgrownshort")
		}
	})
	var got strings.Builder
	for i := 0; got.Len() < want.Len() && i < 1000; i++ {
		k := g.loop.Sock(fd)
		got.Write(k.Sent)
		k.Sent = k.Sent[:0]
		g.loop.Drained(fd)
		g.ticks(1)
	}
	if got.String() != want.String() {
		t.Fatalf("%d bytes, want %d in order", got.Len(), want.Len())
	}
	if g.reactor.Stats().BufBytes != 0 {
		t.Fatal("holds a buffer although all was sent")
	}
}

func TestConn_queueIsBounded(t *testing.T) {
	g := newRig(t, engine.Options{SendLow: 1000, SendMax: 10000})
	s := &script{}
	c, fd := g.open(s)
	g.loop.SendMax = 1
	g.on(func() {
		if err := c.Write(make([]byte, 9999)); err != nil {
			t.Error(err)
		}
		if err := c.Write(make([]byte, 100)); err != engine.ErrQueueFull {
			t.Errorf("write: %v", err)
		}
		if c.Queued() > 9999 {
			t.Errorf("%d queued: what was refused was taken", c.Queued())
		}
		c.Commit(append(c.Reserve(100), make([]byte, 100)...))
	})
	g.want(s.events(), "open close("+engine.ErrQueueFull.Error()+")")
	if g.reactor.Stats().QueueFull != 2 || g.loop.Sock(fd).Open {
		t.Fatalf("%+v", g.reactor.Stats())
	}
}

func TestConn_reservingMuchAndWritingLittleKeepsTheQueueSmall(t *testing.T) {
	g := newRig(t, engine.Options{})
	c, _ := g.open(&script{})
	g.loop.SendMax = 1
	g.on(func() {
		for range 1000 {
			c.Commit(append(c.Reserve(4096), "a head"...))
			c.Commit(c.Reserve(4096)) // nothing at all
		}
	})
	if held := g.reactor.Stats().BufBytes; held > 16<<10 {
		t.Fatalf("%d bytes queued hold %d bytes of buffers", c.Queued(), held)
	}
}

func TestConn_commitsAPartOfWhatWasReserved(t *testing.T) {
	g := newRig(t, engine.Options{})
	c, fd := g.open(&script{})
	g.on(func() {
		c.Commit(append(c.Reserve(64), "not this, but this"...)[len("not this, but "):])
		c.Write([]byte(" and "))
		c.Commit(append(c.Reserve(64), "no, that"...)[len("no, "):])
		c.Reserve(64) // never committed
	})
	g.want(g.sent(fd), "this and that")
}

func TestConn_finishWaitsForNobody(t *testing.T) {
	for _, unread := range []bool{false, true} {
		g := newRig(t, engine.Options{})
		s := &script{}
		c, fd := g.open(s)
		if unread {
			g.loop.Inject(fd, []byte("said more all the same"))
			g.on(func() { c.PauseRead() })
		}
		g.on(func() {
			c.Write([]byte("answer"))
			c.Finish()
		})
		g.ticks(2)
		g.want(g.sent(fd), "answer")
		if g.loop.Sock(fd).Open && !unread {
			t.Fatal("lingers behind a peer that has said it sends no more")
		}
	}
}

func TestConn_sendableExactlyWhenDue(t *testing.T) {
	g := newRig(t, engine.Options{SendLow: 1000})
	s := &script{}
	c, fd := g.open(s)
	g.loop.SendMax = 1
	drain := func(n int) {
		g.loop.Sock(fd).Sent = g.loop.Sock(fd).Sent[:0]
		g.loop.SendMax = n
		g.loop.Drained(fd)
		g.ticks(2)
	}
	g.on(func() {
		c.Write(make([]byte, 1000))
		if c.Congested() {
			t.Error("congested at the low mark")
		}
	})
	g.on(func() {
		c.Write(make([]byte, 2000))
		if !c.Congested() {
			t.Error("not congested above the low mark")
		}
	})
	drain(1000)
	g.want(s.events(), "open")
	drain(1000)
	g.want(s.events(), "open sendable")
	drain(5000)
	g.want(s.events(), "open sendable")
}

func TestConn_sendableWhenAnotherConnEmptiedTheQueue(t *testing.T) {
	g := newRig(t, engine.Options{SendLow: 1000})
	s := &script{}
	down, downFD := g.open(s)
	up, upFD := g.open(&script{})
	up.SetHandler(&script{onData: func(_ *engine.Conn, in []byte) int {
		down.Write(make([]byte, 5000)) // leaves at once, with all that was queued
		return len(in)
	}})
	g.loop.SendMax = 1
	g.on(func() { down.Write(make([]byte, 2000)) })
	g.loop.SendMax = 0
	// Both events come in one batch, up's first: it writes before down had its turn.
	g.loop.Inject(upFD, []byte("x"))
	g.loop.Drained(downFD)
	g.ticks(3)
	g.want(s.events(), "open sendable")
}

func TestConn_resetIsNoOrderlyEnd(t *testing.T) {
	g := newRig(t, engine.Options{})
	s := &script{}
	c, fd := g.dial(s)
	// The peer reset the connection; what it had sent before lies unread. As on Linux the first call that fails takes
	// the error, and the end of what is unread looks like FIN to a read.
	unread := "the answer"
	g.kernel.onWrite = func(poller.FD, []byte) (int, syscall.Errno) { return -1, syscall.ECONNRESET }
	g.kernel.onRead = func(_ poller.FD, p []byte) (int, syscall.Errno) {
		n := copy(p, unread)
		unread = ""
		return n, 0
	}
	g.on(func() { c.PauseRead() })
	g.loop.Inject(fd, []byte("?"))
	g.ticks(1)
	g.on(func() { c.Write([]byte("request")) })
	g.on(func() {
		if err := c.Write([]byte("more")); err != engine.ErrClosed {
			t.Errorf("write to a broken connection: %v", err)
		}
		c.ResumeRead()
	})
	g.ticks(3)
	g.want(s.events(), "open data(the answer) close("+syscall.ECONNRESET.Error()+")")
}

func TestConn_refDies(t *testing.T) {
	g := newRig(t, engine.Options{})
	c, _ := g.open(&script{})
	ref := c.Ref()
	if ref.Conn() != c || (engine.Ref{}).Conn() != nil {
		t.Fatal("a live ref names its conn, the zero ref none")
	}
	g.on(func() { c.Close(errTest) })
	if ref.Conn() != nil {
		t.Fatal("the ref outlives its conn")
	}
	if next, _ := g.open(&script{}); ref.Conn() != nil || next.Ref() == ref {
		t.Fatal("the ref names the next tenant of the slot")
	}
}

func TestConn_timeoutMovesAndEnds(t *testing.T) {
	g := newRig(t, engine.Options{})
	s := &script{}
	c, _ := g.open(s)
	g.on(func() { c.SetTimeout(10 * time.Millisecond) })
	g.on(func() { c.SetTimeout(50 * time.Millisecond) })
	g.pass(30 * time.Millisecond)
	g.want(s.events(), "open")
	g.pass(30 * time.Millisecond)
	g.want(s.events(), "open timeout")
	g.pass(time.Second)
	g.want(s.events(), "open timeout")
	g.on(func() { c.SetTimeout(10 * time.Millisecond) })
	g.on(func() { c.SetTimeout(0) })
	g.pass(time.Second)
	g.want(s.events(), "open timeout")
}

func TestConn_quiet(t *testing.T) {
	g := newRig(t, engine.Options{})
	c, fd := g.open(&script{onData: func(*engine.Conn, []byte) int { return 0 }})
	if !c.Quiet() {
		t.Fatal("a fresh conn without input is not quiet")
	}
	g.inject(fd, "x")
	if c.Quiet() {
		t.Fatal("quiet with unread bytes")
	}
}
