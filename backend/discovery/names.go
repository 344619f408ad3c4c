package discovery

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/discovery/dns"
	"github.com/edge-proxy/edge/poller"
)

// How often names are looked up again.
const (
	ttlMin       = time.Second
	ttlMax       = 5 * time.Minute
	negativeMax  = 10 * time.Second // a name that comes into being should be found soon
	lookupTTL    = 30 * time.Second // of a Lookup, which does not tell
	lookupMax    = 15 * time.Second // one look-up takes
	refreshShare = 0.9              // of the TTL, so that the next answer is there before this one ends
	lookupsMax   = 32               // at a time, of one Resolver
)

// Lookup finds the addresses of a host in the place of the servers of the machine. Safe for any goroutine.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// Names looks names up: a *dns.Client does.
type Names interface {
	// Addresses finds the addresses of a host: see dns.Client.
	Addresses(ctx context.Context, host string, early func(dns.Answer)) (dns.Answer, error)
	// Services finds the SRV records of a name.
	Services(ctx context.Context, name string) (dns.Services, error)
}

// NamesBy returns the Names that lookup is, or the Names of the machine when it is nil.
func NamesBy(lookup Lookup) Names {
	if lookup == nil {
		return machine()
	}
	return &lookupNames{lookup, machine()}
}

// machine is the Client of the servers of the machine: one, so that it remembers which server answered.
var machine = sync.OnceValue(func() *dns.Client { return dns.New(dns.Options{}) })

// lookupNames are the Names of a Lookup.
type lookupNames struct {
	lookup Lookup
	*dns.Client
}

// Addresses calls the Lookup.
func (i *lookupNames) Addresses(ctx context.Context, host string, _ func(dns.Answer)) (dns.Answer, error) {
	ips, err := i.lookup(ctx, host)
	a := dns.Answer{Addrs: make([]netip.Addr, len(ips)), TTL: lookupTTL}
	for k, ip := range ips {
		a.Addrs[k] = ip.Unmap()
	}
	slices.SortFunc(a.Addrs, netip.Addr.Compare)
	a.Addrs = slices.Compact(a.Addrs)
	return a, err
}

// refreshAfter returns when to ask again for what is good for ttl. Chance spreads the processes that ask.
func refreshAfter(ttl time.Duration) time.Duration {
	ttl = min(max(ttl, ttlMin), ttlMax)
	return time.Duration(float64(ttl) * (0.9 + 0.1*rand.Float64()) * refreshShare)
}

var errNoAddress = errors.New("the name has no address")

// Resolve returns the addresses that address, host:port, stands for: sorted, each once. None is an error.
func Resolve(ctx context.Context, names Names, address string) ([]poller.Addr, error) {
	host, port, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	a, err := names.Addresses(ctx, host, nil)
	if err == nil && len(a.Addrs) == 0 {
		err = errNoAddress
	}
	return withPort(a.Addrs, port), err
}

func splitAddress(address string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return host, uint16(n), err
}

func withPort(ips []netip.Addr, port uint16) []poller.Addr {
	addrs := make([]poller.Addr, len(ips))
	for i, ip := range ips {
		addrs[i] = poller.Addr{IP: netip.AddrPortFrom(ip, port)}
	}
	return addrs
}

// Resolver keeps the addresses of the members of one Set that are given by name. It has a goroutine for each name.
// Safe for any goroutine.
type Resolver struct {
	service string // what the log calls the set
	set     *backend.Set
	names   Names
	slots   chan struct{} // has an element for each look-up that is under way
	done    sync.WaitGroup
	stop    map[string]context.CancelFunc // by name; guarded by the Set; after Stop, by nothing
}

// ResolveNames starts to resolve the names of the members of s, and of those that join it. The log calls s service.
func ResolveNames(service string, s *backend.Set, names Names) *Resolver {
	r := &Resolver{service: service, set: s, names: names, slots: make(chan struct{}, lookupsMax),
		stop: make(map[string]context.CancelFunc)}
	s.FollowNames((*resolverFollower)(r))
	return r
}

// Stop ends the goroutines.
func (r *Resolver) Stop() {
	r.set.FollowNames(nil)
	for _, cancel := range r.stop {
		cancel()
	}
	r.done.Wait()
}

// resolverFollower is a Resolver as its Set sees it.
type resolverFollower Resolver

// NameJoined starts to resolve a name.
func (f *resolverFollower) NameJoined(name string) {
	r := (*Resolver)(f)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop[name] = cancel
	r.done.Go(func() { r.run(ctx, name) })
}

// NameLeft ends it.
func (f *resolverFollower) NameLeft(name string) {
	f.stop[name]()
	delete(f.stop, name)
}

// run resolves name, host:port, again and again. The last good answer is kept when a later look-up fails, or finds that
// the name has no address: a backend that an operator has named does not end because of its name.
func (r *Resolver) run(ctx context.Context, name string) {
	host, port, err := splitAddress(name)
	if err != nil {
		slog.Warn("backend does not resolve", "upstream", r.service, "backend", name, "error", err)
		return
	}
	var last dns.Answer
	var wait backoff
	failing := false
	use := func(a dns.Answer) error {
		a = fillFamilies(a, last)
		if slices.Equal(a.Addrs, last.Addrs) {
			return nil
		}
		if err := r.set.SetAddresses(name, withPort(a.Addrs, port)); err != nil {
			return err
		}
		last = a
		slog.Info("backend resolved", "upstream", r.service, "backend", name, "addresses", ipStrings(a.Addrs))
		return nil
	}
	for {
		a, err := r.lookUp(ctx, host, func(a dns.Answer) {
			if len(last.Addrs) == 0 {
				_ = use(a) // an error comes back with the whole answer
			}
		})
		if ctx.Err() != nil {
			return
		}
		if err == nil && len(a.Addrs) == 0 {
			err = errNoAddress
		}
		pause := refreshAfter(a.TTL)
		if err == nil {
			err = use(a)
		}
		if err == nil {
			wait.reset()
		} else {
			if !failing {
				slog.Warn("backend does not resolve", "upstream", r.service, "backend", name,
					"error", err, "addresses_kept", len(last.Addrs))
			}
			pause = wait.next()
		}
		failing = err != nil
		if !sleep(ctx, pause) {
			return
		}
	}
}

// fillFamilies returns a with the addresses that were known of a family that is missing in it.
func fillFamilies(a, known dns.Answer) dns.Answer {
	if a.Missing == dns.NoFamily {
		return a
	}
	for _, ip := range known.Addrs {
		if ip.Is4() == (a.Missing == dns.IPv4) && !slices.Contains(a.Addrs, ip) {
			a.Addrs = append(slices.Clip(a.Addrs), ip)
		}
	}
	slices.SortFunc(a.Addrs, netip.Addr.Compare)
	return a
}

// lookUp looks a host up, in bounded time from when there is a slot for it.
func (r *Resolver) lookUp(ctx context.Context, host string, early func(dns.Answer)) (dns.Answer, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return dns.Answer{}, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, lookupMax)
	defer cancel()
	return r.names.Addresses(ctx, host, early)
}

func ipStrings(ips []netip.Addr) []string {
	texts := make([]string, len(ips))
	for i, ip := range ips {
		texts[i] = ip.String()
	}
	return firstFew(texts)
}
