package timerwheel_test

import (
	"fmt"
	"time"

	"github.com/edge-proxy/edge/timerwheel"
)

// conn is something that is closed when it stays idle.
type conn struct {
	name string
	idle timerwheel.Timer
}

func (c *conn) OnTimer(t *timerwheel.Timer, now int64) {
	at := time.Duration(now).Round(time.Millisecond)
	fmt.Printf("%s idle at %v, asked for %v\n", c.name, at, time.Duration(t.At()))
}

// Connections that are closed when they stay idle.
func Example() {
	const timeout = int64(time.Second)
	var w timerwheel.Wheel
	w.Init(0)

	a, b := &conn{name: "a"}, &conn{name: "b"}
	a.idle.Owner, b.idle.Owner = a, b
	w.Arm(&a.idle, timeout)
	w.Arm(&b.idle, timeout)

	// a is heard of half a second later, b is not.
	w.Arm(&a.idle, timeout/2+timeout)

	for w.Next() >= 0 {
		now := w.Next() // a reactor sleeps until then
		w.Advance(now, 100)
	}
	// Output:
	// b idle at 1s, asked for 1s
	// a idle at 1.501s, asked for 1.5s
}

// alarm prints when its timer fires.
type alarm struct{ name string }

func (a alarm) OnTimer(t *timerwheel.Timer, now int64) {
	fmt.Println(a.name, "at", time.Duration(now).Round(time.Millisecond))
}

func ExampleWheel_Init() {
	var w timerwheel.Wheel
	w.Init(int64(time.Hour)) // the monotonic clock of the owner is not near zero
	t := timerwheel.Timer{Owner: alarm{"tea"}}
	w.Arm(&t, int64(time.Hour+time.Minute))
	w.Advance(w.Next(), 10) // a cascade to a finer level
	w.Advance(w.Next(), 10)
	w.Advance(w.Next(), 10)
	// Output: tea at 1h1m0s
}

func ExampleWheel_Arm() {
	var w timerwheel.Wheel
	t := timerwheel.Timer{Owner: alarm{"idle"}}
	w.Arm(&t, int64(10*time.Millisecond))
	w.Arm(&t, int64(20*time.Millisecond)) // later: a store
	w.Arm(&t, int64(15*time.Millisecond)) // earlier: its entry is moved
	w.Advance(int64(time.Second), 10)
	// Output: idle at 1s
}

func ExampleWheel_Disarm() {
	var w timerwheel.Wheel
	t := timerwheel.Timer{Owner: alarm{"never"}}
	w.Arm(&t, int64(time.Millisecond))
	w.Disarm(&t)
	w.Disarm(&t) // does nothing
	fmt.Println(w.Advance(int64(time.Second), 10), t.Armed())
	// Output: 0 false
}

// With a limit, one turn of an event loop does not take longer because ten thousand deadlines are reached at once.
func ExampleWheel_Advance() {
	var w timerwheel.Wheel
	timers := make([]timerwheel.Timer, 5)
	for i := range timers {
		timers[i].Owner = alarm{fmt.Sprint("timer ", i)}
		w.Arm(&timers[i], int64(time.Millisecond))
	}
	now := int64(2 * time.Millisecond)
	for n := 3; n == 3; {
		n = w.Advance(now, 3)
		fmt.Println("touched", n, "left", w.Len())
	}
	// Unordered output:
	// timer 4 at 2ms
	// timer 3 at 2ms
	// timer 2 at 2ms
	// touched 3 left 2
	// timer 1 at 2ms
	// timer 0 at 2ms
	// touched 2 left 0
}

func ExampleWheel_Next() {
	var w timerwheel.Wheel
	fmt.Println(w.Next()) // nothing to wait for
	t := timerwheel.Timer{Owner: alarm{"soon"}}
	w.Arm(&t, int64(5*time.Millisecond))
	fmt.Println(time.Duration(w.Next())) // the granule after the deadline
	// Output:
	// -1
	// 5.24288ms
}

func ExampleTimer_Armed() {
	var w timerwheel.Wheel
	t := timerwheel.Timer{Owner: alarm{"once"}}
	fmt.Println(t.Armed())
	w.Arm(&t, 1)
	fmt.Println(t.Armed())
	w.Advance(int64(2*time.Millisecond), 10)
	fmt.Println(t.Armed())
	// Output:
	// false
	// true
	// once at 2ms
	// false
}

func ExampleTimer_At() {
	var w timerwheel.Wheel
	t := timerwheel.Timer{Owner: alarm{"exact"}}
	w.Arm(&t, 12_345_678)
	fmt.Println(t.At()) // as asked for, not rounded
	// Output: 12345678
}

// A table whose entries expire: place i of it is timer i.
func ExampleSlots() {
	names := []string{"a", "b", "c"}
	var s timerwheel.Slots
	s.Init(0)
	s.Grow(len(names))
	for i := range names {
		s.Arm(uint32(i), int64(time.Second)*int64(i+1))
	}
	s.Disarm(0) // a is deleted
	names[0] = names[2]
	s.Move(2, 0) // c takes its place

	for s.Next() >= 0 {
		s.Advance(s.Next(), 100, func(i uint32, now int64) {
			fmt.Println(names[i], "expired at", time.Duration(now).Round(time.Millisecond))
		})
	}
	// Output:
	// b expired at 2.001s
	// c expired at 3.001s
}

// A table that doubles.
func ExampleSlots_Grow() {
	var s timerwheel.Slots
	for i := range 5 {
		if i >= s.Cap() {
			s.Grow(max(4, 2*s.Cap()))
		}
		s.Arm(uint32(i), int64(time.Second))
	}
	fmt.Println(s.Len(), s.Cap())
	// Output: 5 8
}

func ExampleSlots_Advance() {
	var s timerwheel.Slots
	s.Grow(3)
	s.Arm(1, int64(time.Millisecond))
	s.Arm(2, int64(time.Second))
	n := s.Advance(int64(2*time.Millisecond), 10, func(i uint32, now int64) {
		fmt.Println("entry", i, "expired")
		s.Arm(i, now+int64(time.Second)) // it may
	})
	fmt.Println("touched", n, "armed", s.Len())
	// Output:
	// entry 1 expired
	// touched 1 armed 2
}

// A deadline is kept as the granule it falls into: 1.05 ms, or 4.3 s when it is 26 days ahead or more.
func ExampleSlots_At() {
	var s timerwheel.Slots
	s.Grow(1)
	fmt.Println(s.At(0))
	s.Arm(0, int64(time.Second))
	fmt.Println(time.Duration(s.At(0)))
	s.Arm(0, int64(30*24*time.Hour))
	fmt.Println(time.Duration(s.At(0)) - 30*24*time.Hour)
	// Output:
	// -1
	// 1.000341504s
	// 4.173201408s
}
