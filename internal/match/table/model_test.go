package table

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/edge-proxy/edge/internal/base/yield"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// pair is an entry of the model, which goes through all of them for each question.
type pair struct {
	prefix netip.Prefix
	value  string
}

type model []pair

// longest is the value of the longest prefix that has an address.
func (m model) longest(a netip.Addr) (value string, ok bool) {
	a, best := a.Unmap(), -1
	for _, p := range m {
		if p.prefix.Contains(a) && p.prefix.Bits() > best {
			value, best = p.value, p.prefix.Bits()
		}
	}
	return value, best >= 0
}

// edges are the addresses at which an answer can change: first and last of a prefix, and their neighbours.
func edges(p netip.Prefix) []netip.Addr {
	first := p.Addr()
	b := first.AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	all := []netip.Addr{first, last}
	for _, a := range []netip.Addr{first.Prev(), last.Next()} {
		if a.IsValid() {
			all = append(all, a)
		}
	}
	return all
}

// compare asks a list and a map that have the prefixes of the model.
func (m model) compare(t *testing.T, l *List, of *Map, a netip.Addr) {
	t.Helper()
	want, ok := m.longest(a)
	if got := l.HasAddr(a); got != ok {
		t.Fatalf("list: %v is %v, want %v, in %v", a, got, ok, m)
	}
	if got, is := of.Addr(a); is != ok || string(got) != want {
		t.Fatalf("map: %v leads to %q, %v, want %q, %v, in %v", a, got, is, want, ok, m)
	}
}

// tables builds a list and a map of the model, and walks through their indexes.
func (m model) tables(t *testing.T) (*List, *Map) {
	t.Helper()
	var s Source
	for _, p := range m {
		s.Inline = append(s.Inline, Entry{Key: p.prefix.String(), Value: p.value})
	}
	l, of := NewList("x", Options{}), NewMap("x", Options{})
	load(t, l, s)
	load(t, of, s)
	for _, g := range []*generation{l.current.Load(), of.current.Load()} {
		checkRanges(t, g.v4)
		checkRanges(t, g.v6)
	}
	return l, of
}

// checkRanges walks through the bounds of ranges: they ascend, each has its own rank, and the place before it the one
// below.
func checkRanges(t *testing.T, r *ranges) {
	t.Helper()
	for i := range int(r.count) {
		p := r.bound(i)
		if got := r.rank(p); got != uint32(i+1) {
			t.Fatalf("the rank of bound %d is %d", i, got)
		}
		if p.lo--; p.lo == 1<<64-1 {
			p.hi--
		}
		if got := r.rank(p); p.less(r.bound(i)) && got != uint32(i) {
			t.Fatalf("before bound %d the rank is %d", i, got)
		}
		if i > 0 && !r.bound(i-1).less(r.bound(i)) {
			t.Fatalf("bounds %d and %d do not ascend", i-1, i)
		}
	}
}

// randomModel has prefixes of both versions, many of which have others, or are alone in a large space.
func randomModel(r *rand.Rand, n int) model {
	m, seen := model{}, map[netip.Prefix]bool{}
	spread := 1 + r.IntN(8)
	for range n {
		v6 := r.IntN(2) == 0
		b := randomAddr(r, v6).AsSlice()
		for i := range b {
			if r.IntN(8) >= spread {
				b[i] = byte(r.IntN(2) * 255)
			}
		}
		a, _ := netip.AddrFromSlice(b)
		p := netip.PrefixFrom(a, r.IntN(a.BitLen()+1)).Masked()
		if r.IntN(4) == 0 {
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if len(m) > 0 && r.IntN(4) == 0 { // within another one
			of := m[r.IntN(len(m))].prefix
			p, _ = of.Addr().Prefix(of.Bits() + r.IntN(of.Addr().BitLen()-of.Bits()+1))
		}
		if !seen[p] {
			seen[p] = true
			m = append(m, pair{p, fmt.Sprint("v", r.IntN(5))})
		}
	}
	return m
}

func TestTables_answerAsALinearSearch(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for round := range testutil.Rounds(200) {
		m := randomModel(r, 1<<(round%9))
		l, of := m.tables(t)
		for _, p := range m {
			for _, a := range edges(p.prefix) {
				m.compare(t, l, of, a)
			}
		}
		for i := range 50 {
			m.compare(t, l, of, randomAddr(r, i%2 == 0))
		}
		m.compare(t, l, of, netip.MustParseAddr("::ffff:10.0.0.1"))
	}
}

// All that is divided again and again: addresses each of which is twice as far away, in both halves.
func TestTables_unevenSpread(t *testing.T) {
	var m model
	for bit := range 128 {
		var b [16]byte
		b[15-bit/8] = 1 << (bit % 8)
		for low := range 4 {
			b[15] |= byte(low)
			p := netip.PrefixFrom(netip.AddrFrom16(b), 128)
			if len(m) == 0 || m[len(m)-1].prefix != p {
				m = append(m, pair{p, fmt.Sprint(bit, low)})
			}
		}
	}
	seen := map[netip.Prefix]bool{}
	unique := m[:0]
	for _, p := range m {
		if !seen[p.prefix] {
			unique = append(unique, p)
		}
		seen[p.prefix] = true
	}
	l, of := unique.tables(t)
	for _, p := range unique {
		for _, a := range edges(p.prefix) {
			unique.compare(t, l, of, a)
		}
	}
}

func TestTables_textsAreThoseOfAGoMap(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	text := func() string {
		return strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(9)) + fmt.Sprint(r.IntN(3000))
	}
	want := map[string]string{"": "of the empty key", "with an empty value": ""}
	for range 3000 {
		want[text()] = strings.Repeat(text(), r.IntN(30))
	}
	var s Source
	for k, v := range want {
		s.Inline = append(s.Inline, Entry{k, v})
	}
	l, m := NewList("x", Options{Keys: Texts}), NewMap("x", Options{Keys: Texts})
	load(t, l, s)
	load(t, m, s)
	for k, v := range want {
		if got, ok := m.Text([]byte(k)); !ok || string(got) != v || !l.HasText([]byte(k)) {
			t.Fatalf("%q leads to %q, %v, want %q", k, got, ok, v)
		}
	}
	for range 3000 {
		k := text()
		v, want := want[k]
		if got, ok := m.Text([]byte(k)); ok != want || string(got) != v || l.HasText([]byte(k)) != want {
			t.Fatalf("%q leads to %q, %v, want %q, %v", k, got, ok, v, want)
		}
	}
	if _, ok := m.Text(make([]byte, 1<<20)); ok {
		t.Error("a key is there that is longer than all")
	}
}

