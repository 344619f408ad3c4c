package limits

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestAllocs_none(t *testing.T) {
	q := Quota{Count: 1000, Per: time.Second, Burst: 3}
	hasher, addr, text := NewHasher(), netip.MustParseAddr("2001:db8::1"), []byte("203.0.113.195")
	localGCRA, sharedGCRA := NewLocalGCRA(q), NewSharedGCRA(q)
	lease := NewLease(sharedGCRA, 2)
	localTable, sharedTable := NewLocalGCRATable(q, 8), NewSharedGCRATable(q, 8)
	localFlight, sharedFlight := NewLocalInFlight(1), NewSharedInFlight(1)
	plain, saving := NewLocalEstimator(EstimatorOptions{}), NewLocalEstimator(EstimatorOptions{Conservative: true})
	shared := NewSharedEstimator(EstimatorOptions{})
	sharedSaving := NewSharedEstimator(EstimatorOptions{Conservative: true})
	copied := plain.Snapshot(nil)
	top, sure := NewTopK(TopKOptions[netip.Addr]{Cells: 8}), NewSpaceSaving[netip.Addr](4, nil)
	n, now := uint64(0), int64(0)
	calls := map[string]func(){
		"Hasher": func() {
			n += hasher.Bytes(text) + hasher.String("route") + hasher.Addr(addr) + hasher.Uint64(n)
			n += Comparable(hasher, addr)
		},
		"LocalGCRA":       func() { localGCRA.Take(now, 1); localGCRA.State(now) },
		"SharedGCRA":      func() { sharedGCRA.Take(now, 1); sharedGCRA.State(now); sharedGCRA.TakeUpTo(now, 2) },
		"Lease":           func() { lease.Take(now) },
		"LocalGCRATable":  func() { localTable.Take(mixed(n%100), now, 1); localTable.State(mixed(n), now) },
		"SharedGCRATable": func() { sharedTable.Take(mixed(n%100), now, 1); sharedTable.State(mixed(n), now) },
		"LocalInFlight": func() {
			if g, ok := localFlight.Enter(n%20, 5); ok && n%3 == 0 {
				g.Leave()
			}
		},
		"SharedInFlight": func() {
			if g, ok := sharedFlight.Enter(n%20, 5); ok && n%3 == 0 {
				g.Leave()
			}
		},
		"LocalEstimator": func() {
			plain.Add(n, 1)
			saving.Add(n, 1)
			plain.Estimate(n)
			plain.Sub(n, 1)
			plain.Snapshot(copied)
		},
		"SharedEstimator": func() { shared.Add(n, 1); sharedSaving.Add(n, 1); shared.Estimate(n); shared.Sub(n, 1) },
		"TopK":            func() { top.Add(mixed(n%1000), addr, 1) },
		"SpaceSaving":     func() { sure.Add(mixed(n%1000), addr, 1) },
	}
	for _, slots := range []int{2, 8} {
		for name, r := range rates(RateOptions{Window: time.Millisecond, Slots: slots}) {
			calls[name+" rate"] = func() { r.Add(mixed(n%100), now, 1); r.Count(mixed(n%100), now) }
		}
	}
	for name, call := range calls {
		if allocs := testutil.Allocs(2000, func() { n++; now += 20_000; call() }); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

func TestSizes(t *testing.T) {
	for what, size := range map[string][2]uintptr{
		"a bucket is a cache line":                        {unsafe.Sizeof([bucketCells]uint64{}), 64},
		"a shared bucket is a cache line":                 {unsafe.Sizeof(sharedBucket{}), 64},
		"a lock is alone on its line":                     {unsafe.Sizeof(stripe{}), 64},
		"a shared cell is alone on its line":              {unsafe.Sizeof(SharedGCRA{}), 64},
		"a cell is no larger than what it knows":          {unsafe.Sizeof(LocalGCRA{}), 40},
		"a guard fits two registers":                      {unsafe.Sizeof(Guard{}), 16},
		"a local guard is a pointer":                      {unsafe.Sizeof(LocalGuard{}), 8},
		"a column of a rate with two slots is a line":     {unsafe.Sizeof(pairColumn{}), 64},
		"a place of the heap: four of them are on a line": {unsafe.Sizeof(place{}), 16},
		"a counter beside the heap":                       {unsafe.Sizeof(counter{}), 24},
	} {
		if size[0] != size[1] {
			t.Errorf("%s: %d bytes, want %d", what, size[0], size[1])
		}
	}
}

// A bucket that lay across two lines would cost two misses.
func TestBuckets_areAligned(t *testing.T) {
	for _, keys := range []int{1, 8, 100, 4096, 100_000} {
		local := NewLocalGCRATable(Quota{Count: 1, Per: 1}, keys)
		shared := NewSharedInFlight(keys)
		if a := uintptr(unsafe.Pointer(&local.buckets[0])); a%64 != 0 {
			t.Errorf("%d keys: local buckets at %x", keys, a)
		}
		if a := uintptr(unsafe.Pointer(&shared.buckets[0])); a%64 != 0 {
			t.Errorf("%d keys: shared buckets at %x", keys, a)
		}
	}
}

func TestBucketCount(t *testing.T) {
	for keys, want := range map[int]int{
		-1: 1, 0: 1, 1: 1, 4: 1, 5: 2, 8: 2, 9: 4, 1000: 256, 1 << 20: 1 << 18, 1 << 62: bucketsMax,
	} {
		if got := bucketCount(keys); got != want {
			t.Errorf("%d keys: %d buckets, want %d", keys, got, want)
		}
	}
}

// The package is used alone: it brings nothing along.
func TestImports_areOfTheStandardLibrary(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	testutil.Must(t, err)
	if got := strings.Fields(string(out)); len(got) != 1 || !strings.HasSuffix(got[0], "/limits") {
		t.Errorf("not of the standard library: %v", got)
	}
}
