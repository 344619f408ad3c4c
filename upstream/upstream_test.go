package upstream_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/sim"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

// world is an upstream with one reactor and origins that answer everything.
type world struct {
	t       testing.TB
	w       *sim.World
	engine  *engine.Engine
	reactor *engine.Reactor
	u       *upstream.Upstream
	origins []*sim.Listener
}

func addr(i int) poller.Addr {
	return poller.Addr{IP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80)}
}

func newWorld(t testing.TB, w *sim.World, o upstream.Options, origins int) *world {
	w.Net.SegmentMin, w.Net.BufferMin = 256, 256 // heads come whole, nearly always: this is not about codecs
	e, err := engine.New(engine.Options{
		Reactors: 1, Kernel: func(i int) (poller.Kernel, error) { return w.Kernel(i), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	x := &world{t: t, w: w, engine: e, reactor: e.Reactors()[0]}
	w.Add(x.reactor)
	for i := range origins {
		l := w.Serve(addr(i + 1))
		l.Handle = answerEach("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		x.origins = append(x.origins, l)
	}
	if o.Backends == nil {
		o.Backends = []upstream.Backend{{Address: addr(1).String()}}
	}
	x.u = upstream.New(e, o)
	return x
}

// answerEach returns an origin's way of answering each request without a body. Heads may come in pieces.
func answerEach(text string) func(p *sim.Peer) {
	came := map[*sim.Peer]string{}
	return func(p *sim.Peer) {
		heads := strings.Split(came[p]+string(p.Take()), "\r\n\r\n")
		came[p] = heads[len(heads)-1]
		for range heads[1:] {
			p.SendString(text)
		}
	}
}

// exchange receives an answer.
type exchange struct {
	ended bool
	reset bool
}

func (x *exchange) OnHead(_ session.Stream, _ *message.Head, end bool) { x.ended = end }
func (x *exchange) OnData(s session.Stream, p []byte, end bool) {
	s.Release(len(p))
	x.ended = end
}
func (x *exchange) OnTrailers(session.Stream, *message.Head)    { x.ended = true }
func (x *exchange) OnSendable(session.Stream)                   {}
func (x *exchange) OnReset(session.Stream, session.Code, error) { x.reset = true }

// begin opens an exchange with the first backend.
func (x *world) begin() *exchange {
	x.t.Helper()
	c, err := x.u.Take(x.reactor, 0, x.u.NextAddress(x.reactor, 0), false, &upstream.Waiter{})
	if err != nil {
		x.t.Fatal(err)
	}
	h := message.Head{}
	h.SetMethod("GET")
	h.SetTarget("/")
	h.SetAuthority("h")
	r := &exchange{}
	if err := c.Open(r).SendHead(&h, true); err != nil {
		x.t.Fatal(err)
	}
	return r
}

func (x *world) run(until func() bool) {
	x.t.Helper()
	if err := x.w.Run(until, 100_000); err != nil {
		x.t.Fatal(err)
	}
}

func (x *world) finish(rs ...*exchange) {
	x.t.Helper()
	x.run(func() bool {
		for _, r := range rs {
			if !r.ended {
				return false
			}
		}
		return true
	})
}

func (x *world) stats() upstream.Stats { return x.u.Stats(x.reactor) }

func (x *world) want(want upstream.Stats) {
	x.t.Helper()
	if got := x.stats(); got != want {
		x.t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestUpstream_usesConnectionsAgain(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{}, 1)
		x.finish(x.begin())
		x.finish(x.begin())
		x.finish(x.begin(), x.begin()) // two at a time need two
		x.want(upstream.Stats{Taken: 2, Dialed: 2, Idle: 2, Connections: 2})
	})
}

func TestUpstream_keepsNoMoreThanItMay(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{Idle: 2}, 1)
		x.finish(x.begin(), x.begin(), x.begin())
		x.run(func() bool { return x.stats().Connections == 2 })
		x.want(upstream.Stats{Dialed: 3, Evicted: 1, Idle: 2, Connections: 2})
		none := newWorld(t, sim.NewWorld(w.Seed()), upstream.Options{Idle: -1}, 1)
		none.finish(none.begin())
		none.run(func() bool { return none.stats().Connections == 0 })
		none.want(upstream.Stats{Dialed: 1})
	})
}

