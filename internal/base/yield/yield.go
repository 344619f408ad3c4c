// Package yield makes long work on a goroutine pause again and again, so that event loops get a processor.
//
// A goroutine that computes keeps its processor (P) for up to 10 ms. Where another one of the process collects garbage,
// none is left, and no thread asks the kernel for events meanwhile: an event loop that sleeps hears of its event when
// the runtime's monitor looks, 10 ms later at worst. runtime.Gosched does not help, since the runtime takes the next
// goroutine without a look at the kernel. A goroutine that sleeps leaves a processor free, and that one looks.
//
// It is for loops that take milliseconds because there is much to go through: the entries of a configuration. It is not
// for reactors, which have budgets of their own.
//
// # Costs
//
// A step reads the clock, some 50 ns. A sleep takes 70 to 200 µs, mostly until the clock wakes the goroutine, for each
// 400 µs of work. A loop that takes less time than that never sleeps.
package yield

import "time"

// most is how long work goes on without a sleep.
const most = 400 * time.Microsecond

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
		time.Sleep(time.Microsecond)
		p.worksSince = time.Now()
	}
}
