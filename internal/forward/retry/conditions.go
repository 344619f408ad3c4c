package retry

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cause is a failure of an attempt that had no answer.
type Cause uint8

// The causes.
const (
	Connect       Cause = iota // there was no connection: nothing was sent
	RefusedStream              // an HTTP/2 backend says that it processed nothing: RFC 9113 §8.7
	Reset                      // the connection ended, or the stream was reset, before an answer
	Timeout                    // the answer did not begin in time
)

var causeNames = [...]string{"connect", "refused_stream", "reset", "timeout"}

// callNames are the statuses of gRPC by number: https://grpc.io/docs/guides/status-codes.
var callNames = [...]string{
	1: "cancelled", 2: "unknown", 3: "invalid_argument", 4: "deadline_exceeded", 5: "not_found", 6: "already_exists",
	7: "permission_denied", 8: "resource_exhausted", 9: "failed_precondition", 10: "aborted", 11: "out_of_range",
	12: "unimplemented", 13: "internal", 14: "unavailable", 15: "data_loss", 16: "unauthenticated",
}

// Statuses that may be conditions: statuses of failures.
const (
	statusFirst = 400
	statusLast  = 599
)

// Conditions are failures after which a request may be tried again. They are comparable. The zero value is none.
// Immutable once used.
type Conditions struct {
	causes uint8     // bit Cause
	calls  uint32    // bit of a status of gRPC
	status [4]uint64 // bit status - statusFirst
}

// Default is the conditions of an upstream that names none: what was not processed, and connections that were lost.
func Default() Conditions { return Conditions{causes: 1<<Connect | 1<<RefusedStream | 1<<Reset} }

// Parse reads conditions: "connect", "refused_stream", "reset", "timeout", a status from 400 to 599, "5xx" for those
// from 500 on, and "grpc:NAME", where NAME is a status of gRPC such as "unavailable". No words are no conditions.
func Parse(words ...string) (Conditions, error) {
	var c Conditions
	for _, w := range words {
		if !c.add(w) {
			return c, fmt.Errorf("%q is no condition of a retry", w)
		}
	}
	return c, nil
}

// Words returns words that Parse takes: the causes first.
func Words() []string {
	all := append(slices.Clone(causeNames[:]), "429", "500", "502", "503", "504", "5xx")
	for _, name := range callNames[1:] {
		all = append(all, "grpc:"+name)
	}
	return all
}

func (c *Conditions) add(word string) bool {
	for i, name := range causeNames {
		if word == name {
			c.causes |= 1 << i
			return true
		}
	}
	if name, ok := strings.CutPrefix(word, "grpc:"); ok {
		for i, n := range callNames {
			if i > 0 && n == name {
				c.calls |= 1 << i
				return true
			}
		}
		return false
	}
	if word == "5xx" {
		for status := 500; status <= statusLast; status++ {
			c.addStatus(status)
		}
		return true
	}
	status, err := strconv.Atoi(word)
	if err != nil || len(word) != 3 || status < statusFirst || status > statusLast {
		return false
	}
	c.addStatus(status)
	return true
}

func (c *Conditions) addStatus(status int) {
	i := status - statusFirst
	c.status[i/64] |= 1 << (i % 64)
}

// With returns c and the cause too.
func (c Conditions) With(cause Cause) Conditions {
	c.causes |= 1 << cause
	return c
}

// Has reports whether an attempt that ended by cause may be repeated.
func (c *Conditions) Has(cause Cause) bool { return c.causes>>cause&1 == 1 }

// Status reports whether an answer with status may be replaced by the answer of another attempt.
func (c *Conditions) Status(status int) bool {
	i := uint(status - statusFirst)
	return i <= statusLast-statusFirst && c.status[i/64]>>(i%64)&1 == 1
}

// Call reports whether a call that ended with a status of gRPC may be repeated.
func (c *Conditions) Call(status int) bool {
	return status > 0 && status < len(callNames) && c.calls>>status&1 == 1
}

// Calls reports whether some status of gRPC is a condition: that says that calls may be repeated.
func (c *Conditions) Calls() bool { return c.calls != 0 }

// Policy says when an exchange with an upstream is tried again. Immutable once used.
type Policy struct {
	On     Conditions
	PerTry time.Duration // of an attempt that another may follow, up to the head of its answer; 0: no limit
	Budget *Budget       // nil: there is no limit
	Hedge  *Hedge        // of requests that wait for an answer; nil: none is
}
