package ketama

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// model is a ring in the plainest way: nginx's own steps over hash/crc32.
type model struct {
	points []uint32
	owners []int
}

func newModel(servers []Server, o Options) *model {
	type place struct {
		hash  uint32
		owner int
	}
	var all []place
	for i, s := range servers {
		base := crc32.ChecksumIEEE([]byte(hashed(s.Name, o.Layout)))
		prev := []byte{0, 0, 0, 0}
		for range s.weight() * cmp.Or(o.Points, 160) {
			h := crc32.Update(base, crc32.IEEETable, prev)
			binary.LittleEndian.PutUint32(prev, h)
			all = append(all, place{h, i})
		}
	}
	sort.SliceStable(all, func(i, k int) bool {
		if a, b := all[i], all[k]; a.hash != b.hash || o.Layout != PingoraV2 {
			return a.hash < b.hash
		}
		a, b := netip.MustParseAddrPort(servers[all[i].owner].Name), netip.MustParseAddrPort(servers[all[k].owner].Name)
		return a.Compare(b) < 0
	})
	m := &model{}
	for i, p := range all {
		if i == 0 || all[i-1].hash != p.hash {
			m.points, m.owners = append(m.points, p.hash), append(m.owners, p.owner)
		}
	}
	return m
}

// hashed is what stands before the last point in what is hashed.
func hashed(name string, l Layout) string {
	if l != Nginx {
		a := netip.MustParseAddrPort(name)
		return fmt.Sprintf("%v\x00%d", a.Addr(), a.Port())
	}
	if strings.HasPrefix(strings.ToLower(name), "unix:") {
		return name[5:] + "\x00"
	}
	if i := strings.LastIndexByte(name, ':'); i >= 0 && strings.Trim(name[i+1:], "0123456789") == "" {
		return name[:i] + "\x00" + name[i+1:]
	}
	return name + "\x00"
}

// at is the server of a hash.
func (m *model) at(h uint32) int {
	i := sort.Search(len(m.points), func(i int) bool { return m.points[i] >= h })
	return m.owners[i%len(m.owners)]
}

// random is servers with names of all kinds that a layout knows.
func random(rng *rand.Rand, n int, l Layout) []Server {
	names := map[string]bool{}
	for len(names) < n {
		v4 := netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(4)), byte(rng.IntN(256))})
		v6 := netip.AddrFrom16([16]byte{0xfd, 15: byte(rng.IntN(256))})
		port := uint16(rng.IntN(1 << 16))
		kinds := []string{netip.AddrPortFrom(v4, port).String(), netip.AddrPortFrom(v6, port).String()}
		if l == Nginx {
			kinds = append(kinds, v4.String(), fmt.Sprintf("[%v]", v6), fmt.Sprintf("unix:/run/%d.sock", port),
				fmt.Sprintf("UNIX:/run/a:%d", port), fmt.Sprintf("backend%d.example:%d", rng.IntN(9), port), "b:")
		}
		names[kinds[rng.IntN(len(kinds))]] = true
	}
	list := slices.Sorted(maps.Keys(names))
	rng.Shuffle(n, func(i, k int) { list[i], list[k] = list[k], list[i] })
	servers := make([]Server, n)
	for i := range servers {
		servers[i] = Server{Name: list[i], Weight: rng.IntN(4)}
	}
	return servers
}

// edges are the hashes around a few points, and some others.
func edges(rng *rand.Rand, points []uint32) []uint32 {
	list := []uint32{0, 1, 1 << 31, 1<<32 - 1}
	for range 200 {
		p := points[rng.IntN(len(points))]
		list = append(list, rng.Uint32(), p-1, p, p+1)
	}
	return list
}

func TestRing_isTheModels(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 4))
	for _, n := range []int{1, 2, 3, 5, 8, 13, 50} {
		for _, o := range []Options{{}, {Points: 1}, {Points: 7}, {Layout: PingoraV1}, {Layout: PingoraV2},
			{Layout: PingoraV2, Points: 300}} {
			servers := random(rng, n, o.Layout)
			r, m := ring(t, servers, o), newModel(servers, o)
			for _, h := range edges(rng, m.points) {
				if got, want := r.At(uint64(h)), m.at(h); got != want {
					t.Fatalf("%+v of %v: %x goes to %d, want %d", o, servers, h, got, want)
				}
			}
		}
	}
}

