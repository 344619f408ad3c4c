package engine_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
)

func TestPin_eachReactorOnItsProcessor(t *testing.T) {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		t.Skip("sched_getaffinity:", err)
	}
	if err := unix.SchedSetaffinity(0, &may); err != nil { // a sandbox: reactors run unpinned there
		t.Skip("sched_setaffinity:", err)
	}
	for _, park := range []poller.Park{poller.ParkAuto, poller.ParkRuntime, poller.ParkSyscall, poller.ParkSpin} {
		e := start(t, engine.Options{Reactors: 3, Park: park, Pin: true})
		l := serve(t, e, engine.ListenOptions{}, echoes)
		used := make(map[unix.CPUSet]int)
		for _, r := range e.Reactors() {
			var has unix.CPUSet
			do(r, func() {
				if err := unix.SchedGetaffinity(0, &has); err != nil {
					t.Error(err)
				}
			})
			if has.Count() != 1 {
				t.Errorf("park %d: reactor %d may use %d processors", park, r.Index(), has.Count())
			}
			used[has]++
		}
		if want := min(3, may.Count()); len(used) != want {
			t.Errorf("park %d: three reactors on %d processors, want %d", park, len(used), want)
		}
		for range 5 {
			speakEcho(t, dialNet(t, l.Addr()), 1000)
		}
		e.Stop()
	}
	var has unix.CPUSet
	if err := unix.SchedGetaffinity(0, &has); err != nil || has != may {
		t.Errorf("others may use %d processors, %v: want %d", has.Count(), err, may.Count())
	}
}
