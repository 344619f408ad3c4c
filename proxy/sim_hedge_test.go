package proxy_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/forward/ejection"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

const hedgeAfter = 50 * time.Millisecond

// hedgeScene is a scene of two origins: the one that is connected to first, and the other one.
type hedgeScene struct {
	*scene
	policy  *retry.Policy
	options *upstream.Options
	asked   [2]*sim.Peer // by the order in which a request came whole
}

const hedgePut = "PUT / HTTP/1.1\r\nHost: sim\r\nContent-Length: 5\r\n\r\nhello"

func newHedgeScene(t testing.TB, w *sim.World, change func(p *retry.Policy, o *upstream.Options)) *hedgeScene {
	x := &hedgeScene{policy: on(t, "connect", "refused_stream", "reset", "503")}
	x.policy.Hedge = retry.NewHedge(1, hedgeAfter)
	tuned := tuning{to: &proxy.ToOptions{Retry: x.policy, Method: balance.RoundRobin}}
	tuned.upstream = func(o *upstream.Options) {
		fewer(o, 2)
		x.options = o
		if change != nil {
			change(x.policy, o)
		}
	}
	x.scene = newScene(t, w, tuned)
	for _, l := range x.origins {
		l.Handle = func(p *sim.Peer) {
			noted := false
			p.Handle = func(*sim.Peer) {
				in := string(p.Received())
				if noted || !strings.HasSuffix(in, "\r\n\r\n") && !strings.HasSuffix(in, "hello") {
					return
				}
				if noted = strings.HasPrefix(in, "GET") || strings.HasSuffix(in, "hello"); noted && x.asked[0] == nil {
					x.asked[0] = p
				} else if noted && x.asked[1] == nil {
					x.asked[1] = p
				}
			}
		}
	}
	return x
}

// waits waits until n origins were asked.
func (x *hedgeScene) waits(n int) { x.until(func() bool { return x.asked[n-1] != nil }) }

// says has the origin that was asked as number n, from 1 on, send text.
func (x *hedgeScene) says(n int, text string) { x.do(func() { x.asked[n-1].SendString(text) }) }

// wins has that origin answer well, and waits until the client has that.
func (x *hedgeScene) wins(n int) {
	x.says(n, hedgeWell)
	x.answered("well")
}

// staysAlone has the first origin answer late, when there could have been a second attempt.
func (x *hedgeScene) staysAlone() {
	x.waits(1)
	x.pass(10 * hedgeAfter)
	x.wins(1)
}

// resets has that origin end its connection.
func (x *hedgeScene) resets(n int) { x.do(func() { x.asked[n-1].Reset() }) }

// cut waits until the connection to that origin was closed.
func (x *hedgeScene) cut(n int) { x.until(func() bool { return x.asked[n-1].Closed() }) }

// counted returns what is counted of hedges.
func (x *hedgeScene) counted() proxy.Hedges { return x.proxy.Stats(x.engine.Reactors()[0]).Hedges }

