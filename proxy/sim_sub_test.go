package proxy_test

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/proxy"
)

// askingSim is a simulation whose filter makes sub-requests: each of them is one of the exchanges that no client sends.
type askingSim struct {
	*simulation
	clients int // exchanges of clients, the first ones
	heard   int
}

// request asks for several sub-requests of the exchange x of a client. Each answer is the right one, or a failure.
func (s *askingSim) request(x *proxy.Exchange) proxy.Verdict {
	rng := s.w.Rand()
	if id, err := strconv.Atoi(string(x.Path()[1:])); err != nil || id >= s.clients {
		return proxy.Next
	}
	left, n := 0, rng.IntN(4)
	verdict := proxy.Next
	for range n {
		sub := s.sub()
		alone := rng.IntN(5) == 0
		if !alone {
			left++
			sub.Done = s.done(x, sub, &left)
		}
		if v := proxy.Ask(x, sub); !alone {
			verdict = v
		}
	}
	return verdict
}

// sub returns a sub-request for an exchange of its own.
func (s *askingSim) sub() *proxy.Sub {
	rng := s.w.Rand()
	e := &exchange{id: len(s.exchanges), method: "GET", down: size(rng.IntN)}
	e.origin = simSubOrigins[rng.IntN(len(simSubOrigins))]
	sub := &proxy.Sub{Target: "/" + strconv.Itoa(e.id), Timeout: time.Duration(1+rng.IntN(1000)) * time.Millisecond}
	if rng.IntN(3) == 0 {
		e.method, e.up = "POST", size(rng.IntN)
		sub.Method, sub.Body = "POST", pattern(e.id, e.up)
	}
	if rng.IntN(2) == 0 {
		sub.To = proxy.To(s.upstream, nil)
	}
	s.exchanges = append(s.exchanges, e)
	s.subs++
	return sub
}

// done takes the answer to sub for x.
func (s *askingSim) done(x *proxy.Exchange, sub *proxy.Sub, left *int) func(*proxy.Exchange, *proxy.Sub) proxy.Verdict {
	id, parent := len(s.exchanges)-1, string(x.Path())
	return func(y *proxy.Exchange, got *proxy.Sub) proxy.Verdict {
		e := s.exchanges[id]
		if y != x || got != sub || string(y.Path()) != parent {
			s.t.Fatalf("the answer to %d came to another request, %s", id, y.Path())
		}
		want := pattern(id+1, e.down)
		if e.origin == "204" {
			want = nil
		}
		if got.Truncated {
			want = want[:len(got.Answer)]
		}
		right := got.Response.Get("X-Id") == strconv.Itoa(id) && bytes.Equal(got.Answer, want)
		if s.heard++; got.Err == nil && !right && got.Response.Status < 500 {
			s.t.Fatalf("sub-request %d, %+v: status %d, id %s, %d bytes", id, e, got.Response.Status,
				got.Response.Get("X-Id"), len(got.Answer))
		}
		switch *left--; {
		case *left > 0:
			return proxy.Park
		case s.w.Rand().IntN(8) == 0:
			return proxy.Fail(proxy.Internal)
		}
		return proxy.Next
	}
}

var simSubOrigins = append([]string{"silent", "dies", "dies in body", "closes", "late", "late"}, goodOrigins...)

// Requests with sub-requests, while clients leave, backends fail and times run out: each answer comes to its own
// parent, and nothing is left.
func TestSim_subs(t *testing.T) {
	made, heard := 0, 0
	sim.Run(t, seeds(200), func(t testing.TB, w *sim.World) {
		s := &askingSim{}
		filter := &proxy.Filter{Name: "asks", Request: s.request}
		s.simulation = newSimulation(t, w, 1+int(w.Seed()%2), filter)
		s.faults = true
		s.plan(4, 4, append([]string{"late", "dies", "early"}, goodOrigins...))
		s.clients = len(s.exchanges)
		s.someLeave(3, 100)
		s.run()
		made, heard = made+s.subs, heard+s.heard
	})
	t.Logf("%d sub-requests, %d answers", made, heard)
}
