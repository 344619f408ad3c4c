package quic

import (
	"net/netip"
	"slices"
	"testing"
)

// filled has conn send a stream of n bytes, and returns what left until nothing more does. ack says which datagrams
// arrive.
func (r *rig) filled(n int64, ack bool) (all []left) {
	r.t.Helper()
	s := r.open(OneWay)
	r.conn.Send(s, pattern(0, n), true)
	for range 20 {
		all = append(all, r.out()...)
		if ack {
			r.pass(1e6)
			r.ack()
		}
	}
	return all
}

// A path with full datagrams gets longer ones once the peer has acknowledged one: as long as an Ethernet packet takes.
func TestLength_grows(t *testing.T) {
	for peer, want := range map[string]int{"192.0.2.2:1000": 1472, "[2001:db8::2]:1000": 1452} {
		r := newRig(t, Server, Options{})
		r.from.Peer = netip.MustParseAddrPort(peer)
		r.conn.paths.used, r.roams = r.from, true
		r.peer.data, r.peer.streamOneWay = 1<<24, 1<<24
		r.establish()
		r.pass(1e9)
		if r.ack(); slices.Max(r.sizes) > DatagramSize {
			t.Fatal("tried where nothing was to be sent")
		}
		r.filled(1000, true)
		if slices.Max(r.sizes) > DatagramSize {
			t.Fatal("tried where no datagram was full")
		}
		all := r.filled(100_000, true)
		n, probe := 0, left{}
		for _, f := range all {
			if f.size == want && f.kind == framePing {
				n, probe = n+1, f
			}
			if f.size > DatagramSize && probe.size == 0 {
				t.Fatalf("%#x in a datagram of %d bytes before the try", f.kind, f.size)
			}
		}
		if n != 1 || slices.Max(r.sizes) != want || r.conn.length.full != want || r.conn.sent.window.datagram != want {
			t.Errorf("%d tries, longest %d, want %d", n, slices.Max(r.sizes), want)
		}
		full := 0
		for _, k := range r.sizes {
			if k == want {
				full++
			}
		}
		if full < 40 {
			t.Errorf("%d full datagrams", full)
		}
	}
}

// A peer that takes no longer ones gets none (RFC 9000 §18.2, max_udp_payload_size).
func TestLength_asThePeerSays(t *testing.T) {
	for most, want := range map[uint64]int{1200: 1200, 1300: 1300} {
		r := newRig(t, Server, Options{})
		r.peer.payload, r.peer.data, r.peer.streamOneWay = most, 1<<24, 1<<24
		r.establish()
		r.filled(100_000, true)
		if slices.Max(r.sizes) != want {
			t.Errorf("%d bytes, want %d", slices.Max(r.sizes), want)
		}
	}
}

// network delivers to r's peer what is no longer than mtu, for a time.
func (r *rig) network(mtu int, d int64) {
	r.t.Helper()
	for until := r.now + d; r.now < until; {
		all := append(r.out(), r.pass(5e6)...)
		var a ranges
		var arena Arena
		for _, f := range all {
			if f.size <= mtu && f.level == OneRTT {
				a.add(&arena, f.number)
			}
		}
		if b := a.appendAck(nil, 0, 500); len(b) > 0 {
			r.in(OneRTT, b)
		}
	}
}

// A path that takes 1200 octets is tried three times, and its window does not shrink for it.
func TestLength_aNarrowPath(t *testing.T) {
	r := newRig(t, Server, Options{})
	r.peer.data, r.peer.streamOneWay = 1<<24, 1<<24
	r.establish()
	s := r.open(OneWay)
	r.conn.Send(s, pattern(0, 120_000), true)
	r.network(1300, 4e9)
	tries := 0
	for _, n := range r.sizes {
		if n > DatagramSize {
			tries++
		}
	}
	if tries != triesMax || s.out.base != 120_000 || r.conn.sent.window.recovery > 0 {
		t.Errorf("%d tries, %d bytes arrived, recovery at %d", tries, s.out.base, r.conn.sent.window.recovery)
	}
}

// A path that takes less than before: after two probes of PTO datagrams are small, and all arrives.
func TestLength_thePathBecomesNarrow(t *testing.T) {
	r := newRig(t, Server, Options{})
	r.peer.data, r.peer.streamOneWay = 1<<24, 1<<24
	r.establish()
	r.filled(100_000, true)
	if r.conn.length.full <= DatagramSize {
		t.Fatal("never longer")
	}
	s := r.open(OneWay)
	r.conn.Send(s, pattern(0, 120_000), true)
	r.network(1300, 30e9)
	if s.out.base != 120_000 || r.conn.length.full != DatagramSize {
		t.Errorf("%d bytes arrived, full datagrams have %d", s.out.base, r.conn.length.full)
	}
}

// Another address may take less: datagrams are short again. Another port alone is on the same path.
func TestLength_ofAnotherAddress(t *testing.T) {
	for to, want := range map[Path]int{otherPort: 1472, far: DatagramSize} {
		r := roaming(t, testPath)
		r.filled(100_000, true)
		r.from = to
		r.in(OneRTT, ping, make([]byte, 100))
		if r.conn.length.full != want {
			t.Errorf("%v: %d", to.Peer, r.conn.length.full)
		}
	}
}
