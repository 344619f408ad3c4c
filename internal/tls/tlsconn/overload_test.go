package tlsconn_test

import (
	"crypto/tls"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
)

// Our side computes one handshake at a time, each for shift of the simulated clock: so its capacity is exact. The other
// side is a round trip away and computes in no time.
const (
	shift     = 10 * time.Millisecond
	capacity  = float64(time.Second / shift) // a second
	roundTrip = 30 * time.Millisecond
)

// overload is both sides in a World. Owned by its goroutine.
//
//	side.client ── door ── WAN ──► side.addr ── side.server
type overload struct {
	t      testing.TB
	w      *sim.World
	ours   *side
	theirs *side
	turn   atomic.Pointer[computation] // what is to begin
	busy   bool                        // one is under way
	hello  []byte
}

// side is an engine that serves and dials.
type side struct {
	*engine.Engine
	hs     *tlsconn.Handshaker
	addr   poller.Addr
	door   *sim.Listener // the way to it
	client *tlsconn.ClientOptions
}

// newOverload makes a World in which our handshakes are bounded by o.
func newOverload(t testing.TB, o tlsconn.HandshakerOptions) *overload {
	w := sim.NewWorld(1)
	w.Net.DelayMax, w.Net.Stall, w.Net.BufferMin, w.Net.SegmentMin = time.Millisecond, 0, 64<<10, 16<<10
	v := &overload{t: t, w: w, hello: hello(t)}
	o.Computing = 1
	server, client := serverConfig(), clientConfig()
	client.CurvePreferences = []tls.CurveID{tls.X25519} // cheap
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		v.hold(shift)
		return nil, nil
	}
	ourClient := client.Clone()
	ourClient.ClientSessionCache = asked{v}
	ourClient.VerifyConnection = func(tls.ConnectionState) error {
		v.hold(shift * 3 / 4)
		return nil
	}
	v.ours = v.side(0, o, server, ourClient)
	free := tlsconn.HandshakerOptions{Computing: math.MaxInt, Timeout: time.Hour}
	v.theirs = v.side(1, free, serverConfig(), client)
	w.Add(v)
	return v
}

// asked is what a client asks for a session before it says anything: then its keys are made.
type asked struct{ v *overload }

func (a asked) Get(string) (*tls.ClientSessionState, bool) {
	a.v.hold(shift / 4)
	return nil, false
}

func (asked) Put(string, *tls.ClientSessionState) {}

// computation is what a handshake waits for while it keeps its turn.
type computation struct {
	long time.Duration
	over chan struct{}
}

// hold keeps the caller's turn for so long.
func (v *overload) hold(long time.Duration) {
	c := &computation{long, make(chan struct{})}
	v.turn.Store(c)
	<-c.over
}

func (v *overload) side(i int, o tlsconn.HandshakerOptions, server, client *tls.Config) *side {
	e, err := engine.New(engine.Options{
		Reactors: 1, Memory: 1 << 30,
		Kernel: func(int) (poller.Kernel, error) { return v.w.Kernel(i), nil },
	})
	testutil.Must(v.t, err)
	address := func(k int) poller.Addr {
		return poller.Addr{IP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), byte(k)}), 443)}
	}
	s := &side{Engine: e, hs: tlsconn.NewHandshaker(e, o), addr: address(1), door: v.w.Serve(address(2))}
	listen := engine.ListenOptions{Addr: s.addr, Gate: s.hs}
	_, err = e.Listen(listen, s.hs.Server(tlsconn.ServerOptions{Config: server}, echoes))
	testutil.Must(v.t, err)
	s.client = &tlsconn.ClientOptions{Config: client}
	s.door.Handle = func(near *sim.Peer) { near.Handle = v.first(s.addr) }
	return s
}

// first connects to the side at to when something comes for it: a client speaks as soon as it can.
func (v *overload) first(to poller.Addr) func(*sim.Peer) {
	return func(near *sim.Peer) {
		if len(near.Received()) == 0 {
			return
		}
		near.Handle = nil
		v.w.After(roundTrip/2, func() {
			far := v.w.Dial(to)
			far.Send(near.Take())
			near.Handle, far.Handle = v.wan(far), v.wan(near)
			near.Handle(near) // what came meanwhile
		})
	}
}

