package issue

import (
	"context"

	"github.com/edge-proxy/edge/certs"
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
	}
	r.mu.Lock()
	f.waiting--
	s.demanded.waiting--
	r.mu.Unlock()
	return s.demanded.entry(name).certificate()
}

// join returns the flight of a name, which it begins where there is none; nil: there is none to be waited for.
func (r *Renewer) join(s *Set, name string) *flight {
	d := s.demanded
	r.mu.Lock()
	defer r.mu.Unlock()
	f := d.flights[name]
	if f == nil {
		if d.entry(name) != nil || s != r.used || r.ctx.Err() != nil || d.waiting == waitersMost {
			return nil
		}
		f = &flight{done: make(chan struct{})}
		d.flights[name] = f
		r.work.Go(func() { r.fly(s, name, f) })
	}
	if d.waiting == waitersMost || f.waiting == waitersEach {
		return nil
	}
	f.waiting++
	d.waiting++
	return f
}

// fly gets a certificate for a name: the Storage's, else a new one. It ends with the first try.
func (r *Renewer) fly(s *Set, name string, f *flight) {
	e := &entry{names: []string{name}, folder: folderName([]string{name}), demanded: f}
	e.used.Store(true)
	allowed, err := s.plan.Demand.Allow(r.ctx, name)
	if allowed = allowed && err == nil; allowed {
		r.read(r.ctx, s, e)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	d := s.demanded
	there := e.held.Load() != nil
	if !allowed || s != r.used || d.n == demandMost || !there && !d.take(s.plan.Demand, r.clock()) {
		d.land(name, f)
		return
	}
	d.n++
	d.entries.Store(name, e)
	s.entries = append(s.entries, e)
	if there {
		d.land(name, f)
	}
	r.wakeRun()
}
