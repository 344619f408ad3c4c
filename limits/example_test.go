package limits_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/limits"
)

// A limit for each client, as a server asks it for each request.
func Example() {
	hasher := limits.NewHasher()
	perClient := limits.NewSharedGCRATable(limits.Quota{Count: 10, Per: time.Second, Burst: 3}, 100_000)

	start := time.Now() // the clock is the caller's
	client := hasher.Addr(netip.MustParseAddr("203.0.113.195"))
	for range 4 {
		now := int64(time.Since(start).Truncate(time.Second))
		ok, wait := perClient.Take(client, now, 1)
		fmt.Println(ok, wait)
	}
	// Output:
	// true 0s
	// true 0s
	// true 0s
	// false 100.000768ms
}

// The fields of an answer: Retry-After, and those of the draft on RateLimit fields for HTTP.
func Example_fields() {
	quota := limits.Quota{Count: 60, Per: time.Minute, Burst: 2}
	table, client := limits.NewLocalGCRATable(quota, 1000), limits.NewHasher().String("customer 7")

	answer := func(now int64) {
		h, status := http.Header{}, http.StatusOK
		if ok, wait := table.Take(client, now, 1); !ok {
			status = http.StatusTooManyRequests
			h.Set("Retry-After", strconv.FormatInt(limits.Seconds(wait), 10))
		}
		s := table.State(client, now)
		h.Set("RateLimit-Policy", `"customer";q=2;w=2`)
		h.Set("RateLimit", fmt.Sprintf(`"customer";r=%d;t=%d`, s.Remaining, limits.Seconds(s.Reset)))
		fmt.Println(status, h["Ratelimit"], h["Retry-After"])
	}
	answer(0)
	answer(0)
	answer(0)
	answer(int64(1001 * time.Millisecond))
	// Output:
	// 200 ["customer";r=1;t=1] []
	// 200 ["customer";r=0;t=2] []
	// 429 ["customer";r=0;t=2] [1]
	// 200 ["customer";r=0;t=2] []
}

// What the event loops count on their own is put together on one of them.
func Example_merge() {
	hasher := limits.NewHasher() // one for all
	loops := []*limits.TopK[string]{
		limits.NewTopK(limits.TopKOptions[string]{Keys: 2}), limits.NewTopK(limits.TopKOptions[string]{Keys: 2}),
	}
	for i, path := range strings.Fields("/a /b /a /a /c /b /a /b") {
		loops[i%2].Add(hasher.String(path), path, 1)
	}
	copies := make(chan *limits.TopK[string], len(loops))
	for _, l := range loops {
		copies <- l.Snapshot(nil) // on the loop that owns l
	}
	all := limits.NewTopK(limits.TopKOptions[string]{Keys: 2})
	for range loops {
		all.Merge(<-copies)
	}
	fmt.Println(all.Top(nil))
	// Output: [{/a 4 0} {/b 3 0}]
}

func ExampleNewHasher() {
	a, b := limits.NewHasher(), limits.NewHasher()
	fmt.Println(a.String("key") == b.String("key")) // their seeds differ
	// Output: false
}

func ExampleHasher_String() {
	h := limits.NewHasher()
	copied := h
	fmt.Println(h.String("key") == copied.String("key"))
	// Output: true
}

func ExampleHasher_Bytes() {
	h := limits.NewHasher()
	fmt.Println(h.Bytes([]byte("key")) == h.String("key"))
	// Output: true
}

func ExampleHasher_Addr() {
	h := limits.NewHasher()
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	fmt.Println(h.Addr(a) == h.Addr(b)) // a client has a network of 64 bits for itself
	// Output: true
}

// A limit by network and route.
func ExampleComparable() {
	type key struct {
		network netip.Prefix
		route   int
	}
	h := limits.NewHasher()
	network, _ := netip.MustParseAddr("2001:db8:1::1").Prefix(48)
	fmt.Println(limits.Comparable(h, key{network, 1}) == limits.Comparable(h, key{network, 2}))
	// Output: false
}

func ExampleQuota_Validate() {
	fmt.Println(limits.Quota{Count: 100, Per: time.Minute}.Validate())
	fmt.Println(limits.Quota{Count: 100}.Validate())
	// Output:
	// <nil>
	// limits: quota: period 0s is not positive
}