// wan passes on to a peer what another one receives, half a round trip later.
func (v *overload) wan(to *sim.Peer) func(*sim.Peer) {
	return func(from *sim.Peer) {
		p, over := from.Take(), from.Closed()
		v.w.After(roundTrip/2, func() {
			to.Send(p)
			if over {
				to.Close()
			}
		})
	}
}

// Tick lets both sides work when nobody computes.
func (v *overload) Tick() {
	for _, s := range []*side{v.ours, v.theirs} {
		v.settle()
		s.Reactors()[0].Tick()
	}
}

// settle waits until the handshake that computes has done so or holds its turn, and then begins the time of that.
func (v *overload) settle() {
	patient := time.Now().Add(patience)
	for v.theirs.hs.Stats().Computing > 0 || v.ours.hs.Stats().Computing > 0 && !v.busy && v.turn.Load() == nil {
		if runtime.Gosched(); time.Now().After(patient) {
			v.t.Fatalf("it computes for ever: %+v, %+v", v.ours.hs.Stats(), v.theirs.hs.Stats())
		}
	}
	c := v.turn.Swap(nil)
	if c == nil {
		return
	}
	v.busy = true
	v.w.After(c.long, func() {
		v.busy = false
		close(c.over)
		v.settle() // before the clock goes on
	})
}

// source is where handshakes come from, and how many.
type source struct {
	offered, served int
	begin           func()
}

// clients are good ones of ours.
func (v *overload) clients() *source { return v.dialing(v.theirs, v.ours) }

// backends are those that we dial.
func (v *overload) backends() *source { return v.dialing(v.ours, v.theirs) }

func (v *overload) dialing(from, to *side) *source {
	s := &source{}
	s.begin = func() {
		from.Reactors()[0].Post(&engine.Task{Run: func(r *engine.Reactor) {
			if _, err := from.hs.Dial(r, to.door.Addr(), &visitor{s: s}, nil, from.client); err != nil {
				v.t.Error(err)
			}
		}})
	}
	return s
}

// bare are clients of ours that say their ClientHello and nothing more.
func (v *overload) bare() *source {
	return &source{begin: func() { v.w.Dial(v.ours.addr).Send(v.hello) }}
}

// silent are clients of ours that say nothing at all.
func (v *overload) silent() *source { return &source{begin: func() { v.w.Dial(v.ours.addr) }} }

// offer has s begin rate handshakes a second on the average, for so long.
func (v *overload) offer(s *source, rate float64, long time.Duration) {
	end := v.w.Now() + int64(long)
	var next func()
	next = func() {
		s.offered++
		s.begin()
		if at := v.w.Now() + int64(v.w.Rand().ExpFloat64()*float64(time.Second)/rate); at < end {
			v.w.At(at, next)
		}
	}
	v.w.After(0, next)
}

// run lets time pass.
func (v *overload) run(long time.Duration) {
	v.t.Helper()
	end := v.w.Now() + int64(long)
	testutil.Must(v.t, v.w.Run(func() bool { return v.w.Now() >= end }, 10_000_000))
}

// of runs for long and returns how many s offered and how many of its handshakes were done.
func (v *overload) of(s *source, long time.Duration) (offered, served int) {
	v.t.Helper()
	offered, served = s.offered, s.served
	v.run(long)
	v.t.Logf("%d of %d in %v: %+v", s.served-served, s.offered-offered, long, v.ours.hs.Stats())
	return s.offered - offered, s.served - served
}

// end runs until all that began is over, and wants nothing to be left.
func (v *overload) end() {
	v.t.Helper()
	err := v.w.Run(func() bool {
		s := v.ours.hs.Stats()
		return s.Current == 0 && s.Queued == 0 && v.ours.Conns() == 0 && v.ours.Reactors()[0].Stats().BufBytes == 0
	}, 10_000_000)
	if err != nil {
		v.t.Errorf("%+v, %d connections, %d bytes: %v",
			v.ours.hs.Stats(), v.ours.Conns(), v.ours.Reactors()[0].Stats().BufBytes, err)
	}
}

