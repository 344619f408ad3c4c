package balance

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"time"
)

const (
	way       = int64(100 * time.Microsecond) // from the proxy to a backend, and back
	failsIn   = int64(100 * time.Microsecond) // how long an answer 503 takes at the backend
	endOfTime = int64(1) << 62
)

// request is a request that is under way, or an attempt of a request that has two. It lives in world.requests, and its
// place is used again.
type request struct {
	came    int64 // when the proxy has it
	picked  int64 // when the attempt began
	demand  int64 // how long a worker needs for it, ns
	wait    int64 // how long it waits for an event, without a worker
	delay   int64 // after which it may be hedged
	began   int64 // when a worker began with it
	backend int32
	reactor int32
	twin    int32 // its other attempt, which is under way; or none
	failed  bool
	armed   bool // it is looked at once more after delay, and keeps its place until then
	over    bool // there is an answer to it, or to its twin
	second  bool // it is the second attempt
	works   bool // a worker has begun with it
	stopped bool // and has ended before its time
}

// none is the twin of a request that has no other attempt.
const none = int32(-1)

// member is a backend: workers with a line of requests before them.
type member struct {
	workers, busy int
	line          delay // of requests, in the order in which they came
	pauses        []span
	pause         int // the first of pauses that is not over
}

// timed is something that happens to a request, or to a reactor, at a time.
type timed struct {
	at   int64
	what int32
}

// delay is a queue of events that are due in the order in which they were added, since each takes the same time or
// waits for its turn: it needs no heap.
type delay struct {
	list []timed
	next int
}

func (d *delay) push(at int64, what int32) { d.list = append(d.list, timed{at, what}) }

// at returns when the first of the line happens.
func (d *delay) at() int64 {
	if d.next == len(d.list) {
		return endOfTime
	}
	return d.list[d.next].at
}

func (d *delay) pop() int32 {
	what := d.list[d.next].what
	if d.next++; d.next > 1<<12 && d.next*2 > len(d.list) {
		d.list = d.list[:copy(d.list, d.list[d.next:])]
		d.next = 0
	}
	return what
}

// heap is what happens at any time, the earliest first.
type heap []timed

func (h heap) at() int64 {
	if len(h) == 0 {
		return endOfTime
	}
	return h[0].at
}

func (h *heap) push(at int64, what int32) {
	list := append(*h, timed{})
	i := len(list) - 1
	for i > 0 && list[(i-1)/2].at > at {
		list[i] = list[(i-1)/2]
		i = (i - 1) / 2
	}
	list[i] = timed{at, what}
	*h = list
}

func (h *heap) pop() int32 {
	list := *h
	what, last, n := list[0].what, list[len(list)-1], len(list)-1
	list = list[:n]
	for i := 0; n > 0; {
		child := 2*i + 1
		if child+1 < n && list[child+1].at < list[child].at {
			child++
		}
		if child >= n || list[child].at >= last.at {
			list[i] = last
			break
		}
		list[i] = list[child]
		i = child
	}
	*h = list
	return what
}

// world is the backends, the requests under way and the time.
// Owned by the goroutine that runs it.
type world struct {
	*Scenario
	now      int64
	members  []member
	requests []request
	free     []int32
	arrivals arrivals

	toBackend, toProxy delay
	finished           heap // of work at a backend
	awake              heap // of waiting for an event
	result             *Result
	seen               *latencies
	spent              []int64 // by backend: from the pick to the answer
}

func newWorld(s *Scenario, members, requests int, seed uint64) *world {
	w := &world{Scenario: s, members: make([]member, members), spent: make([]int64, members), seen: newLatencies()}
	w.arrivals = newArrivals(s, members, requests, seed)
	horizon := int64((float64(requests)/s.rate(members)*2 + 600) * 1e9)
	for i := range w.members {
		m := &w.members[i]
		m.workers = s.Workers[i%len(s.Workers)]
		m.pauses = s.pauses(i, members, horizon, stream(seed, 1000+uint64(i)))
	}
	w.result = &Result{Picks: make([]int, members)}
	return w
}

// take returns a request that has just come.
func (w *world) take() int32 {
	id := w.place()
	w.requests[id] = w.arrivals.request()
	w.requests[id].came, w.requests[id].picked = w.now, w.now
	return id
}

// place returns where a request may live. It may move the others.
func (w *world) place() (id int32) {
	if n := len(w.free); n > 0 {
		id, w.free = w.free[n-1], w.free[:n-1]
		return id
	}
	w.requests = append(w.requests, request{})
	return int32(len(w.requests) - 1)
}

