package upstream_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

func TestMain(m *testing.M) {
	// Backends that fail are part of these tests, and their lines only hide what failed.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

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
	e := simulated(t, w, 0, 1)
	x := &world{t: t, w: w, engine: e, reactor: e.Reactors()[0]}
	w.Add(x.reactor)
	for i := range origins {
		l := w.Serve(addr(i + 1))
		l.Handle = answerEach("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		x.origins = append(x.origins, l)
	}
	if o.Backends == nil {
		o.Backends = backend.Of(addr(1).String())
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
	return x.beginAt(first(x.u))
}

func (x *world) beginAt(m *backend.Member) *exchange {
	x.t.Helper()
	_, r := x.open(m)
	return r
}

// open is beginAt, with the stream.
func (x *world) open(m *backend.Member) (session.Stream, *exchange) {
	x.t.Helper()
	c, err := x.u.Take(x.reactor, m, x.u.View().NextAddress(x.reactor, m), false, &upstream.Waiter{})
	testutil.Must(x.t, err)
	r := &exchange{}
	s := c.Open(r)
	testutil.Must(x.t, s.SendHead(getHead(), true))
	return s, r
}

// getHead is the head of a request.
func getHead() *message.Head {
	h := &message.Head{}
	h.SetMethod("GET")
	h.SetTarget("/")
	h.SetAuthority("h")
	return h
}

// simulated is an engine whose kernels, from first on, are those of a World.
func simulated(t testing.TB, w *sim.World, first, reactors int) *engine.Engine {
	t.Helper()
	e, err := engine.New(engine.Options{
		Reactors: reactors, Kernel: func(i int) (poller.Kernel, error) { return w.Kernel(first + i), nil },
	})
	testutil.Must(t, err)
	return e
}

// first returns the first backend of u.
func first(u *upstream.Upstream) *backend.Member { return u.Options().Backends.Members()[0] }

func (x *world) run(until func() bool) {
	x.t.Helper()
	checked := func() bool {
		if invariant.On {
			x.stats() // looks at the invariants
		}
		return until()
	}
	testutil.Must(x.t, x.w.Run(checked, 100_000))
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
		x.want(upstream.Stats{Dialed: 1, Surplus: 1})
	})
}

func TestUpstream_leavesAddressesThatAreGone(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{}, 2)
		x.finish(x.begin())
		first(x.u).SetAddrs([]poller.Addr{addr(2)})
		x.finish(x.begin())
		if n := len(x.origins[1].Accepted()); n != 1 {
			t.Fatal(n)
		}
		x.run(func() bool { return x.stats().Connections == 1 })
		first(x.u).SetAddrs(nil)
		if m := x.u.View().Pick(x.reactor, nil); m != nil {
			t.Fatal("a backend without an address is picked")
		}
		if _, err := x.u.Take(x.reactor, first(x.u), 0, false, &upstream.Waiter{}); err != upstream.ErrNoAddress {
			t.Fatal(err)
		}
	})
}

func TestUpstream_parksNothingOnceClosed(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{}, 1)
		x.finish(x.begin(), x.begin())
		r := x.begin()
		x.u.Close()
		x.finish(r) // what is in progress goes on
		x.run(func() bool { return x.stats().Connections == 0 })
	})
}

// Exchanges that still have a closed Upstream reach members that join, and park nothing; a member that has gone can be
// used by those that chose it before.
func TestUpstream_membersOfOneThatIsClosed(t *testing.T) {
	sim.Run(t, 20, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{}, 2)
		gone := first(x.u)
		x.finish(x.begin())
		x.u.Options().Backends.Update(nil)
		x.run(func() bool { return x.stats().Connections == 0 })
		x.finish(x.beginAt(gone))
		x.run(func() bool { return x.stats().Connections == 0 })
		x.u.Close()
		x.u.Options().Backends.Update([]backend.Spec{{Address: addr(2).String()}})
		x.finish(x.begin())
		x.run(func() bool { return x.stats().Connections == 0 })
		x.want(upstream.Stats{Dialed: 3, Evicted: 1})
	})
}

// An exchange that has chosen a member while it went gets a connection, which is not kept.
func TestUpstream_memberThatHasJustGone(t *testing.T) {
	sim.Run(t, 20, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{}, 1)
		gone := first(x.u)
		x.u.Options().Backends.Update(nil)
		for range 2 {
			x.finish(x.beginAt(gone))
			x.run(func() bool { return x.stats().Connections == 0 })
		}
		x.want(upstream.Stats{Dialed: 2})
	})
}

// A slot that another member has got leads to the connections of that one.
func TestUpstream_slotsAreUsedAgain(t *testing.T) {
	sim.Run(t, 20, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{}, 2)
		slots := map[int]bool{}
		for i := range 30 {
			a := addr(1 + i%2)
			x.u.Options().Backends.Update([]backend.Spec{{Address: a.String()}})
			slots[first(x.u).Slot()] = true
			before := len(x.origins[i%2].Accepted())
			x.finish(x.begin())
			if n := len(x.origins[i%2].Accepted()); n != before+1 && i > 0 {
				t.Fatalf("update %d: %d connections to %v, there were %d", i, n, a, before)
			}
		}
		if x.run(func() bool { return x.stats().Connections == 1 }); len(slots) > 12 {
			t.Fatalf("%d slots", len(slots))
		}
	})
}

// Equal options make equal keys, whatever memory they lie in; secrets make different ones and are not in them.
func TestOptions_key(t *testing.T) {
	set := backend.Of("a:80")
	options := func(change func(o *upstream.Options)) upstream.Key {
		secret := string([]byte("a secret"))
		o := upstream.Options{Name: "u", Backends: set, Idle: 1, TLS: upstream.TLS{On: true, CA: "ca", Key: secret}}
		change(&o)
		return o.Key()
	}
	same := options(func(*upstream.Options) {})
	if same != options(func(*upstream.Options) {}) {
		t.Error("equal options have different keys")
	}
	if text := fmt.Sprintf("%#v", same); strings.Contains(text, "secret") {
		t.Error("the key holds a secret: ", text)
	}
	for what, change := range map[string]func(o *upstream.Options){
		"a number":       func(o *upstream.Options) { o.Idle = 2 },
		"the members":    func(o *upstream.Options) { o.Backends = backend.Of("a:80") },
		"a secret":       func(o *upstream.Options) { o.TLS.Key = "another" },
		"a text's place": func(o *upstream.Options) { o.TLS.Certificate, o.TLS.CA = o.TLS.CA, "" },
		"the name":       func(o *upstream.Options) { o.TLS.ServerName = "b" },
	} {
		if options(change) == same {
			t.Errorf("%s does not tell options apart", what)
		}
	}
}

func TestUpstream_countsDialsThatFail(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{}, 1)
		x.origins[0].Refuse(true)
		r := x.begin()
		x.run(func() bool { return r.reset })
		x.run(func() bool { return x.stats().Connections == 0 })
		x.want(upstream.Stats{Dialed: 1, DialFailed: 1, PassedOver: 1})
	})
}
