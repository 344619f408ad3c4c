package proxy_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// scene is a simulation of one client and one origin that do one thing after the other, as the test says.
type scene struct {
	*simulation
	log    *keptLog
	client *sim.Peer
	origin *sim.Peer     // nil until it is connected to
	steps  []func() bool // what is to come; true: done
}

const (
	sceneSize = 256 << 10 // of a body that the buffers on its way do not hold
	sceneTurn = 10 * time.Millisecond
	sceneLast = int64(5 * time.Minute)
)

func newScene(t testing.TB, w *sim.World, tuned tuning) *scene {
	w.Net.BufferMax = 32 << 10
	x := &scene{log: &keptLog{}}
	tuned.log = []proxy.AccessLog{x.log}
	x.simulation = newTunedSimulation(t, w, 1, tuned)
	for _, l := range x.origins {
		l.Handle = func(p *sim.Peer) { x.origin = p }
	}
	x.client = w.Dial(x.addr)
	return x
}

// until waits for cond.
func (x *scene) until(cond func() bool) { x.steps = append(x.steps, cond) }

// do does f.
func (x *scene) do(f func()) {
	x.until(func() bool {
		f()
		return true
	})
}

// pass lets time pass.
func (x *scene) pass(d time.Duration) {
	at := int64(0)
	x.do(func() { at = x.w.Now() + int64(d) })
	x.until(func() bool { return x.w.Now() >= at })
}

// sends has the client send text.
func (x *scene) sends(text string) { x.do(func() { x.client.SendString(text) }) }

// answers has the origin send text.
func (x *scene) answers(text string) { x.do(func() { x.origin.SendString(text) }) }

// asked waits until what the origin received ends with text.
func (x *scene) asked(text string) {
	x.until(func() bool { return x.origin != nil && bytes.HasSuffix(x.origin.Received(), []byte(text)) })
}

// answered waits until what the client received ends with text.
func (x *scene) answered(text string) {
	x.until(func() bool { return bytes.HasSuffix(x.client.Received(), []byte(text)) })
}

// play does the steps and returns what was logged, once there are n records.
func (x *scene) play(n int) []observe.Record {
	x.t.Helper()
	var turn func()
	turn = func() {
		for len(x.steps) > 0 && x.steps[0]() {
			x.steps = x.steps[1:]
		}
		if len(x.steps) > 0 && x.w.Now() < sceneLast {
			x.w.After(sceneTurn, turn)
		}
	}
	turn()
	if err := x.w.Run(func() bool { return len(x.steps) == 0 && len(x.log.records) == n }, 1_000_000); err != nil {
		x.t.Fatalf("%d steps to come, %d records; %v", len(x.steps), len(x.log.records), err)
	}
	return x.log.records
}

// wantRecord compares what is logged.
func wantRecord(t testing.TB, r observe.Record, status int, reason string) {
	t.Helper()
	if r.Status != status || r.Reason != reason {
		t.Fatalf("logged %d %q, want %d %q", r.Status, r.Reason, status, reason)
	}
}

// took compares how long r took, give or take what the network and the turns add.
func took(t testing.TB, r observe.Record, d time.Duration) {
	t.Helper()
	if got := time.Duration(r.Dur); got < d || got > d+d/5 {
		t.Errorf("it took %v, want %v", got, d)
	}
}

const (
	sceneHead = "POST / HTTP/1.1\r\nHost: sim\r\nContent-Length: 4\r\n\r\n"
	sceneGet  = "GET / HTTP/1.1\r\nHost: sim\r\n\r\n"
)

func sceneBody(first string) string {
	return fmt.Sprintf("%s\r\nContent-Length: %d\r\n\r\n%s.", first, sceneSize, make([]byte, sceneSize-1))
}

// A side that waits for the other one is not timed.
func TestSim_onlyWhoOwesIsTimed(t *testing.T) {
	const short, later = time.Second, 4 * time.Second
	origin := tuning{upstream: func(o *upstream.Options) { o.Client.BetweenBytes = short }}
	client := tuning{
		upstream: func(o *upstream.Options) { o.Client = session.ClientOptions{} },
		session:  func(o *session.ServerOptions) { o.BodyTimeout, o.SendTimeout = short, short },
	}
	for name, c := range map[string]struct {
		timed tuning
		plan  func(x *scene)
	}{
		"the origin, while the client sends": {origin, func(x *scene) {
			x.sends(sceneHead + "ab")
			x.asked("ab")
			x.pass(later)
			x.sends("cd")
			x.asked("abcd")
			x.answers(okay)
		}},
		"the client, while the origin thinks": {client, func(x *scene) {
			x.sends(sceneHead)
			x.pass(short / 2)
			x.sends("abcd")
			x.asked("abcd")
			x.pass(later)
			x.answers(okay)
		}},
		"the client, while the origin does not take its body": {client, func(x *scene) {
			x.sends(sceneBody("POST / HTTP/1.1\r\nHost: sim"))
			x.until(func() bool { return x.origin != nil })
			x.do(func() { x.origin.StopReading() })
			x.pass(later)
			x.do(func() { x.origin.StartReading() })
			x.asked("\x00.")
			x.answers(okay)
		}},
		"the origin, while the client does not take its answer": {origin, func(x *scene) {
			x.client.StopReading()
			x.sends(sceneGet)
			x.asked("\r\n\r\n")
			x.answers(sceneBody("HTTP/1.1 200 OK"))
			x.pass(later)
			x.do(func() { x.client.StartReading() })
			x.answered("\x00.")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			sim.Run(t, seeds(200), func(t testing.TB, w *sim.World) {
				x := newScene(t, w, c.timed)
				c.plan(x)
				r := x.play(1)[0]
				wantRecord(t, r, 200, "")
				if r.Dur < int64(later) {
					t.Errorf("it took %v", time.Duration(r.Dur))
				}
			})
		})
	}
}

