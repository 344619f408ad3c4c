package server

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/edge-proxy/edge/backend/registry"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/server/metrics"
)

// withdrawMax is how long a drain, a reload and Stop wait for registries. What is not withdrawn by then expires there.
const withdrawMax = 2 * time.Second

// registration is an entry of [register]. It goes on through reloads that keep its place in the registry.
// Guarded by shared.mu.
type registration struct {
	opts    registry.Options
	linger  time.Duration
	running *registry.Registration // nil before the Server serves
}

// registered is the place of a registration: two with the same are one.
type registered struct{ to, name string }

// registrations are what registries know of the present configuration.
// Guarded by shared.mu.
type registrations struct {
	nothing
	*shared
	listeners *listeners
	tally     registry.Tally
	now, next map[registered]*registration // nil before there are listeners

	withdrawing bool // a reload has released shared.mu while it waits for registries
}

// commit opens registries for what is new, and withdraws what the configuration does not register, before anything that
// serves it goes. The listeners are open: their addresses are registered.
func (p *registrations) commit() (err error) {
	p.next = nil
	if !p.reload.listen {
		return nil
	}
	p.next = make(map[registered]*registration, len(p.reload.config.Registrations))
	p.reload.onFailure(func() { p.next = nil })
	for i := range p.reload.config.Registrations {
		c := &p.reload.config.Registrations[i]
		if c.Listener != "" && len(p.reload.lost) > 0 && !p.opens(c.Listener) {
			continue
		}
		e := registry.Entry{
			Name: c.Name, Address: p.advertised(c), Weight: c.Weight, Zone: c.Zone, TTL: c.TTL, Check: c.Check,
		}
		r := &registration{linger: c.Linger, opts: registry.Options{To: c.To, Entry: e, Tally: &p.tally}}
		place := registered{c.To, cmp.Or(c.Name, e.Address)}
		if old := p.now[place]; old != nil {
			r.running = old.running
		}
		if r.running == nil {
			if err := p.open(r); err != nil {
				return err
			}
		}
		p.next[place] = r
	}
	return p.withdrawOthers()
}

func (p *registrations) open(r *registration) (err error) {
	r.opts.Registry, err = registry.Open(r.opts.To, registry.Opening{Makers: p.opts.Registries})
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	return nil
}

func (p *registrations) retire() {
	p.now, p.next = p.next, nil
	p.announce()
}

func (p *registrations) describe(l *ledger) { l.look(p.count) }

// count adds what is registered, and what was counted of it, to a sample. shared.mu is held.
func (p *registrations) count(now *metrics.Sample) {
	to := &now.Registrations
	to.Puts, to.Failures = p.tally.Puts.Load(), p.tally.Failures.Load()
	for _, r := range p.now {
		if r.running != nil && r.running.Known() {
			to.Known++
		} else {
			to.Unknown++
		}
	}
}

// opens reports whether the next configuration has an address of a listener.
func (p *registrations) opens(name string) bool {
	return slices.ContainsFunc(p.listeners.next, func(s setting) bool { return s.config.Name == name })
}

// advertised returns the address that others are told. Its host is missing where it is to be found out.
func (p *registrations) advertised(c *config.Registration) string {
	a := c.Address
	if a.Port != 0 || a.Unix != "" {
		return a.String()
	}
	path := ""
	for i := range p.listeners.next {
		set := &p.listeners.next[i]
		if set.config.Name != c.Listener {
			continue
		}
		addr := set.listener.open.Addr()
		if addr.IsUnix() {
			path = addr.Path
			continue
		}
		host := a.Host
		if ip := addr.IP.Addr(); host == "" && !ip.IsUnspecified() {
			host = ip.String()
		}
		return value.JoinHostPort(host, strconv.Itoa(int(addr.IP.Port())))
	}
	return "unix:" + path
}

// announce lets others find the present configuration, once it is served. shared.mu is held.
func (p *registrations) announce() {
	if p.state != serving || p.suspended {
		return
	}
	for _, r := range p.now {
		if r.running == nil {
			r.running = registry.Register(r.opts)
		} else {
			r.running.Update(r.opts.Entry)
		}
	}
}

// withdrawOthers takes back what next does not have. It lasts as long as others need to hear of it: a reload that takes
// away a registration takes that long. shared.mu is released meanwhile. It fails when the Server begins to end in that
// time.
func (p *registrations) withdrawOthers() error {
	gone := make(map[registered]*registration)
	for place, r := range p.now {
		if p.next[place] == nil {
			gone[place] = r
			delete(p.now, place)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	p.reload.onFailure(func() { p.restore(gone) })
	p.withdrawing = true
	p.mu.Unlock()
	cut := p.ending
	if p.reload.partly {
		cut = atOnce() // what is lost serves no client meanwhile
	}
	withdraw(slices.Collect(maps.Values(gone)), cut)
	p.mu.Lock()
	p.withdrawing = false
	if p.ending.Err() != nil {
		return errEnding
	}
	return nil
}

// restore registers again what a reload that failed has withdrawn.
func (p *registrations) restore(gone map[registered]*registration) {
	if p.ending.Err() != nil {
		return
	}
	for place, r := range gone {
		if err := p.open(r); err != nil {
			slog.Error("not registered any more", "error", err)
			continue
		}
		r.running, p.now[place] = nil, r
	}
	p.announce()
}

// take returns what is registered, for withdraw, and forgets it. shared.mu is held.
func (p *registrations) take() []*registration {
	all := slices.Collect(maps.Values(p.now))
	p.now = nil
	return all
}

// end withdraws what is registered, and waits until others have heard of it or cut is done.
func (p *registrations) end(cut context.Context) {
	p.mu.Lock()
	all := p.take()
	p.mu.Unlock()
	withdraw(all, cut)
}

// withdraw takes registrations back, and waits until others have heard of it or cut is done.
func withdraw(all []*registration, cut context.Context) {
	all = slices.DeleteFunc(all, func(r *registration) bool { return r.running == nil })
	ctx, cancel := context.WithTimeout(context.Background(), withdrawMax)
	defer cancel()
	var each sync.WaitGroup
	found := make([]bool, len(all))
	for i, r := range all {
		each.Go(func() { found[i] = r.running.Withdraw(ctx) })
	}
	each.Wait()
	wait := time.Duration(0)
	for i, r := range all {
		if found[i] {
			wait = max(wait, r.linger)
		}
	}
	heard, cancel := context.WithTimeout(cut, wait)
	defer cancel()
	<-heard.Done()
}

// atOnce is done: others need not have heard of it.
func atOnce() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
