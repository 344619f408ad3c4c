package hitratio

import (
	"math"
	"math/rand/v2"
)

// ufo is the policy of package tinyufo: the two queues of S3-FIFO, with a small queue whose size follows the hits, and
// a contest by sketch between what leaves it and the next victim of main. docs/design/hit-ratio.md has the whole of it.
// The sketch, the adaptation and the queues have one owner; readers do no more than count a use up to 3.
type ufo struct {
	capacity             int
	target               int // entries that small strives for
	goal                 int // where target is on its way to
	targetMin, targetMax int
	index                map[uint64]int // slot<<1 of a ring position, slot<<1|1 of a place in main
	small                ufoRing
	main                 []ufoEntry
	hand                 int
	looked               bool // the entry at the hand was looked at since the hand came
	sketch               sketch
	rng                  *rand.Rand

	// The sketch is halved each time that period increments were made, a few words at a time.
	added, period, cursor int
	settled               bool // main is chosen so well that an unused candidate needs a greater lead

	insertions          int // since the target was adapted
	smallHits, mainHits int // poured from small and from main since then
	young, old          ufoTally

	// Probes tell when main holds what is not asked for any more.
	probes [ufoProbes]ufoProbe
	lost   int // contests of candidates
	passed int // used entries of main, by the hand
	wrong  int // probes in a row whose candidate came again before the entry that stayed was used
	open   int // candidates that come into main although they lost
}

// ufoProbe is a lost contest that is remembered until its candidate is inserted again.
type ufoProbe struct {
	candidate, victim uint64
	passed            int // as it was in ufo: unchanged while the hand has not left the victim because of a use
	taken             bool
}

type ufoEntry struct {
	key   uint64
	uses  uint8
	young bool // came into main after the hand's last visit to its place
}

// ufoTally counts the entries of one kind that the hand has visited.
type ufoTally struct{ entries, hits, idle int }

const (
	ufoUsesMax      = 3
	ufoTargetStart  = 0.05 // of the capacity
	ufoTargetMin    = 0.01
	ufoTargetMax    = 0.90
	ufoTargetGain   = 0.04 // of the capacity, for each e-fold of the ratio of densities
	ufoTargetStep   = 0.10 // at most, of the capacity
	ufoTargetEvery  = 1    // times the capacity: insertions
	ufoTargetPace   = 2    // entries at most by which the target moves with an insertion
	ufoPriorHits    = 0.5  // per place of either queue, so that few hits move little
	ufoPeriodStart  = 10   // times the capacity: increments
	ufoPeriodMin    = 2
	ufoPeriodMax    = 16
	ufoWordsMin     = 1024
	ufoSweep        = 16 // words halved per increment
	ufoVisitsMin    = 16 // young entries that are compared with old ones, and at least 1/16 of the capacity
	ufoWarm         = 6  // a frequency that may win by chance, against floods of chosen keys
	ufoChance       = 128
	ufoReach        = 64 // entries of main that the hand visits at most in search of a victim
	ufoSettledParts = 12
	ufoProbes       = 8
	ufoProbeEvery   = 16   // lost contests
	ufoWrongRun     = 5    // wrong contests in a row that open main
	ufoOpenStep     = 0.05 // of the capacity, for small, with each wrong contest from then on
)

func newUFO(capacity int) Policy {
	share := func(part float64) int { return max(1, int(part*float64(capacity))) }
	return &ufo{
		capacity: capacity, index: make(map[uint64]int),
		target: share(ufoTargetStart), targetMin: share(ufoTargetMin), targetMax: share(ufoTargetMax),
		goal:  share(ufoTargetStart),
		small: ufoRing{entries: make([]ufoEntry, capacity+1)}, main: make([]ufoEntry, 0, capacity),
		sketch: newSketch(max(ufoWordsMin, capacity+capacity/4)), rng: rand.New(rand.NewPCG(1, 1)),
		period: ufoPeriodStart * capacity, cursor: math.MaxInt,
	}
}

func (c *ufo) Access(key uint64) bool {
	at, ok := c.index[key]
	if !ok {
		c.insert(key)
		return false
	}
	queue := c.small.entries
	if at&1 == 1 {
		queue = c.main
	}
	if e := &queue[at>>1]; e.uses < ufoUsesMax {
		e.uses++
	}
	return true
}

func (c *ufo) insert(key uint64) {
	c.judge(key)
	c.count(key)
	c.target += min(max(c.goal-c.target, -ufoTargetPace), ufoTargetPace)
	c.index[key] = c.small.push(ufoEntry{key: key}) << 1
	for c.small.n() > c.target || c.small.n()+len(c.main) > c.capacity {
		if c.small.n() <= c.target {
			c.removeMain(c.victim()) // the target has grown
			continue
		}
		o := c.small.pop()
		if len(c.main) < c.capacity-c.target { // main fills, or the target has shrunk
			c.index[o.key] = len(c.main)<<1 | 1
			c.main = append(c.main, ufoEntry{key: o.key})
			continue
		}
		if len(c.main) == 0 { // a capacity of 1 is all small
			delete(c.index, o.key)
			continue
		}
		c.contest(o)
	}
	if c.insertions++; c.insertions >= ufoTargetEvery*c.capacity {
		c.adaptTarget()
	}
}

// contest lets o take the place of main's victim, or drops it.
func (c *ufo) contest(o ufoEntry) {
	c.smallHits += int(o.uses)
	for range o.uses {
		c.count(o.key)
	}
	victim := &c.main[c.victim()]
	f := c.sketch.frequency(o.key)
	lead := 1
	if c.settled && o.uses == 0 {
		lead = 2
	}
	wins := f >= c.sketch.frequency(victim.key)+lead || f >= ufoWarm && c.rng.Uint32()%ufoChance == 0
	if !wins && c.open == 0 {
		c.remember(o.key, victim.key)
		delete(c.index, o.key) // the victim remains under the hand
		return
	}
	if !wins {
		c.open--
	}
	delete(c.index, victim.key)
	*victim = ufoEntry{key: o.key, young: true}
	c.index[o.key] = c.hand<<1 | 1
	c.advance()
}

