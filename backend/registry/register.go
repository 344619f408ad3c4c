package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Entry is what others find of an instance. It may be compared by ==.
type Entry struct {
	Name    string        // among the instances of its service; "": its address
	Address string        // host:port; :port for the address by which this machine reaches the registry; unix:/path
	Weight  int           // its share of the requests; 0: 1
	Zone    string        // "": none
	TTL     time.Duration // others find the instance for so long after its process has died; 0: 15 s
	Check   string        // a path that Consul asks the instance for; "": none. No other registry checks instances
}

// TTL is the time to live of an Entry that names none.
const TTL = 15 * time.Second

// Registry makes an instance known to others.
// Owned by the goroutine of its Registration, and after that by the goroutine that withdraws it.
type Registry interface {
	// Put makes e known, or sees to it that e is known for another e.TTL. It is called every third of that time,
	// sooner after an error, and when another e is to be known in the place of this one. It returns at what address
	// others find e. It must return when ctx ends.
	Put(ctx context.Context, e *Entry) (address string, err error)
	// Withdraw takes back what Put has made known. What another process has put in its place stays. It must return when
	// ctx ends.
	Withdraw(ctx context.Context) error
}

// Options describe a Registration.
type Options struct {
	To       string // what the log calls the registry
	Registry Registry
	Entry    Entry
	Tally    *Tally // counts; nil: nothing does
}

// Tally counts what Registrations have done. The zero value is good.
// Safe for any goroutine.
type Tally struct{ Puts, Failures atomic.Uint64 }

// How a Registration goes about it.
const (
	putMax     = 5 * time.Second // of one call of Put
	renewals   = 3               // in the time to live of an entry
	backoffMin = time.Second     // between tries, after the first failure

	endMax = 100 * time.Millisecond // that a registry has to return, once it is told to
)

// Registration keeps an Entry known until it is withdrawn.
// Safe for any goroutine.
type Registration struct {
	opts    Options
	cancel  context.CancelFunc
	done    sync.WaitGroup
	changed chan struct{}  // holds one, when there is another entry
	once    sync.Once      // of Withdraw
	end     sync.WaitGroup // of what Withdraw has begun; a registry that hangs is not waited for

	mu      sync.Mutex
	entry   Entry     // guarded by mu
	knownAt time.Time // when the last good Put began; zero: none was; guarded by mu
	knownBy string    // the address that others find; guarded by mu
	failing time.Time // when Put began to fail; zero: it does not; guarded by mu
}

// Register makes an entry known, from a goroutine, and keeps it so.
func Register(o Options) *Registration {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Registration{opts: o, cancel: cancel, changed: make(chan struct{}, 1), entry: o.Entry.filled()}
	r.done.Go(func() { r.run(ctx) })
	return r
}

// filled returns e with what it names nothing for.
func (e Entry) filled() Entry {
	if e.TTL <= 0 {
		e.TTL = TTL
	}
	e.Weight = max(1, e.Weight)
	return e
}

// Update registers another entry in the place of this one. Its Name has to be the same.
func (r *Registration) Update(e Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e = e.filled(); e == r.entry {
		return
	}
	r.entry = e
	select {
	case r.changed <- struct{}{}:
	default: // it is told already
	}
}

// Known reports whether others find the entry, as far as this process knows.
func (r *Registration) Known() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.knownAt.IsZero() && time.Since(r.knownAt) < r.entry.TTL
}

// Withdraw takes the entry back and ends the Registration. It reports whether others may have found the entry until
// now. What it cannot take back before ctx ends expires by itself: it returns a moment after that, also where the
// registry does not. A second call does nothing.
func (r *Registration) Withdraw(ctx context.Context) (found bool) {
	r.once.Do(func() {
		r.cancel()
		ended := make(chan struct{})
		r.end.Go(func() {
			defer close(ended)
			r.done.Wait()
			r.withdraw(ctx)
		})
		select {
		case <-ended:
		case <-ctx.Done():
			r.waitForEnd(ended)
		}
		found = r.Known()
	})
	return found
}

// waitForEnd waits a moment for a registry that has been told to end. One of a program may not heed that.
func (r *Registration) waitForEnd(ended <-chan struct{}) {
	select {
	case <-ended:
	case <-time.After(endMax):
		slog.Warn("withdrawal failed", "registry", r.opts.To, "name", r.name(), "error", errHangs)
	}
}

var errHangs = errors.New("the registry does not return")

// withdraw calls Withdraw of the registry. A panic of it is a failure, as in put.
func (r *Registration) withdraw(ctx context.Context) {
	err := r.callSafely(func() error { return r.opts.Registry.Withdraw(ctx) })
	if err != nil {
		slog.Warn("withdrawal failed", "registry", r.opts.To, "name", r.name(), "error", err)
	} else if r.Known() {
		r.mu.Lock()
		defer r.mu.Unlock()
		slog.Info("withdrawn", "registry", r.opts.To, "name", r.entry.Called(r.knownBy), "address", r.knownBy)
	}
}

// name returns what the log calls the entry.
func (r *Registration) name() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entry.Called(r.knownBy)
}

// Called returns the name of e, which is address where it has none.
func (e *Entry) Called(address string) string {
	switch {
	case e.Name != "":
		return e.Name
	case address != "":
		return address
	}
	return e.Address
}

// run puts the entry until ctx ends.
func (r *Registration) run(ctx context.Context) {
	failures := 0
	for {
		r.mu.Lock()
		e := r.entry
		r.mu.Unlock()
		begun := time.Now()
		address, err := r.put(ctx, &e)
		if ctx.Err() == nil || err == nil { // else its end may be all that went wrong
			r.noteResult(&e, address, begun, err)
		}
		pause := jittered(e.TTL / renewals)
		if failures++; err == nil {
			failures = 0
		} else {
			pause = min(pause, jittered(backoffMin<<min(failures-1, 10)))
		}
		select {
		case <-ctx.Done():
		case <-r.changed:
		case <-time.After(pause):
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// jittered returns d, or up to a fifth less: many processes that began at one time must not come together.
func jittered(d time.Duration) time.Duration { return d - rand.N(d/5+1) }

func (r *Registration) put(ctx context.Context, e *Entry) (address string, err error) {
	ctx, cancel := context.WithTimeout(ctx, putMax)
	defer cancel()
	err = r.callSafely(func() (err error) {
		address, err = r.opts.Registry.Put(ctx, e)
		return err
	})
	return address, err
}

// callSafely calls the registry. A panic of it is a failure: it must not end the proxy.
func (r *Registration) callSafely(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the registry panicked: %v", p)
			slog.Error("registration panicked", "registry", r.opts.To, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	return call()
}

// noteResult notes and logs what became of a call of Put.
func (r *Registration) noteResult(e *Entry, address string, begun time.Time, err error) {
	if t := r.opts.Tally; t != nil {
		t.Puts.Add(1)
		if err != nil {
			t.Failures.Add(1)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil && r.failing.IsZero():
		r.failing = begun
		slog.Warn("registration failed", "registry", r.opts.To, "name", e.Called(r.knownBy), "error", err)
	case err != nil:
	case !r.failing.IsZero():
		slog.Info("registered again", "registry", r.opts.To, "name", e.Called(address), "address", address,
			"after", time.Since(r.failing).Round(time.Millisecond).String())
	case address != r.knownBy:
		slog.Info("registered", "registry", r.opts.To, "name", e.Called(address), "address", address,
			"ttl", e.TTL.String())
	}
	if err == nil {
		r.failing, r.knownAt, r.knownBy = time.Time{}, begun, address
	}
}
