package l4_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/l4"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// house is a service in a world, with two backends.
type house struct {
	w        *sim.World
	engine   *engine.Engine
	service  *l4.Service
	addr     poller.Addr
	set      *backend.Set
	backends [2]*sim.Listener
	records  []l4.Record
	failed   []error
}

func newHouse(t testing.TB, w *sim.World, change func(s *l4.Service)) *house {
	return newHouseOf(t, w, 0, change)
}

// newHouseOf is newHouse with so much memory; 0: plenty.
func newHouseOf(t testing.TB, w *sim.World, memory int64, change func(s *l4.Service)) *house {
	h := &house{w: w, addr: poller.Addr{IP: netip.MustParseAddrPort("192.0.2.1:5432")}}
	e, err := engine.New(engine.Options{
		Reactors: 1, SendLow: 4 << 10, SpliceMin: 1, ReadSize: 16 << 10, Memory: memory,
		Kernel: func(i int) (poller.Kernel, error) { return w.Kernel(i), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"192.0.2.10:5432", "192.0.2.11:5432"}
	for i, name := range names {
		h.backends[i] = w.Serve(poller.Addr{IP: netip.MustParseAddrPort(name)})
	}
	h.engine, h.set = e, backend.Of(names...)
	h.service = &l4.Service{Name: "db", Idle: time.Minute, To: &l4.Backends{
		Name: "db", View: h.set.View(1, balance.ByName("round_robin")), Connect: time.Second,
	}}
	h.service.Ended = func(r *l4.Record) { h.records = append(h.records, *r) }
	if change != nil {
		change(h.service)
	}
	if _, err := e.Listen(engine.ListenOptions{Addr: h.addr}, h.service.Accept); err != nil {
		t.Fatal(err)
	}
	w.Add(e.Reactors()[0])
	return h
}

// connected dials the service, and returns the client and its backend's end.
func (h *house) connected(t testing.TB) (client, backend *sim.Peer) {
	t.Helper()
	client = h.w.Dial(h.addr)
	for _, l := range h.backends {
		l.Handle = func(p *sim.Peer) { backend = p }
	}
	if err := h.w.Run(func() bool { return backend != nil && client.Connected() }, 100_000); err != nil {
		t.Fatal(err)
	}
	return client, backend
}

// talk is one side of a connection: it sends all of out in pieces, then its end, and keeps what comes.
type talk struct {
	w       *sim.World
	rng     *rand.Rand
	peer    *sim.Peer
	out, in []byte
	sent    bool
}

func (k *talk) on(p *sim.Peer) {
	k.peer = p
	p.Handle = func(p *sim.Peer) { k.in = append(k.in, p.Take()...) }
	k.more()
}

func (k *talk) more() {
	if k.peer.Unsent() > 64<<10 {
		k.w.After(time.Millisecond, k.more)
		return
	}
	if len(k.out) == 0 {
		k.sent = true
		k.peer.CloseWrite()
		return
	}
	n := min(1+k.rng.IntN(40<<10), len(k.out))
	k.peer.Send(k.out[:n])
	k.out = k.out[n:]
	k.w.After(time.Duration(k.rng.IntN(3000))*time.Microsecond, k.more)
}

// text returns up to 400 KiB.
func text(rng *rand.Rand) []byte {
	b := make([]byte, rng.IntN(400<<10))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// Whatever the pieces, both sides get all bytes of the other and then its end, spliced or not, and the records say
// so.
func TestSim_relaysAllBytes(t *testing.T) {
	sim.Run(t, testutil.RaceRounds(60), func(t testing.TB, w *sim.World) {
		h, rng := newHouse(t, w, nil), w.Rand()
		type pair struct {
			client, backend talk
			a, b            []byte
		}
		pairs := make([]*pair, 1+rng.IntN(6))
		next := 0
		serve := func(p *sim.Peer) {
			one := pairs[next%len(pairs)]
			next++
			one.backend.on(p)
		}
		for _, l := range h.backends {
			l.Handle = serve
		}
		for i := range pairs {
			one := &pair{a: text(rng), b: text(rng)}
			one.client = talk{w: w, rng: rng, out: one.a}
			one.backend = talk{w: w, rng: rng, out: one.b}
			pairs[i] = one
		}
		for _, one := range pairs { // one after the other, so that each meets its own
			one.client.on(w.Dial(h.addr))
			at := next
			if err := w.Run(func() bool { return next > at }, 1_000_000); err != nil {
				t.Fatal(err)
			}
		}
		over := func() bool {
			for _, one := range pairs {
				if !one.client.peer.EOF() || !one.backend.peer.EOF() {
					return false
				}
			}
			return len(h.records) == len(pairs)
		}
		if err := w.Run(over, 5_000_000); err != nil {
			t.Fatal(err, len(h.records))
		}
		for i, one := range pairs {
			if !bytes.Equal(one.backend.in, one.a) || !bytes.Equal(one.client.in, one.b) {
				t.Fatalf("pair %d: %d of %d, %d of %d bytes", i, len(one.backend.in), len(one.a), len(one.client.in),
					len(one.b))
			}
		}
		in, out := int64(0), int64(0)
		for _, r := range h.records {
			in, out = in+r.In, out+r.Out
			if r.Why != nil || r.Connect == 0 || r.Tries != 1 {
				t.Fatalf("%+v", r)
			}
		}
		for _, one := range pairs {
			in, out = in-int64(len(one.a)), out-int64(len(one.b))
		}
		if in != 0 || out != 0 {
			t.Fatalf("the records have %d and %d bytes more than there were", in, out)
		}
		for _, m := range h.set.Members() {
			if requests, tunnels := m.InFlight(); requests+tunnels != 0 {
				t.Fatalf("%s counts %d and %d", m.Address(), requests, tunnels)
			}
		}
	})
}

// How a pair ends that does not end by itself.
func TestSim_ends(t *testing.T) {
	for name, tt := range map[string]struct {
		begin func(h *house)                            // before the client dials
		then  func(h *house, client, backend *sim.Peer) // once both are connected
		by    l4.Side
		why   error
		tries int
		reset bool // the client sees a reset
	}{
		"the backend resets": {then: func(_ *house, _, b *sim.Peer) { b.Reset() },
			by: l4.ByBackend, why: syscall.ECONNRESET, tries: 1, reset: true},
		"the client resets": {then: func(_ *house, c, _ *sim.Peer) { c.Reset() },
			by: l4.ByClient, why: syscall.ECONNRESET, tries: 1},
		"idle": {then: func(*house, *sim.Peer, *sim.Peer) {}, by: l4.ByEdge, why: l4.ErrIdle, tries: 1},
		"one refuses": {begin: func(h *house) { h.backends[0].Refuse(true) },
			then: func(h *house, c, b *sim.Peer) { c.CloseWrite(); h.w.After(time.Second, b.CloseWrite) },
			by:   l4.ByClient, tries: 2},
		"one is silent": {begin: func(h *house) { h.backends[0].Ignore(true) },
			then: func(h *house, c, b *sim.Peer) { b.CloseWrite(); h.w.After(time.Second, c.CloseWrite) },
			by:   l4.ByBackend, tries: 2},
		"all refuse": {begin: func(h *house) { h.backends[0].Refuse(true); h.backends[1].Refuse(true) },
			by: l4.ByBackend, why: syscall.ECONNREFUSED, tries: 2, reset: true},
		"all are silent": {begin: func(h *house) { h.backends[0].Ignore(true); h.backends[1].Ignore(true) },
			by: l4.ByBackend, why: engine.ErrConnectTimeout, tries: 2, reset: true},
		"there is none": {begin: func(h *house) { h.set.Update(nil) },
			by: l4.ByEdge, why: l4.ErrNoBackend, reset: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := sim.NewWorld(1)
			h := newHouse(t, w, nil)
			if tt.begin != nil {
				tt.begin(h)
			}
			begun := w.Now()
			client := w.Dial(h.addr)
			if tt.then != nil {
				var at *sim.Peer
				for _, l := range h.backends {
					l.Handle = func(p *sim.Peer) { at = p }
				}
				if err := w.Run(func() bool { return at != nil && client.Connected() }, 100_000); err != nil {
					t.Fatal(err)
				}
				w.After(time.Second, func() { tt.then(h, client, at) })
			}
			if err := w.Run(func() bool { return len(h.records) == 1 }, 100_000); err != nil {
				t.Fatal(err)
			}
			r := h.records[0]
			if r.By != tt.by || r.Why != tt.why || r.Tries != tt.tries {
				t.Errorf("%v %v, %d tries", r.By, r.Why, r.Tries)
			}
			if tt.then == nil && time.Duration(w.Now()-begun) > 3*time.Second {
				t.Errorf("after %v", time.Duration(w.Now()-begun))
			}
			if err := w.Run(client.Closed, 100_000); err != nil && tt.reset || (client.Err() != nil) != tt.reset {
				t.Errorf("the client sees %v", client.Err())
			}
		})
	}
}
