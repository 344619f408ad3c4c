package backend

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/edge-proxy/edge/poller"
)

// When names are resolved again: soon after a failure, else often enough for names that move.
const (
	resolveAgain   = 30 * time.Second
	resolveFailed  = 2 * time.Second
	resolveTimeout = 5 * time.Second
)

// Lookup finds the addresses of a host. A nil one is the system's resolver.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// Resolve returns the addresses that address, host:port, stands for: sorted, each once.
func (l Lookup) Resolve(ctx context.Context, address string) ([]poller.Addr, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	if l == nil {
		l = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	ips, err := l(ctx, host)
	if err != nil {
		return nil, err
	}
	addrs := make([]poller.Addr, 0, len(ips))
	for _, ip := range ips {
		addrs = append(addrs, poller.Addr{IP: netip.AddrPortFrom(ip.Unmap(), uint16(n))})
	}
	slices.SortFunc(addrs, func(a, b poller.Addr) int { return a.IP.Compare(b.IP) })
	return slices.Compact(addrs), nil
}

// Resolver keeps the addresses of the members of one Set that are given by name. It has a goroutine for each name.
// Safe for any goroutine.
type Resolver struct {
	service string // what the log calls the set
	set     *Set
	lookup  Lookup
	done    sync.WaitGroup
	stop    map[*Member]context.CancelFunc // guarded by set.mu; after Stop, by nothing
}

// Resolve starts to resolve the names of the members of s, and of those that join it. The log calls s service.
func Resolve(service string, s *Set, lookup Lookup) *Resolver {
	r := &Resolver{service: service, set: s, lookup: lookup, stop: make(map[*Member]context.CancelFunc)}
	s.Follow((*following)(r))
	return r
}

// Stop ends the goroutines.
func (r *Resolver) Stop() {
	r.set.Unfollow((*following)(r))
	for _, cancel := range r.stop {
		cancel()
	}
	r.done.Wait()
}

// following is a Resolver as its Set sees it.
type following Resolver

// Joined starts to resolve the name of m.
func (f *following) Joined(m *Member) {
	if !m.id.Resolves() {
		return
	}
	r := (*Resolver)(f)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop[m] = cancel
	r.done.Go(func() { r.run(ctx, m) })
}

// Left ends it.
func (f *following) Left(m *Member) {
	if cancel := f.stop[m]; cancel != nil {
		cancel()
		delete(f.stop, m)
	}
}

// run resolves the name of m again and again. The last good answer is kept when a later look-up fails.
func (r *Resolver) run(ctx context.Context, m *Member) {
	failing := false
	var last []poller.Addr
	for {
		addrs, err := r.once(ctx, m.address)
		wait := resolveAgain
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = resolveFailed
			if !failing {
				slog.Warn("backend does not resolve", "upstream", r.service, "backend", m.address,
					"error", err, "addresses_kept", len(last))
			}
		case !slices.Equal(addrs, last):
			last = addrs
			m.SetAddrs(addrs)
			slog.Info("backend resolved", "upstream", r.service, "backend", m.address, "addresses", named(addrs))
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// namedMax bounds how many addresses a line of the log names.
const namedMax = 8

// named returns the IP addresses of addrs for the log.
func named(addrs []poller.Addr) (texts []string) {
	for i := range min(len(addrs), namedMax) {
		texts = append(texts, addrs[i].IP.Addr().String())
	}
	if more := len(addrs) - namedMax; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return texts
}

func (r *Resolver) once(ctx context.Context, address string) ([]poller.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	return r.lookup.Resolve(ctx, address)
}
