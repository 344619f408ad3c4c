package policy

import (
	"time"

	"github.com/edge-proxy/edge/message"
)

// Freshness is the part of a record that says how old its answer is, how long it is fresh, and when it may be used
// after that. Times are nanoseconds. It has no pointer.
type Freshness struct {
	Received int64 // when the head came, since 1970
	Age      int64 // of the answer at that time
	Lifetime int64

	StaleWhile   int64 // how long after Lifetime it is used while the backend is asked; -1: the answer does not say
	StaleOnError int64 // how long after Lifetime it is used where the backend fails; -1: the answer does not say
	Ask          int64 // the backend has failed, and is not asked before that time; 0: it is asked at once

	Always bool // the backend is asked before each use: no-cache
	Strict bool // it is not used after its lifetime: must-revalidate, proxy-revalidate or s-maxage
}

// Reuse returns why the stored answer that f is about may be sent to request before the backend is asked, or why it may
// not be: Reason.Uses of the result says which.
func (r *Rules) Reuse(f *Freshness, request *message.Head, now int64) Reason {
	if f.Always {
		return ReasonNoCache
	}
	left, longest, wantsFresh := int64(f.Left(now)), int64(-1), false
	if d, found := r.demands(request); found {
		age, fresh := d.seconds[maxAge], d.seconds[minFresh]
		switch {
		case d.asksBackend():
			return ReasonRequestNoCache
		case age >= 0 && int64(f.AgeAt(now)) > age:
			return ReasonRequestMaxAge
		case fresh >= 0 && left < fresh:
			return ReasonRequestMinFresh
		}
		longest, wantsFresh = d.seconds[maxStale], age >= 0
	}
	switch stale := -left; {
	case stale < 0: // RFC 9111 §4.2: response_is_fresh = (freshness_lifetime > current_age)
		return ReasonFresh
	case f.Strict:
		return ReasonMustRevalidate
	case stale <= longest:
		return ReasonMaxStale
	case wantsFresh && longest < 0: // RFC 9111 §5.2.1.1: without max-stale the client wants no stale answer
		return ReasonRequestMaxAge
	case f.Ask > now && stale < window(f.StaleOnError, r.StaleOnError):
		return ReasonRetryLater
	case stale < window(f.StaleWhile, r.StaleWhile):
		return ReasonStaleWhile
	}
	return ReasonExpired
}

// OnError returns why the stored answer that f is about may be sent in place of an error; ReasonNone: it may not be.
// status is the status of the backend's answer; 0: it has not answered, or a limit has refused the request. A stored
// answer with stale-if-error is used for 500, 502, 503, 504 and 0 (RFC 5861 §4), an answer without it for 0 alone.
func (r *Rules) OnError(f *Freshness, request *message.Head, now int64, status uint16) Reason {
	why, failed := ReasonStaleOnError, status == 0
	if f.StaleOnError >= 0 {
		why, failed = ReasonStaleIfError, failed || status == 500 || 502 <= status && status <= 504
	}
	// RFC 9111 §4.2.4: a cache MUST NOT generate a stale response if it is prohibited by an explicit directive.
	d, _ := r.demands(request)
	if !failed || f.Strict || f.Always || d.asksBackend() ||
		-int64(f.Left(now)) >= window(f.StaleOnError, r.StaleOnError) {
		return ReasonNone
	}
	return why
}

// OnlyIfCached reports whether request is not to be sent to the backend: RFC 9111 §5.2.1.7.
func (r *Rules) OnlyIfCached(request *message.Head) bool {
	d, _ := r.demands(request)
	return d.saw(onlyIfCached)
}

// demands returns the directives of request. It reports false where it has none, or where they do not count.
func (r *Rules) demands(request *message.Head) (d directives, found bool) {
	if !r.Honour {
		return d, false
	}
	if d, found = readDirectives(request, ""); !found {
		// RFC 9111 §5.4: without Cache-Control, "no-cache" in Pragma is the same as there.
		for pragma := range request.Elements(message.Pragma) {
			if message.EqualFold(pragma, "no-cache") {
				d.seen, found = 1<<noCache, true
			}
		}
	}
	return d, found
}

// asksBackend reports whether the directives of a request want the backend to be asked.
func (d *directives) asksBackend() bool { return d.malformed || d.saw(noCache) }

// window returns how long after its lifetime an answer is used: the time that it states, or else the time of the route.
func window(stated int64, route time.Duration) int64 {
	if stated >= 0 {
		return stated
	}
	return int64(route)
}

// clocksApart is how far the clocks of two event loops may be apart: each loop reads the clock once in a turn.
const clocksApart = int64(time.Second)

// AgeAt returns the age of the answer (RFC 9111 §4.2.3), at most 2³¹ s. Where now is more than a second before
// Received, because the clock was set back, it is the greatest age.
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
