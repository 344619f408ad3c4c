package recent

import "sync"

// Reason is why a request or an attempt failed, or why a cache did what it did.
type Reason struct {
	Word string // the side that ended it and the phase, as in "backend:connect"
	Text string // one sentence
	Try  string // what to look at first; "": nothing is known that helps
}

// reasonsMax is the largest number of a Reason.
const reasonsMax = int(statusOutcome) - 1

var reasons struct {
	mu     sync.Mutex
	list   []Reason         // by number, less 1; guarded by mu
	number map[Reason]uint8 // guarded by mu
}

// NumberOf returns the number of a reason, 1 or more. Where there is none left it is the number of a reason that says
// so.
func NumberOf(r Reason) uint8 {
	reasons.mu.Lock()
	defer reasons.mu.Unlock()
	if n := reasons.number[r]; n > 0 {
		return n
	}
	if len(reasons.list) == reasonsMax-1 {
		r = Reason{Word: "other", Text: "The access log has the reason."}
	}
	if len(reasons.list) == reasonsMax {
		return uint8(reasonsMax)
	}
	if reasons.number == nil {
		reasons.number = make(map[Reason]uint8)
	}
	reasons.list = append(reasons.list, r)
	reasons.number[r] = uint8(len(reasons.list))
	return reasons.number[r]
}

// ReasonOf returns the reason of a number; 0 has none.
func ReasonOf(n uint8) (r Reason) {
	reasons.mu.Lock()
	defer reasons.mu.Unlock()
	if n > 0 && int(n) <= len(reasons.list) {
		r = reasons.list[n-1]
	}
	return r
}
