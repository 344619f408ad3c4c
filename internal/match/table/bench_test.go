package table

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// prefixes writes n random prefixes of one version, one a line: most of them as long as those of the lists that people
// use.
func prefixes(n int, v6 bool) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for range n {
		p := netip.PrefixFrom(randomAddr(r, v6), randomBits(r, v6)).Masked()
		b.WriteString(p.String())
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func randomAddr(r *rand.Rand, v6 bool) netip.Addr {
	var b [16]byte
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	if v6 {
		b[0] = 0x20 | b[0]&0x1f
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte(b[:4]))
}

func randomBits(r *rand.Rand, v6 bool) int {
	lengths := []int{20, 22, 24, 24, 24, 24, 32, 32, 32, 32}
	if v6 {
		lengths = []int{29, 32, 40, 44, 48, 48, 48, 64, 64, 128}
	}
	return lengths[r.IntN(len(lengths))]
}

func write(t testing.TB, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "table.txt")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

type loader interface {
	Prepare(Source) (*Update, error)
}

func load(t testing.TB, l loader, s Source) *Update {
	t.Helper()
	u, err := l.Prepare(s)
	if err != nil {
		t.Fatal(err)
	}
	u.Commit()
	return u
}

func BenchmarkList_millionPrefixes(b *testing.B) {
	for _, v := range []struct {
		name string
		v6   bool
	}{{"IPv4", false}, {"IPv6", true}} {
		text := prefixes(1_000_000, v.v6)
		l := NewList("x", Options{})
		u := load(b, l, Source{File: write(b, text)})
		b.Logf("%s: %d bytes, %v", v.name, u.Stats.Bytes, u.Stats.Took)
		const asked = 1 << 16
		var hits, misses []netip.Addr
		r := rand.New(rand.NewPCG(3, 4))
		lines := bytes.Fields(text)
		for len(hits) < asked {
			p := netip.MustParsePrefix(string(lines[r.IntN(len(lines))]))
			hits = append(hits, p.Addr())
		}
		for len(misses) < asked {
			if a := randomAddr(r, v.v6); !l.HasAddr(a) {
				misses = append(misses, a)
			}
		}
		for _, c := range []struct {
			name string
			all  []netip.Addr
			want bool
		}{{"hit", hits, true}, {"miss", misses, false}} {
			b.Run(fmt.Sprintf("%s/%s", v.name, c.name), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if l.HasAddr(c.all[i%asked]) != c.want {
						b.Fatal(c.all[i%asked])
					}
					i++
				}
			})
		}
	}
}

func BenchmarkMap_hundredThousandLines(b *testing.B) {
	const lines = 100_000
	var text bytes.Buffer
	keys, misses := make([][]byte, lines), make([][]byte, lines)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range lines {
		keys[i] = fmt.Appendf(nil, "user-%d@example.com", i)
		misses[i] = fmt.Appendf(nil, "user-%d@example.net", i)
		fmt.Fprintf(&text, "%s backend-%d\n", keys[i], r.IntN(1000))
	}
	r.Shuffle(lines, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	m := NewMap("x", Options{Keys: Texts})
	u := load(b, m, Source{File: write(b, text.Bytes())})
	b.Logf("%d bytes, %v", u.Stats.Bytes, u.Stats.Took)
	for _, c := range []struct {
		name string
		all  [][]byte
		want bool
	}{{"hit", keys, true}, {"miss", misses, false}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, ok := m.Text(c.all[i%lines]); ok != c.want {
					b.Fatalf("%s", c.all[i%lines])
				}
				i++
			}
		})
	}
}
