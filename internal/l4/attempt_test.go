package l4_test

import (
	"errors"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/forward/ejection"
	"github.com/edge-proxy/edge/internal/l4"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/poller"
)

// The latency of a backend has no part of the time in which others were tried before it.
func TestSim_latencyIsOfTheBackend(t *testing.T) {
	w := sim.NewWorld(1)
	h := newHouse(t, w, nil)
	h.backends[0].Ignore(true)
	var at *sim.Peer
	h.backends[1].Handle = func(p *sim.Peer) { at = p }
	w.Dial(h.addr)
	if err := w.Run(func() bool { return at != nil && at.Connected() }, 100_000); err != nil {
		t.Fatal(err)
	}
	settled := false
	w.After(100*time.Millisecond, func() { w.Dial(h.addr) })
	w.After(5*time.Second, func() { settled = true })
	if err := w.Run(func() bool { return settled }, 100_000); err != nil {
		t.Fatal(err)
	}
	if d, _ := h.set.Members()[1].Latency(); d > 500*time.Millisecond {
		t.Errorf("a backend that connects in milliseconds has a latency of %v", d)
	}
}

// However many backends an upstream has, its failover is tried after them.
func TestSim_failoverAfterMany(t *testing.T) {
	w := sim.NewWorld(1)
	h := newHouse(t, w, func(s *l4.Service) {
		dead := backend.Of("192.0.2.21:1", "192.0.2.22:1", "192.0.2.23:1", "192.0.2.24:1", "192.0.2.25:1",
			"192.0.2.26:1", "192.0.2.27:1", "192.0.2.28:1")
		s.To = &l4.Backends{Name: "dead", View: dead.View(1, balance.ByName("round_robin")), Connect: time.Second,
			Failover: s.To}
	})
	w.Dial(h.addr)
	reached := func() bool {
		return len(h.backends[0].Accepted())+len(h.backends[1].Accepted()) > 0 || len(h.records) > 0
	}
	if err := w.Run(reached, 100_000); err != nil {
		t.Fatal(err)
	}
	if len(h.records) > 0 {
		t.Errorf("the failover was not tried: %+v", h.records[0])
	}
}

// That this machine has no descriptor left is no failure of a backend.
func TestSim_ownFailures(t *testing.T) {
	w := sim.NewWorld(1)
	h := newHouse(t, w, func(s *l4.Service) {
		s.To.Secure = func(*backend.Member, *engine.Reactor, poller.Addr, engine.Handler, *engine.DialOptions) (
			*engine.Conn, error) {
			return nil, engine.ErrNoDescriptors
		}
	})
	w.Dial(h.addr)
	if err := w.Run(func() bool { return len(h.records) == 1 }, 100_000); err != nil {
		t.Fatal(err)
	}
	if why := h.records[0].Why; why != engine.ErrNoDescriptors {
		t.Error(why)
	}
	for _, m := range h.set.Members() {
		if m.Trouble() != backend.NoTrouble {
			t.Errorf("%s is said to fail", m.Address())
		}
	}
}

// A failover is not there for load.
func TestSim_failoverIsNotForLoad(t *testing.T) {
	w := sim.NewWorld(1)
	h := newHouse(t, w, func(s *l4.Service) {
		full := backend.Of("192.0.2.10:5432")
		limits := admission.New(1, admission.Options{Requests: 1})
		full.Members()[0].Hold(1)
		s.To = &l4.Backends{Name: "full", View: full.View(1, balance.ByName("round_robin")), Limits: limits,
			Failover: s.To}
	})
	w.Dial(h.addr)
	over := func() bool {
		return len(h.records) == 1 || len(h.backends[0].Accepted())+len(h.backends[1].Accepted()) > 0
	}
	if err := w.Run(over, 100_000); err != nil {
		t.Fatal(err)
	}
	if len(h.records) != 1 || h.records[0].Why != l4.ErrMaxConns {
		t.Errorf("%+v", h.records)
	}
}

// A backend that comes back from an ejection is tried by few clients at a time.
func TestSim_trial(t *testing.T) {
	w := sim.NewWorld(1)
	h := newHouse(t, w, func(s *l4.Service) { s.To.Connect = time.Minute })
	h.service.To.Outliers = backend.NewOutliers(h.set, 1, ejection.Options{Errors: 1, Eject: time.Second})
	bad := h.set.Members()[0]
	h.backends[0].Refuse(true)
	for at := range 40 {
		w.After(time.Duration(at)*10*time.Millisecond, func() { w.Dial(h.addr) })
	}
	wait := func(d time.Duration, until func() bool) {
		late := false
		w.After(d, func() { late = true })
		if err := w.Run(func() bool { return late || until() }, 1_000_000); err != nil {
			t.Fatal(err)
		}
	}
	wait(5*time.Second, func() bool { return bad.Reasons()&backend.Ejected != 0 })
	if bad.Reasons()&backend.Ejected == 0 {
		t.Fatal("no ejection")
	}
	h.backends[0].Refuse(false)
	h.backends[0].Ignore(true) // it hangs
	wait(2*time.Second, func() bool { return false })
	for range 40 {
		w.Dial(h.addr)
	}
	most := 0
	wait(2*time.Second, func() bool {
		_, tunnels := bad.InFlight()
		most = max(most, tunnels)
		return false
	})
	if most == 0 || most > 2 {
		t.Errorf("%d clients at once, %v", most, bad.Reasons())
	}
}

// A panic while the next backend is dialled costs that pair alone, and leaves nothing open or counted.
func TestSim_panicWhileDialling(t *testing.T) {
	w := sim.NewWorld(1)
	dials := 0
	h := newHouse(t, w, func(s *l4.Service) {
		s.To.Secure = func(_ *backend.Member, r *engine.Reactor, to poller.Addr, h engine.Handler,
			o *engine.DialOptions) (*engine.Conn, error) {
			if dials++; dials > 1 {
				panic(errors.New("the second dial"))
			}
			return r.Dial(to, h, o)
		}
	})
	h.backends[0].Refuse(true)
	h.backends[1].Refuse(true)
	client := w.Dial(h.addr)
	late := false
	w.After(10*time.Second, func() { late = true })
	if err := w.Run(func() bool { return late || client.Closed() && h.engine.Conns() == 0 }, 100_000); err != nil {
		t.Fatal(err)
	}
	if !client.Closed() || len(h.records) != 1 || h.engine.Conns() != 0 {
		t.Errorf("%d records, %d connections", len(h.records), h.engine.Conns())
	}
	for _, m := range h.set.Members() {
		if requests, tunnels := m.InFlight(); requests+tunnels != 0 {
			t.Errorf("%s counts %d and %d", m.Address(), requests, tunnels)
		}
	}
}
