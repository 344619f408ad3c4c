package proxy_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/forward/ejection"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// unavailableOrigins answer 503 now and then: shortly, at length, without an end, and before the request is whole.
var unavailableOrigins = []string{
	"503", "503 long", "503 chunked", "503 close", "503 endless", "503 early", "503 later",
}

// unavailable plays an origin that cannot serve x now. It reports false where it serves it all the same.
func (s *simulation) unavailable(p *sim.Peer, x *exchange, done func()) bool {
	if !strings.HasPrefix(x.origin, "503") || s.w.Rand().IntN(3) == 0 {
		return false
	}
	head, body := "HTTP/1.1 503 Service Unavailable\r\n", "sorry"
	if x.origin == "503 long" {
		body = strings.Repeat("s", 100_000)
	}
	length := fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))
	switch {
	case x.origin == "503 close":
		p.SendString(head + "Connection: close\r\n\r\n")
		if x.method != "HEAD" {
			p.SendString(body)
		}
		p.Close()
	case x.method == "HEAD":
		p.SendString(head + length)
		done()
	case x.origin == "503 chunked":
		p.SendString(head + "Transfer-Encoding: chunked\r\n\r\n5\r\nsorry\r\n0\r\n\r\n")
		done()
	case x.origin == "503 endless":
		p.SendString(head + "Transfer-Encoding: chunked\r\n\r\n")
		var more func()
		pieces := s.w.Rand().IntN(30)
		more = func() {
			if pieces--; p.Closed() || pieces < 0 {
				p.Close()
				return
			}
			p.SendString("1000\r\n" + strings.Repeat("e", 0x1000) + "\r\n")
			s.w.After(time.Duration(s.w.Rand().IntN(20))*time.Millisecond, more)
		}
		more()
	case x.origin == "503 later":
		p.SendString(head + length)
		s.w.After(time.Duration(s.w.Rand().IntN(50))*time.Millisecond, func() {
			p.SendString(body)
			done()
		})
	default:
		p.SendString(head + length + body)
		done()
	}
	return true
}

// limitedTo is a filter that gives each request so much time in all.
func limitedTo(total time.Duration) *proxy.Filter {
	return &proxy.Filter{Name: "limited", Request: func(x *proxy.Exchange) proxy.Verdict {
		x.SetTimeouts(proxy.Timeouts{Total: total})
		return proxy.Next
	}}
}

// drawOutliers draws after how many failures members of set are ejected.
func drawOutliers(intN func(int) int, set *backend.Set, reactors int) *backend.Outliers {
	return backend.NewOutliers(set, reactors, ejection.Options{
		Errors: 1 + intN(4), Window: 50 * time.Millisecond, Eject: 20 * time.Millisecond,
	})
}

// spentBudget allows no retry.
func spentBudget() *retry.Budget {
	b := retry.NewBudget(1, 20)
	for b.Take(0, 0) {
	}
	return b
}

// Whatever an origin answers, whenever its clients leave, and whether a filter wants another attempt in any case: no
// request that must not be repeated is, and what is over is counted nowhere, by any method of balancing.
func TestSim_retries(t *testing.T) {
	methods := []*balance.Method{
		balance.Adaptive, balance.RoundRobin, balance.LeastConn, balance.Random, balance.Ketama, balance.IPHash,
		balance.PeakEWMA, balance.P2C, balance.Maglev,
	}
	retries, answers := 0, 0
	sim.Run(t, seeds(1000), func(t testing.TB, w *sim.World) {
		rng := w.Rand()
		reactors := 1 + rng.IntN(3)
		words := []string{"connect", "refused_stream", "reset", "503"}
		if rng.IntN(2) == 0 {
			words = append(words, "timeout")
		}
		policy := on(t, words...)
		policy.PerTry = []time.Duration{0, 20 * time.Millisecond, 200 * time.Millisecond}[rng.IntN(3)]
		if rng.IntN(3) == 0 {
			policy.Budget = retry.NewBudget(reactors, 20)
		}
		method := methods[rng.IntN(len(methods))]
		to := &proxy.ToOptions{Retry: policy}
		if method.Hash != nil {
			to.Key = func(x *proxy.Exchange) (uint64, bool) { return method.Hash(x.Path()), rng.IntN(4) > 0 }
		}
		tuned := tuning{to: to}
		tuned.upstream = func(o *upstream.Options) {
			fewer(o, 1+rng.IntN(3))
			o.Retries = rng.IntN(5)
			o.RetryBuffer = []int{0, 100, 64 << 10}[rng.IntN(3)]
			o.PerBackend = rng.IntN(4)
			o.QueueTimeout = 50 * time.Millisecond
			to.Method = method
			if rng.IntN(2) == 0 {
				to.Outliers = drawOutliers(rng.IntN, o.Backends, reactors)
			}
		}
		total := time.Duration(max(0, rng.IntN(600)-300)) * time.Millisecond
		limited := limitedTo(total)
		if rng.IntN(2) == 0 {
			w.Faults = sim.Faults{ConnectRefused: 0.1, ConnectTimeout: 0.02, ShortWrite: 0.2, Reset: 0.002}
		}
		filters := []*proxy.Filter{limited}
		if rng.IntN(3) == 0 {
			filters = append(filters, stubborn(new(atomic.Int32)))
			policy.On = on(t, words[rng.IntN(len(words))]).On
		}
		s := newTunedSimulation(t, w, reactors, tuned, filters...)
		s.faults = true
		s.plan(5, 6, slices.Concat(unavailableOrigins, unavailableOrigins, badOrigins))
		for _, x := range s.exchanges {
			if x.method == "POST" && rng.IntN(2) == 0 {
				x.method = "PUT"
			}
		}
		s.someLeave(3, 200)
		s.run()
		for _, r := range s.engine.Reactors() {
			retries += int(s.proxy.Stats(r).Retries)
		}
		answers += s.answered
	})
	t.Logf("%d retries, %d answers", retries, answers)
}

