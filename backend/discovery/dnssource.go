package discovery

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/discovery/dns"
)

// nameSource finds the backends that a name stands for: each of its addresses is one.
// Owned by the goroutine of its Runner.
type nameSource struct {
	names Names
	host  string
	port  uint16
}

// Run asks again when an answer is as good as over.
func (s *nameSource) Run(ctx context.Context, publish func([]backend.Spec, error)) error {
	var known dns.Answer
	return pollNames(ctx, publish, func(ctx context.Context) ([]backend.Spec, time.Duration, error) {
		a, err := s.names.Addresses(ctx, s.host, func(a dns.Answer) {
			if len(known.Addrs) == 0 {
				publish(specsOf(a.Addrs, s.host, s.port), nil)
			}
		})
		if err != nil {
			return nil, 0, err
		}
		if len(a.Addrs) > 0 {
			known = fillFamilies(a, known)
			a = known
		}
		return specsOf(a.Addrs, s.host, s.port), a.TTL, nil
	})
}

// specsOf are the backends at addresses that were found under a name.
func specsOf(ips []netip.Addr, host string, port uint16) []backend.Spec {
	list := make([]backend.Spec, len(ips))
	for i, ip := range ips {
		list[i].Address = netip.AddrPortFrom(ip, port).String()
		list[i].Host = net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	return list
}

// pollNames calls look and publishes what it finds, again when that is as good as over.
func pollNames(ctx context.Context, publish func([]backend.Spec, error),
	look func(ctx context.Context) (list []backend.Spec, ttl time.Duration, err error)) error {
	var wait backoff
	for {
		bounded, cancel := context.WithTimeout(ctx, lookupMax)
		list, ttl, err := look(bounded)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		publish(list, err)
		pause := refreshAfter(ttl)
		switch {
		case err != nil && err != None:
			pause = wait.next()
		case len(list) == 0:
			wait.reset()
			pause = min(pause, negativeMax)
		default:
			wait.reset()
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// serviceSource finds the backends of SRV records.
// Owned by the goroutine of its Runner.
type serviceSource struct {
	names Names
	name  string
}

// Run asks again when an answer is as good as over.
func (s *serviceSource) Run(ctx context.Context, publish func([]backend.Spec, error)) error {
	known := make(map[string][]netip.Addr) // of each target
	return pollNames(ctx, publish, func(ctx context.Context) ([]backend.Spec, time.Duration, error) {
		found, err := s.names.Services(ctx, s.name)
		switch {
		case err != nil:
			return nil, 0, err
		case found.Off:
			return nil, found.TTL, None
		}
		now := make(map[string][]netip.Addr, len(found.List))
		for i := range found.List {
			one := &found.List[i]
			if one.Err != nil {
				one.Addrs = known[one.Target]
			}
			now[one.Target] = one.Addrs
		}
		known = now
		return serviceSpecs(found.List), found.TTL, nil
	})
}

// serviceSpecs are the backends of SRV records: each address of each target is one. The least priority is tier 0. The
// weight of a target is shared by its addresses.
func serviceSpecs(list []dns.Service) []backend.Spec {
	var all []backend.Spec
	var tiers []uint16
	addresses, weights, zeroes := 1, 0, false
	for i := range list {
		tiers = append(tiers, list[i].Priority)
		addresses = max(addresses, len(list[i].Addrs))
		weights = max(weights, int(list[i].Weight))
		zeroes = zeroes || list[i].Weight == 0
	}
	slices.Sort(tiers)
	tiers = slices.Compact(tiers)
	heaviest := 0
	for i := range list {
		one := &list[i]
		tier, _ := slices.BinarySearch(tiers, one.Priority)
		weight := int(one.Weight)
		switch { // 0 is "a very small chance of being selected" (RFC 2782): here a tenth of 1, where others have more
		case weights == 0:
			weight = 1
		case zeroes:
			weight = max(1, 10*weight)
		}
		for _, b := range specsOf(one.Addrs, one.Target, one.Port) {
			b.Tier, b.Weight = tier, max(1, weight*addresses/len(one.Addrs))
			heaviest = max(heaviest, b.Weight)
			all = append(all, b)
		}
	}
	for i := range all {
		if heaviest > weightMax {
			all[i].Weight = max(1, all[i].Weight*weightMax/heaviest)
		}
	}
	return all
}
