package policy

import "time"

// ageMax bounds ages and lifetimes. RFC 9111 §1.2.2: a cache MUST consider a larger value to be 2147483648.
const ageMax = (1 << 31) * time.Second

// Freshness is the part of a record that says how old its answer is and how long it is fresh. Times are nanoseconds.
// 24 bytes without a pointer: they may lie in a record as they are.
type Freshness struct {
	Received int64 // when the head came, since 1970
	Age      int64 // of the answer at that time
	Lifetime int64
}

// clocksApart is how far the clocks of two event loops may be apart: each reads its own once in a turn.
const clocksApart = int64(time.Second)

// AgeAt returns the age of the answer (RFC 9111 §4.2.3), at most 2³¹ s. More than a second before the answer was
// received, which a clock that was set back makes of a record from disk, it is the greatest age.
func (f *Freshness) AgeAt(now int64) time.Duration {
	resident := now - f.Received
	if -clocksApart <= resident && resident < 0 {
		resident = 0
	}
	if resident < 0 || f.Age < 0 {
		return ageMax
	}
	return min(time.Duration(min(f.Age, int64(ageMax))+min(resident, int64(ageMax))), ageMax)
}

// Left returns how long the answer stays fresh. After its lifetime that is 0 or negative.
func (f *Freshness) Left(now int64) time.Duration {
	return time.Duration(min(max(f.Lifetime, 0), int64(ageMax))) - f.AgeAt(now)
}

// Reuse returns whether the answer may be sent without asking the backend: ReasonFresh or ReasonExpired.
// RFC 9111 §4.2: response_is_fresh = (freshness_lifetime > current_age).
func (f *Freshness) Reuse(now int64) Reason {
	if f.Left(now) > 0 {
		return ReasonFresh
	}
	return ReasonExpired
}