// An answer that no other attempt could take the place of is under way at its backend for as long as it lasts.
func TestSim_answerOfTheLastMemberCounts(t *testing.T) {
	sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) {
		x := newScene(t, w, tuning{
			upstream: func(o *upstream.Options) { fewer(o, 1) },
			to:       &proxy.ToOptions{Retry: on(t, "503")},
		})
		x.sends(sceneGet)
		x.asked("\r\n\r\n")
		// To come back later than an exchange waits rules out another attempt at the same member.
		x.answers("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 9\r\nContent-Length: 10\r\n\r\nhello")
		x.answered("hello")
		x.do(func() {
			if n := x.underWay(); n != 1 {
				t.Fatalf("the backend counts %d exchanges", n)
			}
		})
		x.answers("hello")
		x.answered("hellohello")
		x.pass(time.Second)
		x.do(func() {
			if n := x.underWay(); n != 0 {
				t.Fatalf("the backend counts %d exchanges that are over", n)
			}
		})
		x.play(1)
	})
}

// An answer that is thrown away, and comes a byte at a time, does not keep the one connection to its backend for long.
func TestSim_answerThatTricklesIsNotAwaited(t *testing.T) {
	sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) {
		x := newScene(t, w, tuning{
			upstream: func(o *upstream.Options) {
				fewer(o, 1)
				o.PerBackend, o.Queue, o.QueueTimeout = 1, 10, 10*time.Second
			},
			to: &proxy.ToOptions{Retry: on(t, "503")},
		})
		asked := 0
		x.origins[0].Handle = func(p *sim.Peer) {
			if asked++; asked > 1 {
				p.Handle = func(p *sim.Peer) {
					if strings.HasSuffix(string(p.Received()), "\r\n\r\n") {
						p.SendString("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")
					}
				}
				return
			}
			var trickle func()
			trickle = func() {
				if !p.Closed() {
					p.SendString("1\r\n.\r\n")
					w.After(500*time.Millisecond, trickle)
				}
			}
			p.Handle = func(*sim.Peer) {
				if strings.HasSuffix(string(p.Received()), "\r\n\r\n") {
					p.Handle = nil
					p.SendString("HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n")
					trickle()
				}
			}
		}
		x.sends(sceneGet)
		x.answered("well")
		if r := x.play(1)[0]; r.Status != 200 || r.Dur > int64(3*time.Second) {
			t.Fatalf("status %d after %v", r.Status, time.Duration(r.Dur))
		}
	})
}

// No attempt follows one whose interim answer the client has seen: per_try does not end it.
func TestSim_perTryEndsWithAnInterimAnswer(t *testing.T) {
	sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) {
		policy := on(t, "timeout")
		policy.PerTry = time.Second
		x := newScene(t, w, tuning{
			upstream: func(o *upstream.Options) { o.Client = session.ClientOptions{FirstByte: 10 * time.Second} },
			to:       &proxy.ToOptions{Retry: policy},
		})
		x.sends(sceneGet)
		x.asked("\r\n\r\n")
		x.answers("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
		x.answered("\r\n\r\n")
		x.pass(3 * time.Second)
		x.answers("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")
		x.answered("\r\n\r\nwell")
		if r := x.play(1)[0]; r.Status != 200 {
			t.Fatalf("status %d, %s", r.Status, r.Reason)
		}
	})
}

// An attempt that no other one may follow, since the budget is empty or all retries are used up, is not ended by
// per_try: it may still be answered.
func TestSim_perTryWithNothingToFollow(t *testing.T) {
	sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) {
		policy := on(t, "timeout")
		policy.PerTry = time.Second
		policy.Budget = spentBudget()
		retries := w.Rand().IntN(2)
		x := newScene(t, w, tuning{
			upstream: func(o *upstream.Options) {
				o.Client = session.ClientOptions{FirstByte: 10 * time.Second}
				o.Retries = []int{-1, 2}[retries]
			},
			to: &proxy.ToOptions{Retry: policy},
		})
		x.sends(sceneGet)
		x.asked("\r\n\r\n")
		x.pass(5 * time.Second)
		x.answers("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")
		x.answered("\r\n\r\nwell")
		if r := x.play(1)[0]; r.Status != 200 || r.Attempts != 1 {
			t.Fatalf("status %d, %s, %d attempts", r.Status, r.Reason, r.Attempts)
		}
		if n := x.proxy.Stats(x.engine.Reactors()[0]).RetriesDenied; n != uint64(retries) {
			t.Fatalf("%d retries denied", n)
		}
	})
}
