package proxy_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/poller"
)

// counting is a kernel that knows how many connections are open to the backends, and that no more are than may be.
type counting struct {
	poller.Kernel
	of *census
}

// census is what the counting kernels of a simulation share.
type census struct {
	t     testing.TB
	limit int
	open  map[poller.FD]bool
}

func (k counting) Connect(a poller.Addr, o *poller.ConnectOptions) (poller.FD, syscall.Errno) {
	fd, e := k.Kernel.Connect(a, o)
	if fd != poller.NoFD {
		k.of.open[fd] = true
		if k.of.limit > 0 && len(k.of.open) > k.of.limit {
			k.of.t.Errorf("%d connections to the backends, at most %d are allowed", len(k.of.open), k.of.limit)
		}
	}
	return fd, e
}

func (k counting) Close(fd poller.FD) {
	k.Kernel.Close(fd)
	delete(k.of.open, fd)
}

// takeOver is a simulation of several reactors whose connections to the backends are few, move and grow old.
type takeOver struct {
	*simulation
	census  *census
	options upstream.Options
}

func newTakeOver(t testing.TB, w *sim.World, wrapped func(poller.Kernel) poller.Kernel) *takeOver {
	rng := w.Rand()
	seen := &census{t: t, open: map[poller.FD]bool{}}
	v := &takeOver{census: seen}
	v.simulation = newTunedSimulation(t, w, 2+rng.IntN(2), tuning{
		upstream: func(o *upstream.Options) {
			fewer(o, 1+rng.IntN(3))
			o.PerBackend = rng.IntN(4) // fewer than reactors
			o.Idle = []int{0, 0, 1, 3, 8}[rng.IntN(5)]
			o.QueueTimeout = time.Hour
			o.Queue = 1000
			o.IdleTimeout = []time.Duration{0, 0, time.Millisecond, 10 * time.Millisecond}[rng.IntN(4)]
			o.Lifetime = []time.Duration{0, 0, 5 * time.Millisecond}[rng.IntN(3)]
			o.Requests = []int{0, 0, 1, 3}[rng.IntN(4)]
			seen.limit = o.PerBackend * o.Backends.Len()
			v.options = *o
		},
		kernel: func(k poller.Kernel) poller.Kernel {
			if wrapped != nil {
				k = wrapped(k)
			}
			return counting{k, seen}
		},
	})
	return v
}

// sum adds up the counters of the upstream.
func (v *takeOver) sum() (all upstream.Stats) {
	for _, r := range v.engine.Reactors() {
		st := v.upstream.Stats(r)
		all.Add(&st)
	}
	return all
}

// finish runs to the end and looks whether anything of the upstream is left.
func (v *takeOver) finish() upstream.Stats {
	v.run()
	all := v.sum()
	if all.Connections != 0 || all.Idle != 0 || all.Waiting != 0 {
		v.t.Fatalf("left behind: %+v", all)
	}
	for _, m := range v.options.Backends.Members() {
		if n := v.upstream.Open(m); n != 0 {
			v.t.Fatalf("%d slots of %s are taken, and no connection is open", n, m.Address())
		}
	}
	return all
}

// move changes the addresses of the first backend now and then, and what was there before is as good as the new.
func (v *takeOver) move() {
	a, b, first := v.origins[0].Addr(), v.origins[2].Addr(), v.options.Backends.Members()[0]
	for _, addrs := range [][]poller.Addr{{a, b}, {b}, {b, a}, {a}} {
		v.w.After(time.Duration(v.w.Rand().IntN(40))*time.Millisecond, func() { first.SetAddrs(addrs) })
	}
}

// takeOverSeeds is how many seeds each of these runs.
func takeOverSeeds() int {
	if testing.Short() {
		return 100
	}
	return 500
}

// Connections move between reactors, and every request is answered all the same, be there one connection for all.
func TestSim_takeOver(t *testing.T) {
	var all upstream.Stats
	sim.Run(t, takeOverSeeds(), func(t testing.TB, w *sim.World) {
		v := newTakeOver(t, w, nil)
		v.plan(6, 6, goodOrigins)
		gone := w.Rand().IntN(3) == 0
		if gone {
			v.someLeave(3, 40)
		}
		st := v.finish()
		if v.failed > 0 && !gone {
			t.Fatalf("%d requests failed", v.failed)
		}
		all.Add(&st)
	})
	t.Logf("%+v", all)
	for what, n := range map[string]uint64{
		"taken over": all.TakenOver, "late": all.LateGives, "none to give": all.WantsEmpty, "queued": all.Queued,
		"too old": all.TooOld, "worn out": all.WornOut,
	} {
		if n == 0 && !testing.Short() && !t.Failed() {
			t.Errorf("nothing was ever %s", what)
		}
	}
}