func ExampleSeconds() {
	fmt.Println(limits.Seconds(1200*time.Millisecond), limits.Seconds(0))
	// Output: 2 0
}

func ExampleLocalGCRA_Take() {
	g := limits.NewLocalGCRA(limits.Quota{Count: 10, Per: time.Second, Burst: 5})
	fmt.Println(g.Take(0, 4))
	fmt.Println(g.Take(0, 4))
	fmt.Println(g.Take(int64(300*time.Millisecond), 4))
	// Output:
	// true 0s
	// false 300ms
	// true 0s
}

func ExampleLocalGCRA_State() {
	g := limits.NewLocalGCRA(limits.Quota{Count: 10, Per: time.Second, Burst: 5})
	g.Take(0, 3)
	s := g.State(0)
	fmt.Println(s.Remaining, s.Reset)
	// Output: 2 300ms
}

func ExampleNewSharedGCRA() {
	g := limits.NewSharedGCRA(limits.Quota{Count: 1, Per: time.Hour, Burst: 2})
	admitted := make(chan bool)
	for range 3 {
		go func() {
			ok, _ := g.Take(0, 1)
			admitted <- ok
		}()
	}
	n := 0
	for range 3 {
		if <-admitted {
			n++
		}
	}
	fmt.Println(n)
	// Output: 2
}

func ExampleSharedGCRA_TakeUpTo() {
	g := limits.NewSharedGCRA(limits.Quota{Count: 10, Per: time.Second, Burst: 5})
	fmt.Println(g.TakeUpTo(0, 3))
	fmt.Println(g.TakeUpTo(0, 3))
	fmt.Println(g.TakeUpTo(0, 3))
	// Output:
	// 3 0s
	// 2 0s
	// 0 100ms
}

// Each goroutine has a lease of its own.
func ExampleNewLease() {
	g := limits.NewSharedGCRA(limits.Quota{Count: 100_000, Per: time.Second, Burst: 1000})
	const goroutines = 4
	l := limits.NewLease(g, 1000/(4*goroutines))
	l.Take(0)
	fmt.Println(l.Held(), g.State(0).Remaining)
	// Output: 61 938
}

func ExampleLease_Take() {
	g := limits.NewSharedGCRA(limits.Quota{Count: 10, Per: time.Second, Burst: 2})
	l := limits.NewLease(g, 2)
	for range 3 {
		fmt.Println(l.Take(0))
	}
	// Output:
	// true 0s
	// true 0s
	// false 100ms
}

func ExampleLease_Held() {
	l := limits.NewLease(limits.NewSharedGCRA(limits.Quota{Count: 10, Per: time.Second}), 5)
	fmt.Println(l.Held())
	l.Take(0)
	fmt.Println(l.Held())
	// Output:
	// 0
	// 4
}

func ExampleNewLocalGCRATable() {
	// Room for the clients that have less than their whole burst at a time: 16 to 32 bytes for each.
	t := limits.NewLocalGCRATable(limits.Quota{Count: 10, Per: time.Second, Burst: 20}, 50_000)
	fmt.Println(t.Live(0))
	// Output: 0
}

func ExampleLocalGCRATable_Take() {
	h := limits.NewHasher()
	t := limits.NewLocalGCRATable(limits.Quota{Count: 10, Per: time.Second, Burst: 1}, 1000)
	fmt.Println(t.Take(h.String("a"), 0, 1))
	fmt.Println(t.Take(h.String("a"), 0, 1))
	fmt.Println(t.Take(h.String("b"), 0, 1))
	// Output:
	// true 0s
	// false 100.000768ms
	// true 0s
}

func ExampleLocalGCRATable_State() {
	h := limits.NewHasher()
	t := limits.NewLocalGCRATable(limits.Quota{Count: 1, Per: time.Minute, Burst: 5}, 1000)
	t.Take(h.String("a"), 0, 3)
	fmt.Println(t.State(h.String("a"), 0).Remaining, t.State(h.String("b"), 0).Remaining)
	// Output: 2 5
}

func ExampleLocalGCRATable_Live() {
	h := limits.NewHasher()
	t := limits.NewLocalGCRATable(limits.Quota{Count: 10, Per: time.Second}, 1000)
	t.Take(h.String("a"), 0, 1)
	fmt.Println(t.Live(0), t.Live(int64(time.Second)))
	// Output: 1 0
}

