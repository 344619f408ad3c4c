package load

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what a Run has seen.
type Result struct {
	Requests uint64        `json:"requests"` // answered whole, whatever their status
	Elapsed  time.Duration `json:"elapsed_ns"`
	Latency  Latency       `json:"latency"`
	Status   Status        `json:"status"`
	Errors   Errors        `json:"errors"`
	Failure  string        `json:"failure,omitempty"` // the first error, in words
	Opened   uint64        `json:"connections_opened"`
	Reopened uint64        `json:"connections_reopened"` // connections among Opened that replaced another one
	BytesIn  uint64        `json:"bytes_in"`
	BytesOut uint64        `json:"bytes_out"`
	Rate     float64       `json:"rate,omitempty"` // that was asked for; 0: a closed loop
	// Unsent are the requests of an open loop that had not been sent when the time was over. The latencies do not tell
	// of them: with more than a few of them the server cannot do this rate, and no latency means anything.
	Unsent uint64        `json:"unsent"`
	Late   time.Duration `json:"late_ns"` // after its time at which a request of an open loop was sent, at worst
	CPU    time.Duration `json:"cpu_ns"`  // user and system time of this process meanwhile
}

// Status counts final answers by the class of their status.
type Status struct {
	Success     uint64 `json:"2xx"`
	Redirect    uint64 `json:"3xx"`
	ClientError uint64 `json:"4xx"`
	ServerError uint64 `json:"5xx"`
	Other       uint64 `json:"other"`
}

func (s *Status) count(code uint16) {
	switch code / 100 {
	case 2:
		s.Success++
	case 3:
		s.Redirect++
	case 4:
		s.ClientError++
	case 5:
		s.ServerError++
	default:
		s.Other++
	}
}

func (s *Status) add(o *Status) {
	s.Success += o.Success
	s.Redirect += o.Redirect
	s.ClientError += o.ClientError
	s.ServerError += o.ServerError
	s.Other += o.Other
}

// Errors counts what has no answer.
type Errors struct {
	Connect uint64 `json:"connect"` // attempts to connect that failed, handshakes included
	Read    uint64 `json:"read"`    // requests whose connection ended, or broke the protocol, before the last byte
	Timeout uint64 `json:"timeout"` // requests without an answer in time
}

func (e *Errors) add(o *Errors) {
	e.Connect += o.Connect
	e.Read += o.Read
	e.Timeout += o.Timeout
}

// Latency is how the latencies of the requests that were answered are distributed.
type Latency struct {
	Mean  time.Duration `json:"mean_ns"`
	P50   time.Duration `json:"p50_ns"`
	P75   time.Duration `json:"p75_ns"`
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	P999  time.Duration `json:"p999_ns"`
	P9999 time.Duration `json:"p9999_ns"`
	Max   time.Duration `json:"max_ns"`
	Curve []Point       `json:"curve,omitempty"` // from the least to the largest
}

// Point says that Share of the latencies are at most Value.
type Point struct {
	Share float64       `json:"share"`
	Value time.Duration `json:"ns"`
}

// Failed counts the requests that did not bring what was asked for: those without an answer, and those with a status
// that is neither 2xx nor 3xx.
func (r *Result) Failed() uint64 {
	return r.Errors.Connect + r.Errors.Read + r.Errors.Timeout +
		r.Status.ClientError + r.Status.ServerError + r.Status.Other
}

// PerSecond is how many requests were answered a second.
func (r *Result) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Requests) / r.Elapsed.Seconds()
}

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(latencyMax), 3) }

// curveSteps are the points of a curve for each halving of what is above.
const curveSteps = 4

func latencyOf(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	at := func(percent float64) time.Duration { return time.Duration(h.ValueAtPercentile(percent)) }
	l := Latency{
		Mean: time.Duration(h.Mean()), P50: at(50), P75: at(75), P90: at(90), P99: at(99), P999: at(99.9),
		P9999: at(99.99), Max: time.Duration(h.Max()),
	}
	for step, above := 0, 1.0; above*float64(h.TotalCount()) > 0.5; step++ {
		above = math.Pow(0.5, float64(step)/curveSteps)
		l.Curve = append(l.Curve, Point{Share: 1 - above, Value: at(100 * (1 - above))})
	}
	l.Curve = append(l.Curve, Point{Share: 1, Value: l.Max})
	return l
}
