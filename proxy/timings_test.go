package proxy_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

const thinks = 50 * time.Millisecond

// askAtOnce sends n requests at once to backends that take their time, and returns the log.
func askAtOnce(t testing.TB, w *sim.World, n int, tune func(o *upstream.Options)) []observe.Record {
	log := &keptLog{}
	w.Net.ConnectNow = 0
	s := newTunedSimulation(t, w, 1, tuning{upstream: tune, log: []proxy.AccessLog{log}})
	for _, o := range s.origins {
		o.Handle = func(p *sim.Peer) {
			var in []byte
			p.Handle = func(*sim.Peer) {
				if in = append(in, p.Take()...); bytes.HasSuffix(in, []byte("\r\n\r\n")) {
					in = in[:0]
					w.After(thinks, func() { p.SendString("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") })
				}
			}
			p.Handle(p)
		}
	}
	for range n {
		w.Dial(s.addr).SendString("GET / HTTP/1.1\r\nHost: sim\r\n\r\n")
	}
	if err := w.Run(func() bool { return len(log.records) == n }, 100_000); err != nil {
		t.Fatal(err)
	}
	return log.records
}

// near tells whether ns is d, but for what the simulated network adds.
func near(ns int64, d time.Duration) bool { return ns >= int64(d) && ns < int64(d+thinks-1) }

// Time that a connection takes is not that of the backend's answer.
func TestLog_connect(t *testing.T) {
	sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) {
		w.Faults.ConnectTimeout = 1
		w.After(1500*time.Millisecond, func() { w.Faults.ConnectTimeout = 0 })
		r := askAtOnce(t, w, 1, nil)[0] // two backends do not let it connect, for a second each
		if r.Status != 200 || r.Attempts != 3 || r.Reused || r.T.Queue != 0 ||
			!near(r.T.Connect, 2*time.Second) || !near(r.T.FirstByte, thinks) {
			t.Errorf("%+v", r)
		}
	})
}

// An exchange that waits for the connection of another one was in a queue, and did not connect.
func TestLog_queue(t *testing.T) {
	sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) {
		all := askAtOnce(t, w, 2, func(o *upstream.Options) { fewer(o, 1); o.PerBackend = 1 })
		first, second := all[0], all[1]
		if first.T.Queue != 0 || first.T.Connect == 0 || !near(first.T.FirstByte, thinks) {
			t.Errorf("%+v", first)
		}
		if !second.Reused || second.T.Queue == 0 || second.T.Connect != 0 || !near(second.T.FirstByte, thinks) {
			t.Errorf("%+v", second)
		}
		if sum := second.T.Queue + second.T.FirstByte + second.T.Body; sum > second.Dur {
			t.Errorf("parts of %d, the whole is %d", sum, second.Dur)
		}
	})
}