// wrong is what is wrong with a backend.
type wrong struct {
	factor float64 // how much slower it is
	fails  float64 // part of its requests
	hangs  float64 // part of its requests that takes hang longer
	hang   int64
	closed bool
}

func (w *world) trouble(i int) (now wrong) {
	now.factor = 1
	for k := range w.Troubles {
		t := &w.Troubles[k]
		if first, last := t.hits(len(w.members)); i < first || i >= last || !t.active(w.now) {
			continue
		}
		switch t.Kind {
		case slower:
			now.factor *= t.Factor
		case warming:
			now.factor *= t.Factor - (t.Factor-1)*t.part(w.now)
		case failing:
			now.fails = cmp.Or(t.Factor, 1)
		case hanging:
			now.hangs, now.hang = t.Factor, int64(t.For*1e9)
		case closed:
			now.closed = true
		}
	}
	return now
}

// start has a worker of backend i begin with a request.
func (w *world) start(i int, id int32) {
	m := &w.members[i]
	m.busy++
	w.requests[id].works, w.requests[id].began = true, w.now
	w.finished.push(m.end(w.now, int64(float64(w.requests[id].demand)*w.trouble(i).factor)), id)
}

// paused reports whether m stands still, at a time that is not before the time of the last call.
func (m *member) paused(now int64) bool {
	for m.pause < len(m.pauses) && m.pauses[m.pause].until <= now {
		m.pause++
	}
	return m.pause < len(m.pauses) && m.pauses[m.pause].from <= now
}

// end returns when work of d is done that begins now.
func (m *member) end(now, d int64) int64 {
	if m.paused(now) {
		now = m.pauses[m.pause].until
	}
	end := now + d
	for _, p := range m.pauses[m.pause:] {
		if p.from >= end {
			break
		}
		if p.from >= now {
			end += p.until - p.from
		}
	}
	return end
}

// record counts an answer that the proxy has got.
func (w *world) record(r *request) {
	w.result.Picks[r.backend]++
	w.spent[r.backend] += w.now - r.picked
	switch {
	case r.failed:
		w.result.Failed++
	case r.wait == 0:
		w.seen.add(w.now - r.came)
	}
}

// finish works out what the answers say.
func (w *world) finish() *Result {
	r := w.result
	r.P50, r.P99, r.P999 = w.seen.quantile(0.5), w.seen.quantile(0.99), w.seen.quantile(0.999)
	most, sum, weights := 0.0, 0.0, 0.0
	for i := w.troubled(len(w.members)); i < len(w.members); i++ {
		weight := float64(w.Weights[i%len(w.Weights)])
		most = max(most, float64(w.spent[i])/weight)
		sum += float64(w.spent[i])
		weights += weight
	}
	if sum > 0 {
		r.Imbalance = most / (sum / weights)
	}
	return r
}

// arrivals is the requests that come: the same ones for each method.
type arrivals struct {
	s           *Scenario
	rate        float64 // of a constant wave, a second
	left        int
	times, work *rand.Rand
	next        int64
	nextDemand  int64
	nextWait    int64
}

func newArrivals(s *Scenario, members, requests int, seed uint64) arrivals {
	a := arrivals{s: s, rate: s.rate(members), left: requests,
		times: stream(seed, 1), work: stream(seed, 2)}
	a.advance()
	return a
}

// request returns the request that has come, and sets out for the next.
func (a *arrivals) request() request {
	r := request{demand: a.nextDemand, wait: a.nextWait, twin: none}
	a.advance()
	return r
}

// advance finds the next request: requests at the highest rate are thinned out (Lewis and Shedler 1979).
func (a *arrivals) advance() {
	if a.left == 0 {
		a.next = endOfTime
		return
	}
	a.left--
	peak := max(a.s.Wave.Factor, 1)
	for {
		a.next += int64(a.times.ExpFloat64() / (a.rate * peak) * 1e9)
		if peak == 1 || a.times.Float64()*peak < a.s.Wave.at(a.next) {
			break
		}
	}
	a.nextDemand, a.nextWait = int64(a.s.Service.draw(a.work)*1e9), 0
	if a.s.Polls > 0 && a.work.Float64() < a.s.Polls {
		a.nextDemand, a.nextWait = 0, int64(a.s.PollWait.Seconds()*a.work.ExpFloat64()*1e9)
	}
}

// stream returns a source of random numbers: each seed has many that have nothing to do with one another.
func stream(seed, number uint64) *rand.Rand {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	binary.LittleEndian.PutUint64(key[8:], number)
	return rand.New(rand.NewChaCha8(key))
}
