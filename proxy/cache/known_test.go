package cache

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/cache/disk"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// An unsafe request to a URL for which nothing is stored takes no entry of the table, whose overflow ends answers.
func TestZone_changeOfUnknownURLs(t *testing.T) {
	z := newZone(t)
	const pages, posts = 50, 1_000_000
	g, page := &z.generations, func(i int) *subject {
		url := fmt.Sprint("http://a.b/page/", i)
		return subjectOf(url, url)
	}
	stamp := g.next(1)
	for i := range pages {
		g.know(page(i))
	}
	for i := range posts {
		at := place{authority: []byte("a.b"), path: fmt.Append(nil, "/nothing/", i)}
		z.change(1, []purgeName{g.name(PurgeURL, &at)})
	}
	for i := range pages {
		if g.judge(stamp, stamp, page(i)).dead {
			t.Fatalf("page %d is ended", i)
		}
	}
	z.change(1, []purgeName{g.name(PurgeURL, &page(7).at[0])})
	for i := range pages {
		if dead := g.judge(stamp, stamp, page(i)).dead; dead != (i == 7) {
			t.Errorf("page %d: ended %v", i, dead)
		}
	}
}

// Whichever process stores an answer, the others know its URL; and all URLs where an earlier process has left a disk.
func TestZone_changeInAnotherProcess(t *testing.T) {
	s := newSuccession(t, nil)
	of := subjectOf("http://a.b/", "http://a.b/")
	for _, z := range []*Zone{s.old, s.new} {
		name := uint64(z.generations.name(PurgeURL, &of.at[0]))
		if known := z.generations.urls.knows(name); known != (z == s.new) {
			t.Errorf("known before anything is stored, or not after it: %v", known)
		}
		s.old.generations.know(of)
	}
	s.hand()
	if name := uint64(s.new.generations.name(PurgeURL, &of.at[0])); !s.new.generations.urls.knows(name) {
		t.Error("unknown after the records are handed over")
	}
	folder := disk.Options{Path: t.TempDir(), Size: 64 << 20}
	for _, before := range []bool{false, true} {
		z := zoneOf(t, Options{Disk: folder})
		if err := z.OpenDisk(); err != nil {
			t.Fatal(err)
		}
		if known := z.generations.urls.knows(uint64(z.generations.name(PurgeURL, &of.at[0]))); known != before {
			t.Errorf("known %v, an earlier process has stored answers: %v", known, before)
		}
		r := record(appendList(nil, 1<<62, 1, []byte("accept")))
		r.setStamps(1, 1)
		z.disk.write([]byte("key"), r, nil)
		z.Close()
	}
}

// An unsafe request while an answer is on its way is known when that is stored, though it was to an unknown URL then.
func TestZone_changeOfAnAnswerOnItsWay(t *testing.T) {
	z := newZone(t)
	g, of := &z.generations, subjectOf("http://a.b/asked", "http://a.b/sent")
	for i := range of.at {
		stamp := g.next(1)
		if z.change(1, []purgeName{g.name(PurgeURL, &of.at[i])}); !g.changedSince(stamp, of) {
			t.Errorf("place %d: the answer is stored", i)
		}
	}
	if g.changedSince(g.next(1), of) || g.ended.Load() > 0 {
		t.Error("an answer that is asked for later is not stored, or the table has an entry")
	}
}

// A client that may change one URL does not end another, which it could if the names were XXH64: there are texts whose
// XXH64 is the same for each second seed. The difference of the first words is one bit after the first round of a lane,
// and the words 32 bytes later undo it, if it is added and not subtracted.
func TestGenerations_namesCannotBeMadeTheSame(t *testing.T) {
	const prime1, prime2 = 0x9e3779b185ebca87, 0xc2b2ae3d27d4eb4f
	second := uint64(prime2)
	inverse := second // modulo 2^64, by Newton
	for range 5 {
		inverse *= 2 - second*inverse
	}
	a, b, first := make([]byte, 64), make([]byte, 64), uint64(prime1)
	binary.LittleEndian.PutUint64(b, 1<<63)
	binary.LittleEndian.PutUint64(b[32:], -(first<<30)*inverse)
	g := newGenerations(1)
	for seed := range uint64(64) {
		if g.seed = seed; g.name(PurgeURL, &place{path: a}) == g.name(PurgeURL, &place{path: b}) {
			t.Fatalf("two URLs have one name with the seed %d", seed)
		}
	}
}

func TestGenerations_namesAllocateNothing(t *testing.T) {
	g, at := newGenerations(1), place{[]byte("a.b"), []byte("/" + strings.Repeat("x/", 15)), make([]byte, 100)}
	for k := PurgeURL; k <= PurgeHost; k++ {
		if n := testutil.Allocs(100, func() { g.name(k, &at) }); n != 0 {
			t.Errorf("%v: %v objects", k, n)
		}
	}
}
