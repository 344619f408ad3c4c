package ketama

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestNew_refuses(t *testing.T) {
	many := fleet(serversMax + 1)
	for _, c := range []struct {
		name    string
		servers []Server
		o       Options
		want    error
	}{
		{"too many servers", many, Options{Points: 1}, ErrServers},
		{"a negative weight", []Server{{"a", -1}}, Options{}, ErrWeight},
		{"weights that overflow", []Server{{"a", math.MaxInt}, {"b", math.MaxInt}}, Options{}, ErrWeight},
		{"too many points", []Server{{"a", 1 << 20}}, Options{}, ErrPoints},
		{"a negative number of points", nil, Options{Points: -1}, ErrPoints},
		{"a name twice", []Server{{"a", 1}, {"b", 1}, {"a", 2}}, Options{}, ErrDuplicate},
		{"a name for Pingora", []Server{{"localhost:80", 1}}, Options{Layout: PingoraV1}, ErrAddress},
		{"no port for Pingora", []Server{{"127.0.0.1", 1}}, Options{Layout: PingoraV2}, ErrAddress},
		{"a zone for Pingora", []Server{{"[fe80::1%1]:80", 1}}, Options{Layout: PingoraV2}, ErrAddress},
	} {
		if r, err := New(c.servers, c.o); !errors.Is(err, c.want) || r != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if n := len(c.servers); n > 0 && n < 9 {
			base, err := New(c.servers[:n-1], c.o)
			if err != nil {
				continue
			}
			if r, err := base.With(c.servers[n-1]); !errors.Is(err, c.want) || r != nil {
				t.Errorf("With, %s: %v", c.name, err)
			}
		}
	}
	if _, err := New64(many, Options64{Points: 1}); !errors.Is(err, ErrServers) {
		t.Error(err)
	}
	if _, err := New64(nil, Options64{Points: -1}); !errors.Is(err, ErrPoints) {
		t.Error(err)
	}
	full := ring(t, many[:serversMax], Options{Points: 1})
	if _, err := full.With(many[serversMax]); !errors.Is(err, ErrServers) {
		t.Error(err)
	}
	for _, size := range []int{-7, 1, 4, 65536, 1<<26 + 1} {
		if _, err := NewMaglev(nil, MaglevOptions{Table: size}); !errors.Is(err, ErrTableSize) {
			t.Errorf("a table of %d: %v", size, err)
		}
	}
	if _, err := NewMaglev(fleet(4), MaglevOptions{Table: 3}); !errors.Is(err, ErrTableSize) {
		t.Error(err)
	}
	small, err := NewMaglev(fleet(3), MaglevOptions{Table: 3})
	testutil.Must(t, err)
	if _, err := small.With(Server{Name: "d"}); !errors.Is(err, ErrTableSize) {
		t.Error(err)
	}
}

func TestLayout_split(t *testing.T) {
	for name, want := range map[string][2]string{
		"10.0.0.1:80": {"10.0.0.1", "80"}, "10.0.0.1": {"10.0.0.1", ""}, "a": {"a", ""}, "a:": {"a", ""},
		"[::1]:80": {"[::1]", "80"}, "[::1]": {"[::1]", ""}, "::1": {":", "1"}, "a:80x": {"a:80x", ""},
		":80": {"", "80"}, "80": {"80", ""},
		"unix:/a:80": {"/a:80", ""}, "UnIx:/a": {"/a", ""}, "unix": {"unix", ""}, "": {"", ""}, "a:b:9": {"a:b", "9"},
	} {
		if host, port, err := Nginx.split(name); err != nil || host != want[0] || port != want[1] {
			t.Errorf("%q: %q, %q, %v", name, host, port, err)
		}
	}
	for name, want := range map[string][2]string{
		"10.0.0.1:80": {"10.0.0.1", "80"}, "[::1]:080": {"::1", "80"}, "[0:0::FF]:1": {"::ff", "1"},
		"[::ffff:1.2.3.4]:5": {"::ffff:1.2.3.4", "5"},
	} {
		if host, port, err := PingoraV2.split(name); err != nil || host != want[0] || port != want[1] {
			t.Errorf("%q: %q, %q, %v", name, host, port, err)
		}
	}
}

