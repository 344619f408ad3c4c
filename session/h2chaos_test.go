package session_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// chaos plays one side of exchanges at random, and watches that the other keeps to the contract.
type chaos struct {
	t       testing.TB
	rng     *rand.Rand
	live    []*wild
	client  bool
	inside  *wild // whose callback runs
	resets  int
	through int
}

// wild is one exchange that does what comes to its mind.
type wild struct {
	contract
	s    session.Stream
	c    *chaos
	owed int
	sent bool // the final head
	ask  bool
}

func (c *chaos) Accept(_ *engine.Reactor, s session.Stream) session.Receiver { return c.add(s) }
func (c *chaos) Refused(*engine.Reactor, poller.Addr, int, error)            {}

func (c *chaos) add(s session.Stream) *wild {
	w := &wild{contract: contract{t: c.t, name: "wild"}, s: s, c: c}
	c.live = append(c.live, w)
	return w
}

func (w *wild) enter() {
	if w.c.inside != nil {
		w.t.Fatal("a callback within a callback")
	}
	w.c.inside = w
}

func (w *wild) leave() {
	w.act()
	w.c.inside = nil
	w.prune()
}

func (w *wild) prune() {
	if !w.over() && (w.c.client || !w.out || w.in) {
		return
	}
	for i, l := range w.c.live {
		if l == w {
			w.c.through++
			w.c.live = append(w.c.live[:i], w.c.live[i+1:]...)
			return
		}
	}
}

func (w *wild) OnHead(_ session.Stream, h *message.Head, end bool) {
	w.enter()
	w.ask = h.Upgrade
	if h.Tunnel {
		w.contract.in, w.contract.out, w.head = false, false, true
	} else {
		w.gotHead(!w.c.client || h.Status >= 200, end)
	}
	w.leave()
}

func (w *wild) OnData(_ session.Stream, p []byte, end bool) {
	w.enter()
	w.gotData(end)
	w.owed += len(p)
	w.leave()
}

func (w *wild) OnTrailers(_ session.Stream, _ *message.Head) {
	w.enter()
	w.gotData(true)
	w.leave()
}

func (w *wild) OnSendable(session.Stream) {
	w.enter()
	w.alive("sendable")
	w.leave()
}

func (w *wild) OnReset(session.Stream, session.Code, error) {
	w.enter()
	w.gotReset()
	w.c.resets++
	w.c.inside = nil
	w.prune()
}

// act does something, or nothing.
func (w *wild) act() {
	if w.reset || w.out && (!w.c.client || w.in) {
		return
	}
	rng := w.c.rng
	switch rng.IntN(7) {
	case 0:
		if !w.sent && !w.c.client {
			w.answer()
		}
	case 1, 2:
		if w.sent && !w.out {
			w.data()
		}
	case 3:
		n := rng.IntN(w.owed + 1)
		w.owed -= n
		w.s.Release(n)
	case 4:
		if w.s.Congested() && w.out {
			w.t.Fatal("congested behind its end")
		}
		w.s.Queued()
		w.s.Peer()
	case 5:
		if rng.IntN(6) == 0 {
			w.reset = true
			w.s.Reset(session.Code(rng.IntN(8)))
		}
	}
}

func (w *wild) answer() {
	rng := w.c.rng
	h := message.Head{Status: []uint16{200, 204, 304, 404, 103}[rng.IntN(5)], Length: message.LengthUnknown}
	if w.ask && rng.IntN(2) == 0 {
		h.Status, h.Tunnel = 101, true
	}
	end := h.Status >= 200 && rng.IntN(3) == 0
	h.AddID(message.Server, "Server", "edge")
	err := w.s.SendHead(&h, end)
	if err != nil {
		return
	}
	if h.Tunnel {
		w.in = false
	}
	w.sent = h.Status != 103
	w.out = end
}

func (w *wild) data() {
	rng := w.c.rng
	end := rng.IntN(4) == 0
	p := make([]byte, rng.IntN(1<<rng.IntN(18)))
	n, err := w.s.SendData(p, end)
	switch {
	case err == nil && n == len(p):
		w.out = end
	case err == nil && !w.s.Congested():
		w.t.Fatal("took a part and promises nothing")
	}
}

// poke lets exchanges act outside of callbacks.
func (c *chaos) poke() {
	for range c.rng.IntN(4) {
		if len(c.live) > 0 {
			w := c.live[c.rng.IntN(len(c.live))]
			w.act()
			w.prune()
		}
	}
}

