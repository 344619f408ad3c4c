package dynamic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/base/tally"
	"github.com/edge-proxy/edge/internal/route/target"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
)

// The addresses that a destination keeps: a name server, which may be a client's, chooses how many a name has.
const addrsMax = 64

// How long answers are good.
const (
	lookupMax    = 5 * time.Second // one takes
	ttlMin       = time.Second
	ttlMax       = 5 * time.Minute
	negativeMax  = 10 * time.Second
	failureTTL   = time.Second // RFC 9520 §3.2: failures are remembered, too
	staleMax     = time.Minute
	refreshShare = 0.9 // of the TTL
)

// errOwn refuses an address at which this process listens: what is sent there could go in circles, or reach what is for
// others alone.
var errOwn = errors.New("this process itself listens there")

var errNoAddress = errors.New("the name has no address")

// join makes w go on when its destination is looked up: that begins unless it is under way or there is an answer by
// now. now is the reactor time at which it was asked for.
func (d *Destinations) join(w waiting, now int64) {
	d.mu.Lock()
	one := d.all[w.ticket.key]
	if one == nil {
		one = &destination{key: w.ticket.key, target: w.ticket.target}
	}
	one.used.Store(now)
	a := one.answer.Load()
	switch {
	case a != nil && now < a.until:
	case d.look(one, now):
		one.waiting = append(one.waiting, w)
		d.mu.Unlock()
		return
	case a != nil && a.good && now < a.stale: // others that flood the look-ups take nothing away from what is known
	default:
		one = d.shed
	}
	d.mu.Unlock()
	w.goOn(one)
}

// goOn resumes the request, whose destination is one.
func (w *waiting) goOn(one *destination) {
	w.ticket.is = one
	w.request.Resume(proxy.Next)
}

// refresh looks one up again, while its answer is still used.
func (d *Destinations) refresh(one *destination, now int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if one.left.Load() || !d.look(one, now) {
		one.asked.Store(false)
	}
}

// look begins the look-up of one unless it is under way. It reports false where there are too many. mu is held.
func (d *Destinations) look(one *destination, now int64) bool {
	switch {
	case one.looking:
		return true
	case d.ctx.Err() != nil || d.looking >= d.looks:
		return false
	}
	d.looking++
	d.all[one.key] = one
	d.count.Store(int64(len(d.all)))
	one.looking = true
	d.lookups.Add(1)
	d.running.Go(func() { d.resolve(one, now) })
	return true
}

// resolve looks one up, which was asked for at a reactor time, and resumes those that wait for that.
func (d *Destinations) resolve(one *destination, asked int64) {
	started := time.Now()
	addrs, ttl, err := d.addresses(&one.target)
	now := asked + int64(time.Since(started))
	before := one.answer.Load()
	a := d.judge(one, before, addrs, ttl, err, now)
	d.mu.Lock()
	one.answer.Store(a)
	one.looking = false
	one.asked.Store(false)
	d.looking--
	list := one.waiting
	one.waiting = nil
	switch {
	case d.retired:
		d.leave(one)
	case before == nil || before.good != a.good:
		d.makeRoom(one, now)
	}
	if invariant.On {
		for _, other := range d.all {
			other.check(d)
		}
	}
	d.mu.Unlock()
	for _, w := range list {
		w.goOn(one)
	}
}

// check panics when an invariant of one does not hold. mu is held.
func (one *destination) check(d *Destinations) {
	invariant.That(!one.looking || d.all[one.key] == one, "%q is looked up and not there", one.key)
	invariant.That(len(one.waiting) == 0 || one.looking, "%d wait for %q", len(one.waiting), one.key)
	invariant.That(!one.left.Load(), "%q has left and is there", one.key)
}

// addresses returns the addresses of t, each of which it has judged. An address that is not allowed is an error.
func (d *Destinations) addresses(t *target.Target) (addrs []poller.Addr, ttl time.Duration, err error) {
	ips := []netip.Addr{t.IP}
	ttl = ttlMax
	if !t.IP.IsValid() {
		ctx, cancel := context.WithTimeout(d.ctx, lookupMax)
		defer cancel()
		// With a dot at its end it is a full name: the search list would lead to other names.
		a, err := d.opts.Names.Addresses(ctx, t.Host+".", nil)
		if err != nil {
			return nil, 0, err
		}
		ips, ttl = a.Addrs, a.TTL
	}
	for _, ip := range ips {
		at := netip.AddrPortFrom(ip, t.Port)
		if err := d.opts.Allow.CheckAddr(t, ip); err != nil {
			return nil, ttl, err
		}
		if d.opts.Own != nil && d.opts.Own(at) {
			return nil, ttl, fmt.Errorf("%w: %s", errOwn, at)
		}
		if len(addrs) < addrsMax {
			addrs = append(addrs, poller.Addr{IP: at})
		}
	}
	if len(addrs) == 0 {
		err = errNoAddress
	}
	return addrs, ttl, err
}

