package tally_test

import (
	"testing"

	"github.com/edge-proxy/edge/internal/base/tally"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

type inner struct{ A, B uint64 }

type stats struct {
	Count   uint64
	ByClass [2]uint64
	Open    int
	Slowest int64 `tally:"max"`
	Inner   inner
}

func TestAdd(t *testing.T) {
	sum := stats{Count: 1, ByClass: [2]uint64{1, 2}, Open: 3, Slowest: 7, Inner: inner{A: 1}}
	tally.Add(&sum, &stats{Count: 10, ByClass: [2]uint64{10, 20}, Open: -1, Slowest: 5, Inner: inner{B: 10}})
	want := stats{Count: 11, ByClass: [2]uint64{11, 22}, Open: 2, Slowest: 7, Inner: inner{A: 1, B: 10}}
	if sum != want {
		t.Errorf("%+v, want %+v", sum, want)
	}
	tally.Add(&sum, &stats{Slowest: 9})
	if sum.Slowest != 9 {
		t.Errorf("%d, want the larger one", sum.Slowest)
	}
}

func TestAdd_allocatesNothingForCounters(t *testing.T) {
	var sum, more struct {
		inner
		Each [3]inner
	}
	more.A = 1
	if n := testutil.Allocs(10, func() { tally.Add(&sum.inner, &more.inner) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if sum.A == 0 {
		t.Error("nothing added")
	}
}

func TestAdd_refusesWhatIsNoNumber(t *testing.T) {
	var s struct{ Name string }
	testutil.Panics(t, "a text", func() { tally.Add(&s, &s) })
}

func TestAddCounters_leavesGaugesOut(t *testing.T) {
	s := stats{Count: 1, ByClass: [2]uint64{1, 2}, Open: 3, Slowest: 7, Inner: inner{A: 1}}
	var sum stats
	tally.AddCounters(&sum, &s)
	if want := (stats{Count: 1, ByClass: [2]uint64{1, 2}, Inner: inner{A: 1}}); sum != want {
		t.Errorf("%+v, want %+v", sum, want)
	}
}

func TestSubCounters(t *testing.T) {
	sum := stats{Count: 11, ByClass: [2]uint64{11, 22}, Open: 2, Slowest: 7, Inner: inner{A: 1, B: 10}}
	tally.SubCounters(&sum, &stats{Count: 10, ByClass: [2]uint64{10, 20}, Open: 5, Slowest: 9, Inner: inner{B: 10}})
	if want := (stats{Count: 1, ByClass: [2]uint64{1, 2}, Open: 2, Slowest: 7, Inner: inner{A: 1}}); sum != want {
		t.Errorf("%+v, want %+v", sum, want)
	}
}