// field returns the value of a field of the record.
func field(r *observe.Record, name string) string {
	for _, f := range r.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

const (
	hedgeWell  = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell"
	hedgeSorry = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nsorry"
	hedgeHint  = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
)

// hedgeCase is an order of events, and what comes of it.
type hedgeCase struct {
	name    string
	change  func(p *retry.Policy, o *upstream.Options)
	request string // a GET unless it is given
	plan    func(x *hedgeScene)
	status  int
	tries   int
	field   string
	want    proxy.Hedges
}

var hedgeCases = []hedgeCase{
	{name: "the first answers in time", plan: func(x *hedgeScene) {
		x.waits(1)
		x.wins(1)
		x.pass(10 * hedgeAfter)
	}, status: 200, tries: 1},
	{name: "the second answers first", plan: func(x *hedgeScene) {
		x.waits(2)
		x.wins(2)
		x.cut(1)
	}, status: 200, tries: 2, field: "won", want: proxy.Hedges{Won: 1, Closed: 1}},
	{name: "the first answers first after all", plan: func(x *hedgeScene) {
		x.waits(2)
		x.wins(1)
		x.cut(2)
	}, status: 200, tries: 2, field: "lost", want: proxy.Hedges{Lost: 1, Closed: 1}},
	{name: "a head in pieces", plan: func(x *hedgeScene) {
		x.waits(2)
		x.says(1, hedgeWell[:20])
		x.pass(20 * time.Millisecond)
		x.says(2, hedgeWell[:len(hedgeWell)-2])
		x.cut(1)
		x.says(2, "ll")
		x.answered("well")
	}, status: 200, tries: 2, field: "won", want: proxy.Hedges{Won: 1, Closed: 1}},
	{name: "a body that was kept", request: hedgePut, plan: func(x *hedgeScene) {
		x.waits(2)
		x.wins(2)
		x.cut(1)
	}, status: 200, tries: 2, field: "won", want: proxy.Hedges{Won: 1, Closed: 1}},
	{name: "a body that was not kept", request: hedgePut, change: func(_ *retry.Policy, o *upstream.Options) {
		o.RetryBuffer = 4
	}, plan: func(x *hedgeScene) {
		x.staysAlone()
	}, status: 200, tries: 1},
	{name: "a method that is not idempotent", request: "POST" + hedgePut[3:], plan: func(x *hedgeScene) {
		x.staysAlone()
	}, status: 200, tries: 1},
	{name: "the first is lost", plan: func(x *hedgeScene) {
		x.waits(2)
		x.resets(1)
		x.pass(20 * time.Millisecond)
		x.wins(2)
	}, status: 200, tries: 2, field: "won", want: proxy.Hedges{Won: 1}},
	{name: "the second is lost", plan: func(x *hedgeScene) {
		x.waits(2)
		x.resets(2)
		x.pass(20 * time.Millisecond)
		x.wins(1)
	}, status: 200, tries: 2, field: "failed", want: proxy.Hedges{Failed: 1}},
	{name: "both are lost", change: func(p *retry.Policy, o *upstream.Options) { o.Retries = -1 },
		plan: func(x *hedgeScene) {
			x.waits(2)
			x.resets(2)
			x.pass(20 * time.Millisecond)
			x.resets(1)
		}, status: 502, tries: 2, field: "failed", want: proxy.Hedges{Failed: 1}},
	{name: "the first fails by its answer", plan: func(x *hedgeScene) {
		x.waits(2)
		x.says(1, hedgeSorry)
		x.pass(20 * time.Millisecond)
		x.wins(2)
	}, status: 200, tries: 2, field: "won", want: proxy.Hedges{Won: 1}},
	{name: "the second fails by its answer", plan: func(x *hedgeScene) {
		x.waits(2)
		x.says(2, hedgeSorry)
		x.pass(20 * time.Millisecond)
		x.wins(1)
	}, status: 200, tries: 2, field: "failed", want: proxy.Hedges{Failed: 1}},
	{name: "both fail by their answers", change: func(p *retry.Policy, o *upstream.Options) { o.Retries = -1 },
		plan: func(x *hedgeScene) {
			x.waits(2)
			x.says(2, hedgeSorry)
			x.pass(20 * time.Millisecond)
			x.says(1, hedgeSorry)
			x.answered("sorry")
		}, status: 503, tries: 2, field: "failed", want: proxy.Hedges{Failed: 1}},
	{name: "a failure that is not tried again wins", change: func(p *retry.Policy, _ *upstream.Options) {
		p.On = retry.Default()
	}, plan: func(x *hedgeScene) {
		x.waits(2)
		x.says(2, hedgeSorry)
		x.answered("sorry")
		x.cut(1)
	}, status: 503, tries: 2, field: "won", want: proxy.Hedges{Won: 1, Closed: 1}},
	{name: "an interim answer of the second is none", plan: func(x *hedgeScene) {
		x.waits(2)
		x.says(2, hedgeHint)
		x.pass(20 * time.Millisecond)
		x.wins(1)
		x.cut(2)
		x.do(func() {
			if strings.Contains(string(x.client.Received()), "103") {
				x.t.Fatal("the client has the interim answer of an attempt that lost")
			}
		})
	}, status: 200, tries: 2, field: "lost", want: proxy.Hedges{Lost: 1, Closed: 1}},
	{name: "an interim answer of the first passes, and the second may win", request: hedgePut,
		plan: func(x *hedgeScene) {
			x.waits(2)
			x.says(1, hedgeHint)
			x.answered("</x>\r\n\r\n")
			x.wins(2)
			x.cut(1)
		}, status: 200, tries: 2, field: "won", want: proxy.Hedges{Won: 1, Closed: 1}},
	{name: "an interim answer of the first passes, and the second fails", plan: func(x *hedgeScene) {
		x.waits(2)
		x.says(1, hedgeHint)
		x.answered("</x>\r\n\r\n")
		x.says(2, hedgeSorry)
		x.pass(20 * time.Millisecond)
		x.wins(1)
	}, status: 200, tries: 2, field: "failed", want: proxy.Hedges{Failed: 1}},
	{name: "an interim answer of the first passes, and it fails", plan: func(x *hedgeScene) {
		x.waits(2)
		x.says(1, hedgeHint)
		x.answered("</x>\r\n\r\n")
		x.says(1, hedgeSorry)
		x.pass(20 * time.Millisecond)
		x.wins(2)
	}, status: 200, tries: 2, field: "won", want: proxy.Hedges{Won: 1}},
	{name: "after an interim answer there is no second", plan: func(x *hedgeScene) {
		x.waits(1)
		x.says(1, hedgeHint)
		x.pass(10 * hedgeAfter)
		x.wins(1)
	}, status: 200, tries: 1},
	{name: "the client leaves", plan: func(x *hedgeScene) {
		x.waits(2)
		x.do(func() { x.client.Reset() })
		x.cut(1)
		x.cut(2)
	}, status: 499, tries: 2, field: "cancelled", want: proxy.Hedges{Cancelled: 1, Closed: 1}},
	{name: "the client leaves before", plan: func(x *hedgeScene) {
		x.waits(1)
		x.do(func() { x.client.Reset() })
		x.cut(1)
		x.pass(10 * hedgeAfter)
	}, status: 499, tries: 1},
	{name: "the budget is empty", plan: func(x *hedgeScene) {
		x.do(func() {
			for x.policy.Hedge.Budget.Take(0, 0) {
			}
		})
		x.staysAlone()
	}, status: 200, tries: 1, field: "budget", want: proxy.Hedges{Denied: 1}},
	{name: "per_try ends the first", change: func(p *retry.Policy, _ *upstream.Options) {
		p.On, p.PerTry = p.On.With(retry.Timeout), 200*time.Millisecond
	}, plan: func(x *hedgeScene) {
		x.waits(2)
		x.cut(1)
		x.pass(20 * time.Millisecond)
		x.wins(2)
	}, status: 200, tries: 2, field: "won", want: proxy.Hedges{Won: 1}},
	{name: "the second is lost after it took over", plan: func(x *hedgeScene) {
		x.waits(2)
		x.resets(1)
		x.pass(20 * time.Millisecond)
		x.do(func() {
			second := x.asked[1]
			x.asked = [2]*sim.Peer{}
			second.Reset()
		})
	}, status: 502, tries: 2, field: "won", want: proxy.Hedges{Won: 1},
		change: func(p *retry.Policy, o *upstream.Options) { o.Retries = -1 }},
	{name: "other members are drained", plan: func(x *hedgeScene) {
		x.waits(1)
		x.do(func() {
			for _, m := range x.options.Backends.Members() {
				m.Down(backend.Draining)
			}
		})
		x.pass(10 * hedgeAfter)
		x.wins(1)
	}, status: 200, tries: 1},
	{name: "the other one is a backup", change: func(_ *retry.Policy, o *upstream.Options) {
		all := o.Backends.Members()
		o.Backends = backend.NewSet(backend.Spec{Address: all[0].Address()},
			backend.Spec{Address: all[1].Address(), Tier: 1})
	}, plan: func(x *hedgeScene) {
		x.staysAlone()
	}, status: 200, tries: 1},
	{name: "it is slow", plan: func(x *hedgeScene) {
		x.waits(1)
		x.do(func() {
			r := x.engine.Reactors()[0]
			for _, m := range x.options.Backends.Members() {
				if n, _ := m.InFlight(); n == 0 {
					m.Failed(r)
				} else {
					for range 100 {
						m.Answered(r, time.Millisecond)
					}
				}
			}
		})
		x.pass(10 * hedgeAfter)
		x.wins(1)
	}, status: 200, tries: 1},
}

// Whatever comes first, the client has one answer, and of the attempt that is not needed nothing is left.
func TestSim_hedges(t *testing.T) {
	for _, c := range hedgeCases {
		t.Run(c.name, func(t *testing.T) {
			sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) { playHedge(t, w, &c) })
		})
	}
}

