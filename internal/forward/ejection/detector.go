package ejection

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// Options say when members are ejected. The zero value is good. Immutable once used.
type Options struct {
	Errors     int           // the least failures in a row: Surprising may ask for more; 0: 5
	Window     time.Duration // that is compared; 0: 10 s
	Eject      time.Duration // the first ejection of a member; 0: 30 s
	MaxEjected int           // how many of 100 members at the most; 0: 50
	Random     func() uint64 // shortens ejections, so that members do not come back together; nil: not at all
}

// Limits of Options.
const (
	buckets    = 10 // of a window
	longerMost = 10 // how many times as long as the first an ejection can be
	trialWhole = 16 // so many requests at once on trial, and one more that goes well ends it
)

// Cause is why a member is ejected.
type Cause uint8

// The causes.
const (
	Ratio    Cause = iota // too many of its requests failed, beside the others
	Faults                // so many in a row got no answer
	Failures              // so many in a row were answered that it cannot serve
	Trial                 // it failed on trial
)

var causeNames = [...]string{"ejected_ratio", "ejected_faults", "ejected_failures", "ejected_on_trial"}

// Counts is how many ejections there were, by Cause.
type Counts [len(causeNames)]uint64

// String returns the reason as logs have it.
func (c Cause) String() string { return causeNames[c] }

// Member is a member that may be ejected, as its service knows it.
type Member struct {
	Slot  int
	Which any  // tells apart members that have the same slot one after the other; comparable
	Open  bool // it serves, or would without an ejection

	// Checked says that it has passed a check since it was ejected, which ends an ejection for faults.
	Checked bool
}

// Action is what is to be done with a member.
type Action struct {
	Member Member
	Eject  bool // false: it is on trial
	Cause  Cause
	For    time.Duration // of Eject
	Failed int           // of Requests in the window
	Asked  int
}

// Failed is the failure of a request.
type Failed struct {
	Fault bool   // there was no answer
	Once  any    // failures of equal Once that is not nil count as one in a row: a connection with many requests
	Route string // whose request it was
}

// Detector finds the members that are to be ejected. Its methods name a member by its slot and by what tells it apart
// from others in that slot: a late result of a member that has gone does not count for its successor.
// Safe for any goroutine; the arguments reactor and now belong to the reactor that calls.
//
//	trials is the number of records that are on trial
type Detector struct {
	opts    Options
	every   int64 // between two comparisons: a second, or a window that is shorter
	list    func() []Member
	locals  []reactorCounts
	records atomic.Pointer[[]*record] // by slot; written with mu held
	trials  atomic.Int32              // records that are on trial; written with mu held

	mu         sync.Mutex
	bucket     int64 // number of the bucket that is filled, guarded by mu
	comparedAt int64 // when members were compared last, guarded by mu
}

// reactorCounts is what one reactor has counted since it published its counts.
// Owned by its reactor.
type reactorCounts struct {
	counts    []tally // by slot
	dirty     []int
	publishAt int64    // when it tells the others
	_         [72]byte // keeps the counts of two reactors apart in memory
}

// count is requests and how many of them failed.
type count struct{ n, failed uint32 }

func (c *count) add(more count) {
	c.n += more.n
	c.failed += more.failed
}

// tally is a count of the requests to one member.
// Owned by its reactor.
type tally struct {
	count
	of *record // of the member that the first one was for
}

// record is what is known of a member over all reactors.
// Safe for any goroutine: alert is atomic, which never changes, the rest is guarded by Detector.mu.
//
//	0 <= underWay
//	onTrial  =>  not ejected
type record struct {
	alert atomic.Bool // a good outcome ends something, or it is on trial

	which         any
	window        [buckets]count
	faults        int // in a row
	failures      int // in a row
	since         int64
	route         string
	severalRoutes bool // the failures in a row are of several routes
	lastOnce      any
	ejected       bool
	onTrial       bool
	until         int64
	reopened      int64
	timesLonger   int  // how many times as long as the first the last ejection was; 0: there was none
	faulty        bool // the ejection is for a fault
	checked       bool // it has passed a check since
	trialRequests int  // requests that may be under way at once, at first 1
	underWay      int  // requests that Admit has counted; the requests of a trial before are among them
}

