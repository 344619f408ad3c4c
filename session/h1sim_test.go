package session_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// contract watches that the callbacks of one exchange come as package session promises.
type contract struct {
	t       testing.TB
	name    string
	head    bool // a final head came
	in, out bool // what the peer sends has ended; what we send has
	reset   bool
}

func (c *contract) alive(what string) {
	c.t.Helper()
	if c.reset || c.in && c.out {
		c.t.Fatalf("%s: %s behind the end (%+v)", c.name, what, *c)
	}
}

func (c *contract) gotHead(final, end bool) {
	c.t.Helper()
	if c.alive("head"); c.head {
		c.t.Fatalf("%s: a second head", c.name)
	}
	c.head = final
	c.in = final && end
}

func (c *contract) gotData(end bool) {
	c.t.Helper()
	if c.alive("data"); !c.head || c.in {
		c.t.Fatalf("%s: data out of order (%+v)", c.name, *c)
	}
	c.in = end
}

func (c *contract) gotReset() {
	c.t.Helper()
	c.alive("reset")
	c.reset = true
}

func (c *contract) over() bool { return c.reset || c.in && c.out }

// body passes bytes from a stream to another, or to itself, and releases them when they have left.
type body struct {
	held    []byte
	owed    int
	ended   bool
	endSent bool
}

func (b *body) send(to session.Stream) {
	if len(b.held) > 0 || b.ended && !b.endSent {
		n, err := to.SendData(b.held, b.ended)
		if err != nil {
			return
		}
		b.endSent = b.ended && n == len(b.held)
		b.held = b.held[n:]
	}
}

func (b *body) settle(to, from session.Stream) {
	if len(b.held) == 0 && b.owed > 0 && !to.Congested() {
		n := b.owed
		b.owed = 0
		from.Release(n)
	}
}

// echo is a service that sends back what it gets. Its answers end as their requests do, or early.
type echo struct {
	t    testing.TB
	w    *sim.World
	live map[*echoed]bool
}

type echoed struct {
	contract
	body
	e       *echo
	chunked bool
}

func (e *echo) Accept(_ *engine.Reactor, s session.Stream) session.Receiver {
	x := &echoed{e: e, contract: contract{t: e.t, name: "server"}, chunked: e.w.Rand().IntN(2) == 0}
	e.live[x] = true
	return x
}

func (e *echo) Refused(*engine.Reactor, poller.Addr, int, error) { e.t.Error("a request was refused") }

func (x *echoed) OnHead(s session.Stream, h *message.Head, end bool) {
	x.gotHead(true, end)
	answer := message.Head{Status: 200, Length: h.Length}
	if x.chunked {
		answer.Length = message.LengthUnknown
	}
	x.out = end
	if s.SendHead(&answer, end) == nil {
		x.done()
	}
}

func (x *echoed) OnData(s session.Stream, p []byte, end bool) {
	x.gotData(end)
	x.held, x.owed, x.ended = append(x.held, p...), x.owed+len(p), end
	x.OnSendable(s)
}

func (x *echoed) OnTrailers(s session.Stream, _ *message.Head) { x.OnData(s, nil, true) }

func (x *echoed) OnSendable(s session.Stream) {
	x.alive("sendable")
	x.send(s)
	if x.out = x.endSent; x.out {
		x.done()
		return
	}
	x.settle(s, s)
}

func (x *echoed) OnReset(session.Stream, session.Code, error) {
	x.gotReset()
	x.done()
}

func (x *echoed) done() {
	if x.over() {
		delete(x.e.live, x)
	}
}

// player is what each client of a play has. It dials one connection after the other until it has had its exchanges.
type player struct {
	t       testing.TB
	w       *sim.World
	reactor *engine.Reactor
	addr    poller.Addr
	head    message.Head
	left    int
	failed  int
	gone    int // connections that are gone, of those dialled
	dialled int
}

// over reports whether all exchanges are had and all connections gone.
func (p *player) over() bool { return p.left <= 0 && p.gone >= p.dialled }

func (p *player) self() *player { return p }

// talker is a client of a play.
type talker interface {
	dial()
	self() *player
}

// asked is one exchange of a player: it sends a body and wants it back.
type asked struct {
	contract
	p       *player
	out     body
	want    []byte
	got     []byte
	changed func() // after each event; nil: nothing follows
	counted bool
}

// begin sends the request on s, in either framing.
func (x *asked) begin(s session.Stream) {
	h := message.Head{Length: int64(len(x.want))}
	h.SetMethod("POST")
	h.SetTarget("/")
	h.SetAuthority("h")
	if x.p.w.Rand().IntN(2) == 0 {
		h.Length = message.LengthUnknown
	}
	x.out.held, x.out.ended = append([]byte(nil), x.want...), true
	bare := len(x.want) == 0
	x.contract.out, x.out.endSent = bare, bare
	testutil.Must(x.t, s.SendHead(&h, bare))
	if !bare {
		x.OnSendable(s)
	}
}

// later runs f on the reactor within 5 ms, unless the exchange is over by then.
func (x *asked) later(f func()) {
	p := x.p
	p.w.After(time.Duration(p.w.Rand().IntN(5000))*time.Microsecond, func() {
		p.reactor.Post(&engine.Task{Run: func(*engine.Reactor) {
			if !x.over() {
				f()
			}
		}})
		// Between two ticks a reactor does not count as asleep: Post wakes nobody.
		p.w.Kernel(p.reactor.Index()).Wake()
	})
}

