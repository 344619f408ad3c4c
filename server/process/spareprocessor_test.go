package process

import (
	"runtime"
	"testing"
)

func TestSpareProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range []struct {
		has, reactors int
		ownThreads    bool
		want          int
	}{
		{2, 2, false, 2}, {2, 3, false, 2}, {4, 2, false, 3}, {2, 2, true, 3}, {1, 1, true, 2}, {8, 2, true, 3},
	} {
		runtime.GOMAXPROCS(c.has)
		if spareProcessor(c.reactors, c.ownThreads); runtime.GOMAXPROCS(0) != c.want {
			t.Errorf("%+v: got %d", c, runtime.GOMAXPROCS(0))
		}
	}
}
