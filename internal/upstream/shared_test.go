package upstream_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// commune is an upstream with HTTP/2 backends and some reactors.
type commune struct {
	t       testing.TB
	w       *sim.World
	engine  *engine.Engine
	u       *upstream.Upstream
	origin  *h2Origin
	all     []*sharing
	most    int // connections open at a time
	started int
}

func newCommune(t testing.TB, w *sim.World, reactors int, o upstream.Options, origin *h2Origin) *commune {
	v := &commune{t: t, w: w, origin: origin}
	v.engine = simulated(t, w, 0, reactors)
	for _, r := range v.engine.Reactors() {
		w.Add(r)
	}
	origin.t, origin.w = t, w
	origin.serve(w.Serve(addr(1)))
	o.Protocol = upstream.H2
	o.Backends = backend.Of(addr(1).String())
	v.u = upstream.New(v.engine, o)
	return v
}

// sharing is an exchange that behaves as package proxy has it behave.
type sharing struct {
	v        *commune
	reactor  *engine.Reactor
	waiter   upstream.Waiter
	conn     *upstream.Conn
	stream   session.Stream
	body     int // bytes of the request's body that are to be sent
	refusals int
	retries  int
	reused   bool
	ended    bool
	err      error
}

// begin starts an exchange on reactor i after some time.
func (v *commune) begin(i int, after time.Duration, body int) *sharing {
	x := &sharing{v: v, reactor: v.engine.Reactors()[i], body: body}
	x.waiter.Init(x)
	v.all = append(v.all, x)
	v.w.After(after, func() {
		x.reactor.Post(&engine.Task{Run: func(*engine.Reactor) {
			if !x.over() {
				x.take(false)
			}
		}})
	})
	return x
}

func (x *sharing) take(fresh bool) {
	c, err := x.v.u.Take(x.reactor, x.v.u.View().Pick(x.reactor, nil), 0, fresh, &x.waiter)
	if err != upstream.ErrWait {
		x.OnTaken(c, err)
	}
}

func (x *sharing) OnTaken(c *upstream.Conn, err error) {
	if x.v.most = max(x.v.most, x.v.open()); err != nil {
		x.fail(err)
		return
	}
	x.conn = c
	x.stream = c.Open(x)
	x.reused = c.Reused()
	h := getHead()
	if x.body > 0 {
		h.SetMethod("POST")
		h.Length = int64(x.body)
	}
	if err := x.stream.SendHead(h, x.body == 0); err != nil {
		x.fail(err)
		return
	}
	if x.body > 0 && !x.stream.Congested() {
		x.OnSendable(x.stream)
	}
}

func (x *sharing) OnSendable(s session.Stream) {
	if x.body == 0 {
		return
	}
	n, err := s.SendData(make([]byte, x.body), true)
	if err != nil {
		x.fail(err)
	}
	if x.body -= n; x.body > 0 && n > 0 {
		return
	}
}

func (x *sharing) OnHead(s session.Stream, h *message.Head, end bool) {
	if h.Status != 200 {
		x.fail(fmt.Errorf("status %d", h.Status))
	}
	x.end(end)
}

func (x *sharing) OnData(s session.Stream, p []byte, end bool) {
	s.Release(len(p))
	x.end(end)
}

func (x *sharing) OnTrailers(session.Stream, *message.Head) { x.end(true) }

func (x *sharing) end(end bool) {
	if end && x.over() {
		x.v.t.Error("an exchange ended twice")
	}
	if x.ended = end; end {
		x.stream = nil
	}
}

func (x *sharing) over() bool { return x.ended || x.err != nil }

func (x *sharing) fail(err error) {
	if x.over() {
		x.v.t.Errorf("an exchange failed after its end: %v", err)
	}
	x.err = err
}

func (x *sharing) OnReset(_ session.Stream, code session.Code, cause error) {
	x.stream = nil
	switch {
	case code == session.Refused && x.refusals < 1000:
		x.refusals++
		x.take(false)
	case code == session.ConnectionLost && x.reused && x.retries < 10:
		x.retries++
		x.take(true)
	default:
		x.fail(fmt.Errorf("%v: %w", code, cause))
	}
}