// New makes a Detector for so many reactors. list returns the members that there are; it is called once a second, and
// after failures.
func New(reactors int, o Options, list func() []Member) *Detector {
	o.Errors = cmp.Or(o.Errors, 5)
	o.Window = cmp.Or(o.Window, 10*time.Second)
	o.Eject = cmp.Or(o.Eject, 30*time.Second)
	o.MaxEjected = cmp.Or(o.MaxEjected, 50)
	if o.Random == nil {
		o.Random = func() uint64 { return 0 }
	}
	d := &Detector{
		opts: o, every: int64(min(time.Second, o.Window)), list: list, locals: make([]reactorCounts, reactors),
	}
	d.records.Store(&[]*record{})
	return d
}

// Good notes a request of the member in slot that went well. It returns what is to be done, mostly nothing.
func (d *Detector) Good(reactor, slot int, which any, now int64) []Action {
	l, r := &d.locals[reactor], d.record(slot)
	l.at(slot, r).n++
	if r != nil && r.alert.Load() {
		d.recordSuccess(r, which)
	}
	if now < l.publishAt {
		return nil
	}
	return d.publish(l, now)
}

// Bad notes a request of the member in slot that failed. It returns what is to be done.
func (d *Detector) Bad(reactor, slot int, which any, f Failed, now int64) []Action {
	l := &d.locals[reactor]
	c := l.at(slot, d.record(slot))
	c.n++
	c.failed++
	all := d.publish(l, now)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.recordOf(slot, which) == nil {
		d.updateRecords() // the member is new, or it has gone
	}
	if r := d.recordOf(slot, which); r != nil && !r.ejected {
		all = d.recordFailure(r, slot, f, now, all)
	}
	return all
}

// Trying reports whether any member is on trial: then Admit says which requests it may get.
func (d *Detector) Trying() bool { return d.trials.Load() > 0 }

// Admission is what Admit says.
type Admission uint8

// The admissions.
const (
	Free    Admission = iota // the member is not on trial
	Counted                  // it gets the request, whose end Leave is to be told
	Refused                  // it has as many requests as it may
)

// Admit says whether the member in slot may get a request: a member on trial gets few at a time. It gets it anyway
// where must is set.
func (d *Detector) Admit(slot int, which any, must bool) Admission {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.recordOf(slot, which)
	switch {
	case r == nil || !r.onTrial:
		return Free
	case r.underWay >= r.trialRequests && !must:
		return Refused
	}
	r.underWay++
	return Counted
}

// OnTrial reports whether the member in slot gets few requests.
func (d *Detector) OnTrial(slot int, which any) bool {
	if !d.Trying() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.recordOf(slot, which)
	return r != nil && r.onTrial
}

// Leave notes the end of a request that Admit has counted.
func (d *Detector) Leave(slot int, which any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.recordOf(slot, which); r != nil {
		r.underWay--
		r.check()
	}
}

// at returns the counts of a member, whose record is r.
func (l *reactorCounts) at(slot int, r *record) *tally {
	if slot >= len(l.counts) {
		l.counts = append(l.counts, make([]tally, slot+16-len(l.counts))...)
	}
	c := &l.counts[slot]
	if c.n == 0 {
		c.of = r
		l.dirty = append(l.dirty, slot)
	}
	return c
}

func (d *Detector) record(slot int) *record {
	if all := *d.records.Load(); slot < len(all) {
		return all[slot]
	}
	return nil
}

// recordOf returns the record of a member; nil: there is none, or another member has the slot. mu is held.
func (d *Detector) recordOf(slot int, which any) *record {
	if r := d.record(slot); r != nil && r.which == which {
		return r
	}
	return nil
}

// recordSuccess ends what failures in a row there were, and goes on with a trial.
func (d *Detector) recordSuccess(r *record, which any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.which != which {
		return
	}
	r.faults, r.failures, r.lastOnce = 0, 0, nil
	if !r.onTrial {
		r.alert.Store(false)
		return
	}
	if r.trialRequests *= 2; r.trialRequests > trialWhole {
		d.endTrial(r)
		r.alert.Store(false)
	}
}