func TestRing64_withAndWithoutAreNew(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 64))
	spare := random(rng, 40, Nginx)
	r := ring64(t, nil)
	for range testutil.RaceRounds(150) {
		s := spare[rng.IntN(len(spare))]
		if r.indexOf(s.Name) >= 0 {
			r = r.Without(s.Name)
		} else if next, err := r.With(s); err != nil {
			t.Fatal(err)
		} else if r = next; !reflect.DeepEqual(r.Without(s.Name), ring64(t, r.servers[:r.Len()-1])) {
			t.Fatalf("Without %v differs from New64", s)
		}
		if want := ring64(t, r.servers); !reflect.DeepEqual(r, want) {
			t.Fatalf("%v differs from New64", r.servers)
		}
	}
	if r.Without("none") != r {
		t.Error("another ring without a server that is not there")
	}
	if _, err := r.With(Server{Name: r.Server(0).Name}); !errors.Is(err, ErrDuplicate) {
		t.Error(err)
	}
	if _, err := r.With(Server{"heavy", 1 << 20}); !errors.Is(err, ErrPoints) {
		t.Error(err)
	}
}

func TestMaglev_orderOfServersDoesNotMatter(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	servers := random(rng, 30, Nginx)
	a := maglev(t, servers)
	mixed := slices.Clone(servers)
	rng.Shuffle(len(mixed), func(i, k int) { mixed[i], mixed[k] = mixed[k], mixed[i] })
	b := maglev(t, mixed)
	for i := range a.table {
		if a.Server(int(a.table[i])) != b.Server(int(b.table[i])) {
			t.Fatalf("entry %d is of %v and %v", i, a.Server(int(a.table[i])), b.Server(int(b.table[i])))
		}
	}
	c := a.Without(servers[4].Name)
	d, err := c.With(servers[4])
	testutil.Must(t, err)
	if e := maglev(t, d.servers); !reflect.DeepEqual(d, e) || a.Without("none") != a {
		t.Error("With and Without are not New")
	}
	if _, err := a.With(servers[3]); !errors.Is(err, ErrDuplicate) {
		t.Error(err)
	}
}

// Each server has as many entries as its weight says, give or take the last round.
func TestMaglev_entriesFollowWeights(t *testing.T) {
	servers := []Server{{"a", 1}, {"b", 2}, {"c", 3}, {"d", 10}, {"e", 0}}
	for _, size := range []int{17, 251, 65537} {
		m, err := NewMaglev(servers, MaglevOptions{Table: size})
		testutil.Must(t, err)
		var entries [5]int
		for _, owner := range m.table {
			entries[owner]++
		}
		for i := range servers {
			if want := size * servers[i].weight() / m.total; entries[i] < want-2 || entries[i] > want+2 {
				t.Errorf("%d entries: server %d has %d, not %d", size, i, entries[i], want)
			}
		}
	}
}

func TestPickBounded_neverExceedsSlots(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, factor := range []int{100, 101, 125, 200, 1000} {
		servers := fleet(13)
		for i := range servers {
			servers[i].Weight = rng.IntN(6)
		}
		for kind, p := range pickers(t, servers) {
			loads := make([]int, len(servers))
			load := func(i int) int { return loads[i] }
			m := newMembersOf(t, servers)
			for served := range 2000 {
				b := Bound{Factor: factor, Served: served}
				i := p.PickBounded(p.Hash([]byte("everybody's key")), b, load)
				if rng.IntN(2) == 0 {
					i = p.PickBounded(p.Hash(fmt.Append(nil, served)), b, load)
				}
				if loads[i] >= m.slots(i, b) {
					t.Fatalf("%s, %d %%: server %d has %d of %d slots", kind, factor, i, loads[i], m.slots(i, b))
				}
				loads[i]++
			}
		}
	}
}

func newMembersOf(t *testing.T, servers []Server) members {
	t.Helper()
	m, err := newMembers(servers)
	testutil.Must(t, err)
	return m
}