func TestRing_knowsOnlyTheLow32BitsOfAHash(t *testing.T) {
	r := ring(t, fleet(10), Options{})
	if r.At(0x1234) != r.At(0xabcdef0000001234) {
		t.Error("the high bits count")
	}
}

// A step is With or Without: after each the ring is what New makes.
func TestRing_withAndWithoutAreNew(t *testing.T) {
	for _, o := range []Options{{}, {Points: 1}, {Layout: PingoraV1}, {Layout: PingoraV2, Points: 40}} {
		rng := rand.New(rand.NewPCG(uint64(o.Points), uint64(o.Layout)))
		spare := random(rng, 40, o.Layout)
		r := ring(t, nil, o)
		for range testutil.RaceRounds(150) {
			r = changed(t, rng, r, spare)
			if want := ring(t, r.servers, o); !reflect.DeepEqual(r, want) {
				t.Fatalf("%+v of %v differs from New", o, r.servers)
			}
		}
	}
}

// changed returns r with one server more or less.
func changed(t *testing.T, rng *rand.Rand, r *Ring, spare []Server) *Ring {
	s := spare[rng.IntN(len(spare))]
	if r.indexOf(s.Name) >= 0 {
		return r.Without(s.Name)
	}
	next, err := r.With(s)
	testutil.Must(t, err)
	if back := next.Without(s.Name); !reflect.DeepEqual(r, back) {
		t.Fatalf("With and Without of %v change %v", s, r.servers)
	}
	return next
}

// tied returns two servers that share a point, and that point: found by force among many.
func tied(t *testing.T, l Layout) (a, b Server, point uint32) {
	t.Helper()
	owners := map[uint32]string{}
	for i := range 20_000 {
		name := fmt.Sprintf("239.%d.%d.%d:%d", i%7, i/7%256, i/1792, 1000+i%977)
		base, err := l.base(name)
		testutil.Must(t, err)
		points := make([]uint32, 160)
		chain(points, base, 0)
		for _, p := range points {
			if other, shared := owners[p]; shared && other != name {
				return Server{Name: other}, Server{Name: name}, p
			}
			owners[p] = name
		}
	}
	t.Fatal("no two servers share a point")
	return
}

func TestRing_tieGoesToTheEarlierServer(t *testing.T) {
	for _, l := range []Layout{Nginx, PingoraV1} {
		a, b, point := tied(t, l)
		for _, servers := range [][]Server{{a, b}, {b, a}, {{Name: "10.9.9.9:1"}, b, {Name: "10.9.9.8:1"}, a}} {
			r := ring(t, servers, Options{Layout: l})
			want := min(r.indexOf(a.Name), r.indexOf(b.Name))
			if got := r.At(uint64(point)); got != want {
				t.Errorf("layout %d: %v: the point is of server %d", l, servers, got)
			}
			if len(r.circle.hidden) != 1 {
				t.Errorf("%d hidden points", len(r.circle.hidden))
			}
			left := r.Without(servers[want].Name)
			if got := left.Server(left.At(uint64(point))); got != a && got != b || got == servers[want] {
				t.Errorf("the point is of %v when its server has left", got)
			}
		}
	}
}

func TestRing_tieGoesToTheLowerAddressInPingorasSecondLayout(t *testing.T) {
	a, b, point := tied(t, PingoraV2)
	if netip.MustParseAddrPort(a.Name).Compare(netip.MustParseAddrPort(b.Name)) > 0 {
		a, b = b, a
	}
	for _, servers := range [][]Server{{a, b}, {b, a}} {
		first := ring(t, servers[:1], Options{Layout: PingoraV2})
		r, err := first.With(servers[1])
		testutil.Must(t, err)
		if got := r.Server(r.At(uint64(point))); got != a {
			t.Errorf("%v: the point is of %v", servers, got)
		}
	}
}

// A server in whose chain one point is zero has no other: the chain repeats. Its 160 points are one.
func TestRing_serverWithOnePoint(t *testing.T) {
	c := newCircle([]uint32{5, 9, 9, 9, 7}, []uint16{0, 1, 1, 2, 3})
	want := circle[uint32]{
		hashes: []uint32{5, 7, 9, 1<<32 - 1}, owners: []uint16{0, 3, 1, 0}, hidden: []point[uint32]{{9, 1}, {9, 2}},
		index: []uint32{0, 3, 3, 3, 3, 3, 3, 3}[:8], shift: 29,
	}
	want.fill()
	if !reflect.DeepEqual(c, want) {
		t.Errorf("%+v\n%+v", c, want)
	}
	with := c.with([]uint32{7, 7, 9, 1}, 4, cmp.Compare[uint16])
	all := newCircle([]uint32{5, 9, 9, 9, 7, 7, 7, 9, 1}, []uint16{0, 1, 1, 2, 3, 4, 4, 4, 4})
	if !reflect.DeepEqual(with, all) {
		t.Errorf("%+v\n%+v", with, all)
	}
	if back := with.without(4); !reflect.DeepEqual(back, c) {
		t.Errorf("%+v\n%+v", back, c)
	}
}

