package server

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/edge-proxy/edge/backend/discovery/registry"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/value"
	"github.com/edge-proxy/edge/server/metrics"
)

// withdrawMax is how long a drain, a reload and Stop wait for registries. What is not withdrawn by then expires there.
const withdrawMax = 2 * time.Second

// registration is an entry of [register]. It goes on through reloads that keep its place in the registry.
// Guarded by Server.mu.
type registration struct {
	opts    registry.Options
	linger  time.Duration
	running *registry.Registration // nil before the Server serves
}

// registered is the place of a registration: two with the same are one.
type registered struct{ to, name string }

// makeRegistrations prepares what others find of the configuration: b.listeners are open.
func (b *build) makeRegistrations() error {
	b.registrations = make(map[registered]*registration, len(b.config.Registrations))
	for i := range b.config.Registrations {
		c := &b.config.Registrations[i]
		if c.Listener != "" && len(b.lost) > 0 && !b.opens(c.Listener) {
			continue
		}
		e := registry.Entry{
			Name: c.Name, Address: b.advertised(c), Weight: c.Weight, Zone: c.Zone, TTL: c.TTL, Check: c.Check,
		}
		r := &registration{linger: c.Linger, opts: registry.Options{To: c.To, Entry: e, Tally: &b.server.registered}}
		place := registered{c.To, cmp.Or(c.Name, e.Address)}
		if old := b.server.present.registrations[place]; old != nil {
			r.running = old.running
		}
		if r.running == nil {
			var err error
			r.opts.Registry, err = registry.Open(c.To, registry.Opening{Makers: b.server.opts.Registries})
			if err != nil {
				return fmt.Errorf("register: %w", err)
			}
		}
		b.registrations[place] = r
	}
	return nil
}

// opens reports whether b has an address of a listener.
func (b *build) opens(name string) bool {
	return slices.ContainsFunc(b.settings, func(s setting) bool { return s.name == name })
}

// advertised returns the address that others are told. Its host is missing where it is to be found out.
func (b *build) advertised(c *config.Registration) string {
	a := c.Address
	if a.Port != 0 || a.Unix != "" {
		return a.String()
	}
	path := ""
	for i := range b.settings {
		set := &b.settings[i]
		if set.name != c.Listener {
			continue
		}
		addr := set.listener.open.Addr()
		if addr.IsUnix() {
			path = addr.Path
			continue
		}
		return value.JoinHostPort(cmp.Or(a.Host, reachable(addr.IP.Addr())), strconv.Itoa(int(addr.IP.Port())))
	}
	return "unix:" + path
}

// reachable returns an address as others write it, "" for that of all interfaces.
func reachable(ip netip.Addr) string {
	if ip.IsUnspecified() {
		return ""
	}
	return ip.String()
}

// announce has others find the present generation. s.mu is held.
func (s *Server) announce() {
	for _, r := range s.present.registrations {
		if r.running == nil {
			r.running = registry.Register(r.opts)
		} else {
			r.running.Update(r.opts.Entry)
		}
	}
}

// withdrawOthers takes back what b does not register, before anything that serves it goes. It lasts as long as others
// need to hear of it: a reload that takes away a registration takes that long. s.applying and s.mu are held; s.mu is
// released meanwhile. It fails when the Server begins to end in that time.
func (s *Server) withdrawOthers(b *build) error {
	var gone []*registration
	for place, r := range s.present.registrations {
		if b.registrations[place] == nil {
			gone = append(gone, r)
			delete(s.present.registrations, place)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	s.withdrawing = true
	s.mu.Unlock()
	cut := s.ending
	if b.partly {
		cut = atOnce // what is lost serves nobody meanwhile
	}
	s.withdraw(gone, cut)
	s.mu.Lock()
	s.withdrawing = false
	if s.isEnding() {
		return errEnding
	}
	return nil
}

// takeRegistrations returns what is registered, for withdraw, and forgets it.
func (s *Server) takeRegistrations() []*registration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present.takeRegistrations()
}

// takeRegistrations is that of Server. Server.mu is held.
func (g *generation) takeRegistrations() []*registration {
	all := slices.Collect(maps.Values(g.registrations))
	g.registrations = nil
	return all
}

// withdraw takes registrations back, and waits until others have heard of it or cut is closed.
func (s *Server) withdraw(all []*registration, cut <-chan struct{}) {
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
	if wait == 0 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-cut:
	}
}

// addRegistrations adds what is registered, and what was counted of it, to a sample. s.mu is held.
func (s *Server) addRegistrations(to *metrics.Registrations) {
	to.Puts, to.Failures = s.registered.Puts.Load(), s.registered.Failures.Load()
	for _, r := range s.present.registrations {
		if r.running != nil && r.running.Known() {
			to.Known++
		} else {
			to.Unknown++
		}
	}
}