// visitor is a good client: it wants a byte back and leaves.
type visitor struct {
	engine.NopHandler
	s *source
}

func (h *visitor) OnOpen(c *engine.Conn) { c.Write([]byte("x")) }

func (h *visitor) OnData(c *engine.Conn, in []byte) int {
	h.s.served++
	c.Close(nil)
	return len(in)
}

// crowding and lateness are the two ways in which handshakes are lost that were paid for: there is no room for all that
// wait, or no time.
var (
	crowding = tlsconn.HandshakerOptions{Max: 20, Timeout: 5 * time.Second}
	lateness = tlsconn.HandshakerOptions{Max: 100_000, Timeout: 500 * time.Millisecond}
)

// What is offered above capacity is refused before it is computed, and what was computed is brought to its end: as much
// is done as can be, whatever is asked.
func TestOverload(t *testing.T) {
	testutil.OnlyPlain(t)
	loads := []float64{1.1, 1.5, 4}
	if testutil.RaceOn || testing.Short() { // cryptography is dear
		loads = loads[1:2]
	}
	for _, c := range []struct {
		name    string
		options tlsconn.HandshakerOptions
		source  func(v *overload) *source
		least   float64 // of what can be done
	}{
		{"crowding", crowding, (*overload).clients, 0.9},
		{"lateness", lateness, (*overload).clients, 0.9},
		// Most of what ours cost comes after the round trip, so that it is not known yet when the next are begun.
		{"lateness of ours", tlsconn.HandshakerOptions{Timeout: time.Second}, (*overload).backends, 0.8},
	} {
		for _, load := range loads {
			t.Run(fmt.Sprint(c.name, " ", load), func(t *testing.T) {
				const long = 2 * time.Second
				before := max(time.Duration(float64(500*time.Millisecond)/(load-1)), time.Second)
				v := newOverload(t, c.options)
				s := c.source(v)
				v.offer(s, load*capacity, before+long)
				v.run(before) // until a state that does not last is over
				offered, served := v.of(s, long)
				if can := min(offered, int(long/shift)); float64(served) < c.least*float64(can) {
					t.Errorf("%d of %d were served, %d could have been", served, offered, can)
				}
				v.end()
			})
		}
	}
}

// Below capacity nobody notices, with the limits that there are by default.
func TestOverload_below(t *testing.T) {
	testutil.OnlyPlain(t)
	v := newOverload(t, tlsconn.HandshakerOptions{})
	s := v.clients()
	v.offer(s, 0.9*capacity, 3*time.Second)
	offered, _ := v.of(s, 3*time.Second)
	v.end()
	if s.served != s.offered || offered < int(2*capacity) {
		t.Errorf("%d of %d were served", s.served, s.offered)
	}
}

// Those that never answer cost what others do, and no more: they have the share that their number gives them.
func TestOverload_bareHellos(t *testing.T) {
	testutil.OnlyPlain(t)
	roomy := crowding
	roomy.Max = 40 // each of them keeps its place for patience, whether it answers or not
	for _, o := range []tlsconn.HandshakerOptions{roomy, lateness} {
		v := newOverload(t, o)
		s := v.clients()
		v.offer(s, capacity/2, 6*time.Second)
		v.offer(v.bare(), 1.5*capacity, 6*time.Second)
		v.run(time.Second)
		if offered, served := v.of(s, 5*time.Second); served < offered/3 {
			t.Errorf("%d of %d were served, half could have been", served, offered)
		}
		v.end()
	}
}

// Those that say nothing have no share at all.
func TestOverload_silent(t *testing.T) {
	testutil.OnlyPlain(t)
	v := newOverload(t, crowding)
	s := v.clients()
	v.offer(s, capacity/2, 4*time.Second)
	v.offer(v.silent(), 10*capacity, 4*time.Second)
	v.run(time.Second)
	if offered, served := v.of(s, 3*time.Second); served < offered*9/10 {
		t.Errorf("%d of %d were served", served, offered)
	}
	v.end()
}

