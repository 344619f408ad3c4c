package invariant_test

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestThat_panicsOnlyInACheckedBuild(t *testing.T) {
	defer func() {
		got := recover()
		if !invariant.On {
			if got != nil {
				t.Fatalf("panicked without the tag: %v", got)
			}
			return
		}
		if s, _ := got.(string); !strings.Contains(s, "slot 7 is dead") {
			t.Fatalf("panic = %v, want the formatted message", got)
		}
	}()
	invariant.That(false, "slot %d is %s", 7, "dead")
}

func TestThat_holds(t *testing.T) {
	invariant.That(true, "never formatted %d", 1)
}

func TestThat_allocatesNothingWhenItHolds(t *testing.T) {
	if invariant.On {
		t.Skip("a checked build may box the arguments")
	}
	slot, name := 1000, "conn"
	allocs := testutil.Allocs(100, func() {
		slot++
		invariant.That(slot > 0, "slot %d of %s", slot, name)
	})
	if allocs != 0 {
		t.Fatalf("%v allocations, want 0", allocs)
	}
}

func TestOnReactor_panicsOnAnotherGoroutine(t *testing.T) {
	var o invariant.Owner
	failed := func() (p any) {
		defer func() { p = recover() }()
		invariant.OnReactor(&o)
		return nil
	}
	elsewhere := func() any {
		c := make(chan any)
		go func() { c <- failed() }()
		return <-c
	}
	if p := elsewhere(); p != nil {
		t.Fatalf("nobody owns it: %v", p)
	}
	o.Take()
	if p := failed(); p != nil {
		t.Fatalf("on its own goroutine: %v", p)
	}
	if p := elsewhere(); (p != nil) != invariant.On {
		t.Fatalf("on another goroutine: %v", p)
	}
	o.Drop()
	if p := elsewhere(); p != nil {
		t.Fatalf("nobody owns it any more: %v", p)
	}
}

func ExampleThat() {
	refs := 1
	invariant.That(refs > 0, "released %d times too often", 1-refs)
	// Output:
}
