package upstream_test

import (
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
)

// idling is an engine of two reactors that run, with one idle connection.
type idling struct {
	engine *engine.Engine
	u      *upstream.Upstream
	conn   *upstream.Conn
}

func newIdling(b *testing.B, reactors int) *idling {
	b.Helper()
	origin, err := engine.New(engine.Options{Reactors: 1})
	testutil.Must(b, err)
	l, err := origin.Listen(engine.ListenOptions{Addr: anyPort}, func(*engine.Conn) engine.Handler { return echo{} })
	testutil.Must(b, err)
	origin.Start()
	b.Cleanup(origin.Stop)
	e, err := engine.New(engine.Options{Reactors: reactors})
	testutil.Must(b, err)
	v := &idling{engine: e}
	v.u = upstream.New(e, upstream.Options{Backends: backend.Of(l.Addr().String())})
	e.Start()
	b.Cleanup(e.Stop)
	done := make(chan struct{})
	x := &asking{done: done}
	r := e.Reactors()[0]
	r.Post(&engine.Task{Run: func(r *engine.Reactor) {
		c, err := v.u.Take(r, first(v.u), 0, false, &x.waiter)
		if err != nil {
			b.Error(err)
			close(done)
			return
		}
		v.conn = c
		x.ask(c)
	}})
	<-done
	for parked := false; !parked; {
		looked := make(chan bool)
		r.Post(&engine.Task{Run: func(r *engine.Reactor) { looked <- v.u.Stats(r).Idle == 1 }})
		parked = <-looked
	}
	return v
}

// What a request pays for the pool: its connection taken, and parked again.
func benchmarkTakePark(b *testing.B, reactors int) {
	v := newIdling(b, reactors)
	done := make(chan struct{})
	m, w := first(v.u), &upstream.Waiter{}
	b.ReportAllocs()
	v.engine.Reactors()[0].Post(&engine.Task{Run: func(r *engine.Reactor) {
		defer close(done)
		for b.Loop() {
			c, err := v.u.Take(r, m, 0, false, w)
			if err != nil {
				b.Error(err)
				return
			}
			c.OnIdle(nil)
		}
	}})
	<-done
}

func BenchmarkTake_park(b *testing.B)            { benchmarkTakePark(b, 1) }
func BenchmarkTake_parkTwoReactors(b *testing.B) { benchmarkTakePark(b, 2) }

// taker takes one connection over from the other reactor, parks it, and has the other reactor do the same.
type taker struct {
	waiter upstream.Waiter
	task   engine.Task
	r      *engine.Reactor
	v      *idling
	other  *taker
	left   *int
	done   chan struct{}
}

func (t *taker) OnTaken(c *upstream.Conn, err error) {
	if err == nil {
		c.OnIdle(nil)
	}
	if *t.left--; *t.left <= 0 {
		close(t.done)
		return
	}
	t.other.r.Post(&t.other.task)
}

func (t *taker) take(r *engine.Reactor) {
	c, err := t.v.u.Take(r, first(t.v.u), 0, false, &t.waiter)
	if err != upstream.ErrWait {
		t.OnTaken(c, err)
	}
}

// A connection that goes to and fro between two reactors: Want, Give, and the mail that says whose turn it is.
func BenchmarkTake_over(b *testing.B) {
	v := newIdling(b, 2)
	left, done := 0, make(chan struct{})
	var both [2]*taker
	for i, r := range v.engine.Reactors() {
		t := &taker{r: r, v: v, left: &left, done: done}
		t.waiter.Init(t)
		t.task.Run = t.take
		both[i] = t
	}
	both[0].other, both[1].other = both[1], both[0]
	b.ReportAllocs()
	b.ResetTimer()
	left = b.N
	both[1].r.Post(&both[1].task)
	<-done
	b.StopTimer()
	var given uint64
	for _, r := range v.engine.Reactors() {
		got := make(chan uint64)
		r.Post(&engine.Task{Run: func(r *engine.Reactor) { got <- v.u.Stats(r).Given }})
		given += <-got
	}
	b.ReportMetric(float64(given)/float64(b.N), "given/op")
}
