package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/base/invariant"
)

// How changes of a source become changes of a set.
const (
	debounce          = 100 * time.Millisecond // after the last change
	debounceMax       = time.Second            // after the first one
	emptyAnswers      = 3                      // empty answers in a row that are believed
	emptyAfterDefault = 30 * time.Second       // after the first of fewer
	membersMax        = 10000                  // of one source
	namesMax          = 1000                   // of them, those that are given by name: looking them up takes memory
	weightMax         = 65535
	namedMax          = 8 // addresses that a line of the log names

	stopWait = time.Second // for a source to end: a reload waits
)

// Options describe a Runner.
type Options struct {
	Upstream   string         // what the log calls the service
	Name       string         // what the log and the set call the source
	Source     Source         // which is the Runner's alone
	StaleOK    time.Duration  // how long members are kept while the source fails; 0 or less: for ever
	EmptyAfter time.Duration  // how long they are kept while it finds none; 0: 30 s
	Known      []backend.Spec // what the Runner before found, whose place in the set this one takes
}

// Runner runs a source and gives a set what it finds.
// Safe for any goroutine.
//
//	waiting  <=>  pending is to be applied at some time
//	emptyTimes > 0  =>  emptySince is the time of the first of them, and something is applied
//	nothing is applied after Stop has returned
type Runner struct {
	opts   Options
	cancel context.CancelFunc
	done   chan struct{} // closed when the source has ended
	ready  chan struct{} // closed after the first answer or failure

	mu           sync.Mutex
	set          *backend.Set   // nil before Join; guarded by mu, as all below
	applied      []backend.Spec // what the set was given, or is to be given by Join
	answered     bool           // ready is closed
	pending      []backend.Spec
	waiting      bool
	firstChange  time.Time // of those that pending unites
	lastChange   time.Time
	none         bool // the last answer has no backend
	emptyTimes   int
	emptySince   time.Time
	failingSince time.Time // zero: the source works
	expired      bool      // what was applied was removed after StaleOK
	published    int       // answers since Run was called
	stopped      bool
	timer        *time.Timer
}

// Start runs a source. What it finds is kept until Join.
func Start(o Options) *Runner {
	if o.EmptyAfter <= 0 {
		o.EmptyAfter = emptyAfterDefault
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Runner{opts: o, cancel: cancel, ready: make(chan struct{}), done: make(chan struct{}), applied: o.Known}
	r.timer = time.AfterFunc(time.Hour, r.runDue)
	r.timer.Stop()
	go func() {
		defer close(r.done)
		r.run(ctx)
	}()
	return r
}

// Ready returns what is closed when the source has found backends, or none, or has failed for the first time.
func (r *Runner) Ready() <-chan struct{} { return r.ready }

// Found returns what the source has found, as the set has it.
func (r *Runner) Found() []backend.Spec {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.applied
}

// Join gives s what is found, now and from now on. It is called once.
func (r *Runner) Join(s *backend.Set) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set = s
	if !r.stopped {
		s.Apply(r.opts.Name, r.applied)
	}
}

// Stop ends the source and waits for it, a moment: a source that does not end with its context is not heard any more.
// The set keeps what it has: Set.Apply with an empty list removes it.
func (r *Runner) Stop() {
	r.mu.Lock()
	r.stopped = true
	r.timer.Stop()
	r.mu.Unlock()
	r.cancel()
	select {
	case <-r.done:
	case <-time.After(stopWait):
		slog.Warn("discovery does not end", "upstream", r.opts.Upstream, "source", r.opts.Name)
	}
}

// run calls Run of the source, again after it has failed.
func (r *Runner) run(ctx context.Context) {
	var wait backoff
	for {
		err := r.runOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		err = cmp.Or(err, errEnded)
		r.publish(nil, err)
		if r.answeredSince() {
			wait.reset()
		}
		if !sleep(ctx, wait.next()) {
			return
		}
	}
}

// runOnce calls Run of the source. A panic of it is a failure: it must not end the proxy.
func (r *Runner) runOnce(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the source panicked: %v", p)
			slog.Error("discovery panicked", "upstream", r.opts.Upstream, "source", r.opts.Name, "panic", p,
				"stack", string(debug.Stack()))
		}
	}()
	return r.opts.Source.Run(ctx, r.publish)
}

