//go:build !invariants && !race

// Checked builds are too slow for this test: they walk all packets on their way for each datagram.

package quic

import (
	"math"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// bottleneck is a link of a rate with a drop-tail queue in front of it.
type bottleneck struct {
	rate   float64 // bytes a second
	queue  float64 // bytes that wait at most
	loss   float64 // share of datagrams that are lost beside the queue
	freeAt int64
	r      *mathrand.Rand
}

// pass returns how late a datagram of n bytes leaves the link, unless it is lost.
func (b *bottleneck) pass(n int, now int64) (copies int, late int64) {
	b.freeAt = max(b.freeAt, now)
	if float64(b.freeAt-now)/1e9*b.rate+float64(n) > b.queue || b.r.Float64() < b.loss {
		return 0, 0
	}
	b.freeAt += int64(float64(n) / b.rate * 1e9)
	return 1, b.freeAt - now
}

// A body of 30 MB from a server through 100 Mbit/s with a queue of one bandwidth-delay product. The goodput of
// the last 20 MB counts: slow start takes half a second of the path with the long round trip. With random loss
// CUBIC has the window of Reno, which the formula of Mathis gives: 1.22 datagrams / √loss a round trip.
func TestPair_goodput(t *testing.T) {
	if testing.Short() {
		t.Skip("30 MB")
	}
	const rate, size, ramp = 100e6 / 8, 30_000_000, 10_000_000
	for _, c := range []struct {
		trip int64
		loss float64
	}{{20, 0}, {80, 0}, {20, 0.01}, {80, 0.01}} {
		wide := 32 << 20 // windows of the peer are not what bounds the server
		p := newPair(t, Options{StreamWindow: wide, StreamWindowMax: wide, Budget: wide}, Options{})
		p.latency = c.trip * ms / 2
		p.establish()
		link := &bottleneck{rate: rate, queue: rate * float64(c.trip) / 1e3, loss: c.loss,
			r: mathrand.New(mathrand.NewPCG(7, uint64(c.trip)))}
		p.pass = func(from *end, _ int, d []byte) (int, int64) {
			if from == p.client {
				return 1, 0
			}
			return link.pass(len(d), p.now)
		}
		p.server.sends()
		s, err := p.server.conn.Open(OneWay)
		testutil.Must(t, err)
		begun, ramped, want := p.now, int64(0), size
		if c.loss > 0 {
			want = ramp + 5_000_000
		}
		p.server.sendOn(s, make([]byte, want))
		p.run("the body", func() bool {
			if ramped == 0 && len(p.client.got[s.ID]) >= ramp {
				ramped = p.now
			}
			return p.client.ended[s.ID]
		})
		goodput := float64(want-ramp) / float64(p.now-ramped) * 1e9
		least := 0.9 * float64(rate)
		if c.loss > 0 {
			least = 0.7 * 1.22 / math.Sqrt(c.loss) * DatagramSize / (float64(c.trip) / 1e3)
		}
		t.Logf("RTT %d ms, loss %v: %.1f Mbit/s, want %.1f; %v in all, %d lost", c.trip, c.loss, goodput*8/1e6,
			least*8/1e6, time.Duration(p.now-begun), p.server.arena.Stats.Lost)
		if goodput < least {
			t.Errorf("RTT %d ms, loss %v: %.1f Mbit/s", c.trip, c.loss, goodput*8/1e6)
		}
	}
}
