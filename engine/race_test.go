package engine_test

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// racing is a client that says what has become of its connection.
type racing struct {
	engine.NopHandler
	opened chan poller.Addr
	closed chan error
}

func (h *racing) OnOpen(c *engine.Conn) {
	_ = c.Write([]byte("x"))
	h.opened <- c.Peer()
}

func (h *racing) OnClose(_ *engine.Conn, cause error) { h.closed <- cause }

// The first of several addresses that answers is the connection; what was tried before it is told, and nothing is left
// of what was tried.
func TestDial_others(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs an address that does not answer")
	}
	testutil.CheckLeaks(t)
	got := make(chan byte, 16)
	live := testutil.Serve(t, func(c net.Conn) {
		defer c.Close()
		var b [1]byte
		if n, _ := c.Read(b[:]); n == 1 {
			got <- b[0]
		}
		_, _ = c.Read(b[:])
	}).Addr().String()
	silent, refused := testutil.Silent(t), testutil.FreeAddr(t)
	e := start(t, engine.Options{Reactors: 1})
	for _, c := range []struct {
		what    string
		to      []string
		open    bool
		slower  []error // nil: slow
		decided bool
		cause   error
	}{
		{"the first answers", []string{live, silent, refused}, true, []error{}, true, nil},
		{"the first is silent", []string{silent, live}, true, []error{nil}, true, nil},
		{"the first refuses", []string{refused, live, silent}, true, []error{syscall.ECONNREFUSED}, true, nil},
		{"both", []string{silent, refused, live}, true, []error{nil, syscall.ECONNREFUSED}, true, nil},
		{"all refuse", []string{refused, refused, refused}, false, nil, false, syscall.ECONNREFUSED},
		{"none answers", []string{silent, refused, silent}, false, nil, false, engine.ErrConnectTimeout},
	} {
		h := &racing{opened: make(chan poller.Addr, 1), closed: make(chan error, 1)}
		decided := make(chan []error, 1)
		o := &engine.DialOptions{Timeout: 150 * time.Millisecond, Stagger: 10 * time.Millisecond,
			Decided: func(at poller.Addr, slower []poller.Addr, failed []error) {
				if at.String() != live || len(slower) != len(failed) {
					t.Errorf("%s: %s, %v, %v", c.what, at, slower, failed)
				}
				decided <- append([]error{}, failed...)
			}}
		if c.open {
			o.Timeout = testutil.Patience
		}
		for _, at := range c.to[1:] {
			o.Others = append(o.Others, poller.Addr{IP: netip.MustParseAddrPort(at)})
		}
		dialled := make(chan *engine.Conn, 1)
		r := e.Reactors()[0]
		r.Post(&engine.Task{Run: func(r *engine.Reactor) {
			conn, err := r.Dial(poller.Addr{IP: netip.MustParseAddrPort(c.to[0])}, h, o)
			if err != nil {
				h.closed <- err // it was known at once
			}
			dialled <- conn
		}})
		conn := <-dialled
		if !c.open {
			if cause := <-h.closed; !errors.Is(cause, c.cause) || len(h.opened)+len(decided) > 0 {
				t.Errorf("%s: %v", c.what, cause)
			}
			continue
		}
		if at := <-h.opened; at.String() != live || <-got != 'x' {
			t.Errorf("%s: connected to %s", c.what, at)
		}
		failed := <-decided
		if len(failed) != len(c.slower) {
			t.Errorf("%s: %v", c.what, failed)
		}
		for i, err := range failed {
			if (err == nil) != (c.slower[i] == nil) {
				t.Errorf("%s: %v", c.what, failed)
			}
		}
		r.Post(&engine.Task{Run: func(*engine.Reactor) { conn.Close(nil) }})
		<-h.closed
	}
}

// A connection that is given up while addresses are tried leaves nothing.
func TestDial_othersGivenUp(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs an address that does not answer")
	}
	testutil.CheckLeaks(t)
	silent := poller.Addr{IP: netip.MustParseAddrPort(testutil.Silent(t))}
	e := start(t, engine.Options{Reactors: 1})
	h := &racing{opened: make(chan poller.Addr, 1), closed: make(chan error, 1)}
	e.Reactors()[0].Post(&engine.Task{Run: func(r *engine.Reactor) {
		o := &engine.DialOptions{Others: []poller.Addr{silent, silent}, Stagger: time.Millisecond}
		conn, err := r.Dial(silent, h, o)
		if err != nil {
			t.Error(err)
			h.closed <- err
			return
		}
		timer := &engine.Timer{Run: func(*engine.Reactor) { conn.Close(engine.ErrClosed) }}
		r.Arm(timer, r.Now()+int64(20*time.Millisecond))
	}})
	if cause := <-h.closed; cause != engine.ErrClosed {
		t.Error(cause)
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return e.Conns() == 0 })
}

