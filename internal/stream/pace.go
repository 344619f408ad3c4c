package stream

import (
	"errors"
	"math"
	"time"
)

// An exchange that waits for its client holds memory: the head came in part, the body does not come, the answer is
// not taken, or pipelined requests wait for that. When memory becomes short, those that have waited longest end
// early, as if a timeout had passed.

// ErrSlowBody is why an exchange is reset whose request body comes too slowly.
var ErrSlowBody = errors.New("the request body took too long")

// Pace is the time that a client may still take to send a body, or to take an answer. The credit shrinks while the
// client keeps us waiting and grows with each byte.
type Pace struct {
	credit int64 // in ns, without what has run off since
	since  int64 // time of the reactor from which on the credit shrinks; 0: it does not
}

// BodyGrace is the credit that every body begins with.
const BodyGrace = 10 * time.Second

// Reset gives the credit that every body begins with.
func (p *Pace) Reset() { p.credit, p.since = int64(BodyGrace), 0 }

// Earn adds what n bytes are worth, up to limit.
func (p *Pace) Earn(n int, perByte, limit, now int64) {
	p.Pause(now)
	p.credit = min(p.credit+int64(n)*perByte, limit)
}

// Renew gives again the credit that every body begins with.
func (p *Pace) Renew(now int64) {
	p.Earn(0, 0, math.MaxInt64, now)
	p.credit = max(p.credit, int64(BodyGrace))
}

// Shrink makes the credit shrink from now on, and returns what is left of it, at least 1.
func (p *Pace) Shrink(now int64) time.Duration {
	if p.since == 0 {
		p.since = now
	}
	return time.Duration(max(p.credit-(now-p.since), 1))
}

// Pause keeps the credit from shrinking: the client keeps nothing waiting.
func (p *Pace) Pause(now int64) {
	if p.since != 0 {
		p.credit = max(p.credit-(now-p.since), 0) // a tunnel may stand still for longer
		p.since = 0
	}
}

// Running reports whether the credit shrinks.
func (p *Pace) Running() bool { return p.since != 0 }

// OwedFor returns for how long a client has owed bytes of a body. silent is for how long nothing came, for use where
// there is no least rate.
func (p *Pace) OwedFor(silent time.Duration, now int64) time.Duration {
	if p.since == 0 {
		return silent
	}
	return max(time.Duration(now-p.since), BodyGrace-p.Shrink(now))
}

// Started reports whether the client did not take an answer at once, or the credit of a body has begun.
func (p *Pace) Started() bool { return *p != Pace{} }

// TimeToTake returns how long a client may still take to take more of its answer. It begins with limit, which shrinks
// while the client takes nothing.
func (p *Pace) TimeToTake(limit time.Duration, now int64) time.Duration {
	if !p.Started() {
		p.credit = int64(limit)
	}
	return p.Shrink(now)
}

// AddTaken adds what n bytes are worth that a client took. A client that takes a few bytes now and then, and so keeps
// all that waits after them in our memory, is as slow as a client that takes nothing.
func (p *Pace) AddTaken(n int, perByte int64, limit time.Duration, now int64) {
	switch {
	case !p.Started():
	case perByte == 0:
		p.credit, p.since = int64(limit), 0
	default:
		p.Earn(n, perByte, int64(limit), now)
	}
}

// WaitedFor returns for how long a client whose patience began with limit has taken too little.
func (p *Pace) WaitedFor(limit time.Duration, now int64) time.Duration {
	if !p.Started() {
		return 0
	}
	return limit - p.Shrink(now)
}
