package tlsconn_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
)

// simSeeds is how many seeds an ordinary test runs; EDGE_SIM_TIMES multiplies it.
const simSeeds = 100

// settled is a reactor that has its turn when no handshake computes: so the seed alone decides what happens.
type settled struct {
	r  *engine.Reactor
	hs *tlsconn.Handshaker
}

func (s settled) Tick() {
	for s.hs.Stats().Computing > 0 {
		runtime.Gosched()
	}
	s.r.Tick()
}

// caller is a client that sends what it has, bit by bit, and knows what must come back. Now and then it does not read.
type caller struct {
	w           *sim.World
	conn        *engine.Conn
	send, got   []byte
	sent        int
	opened, eof bool
	cut, closed bool
	cause       error
	finish      bool // CloseWrite after the last byte, else Close once all came back
}

func (h *caller) OnOpen(c *engine.Conn) {
	h.opened = true
	if tlsconn.DigestOf(c) == nil {
		panic("open without TLS")
	}
	h.push(c)
}

// push writes some more.
func (h *caller) push(c *engine.Conn) {
	for h.sent < len(h.send) && !c.Congested() {
		n := min(1+h.w.Rand().IntN(20000), len(h.send)-h.sent, c.Room())
		if n == 0 {
			break
		}
		p := h.send[h.sent : h.sent+n]
		if h.w.Rand().IntN(3) == 0 {
			b := c.Reserve(n)
			c.Commit(append(b, p...))
		} else if err := c.Write(p); err != nil {
			panic(err)
		}
		h.sent += n
	}
	if h.sent == len(h.send) && h.finish {
		c.CloseWrite()
	}
}

func (h *caller) OnData(c *engine.Conn, in []byte) int {
	n := len(in)
	switch h.w.Rand().IntN(8) {
	case 0:
		n = h.w.Rand().IntN(n + 1)
		h.rest(c)
	case 1:
		h.rest(c)
	}
	h.got = append(h.got, in[:n]...)
	if len(h.got) == len(h.send) && !h.finish {
		c.Close(nil)
	}
	return n
}

// rest stops reading for a moment.
func (h *caller) rest(c *engine.Conn) {
	c.PauseRead()
	c.SetTimeout(time.Duration(1 + h.w.Rand().IntN(int(3*time.Millisecond))))
}

func (h *caller) OnSendable(c *engine.Conn) { h.push(c) }
func (h *caller) OnTimeout(c *engine.Conn)  { c.ResumeRead() }

func (h *caller) OnEOF(c *engine.Conn) {
	h.eof, h.cut = true, c.Truncated()
	if !c.Unread() {
		c.Close(nil)
	} else {
		c.ResumeRead()
		c.SetTimeout(time.Millisecond)
	}
}

func (h *caller) OnClose(_ *engine.Conn, cause error) { h.closed, h.cause = true, cause }

func (h *caller) check() error {
	switch {
	case h.cause != nil:
		return fmt.Errorf("closed with %w", h.cause)
	case !h.opened:
		return fmt.Errorf("never opened")
	case !bytes.Equal(h.got, h.send):
		return fmt.Errorf("%d bytes of %d came back", len(h.got), len(h.send))
	case h.finish && (!h.eof || h.cut):
		return fmt.Errorf("end %v, truncated %v", h.eof, h.cut)
	}
	return nil
}

func TestSim_echo(t *testing.T) { simulate(t, sim.Faults{ShortWrite: 0.1}, (*caller).check) }

// Whatever is cut, every connection ends, with a cause where something is missing, and nothing is left behind.
func TestSim_resets(t *testing.T) {
	faults := sim.Faults{ShortWrite: 0.1, Reset: 0.02, ConnectRefused: 0.05, AcceptAborted: 0.05}
	simulate(t, faults, func(h *caller) error {
		if !h.closed || h.cause == nil && !h.cut && len(h.got) < len(h.send) {
			return fmt.Errorf("closed %v, %v, %d of %d bytes", h.closed, h.cause, len(h.got), len(h.send))
		}
		return nil
	})
}

func simulate(t *testing.T, faults sim.Faults, check func(h *caller) error) {
	sim.Run(t, simSeeds, func(t testing.TB, w *sim.World) {
		rng := w.Rand()
		w.Faults = faults
		w.Net.SegmentMin = 1 + rng.IntN(64)
		o := engine.Options{
			Reactors: 1 + rng.IntN(2), ReadSize: 16 << rng.IntN(13), SendLow: 64 << rng.IntN(10), Memory: 1 << 30,
			Kernel: func(i int) (poller.Kernel, error) { return w.Kernel(i), nil },
		}
		o.SendMax = o.SendLow + 64<<10 + rng.IntN(4*o.SendLow)
		e, err := engine.New(o)
		testutil.Must(t, err)
		hs := tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{Timeout: time.Hour})
		for _, r := range e.Reactors() {
			w.Add(settled{r, hs})
		}
		addr := poller.Addr{IP: netip.MustParseAddrPort("10.0.0.1:443")}
		listen := engine.ListenOptions{Addr: addr}
		_, err = e.Listen(listen, hs.Server(tlsconn.ServerOptions{Config: serverConfig()}, echoes))
		testutil.Must(t, err)
		co := &tlsconn.ClientOptions{Config: clientConfig()}
		var callers []*caller
		for i := range 1 + rng.IntN(3) {
			h := &caller{w: w, send: noise(1 + rng.IntN(1<<(4+rng.IntN(14)))), finish: rng.IntN(2) == 0}
			early := rng.IntN(2) == 0
			callers = append(callers, h)
			e.Reactors()[i%len(e.Reactors())].Post(&engine.Task{Run: func(r *engine.Reactor) {
				c, err := hs.Dial(r, addr, h, nil, co)
				if err != nil {
					t.Error(err)
					return
				}
				if early {
					h.push(c)
				}
			}})
		}
		err = w.Run(func() bool {
			for _, h := range callers {
				if !h.closed {
					return false
				}
			}
			return e.Conns() == 0 && bufBytes(e) == 0 // a goroutine may end after its connection
		}, 4_000_000) // segments of a few bytes take many
		if err != nil {
			t.Fatalf("%d bytes of buffers are out: %v", bufBytes(e), err)
		}
		for i, h := range callers {
			if err := check(h); err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
		}
		testutil.Eventually(t, patience, func() bool { return hs.Stats().Computing == 0 })
		if n := hs.Stats().Current; n != 0 {
			t.Errorf("%d handshakes are in progress", n)
		}
		e.Stop()
	})
}

// bufBytes is for the goroutine that drives the reactors of e.
func bufBytes(e *engine.Engine) (n int64) {
	for _, r := range e.Reactors() {
		n += r.Stats().BufBytes
	}
	return n
}
