package forward

import (
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// deadStream takes a body of three bytes, and then it is over.
type deadStream struct {
	session.NopStream
	left int
}

// SendData takes what is left.
func (s *deadStream) SendData(p []byte, _ bool) (int, error) {
	if len(p) > s.left {
		return 0, session.ErrDead
	}
	s.left -= len(p)
	return len(p), nil
}

func newWaits(t *testing.T) *Waits {
	t.Helper()
	e, err := engine.New(engine.Options{
		Reactors: 1, Kernel: func(int) (poller.Kernel, error) { return sim.NewLoop(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return &Waits{Reactor: e.Reactors()[0]}
}

// Bodies that have to wait one after the other use the same arrays. No more than waitsMax of them are kept, and none
// for a few bytes.
func TestBody_waitsInArraysOfOthers(t *testing.T) {
	w := newWaits(t)
	large := make([]byte, 100<<10)
	bodies := make([]Body, waitsMax+2)
	wait := func(p []byte) {
		for i := range bodies {
			bodies[i].Init(w)
			bodies[i].Hold(p[:len(p)/2])
			bodies[i].Hold(p[len(p)/2:])
		}
	}
	reset := func() {
		for i := range bodies {
			bodies[i].Reset()
		}
	}
	wait(large)
	reset()
	if len(w.free) != waitsMax {
		t.Fatalf("%d arrays are kept", len(w.free))
	}
	wait(large[:heldKept])
	if len(w.free) != waitsMax {
		t.Errorf("arrays of %d bytes are used for %d", cap(w.free[0]), heldKept)
	}
	reset()
	if n := testutil.Allocs(10, func() {
		bodies[0].Hold(large)
		bodies[0].Reset()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if s := w.Reactor.Stats(); s.BufBytes != 0 || s.BufKept != int64(waitsMax*cap(w.free[0])) {
		t.Errorf("%d bytes are counted, %d as kept", s.BufBytes, s.BufKept)
	}
}

// Memory for the exception is not what the rule is charged for: a body that had to wait in a large array leaves none.
func TestBody_leavesNoLargeArray(t *testing.T) {
	w := newWaits(t)
	var b Body
	b.Init(w)
	for _, c := range []struct{ size, kept int }{{waitMost, 1}, {waitMost + 1, 0}, {4 << 20, 0}} {
		w.free = nil
		b.Hold(make([]byte, c.size))
		b.Reset()
		if n := w.Reactor.Stats().BufBytes; len(w.free) != c.kept || n != 0 {
			t.Errorf("%d arrays are kept of %d bytes, %d bytes are counted", len(w.free), c.size, n)
		}
	}
}

// A body that is held whole, as a large stored answer is, takes little more than its bytes. A body that grows is not
// copied for each piece.
func TestBody_largeTakesWhatItHas(t *testing.T) {
	var b Body
	b.Init(newWaits(t))
	for _, n := range []int{waitMost + 1, 1<<20 + 1, 5 << 20} {
		b.Hold(make([]byte, n))
		if c := cap(b.base); c > n/4*5+8 {
			t.Errorf("an array of %d bytes for %d", c, n)
		}
		b.Reset()
	}
	arrays, piece := 0, make([]byte, 32<<10)
	for range 200 {
		before := cap(b.base)
		if b.Hold(piece); cap(b.base) != before {
			arrays++
		}
	}
	if arrays > 25 {
		t.Errorf("%d arrays for 200 pieces", arrays)
	}
}

// An end that comes alone, and waits for filters, is held in nothing; what the body keeps of the message before is
// counted until Reset all the same.
func TestBody_countsNothingAfterAnEndAlone(t *testing.T) {
	w := newWaits(t)
	var b Body
	b.Init(w)
	b.Hold([]byte("before"))
	b.Reset()
	b.Wait(nil, true)
	b.HoldRaw()
	b.Reset()
	if n := w.Reactor.Stats().BufBytes; n != 0 {
		t.Errorf("%d bytes are counted", n)
	}
}

// A piece of a body that meets a stream which has ended, and has not said so yet, is sent again with those before.
func TestBody_keepsWhatADeadStreamIsSent(t *testing.T) {
	var b Body
	b.Init(newWaits(t))
	b.KeepUpTo(100, message.LengthUnknown)
	to := &deadStream{left: 3}
	if err := b.Push(session.NopStream{}, to, []byte("one"), 3, false); err != nil {
		t.Fatal(err)
	}
	if err := b.Push(session.NopStream{}, to, []byte("two"), 3, true); err != session.ErrDead {
		t.Fatal(err)
	}
	b.Check()
	b.rewind()
	if string(b.Held) != "onetwo" || !b.Ended || b.EndSent {
		t.Fatalf("%q is sent again, ended: %v", b.Held, b.Ended)
	}
}

func TestHostOfAddress(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.1:8080": "10.0.0.1:8080", "a.example:80": "a.example", "[::1]:80": "[::1]",
		"unix:/run/a.sock": "localhost", "[fe80::1%eth0]:81": "[fe80::1]:81",
	} {
		if got := HostOfAddress(address, false); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
	for address, want := range map[string]string{"a.example:443": "a.example", "a.example:80": "a.example:80"} {
		if got := HostOfAddress(address, true); got != want {
			t.Errorf("%q by TLS: %q, want %q", address, got, want)
		}
	}
}
