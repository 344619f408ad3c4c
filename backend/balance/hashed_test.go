package balance

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/ketama"
)

// ringOf makes the ring of package ketama for the backends of v that have a weight.
func ringOf(t *testing.T, v *View) (r *ketama.Ring, index []int) {
	t.Helper()
	var servers []ketama.Server
	for i := range v.Len() {
		if v.Weight(i) > 0 {
			servers = append(servers, ketama.Server{Name: v.Name(i), Weight: v.Weight(i)})
			index = append(index, i)
		}
	}
	r, err := ketama.New(servers, ketama.Options{})
	testutil.Must(t, err)
	return r, index
}

// Ketama is the rule of package ketama, which is nginx's: Failover, and turns where that has none.
func TestKetama_isFailover(t *testing.T) {
	turns := 0
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 12))
		backends := fleet(1+rng.IntN(30), false)
		for i := range backends {
			backends[i].Weight = rng.IntN(4)
		}
		v := NewView(backends, nil)
		r, index := ringOf(t, v)
		p := Ketama.New(0, 1)
		for k := range 300 {
			if k%20 == 0 {
				up := rng.IntN(10)
				v = v.Where(func(int) bool { return rng.IntN(10) <= up })
			}
			key := fmt.Appendf(nil, "key %d of %d", k, seed)
			q := Request{Key: Ketama.Hash(key), Keyed: true}
			for range rng.IntN(4) {
				q.Tried.Add(rng.IntN(len(backends)))
			}
			want := r.Failover(r.Hash(key), func(at int) bool { return v.Open(index[at]) && !q.Tried.Has(index[at]) })
			got := p.Pick(v, nil, &q)
			if want >= 0 && got != index[want] {
				t.Fatalf("seed %d: key %d goes to %d, not %d", seed, k, got, index[want])
			}
			if want < 0 && got >= 0 {
				turns++
			}
		}
	}
	if turns == 0 {
		t.Error("no key takes turns")
	}
}

// Maglev is the table of package ketama while all are open. The keys of one that is closed go to all others, by weight,
// and no other key moves.
func TestMaglev_movesWhatIsClosed(t *testing.T) {
	backends := fleet(10, true)
	v := NewView(backends, nil)
	servers := make([]ketama.Server, len(backends))
	for i, b := range backends {
		servers[i] = ketama.Server(b)
	}
	table, err := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	testutil.Must(t, err)
	p, closed := Maglev.New(0, 1), v.With(3, false)
	counts, want, moved := make([]int, len(backends)), make([]float64, len(backends)), 0
	for k := range 200_000 {
		key := fmt.Appendf(nil, "key %d", k)
		q := Request{Key: Maglev.Hash(key), Keyed: true}
		before, after := p.Pick(v, nil, &q), p.Pick(closed, nil, &q)
		if before != table.Pick(key) {
			t.Fatalf("key %d goes to %d, not %d", k, before, table.Pick(key))
		}
		if before != 3 {
			if after != before {
				t.Fatalf("key %d moves from %d to %d", k, before, after)
			}
			continue
		}
		if q.Tried.Add(3); p.Pick(v, nil, &q) != after {
			t.Fatalf("key %d: a backend that was tried is not one that is closed", k)
		}
		counts[after]++
		moved++
	}
	for i := range backends {
		if i != 3 {
			want[i] = float64(moved*v.Weight(i)) / float64(v.total-v.Weight(3))
		}
	}
	fits(t, "keys that moved", counts, want)
}

// Without a key, methods that hash take turns.
func TestHashed_withoutAKey(t *testing.T) {
	for _, m := range []*Method{Ketama, Maglev, IPHash} {
		v := NewView(fleet(3, false), nil)
		p, q := m.New(0, 1), Request{Key: 77}
		for k := range 9 {
			if i := p.Pick(v, nil, &q); i != k%3 {
				t.Errorf("%s: turn %d is that of %d", m.Name, k, i)
			}
		}
	}
}