func playHedge(t testing.TB, w *sim.World, c *hedgeCase) {
	x := newHedgeScene(t, w, c.change)
	if c.request == "" {
		c.request = sceneGet
	}
	x.sends(c.request)
	c.plan(x)
	r := x.play(1)[0]
	got := x.counted()
	if r.Status != c.status || r.Attempts != c.tries || got != c.want || field(&r, "hedge") != c.field {
		t.Fatalf("status %d (%s) after %d attempts, hedge %q, %+v",
			r.Status, r.Reason, r.Attempts, field(&r, "hedge"), got)
	}
	x.client.Close()
	x.leavesNothing()
}

// While the first attempt still connects, the second one is made; a connection that is refused then leaves the request
// to it.
func TestSim_hedgeWhileTheFirstConnects(t *testing.T) {
	for _, request := range []string{sceneGet, hedgePut} {
		sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) {
			x := newHedgeScene(t, w, nil)
			w.Faults.ConnectTimeout = 1
			x.sends(request)
			x.until(func() bool { return x.underWay() == 1 })
			x.do(func() { w.Faults.ConnectTimeout = 0 })
			x.waits(1)
			x.wins(1)
			r := x.play(1)[0]
			// A body that waits for the connection is not kept for two.
			hedged := request == sceneGet
			if r.Status != 200 || r.Attempts != 2 || (field(&r, "hedge") == "won") != hedged {
				t.Fatalf("status %d after %d attempts, hedge %q", r.Status, r.Attempts, field(&r, "hedge"))
			}
			if d := time.Duration(r.Dur); hedged && d > 10*hedgeAfter || !hedged && d < time.Second {
				t.Fatalf("it took %v", d)
			}
		})
	}
}

