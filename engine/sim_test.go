package engine_test

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// simSeeds is how many seeds each simulation runs in an ordinary test; EDGE_SIM_TIMES multiplies it.
const simSeeds = 800

// town is one simulation: reactors that echo and relay in a World, and clients that know what must come back.
type town struct {
	t       testing.TB
	w       *sim.World
	engine  *engine.Engine
	echo    poller.Addr
	front   poller.Addr
	clients []*simClient
	open    map[*watched]bool // conns whose OnClose has not come
	faults  bool
	spliced int // bytes, as owners were told
	last    engine.Stats
}

// wrap lets a test stand between the reactors and their kernels.
type wrap func(k poller.Kernel) poller.Kernel

func newTown(t testing.TB, w *sim.World, wrapped wrap) *town {
	rng := w.Rand()
	v := &town{t: t, w: w, open: map[*watched]bool{}}
	o := engine.Options{
		Reactors: 1 + rng.IntN(3),
		ReadSize: 16 << rng.IntN(9),
		SendLow:  64 << rng.IntN(6),
		Memory:   1 << 30,
		Kernel: func(i int) (poller.Kernel, error) {
			if wrapped != nil {
				return wrapped(w.Kernel(i)), nil
			}
			return w.Kernel(i), nil
		},
	}
	o.SpliceMin = 1
	o.SendMax = o.SendLow + 1 + rng.IntN(4*o.SendLow)
	o.ReadMax = max(2*o.ReadSize, 4096)
	e, err := engine.New(o)
	testutil.Must(t, err)
	v.engine = e
	for _, r := range e.Reactors() {
		w.Add(r)
	}
	origin := loopback
	if rng.IntN(2) == 0 {
		origin = poller.Addr{Path: "/origin"}
	}
	v.echo = v.listen(origin, func(c *engine.Conn) engine.Handler { return &simEcho{watched: v.watch(c, o.SendMax)} })
	v.front = v.listen(loopback, v.relay(o.SendMax))
	return v
}

func (v *town) listen(a poller.Addr, accept func(*engine.Conn) engine.Handler) poller.Addr {
	l := serve(v.t, v.engine, engine.ListenOptions{Addr: a, Backlog: 1 + v.w.Rand().IntN(8)}, accept)
	return l.Addr()
}

func (v *town) relay(sendMax int) func(*engine.Conn) engine.Handler {
	return func(c *engine.Conn) engine.Handler {
		down := &simRelay{watched: v.watch(c, sendMax)}
		up := &simRelay{watched: v.watch(nil, sendMax), peer: c}
		to, err := c.Reactor().Dial(v.echo, up, nil)
		if err != nil {
			delete(v.open, up.watched)
			delete(v.open, down.watched)
			if !v.faults {
				v.t.Errorf("dial: %v", err)
			}
			return nil
		}
		down.peer, up.conn = to, to
		return down
	}
}

// watched checks the order of a Conn's events. Handlers embed it.
type watched struct {
	town           *town
	conn           *engine.Conn
	sendMax        int
	opened, ended  bool
	closed, paused bool
}

func (v *town) watch(c *engine.Conn, sendMax int) *watched {
	h := &watched{town: v, conn: c, sendMax: sendMax}
	v.open[h] = true
	return h
}

func (h *watched) event(c *engine.Conn, name string) {
	t := h.town.t
	switch {
	case h.closed:
		t.Errorf("%s after OnClose", name)
	case name == "OnOpen" && h.opened:
		t.Errorf("OnOpen again")
	case name != "OnOpen" && name != "OnClose" && !h.opened:
		t.Errorf("%s before OnOpen", name)
	case name == "OnData" && h.paused:
		t.Errorf("OnData while reading is paused")
	case c.Queued() > h.sendMax:
		t.Errorf("%d queued, at most %d are allowed", c.Queued(), h.sendMax)
	}
	switch name {
	case "OnOpen":
		h.opened = true
	case "OnEOF":
		if h.ended {
			t.Errorf("OnEOF again")
		}
		h.ended = true
	case "OnClose":
		h.closed = true
		delete(h.town.open, h)
	}
}

