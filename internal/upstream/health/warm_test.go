package health_test

import (
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream/health"
	"github.com/edge-proxy/edge/poller"
)

// warm is members that answer at once, on a kernel that costs next to nothing.
type warm struct {
	loop    *sim.Loop
	reactor *engine.Reactor
	watch   *health.Watch
	socks   []poller.FD
}

func newWarm(t testing.TB, members int) *warm {
	v := &warm{loop: sim.NewLoop()}
	e, err := engine.New(engine.Options{
		Reactors: 1, Kernel: func(int) (poller.Kernel, error) { return v.loop, nil },
	})
	testutil.Must(t, err)
	v.reactor = e.Reactors()[0]
	v.loop.OnConnect = func(fd poller.FD, _ poller.Addr) { v.socks = append(v.socks, fd) }
	answer := []byte(ok)
	v.loop.Pump = func() {
		for _, fd := range v.socks {
			if s := v.loop.Sock(fd); len(s.Sent) > 0 && s.Open {
				s.Sent = s.Sent[:0]
				v.loop.Inject(fd, answer)
			}
		}
	}
	list := make([]backend.Spec, members)
	for i := range list {
		list[i].Address = addr(i + 1).String()
	}
	v.watch = health.NewMonitor(e).Watch(backend.NewSet(list...), checked())
	return v
}

// checks lets time pass until n further checks have passed.
func (v *warm) checks(n uint64) {
	for until := v.watch.Stats().Passed + n; v.watch.Stats().Passed < until; {
		v.loop.Advance(int64(5 * time.Second))
		for range 4 {
			v.reactor.Tick()
		}
	}
}

// A check over a connection that is kept allocates nothing.
func TestProbe_warmCheckDoesNotAllocate(t *testing.T) {
	v := newWarm(t, 1)
	v.checks(2)
	if n := testutil.Allocs(7, func() { v.checks(1) }); n != 0 { // the tenth check opens another connection
		t.Errorf("%v allocations", n)
	}
}

// What a check costs beside its system calls, one connection in ten of them included.
func BenchmarkProbe_check(b *testing.B) {
	v := newWarm(b, 1)
	v.checks(20)
	b.ReportAllocs()
	for b.Loop() {
		v.checks(1)
		v.socks = v.socks[max(len(v.socks)-1, 0):]
	}
}
