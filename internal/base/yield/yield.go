// Package yield makes long work on a goroutine pause again and again, so that event loops get a processor.
//
// A goroutine that computes keeps its processor (P) for up to 10 ms. Where another one of the process collects garbage,
// none is left, and no thread asks the kernel for events meanwhile: an event loop that sleeps hears of its event when
// the runtime's monitor looks, 10 ms later at worst. runtime.Gosched does not help, since the runtime takes the next
// goroutine without a look at the kernel. A goroutine that sleeps leaves a processor free, and that one looks. Its
// thread stays on the CPU, since it is soon over; so it asks the kernel for the threads that wait for that CPU, too,
// which would wait for 3 to 4 ms where there is no other.
//
// It is for loops that take milliseconds because there is much to go through: the entries of a configuration. It is not
// for reactors, which have budgets of their own.
//
// # Costs
//
// A step reads the clock, some 50 ns. A sleep takes 70 to 200 µs, mostly until the clock wakes the goroutine, for each
// 400 µs of work. A loop that takes less time than that never sleeps.
package yield

import (
	"iter"
	"time"

	"golang.org/x/sys/unix"
)

const (
	most  = 400 * time.Microsecond // how long work goes on without a sleep
	pause = time.Microsecond       // for how long it sleeps
)

// Pace bounds how long one loop works without a sleep. The zero value is for a loop that has not begun.
// Owned by one goroutine, which is not a reactor's.
type Pace struct {
	worksSince time.Time
}

// Step is called at each step of the loop. Steps take microseconds.
func (p *Pace) Step() {
	now := time.Now()
	switch {
	case p.worksSince.IsZero():
		p.worksSince = now
	case now.Sub(p.worksSince) > most:
		time.Sleep(pause)
		_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // it cannot fail
		p.worksSince = time.Now()
	}
}

// Over counts from 0 to n, and pauses as Pace does.
func Over(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		var p Pace
		for i := range n {
			if p.Step(); !yield(i) {
				return
			}
		}
	}
}