func (h *watched) OnOpen(c *engine.Conn)           { h.event(c, "OnOpen") }
func (h *watched) OnTimeout(c *engine.Conn)        { h.event(c, "OnTimeout") }
func (h *watched) OnClose(c *engine.Conn, _ error) { h.event(c, "OnClose") }

func (h *watched) pause(c *engine.Conn) {
	h.paused = true
	c.PauseRead()
}

func (h *watched) resume(c *engine.Conn) {
	h.paused = false
	c.ResumeRead()
}

// write queues as much of p as there is room for, by one of the two ways.
func (h *watched) write(c *engine.Conn, p []byte) int {
	p = p[:min(len(p), c.Room())]
	if len(p) == 0 {
		return 0
	}
	var err error
	if h.town.w.Rand().IntN(2) == 0 {
		err = c.Write(p)
	} else {
		c.Commit(append(c.Reserve(h.town.w.Rand().IntN(512)), p...))
	}
	if err != nil {
		h.town.t.Errorf("write within the room: %v", err)
	}
	return len(p)
}

// resumeLater resumes c after a while, by one of the ways there are.
func (h *watched) resumeLater(c *engine.Conn) {
	r, rng, ref := c.Reactor(), h.town.w.Rand(), c.Ref()
	again := func(r *engine.Reactor) {
		if c := ref.Conn(); c != nil {
			h.resume(c)
		}
	}
	switch rng.IntN(4) {
	case 0:
		r.Defer(&engine.Task{Run: again})
	case 1:
		r.Arm(&engine.Timer{Run: again}, r.Now()+rng.Int64N(int64(10*time.Millisecond)))
	case 2:
		all := r.Engine().Reactors()
		all[rng.IntN(len(all))].Post(&engine.Task{Run: func(*engine.Reactor) {
			ref.Reactor().Post(&engine.Task{Run: again})
		}})
	default:
		h.resume(c) // in place
	}
}

// simEcho echoes, takes what it likes of what it is offered, and pauses whenever it leaves something.
type simEcho struct{ *watched }

func (h *simEcho) OnData(c *engine.Conn, in []byte) int {
	h.event(c, "OnData")
	rng := h.town.w.Rand()
	n := h.write(c, in[:1+rng.IntN(len(in))])
	if c.Congested() {
		h.pause(c)
		return n
	}
	if c.Room() == 0 { // the peer has reset the connection
		return len(in)
	}
	if n < len(in) || rng.IntN(8) == 0 {
		h.pause(c)
		h.resumeLater(c)
	}
	if rng.IntN(16) == 0 {
		c.SetTimeout(time.Duration(rng.Int64N(int64(5 * time.Millisecond))))
	}
	return n
}

func (h *simEcho) OnSendable(c *engine.Conn) {
	h.event(c, "OnSendable")
	if c.Congested() {
		h.town.t.Errorf("OnSendable while congested")
	}
	h.resume(c)
}

func (h *simEcho) OnEOF(c *engine.Conn) {
	h.event(c, "OnEOF")
	if c.Unread() {
		h.town.t.Errorf("OnEOF with unread bytes")
	}
	if h.town.w.Rand().IntN(2) == 0 {
		c.CloseWrite()
	}
	c.Close(nil)
}

// simRelay passes bytes on to peer.
type simRelay struct {
	*watched
	peer   *engine.Conn
	splice engine.Splice
}

func (h *simRelay) OnData(c *engine.Conn, in []byte) int {
	h.event(c, "OnData")
	n := h.write(h.peer, in)
	switch {
	case h.peer.Congested():
		h.pause(c)
	case h.peer.Room() == 0: // it takes nothing any more, and is about to close
		return len(in)
	case n < len(in):
		h.pause(c)
		h.resumeLater(c)
	case h.town.w.Rand().IntN(2) == 0:
		c.Splice(&h.splice, h.peer, 1+h.town.w.Rand().Int64N(100_000), h)
	}
	return n
}

func (h *simRelay) OnSpliced(in, out int, _ bool) {
	h.town.spliced += in
	if in < 0 || out < 0 || h.paused {
		h.town.t.Errorf("spliced %d and %d, paused %v", in, out, h.paused)
	}
}

