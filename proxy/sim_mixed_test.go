package proxy_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	sums "github.com/edge-proxy/edge/internal/base/tally"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/forward/sticky"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// mixed is a simulation of an upstream that has all that there is for failures, and of the one that it fails over to.
type mixed struct {
	*simulation
	sets   [2]*backend.Set
	limits [2]*admission.Limiter // nil: none
	other  *upstream.Upstream
	seen   map[*backend.Member]bool // that ever were
}

func newMixed(t testing.TB, w *sim.World) *mixed {
	rng := w.Rand()
	reactors := 1 + rng.IntN(3)
	s := &mixed{seen: map[*backend.Member]bool{}}
	perBackend := max(0, rng.IntN(6)-3)
	total := time.Duration(max(0, rng.IntN(400)-200)) * time.Millisecond
	limited := limitedTo(total)
	limited.ConnectFailed = func(x *proxy.Exchange, _ *proxy.Error) proxy.Verdict {
		if !*elsewhere.Of(x) && rng.IntN(12) == 0 {
			*elsewhere.Of(x) = true
			x.SetDestination(proxy.To(s.other, s.options(rng.IntN, 1, nil)))
		}
		return proxy.Next
	}
	s.simulation = newTunedSimulation(t, w, reactors, tuning{upstream: func(o *upstream.Options) {
		fewer(o, 1+rng.IntN(3))
		o.Retries = rng.IntN(5) - 1
		o.RetryBuffer = []int{0, 100, 64 << 10}[rng.IntN(3)]
		o.PerBackend, o.QueueTimeout = perBackend, 50*time.Millisecond
	}}, limited)
	s.faults = true
	s.other = upstream.New(s.engine, upstream.Options{
		Name: "other", Retries: rng.IntN(3), Connect: time.Second, RetryBuffer: 64 << 10,
		Backends: backend.Of("10.0.0.3:80", "10.0.0.2:80"), Client: session.ClientOptions{FirstByte: time.Second},
	})
	s.sets = [2]*backend.Set{s.upstream.Options().Backends, s.other.Options().Backends}
	for i := range s.limits {
		if rng.IntN(4) > 0 {
			s.limits[i] = admission.New(reactors, drawLimits(rng.IntN))
		}
	}
	var outliers [2]*backend.Outliers
	for i, set := range s.sets {
		s.note(set)
		outliers[i] = drawOutliers(rng.IntN, set, reactors)
	}
	cookie, err := sticky.New(s.sets[0], sticky.Options{Service: "sim"})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		first, second := s.options(rng.IntN, 0, outliers[0]), s.options(rng.IntN, 1, outliers[1])
		if rng.IntN(2) == 0 {
			first.Sticky = cookie
		}
		if rng.IntN(2) == 0 {
			first.Failover = proxy.To(s.other, second)
		}
		route := proxy.Route{Name: "all", To: proxy.To(s.upstream, first)}
		route.Class = admission.Class(rng.IntN(4))
		s.swap(route, limited)
		s.w.After(time.Duration(rng.IntN(200))*time.Millisecond, func() { s.swap(route, limited) })
	}
	s.plan(6, 6, slices.Concat(unavailableOrigins, badOrigins, []string{"late", "late", "late", "silent", "tunnel"}))
	for _, x := range s.exchanges {
		if m := s.sets[0].Members(); rng.IntN(3) == 0 {
			value := cookie.Append(nil, m[rng.IntN(len(m))], false, time.Now())
			value, _, _ = bytes.Cut(value, []byte(";"))
			x.fields = fmt.Sprintf("Cookie: %s\r\n", value)
		}
		if x.method == "POST" && rng.IntN(3) > 0 {
			x.method = "PUT"
		}
		if x.origin == "tunnel" {
			x.origin = "late"
		}
	}
	s.drawClients(rng.IntN)
	for range rng.IntN(20) {
		w.After(time.Duration(rng.IntN(200))*time.Millisecond, func() { s.disturb(rng.IntN) })
	}
	return s
}

// drawClients says which clients end by a tunnel, and has some leave early.
func (s *mixed) drawClients(intN func(int) int) {
	for _, c := range s.clients {
		if x := c.waiting[len(c.waiting)-1]; x.method == "GET" && intN(2) == 0 {
			x.origin = "tunnel"
			x.fields += "Connection: Upgrade\r\nUpgrade: websocket\r\n"
		}
	}
	s.someLeave(3, 200)
}

