package retry

import (
	"strconv"
	"time"
)

// Times of Pause.
const (
	pauseFirst = 25 * time.Millisecond
	pauseLast  = 250 * time.Millisecond
)

// PauseMax is the longest time that an exchange waits for another attempt: a member that asks for more is not asked
// again.
const PauseMax = time.Second

// Pause returns how long to wait before the retry of that number, the first being 0, where every member was tried: 25
// ms, doubled each time up to 250 ms. Half of it is random, which spreads the requests that failed together.
func Pause(retry int, random uint64) time.Duration {
	d := pauseLast
	if retry < 4 {
		d = min(pauseFirst<<max(retry, 0), pauseLast)
	}
	return d/2 + time.Duration(random%uint64(d/2+1))
}

// After reads Retry-After, a number of seconds or a date: RFC 9110 §10.2.3. wall is the present time. It reports false
// where the value is neither.
func After(value []byte, wall time.Time) (d time.Duration, ok bool) {
	if n, err := strconv.ParseUint(string(value), 10, 31); err == nil {
		return time.Duration(n) * time.Second, true
	}
	at, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", string(value))
	if err != nil {
		return 0, false
	}
	return max(at.Sub(wall), 0), true
}

// Pushback reads grpc-retry-pushback-ms: for how many milliseconds a server wants no retry of a call. It reports false
// where it wants none at all: the value is negative or no number (gRPC proposal A6).
func Pushback(value []byte) (d time.Duration, ok bool) {
	n, err := strconv.ParseUint(string(value), 10, 31)
	return time.Duration(n) * time.Millisecond, err == nil
}
