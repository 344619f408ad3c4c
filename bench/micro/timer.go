package micro

import (
	"container/heap"
	"math/rand/v2"
	"sync"
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

// crowdedSlots has the deadlines of crowdedWheel and room for timersRecent more.
func crowdedSlots() *timerwheel.Slots {
	s := new(timerwheel.Slots)
	s.Grow(timersLive + timersRecent)
	deadlines(func(i int, at int64) { s.Arm(uint32(i), at) })
	return s
}

func armDisarmSlots(b *testing.B) {
	s := crowdedSlots()
	at := int64(time.Second)
	for i := uint32(0); b.Loop(); i++ {
		s.Arm(timersLive+i%timersRecent, at)
		s.Disarm(timersLive + i%timersRecent)
		if at += 1000; at > int64(time.Minute) {
			at = int64(time.Second)
		}
	}
}

func moveLaterSlots(b *testing.B) {
	s := crowdedSlots()
	at := int64(time.Second)
	for i := range uint32(timersRecent) {
		s.Arm(timersLive+i, at)
	}
	for i := uint32(0); b.Loop(); i++ {
		at += 1000
		s.Arm(timersLive+i%timersRecent, at)
	}
}

// soon arms a timer for the next granule when it fires.
type soon struct{ w *timerwheel.Wheel }

func (s soon) OnTimer(t *timerwheel.Timer, now int64) { s.w.Arm(t, now+1) }

func fire(b *testing.B) {
	var w timerwheel.Wheel
	var timers [timersRecent]timerwheel.Timer
	for i := range timers {
		timers[i].Owner = soon{&w}
		w.Arm(&timers[i], 1)
	}
	for n := 0; b.Loop(); n++ {
		if n%timersRecent == 0 {
			w.Advance(w.Next(), timersRecent)
		}
	}
}

func fireSlots(b *testing.B) {
	var s timerwheel.Slots
	s.Grow(timersRecent)
	for i := range uint32(timersRecent) {
		s.Arm(i, 1)
	}
	again := func(i uint32, now int64) { s.Arm(i, now+1) }
	for n := 0; b.Loop(); n++ {
		if n%timersRecent == 0 {
			s.Advance(s.Next(), timersRecent, again)
		}
	}
}

func fireRuntime(b *testing.B) {
	var done sync.WaitGroup
	var timers [timersRecent]*time.Timer
	for i := range timers {
		timers[i] = time.AfterFunc(time.Hour, done.Done)
		defer timers[i].Stop()
	}
	for n := 0; b.Loop(); n++ {
		if n%timersRecent == 0 {
			done.Wait()
			done.Add(timersRecent)
		}
		timers[n%timersRecent].Reset(0)
	}
}

// heapTimer is a timer of a heap, which knows its place there.
type heapTimer struct {
	at    int64
	place int
}

// timerHeap is what one would write first: container/heap over pointers.
type timerHeap []*heapTimer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push is for package heap.
func (h *timerHeap) Push(x any) {
	t := x.(*heapTimer)
	t.place = len(*h)
	*h = append(*h, t)
}

// Pop is for package heap.
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return t
}

// crowdedHeap has the deadlines of crowdedWheel and room for timersRecent more.
func crowdedHeap() *timerHeap {
	h := make(timerHeap, timersLive, timersLive+timersRecent)
	timers := make([]heapTimer, timersLive)
	deadlines(func(i int, at int64) {
		timers[i] = heapTimer{at, i}
		h[i] = &timers[i]
	})
	heap.Init(&h)
	return &h
}

func armDisarmHeap(b *testing.B) {
	h := crowdedHeap()
	var timers [timersRecent]heapTimer
	at := int64(time.Second)
	for i := 0; b.Loop(); i++ {
		t := &timers[i%timersRecent]
		t.at = at
		heap.Push(h, t)
		heap.Remove(h, t.place)
		if at += 1000; at > int64(time.Minute) {
			at = int64(time.Second)
		}
	}
}

func moveLaterHeap(b *testing.B) {
	h := crowdedHeap()
	var timers [timersRecent]heapTimer
	at := int64(time.Second)
	for i := range timers {
		timers[i].at = at
		heap.Push(h, &timers[i])
	}
	for i := 0; b.Loop(); i++ {
		at += 1000
		t := &timers[i%timersRecent]
		t.at = at
		heap.Fix(h, t.place)
	}
}

func fireHeap(b *testing.B) {
	var h timerHeap
	var timers [timersRecent]heapTimer
	for i := range timers {
		timers[i].at = int64(i)
		heap.Push(&h, &timers[i])
	}
	for b.Loop() {
		h[0].at += timersRecent
		heap.Fix(&h, 0)
	}
}
