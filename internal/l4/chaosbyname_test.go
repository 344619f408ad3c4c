package l4_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/l4"
	"github.com/edge-proxy/edge/internal/test/sim"
)

// asked is a backend that answers the ask for TLS in one of the ways there are, and is a talk from then on.
func (one *chaos) asked(p *sim.Peer, ask bool) {
	k := &one.backend
	if !ask {
		k.on(p)
		k.meddle()
		return
	}
	var got []byte
	p.Handle = func(p *sim.Peer) {
		if got = append(got, p.Take()...); len(got) < len(sslRequest) {
			return
		}
		p.Handle = func(p *sim.Peer) { p.Take() }
		switch k.rng.IntN(8) {
		case 0:
			p.SendString("N")
		case 1:
			p.SendString("E")
		case 2:
			p.CloseWrite()
		case 3:
			p.Reset()
		case 4: // silent
		default:
			if k.peer != nil {
				p.Reset()
				return
			}
			p.SendString("S")
			k.in = append(k.in, got[len(sslRequest):]...)
			k.on(p)
			k.meddle()
		}
	}
}

// led is a chaos whose connection is led by its first bytes.
func (one *chaos) led(h *house, hello []byte, postgres bool) (asks string) {
	w, rng := h.w, h.w.Rand()
	if one.b = text(rng); hello != nil {
		one.a = append(bytes.Clone(hello), text(rng)...)
	}
	one.client = talk{w: w, rng: rng, out: one.a}
	one.backend = talk{w: w, rng: rng, out: one.b}
	if postgres && hello != nil && rng.IntN(4) > 0 {
		asks = sslRequest
		if rng.IntN(3) == 0 {
			asks = gssRequest + sslRequest
		}
	}
	for _, l := range h.backends {
		l.Handle = func(p *sim.Peer) {
			if one.backend.peer == nil {
				one.asked(p, asks != "")
			} else {
				p.Reset() // the first was lost before edge knew of it
			}
		}
	}
	p := w.Dial(h.addr)
	p.SendString(asks)
	one.client.on(p)
	one.client.meddle()
	return asks
}

// Connections that are led by their first bytes keep to the same: whatever is lost, nothing is made up or stays
// counted, and each is told of once.
func TestSim_chaosByName(t *testing.T) {
	hellos := [][]byte{helloOf("one.example"), helloOf("both.example"), helloOf("none.example"),
		[]byte("SSH-2.0-x\r\n"), {22, 3, 1, 0, 4, 1, 0, 0, 0}, nil}
	sim.Run(t, 60, func(t testing.TB, w *sim.World) {
		rng := w.Rand()
		postgres := rng.IntN(2) == 0
		h := newPeeking(t, w, func(s *l4.Service) { s.Postgres = postgres })
		w.Faults = allFail
		for range 1 + rng.IntN(5) {
			one, ended := &chaos{}, len(h.records)
			asks := one.led(h, hellos[rng.IntN(len(hellos))], postgres)
			one.run(t, h, 20*time.Second)
			answers := len(asks) / len(sslRequest)
			one.client.in = one.client.in[min(answers, len(one.client.in)):]
			one.check(t, h, h.records[ended:])
		}
	})
}