func (h *simRelay) OnSendable(c *engine.Conn) {
	h.event(c, "OnSendable")
	h.other().resume(h.peer)
}

func (h *simRelay) other() *watched {
	for o := range h.town.open {
		if o.conn == h.peer {
			return o
		}
	}
	return &watched{}
}

func (h *simRelay) OnEOF(c *engine.Conn) {
	h.event(c, "OnEOF")
	h.peer.CloseWrite()
	if h.other().ended {
		c.Close(nil)
		h.peer.Close(nil)
	}
}

func (h *simRelay) OnClose(c *engine.Conn, cause error) {
	h.event(c, "OnClose")
	h.peer.Close(cause)
}

// simClient sends want, in pieces, and expects it back.
type simClient struct {
	town *town
	peer *sim.Peer
	want []byte
	got  []byte
	done bool
	sure bool // nothing that it does itself ends the connection early
}

func (v *town) client(to poller.Addr) {
	rng := v.w.Rand()
	c := &simClient{town: v, sure: true, want: make([]byte, rng.IntN(1<<rng.IntN(16)))}
	for i := range c.want {
		c.want[i] = byte(rng.Uint32())
	}
	v.clients = append(v.clients, c)
	soon := func(d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }
	v.w.After(soon(20*time.Millisecond), func() {
		c.peer = v.w.Dial(to)
		c.peer.Handle = c.handle
		left, at := c.want, time.Duration(0)
		for len(left) > 0 {
			n := 1 + rng.IntN(len(left))
			piece := left[:n]
			left = left[n:]
			at += soon(5 * time.Millisecond)
			v.w.After(at, func() { c.peer.Send(piece) })
		}
		v.w.After(at+1, c.peer.CloseWrite)
		if rng.IntN(4) == 0 {
			v.w.After(soon(at+time.Millisecond), c.peer.StopReading)
			v.w.After(at+time.Millisecond+soon(50*time.Millisecond), c.peer.StartReading)
		}
		if v.faults && rng.IntN(4) == 0 {
			c.sure = false
			end := c.peer.Close
			if rng.IntN(2) == 0 {
				end = c.peer.Reset
			}
			v.w.After(soon(at+5*time.Millisecond), func() { end(); c.done = true })
		}
	})
}

func (c *simClient) handle(p *sim.Peer) {
	c.got = append(c.got, p.Take()...)
	if len(c.got) > len(c.want) || !bytes.Equal(c.got, c.want[:len(c.got)]) {
		c.town.t.Errorf("the echo differs within its %d bytes", len(c.got))
	}
	if c.done || !p.Closed() {
		return
	}
	c.done = true
	if c.sure && !c.town.faults && (len(c.got) != len(c.want) || p.Err() != nil) {
		c.town.t.Errorf("%d of %d bytes came back, then %v", len(c.got), len(c.want), p.Err())
	}
	p.Close()
}

// run lets the town live until all is closed, stops it, and looks for what is left.
func (v *town) run() {
	over := func() bool {
		for _, c := range v.clients {
			if !c.done {
				return false
			}
		}
		return len(v.open) == 0 && v.engine.Conns() == 0 // a conn that is being handed over has no handler yet
	}
	testutil.Must(v.t, v.w.Run(over, 400_000))
	st := v.stats()
	v.last = st
	if st.Panics > 0 || st.Conns != 0 || st.BufBytes != 0 || st.QueueFull > 0 {
		v.t.Errorf("%+v", st)
	}
	v.engine.Stop()
	if fds := v.w.OpenFDs(); len(fds) > 0 {
		v.t.Errorf("descriptors %v are open", fds)
	}
}

func (v *town) stats() engine.Stats { return v.engine.Stats() }

func simulate(wrapped wrap, faults sim.Faults) func(t testing.TB, w *sim.World) {
	return func(t testing.TB, w *sim.World) {
		w.Faults = faults
		v := newTown(t, w, wrapped)
		v.faults = faults.Reset > 0
		for range 1 + w.Rand().IntN(6) {
			to := v.front
			if w.Rand().IntN(3) == 0 {
				to = v.echo
			}
			v.client(to)
		}
		v.run()
	}
}