// endTrial ends the trial of r, if it is on one. mu is held.
func (d *Detector) endTrial(r *record) {
	if r.onTrial {
		r.onTrial = false
		d.trials.Add(-1)
	}
	d.check()
}

// recordFailure notes a failure and returns all and the ejection for too many in a row. mu is held.
func (d *Detector) recordFailure(r *record, slot int, f Failed, now int64, all []Action) []Action {
	r.alert.Store(true)
	if r.onTrial {
		return d.eject(all, slot, Trial, f.Fault, now)
	}
	if f.Once != nil && f.Once == r.lastOnce {
		return all
	}
	r.lastOnce = f.Once
	switch {
	case f.Fault:
		r.faults++
	case r.failures == 0:
		r.failures, r.since, r.route, r.severalRoutes = 1, now, f.Route, false
	default:
		r.failures++
		r.severalRoutes = r.severalRoutes || r.route != f.Route
	}
	row := max(r.faults, r.failures)
	if row < d.opts.Errors || !Surprising(row, d.failureShareOfOthers(r)) {
		return all
	}
	switch {
	case r.faults == row:
		return d.eject(all, slot, Faults, true, now)
	case r.severalRoutes || now-r.since >= int64(time.Second):
		return d.eject(all, slot, Failures, false, now)
	}
	return all
}

// failureShareOfOthers returns the share of the requests to members other than the member of r that fail, at the most.
// mu is held.
func (d *Detector) failureShareOfOthers(r *record) float64 {
	var sum count
	for _, other := range *d.records.Load() {
		if other != nil && other != r {
			sum.add(other.requests())
		}
	}
	return share(int(sum.n), int(sum.failed))
}

// publish adds what l has counted to what all know, and compares the members where that was a second ago.
func (d *Detector) publish(l *reactorCounts, now int64) (all []Action) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.comparedAt == 0 || now-d.comparedAt >= d.every {
		d.updateRecords()
	}
	d.dropOldBuckets(now)
	records := *d.records.Load()
	stale := now-l.publishAt > int64(d.opts.Window)
	for _, slot := range l.dirty {
		c := &l.counts[slot]
		// Another member may have the slot by now.
		if r := c.of; r != nil && slot < len(records) && records[slot] == r && !r.ejected && !stale {
			r.window[d.bucket%buckets].add(c.count)
		}
		*c = tally{}
	}
	l.dirty = l.dirty[:0]
	l.publishAt = now + d.every
	if now-d.comparedAt < d.every {
		return nil
	}
	d.comparedAt = now
	return d.ejectOutliers(now)
}

// updateRecords makes a record for each new member, and drops the records of those that have gone. mu is held.
func (d *Detector) updateRecords() {
	old := *d.records.Load()
	next := make([]*record, 0, len(old))
	for _, m := range d.list() {
		for m.Slot >= len(next) {
			next = append(next, nil)
		}
		if m.Slot >= len(old) || old[m.Slot] == nil || old[m.Slot].which != m.Which {
			next[m.Slot] = &record{which: m.Which}
			continue
		}
		next[m.Slot] = old[m.Slot]
		next[m.Slot].checked = m.Checked
	}
	d.records.Store(&next)
	d.trials.Store(trialsIn(next))
	d.check()
}

func trialsIn(records []*record) (n int32) {
	for _, r := range records {
		if r != nil && r.onTrial {
			n++
		}
	}
	return n
}

// check panics when an invariant of d does not hold. mu is held.
func (d *Detector) check() {
	if invariant.On {
		trials := trialsIn(*d.records.Load())
		invariant.That(trials == d.trials.Load(), "%d are on trial, %d are counted", trials, d.trials.Load())
	}
}

// check panics when an invariant of r does not hold. Detector.mu is held.
func (r *record) check() {
	invariant.That(r.underWay >= 0, "%d requests on trial are under way", r.underWay)
	invariant.That(!r.onTrial || !r.ejected, "a member is ejected and on trial")
}

