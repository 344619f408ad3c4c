package stream

import (
	"testing"
	"time"
)

// The client of a tunnel that has taken nothing for an hour, and takes again, has waited since it stopped last: where
// memory becomes short it is no better to end than others.
func TestPace_forgetsWhatWasWaitedFor(t *testing.T) {
	const perByte, limit = int64(2 * time.Millisecond), 30 * time.Second
	var p Pace
	now := int64(1)
	p.TimeToTake(limit, now)
	now += int64(time.Hour)
	p.AddTaken(64<<10, perByte, limit, now)
	p.TimeToTake(limit, now)
	now += int64(time.Second)
	if waited := p.WaitedFor(limit, now); waited != time.Second {
		t.Errorf("it has waited for %v", waited)
	}
}
