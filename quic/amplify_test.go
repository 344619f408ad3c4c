package quic

import (
	"slices"
	"testing"
)

// RFC 9000 §8.1: before the address is validated no more than three times the bytes that came leave, and §14.1: a
// datagram with an Initial that asks for an acknowledgement has 1200 octets, so none is smaller.
func TestAmplification_isThreefold(t *testing.T) {
	for more := int64(0); more < 130; more += 9 {
		r := newRig(t, Server, Options{})
		r.in(Initial, ping, make([]byte, DatagramSize+int(more)))
		r.keysOf(Handshake)
		r.conn.SendCrypto(Initial, pattern(0, 90))
		r.conn.SendCrypto(Handshake, pattern(0, 10_000))
		r.pass(5e9) // with all its probes
		r.conn.Close(1)
		r.drive()
		r.out()
		sum := int64(0)
		for _, n := range r.sizes {
			sum += int64(n)
		}
		if sum > 3*r.conn.paths.in || sum < 3*DatagramSize || slices.Min(r.sizes) != DatagramSize ||
			sum != r.conn.paths.out {
			t.Fatalf("%d bytes left for %d: %v", sum, r.conn.paths.in, r.sizes)
		}
		if r.arena.Stats.Held == 0 {
			t.Error("nothing is counted")
		}
		r.pass(100e9)
	}
}

// A small datagram, or one of rubbish, opens no more than three times its size; a Handshake packet opens all.
func TestAmplification_endsWithAHandshakePacket(t *testing.T) {
	r := newRig(t, Server, Options{})
	r.in(Initial, ping)
	r.keysOf(Handshake)
	r.conn.SendCrypto(Handshake, pattern(0, 10_000))
	r.out()
	before := len(r.sizes)
	r.datagram(make([]byte, 300))
	if r.out(); len(r.sizes) != before {
		t.Errorf("%v", r.sizes[before:])
	}
	r.datagram(make([]byte, 400))
	if r.out(); len(r.sizes) > before+2 {
		t.Errorf("%v", r.sizes[before:])
	}
	if r.conn.Pending() || r.conn.Deadline() <= r.now {
		t.Errorf("the timer is at %d, now is %d", r.conn.Deadline(), r.now)
	}
	r.in(Handshake, r.ackFrame(Handshake))
	all := append(r.out(), r.pass(3e9)...)
	end := uint64(0)
	for _, f := range all {
		if f.kind == frameCrypto && f.level == Handshake {
			end = max(end, f.offset+uint64(len(f.body)))
		}
	}
	if end != 10_000 {
		t.Errorf("%d bytes of the handshake left", end)
	}
}
