package session

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

// pace is the time that a client may still take to send a body, or to take an answer. The credit shrinks while the
// client keeps us waiting and grows with each byte.
type pace struct {
	credit int64 // in ns, without what has run off since
	since  int64 // time of the reactor from which on the credit shrinks; 0: it does not
}

// bodyGrace is the credit that every body begins with.
const bodyGrace = 10 * time.Second

// Unhurried is a Stream that can be exempted from the minimum rate of a body: for message streams such as gRPC.
type Unhurried interface {
	// Unhurry lifts the least rate off the body that is to come. The time between two messages is bounded like the time
	// in a tunnel. For a request that holds until the answer begins; from then on the answer's sender says how long it
	// lasts.
	Unhurry()
}

// reset gives the credit that every body begins with.
func (p *pace) reset() { p.credit, p.since = int64(bodyGrace), 0 }

// earn adds what n bytes are worth, up to limit.
func (p *pace) earn(n int, perByte, limit, now int64) {
	p.pause(now)
	p.credit = min(p.credit+int64(n)*perByte, limit)
}

// renew gives again the credit that every body begins with.
func (p *pace) renew(now int64) {
	p.earn(0, 0, math.MaxInt64, now)
	p.credit = max(p.credit, int64(bodyGrace))
}

// shrink makes the credit shrink from now on, and returns what is left of it, at least 1.
func (p *pace) shrink(now int64) time.Duration {
	if p.since == 0 {
		p.since = now
	}
	return time.Duration(max(p.credit-(now-p.since), 1))
}

// pause keeps the credit from shrinking: the client keeps nothing waiting.
func (p *pace) pause(now int64) {
	if p.since != 0 {
		p.credit -= now - p.since
		p.since = 0
	}
}

// owedFor returns for how long a client has owed bytes of a body. silent is for how long nothing came, for use where
// there is no least rate.
func (p *pace) owedFor(silent time.Duration, now int64) time.Duration {
	if p.since == 0 {
		return silent
	}
	return max(time.Duration(now-p.since), bodyGrace-p.shrink(now))
}

// started reports whether the client did not take an answer at once, or the credit of a body has begun.
func (p *pace) started() bool { return *p != pace{} }

// timeToTake returns how long a client may still take to take more of its answer. It begins with limit, which shrinks
// while the client takes nothing.
func (p *pace) timeToTake(limit time.Duration, now int64) time.Duration {
	if !p.started() {
		p.credit = int64(limit)
	}
	return p.shrink(now)
}

// addTaken adds what n bytes are worth that a client took. A client that takes a few bytes now and then, and so keeps
// all that waits after them in our memory, is as slow as a client that takes nothing.
func (p *pace) addTaken(n int, perByte int64, limit time.Duration, now int64) {
	switch {
	case !p.started():
	case perByte == 0:
		p.credit, p.since = int64(limit), 0
	default:
		p.earn(n, perByte, int64(limit), now)
	}
}

// waitedFor returns for how long a client whose patience began with limit has taken too little.
func (p *pace) waitedFor(limit time.Duration, now int64) time.Duration {
	if !p.started() {
		return 0
	}
	return limit - p.shrink(now)
}
