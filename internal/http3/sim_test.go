package http3

import (
	"bytes"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// echo is a service that sends each body back as it comes, and releases what has left.
type echo struct {
	t    testing.TB
	live map[*echoed]bool
}

// echoed is an exchange of echo.
type echoed struct {
	of    *echo
	held  []byte
	in    bool // the request ended
	out   bool // the answer ended
	reset bool
}

func (g *echo) Accept(_ *engine.Reactor, s session.Stream) session.Receiver {
	x := &echoed{of: g}
	g.live[x] = true
	return x
}

func (g *echo) Refused(_ *engine.Reactor, _ poller.Addr, status int, err error) {
	g.t.Errorf("refused: %d, %v", status, err)
}

func (x *echoed) OnHead(s session.Stream, _ *message.Head, end bool) {
	x.in, x.out = end, end
	testutil.Must(x.of.t, s.SendHead(answer(200, message.LengthUnknown), end))
	x.prune()
}

func (x *echoed) OnData(s session.Stream, p []byte, end bool) {
	if x.in || x.reset {
		x.of.t.Fatal("data after the end")
	}
	x.held, x.in = append(x.held, p...), end
	x.OnSendable(s)
}

func (x *echoed) OnTrailers(s session.Stream, _ *message.Head) { x.OnData(s, nil, true) }

func (x *echoed) OnSendable(s session.Stream) {
	if x.reset || x.out {
		x.of.t.Fatal("sendable after the end")
	}
	n, err := s.SendData(x.held, x.in)
	testutil.Must(x.of.t, err)
	x.out = x.in && n == len(x.held)
	if x.held = x.held[n:]; len(x.held) > 512<<10 { // the largest window
		x.of.t.Fatalf("%d bytes wait", len(x.held))
	}
	s.Release(n)
	x.prune()
}

func (x *echoed) OnReset(session.Stream, session.Code, error) {
	if x.in && x.out || x.reset {
		x.of.t.Fatal("reset after the end")
	}
	x.reset = true
	x.prune()
}

func (x *echoed) prune() {
	if x.reset || x.in && x.out {
		delete(x.of.live, x)
	}
}

// asked is an exchange of a client that sends a body and wants it back, or loses interest.
type asked struct {
	s    *h3.Stream
	want []byte
	rest []byte
	got  []byte
	done bool
}

// talk lets c have n exchanges, several at a time, and leave.
func talk(c *client, n int) (over func() bool) {
	rng := c.g.w.Rand()
	live := map[*h3.Stream]*asked{}
	feed := func(x *asked) {
		k, err := c.c.SendData(x.s, x.rest, true)
		testutil.Must(c.g.t, err)
		x.rest = x.rest[k:]
	}
	var more func()
	forget := func(x *asked) {
		delete(live, x.s)
		more()
	}
	begin := func() {
		n--
		x := &asked{want: bytes.Repeat([]byte("0123456789abcdef"), rng.IntN(1<<rng.IntN(16)))}
		x.rest = x.want
		h := request("POST", "/", "Priority", []string{"u=1", "u=3, i", "u=5"}[rng.IntN(3)])
		h.Length = message.LengthUnknown
		x.s = c.ask(h, len(x.want) == 0)
		live[x.s] = x
		if len(x.want) > 0 {
			feed(x)
		}
		if rng.IntN(10) == 0 {
			c.g.w.After(time.Duration(rng.IntN(50))*time.Millisecond, func() {
				if live[x.s] == x {
					c.c.Reset(x.s, h3.RequestCancelled)
					forget(x)
					c.flush()
				}
			})
		}
	}
	more = func() {
		for n > 0 && c.c.Room() > 0 && len(live) < 5 {
			begin()
		}
		if n == 0 && len(live) == 0 {
			c.c.Close(h3.NoError)
		}
	}
	c.on = func(ev *h3.Event) {
		x := live[ev.Stream]
		switch ev.Kind {
		case h3.Data:
			x.got = append(x.got, ev.Body...)
			c.c.Release(ev.Stream, len(ev.Body))
		case h3.Sendable:
			feed(x)
		case h3.Settings: // or room for another stream
			more()
		case h3.Reset, h3.Fault:
			c.g.t.Fatalf("%v of %v: %v", ev.Kind, ev.Stream, ev.Err)
		}
		if x != nil && ev.End {
			if !bytes.Equal(x.got, x.want) {
				c.g.t.Fatalf("%d bytes came back of %d", len(x.got), len(x.want))
			}
			forget(x)
		}
	}
	c.g.w.At(c.g.w.Now(), func() { more(); c.flush() })
	return func() bool { return n == 0 && len(live) == 0 }
}

// Each body comes back, whatever the network does to datagrams, and nothing is left in the end.
func TestSim_echo(t *testing.T) {
	n := 100
	if testing.Short() {
		n = 20
	}
	sim.Run(t, n, func(t testing.TB, w *sim.World) {
		if w.Seed()%2 == 0 {
			w.Net.Loss, w.Net.Duplicate, w.Net.Corrupt = 0.02, 0.02, 0.005
		}
		if w.Seed()%3 == 0 {
			w.Net.Rate, w.Net.Queue = 2<<20, 32<<10
		}
		service := &echo{t: t, live: map[*echoed]bool{}}
		g := newRig(t, w, service, session.ServerOptions{}, ServerOptions{MaxStreams: 4})
		var overs []func() bool
		for range 3 {
			c := g.dial()
			if n := c.c.Room(); n != 4 {
				t.Errorf("room for %d streams", n)
			}
			overs = append(overs, talk(c, 12))
		}
		over := func() bool {
			for _, is := range overs {
				if !is() {
					return false
				}
			}
			for _, x := range g.ends {
				if !x.dropped || x.c.Streams() > 0 {
					return false
				}
			}
			return len(service.live) == 0 && g.r.Stats().BufBytes == 0
		}
		g.run(over)
		if st := g.sessions.Stats(g.r); st.H3Open != 0 || g.arena.Stats.Pages != 0 {
			t.Errorf("%+v, %d pages", st, g.arena.Stats.Pages)
		}
	})
}