// victim moves the hand to the next entry without uses, but past no more than ufoReach others, and takes one use of
// each that it passes.
func (c *ufo) victim() int {
	for range ufoReach {
		if c.hand == len(c.main) {
			c.hand = 0
		}
		e := &c.main[c.hand]
		if !c.looked {
			c.looked = true
			c.look(e)
		}
		if e.uses == 0 {
			return c.hand
		}
		c.mainHits += int(e.uses)
		c.count(e.key)
		e.uses--
		c.advance()
		c.passed++
		c.open = max(0, c.open-1)
	}
	if c.hand == len(c.main) {
		c.hand = 0
	}
	return c.hand
}

func (c *ufo) advance() {
	c.hand++
	c.looked = false
}

func (c *ufo) probeOf(key uint64) *ufoProbe { return &c.probes[mix(key)>>40%ufoProbes] }

// remember takes one of so many lost contests as a probe, unless the one in its place is not decided yet.
func (c *ufo) remember(candidate, victim uint64) {
	if c.lost++; c.lost%ufoProbeEvery != 0 {
		return
	}
	p := c.probeOf(candidate)
	if p.taken {
		idle, used := c.winner(p)
		if idle {
			return
		}
		if used {
			c.wrong = 0
		}
	}
	*p = ufoProbe{candidate, victim, c.passed, true}
}

// winner reports whether the entry that stayed is in main unused, or is there and was used. Neither: it has left.
func (c *ufo) winner(p *ufoProbe) (idle, used bool) {
	at, ok := c.index[p.victim]
	if !ok || at&1 == 0 {
		return false, false
	}
	idle = p.passed == c.passed && c.main[at>>1].uses == 0
	return idle, !idle
}

// judge closes the probe of a candidate that is inserted again. Several in a row whose victim was not used till then
// say that the sketch protects what is not asked for any more: main opens, and small grows.
func (c *ufo) judge(key uint64) {
	p := c.probeOf(key)
	if !p.taken || p.candidate != key {
		return
	}
	p.taken = false
	switch idle, used := c.winner(p); {
	case used:
		c.wrong = 0
	case idle:
		if c.wrong = min(c.wrong+1, ufoWrongRun); c.wrong == ufoWrongRun {
			c.open = c.capacity
			c.goal = min(c.targetMax, c.goal+int(math.Ceil(ufoOpenStep*float64(c.capacity))))
		}
	}
}

// removeMain moves the last entry into the hole.
func (c *ufo) removeMain(at int) {
	delete(c.index, c.main[at].key)
	last := len(c.main) - 1
	if at != last {
		c.main[at] = c.main[last]
		c.index[c.main[at].key] = at<<1 | 1
	}
	c.main = c.main[:last]
	c.looked = false
}

// look compares, over many visits of the hand, the uses of entries that came in the last lap with the uses of older
// ones. When the newcomers have nearly as many, popularity moves, and the sketch has to forget sooner.
func (c *ufo) look(e *ufoEntry) {
	tally := &c.old
	if e.young {
		tally = &c.young
	}
	e.young = false
	tally.entries++
	tally.hits += int(e.uses)
	if e.uses == 0 {
		tally.idle++
	}
	if c.young.entries < max(ufoVisitsMin, c.capacity/16) {
		return
	}
	c.settled = ufoSettledParts*c.old.idle < c.old.entries+1
	fresh := 3*(c.young.hits+1)*(c.old.entries+1) > 2*(c.old.hits+1)*c.young.entries
	if !fresh {
		c.period = min(ufoPeriodMax*c.capacity, c.period+c.period/3)
	} else if !c.settled {
		c.period = max(ufoPeriodMin*c.capacity, c.period-c.period/4)
	}
	c.young, c.old = ufoTally{}, ufoTally{}
}

// adaptTarget moves places to the queue whose places had more hits.
func (c *ufo) adaptTarget() {
	size, small := float64(c.capacity), float64(c.target)
	perSmall, perMain := float64(c.smallHits)/small, float64(c.mainHits)/max(1, size-small)
	d := math.Log((perSmall + ufoPriorHits) / (perMain + ufoPriorHits))
	step := int(math.Ceil(min(ufoTargetStep, ufoTargetGain*math.Abs(d)) * size))
	if d < 0 {
		step = -step
	}
	c.goal = min(c.targetMax, max(c.targetMin, c.target+step))
	c.insertions, c.smallHits, c.mainHits = 0, 0, 0
}

// count adds one to the sketch, and goes on with the sweep that halves it.
func (c *ufo) count(key uint64) {
	if c.sketch.increment(key) {
		c.added++
	}
	if words := len(c.sketch.words); c.cursor < words {
		to := min(words, c.cursor+ufoSweep)
		c.sketch.halve(c.cursor, to)
		c.cursor = to
	}
	if c.added >= c.period {
		c.added, c.cursor = 0, 0
	}
}

// ufoRing is a queue in a ring of capacity+1 places.
type ufoRing struct {
	entries    []ufoEntry
	head, tail int // counted on, not wrapped
}

func (r *ufoRing) n() int { return r.tail - r.head }

func (r *ufoRing) push(e ufoEntry) (at int) {
	at = r.tail % len(r.entries)
	r.entries[at] = e
	r.tail++
	return at
}

func (r *ufoRing) pop() ufoEntry {
	e := r.entries[r.head%len(r.entries)]
	r.head++
	return e
}
