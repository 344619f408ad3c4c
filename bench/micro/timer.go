package micro

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/edge-proxy/edge/timerwheel"
)

const (
	timersLive   = 1_000_000 // timers of idle connections, over a minute
	timersRecent = 64        // timers that take turns, as the connections of one tick do
)

const crowdOfTimers = "timers, a million others live"

var timerEntries = []Entry{
	{"timer/arm-disarm/edge", crowdOfTimers, "Wheel.Arm and Disarm of one of 64 timers", armDisarm},
	{"timer/arm-disarm/edge-slots", crowdOfTimers, "the same by Slots, with 12 bytes a timer", armDisarmSlots},
	{"timer/arm-disarm/runtime", crowdOfTimers, "Reset and Stop of one of 64 timers of time.AfterFunc",
		armDisarmRuntime},
	{"timer/arm-disarm/heap", crowdOfTimers, "Push and Remove of one of 64 timers of a container/heap",
		armDisarmHeap},

	{"timer/move-later/edge", crowdOfTimers, "Wheel.Arm of one of 64 armed timers, each time later", moveLater},
	{"timer/move-later/edge-slots", crowdOfTimers, "the same by Slots", moveLaterSlots},
	{"timer/move-later/runtime", crowdOfTimers, "Reset of one of 64 timers of time.AfterFunc, each time later",
		moveLaterRuntime},
	{"timer/move-later/heap", crowdOfTimers, "Fix of one of 64 timers of a container/heap, each time later",
		moveLaterHeap},

	{"timer/fire/edge", "timers that fire, 64 live", "one timer fires, and is armed for the next granule", fire},
	{"timer/fire/edge-slots", "timers that fire, 64 live", "the same by Slots", fireSlots},
	{"timer/fire/runtime", "timers that fire, 64 live", "a timer of time.AfterFunc is reset to 0 and runs its " +
		"function, in a goroutine of its own", fireRuntime},
	{"timer/fire/heap", "timers that fire, 64 live", "the first of a container/heap is given a later time, and Fix",
		fireHeap},
}

type ignore struct{}

func (ignore) OnTimer(*timerwheel.Timer, int64) {}

// deadlines calls f for each of the live timers, with times within a minute.
func deadlines(f func(i int, at int64)) {
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range timersLive {
		f(i, rng.Int64N(int64(time.Minute)))
	}
}

func crowdedWheel() *timerwheel.Wheel {
	w := new(timerwheel.Wheel)
	timers := make([]timerwheel.Timer, timersLive)
	deadlines(func(i int, at int64) {
		timers[i].Owner = ignore{}
		w.Arm(&timers[i], at)
	})
	return w
}

// crowdRuntime puts the same million into the heap of the runtime. They are far enough away not to
// fire, and are stopped when b ends.
func crowdRuntime(b *testing.B) {
	timers := make([]*time.Timer, timersLive)
	deadlines(func(i int, at int64) { timers[i] = time.AfterFunc(time.Hour+time.Duration(at), func() {}) })
	b.Cleanup(func() {
		for _, t := range timers {
			t.Stop()
		}
	})
}

func armDisarm(b *testing.B) {
	w := crowdedWheel()
	var timers [timersRecent]timerwheel.Timer
	for i := range timers {
		timers[i].Owner = ignore{}
	}
	at := int64(time.Second)
	for i := 0; b.Loop(); i++ {
		t := &timers[i%timersRecent]
		w.Arm(t, at)
		w.Disarm(t)
		if at += 1000; at > int64(time.Minute) {
			at = int64(time.Second)
		}
	}
}

func armDisarmRuntime(b *testing.B) {
	crowdRuntime(b)
	var timers [timersRecent]*time.Timer
	for i := range timers {
		timers[i] = time.AfterFunc(time.Hour, func() {})
		timers[i].Stop()
	}
	for i := 0; b.Loop(); i++ {
		t := timers[i%timersRecent]
		t.Reset(30 * time.Minute)
		t.Stop()
	}
}

func moveLater(b *testing.B) {
	w := crowdedWheel()
	var timers [timersRecent]timerwheel.Timer
	at := int64(time.Second)
	for i := range timers {
		timers[i].Owner = ignore{}
		w.Arm(&timers[i], at)
	}
	for i := 0; b.Loop(); i++ {
		at += 1000
		w.Arm(&timers[i%timersRecent], at)
	}
}

func moveLaterRuntime(b *testing.B) {
	crowdRuntime(b)
	var timers [timersRecent]*time.Timer
	for i := range timers {
		timers[i] = time.AfterFunc(time.Hour, func() {})
		defer timers[i].Stop()
	}
	d := time.Hour
	for i := 0; b.Loop(); i++ {
		d += 1000
		timers[i%timersRecent].Reset(d)
	}
}
