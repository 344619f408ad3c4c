package quic

import (
	"bytes"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/sim"
)

// chaos is two honest ends that open, send, reset, stop, stall and end as they like.
type chaos struct {
	*pair
	r     *mathrand.Rand
	want  map[*end]map[uint64][]byte // bodies on their way to an end, by stream
	mixed map[uint64]bool            // was reset or stopped
	alive map[*end][]*Stream
	stall map[*end]map[*Stream]int
}

func (c *chaos) begin(e *end) {
	e.hold = true
	e.onEvent = func(ev *Event) {
		switch ev.Kind {
		case Sendable:
			if x, ok := ev.Stream.Owner.(*sender); ok {
				x.send()
			}
		case Reset, Stopped:
			c.mixed[ev.Stream.ID] = true
			c.meet(e, ev.Stream)
		case Data:
			c.meet(e, ev.Stream)
		}
	}
}

// meet has an end answer a stream that it sees for the first time.
func (c *chaos) meet(e *end, s *Stream) {
	for _, a := range c.alive[e] {
		if a == s {
			return
		}
	}
	c.alive[e] = append(c.alive[e], s)
	if s.ID&oneWayBit == 0 {
		c.say(e, s)
	}
}

func (c *chaos) say(e *end, s *Stream) {
	b := body(c.r.Uint64(), []int{0, 1, 700, 5000, 60_000}[c.r.IntN(5)])
	c.want[e.other][s.ID] = b
	e.sendOn(s, b)
}

// act has an end do one thing.
func (c *chaos) act(e *end) {
	k := StreamKind(c.r.IntN(2))
	if len(c.alive[e]) == 0 || c.r.IntN(5) == 0 {
		if s, err := e.conn.Open(k); err == nil {
			c.alive[e] = append(c.alive[e], s)
			c.say(e, s)
		}
		return
	}
	s := c.alive[e][c.r.IntN(len(c.alive[e]))]
	switch c.r.IntN(12) {
	case 0:
		if s.flag&sendOver == 0 {
			c.mixed[s.ID] = true
			e.conn.Reset(s, 3)
		}
	case 1:
		if s.flag&recvOver == 0 {
			c.mixed[s.ID] = true
			e.owed[s] = 0
			e.conn.Stop(s, 4)
		}
	default:
		n := e.owed[s]
		if c.r.IntN(3) == 0 {
			n = c.r.IntN(n + 1)
		}
		e.owed[s] -= n
		e.conn.Release(s, n)
	}
}

// done has an end be done with streams that are over on both sides.
func (c *chaos) done(e *end) {
	kept := c.alive[e][:0]
	for _, s := range c.alive[e] {
		left := 0
		if x, ok := s.Owner.(*sender); ok && s.flag&sendReset == 0 {
			left = len(x.left)
		}
		if s.flag&recvOver != 0 && left == 0 && e.owed[s] == 0 {
			delete(e.owed, s)
			s.Owner = nil
			e.conn.Done(s)
		} else {
			kept = append(kept, s)
		}
	}
	c.alive[e] = kept
}

// Whatever honest ends do on a bad network: each body that nobody gave up arrives, and both ends count the same.
func TestPair_chaos(t *testing.T) {
	o := Options{Budget: 100_000, StreamWindow: 8000, StreamWindowMax: 50_000, SendMax: 40_000,
		Streams: 10, OneWayStreams: 3, HandshakeTimeout: time.Minute} // a third of all datagrams may be lost
	sim.Run(t, 40, func(t testing.TB, w *sim.World) {
		seed := w.Seed()
		r := mathrand.New(mathrand.NewPCG(seed, 2))
		p := newPair(t, o, o)
		c := &chaos{pair: p, r: r, mixed: map[uint64]bool{}, alive: map[*end][]*Stream{},
			want: map[*end]map[uint64][]byte{p.client: {}, p.server: {}}}
		p.pass = func(*end, int, []byte) (int, int64) {
			if r.IntN(3+int(seed%4)*5) == 0 {
				return r.IntN(2) * 2, 0
			}
			return 1, r.Int64N(r.Int64N(30e6) + 1)
		}
		c.begin(p.client)
		c.begin(p.server)
		p.establish()
		ends := []*end{p.client, p.server}
		for range 1500 {
			if e := ends[r.IntN(2)]; r.IntN(3) == 0 {
				c.act(e)
				c.done(e)
			}
			if p.flush(p.client); len(p.wire) > 0 { // else time would move on to the idle time
				p.step()
			}
		}
		p.run("the end of all bodies", func() bool {
			for _, e := range ends {
				for _, s := range c.alive[e] {
					e.conn.Release(s, e.owed[s])
					e.owed[s] = 0
				}
				c.done(e)
			}
			return len(c.alive[p.client])+len(c.alive[p.server]) == 0 && p.client.conn.Held()+p.server.conn.Held() == 0
		})
		for _, e := range ends {
			for id, b := range c.want[e] {
				got := e.got[id]
				if whole := bytes.Equal(got, b) && e.ended[id]; !whole && !c.mixed[id] || !bytes.HasPrefix(b, got) {
					t.Fatalf("seed %d, %s, stream %d: %d bytes of %d", seed, e.name, id, len(got), len(b))
				}
			}
		}
		p.settle()
		for _, e := range ends {
			if e.conn.flow.dataSent != e.other.conn.flow.taken {
				t.Fatalf("seed %d: %s sent %d, %d were counted", seed, e.name, e.conn.flow.dataSent,
					e.other.conn.flow.taken)
			}
			if n := len(e.events); n == 0 || e.conn.state != open {
				t.Fatalf("seed %d: %q", seed, e.events)
			}
		}
		if len(c.want[p.client])+len(c.want[p.server]) < 20 {
			t.Fatalf("seed %d: %d bodies alone", seed, len(c.want[p.client])+len(c.want[p.server]))
		}
	})
}
