package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	wanted "github.com/edge-proxy/edge/internal/config/acme"
	"github.com/edge-proxy/edge/internal/discovery/dns"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
	"github.com/edge-proxy/edge/internal/tls/certs/issue/acme"
)

const (
	lookMax       = time.Minute // an order has ten
	addressesMost = 8           // of a name
)

// placesOf returns where an authority finds proofs by c, by their kinds; none: they are records.
func placesOf(of *wanted.ACME, c *config.Config) map[string][]config.Address {
	places := make(map[string][]config.Address)
	plain, secured := of.Addresses(c)
	dialed := !of.ByDNS() || slices.ContainsFunc(slices.Concat(wanted.Subjects(c)...), func(name string) bool {
		return dials(of, name)
	})
	for kind, list := range map[string][]config.Address{acme.HTTP01: plain, acme.TLSALPN01: secured} {
		if dialed && len(list) > 0 && (of.ByDNS() || of.Challenge == "auto" || of.Challenge == kind) {
			places[kind] = list
		}
	}
	return places
}

// dials reports whether an authority connects to a name for its proof. Addresses have no records (RFC 8738 §7).
func dials(of *wanted.ACME, name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil || name[0] != '*' && !of.ByDNS()
}

// lookout finds out whether names lead to this process. Safe for any goroutine.
type lookout struct {
	of         *wanted.ACME
	challenges *issue.Challenges
	client     *dns.Client
	kinds      []string // of proofs that this process answers for
}

func newLookout(of *wanted.ACME, challenges *issue.Challenges, kinds []string) *lookout {
	client := dns.New(dns.Options{Servers: of.Resolver, Hosts: os.DevNull}) // others do not see /etc/hosts
	return &lookout{of, challenges, client, kinds}
}

// leads is for issue.Plan.
func (l *lookout) leads(ctx context.Context, names []string) bool {
	strays := l.strays(ctx, names)
	for _, why := range strays {
		slog.Warn("a name of a certificate may not lead here: a staging authority is asked first", "error", why)
	}
	return len(strays) == 0
}

// strays looks for a proof at each address of each name, as an authority does, and returns what it has found instead.
func (l *lookout) strays(ctx context.Context, names []string) (all []string) {
	var mu sync.Mutex
	stray := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() == nil { // else it was given up, and has found nothing
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	within, cancel := context.WithTimeout(ctx, lookMax)
	defer cancel()
	var looking sync.WaitGroup
	for _, name := range names {
		if len(l.kinds) > 0 && dials(l.of, name) {
			looking.Go(func() { l.look(within, name, stray) })
		}
	}
	looking.Wait()
	slices.Sort(all)
	return all
}

func (l *lookout) look(ctx context.Context, name string, stray func(format string, args ...any)) {
	found, err := l.client.Addresses(ctx, name+".", nil) // no search list
	switch {
	case err != nil:
		stray("%s has no address: %v", name, err)
	case len(found.Addrs) == 0:
		stray("%s has no address", name)
	}
	for _, ip := range found.Addrs[:min(len(found.Addrs), addressesMost)] {
		if !l.of.May(ip.String()) {
			stray("%s leads to %s, which the Internet does not reach", name, ip)
			continue
		}
		for kind, port := range map[string]uint16{acme.HTTP01: 80, acme.TLSALPN01: 443} {
			at := netip.AddrPortFrom(ip, port)
			if !slices.Contains(l.kinds, kind) {
				continue
			}
			if err := acme.Reach(ctx, l.challenges, kind, name, at); err != nil {
				stray("%s does not lead here at %s: %.200v", name, at, err)
			}
		}
	}
}