// The same when networks and origins fail, names move, clients leave, and the queue is short.
func TestSim_takeOverFailuresAreClean(t *testing.T) {
	var all upstream.Stats
	sim.Run(t, takeOverSeeds(), func(t testing.TB, w *sim.World) {
		if w.Seed()%2 == 0 {
			w.Faults = sim.Faults{
				ConnectRefused: 0.1, ConnectUnreachable: 0.05, ConnectTimeout: 0.02, ShortWrite: 0.2, Reset: 0.002,
			}
		}
		v := newTakeOver(t, w, nil)
		if v.faults = true; v.census.limit > 0 {
			v.census.limit += len(v.origins) // what finds out whether an address can be reached again carries nothing
		}
		v.plan(6, 6, badOrigins)
		v.someLeave(3, 40)
		if w.Rand().IntN(2) == 0 {
			v.move()
		}
		if w.Rand().IntN(4) == 0 {
			w.After(time.Duration(w.Rand().IntN(40))*time.Millisecond, func() { v.upstream.Close() })
		}
		st := v.finish()
		all.Add(&st)
	})
	t.Logf("%+v", all)
}

// Members come and go, and change their weight: every request is answered, be there one connection for all.
func TestSim_takeOverMembersComeAndGo(t *testing.T) {
	var all upstream.Stats
	sim.Run(t, takeOverSeeds(), func(t testing.TB, w *sim.World) {
		v := newTakeOver(t, w, nil)
		v.census.limit = 0 // a member that comes again has slots of its own
		v.plan(6, 6, goodOrigins)
		for range 10 {
			var list []backend.Spec
			for _, l := range v.origins {
				if weight := w.Rand().IntN(4); weight > 0 {
					list = append(list, backend.Spec{Address: l.Addr().String(), Weight: weight})
				}
			}
			if len(list) > 0 {
				w.After(time.Duration(w.Rand().IntN(40))*time.Millisecond, func() { v.options.Backends.Update(list) })
			}
		}
		st := v.finish()
		if v.failed > 0 {
			t.Fatalf("%d requests failed", v.failed)
		}
		all.Add(&st)
	})
	t.Logf("%+v", all)
}

// The engine stops in the middle of it all: no descriptor is left open, in whatever letter it was.
func TestSim_takeOverStops(t *testing.T) {
	inLetters := 0
	sim.Run(t, takeOverSeeds(), func(t testing.TB, w *sim.World) {
		v := newTakeOver(t, w, nil)
		v.faults = true // what is cut off by the end is no failure of the proxy
		v.plan(6, 6, goodOrigins)
		for range 1 + w.Rand().IntN(600) {
			w.Step()
			st := v.sum()
			if st.Given > st.TakenOver+st.LateGives+st.LostGives && w.Rand().IntN(4) == 0 {
				inLetters++
				break
			}
		}
		stop(t, v.engine)
		if fds := w.OpenFDs(); len(fds) > 0 {
			t.Fatalf("descriptors %v are left open", fds)
		}
	})
	if inLetters == 0 && !testing.Short() && !t.Failed() {
		t.Error("no connection was ever on its way at the end")
	}
}

// blinded does not take descriptors out of its set.
type blinded struct{ poller.Kernel }

func (blinded) Del(poller.FD) syscall.Errno { return 0 }

// keeping does not close what was found to be of no use when it was to be adopted.
type keeping struct {
	poller.Kernel
	probed *poller.FD
}

func (k keeping) Read(fd poller.FD, p []byte) (int, syscall.Errno) {
	n, e := k.Kernel.Read(fd, p)
	if *k.probed = poller.NoFD; len(p) == 1 && e != syscall.EAGAIN {
		*k.probed = fd
	}
	return n, e
}

func (k keeping) Close(fd poller.FD) {
	if fd != *k.probed {
		k.Kernel.Close(fd)
	}
}

// The simulations above can fail: each of these has a fault that they find.
func TestSim_takeOverCanaries(t *testing.T) {
	for name, wrapped := range map[string]func(poller.Kernel) poller.Kernel{
		"two reactors watch one descriptor": func(k poller.Kernel) poller.Kernel { return blinded{k} },
		"a descriptor leaks on the way":     func(k poller.Kernel) poller.Kernel { return keeping{k, new(poller.FD)} },
	} {
		seed := sim.MustFail(t, 300, func(t testing.TB, w *sim.World) {
			v := newTakeOver(t, w, wrapped)
			v.faults = true
			v.plan(6, 6, badOrigins)
			v.finish()
		})
		t.Logf("%s: found by seed %d", name, seed)
	}
	seed := sim.MustFail(t, 50, func(t testing.TB, w *sim.World) {
		v := newTakeOver(t, w, nil)
		v.census.limit = max(v.census.limit-1, 1) // one less than is used
		v.plan(6, 6, goodOrigins)
		v.finish()
	})
	t.Logf("a connection too many: found by seed %d", seed)
}
