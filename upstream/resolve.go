package upstream

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
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

// literal parses an address that needs no resolving.
func literal(address string) (poller.Addr, bool) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return poller.Addr{Path: path}, true
	}
	ip, err := netip.ParseAddrPort(address)
	return poller.Addr{IP: ip}, err == nil
}

// Resolver keeps the addresses of the backends of one Upstream that are given by name. It runs on a goroutine of its
// own until Stop; an Upstream without names needs none.
// Safe for any goroutine.
type Resolver struct {
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Resolve starts to resolve the names of u, by the system's resolver when lookup is nil. Nil when u has no names.
func Resolve(u *Upstream, lookup func(ctx context.Context, host string) ([]netip.Addr, error)) *Resolver {
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	var names []int
	for i := range u.backends {
		if _, ok := literal(u.backends[i].address); !ok {
			names = append(names, i)
		}
	}
	if len(names) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Resolver{lookup: lookup, cancel: cancel}
	for _, i := range names {
		r.done.Go(func() { r.run(ctx, u, i) })
	}
	return r
}

// Stop ends the goroutines. A nil Resolver has none.
func (r *Resolver) Stop() {
	if r != nil {
		r.cancel()
		r.done.Wait()
	}
}

// run resolves the name of backend i again and again. The last good answer is kept when a later look-up fails.
func (r *Resolver) run(ctx context.Context, u *Upstream, i int) {
	failing := false
	var last []poller.Addr
	for {
		addrs, err := r.once(ctx, u.backends[i].address)
		wait := resolveAgain
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = resolveFailed
			if !failing {
				slog.Warn("backend does not resolve", "upstream", u.Name(), "backend", u.backends[i].address,
					"error", err, "addresses_kept", len(last))
			}
		case !slices.Equal(addrs, last):
			last = addrs
			u.SetAddrs(i, addrs)
			slog.Info("backend resolved",
				"upstream", u.Name(), "backend", u.backends[i].address, "addresses", len(addrs))
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (r *Resolver) once(ctx context.Context, address string) ([]poller.Addr, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips, err := r.lookup(ctx, host)
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