// A table that is far too small tells.
func ExampleLocalGCRATable_Takeovers() {
	h := limits.NewHasher()
	t := limits.NewLocalGCRATable(limits.Quota{Count: 10, Per: time.Second}, 1)
	for client := range uint64(20) {
		t.Take(h.Uint64(client), 0, 1)
	}
	fmt.Println(t.Takeovers())
	// Output: 12
}

func ExampleLocalInFlight_Enter() {
	h := limits.NewHasher()
	t := limits.NewLocalInFlight(1000)
	first, ok := t.Enter(h.String("client"), 1)
	fmt.Println(ok)
	_, ok = t.Enter(h.String("client"), 1)
	fmt.Println(ok)
	first.Leave()
	_, ok = t.Enter(h.String("client"), 1)
	fmt.Println(ok)
	// Output:
	// true
	// false
	// true
}

// A table that is far too small tells.
func ExampleLocalInFlight_Overflows() {
	h := limits.NewHasher()
	t := limits.NewLocalInFlight(1)
	for client := range uint64(20) {
		t.Enter(h.Uint64(client), 100)
	}
	fmt.Println(t.Overflows())
	// Output: 12
}

func ExampleLocalGuard_Leave() {
	t := limits.NewLocalInFlight(1000)
	g, ok := t.Enter(1, 10)
	if ok {
		defer g.Leave()
	}
	fmt.Println(t.Count(1))
	// Output: 1
}

func ExampleNewLocalEstimator() {
	// Wrong by more than a thousandth of all events for fewer than 2 keys in a hundred.
	e := limits.NewLocalEstimator(limits.EstimatorOptions{Width: limits.WidthFor(0.001), Conservative: true})
	fmt.Println(e.Add(1, 5))
	// Output: 5
}

func ExampleLocalEstimator_Sub() {
	h, e := limits.NewHasher(), limits.NewLocalEstimator(limits.EstimatorOptions{})
	e.Add(h.String("a"), 3)
	e.Sub(h.String("a"), 1)
	fmt.Println(e.Estimate(h.String("a")))
	// Output: 2
}

func ExampleLocalEstimator_Estimate() {
	h, e := limits.NewHasher(), limits.NewLocalEstimator(limits.EstimatorOptions{})
	e.Add(h.String("a"), 3)
	fmt.Println(e.Estimate(h.String("a")), e.Estimate(h.String("b")))
	// Output: 3 0
}

func ExampleLocalEstimator_Reset() {
	e := limits.NewLocalEstimator(limits.EstimatorOptions{})
	e.Add(1, 3)
	e.Reset()
	fmt.Println(e.Estimate(1))
	// Output: 0
}

func ExampleNewLocalRate() {
	// Events of the last 10 s, wrong by those of a seventh of it at most.
	r := limits.NewLocalRate(limits.RateOptions{Window: 10 * time.Second, Slots: 8})
	fmt.Println(r.Count(1, 0))
	// Output: 0
}

func ExampleLocalRate_Add() {
	h, r := limits.NewHasher(), limits.NewLocalRate(limits.RateOptions{Window: time.Second})
	r.Add(h.String("a"), 0, 1)
	fmt.Println(r.Add(h.String("a"), int64(500*time.Millisecond), 2))
	// Output: 3
}

func ExampleLocalRate_Count() {
	h, r := limits.NewHasher(), limits.NewLocalRate(limits.RateOptions{Window: time.Second})
	r.Add(h.String("a"), 0, 100)
	for _, now := range []time.Duration{0, 1250 * time.Millisecond, 2 * time.Second} {
		fmt.Println(r.Count(h.String("a"), int64(now)))
	}
	// Output:
	// 100
	// 75
	// 0
}

func ExampleWidthFor() {
	fmt.Println(limits.WidthFor(0.001))
	// Output: 4096
}

func ExampleLocalEstimator_Error() {
	e := limits.NewLocalEstimator(limits.EstimatorOptions{Width: 1024})
	e.Add(1, 100_000)
	fmt.Println(e.Error())
	// Output: 266
}

