package micro

import (
	"container/heap"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/timerwheel"
)

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