// The slots of all servers are those of all requests, and more only where a server has at least one.
func TestSlots_addUp(t *testing.T) {
	m := newMembersOf(t, []Server{{"a", 1}, {"b", 5}, {"c", 2}, {"d", 3}, {"e", 1}})
	for served := range 500 {
		for _, factor := range []int{100, 125, 150} {
			b := Bound{Factor: factor, Served: served}
			sum, ones := 0, 0
			for i := range m.servers {
				slots := m.slots(i, b)
				if sum += slots; slots == 1 {
					ones++
				}
			}
			if total := ((1+served)*factor + 99) / 100; sum < total || sum > total+ones {
				t.Fatalf("%d %% of %d: %d slots, want %d", factor, served+1, sum, total)
			}
		}
	}
}

func TestPickBounded_passesOverServersThatAreDown(t *testing.T) {
	for kind, p := range pickers(t, fleet(4)) {
		loads := []int{-1, 9, -1, -1}
		load := func(i int) int { return loads[i] }
		for h := range uint64(50) {
			// Only server 1 is up: whatever its load, it is the least loaded.
			if got := p.PickBounded(h<<58, Bound{Factor: 125, Served: 9, Weight: 1}, load); got != 1 {
				t.Fatalf("%s: %d", kind, got)
			}
			loads[3] = 3 // and with two of them, that have 9 slots in all without Weight, the one with less
			if got := p.PickBounded(h<<58, Bound{Factor: 100, Served: 12}, load); got != 3 {
				t.Fatalf("%s: %d", kind, got)
			}
			loads[3] = -1
		}
		loads[1] = -1
		if got := p.PickBounded(1, Bound{Factor: 125}, load); got != -1 {
			t.Errorf("%s: %d of none", kind, got)
		}
	}
}

