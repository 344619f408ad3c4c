package proxy_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// slowHandshakes returns the address of a server of TLS whose handshakes take that long at the least.
func slowHandshakes(t *testing.T, d time.Duration, h http.HandlerFunc) string {
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		<-time.After(d)
		return nil, nil
	}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

var everyProtocol = []upstream.Protocol{upstream.H1, upstream.H2, upstream.Auto}

func securedBy(p upstream.Protocol) upstream.Options {
	return upstream.Options{Protocol: p, TLS: upstream.TLS{On: true, Insecure: true}}
}

// An attempt whose handshake takes longer than per_try goes on where there is no other member.
func TestPerTry_handshakeWithTheOnlyMember(t *testing.T) {
	p := on(t, "connect", "timeout")
	p.PerTry = 30 * time.Millisecond
	slow := slowHandshakes(t, 4*p.PerTry, wellAnswering)
	for _, protocol := range everyProtocol {
		r := retrying(t, p, securedBy(protocol), nil, slow)
		for _, method := range []string{"POST", "GET"} {
			if resp, _ := fetch(t, method, r.url+"/", "x"); resp.StatusCode != 200 {
				t.Errorf("protocol %d: %s got %d", protocol, method, resp.StatusCode)
			}
		}
	}
}

// An attempt that went on, since nothing may follow one without a connection, is bounded when it has one.
func TestPerTry_answerAfterASlowHandshake(t *testing.T) {
	p := on(t, "timeout")
	p.PerTry = 30 * time.Millisecond
	leave := make(chan struct{})
	defer close(leave)
	hangs := slowHandshakes(t, 4*p.PerTry, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-leave:
		}
	})
	good := slowHandshakes(t, 0, wellAnswering)
	for _, protocol := range everyProtocol {
		o := securedBy(protocol)
		o.Client = session.ClientOptions{FirstByte: 10 * time.Second}
		o.Retries = 100 // on a machine that is busy the good one may need longer as well
		r := retrying(t, p, o, nil, hangs, good)
		start := time.Now()
		for range 2 {
			if resp, _ := fetch(t, "GET", r.url+"/", ""); resp.StatusCode != 200 {
				t.Errorf("protocol %d: %d", protocol, resp.StatusCode)
			}
		}
		if took := time.Since(start); took < 4*p.PerTry || took >= o.Client.FirstByte {
			t.Errorf("protocol %d: %v", protocol, took)
		}
	}
}

// The answer to an attempt that went on without a connection has the time of a try from when there is one.
func TestPerTry_fromTheEndOfASlowHandshake(t *testing.T) {
	p := on(t, "timeout")
	p.PerTry = 400 * time.Millisecond
	var asked atomic.Int32
	slow := slowHandshakes(t, p.PerTry*19/10, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-time.After(p.PerTry / 2)
		wellAnswering(w, r)
	})
	r := retrying(t, p, securedBy(upstream.H1), nil, slow)
	if resp, _ := fetch(t, "GET", r.url+"/", ""); resp.StatusCode != 200 || asked.Load() != 1 {
		t.Errorf("%d after %d attempts", resp.StatusCode, asked.Load())
	}
}

// What is given up before the connection stands that others share is not sent on it later: it was sent elsewhere.
func TestPerTry_givenUpIsNotSent(t *testing.T) {
	p := on(t, "connect")
	p.PerTry = 50 * time.Millisecond
	var posts, gets atomic.Int32
	counting := func(gets *atomic.Int32) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "POST" {
				posts.Add(1)
			} else {
				gets.Add(1)
			}
			wellAnswering(w, r)
		}
	}
	slow, good := slowHandshakes(t, 4*p.PerTry, counting(&gets)), slowHandshakes(t, 0, counting(new(atomic.Int32)))
	r := retrying(t, p, securedBy(upstream.H2), nil, slow, good)
	bodies := []string{"", "x"}
	for _, body := range bodies {
		if resp, _ := fetch(t, "POST", r.url+"/", body); resp.StatusCode != 200 {
			t.Errorf("%d", resp.StatusCode)
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		fetch(t, "GET", r.url+"/", "")
		return gets.Load() > 0 // on the same connection, after all that was sent before
	})
	if n := posts.Load(); int(n) != len(bodies) {
		t.Errorf("%d requests came %d times", len(bodies), n)
	}
}