func (v *commune) run(until func() bool) {
	v.t.Helper()
	checked := func() bool {
		if invariant.On {
			v.sum() // looks at the invariants
		}
		return until()
	}
	if err := v.w.Run(checked, 1_000_000); err != nil {
		v.t.Fatalf("%v; %+v", err, v.sum())
	}
}

// sum adds up the counters of the upstream.
func (v *commune) sum() (all upstream.Stats) {
	for _, r := range v.engine.Reactors() {
		st := v.u.Stats(r)
		all.Add(&st)
	}
	return all
}

// finish runs until all exchanges are over.
func (v *commune) finish() {
	v.t.Helper()
	v.run(func() bool {
		for _, x := range v.all {
			if !x.over() {
				return false
			}
		}
		return true
	})
}

// empty runs until no connection is left, and looks whether anything else is.
func (v *commune) empty() {
	v.t.Helper()
	v.u.Close()
	v.run(func() bool { return v.sum().Connections == 0 })
	if s := v.sum(); s.Waiting != 0 || s.Idle != 0 || v.open() != 0 {
		v.t.Fatalf("left behind: %+v, %d slots", s, v.open())
	}
}

// open returns how many connections are open, or being opened.
func (v *commune) open() (n int) {
	for _, m := range v.u.Options().Backends.Members() {
		n += v.u.Open(m)
	}
	return n
}

// succeeded fails unless every exchange was answered.
func (v *commune) succeeded() {
	v.t.Helper()
	for i, x := range v.all {
		if x.err != nil {
			v.t.Fatalf("exchange %d: %v; %+v", i, x.err, v.sum())
		}
	}
}

// Exchanges that begin together share one connection, be it connecting or not.
func TestShared_oneConnectionForMany(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		v := newCommune(t, w, 1, upstream.Options{}, &h2Origin{delay: 5 * time.Millisecond})
		for i := range 100 {
			v.begin(0, time.Duration(w.Rand().IntN(20))*time.Millisecond, i%3*1000)
		}
		v.finish()
		v.succeeded()
		if v.origin.accepted != 1 {
			t.Fatalf("%d connections", v.origin.accepted)
		}
		if s := v.sum(); s.Taken != 99 || s.Dialed != 1 || s.Connections != 1 {
			t.Fatalf("%+v", s)
		}
		v.empty()
	})
}

// What exceeds the room of the one connection that is allowed waits in line, in the order in which it came.
func TestShared_waitsForRoom(t *testing.T) {
	sim.Run(t, 100, func(t testing.TB, w *sim.World) {
		limit := 1 + w.Rand().IntN(10)
		v := newCommune(t, w, 1, upstream.Options{PerBackend: 1, QueueTimeout: time.Hour}, &h2Origin{
			limit: limit, delay: 5 * time.Millisecond,
		})
		for range 100 {
			v.begin(0, time.Duration(w.Rand().IntN(20))*time.Millisecond, 0)
		}
		v.finish()
		v.succeeded()
		if s := v.sum(); v.origin.accepted != 1 || s.Dialed != 1 || s.Queued == 0 {
			t.Fatalf("%d connections, %+v", v.origin.accepted, s)
		}
		v.empty()
	})
}

// Without a limit of connections, as many are opened as the exchanges need, and no more.
func TestShared_opensWhatIsNeeded(t *testing.T) {
	sim.Run(t, 100, func(t testing.TB, w *sim.World) {
		limit := 1 + w.Rand().IntN(10)
		v := newCommune(t, w, 1, upstream.Options{}, &h2Origin{limit: limit, delay: time.Second})
		v.begin(0, 0, 0)
		v.finish() // now the limit is known
		for range 40 {
			v.begin(0, 0, 0)
		}
		v.finish()
		v.succeeded()
		if want := (40 + limit - 1) / limit; v.origin.accepted > want || v.origin.refused > 0 {
			t.Fatalf("%d connections, %d are enough for %d at a time; %d refused",
				v.origin.accepted, want, limit, v.origin.refused)
		}
		v.empty()
	})
}