func TestUpstream_closesWhatIsIdleForTooLong(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{IdleTimeout: time.Second}, 1)
		x.finish(x.begin())
		since := w.Now()
		x.run(func() bool { return x.stats().Connections == 0 })
		if d := time.Duration(w.Now() - since); d < 900*time.Millisecond || d > 1200*time.Millisecond {
			t.Fatal(d)
		}
	})
}

func TestUpstream_closesWhatSpeaksUnasked(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{}, 1)
		x.finish(x.begin())
		x.origins[0].Accepted()[0].SendString("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		x.run(func() bool { return x.stats().Connections == 0 })
		x.want(upstream.Stats{Dialed: 1, Unasked: 1})
	})
}

func TestUpstream_leavesAddressesThatAreGone(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{}, 2)
		x.finish(x.begin())
		x.u.SetAddrs(0, []poller.Addr{addr(2)})
		x.finish(x.begin())
		if n := len(x.origins[1].Accepted()); n != 1 {
			t.Fatal(n)
		}
		x.run(func() bool { return x.stats().Connections == 1 })
		x.u.SetAddrs(0, nil)
		if i := x.u.Pick(x.reactor, nil); i >= 0 {
			t.Fatal("a backend without an address is picked")
		}
		if _, err := x.u.Take(x.reactor, 0, 0, false, nil); err != upstream.ErrNoAddress {
			t.Fatal(err)
		}
	})
}

func TestUpstream_parksNothingOnceClosed(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{}, 1)
		x.finish(x.begin(), x.begin())
		r := x.begin()
		x.u.Close(x.engine)
		x.finish(r) // what is in progress goes on
		x.run(func() bool { return x.stats().Connections == 0 })
	})
}

func TestUpstream_countsDialsThatFail(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{}, 1)
		x.origins[0].Refuse(true)
		r := x.begin()
		x.run(func() bool { return r.reset })
		x.run(func() bool { return x.stats().Connections == 0 })
		x.want(upstream.Stats{Dialed: 1, DialFailed: 1})
	})
}

// A name that does not resolve is a backend that is down; one that moves takes its backend along.
func TestResolve_followsNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := engine.New(engine.Options{
			Reactors: 1, Kernel: func(int) (poller.Kernel, error) { return sim.NewLoop(), nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		r := e.Reactors()[0]
		u := upstream.New(e, upstream.Options{Backends: []upstream.Backend{
			{Address: "one.example:80"}, {Address: "127.0.0.1:80"},
		}})
		answers := make(chan []string, 1)
		res := upstream.Resolve(u, func(_ context.Context, host string) ([]netip.Addr, error) {
			if host != "one.example" {
				t.Error(host)
			}
			var ips []netip.Addr
			for _, s := range <-answers {
				ips = append(ips, netip.MustParseAddr(s))
			}
			if ips == nil {
				return nil, errors.New("no such host")
			}
			return ips, nil
		})
		defer func() {
			close(answers)
			res.Stop()
		}()
		for _, step := range []struct {
			answer []string
			want   int
			wait   time.Duration
		}{
			{nil, 0, 2 * time.Second},
			{[]string{"10.0.0.2", "10.0.0.1", "10.0.0.2"}, 2, 30 * time.Second},
			{nil, 2, 2 * time.Second}, // the last good answer is kept
			{[]string{"10.0.0.3"}, 1, 30 * time.Second},
		} {
			answers <- step.answer
			synctest.Wait()
			if got := u.Addresses(r, 0); got != step.want {
				t.Fatalf("%v: %d addresses, want %d", step.answer, got, step.want)
			}
			up := map[int]bool{u.Pick(r, nil): true, u.Pick(r, nil): true}
			if up[0] != (step.want > 0) || !up[1] {
				t.Fatalf("%v: picked %v", step.answer, up)
			}
			time.Sleep(step.wait)
			synctest.Wait()
		}
	})
	if upstream.Resolve(upstream.New(mustEngine(t), upstream.Options{}), nil) != nil {
		t.Fatal("a resolver without names")
	}
}

func mustEngine(t *testing.T) *engine.Engine {
	t.Helper()
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	return e
}
