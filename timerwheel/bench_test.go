package timerwheel

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

const live = 1_000_000

// ignore is the owner of timers that do nothing when they fire.
type ignore struct{}

func (ignore) OnTimer(*Timer, int64) {}

// crowded is a wheel with a million timers over the next minute, as from so many idle connections.
func crowded() *Wheel {
	w := new(Wheel)
	timers := make([]Timer, live)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range timers {
		timers[i].Owner = ignore{}
		w.Arm(&timers[i], rng.Int64N(int64(time.Minute)))
	}
	return w
}

// crowdedRuntime puts the same million into the runtime's heap. They are stopped when b ends.
func crowdedRuntime(b *testing.B) {
	timers := make([]*time.Timer, live)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range timers {
		timers[i] = time.AfterFunc(time.Minute+time.Duration(rng.Int64N(int64(time.Minute))), func() {})
	}
	b.Cleanup(func() {
		for _, t := range timers {
			t.Stop()
		}
	})
}

// recent is how many timers take turns, as the connections of one tick do.
const recent = 64

func BenchmarkWheel_armDisarm1M(b *testing.B) {
	w := crowded()
	var timers [recent]Timer
	at := int64(time.Second)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		t := &timers[i%recent]
		w.Arm(t, at)
		w.Disarm(t)
		at += 1000
		if at > int64(time.Minute) {
			at = int64(time.Second)
		}
	}
}

func BenchmarkRuntimeTimer_armDisarm1M(b *testing.B) {
	crowdedRuntime(b)
	var timers [recent]*time.Timer
	for i := range timers {
		timers[i] = time.AfterFunc(time.Hour, func() {})
		timers[i].Stop()
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		t := timers[i%recent]
		t.Reset(30 * time.Second)
		t.Stop()
	}
}

func BenchmarkWheel_moveLater(b *testing.B) {
	w := crowded()
	var timers [recent]Timer
	at := int64(time.Second)
	for i := range timers {
		w.Arm(&timers[i], at)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		at += 1000
		w.Arm(&timers[i%recent], at)
	}
}

func BenchmarkRuntimeTimer_moveLater(b *testing.B) {
	crowdedRuntime(b)
	var timers [recent]*time.Timer
	for i := range timers {
		timers[i] = time.AfterFunc(time.Hour, func() {})
		defer timers[i].Stop()
	}
	d := time.Hour
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d += 1000
		timers[i%recent].Reset(d)
	}
}

// again arms a timer anew when it fires.
type again struct {
	w     *Wheel
	fired int
	after int64
}

func (a *again) OnTimer(t *Timer, now int64) {
	a.fired++
	a.after = (a.after*5 + 1<<20 + 1) & (1<<33 - 1)
	a.w.Arm(t, now+a.after)
}

// One operation is one timer that is armed up to 8.6 s ahead, cascades and fires, with 10 000 live.
func BenchmarkWheel_advance(b *testing.B) {
	var w Wheel
	a := &again{w: &w}
	timers := make([]Timer, 10_000)
	for i := range timers {
		timers[i].Owner = a
		w.Arm(&timers[i], int64(i)<<19)
	}
	b.ReportAllocs()
	touched := 0
	for b.Loop() {
		for fired := a.fired; a.fired == fired; {
			touched += w.Advance(w.Next(), 1)
		}
	}
	b.ReportMetric(float64(touched)/float64(a.fired), "touched/op")
}

// The runtime's timers cannot be given a clock: this is to arm one that is due at once, and to have it fire.
func BenchmarkRuntimeTimer_fire(b *testing.B) {
	var done sync.WaitGroup
	var timers [recent]*time.Timer
	for i := range timers {
		timers[i] = time.AfterFunc(time.Hour, done.Done)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%recent == 0 {
			done.Wait()
			done.Add(recent)
		}
		timers[i%recent].Reset(0)
	}
	for _, t := range timers {
		t.Stop()
	}
}