// flood are n clients of one network, each of which says its ClientHello, waits for an answer, leaves, and comes again.
func (v *overload) flood(n int, long time.Duration) {
	end, port := v.w.Now()+int64(long), uint16(1024)
	var come func()
	come = func() {
		if v.w.Now() >= end {
			return
		}
		port = max(port+1, 1024)
		p := v.w.DialFrom(poller.Addr{IP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 9, 9}), port)}, v.ours.addr)
		p.Send(v.hello)
		p.Handle = func(p *sim.Peer) {
			if len(p.Received()) > 0 || p.Closed() {
				p.Handle = nil
				p.Reset()
				v.w.After(roundTrip/2, come)
			}
		}
	}
	for range n {
		v.w.After(0, come)
	}
}

// A flood gets no more than can be computed: it waits in the backlog, and clients of other networks have their turns.
func TestOverload_flood(t *testing.T) {
	testutil.OnlyPlain(t)
	v := newOverload(t, crowding)
	s := v.clients()
	const long = 5 * time.Second
	v.flood(25, long)
	v.offer(s, capacity/5, long)
	v.run(long)
	started := v.ours.hs.Stats().Started
	v.end()
	if s.served < s.offered*98/100 || started > uint64(1.5*capacity*long.Seconds()) {
		t.Errorf("%d of %d were served, %d began", s.served, s.offered, started)
	}
}

// leavers are n clients of the network of ours, each of which comes again as soon as it has said its ClientHello. What
// it said it leaves to its fate, and closes it much later.
func (v *overload) leavers(n int, long time.Duration) {
	const look = 10 * time.Millisecond
	end := v.w.Now() + int64(long)
	var come func()
	come = func() {
		p := v.w.Dial(v.ours.addr)
		var said func()
		said = func() {
			switch {
			case v.w.Now() >= end:
				p.Reset()
			case p.Connected():
				p.Send(v.hello)
				v.w.After(2*time.Second, p.Reset)
				come()
			default:
				v.w.After(look, said)
			}
		}
		v.w.After(look, said)
	}
	for range n {
		v.w.After(0, come)
	}
}

// A good client of a network whose clients leave has its turn among them in the order of arrival.
func TestOverload_leavers(t *testing.T) {
	testutil.OnlyPlain(t)
	v := newOverload(t, tlsconn.HandshakerOptions{})
	s := v.clients()
	const long = 6 * time.Second
	v.leavers(20, long)
	v.offer(s, capacity/5, long)
	v.w.After(long+3*time.Second/2, func() {}) // there may be nothing else to wait for
	v.run(long + 3*time.Second/2)
	stats := v.ours.hs.Stats()
	v.end()
	if s.served < s.offered*95/100 {
		t.Errorf("%d of %d were served in time: %+v", s.served, s.offered, stats)
	}
}

// Clients that leave, however fast they come, do not shut the door to clients of other networks.
func TestOverload_leaversElsewhere(t *testing.T) {
	testutil.OnlyPlain(t)
	v := newOverload(t, tlsconn.HandshakerOptions{})
	s := v.clients()
	const long = 6 * time.Second
	port := uint16(1024)
	leave := func() {
		port++
		from := poller.Addr{IP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 9, 9}), port)}
		p := v.w.DialFrom(from, v.ours.addr)
		p.Send(v.hello)
		v.w.After(time.Second, p.Reset)
	}
	v.offer(&source{begin: leave}, 4*capacity, long)
	v.offer(s, capacity/5, long)
	v.run(long + roundTrip + 20*shift)
	served := s.served
	v.end()
	if served < s.offered*95/100 {
		t.Errorf("%d of %d were served in time: %+v", served, s.offered, v.ours.hs.Stats())
	}
}