// oneReactor returns an engine of one reactor in a simulated world.
func oneReactor(t *testing.T, seed uint64) (*sim.World, *engine.Engine) {
	w := sim.NewWorld(seed)
	e, err := engine.New(engine.Options{
		Reactors: 1, Kernel: func(i int) (poller.Kernel, error) { return w.Kernel(i), nil },
	})
	testutil.Must(t, err)
	w.Add(e.Reactors()[0])
	return w, e
}

// Over many seeds: whatever the addresses do, and whenever the connection is given up, it is opened at one that
// answers, as soon as the addresses before it have had their time, or it is closed once; and nothing else stays open.
func TestDial_othersSimulated(t *testing.T) {
	const stagger = 250 * time.Millisecond
	for seed := range uint64(400) {
		w, e := oneReactor(t, seed)
		r := e.Reactors()[0]
		rng := w.Rand()
		w.Net.DelayMax = time.Duration(1+rng.IntN(40)) * time.Millisecond
		w.Faults.ConnectUnreachable = float64(rng.IntN(2)) * 0.2
		var doors []*sim.Listener
		live := -1 // the first that answers
		for i := range 2 + rng.IntN(3) {
			l := w.Serve(poller.Addr{IP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}), 80)})
			switch rng.IntN(3) {
			case 0:
				l.Refuse(true)
			case 1:
				l.Ignore(true)
			default:
				if live < 0 {
					live = i
				}
			}
			doors = append(doors, l)
		}
		h := &racing{opened: make(chan poller.Addr, 2), closed: make(chan error, 2)}
		o := &engine.DialOptions{Timeout: 3 * time.Second, Stagger: stagger}
		for _, l := range doors[1:] {
			o.Others = append(o.Others, l.Addr())
		}
		given := time.Duration(0)
		if rng.IntN(4) == 0 {
			given = time.Duration(rng.IntN(1000)) * time.Millisecond
		}
		begun, opened := int64(0), int64(0)
		r.Post(&engine.Task{Run: func(r *engine.Reactor) {
			begun = w.Now()
			c, err := r.Dial(doors[0].Addr(), h, o)
			if err != nil {
				h.closed <- err
				return
			}
			if given > 0 {
				r.Arm(&engine.Timer{Run: func(*engine.Reactor) { c.Close(engine.ErrClosed) }}, r.Now()+int64(given))
			}
		}})
		if err := w.Run(func() bool {
			if opened == 0 && len(h.opened) > 0 {
				opened = w.Now()
			}
			return len(h.opened)+len(h.closed) > 0
		}, 1e6); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		late := time.Duration(opened-begun) - time.Duration(max(live, 0))*stagger
		switch {
		case opened > 0 && late > 5*w.Net.DelayMax+5*time.Millisecond && w.Faults.ConnectUnreachable == 0:
			t.Errorf("seed %d: open %v after its turn", seed, late)
		case opened == 0 && live >= 0 && given == 0 && w.Faults.ConnectUnreachable == 0:
			t.Errorf("seed %d: %v, and address %d answers", seed, <-h.closed, live)
		}
		for range 20 { // what is closed is reaped
			w.Step()
		}
		want := len(h.opened)
		if len(h.closed) > 0 {
			want = 0
		}
		if n := len(w.OpenSockets()); n != want || len(h.opened)+len(h.closed) > 2 {
			t.Errorf("seed %d: %d sockets are open, %d were opened", seed, n, len(h.opened))
		}
		e.Stop()
	}
}

// The end of the engine while addresses are tried leaves nothing, and is told once.
func TestDial_othersStopped(t *testing.T) {
	for seed := range uint64(200) {
		w, e := oneReactor(t, seed)
		r := e.Reactors()[0]
		rng := w.Rand()
		w.Net.DelayMax = time.Duration(1+rng.IntN(300)) * time.Millisecond
		var doors []poller.Addr
		for i := range 4 {
			l := w.Serve(poller.Addr{IP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}), 80)})
			l.Ignore(rng.IntN(2) == 0)
			doors = append(doors, l.Addr())
		}
		h := &racing{opened: make(chan poller.Addr, 2), closed: make(chan error, 2)}
		r.Post(&engine.Task{Run: func(r *engine.Reactor) {
			o := &engine.DialOptions{Stagger: 10 * time.Millisecond, Others: doors[1:]}
			if _, err := r.Dial(doors[0], h, o); err != nil && err != engine.ErrStopped {
				t.Error(err)
			}
		}})
		for range rng.IntN(30) {
			w.Step()
		}
		e.Stop()
		if n := len(w.OpenSockets()); n != 0 || len(h.closed) > 1 || len(h.opened) > 1 ||
			len(h.opened) == 1 && len(h.closed) != 1 {
			t.Errorf("seed %d: %d sockets are open, %d opened, %d closed", seed, n, len(h.opened), len(h.closed))
		}
	}
}