// crowdedSlots is a Slots with the deadlines of crowded, and room for recent more.
func crowdedSlots() *Slots {
	s := newSlots(live+recent, 0)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range uint32(live) {
		s.Arm(i, rng.Int64N(int64(time.Minute)))
	}
	return s
}

func BenchmarkSlots_armDisarm1M(b *testing.B) {
	s := crowdedSlots()
	at := int64(time.Second)
	b.ReportAllocs()
	for i := uint32(0); b.Loop(); i++ {
		s.Arm(live+i%recent, at)
		s.Disarm(live + i%recent)
		at += 1000
		if at > int64(time.Minute) {
			at = int64(time.Second)
		}
	}
}

func BenchmarkSlots_moveLater(b *testing.B) {
	s := crowdedSlots()
	at := int64(time.Second)
	for i := range uint32(recent) {
		s.Arm(live+i, at)
	}
	b.ReportAllocs()
	for i := uint32(0); b.Loop(); i++ {
		at += 1000
		s.Arm(live+i%recent, at)
	}
}

// One operation is any one of a million timers, disarmed and armed for another time, as when a cache evicts one entry
// for another. Memory decides.
func BenchmarkSlots_rearmAny1M(b *testing.B) {
	s := crowdedSlots()
	rng := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		v := rng.Uint64()
		i := uint32(v >> 32 * live >> 32)
		s.Disarm(i)
		s.Arm(i, int64(v)&(1<<36-1))
	}
}

func BenchmarkWheel_rearmAny1M(b *testing.B) {
	w := new(Wheel)
	timers := make([]Timer, live)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range timers {
		timers[i].Owner = ignore{}
		w.Arm(&timers[i], rng.Int64N(int64(time.Minute)))
	}
	b.ReportAllocs()
	for b.Loop() {
		v := rng.Uint64()
		t := &timers[v>>32*live>>32]
		w.Disarm(t)
		w.Arm(t, int64(v)&(1<<36-1))
	}
}

// One operation is one number given to another, as when an entry changes its place in a queue.
func BenchmarkSlots_move1M(b *testing.B) {
	s := crowdedSlots()
	for i := range uint32(recent / 2) {
		s.Arm(live+i, int64(time.Second))
	}
	b.ReportAllocs()
	for i := uint32(0); b.Loop(); i++ {
		from := i % recent
		s.Move(live+from, live+(from+recent/2)%recent)
	}
}

// The same as for Wheel below.
func BenchmarkSlots_advance(b *testing.B) {
	s := newSlots(10_000, 0)
	for i := range uint32(10_000) {
		s.Arm(i, int64(i)<<19)
	}
	fired, touched, after := 0, 0, int64(0)
	again := func(i uint32, now int64) {
		fired++
		after = (after*5 + 1<<20 + 1) & (1<<33 - 1)
		s.Arm(i, now+after)
	}
	b.ReportAllocs()
	for b.Loop() {
		for before := fired; fired == before; {
			touched += s.Advance(s.Next(), 1, again)
		}
	}
	b.ReportMetric(float64(touched)/float64(fired), "touched/op")
}

// One operation is one timer that fires and is armed anew for the next granule, with as many in the first cache.
func BenchmarkSlots_fire(b *testing.B) {
	s := newSlots(recent, 0)
	for i := range uint32(recent) {
		s.Arm(i, 1)
	}
	again := func(i uint32, now int64) { s.Arm(i, now+1) }
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%recent == 0 {
			s.Advance(s.Next(), recent, again)
		}
	}
}

// soon arms a timer for the next granule when it fires.
type soon struct{ w *Wheel }

func (s soon) OnTimer(t *Timer, now int64) { s.w.Arm(t, now+1) }

func BenchmarkWheel_fire(b *testing.B) {
	var w Wheel
	var timers [recent]Timer
	for i := range timers {
		timers[i].Owner = soon{&w}
		w.Arm(&timers[i], 1)
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%recent == 0 {
			w.Advance(w.Next(), recent)
		}
	}
}