// bytes makes some frames of a peer that is mostly sane. next is the next number of a stream.
func (c *chaos) bytes(next *uint32) (b []byte) {
	rng := c.rng
	for range rng.IntN(5) {
		id := uint32(1)
		if *next > 1 {
			id = uint32(rng.IntN(int(*next)/2))*2 + 1
		}
		end := byte(rng.IntN(2))
		switch rng.IntN(9) {
		case 0, 1, 2:
			if c.client {
				block := []string{blockOK, "\x08\x03103", "\x8d"}[rng.IntN(3)]
				b = frame(b, frameHeaders, flagEndHeaders|end, id, block)
				break
			}
			block := []string{blockGet, blockPost, blockConnect, "\x82"}[rng.IntN(4)]
			b = frame(b, frameHeaders, flagEndHeaders|end, *next, block)
			*next += 2
		case 3, 4:
			b = frame(b, frameData, end, id, string(make([]byte, rng.IntN(300))))
		case 5:
			b = frame(b, frameWindow, 0, id*uint32(rng.IntN(2)), string([]byte{0, 0, byte(rng.IntN(255)), 1}))
		case 6:
			b = frame(b, frameReset, 0, id, "\x00\x00\x00\x08")
		case 7:
			b = frame(b, frameSettings, 0, 0, setting(4, uint32(rng.IntN(100000))))
		case 8:
			if rng.IntN(20) == 0 {
				b = frame(b, frameGoAway, 0, 0, string([]byte{0, 0, 0, byte(id), 0, 0, 0, 0}))
			}
		}
	}
	return b
}

// step lets the peer, the exchanges and the kernel do something.
func (c *chaos) step(s *script, next *uint32) (alive bool) {
	if b := c.bytes(next); len(b) > 0 {
		cut := c.rng.IntN(len(b) + 1)
		s.recv(b[:cut])
		if s.l.Sock(s.fd).Open {
			s.recv(b[cut:])
		}
	}
	s.do(c.poke)
	sock := s.l.Sock(s.fd)
	sock.Sent = sock.Sent[:0]
	s.l.SendMax = 1 + c.rng.IntN(40000)
	s.l.Drained(s.fd)
	s.l.Wake()
	s.r.Tick()
	if c.rng.IntN(30) == 0 {
		s.pass(time.Duration(c.rng.IntN(20)) * time.Second)
	}
	return sock.Open && !sock.FIN
}

func seeds(t *testing.T, f func(t testing.TB, rng *rand.Rand)) {
	n := 300
	if testing.Short() {
		n = 50
	}
	sim.Run(t, n, func(t testing.TB, w *sim.World) { f(t, w.Rand()) })
}

// wantNothingHeld lets what is still to be sent leave, which may have kept the connection, and wants all memory back.
func (c *chaos) wantNothingHeld(s *script) {
	c.t.Helper()
	s.l.SendMax = 0
	s.l.Drained(s.fd)
	s.pass(2 * time.Second)
	if n := s.e.Conns(); n != 0 {
		c.t.Fatalf("%d connections outlived their peer", n)
	}
	if n := held(s.e); n != 0 {
		c.t.Fatalf("%d bytes are held for nobody", n)
	}
}

// Whatever clients send and exchanges do, callbacks come as they should, and the end of the connection ends all.
func TestServer_h2Chaos(t *testing.T) {
	total := 0
	seeds(t, func(t testing.TB, rng *rand.Rand) {
		c := &chaos{t: t, rng: rng}
		s := newScript(t, engine.Options{})
		s.listen(c, session.ServerOptions{}, setting(4, uint32(rng.IntN(70000))))
		next := uint32(1)
		for range 150 {
			if !c.step(s, &next) {
				break
			}
		}
		s.l.Finish(s.fd)
		s.pass(2 * time.Second)
		if len(c.live) > 0 {
			t.Fatalf("%d exchanges outlived their connection: %+v", len(c.live), c.live[0].contract)
		}
		c.wantNothingHeld(s)
		total += c.through
	})
	t.Log(total, "exchanges")
}

func TestMux_chaos(t *testing.T) {
	total := 0
	seeds(t, func(t testing.TB, rng *rand.Rand) {
		c := &chaos{t: t, rng: rng, client: true}
		s, o := dialled(t, setting(4, uint32(rng.IntN(70000)))+setting(8, uint32(rng.IntN(2))))
		next := uint32(1)
		for range 150 {
			if rng.IntN(2) == 0 && o.mux.Usable() {
				s.do(func() {
					w := c.add(nil)
					w.s = o.mux.Open(w)
					h := request("POST", "/")
					h.Length = message.LengthUnknown
					w.sent = true
					w.out = rng.IntN(2) == 0
					if w.out && rng.IntN(2) == 0 {
						h = request("GET", "/")
						h.Upgrade, h.Protocol = true, h.Target
					}
					testutil.Must(t, w.s.SendHead(&h, w.out))
				})
				next += 2
			}
			if !c.step(s, &next) {
				break
			}
		}
		s.l.Finish(s.fd)
		s.pass(2 * time.Second)
		if len(c.live) > 0 || o.mux.Streams() > 0 {
			t.Fatalf("%d exchanges outlived their connection: %+v", len(c.live), c.live[0].contract)
		}
		c.wantNothingHeld(s)
		total += c.through
	})
	t.Log(total, "exchanges")
}