// The first connection alone gets more exchanges than its origin takes at a time: what its SETTINGS say holds for the
// next ones, while all that it took is still under way.
func TestShared_refusedOnce(t *testing.T) {
	sim.Run(t, 100, func(t testing.TB, w *sim.World) {
		limit := 1 + w.Rand().IntN(10)
		v := newCommune(t, w, 1, upstream.Options{}, &h2Origin{limit: limit, delay: 30 * time.Second})
		for i := range 40 {
			v.begin(0, 0, i%2*1000)
		}
		v.finish()
		v.succeeded()
		for i, x := range v.all {
			if x.refusals > 1 {
				t.Fatalf("exchange %d: %d times refused, %d are taken at a time; %+v", i, x.refusals, limit, v.sum())
			}
		}
		v.empty()
	})
}

// Connections to an origin that says that it takes no exchanges do not pile up.
func TestShared_originThatTakesNothing(t *testing.T) {
	sim.Run(t, 20, func(t testing.TB, w *sim.World) {
		v := newCommune(t, w, 1, upstream.Options{}, &h2Origin{closed: true})
		for range 3 {
			v.begin(0, 0, 0)
		}
		v.finish()
		if v.origin.taken != 0 || v.origin.refused < 3000 || v.most > 20 {
			t.Fatalf("%d of %d connections open at a time, %d taken, %d refused",
				v.most, v.origin.accepted, v.origin.taken, v.origin.refused)
		}
		v.empty()
	})
}

// A connection that the origin leaves ends with its last exchange, and nothing is lost.
func TestShared_goAway(t *testing.T) {
	sim.Run(t, 100, func(t testing.TB, w *sim.World) {
		o := upstream.Options{QueueTimeout: time.Hour, PerBackend: w.Rand().IntN(3)}
		v := newCommune(t, w, 1, o, &h2Origin{goAway: 1 + w.Rand().IntN(20), delay: 5 * time.Millisecond})
		for i := range 100 {
			v.begin(0, time.Duration(w.Rand().IntN(50))*time.Millisecond, i%4*500)
		}
		v.finish()
		v.succeeded()
		if v.origin.answered != 100 {
			t.Fatalf("%d answers", v.origin.answered)
		}
		v.empty()
	})
}

// A connection is not used for more than Requests exchanges, nor beyond its age.
func TestShared_wearsOut(t *testing.T) {
	sim.Run(t, 100, func(t testing.TB, w *sim.World) {
		v := newCommune(t, w, 1, upstream.Options{Requests: 10}, &h2Origin{delay: time.Millisecond})
		for range 100 {
			v.begin(0, time.Duration(w.Rand().IntN(50))*time.Millisecond, 0)
		}
		v.finish()
		v.succeeded()
		if s := v.sum(); v.origin.accepted != 10 || s.WornOut != 10 {
			t.Fatalf("%d connections, %+v", v.origin.accepted, s)
		}
		v.empty()
		v = newCommune(t, sim.NewWorld(w.Seed()), 1, upstream.Options{Lifetime: 20 * time.Millisecond}, &h2Origin{})
		for i := range 10 {
			v.begin(0, time.Duration(10*i)*time.Millisecond, 0)
		}
		v.finish()
		v.succeeded()
		if s := v.sum(); s.TooOld < 2 || v.origin.accepted < 3 || v.origin.accepted > 7 {
			t.Fatalf("%d connections, %+v", v.origin.accepted, s)
		}
		v.empty()
	})
}

// One that no exchange needs any more is closed after IdleTimeout.
func TestShared_closesWhatIsIdle(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		v := newCommune(t, w, 1, upstream.Options{IdleTimeout: time.Second}, &h2Origin{})
		v.begin(0, 0, 0)
		v.finish()
		since := w.Now()
		v.run(func() bool { return v.sum().Connections == 0 })
		if d := time.Duration(w.Now() - since); d < 900*time.Millisecond || d > 1200*time.Millisecond {
			t.Fatal(d)
		}
	})
}

