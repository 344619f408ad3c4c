package recent

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A record is two cache lines. Its size is in what an operator was told of the memory that the rings take.
func TestRecord_size(t *testing.T) {
	if n := unsafe.Sizeof(Record{}); n != 128 {
		t.Errorf("%d bytes", n)
	}
}

func put(k *Rings, id uint64, bad bool) {
	*k.Next() = Record{ID: id}
	k.Put(bad)
}

// ids reads a ring by pages of n.
func ids(k *Rings, bad bool, n int) (all []uint64) {
	for before := uint64(Newest); ; {
		page, next := k.AppendTo(nil, bad, before, n)
		for i := range page {
			all = append(all, page[i].ID)
		}
		if next == 0 {
			return all
		}
		before = next
	}
}

func TestRings_wrapAround(t *testing.T) {
	k := New(4, 0)
	if got := ids(k, false, 3); got != nil {
		t.Errorf("empty rings have %v", got)
	}
	for id := uint64(1); id <= 10; id++ {
		put(k, id, id%3 == 0)
	}
	for n := 1; n < 6; n++ {
		if got := fmt.Sprint(ids(k, false, n)); got != "[10 9 8 7]" {
			t.Errorf("by %d: %s", n, got)
		}
		if got := fmt.Sprint(ids(k, true, n)); got != "[9 6 3]" {
			t.Errorf("bad ones by %d: %s", n, got)
		}
	}
}

// What is written between two pages is in none of them, and what it has overwritten is left out.
func TestRings_writtenBetweenPages(t *testing.T) {
	k := New(4, 0)
	for id := uint64(1); id <= 4; id++ {
		put(k, id, false)
	}
	first, next := k.AppendTo(nil, false, Newest, 2)
	put(k, 5, false)
	second, end := k.AppendTo(nil, false, next, 2)
	if len(first) != 2 || first[0].ID != 4 || len(second) != 1 || second[0].ID != 2 || end != 0 {
		t.Errorf("%v, %v, %d", first, second, end)
	}
	for id := uint64(6); id <= 9; id++ {
		put(k, id, false)
	}
	if third, end := k.AppendTo(nil, false, next, 2); len(third) != 0 || end != 0 {
		t.Errorf("%v %d", third, end)
	}
}

// The rings are the ends of two lists, whatever their sizes become.
func TestRings_againstAModel(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 0))
		n := 1 + random.IntN(9)
		k, id := New(n, 0), uint64(0)
		var model [2][]uint64 // all, bad
		for range 200 {
			if random.IntN(20) == 0 {
				n = 1 + random.IntN(9)
				other := New(n, 0)
				other.Take(k)
				k = other
			} else {
				id++
				bad := random.IntN(3) == 0
				put(k, id, bad)
				model[0] = append([]uint64{id}, model[0]...)
				if bad {
					model[1] = append([]uint64{id}, model[1]...)
				}
			}
			for i := range model {
				k.all.check()
				k.bad.check()
				model[i] = model[i][:min(len(model[i]), n)]
				if got := ids(k, i == 1, 1+random.IntN(5)); fmt.Sprint(got) != fmt.Sprint(model[i]) {
					t.Fatalf("seed %d, ring %d of %d: %v, not %v", seed, i, n, got, model[i])
				}
			}
		}
	}
}

func TestTry(t *testing.T) {
	for _, after := range []time.Duration{0, time.Microsecond, 8 * time.Second, 9 * time.Second, time.Hour} {
		for outcome := range 256 {
			try := MakeTry(7, uint8(outcome), after)
			reason, status := outcome, 0
			if outcome >= 128 {
				reason, status = 0, outcome-128+400
			}
			if try.Backend != 7 || int(try.Reason()) != reason || try.Status() != status || try.After() != after {
				t.Fatalf("%d after %v: %d %d %v", outcome, after, try.Reason(), try.Status(), try.After())
			}
		}
	}
	if s := MakeTry(1, StatusOutcome(503), 0).Status(); s != 503 {
		t.Error(s)
	}
	if s := MakeTry(1, StatusOutcome(599), 0).Status(); s != 527 {
		t.Error(s)
	}
	if at := MakeTry(1, 0, 100*time.Hour).After(); at != (1<<23-1)*time.Millisecond {
		t.Error(at)
	}
}

