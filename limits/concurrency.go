package limits

import (
	"math"
	"time"
)

// Window is what was measured of a service in some time.
type Window struct {
	Samples  int           // answers
	Latency  time.Duration // to an answer, the mean of those
	InFlight float64       // requests under way, the mean over the time
	Most     int           // the most that were under way at a moment
	Held     bool          // a request was held back because of the limit
}

// A Window is to be at least so long and to have so many samples: fewer tell nothing of the mean.
const (
	WindowLeast  = 100 * time.Millisecond
	SamplesLeast = 50
)

// Concurrency finds how many requests a service takes at a time before they only wait inside it. It is told what was
// measured, window by window, and says the limit for the next one.
//
// While nothing is held back it learns the floor, the latency without a queue, and keeps the limit well above what is
// under way: so it does not hold back before there is a queue. While something is held back, Little's law says how many
// requests are in work, under way × floor / latency; what is above stands in a queue inside the service. The limit goes
// down where that queue is long for the work, and up where it is short, unless far fewer requests are under way: then
// another limit holds them back. To know the floor while it holds back, it goes below the requests in work for two
// windows from time to time: then the queue is empty, and the latency is the floor.
//
// The queue by latency is taken from TCP Vegas (Brakmo and Peterson 1995). That the limit doubles at first while that
// brings more answers, and that the floor is measured while less is under way, is from BBR (Cardwell and others 2016).
// The zero value is not ready: see NewConcurrency. Owned by one goroutine.
//
//	limit >= concurrencyLeast
//	floor >= 0, 0 before the first window
type Concurrency struct {
	limit    float64
	floor    float64 // ns
	probe    probe
	kept     float64 // the limit before a probe
	drained  int     // windows that the present probe has drained for
	held     int64   // since when something is held back; 0: nothing is
	next     int64   // when the next probe begins, or the present one has
	last     int64   // when Update was called last
	rate     float64 // answers per ns in the window before
	starting bool    // no queue was seen yet: the limit doubles
}

// probe is where a Concurrency stands in measuring the floor.
type probe uint8

const (
	noProbe  probe = iota
	draining       // the queue empties; the latency of this window is not used
	measuring
)

const (
	concurrencyStart = 20
	probeShare       = 20 // at most such a part of the time is spent on probes
	drainMost        = 8
	concurrencyLeast = 4
	concurrencyMost  = 1 << 30
	probeAfter       = int64(time.Second)      // of holding back
	probeEvery       = 10 * int64(time.Second) // from then on
)

// NewConcurrency returns a Concurrency that knows nothing of the service.
func NewConcurrency() *Concurrency { return &Concurrency{limit: concurrencyStart, starting: true} }

// Limit returns how many requests may be under way.
func (c *Concurrency) Limit() int { return int(c.limit) }

// Floor returns the latency of the service without a queue, 0 while it is not known.
func (c *Concurrency) Floor() time.Duration { return time.Duration(c.floor) }

// Update takes what was measured up to now, in ns of any clock, since the call before.
func (c *Concurrency) Update(now int64, w Window) {
	defer c.check()
	rtt := float64(w.Latency)
	if w.Samples == 0 || rtt <= 0 {
		return
	}
	rate := float64(w.Samples) / max(float64(now-c.last), 1)
	c.last = now
	if c.floor == 0 {
		c.floor = rtt
	}
	switch {
	case c.probe != noProbe:
		c.step(now, rtt, w.InFlight)
	case !w.Held:
		c.free(rtt, float64(w.Most))
	case c.starting:
		c.start(rtt, rate)
	default:
		c.hold(now, rtt, &w)
	}
	c.rate = rate
}

// start is Update where something was held back and no queue was ever seen: while twice the limit brings more answers,
// there is none.
func (c *Concurrency) start(rtt, rate float64) {
	if c.rate > 0 && (rate < 1.5*c.rate || rtt > 2*c.floor) {
		c.starting = false
		return
	}
	c.floor = max(c.floor, rtt)
	c.limit = min(2*c.limit, concurrencyMost)
}

// hold is Update where something was held back.
func (c *Concurrency) hold(now int64, rtt float64, w *Window) {
	if c.held == 0 {
		c.held, c.next = now, now+probeAfter
	}
	bdp := w.InFlight * min(1, c.floor/rtt)
	// The mean of few samples says little: the spread of latencies is about their mean.
	most := 0.2 + 2/math.Sqrt(float64(w.Samples))
	switch queue := w.InFlight - bdp; {
	case queue > most*bdp+3:
		c.limit = max(0.9*c.limit, 1.2*bdp+3)
	case queue < most/2*bdp+3 && c.limit < 2*float64(w.Most)+concurrencyStart: // else something else holds back
		c.limit += max(1, c.limit/20)
	}
	c.limit = max(c.limit, concurrencyLeast)
	if now >= c.next {
		c.probe, c.kept, c.next = draining, c.limit, now
		c.limit = max(0.7*bdp, concurrencyLeast)
	}
}

// free is Update where nothing was held back.
func (c *Concurrency) free(rtt, most float64) {
	c.held = 0
	if rtt < c.floor {
		c.floor += (rtt - c.floor) / 4
	} else {
		c.floor += (rtt - c.floor) / 64
	}
	if rtt < 2*c.floor {
		c.limit = max(c.limit, 2*most, concurrencyStart)
	}
	if c.limit > 3*most+concurrencyStart {
		c.limit -= c.limit / 64
	}
}

// step goes on with a probe after a window of rtt.
func (c *Concurrency) step(now int64, rtt, inFlight float64) {
	if c.probe == draining {
		// Answers of the next window are to belong to requests that came when the queue was empty.
		if c.drained++; inFlight <= 1.2*c.limit+1 || c.drained == drainMost {
			c.probe, c.drained = measuring, 0
		}
		return
	}
	c.floor = rtt
	c.limit, c.probe, c.next = c.kept, noProbe, now+max(probeEvery, probeShare*(now-c.next))
}
