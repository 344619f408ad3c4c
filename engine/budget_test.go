package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// reactors makes an engine of so many reactors that the test drives.
func reactors(t *testing.T, n int, memory int64) []*engine.Reactor {
	t.Helper()
	e, err := engine.New(engine.Options{
		Reactors: n, Memory: memory, Kernel: func(int) (poller.Kernel, error) { return sim.NewLoop(), nil },
	})
	testutil.Must(t, err)
	t.Cleanup(e.Stop)
	return e.Reactors()
}

func tick(r *engine.Reactor) {
	r.Post(&engine.Task{Run: func(*engine.Reactor) {}})
	r.Tick()
}

// One busy reactor may use what the others do not need, but for the quarter of an even share that each of them keeps.
func TestBudget_isLent(t *testing.T) {
	const even = 16 << 20
	all := reactors(t, 4, 4*even)
	busy, other := all[0], all[1]
	hold := func(r *engine.Reactor, n int, want engine.Pressure, when string) {
		t.Helper()
		if r.Account(n); r.Pressure() != want {
			t.Fatalf("pressure %d, want %d: %s", r.Pressure(), want, when)
		}
	}
	hold(busy, even, engine.PressureNone, "a quarter of the memory is in use")
	hold(busy, even*9/4, engine.PressureShed, "all is in use but what the others keep")
	hold(other, even/4*2/3, engine.PressureNone, "it is its own")
	hold(other, even/4/3, engine.PressureShed, "nothing is left to be lent")
	busy.Account(-even * 13 / 4)
	tick(busy)
	hold(other, 0, engine.PressureNone, "the first one has given back")
	hold(other, even, engine.PressureNone, "the second one borrows")
	other.Account(-even - even/4*2/3 - even/4/3)
	tick(other)
	for _, r := range all { // all of it came back: each may have as much as the first one had
		r.Account(even)
		if p := r.Pressure(); p != engine.PressureNone {
			t.Fatalf("pressure %d", p)
		}
		r.Account(-even)
		tick(r)
	}
}

// Load that is spread badly over many reactors does not pause accepting while memory is left.
func TestBudget_unevenLoad(t *testing.T) {
	const slow, queue = 384, 320 << 10
	all := reactors(t, 64, 205<<20)
	for i := range slow { // a third of the reactors have twice as many as the others
		all[i%48%32].Account(queue)
	}
	for i, r := range all {
		if p := r.Pressure(); p >= engine.PressureAccept {
			t.Fatalf("reactor %d: pressure %d with %d MiB of 205 in use", i, p, slow*queue>>20)
		}
	}
}

func TestBudget_reactorsByMemory(t *testing.T) {
	e, err := engine.New(engine.Options{
		Memory: 1 << 20, Kernel: func(int) (poller.Kernel, error) { return sim.NewLoop(), nil },
	})
	testutil.Must(t, err)
	t.Cleanup(e.Stop)
	if n := len(e.Reactors()); n != 1 {
		t.Fatalf("%d reactors for 1 MiB", n)
	}
}

// Free buffers count as used, and are given back under pressure: by half each second from 75 %, at once from 80 %.
func TestBudget_freeBuffersAreGivenBack(t *testing.T) {
	g := newRig(t, engine.Options{Memory: 64 << 20, SendMax: 32 << 20})
	s := &script{}
	c, _ := g.open(s)
	g.loop.SendMax = 1
	g.on(func() { c.Write(make([]byte, 3<<20)) })
	g.loop.SendMax = 0
	g.on(func() { c.Close(errTest) })
	kept := func() int64 { g.ticks(1); return g.reactor.Stats().BufKept }
	first := kept()
	if first < 2<<20 {
		t.Fatalf("%d bytes are kept", first)
	}
	g.on(func() { g.reactor.Account(48 << 20) }) // 75 % of 64
	second := kept()
	if second > first/2+128<<10 || second < first/4 {
		t.Fatalf("%d bytes are kept, half of %d expected", second, first)
	}
	if n := kept(); n != second {
		t.Fatalf("%d bytes are kept within the same second, %d before", n, second)
	}
	g.pass(time.Second)
	if n := kept(); n >= second {
		t.Fatalf("%d bytes are kept after a second, %d before", n, second)
	}
	g.on(func() { g.reactor.Account(4 << 20) }) // above 80 %
	if n := kept(); n != 0 {
		t.Fatalf("%d bytes are kept", n)
	}
	if g.reactor.Account(1); g.reactor.Keep(1) {
		t.Fatal("more may be kept")
	}
	g.on(func() { g.reactor.Account(-52 << 20) })
	if g.reactor.Account(1); !g.reactor.Keep(1) || kept() != 1 || g.reactor.Stats().BufBytes != 0 {
		t.Fatal("nothing may be kept after the pressure is gone")
	}
	if g.reactor.Keep(-1); kept() != 0 || g.reactor.Stats().BufBytes != 1 {
		t.Fatal("what was kept is not held again")
	}
	g.reactor.Account(-1)
}

// A handler that accounts back more than it took fails a checked build. A plain one goes on as if it had accounted
// back what it took: with a sum below 0 the reactor would give back memory that it does not have, for ever.
func TestBudget_accountedBackTwice(t *testing.T) {
	r := reactors(t, 2, 64<<20)[0]
	var failed any
	r.Post(&engine.Task{Run: func(*engine.Reactor) {
		defer func() { failed = recover() }()
		r.Account(4 << 10)
		r.Account(-4 << 10)
		r.Account(-4 << 10)
	}})
	tick(r)
	if invariant.On {
		if text, _ := failed.(string); !strings.Contains(text, "accounted back 4096 bytes more") {
			t.Fatalf("failed with %v", failed)
		}
	} else if failed != nil {
		t.Fatal(failed)
	}
	if s := r.Stats(); s.BufBytes != 0 {
		t.Fatalf("%d bytes are in use", s.BufBytes)
	}
}
