package upstream_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

var anyPort = poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}

// echo is an origin that answers everything.
type echo struct{ engine.NopHandler }

func (echo) OnData(c *engine.Conn, in []byte) int {
	for range bytes.Count(in, []byte("\r\n\r\n")) {
		c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) //nolint:errcheck // the client is gone
	}
	return len(in)
}

// asking is an exchange that may have to wait for its connection.
type asking struct {
	exchange
	waiter upstream.Waiter
	conn   *upstream.Conn
	err    error
	done   chan struct{} // closed by the end of the answer, if set
}

func (x *asking) OnTaken(c *upstream.Conn, err error) {
	if x.err = err; err == nil {
		x.ask(c)
	}
}

func (x *asking) ask(c *upstream.Conn) {
	x.conn = c
	if err := c.Open(x).SendHead(getHead(), true); err != nil {
		x.err = err
	}
}

func (x *asking) OnHead(s session.Stream, h *message.Head, end bool) {
	x.exchange.OnHead(s, h, end)
	if x.done != nil && end {
		close(x.done)
	}
}

// take begins an exchange that may wait.
func (x *world) take(fresh bool) *asking {
	a := &asking{}
	a.waiter.Init(a)
	c, err := x.u.Take(x.reactor, first(x.u), 0, fresh, &a.waiter)
	switch err {
	case nil:
		a.ask(c)
	case upstream.ErrWait:
	default:
		a.err = err
	}
	return a
}

// Where one connection is allowed, exchanges have it one after the other, in the order in which they came.
func TestWaiter_firstComeFirstServed(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{PerBackend: 1, QueueTimeout: time.Hour}, 1)
		all := []*asking{x.take(false), x.take(false), x.take(false), x.take(false)}
		gone := all[2]
		gone.waiter.Cancel()
		for i, a := range all {
			if a == gone {
				continue
			}
			x.run(func() bool { return a.ended })
			for _, later := range all[i+1:] {
				if later.ended {
					t.Fatal("a later one was served before")
				}
			}
		}
		if gone.conn != nil || gone.err != nil || gone.waiter.Waiting() {
			t.Fatal("what was cancelled was served")
		}
		x.want(upstream.Stats{Taken: 2, Dialed: 1, Idle: 1, Connections: 1, Queued: 3})
	})
}

// An exchange that needs a connection of its own gets one, though the only one that is allowed is idle.
func TestWaiter_freshConnectionBelowALimit(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{PerBackend: 1, Queue: -1}, 1)
		one := x.take(false)
		x.run(func() bool { return one.ended })
		a := x.take(true)
		x.run(func() bool { return a.ended })
		if a.conn.Reused() || x.u.Open(first(x.u)) != 1 {
			t.Fatal("not a fresh one")
		}
	})
}

// The queue has a length and a time.
func TestWaiter_limits(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{PerBackend: 1, Queue: 1, QueueTimeout: 100 * time.Millisecond}, 1)
		x.origins[0].Handle = func(*sim.Peer) {} // never answers
		x.take(false)
		since := w.Now()
		waits, refused := x.take(false), x.take(false)
		if refused.err != upstream.ErrQueueFull {
			t.Fatal(refused.err)
		}
		x.run(func() bool { return waits.err != nil })
		if d := time.Duration(w.Now() - since); waits.err != upstream.ErrQueueTimeout || d < 100*time.Millisecond {
			t.Fatal(waits.err, d)
		}
		if s := x.stats(); s.QueueFull != 1 || s.QueueTimeouts != 1 || s.Waiting != 0 {
			t.Fatalf("%+v", s)
		}
	})
}

// A connection is not kept beyond its age, its use, or what the origin promised.
func TestConn_isNotKeptForEver(t *testing.T) {
	for name, c := range map[string]struct {
		o      upstream.Options
		answer string
		uses   int           // exchanges that one connection lasts
		idle   time.Duration // and how long it is kept then
		want   upstream.Stats
	}{
		"requests": {
			o: upstream.Options{Requests: 2}, uses: 2, want: upstream.Stats{Taken: 1, Dialed: 1, WornOut: 1},
		},
		"age": {
			o: upstream.Options{Lifetime: time.Second}, uses: 1, idle: time.Second,
			want: upstream.Stats{Dialed: 1, TooOld: 1},
		},
		"promise": {
			answer: "Keep-Alive: timeout=5, max=100\r\n", uses: 1, idle: 4 * time.Second,
			want: upstream.Stats{Dialed: 1},
		},
		"longer": {
			o: upstream.Options{IdleTimeout: 3 * time.Second}, answer: "Keep-Alive: timeout=\"500\"\r\n",
			uses: 1, idle: 3 * time.Second, want: upstream.Stats{Dialed: 1},
		},
		"hardly": {answer: "Keep-Alive: max=7,Timeout = 1\r\n", uses: 1, want: upstream.Stats{Dialed: 1}},
		"nonsense": {
			o: upstream.Options{IdleTimeout: 2 * time.Second}, answer: "Keep-Alive: timeout=-1\r\n",
			uses: 1, idle: 2 * time.Second, want: upstream.Stats{Dialed: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			sim.Run(t, 20, func(t testing.TB, w *sim.World) {
				x := newWorld(t, w, c.o, 1)
				x.origins[0].Handle = answerEach("HTTP/1.1 200 OK\r\n" + c.answer + "Content-Length: 0\r\n\r\n")
				for range c.uses {
					a := x.take(false)
					x.run(func() bool { return a.ended })
				}
				since := w.Now()
				x.run(func() bool { return x.stats().Connections == 0 })
				if d := time.Duration(w.Now()-since) - c.idle; d.Abs() > 100*time.Millisecond {
					t.Fatal(d)
				}
				x.want(c.want)
			})
		})
	}
}