func TestSim_echoAndRelay(t *testing.T) {
	sim.Run(t, simSeeds, simulate(nil, sim.Faults{ShortWrite: 0.1, AcceptFull: 0.05, UnixAgain: 0.2,
		ShortSplice: 0.1, NoPipe: 0.1}))
}

// A kernel that suddenly cannot splice any more: what lies in a pipe is copied out of it.
func TestSim_spliceGivenUp(t *testing.T) {
	sim.Run(t, simSeeds/4, simulate(nil, sim.Faults{ShortWrite: 0.1, ShortSplice: 0.3, SpliceInvalid: 0.2}))
}

// The relay of these simulations does splice, and a good part of the bytes.
func TestSim_splices(t *testing.T) {
	spliced, all := 0, uint64(0)
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		v := newTown(t, w, nil)
		for range 4 {
			v.client(v.front)
		}
		v.run()
		st := v.last
		if uint64(v.spliced) != st.BytesSpliced {
			t.Errorf("owners were told of %d bytes, counted are %d", v.spliced, st.BytesSpliced)
		}
		spliced, all = spliced+v.spliced, all+st.BytesIn
	})
	if spliced < int(all/100) {
		t.Errorf("%d of %d bytes", spliced, all)
	}
}

func TestSim_echoAndRelayWithFaults(t *testing.T) {
	sim.Run(t, simSeeds, simulate(nil, sim.Faults{ShortWrite: 0.1, AcceptAborted: 0.05, AcceptFull: 0.05,
		ConnectRefused: 0.05, ConnectTimeout: 0.02, ConnectUnreachable: 0.02, UnixAgain: 0.2, Reset: 0.005,
		ShortSplice: 0.1, NoPipe: 0.1}))
}

// TestSim_stopAtAnyMoment stops the engine amid everything.
func TestSim_stopAtAnyMoment(t *testing.T) {
	sim.Run(t, simSeeds/2, func(t testing.TB, w *sim.World) {
		w.Faults = sim.Faults{ShortWrite: 0.1, UnixAgain: 0.5, Reset: 0.001}
		v := newTown(t, w, nil)
		v.faults = true
		for range 5 {
			v.client(v.front)
		}
		for range w.Rand().IntN(3000) {
			w.Step()
		}
		v.engine.Stop()
		if len(v.open) != 0 {
			t.Errorf("%d conns were not told", len(v.open))
		}
		if fds := w.OpenFDs(); len(fds) > 0 {
			t.Errorf("descriptors %v are open", fds)
		}
	})
}

// forgetful says that everything was sent although the socket took less.
type forgetful struct{ poller.Kernel }

func (k forgetful) Write(fd poller.FD, p []byte) (int, syscall.Errno) {
	n, e := k.Kernel.Write(fd, p)
	if e == 0 {
		n = len(p)
	}
	return n, e
}

// deaf loses every hundredth event.
type deaf struct {
	poller.Kernel
	n *int
}

func (k deaf) Wait(dst []poller.Event, until int64) int {
	n := k.Kernel.Wait(dst, until)
	kept := dst[:0]
	for _, ev := range dst[:n] {
		if *k.n++; *k.n%100 != 0 {
			kept = append(kept, ev)
		}
	}
	return len(kept)
}

// leaky closes one descriptor less than it should.
type leaky struct {
	poller.Kernel
	n *int
}

func (k leaky) Close(fd poller.FD) {
	if *k.n++; *k.n != 5 {
		k.Kernel.Close(fd)
	}
}

// TestSim_canaries proves that the simulations above can fail: each of these has a fault that they must find.
func TestSim_canaries(t *testing.T) {
	faults := sim.Faults{ShortWrite: 0.1, UnixAgain: 0.2}
	for name, wrapped := range map[string]wrap{
		"bytes lost on a short write": func(k poller.Kernel) poller.Kernel { return forgetful{k} },
		"a lost edge":                 func(k poller.Kernel) poller.Kernel { return deaf{k, new(int)} },
		"a leaked descriptor":         func(k poller.Kernel) poller.Kernel { return leaky{k, new(int)} },
	} {
		seed := sim.MustFail(t, 50, simulate(wrapped, faults))
		t.Log(fmt.Sprintf("%s: found by seed %d", name, seed))
	}
}
