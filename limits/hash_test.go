package limits

import (
	"math/bits"
	"net/netip"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestHasher_equalKeysHaveEqualHashes(t *testing.T) {
	h := NewHasher()
	same := h
	if h.String("key") != same.Bytes([]byte("key")) || h.Uint64(7) != same.Uint64(7) {
		t.Error("a copy gives other hashes")
	}
	type pair struct {
		client netip.Addr
		route  string
	}
	a := pair{netip.MustParseAddr("192.0.2.1"), "/a"}
	if Comparable(h, a) != Comparable(same, a) || Comparable(h, a) == Comparable(h, pair{a.client, "/b"}) {
		t.Error("hashes of structs")
	}
}

// What a client finds out about one process helps it against no other one, nor against this one after a restart.
func TestHasher_seedsDiffer(t *testing.T) {
	a, b := NewHasher(), NewHasher()
	addr := netip.MustParseAddr("192.0.2.1")
	if a.String("key") == b.String("key") || a.Uint64(7) == b.Uint64(7) || a.Addr(addr) == b.Addr(addr) ||
		Comparable(a, 7) == Comparable(b, 7) {
		t.Error("two seeds give one hash")
	}
	testutil.Panics(t, "no seed", func() { Hasher{}.String("key") })
}

func TestHasher_Addr(t *testing.T) {
	h := NewHasher()
	hash := func(s string) uint64 { return h.Addr(netip.MustParseAddr(s)) }
	for _, same := range [][2]string{
		{"192.0.2.1", "::ffff:192.0.2.1"},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9"},
		{"fe80::1%eth0", "fe80::2%eth1"},
	} {
		if hash(same[0]) != hash(same[1]) {
			t.Errorf("%s and %s are two clients", same[0], same[1])
		}
	}
	for _, other := range [][2]string{
		{"192.0.2.1", "192.0.2.2"},
		{"192.0.2.1", "198.51.2.1"},
		{"2001:db8:1:2::1", "2001:db8:1:3::1"},
	} {
		if hash(other[0]) == hash(other[1]) {
			t.Errorf("%s and %s are one client", other[0], other[1])
		}
	}
	h.Addr(netip.Addr{})
}

// Each bit of a number changes each bit of its hash with a probability of about one half.
func TestHasher_Uint64IsMixed(t *testing.T) {
	h, changed := NewHasher(), [64][64]int{}
	const numbers = 1000
	for n := range uint64(numbers) {
		for in := range 64 {
			diff := h.Uint64(n) ^ h.Uint64(n^1<<in)
			for ; diff != 0; diff &= diff - 1 {
				changed[in][bits.TrailingZeros64(diff)]++
			}
		}
	}
	for in := range changed {
		for out, n := range changed[in] {
			if n < numbers*2/5 || n > numbers*3/5 {
				t.Errorf("bit %d changes bit %d in %d of %d numbers", in, out, n, numbers)
			}
		}
	}
}

// The hash of a network is that of all its addresses, and of no other's.
func TestHasher_Network(t *testing.T) {
	h := NewHasher()
	for _, text := range []string{"203.0.113.195", "::ffff:203.0.113.195", "2001:db8:1:2:3:4:5:6", "fe80::1%eth0"} {
		a := netip.MustParseAddr(text)
		if h.Network(a, 32, 64) != h.Addr(a) {
			t.Errorf("%s: the hash of its client is another one", a)
		}
		plain := a.Unmap().WithZone("")
		for bits := range plain.BitLen() + 1 {
			hash := h.Network(a, bits, bits)
			if first := netip.PrefixFrom(plain, bits).Masked().Addr(); h.Network(first, bits, bits) != hash {
				t.Errorf("%s/%d: its first address has another hash", a, bits)
			}
			if bits > 0 && h.Network(flipped(plain, bits-1), bits, bits) == hash {
				t.Errorf("%s/%d: another network has the hash too", a, bits)
			}
		}
	}
	h.Network(netip.Addr{}, 32, 64)
}

// flipped returns a with one of its bits inverted.
func flipped(a netip.Addr, bit int) netip.Addr {
	b := a.AsSlice()
	b[bit/8] ^= 0x80 >> (bit % 8)
	a, _ = netip.AddrFromSlice(b)
	return a
}