// options draws how one of the two upstreams is led to.
func (s *mixed) options(intN func(int) int, which int, outliers *backend.Outliers) *proxy.ToOptions {
	methods := []*balance.Method{balance.Adaptive, balance.RoundRobin, balance.LeastConn, balance.Random, balance.P2C}
	reactors := len(s.engine.Reactors())
	policy := on(s.t, "connect", "refused_stream", "reset", "503")
	if policy.PerTry = []time.Duration{0, 5, 20, 100}[intN(4)] * time.Millisecond; policy.PerTry > 0 {
		policy.On = policy.On.With(retry.Timeout)
	}
	if intN(3) == 0 {
		policy.Budget = retry.NewBudget(reactors, 20)
	}
	if intN(4) > 0 {
		policy.Hedge = &retry.Hedge{After: time.Duration(intN(30)) * time.Millisecond}
	}
	if intN(3) == 0 {
		policy.Hedge = retry.NewHedge(reactors, time.Duration(intN(10))*time.Millisecond)
	}
	o := &proxy.ToOptions{Retry: policy, Method: methods[intN(len(methods))], Limits: s.limits[which]}
	if intN(3) > 0 {
		o.Outliers = outliers
	}
	if intN(2) == 0 {
		o.Host = proxy.HostOfBackend
	}
	return o
}

func drawLimits(intN func(int) int) admission.Options {
	return admission.Options{
		Requests: intN(4), Retries: intN(3), Pending: []int{0, -1, 1, 3}[intN(4)],
		Wait: time.Duration(1+intN(100)) * time.Millisecond, Adaptive: intN(3) == 0,
	}
}

func (s *mixed) swap(r proxy.Route, filters ...*proxy.Filter) {
	s.proxy.Swap(newSnapshot(s.t, []proxy.Route{r}, filters...))
}

// note keeps the members of set in mind: what they count has to end even if they go.
func (s *mixed) note(set *backend.Set) {
	for _, m := range set.Members() {
		s.seen[m] = true
	}
}

// disturb changes something while requests are under way.
func (s *mixed) disturb(intN func(int) int) {
	which := intN(2)
	set, l := s.sets[which], s.limits[which]
	members := set.Members()
	switch n := intN(5); {
	case n == 0 && l != nil:
		l.Change(drawLimits(intN))
	case n == 1:
		var list []backend.Spec
		for i := range 3 {
			if intN(3) > 0 {
				list = append(list, backend.Spec{Address: fmt.Sprintf("10.0.0.%d:80", i+1)})
			}
		}
		set.Update(list)
		s.note(set)
	case len(members) == 0:
	case n == 2:
		members[intN(len(members))].Down(backend.Draining)
	default:
		members[intN(len(members))].Up(backend.Draining)
	}
	for i := range s.engine.Reactors() {
		s.w.Kernel(i).Wake() // between two ticks a reactor does not count as asleep: Post wakes nobody
	}
}

// finish looks whether anything that is over is counted.
func (s *mixed) finish() {
	s.run()
	s.other.Close()
	for m := range s.seen {
		if n, tunnels := m.InFlight(); n != 0 || tunnels != 0 {
			s.t.Fatalf("%s counts %d requests and %d tunnels", m.Address(), n, tunnels)
		}
		if n := m.Held(); n != 0 {
			s.t.Fatalf("%d places at %s are taken", n, m.Address())
		}
	}
	for _, l := range s.limits {
		if l == nil {
			continue
		}
		if err := s.w.Run(func() bool { now, _ := l.Concurrency(); return now == 0 }, 1000); err != nil || l.Crowded() {
			now, _ := l.Concurrency()
			s.t.Fatalf("%d are under way, crowded %v", now, l.Crowded())
		}
		for _, r := range s.engine.Reactors() {
			if l.Change(admission.Options{Retries: 1}); !l.TakeRetry(r) {
				s.t.Fatal("a retry that is over is counted")
			}
			l.EndRetry()
		}
	}
}