// A connection whose other end has fallen silent costs the exchanges that are on it, not those that follow.
func TestShared_leavesWhatIsSilent(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		o := upstream.Options{Client: session.ClientOptions{FirstByte: time.Second}}
		v := newCommune(t, w, 1, o, &h2Origin{})
		v.begin(0, 0, 0)
		v.finish()
		v.origin.silent = true
		lost := v.begin(0, 0, 0)
		v.run(lost.over)
		v.origin.silent = false
		if x := v.begin(0, 0, 0); lost.err == nil {
			t.Fatal("answered")
		} else if v.finish(); x.err != nil || v.origin.accepted != 2 {
			t.Fatalf("%v; %d connections, %+v", x.err, v.origin.accepted, v.sum())
		}
		v.run(func() bool { return v.sum().Connections == 1 })
		v.empty()
	})
}

// Fewer connections than reactors: each reactor has one in turn.
func TestShared_goesRound(t *testing.T) {
	sim.Run(t, 100, func(t testing.TB, w *sim.World) {
		reactors := 2 + w.Rand().IntN(2)
		v := newCommune(t, w, reactors, upstream.Options{PerBackend: 1, QueueTimeout: time.Hour}, &h2Origin{
			limit: w.Rand().IntN(5), delay: 5 * time.Millisecond,
		})
		for i := range 60 {
			v.begin(i%reactors, time.Duration(w.Rand().IntN(50))*time.Millisecond, 0)
		}
		v.finish()
		v.succeeded()
		if v.most > 1 {
			t.Fatalf("%d connections at a time", v.most)
		}
		v.empty()
	})
}

// Everything at once: limits, GOAWAY, refusals, wear, few connections, several reactors, clients that leave.
func TestShared_property(t *testing.T) {
	seeds := 400
	if testing.Short() {
		seeds = 60
	}
	var all upstream.Stats
	sim.Run(t, seeds, func(t testing.TB, w *sim.World) {
		rng := w.Rand()
		reactors := 1 + rng.IntN(3)
		o := upstream.Options{
			PerBackend: rng.IntN(4), Queue: 1000, QueueTimeout: time.Hour, Streams: []int{0, 0, 1, 3}[rng.IntN(4)],
			Requests:    []int{0, 0, 1, 7}[rng.IntN(4)],
			Lifetime:    []time.Duration{0, 0, 10 * time.Millisecond}[rng.IntN(3)],
			IdleTimeout: []time.Duration{0, 0, time.Millisecond, 10 * time.Millisecond}[rng.IntN(4)],
			Idle:        []int{0, 0, 0, -1}[rng.IntN(4)],
		}
		origin := &h2Origin{
			limit: []int{0, 1, 2, 10}[rng.IntN(4)], goAway: []int{0, 0, 1, 5}[rng.IntN(4)],
			refuse: []float64{0, 0, 0.1}[rng.IntN(3)], delay: time.Duration(rng.IntN(10)) * time.Millisecond,
		}
		faults := rng.IntN(3) == 0
		if faults {
			origin.lose = 0.05
			w.Faults = sim.Faults{ConnectRefused: 0.1, ConnectTimeout: 0.02, ShortWrite: 0.2, Reset: 0.002}
		}
		v := newCommune(t, w, reactors, o, origin)
		for range 60 {
			x := v.begin(rng.IntN(reactors), time.Duration(rng.IntN(60))*time.Millisecond, max(0, rng.IntN(3000)-1500))
			if rng.IntN(10) == 0 {
				v.leave(x)
			}
		}
		v.finish()
		for i, x := range v.all {
			if x.err != nil && x.err != errLeft && !faults {
				t.Fatalf("exchange %d: %v", i, x.err)
			}
		}
		if o.PerBackend > 0 && v.most > o.PerBackend {
			t.Fatalf("%d connections, %d are allowed", v.most, o.PerBackend)
		}
		st := v.sum()
		all.Add(&st)
		v.empty()
	})
	t.Logf("%+v", all)
}