// With few places on the circle nearly all points are shared: whichever server comes or goes, and whatever its rank,
// the circle is that of newCircle.
func TestCircle_changesAmongTies(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 28))
	for range testutil.RaceRounds(3000) {
		var points [][]uint32 // of each server
		var priority []int    // of each server: the lower one has the point
		var c circle[uint32]
		for range 12 {
			if n := len(points); n > 0 && rng.IntN(3) == 0 {
				gone := rng.IntN(n)
				points, priority = slices.Delete(points, gone, gone+1), slices.Delete(priority, gone, gone+1)
				c = c.without(uint16(gone))
			} else {
				own := make([]uint32, 1+rng.IntN(6))
				for i := range own {
					own[i] = uint32(rng.IntN(16)) * 0x11111111 // 0 and the greatest hash are among them
				}
				points, priority = append(points, own), append(priority, rng.IntN(3))
				ranks := func(a, b uint16) int {
					return cmp.Or(cmp.Compare(priority[a], priority[b]), cmp.Compare(a, b))
				}
				c = c.with(slices.Clone(own), uint16(n), ranks)
			}
			if want := circleOf(points, priority); !reflect.DeepEqual(c, want) {
				t.Fatalf("%v by %v:\n%+v\nwant\n%+v", points, priority, c, want)
			}
		}
	}
}

// circleOf is newCircle with the points of servers in the order of their priority.
func circleOf(points [][]uint32, priority []int) circle[uint32] {
	order := make([]int, len(points))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(priority[a], priority[b]) })
	var hashes []uint32
	var owners []uint16
	for _, i := range order {
		hashes = append(hashes, points[i]...)
		owners = append(owners, slices.Repeat([]uint16{uint16(i)}, len(points[i]))...)
	}
	return newCircle(hashes, owners)
}

// pickers returns one of each type over the same servers.
func pickers(t testing.TB, servers []Server) map[string]Picker {
	return map[string]Picker{
		"ring": ring(t, servers, Options{}), "ring64": ring64(t, servers), "maglev": maglev(t, servers),
	}
}

func TestPicker_wayOfAKey(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, n := range []int{0, 1, 2, 3, 17, 100, 1500} {
		servers := fleet(n)
		for i := range servers {
			servers[i].Weight = 1 + i%3
		}
		for kind, p := range pickers(t, servers) {
			if p.Len() != n || n > 0 && p.Server(n-1) != servers[n-1] {
				t.Fatalf("%s: %d servers", kind, p.Len())
			}
			for range testutil.RaceRounds(30) {
				wayOf(t, kind, p, fmt.Appendf(nil, "key-%x", rng.Uint64()))
			}
		}
	}
}

// wayOf checks what each method says of a key.
func wayOf(t *testing.T, kind string, p Picker, key []byte) {
	t.Helper()
	h, n := p.Hash(key), p.Len()
	way := slices.Collect(p.Walk(h))
	if sorted := slices.Sorted(slices.Values(way)); len(way) != n || len(slices.Compact(sorted)) != n {
		t.Fatalf("%s of %d: a walk meets %d servers", kind, n, len(way))
	}
	first, second := -1, -1
	if n > 0 {
		first = way[0]
	}
	if n > 1 {
		second = way[1]
	}
	same := p.Pick(key) == first && p.PickString(string(key)) == first && p.At(h) == first
	if p.HashString(string(key)) != h || !same {
		t.Fatalf("%s of %d: %s goes to %d, %d, %d; a walk begins with %d", kind, n, key, p.Pick(key),
			p.PickString(string(key)), p.At(h), first)
	}
	if got := p.PickFunc(h, func(int) bool { return true }); got != first {
		t.Fatalf("%s: PickFunc returns %d, want %d", kind, got, first)
	}
	if got := p.PickFunc(h, func(i int) bool { return i != first }); got != second {
		t.Fatalf("%s: PickFunc past %d returns %d, want %d", kind, first, got, second)
	}
	asked := 0
	if got := p.PickFunc(h, func(int) bool { asked++; return false }); got != -1 || asked != n {
		t.Fatalf("%s: PickFunc of none returns %d after %d questions", kind, got, asked)
	}
	for range p.Walk(h) { // a loop that ends early
		break
	}
}

