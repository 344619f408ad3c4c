package meter

// Retry is why a request was tried again.
type Retry uint8

// The reasons: failures before an answer, and answers.
const (
	AfterConnect       Retry = iota // there was no connection
	AfterRefusedStream              // an HTTP/2 backend had processed nothing
	AfterReset                      // the connection ended, or the stream was reset
	AfterTimeout                    // the answer did not begin in time
	After4xx                        // the answer's status was 400 to 499
	After5xx                        // the answer's status was 500 to 599
	AfterGRPC                       // the call's status is a condition of a retry
	AfterFilter                     // a filter wanted it
	retries
)

// Retries is how many reasons there are.
const Retries = int(retries)

// CountRetry counts a request that is tried again. On the reactor with that index.
func (u *Upstream) CountRetry(reactor int, why Retry) {
	l := &u.local[reactor]
	if !l.touched {
		u.touch(reactor)
	}
	l.retries[why]++
}

// Retry returns the reason of the retries that d counts. ok is false where d counts something else.
func (d *Delta) Retry() (why Retry, ok bool) {
	const first = uint32(Phases) * keysPerHistogram
	return Retry(d.key - first), d.key >= first
}

// takeRetries appends what was counted since the last Take.
func (u *Upstream) takeRetries(reactor int, into []Delta) []Delta {
	l := &u.local[reactor]
	for why, n := range l.retries {
		if n > 0 {
			into = append(into, Delta{u.Number, uint32(Phases)*keysPerHistogram + uint32(why), n})
		}
	}
	clear(l.retries[:])
	return into
}
