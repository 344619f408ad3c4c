package ejection

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options say when members are ejected. The zero value is good. Immutable once used.
type Options struct {
	Errors     int           // failures in a row; 0: 5
	Window     time.Duration // that is compared; 0: 10 s
	Eject      time.Duration // the first ejection of a member; 0: 30 s
	MaxEjected int           // how many of 100 members at the most; 0: 50
	Random     func() uint64 // shortens ejections, so that members do not come back together; nil: not at all
}

// Limits of Options.
const (
	buckets       = 10 // of a window
	longerMost    = 10 // how many times as long as the first an ejection can be
	trialWhole    = 16 // so many requests on trial that go well end it
	trialPatience = 5 * time.Second
)

// Cause is why a member is ejected.
type Cause uint8

// The causes.
const (
	Ratio    Cause = iota // too many of its requests failed, beside those of the others
	Faults                // so many in a row got no answer
	Failures              // so many in a row were answered that it cannot serve
	Trial                 // it failed on trial
)

var causeNames = [...]string{"ejected_ratio", "ejected_faults", "ejected_failures", "ejected_on_trial"}

// String returns the reason as logs have it.
func (c Cause) String() string { return causeNames[c] }

// Member is one that may be ejected, as its service knows it.
type Member struct {
	Slot  int
	Which any  // tells apart members that have the same slot one after the other; comparable
	Open  bool // nothing but an ejection keeps it from serving
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

// Detector finds the members that are to be ejected.
// Safe for any goroutine; the arguments reactor and now belong to the reactor that calls.
type Detector struct {
	opts    Options
	list    func() []Member
	locals  []local
	records atomic.Pointer[[]*record] // by slot; written with mu held

	mu        sync.Mutex
	bucket    int64 // number of the bucket that is filled, guarded by mu
	evaluated int64 // when members were compared last, guarded by mu
}

// local is what one reactor has counted since it told the others.
// Owned by its reactor.
type local struct {
	counts []count // by slot
	dirty  []int
	due    int64    // when it tells the others
	_      [72]byte // those of two reactors are neighbours in memory
}

// count is requests and how many of them failed.
type count struct{ n, failed uint32 }

// record is what is known of a member over all reactors.
// Safe for any goroutine: alert is atomic, the rest is guarded by Detector.mu.
type record struct {
	alert   atomic.Bool // a good outcome ends something, or it is on trial
	onTrial atomic.Bool

	which     any
	window    [buckets]count
	faults    int // in a row
	failures  int // in a row
	since     int64
	route     string
	manifold  bool // the failures in a row are of several routes
	once      any
	ejected   bool
	until     int64
	reopened  int64
	longer    int // how many times as long as the first the last ejection was; 0: there was none
	trial     int // requests that may be sent until one of them went well, at first 1
	granted   int // how many were
	grantedAt int64
}

// New makes a Detector for so many reactors. list returns the members that there are; it is called once a second, and
// after failures.
func New(reactors int, o Options, list func() []Member) *Detector {
	if o.Errors == 0 {
		o.Errors = 5
	}
	if o.Window == 0 {
		o.Window = 10 * time.Second
	}
	if o.Eject == 0 {
		o.Eject = 30 * time.Second
	}
	if o.MaxEjected == 0 {
		o.MaxEjected = 50
	}
	if o.Random == nil {
		o.Random = func() uint64 { return 0 }
	}
	d := &Detector{opts: o, list: list, locals: make([]local, reactors)}
	d.records.Store(&[]*record{})
	return d
}

// Good notes a request of the member in slot that went well. It returns what is to be done, mostly nothing.
func (d *Detector) Good(reactor, slot int, now int64) []Action {
	l := &d.locals[reactor]
	l.at(slot).n++
	if r := d.record(slot); r != nil && r.alert.Load() {
		d.wentWell(r)
	}
	if now < l.due {
		return nil
	}
	return d.tell(l, now)
}

// Bad notes a request of the member in slot that failed. It returns what is to be done.
func (d *Detector) Bad(reactor, slot int, f Failed, now int64) []Action {
	l := &d.locals[reactor]
	c := l.at(slot)
	c.n++
	c.failed++
	all := d.tell(l, now)
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.record(slot); r != nil && !r.ejected {
		all = d.inARow(r, slot, f, now, all)
	}
	return all
}

// Admits reports whether the member in slot may get a request: one that is on trial gets few.
func (d *Detector) Admits(slot int, now int64) bool {
	r := d.record(slot)
	if r == nil || !r.onTrial.Load() {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.granted >= r.trial && now-r.grantedAt < int64(trialPatience) {
		return false
	}
	r.granted++
	r.grantedAt = now
	return true
}

// at returns the counts of a member.
func (l *local) at(slot int) *count {
	if slot >= len(l.counts) {
		l.counts = append(l.counts, make([]count, slot+16-len(l.counts))...)
	}
	c := &l.counts[slot]
	if c.n == 0 {
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

// wentWell ends what failures in a row there were, and goes on with a trial.
func (d *Detector) wentWell(r *record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r.faults, r.failures, r.once = 0, 0, nil
	if !r.onTrial.Load() {
		r.alert.Store(false)
		return
	}
	if r.trial *= 2; r.trial > trialWhole {
		r.onTrial.Store(false)
		r.alert.Store(false)
	}
	r.granted = 0
}

// inARow notes a failure and returns all and the ejection for too many in a row. mu is held.
func (d *Detector) inARow(r *record, slot int, f Failed, now int64, all []Action) []Action {
	r.alert.Store(true)
	if r.onTrial.Load() {
		return d.eject(all, slot, Trial, now)
	}
	if f.Once != nil && f.Once == r.once {
		return all
	}
	r.once = f.Once
	switch {
	case f.Fault:
		r.faults++
	case r.failures == 0:
		r.failures, r.since, r.route, r.manifold = 1, now, f.Route, false
	default:
		r.failures++
		r.manifold = r.manifold || r.route != f.Route
	}
	row := max(r.faults, r.failures)
	if row < d.opts.Errors || !Surprising(row, d.others(r)) {
		return all
	}
	switch {
	case r.faults == row:
		return d.eject(all, slot, Faults, now)
	case r.manifold || now-r.since >= int64(time.Second):
		return d.eject(all, slot, Failures, now)
	}
	return all
}

// others returns the share of the requests to other members than that of r that fail, at the most. mu is held.
func (d *Detector) others(r *record) float64 {
	var sum count
	for _, other := range *d.records.Load() {
		if other != nil && other != r {
			c := other.requests()
			sum.n += c.n
			sum.failed += c.failed
		}
	}
	return share(int(sum.n), int(sum.failed))
}

// tell adds what l has counted to what all know, and compares the members where that was a second ago.
func (d *Detector) tell(l *local, now int64) (all []Action) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.evaluated == 0 || now-d.evaluated >= int64(time.Second) {
		d.follow()
	}
	d.advance(now)
	records := *d.records.Load()
	stale := now-l.due > int64(d.opts.Window)
	for _, slot := range l.dirty {
		c := &l.counts[slot]
		if slot < len(records) && records[slot] != nil && !records[slot].ejected && !stale {
			b := &records[slot].window[d.bucket%buckets]
			b.n += c.n
			b.failed += c.failed
		}
		*c = count{}
	}
	l.dirty = l.dirty[:0]
	l.due = now + int64(time.Second)
	if now-d.evaluated < int64(time.Second) {
		return nil
	}
	d.evaluated = now
	return d.compare(now)
}

// follow has a record for each member that there is, and none of those that have gone. mu is held.
func (d *Detector) follow() {
	old := *d.records.Load()
	next := make([]*record, 0, len(old))
	for _, m := range d.list() {
		for m.Slot >= len(next) {
			next = append(next, nil)
		}
		if m.Slot < len(old) && old[m.Slot] != nil && old[m.Slot].which == m.Which {
			next[m.Slot] = old[m.Slot]
			continue
		}
		next[m.Slot] = &record{which: m.Which}
	}
	d.records.Store(&next)
}

// advance empties the buckets that are older than the window. mu is held.
func (d *Detector) advance(now int64) {
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

// requests returns the sum of the window.
func (r *record) requests() (sum count) {
	for _, b := range r.window {
		sum.n += b.n
		sum.failed += b.failed
	}
	return sum
}

// compare ejects members that are outliers, and puts those on trial whose time is over. mu is held.
func (d *Detector) compare(now int64) (all []Action) {
	records := *d.records.Load()
	var total count
	for _, r := range records {
		if r != nil {
			c := r.requests()
			total.n += c.n
			total.failed += c.failed
		}
	}
	for slot, r := range records {
		switch {
		case r == nil:
		case r.ejected && now >= r.until:
			all = append(all, r.reopen(slot, now))
		case !r.ejected:
			c := r.requests()
			if Outlier(int(c.n), int(c.failed), int(total.n), int(total.failed)) {
				all = d.eject(all, slot, Ratio, now)
			}
		}
	}
	return all
}

// reopen puts r, which is ejected, on trial. mu is held.
func (r *record) reopen(slot int, now int64) Action {
	r.ejected, r.reopened, r.trial, r.granted = false, now, 1, 0
	r.onTrial.Store(true)
	r.alert.Store(true)
	return Action{Member: Member{Slot: slot, Which: r.which}}
}

// LastResort puts the ejected members on trial where no other one serves: those that did have gone, or fail their
// checks, and then any of these is better than none. It returns what is to be done.
func (d *Detector) LastResort(now int64) (all []Action) {
	d.mu.Lock()
	defer d.mu.Unlock()
	records := *d.records.Load()
	ejected := func(m Member) bool {
		return m.Slot < len(records) && records[m.Slot] != nil && records[m.Slot].which == m.Which &&
			records[m.Slot].ejected
	}
	if !slices.ContainsFunc(records, func(r *record) bool { return r != nil && r.ejected }) {
		return nil
	}
	members := d.list()
	if slices.ContainsFunc(members, func(m Member) bool { return m.Open && !ejected(m) }) {
		return nil
	}
	for _, m := range members {
		if m.Open {
			all = append(all, records[m.Slot].reopen(m.Slot, now))
		}
	}
	return all
}

// eject returns all and the ejection of a member, unless too many are ejected or it is the last one. mu is held.
func (d *Detector) eject(all []Action, slot int, why Cause, now int64) []Action {
	records := *d.records.Load()
	members, ejected, others := 0, 0, 0
	for _, m := range d.list() {
		if m.Slot >= len(records) || records[m.Slot] == nil || records[m.Slot].which != m.Which {
			continue
		}
		members++
		switch {
		case records[m.Slot].ejected:
			ejected++
		case m.Open && m.Slot != slot:
			others++
		}
	}
	if most := max(members*d.opts.MaxEjected/100, 1); others == 0 || ejected >= most {
		return all
	}
	r := records[slot]
	switch {
	case r.longer > 0 && now-r.reopened < longerMost*int64(d.opts.Eject):
		r.longer = min(2*r.longer, longerMost)
	default:
		r.longer = 1
	}
	c := r.requests()
	length := time.Duration(r.longer) * d.opts.Eject
	length -= time.Duration(d.opts.Random() % uint64(length/5+1))
	r.ejected, r.until = true, now+int64(length)
	r.window = [buckets]count{}
	r.faults, r.failures, r.once = 0, 0, nil
	r.onTrial.Store(false)
	r.alert.Store(false)
	return append(all, Action{Member: Member{Slot: slot, Which: r.which}, Eject: true, Cause: why, For: length,
		Failed: int(c.failed), Asked: int(c.n)})
}