// dropOldBuckets empties the buckets that are older than the window. mu is held.
func (d *Detector) dropOldBuckets(now int64) {
	at := now / (int64(d.opts.Window) / buckets)
	if at <= d.bucket {
		return
	}
	empty := min(at-d.bucket, buckets)
	for _, r := range *d.records.Load() {
		for i := int64(0); r != nil && i < empty; i++ {
			r.window[(at-i)%buckets] = count{}
		}
	}
	d.bucket = at
}

func (r *record) requests() (sum count) {
	for _, b := range r.window {
		sum.add(b)
	}
	return sum
}

// ejectOutliers ejects members that are outliers, and puts those on trial whose time is over. mu is held.
func (d *Detector) ejectOutliers(now int64) (all []Action) {
	records := *d.records.Load()
	var total count
	for _, r := range records {
		if r != nil {
			total.add(r.requests())
		}
	}
	for slot, r := range records {
		switch {
		case r == nil:
		case r.ejected && (now >= r.until || r.faulty && r.checked):
			all = append(all, d.beginTrial(r, slot, now))
		case !r.ejected:
			c := r.requests()
			if Outlier(int(c.n), int(c.failed), int(total.n), int(total.failed)) {
				all = d.eject(all, slot, Ratio, false, now)
			}
		}
	}
	return all
}

// beginTrial puts r, which is ejected, on trial. mu is held.
func (d *Detector) beginTrial(r *record, slot int, now int64) Action {
	r.ejected, r.onTrial, r.reopened, r.trialRequests = false, true, now, 1
	d.trials.Add(1)
	r.alert.Store(true)
	r.check()
	d.check()
	return Action{Member: Member{Slot: slot, Which: r.which}}
}

// LastResort puts the ejected members on trial where no other one serves: those that did have gone, or fail their
// checks, and then any of these is better than none. It returns what is to be done.
func (d *Detector) LastResort(now int64) (all []Action) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ejected := func(m Member) bool {
		r := d.recordOf(m.Slot, m.Which)
		return r != nil && r.ejected
	}
	if !slices.ContainsFunc(*d.records.Load(), func(r *record) bool { return r != nil && r.ejected }) {
		return nil
	}
	members := d.list()
	if slices.ContainsFunc(members, func(m Member) bool { return m.Open && !ejected(m) }) {
		return nil
	}
	for _, m := range members {
		if m.Open {
			all = append(all, d.beginTrial(d.record(m.Slot), m.Slot, now))
		}
	}
	return all
}

// eject returns all and the ejection of a member, unless too many are ejected or it is the last one. fault says that
// it is for one. mu is held.
func (d *Detector) eject(all []Action, slot int, why Cause, fault bool, now int64) []Action {
	members, ejected, others := 0, 0, 0
	for _, m := range d.list() {
		r := d.recordOf(m.Slot, m.Which)
		if r == nil {
			continue
		}
		members++
		switch {
		case r.ejected:
			ejected++
		case m.Open && m.Slot != slot:
			others++
		}
	}
	if most := max(members*d.opts.MaxEjected/100, 1); others == 0 || ejected >= most {
		return all
	}
	r := d.record(slot)
	switch {
	case r.timesLonger > 0 && now-r.reopened < longerMost*int64(d.opts.Eject):
		r.timesLonger = min(2*r.timesLonger, longerMost)
	default:
		r.timesLonger = 1
	}
	c := r.requests()
	length := time.Duration(r.timesLonger) * d.opts.Eject
	length -= time.Duration(d.opts.Random() % uint64(length/5+1))
	d.endTrial(r)
	r.ejected, r.until, r.faulty, r.checked = true, now+int64(length), fault, false
	r.window = [buckets]count{}
	r.faults, r.failures, r.lastOnce = 0, 0, nil
	r.alert.Store(false)
	return append(all, Action{Member: Member{Slot: slot, Which: r.which}, Eject: true, Cause: why, For: length,
		Failed: int(c.failed), Asked: int(c.n)})
}