func TestLookUps_allocateNothing(t *testing.T) {
	long := string(slices.Repeat([]byte{'x'}, 300))
	for kind, p := range pickers(t, fleet(100)) {
		n := 0
		if got := testutil.Allocs(100, func() {
			n += p.PickString(long) + p.PickString(long[:30]) + int(p.HashString(long)&1) + p.At(uint64(n)<<40)
		}); got != 0 {
			t.Errorf("%s: %v allocations", kind, got)
		}
	}
	r, r64, m := ring(t, fleet(100), Options{}), ring64(t, fleet(100)), maglev(t, fleet(100))
	n := 0
	if got := testutil.Allocs(100, func() {
		var key [100]byte // of the caller's stack
		key[n%100]++
		n += r.Pick(key[:]) + r.Pick(key[:30]) + r64.Pick(key[:]) + m.Pick(key[:]) + int(r.Hash(key[:])&1)
		h, down := uint64(n)<<32|uint64(n), n%100
		open := func(i int) bool { return i != down }
		load := func(i int) int { return i * down }
		n += r.Failover(h, open) + r.PickFunc(h, open) + r64.PickFunc(h, open) + m.PickFunc(h, open)
		n += r.PickBounded(h, Bound{Factor: 125}, load) + r64.PickBounded(h, Bound{Factor: 125}, load)
		n += m.PickBounded(h, Bound{Factor: 125}, load)
		for i := range r.Walk(uint64(n)) {
			n += i
		}
		for i := range r.Points(uint64(n)) {
			if n += i; i > 50 {
				break
			}
		}
		for i := range r64.Walk(uint64(n)) {
			n += i
		}
		for i := range m.Walk(uint64(n)) {
			n += i
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestXXH64_knownValues(t *testing.T) {
	text := "Call me Ishmael. Some years ago--never mind how long precisely-"
	for _, c := range []struct {
		in   string
		seed uint64
		want uint64
	}{
		{"", 0, 0xef46db3751d8e999}, {"a", 0, 0xd24ec4f1a98c6e5b}, {"as", 0, 0x1c330fb2d66be179},
		{"asd", 0, 0x631c37ce72a97393}, {"asdf", 0, 0x415872f599cea71e}, {text, 0, 0x02a2e85470d6fd96},
		{"abc", 0, 0x44bc2cf5ad770999}, {"", 1, 0xd5afba1336a3be4b},
	} {
		if got := xxh64([]byte(c.in), c.seed); got != c.want {
			t.Errorf("%q with seed %d: %016x, want %016x", c.in, c.seed, got, c.want)
		}
	}
}

// slowXXH64 follows the specification word by word.
func slowXXH64(p []byte, seed uint64) uint64 {
	word := func(p []byte, n int) (v uint64) {
		for i := range n {
			v |= uint64(p[i]) << (8 * i)
		}
		return v
	}
	rotate := func(v uint64, n int) uint64 { return v<<n | v>>(64-n) }
	round := func(acc, v uint64) uint64 { return rotate(acc+v*prime2, 31) * prime1 }
	acc, n := seed+prime5, len(p)
	if n >= 32 {
		one := prime1
		a := [4]uint64{seed + one + prime2, seed + prime2, seed, seed - prime1}
		for ; len(p) >= 32; p = p[32:] {
			for lane := range a {
				a[lane] = round(a[lane], word(p[8*lane:], 8))
			}
		}
		acc = rotate(a[0], 1) + rotate(a[1], 7) + rotate(a[2], 12) + rotate(a[3], 18)
		for lane := range a {
			acc = (acc^round(0, a[lane]))*prime1 + prime4
		}
	}
	acc += uint64(n)
	for len(p) > 0 {
		switch {
		case len(p) >= 8:
			acc, p = rotate(acc^round(0, word(p, 8)), 27)*prime1+prime4, p[8:]
		case len(p) >= 4:
			acc, p = rotate(acc^word(p, 4)*prime1, 23)*prime2+prime3, p[4:]
		default:
			acc, p = rotate(acc^uint64(p[0])*prime5, 11)*prime1, p[1:]
		}
	}
	acc = (acc ^ acc>>33) * prime2
	acc = (acc ^ acc>>29) * prime3
	return acc ^ acc>>32
}

func FuzzHashes(f *testing.F) {
	f.Add([]byte("123456789"), uint64(0))
	f.Add(make([]byte, 200), uint64(1)<<63)
	f.Fuzz(func(t *testing.T, p []byte, seed uint64) {
		if got, want := checksum(p), crc32.ChecksumIEEE(p); got != want {
			t.Errorf("the CRC of %x is %08x, not %08x", p, got, want)
		}
		if got, want := ^crcUpdate(^uint32(0), p), crc32.ChecksumIEEE(p); got != want {
			t.Errorf("by tables the CRC of %x is %08x, not %08x", p, got, want)
		}
		if got, want := xxh64(p, seed), slowXXH64(p, seed); got != want {
			t.Errorf("the XXH64 of %x is %016x, not %016x", p, got, want)
		}
	})
}

func TestHashes_ofEachLength(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for n := range 400 {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		if checksum(p) != crc32.ChecksumIEEE(p) || xxh64(p, 5) != slowXXH64(p, 5) {
			t.Errorf("%d bytes", n)
		}
	}
}

// Any names make a ring that is the model's, and ring after ring of them too.
func FuzzRing(f *testing.F) {
	f.Add("10.0.0.1:80", "unix:/a", "[::1]:80", []byte("key"), uint8(3), uint8(0))
	f.Add("", ":", "UNIX:", []byte(nil), uint8(0), uint8(9))
	f.Fuzz(func(t *testing.T, a, b, c string, key []byte, weight, points uint8) {
		servers := []Server{{a, int(weight)}, {b, 1}, {c, 2}}
		o := Options{Points: int(points)}
		r, err := New(servers, o)
		if a == b || b == c || a == c {
			if !errors.Is(err, ErrDuplicate) {
				t.Fatal(err)
			}
			return
		}
		testutil.Must(t, err)
		m := newModel(servers, o)
		if got, want := r.Pick(key), m.at(crc32.ChecksumIEEE(key)); got != want {
			t.Fatalf("%q goes to %d, not %d", key, got, want)
		}
		for i, h := range m.points {
			if got := r.At(uint64(h)); got != m.owners[i] {
				t.Fatalf("point %x is of %d, not %d", h, got, m.owners[i])
			}
		}
		for i := range servers {
			less := slices.Delete(slices.Clone(servers), i, i+1)
			if without := r.Without(servers[i].Name); !reflect.DeepEqual(without, ring(t, less, o)) {
				t.Fatalf("without %q it is not New's", servers[i].Name)
			}
		}
	})
}