var errEnded = errors.New("the source has ended")

// answeredSince reports whether there was an answer since it was called last.
func (r *Runner) answeredSince() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.published
	r.published = 0
	return n > 0
}

// publish takes what the source has found.
func (r *Runner) publish(list []backend.Spec, err error) {
	certain := errors.Is(err, None)
	var why noneBecause
	if err == nil || errors.As(err, &why) {
		list, err = r.clean(list)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	now := time.Now()
	if err == nil || certain {
		r.succeed()
		if len(list) == 0 && !r.none {
			slog.Warn("discovery found nothing", "upstream", r.opts.Upstream, "source", r.opts.Name,
				"why", string(why), "members_kept", len(r.applied), "for", r.opts.EmptyAfter.String())
		}
		r.none = len(list) == 0
	}
	switch {
	case certain:
		r.change(nil, now)
	case err != nil:
		r.fail(err, now)
	case r.none && len(r.applied) > 0:
		r.findNone(now)
	default:
		r.emptyTimes = 0
		r.change(list, now)
	}
	if !r.answered {
		r.answered = true
		close(r.ready)
	}
	r.scheduleNext(now)
}

// clean returns list in order, without what cannot be a member. It is an error when nothing is left, or too much.
// Sockets of this machine are not for writers of a registry to name: their programs trust the user of this process.
func (r *Runner) clean(list []backend.Spec) ([]backend.Spec, error) {
	if len(list) > membersMax {
		return nil, fmt.Errorf("%d backends, more than %d", len(list), membersMax)
	}
	var wrong error // with the first of them
	names := 0
	_, registry := r.opts.Source.(*etcdSource) // other registries name host and port apart
	left := slices.Clone(list)
	slices.SortStableFunc(left, func(a, b backend.Spec) int { return cmp.Compare(a.Address, b.Address) })
	left = slices.DeleteFunc(left, func(b backend.Spec) bool {
		var err error
		switch {
		case !usable(&b):
			err = fmt.Errorf("%.100q with weight %d cannot be a backend", b.Address, b.Weight)
		case registry && strings.HasPrefix(b.Address, unixPrefix):
			err = fmt.Errorf("%.100q: a registry may not name a Unix socket: backends and file:// may", b.Address)
		case b.Resolves():
			if names++; names > namesMax {
				err = fmt.Errorf("%.100q: more than %d host names", b.Address, namesMax)
			}
		}
		wrong = cmp.Or(wrong, err)
		return err != nil
	})
	if wrong == nil {
		return left, nil
	}
	if len(left) == 0 {
		return nil, wrong
	}
	slog.Warn("discovery leaves members out", "upstream", r.opts.Upstream, "source", r.opts.Name,
		"backends", len(list)-len(left), "error", wrong)
	return left, nil
}

const unixPrefix = "unix:" // of an address that is a Unix socket

// usable reports whether b can be a member.
func usable(b *backend.Spec) bool {
	if b.Weight < 0 || b.Weight > weightMax {
		return false
	}
	if path, ok := strings.CutPrefix(b.Address, unixPrefix); ok {
		return path != ""
	}
	host, port, err := net.SplitHostPort(b.Address)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// fail notes that the source has failed. mu is held.
func (r *Runner) fail(err error, now time.Time) {
	if !r.failingSince.IsZero() {
		return
	}
	r.failingSince = now
	slog.Warn("discovery failed", "upstream", r.opts.Upstream, "source", r.opts.Name, "error", err,
		"members_kept", len(r.applied))
}

// succeed notes that the source has answered. mu is held.
func (r *Runner) succeed() {
	r.published++
	if r.failingSince.IsZero() {
		return
	}
	slog.Info("discovery works again", "upstream", r.opts.Upstream, "source", r.opts.Name,
		"after", time.Since(r.failingSince).Round(time.Millisecond).String())
	r.failingSince, r.expired = time.Time{}, false
}

// findNone notes an answer without backends while there are members. mu is held.
func (r *Runner) findNone(now time.Time) {
	if r.emptyTimes++; r.emptyTimes == 1 {
		r.emptySince = now
	}
	if r.emptyTimes >= emptyAnswers {
		r.change(nil, now)
	}
}

// change applies list, soon. The first one is applied at once: a start waits for it. mu is held.
func (r *Runner) change(list []backend.Spec, now time.Time) {
	switch {
	case slices.EqualFunc(list, r.applied, equal):
		r.waiting, r.pending = false, nil
		return
	case !r.waiting:
		r.firstChange = now
	}
	r.pending, r.waiting, r.lastChange = list, true, now
	if len(r.applied) == 0 {
		r.apply(list)
	}
}

// equal reports whether two sources would say the same by a and b.
func equal(a, b backend.Spec) bool {
	return a.Address == b.Address && a.Weight == b.Weight && a.Host == b.Host && a.Zone == b.Zone && a.Tier == b.Tier &&
		slices.Equal(a.Addrs, b.Addrs)
}

// apply gives the set a list. mu is held.
func (r *Runner) apply(list []backend.Spec) {
	added, removed := differences(r.applied, list)
	level, event := slog.LevelInfo, "discovery changed"
	if len(removed) > len(r.applied)/2 {
		level = slog.LevelWarn // more than half at one time: an operator should know
	}
	slog.Log(context.Background(), level, event, "upstream", r.opts.Upstream, "source", r.opts.Name,
		"members", len(list), "added", firstFew(added), "removed", firstFew(removed))
	r.applied, r.pending, r.waiting = list, nil, false
	if len(list) == 0 {
		r.emptyTimes = 0
	}
	if r.set != nil {
		r.set.Apply(r.opts.Name, list)
	}
	r.check()
}

// check panics when an invariant of r does not hold. mu is held.
func (r *Runner) check() {
	if invariant.On {
		invariant.That(!r.stopped, "applied after Stop")
		invariant.That(r.emptyTimes == 0 || len(r.applied) > 0, "an empty answer that changes nothing is counted")
		invariant.That(r.waiting || r.pending == nil, "a list that nobody waits for")
	}
}

// due returns what is to be done next, and when: nil for nothing. mu is held.
func (r *Runner) due() (at time.Time, do func()) {
	plan := func(when time.Time, what func()) {
		if do == nil || when.Before(at) {
			at, do = when, what
		}
	}
	if r.waiting {
		when := r.lastChange.Add(debounce)
		if last := r.firstChange.Add(debounceMax); last.Before(when) {
			when = last
		}
		plan(when, func() { r.apply(r.pending) })
	}
	if r.emptyTimes > 0 {
		plan(r.emptySince.Add(r.opts.EmptyAfter), func() { r.apply(nil) })
	}
	if !r.failingSince.IsZero() && r.opts.StaleOK > 0 && !r.expired && len(r.applied) > 0 {
		plan(r.failingSince.Add(r.opts.StaleOK), r.expire)
	}
	return at, do
}

// expire removes the members of a source that fails for longer than is good. mu is held.
func (r *Runner) expire() {
	r.expired = true
	slog.Warn("discovery expired", "upstream", r.opts.Upstream, "source", r.opts.Name, "members", len(r.applied),
		"after", r.opts.StaleOK.String())
	r.apply(nil)
}

// scheduleNext does what is due and sets the timer for what comes next. mu is held.
func (r *Runner) scheduleNext(now time.Time) {
	for {
		at, do := r.due()
		switch {
		case do == nil:
			r.timer.Stop()
			return
		case at.After(now):
			r.timer.Reset(at.Sub(now))
			return
		}
		do()
	}
}

// runDue is scheduleNext on a goroutine of the timer.
func (r *Runner) runDue() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.scheduleNext(time.Now())
	}
}

// differences returns the addresses that are in one list alone.
func differences(old, next []backend.Spec) (added, removed []string) {
	more := make(map[string]int, len(old)) // members in next than in old
	for i := range old {
		more[old[i].Address]--
	}
	for i := range next {
		more[next[i].Address]++
	}
	for _, a := range slices.Sorted(maps.Keys(more)) {
		added = append(added, slices.Repeat([]string{a}, max(0, more[a]))...)
		removed = append(removed, slices.Repeat([]string{a}, max(0, -more[a]))...)
	}
	return added, removed
}

func firstFew(all []string) []string {
	if more := len(all) - namedMax; more > 0 {
		return append(slices.Clone(all[:namedMax]), fmt.Sprintf("and %d more", more))
	}
	return all
}