// A second attempt is made no earlier than most answers come.
func TestSim_hedgeAfterMostAnswers(t *testing.T) {
	sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) {
		x := newHedgeScene(t, w, nil)
		x.do(func() {
			for range 100 {
				x.policy.Hedge.Heads.Add(0, 400*time.Millisecond, x.engine.Reactors()[0].Now())
			}
		})
		x.sends(sceneGet)
		x.waits(1)
		x.pass(350 * time.Millisecond)
		x.do(func() {
			if x.asked[1] != nil {
				t.Fatal("there is a second attempt")
			}
		})
		x.waits(2)
		x.wins(2)
		x.play(1)
	})
}

// The attempt that lost is no fault of its backend: nobody is ejected. What it took so far makes the backend slower, or
// one that hangs would get the next request.
func TestSim_hedgeLoserIsNoFault(t *testing.T) {
	sim.Run(t, seeds(10), func(t testing.TB, w *sim.World) {
		to := &proxy.ToOptions{Retry: on(t, "connect"), Method: balance.RoundRobin}
		to.Retry.Hedge = &retry.Hedge{After: hedgeAfter}
		x := newScene(t, w, tuning{to: to, upstream: func(o *upstream.Options) {
			fewer(o, 2)
			to.Outliers = backend.NewOutliers(o.Backends, 1, ejection.Options{Errors: 1})
		}})
		members := x.upstream.Options().Backends.Members()
		x.origins[0].Handle = func(*sim.Peer) {}
		asked := 0
		x.origins[1].Handle = func(p *sim.Peer) {
			answered := 0
			p.Handle = func(p *sim.Peer) {
				for ; answered < strings.Count(string(p.Received()), "\r\n\r\n"); answered++ {
					asked++
					p.SendString(hedgeWell)
				}
			}
		}
		const requests = 8
		for i := range requests {
			x.sends(sceneGet)
			x.until(func() bool { return strings.Count(string(x.client.Received()), "well") == i+1 })
		}
		x.do(func() {
			if asked != requests {
				t.Fatalf("the origin that answers was asked %d times", asked)
			}
			for _, m := range members {
				if m.Reasons() != 0 {
					t.Fatalf("%s is closed: %v", m.Address(), m.Reasons())
				}
			}
			if d, _ := members[0].Latency(); d < hedgeAfter {
				t.Fatalf("the one that hangs counts as one that takes %v", d)
			}
		})
		x.play(requests)
	})
}

