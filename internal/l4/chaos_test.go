package l4_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/l4"
	"github.com/edge-proxy/edge/internal/test/sim"
)

// chaos is one pair that meets whatever can go wrong.
type chaos struct {
	client, backend talk
	a, b            []byte // what each sends
}

// meddle has one side reset, or stop reading for a while, at a moment of its own.
func (k *talk) meddle() {
	at := time.Duration(k.rng.IntN(60)) * time.Millisecond
	switch k.rng.IntN(5) {
	case 0:
		k.w.After(at, func() { k.peer.Reset() })
	case 1, 2:
		k.w.After(at, func() { k.peer.StopReading() })
		k.w.After(at+time.Duration(k.rng.IntN(500))*time.Millisecond, func() { k.peer.StartReading() })
	}
}

// cut reports whether k saw an orderly end after fewer bytes than other had sent before its own.
func cut(k, other *talk, text []byte) bool {
	whole := other.sent && bytes.Equal(k.in, text)
	return k.peer.EOF() && k.peer.Err() == nil && !whole
}

// allFail has everything fail now and then.
var allFail = sim.Faults{ShortWrite: 0.1, Reset: 0.001, NoPipe: 0.1, ShortSplice: 0.2, AcceptFull: 0.05,
	ConnectRefused: 0.1, ConnectUnreachable: 0.05, ConnectTimeout: 0.02}

// run runs until so much time is over and both sides have ended.
func (one *chaos) run(t testing.TB, h *house, d time.Duration) {
	settled := false
	h.w.After(d, func() { settled = true })
	over := func() bool {
		return settled && one.client.peer.Closed() && (one.backend.peer == nil || one.backend.peer.Closed()) &&
			h.engine.Conns() == 0
	}
	if err := h.w.Run(over, 5_000_000); err != nil {
		t.Fatal(err)
	}
}

// Whatever is lost, no side gets a byte that was not sent, none takes a part for the whole, and nothing stays counted.
func TestSim_chaos(t *testing.T) {
	sim.Run(t, 60, func(t testing.TB, w *sim.World) {
		h, rng := newHouse(t, w, nil), w.Rand()
		w.Faults = allFail
		if rng.IntN(4) == 0 {
			w.Faults.SpliceInvalid = 0.1
		}
		for range 1 + rng.IntN(5) {
			one := &chaos{a: text(rng), b: text(rng)}
			one.client = talk{w: w, rng: rng, out: one.a}
			one.backend = talk{w: w, rng: rng, out: one.b}
			for _, l := range h.backends {
				l.Handle = func(p *sim.Peer) {
					if one.backend.peer == nil {
						one.backend.on(p)
						one.backend.meddle()
					} else {
						p.Reset() // the first was lost before edge knew of it
					}
				}
			}
			ended := len(h.records)
			one.client.on(w.Dial(h.addr))
			one.client.meddle()
			one.run(t, h, 5*time.Second)
			one.check(t, h, h.records[ended:])
		}
	})
}

func (one *chaos) check(t testing.TB, h *house, records []l4.Record) {
	c, b := &one.client, &one.backend
	if len(records) > 1 {
		t.Fatalf("%d records", len(records))
	}
	if !bytes.HasPrefix(one.b, c.in) || !bytes.HasPrefix(one.a, b.in) {
		t.Fatal("bytes that were not sent")
	}
	if len(records) == 1 && b.peer != nil && records[0].Why != l4.ErrIdle {
		if cut(c, b, one.b) || cut(b, c, one.a) {
			t.Fatalf("a part for the whole: %d of %d, %d of %d, %+v", len(c.in), len(one.b), len(b.in), len(one.a),
				records[0])
		}
	}
	for _, m := range h.set.Members() {
		if requests, tunnels := m.InFlight(); requests+tunnels != 0 {
			t.Fatalf("%s counts %d and %d", m.Address(), requests, tunnels)
		}
	}
}