// FuzzTables makes prefixes of its input, 18 bytes each.
func FuzzTables(f *testing.F) {
	f.Add([]byte("4\x18abcd0123456789ab6\x20abcd0123456789ab"))
	f.Add([]byte(strings.Repeat("6\x80\x20\x01\x0d\xb8............", 3)))
	f.Fuzz(func(t *testing.T, in []byte) {
		var m model
		seen := map[netip.Prefix]bool{}
		for ; len(in) >= 18 && len(m) < 200; in = in[18:] {
			a := netip.AddrFrom16([16]byte(in[2:]))
			if in[0] == '4' {
				a = netip.AddrFrom4([4]byte(in[2:]))
			}
			p := netip.PrefixFrom(a.Unmap(), int(in[1])%(a.Unmap().BitLen()+1)).Masked()
			if !seen[p] {
				m = append(m, pair{p, fmt.Sprint(binary.LittleEndian.Uint16(in[16:]))})
			}
			seen[p] = true
		}
		l, of := m.tables(t)
		for _, p := range m {
			for _, a := range edges(p.prefix) {
				m.compare(t, l, of, a)
			}
		}
	})
}

// TestLines_rank: lines have the rank that a search has, of bounds that are crowded at a place too.
func TestLines_rank(t *testing.T) {
	if size := unsafe.Sizeof(line{}); size != 64 {
		t.Errorf("a line has %d bytes, that of a cache 64", size)
	}
	r := rand.New(rand.NewPCG(7, 8))
	for _, c := range []struct {
		name     string
		n, space int // bounds at random among so many places
		crowd    int // bounds beside each other
		lines    bool
	}{
		{"even", 20_000, 1 << 26, 0, true},
		{"dense", 20_000, 40_000, 0, true},
		{"at the end", 20_000, 1 << 32, 0, false},
		{"crowded at a place", 20_000, 1 << 26, 200, true},
		{"crowded", 2000, 1 << 24, 4000, false},
		{"a line of 2^16", 700_000, 1 << 32, 60_000, true},
	} {
		bounds := make([]uint32, 0, c.n)
		for range c.n {
			bounds = append(bounds, math.MaxUint32-uint32(r.Int64N(int64(c.space))))
		}
		for i := range c.crowd {
			bounds = append(bounds, math.MaxUint32-uint32(c.space/2)+uint32(i))
		}
		slices.Sort(bounds)
		bounds = slices.Compact(bounds)
		ranges := &ranges{upper32: bounds, index: index{count: uint32(len(bounds))}}
		if ok, err := ranges.buildLines(&memory{}, &yield.Pace{}); ok != c.lines || err != nil {
			t.Fatalf("%s: %v, %v", c.name, ok, err)
		} else if !ok {
			continue
		}
		asked := []uint32{0, 1, math.MaxUint32 - 1, math.MaxUint32}
		for i := 0; i < len(bounds); i += 1 + len(bounds)/25_000 {
			asked = append(asked, bounds[i]-1, bounds[i], bounds[i]+1)
		}
		for _, v := range asked {
			want, found := slices.BinarySearch(bounds, v)
			if found {
				want++
			}
			if got := ranges.rank(place{hi: uint64(v) << 32}); got != uint32(want) {
				t.Fatalf("%s: the rank of %#x is %d, want %d", c.name, v, got, want)
			}
		}
	}
}
