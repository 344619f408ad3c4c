package observe

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

func TestTag_equalNamesHaveEqualNumbers(t *testing.T) {
	var a, b, c Tag
	first := a.Of("api")
	if b.Of("api") != first || a.Of("api") != first || c.Of("users") == first {
		t.Errorf("%d %d %d", a, b, c)
	}
	if name, ok := Tagged(first); !ok || name != "api" {
		t.Errorf("%q %v", name, ok)
	}
	for _, n := range []uint32{0, 1 << 31} {
		if name, ok := Tagged(n); ok {
			t.Errorf("%d is %q", n, name)
		}
	}
}

// A number that was returned has its name until half of what is kept was named anew, and none ever has another one's.
func TestNames_againstAModel(t *testing.T) {
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 0))
		l := &names{kept: 16}
		was, at := make(map[uint32]string), make(map[uint32]uint32) // by number: its name; last at that time
		for range 300 {
			name := fmt.Sprint(random.IntN(40))
			n := l.give(name)
			if old, known := was[n]; known && old != name {
				t.Fatalf("seed %d: %d was %q and is %q", seed, n, old, name)
			}
			if n <= l.floor.Load() {
				t.Fatalf("seed %d: %d is below the floor %d", seed, n, l.floor.Load())
			}
			was[n], at[n] = name, l.last
			l.check()
			for n, name := range was {
				text, ok := l.text(n)
				if l.last-at[n] < l.kept/2 && !ok || ok && text != name {
					t.Fatalf("seed %d: %d is %q %v, not %q", seed, n, text, ok, name)
				}
			}
			if len(l.byText) > int(l.kept) {
				t.Fatalf("seed %d: %d names are kept", seed, len(l.byText))
			}
		}
	}
}

// A tag whose number is about to be forgotten gets another one.
func TestTag_isRenewed(t *testing.T) {
	var long Tag
	first := long.Of("long")
	for i := range tagsKept/2 + 1 {
		var other Tag
		other.Of(fmt.Sprint("passing ", i))
	}
	second := long.Of("long")
	if second == first {
		t.Fatalf("%d", first)
	}
	if name, ok := Tagged(first); !ok || name != "long" {
		t.Errorf("the first number is %q %v", name, ok)
	}
	if name, _ := Tagged(second); name != "long" {
		t.Errorf("the second number is %q", name)
	}
}

func TestTag_fromManyGoroutines(t *testing.T) {
	var shared Tag
	var wait sync.WaitGroup
	numbers := make([]uint32, 8)
	for i := range numbers {
		wait.Go(func() { numbers[i] = shared.Of("shared") })
	}
	wait.Wait()
	for _, n := range numbers {
		if n != numbers[0] {
			t.Errorf("%v", numbers)
		}
	}
}