// Points goes once around, and Walk is what is new in it.
func TestRing_pointsAndFailover(t *testing.T) {
	servers := fleet(9)
	r, m := ring(t, servers, Options{}), newModel(servers, Options{})
	for _, h := range edges(rand.New(rand.NewPCG(5, 5)), m.points) {
		first := sort.Search(len(m.points), func(i int) bool { return m.points[i] >= h })
		var want, distinct []int
		for i := range m.points {
			owner := m.owners[(first+i)%len(m.owners)]
			if want = append(want, owner); !slices.Contains(distinct, owner) {
				distinct = append(distinct, owner)
			}
		}
		if got := slices.Collect(r.Points(uint64(h))); !slices.Equal(got, want) {
			t.Fatalf("%x: points differ", h)
		}
		if got := slices.Collect(r.Walk(uint64(h))); !slices.Equal(got, distinct) {
			t.Fatalf("%x: walk %v, want %v", h, got, distinct)
		}
		for k, owner := range want[:40] {
			if slices.Index(want, owner) < k {
				continue
			}
			up := owner
			if k > Tries {
				up = -1
			}
			if got := r.Failover(uint64(h), func(i int) bool { return i == owner }); got != up {
				t.Fatalf("%x: server of point %d: %d, want %d", h, k, got, up)
			}
		}
	}
	if ring(t, nil, Options{}).Failover(1, nil) != -1 {
		t.Error("a server of no servers")
	}
}

func TestPicker_serverThatLeavesMovesItsKeysOnly(t *testing.T) {
	servers := fleet(20)
	rings := map[string][2]Picker{}
	gone := 7
	less := slices.Delete(slices.Clone(servers), gone, gone+1)
	a, b := pickers(t, servers), pickers(t, less)
	for kind := range a {
		rings[kind] = [2]Picker{a[kind], b[kind]}
	}
	const keys = 1 << 14
	for kind, pair := range rings {
		needless, moved := 0, 0
		for k := range keys {
			key := fmt.Appendf(nil, "key %d", k)
			from, to := pair[0].Pick(key), pair[1].Pick(key)
			if from == gone {
				moved++
				next := second(pair[0].Walk(pair[0].Hash(key)))
				if kind != "maglev" && pair[0].Server(next) != pair[1].Server(to) {
					t.Fatalf("%s: a key of the server that left goes to %d, not to the next one", kind, to)
				}
			} else if pair[0].Server(from) != pair[1].Server(to) {
				needless++
			}
		}
		t.Logf("%s: %d of %d keys moved with their server, %d others", kind, moved, keys, needless)
		if limit := map[string]int{"maglev": keys / 50}[kind]; needless > limit || moved < keys/40 || moved > keys/10 {
			t.Errorf("%s: %d keys moved, and %d needlessly", kind, moved, needless)
		}
	}
}

func second(way iter.Seq[int]) int {
	n := 0
	for i := range way {
		if n++; n == 2 {
			return i
		}
	}
	return -1
}

// The seeds are fixed: what is measured here is the same on every machine.
func TestPicker_loadsFollowWeights(t *testing.T) {
	servers := fleet(20)
	for i := range servers {
		servers[i].Weight = 1 + i%4
	}
	for kind, p := range pickers(t, servers) {
		var loads [20]float64
		rng := rand.New(rand.NewPCG(9, 9))
		const keys = 1 << 17
		for range keys {
			loads[p.Pick(fmt.Appendf(nil, "%x", rng.Uint64()))]++
		}
		least, most := 9.0, 0.0
		for i := range loads {
			share := loads[i] / keys * 50 / float64(servers[i].Weight)
			least, most = min(least, share), max(most, share)
		}
		t.Logf("%s: %.3f to %.3f of the mean", kind, least, most)
		wide := map[string]float64{"maglev": 0.06, "ring": 0.3, "ring64": 0.3}[kind]
		if least < 1-wide || most > 1+wide {
			t.Errorf("%s: %.3f to %.3f of the mean", kind, least, most)
		}
	}
}