func TestRecord_client(t *testing.T) {
	var r Record
	for _, text := range []string{"192.0.2.7:80", "[2001:db8::1]:443", "invalid AddrPort"} {
		at, _ := netip.ParseAddrPort(text)
		r.SetClient(at.Addr(), at.Port())
		if got := r.ClientAddr().String(); got != text {
			t.Errorf("%s became %s", text, got)
		}
	}
}

// What a cache did has three bits of the flags, and leaves the others alone.
// A time is exact to a microsecond below 73 minutes, and to a second for as long as connections last.
func TestRecord_took(t *testing.T) {
	for _, d := range []time.Duration{0, 3 * time.Second, SpanMax, SpanMax + 1, 90 * time.Minute, 1e5 * time.Hour} {
		r, within := Record{Flags: CacheFlags(1) | Secured}, 2*time.Microsecond
		if r.SetTook(int64(d)); d > SpanMax {
			within = 2 * time.Second
		}
		if got := r.Took(); got > d || got < d-within || r.Flags.Cache() != "hit" {
			t.Errorf("%v, want %v: %+v", got, d, r)
		}
	}
}

func TestFlags_cache(t *testing.T) {
	for n, want := range []string{"", "hit", "stale", "revalidated", "miss", "bypass", "", "", ""} {
		f := CacheFlags(uint8(n)) | Secured | Unstored
		if f.Cache() != want || f&(1<<10-1) != Secured|Unstored {
			t.Errorf("%d: %q in %b", n, f.Cache(), f)
		}
	}
}

func TestSpan(t *testing.T) {
	for ns, want := range map[int64]time.Duration{
		-5: 0, 1023: 0, 1024: 1024, 1 << 40: 1 << 40, SpanMax: SpanMax, 1 << 62: SpanMax,
	} {
		if got := Bounded(ns).Duration(); got != want {
			t.Errorf("%d: %d", ns, got)
		}
	}
}

// A request is slow by when its answer began, or by its end where there was none.
func TestRings_slow(t *testing.T) {
	k := New(1, time.Second)
	late, soon := Bounded(int64(time.Second)), Bounded(int64(time.Millisecond))
	for _, c := range []struct {
		r    Record
		slow bool
	}{
		{Record{FirstByte: late, End: late}, true}, {Record{FirstByte: soon, End: late}, false},
		{Record{End: late}, true}, {Record{End: soon}, false},
		{Record{End: late, Flags: CacheFlags(1)}, false}, {Record{End: late, Flags: CacheFlags(4)}, true},
	} {
		if k.Slow(&c.r) != c.slow {
			t.Errorf("%+v", c.r)
		}
	}
}

// To remember a request allocates nothing.
func TestRings_putAllocatesNothing(t *testing.T) {
	k := New(8, 0)
	if n := testutil.Allocs(1000, func() { put(k, 1, true) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// There is a number for each reason until there are too many: then one stands for all others.
func TestReasons(t *testing.T) {
	first := Reason{"backend:connect", "It refused.", "does it run?"}
	n := NumberOf(first)
	if n == 0 || NumberOf(first) != n || ReasonOf(n) != first || ReasonOf(0) != (Reason{}) {
		t.Errorf("%d %+v", n, ReasonOf(n))
	}
	var last uint8
	for i := range 300 {
		last = NumberOf(Reason{Word: fmt.Sprint(i)})
	}
	if last != 127 || ReasonOf(last).Word != "other" || NumberOf(first) != n || ReasonOf(200) != (Reason{}) {
		t.Errorf("%d %+v", last, ReasonOf(last))
	}
}