func (x *asked) OnHead(_ session.Stream, h *message.Head, end bool) {
	if x.gotHead(h.Status >= 200, end); h.Status != 200 {
		x.t.Fatal(h.Status)
	}
	x.finish()
}

func (x *asked) OnData(s session.Stream, p []byte, end bool) {
	x.gotData(end)
	x.got = append(x.got, p...)
	if n := len(p); x.p.w.Rand().IntN(8) == 0 { // now and then it takes its time
		x.later(func() { s.Release(n) })
	} else {
		s.Release(n)
	}
	x.finish()
}

func (x *asked) OnTrailers(s session.Stream, _ *message.Head) { x.OnData(s, nil, true) }

func (x *asked) OnSendable(s session.Stream) {
	x.alive("sendable")
	x.out.send(s)
	x.contract.out = x.out.endSent
	x.finish()
}

func (x *asked) OnReset(session.Stream, session.Code, error) {
	x.gotReset()
	x.p.failed++
	x.finish()
}

func (x *asked) finish() {
	if x.in && !bytes.Equal(x.got, x.want) {
		x.t.Fatalf("%d bytes came back of %d", len(x.got), len(x.want))
	}
	if x.changed != nil {
		x.changed()
	}
}

// asker opens one exchange after another, on as many connections as it takes.
type asker struct {
	player
	opts    session.ClientOptions
	client  *session.Client
	present *asked
}

func (a *asker) dial() {
	a.client = &session.Client{}
	a.client.Init(a, &a.head, &a.opts)
	a.dialled++
	testutil.Must(a.t, a.client.Dial(a.reactor, a.addr, nil))
	a.ask()
}

func (a *asker) ask() {
	rng := a.w.Rand()
	x := &asked{p: &a.player, contract: contract{t: a.t, name: "client"}}
	if n := rng.IntN(4); n > 0 {
		x.want = bytes.Repeat([]byte("0123456789abcdef"), rng.IntN(1<<(4*n)))
	}
	a.present = x
	x.begin(a.client.Open(x))
}

func (a *asker) OnIdle(*session.Client) {
	if !a.present.over() {
		a.t.Fatalf("idle within an exchange: %+v", a.present.contract)
	}
	a.count()
	a.reactor.Defer(&engine.Task{Run: func(*engine.Reactor) {
		switch {
		case a.left == 0:
			a.client.Close()
		case a.client.Usable():
			a.ask()
		}
	}})
}

// count takes the present exchange as done, once.
func (a *asker) count() {
	if !a.present.counted {
		a.present.counted = true
		a.left--
	}
}

func (a *asker) OnGone(c *session.Client, cause error) {
	if a.gone++; cause == session.ErrSurplus || cause == engine.ErrUnasked {
		a.t.Fatal("bytes that nobody asked for")
	}
	if !a.present.over() {
		a.t.Fatalf("gone within an exchange: %+v", a.present.contract)
	}
	a.count()
	if a.left > 0 {
		a.reactor.Defer(&engine.Task{Run: func(*engine.Reactor) { a.dial() }})
	}
}

// held is what the budget of memory counts.
func held(e *engine.Engine) (n int64) {
	for _, r := range e.Reactors() {
		n += r.Stats().BufBytes
	}
	return n
}

// play lets three clients talk with a service that echoes, for so many steps at the most. In every other run they meet
// faults. In the end nothing is left of it.
func play(t testing.TB, w *sim.World, sendMax int, o session.ServerOptions, steps int, begin func(player) talker) {
	if w.Seed()%2 == 0 {
		w.Faults = sim.Faults{ShortWrite: 0.2, Reset: 0.002, ConnectRefused: 0.05, AcceptAborted: 0.05}
	}
	e, err := engine.New(engine.Options{
		Reactors: 2, SendLow: 4 << 10, SendMax: sendMax,
		Kernel: func(i int) (poller.Kernel, error) { return w.Kernel(i), nil },
	})
	testutil.Must(t, err)
	w.Net.SegmentMin = 64
	service := &echo{t: t, w: w, live: map[*echoed]bool{}}
	srv := session.NewServer(e, service, o)
	addr := poller.Addr{IP: netip.MustParseAddrPort("10.0.0.1:80")}
	_, err = e.Listen(engine.ListenOptions{Addr: addr}, srv.Accept)
	testutil.Must(t, err)
	for _, r := range e.Reactors() {
		w.Add(r)
	}
	var players []*player
	for i := range 3 {
		a := begin(player{t: t, w: w, reactor: e.Reactors()[i%2], addr: addr})
		players = append(players, a.self())
		a.self().reactor.Post(&engine.Task{Run: func(*engine.Reactor) { a.dial() }})
	}
	over := func() bool {
		for _, p := range players {
			if !p.over() {
				return false
			}
		}
		return len(service.live) == 0 && len(w.OpenFDs()) == len(e.Reactors()) && held(e) == 0
	}
	testutil.Must(t, w.Run(over, steps))
	for _, p := range players {
		if p.failed > 0 && w.Faults == (sim.Faults{}) {
			t.Fatal(p.failed, "exchanges failed without a fault")
		}
	}
}

// Both ends of a connection are ours: what one sends the other gets, and both hear what the contract says, no more.
func TestSim_contract(t *testing.T) {
	n := 300
	if testing.Short() {
		n = 30
	}
	sim.Run(t, n, func(t testing.TB, w *sim.World) {
		o := session.ServerOptions{RequestsMax: 1 + int(w.Seed()%7)}
		play(t, w, 16<<10, o, 1_000_000, func(p player) talker {
			p.left = 5
			return &asker{player: p}
		})
	})
}