// Members come and go, and with them the connections that exchanges share: every exchange is answered.
func TestShared_membersComeAndGo(t *testing.T) {
	var all upstream.Stats
	sim.Run(t, 100, func(t testing.TB, w *sim.World) {
		rng := w.Rand()
		reactors := 1 + rng.IntN(3)
		origin := &h2Origin{
			limit: rng.IntN(3), goAway: 5 * rng.IntN(2), delay: time.Duration(1+rng.IntN(10)) * time.Millisecond,
		}
		v := newCommune(t, w, reactors, upstream.Options{
			PerBackend: rng.IntN(3), Queue: 1000, QueueTimeout: time.Hour,
		}, origin)
		origin.serve(w.Serve(addr(2)))
		lists := [][]backend.Spec{
			{{Address: addr(1).String()}}, {{Address: addr(2).String()}},
			{{Address: addr(1).String()}, {Address: addr(2).String(), Weight: 2}},
		}
		for range 10 {
			list := lists[rng.IntN(len(lists))]
			w.After(time.Duration(rng.IntN(60))*time.Millisecond, func() { v.u.Options().Backends.Update(list) })
		}
		for range 60 {
			v.begin(rng.IntN(reactors), time.Duration(rng.IntN(60))*time.Millisecond, max(0, rng.IntN(3000)-1500))
		}
		v.finish()
		v.succeeded()
		st := v.sum()
		all.Add(&st)
		v.empty()
	})
	t.Logf("%+v", all)
}

var errLeft = fmt.Errorf("the client left")

// leave has x go away at some time.
func (v *commune) leave(x *sharing) {
	v.w.After(time.Duration(v.w.Rand().IntN(80))*time.Millisecond, func() {
		x.reactor.Post(&engine.Task{Run: func(*engine.Reactor) {
			if x.over() {
				return
			}
			x.err = errLeft
			x.waiter.Cancel()
			if x.stream != nil {
				x.stream.Reset(session.Cancelled)
			}
		}})
	})
}

// A reactor that is never idle lets others have their turn at the only connection; an exchange that lasts keeps it.
func TestShared_yieldsUnderLoad(t *testing.T) {
	sim.Run(t, 20, func(t testing.TB, w *sim.World) {
		o := upstream.Options{PerBackend: 1, QueueTimeout: 10 * time.Second}
		v := newCommune(t, w, 2, o, &h2Origin{delay: 5 * time.Millisecond})
		for i := range 2000 {
			v.begin(0, time.Duration(i)*time.Millisecond, 0)
		}
		other := v.begin(1, 500*time.Millisecond, 0)
		since := w.Now()
		v.run(other.over)
		if d := time.Duration(w.Now()-since) - 500*time.Millisecond; other.err != nil || d > 200*time.Millisecond {
			t.Fatalf("after %v, %v; %+v", d, other.err, v.sum())
		}
		v.finish()
		v.succeeded()
		if v.most > 1 {
			t.Fatalf("%d connections at a time", v.most)
		}
		v.empty()
	})
	sim.Run(t, 20, func(t testing.TB, w *sim.World) {
		v := newCommune(t, w, 2, upstream.Options{PerBackend: 1, QueueTimeout: time.Second}, &h2Origin{})
		v.origin.silent = true
		v.begin(0, 0, 0)
		v.run(func() bool { return v.origin.taken == 1 })
		v.origin.silent = false
		other := v.begin(1, 100*time.Millisecond, 0)
		for i := range 200 {
			v.begin(0, time.Duration(100+5*i)*time.Millisecond, 0)
		}
		v.run(other.over)
		if other.err != upstream.ErrQueueTimeout {
			t.Fatal(other.err)
		}
		v.run(func() bool { return v.sum().Waiting == 0 })
		for _, x := range v.all[2:] {
			v.run(x.over)
			if x.err != nil {
				t.Fatalf("%v; %+v", x.err, v.sum())
			}
		}
	})
}