// Whatever comes together: limits, hedges, ejections, cookies, retries, failovers, tunnels, other configurations, and
// clients that leave. What is over is counted nowhere.
func TestSim_allThatThereIsForFailures(t *testing.T) {
	var sum proxy.Stats
	waited := 0
	sim.Run(t, seeds(100), func(t testing.TB, w *sim.World) {
		if w.Rand().IntN(2) == 0 {
			w.Faults = sim.Faults{ConnectRefused: 0.1, ConnectTimeout: 0.05, ShortWrite: 0.2, Reset: 0.002}
		}
		s := newMixed(t, w)
		s.finish()
		for _, r := range s.engine.Reactors() {
			st := s.proxy.Stats(r)
			sums.Add(&sum, &st)
			for _, l := range s.limits {
				if l != nil {
					waited += int(l.Stats(r).Queued)
				}
			}
		}
	})
	t.Logf("%+v; %d waited, %d tunnels, %d failovers, %d retries",
		sum.Hedges, waited, sum.Tunnels, sum.Failovers, sum.Retries)
}

// Requests that wait for room at backends none of which serves any more fail at once, however many they are.
func TestSim_nobodyIsWaitedFor(t *testing.T) {
	sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) {
		to := &proxy.ToOptions{Limits: admission.New(1, admission.Options{Requests: 1, Wait: time.Minute})}
		x := newScene(t, w, tuning{to: to, upstream: func(o *upstream.Options) { fewer(o, 1) }})
		x.sends(sceneGet)
		x.asked("\r\n\r\n")
		others := []*sim.Peer{w.Dial(x.addr), w.Dial(x.addr), w.Dial(x.addr)}
		x.do(func() {
			for _, p := range others {
				p.SendString(sceneGet)
			}
		})
		x.until(func() bool { return to.Limits.Stats(x.engine.Reactors()[0]).Waiting == len(others) })
		x.do(func() { x.upstream.Options().Backends.Members()[0].Down(backend.Draining) })
		x.answers("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")
		x.answered("well")
		for _, p := range others {
			x.until(func() bool { return strings.HasPrefix(string(p.Received()), "HTTP/1.1 503 ") })
		}
		x.play(1 + len(others))
	})
}

// While an attempt waits to be repeated it is not hedged: the retry would forget the hedge.
func TestSim_noHedgeWhileARetryWaits(t *testing.T) {
	sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) {
		policy := on(t, "timeout")
		policy.PerTry = 20 * time.Millisecond
		policy.Hedge = &retry.Hedge{After: time.Duration(22+w.Rand().IntN(30)) * time.Millisecond}
		to := &proxy.ToOptions{Retry: policy, Method: balance.RoundRobin}
		x := newScene(t, w, tuning{to: to, upstream: func(o *upstream.Options) {
			fewer(o, 2)
			o.Retries = 2
		}})
		members := x.upstream.Options().Backends.Members()
		for _, l := range x.origins {
			l.Handle = func(p *sim.Peer) {
				p.Handle = func(*sim.Peer) {}
			}
		}
		members[1].Down(backend.Draining)
		x.sends(sceneGet)
		x.until(func() bool { return x.proxy.Stats(x.engine.Reactors()[0]).Retries > 0 })
		x.do(func() { members[1].Up(backend.Draining) })
		x.until(func() bool { return strings.HasPrefix(string(x.client.Received()), "HTTP/1.1 504 ") })
		x.until(func() bool { return x.underWay() == 0 })
		x.play(1)
	})
}

// A retry that is not made is not counted while the answer that it was to replace lasts.
func TestSim_retryThatIsNotMadeCountsNowhere(t *testing.T) {
	sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) {
		limits := admission.New(1, admission.Options{Retries: 1})
		to := &proxy.ToOptions{Retry: on(t, "503"), Limits: limits}
		to.Retry.Budget = retry.NewBudget(1, 20)
		for to.Retry.Budget.Take(0, w.Now()) {
		}
		x := newScene(t, w, tuning{to: to, upstream: func(o *upstream.Options) { fewer(o, 1) }})
		x.sends(sceneGet)
		x.asked("\r\n\r\n")
		x.answers("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 10\r\n\r\nhello")
		x.answered("hello")
		x.do(func() {
			if !limits.TakeRetry(x.engine.Reactors()[0]) {
				t.Fatal("a retry that was not made is counted")
			}
			limits.EndRetry()
		})
		x.answers("hello")
		x.answered("hellohello")
		x.play(1)
	})
}
