package issue

import (
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Whatever happens to three replicas in random order (kills, stops, reloads, a clock that is set, an authority and a
// Storage that fail), a name has few tries a day, a good pair is presented once one was, and a working authority has
// renewed it before its end.
func TestRenewer_random(t *testing.T) {
	for seed := range uint64(testutil.RaceRounds(3)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { atRandom(t, mathrand.New(mathrand.NewPCG(seed, 1))) })
		})
	}
}

// world is three replicas, and all that happens to them.
type world struct {
	random   *mathrand.Rand
	a        *scripted
	shared   *memory
	ahead    clock
	jumps    bool
	jumped   int
	down     time.Time // since when the authority fails; zero: it works
	replicas [3]*rig
}

func (w *world) begin(t *testing.T, i int) {
	plan := Plan{Storage: w.shared.process(), Authorities: one(w.a), Subjects: []Subject{{"a.test"}}}
	w.replicas[i] = start(t, w.ahead.now, plan)
}

// repair has the authority work.
func (w *world) repair() {
	w.down = time.Time{}
	w.a.set(func() { w.a.fails = nil })
}

// step lets one thing happen to one replica, or to all of them.
func (w *world) step(t *testing.T) {
	i := w.random.IntN(3)
	p := w.replicas[i].plan.Storage.(*process)
	switch w.random.IntN(8) {
	case 0:
		p.mu.Lock()
		p.kill()
		p.mu.Unlock()
		w.replicas[i].Stop()
		w.begin(t, i)
	case 1:
		w.replicas[i].Stop()
		w.begin(t, i)
	case 2:
		w.replicas[i].reload()
	case 3:
		if w.a.loose {
			p.fail(errors.New("disk full"))
		}
	case 4:
		p.fail(nil)
	case 5:
		if w.down.IsZero() {
			w.down = time.Now()
			w.a.set(func() { w.a.fails = errors.New("down") })
		}
	case 6:
		w.repair()
	case 7:
		if w.jumps {
			w.ahead.jump(time.Duration(w.random.IntN(7200)-3600) * time.Second)
			w.jumped++
		}
	}
}

// wantGood reports replicas that present a certificate that has ended, or none.
func (w *world) wantGood(t *testing.T) {
	t.Helper()
	for i, r := range w.replicas {
		if s := r.All()[0]; !s.Expires.After(w.ahead.now()) {
			t.Errorf("replica %d presents %+v at %v", i, s, w.ahead.now())
		}
	}
}

func atRandom(t *testing.T, random *mathrand.Rand) {
	w := &world{random: random, a: newScripted(t, "first"), shared: newMemory(), jumps: random.IntN(2) == 0}
	w.a.now = w.ahead.now
	w.a.life = []time.Duration{6 * day, 20 * day, 90 * day}[random.IntN(3)]
	w.a.loose = random.IntN(2) == 0 // the Storage fails, and its locks do
	for i := range w.replicas {
		w.begin(t, i)
	}
	for range 150 {
		pass(time.Duration(random.IntN(8*3600)) * time.Second)
		w.step(t)
		if !w.down.IsZero() && time.Since(w.down) > w.a.life/4 {
			w.repair()
			pass(7 * time.Hour)
			w.wantGood(t)
		}
	}
	w.repair()
	for _, r := range w.replicas {
		r.plan.Storage.(*process).fail(nil)
	}
	pass(7 * time.Hour)
	w.wantGood(t)
	want := 13 + w.jumped/12
	if w.a.loose {
		want *= len(w.replicas)
	}
	if most := w.a.triesIn("a.test", day); most > want {
		t.Errorf("%d tries a day", most)
	}
	for i, r := range w.replicas {
		r.Stop()
		if ops := r.plan.Storage.(*process).ops; r.All()[0].Failures > 0 || ops > 24*150*60 {
			t.Errorf("replica %d ends with %+v after %d operations", i, r.All()[0], ops)
		}
	}
}