// A side that owes bytes is timed, and both sides hear of it.
func TestSim_whoOwesIsTimed(t *testing.T) {
	for name, c := range map[string]struct {
		plan   func(x *scene)
		status int
		reason string
		after  time.Duration
	}{
		"half a request head": {func(x *scene) {
			x.sends("GET / HT")
		}, 408, "client:the request head took too long", 0},
		"half a request body": {func(x *scene) {
			x.sends(sceneHead + "ab")
			x.asked("ab")
		}, 408, "client:request_body", 5 * time.Second},
		"no answer": {func(x *scene) {
			x.sends(sceneGet)
			x.asked("\r\n\r\n")
		}, 504, "backend:first_byte", 2 * time.Second},
		"half an answer": {func(x *scene) {
			x.sends(sceneGet)
			x.asked("\r\n\r\n")
			x.pass(time.Second)
			x.answers(okay[:len(okay)-1])
			x.answered("\r\n\r\no")
		}, 200, "backend:first_byte", 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			sim.Run(t, seeds(200), func(t testing.TB, w *sim.World) {
				x := newScene(t, w, tuning{})
				c.plan(x)
				x.until(func() bool { return x.origin == nil || x.origin.Closed() })
				if c.status == 200 {
					x.until(func() bool { return x.client.Closed() })
				} else {
					x.until(func() bool {
						return bytes.HasPrefix(x.client.Received(), fmt.Appendf(nil, "HTTP/1.1 %d ", c.status))
					})
				}
				r := x.play(1)[0]
				wantRecord(t, r, c.status, c.reason)
				if c.after > 0 {
					took(t, r, c.after)
				}
			})
		})
	}
}

// Route.Timeout bounds each exchange by itself, also one that moves.
func TestSim_total(t *testing.T) {
	const total = time.Second
	sim.Run(t, seeds(200), func(t testing.TB, w *sim.World) {
		x := newScene(t, w, tuning{
			route:    proxy.Route{Timeout: total},
			upstream: func(o *upstream.Options) { fewer(o, 1) },
		})
		x.pass(2 * total)
		for range 3 {
			x.sends(sceneGet)
			x.asked("\r\n\r\n")
			x.do(func() { x.origin.Take() })
			x.pass(total / 2)
			x.answers(okay)
			x.answered("ok")
			x.do(func() { x.client.Take() })
		}
		x.sends(sceneGet)
		x.asked("\r\n\r\n")
		x.answers("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
		for range 8 {
			x.pass(total / 10)
			x.answers("x")
		}
		x.answered("\r\n\r\nxxxxxxxx")
		x.until(func() bool { return x.client.Closed() && x.origin.Closed() })
		all := x.play(4)
		for _, r := range all[:3] {
			wantRecord(t, r, 200, "")
		}
		wantRecord(t, all[3], 200, "edge:total")
		took(t, all[3], total)
	})
}

// One direction keeps a tunnel open.
func TestSim_tunnelIdle(t *testing.T) {
	const idle = time.Second
	sim.Run(t, seeds(200), func(t testing.TB, w *sim.World) {
		x := newScene(t, w, tuning{
			route:    routeX,
			upstream: func(o *upstream.Options) { o.Client.TunnelIdle = idle },
		})
		x.sends(upgradeX)
		x.asked("\r\n\r\n")
		x.answers(switchX)
		x.answered("\r\n\r\n")
		up := w.Rand().IntN(2) == 0
		for i := range 12 {
			x.pass(idle * 8 / 10)
			if text := "\r\n\r\n" + strings.Repeat("x", i+1); up {
				x.sends("x")
				x.asked(text)
			} else {
				x.answers("x")
				x.answered(text)
			}
		}
		x.until(func() bool { return x.client.Closed() && x.origin.Closed() })
		r := x.play(1)[0]
		wantRecord(t, r, 101, "edge:tunnel_idle")
		took(t, r, 12*idle*8/10+idle)
	})
}

// Route.Timeout counts the time in which a body is received whole, and does not wait for its end.
func TestSim_totalOfABufferedRequest(t *testing.T) {
	const total = time.Second
	sim.Run(t, seeds(200), func(t testing.TB, w *sim.World) {
		x := newScene(t, w, tuning{
			route:    proxy.Route{Timeout: total, BufferRequest: 1 << 10},
			upstream: func(o *upstream.Options) { fewer(o, 1) },
		})
		x.sends("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n")
		for range 12 {
			x.pass(total / 10)
			x.sends("x")
		}
		x.until(func() bool { return bytes.HasPrefix(x.client.Received(), []byte("HTTP/1.1 504 ")) })
		x.do(func() { x.client.Close() })
		r := x.play(1)[0]
		wantRecord(t, r, 504, "edge:total")
		took(t, r, total)
	})
}