// The wait for a connection of a limited number is not part of an attempt, also where another reactor was asked for
// one before.
func TestSim_perTryIsWithoutTheWaitForASlot(t *testing.T) {
	const clients, rounds, takes = 8, 3, 200 * time.Millisecond
	sim.Run(t, seeds(50), func(t testing.TB, w *sim.World) {
		policy := on(t, "connect", "timeout")
		policy.PerTry = takes + takes/2
		to := &proxy.ToOptions{Retry: policy}
		s := newTunedSimulation(t, w, 2, tuning{to: to, upstream: func(o *upstream.Options) {
			fewer(o, 1)
			o.PerBackend, o.QueueTimeout, o.Connect, o.Retries = 1, time.Minute, time.Minute, 2
		}})
		asked := 0
		s.origins[0].Handle = func(p *sim.Peer) {
			p.Handle = func(*sim.Peer) {
				if strings.HasSuffix(string(p.Take()), "\r\n\r\n") {
					asked++
					w.After(takes, func() { p.SendString(hedgeWell) })
				}
			}
		}
		var all []*sim.Peer
		for range clients {
			all = append(all, w.Dial(s.addr))
		}
		for round := range rounds {
			for _, c := range all {
				c.SendString(sceneGet)
			}
			answered := func() bool {
				for _, c := range all {
					if strings.Count(string(c.Received()), "HTTP/1.1 200 OK") != round+1 {
						return false
					}
				}
				return true
			}
			if err := w.Run(answered, 1_000_000); err != nil {
				t.Fatal(err)
			}
		}
		if asked != clients*rounds {
			t.Fatalf("the origin was asked %d times", asked)
		}
	})
}

// A first attempt is not given up for a second one that is under way where per_try is no condition of a retry.
func TestSim_perTryOfTheFirstIsNoCondition(t *testing.T) {
	sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) {
		condition := w.Rand().IntN(2) == 0
		x := newHedgeScene(t, w, func(p *retry.Policy, _ *upstream.Options) {
			if p.PerTry = 2 * hedgeAfter; condition {
				p.On = p.On.With(retry.Timeout)
			}
		})
		x.sends(sceneGet)
		x.waits(2)
		if condition {
			x.cut(1)
			x.says(2, hedgeWell)
		} else {
			x.pass(4 * hedgeAfter)
			x.says(1, hedgeWell)
		}
		x.answered("well")
		if r := x.play(1)[0]; r.Status != 200 || r.Attempts != 2 {
			t.Fatalf("status %d, %d attempts", r.Status, r.Attempts)
		}
	})
}

// An attempt that per_try did not end for want of budget, and that fails later, says so once.
func TestSim_perTryDeniedIsSaidOnce(t *testing.T) {
	sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) {
		policy := on(t, "timeout", "reset")
		policy.PerTry = 50 * time.Millisecond
		policy.Budget = spentBudget()
		x := newScene(t, w, tuning{to: &proxy.ToOptions{Retry: policy, Method: balance.RoundRobin}})
		x.sends(sceneGet)
		x.asked("\r\n\r\n")
		x.pass(2 * policy.PerTry)
		x.do(func() { x.origin.Reset() })
		r := x.play(1)[0]
		said := 0
		for _, f := range r.Fields {
			if f.Name == "retry" {
				said++
			}
		}
		if r.Status != 502 || said != 1 {
			t.Fatalf("status %d, said %d times", r.Status, said)
		}
	})
}