func ExampleLocalEstimator_Events() {
	e := limits.NewLocalEstimator(limits.EstimatorOptions{})
	e.Add(1, 2)
	e.Add(2, 3)
	fmt.Println(e.Events())
	// Output: 5
}

func ExampleLocalEstimator_Snapshot() {
	e := limits.NewLocalEstimator(limits.EstimatorOptions{})
	e.Add(1, 2)
	copied := e.Snapshot(nil) // given to another goroutine
	e.Add(1, 2)
	fmt.Println(copied.Estimate(1), e.Estimate(1))
	// Output: 2 4
}

func ExampleLocalEstimator_Merge() {
	a, b := limits.NewLocalEstimator(limits.EstimatorOptions{}), limits.NewLocalEstimator(limits.EstimatorOptions{})
	a.Add(1, 2)
	b.Add(1, 3)
	a.Merge(b)
	fmt.Println(a.Estimate(1))
	// Output: 5
}

// Paths lie in a buffer that is used again: those that come often enough are copied.
func ExampleNewTopK() {
	h := limits.NewHasher()
	paths := limits.NewTopK(limits.TopKOptions[string]{Keys: 10, KeepFrom: 2, Clone: strings.Clone})
	for _, p := range []string{"/a", "/a", "/b"} {
		paths.Add(h.String(p), p, 1)
	}
	fmt.Println(paths.Top(nil))
	// Output: [{/a 2 0}]
}

func ExampleTopK_Add() {
	h, clients := limits.NewHasher(), limits.NewTopK(limits.TopKOptions[netip.Addr]{})
	a := netip.MustParseAddr("203.0.113.195")
	clients.Add(h.Addr(a), a, 1)
	clients.Add(h.Addr(a), a, 1)
	fmt.Println(clients.Top(nil))
	// Output: [{203.0.113.195 2 0}]
}

func ExampleTopK_Top() {
	t := limits.NewTopK(limits.TopKOptions[string]{Keys: 2})
	t.Add(1, "a", 10)
	t.Add(2, "b", 30)
	t.Add(3, "c", 20)
	for _, item := range t.Top(nil) {
		fmt.Println(item.Key, item.Count)
	}
	// Output:
	// b 30
	// c 20
}

func ExampleTopK_Halve() {
	t := limits.NewTopK(limits.TopKOptions[string]{})
	t.Add(1, "a", 10)
	t.Halve()
	fmt.Println(t.Top(nil))
	// Output: [{a 5 0}]
}

func ExampleTopK_Reset() {
	t := limits.NewTopK(limits.TopKOptions[string]{})
	t.Add(1, "a", 10)
	t.Reset()
	fmt.Println(t.Top(nil))
	// Output: []
}

func ExampleNewSpaceSaving() {
	s := limits.NewSpaceSaving(1000, strings.Clone) // each key with more than 1/1000 of the events is listed
	s.Add(1, "a", 1)
	fmt.Println(s.Top(nil, 10))
	// Output: [{a 1 0}]
}

func ExampleSpaceSaving_Add() {
	s := limits.NewSpaceSaving[string](2, nil)
	for _, name := range []string{"a", "b", "b", "b", "c"} {
		s.Add(uint64(name[0]), name, 1)
	}
	fmt.Println(s.Top(nil, 2)) // c took over the counter of a, which had 1
	// Output: [{b 3 0} {c 2 1}]
}

func ExampleSpaceSaving_Top() {
	s := limits.NewSpaceSaving[string](1, nil)
	s.Add(1, "a", 1)
	s.Add(2, "b", 5)
	item := s.Top(nil, 1)[0]
	fmt.Printf("%s: between %d and %d\n", item.Key, item.Count-item.Over, item.Count)
	// Output: b: between 5 and 6
}

func ExampleSpaceSaving_Least() {
	s := limits.NewSpaceSaving[string](1, nil)
	s.Add(1, "a", 5)
	fmt.Println(s.Least()) // no other key can have had more
	// Output: 5
}

func ExampleSpaceSaving_Merge() {
	a, b := limits.NewSpaceSaving[string](2, nil), limits.NewSpaceSaving[string](2, nil)
	a.Add(1, "a", 2)
	b.Add(1, "a", 3)
	b.Add(2, "b", 1)
	a.Merge(b)
	fmt.Println(a.Top(nil, 2))
	// Output: [{a 5 0} {b 1 0}]
}
