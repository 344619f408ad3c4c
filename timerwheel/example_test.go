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