// One that has waited for half of its time is given up then, and nothing is computed for it.
func TestOverload_late(t *testing.T) {
	v := newOverload(t, tlsconn.HandshakerOptions{Timeout: shift})
	v.bare().begin() // has the turn for a shift
	v.w.After(shift/10, v.bare().begin)
	v.w.After(shift*4/10, func() {
		if s := v.ours.hs.Stats(); s.Queued != 1 || s.Late != 0 {
			t.Errorf("too early: %+v", s)
		}
	})
	v.w.After(shift*9/10, func() {
		if s := v.ours.hs.Stats(); s.Queued != 0 || s.Late != 1 || s.Computing != 1 {
			t.Errorf("after half of the shift: %+v", s)
		}
	})
	v.run(shift)
	v.end()
	if s := v.ours.hs.Stats(); s.Timeouts != 1 || s.Late != 1 {
		t.Errorf("in the end: %+v", s)
	}
}

// A queue of handshakes is a crowd long before they are an eighth of Max: those that fail soon are gone soon.
func TestOverload_queueIsACrowd(t *testing.T) {
	v := newOverload(t, tlsconn.HandshakerOptions{Max: 10000, Timeout: 8 * shift})
	crowded := func() bool { return v.ours.hs.Crowded(v.ours.Reactors()[0]) }
	for range 30 {
		v.bare().begin() // the first has the turn for a shift
	}
	v.w.After(shift/10, func() {
		if crowded() {
			t.Errorf("30 handshakes: %+v", v.ours.hs.Stats())
		}
		for range 10 {
			v.bare().begin()
		}
	})
	v.w.After(shift/2, func() {
		if s := v.ours.hs.Stats(); !crowded() || s.Queued < 33 {
			t.Errorf("40 handshakes: %+v", s)
		}
	})
	v.run(shift)
	v.end()
}

// One whose turn came in time has all the time that is left.
func TestOverload_turnInTime(t *testing.T) {
	v := newOverload(t, tlsconn.HandshakerOptions{Timeout: 2 * shift})
	v.bare().begin()
	v.w.After(shift/5, v.bare().begin)
	v.w.After(shift*8/5, func() {
		if s := v.ours.hs.Stats(); s.Computing != 1 || s.Current != 2 {
			t.Errorf("longer after it asked than it may wait: %+v", s)
		}
	})
	v.run(2 * shift)
	v.end()
	if s := v.ours.hs.Stats(); s.Timeouts != 2 || s.Late != 0 {
		t.Errorf("in the end: %+v", s)
	}
}

// One whose answer has come has been paid for: it does not give way while it waits for its turn.
func TestOverload_answeredStays(t *testing.T) {
	v := newOverload(t, tlsconn.HandshakerOptions{Max: 2})
	answers := v.w.Dial(v.ours.addr)
	answers.Send(v.hello)
	at := func(ms int, f func()) { v.w.After(time.Duration(ms)*time.Millisecond, f) }
	at(300, v.bare().begin) // longer than one may take before it may have to give way; this has the turn for a shift
	at(302, func() { answers.SendString("\x17\x03\x03\x00\x01x") })
	at(304, func() {
		if s := v.ours.hs.Stats(); s.Queued != 1 || s.Computing != 1 {
			t.Errorf("before the newcomer: %+v", s)
		}
		v.silent().begin()
	})
	at(306, func() {
		if s := v.ours.hs.Stats(); s.Started != 2 || s.Full != 0 || s.Crowded != 0 || s.Queued != 1 {
			t.Errorf("after the newcomer: %+v", s)
		}
	})
	v.run(310 * time.Millisecond)
	v.end()
}

// A flood of clients does not keep those that are in from their backends.
func TestOverload_oursFirst(t *testing.T) {
	testutil.OnlyPlain(t)
	for _, o := range []tlsconn.HandshakerOptions{crowding, lateness} {
		v := newOverload(t, o)
		s, flood := v.backends(), v.clients()
		v.offer(s, capacity/2, 4*time.Second)
		v.offer(flood, 4*capacity, 4*time.Second)
		offered, _ := v.of(s, 4*time.Second)
		v.end()
		if s.served < offered*95/100 || offered == 0 {
			t.Errorf("%d of %d to backends were done", s.served, offered)
		}
		if want := int(4 * capacity / 2); flood.served < want*8/10 {
			t.Errorf("clients had %d, %d were left for them", flood.served, want)
		}
	}
}
