package issue

import (
	"context"

	"github.com/edge-proxy/edge/internal/tls/certs"
)

// Obtain returns a certificate for a name that s demands, if its Demand allows one. It waits until there is one, a try
// has failed, or ctx ends; the order goes on after that. nil: there is none, or too many handshakes wait.
func (r *Renewer) Obtain(ctx context.Context, s *Set, name string) *certs.Certificate {
	f := r.join(s, name)
	if f == nil {
		return nil
	}
	select {
	case <-f.done:
	case <-ctx.Done():
	case <-r.ctx.Done():
	}
	r.mu.Lock()
	f.waiting--
	r.flights.waiting--
	r.mu.Unlock()
	return s.demanded.entry(name).certificate()
}

// join returns the flight of a name, which it begins where there is none; nil: there is none to be waited for.
func (r *Renewer) join(s *Set, name string) *flight {
	a := &r.flights
	r.mu.Lock()
	defer r.mu.Unlock()
	f := a.of[name]
	if f == nil {
		full := max(a.waiting, a.asking) == waitersMost
		if full || s.demanded.entry(name) != nil || s != r.used || r.ctx.Err() != nil {
			return nil
		}
		f = &flight{done: make(chan struct{})}
		a.of[name] = f
		a.asking++
		r.work.Go(func() { r.fly(s, name, f) })
	}
	if a.waiting == waitersMost || f.waiting == waitersEach {
		return nil
	}
	f.waiting++
	a.waiting++
	return f
}

// fly gets a certificate for a name: the Storage's, else a new one. It ends with the first try.
func (r *Renewer) fly(s *Set, name string, f *flight) {
	e := &entry{names: []string{name}, folder: folderName([]string{name}), demanded: f}
	e.used.Store(true)
	allowed, err := s.plan.Demand.Allow(r.ctx, name)
	if allowed = allowed && err == nil; allowed {
		ctx, cancel := context.WithTimeout(r.ctx, storageTime)
		r.read(ctx, s, e)
		cancel()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flights.asking--
	d, now := s.demanded, r.clock()
	there := e.held.Load().good(now)
	if !allowed || s != r.used || d.n == demandMost || !there && !r.flights.take(s.plan.Demand, now) {
		r.flights.land(name, f)
		return
	}
	d.n++
	d.entries.Store(name, e)
	s.entries = append(s.entries, e)
	if there {
		r.flights.land(name, f)
	}
	r.wakeRun()
}