// Where requests wait for connections there are no second attempts.
func TestSim_hedgeNeverQueues(t *testing.T) {
	sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) {
		x := newHedgeScene(t, w, func(_ *retry.Policy, o *upstream.Options) {
			o.PerBackend, o.Queue, o.QueueTimeout = 1, 10, 10*time.Second
		})
		others := []*sim.Peer{w.Dial(x.addr), w.Dial(x.addr)}
		x.sends(sceneGet)
		x.waits(1)
		x.do(func() { others[0].SendString(sceneGet) }) // it takes the only connection to the other origin
		x.waits(2)
		x.pass(10 * hedgeAfter)
		x.do(func() { others[1].SendString(sceneGet) })
		x.pass(10 * hedgeAfter)
		x.do(func() {
			if x.counted() != (proxy.Hedges{}) {
				t.Fatalf("%+v", x.counted())
			}
			x.asked[0].SendString(hedgeWell)
			x.asked[1].SendString(hedgeWell)
		})
		x.answered("well")
		x.until(func() bool { return strings.HasSuffix(string(others[0].Received()), "well") })
		x.do(func() { others[1].Reset() })
		for _, r := range x.play(3) {
			if r.Attempts > 1 {
				t.Fatalf("%d attempts", r.Attempts)
			}
		}
	})
}

// Whatever the origins do, and whenever clients leave: every request gets its own answer, no request that must not be
// repeated is, and what is over is counted nowhere.
func TestSim_hedgesInAnyOrder(t *testing.T) {
	origins := []string{
		"late", "late", "late", "length", "chunked", "interim", "close", "silent", "dies", "closes", "dies in head",
		"dies in body", "then closes later", "early", "503", "503 long", "503 later", "503 endless", "503 early",
	}
	var sum proxy.Hedges
	sim.Run(t, seeds(200), func(t testing.TB, w *sim.World) {
		rng := w.Rand()
		reactors := 1 + rng.IntN(3)
		policy := on(t, "connect", "refused_stream", "reset", "503")
		policy.PerTry = []time.Duration{0, 0, 20 * time.Millisecond, 100 * time.Millisecond}[rng.IntN(4)]
		if policy.PerTry > 0 {
			policy.On = policy.On.With(retry.Timeout)
		}
		policy.Hedge = &retry.Hedge{After: time.Duration(rng.IntN(10)) * time.Millisecond}
		if rng.IntN(3) == 0 {
			policy.Hedge = retry.NewHedge(reactors, policy.Hedge.After)
		}
		to := &proxy.ToOptions{Retry: policy, Method: balance.RoundRobin}
		if rng.IntN(2) == 0 {
			to.Method, to.Host = nil, proxy.HostOfBackend
		}
		total := time.Duration(max(0, rng.IntN(300)-150)) * time.Millisecond
		limited := limitedTo(total)
		if rng.IntN(2) == 0 {
			w.Faults = sim.Faults{ConnectRefused: 0.1, ConnectTimeout: 0.1, ShortWrite: 0.2, Reset: 0.002}
		}
		filters := []*proxy.Filter{limited}
		if rng.IntN(3) == 0 {
			filters = append(filters, stubborn(new(atomic.Int32)))
			policy.On = on(t, []string{"connect", "reset", "503"}[rng.IntN(3)]).On
		}
		s := newTunedSimulation(t, w, reactors, tuning{to: to, upstream: func(o *upstream.Options) {
			fewer(o, 2+rng.IntN(2))
			o.Retries = rng.IntN(4) - 1
			o.RetryBuffer = []int{100, 64 << 10}[rng.IntN(2)]
			o.PerBackend = max(0, rng.IntN(8)-4)
			o.QueueTimeout = 50 * time.Millisecond
			if rng.IntN(2) == 0 {
				to.Outliers = drawOutliers(rng.IntN, o.Backends, reactors)
			}
		}}, filters...)
		s.faults = true
		s.plan(4, 5, origins)
		for _, x := range s.exchanges {
			if x.method == "POST" && rng.IntN(4) > 0 {
				x.method = "PUT"
			}
		}
		s.someLeave(4, 100)
		s.run()
		for _, r := range s.engine.Reactors() {
			h := s.proxy.Stats(r).Hedges
			sum.Won, sum.Lost, sum.Failed = sum.Won+h.Won, sum.Lost+h.Lost, sum.Failed+h.Failed
			sum.Cancelled, sum.Denied = sum.Cancelled+h.Cancelled, sum.Denied+h.Denied
		}
	})
	t.Logf("%+v", sum)
}