// Names that are there twice, or look as if, and weights whose ring would be too large, make no panic; each backend
// gets its share.
func TestHashed_oddBackends(t *testing.T) {
	testutil.OnlyPlain(t)
	for name, backends := range map[string][]Backend{
		"no names":          {{Weight: 1}, {Weight: 1}, {Weight: 1}},
		"the same name":     {{"a", 1}, {"a", 1}, {"a#2", 1}, {"a", 1}, {"a#3", 1}, {"a#2", 1}},
		"heavy and light":   {{"a", weightMax}, {"b", 40_000}, {"c", 0}, {"d", 1}},
		"strange names":     {{"unix:/a:1", 1}, {"[::1]:80", 1}, {"::", 1}, {":", 1}, {"ü", 1}},
		"of weight 0, many": append(make([]Backend, 5000), Backend{"a", 2}, Backend{"b", 1}),
	} {
		v := NewView(backends, nil)
		for _, m := range []*Method{Ketama, Maglev} {
			m.Prepare(v)
			p, counts := m.New(0, 1), make([]int, len(backends))
			const keys = 20_000
			for k := range keys {
				q := Request{Key: m.Hash(fmt.Appendf(nil, "%d", k)), Keyed: true}
				counts[p.Pick(v, nil, &q)]++
			}
			for i, b := range backends {
				want := float64(b.Weight) / float64(v.total) * keys
				if n := float64(counts[i]); n < 0.6*want-5 || n > 1.5*want+5 || b.Weight == 0 && n > 0 {
					t.Errorf("%s, %s: backend %d has %v keys, its weight says %.0f", name, m.Name, i, n, want)
				}
			}
		}
	}
}

// As many backends as there may be.
func TestHashed_mostBackends(t *testing.T) {
	if testing.Short() {
		t.Skip("a ring of ten million points")
	}
	v := NewView(fleet(backendsMax, false), nil)
	for _, m := range []*Method{Ketama, Maglev, IPHash} {
		m.Prepare(v)
		q := Request{Key: 1<<63 | 1<<16 | 5, Keyed: true}
		if i := m.New(0, 1).Pick(v, nil, &q); i < 0 {
			t.Errorf("%s picks none", m.Name)
		}
	}
}

// addressOf picks as ngx_http_upstream_get_ip_hash_peer and its init do. It returns -1 where nginx takes turns.
func addressOf(v *View, address []byte, tried *Tried) int {
	if len(address) == 4 {
		address = address[:3]
	}
	hash, tries := uint64(89), 0
	for {
		for i := range address {
			hash = (hash*113 + uint64(address[i])) % 6271
		}
		w, peer := int(hash%uint64(v.total)), 0
		for w >= v.Weight(peer) {
			w -= v.Weight(peer)
			peer++
		}
		if v.Open(peer) && !tried.Has(peer) {
			return peer
		}
		if tries++; tries > 20 {
			return -1
		}
	}
}

// randomAddress is one of IPv4 or IPv6.
func randomAddress(rng *rand.Rand) netip.Addr {
	if rng.IntN(2) == 0 {
		b := rng.Uint32()
		return netip.AddrFrom4([4]byte{1 + byte(rng.IntN(220)), byte(b >> 16), byte(b >> 8), byte(b)})
	}
	var b [16]byte
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	b[0] = 0x20
	return netip.AddrFrom16(b)
}

func TestIPHash_isThatOfNginx(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 13))
		backends := fleet(1+rng.IntN(40), false)
		most := 1 + rng.IntN(4)*rng.IntN(3000)
		for i := range backends {
			backends[i].Weight = rng.IntN(most + 1)
		}
		v := NewView(backends, nil)
		if v.total == 0 {
			continue
		}
		p, up := IPHash.New(0, 1), rng.IntN(10)
		v = v.Where(func(int) bool { return rng.IntN(10) <= up })
		for range 300 {
			address := randomAddress(rng).AsSlice()
			q := Request{Key: IPHash.Hash(address), Keyed: true}
			for {
				want, got := addressOf(v, address, &q.Tried), p.Pick(v, nil, &q)
				if want < 0 || q.Tried.Len() == 2 {
					break // nginx takes turns
				}
				if got != want {
					t.Fatalf("seed %d: %v goes to %d, with nginx to %d", seed, address, got, want)
				}
				q.Tried.Add(got)
			}
		}
	}
}

// All clients of a network of IPv4 go to one backend.
func TestIPHash_networks(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.255")
	c := netip.MustParseAddr("2001:db8::1")
	if IPHash.Hash(a.AsSlice()) != IPHash.Hash(b.AsSlice()) || IPHash.Hash(a.AsSlice()) == IPHash.Hash(c.AsSlice()) {
		t.Error("the keys are not those of networks")
	}
}

// The key of Ketama is the CRC that nginx hashes by.
func TestKetama_hash(t *testing.T) {
	for n := range 100 {
		key := []byte(strings.Repeat("é", n) + "x")
		if got := Ketama.Hash(key); got != uint64(crc32.ChecksumIEEE(key)) {
			t.Errorf("%q: %#x", key, got)
		}
	}
}