// judge makes the answer of what a look-up of one has found, and opens or closes its pools. The goroutine of the
// look-up owns them.
func (d *Destinations) judge(one *destination, before *answer, addrs []poller.Addr, ttl time.Duration, err error,
	now int64) *answer {
	switch {
	case err == nil:
		a := &answer{good: true}
		if before != nil && before.good {
			a.to, a.call = before.to, before.call
			for _, m := range one.member {
				m.SetAddrs(addrs)
			}
		} else {
			a.to, a.call = d.open(one, addrs)
		}
		ttl = min(max(ttl, ttlMin), ttlMax)
		a.until, a.refreshAt = now+int64(ttl), now+int64(refreshShare*float64(ttl))
		a.stale = a.until + int64(staleMax)
		return a
	case errors.Is(err, target.ErrAddress):
		d.close(one)
		return refusing(NotAllowed, Address, err, now+int64(min(max(ttl, ttlMin), negativeMax)))
	case errors.Is(err, errOwn):
		d.close(one)
		return refusing(NotAllowed, OwnListener, err, now+int64(ttlMin))
	case err == errNoAddress:
		d.close(one)
		return refusing(Unresolved, notRefused, err, now+int64(min(max(ttl, ttlMin), negativeMax)))
	case before != nil && before.good && now < before.stale:
		a := *before
		a.until, a.refreshAt = before.stale, now+int64(failureTTL)
		return &a
	}
	d.close(one)
	return refusing(Unresolved, notRefused, err, now+int64(failureTTL))
}

func refusing(f *proxy.Error, why Refusal, cause error, until int64) *answer {
	return &answer{to: failing{f}, call: failing{f}, why: why, cause: cause, until: until, refreshAt: until}
}

// open makes the pools of one.
func (d *Destinations) open(one *destination, addrs []poller.Addr) (to, call proxy.Destination) {
	o := d.opts.Upstream
	o.TLS.On = one.target.Scheme == target.HTTPS
	if one.target.Scheme == target.H2C {
		o.Protocol = upstream.H2
	}
	to = d.pool(one, addrs, o)
	if call = to; d.opts.GRPC && o.Protocol != upstream.H2 {
		o.Protocol = upstream.H2
		call = d.pool(one, addrs, o)
	}
	return to, call
}

// pool makes one pool of one, with a member that has these addresses.
func (d *Destinations) pool(one *destination, addrs []poller.Addr, o upstream.Options) proxy.Destination {
	o.Backends = backend.Of(one.target.Address())
	m := o.Backends.Members()[0]
	m.SetAddrs(addrs)
	u := upstream.New(d.engine, o)
	one.pools = append(one.pools, u)
	one.member = append(one.member, m)
	d.onReactors(func(l *local, _ *engine.Reactor) { l.pools[u] = true })
	to := d.opts.To
	return proxy.To(u, &to)
}

// close closes the pools of one: requests in progress go on.
func (d *Destinations) close(one *destination) {
	pools := one.pools
	one.pools, one.member = nil, nil
	for _, u := range pools {
		u.Close()
	}
	if len(pools) > 0 {
		d.onReactors(func(l *local, r *engine.Reactor) {
			for _, u := range pools {
				counted := u.Stats(r)
				tally.AddCounters(&l.gone, &counted)
				delete(l.pools, u)
			}
		})
	}
}

// onReactors runs f on each reactor.
func (d *Destinations) onReactors(f func(l *local, r *engine.Reactor)) {
	for i, r := range d.engine.Reactors() {
		r.Post(&engine.Task{Run: func(r *engine.Reactor) { f(d.local[i], r) }})
	}
}

// makeRoom makes a destination leave where there is one too many beside one, which has just been looked up. Those with
// backends are counted apart: names that lead nowhere cannot push them out. It looks at all of them, which costs less
// than the look-up did. mu is held.
func (d *Destinations) makeRoom(one *destination, now int64) {
	var good, bad kept
	for _, other := range d.all {
		a := other.answer.Load()
		switch {
		case other.looking:
		case a.good:
			good.count(other, one)
		case now >= a.until:
			d.leave(other)
		default:
			bad.count(other, one)
		}
	}
	if good.n > d.max {
		d.evicted.Add(1)
		d.leave(good.oldest)
	}
	if bad.n > d.max {
		d.leave(bad.oldest)
	}
}

// kept is how many destinations of a kind there are, and which one was used longest ago.
type kept struct {
	n      int
	oldest *destination
}

// count counts other. fresh does not leave.
func (k *kept) count(other, fresh *destination) {
	k.n++
	if other != fresh && (k.oldest == nil || other.used.Load() < k.oldest.used.Load()) {
		k.oldest = other
	}
}

// leave removes one, which is not looked up now, from d. mu is held.
func (d *Destinations) leave(one *destination) {
	if one.left.Load() {
		return
	}
	one.left.Store(true)
	delete(d.all, one.key)
	d.count.Store(int64(len(d.all)))
	d.close(one)
	d.onReactors(func(l *local, _ *engine.Reactor) {
		if l.known[one.key] == one {
			delete(l.known, one.key)
		}
	})
}

// Retire closes the connections that no request uses, and the other connections once they have been used. Requests that
// are on their way here go on, and their look-ups too.
func (d *Destinations) Retire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retire()
}

// retire is Retire. mu is held.
func (d *Destinations) retire() {
	d.retired = true
	for _, one := range d.all {
		if !one.looking {
			d.leave(one)
		}
	}
}

// Quiet reports whether no look-up is under way.
func (d *Destinations) Quiet() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.looking == 0
}

// Close is Retire, and ends look-ups: requests that wait for one are answered 502, and those that come later 503.
func (d *Destinations) Close() {
	d.mu.Lock()
	d.retire()
	d.cancel() // with mu, so that none begins while it waits for all
	d.mu.Unlock()
	d.running.Wait()
}
