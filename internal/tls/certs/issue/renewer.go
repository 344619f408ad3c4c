package issue

import (
	"context"
	"runtime"
	"sync"
	"time"
)

const loadTime = time.Minute // a start or a reload waits no longer for a Storage that hangs

// Options are the options of a Renewer. The zero value is good.
type Options struct {
	Now  func() time.Time // the wall clock; nil: time.Now
	Tell func(Event)      // on any goroutine; nil: not called
}

// Renewer gets the certificates of a Set and renews them in time. Safe for any goroutine.
//
//	goroutine of run ── a look is due ──► goroutine of look: lock, find, ask, order, save ── wake ──► run
type Renewer struct {
	journal
	wake chan struct{} // 1

	mu     sync.Mutex
	used   *Set      // guarded by mu
	busy   int       // looks under way; guarded by mu
	first  int       // the entry after the last look: looks that wait for locks leave others their turn; guarded by mu
	forgot time.Time // when files were removed last; guarded by mu

	flights flights // guarded by mu

	ctx  context.Context // ends with Stop
	end  context.CancelFunc
	work sync.WaitGroup
}

// New returns a Renewer that looks after no certificate yet. Stop ends it.
func New(o Options) *Renewer {
	r := &Renewer{journal: journal{now: o.Now, tell: o.Tell}, wake: make(chan struct{}, 1)}
	r.orders = make(map[string][ordersMost]time.Time)
	r.used = &Set{chains: new(sync.Map)}
	r.flights.of = make(map[string]*flight)
	if r.now == nil {
		r.now = time.Now
	}
	if r.tell == nil {
		r.tell = func(Event) {}
	}
	r.ctx, r.end = context.WithCancel(context.Background())
	r.work.Go(func() { r.run(r.ctx) })
	return r
}

// Load makes a Set of a plan, with the certificates that its Storage has. A name without one keeps the certificate
// of the Set that is used now. A Storage that does not answer, or files that are no pair, are told as events. After a
// minute the rest is left to looks.
func (r *Renewer) Load(ctx context.Context, plan Plan) *Set {
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	r.mu.Lock()
	s, unread := newSet(plan, r.used)
	r.mu.Unlock()
	if len(unread) > 0 {
		if err := s.listOthers(ctx); err != nil {
			r.trouble(err)
		}
	}
	var work sync.WaitGroup
	readers := runtime.GOMAXPROCS(0)
	for i := range readers {
		work.Go(func() {
			for at := i; at < len(unread); at += readers {
				r.read(ctx, s, unread[at])
			}
		})
	}
	work.Wait()
	return s
}

// read reads a new entry from the Storage.
func (r *Renewer) read(ctx context.Context, s *Set, e *entry) {
	f, err := s.find(ctx, e, r.clock())
	if err != nil {
		r.trouble(err)
	}
	if f.broken != nil {
		r.tell(Event{Kind: Broken, Names: e.names, Err: f.broken})
	}
	if f.held != nil {
		e.held.Store(f.held)
	}
	e.state, e.unsaved = f.state, f.halves
	e.schedule(r.clock())
	if f.held == nil {
		e.next = time.Time{} // a replica may just get it: its lock is waited for, whatever the pause
	}
}

// Use makes r look after a Set of Load from now on; nil: after none. Looks that are under way for the Set before come
// to their end. Handshakes wait no more for a name that is not demanded now.
func (r *Renewer) Use(s *Set) {
	r.mu.Lock()
	if s == nil {
		s = &Set{chains: r.used.chains}
	}
	r.used = s
	for name, f := range r.flights.of {
		if e := s.demanded.entry(name); e == nil || e.demanded != f {
			r.flights.land(name, f)
		}
	}
	r.mu.Unlock()
	r.wakeRun()
}

// Stop ends all orders and waits for that. Certificates are presented as before.
func (r *Renewer) Stop() {
	r.mu.Lock()
	r.end() // no flight begins after it
	r.mu.Unlock()
	r.work.Wait()
}

// Status is how one certificate stands.
type Status struct {
	Names     []string
	Authority string // the Key of its authority; empty: there is no certificate yet
	Serial    string // hexadecimal
	Begins    time.Time
	Expires   time.Time
	Next      time.Time // of the next try after failures, or of the renewal
	Failures  int       // in a row
	Err       string    // of the last one
}

// All returns how the certificates stand that are looked after.
func (r *Renewer) All() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Status, 0, len(r.used.entries))
	for _, e := range r.used.entries {
		h := e.held.Load()
		s := Status{Names: e.names, Failures: e.state.Failures, Err: e.state.Error, Next: nextOrder(h, &e.state)}
		if h != nil {
			s.Authority, s.Serial, s.Begins, s.Expires = h.authority, h.serial, h.notBefore, h.notAfter
		}
		all = append(all, s)
	}
	return all
}

// wakeRun makes run look at the times again.
func (r *Renewer) wakeRun() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run begins looks when they are due, on the wall clock: it may jump, and stands still while the machine sleeps.
func (r *Renewer) run(ctx context.Context) {
	for ctx.Err() == nil {
		timer := time.NewTimer(r.begin(ctx))
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// begin begins the looks that are due, and returns how long there is nothing to do.
func (r *Renewer) begin(ctx context.Context) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock()
	wait := lookAgain
	s := r.used
	first := r.first
	for i := range s.entries { // 10 000 of them take less than the files of one
		at := (first + i) % len(s.entries)
		e := s.entries[at]
		if e.busy {
			continue
		}
		if e.state.ahead(now) || e.set.After(now) {
			e.next = now // the clock was set back: the pause begins anew
		}
		if left := e.next.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		if r.busy >= s.plan.Parallel {
			break // the end of a look wakes run
		}
		e.busy = true
		r.busy++
		r.first = at + 1
		r.work.Go(func() { r.look(ctx, s, e) })
	}
	if len(s.entries) > 0 && now.Sub(r.forgot).Abs() >= forgetEvery {
		r.forgot = now
		entries := s.entries
		r.work.Go(func() {
			if err := s.forget(ctx, entries, now); err != nil {
				r.trouble(err)
			}
		})
	}
	return wait
}

// look has a goroutine of its own for whatever is due for e.
func (r *Renewer) look(ctx context.Context, s *Set, e *entry) {
	r.mu.Lock()
	l := &looking{journal: &r.journal, set: s, entry: e, state: e.state}
	r.mu.Unlock()
	soonest := time.Second // whatever the Issuer says, there is no loop without a pause
	ran := l.run(ctx)
	if !ran {
		soonest = lookAgain // another replica orders just now
	}
	if l.failing != nil {
		r.trouble(l.failing)
		soonest, l.unwanted = lookAgain, false // the tries of a name that is dropped are in the Storage alone
	}
	r.mu.Lock()
	e.state, e.busy = l.state, false
	r.busy--
	now := r.clock()
	if e.demanded != nil {
		if ran || e.held.Load().good(now) {
			r.flights.land(e.names[0], e.demanded)
		}
		if l.unwanted {
			s.entries = s.demanded.without(e, s.entries)
		}
	}
	e.schedule(now)
	if at := now.Add(soonest); e.next.Before(at) {
		e.next = at
	}
	r.mu.Unlock()
	r.wakeRun()
}
